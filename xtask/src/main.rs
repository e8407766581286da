//! `cargo xtask`: the tests, the benchmarks, the seeded world and the house rules, each by one command.

mod aws;
mod bench;
mod ci;
mod parts;
mod postgres;
mod python_tests;
mod shell;
mod sim;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need and run them all; arguments after `--` go to the test runner
    Test(test::Args),
    /// Check the house rules: edges between crates, twin migrations, docs links, reasons, words
    Tidy,
    /// Run the seeded world around the core
    Sim(sim::Args),
    /// Build for release and run the benchmarks; unknown arguments go to them
    Bench(bench::Args),
    /// What must pass before a change lands: format, clippy, tidy, test
    Ci,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(),
        Task::Sim(args) => sim::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
