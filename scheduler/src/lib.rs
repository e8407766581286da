//! The core of Dalsegno: one synchronous, deterministic state machine that decides what runs.
//!
//! It does no I/O, reads no clock and draws no random numbers. Rows and inputs go in with the time;
//! changed rows and commands come out. See [`Scheduler`].

pub mod alert;
pub mod backfill;
pub mod blackout;
pub mod calendar;
mod compare;
mod context;
mod decide;
mod dry_run;
pub mod expr;
pub mod failure;
mod flow;
mod hash;
mod id;
mod input;
pub mod instances;
pub mod metaflow;
pub mod params;
mod pattern;
mod reason;
mod recover;
pub mod row;
pub mod schedule;
pub mod sla;
pub mod spec;
mod state;
mod submission;
mod time;
mod transition;
mod view;
mod why;

pub use decide::{
    Decision, Draft, EVENT_BYTES_MAX, HELD_MAX, HeldRun, ITEMS_MAX, KEY_BYTES_MAX, RUN_ENDED,
    SET_EVENTS_MAX, SUB_FLOW_DEPTH_MAX, UnpausePreview, WaitingLeaf, WaitingSet, WouldStart,
    child_run,
};
pub use dry_run::{DRY_RUNS_MAX, WouldRun, dry_run};
pub use failure::delay;
pub use flow::{Flow, FlowError, NODES_MAX, Node, NodeId, NodeKind};
pub use id::*;
pub use input::*;
pub use pattern::{PATTERN_BYTES_MAX, PatternError, WILDCARDS_MAX};
pub use reason::{Limit, Reason, SubmissionWait};
pub use spec::ExecutorKind;
pub use state::{Config, FlowState, Scheduler};
pub use submission::{
    ArrayPlace, DoneTask, Execution, Executions, LiveAttempt, RemoteTask, Submission,
};
pub use time::{Span, Timestamp};
pub use view::LimitUse;
pub use why::{
    Explanation, NEAR, PastFacts, PastOutage, STATES, cure, explain_at, explain_occurrence,
    explain_run,
};
