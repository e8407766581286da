//! The harness of the black-box tests: the real binary on folders that go away, spoken to as a user would.
//!
//! Nothing here depends on our other crates: what a user cannot see, these tests do not know.

mod api;
mod aws;
mod batch;
mod binary;
mod daemon;
mod house;
mod metadata_service;
mod metaflow;
mod patience;
mod postgres;
mod processes;
mod witness;

pub use api::{Answer, Api, run_id};
pub use aws::{Aws, Queue};
pub use batch::JobQueue;
pub use binary::Said;
pub use daemon::Daemon;
pub use house::House;
pub use metadata_service::MetadataService;
pub use metaflow::{HEAD, Metaflow, MetaflowRun, flow_file};
pub use patience::{PATIENCE, eventually};
pub use processes::{Process, kill};
pub use witness::{Gate, Witness};
