//! What the end of a Metaflow task's process means. An exit status of 0 is not enough: `sys.exit(0)` in a step, or one
//! that returns before `self.next`, has it too. What counts is what the task itself left in its outcome file.

use super::logs;
use super::request::Request;
use crate::keeper::protocol::End;
use crate::local::{DO_NOT_RETRY, Layout, Stream};
use dalsegno_scheduler::metaflow::output;
use dalsegno_scheduler::{AttemptId, Outcome, Reason, StepName, Success};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The largest outcome file. Labels of a foreach are at most 1,000 of 30 characters.
const OUTCOME_BYTES_MAX: u64 = 4 << 20;

/// How much of the error log is searched for its last lines.
const TAIL_BYTES: i64 = 4 << 10;

/// How many of them are quoted.
const TAIL_LINES: usize = 3;

/// Metaflow's command line says by this exit status that it was called wrongly.
const USAGE: i32 = 2;

pub(super) const NOT_DONE: &str =
    "the step ended with exit status 0 before it was done; does it call sys.exit or os._exit?";

/// What a task left behind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Left {
    ok: bool,
    next: Option<Vec<StepName>>,
    num_splits: Option<u32>,
    num_parallel: Option<u32>,
    labels: Option<Vec<String>>,
    caught: bool,
    mapper_tasks: Option<Vec<String>>,
    error: Option<String>,
    stage: Stage,
    attempt: Option<u32>,
    /// Absent where no step was begun.
    pathspec: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Init,
    Clone,
    Hook,
    #[default]
    #[serde(other)]
    Step,
}

/// The outcome of an attempt that ran Metaflow; `None`: it did not.
pub(crate) fn judge(
    end: &End,
    memory_bytes: Option<u64>,
    attempt: &AttemptId,
    layout: &Layout,
) -> Option<Outcome> {
    let request = Request::read(&layout.request_path(attempt))?;
    if let Some(folder) = &request.folder
        && !matches!(end, End::NotStarted(_))
    {
        logs::save(layout, attempt, folder, request.attempt);
    }
    let left = read_left(&request);
    let last_words = |lines| tail(&layout.log_path(attempt, Stream::Err), lines);
    Some(match end {
        // A hook has nothing to say, and may end by `sys.exit()`.
        End::Exit(0) if request.hook.is_some() && left.is_err() => {
            Outcome::Succeeded(Success::default())
        }
        End::Exit(0) => match left.and_then(|it| succeeded(&request, it)) {
            Ok(success) => Outcome::Succeeded(success),
            Err(message) => Outcome::Failed(Reason::BadOutput { message }),
        },
        End::Exit(status) => Outcome::Failed(failed(*status, left.ok(), last_words)),
        // It was done before its keeper died, and all of it is dead.
        End::Lost(message) => match left.and_then(|it| succeeded(&request, it)) {
            Ok(success) if request.hook.is_none() => Outcome::Succeeded(success),
            _ => Outcome::Lost(message.clone()),
        },
        End::Signal(signal) => Outcome::Failed(Reason::Signal { signal: *signal }),
        End::Stopped => Outcome::Stopped,
        End::OutOfMemory => Outcome::Failed(Reason::OutOfMemory {
            limit_bytes: memory_bytes,
        }),
        End::NotStarted(message) => Outcome::Failed(Reason::NotStarted {
            message: message.clone(),
        }),
    })
}

/// `last_words` gives so many of its last lines, if there are any.
pub(super) fn failed(
    status: i32,
    left: Option<Left>,
    last_words: impl Fn(usize) -> Option<String>,
) -> Reason {
    if status == DO_NOT_RETRY {
        return Reason::DoNotRetry { status };
    }
    let refusal = || {
        let silent = || "Metaflow refused to run it, and did not say why".into();
        last_words(TAIL_LINES).unwrap_or_else(silent)
    };
    let stage = left.as_ref().map(|it| it.stage);
    let error = left.and_then(|it| it.error);
    match stage {
        Some(Stage::Init | Stage::Clone) => Reason::Configuration {
            message: error.unwrap_or_else(refusal),
        },
        Some(Stage::Hook) if status == USAGE => Reason::Configuration {
            message: error.unwrap_or_else(refusal),
        },
        _ => match error {
            Some(message) => Reason::UserError { message },
            None if status == USAGE => Reason::Configuration { message: refusal() },
            // Metaflow itself ends so when it cannot read what the step needs.
            None => match last_words(1) {
                Some(line) => Reason::UserError {
                    message: format!("exit code {status}; the last line of its errors: {line}"),
                },
                None => Reason::Exit { status },
            },
        },
    }
}

