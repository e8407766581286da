//! What the pages and the API work with.

use crate::dag::Layout;
use crate::metaflow::{MetaflowFlows, TaskData};
use dalsegno_engine::EngineHandle;
use dalsegno_scheduler::{AttemptId, Flow, FlowName, Version};
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

/// What [`crate::router`] needs.
#[derive(Clone)]
pub struct WebState {
    pub engine: EngineHandle,
    pub logs: Arc<dyn LogFiles>,
    pub metaflow: Arc<dyn MetaflowFlows>,
    pub task_data: Arc<dyn TaskData>,
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
