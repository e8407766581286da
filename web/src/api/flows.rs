//! Flows: what is declared, what comes next, start, pause, remove.

use super::{turned_down, why};
use crate::act::{self, Started};
use crate::input::{Json, Query};
use crate::json;
use crate::metaflow;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::words;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{FlowRow, OccurrenceRow};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{Flow, Scheduler};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/flows", list)
        .get("/api/v1/flows/{name}", one)
        .delete("/api/v1/flows/{name}", remove)
        .get("/api/v1/flows/{name}/versions", versions)
        .get("/api/v1/flows/{name}/why", why)
        .post("/api/v1/flows/{name}/runs", start)
        .post("/api/v1/flows/{name}/pause", pause)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let view = app.engine().view();
    let items = view
        .flows()
        .map(|it| flow_json(&app, &view, &it.row, it.flow.as_deref()))
        .collect();
    Ok(axum::Json(json::list(items, None)))
}

async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let view = app.engine().view();
    let (row, flow) = read::flow(&view, &name)?;
    let mut value = flow_json(&app, &view, &row, flow.as_deref());
    if let Some(flow) = &flow {
        describe(&mut value, flow);
    }
    let half_matches: Vec<Value> = view.half_matches(&name).map(json::row).collect();
    value["half_matches"] = half_matches.into();
    Ok(axum::Json(value))
}

fn flow_json(app: &App, view: &Scheduler, row: &FlowRow, flow: Option<&Flow>) -> Value {
    let mut value = json::row(row);
    let spec = flow.map(Flow::spec);
    value["state"] = json::flow_state(row).into();
    value["description"] = json!(spec.and_then(|it| it.description.as_deref()));
    value["owner"] = json!(spec.and_then(|it| it.owner.as_deref()));
    value["tags"] = json!(spec.map_or(&[][..], |it| it.tags.as_slice()));
    value["starts"] = json!(flow.map(words::starts));
    let next = next_of(view, row);
    value["next_at"] = json!(next.map(|it| it.due_at.to_string()));
    let metaflow = spec.and_then(|it| it.metaflow.as_ref());
    value["metaflow"] = json!(metaflow.map(|it| metaflow::of_flow(app, row, it)));
    value["unfinished_runs"] = json!(view.runs_of(row.name.as_str()).count());
    value
}

/// The next occurrence of a flow that is on.
pub(crate) fn next_of<'a>(view: &'a Scheduler, row: &FlowRow) -> Option<&'a OccurrenceRow> {
    let off = row.removed || row.paused.is_some();
    let coming = view.expected(row.name.as_str()).filter(|_| !off);
    coming.min_by_key(|it| it.due_at)
}

/// What the active version declares.
fn describe(value: &mut Value, flow: &Flow) {
    let spec = flow.spec();
    let steps = spec.steps.iter().map(|step| {
        let scope = flow
            .scope_at(step.scope)
            .map(|(scope, ..)| scope.name.as_str());
        let metaflow = match &step.run {
            Command::Metaflow(step) => Some(step),
            _ => None,
        };
        json!({
            "name": step.name, "after": step.after, "foreach": scope, "when": step.when,
            "outputs": step.outputs, "retries": step.retry.times, "pools": step.pools,
            "metaflow": metaflow,
        })
    });
    let schedules = flow.schedules().map(|(spec, schedule)| {
        json!({
            "name": spec.name, "when": spec.when, "timezone": spec.timezone,
            "text": schedule.describe(), "misfire": words::schedule_detail(spec),
        })
    });
    let triggers = spec.triggers.iter().map(|it| {
        json!({
            "name": it.name, "text": words::trigger(&it.on), "join_on": it.join_on,
            "reset_at": it.reset_at.as_ref().map(|it| {
                json!({"when": it.when, "timezone": it.timezone, "text": words::reset(it)})
            }),
        })
    });
    value["steps"] = steps.collect();
    value["edges"] = json!(flow.step_edges());
    value["schedules"] = schedules.collect();
    value["triggers"] = triggers.collect();
    value["params"] = json!(spec.params);
    value["strategy"] = json!(spec.run.strategy);
    value["priority"] = json!(spec.run.priority);
    value["max_parallel_tasks"] = json!(spec.run.max_parallel_tasks);
}

/// Takes off a flow that came over HTTP.
async fn remove(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let (row, _) = read::flow(&app.engine().view(), &name)?;
    app.web.metaflow.remove(row.name).await?;
    shown(&app, &name)
}

