//! Backfills: planned, ordered by the plan's token, followed, paused and cancelled.

use super::flows::idempotency_key;
use crate::input::{Instant, Json, Query};
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::backfill::{Plan, PlanItem, PlanRequest, Verdict};
use dalsegno_scheduler::row::{
    BackfillItemRow, BackfillItemState, BackfillMode, BackfillRow, BackfillState,
};
use dalsegno_scheduler::{Answer, BackfillChange, FlowName, Input};
use dalsegno_store::{BackfillFilter, Cursor};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/backfills", list)
        .post("/api/v1/backfills", apply)
        .post("/api/v1/backfills/plan", plan)
        .get("/api/v1/backfills/{id}", one)
        .get("/api/v1/backfills/{id}/items", items)
        .post("/api/v1/backfills/{id}/pause", pause)
        .post("/api/v1/backfills/{id}/resume", resume)
        .post("/api/v1/backfills/{id}/cancel", cancel)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanBody {
    flow: FlowName,
    from: Instant,
    to: Instant,
    #[serde(default = "missing")]
    mode: BackfillMode,
    #[serde(default)]
    downstream: bool,
    #[serde(default = "one_run")]
    parallel: u32,
    by: Option<String>,
}

const fn missing() -> BackfillMode {
    BackfillMode::Missing
}

/// One run after the other.
const fn one_run() -> u32 {
    1
}

impl PlanBody {
    fn request(self) -> PlanRequest {
        PlanRequest {
            flow: self.flow,
            from: self.from.0,
            to: self.to.0,
            mode: self.mode,
            downstream: self.downstream,
            parallel: self.parallel,
        }
    }
}

async fn plan(
    State(app): State<Arc<App>>,
    Json(body): Json<PlanBody>,
) -> Outcome<axum::Json<Value>> {
    read::flow(&app.engine().view(), body.flow.as_str())?;
    let plan = app.engine().plan_backfill(&body.request()).await?;
    Ok(axum::Json(planned(&plan)))
}

/// A plan as the API shows it.
fn planned(plan: &Plan) -> Value {
    let count = |verdict| plan.items.iter().filter(|it| it.verdict == verdict).count();
    json!({
        "flow": plan.flow, "from": plan.from.to_string(), "to": plan.to.to_string(),
        "mode": plan.mode, "downstream": plan.downstream,
        "versions": plan.versions.iter()
            .map(|(flow, version)| json!({"flow": flow, "version": version}))
            .collect::<Vec<_>>(),
        "items": plan.items.iter().map(planned_item).collect::<Vec<_>>(),
        "counts": {
            "run": count(Verdict::Run), "keep": count(Verdict::Keep),
            "conflict": count(Verdict::Conflict),
        },
        "conflicts": plan.conflicts, "notes": plan.notes,
        "estimate_us": plan.estimate.map(|it| it.0), "token": plan.token,
    })
}

