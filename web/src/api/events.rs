//! Events that arrived, what became of them, and their replays. They come in through the triggers' route.

use super::flows::idempotency_key;
use crate::input::{Json, Query};
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::words;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{EventRow, MatchOutcome, MatchRow};
use dalsegno_scheduler::{Answer, FlowName, Scheduler};
use dalsegno_store::{Cursor, EventFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/events", list)
        .get("/api/v1/events/{seq}", one)
        .post("/api/v1/events/{seq}/replay", replay)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[
        "type", "source", "subject", "since", "until", "flow", "outcome", "limit", "cursor",
    ])?;
    let outcome = query.word("outcome", MatchOutcome::ALL, |it| it.as_str())?;
    match query.get("flow") {
        Some(name) => drop(read::flow(&app.engine().view(), name)?),
        None if outcome.is_some() => {
            let detail = "query parameter `outcome` is about a flow's triggers: name the flow with `flow`, too";
            return Err(Failure::new(Code::BadRequest, detail));
        }
        None => {}
    }
    let filter = EventFilter {
        source: query.get("source").map(str::to_owned),
        kind: query.get("type").map(str::to_owned),
        subject: query.get("subject").map(str::to_owned),
        since: query.time("since")?,
        until: query.time("until")?,
        flow: query.get("flow").map(FlowName::new),
        outcome,
        ..EventFilter::default()
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store
        .events(&filter, cursor.as_ref(), query.limit()?)
        .await?;
    let mut items = Vec::with_capacity(page.items.len());
    for event in &page.items {
        let mut value = json::event(event);
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        for it in store.matches(event.seq).await? {
            *outcomes.entry(it.outcome.as_str()).or_default() += 1;
        }
        value["outcomes"] = json!(outcomes);
        items.push(value);
    }
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

async fn one(
    State(app): State<Arc<App>>,
    Path(seq): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let row = found(&app, &seq).await?;
    let store = app.engine().store();
    let matches = store.matches(row.seq).await?;
    let view = app.engine().view();
    let mut value = json::event(&row);
    value["matches"] = matches.iter().map(|it| matched(&view, it)).collect();
    value["replays"] = replays(&app, &row).await?.into();
    Ok(axum::Json(value))
}

/// An event by the number that an address names.
async fn found(app: &App, seq: &str) -> Outcome<Arc<EventRow>> {
    let unknown = || Failure::new(Code::UnknownEvent, format!("there is no event {seq}"));
    let number: u64 = seq.parse().map_err(|_| unknown())?;
    let found = app.engine().store().event(number).await?;
    found.ok_or_else(unknown)
}

/// What became of an event at one leaf, and what that leaf listens to, where the flow still has it.
fn matched(view: &Scheduler, it: &MatchRow) -> Value {
    let mut value = json::row(it);
    let flow = view.flow(it.flow.as_str()).and_then(|it| it.flow.clone());
    let triggers = flow.iter().flat_map(|it| &it.spec().triggers);
    let trigger = triggers.into_iter().find(|on| on.name == it.trigger);
    let leaves = trigger.map(|it| it.on.leaves()).unwrap_or_default();
    value["label"] = json!(leaves.get(usize::from(it.leaf)).map(|it| words::leaf(it)));
    value
}

/// Among how many of the newest events of its kind the replays of one are looked for.
const REPLAYS_AMONG: usize = 500;

/// Numbers of the events that repeat this one, newest first.
async fn replays(app: &App, event: &EventRow) -> Outcome<Vec<u64>> {
    let filter = EventFilter {
        source: Some(event.source.clone()),
        kind: Some(event.kind.clone()),
        subject: event.subject.clone(),
        since: Some(event.received_at),
        ..EventFilter::default()
    };
    let store = app.engine().store();
    let page = store.events(&filter, None, REPLAYS_AMONG).await?;
    let replays = page.items.iter();
    Ok(replays
        .filter(|it| it.replay_of == Some(event.seq))
        .map(|it| it.seq)
        .collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    /// Only this flow sees it again.
    flow: Option<FlowName>,
    by: Option<String>,
}

async fn replay(
    State(app): State<Arc<App>>,
    Path(seq): Path<String>,
    headers: HeaderMap,
    Json(body): Json<ReplayBody>,
) -> Outcome<Response> {
    let key = idempotency_key(&headers)?;
    let row = found(&app, &seq).await?;
    if let Some(flow) = &body.flow {
        read::flow(&app.engine().view(), flow.as_str())?;
    }
    let by = body.by.unwrap_or_else(|| "api".into());
    let answer = app.engine().replay(row.seq, body.flow, key, by).await?;
    let Answer::Event {
        seq,
        runs,
        duplicate,
    } = answer
    else {
        let detail = "the engine gave another answer than to an event";
        return Err(Failure::new(Code::Panic, detail));
    };
    let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
    let body = json!({"seq": seq, "runs": runs, "duplicate": duplicate});
    let mut response = (StatusCode::ACCEPTED, axum::Json(body)).into_response();
    if duplicate {
        let replayed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotent-replayed", replayed);
    }
    Ok(response)
}
