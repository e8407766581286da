//! Rows: what the disk holds. The core gives out changed rows and is rebuilt from them; nothing
//! else is remembered. Every row also is, as JSON, the body of the journal entry that wrote it.

use crate::alert::AlertRow;
use crate::failure::FailureClass;
use crate::id::{AttemptId, FlowName, RunId, StepName, TaskId, TriggerName, Version};
use crate::reason::Reason;
use crate::sla::{Acknowledged, Prediction};
use crate::submission::ArrayPlace;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// States that are stored and shown as one word.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text)
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use states;

states! {
    /// The state of a run.
    RunState {
        /// Waits for its strategy or for slots; the reason says which.
        Queued = "queued",
        Running = "running",
        /// Will end as [`RunRow::ending`] says once its last attempt is dead.
        Cancelling = "cancelling",
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        TimedOut = "timed_out",
    }
}

impl RunState {
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut
        )
    }
}

states! {
    /// The state of a task.
    TaskState {
        /// To be repeated after a resume, once what it needs is done again.
        Waiting = "waiting",
        /// May run; waits for slots.
        Ready = "ready",
        /// The executor is asked to run the attempt, again and again until it answers.
        Submitting = "submitting",
        Running = "running",
        /// The attempt failed; the next one begins at [`TaskRow::retry_at`].
        BackingOff = "backing_off",
        /// The attempt must die (timeout, cancel); nothing replaces it before that is confirmed.
        Stopping = "stopping",
        Succeeded = "succeeded",
        /// Failed, and its run goes on (`on_failure: continue`).
        Caught = "caught",
        Failed = "failed",
        Cancelled = "cancelled",
        Skipped = "skipped",
    }
}

impl TaskState {
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Caught | Self::Failed | Self::Cancelled | Self::Skipped
        )
    }
    /// An attempt may exist in the world; it holds its slots.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Submitting | Self::Running | Self::Stopping)
    }
}

states! {
    /// The state of one opening of a foreach scope.
    ScopeState {
        /// To be opened again after a resume.
        Waiting = "waiting",
        Open = "open",
        /// Every item's steps are done.
        Closed = "closed",
        Skipped = "skipped",
        /// Its items could not be worked out.
        Failed = "failed",
    }
}

states! {
    /// The state of an occurrence.
    OccurrenceState {
        /// Not yet decided: in the future, or held while the flow is paused.
        Expected = "expected",
        Ran = "ran",
        /// Another occurrence stands for it.
        Coalesced = "coalesced",
        Skipped = "skipped",
        Missed = "missed",
    }
}

states! {
    /// What became of an event at one trigger leaf.
    MatchOutcome {
        /// It completed the trigger and started (or queued) a run.
        Fired = "fired",
        /// It waits with others for the rest of an `all_of`.
        Waiting = "waiting",
        /// `where` was false or could not be evaluated.
        Filtered = "filtered",
        /// A newer event took its place in a set that was still incomplete.
        Replaced = "replaced",
        /// The set was not complete in time.
        Expired = "expired",
        /// It would have started a run, but the flow is paused or the strategy refused it.
        Refused = "refused",
    }
}

states! {
    /// The state of a promise in one period.
    SlaState {
        OnTime = "on_time",
        /// The chance of a breach has reached the level that the promise declares.
        AtRisk = "at_risk",
        /// Its moment has passed, and what was promised has not come.
        Missed = "missed",
        Met = "met",
        MetLate = "met_late",
    }
}

/// A promise about time in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaRow {
    pub flow: FlowName,
    /// Its key in the flow, see [`crate::sla::Promise::key`].
    pub promise: Arc<str>,
    /// Unique in the promise: `slot:<slot of the schedule>`, `day:<local day>`, `run:<id>` (`run:<id>.<generation>` of
    /// a resumed one) or `since:<success>`.
    pub period: Arc<str>,
    pub due_at: Timestamp,
    pub state: SlaState,
    /// It is still looked at: not over, or missed and perhaps met late.
    pub open: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk_since: Option<Timestamp>,
    /// When it was due, if it was missed, however late that was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met_at: Option<Timestamp>,
    /// The worst state that people were told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<SlaState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Box<Prediction>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// People are told of its state when this has passed, if it is still so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
    /// Why it counts no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Reason>,
    /// How many later periods it stands for as well: an outage was so long that they have no rows of their own.
    #[serde(default, skip_serializing_if = "is_none_more")]
    pub more: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const fn is_none_more(more: &u64) -> bool {
    *more == 0
}

