//! What an executor needs to know to run one attempt.

use crate::id::{AttemptId, FlowName};
use crate::metaflow::MetaflowTask;
use crate::spec::Command;
use crate::time::Span;
use serde_json::Value;
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
}
