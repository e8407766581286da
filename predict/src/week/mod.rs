//! The coming days: the real core in virtual time, with durations of the past.
//!
//! Nothing is started and nothing is written: each attempt that the core asks for ends after a time that is drawn from
//! how long its step took before. What is drawn depends on the seed, the flow, the run's place and the task alone, so
//! that two folders of flows are compared under the same luck.

mod diff;
mod ends;
mod facts;
mod report;
mod world;

pub use diff::{Change, Diff, Verdict, compare};
pub use ends::{Past, Success};
pub use report::{Breach, FlowWeek, LimitWeek, Spread, Week};
pub use world::{DECISIONS_MAX, simulate};

use dalsegno_scheduler::row::Recovered;
use dalsegno_scheduler::{Config, Flow, FlowName, Span, Timestamp, Version};
use std::sync::Arc;

/// A flow as it would be deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    pub flow: Arc<Flow>,
    pub version: Version,
    pub file: String,
}

/// Where the days begin.
#[derive(Clone, Debug)]
pub struct Start {
    pub config: Config,
    /// The rows as they are; the default: an empty installation.
    pub rows: Recovered,
    /// Flows that are deployed at the beginning.
    pub flows: Vec<Deployed>,
    /// Flows that are taken off.
    pub removed: Vec<FlowName>,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub from: Timestamp,
    pub until: Timestamp,
    pub seed: u64,
    /// How long a task takes of which nothing is known.
    pub assumed: Span,
}
