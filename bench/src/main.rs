//! `cargo xtask bench`: how fast Dalsegno is, each figure beside the limit it is measured against.
//!
//! Every figure runs in a process of its own, so that the memory of one does not count in the next.
//! Nothing here is a test: a slow machine gives other numbers, never a failure.

mod aim;
mod args;
mod bare;
mod calm;
mod daemon;
mod elsewhere;
mod emulator;
mod executors;
mod figure;
mod figures;
mod floors;
mod flows;
mod http;
mod inside;
mod memory;
mod metaflow;
mod peers;
mod percentile;
mod place;
mod raw;
mod shuffle;
mod stamp;
mod suite;
mod table;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: as a task of a flow this process measures its own start.
    if stamp::is_asked_for() {
        return stamp::run();
    }
    match suite::run(&args::Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
