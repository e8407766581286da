//! Flows that come over HTTP.

use crate::input::Sized;
use crate::metaflow::Deployment;
use crate::problem::Outcome;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.post(DEPLOYMENTS, deploy)
}

pub(crate) const DEPLOYMENTS: &str = "/api/v1/metaflow/deployments";

/// The largest deployment, in bytes: code files in base64. Data does not belong into it.
pub(crate) const DEPLOYMENT_BYTES_MAX: usize = 64 << 20;

async fn deploy(
    State(app): State<Arc<App>>,
    Sized(deployment): Sized<Deployment, DEPLOYMENT_BYTES_MAX>,
) -> Outcome<Response> {
    let deployed = app.web.metaflow.deploy(deployment).await?;
    let status = match deployed.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let place = format!(
        "/api/v1/flows/{}",
        crate::text::url_encode(deployed.flow.as_str())
    );
    let body = json!({
        "flow": deployed.flow, "version": deployed.version, "created": deployed.created,
        "warnings": deployed.warnings,
    });
    Ok((status, [(header::LOCATION, place)], axum::Json(body)).into_response())
}