/// A time in which nobody is told of promises that are at risk or missed. That one of which people were told is over is
/// told at any time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceRow {
    /// 1, 2, 3 …
    pub id: u64,
    /// A flow's name, in which `*` stands for any text. `None`: all flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// The key of a promise. `None`: all promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// `[from, until)`.
    pub from: Timestamp,
    pub until: Timestamp,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl SilenceRow {
    /// Whether it is about this row's promise, now or at another time.
    pub fn is_about(&self, row: &SlaRow) -> bool {
        let promise = self.promise.as_ref();
        self.is_about_flow(&row.flow) && promise.is_none_or(|it| **it == *row.promise)
    }

    /// Whether it is about any promise of a flow.
    pub fn is_about_flow(&self, flow: &FlowName) -> bool {
        let pattern = self.flow.as_ref();
        pattern.is_none_or(|it| crate::pattern::matches_name(it, flow.as_str()))
    }
}

/// A flow and what is remembered of it from version to version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRow {
    pub name: FlowName,
    /// `None` while no valid version was ever seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_version: Option<Version>,
    /// The flow file, as the daemon names it; its folder is the working directory of tasks.
    pub file: String,
    /// Why the file as it stands now is not the active version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// The file is gone: schedules and triggers are off, running runs go on.
    pub removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// The failed run that blocks a `strict_sequential` flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<RunId>,
    /// The last run that failed, while none has succeeded since; kept only where somebody wants to be told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<RunId>,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// One version of a flow, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowVersionRow {
    pub flow: FlowName,
    pub version: Version,
    /// The flow file's text.
    pub source: String,
    /// The [`crate::spec::FlowSpec`] as JSON.
    pub definition: String,
    pub created_at: Timestamp,
}

/// A dedupe key that was used, and for what: the second use is answered with the first's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// `event:<length of source> <source> <id>`, `start:<flow> <idempotency key>` or `rerun:<flow> <idempotency key>`.
    pub key: String,
    /// `event:<seq>`, `run:<id>` or `occurrence:<flow> <key>`.
    pub result: String,
}

/// One moment at which a flow ought to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OccurrenceRow {
    pub flow: FlowName,
    /// Unique in the flow: `cron:<schedule>:<slot>`, `event:<trigger>:<seq>`, `manual:<key>`, `rerun:<key>`.
    pub key: String,
    /// The schedule or trigger; `manual` and `rerun` for people.
    pub trigger: TriggerName,
    /// When it ought to run, jitter not included.
    pub due_at: Timestamp,
    pub interval: Interval,
    pub state: OccurrenceState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub updated_at: Timestamp,
    /// When it was planned, no slot from here on was decided; what is before it may be of an earlier timetable.
    #[serde(default)]
    pub since: Timestamp,
}

impl OccurrenceRow {
    /// Whether it is a slot of a schedule that a calendar moved to an earlier day: it is decided before its own time.
    pub fn is_ahead(&self) -> bool {
        self.due_at < self.interval.end && self.key.starts_with("cron:")
    }

    /// Whether the removal of its flow ended it before it was due: until it is, the flow may come back.
    pub fn is_left(&self) -> bool {
        let removed = matches!(self.reason, Some(Reason::FlowRemoved));
        removed && self.state == OccurrenceState::Skipped && self.due_at > self.updated_at
    }

