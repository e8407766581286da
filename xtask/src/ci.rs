//! `cargo xtask ci`: what must pass before a change lands. `.ci/run` calls it.

use crate::{shell, test, tidy};
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    shell::show("format", shell::cargo().args(["fmt", "--all", "--check"]))?;
    eprintln!("\n== house rules");
    tidy::run()?;
    shell::show(
        "lints",
        shell::cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    test::run(&test::Args::default())
}
