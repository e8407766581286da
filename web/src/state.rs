//! What the pages and the API work with.

use crate::alerts::Channels;
use crate::breakers::Breakers;
use crate::dag::Layout;
use crate::metaflow::{MetaflowFlows, TaskData};
use crate::problem::{Failure, Outcome};
use crate::remote::Remote;
use dalsegno_engine::{Code, EngineHandle};
use dalsegno_scheduler::{AttemptId, Flow, FlowName, Timestamp, Version};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Where the logs of attempts lie. The executor knows; the daemon passes it on.
pub trait LogFiles: Send + Sync + 'static {
    /// The file that holds this stream of this attempt, whether it exists or not.
    fn path(&self, attempt: &AttemptId, stream: Stream) -> PathBuf;
}

/// One of the two streams that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How the places are doing that events come from, and go to. The daemon knows; pages, API and metrics only ask.
pub trait Sources: Send + Sync + 'static {
    /// All that are configured, by kind and name.
    fn all(&self) -> Vec<SourceState>;

    /// What of a run, named as in Metaflow, has not been told yet; a sentence.
    fn waits_of_metaflow(&self, _run: &str) -> Option<String> {
        None
    }
}

/// One of them as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// `queue`, `directory`, `webhook`, `lineage` …
    pub kind: &'static str,
    pub name: String,
    /// Where it is: a URL or a folder.
    pub target: String,
    /// In one word: `ok`, `denied`, `unreachable` …
    pub state: &'static str,
    /// Someone should look at it.
    pub is_trouble: bool,
    /// What is wrong, if anything is.
    pub message: Option<String>,
    /// What a person can do about it.
    pub cure: Option<String>,
    /// What is worth a look although it works.
    pub notes: Vec<String>,
    /// Since when it has been in this state.
    pub since: Timestamp,
    pub last_event_at: Option<Timestamp>,
    /// Since the daemon started: deliveries that were looked at, those that could not be read as events, and others by
    /// name.
    pub received: u64,
    pub refused: u64,
    pub counts: BTreeMap<&'static str, u64>,
}

/// What [`crate::router`] needs.
#[derive(Clone)]
pub struct WebState {
    pub engine: EngineHandle,
    pub logs: Arc<dyn LogFiles>,
    pub metaflow: Arc<dyn MetaflowFlows>,
    pub task_data: Arc<dyn TaskData>,
    pub sources: Arc<dyn Sources>,
    /// `None`: nothing runs on AWS.
    pub remote: Option<Arc<dyn Remote>>,
    /// Circuit breakers of the services that are asked; `None` without any.
    pub breakers: Option<Arc<dyn Breakers>>,
    /// Where alerts go; `None`: nobody is told of any.
    pub channels: Option<Arc<dyn Channels>>,
    /// Whoever calls must know it; `None`: everyone on this machine may call.
    pub token: Option<String>,
    /// The daemon listens on loopback only, so requests for any other host name are refused (a page of
    /// another site may have pointed its name at this machine).
    pub loopback: bool,
    /// The daemon's version, for the foot of pages and `/api/v1`.
    pub version: String,
    /// Turns true when the daemon stops: streams and long polls end then.
    pub stopping: watch::Receiver<bool>,
}

/// The state of all handlers.
pub(crate) struct App {
    pub(crate) web: WebState,
    graphs: Mutex<BTreeMap<(FlowName, Version), Graph>>,
}

/// A flow version and its laid out graph.
#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) flow: Arc<Flow>,
    pub(crate) layout: Arc<Layout>,
}

/// How many laid out graphs are kept. A graph of 50 steps takes about 30 KiB.
const GRAPHS_MAX: usize = 256;

impl App {
    pub(crate) fn new(web: WebState) -> Arc<Self> {
        Arc::new(Self {
            web,
            graphs: Mutex::default(),
        })
    }

    pub(crate) fn engine(&self) -> &EngineHandle {
        &self.web.engine
    }

    /// What is asked of AWS.
    pub(crate) fn remote(&self) -> Outcome<Arc<dyn Remote>> {
        self.web.remote.clone().ok_or_else(|| {
            let detail = "this daemon is not configured for AWS: dalsegno.toml has no [aws]";
            Failure::new(Code::NoAws, detail)
        })
    }

    /// The graph of a version, if it was laid out before.
    pub(crate) fn known_graph(&self, flow: &FlowName, version: &Version) -> Option<Graph> {
        let graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        graphs.get(&(flow.clone(), version.clone())).cloned()
    }

    /// Lays out a graph, away from the threads that serve, and keeps it.
    pub(crate) async fn lay_out(&self, flow: Arc<Flow>, version: &Version) -> Graph {
        let name = flow.name().clone();
        if let Some(graph) = self.known_graph(&name, version) {
            return graph;
        }
        let drawn = Arc::clone(&flow);
        let layout = tokio::task::spawn_blocking(move || Layout::of(&drawn)).await;
        let layout = Arc::new(layout.unwrap_or_default());
        let graph = Graph { flow, layout };
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if graphs.len() >= GRAPHS_MAX {
            graphs.clear();
        }
        graphs.insert((name, version.clone()), graph.clone());
        graph
    }
}