    /// Whether it only says what is to come, or what was and is not to come any more.
    pub(crate) fn is_planned(&self) -> bool {
        match &self.reason {
            None => self.state == OccurrenceState::Expected,
            Some(reason) => matches!(reason, Reason::ScheduleChanged | Reason::FlowRemoved),
        }
    }
}

/// The data interval `[start, end)` that a run is about; empty (start = end) for runs by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A fact from outside or inside, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// 1, 2, 3 … in the order of acceptance.
    pub seq: u64,
    /// CloudEvents `source`, `id`, `type`, `subject`, `time`, `data`.
    pub source: String,
    pub id: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub time: Timestamp,
    pub data: Arc<Value>,
    pub received_at: Timestamp,
    /// The event that it repeats, at someone's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<u64>,
}

/// A delivery that could not be read as an event, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Where it came from: `queue:NAME`, `webhook:NAME`, `directory:NAME`.
    pub source: String,
    /// Unique in the source: the message's id.
    pub id: String,
    pub reason: String,
    /// The beginning of its body, at most [`EXCERPT_BYTES_MAX`].
    pub excerpt: String,
    pub received_at: Timestamp,
}

/// How much of a refused delivery is kept.
pub const EXCERPT_BYTES_MAX: usize = 2_048;

/// An order to run a flow for past intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillRow {
    /// 1, 2, 3 …
    pub id: u64,
    pub flow: FlowName,
    /// `[from, to)`: the intervals that begin in it.
    pub from: Timestamp,
    pub to: Timestamp,
    pub mode: BackfillMode,
    /// Flows that follow from it are part of it.
    pub downstream: bool,
    pub state: BackfillState,
    /// Runs of it that may be unfinished at the same time.
    pub parallel: u32,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// One flow and interval of a backfill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillItemRow {
    pub backfill: u64,
    /// 0, 1, 2 …: the order in which items start.
    pub number: u32,
    pub flow: FlowName,
    pub interval: Interval,
    /// The schedule whose interval it is, or the trigger by which it follows.
    pub trigger: TriggerName,
    /// Items of this backfill that must have succeeded before.
    pub after: Vec<u32>,
    pub state: BackfillItemState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What the runs that it follows from told at their ends, one for each flow: its trigger takes parameters from
    /// them. Number 0: the run had ended before the backfill was made, and the event was put together for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Arc<EventRow>>,
    pub updated_at: Timestamp,
}

states! {
    /// Which intervals a backfill runs.
    BackfillMode {
        /// Those without a run that succeeded or is unfinished.
        Missing = "missing",
        /// Those whose newest run did not succeed.
        Failed = "failed",
        All = "all",
    }
}

states! {
    BackfillState {
        Running = "running",
        /// No new runs; those that have begun go on.
        Paused = "paused",
        /// Waits until its last runs are dead.
        Cancelling = "cancelling",
        Cancelled = "cancelled",
        /// Every item is over.
        Finished = "finished",
    }
}

states! {
    BackfillItemState {
        /// Has no run yet.
        Waiting = "waiting",
        /// Its run is queued or running.
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// What it comes after did not succeed, or the backfill was cancelled before.
        Skipped = "skipped",
    }
}

/// What became of an event at one trigger leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchRow {
    pub event: u64,
    pub flow: FlowName,
    pub trigger: TriggerName,
    /// The leaf's number in [`crate::spec::TriggerExpr::leaves`].
    pub leaf: u16,
    pub outcome: MatchOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub updated_at: Timestamp,
}

