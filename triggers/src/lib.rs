//! What starts flows from outside: CloudEvents over HTTP.
//!
//! Schedules and the completion of other flows need no adapter: the core knows them.

mod attributes;
mod base64;
mod cloud_event;
mod route;

pub use cloud_event::{BadEvent, parse};
pub use route::{BODY_BYTES_MAX, router};
