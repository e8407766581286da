//! How each source of events is doing: what pages, the API and `doctor` show.

use dalsegno_scheduler::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    Queue,
    Directory,
    Webhook,
    /// OpenLineage events that other tools post.
    Lineage,
    /// Who receives the OpenLineage events of our own runs.
    LineageReceiver,
    /// Metaflow's metadata service, which is told of runs.
    MetadataService,
}

impl SourceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Directory => "directory",
            Self::Webhook => "webhook",
            Self::Lineage => "lineage",
            Self::LineageReceiver => "lineage_receiver",
            Self::MetadataService => "metadata_service",
        }
    }
}

/// How a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Nothing was heard of it yet.
    Starting,
    Ok,
    /// Another instance is in charge and reads it.
    Standby,
    /// It is well, but what it brought cannot be decided at the moment; it is kept.
    Held,
    /// It asks to be read more slowly.
    Throttled,
    /// It does not let us in.
    Denied,
    /// It does not exist.
    Missing,
    /// It does not answer.
    Unreachable,
    /// It works badly or not at all until someone helps.
    Broken,
}

impl SourceState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Standby => "standby",
            Self::Held => "held",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
        }
    }

    /// Whether someone should look at it.
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::Starting | Self::Ok | Self::Standby)
    }
}

/// What a source is doing, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub state: SourceState,
    /// What is wrong, as a sentence without a full stop; empty when nothing is.
    pub message: String,
    /// What a person can do.
    pub cure: Option<String>,
}

impl Condition {
    pub const fn new(state: SourceState) -> Self {
        Self {
            state,
            message: String::new(),
            cure: None,
        }
    }

    pub fn with(state: SourceState, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::new(state)
        }
    }

    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// Figures of a source since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Deliveries that were looked at: messages, files, requests.
    pub deliveries: u64,
    /// Events that were accepted for the first time.
    pub events: u64,
    /// Events that had been accepted before.
    pub duplicates: u64,
    /// Deliveries that are no events and were meant to be none, such as `s3:TestEvent` and temporary files.
    pub passed_over: u64,
    /// Deliveries that could not be read as events.
    pub refused: u64,
    /// Tries that failed.
    pub errors: u64,
}

/// One source as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    pub kind: SourceKind,
    pub name: String,
    /// Where it is: a URL or a folder.
    pub target: String,
    pub state: SourceState,
    /// What is wrong; empty when nothing is.
    pub message: String,
    /// What a person can do about it.
    pub cure: Option<String>,
    /// What is worth a look although it works, such as clocks that disagree.
    pub notes: Vec<String>,
    /// Since when it has been in this state.
    pub since: Timestamp,
    pub last_event_at: Option<Timestamp>,
    pub counts: SourceCounts,
}

type Key = (SourceKind, String);

#[derive(Debug)]
struct Entry {
    status: SourceStatus,
    notes: BTreeMap<&'static str, String>,
}

/// All sources of this instance. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<Key, Entry>>>);

impl Sources {
    /// Adds a source and gives the handle by which it tells how it is doing.
    pub fn register(
        &self,
        kind: SourceKind,
        name: impl Into<String>,
        target: impl Into<String>,
        now: Timestamp,
    ) -> Source {
        let key = (kind, name.into());
        let status = SourceStatus {
            kind,
            name: key.1.clone(),
            target: target.into(),
            state: match kind {
                // Whoever sends comes to us: there is nothing to begin.
                SourceKind::Webhook | SourceKind::Lineage => SourceState::Ok,
                _ => SourceState::Starting,
            },
            message: String::new(),
            cure: None,
            notes: Vec::new(),
            since: now,
            last_event_at: None,
            counts: SourceCounts::default(),
        };
        let entry = Entry {
            status,
            notes: BTreeMap::new(),
        };
        self.lock().insert(key.clone(), entry);
        Source {
            all: self.clone(),
            key,
        }
    }

