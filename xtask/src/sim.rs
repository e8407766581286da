//! `cargo xtask sim`: the seeded world, at release speed.

use crate::shell;
use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds to play
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "dalsegno-sim",
        "--",
    ]);
    cargo.args([
        "--seeds",
        &args.seeds.to_string(),
        "--from",
        &args.from.to_string(),
    ]);
    shell::show("seeded world", &mut cargo)
}