fn planned_item(it: &PlanItem) -> Value {
    let existing = it.existing.iter();
    let upstream = it.upstream.iter();
    json!({
        "flow": it.flow, "trigger": it.trigger,
        "interval": {
            "start": it.interval.start.to_string(), "end": it.interval.end.to_string(),
        },
        "after": it.after, "verdict": it.verdict,
        "existing": existing
            .map(|it| json!({"run": it.run.to_string(), "state": it.state}))
            .collect::<Vec<_>>(),
        "upstream": upstream
            .map(|it| json!({"flow": it.flow, "run": it.run.to_string()}))
            .collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
struct ApplyBody {
    token: String,
    #[serde(flatten)]
    plan: serde_json::Map<String, Value>,
}

async fn apply(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(body): Json<ApplyBody>,
) -> Outcome<Response> {
    let key = idempotency_key(&headers)?;
    let ApplyBody { token, plan } = body;
    let mut plan: PlanBody = serde_json::from_value(Value::Object(plan))
        .map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
    read::flow(&app.engine().view(), plan.flow.as_str())?;
    let by = plan.by.take().unwrap_or_else(|| "api".into());
    let answer = app.engine().backfill(plan.request(), token, key, by);
    let Answer::Backfill {
        backfill,
        duplicate,
    } = answer.await?
    else {
        let detail = "the engine gave another answer than to a backfill";
        return Err(Failure::new(Code::Panic, detail));
    };
    let place = [(header::LOCATION, format!("/api/v1/backfills/{backfill}"))];
    let body = axum::Json(json!({"backfill": backfill, "duplicate": duplicate}));
    let mut response = (StatusCode::ACCEPTED, place, body).into_response();
    if duplicate {
        let replayed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotent-replayed", replayed);
    }
    Ok(response)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["flow", "state", "limit", "cursor"])?;
    if let Some(name) = query.get("flow") {
        read::flow(&app.engine().view(), name)?;
    }
    let filter = BackfillFilter {
        flow: query.get("flow").map(FlowName::new),
        states: query.words("state", BackfillState::ALL, |it| it.as_str())?,
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store
        .backfills(&filter, cursor.as_ref(), query.limit()?)
        .await?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in &page.items {
        items.push(shown(&app, row).await?);
    }
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let row = found(&app, &id).await?;
    Ok(axum::Json(shown(&app, &row).await?))
}

async fn items(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["state", "limit", "cursor"])?;
    let row = found(&app, &id).await?;
    let state = query.word("state", BackfillItemState::ALL, |it| it.as_str())?;
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store
        .backfill_items(row.id, state, cursor.as_ref(), query.limit()?)
        .await?;
    let items = page.items.iter().map(item).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

/// What its upstream runs told is for its run alone.
fn item(it: &BackfillItemRow) -> Value {
    let mut value = json::row(it);
    if let Some(map) = value.as_object_mut() {
        map.remove("events");
    }
    value
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByBody {
    by: Option<String>,
}

async fn pause(
    app: State<Arc<App>>,
    id: Path<String>,
    body: Json<ByBody>,
) -> Outcome<axum::Json<Value>> {
    change(app, id, body, BackfillChange::Pause).await
}

async fn resume(
    app: State<Arc<App>>,
    id: Path<String>,
    body: Json<ByBody>,
) -> Outcome<axum::Json<Value>> {
    change(app, id, body, BackfillChange::Resume).await
}

async fn cancel(
    app: State<Arc<App>>,
    id: Path<String>,
    body: Json<ByBody>,
) -> Outcome<axum::Json<Value>> {
    change(app, id, body, BackfillChange::Cancel).await
}

async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(body): Json<ByBody>,
    change: BackfillChange,
) -> Outcome<axum::Json<Value>> {
    let row = found(&app, &id).await?;
    let by = body.by.unwrap_or_else(|| "api".into());
    let input = Input::ChangeBackfill {
        backfill: row.id,
        change,
        by,
    };
    app.engine().ask(input).await?;
    let row = found(&app, &id).await?;
    Ok(axum::Json(shown(&app, &row).await?))
}

/// A backfill by the number that an address names, as it stands.
async fn found(app: &App, id: &str) -> Outcome<BackfillRow> {
    let unknown = || Failure::new(Code::UnknownBackfill, format!("there is no backfill {id}"));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    if let Some(live) = app.engine().view().backfill(number) {
        return Ok(BackfillRow::clone(&live.row));
    }
    let stored = app.engine().store().backfill(number).await?;
    stored.ok_or_else(unknown)
}

/// A backfill with how far it is.
async fn shown(app: &App, row: &BackfillRow) -> Outcome<Value> {
    let store = app.engine().store();
    let live = app.engine().view().backfill(row.id);
    let row = live.as_ref().map_or(row, |it| &it.row);
    let mut counts: BTreeMap<&str, u64> = BackfillItemState::ALL
        .iter()
        .map(|it| (it.as_str(), 0))
        .collect();
    let (mut running, mut estimate) = (Vec::new(), None);
    match &live {
        Some(live) => {
            for (state, items) in &live.counts {
                counts.insert(state.as_str(), u64::from(*items));
            }
            running = live.running.iter().map(ToString::to_string).collect();
            let flows: Vec<FlowName> = live.left.keys().cloned().collect();
            estimate = live.rest(&store.typical_durations(&flows).await?);
        }
        None => {
            for it in store.backfill_counts(row.id).await? {
                *counts.entry(it.state.as_str()).or_default() += it.items;
            }
        }
    }
    let mut value = json::row(row);
    // Other than those of runs, numbers of backfills are small and counted from 1.
    value["id"] = row.id.into();
    value["counts"] = json!(counts);
    value["running"] = json!(running);
    value["estimate_us"] = json!(estimate.map(|it| it.0));
    Ok(value)
}
