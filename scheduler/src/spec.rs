//! What a flow file declares, as plain data: the meeting point of all formats.
//!
//! A [`FlowSpec`] is what a flow version stores as JSON. [`crate::Flow::new`] checks it and builds
//! the graph; only a checked [`crate::Flow`] can run.

use crate::alert::AlertRuleSpec;
use crate::expr::{Expr, Template};
use crate::id::{FlowName, PoolName, StepName, TriggerName};
use crate::metaflow::{MetaflowFlow, MetaflowStep};
use crate::schedule::{Gap, Overlap, When};
use crate::sla::SlaSpec;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A flow as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowSpec {
    pub name: FlowName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerSpec>,
    /// Times in which no schedule and no trigger starts a run; people may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blackouts: Vec<BlackoutSpec>,
    #[serde(default)]
    pub run: RunPolicy,
    /// Environment of every task; a step's own wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
    /// Foreach scopes, parents before children. [`ScopeIndex::ROOT`] is not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeSpec>,
    pub steps: Vec<StepSpec>,
    /// Promises about time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slas: Vec<SlaSpec>,
    /// Whom its alerts are for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertRuleSpec>,
    /// Of flows that were read from a Metaflow file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metaflow: Option<MetaflowFlow>,
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// `None`: the parameter must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Empty: any value of the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Without a default it may be left out, and then has no value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    String,
    Int,
    Float,
    Bool,
    /// `2026-11-22`.
    Date,
    /// RFC 3339.
    Datetime,
    /// Any JSON value.
    Json,
}

/// One schedule of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// Unique in the flow; part of every occurrence's key.
    pub name: TriggerName,
    pub when: When,
    /// IANA name; `UTC` by default.
    pub timezone: String,
    #[serde(default)]
    pub gap: Gap,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// Each run starts up to this much later, by a hash of its key; at most the schedule's period.
    #[serde(default)]
    pub jitter: Span,
    #[serde(default)]
    pub misfire: MisfireSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Template>,
    /// No occurrence before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No occurrence at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Days on which it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarSpec>,
}

/// The calendar of a schedule, and what becomes of occurrences on its closed days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalendarSpec {
    /// As it was when the flow file was read: another text of the calendar is another version of the flow.
    pub calendar: Calendar,
    #[serde(default)]
    pub roll: Roll,
}

/// What becomes of an occurrence on a closed day. A day is that of the due time in the schedule's time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roll {
    #[default]
    Skip,
    /// It runs on the next open day, at the same time of day.
    Next,
    /// It runs on the open day before, at the same time of day.
    Previous,
}

/// Closed days. A day is closed when any of the three says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calendar {
    pub name: String,
    /// Single days, and what they are called (may be empty).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dates: BTreeMap<chrono::NaiveDate, String>,
    /// Days that come again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<CalendarRule>,
    /// Days of the week.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<chrono::Weekday>,
}

/// A recurrence rule of RFC 5545 over whole days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalendarRule {
    /// `FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25`.
    pub rrule: String,
    /// The first day (`DTSTART`).
    pub start: chrono::NaiveDate,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A time in which no schedule and no trigger of a flow starts a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlackoutSpec {
    /// For people; in the ledger's reason.
    pub name: String,
    /// IANA name.
    pub timezone: String,
    pub window: BlackoutWindow,
    #[serde(default)]
    pub action: BlackoutAction,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlackoutWindow {
    /// Each day from one time of day to another, over midnight when the second is not later. `days` are those on
    /// which it begins; empty: every day.
    Daily {
        from: TimeOfDay,
        to: TimeOfDay,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        days: Vec<chrono::Weekday>,
    },
    /// Once, `[start, end)`.
    Between { start: Timestamp, end: Timestamp },
    /// The closed days of a calendar, from midnight to midnight.
    Calendar(Calendar),
}

/// What becomes of runs that would start in a blackout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlackoutAction {
    /// They start when it is over.
    #[default]
    Defer,
    /// They do not start.
    Skip,
}

