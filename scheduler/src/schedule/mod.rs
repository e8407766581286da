//! When a flow is due: cron text or a fixed period, in a time zone, across clock changes.

mod cron_text;
mod day_items;
mod days;
mod describe;
mod due;
mod error;
mod field;
mod resolve;
mod walls;
mod zone;

pub use due::{Gap, Overlap, Schedule, When};
pub use error::ScheduleError;
pub use zone::parse_time_zone;
