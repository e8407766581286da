//! Deciding: an input and the time go in, changed rows and commands come out.
//!
//! A [`Draft`] is a clone of the state on which inputs are worked out one after another. The clone is
//! cheap and independent: until [`Scheduler::install`] nothing of it is visible, and a draft that is
//! not committed is simply dropped.

mod alerts;
mod arrays;
mod attempts;
mod backfill;
mod blackouts;
mod deadlines;
mod deploy;
mod draft;
mod events;
mod followers;
mod occurrences;
mod place;
mod rerun;
mod resume;
mod runs;
mod sla;
mod subflow;
mod subflow_checks;
mod tokens;
mod unpause;

pub use draft::Draft;
pub use events::{
    EVENT_BYTES_MAX, HELD_MAX, HeldRun, KEY_BYTES_MAX, SET_EVENTS_MAX, WaitingLeaf, WaitingSet,
};
pub(crate) use events::{event_json, missing, set_key};
pub use runs::RUN_ENDED;
pub use subflow::{SUB_FLOW_DEPTH_MAX, child_run};
pub(crate) use subflow::{in_queue, sub_flow};
pub use tokens::ITEMS_MAX;
pub(crate) use tokens::{add_token, goes_on, takes, tokens_after, tokens_of};
pub use unpause::{UnpausePreview, WouldStart};

use crate::input::{Answer, Command, Input, Rejected};
use crate::row::Changes;
use crate::state::Scheduler;
use crate::time::Timestamp;

/// One atomic unit of progress: the rows that change, and the commands that follow once they are durable.
#[derive(Clone, Debug)]
#[must_use = "a decision that is not committed and installed has not happened"]
pub struct Decision {
    pub changes: Changes,
    pub commands: Vec<Command>,
    pub(crate) after: Scheduler,
}

impl Scheduler {
    /// Works out what one input leads to. Changes nothing.
    ///
    /// # Errors
    /// When the input does not apply; nothing follows from it.
    pub fn decide(&self, now: Timestamp, input: Input) -> Result<(Decision, Answer), Rejected> {
        let mut draft = self.draft(now);
        let answer = draft.decide(input)?;
        Ok((draft.finish(), answer))
    }

    /// Begins a decision over several inputs.
    pub fn draft(&self, now: Timestamp) -> Draft {
        Draft::new(self.clone(), now)
    }

    /// Makes a durable decision visible. Cannot fail: everything was decided before.
    pub fn install(&mut self, decision: Decision) {
        *self = decision.after;
    }

    /// The earliest instant at which [`Input::Tick`] would decide something.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.get_min().map(|(at, _)| *at)
    }
}