/// What a task gives that ended well, or why it did not.
pub(super) fn succeeded(request: &Request, left: Left) -> Result<Success, String> {
    if !left.ok {
        let error = left.error.unwrap_or_else(|| "it did not say why".into());
        return Err(format!(
            "the step ended with exit status 0, but is not done: {error}"
        ));
    }
    if request.hook.is_some() {
        return Ok(Success::default());
    }
    let chosen = choice(
        &request.step_name,
        &request.expects,
        left.next.unwrap_or_default(),
    )?;
    let mut outputs = Map::new();
    if let Some(workers) = left.num_parallel {
        outputs.insert(output::NUM_PARALLEL.into(), workers.into());
    }
    if let Some(tasks) = left.mapper_tasks {
        outputs.insert(output::MAPPER_TASKS.into(), tasks.into());
    }
    if let Some(labels) = left.labels {
        outputs.insert(output::LABELS.into(), labels.into());
    }
    if left.caught {
        outputs.insert(output::CAUGHT.into(), Value::Bool(true));
        if let Some(error) = left.error {
            outputs.insert(output::ERROR.into(), error.into());
        }
    }
    // To the outside a gang is one task: its control task.
    let splits = left.num_parallel.map(|_| 1).or(left.num_splits);
    Ok(Success {
        outputs,
        chosen,
        splits,
    })
}

/// The successors taken. A switch takes one of several; everybody else takes all.
fn choice(
    step: &StepName,
    declared: &[StepName],
    mut taken: Vec<StepName>,
) -> Result<Option<Vec<StepName>>, String> {
    let names = |steps: &[StepName]| {
        let names: Vec<_> = steps.iter().map(|it| format!("`{it}`")).collect();
        names.join(", ")
    };
    if taken.is_empty() && !declared.is_empty() {
        return Err(format!(
            "the step ended without self.next: {} was to follow. `return` and conditions before self.next leave \
             it out; it must be the last line of the step, and always be reached",
            names(declared)
        ));
    }
    if let Some(other) = taken.iter().find(|it| !declared.contains(it)) {
        return Err(match declared {
            [] => format!("the step went on to `{other}`, but `{step}` is the last step"),
            _ => format!(
                "the step went on to `{other}`, but the flow as it was registered goes on to {}; was the file \
                 changed meanwhile?",
                names(declared)
            ),
        });
    }
    taken.dedup();
    match (taken.len(), declared.len()) {
        (0, _) => Ok(None),
        (1, _) => Ok(Some(taken)),
        (some, all) if some == all => Ok(None),
        _ => Err(format!(
            "the step went on to {}, but the flow as it was registered goes on to {}",
            names(&taken),
            names(declared)
        )),
    }
}

