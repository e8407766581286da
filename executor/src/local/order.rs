//! From a submission to an order for the keeper, with the files it needs.

use super::layout::{Layout, Stream};
use crate::keeper::protocol::{MARK, Order};
use crate::private;
use dalsegno_scheduler::Submission;
use dalsegno_scheduler::spec::Command;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The longest argument or variable Linux takes, with its name, `=` and final zero byte (`MAX_ARG_STRLEN`).
const STRING_BYTES_MAX: usize = 128 << 10;

/// All arguments and variables of one program together: what Linux takes with the usual limit on the stack of
/// 8 MiB. What the daemon's own environment adds is left for the system to judge.
const STRINGS_BYTES_MAX: usize = 2 << 20;

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

    let argv = match submission.command {
        Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line],
        Command::Argv(argv) => argv,
        Command::Flow(_) => return Err("a run of another flow is no process".into()),
        Command::Metaflow(_) => return Err("a Metaflow step without its task".into()),
    };
    check_size(&argv, &submission.env)?;

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
        argv,
        cwd: text(cwd.to_owned())?,
        env,
        stdout: text(layout.log_path(attempt, Stream::Out))?,
        stderr: text(layout.log_path(attempt, Stream::Err))?,
        memory_bytes: submission.memory_bytes,
        outputs: submission.outputs,
        attempt: attempt.to_string().into(),
        warm: None,
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

/// Refuses what the system would not start: it could not say which value is too large.
pub(crate) fn check_size(argv: &[String], env: &BTreeMap<String, String>) -> Result<(), String> {
    let arguments = argv.iter().map(|argument| (None, argument.len() + 1));
    let variables = env
        .iter()
        .map(|(name, value)| (Some(name), name.len() + value.len() + 2));
    let sizes = || arguments.clone().chain(variables.clone());
    let Some((name, size)) = sizes().max_by_key(|(_, size)| *size) else {
        return Ok(());
    };
    let (what, cure) = match name {
        Some(name) => (
            format!("the variable {name}"),
            "write the value to a file and hand over its path",
        ),
        None => (
            "the longest argument of the command".into(),
            "write it to a file and run or read that",
        ),
    };
    if size > STRING_BYTES_MAX {
        return Err(format!(
            "{what} is too large: {} KiB, and the system takes {} KiB; {cure}",
            size.div_ceil(1 << 10),
            STRING_BYTES_MAX >> 10
        ));
    }
    let total: usize = sizes().map(|(_, size)| size).sum();
    if total > STRINGS_BYTES_MAX {
        return Err(format!(
            "its arguments and variables are {} KiB together, and the system takes {} KiB; the largest is {what} \
             with {} KiB: {cure}",
            total.div_ceil(1 << 10),
            STRINGS_BYTES_MAX >> 10,
            size.div_ceil(1 << 10)
        ));
    }
    Ok(())
}

pub(crate) fn make_dir(path: &Path) -> Result<(), String> {
    private::make_dir(path)
        .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}

/// All attempts of a run find the same event, so whoever comes first writes it.
fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        private::make_dir(folder)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, content)?;
    std::fs::rename(&new, path)
}

pub(crate) fn text(path: PathBuf) -> Result<String, String> {
    path.into_os_string().into_string().map_err(|path| {
        format!(
            "the path {} is not UTF-8; rename the folder",
            Path::new(&path).display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_for_the_system_is_named() {
        let env = |count: usize, size: usize| -> BTreeMap<_, _> {
            let name = |number| format!("VALUE_{number}");
            (0..count).map(|it| (name(it), "x".repeat(size))).collect()
        };
        let argv = ["true".to_owned()];
        let largest = STRING_BYTES_MAX - "VALUE_0=".len() - 1;
        assert_eq!(check_size(&[], &BTreeMap::new()), Ok(()));
        assert_eq!(check_size(&argv, &env(1, largest)), Ok(()));
        assert_eq!(check_size(&argv, &env(10, largest)), Ok(()));
        let errors = [
            check_size(&argv, &env(1, largest + 1)).expect_err("too long"),
            check_size(&["x".repeat(1 << 20)], &env(1, 1)).expect_err("too long"),
            check_size(&argv, &env(21, 100 << 10)).expect_err("too much"),
        ];
        assert_eq!(
            errors.join("\n"),
            "\
the variable VALUE_0 is too large: 129 KiB, and the system takes 128 KiB; write the value to a file and hand over its path
the longest argument of the command is too large: 1025 KiB, and the system takes 128 KiB; write it to a file and run or read that
its arguments and variables are 2101 KiB together, and the system takes 2048 KiB; the largest is the variable VALUE_20 with 101 KiB: write the value to a file and hand over its path"
        );
    }
}
