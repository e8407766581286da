//! The OpenAPI document.

use crate::routes::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/api/v1/openapi.json", document)
}

pub(crate) const DOCUMENT: &str = include_str!("../../openapi.json");

async fn document() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("content-type", "application/json")], DOCUMENT)
}
