//! The tests of what is written in Python, by Python's own test runner, with real Metaflow.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Folders of `test_*.py`, each with the folder from which its modules are named.
const SUITES: [(&str, &str); 2] = [
    ("python/tests/task", "python/tests"),
    ("python/tests/client", "python/tests/client"),
];

/// Runs them side by side, for they mostly wait; what they print is shown only when one fails.
pub(crate) fn run(workspace: &Workspace, python: &Path) -> Result<()> {
    eprintln!("\n== tests of the Python side");
    let root = workspace.root();
    for (folder, _) in SUITES {
        if !root.join(folder).is_dir() {
            bail!(
                "there is no folder {folder}; when its tests have moved, tell {}",
                file!()
            );
        }
    }
    let suite = |(folder, top): (&str, &str)| {
        let mut tests = Command::new(python);
        tests
            .args(["-B", "-m", "unittest", "discover"])
            .args(["-s", folder, "-t", top])
            .current_dir(&root)
            .env("DALSEGNO_TEST_METAFLOW_PYTHON", python);
        shell::quiet(folder, &mut tests)
    };
    let results = std::thread::scope(|scope| {
        let all = SUITES.map(|it| scope.spawn(move || suite(it)));
        all.map(|it| it.join().expect("a suite does not panic"))
    });
    for result in results {
        result?;
    }
    Ok(())
}
