//! The tests of what is written in Python, by Python's own test runner, with real Metaflow.

use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Each is a folder of `test_*.py`; its tests find our extension beside them.
const FOLDERS: [&str; 2] = ["python/tests/task", "python/tests/client"];

/// Runs them; what they print is shown only when one fails.
pub(crate) fn run(workspace: &Workspace, python: &Path) -> Result<()> {
    eprintln!("\n== tests of the Python side");
    for folder in FOLDERS {
        let place = workspace.root().join(folder);
        if !place.is_dir() {
            bail!(
                "there is no folder {folder}; when its tests have moved, tell {}",
                file!()
            );
        }
        let mut tests = Command::new(python);
        tests
            .args(["-B", "-m", "unittest", "discover", "-s"])
            .arg(&place)
            .current_dir(workspace.root())
            .env("DALSEGNO_TEST_METAFLOW_PYTHON", python);
        shell::quiet(folder, &mut tests)?;
    }
    Ok(())
}
