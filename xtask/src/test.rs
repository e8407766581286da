//! `cargo xtask test`: from a bare machine to all tests passed.
//!
//! A missing part is an error that says its cure, never a test that is passed over.

use crate::aws::Aws;
use crate::parts;
use crate::postgres::{Durability, Postgres};
use crate::python_tests;
use crate::shell;
use crate::workspace::Workspace;
use anyhow::Result;
use std::process::Command;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Given to the test runner as they are, e.g. `-- -p dalsegno-store`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::read()?;
    eprintln!("\n== what the tests need");
    let python = parts::python(&workspace)?;
    let metaflow = parts::metaflow(&workspace)?;
    let wheels = parts::metaflow_wheels(&workspace, &metaflow)?;
    let chromium = parts::chromium()?;
    let postgres = Postgres::start(
        &parts::postgres_binaries(&workspace)?,
        Durability::Throwaway,
    )?;
    let emulator = workspace.root().join("tests/emulator/aws.py");
    let emulator_python = parts::aws_emulator(&workspace)?;
    let aws = Aws::start(&emulator_python, &emulator)?;

    if needs_binary(&args.rest) {
        // The features of what we depend on differ with what is asked for: asked for alone, the daemon would have most
        // of it compiled twice.
        shell::show(
            "build",
            shell::cargo().args(["build", "--workspace", "--all-targets"]),
        )?;
    }
    let with_parts = |command: &mut Command| {
        command
            .env("DALSEGNO_TEST_POSTGRES_URL", postgres.url())
            .env("DALSEGNO_TEST_CHROMIUM", &chromium)
            .env("DALSEGNO_TEST_PYTHON", &python)
            .env("DALSEGNO_TEST_METAFLOW_PYTHON", &metaflow)
            .env("DALSEGNO_TEST_WHEELS", &wheels)
            .env("DALSEGNO_TEST_AWS_URL", aws.url())
            .env(
                "DALSEGNO_TEST_BINARY",
                workspace.binary("debug", "dalsegno"),
            )
            // Snapshots are compared, never written by a test run.
            .env("INSTA_UPDATE", "no");
    };

    if args.rest.is_empty() {
        python_tests::run(
            &workspace,
            &python_tests::Parts {
                metaflow: &metaflow,
                aws: &emulator_python,
                aws_url: &aws.url(),
            },
        )?;
    }

    let mut tests = shell::cargo();
    if shell::on_path("cargo-nextest").is_some() {
        tests.args(["nextest", "run", "--no-fail-fast", "--no-tests", "warn"]);
    } else {
        tests.args(["test", "--all-targets", "--no-fail-fast"]);
    }
    if args.rest.is_empty() {
        tests.arg("--workspace");
    }
    tests.args(&args.rest);
    with_parts(&mut tests);
    shell::show("tests", &mut tests)?;

    if args.rest.is_empty() {
        let mut docs = shell::cargo();
        docs.args(["test", "--workspace", "--doc", "--quiet"]);
        with_parts(&mut docs);
        shell::show("documentation tests", &mut docs)?;
    }
    Ok(())
}

/// Whether these arguments of the test runner may choose black-box tests.
fn needs_binary(rest: &[String]) -> bool {
    let names_packages = rest
        .iter()
        .any(|it| it.starts_with("-p") || it.starts_with("--package"));
    !names_packages || rest.iter().any(|it| it.contains("dalsegno-tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_built_unless_other_packages_are_named() {
        let needs = |line: &str| {
            needs_binary(
                &line
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        assert!(needs(""));
        assert!(needs("kill_nine"));
        assert!(needs("-p dalsegno-tests kill_nine"));
        assert!(!needs("-p dalsegno-store"));
        assert!(!needs("--package=dalsegno-store"));
    }
}