fn read_left(request: &Request) -> Result<Left, String> {
    let mut bytes = Vec::new();
    let read = File::open(&request.outcome)
        .and_then(|file| file.take(OUTCOME_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return Err(NOT_DONE.into());
    }
    let left: Left = serde_json::from_slice(&bytes).map_err(|error| {
        format!(
            "what the step left in {} is not readable: {error}",
            request.outcome
        )
    })?;
    believed(request, left)
}

/// Refuses what another run or attempt left.
pub(super) fn believed(request: &Request, left: Left) -> Result<Left, String> {
    if let Some((_, whose)) = left.pathspec.as_deref().and_then(|it| it.split_once('/'))
        && whose != request.whose()
    {
        return Err(format!(
            "what is in {} was left by {whose}, not by {}",
            request.outcome,
            request.whose()
        ));
    }
    match left.attempt {
        Some(other) if other != request.attempt => Err(format!(
            "what is in {} was left by attempt {other} of the task, not by {}",
            request.outcome, request.attempt
        )),
        _ => Ok(left),
    }
}

/// The last lines of a log, for a message. `None`: there are none.
fn tail(path: &Path, count: usize) -> Option<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len().cast_signed();
        file.seek(SeekFrom::Start((size - TAIL_BYTES).max(0).cast_unsigned()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    match lines.as_slice() {
        [] => None,
        lines => Some(lines[lines.len().saturating_sub(count)..].join(" / ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(names: &[&str]) -> Vec<StepName> {
        names.iter().map(StepName::new).collect()
    }

    #[test]
    fn what_a_step_goes_on_to_must_be_what_it_declares() {
        let choose =
            |declared: &[&str], taken: &[&str]| choice(&"s".into(), &steps(declared), steps(taken));
        assert_eq!(choose(&[], &[]), Ok(None));
        assert_eq!(choose(&["a"], &["a"]), Ok(Some(steps(&["a"]))));
        assert_eq!(choose(&["a", "b"], &["b", "a"]), Ok(None));
        assert_eq!(choose(&["a", "b"], &["b"]), Ok(Some(steps(&["b"]))));
        let errors = [
            choose(&["a", "b"], &[]).expect_err("nothing"),
            choose(&["a"], &["c"]).expect_err("another"),
            choose(&[], &["c"]).expect_err("after the end"),
            choose(&["a", "b", "c"], &["a", "b"]).expect_err("some"),
        ];
        assert_eq!(
            errors.join("\n"),
            "\
the step ended without self.next: `a`, `b` was to follow. `return` and conditions before self.next leave it out; it must be the last line of the step, and always be reached
the step went on to `c`, but the flow as it was registered goes on to `a`; was the file changed meanwhile?
the step went on to `c`, but `s` is the last step
the step went on to `a`, `b`, but the flow as it was registered goes on to `a`, `b`, `c`"
        );
    }

    #[test]
    fn a_failure_is_the_users_the_calls_or_just_a_number() {
        let left = |stage, error: Option<&str>| {
            Some(Left {
                stage,
                error: error.map(str::to_owned),
                ..Left::default()
            })
        };
        let said = |status, left| {
            let reason = failed(status, left, |lines| Some(format!("last {lines}")));
            format!("{}: {reason}", reason.code())
        };
        let all = [
            said(1, left(Stage::Step, Some("ValueError: boom"))),
            said(1, left(Stage::Init, None)),
            said(2, None),
            said(2, left(Stage::Hook, Some("no hooks"))),
            said(2, left(Stage::Step, Some("KeyError: 'x'"))),
            said(202, left(Stage::Step, Some("x"))),
            said(3, None),
            failed(3, None, |_| None).to_string(),
            failed(2, None, |_| None).to_string(),
        ];
        assert_eq!(
            all.join("\n"),
            "\
user_error: ValueError: boom
configuration: it cannot run as it is: last 3
configuration: it cannot run as it is: last 3
configuration: it cannot run as it is: no hooks
user_error: KeyError: 'x'
do_not_retry: exit code 202, which means: do not retry
user_error: exit code 3; the last line of its errors: last 1
exit code 3
it cannot run as it is: Metaflow refused to run it, and did not say why"
        );
    }

    #[test]
    fn what_another_run_left_under_the_same_name_is_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let outcome = dir.path().join("outcome.json");
        let request: Request = serde_json::from_value(json!({
            "version": 1, "flow": "", "python": "", "top": [], "init": null, "clone": null, "step": null, "hook": null,
            "outcome": outcome, "triggers": [], "checkpoints": null, "logs": {"save": false}, "step_name": "train",
            "run_id": "R2", "task_id": "t", "attempt": 0,
        }))
        .expect("a request");
        let read = |pathspec: Value| {
            let left = json!({"ok": true, "attempt": 0, "pathspec": pathspec});
            std::fs::write(&outcome, left.to_string()).expect("written");
            read_left(&request)
        };
        assert!(read(json!("F/R2/train/t")).is_ok() && read(Value::Null).is_ok());
        let error = read(json!("F/R1/train/t")).expect_err("another run");
        assert!(
            error.ends_with("was left by R1/train/t, not by R2/train/t"),
            "{error}"
        );
    }
}
