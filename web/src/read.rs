//! Reads that pages and API share: what is live comes from the engine's view, history from the store.

use crate::input::closest;
use crate::problem::{Failure, Outcome};
use crate::state::{App, Graph};
use dalsegno_engine::{Code, EngineHandle, Problem};
use dalsegno_scheduler::row::{AttemptRow, FlowRow, RunRow, TaskRow};
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{
    Explanation, Flow, FlowName, RunId, Scheduler, TaskId, Timestamp, explain_run,
};
use dalsegno_store::{Page, TaskFilter};
use std::sync::Arc;

/// A flow as it stands, with its active version if it has one.
pub(crate) fn flow(view: &Scheduler, name: &str) -> Outcome<(FlowRow, Option<Arc<Flow>>)> {
    if let Some(state) = view.flow(name) {
        return Ok((state.row.clone(), state.flow.clone()));
    }
    let problem = Problem::new(Code::UnknownFlow, format!("there is no flow `{name}`"));
    let near = closest(name, view.flows().map(|it| it.row.name.as_str()));
    Err(Failure(match near {
        Some(near) => problem.with("did_you_mean", near),
        None => problem,
    }))
}

/// A run, live or finished.
pub(crate) async fn run(engine: &EngineHandle, id: &str) -> Outcome<Arc<RunRow>> {
    let id: RunId = id.parse().map_err(|error: dalsegno_scheduler::BadId| {
        Failure::new(Code::UnknownRun, error.to_string())
    })?;
    if let Some(run) = engine.view().run(id) {
        return Ok(Arc::clone(run));
    }
    let unknown = || Failure::new(Code::UnknownRun, format!("there is no run {id}"));
    engine.store().run(id).await?.ok_or_else(unknown)
}

/// Tasks of a run that fit a filter, at most `limit`.
pub(crate) async fn tasks(
    engine: &EngineHandle,
    run: &RunRow,
    filter: &TaskFilter,
    limit: usize,
) -> Outcome<Vec<Arc<TaskRow>>> {
    let view = engine.view();
    if view.run(run.id).is_some() {
        let fits = |it: &&Arc<TaskRow>| {
            filter
                .step
                .as_ref()
                .is_none_or(|step| *step == it.task.step)
                && (filter.states.is_empty() || filter.states.contains(&it.state))
        };
        return Ok(view
            .tasks(run.id)
            .filter(fits)
            .take(limit)
            .cloned()
            .collect());
    }
    let Page { items, .. } = engine.store().tasks(run.id, filter, None, limit).await?;
    Ok(items)
}

/// One task of a run.
pub(crate) async fn task(engine: &EngineHandle, run: &RunRow, name: &str) -> Outcome<Arc<TaskRow>> {
    let unknown = |detail: String| Failure::new(Code::UnknownTask, detail);
    let task: TaskId = name
        .parse()
        .map_err(|error: dalsegno_scheduler::BadId| unknown(error.to_string()))?;
    if let Some(task) = engine.view().task(run.id, &task) {
        return Ok(Arc::clone(task));
    }
    let found = engine.store().task(run.id, &task).await?;
    found.ok_or_else(|| unknown(format!("run {} has no task `{task}` (yet)", run.id)))
}

/// Ended attempts of one task, by number.
pub(crate) async fn attempts(engine: &EngineHandle, task: &TaskRow) -> Outcome<Vec<AttemptRow>> {
    Ok(engine.store().attempts(task.run, Some(&task.task)).await?)
}

/// Why a run stands as it does.
pub(crate) async fn why_run(
    engine: &EngineHandle,
    run: &RunRow,
    now: Timestamp,
) -> Outcome<Vec<Explanation>> {
    if let Some(whys) = engine.view().why_run(run.id, now) {
        return Ok(whys);
    }
    /// A person reads no more failed tasks than that.
    const TASKS_MAX: usize = 1_000;
    let tasks = tasks(engine, run, &TaskFilter::default(), TASKS_MAX).await?;
    Ok(explain_run(run, &tasks))
}

/// The graph of the version that a run belongs to; `None` when that version is lost or no longer valid.
pub(crate) async fn graph_of_run(app: &App, run: &RunRow) -> Outcome<Option<Graph>> {
    if let Some(graph) = app.known_graph(&run.flow, &run.version) {
        return Ok(Some(graph));
    }
    let live = app.engine().view().flow_of(run.id).cloned();
    let flow = match live {
        Some(flow) => Some(flow),
        None => stored_flow(app.engine(), &run.flow, run).await?,
    };
    match flow {
        Some(flow) => Ok(Some(app.lay_out(flow, &run.version).await)),
        None => Ok(None),
    }
}

async fn stored_flow(
    engine: &EngineHandle,
    name: &FlowName,
    run: &RunRow,
) -> Outcome<Option<Arc<Flow>>> {
    let Some(version) = engine.store().version(name, &run.version).await? else {
        return Ok(None);
    };
    let spec: Option<FlowSpec> = serde_json::from_str(&version.definition).ok();
    Ok(spec.and_then(|it| Flow::new(it).ok()).map(Arc::new))
}
