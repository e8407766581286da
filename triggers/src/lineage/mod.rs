//! OpenLineage: what other tools wrote comes in, our own runs go out.

mod config;
mod emit;
mod post;
mod read;
mod route;
mod run_event;

pub use config::{Emission, EmissionSpec};
pub use emit::emit;
pub use read::{Told, read};
pub use route::{LINEAGE, LINEAGE_BATCH, LINEAGE_BYTES_MAX, router};
