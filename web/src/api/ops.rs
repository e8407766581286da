//! For those who operate: limits, probes, metrics.

use crate::input::Query;
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dalsegno_engine::{Code, Role};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/limits", limits)
        .get("/livez", livez)
        .get("/readyz", readyz)
        .get("/metrics", metrics)
}

async fn limits(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let limits = app.engine().view().limits();
    let items = limits.iter().map(|it| {
        json!({
            "limit": it.limit, "text": it.limit.to_string(),
            "capacity": it.capacity, "used": it.used, "waiting": it.waiting,
        })
    });
    Ok(axum::Json(json::list(items.collect(), None)))
}

/// The process answers.
async fn livez() -> &'static str {
    "ok\n"
}

/// The process can serve: it decides, or reads what another instance decides.
async fn readyz(State(app): State<Arc<App>>) -> Outcome<String> {
    let not = |detail: String| Err(Failure::new(Code::NotReady, detail));
    match app.engine().role() {
        Role::Leader => Ok("leader\n".into()),
        Role::Follower { leader } => Ok(format!("follower of {leader}\n")),
        Role::Starting => not("the daemon is starting: it reads what is stored".into()),
        Role::Broken { message } => not(message),
        Role::Stopped => not("the daemon is stopping".into()),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = crate::metrics::render(app.engine(), &app.web.sources.all(), &app.web.version);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
