//! What runs tasks elsewhere: AWS Batch and AWS Step Functions.
//!
//! Nothing is submitted before its intent is durable, everything is submitted under a name that only one attempt can
//! have, and after an answer that was lost that name is looked up before anything is asked for again.

mod config;
mod cx;
pub mod guard;
mod look;
pub mod metaflow;

pub use config::{AwsConfig, OrphanPolicy, S3Place};
pub use cx::Aws;
pub use look::{Seen, Verdict, look};
