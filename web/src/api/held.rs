//! What waits or is held: sets of events, and what the end of a pause would start.

use super::flows::shown;
use crate::act;
use crate::input::{Json, Query};
use crate::json;
use crate::problem::Outcome;
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use dalsegno_scheduler::{CatchUp, WaitingLeaf, WaitingSet, WouldStart};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/flows/{name}/sets", sets)
        .get("/api/v1/flows/{name}/unpause", preview)
        .post("/api/v1/flows/{name}/unpause", unpause)
}

async fn sets(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let view = app.engine().view();
    read::flow(&view, &name)?;
    let sets = view.sets(&name, app.engine().now());
    let mut value = json::list(sets.iter().map(set).collect(), None);
    value["count"] = view.set_count(&name).into();
    Ok(axum::Json(value))
}

fn set(it: &WaitingSet) -> Value {
    json!({
        "trigger": it.trigger, "join_key": it.join_key, "since": it.since.to_string(),
        "events": it.events, "arrived": it.arrived.iter().map(leaf).collect::<Vec<_>>(),
        "missing": it.missing,
        "fires_at": it.fires_at.map(|it| it.to_string()),
        "expires_at": it.expires_at.map(|it| it.to_string()),
        "held": it.held.as_ref().map(json::row),
    })
}

fn leaf(it: &WaitingLeaf) -> Value {
    json!({
        "leaf": it.leaf, "label": it.label,
        "events": it.events.iter().map(|it| json::event(it)).collect::<Vec<_>>(),
        "more": it.more,
    })
}

/// How many of the runs that would start are told of each choice.
const RUNS_TOLD: usize = 20;

const CHOICES: [CatchUp; 4] = [
    CatchUp::Declared,
    CatchUp::None,
    CatchUp::Latest,
    CatchUp::All,
];

async fn preview(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let view = app.engine().view();
    let (row, _) = read::flow(&view, &name)?;
    let preview = view.unpause_preview(&row.name, app.engine().now());
    let is_paused = preview.is_some();
    let (default, choices) = match preview {
        Some(it) => (it.default, it.choices),
        // Nothing is held.
        None => (
            CatchUp::default(),
            CHOICES.map(|it| (it, Vec::new())).into(),
        ),
    };
    let choices: Vec<Value> = choices
        .iter()
        .map(|(choice, runs)| {
            let told: Vec<Value> = runs.iter().take(RUNS_TOLD).map(would_start).collect();
            json!({"choice": choice, "starts": runs.len(), "runs": told})
        })
        .collect();
    Ok(axum::Json(json!({
        "flow": row.name, "paused": is_paused, "default": default, "choices": choices,
    })))
}

fn would_start(it: &WouldStart) -> Value {
    json!({
        "trigger": it.trigger, "key": it.key, "due_at": it.due_at.to_string(),
        "interval": {
            "start": it.interval.start.to_string(), "end": it.interval.end.to_string(),
        },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnpauseBody {
    #[serde(default)]
    catch_up: CatchUp,
    /// Taken as that of a pause is; nothing keeps it.
    #[serde(rename = "reason")]
    _reason: Option<String>,
    by: Option<String>,
}

async fn unpause(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(body): Json<UnpauseBody>,
) -> Outcome<axum::Json<Value>> {
    let by = body.by.unwrap_or_else(|| "api".into());
    act::unpause(&app, &name, by, body.catch_up).await?;
    shown(&app, &name)
}
