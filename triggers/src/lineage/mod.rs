//! OpenLineage: what other tools wrote comes in, our own runs go out.

mod read;
mod route;

pub use read::{Told, read};
pub use route::{LINEAGE, LINEAGE_BATCH, LINEAGE_BYTES_MAX};

pub(crate) use route::routes;
