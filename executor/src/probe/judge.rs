//! Why a probe told nothing.

use std::time::Duration;

/// How many of the last lines a message quotes.
const LINES_QUOTED: usize = 3;

/// Why a flow file could not be asked, each with its cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error(
        "{module} cannot be imported by {python}: {message}; name it in requirements.txt beside the flow, install \
         it there, or name another interpreter in [metaflow] of dalsegno.toml"
    )]
    Import {
        module: String,
        python: String,
        message: String,
    },
    #[error(
        "a config of the flow has no value: {message}; give the file its default names, or deploy the flow with `--config`"
    )]
    Config { message: String },
    #[error(
        "the file ends the interpreter by itself when it is imported ({how}); what it does at its top level \
         belongs under `if __name__ == \"__main__\":` or into a step"
    )]
    Exited { how: String },
    #[error(
        "the file was not imported within {} s; what takes long belongs into a step, or raise metaflow.probe_seconds \
         in dalsegno.toml", .after.as_secs()
    )]
    TimedOut { after: Duration },
    /// Metaflow, or the file, says what is wrong.
    #[error("Metaflow cannot read it: {message}")]
    Refused { message: String },
    #[error("cannot run {python}: {message}")]
    NotStarted { python: String, message: String },
}

/// What the words of a process mean that ended without a dump.
pub(crate) fn judge(status: &str, success: bool, errors: &str, python: &str) -> ProbeError {
    let lines: Vec<_> = errors
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    let last = |lines: &[&str]| lines[lines.len().saturating_sub(LINES_QUOTED)..].join(" / ");
    let import = lines
        .iter()
        .rev()
        .find(|it| it.contains("ModuleNotFoundError:") || it.contains("ImportError:"));
    if let Some(line) = import {
        return ProbeError::Import {
            module: module(line).unwrap_or("something it needs").to_owned(),
            python: python.to_owned(),
            message: (*line).to_owned(),
        };
    }
    let config = lines.iter().find(|it| {
        let line = it.to_lowercase();
        line.contains("missing configuration") || line.contains("configuration file")
    });
    if let Some(line) = config {
        return ProbeError::Config {
            message: (*line).to_owned(),
        };
    }
    if success || lines.is_empty() {
        return ProbeError::Exited { how: status.into() };
    }
    let is_about =
        |it: &&str| it.contains("Traceback") || it.contains("Error") || it.contains("error");
    if !lines.iter().any(is_about) && !lines.iter().any(|it| it.ends_with(':')) {
        let how = format!("{status}: {}", last(&lines));
        return ProbeError::Exited { how };
    }
    ProbeError::Refused {
        message: last(&lines),
    }
}

/// `pandas` of `No module named 'pandas'`, `metaflow` of `cannot import name 'x' from 'metaflow' (…)`.
fn module(line: &str) -> Option<&str> {
    let quoted = |after: &str| {
        let (_, rest) = line.split_once(after)?;
        rest.split('\'').next()
    };
    quoted("No module named '").or_else(|| quoted("from '"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_cure() {
        let said = |success, errors: &str| {
            judge("exit status: 1", success, errors, "/venv/bin/python").to_string()
        };
        let all = [
            said(
                false,
                "Traceback\nModuleNotFoundError: No module named 'pandas'\n",
            ),
            said(
                false,
                "ImportError: cannot import name 'x' from 'metaflow' (/a)",
            ),
            said(false, "missing configuration for 'cfg'"),
            said(true, "some words"),
            said(
                false,
                "Traceback (most recent call last):\n  File\nValueError: boom",
            ),
        ];
        assert_eq!(
            all.join("\n"),
            "\
pandas cannot be imported by /venv/bin/python: ModuleNotFoundError: No module named 'pandas'; name it in requirements.txt beside the flow, install it there, or name another interpreter in [metaflow] of dalsegno.toml
metaflow cannot be imported by /venv/bin/python: ImportError: cannot import name 'x' from 'metaflow' (/a); name it in requirements.txt beside the flow, install it there, or name another interpreter in [metaflow] of dalsegno.toml
a config of the flow has no value: missing configuration for 'cfg'; give the file its default names, or deploy the flow with `--config`
the file ends the interpreter by itself when it is imported (exit status: 1); what it does at its top level belongs under `if __name__ == \"__main__\":` or into a step
Metaflow cannot read it: Traceback (most recent call last): / File / ValueError: boom"
        );
    }
}
