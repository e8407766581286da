//! Runs and what hangs on them: tasks, attempts, journal, why; cancel, resume, wait.

use super::flows::{ReasonBody, explanation, idempotency_key, told};
use crate::act;
use crate::input::{Json, Query, closest};
use crate::json;
use crate::live::Watch;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::resume_plan::{resume_plan, resume_with};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::metaflow::run_id;
use dalsegno_scheduler::row::{RunRow, RunState, TaskState};
use dalsegno_scheduler::{Explanation, FlowName, ResumeWith, StepName, TaskId};
use dalsegno_store::{Cursor, JournalFilter, RunFilter, TaskFilter};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/runs", list)
        .get("/api/v1/runs/{id}", one)
        .get("/api/v1/runs/by-metaflow/{run_id}", by_metaflow)
        .get("/api/v1/runs/{id}/tasks", tasks)
        .get("/api/v1/runs/{id}/attempts", attempts)
        .get("/api/v1/runs/{id}/journal", journal)
        .get("/api/v1/runs/{id}/why", why)
        .get("/api/v1/runs/{id}/wait", wait)
        .post("/api/v1/runs/{id}/cancel", cancel)
        .get("/api/v1/runs/{id}/resume-plan", plan)
        .post("/api/v1/runs/{id}/resume", resume)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["flow", "trigger", "state", "limit", "cursor"])?;
    if let Some(name) = query.get("flow") {
        read::flow(&app.engine().view(), name)?;
    }
    let filter = RunFilter {
        flow: query.get("flow").map(FlowName::new),
        trigger: query
            .get("trigger")
            .map(dalsegno_scheduler::TriggerName::new),
        states: run_states(query.get("state"))?,
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store.runs(&filter, cursor.as_ref(), query.limit()?).await?;
    let view = app.engine().view();
    let items = page.items.iter().map(|it| json::run(&view, it)).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

/// One state or several with commas; `unfinished` and `finished` stand for groups.
pub(crate) fn run_states(text: Option<&str>) -> Outcome<Vec<RunState>> {
    let mut states = Vec::new();
    for word in text.into_iter().flat_map(|it| it.split(',')) {
        match word {
            "unfinished" => states.extend(RunState::ALL.iter().filter(|it| !it.is_terminal())),
            "finished" => states.extend(RunState::ALL.iter().filter(|it| it.is_terminal())),
            word => states.push(RunState::parse(word).ok_or_else(|| {
                let known = RunState::ALL.iter().map(|it| it.as_str());
                no_state(word, known.chain(["unfinished", "finished"]))
            })?),
        }
    }
    Ok(states)
}

pub(crate) fn task_states(text: Option<&str>) -> Outcome<Vec<TaskState>> {
    let words = text.into_iter().flat_map(|it| it.split(','));
    words
        .map(|word| {
            let known = TaskState::ALL.iter().map(|it| it.as_str());
            TaskState::parse(word).ok_or_else(|| no_state(word, known))
        })
        .collect()
}

fn no_state(word: &str, known: impl Iterator<Item = &'static str>) -> Failure {
    let known: Vec<&str> = known.collect();
    let near = closest(word, known.iter().copied());
    let near = near
        .map(|it| format!("; did you mean `{it}`?"))
        .unwrap_or_default();
    let detail = format!(
        "`{word}` is not a state{near} (states are {})",
        known.join(", ")
    );
    Failure::new(Code::BadRequest, detail)
}

async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let run = read::run(app.engine(), &id).await?;
    let children = app.engine().store().children(run.id).await?;
    let view = app.engine().view();
    let children = children.iter().map(|it| {
        let it = view.run(it.id).unwrap_or(it);
        let task = it.parent.as_ref().map(|it| &it.attempt.task);
        serde_json::json!({
            "run": it.id.to_string(), "flow": it.flow, "task": task, "state": it.state,
        })
    });
    let mut value = json::run(&view, &run);
    value["children"] = children.collect();
    Ok(axum::Json(value))
}

/// A run by its id in Metaflow, so that what stands in a pathspec leads to it.
async fn by_metaflow(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let unknown = || {
        let detail = format!(
            "there is no run `{name}`; runs that Dalsegno started are called dalsegno-RUN-… in Metaflow"
        );
        Failure::new(Code::UnknownRun, detail)
    };
    // At Step Functions: `sfn-ds-INSTALLATION-RUN-…-g1`.
    let execution = name
        .strip_prefix("sfn-ds-")
        .and_then(|it| it.strip_suffix("-g1"));
    let plain = execution.and_then(|it| Some(format!("dalsegno-{}", it.split_once('-')?.1)));
    let plain = plain.as_deref().unwrap_or(&name);
    let mut parts = plain.split('-');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some("dalsegno"), Some(number), Some(_), None) = parts else {
        return Err(unknown());
    };
    let run = read::run(app.engine(), number)
        .await
        .map_err(|failure| match failure.0.code {
            Code::UnknownRun => unknown(),
            _ => failure,
        })?;
    let value = json::run(&app.engine().view(), &run);
    match value["metaflow"]["run_id"] == name.as_str() {
        true => Ok(axum::Json(value)),
        false => Err(unknown()),
    }
}

