//! From a submission to an order for the keeper, with the files it needs.

use super::layout::{Layout, Stream};
use crate::keeper::protocol::{MARK, Order};
use dalsegno_scheduler::Submission;
use dalsegno_scheduler::spec::Command;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Makes the folders and files the attempt finds, and the order that runs it.
///
/// # Errors
/// Why it cannot be run, as a sentence for the person who wrote the flow.
pub(crate) fn prepare(
    submission: Submission,
    layout: &Layout,
    api_url: Option<&str>,
) -> Result<Order, String> {
    let attempt = &submission.attempt;
    let file = std::path::absolute(&submission.file).map_err(|error| {
        format!(
            "cannot find the folder of the flow file {}: {error}",
            submission.file
        )
    })?;
    let cwd = file.parent().unwrap_or(&file);

    let output = layout.output_path(attempt);
    if let Some(folder) = output.parent() {
        make_dir(folder)?;
    }
    let checkpoint = layout.checkpoint_dir(attempt.run, &attempt.task);
    make_dir(&checkpoint)?;

    let mut env = submission.env;
    env.insert("DALSEGNO_OUTPUT".into(), text(output)?);
    env.insert("DALSEGNO_CHECKPOINT_DIR".into(), text(checkpoint)?);
    if let Some(event) = &submission.event {
        let path = layout.event_path(attempt.run);
        write_once(&path, event.to_string().as_bytes())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        env.insert("DALSEGNO_EVENT".into(), text(path)?);
    }
    if let Some(url) = api_url {
        env.insert("DALSEGNO_API_URL".into(), url.to_owned());
    }
    Ok(Order {
        argv: match submission.command {
            Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line],
            Command::Argv(argv) => argv,
        },
        cwd: text(cwd.to_owned())?,
        env,
        stdout: text(layout.log_path(attempt, Stream::Out))?,
        stderr: text(layout.log_path(attempt, Stream::Err))?,
        memory_bytes: submission.memory_bytes,
        attempt: attempt.to_string().into(),
    })
}

/// What every local process inherits: the daemon's environment without its own settings, which may be secrets.
pub(crate) fn inherited() -> BTreeMap<String, String> {
    let all = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.into_string().ok()?))
    });
    all.filter(|(name, _)| !name.starts_with("DALSEGNO_") && name != MARK)
        .collect()
}

fn make_dir(path: &Path) -> Result<(), String> {
    let made = match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::create_dir_all(path),
        other => other,
    };
    made.map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}

/// All attempts of a run find the same event, so whoever comes first writes it.
fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, content)?;
    std::fs::rename(&new, path)
}

fn text(path: PathBuf) -> Result<String, String> {
    path.into_os_string().into_string().map_err(|path| {
        format!(
            "the path {} is not UTF-8; rename the folder",
            Path::new(&path).display()
        )
    })
}
