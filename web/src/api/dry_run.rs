//! What a flow file would have started, had it been there: its triggers on the events of the past.

use crate::input::{Instant, Json};
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::State;
use dalsegno_engine::Code;
use dalsegno_scheduler::row::EventRow;
use dalsegno_scheduler::spec::{DATASET_WRITTEN, EventSource, OBJECT_CREATED};
use dalsegno_scheduler::{DRY_RUNS_MAX, WouldRun, dry_run};
use dalsegno_scheduler::{Flow, Span, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.post("/api/v1/dry-run", try_out)
}

/// The most events that are looked at.
const EVENTS_MAX: usize = 100_000;

/// How many are read at once.
const PAGE: usize = 5_000;

/// A week.
const DAYS: i64 = 7;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DryRunBody {
    /// The flow file's text.
    source: String,
    /// What it is called; its ending tells what it is.
    #[serde(default = "yaml")]
    file: String,
    since: Option<Instant>,
    until: Option<Instant>,
}

fn yaml() -> String {
    "flow.yaml".to_owned()
}

async fn try_out(
    State(app): State<Arc<App>>,
    Json(body): Json<DryRunBody>,
) -> Outcome<axum::Json<Value>> {
    let until = body.until.map_or_else(|| app.engine().now(), |it| it.0);
    let week = Span::from_secs(DAYS * 86_400);
    let since = body.since.map_or(until - week, |it| it.0);
    if since > until {
        let detail = format!("`since` is {since}, which is after `until`, {until}");
        return Err(Failure::new(Code::BadRequest, detail));
    }
    let (reader, file, source) = (app.web.metaflow.clone(), body.file, body.source);
    let flow = away(move || reader.read(&file, &source)).await??;
    let past = Past::of(&app, &flow, since, until).await?;
    let name = flow.name().clone();
    let (events, until) = (past.events, past.until);
    let runs = away(move || dry_run(&flow, &events, since, until)).await?;
    Ok(axum::Json(json!({
        "flow": name, "events": past.looked_at, "since": since.to_string(),
        "until": until.to_string(), "truncated": past.truncated || runs.len() >= DRY_RUNS_MAX,
        "runs": runs.iter().map(would_run).collect::<Vec<_>>(),
    })))
}

/// Does work away from the threads that serve.
async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Code::Panic, format!("the dry run broke off: {error}")))
}

fn would_run(it: &WouldRun) -> Value {
    json!({
        "at": it.at.to_string(), "trigger": it.trigger, "key": it.key, "params": it.params,
        "events": it.events, "refused": it.refused.as_ref().map(json::row),
    })
}

/// Events as they arrived.
struct Past {
    events: Vec<Arc<EventRow>>,
    looked_at: usize,
    /// Up to when they were looked at.
    until: Timestamp,
    truncated: bool,
}

impl Past {
    /// Those in `[since, until)` that the flow listens to, from the first [`EVENTS_MAX`].
    async fn of(app: &App, flow: &Flow, since: Timestamp, until: Timestamp) -> Outcome<Self> {
        let store = app.engine().store();
        let kinds = kinds(flow);
        let mut past = Self {
            events: Vec::new(),
            looked_at: 0,
            until,
            truncated: false,
        };
        let (mut from, mut after) = (since, 0);
        loop {
            let page = store.events_range(from, until, after, PAGE).await?;
            let Some(last) = page.last().map(|it| (it.received_at, it.seq)) else {
                return Ok(past);
            };
            past.looked_at += page.len();
            let is_last = page.len() < PAGE;
            past.events.extend(page.into_iter().filter(|it| {
                // What Dalsegno and Metaflow tell of runs is of few kinds; the core tells them apart.
                let of_runs = it.kind.starts_with("dalsegno.") || it.kind.starts_with("metaflow.");
                of_runs || kinds.contains(it.kind.as_str())
            }));
            (from, after) = last;
            if is_last {
                return Ok(past);
            }
            if past.looked_at >= EVENTS_MAX {
                past.truncated = true;
                past.until = Timestamp(from.0.saturating_add(1)).min(until);
                return Ok(past);
            }
        }
    }
}

/// The types of events that triggers name.
fn kinds(flow: &Flow) -> BTreeSet<String> {
    let leaves = flow.spec().triggers.iter().flat_map(|it| it.on.leaves());
    leaves
        .filter_map(|it| match &it.source {
            EventSource::Event { kind } => Some(kind.clone()),
            EventSource::Object { .. } => Some(OBJECT_CREATED.to_owned()),
            EventSource::Dataset { .. } => Some(DATASET_WRITTEN.to_owned()),
            EventSource::Flow { .. } | EventSource::After { .. } => None,
        })
        .collect()
}
