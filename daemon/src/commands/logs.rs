//! `dalsegno logs`

use super::{follow, name_run, show, watch};
use crate::cli::LogsArgs;
use crate::client::{Client, Exit, Failure, Result, Run, Task, path};
use crate::output::{self, Tone, print, print_raw, say, state};
use std::borrow::Cow;
use std::io::Read;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn logs(client: &Client, args: &LogsArgs) -> Result<Exit> {
    let run = name_run(client, &args.run)?;
    let streams: &'static [&'static str] = match (args.stdout, args.stderr) {
        (true, _) => &["stdout"],
        (_, true) => &["stderr"],
        _ => &["stdout", "stderr"],
    };
    if args.follow && !run.is_finished() {
        return follow::follow(client, &run, args.task.as_deref(), args.attempt, streams);
    }
    if let Some(task) = &args.task {
        return one(client, &run, task, args.attempt, streams);
    }
    let tasks: Vec<Task> = show::tasks(client, &run)?.typed()?;
    let mut tried: Vec<_> = tasks.iter().filter(|it| it.attempt > 0).collect();
    tried.sort_by_key(|it| it.started_at.or(it.ready_at));
    if tried.is_empty() {
        say(&format!("run {} has not started a task yet", run.id));
    }
    for task in tried {
        let title = format!("── {}, attempt {} ", task.task, task.attempt);
        print(&format!(
            "{}{}\n",
            Tone::Strong.paint(&title),
            state(&task.state)
        ))?;
        if let Some(earlier) = output::earlier(task.attempt) {
            let line = format!(
                "   {earlier}: dalsegno logs {} {} --attempt N",
                run.id,
                quoted(&task.task)
            );
            print(&format!("{}\n", Tone::Quiet.paint(&line)))?;
        }
        let mut is_silent = true;
        for stream in streams {
            let mut log = Log::of(client, &run.id, &task.task, Some(task.attempt), stream);
            is_silent &= !copy(&mut log, *stream == "stderr" && streams.len() > 1)?;
        }
        if is_silent {
            let line = nothing(task.is_terminal());
            print(&format!("{}\n", Tone::Quiet.paint(line)))?;
        }
    }
    Ok(Exit::Done)
}

/// A task's name as shells take it: brackets would stand for files.
fn quoted(task: &str) -> Cow<'_, str> {
    match task.contains(['[', '@']) {
        true => Cow::Owned(format!("'{task}'")),
        false => Cow::Borrowed(task),
    }
}

const fn nothing(is_over: bool) -> &'static str {
    match is_over {
        true => "(no output)",
        false => "(no output yet)",
    }
}

fn one(
    client: &Client,
    run: &Run,
    task: &str,
    attempt: Option<u32>,
    streams: &[&'static str],
) -> Result<Exit> {
    let (mut missing, mut found, mut is_silent) = (None, false, true);
    for stream in streams {
        let mut log = Log::of(client, &run.id, task, attempt, stream);
        is_silent &= !copy(&mut log, *stream == "stderr" && streams.len() > 1)?;
        match log.missing {
            Some(failure) => missing = Some(failure),
            None => found = true,
        }
    }
    match missing {
        Some(failure) if !found => return Err(failure),
        _ => {}
    }
    let attempts = watch::attempts(client, &run.id, Some(task))?;
    let newest = attempts.iter().map(|it| it.number).max();
    if is_silent {
        let this = attempts
            .iter()
            .find(|it| Some(it.number) == attempt.or(newest));
        say(nothing(this.is_none_or(|it| it.finished_at.is_some())));
    }
    if let Some(earlier) = newest
        .filter(|_| attempt.is_none())
        .and_then(output::earlier)
    {
        say(&format!("{earlier}: --attempt N"));
    }
    Ok(Exit::Done)
}

/// Prints a log, and tells whether there was anything in it; what went to standard error, when both are printed, below a line that says so.
fn copy(log: &mut Log<'_>, has_title: bool) -> Result<bool> {
    let (mut is_first, mut last) = (true, b'\n');
    log.read(false, |bytes| {
        if has_title && is_first {
            print(&format!("{}\n", Tone::Quiet.paint("── standard error")))?;
        }
        is_first = false;
        last = *bytes.last().unwrap_or(&last);
        print_raw(bytes)
    })?;
    if last != b'\n' {
        print_raw(b"\n")?;
    }
    Ok(!is_first)
}

/// One log of one attempt, read from where it was read before.
pub(super) struct Log<'a> {
    client: &'a Client,
    place: String,
    attempt: Option<String>,
    stream: &'static str,
    offset: u64,
    /// There is none.
    missing: Option<Failure>,
}

impl<'a> Log<'a> {
    pub(super) fn of(
        client: &'a Client,
        run: &str,
        task: &str,
        attempt: Option<u32>,
        stream: &'static str,
    ) -> Self {
        Self {
            client,
            place: path(&["runs", run, "tasks", task, "logs"]),
            attempt: attempt.map(|it| it.to_string()),
            stream,
            offset: 0,
            missing: None,
        }
    }

    /// Whether the task and the attempt exist.
    pub(super) fn check(&self) -> Result<()> {
        let mut query = vec![("tail", "0")];
        query.extend(self.attempt.as_deref().map(|it| ("attempt", it)));
        match self.client.text(&self.place, &query) {
            Err(failure) if failure.code.as_deref() != Some("no_log") => Err(failure),
            _ => Ok(()),
        }
    }

    /// Gives what is there, and with `follow` what is written until the attempt ends.
    pub(super) fn read(
        &mut self,
        follow: bool,
        mut give: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let offset = self.offset.to_string();
        let mut query = vec![("stream", self.stream), ("offset", offset.as_str())];
        query.extend(self.attempt.as_deref().map(|it| ("attempt", it)));
        if follow {
            query.push(("follow", "true"));
        }
        let response = match self.client.stream(&self.place, &query) {
            Err(failure) if failure.code.as_deref() == Some("no_log") => {
                self.missing = Some(failure);
                return Ok(());
            }
            response => response?,
        };
        let mut reader = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        // A line that breaks is found out by whoever asks again.
        while let Ok(length @ 1..) = reader.read(&mut chunk) {
            self.offset += length as u64;
            give(&chunk[..length])?;
        }
        Ok(())
    }
}
