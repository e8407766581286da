//! One task opened on the page of its run: attempts, outputs, logs.

use super::tasks::{Tasks, child_run, is_taken_over};
use super::{cards, metaflow};
use crate::api::logs::is_open;
use crate::html::{AttemptLine, Html, Log, Pair, TaskPanel, exact, fact, run_link, state, took};
use crate::input::Query;
use crate::logs;
use crate::problem::Outcome;
use crate::read;
use crate::state::{App, Stream};
use crate::text::url_encode;
use dalsegno_engine::Code;
use dalsegno_scheduler::failure::FailureClass;
use dalsegno_scheduler::row::{AttemptRow, RunRow, RunState, TaskRow, TaskState};
use dalsegno_scheduler::{AttemptId, Flow, Reason, Timestamp};
use std::sync::Arc;

/// How much of a log the page shows before it is asked for all.
const TAIL_BYTES: u64 = 64 * 1024;

/// The panel of the task that `?task=` names. Without it, a failed run opens what failed first.
pub(super) async fn panel(
    app: &App,
    run: &RunRow,
    flow: Option<&Flow>,
    tasks: &Tasks,
    query: &Query,
    now: Timestamp,
) -> Outcome<Option<TaskPanel>> {
    let task = match query.get("task") {
        Some("none") => return Ok(None),
        // Not there yet, perhaps: the page shows the rest, and opens it when it comes.
        Some(name) => match read::task(app.engine(), run, name).await {
            Ok(task) => task,
            Err(failure) if failure.0.code == Code::UnknownTask => return Ok(None),
            Err(failure) => return Err(failure),
        },
        None if matches!(run.state, RunState::Failed | RunState::TimedOut) => {
            let failed = tasks.rows.iter().filter(|it| it.state == TaskState::Failed);
            match failed.min_by_key(|it| it.finished_at) {
                Some(task) => Arc::clone(task),
                None => return Ok(None),
            }
        }
        None => return Ok(None),
    };
    let expected = "an attempt's number, from 1";
    let attempt = query
        .parse::<u32>("attempt", expected)?
        .unwrap_or(task.attempt);
    let ended = read::attempts(app.engine(), &task).await?;
    let mut attempts: Vec<AttemptLine> = ended
        .iter()
        .map(|it| ended_line(&task, it, attempt))
        .collect();
    if task.state.is_live() {
        attempts.push(live_line(&task, attempt, now));
    }
    for line in &mut attempts {
        line.metaflow = metaflow::attempt_told(flow, &task, line.number);
    }
    let (logs, log_note) = logs_of(app, &task, attempt).await;
    let kept = match metaflow::kept_task(app, flow, run, &task, attempt) {
        Some(place) => Some(cards::kept(app, &task, place).await),
        None => None,
    };
    let outputs = task.outputs.iter().flat_map(|it| it.iter());
    Ok(Some(TaskPanel {
        name: task.task.to_string(),
        state: state(task.state.as_str()),
        close: format!("/runs/{}?task=none", run.id),
        why: task.reason.as_ref().map(ToString::to_string),
        label: tasks.label(&task.task),
        facts: {
            let child = child_run(&task).map(|it| fact("Started", run_link(it)));
            let facts = metaflow::task_facts(app, flow, run, &task);
            child.into_iter().chain(facts).collect()
        },
        attempts,
        no_attempts: match (is_taken_over(&task), run.origin) {
            (true, Some(origin)) => {
                Html::text("None here: taken over from ").then(&run_link(origin))
            }
            _ => Html::text("None yet."),
        },
        outputs: outputs
            .map(|(name, value)| Pair {
                name: name.clone(),
                value: crate::text::shorten(&value.to_string(), 2_000),
            })
            .collect(),
        without_outputs: flow.is_some_and(|it| it.spec().metaflow.is_some()),
        kept,
        logs,
        log_note,
    }))
}

fn attempt_href(task: &TaskRow, number: u32) -> String {
    let name = url_encode(&task.task.to_string());
    format!("/runs/{}?task={name}&attempt={number}#task", task.run)
}

fn ended_line(task: &TaskRow, it: &AttemptRow, here: u32) -> AttemptLine {
    let began = it.started_at.unwrap_or(it.submitted_at);
    let (at, ran) = (exact(began), it.finished_at - began);
    AttemptLine {
        number: it.id.number,
        href: attempt_href(task, it.id.number),
        here: it.id.number == here,
        state: state(it.state.as_str()),
        times: Html(format!("{at} · {ran}")),
        why: it.reason.as_ref().map(|reason| failure(reason, it)),
        metaflow: None,
    }
}

fn live_line(task: &TaskRow, here: u32, now: Timestamp) -> AttemptLine {
    let began = task.started_at.or(task.submitted_at).unwrap_or(now);
    let (at, so_far) = (exact(began), took(began, None, now));
    AttemptLine {
        number: task.attempt,
        href: attempt_href(task, task.attempt),
        here: task.attempt == here,
        state: state(task.state.as_str()),
        times: Html(format!("{at} · {so_far}")),
        why: match (&task.reason, &task.external_id) {
            // Where it waits elsewhere, why.
            (Some(reason), _) => Some(reason.to_string()),
            (None, id) => id.as_ref().map(ToString::to_string),
        },
        metaflow: None,
    }
}

/// A failure of the task's own is told as it is; of another class, with who says that it is none.
fn failure(reason: &Reason, it: &AttemptRow) -> String {
    match (it.class, &it.rule) {
        (None | Some(FailureClass::User), _) => reason.to_string(),
        (Some(class), Some(rule)) if rule != class.as_str() => {
            format!("{reason} · {class}, by rule `{rule}`")
        }
        (Some(class), _) => format!("{reason} · {class}"),
    }
}

/// The ends of both streams; an empty one is left out.
async fn logs_of(app: &App, task: &TaskRow, number: u32) -> (Vec<Log>, Option<String>) {
    if is_taken_over(task) {
        return (
            Vec::new(),
            Some("Its log is with the run it was taken over from.".into()),
        );
    }
    if number == 0 {
        return (
            Vec::new(),
            Some("The first attempt has not begun, so there is no log.".into()),
        );
    }
    let follow = is_open(task, number);
    let fetched = logs::fetch(app, task, number, false).await;
    let attempt = AttemptId {
        run: task.run,
        task: task.task.clone(),
        number,
    };
    let name = url_encode(&task.task.to_string());
    let mut logs = Vec::new();
    for stream in Stream::ALL {
        let path = app.web.logs.path(&attempt, stream);
        let tail = match logs::tail(&path, TAIL_BYTES).await {
            Ok(tail) => tail.unwrap_or_default(),
            Err(error) => return (logs, Some(format!("The log cannot be read: {error}"))),
        };
        let (word, run) = (stream.as_str(), task.run);
        let key = format!("/api/v1/runs/{run}/tasks/{name}/logs?attempt={number}&stream={word}");
        if follow || !tail.text.is_empty() {
            logs.push(Log {
                title: word,
                text: tail.text,
                cut: tail.cut,
                whole: key.clone(),
                key,
                offset: tail.end,
                follow,
            });
        }
    }
    let note = match fetched {
        Err(problem) => Some(format!(
            "Its log could not be brought here: {}",
            problem.detail
        )),
        Ok(_) => logs
            .is_empty()
            .then(|| format!("Attempt {number} wrote nothing.")),
    };
    (logs, note)
}
