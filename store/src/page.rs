//! Filters and pages of the lists that people read.

use crate::error::Error;
use dalsegno_scheduler::row::{RunState, TaskState};
use dalsegno_scheduler::{FlowName, RunId, StepName, Timestamp, TriggerName};
use std::fmt;

/// A part of a list, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// `None` on the last page.
    pub next: Option<Cursor>,
}

/// Where a page begins. Opaque: give back what [`Page::next`] gave out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Cursor {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Cursor {
    pub(crate) fn number(&self) -> Result<i64, Error> {
        self.0.parse().map_err(|_| self.bad())
    }

    pub(crate) fn number_and_text(&self) -> Result<(i64, &str), Error> {
        let (number, text) = self.0.split_once(' ').ok_or_else(|| self.bad())?;
        Ok((number.parse().map_err(|_| self.bad())?, text))
    }

    pub(crate) fn bad(&self) -> Error {
        Error::BadCursor(self.0.clone())
    }
}

/// The most rows that one page holds, whatever limit was asked for.
pub(crate) const PAGE_MAX: usize = 10_000;

impl<T> Page<T> {
    /// A page of the first `limit` of `items`, which were read up to one more than that.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor(cursor(last)));
        Self { items, next }
    }
}

/// Limits asked for, made sane: at least 1, at most [`PAGE_MAX`].
pub(crate) fn page_limit(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

/// Which runs. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    pub flow: Option<FlowName>,
    pub trigger: Option<TriggerName>,
    /// Empty: all states.
    pub states: Vec<RunState>,
}

/// Which tasks of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    pub step: Option<StepName>,
    /// Empty: all states.
    pub states: Vec<TaskState>,
}

/// Which journal entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalFilter {
    #[default]
    All,
    Run(RunId),
    /// The flow's own entries (versions, pauses, occurrences), without those of its runs.
    Flow(FlowName),
}

/// Which events. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub source: Option<String>,
    pub kind: Option<String>,
}

/// Which occurrences of a flow: due in `[from, to)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OccurrenceFilter {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// How many tasks of one step are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCount {
    pub step: StepName,
    pub state: TaskState,
    pub tasks: u64,
}
