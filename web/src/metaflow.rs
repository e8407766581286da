//! Metaflow flows as this side of the daemon sees them: what comes in with a deployment, and what is told of runs.

use crate::state::App;
use dalsegno_engine::Problem;
use dalsegno_scheduler::metaflow::{MetaflowFlow, Storage, run_id_in};
use dalsegno_scheduler::row::{FlowRow, RunRow};
use dalsegno_scheduler::{Flow, FlowName, Scheduler, Version};
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// What reads flow files, and registers, removes and knows flows that are Metaflow files. The daemon does; pages and API
/// only ask.
pub trait MetaflowFlows: Send + Sync + 'static {
    /// Registers a flow that came over HTTP.
    ///
    /// # Errors
    /// What the client is told: the code does not fit the dump, the name is taken, it cannot be stored.
    fn deploy(&self, deployment: Deployment) -> Later<Deployed>;

    /// Takes off a flow that came over HTTP.
    ///
    /// # Errors
    /// When it lies in the flows folder, or the engine does not take the change.
    fn remove(&self, flow: FlowName) -> Later<()>;

    /// Reads the text of a flow file as if it lay in the flows folder. Nothing is registered. Takes a while: not for the
    /// threads that serve.
    ///
    /// # Errors
    /// What is wrong with it, in `errors`.
    fn read(&self, file: &str, text: &str) -> Result<Arc<Flow>, Problem>;

    /// What pages tell about a flow beyond what it declares.
    fn about(&self, row: &FlowRow, flow: &MetaflowFlow) -> About;
}

/// What Metaflow keeps of tasks. The daemon reads its datastore; pages only ask, away from the threads that serve.
pub trait TaskData: Send + Sync + 'static {
    /// What an attempt stored, without what is private to it or Metaflow's own.
    fn artifacts(&self, task: &KeptTask) -> Artifacts;

    /// The cards of a task, newest first.
    fn cards(&self, task: &KeptTask) -> Vec<CardFile>;
}

/// A task's place in a datastore.
#[derive(Clone, Debug)]
pub struct KeptTask {
    pub storage: Storage,
    pub class: String,
    pub run_id: String,
    pub step: String,
    pub task_id: String,
    /// Metaflow's retry count.
    pub retry_count: u32,
}

/// What is known of the artifacts of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifacts {
    Listed(Vec<Artifact>),
    /// Nothing was stored there, or not yet.
    None,
    /// They are not on this machine, but there.
    Elsewhere(String),
    /// Why they cannot be listed.
    Unreadable(String),
}

/// One artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub name: String,
    /// Its Python type: `str`, `pandas.core.frame.DataFrame`.
    pub kind: String,
    /// In bytes, as it was pickled.
    pub size: Option<u64>,
}

/// A card: what a task shows of itself as a page of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFile {
    /// The file's name, unique within the task.
    pub name: String,
    /// What people call it: its type, and its id if it has one.
    pub title: String,
    pub path: PathBuf,
}

/// What an operation gives when it is over.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send>>;

/// A flow as `dalsegno create` of a Metaflow client sends it, with its code.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The flow's class.
    pub class: String,
    /// The flow file where it was deployed, absolute; for people.
    pub file: String,
    /// The working directory there; its tasks' working directory here, if it exists.
    pub folder: String,
    /// The machine it comes from.
    #[serde(default)]
    pub host: Option<String>,
    /// The code files: a gzipped tar archive in base64.
    pub package: String,
    /// The flow file's path in the package.
    pub entry: String,
    /// What Metaflow itself says of the flow.
    pub dump: Value,
    /// The interpreter of its tasks.
    #[serde(default)]
    pub python: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    /// `--branch`.
    #[serde(default)]
    pub branch: Option<String>,
    /// `--production`.
    #[serde(default)]
    pub production: bool,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub namespace: Option<String>,
    /// `--with`, in Metaflow's spelling.
    #[serde(default)]
    pub with: Vec<String>,
    #[serde(default)]
    pub storage: Option<Storage>,
    /// `--environment`.
    #[serde(default)]
    pub environment: Option<String>,
    /// The run strategy, as in the configuration: `parallel(4)`, `sequential` …
    #[serde(default)]
    pub strategy: Option<String>,
}

/// What came of a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    pub flow: FlowName,
    pub version: Version,
    /// False: the same version was active already.
    pub created: bool,
    /// Findings that did not stand in the way.
    pub warnings: Vec<String>,
}

/// What the daemon knows of a flow that its file does not say.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The interpreter that its tasks run under, as a path.
    pub python: Option<String>,
    /// Where Metaflow keeps its data.
    pub storage: Option<Storage>,
    /// What goes on or went wrong with reading it: a probe that runs, an environment that is being made.
    pub progress: Option<String>,
    /// Why not even people can start it now: its steps are not known, or a probe goes on without which a run would
    /// not have its configs.
    pub held: Option<String>,
    /// Where reading the file and asking Metaflow gave different answers, and other findings.
    pub warnings: Vec<String>,
    /// It came over HTTP, from there; `None`: it lies in the flows folder.
    pub deployed_from: Option<String>,
}

/// `metaflow` of a run as the API shows it; `None` when its flow is none of Metaflow's.
pub(crate) fn of_run(view: &Scheduler, run: &RunRow) -> Option<Value> {
    // A run's own version counts while it lives.
    let live = view.flow_of(run.id).cloned();
    let flow = live.or_else(|| view.flow(run.flow.as_str())?.flow.clone())?;
    let metaflow = flow.spec().metaflow.as_ref()?;
    let (class, id) = (&metaflow.class, run_id_in(metaflow, run));
    let mut value = json!({ "pathspec": format!("{class}/{id}"), "run_id": id });
    if let Some(origin) = run.origin {
        value["origin"] = origin.to_string().into();
    }
    Some(value)
}

/// `metaflow` of a flow as the API shows it.
pub(crate) fn of_flow(app: &App, row: &FlowRow, flow: &MetaflowFlow) -> Value {
    let about = app.web.metaflow.about(row, flow);
    let mut value = serde_json::to_value(flow).unwrap_or_default();
    value["interpreter"] = json!(about.python);
    value["storage"] = json!(about.storage);
    value["progress"] = json!(about.progress);
    value["held"] = json!(about.held);
    value["warnings"] = json!(about.warnings);
    value["deployed_from"] = json!(about.deployed_from);
    // Configs may hold what is nobody's business.
    if let Some(map) = value.as_object_mut() {
        map.remove("configs");
    }
    value
}
