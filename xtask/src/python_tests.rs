//! The tests of what is written in Python, by Python's own test runner, with real Metaflow.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Folders of `test_*.py`, each with the folder from which its modules are named, and whose packages they need.
const SUITES: [(&str, &str, Needs); 3] = [
    ("python/tests/task", "python/tests", Needs::Metaflow),
    (
        "python/tests/client",
        "python/tests/client",
        Needs::Metaflow,
    ),
    ("tests/emulator/tests", "tests/emulator/tests", Needs::Aws),
];

#[derive(Clone, Copy)]
enum Needs {
    Metaflow,
    Aws,
}

/// The interpreters of the environments that the suites run in, and where the emulator of AWS listens.
pub(crate) struct Parts<'a> {
    pub(crate) metaflow: &'a Path,
    pub(crate) aws: &'a Path,
    pub(crate) aws_url: &'a str,
}

/// Each file is run by itself, so many at the same time: they mostly wait.
const AT_ONCE: usize = 4;

/// Runs them; what they print is shown only when one fails.
pub(crate) fn run(workspace: &Workspace, parts: &Parts<'_>) -> Result<()> {
    eprintln!("\n== tests of the Python side");
    let root = workspace.root();
    let mut commands = Vec::new();
    for (folder, top, needs) in SUITES {
        let python = match needs {
            Needs::Metaflow => parts.metaflow,
            Needs::Aws => parts.aws,
        };
        let files = test_files(&root.join(folder))?;
        if files.is_empty() {
            bail!(
                "there are no tests in {folder}; when they have moved, tell {}",
                file!()
            );
        }
        for file in files {
            let mut tests = Command::new(python);
            tests
                .args(["-B", "-m", "unittest", "discover"])
                .args(["-s", folder, "-t", top, "-p", &file])
                .current_dir(&root)
                .env("DALSEGNO_TEST_METAFLOW_PYTHON", parts.metaflow)
                .env("DALSEGNO_TEST_AWS_URL", parts.aws_url);
            commands.push(tests);
        }
    }
    let what = format!("{} files of tests", commands.len());
    shell::quiet_all(&what, commands, AT_ONCE)
}

fn test_files(folder: &Path) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("test_") && name.ends_with(".py") {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}
