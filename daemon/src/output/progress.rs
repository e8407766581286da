//! How a run goes, told from its journal.

use super::time::whole;
use super::tone::{self, Tone};
use crate::client::{Attempt, Entry, Time};
use dalsegno_scheduler::metaflow::output::CAUGHT;
use dalsegno_scheduler::row::{RunRow, TaskRow, TaskState};
use dalsegno_scheduler::{Reason, Span};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names of running tasks that are told at once.
const NAMES_MAX: usize = 4;

/// A change that is worth a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// When, as `06:00:03Z`.
    pub(crate) at: String,
    pub(crate) text: String,
    /// A task has ended, or an attempt has failed; what lies between is for those who read a file.
    pub(crate) is_news: bool,
    /// An attempt has failed.
    pub(crate) is_failure: bool,
}

/// The states of a run's tasks as far as the journal was read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tasks: BTreeMap<String, TaskState>,
    /// The newest attempt of each task that is known to have failed, and of what.
    failed: BTreeMap<String, (u32, String)>,
    /// Why the run itself waits.
    waits: Option<String>,
}

impl Tally {
    /// The task whose attempts are to be [told](Self::failures) before an entry is taken in: a retry that begins
    /// at once leaves no entry of the failure before it.
    pub(crate) fn asks(&mut self, entry: &Entry) -> Option<String> {
        if !entry.kind.starts_with("task.") {
            return None;
        }
        let row: TaskRow = serde_json::from_str(&entry.body).ok()?;
        let name = row.task.to_string();
        let told = self.failed.entry(name.clone()).or_default();
        // What failed before a resume is no news.
        told.0 = told.0.max(row.attempts_before);
        (row.state.is_live() && told.0 + 1 < row.attempt).then_some(name)
    }

    /// Tells those of a task's attempts that failed and were not told before.
    pub(crate) fn failures(&mut self, task: &str, attempts: &[Attempt]) -> Vec<Line> {
        let told = self.failed.entry(task.to_owned()).or_default();
        let mut lines = Vec::new();
        for it in attempts {
            let ended = it.finished_at.filter(|_| it.number > told.0);
            let (Some(at), "failed") = (ended, it.state.as_str()) else {
                continue;
            };
            let reason = it.reason.as_ref().map_or("failed", |it| it.text());
            *told = (it.number, reason.to_owned());
            lines.push(Line {
                at: clock(at),
                text: format!(
                    "{} {task} attempt {}: {reason}; again at once",
                    sign("failed"),
                    it.number
                ),
                is_news: true,
                is_failure: true,
            });
        }
        lines
    }

    /// Takes an entry in; gives the line it is worth, if any.
    pub(crate) fn take(&mut self, entry: &Entry) -> Option<Line> {
        if entry.kind.starts_with("run.") {
            let run: RunRow = serde_json::from_str(&entry.body).ok()?;
            self.waits = run
                .reason
                .filter(|_| run.finished_at.is_none())
                .map(|it| it.to_string());
            return None;
        }
        if !entry.kind.starts_with("task.") {
            return None;
        }
        let row: TaskRow = serde_json::from_str(&entry.body).ok()?;
        let before = self.tasks.insert(row.task.to_string(), row.state);
        if before == Some(row.state)
            || matches!(
                row.state,
                TaskState::Ready | TaskState::Waiting | TaskState::Submitting
            )
        {
            return None;
        }
        let is_news = row.state.is_terminal() || row.state == TaskState::BackingOff;
        let name = row.task.to_string();
        if let Some(Reason::RetryAt { attempt, after, .. }) = &row.reason {
            self.failed
                .insert(name.clone(), (*attempt, after.to_string()));
        }
        let mut text = line(&row, entry.at);
        if caught(&row) {
            let error = self.failed.get(&name).map_or("", |(_, error)| error);
            let _ = match error {
                "" => write!(text, "; its error was caught"),
                error => write!(text, "; caught: {error}"),
            };
        }
        Some(Line {
            at: clock(entry.at),
            text,
            is_news,
            is_failure: matches!(row.state, TaskState::Failed | TaskState::BackingOff),
        })
    }

    /// What goes on right now, in one line.
    pub(crate) fn message(&self) -> String {
        let ended = self.tasks.values().filter(|it| it.is_terminal()).count();
        let live: Vec<&str> = self
            .tasks
            .iter()
            .filter(|(_, state)| state.is_live())
            .map(|(name, _)| name.as_str())
            .collect();
        let retry = self
            .tasks
            .iter()
            .find(|(_, state)| **state == TaskState::BackingOff);
        let mut text = match (&self.waits, live.as_slice(), retry) {
            (Some(reason), [], _) => reason.clone(),
            (None, [], Some((name, _))) => format!("{name} will be tried again"),
            (None, [], None) => "waiting".to_owned(),
            (_, live, _) => live[..live.len().min(NAMES_MAX)].join(", "),
        };
        if live.len() > NAMES_MAX {
            let _ = write!(text, " and {} more", live.len() - NAMES_MAX);
        }
        if ended > 0 {
            let _ = write!(text, " · {ended} done");
        }
        text
    }
}

fn clock(at: Time) -> String {
    at.0.to_chrono().format("%H:%M:%SZ").to_string()
}

fn sign(state: &str) -> String {
    Tone::of(state).paint(tone::sign(state))
}

/// `@catch` of Metaflow took an error.
fn caught(row: &TaskRow) -> bool {
    let outputs = row.outputs.as_ref();
    outputs.is_some_and(|it| it.get(CAUGHT) == Some(&true.into()))
}

fn line(row: &TaskRow, now: Time) -> String {
    if let Some(Reason::RetryAt { at, attempt, after }) = &row.reason
        && row.state == TaskState::BackingOff
    {
        // A second that has begun counts.
        let again = match whole(Span((*at - now.0).0 + 999_999)) {
            span if span <= Span::ZERO => "at once".to_owned(),
            span => format!("in {span}"),
        };
        let (sign, task) = (sign("failed"), &row.task);
        return format!("{sign} {task} attempt {attempt}: {after}; again {again}");
    }
    let state = row.state.as_str();
    let mut text = format!("{} {} {}", sign(state), row.task, tone::state(state));
    if let (Some(start), Some(end)) = (row.started_at, row.finished_at) {
        let _ = write!(text, " after {}", end - start);
    }
    if row.attempt > 1 {
        let _ = write!(text, ", attempt {}", row.attempt);
    }
    if let Some(reason) = &row.reason {
        let reason = reason.to_string();
        let told = tone::rest(state, &reason).unwrap_or(&reason);
        let _ = write!(text, ": {told}");
    }
    text
}

/// The attempts before the newest one: `attempts 1–7`.
pub(crate) fn earlier(newest: u32) -> Option<String> {
    match newest {
        0 | 1 => None,
        2 => Some("attempt 1".to_owned()),
        newest => Some(format!("attempts 1–{}", newest - 1)),
    }
}
