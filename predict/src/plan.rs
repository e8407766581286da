//! What has to happen before a promise is kept: runs of flows, each with its steps, one after another.

use crate::history::Durations;
use dalsegno_scheduler::{FlowName, Limit, RunId, Span, StepName, Timestamp};

/// A run's place in [`Plan::jobs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub usize);

/// Runs that are under way or will be, each after those that it waits for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub now: Timestamp,
    pub jobs: Vec<Job>,
}

/// One run of a flow: of now, or to come.
#[derive(Clone, Debug)]
pub struct Job {
    pub flow: FlowName,
    pub owner: Option<String>,
    /// `None`: it has not been made yet.
    pub run: Option<RunId>,
    /// When it started; else it starts at [`Job::not_before`] or when its gates are open, whatever is later.
    pub started_at: Option<Timestamp>,
    pub not_before: Timestamp,
    /// All of them must be open.
    pub gates: Vec<Gate>,
    /// How long it waits for slots of a limit by the look of the queue now.
    pub queue: Option<(Limit, Span)>,
    /// Each after those that it comes after.
    pub steps: Vec<Step>,
    /// How long such a run takes as a rule; `None` when there never was one.
    pub usual: Option<Span>,
    /// What nobody can know, in words: "waits for an event `orders.ready`".
    pub unknown: Vec<String>,
}

/// What a run waits for before it starts.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Until all these have ended.
    All(Vec<JobId>),
    /// Until one of these has.
    Any(Vec<JobId>),
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: StepName,
    /// Places of steps of the same run.
    pub after: Vec<usize>,
    pub state: StepState,
    /// How long its tasks take together; of one that runs only what is longer than it has run, see
    /// [`Durations::beyond`]. `None`: nobody knows, so it is reckoned as nothing and the run's end is a lower bound.
    pub durations: Option<Durations>,
    pub usual: Option<Span>,
    /// The wait for slots by the look of the queue now.
    pub queue: Option<(Limit, Span)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Done {
        began_at: Timestamp,
        at: Timestamp,
    },
    Running {
        since: Timestamp,
    },
    /// Its next attempt begins then.
    Retrying {
        at: Timestamp,
    },
    Ahead,
}
