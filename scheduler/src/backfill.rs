//! Backfills: past intervals of a flow, and of those that follow from it, planned first and then run in a lane of their own.

use crate::id::{FlowName, TriggerName, Version};
use crate::row::{BackfillMode, Interval};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// What a backfill would run, and what stands in its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub flow: FlowName,
    /// `[from, to)`: the intervals that begin in it.
    pub from: Timestamp,
    pub to: Timestamp,
    pub mode: BackfillMode,
    pub downstream: bool,
    /// The active version of each flow in it.
    pub versions: Vec<(FlowName, Version)>,
    /// By interval; those of one interval in the order of the flow graph.
    pub items: Vec<PlanItem>,
    /// What must be put right before it can be applied.
    pub conflicts: Vec<String>,
    /// How long it will take, from the durations of past runs; `None` without any.
    pub estimate: Option<Span>,
    /// A hash of all above but the estimate: what `apply` compares.
    pub token: String,
}

/// One flow and interval of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    pub flow: FlowName,
    pub interval: Interval,
    pub trigger: TriggerName,
    /// Places of items in the plan that must have succeeded before.
    pub after: Vec<u32>,
    /// Newest first.
    pub existing: Vec<ExistingRun>,
    pub verdict: Verdict,
}

/// A run of the same flow and interval that is already there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingRun {
    pub run: crate::id::RunId,
    pub state: crate::row::RunState,
}

/// Whether an item is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Run,
    /// Its newest run succeeded (or, with `failed`, there is none).
    Keep,
    /// It has an unfinished run.
    Conflict,
}
