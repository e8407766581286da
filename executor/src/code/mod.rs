//! Code as it was when a flow was registered, so that editing a file does not change a run. See
//! `docs/adr/0014-code-snapshots.md`.

mod package;
mod snapshot;

pub(crate) use snapshot::below;
pub use snapshot::{CodeError, Snapshots};
