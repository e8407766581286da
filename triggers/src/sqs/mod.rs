//! Events from SQS: S3 notifications, EventBridge, CloudEvents, and what mappings make of the rest.

mod body;
mod clock;
mod dead_letter;
mod fault;
mod queue;
mod receive;

pub use body::{Message, Reading, read};
pub use queue::QueueConfig;
pub use receive::run;
