//! The dependency tracker: events are matched to the triggers of flows.
//!
//! Every event is a row, and at each leaf that listens to it a match row says what became of it there: it fired,
//! waits, was filtered, replaced or refused, or expired. What waits stands in a queue at its leaf, and all queues of one
//! trigger and join key are a *set*. Nothing is derived from anything but rows. See
//! docs/adr/0015-waiting-events.md.

mod accept;
mod deadline;
mod fire;
mod leaf;
mod listen;
mod release;
mod sets;
mod standing;
mod view;

pub use accept::{EVENT_BYTES_MAX, KEY_BYTES_MAX};
pub(in crate::decide) use fire::given;
pub(in crate::decide) use leaf::end_counts;
pub(crate) use leaf::event_json;
pub(crate) use listen::{ended_flow, subscriptions};
pub use release::HELD_MAX;
pub use sets::SET_EVENTS_MAX;
pub(crate) use sets::set_key;
pub(crate) use standing::missing;
pub use view::{HeldRun, WaitingLeaf, WaitingSet};
