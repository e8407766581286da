//! What runs tasks elsewhere: AWS Batch and AWS Step Functions.
//!
//! Nothing is submitted before its intent is durable, everything is submitted under a name that only one attempt can
//! have, and after an answer that was lost that name is looked up before anything is asked for again.

mod config;
pub mod container;
mod cx;
pub mod guard;
mod look;
pub mod metaflow;
pub mod names;
mod storage;
pub mod tags;

pub use config::{AwsConfig, OrphanPolicy, S3Place, Timings};
pub use cx::Aws;
pub use look::{Seen, Verdict, look};
pub use storage::{READ_BYTES_MAX, Storage};
