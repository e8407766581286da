//! When a flow is due: cron text or a fixed period, in a time zone, across clock changes.

mod cron_text;
mod day_items;
mod days;
mod describe;
mod due;
mod error;
mod field;
mod lint;
mod resolve;
mod slots;
mod walls;
mod zone;

pub use due::{Gap, Overlap, Schedule, When};
pub use error::ScheduleError;
pub use lint::{Transition, TransitionKind, lint};
pub(crate) use resolve::{first_instant_of, instants_of, local_day};
pub use slots::Slot;
pub use zone::parse_time_zone;