    /// All of them, by kind and name.
    pub fn list(&self) -> Vec<SourceStatus> {
        let all = self.lock();
        all.values()
            .map(|it| SourceStatus {
                notes: it.notes.values().cloned().collect(),
                ..it.status.clone()
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Entry>> {
        // Figures that a panicking thread left behind are still figures.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One source's own entry in [`Sources`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Source {
    all: Sources,
    key: Key,
}

impl Source {
    /// `queue:NAME`, as refused deliveries name their source.
    pub fn label(&self) -> String {
        format!("{}:{}", self.key.0.as_str(), self.key.1)
    }

    /// Says how it is doing. Written to the log once per change of state, not per try.
    pub fn set(&self, condition: Condition, now: Timestamp) {
        let mut all = self.all.lock();
        let Some(entry) = all.get_mut(&self.key) else {
            return;
        };
        let status = &mut entry.status;
        let changed = status.state != condition.state;
        status.message = condition.message;
        status.cure = condition.cure;
        if !changed {
            return;
        }
        status.state = condition.state;
        status.since = now;
        let (kind, name, target) = (
            status.kind.as_str(),
            status.name.clone(),
            status.target.clone(),
        );
        let (state, message, cure) = (status.state, status.message.clone(), status.cure.clone());
        drop(all);
        let cure = cure.map(|it| format!("; {it}")).unwrap_or_default();
        if state.is_trouble() {
            warn!(
                source.name = name,
                source.state = state.as_str(),
                "{kind} {name} ({target}) is {}: {message}{cure}",
                state.as_str()
            );
        } else {
            info!(
                source.name = name,
                source.state = state.as_str(),
                "{kind} {name} ({target}) is {}",
                state.as_str()
            );
        }
    }

    /// A remark that stays until it is taken back with `None`; written to the log when it comes.
    pub fn note(&self, about: &'static str, text: Option<String>) {
        let mut all = self.all.lock();
        let Some(entry) = all.get_mut(&self.key) else {
            return;
        };
        let before = match &text {
            Some(text) => entry.notes.insert(about, text.clone()),
            None => entry.notes.remove(about),
        };
        drop(all);
        if let (None, Some(text)) = (before, text) {
            warn!(source.name = self.key.1, "{}: {text}", self.label());
        }
    }

    /// Adds to the figures.
    pub fn count(&self, add: impl FnOnce(&mut SourceCounts)) {
        if let Some(entry) = self.all.lock().get_mut(&self.key) {
            add(&mut entry.status.counts);
        }
    }

    /// An event of it was accepted.
    pub fn accepted(&self, duplicate: bool, now: Timestamp) {
        if let Some(entry) = self.all.lock().get_mut(&self.key) {
            let counts = &mut entry.status.counts;
            match duplicate {
                true => counts.duplicates += 1,
                false => counts.events += 1,
            }
            entry.status.last_event_at = Some(now);
        }
    }

    pub fn state(&self) -> SourceState {
        let all = self.all.lock();
        all.get(&self.key)
            .map_or(SourceState::Starting, |it| it.status.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_tells_since_when_it_has_been_in_its_state() {
        let sources = Sources::default();
        let queue = sources.register(
            SourceKind::Queue,
            "arrivals",
            "http://q",
            Timestamp::from_secs(1),
        );
        queue.set(
            Condition::with(SourceState::Missing, "the queue does not exist"),
            Timestamp::from_secs(2),
        );
        queue.set(
            Condition::with(SourceState::Missing, "it still does not exist").cure("create it"),
            Timestamp::from_secs(3),
        );
        queue.note("clock", Some("our clock is 2 min ahead".into()));
        queue.accepted(true, Timestamp::from_secs(4));
        let list = sources.list();
        let status = &list[0];
        assert_eq!(
            (status.state, status.since),
            (SourceState::Missing, Timestamp::from_secs(2))
        );
        assert_eq!(status.message, "it still does not exist");
        assert_eq!(status.cure.as_deref(), Some("create it"));
        assert_eq!(status.notes, ["our clock is 2 min ahead"]);
        assert_eq!((status.counts.duplicates, status.counts.events), (1, 0));
        assert_eq!(queue.label(), "queue:arrivals");
        queue.note("clock", None);
        assert!(sources.list()[0].notes.is_empty());
    }
}
