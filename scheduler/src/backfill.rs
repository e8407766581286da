//! Backfills: past intervals of a flow, and of those that follow from it, planned first and then run in a lane of their own.
//!
//! A plan is pure reading: the same flows, history and time give the same plan and token. What a backfill does once it
//! is applied is in `decide/backfill.rs`; see docs/adr/0018-backfills.md.

mod chain;
mod estimate;
mod index;
mod plan;
mod view;

pub use view::BackfillView;

use crate::id::{FlowName, RunId, TriggerName, Version};
use crate::row::{BackfillMode, Interval, RunRow, RunState};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most items that one backfill may have, those that are kept included.
pub const BACKFILL_ITEMS_MAX: usize = 100_000;

/// The most runs of one backfill that may be unfinished at the same time.
pub const BACKFILL_PARALLEL_MAX: u32 = 1_000;

/// What someone wants to have planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    pub flow: FlowName,
    /// `[from, to)`: the intervals that begin in it.
    pub from: Timestamp,
    pub to: Timestamp,
    pub mode: BackfillMode,
    /// Also the flows that follow from it by triggers that join by interval, and so on.
    pub downstream: bool,
    /// How many runs at the same time the estimate reckons with; 1 to [`BACKFILL_PARALLEL_MAX`].
    pub parallel: u32,
}

/// Whose runs a plan must know, and of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPast {
    /// The flow, those that follow from it, and what those wait for besides.
    pub flows: Vec<FlowName>,
    /// `[from, to)`: the runs whose intervals begin in it; within the span that was asked for.
    pub from: Timestamp,
    pub to: Timestamp,
}

/// A run as the store has it: one of [`PlanPast::flows`] whose interval begins in its span.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub flow: FlowName,
    pub interval: Interval,
    pub run: RunId,
    pub state: RunState,
    /// Followers may take theirs from them.
    pub params: Arc<Map<String, Value>>,
}

impl From<&RunRow> for History {
    fn from(row: &RunRow) -> Self {
        Self {
            flow: row.flow.clone(),
            interval: row.interval,
            run: row.id,
            state: row.state,
            params: row.params.clone(),
        }
    }
}

/// What a backfill would run, and what stands in its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub flow: FlowName,
    /// `[from, to)`: the intervals that begin in it.
    pub from: Timestamp,
    pub to: Timestamp,
    pub mode: BackfillMode,
    pub downstream: bool,
    /// The active version of each flow in it, upstream before downstream.
    pub versions: Vec<(FlowName, Version)>,
    /// By interval; those of one interval in the order of the flow graph.
    pub items: Vec<PlanItem>,
    /// What must be put right before it can be applied.
    pub conflicts: Vec<String>,
    /// What was left out, and what is good to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// How long it will take, from the durations of past runs; `None` when a flow has none.
    pub estimate: Option<Span>,
    /// A hash of all above but notes and estimate: what `apply` compares.
    pub token: String,
}

impl Plan {
    /// How many items would run.
    pub fn runs(&self) -> usize {
        let runs = |it: &&PlanItem| it.verdict == Verdict::Run;
        self.items.iter().filter(runs).count()
    }
}

/// One flow and interval of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    pub flow: FlowName,
    pub interval: Interval,
    /// The schedule whose interval it is, or the trigger by which the flow follows.
    pub trigger: TriggerName,
    /// Places of items in the plan that must have succeeded before; all of them run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
    /// Upstream runs that have succeeded already, and that it builds upon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<PastRun>,
    /// Newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub existing: Vec<ExistingRun>,
    pub verdict: Verdict,
}

/// A run of the same flow and interval that is already there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingRun {
    pub run: RunId,
    pub state: RunState,
}

/// A run of an upstream flow for the same interval that has succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRun {
    pub flow: FlowName,
    pub run: RunId,
    pub params: Arc<Map<String, Value>>,
}

/// Whether an item is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Run,
    /// The mode does not ask for it: with `missing` a run succeeded or is under way; with `failed` the newest run
    /// succeeded or is under way, or there is none.
    Keep,
    /// With `all` it has an unfinished run; or its schedule may yet run it, for a pause or a blackout holds it; or another backfill has it still to run; or a flow that it follows has no
    /// run of this interval that succeeded.
    Conflict,
}
