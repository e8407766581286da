//! What is to come, as far as it can be known: when runs will be done ([`Plan`], [`Forecast`]), and how the next days
//! go ([`week`]).
//!
//! Data in, data out: no I/O and no clock. Chance is drawn from a seed and from what is drawn for, so that the same
//! question has the same answer, and a change of one flow does not change what is drawn for another. See
//! docs/adr/0022-prediction.md for the method and its limits.

mod calibration;
mod chance;
mod culprit;
mod forecast;
mod history;
mod live;
mod plan;
mod promise;
pub mod week;

pub use calibration::{Coverage, Weather, calibrate};
pub use forecast::{Forecast, Target, WORLDS};
pub use history::{Durations, Histories, History, SAMPLES_MAX, Sample, StepTime};
pub use live::{Outlook, PLAN_JOBS_MAX};
pub use plan::{Gate, Job, JobId, Plan, Step, StepState};
pub use promise::{AHEAD, awaited, concerned};
