//! What runs tasks elsewhere: AWS Batch and AWS Step Functions.
//!
//! Nothing is submitted before its intent is durable, everything is submitted under a name that only one attempt can
//! have, and after an answer that was lost that name is looked up before anything is asked for again.

mod batch;
mod config;
pub mod container;
mod cx;
pub mod guard;
pub mod job;
mod logs;
mod look;
pub mod metaflow;
pub mod names;
mod orphans;
pub mod sfn;
pub mod status;
mod storage;
pub mod tags;

pub use batch::Batch;
pub use config::{AwsConfig, OrphanPolicy, S3Place, Timings};
pub use cx::Aws;
pub use logs::{LogPage, Logs};
pub use look::{Seen, Verdict, look};
pub use orphans::{Orphan, OrphanError, Orphans};
pub use storage::{READ_BYTES_MAX, Storage};
