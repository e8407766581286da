//! The tests of what is written in Python, by Python's own test runner, with real Metaflow.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Folders of `test_*.py`, each with the folder from which its modules are named.
const SUITES: [(&str, &str); 2] = [
    ("python/tests/task", "python/tests"),
    ("python/tests/client", "python/tests/client"),
];

/// Each file is run by itself, so many at the same time: they mostly wait.
const AT_ONCE: usize = 4;

/// Runs them; what they print is shown only when one fails.
pub(crate) fn run(workspace: &Workspace, python: &Path) -> Result<()> {
    eprintln!("\n== tests of the Python side");
    let root = workspace.root();
    let mut commands = Vec::new();
    for (folder, top) in SUITES {
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
                .env("DALSEGNO_TEST_METAFLOW_PYTHON", python);
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
