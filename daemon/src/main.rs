//! The binary `dalsegno`: the daemon, and the command line that talks to it.

mod alerts;
mod aws;
mod breakers;
mod cli;
mod client;
mod commands;
mod config;
mod elsewhere;
mod flows;
mod histories;
mod lock;
mod logs;
mod matters;
mod metadata;
mod metaflow;
mod output;
mod predictor;
mod sources;
mod untold;
mod up;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => {
            // Nobody is left to be told when this cannot be printed.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
