//! Metaflow: from one attempt of a Metaflow task to a process, and from how that ended to what it means.
//!
//! What a process runs is Python of ours ([`files`]) around Metaflow's own `init` and `step`; it reads a
//! request file, [`request`], and leaves an outcome file, which [`judge`] reads.

mod config;
mod elsewhere;
mod files;
mod judge;
mod logs;
mod machine;
mod order;
mod packed;
mod request;
mod spool;
mod variables;

pub use config::MetaflowConfig;
pub use elsewhere::{MetaflowJob, MetaflowJobs, Package, outcome};
pub(crate) use files::{Files, hex};
pub(crate) use judge::judge;
pub use machine::{Machine, Machines};
pub(crate) use order::{IGNORED_DECORATORS, Prepared, Python, prepare, remove};
pub use spool::{
    Answer, Asked, Drain, MetadataService, MetadataSpool, Method, NotNow, SpoolLimits, Waiting,
};
