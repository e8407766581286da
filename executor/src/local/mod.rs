//! The daemon's side of the keeper.

mod config;
mod executor;
mod layout;
mod link;
mod order;
mod outcome;
mod output;
mod tracked;

pub use config::{LocalConfig, StartError};
pub use executor::LocalExecutor;
pub use layout::{Layout, Stream};
pub use output::OUTPUT_BYTES_MAX;