/// An event that waits at a leaf until its set is complete, or may start a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfMatchRow {
    pub flow: FlowName,
    pub trigger: TriggerName,
    pub join_key: String,
    pub leaf: u16,
    pub event: Arc<EventRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    pub id: RunId,
    pub flow: FlowName,
    pub version: Version,
    pub state: RunState,
    /// 1, and one more with every resume.
    pub generation: u32,
    pub params: Arc<Map<String, Value>>,
    /// The occurrence it stands for.
    pub occurrence: String,
    pub trigger: TriggerName,
    pub interval: Interval,
    pub priority: i32,
    /// The events that started it, by number.
    pub events: Vec<u64>,
    /// The same events as CloudEvents JSON, for expressions and tasks.
    #[serde(default, skip_serializing_if = "no_values")]
    pub event_data: Arc<Vec<Value>>,
    /// Why it waits, or why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// While cancelling: the state it ends in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<RunState>,
    /// Since when it has been in the queue: creation or resume.
    pub queued_at: Timestamp,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the run's timeout strikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The run whose finished tasks this one began with. Those have no attempt here: nothing was ever submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RunId>,
    /// When that run was created: a part of its name in Metaflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_created_at: Option<Timestamp>,
    /// The task whose sub-flow it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentTask>,
    /// The backfill it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<u64>,
}

/// The task that a run of a sub-flow was made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParentTask {
    pub attempt: AttemptId,
    /// Whether the task waits for the run's end.
    pub waits: bool,
    /// 1 for a run whose parent has no parent.
    pub depth: u32,
}

fn no_values(values: &Arc<Vec<Value>>) -> bool {
    values.is_empty()
}

/// A task, with its live attempt if it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    pub run: RunId,
    pub task: TaskId,
    pub state: TaskState,
    /// The newest attempt's number; 0 before the first.
    pub attempt: u32,
    /// Attempts before the task was (re)born: 0, or more after a resume.
    #[serde(default)]
    pub attempts_before: u32,
    /// What [`attempts_before`](Self::attempts_before) was in its life before this one; 0 in its first.
    #[serde(default)]
    pub attempts_before_that: u32,
    /// Retries used since the task was (re)born, by who pays for them.
    pub retries: Retries,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Since when it has been ready, for the queue and the Gantt.
    pub ready_at: Timestamp,
    /// When the live attempt was asked for, and when it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the live attempt's timeout strikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// What the executor calls the live attempt (a process id, a job id). Known before it runs where it waits in a
    /// queue elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Arc<str>>,
    /// Where the newest attempt's log is found, if not here: a log stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Arc<str>>,
    /// The newest attempt's place among many that are submitted as one. Retries are submitted alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayPlace>,
    /// What the next attempt gets instead of the step's memory, after one ran out of it; in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Arc<Map<String, Value>>>,
    /// With [`crate::spec::Route::Switch`]: the successors taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Arc<[StepName]>>,
    /// With [`crate::spec::Items::Reported`]: how many items follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<u32>,
}

/// Retries used, by budget. Each class of failures has its own, see [`crate::failure::Budgets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Against [`crate::spec::Retry::times`].
    pub user: u32,
    /// Against the budget for attempts lost without their own fault.
    pub infrastructure: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub network: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttled: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub capacity: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oom: u32,
}

const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Retries {
    /// How often attempts were repeated on the budget of a class; what is invalid never is.
    pub const fn of(&self, class: FailureClass) -> u32 {
        match class {
            FailureClass::Network => self.network,
            FailureClass::Throttled => self.throttled,
            FailureClass::Capacity => self.capacity,
            FailureClass::Invalid => 0,
            FailureClass::User => self.user,
            FailureClass::Oom => self.oom,
            FailureClass::Lost => self.infrastructure,
        }
    }

    pub(crate) const fn count(&mut self, class: FailureClass) {
        match class {
            FailureClass::Network => self.network += 1,
            FailureClass::Throttled => self.throttled += 1,
            FailureClass::Capacity => self.capacity += 1,
            FailureClass::Invalid => {}
            FailureClass::User => self.user += 1,
            FailureClass::Oom => self.oom += 1,
            FailureClass::Lost => self.infrastructure += 1,
        }
    }
}

/// One opening of a foreach scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScopeRow {
    pub run: RunId,
    pub scope: StepName,
    /// Where it was opened: the path of the enclosing scopes.
    pub path: crate::id::Path,
    pub state: ScopeState,
    pub items: Arc<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub opened_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

