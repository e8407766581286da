//! Metaflow flows: registered from the flows folder and over HTTP, probed, and told of.

mod base64;
mod beside;
mod checked;
mod deployment;
mod kept;
mod notes;
mod probe;
mod registry;
mod version;

pub(crate) use kept::LocalData;
pub(crate) use probe::probe_options;
pub(crate) use registry::{Registry, is_deployed, options, options_of, own};
