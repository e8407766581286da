//! What the daemon knows of flows that is in no row: their interpreters, probes under way, warnings.

use dalsegno_scheduler::FlowName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Notes by flow.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<BTreeMap<FlowName, Note>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    /// As a person reads it: path and versions.
    pub(super) interpreter: Option<String>,
    pub(super) python: Option<PathBuf>,
    /// Why the interpreter is not the one that is wanted.
    pub(super) instead: Option<String>,
    /// Why it has no interpreter.
    pub(super) no_interpreter: Option<String>,
    /// What is being done.
    pub(super) doing: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    pub(super) fn of(&self, flow: &FlowName) -> Note {
        self.lock().get(flow).cloned().unwrap_or_default()
    }

    pub(super) fn change(&self, flow: &FlowName, change: impl FnOnce(&mut Note)) {
        change(self.lock().entry(flow.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlowName, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
