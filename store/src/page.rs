//! Filters and pages of the lists that people read.

use crate::error::Error;
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::row::{
    BackfillItemState, BackfillState, EventRow, MatchOutcome, MatchRow, OccurrenceRow,
    OccurrenceState, RefusedRow, RunState, SlaRow, SlaState, TaskState,
};
use dalsegno_scheduler::{FlowName, RunId, Span, StepName, Timestamp, TriggerName};
use std::collections::BTreeMap;
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
    pub subject: Option<String>,
    /// How the subject begins.
    pub subject_prefix: Option<String>,
    /// Received in `[since, until)`.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Those that a trigger of this flow has seen.
    pub flow: Option<FlowName>,
    /// And of which this became there; says nothing without [`flow`](Self::flow).
    pub outcome: Option<MatchOutcome>,
}

/// Which occurrences of a flow: due in `[from, to)`. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OccurrenceFilter {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Empty: all states.
    pub states: Vec<OccurrenceState>,
    pub trigger: Option<TriggerName>,
}

/// Which matches of a flow. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchFilter {
    pub trigger: Option<TriggerName>,
    /// Empty: all outcomes.
    pub outcomes: Vec<MatchOutcome>,
}

/// Which backfills. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackfillFilter {
    pub flow: Option<FlowName>,
    /// Empty: all states.
    pub states: Vec<BackfillState>,
}

/// Which alerts. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    pub flow: Option<FlowName>,
    /// Empty: all kinds.
    pub kinds: Vec<AlertKind>,
    /// Those of one matter.
    pub key: Option<String>,
}

/// Which rows of promises: due in `[from, to)`. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlaFilter {
    pub flow: Option<FlowName>,
    /// Empty: all states.
    pub states: Vec<SlaState>,
    /// Those still looked at, or those that are over.
    pub open: Option<bool>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// How one promise was kept in one week (Monday to Sunday, UTC): periods that were due, without those withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attainment {
    pub flow: FlowName,
    pub promise: String,
    /// When the week begins.
    pub week: Timestamp,
    pub kept: u64,
    /// Missed, whether met late or never.
    pub missed: u64,
}

/// A week, and by how much the first Monday comes before the first instant of Unix time, a Thursday; microseconds.
pub(crate) const WEEK: i64 = 7 * 86_400_000_000;
pub(crate) const TO_MONDAY: i64 = 3 * 86_400_000_000;

/// How many tasks of one step are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCount {
    pub step: StepName,
    pub state: TaskState,
    pub tasks: u64,
}

/// How many occurrences of one trigger are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OccurrenceCount {
    pub trigger: TriggerName,
    pub state: OccurrenceState,
    pub occurrences: u64,
}

/// How many items of one flow in a backfill are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillCount {
    pub flow: FlowName,
    pub state: BackfillItemState,
    pub items: u64,
}

/// A time in which no instance decided: nothing was started, no event was taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Outage {
    /// The term that ended it.
    pub term: i64,
    /// When it is certain that the term before still decided; or when that ended by a clean stop.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Who had decided before.
    pub holder: String,
    pub reason: OutageReason,
}

/// How a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageReason {
    /// It gave the lease back: a clean stop.
    Stopped,
    /// It fell silent: a crash, a power cut, a lost connection.
    Vanished,
}

impl OutageReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Vanished => "vanished",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Stopped, Self::Vanished]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// A gap between two terms that is shorter is not worth a row: one instance hands over to the next.
pub(crate) const OUTAGE_MIN: Span = Span::from_secs(1);

/// Of how many runs the typical duration is the middle one.
pub(crate) const DURATIONS: usize = 20;

/// The tasks of one step in one run that succeeded, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    pub flow: FlowName,
    pub run: RunId,
    /// Of the run.
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub step: StepName,
    pub tasks: u32,
    /// When the first of them was submitted (its last attempt, if there were several), and when the last ended.
    pub from: Timestamp,
    pub to: Timestamp,
    /// From submission to end, all of them added up.
    pub sum: Span,
}

/// The middle duration of each flow.
pub(crate) fn middle(
    durations: impl IntoIterator<Item = (FlowName, Span)>,
) -> BTreeMap<FlowName, Span> {
    let mut by_flow: BTreeMap<FlowName, Vec<Span>> = BTreeMap::new();
    for (flow, span) in durations {
        by_flow.entry(flow).or_default().push(span);
    }
    by_flow
        .into_iter()
        .map(|(flow, mut spans)| {
            spans.sort_unstable();
            let middle = spans[spans.len() / 2];
            (flow, middle)
        })
        .collect()
}

/// The first text after all that begin with this prefix, in the order of bytes; `None` when there is none.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Beyond the surrogates, which are no characters.
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

pub(crate) fn event_cursor(it: &EventRow) -> String {
    it.seq.to_string()
}

pub(crate) fn occurrence_cursor(it: &OccurrenceRow) -> String {
    format!("{} {}", it.due_at.0, it.key)
}

pub(crate) fn match_cursor(it: &MatchRow) -> String {
    format!("{} {} {}", it.event, it.leaf, it.trigger)
}

/// Names of flows and promises hold no spaces.
pub(crate) fn sla_cursor(it: &SlaRow) -> String {
    format!("{} {} {} {}", it.due_at.0, it.flow, it.promise, it.period)
}

/// With the length of the source, for it may hold spaces.
pub(crate) fn refused_cursor(it: &RefusedRow) -> String {
    format!(
        "{} {} {}{}",
        it.received_at.0,
        it.source.len(),
        it.source,
        it.id
    )
}

impl Cursor {
    /// Event, leaf and trigger.
    pub(crate) fn event_match(&self) -> Result<(i64, i64, &str), Error> {
        let (event, rest) = self.number_and_text()?;
        let (leaf, trigger) = rest.split_once(' ').ok_or_else(|| self.bad())?;
        Ok((event, leaf.parse().map_err(|_| self.bad())?, trigger))
    }

    /// Due time, flow, promise and period.
    pub(crate) fn sla(&self) -> Result<(i64, &str, &str, &str), Error> {
        let (due_at, rest) = self.number_and_text()?;
        let mut parts = rest.splitn(3, ' ');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(flow), Some(promise), Some(period)) => Ok((due_at, flow, promise, period)),
            _ => Err(self.bad()),
        }
    }

    /// When it was received, source and id.
    pub(crate) fn refused(&self) -> Result<(i64, &str, &str), Error> {
        let (at, rest) = self.number_and_text()?;
        let (length, rest) = rest.split_once(' ').ok_or_else(|| self.bad())?;
        let length = length.parse().map_err(|_| self.bad())?;
        let (source, id) = rest.split_at_checked(length).ok_or_else(|| self.bad())?;
        Ok((at, source, id))
    }
}
