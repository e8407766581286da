//! Metaflow flow files, unmodified: read as text, so no user code is ever run.
//!
//! [`read`] gives the flow that Metaflow itself would see, as far as text can tell. What only running the file can
//! tell is listed as dynamic; then a *probe* runs Metaflow's own dump of the flow, and [`with_dump`] merges it.
//! See `docs/metaflow.md`.

mod batch;
mod class;
mod declared;
mod differences;
mod dump;
mod encoding;
mod events;
mod folder;
mod found;
mod graph;
mod hooks;
mod known;
mod machine;
mod module;
mod options;
mod packages;
mod params;
mod perhaps;
mod policy;
mod project;
mod python;
mod read;
mod reading;
mod schedule;
mod sidecar;
mod spec;
mod syntax;
mod transition;
mod uses;
mod value;
mod with;
mod world;

pub use differences::Difference;
pub use dump::{
    Dump, DumpDecorator, DumpHooks, DumpParameter, DumpStep, flow_from_dump, with_dump,
};
pub(crate) use folder::read_all;
pub use options::Options;
pub use read::{MetaflowFile, read, read_text};
pub use sidecar::flow_file;
pub(crate) use sidecar::{alone, is_sidecar};