/// An attempt that has ended, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    pub id: AttemptId,
    pub state: AttemptState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Of one that failed: what kind of failure that is, and so who pays for a repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// The rule that says so, see [`crate::failure`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Arc<str>>,
    /// Where its log is found, if not here: a log stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Arc<str>>,
    /// The memory that it was given, where that was limited; in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    pub submitted_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

states! {
    /// How an attempt ended.
    AttemptState {
        Succeeded = "succeeded",
        Failed = "failed",
        TimedOut = "timed_out",
        Cancelled = "cancelled",
        /// Nobody knows how it ended: its host or keeper went away.
        Lost = "lost",
    }
}

/// What happened, for people: one entry for each changed row, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// 1, 2, 3 … over the whole database, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub flow: FlowName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// `run.queued`, `task.submitting`, `scope.open`, `occurrence.skipped`, `flow.paused` …: the
    /// row's kind and its new state.
    pub kind: String,
    /// The row after the change, as JSON text.
    pub body: String,
}

/// All rows that one decision changes. Committed together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub claims: Vec<Claim>,
    pub versions: Vec<FlowVersionRow>,
    pub flows: Vec<FlowRow>,
    pub events: Vec<Arc<EventRow>>,
    pub occurrences: Vec<OccurrenceRow>,
    pub matches: Vec<MatchRow>,
    pub half_matches: Vec<HalfMatchRow>,
    /// (flow, trigger, join key, leaf, event)
    pub half_matches_deleted: Vec<(FlowName, TriggerName, String, u16, u64)>,
    pub runs: Vec<Arc<RunRow>>,
    pub tasks: Vec<Arc<TaskRow>>,
    pub scopes: Vec<Arc<ScopeRow>>,
    pub attempts: Vec<AttemptRow>,
    pub refused: Vec<RefusedRow>,
    pub backfills: Vec<BackfillRow>,
    pub backfill_items: Vec<BackfillItemRow>,
    pub slas: Vec<Arc<SlaRow>>,
    pub silences: Vec<SilenceRow>,
    /// Oldest first.
    pub alerts: Vec<AlertRow>,
    pub journal: Vec<JournalEntry>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A run with everything that hangs on it: what a resume starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSnapshot {
    pub run: Arc<RunRow>,
    pub tasks: Vec<Arc<TaskRow>>,
    pub scopes: Vec<Arc<ScopeRow>>,
    /// The version the run belongs to.
    pub version: FlowVersionRow,
    /// Of each task that did not succeed and waits for its sub-flow: the newest run of it (whatever became of that
    /// run, for it may have been resumed by itself), with what hangs on it, and so on downwards. A resume reaches
    /// through to them.
    pub children: Vec<Self>,
}

/// What recovery reads: all that is not finished.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    pub flows: Vec<FlowRow>,
    /// Active versions, and those of unfinished runs.
    pub versions: Vec<FlowVersionRow>,
    /// Occurrences still expected.
    pub occurrences: Vec<OccurrenceRow>,
    /// Those no longer expected whose own time may still come ([`OccurrenceRow::is_ahead`]).
    pub ahead: Vec<OccurrenceRow>,
    /// Those of removed flows that were ended before they were due, which is still to come ([`OccurrenceRow::is_left`]).
    pub left: Vec<OccurrenceRow>,
    pub half_matches: Vec<HalfMatchRow>,
    /// Unfinished runs with all their tasks and scopes.
    pub runs: Vec<Arc<RunRow>>,
    pub tasks: Vec<Arc<TaskRow>>,
    pub scopes: Vec<Arc<ScopeRow>>,
    /// Unfinished backfills with all their items.
    pub backfills: Vec<BackfillRow>,
    pub backfill_items: Vec<BackfillItemRow>,
    /// Rows of promises that are open, and silences that are not over.
    pub slas: Vec<SlaRow>,
    pub silences: Vec<SilenceRow>,
    /// The highest numbers ever used; 0 in an empty database.
    pub last_run: u64,
    pub last_event: u64,
    pub last_journal: u64,
    pub last_backfill: u64,
    pub last_alert: u64,
    pub last_silence: u64,
}