/// A time of day in whole minutes, `00:00` to `23:59`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TimeOfDay {
    /// Since midnight, 0 to 1439.
    pub minutes: u16,
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let two = |it: &str| (it.len() == 2).then(|| it.parse::<u16>().ok()).flatten();
        let parts = text
            .split_once(':')
            .map(|(hour, minute)| (two(hour), two(minute)));
        match parts {
            Some((Some(hour @ 0..24), Some(minute @ 0..60))) => Ok(Self {
                minutes: hour * 60 + minute,
            }),
            _ => Err(format!("`{text}` is not a time of day such as 06:00")),
        }
    }
}

/// What becomes of occurrences that came due while nobody could start them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MisfireSpec {
    /// The daemon was down.
    pub down: Misfire,
    /// The flow was paused.
    pub paused: Misfire,
    /// With `all`: the newest so many run; the rest are missed.
    pub max: u32,
    /// With `latest` and `all`: older ones are missed.
    pub window: Span,
}

impl Default for MisfireSpec {
    /// After a pause nothing is caught up; after an outage the latest is, if less than a week old.
    fn default() -> Self {
        Self {
            down: Misfire::Latest,
            paused: Misfire::Skip,
            max: 24,
            window: Span::from_mins(7 * 24 * 60),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    Skip,
    Latest,
    All,
}

/// One trigger of a flow: an expression over events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerSpec {
    /// Unique in the flow. Half-matched sets survive an edit of the flow while the trigger is equal.
    pub name: TriggerName,
    pub on: TriggerExpr,
    #[serde(default)]
    pub join_on: JoinOn,
    /// A half-matched set older than this expires. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// Half-matched sets are emptied at these moments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<ResetSpec>,
    /// Of `after` and `on_deadline`; IANA name. `None`: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(default, skip_serializing_if = "Consume::is_each")]
    pub consume: Consume,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<Debounce>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<DeadlineSpec>,
}

/// Which events a run uses up. Whatever is not used waits for the next run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consume {
    /// The oldest of each leaf: the first `a` meets the first `b`, the second the second.
    #[default]
    Each,
    /// The newest of each leaf: it takes the place of an older one that still waits.
    Latest,
    /// All that have come, at most `max`: the run begins when `max` are there, or `window` after the set was
    /// complete for the first time.
    Batch { max: u32, window: Span },
}

impl Consume {
    pub const fn is_each(&self) -> bool {
        matches!(self, Self::Each)
    }
}

/// A complete set waits until its events grow quiet; the run gets all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debounce {
    /// Since the last event.
    pub quiet: Span,
    /// Since the set was complete for the first time; `None`: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Span>,
}

/// Once a day: what happens when the trigger has not started a run since the last such moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineSpec {
    pub at: TimeOfDay,
    pub action: DeadlineAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineAction {
    /// A run starts with what has come, be it nothing.
    Run,
    /// What has come is dropped, with the reason.
    Skip,
    /// An event of type `dalsegno.trigger.late` says so, and the set goes on waiting.
    Alert,
}

/// When half-matched sets are emptied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResetSpec {
    pub when: When,
    /// IANA name.
    pub timezone: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerExpr {
    AnyOf(Vec<Self>),
    AllOf(Vec<Self>),
    Leaf(TriggerLeaf),
}

impl TriggerExpr {
    /// All leaves, left to right; a leaf's place in this order is its number.
    pub fn leaves(&self) -> Vec<&TriggerLeaf> {
        match self {
            Self::Leaf(leaf) => vec![leaf],
            Self::AnyOf(parts) | Self::AllOf(parts) => {
                parts.iter().flat_map(Self::leaves).collect()
            }
        }
    }
}

/// What one leaf of a trigger waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerLeaf {
    pub source: EventSource,
    /// CEL over `event`; false: the event does not count, with the reason recorded.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expr>,
    /// Flow parameters taken from the event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Template>,
    /// With [`JoinOn::Expr`]: this leaf's join key, CEL over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Expr>,
    /// Flow parameters and the fields of `event.data` they are taken from where those are present, brought into
    /// the parameter's type. An event that lacks the field of a parameter without a default does not count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// A run of that flow ended.
    Flow { flow: FlowName, on: FlowEnd },
    /// An event of this CloudEvents type.
    Event { kind: String },
    /// An object arrived: an event of type [`OBJECT_CREATED`] from `s3://BUCKET` whose subject matches `key`.
    Object { bucket: String, key: KeyPattern },
    /// A data set was written: an event of type [`DATASET_WRITTEN`] about it.
    Dataset { namespace: String, name: String },
    /// Not an event: from this time on of the day that the set is about (the local day on which its interval ends;
    /// without an interval, on which its first event came).
    After { time: TimeOfDay },
}

