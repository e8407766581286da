//! Where events come from and go to, and what came that was none.

use crate::input::Query;
use crate::json;
use crate::problem::Outcome;
use crate::routes::Routes;
use crate::state::{App, SourceState};
use axum::extract::State;
use dalsegno_store::Cursor;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/sources", sources)
        .get("/api/v1/refused", refused)
}

async fn sources(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let items = app.web.sources.all().iter().map(source).collect();
    Ok(axum::Json(json::list(items, None)))
}

fn source(it: &SourceState) -> Value {
    json!({
        "name": it.name, "kind": it.kind, "target": it.target, "state": it.state,
        "is_trouble": it.is_trouble, "message": it.message, "cure": it.cure, "notes": it.notes,
        "since": it.since.to_string(),
        "last_event_at": it.last_event_at.map(|it| it.to_string()),
        "received": it.received, "refused": it.refused, "counts": it.counts,
    })
}

/// Deliveries that could not be read as events, newest first.
async fn refused(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["limit", "cursor"])?;
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store.refused(cursor.as_ref(), query.limit()?).await?;
    let items = page.items.iter().map(json::row).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}
