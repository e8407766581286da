//! How a run goes, told from its journal.

use super::tone::{self, Tone};
use crate::client::{Entry, Time};
use dalsegno_scheduler::row::{RunRow, TaskRow, TaskState};
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
}

/// The states of a run's tasks as far as the journal was read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tasks: BTreeMap<String, TaskState>,
    /// Why the run itself waits.
    waits: Option<String>,
}

impl Tally {
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
        let at = Time(entry.at.0)
            .0
            .to_chrono()
            .format("%H:%M:%SZ")
            .to_string();
        Some(Line {
            at,
            text: line(&row),
            is_news,
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

fn line(row: &TaskRow) -> String {
    let state = row.state.as_str();
    let mut text = format!(
        "{} {} {}",
        Tone::of(state).paint(tone::sign(state)),
        row.task,
        tone::state(state)
    );
    if let (Some(start), Some(end)) = (row.started_at, row.finished_at) {
        let _ = write!(text, " after {}", end - start);
    }
    // The reason of a retry names the attempt itself.
    if row.attempt > 1 && row.state != TaskState::BackingOff {
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
