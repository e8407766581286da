//! What an executor needs to know to run one attempt.

use crate::flow::Flow;
use crate::id::{AttemptId, FlowName, RunId, TaskId, TriggerName, Version};
use crate::metaflow::MetaflowTask;
use crate::row::{Interval, TaskRow, TaskState};
use crate::spec::{Command, ExecutorKind, Remote};
use crate::state::Scheduler;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One attempt, ready to be run. Worked out from rows each time it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    pub attempt: AttemptId,
    pub flow: FlowName,
    pub command: Command,
    /// The flow file; its folder is the working directory.
    pub file: String,
    /// Parameters in upper case, the flow's and step's `env`, `ITEM…`, and those `DALSEGNO_…` variables
    /// that mean the same everywhere. The executor adds those that name places on its side. With
    /// [`Command::Metaflow`] there are neither parameters nor items: those are in Metaflow's datastore.
    pub env: BTreeMap<String, String>,
    /// Outputs that the task must write.
    pub outputs: Vec<String>,
    pub memory_bytes: Option<u64>,
    /// Between a polite stop and a forced one.
    pub grace: Span,
    /// The event that started the run, as CloudEvents JSON.
    pub event: Option<Arc<Value>>,
    /// With [`Command::Metaflow`].
    pub metaflow: Option<Box<MetaflowTask>>,
    /// Of a step that runs elsewhere.
    pub remote: Option<Box<RemoteTask>>,
}

impl Submission {
    pub fn executor(&self) -> ExecutorKind {
        self.remote
            .as_ref()
            .map_or(ExecutorKind::Local, |it| it.spec.executor)
    }
}

/// What is to be known of an attempt that runs elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteTask {
    pub spec: Remote,
    /// Of the attempt, from its start.
    pub timeout: Option<Span>,
    /// How often the task was repeated because there was no capacity: chooses among several queues.
    pub capacity_retries: u32,
    /// How often its host may go away before that is our failure.
    pub lost_retries: u32,
    /// What the attempt is called there, when that is durable already.
    pub external_id: Option<Arc<str>>,
    /// The attempt is one of many that are submitted as one.
    pub array: Option<ArrayPlace>,
    /// When the run was created. With the run's number it is unique even when a database was thrown away.
    pub run_created_at: Timestamp,
    /// Attempts that the task had before this generation of its run.
    pub attempts_before: u32,
    /// With [`ExecutorKind::StepFunctions`].
    pub execution: Option<Arc<Execution>>,
}

/// An attempt's place in an array job. Decided and durable before any of the array is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayPlace {
    /// The attempt at index 0: it names the array.
    pub first: AttemptId,
    /// 0 to `size - 1`.
    pub index: u32,
    /// 2 to 10,000.
    pub size: u32,
}

/// A run that Step Functions executes as a whole.
#[derive(Clone, Debug)]
pub struct Execution {
    pub flow: Arc<Flow>,
    pub version: Version,
    /// 1, and one more with every resume.
    pub generation: u32,
    pub params: Arc<Map<String, Value>>,
    pub interval: Interval,
    pub trigger: TriggerName,
    /// The events that started the run, as CloudEvents JSON.
    pub events: Arc<Vec<Value>>,
    /// Tasks that are not done again: they had succeeded when this generation began, or had failed and been passed over.
    /// With their outputs.
    pub done: Vec<DoneTask>,
}

/// A task that had succeeded, and its outputs if it had any.
pub type DoneTask = (TaskId, Option<Arc<Map<String, Value>>>);

/// The executions that the submissions of one dispatch belong to: worked out once for all tasks of each.
#[derive(Debug, Default)]
pub struct Executions(BTreeMap<RunId, Arc<Execution>>);

impl Executions {
    pub(crate) fn of(&mut self, s: &Scheduler, run: RunId) -> Arc<Execution> {
        let execution = self
            .0
            .entry(run)
            .or_insert_with(|| Arc::new(execution(s, run)));
        execution.clone()
    }
}

fn execution(s: &Scheduler, run: RunId) -> Execution {
    let run = &s.runs[&run];
    let row = &run.row;
    let made_of_others = row.generation > 1 || row.origin.is_some();
    let tasks = made_of_others.then(|| s.run_tasks(row.id));
    // What this generation did was asked for after it was queued; what a run was made with, never in it.
    let before = |task: &&Arc<TaskRow>| task.submitted_at.is_none_or(|it| it < row.queued_at);
    let done = tasks
        .into_iter()
        .flatten()
        .map(|(_, task)| task)
        .filter(|it| matches!(it.state, TaskState::Succeeded | TaskState::Caught))
        .filter(before);
    Execution {
        flow: run.flow.clone(),
        version: row.version.clone(),
        generation: row.generation,
        params: row.params.clone(),
        interval: row.interval,
        trigger: row.trigger.clone(),
        events: row.event_data.clone(),
        done: done
            .map(|it| (it.task.clone(), it.outputs.clone()))
            .collect(),
    }
}

/// An attempt that may be alive, as the rows know it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveAttempt {
    pub attempt: AttemptId,
    pub executor: ExecutorKind,
    pub external_id: Option<Arc<str>>,
    pub array: Option<ArrayPlace>,
    /// It is to be stopped.
    pub stopping: bool,
}

impl PartialEq for Execution {
    /// The version stands for the flow.
    fn eq(&self, other: &Self) -> bool {
        let all = |it: &Self| {
            (
                it.version.clone(),
                it.generation,
                it.params.clone(),
                it.interval,
                it.trigger.clone(),
                it.events.clone(),
                it.done.clone(),
            )
        };
        all(self) == all(other)
    }
}
