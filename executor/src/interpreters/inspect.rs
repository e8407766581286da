//! What an interpreter says of itself.

use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// An interpreter that takes longer to say what it is will not do.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Looks for Metaflow without importing it.
const QUESTION: &str = "
import json, os, sys
from importlib import metadata, util
try:
    version = metadata.version('metaflow')
    place = os.path.dirname(util.find_spec('metaflow').origin)
except Exception:
    version = place = None
print(json.dumps({'python': '%d.%d' % sys.version_info[:2], 'metaflow': version, 'place': place}))
";

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Inspected {
    /// `3.11`.
    pub(crate) python: String,
    pub(crate) metaflow: Option<String>,
    /// The folder of Metaflow's package.
    pub(crate) place: Option<PathBuf>,
}

/// Asks an interpreter, away from any folder with code in it.
pub(crate) async fn inspect(python: &Path) -> Result<Inspected, String> {
    let mut command = command(python);
    command.args(["-c", QUESTION]).current_dir("/");
    let asked = tokio::time::timeout(ANSWERS_WITHIN, command.output()).await;
    let output = match asked {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(cannot_run(python, &error)),
        Err(_) => {
            return Err(format!(
                "{} does not answer within {} s",
                python.display(),
                ANSWERS_WITHIN.as_secs()
            ));
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = errors
            .lines()
            .last()
            .unwrap_or("it said nothing")
            .to_owned();
        format!(
            "{} is not a usable Python ({}): {said}",
            python.display(),
            output.status
        )
    })
}

/// A program that ends with us, in a process group of its own, without our secrets and with nothing to read.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"DALSEGNO_") {
            command.env_remove(name);
        }
    }
    command
}

fn cannot_run(python: &Path, error: &io::Error) -> String {
    format!("cannot run the interpreter {}: {error}", python.display())
}
