//! `cargo xtask bench`: the benchmarks, on a release build, with PostgreSQL beside them.

use crate::parts::{aws_emulator, metaflow, postgres_binaries};
use crate::postgres::{Durability, Postgres};
use crate::shell;
use crate::workspace::Workspace;
use anyhow::Result;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also measure these on the same machine in the same run, e.g. restate,dbos,prefect
    #[arg(long, value_name = "NAMES")]
    peers: Option<String>,
    /// Given to the benchmarks as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::read()?;
    shell::show(
        "release build",
        shell::cargo().args([
            "build",
            "--release",
            "-p",
            "dalsegno-daemon",
            "-p",
            "dalsegno-bench",
        ]),
    )?;
    let metaflow = metaflow(&workspace)?;
    let emulator = aws_emulator(&workspace)?;
    let binaries = postgres_binaries(&workspace)?;
    // The durable kind: a benchmark without fsync measures nothing that anyone could keep.
    let postgres = Postgres::start(&binaries, Durability::Durable)?;
    let mut bench = Command::new(workspace.binary("release", "dalsegno-bench"));
    bench.current_dir(workspace.root());
    bench.env("DALSEGNO_BENCH_POSTGRES_URL", postgres.url());
    bench.env(
        "DALSEGNO_BENCH_BINARY",
        workspace.binary("release", "dalsegno"),
    );
    bench.env("DALSEGNO_BENCH_METAFLOW_PYTHON", &metaflow);
    bench.env("DALSEGNO_BENCH_AWS_PYTHON", &emulator);
    if let Some(peers) = &args.peers {
        bench.args(["--peers", peers]);
    }
    bench.args(&args.rest);
    shell::show("benchmarks", &mut bench)
}
