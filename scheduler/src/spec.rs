//! What a flow file declares, as plain data: the meeting point of all formats.
//!
//! A [`FlowSpec`] is what a flow version stores as JSON. [`crate::Flow::new`] checks it and builds
//! the graph; only a checked [`crate::Flow`] can run.

use crate::expr::{Expr, Template};
use crate::id::{FlowName, PoolName, StepName, TriggerName};
use crate::metaflow::{MetaflowFlow, MetaflowStep};
use crate::schedule::{Gap, Overlap, When};
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
    #[serde(default)]
    pub run: RunPolicy,
    /// Environment of every task; a step's own wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
    /// Foreach scopes, parents before children. [`ScopeIndex::ROOT`] is not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeSpec>,
    pub steps: Vec<StepSpec>,
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
}

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
    /// Memory limit of each attempt in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Between SIGTERM and SIGKILL when an attempt is stopped.
    #[serde(default = "default_grace")]
    pub grace: Span,
    /// Not a part of the graph: runs once when all else of a run is over, and does not change how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookOn>,
}

/// Which ends of a run a hook is for. Cancelled runs have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookOn {
    Success,
    Failure,
}

/// Ten seconds, as most service managers and container runtimes give.
pub const fn default_grace() -> Span {
    Span::from_secs(10)
}

/// What a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Given to `/bin/sh -c`.
    Shell(String),
    /// Program and arguments, no shell.
    Argv(Vec<String>),
    /// A step of a Metaflow flow; see [`FlowSpec::metaflow`].
    Metaflow(MetaflowStep),
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
