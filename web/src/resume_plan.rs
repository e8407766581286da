//! How a finished run would go on where Step Functions executes it as a whole, told before it is done.

use crate::problem::{Failure, Outcome};
use crate::read;
use crate::remote::ResumedExecution;
use crate::state::App;
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::row::{RunSnapshot, RunState, TaskRow, TaskState};
use dalsegno_scheduler::{
    Execution, ExecutorKind, Flow, NodeId, Rejected, ResumeWith, StepName, Version,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// So many names are written out in a sentence.
const NAMES_MAX: usize = 12;

/// What Step Functions will do.
pub(crate) struct ResumePlan {
    execution: ResumedExecution,
    /// What is left, in the order of the flow.
    steps: Vec<String>,
    /// Finished tasks whose outputs a new execution begins with.
    takes_over: Vec<String>,
}

/// `None`: the flow is not executed there.
pub(crate) async fn resume_plan(
    app: &App,
    id: &str,
    from: Option<StepName>,
    with: ResumeWith,
) -> Outcome<Option<ResumePlan>> {
    let run = read::run(app.engine(), id).await?;
    let no = |rejected: Rejected| Failure(Problem::from(rejected));
    if !run.state.is_terminal() {
        return Err(no(Rejected::NotFinished(run.id)));
    }
    if from.is_none() && run.state == RunState::Succeeded {
        return Err(no(Rejected::AlreadySucceeded(run.id)));
    }
    let old = app.engine().store().snapshot(run.id).await?;
    let old = old.ok_or_else(|| no(Rejected::UnknownRun(run.id)))?;
    let (flow, version) =
        version(app, &old, with).ok_or_else(|| no(Rejected::NoVersion(run.flow.clone())))?;
    if !is_at_step_functions(&flow) {
        return Ok(None);
    }
    let again = repeated(&flow, from.as_ref()).ok_or_else(|| {
        no(Rejected::UnknownStep {
            flow: run.flow.clone(),
            step: from.clone().unwrap_or_else(|| StepName::new("")),
        })
    })?;
    let (kept, left): (Vec<_>, Vec<_>) =
        (old.tasks.iter()).partition(|it| is_kept(&flow, it, &again));
    let is_left = |step: &StepName| {
        left.iter().any(|it| it.task.step == *step) || !kept.iter().any(|it| it.task.step == *step)
    };
    let steps = flow.spec().steps.iter().map(|it| &it.name);
    let steps = steps
        .filter(|it| is_left(it))
        .map(ToString::to_string)
        .collect();
    let has_outputs = |it: &&&Arc<TaskRow>| it.outputs.as_ref().is_some_and(|it| !it.is_empty());
    let takes_over = kept
        .iter()
        .filter(has_outputs)
        .map(|it| it.task.to_string());
    let takes_over = takes_over.collect();
    let execution = Execution {
        flow,
        version,
        generation: run.generation + 1,
        params: run.params.clone(),
        interval: run.interval,
        trigger: run.trigger.clone(),
        events: run.event_data.clone(),
        done: kept
            .iter()
            .map(|it| (it.task.clone(), it.outputs.clone()))
            .collect(),
    };
    let remote = app.remote()?;
    let execution = remote
        .resume_plan(run.id, run.created_at, execution)
        .await?;
    Ok(Some(ResumePlan {
        execution,
        steps,
        takes_over,
    }))
}

/// Of a query's `version`: `latest` unless said otherwise.
pub(crate) fn resume_with(text: Option<&str>) -> Outcome<ResumeWith> {
    match text {
        None | Some("latest") => Ok(ResumeWith::Latest),
        Some("same") => Ok(ResumeWith::Same),
        Some(other) => {
            let detail = format!("query `version={other}`: expected latest or same");
            Err(Failure::new(Code::BadRequest, detail))
        }
    }
}

/// Whether the whole of a flow is one execution there.
pub(crate) fn is_at_step_functions(flow: &Flow) -> bool {
    let mut remotes = flow.spec().steps.iter().filter_map(|it| it.remote.as_ref());
    remotes.any(|it| it.executor == ExecutorKind::StepFunctions)
}

/// With which version it goes on.
fn version(app: &App, old: &RunSnapshot, with: ResumeWith) -> Option<(Arc<Flow>, Version)> {
    let (view, run) = (app.engine().view(), &old.run);
    if let Some(state) = view.flow(run.flow.as_str())
        && let (Some(version), Some(flow)) = (&state.row.active_version, &state.flow)
        && (with == ResumeWith::Latest || *version == run.version)
    {
        return Some((flow.clone(), version.clone()));
    }
    let spec = serde_json::from_str(&old.version.definition).ok()?;
    Some((Arc::new(Flow::new(spec).ok()?), run.version.clone()))
}

/// What is done again, finished or not; `None`: there is no such step.
fn repeated(flow: &Flow, from: Option<&StepName>) -> Option<BTreeSet<NodeId>> {
    let Some(from) = from else {
        return Some(BTreeSet::new());
    };
    let scope = flow.scope(from.as_str()).map(|(_, open, _)| open);
    let first = scope.or_else(|| flow.step_node(from.as_str()))?;
    let (mut found, mut next) = (BTreeSet::new(), vec![first]);
    while let Some(node) = next.pop() {
        if found.insert(node) {
            next.extend(&flow.node(node).successors);
        }
    }
    Some(found)
}

fn is_kept(flow: &Flow, task: &TaskRow, again: &BTreeSet<NodeId>) -> bool {
    let node = flow.step_node(task.task.step.as_str());
    matches!(task.state, TaskState::Succeeded | TaskState::Caught)
        && node
            .is_some_and(|it| !again.contains(&it) && flow.node(it).depth == task.task.path.depth())
}

impl ResumePlan {
    pub(crate) fn json(&self) -> Value {
        json!({
            "redrive": self.execution.new_because.is_none(),
            "execution": self.execution.name,
            "because": self.execution.new_because,
            "steps": self.steps,
            "takes_over": self.takes_over,
            "text": self.to_string(),
        })
    }
}

impl fmt::Display for ResumePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, steps) = (&self.execution.name, names(&self.steps));
        let Some(because) = &self.execution.new_because else {
            return write!(
                f,
                "execution {name} is redriven: it begins again where it failed, and does {steps}"
            );
        };
        write!(f, "a new execution {name} does {steps}")?;
        if !self.takes_over.is_empty() {
            write!(f, " with the outputs of {}", names(&self.takes_over))?;
        }
        write!(f, "; no redrive, for {because}")
    }
}

fn names(all: &[String]) -> String {
    let shown = all.len().min(NAMES_MAX);
    let text = all[..shown].join(", ");
    match all.len() - shown {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
