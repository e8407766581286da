//! Events that arrived, and what became of them. They come in through the triggers' route.

use crate::input::Query;
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::EventRow;
use dalsegno_store::{Cursor, EventFilter};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/events", list)
        .get("/api/v1/events/{seq}", one)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["source", "type", "limit", "cursor"])?;
    let filter = EventFilter {
        source: query.get("source").map(str::to_owned),
        kind: query.get("type").map(str::to_owned),
        ..EventFilter::default()
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store
        .events(&filter, cursor.as_ref(), query.limit()?)
        .await?;
    let items = page.items.iter().map(|it| event(it)).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

async fn one(
    State(app): State<Arc<App>>,
    Path(seq): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let unknown = || Failure::new(Code::UnknownEvent, format!("there is no event {seq}"));
    let number: u64 = seq.parse().map_err(|_| unknown())?;
    let store = app.engine().store();
    let row = store.event(number).await?.ok_or_else(unknown)?;
    let matches = store.matches(number).await?;
    let mut value = event(&row);
    value["matches"] = matches.iter().map(json::row).collect();
    Ok(axum::Json(value))
}

/// CloudEvents calls it `type`.
fn event(row: &EventRow) -> Value {
    let mut value = json::row(row);
    value["type"] = value["kind"].take();
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
    }
    value
}
