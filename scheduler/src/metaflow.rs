//! Metaflow flows: what a flow file declares beyond the common model, and what one task of it needs.
//!
//! A Metaflow flow is a [`FlowSpec`](crate::spec::FlowSpec) like any other; its steps run
//! [`Command::Metaflow`](crate::spec::Command::Metaflow), and the data between them lies in Metaflow's own
//! datastore. The core works out which tasks a task reads from; everything else is the executor's.

pub(crate) mod ended;
mod ids;
mod task;

pub use ids::{
    AttemptName, PARAMETERS, PARAMETERS_TASK, attempt_name, earlier_task_id, max_user_code_retries,
    origin_run_id, run_id, run_id_in, task_id, task_id_in,
};

use crate::id::StepName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is declared once for a Metaflow flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaflowFlow {
    /// The class: Metaflow's own name of the flow, the first part of every pathspec.
    pub class: String,
    /// `@project`, with the branch this deployment belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
    pub start: StepName,
    pub end: StepName,
    /// The snapshot of the code that tasks run, see [`Code`]. `None`: the file as it lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The interpreter asked for at deployment; `None`: the one that belongs to the file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// `METAFLOW_FLOW_CONFIG_VALUE`: configs as they were at registration. Empty: the flow has none.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub configs: Map<String, Value>,
    /// `--with`, in Metaflow's spelling: `retry:times=2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// `--tag` of every run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--namespace`; `None`: the namespace of the flow's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `METAFLOW_USER` of its tasks; `None`: the user who runs the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where its data lies, when that was said at deployment; else the daemon's configuration counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// `--environment` when it is not `local`: `conda`, `pypi` or `uv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Parameters that are given several times, one value each (`multiple=True`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multiple: Vec<String>,
    /// The flow has `@trigger_on_finish`: only then Metaflow's command line takes `--trigger`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_trigger: bool,
    /// What reading the file could not know, so that only people start the flow. Empty after a probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic: Vec<Dynamic>,
    /// Metaflow's version, when a probe told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metaflow_version: Option<String>,
    /// Metaflow's own compiler makes its runs executions of Step Functions; their names begin so. Metaflow names runs
    /// and tasks after executions and jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executions: Option<String>,
}

impl MetaflowFlow {
    /// Why the flow has neither schedules nor triggers although its file may declare some, in words; `None` when all
    /// of the file is known.
    pub fn only_people(&self) -> Option<String> {
        if self.dynamic.is_empty() {
            return None;
        }
        let unknown = self.dynamic.iter().map(|it| {
            let Dynamic { what, reason, line } = it;
            format!("{what} on line {line} is known only when the file runs ({reason})")
        });
        let unknown: Vec<String> = unknown.collect();
        Some(format!("only people start it: {}", unknown.join("; ")))
    }
}

/// `@project`: flows of one project and branch see each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    /// As Metaflow formats it: `user.alice`, `test.b`, `prod`, `prod.b`.
    pub branch: String,
    /// What has to be said to Metaflow to get that branch: `--branch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_option: Option<String>,
    /// `--production`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub production: bool,
}

/// A snapshot of the code, so that editing a file does not change a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Content hash; names the snapshot's folder in the data directory.
    pub hash: String,
    /// The flow file's path in the snapshot.
    pub entry: String,
    /// The working directory of its tasks: the folder in which the flow was registered.
    pub folder: String,
}

/// Where Metaflow keeps a flow's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// `local` or `s3`.
    pub datastore: String,
    /// `--datastore-root`: for `local` the `.metaflow` folder itself, for `s3` a URL.
    pub root: String,
    /// `local` or `service`.
    pub metadata: String,
}

/// Something in a flow file that only running it can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dynamic {
    /// What is not known: `@schedule(cron=…)`.
    pub what: String,
    /// Why: `os.getenv(…) is called`.
    pub reason: String,
    /// In the flow file, from 1.
    pub line: u32,
}

/// What one step of a Metaflow flow runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaflowStep {
    /// `@retry`: how often user code is repeated. [`Retry::times`](crate::spec::Retry) also counts the attempts
    /// that only run `@catch`.
    #[serde(default)]
    pub user_retries: u32,
    /// The step runs as a gang (`num_parallel`): one control task that starts the others itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parallel: bool,
    /// The successors as declared; what the step reports must be among them. Empty for the end step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<StepName>,
    /// `@exit_hook`: this function is called when the run is over, instead of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Decorators as declared, for people: `@retry(times=3)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decorators: Vec<String>,
}

/// One attempt of a Metaflow task, ready to be run. See `docs/metaflow.md`, "What a task runs".
#[derive(Clone, Debug, PartialEq)]
pub struct MetaflowTask {
    pub flow: Arc<MetaflowFlow>,
    pub step: MetaflowStep,
    /// The step's name in Metaflow; for a hook the function.
    pub name: StepName,
    /// Metaflow's run id: [`run_id`].
    pub run_id: String,
    /// Metaflow's task id: [`task_id`]. New with every life and after six attempts, never a number.
    pub task_id: String,
    /// Earlier id of the same task, whose checkpoints this one goes on from: [`earlier_task_id`].
    pub earlier_task_id: Option<String>,
    /// `--retry-count`: attempts before this one under the same task id.
    pub retry_count: u32,
    /// `--max-user-code-retries`: higher retry counts run no user code, only `@catch`.
    pub max_user_code_retries: u32,
    /// `step/task id` of each task it reads from, in the order of branches or items. For the start step
    /// [`PARAMETERS`], for a hook nothing.
    pub inputs: Vec<String>,
    /// The item of a foreach, for its direct children and only those.
    pub split_index: Option<u32>,
    /// The size of the gang, for its control task.
    pub num_parallel: Option<u32>,
    /// Values of parameters for `init`, given and default, without those that are null: for the start step. In a run
    /// that was made from another one also for tasks that read from cloned tasks only: any of them may be the first
    /// of the new run, and the first has to do `init`.
    pub params: Option<Map<String, Value>>,
    /// The events that started the run, as CloudEvents JSON.
    pub events: Arc<Vec<Value>>,
    /// The run was made from another one: its finished tasks are cloned before anything runs.
    pub origin: Option<Origin>,
    /// For an `on_error` hook: the run did not succeed.
    pub run_failed: bool,
}

/// The run that another one was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Metaflow's id of the run.
    pub run_id: String,
    /// `step/task id` of what is kept; the clones have the same ids. The same list for all tasks of a run.
    pub tasks: Arc<Vec<String>>,
    /// All parameters of the new run: they count in cloned tasks, too.
    pub params: Map<String, Value>,
}

/// What a Metaflow task gives besides its data; keys of its outputs.
pub mod output {
    /// How many workers a gang has; given by the step before it.
    pub const NUM_PARALLEL: &str = "num_parallel";
    /// Pathspecs of a gang's tasks; given by its control task, read by the join.
    pub const MAPPER_TASKS: &str = "mapper_tasks";
    /// Short texts of the items of a foreach.
    pub const LABELS: &str = "labels";
    /// `@catch` took an error.
    pub const CAUGHT: &str = "caught";
    /// The error that it took, in one line.
    pub const ERROR: &str = "error";
}

/// Environment of a step, literal: Metaflow knows no expressions.
pub type Environment = BTreeMap<String, String>;