/// The type of events that tell of a new object. Source `s3://BUCKET`, subject the key (decoded), data `{bucket, key,
/// size, etag, version, sequencer, reason}`; what its maker did not say is left out.
pub const OBJECT_CREATED: &str = "object.created";

/// The type of events that tell of a data set that was written. Data `{namespace, name, job: {namespace, name}, run:
/// {id}, interval?: {start, end}, facets?}`.
pub const DATASET_WRITTEN: &str = "dataset.written";

/// A pattern over object keys: `*` matches within a segment, `**` across segments, `?` one character that is no `/`.
/// What each wildcard matched is `event.match[0]`, `event.match[1]` …, from left to right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyPattern(pub String);

/// Which ends of an upstream run count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    #[default]
    Succeeded,
    /// Failed or timed out.
    Failed,
    /// Any end, cancelled too.
    Finished,
}

/// Which events of an `all_of` belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinOn {
    /// Those of the same data interval (its start, in UTC; events without one share a key of their own).
    #[default]
    Interval,
    /// Those whose leaves' `join` expressions give the same value.
    Expr,
    /// All of them.
    None,
}

/// How runs of a flow relate to each other and to shared limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPolicy {
    pub strategy: Strategy,
    /// Higher first. One point is worth a minute of waiting, so nothing starves.
    pub priority: i32,
    /// Slots held from the run's start to its end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<PoolName, u32>,
    /// From the run's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_tasks: Option<u32>,
}

impl Default for RunPolicy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Sequential,
            priority: 0,
            pools: BTreeMap::new(),
            timeout: None,
            max_parallel_tasks: None,
        }
    }
}

/// Maestro's six run strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One at a time, in order; a failure does not block the next.
    Sequential,
    /// One at a time; after a failed run nothing starts until it is resumed to success or unblocked.
    StrictSequential,
    /// While one is unfinished, newcomers are skipped.
    FirstOnly,
    /// A newcomer cancels the running one, waits until it is really dead, and drops what is queued.
    LastOnly,
    /// Up to so many at once, in order.
    Parallel(u32),
    /// One at a time, the running one is left alone; of those that wait only the newest stays.
    SerialLatestOnly,
}

/// Where a step or scope stands in the tree of foreach scopes: 0 is the root, `n` is `scopes[n - 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeIndex(pub u16);

impl ScopeIndex {
    pub const ROOT: Self = Self(0);
}

/// A foreach: its steps run once per item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScopeSpec {
    /// The block's name; for a step with `foreach` of its own, the step's name.
    pub name: StepName,
    pub parent: ScopeIndex,
    /// Names of steps or scopes of the parent scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    pub items: Items,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
}

/// Where the items of a foreach come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// A list, or an expression that gives one.
    Template(Template),
    /// The one step in `after` reports how many when it ends (Metaflow).
    Reported,
}

/// A step: a node of the flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    pub name: StepName,
    #[serde(default)]
    pub scope: ScopeIndex,
    /// Names of steps or scopes of the same scope. A scope's name joins it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    #[serde(default)]
    pub join: JoinRule,
    #[serde(default)]
    pub route: Route,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    pub run: Command,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
    /// Outputs the step must write; a missing one fails the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    #[serde(default)]
    pub retry: Retry,
    /// Of each attempt, from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<PoolName, u32>,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Memory of each attempt in bytes: a limit for a process here, a reservation elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// An attempt that ran out of memory is repeated with more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_oom: Option<OnOom>,
    /// Where it runs; `None`: as a process on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Box<Remote>>,
    /// Between SIGTERM and SIGKILL when an attempt is stopped.
    #[serde(default = "default_grace")]
    pub grace: Span,
    /// Not a part of the graph: runs once when all else of a run is over, and does not change how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookOn>,
    /// Promises about time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slas: Vec<SlaSpec>,
}