async fn versions(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let (row, _) = read::flow(&app.engine().view(), &name)?;
    let versions = app.engine().store().versions(&row.name).await?;
    let items = versions.iter().map(|it| {
        json!({
            "flow": it.flow, "version": it.version, "created_at": it.created_at.to_string(),
            "active": row.active_version.as_ref() == Some(&it.version), "source": it.source,
        })
    });
    Ok(axum::Json(json::list(items.collect(), None)))
}

async fn why(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["at"])?;
    let view = app.engine().view();
    let (row, flow) = read::flow(&view, &name)?;
    let mut items: Vec<Value> = why::not_deciding(&app).into_iter().collect();
    items.extend(match query.time("at")? {
        Some(at) => why::at(&app, &row.name, at).await?,
        None => {
            let whys = view.why_flow(&name, app.engine().now()).unwrap_or_default();
            let mut items: Vec<Value> = whys.iter().map(explanation).collect();
            if let Some(flow) = flow {
                items.extend(turned_down::newest(&app, &flow).await?);
                items.extend(not_ready(&app, &row, &flow));
            }
            items
        }
    });
    Ok(axum::Json(json::list(items, None)))
}

/// What a Metaflow flow lacks: the answer of a probe, an interpreter, an environment.
fn not_ready(app: &App, row: &FlowRow, flow: &Flow) -> Vec<Value> {
    let Some(metaflow) = flow.spec().metaflow.as_ref().filter(|_| !row.removed) else {
        return Vec::new();
    };
    let about = app.web.metaflow.about(row, metaflow);
    let held = about.held.map(|it| format!("it cannot be started: {it}"));
    let texts = held.into_iter().chain(about.progress);
    texts
        .map(|text| json!({"subject": row.name, "code": "not_ready", "text": text, "reason": null, "until": null, "cure": null}))
        .collect()
}

/// An explanation as JSON.
pub(super) fn explanation(it: &dalsegno_scheduler::Explanation) -> Value {
    json!({
        "subject": it.subject, "code": it.code, "text": it.text, "reason": it.reason.as_ref().map(json::row),
        "until": it.until.map(|it| it.to_string()), "cure": it.cure,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartBody {
    #[serde(default)]
    params: Map<String, Value>,
    by: Option<String>,
}

async fn start(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(body): Json<StartBody>,
) -> Outcome<Response> {
    let key = idempotency_key(&headers)?;
    let by = body.by.unwrap_or_else(|| "api".into());
    let started = act::start(&app, &name, body.params, key, by).await?;
    told(&app, started).await
}

/// A run that was started, or why none was.
pub(super) async fn told(app: &App, started: Started) -> Outcome<Response> {
    match started {
        Started::Run { run, again } => {
            let row = read::run(app.engine(), &run.to_string()).await?;
            let place = [(header::LOCATION, format!("/api/v1/runs/{run}"))];
            let run = axum::Json(json::run(&app.engine().view(), &row));
            let mut response = (StatusCode::CREATED, place, run).into_response();
            if again {
                let replayed = HeaderValue::from_static("true");
                response
                    .headers_mut()
                    .insert("idempotent-replayed", replayed);
            }
            Ok(response)
        }
        Started::Not { occurrence, reason } => Ok(axum::Json(json!({
            "started": false, "occurrence": occurrence, "reason": json::row(&reason),
        }))
        .into_response()),
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Outcome<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .ok()
        .filter(|it| (1..=256).contains(&it.len()));
    let bad = || {
        let detail = "the header `Idempotency-Key` must be 1 to 256 printable ASCII characters";
        Failure::new(Code::BadRequest, detail)
    };
    text.map(|it| Some(it.to_owned())).ok_or_else(bad)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    pub(super) reason: Option<String>,
    pub(super) by: Option<String>,
}

async fn pause(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(body): Json<ReasonBody>,
) -> Outcome<axum::Json<Value>> {
    let by = body.by.unwrap_or_else(|| "api".into());
    act::pause(&app, &name, by, body.reason).await?;
    shown(&app, &name)
}

pub(super) fn shown(app: &App, name: &str) -> Outcome<axum::Json<Value>> {
    let view = app.engine().view();
    let (row, flow) = read::flow(&view, name)?;
    Ok(axum::Json(flow_json(app, &view, &row, flow.as_deref())))
}

/// Expected occurrences of flows that are on, by due time.
pub(crate) fn upcoming(view: &Scheduler) -> impl Iterator<Item = &OccurrenceRow> {
    view.expected_all().filter(|it| {
        let flow = view.flow(it.flow.as_str()).map(|it| &it.row);
        flow.is_some_and(|it| !it.removed && it.paused.is_none())
    })
}
