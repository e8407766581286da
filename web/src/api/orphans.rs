//! Jobs on AWS that carry our name and that no task wants.

use crate::input::Query;
use crate::json;
use crate::problem::Outcome;
use crate::remote::OrphanJob;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/orphans", orphans)
        .post("/api/v1/orphans/{job}/cancel", cancel)
        .post("/api/v1/orphans/{job}/adopt", adopt)
}

async fn orphans(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let found = app.remote()?.orphans().await?;
    let items = found.iter().map(orphan).collect();
    Ok(axum::Json(json::list(items, None)))
}

fn orphan(it: &OrphanJob) -> Value {
    json!({
        "job": it.job, "name": it.name, "queue": it.queue, "status": it.status,
        "created_at": it.created_at.map(|it| it.to_string()),
        "flow": it.flow, "run": it.run, "task": it.task, "attempt": it.attempt, "why": it.why,
    })
}

async fn cancel(
    State(app): State<Arc<App>>,
    Path(job): Path<String>,
) -> Outcome<axum::Json<Value>> {
    app.remote()?.cancel_orphan(job.clone()).await?;
    Ok(axum::Json(json!({ "job": job, "cancelled": true })))
}

async fn adopt(State(app): State<Arc<App>>, Path(job): Path<String>) -> Outcome<axum::Json<Value>> {
    app.remote()?.adopt_orphan(job.clone()).await?;
    Ok(axum::Json(json!({ "job": job, "adopted": true })))
}