impl StepSpec {
    pub fn executor(&self) -> ExecutorKind {
        self.remote
            .as_ref()
            .map_or(ExecutorKind::Local, |it| it.executor)
    }

    /// The memory of an attempt, when one before it ran out and this is what it grew to.
    pub(crate) fn memory_of(&self, grown: Option<u64>) -> Option<u64> {
        match (self.on_oom, self.memory_bytes, grown) {
            (Some(on_oom), own, Some(grown)) => {
                Some(grown.min(on_oom.max_bytes).max(own.unwrap_or(0)))
            }
            (_, own, _) => own,
        }
    }
}

/// Which ends of a run a hook is for. Cancelled runs have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookOn {
    Success,
    Failure,
}

/// What runs a step's attempts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// A process on this machine.
    #[default]
    Local,
    /// A job of AWS Batch.
    Batch,
    /// A state of an AWS Step Functions execution, which stands for the whole run.
    StepFunctions,
}

impl ExecutorKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Batch => "batch",
            Self::StepFunctions => "step_functions",
        }
    }
}

/// A step that runs elsewhere, and what it asks for there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// Never [`ExecutorKind::Local`]. All steps of a flow run under Step Functions or none, but for hooks and for
    /// steps that are runs of other flows.
    pub executor: ExecutorKind,
    /// vCPUs in thousandths: 250 to 192,000. `None`: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// GPUs: 1 to 8. More than none routes to the queues of GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// The container image; `None`: that of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The job queue; `None`: by what it asks for, as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The IAM role of the container; `None`: that of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_role: Option<String>,
    /// `/dev/shm` in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_memory_mib: Option<u32>,
    /// More tags of its jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// More properties of the container, in the spelling of Batch's `containerProperties`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub container: BTreeMap<String, Value>,
}

/// More memory after running out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnOom {
    /// In hundredths: 200 doubles it. 110 to 1000.
    pub multiplier_percent: u32,
    /// Never more than this.
    pub max_bytes: u64,
}

/// Ten seconds, as most service managers and container runtimes give.
pub const fn default_grace() -> Span {
    Span::from_secs(10)
}

/// What a task runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Given to `/bin/sh -c`.
    Shell(String),
    /// Program and arguments, no shell.
    Argv(Vec<String>),
    /// A step of a Metaflow flow; see [`FlowSpec::metaflow`].
    Metaflow(MetaflowStep),
    /// A run of another flow. Never submitted to an executor: the run is made in the commit that starts the attempt.
    Flow(SubFlow),
}

/// A step that is a run of another flow, under that flow's own strategy and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubFlow {
    pub flow: FlowName,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Template>,
    /// The step ends as that run ends; else it succeeds as soon as the run is made.
    pub wait: bool,
}

/// When a step with several predecessors runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinRule {
    /// When all of them were taken.
    #[default]
    AllLive,
    /// When at least one was taken (the branches of a switch meet again).
    AnyLive,
}

/// Which successors a finished task goes on to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    #[default]
    All,
    /// The task's report names the ones that are taken; naming itself means once more.
    Switch,
}

/// Retries of a failed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Retries, not attempts: 3 means up to 4 attempts, as in Metaflow. At most 100.
    pub times: u32,
    pub backoff: Backoff,
}

/// The wait before retry `n` is `initial * multiplier^(n-1)`, at most `max`, plus or minus `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub initial: Span,
    pub max: Span,
    /// In hundredths: 200 doubles, 100 keeps it constant.
    pub multiplier_percent: u32,
    /// In hundredths: 10 is a tenth either way, by a hash of the attempt.
    pub jitter_percent: u32,
}

impl Default for Backoff {
    /// 1 s doubling to 300 s with a tenth of jitter.
    fn default() -> Self {
        Self {
            initial: Span::from_secs(1),
            max: Span::from_secs(300),
            multiplier_percent: 200,
            jitter_percent: 10,
        }
    }
}

/// What a failed step does to its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// What needs it is skipped, the rest goes on, the run ends as failed.
    #[default]
    Fail,
    /// What needs it runs all the same, without its outputs.
    Continue,
    /// All else in the run is cancelled at once.
    FailFast,
}
