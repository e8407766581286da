//! The daemon's side of the keeper.

mod config;
mod executor;
mod layout;
mod link;
pub(crate) mod order;
mod outcome;
mod output;
mod tracked;

pub use config::{LocalConfig, StartError};
pub use executor::LocalExecutor;
pub use layout::{Layout, Stream};
pub(crate) use outcome::DO_NOT_RETRY;
pub use output::{OUTPUT_BYTES_MAX, parse as parse_output};