async fn tasks(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["step", "state", "limit", "cursor"])?;
    let run = read::run(app.engine(), &id).await?;
    let filter = TaskFilter {
        step: query.get("step").map(StepName::new),
        states: task_states(query.get("state"))?,
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store
        .tasks(run.id, &filter, cursor.as_ref(), query.limit()?)
        .await?;
    // A start is told to the engine before it is durable: what the engine knows is newer.
    let view = app.engine().view();
    let items = page.items.iter().map(|it| {
        let live = view.task(run.id, &it.task).unwrap_or(it);
        json::row(&**live)
    });
    Ok(axum::Json(json::list(
        items.collect(),
        page.next.map(|it| it.0),
    )))
}

async fn attempts(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["task"])?;
    let run = read::run(app.engine(), &id).await?;
    let task: Option<TaskId> = query.parse("task", "a task such as train[3]")?;
    let ended = app.engine().store().attempts(run.id, task.as_ref()).await?;
    let view = app.engine().view();
    let live = view
        .tasks(run.id)
        .filter(|it| task.as_ref().is_none_or(|task| *task == it.task))
        .filter_map(|it| json::live_attempt(it));
    let items = ended.iter().map(json::attempt).chain(live).collect();
    Ok(axum::Json(json::list(items, None)))
}

async fn journal(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["limit", "cursor"])?;
    let run = read::run(app.engine(), &id).await?;
    let after = query.parse::<u64>("cursor", "the `next` of the page before")?;
    let limit = query.limit()?;
    let filter = JournalFilter::Run(run.id);
    let entries = app
        .engine()
        .store()
        .journal(&filter, after.unwrap_or(0), limit)
        .await?;
    let next = entries.last().filter(|_| entries.len() == limit);
    let next = next.map(|it| it.seq.to_string());
    Ok(axum::Json(json::list(
        entries.iter().map(json::row).collect(),
        next,
    )))
}

async fn why(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let run = read::run(app.engine(), &id).await?;
    let mut whys = read::why_run(app.engine(), &run, app.engine().now()).await?;
    let waits = app.web.sources.waits_of_metaflow(&run_id(&run));
    whys.extend(waits.map(|text| Explanation {
        code: "metadata_waits".to_owned(),
        subject: format!("run {}", run.id),
        reason: None,
        text,
        until: None,
        cure: Some("`dalsegno sources` tells how the service is doing".to_owned()),
    }));
    Ok(axum::Json(json::list(
        whys.iter().map(explanation).collect(),
        None,
    )))
}

/// How long a request may wait, in seconds.
const WAIT_MAX_S: u64 = 300;

/// Answers when the run is finished, or with the unfinished run when the time is up.
async fn wait(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["timeout"])?;
    let expected = "a number of seconds up to 300";
    let seconds = query.parse::<u64>("timeout", expected)?.unwrap_or(30);
    if seconds > WAIT_MAX_S {
        let detail = format!("query parameter `timeout` is {seconds}, and {expected} is expected");
        return Err(Failure::new(Code::BadRequest, detail));
    }
    let run = finished(&app, &id, Duration::from_secs(seconds)).await?;
    Ok(axum::Json(json::run(&app.engine().view(), &run)))
}

async fn finished(app: &App, id: &str, limit: Duration) -> Outcome<Arc<RunRow>> {
    // Subscribed before the first read, so that no end falls in between.
    let mut watch = Watch::new(&app.web);
    let mut run = read::run(app.engine(), id).await?;
    let wanted = run.id;
    let end = tokio::time::Instant::now() + limit;
    while !run.state.is_terminal() {
        match tokio::time::timeout_at(end, watch.run_changed(wanted)).await {
            Ok(true) => run = read::run(app.engine(), id).await?,
            Ok(false) | Err(_) => break,
        }
    }
    Ok(run)
}

async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(body): Json<ReasonBody>,
) -> Outcome<axum::Json<Value>> {
    let by = body.by.unwrap_or_else(|| "api".into());
    act::cancel(&app, &id, by, body.reason).await?;
    let run = read::run(app.engine(), &id).await?;
    Ok(axum::Json(json::run(&app.engine().view(), &run)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeBody {
    from: Option<StepName>,
    #[serde(default)]
    version: WithVersion,
    by: Option<String>,
    /// A new run is made, with these instead of the values that the old one had.
    params: Option<Map<String, Value>>,
}

/// The version of the flow with which a resumed run goes on.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WithVersion {
    #[default]
    Latest,
    Same,
}

impl From<WithVersion> for ResumeWith {
    fn from(version: WithVersion) -> Self {
        match version {
            WithVersion::Latest => Self::Latest,
            WithVersion::Same => Self::Same,
        }
    }
}

/// How a finished run would go on where Step Functions executes it. Changes nothing.
async fn plan(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["from", "version"])?;
    let with = resume_with(query.get("version"))?;
    let from = query.get("from").map(StepName::new);
    let plan = resume_plan(&app, &id, from, with).await?;
    let plan = plan.map(|it| it.json());
    Ok(axum::Json(json!({ "run": id, "step_functions": plan })))
}

async fn resume(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<ResumeBody>,
) -> Outcome<Response> {
    let by = body.by.unwrap_or_else(|| "api".into());
    if let Some(params) = body.params {
        let key = idempotency_key(&headers)?;
        let version = body.version.into();
        let started = act::rerun(&app, &id, body.from, params, version, key, by).await?;
        return told(&app, started).await;
    }
    act::resume(&app, &id, body.from, body.version.into(), by).await?;
    let run = read::run(app.engine(), &id).await?;
    Ok(axum::Json(json::run(&app.engine().view(), &run)).into_response())
}
