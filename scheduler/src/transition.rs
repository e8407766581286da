//! The transition tables: which state may follow which.

use crate::row::{
    AttemptState, BackfillItemState, BackfillState, OccurrenceState, RunState, ScopeState,
    TaskState,
};

impl RunState {
    /// Whether a run in this state may become `to`. Finished runs go on only by a resume.
    pub const fn may_become(self, to: Self) -> bool {
        use RunState::{Cancelled, Cancelling, Failed, Queued, Running, Succeeded, TimedOut};
        match (self, to) {
            (Queued, Running | Cancelled)
            | (Running, Succeeded | Failed | Cancelling)
            | (Cancelling, Cancelled | TimedOut | Failed)
            | (Succeeded | Failed | Cancelled | TimedOut, Queued) => true,
            (Queued | Running | Cancelling | Succeeded | Failed | Cancelled | TimedOut, _) => false,
        }
    }
}

impl TaskState {
    /// Whether a task in this state may become `to`. Finished tasks go on only by a resume.
    pub const fn may_become(self, to: Self) -> bool {
        use TaskState::{
            BackingOff, Cancelled, Caught, Failed, Ready, Running, Skipped, Stopping, Submitting,
            Succeeded, Waiting,
        };
        match (self, to) {
            (Waiting, Ready | Skipped | Cancelled)
            | (Ready, Submitting | Cancelled | Failed | Caught)
            | (Submitting, Running)
            | (Submitting | Running, Stopping)
            | (
                Submitting | Running | Stopping,
                Succeeded | Failed | Caught | BackingOff | Cancelled,
            )
            | (BackingOff, Ready | Cancelled)
            | (Succeeded | Caught | Failed | Cancelled | Skipped, Waiting) => true,
            (
                Waiting | Ready | Submitting | Running | BackingOff | Stopping | Succeeded | Caught
                | Failed | Cancelled | Skipped,
                _,
            ) => false,
        }
    }
}

impl OccurrenceState {
    /// Whether an occurrence in this state may become `to`. A run that is replaced while it waits is
    /// coalesced into its successor; what was skipped because its flow went is expected again when
    /// the flow comes back in time.
    pub const fn may_become(self, to: Self) -> bool {
        use OccurrenceState::{Coalesced, Expected, Missed, Ran, Skipped};
        match (self, to) {
            (Expected, _) | (Ran, Coalesced) | (Skipped, Expected) => true,
            (Ran | Coalesced | Skipped | Missed, _) => false,
        }
    }
}

impl ScopeState {
    /// Whether a scope in this state may become `to`.
    pub const fn may_become(self, to: Self) -> bool {
        use ScopeState::{Closed, Failed, Open, Skipped, Waiting};
        match (self, to) {
            (Waiting, Open | Skipped | Failed)
            | (Open, Open | Closed | Waiting)
            | (Closed, Open | Waiting)
            | (Skipped | Failed, Waiting) => true,
            (Waiting | Open | Closed | Skipped | Failed, _) => false,
        }
    }
}

impl BackfillState {
    /// Whether a backfill in this state may become `to`.
    pub const fn may_become(self, to: Self) -> bool {
        use BackfillState::{Cancelled, Cancelling, Finished, Paused, Running};
        match (self, to) {
            (Running, Paused | Cancelling | Finished)
            | (Paused, Running | Cancelling | Finished)
            | (Cancelling, Cancelled) => true,
            (Running | Paused | Cancelling | Cancelled | Finished, _) => false,
        }
    }
}

impl BackfillItemState {
    /// Whether an item in this state may become `to`. What is over goes on when its run is resumed, or that of an item
    /// that it comes after.
    pub const fn may_become(self, to: Self) -> bool {
        use BackfillItemState::{Failed, Running, Skipped, Succeeded, Waiting};
        match (self, to) {
            (Waiting, Running | Failed | Skipped)
            | (Running, Succeeded | Failed)
            | (Succeeded | Failed, Running)
            | (Skipped, Waiting) => true,
            (Waiting | Running | Succeeded | Failed | Skipped, _) => false,
        }
    }
}

impl AttemptState {
    /// Attempts are written once, when they have ended.
    pub const fn may_become(self, _to: Self) -> bool {
        false
    }
}
