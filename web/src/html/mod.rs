//! What pages are filled with: plain text and ready-made pieces of HTML. No reading, no deciding.

mod alerts;
mod backfills;
mod bits;
mod events;
mod field;
mod flow;
mod flows;
mod frame;
mod misc;
mod run;
mod slas;

pub(crate) use alerts::*;
pub(crate) use backfills::*;
pub(crate) use bits::*;
pub(crate) use events::*;
pub(crate) use field::{field, field_name};
pub(crate) use flow::*;
pub(crate) use flows::*;
pub(crate) use frame::Frame;
pub(crate) use misc::*;
pub(crate) use run::*;
pub(crate) use slas::*;
