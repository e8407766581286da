//! What starts flows from outside: CloudEvents over HTTP, and the events that Metaflow's own code publishes.
//!
//! Schedules and the completion of other flows need no adapter: the core knows them.

mod argo_event;
mod asking;
mod attributes;
mod backoff;
mod base16;
mod base64;
mod cloud_event;
pub mod directory;
mod eventbridge;
pub mod lineage;
pub mod mapping;
pub mod object;
mod route;
pub mod sqs;
pub mod status;
pub mod webhook;

pub use argo_event::{SOURCE as METAFLOW_SOURCE, parse_argo};
pub use cloud_event::{BadEvent, parse};
pub use route::{BODY_BYTES_MAX, METAFLOW_EVENTS, router};
