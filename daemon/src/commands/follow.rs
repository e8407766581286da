//! `dalsegno logs --follow`: every attempt that starts is read while it writes, line by line.

use super::logs::Log;
use super::watch::{Journal, attempts, each_change, is_passing};
use crate::client::{Client, Exit, Failure, Result, Run, path, typed};
use crate::output::{Tally, Tone, print, print_raw, say};
use dalsegno_scheduler::row::TaskRow;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that are read and not printed yet; a slow reader slows the reading.
const LINES_MAX: usize = 1_000;
/// Logs that are read at once: those of all tasks that run, on most machines.
const READERS_MAX: usize = 128;
/// A line longer than this is printed in pieces.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How long a daemon that went away may stay away, and how often it is looked for.
const AWAY_MAX: Duration = Duration::from_secs(60);
const KNOCK_EVERY: Duration = Duration::from_millis(500);

/// What is followed.
#[derive(Clone)]
struct Wanted {
    run: String,
    task: Option<String>,
    attempt: Option<u32>,
    streams: &'static [&'static str],
}

/// Follows a run, or one task of it, to the end.
pub(super) fn follow(
    client: &Client,
    run: &Run,
    task: Option<&str>,
    attempt: Option<u32>,
    streams: &'static [&'static str],
) -> Result<Exit> {
    if let Some(task) = task {
        // A name that does not exist is found out at once.
        Log::of(client, &run.id, task, attempt, "stdout").check()?;
    }
    let wanted = Wanted {
        run: run.id.clone(),
        task: task.map(str::to_owned),
        attempt,
        streams,
    };
    let (send, lines) = sync_channel(LINES_MAX);
    let client = client.clone();
    let finder = thread::spawn(move || find(&client, &wanted, &send));
    for (label, line) in lines {
        print(&label)?;
        print_raw(&line)?;
    }
    let lost = || Failure::new(Exit::Broken, "the reader of the journal broke");
    finder.join().map_err(|_| lost())??;
    Ok(Exit::Done)
}

type Line = (String, Vec<u8>);

/// Finds attempts in the run's journal, and has each read by a thread of its own.
fn find(client: &Client, wanted: &Wanted, send: &SyncSender<Line>) -> Result<()> {
    let mut journal = Journal::new(client, &wanted.run, 0);
    let mut found = BTreeSet::new();
    let (enter, leave) = sync_channel(READERS_MAX);
    let gate = Gate {
        enter,
        leave: Arc::new(Mutex::new(leave)),
    };
    let place = path(&["runs", &wanted.run]);
    let mut tally = Tally::default();
    each_change(client, &wanted.run, || {
        let run = client.get(&place, &[])?;
        let mut is_over = !run["finished_at"].is_null();
        for entry in journal.read()? {
            if !entry.kind.starts_with("task.") {
                continue;
            }
            let Ok(row) = serde_json::from_str::<TaskRow>(&entry.body) else {
                continue;
            };
            let name = row.task.to_string();
            if wanted.task.as_ref().is_some_and(|it| *it != name) {
                continue;
            }
            // Whoever reads along learns why a task begins again, or waits until it does.
            let mut lines = match tally.asks(&entry) {
                Some(task) => tally.failures(&task, &attempts(client, &wanted.run, Some(&task))?),
                None => Vec::new(),
            };
            lines.extend(tally.take(&entry));
            for line in lines.iter().filter(|it| it.is_failure) {
                say(&line.text);
            }
            let is_wanted = wanted.attempt.is_none_or(|it| it == row.attempt);
            if row.attempt > 0 && is_wanted && found.insert((name.clone(), row.attempt)) {
                for stream in wanted.streams {
                    read(client, wanted, &name, row.attempt, stream, send, &gate);
                }
            }
            is_over |= wanted.task.is_some() && row.state.is_terminal();
            is_over |= wanted.attempt.is_some_and(|it| it <= row.attempt);
        }
        Ok(is_over)
    })
}

fn read(
    client: &Client,
    wanted: &Wanted,
    task: &str,
    attempt: u32,
    stream: &'static str,
    send: &SyncSender<Line>,
    gate: &Gate,
) {
    let place = gate.enter();
    let (client, run, task, send) = (
        client.clone(),
        wanted.run.clone(),
        task.to_owned(),
        send.clone(),
    );
    let tone = if stream == "stderr" {
        Tone::Warn
    } else {
        Tone::Quiet
    };
    let label = match wanted.task {
        Some(_) => String::new(),
        None => format!("{} ", tone.paint(&format!("{task} │"))),
    };
    thread::spawn(move || {
        let mut lines = Lines {
            label,
            rest: Vec::new(),
            send,
        };
        let mut log = Log::of(&client, &run, &task, Some(attempt), stream);
        let mut away = None;
        loop {
            let read = log
                .read(true, |bytes| lines.take(bytes))
                .and_then(|()| has_ended(&client, &run, &task, attempt));
            match read {
                Ok(false) => away = None,
                Err(failure) if is_passing(&failure) => {
                    if away.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        break;
                    }
                }
                Ok(true) | Err(_) => break,
            }
            thread::sleep(KNOCK_EVERY);
        }
        lines.end();
        drop(place);
    });
}

/// Lets so many readers in, and the next when one has left.
struct Gate {
    enter: SyncSender<()>,
    leave: Arc<Mutex<Receiver<()>>>,
}

/// A reader's place, until it is dropped.
struct Inside(Arc<Mutex<Receiver<()>>>);

impl Gate {
    fn enter(&self) -> Inside {
        self.enter.send(()).expect("the gate holds the other end");
        Inside(Arc::clone(&self.leave))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Ok(leave) = self.0.lock() {
            // There is one entry for each place, so this never waits.
            let _ = leave.try_recv();
        }
    }
}

/// A log's answer also ends when the daemon stops; only the attempt's own end is the end.
fn has_ended(client: &Client, run: &str, task: &str, attempt: u32) -> Result<bool> {
    let mut answer = client.get(&path(&["runs", run, "attempts"]), &[("task", task)])?;
    let attempts: Vec<Value> = typed(answer["items"].take())?;
    let this = attempts.iter().find(|it| it["number"] == attempt);
    Ok(this.is_none_or(|it| !it["finished_at"].is_null()))
}

/// Cuts what is read into lines, so that those of several tasks do not mix.
struct Lines {
    label: String,
    rest: Vec<u8>,
    send: SyncSender<Line>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for part in bytes.split_inclusive(|it| *it == b'\n') {
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") || self.rest.len() >= LINE_BYTES_MAX {
                self.give()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        if !self.rest.is_empty() {
            // Nobody who could be told is left when this fails.
            let _ = self.give();
        }
    }

    fn give(&mut self) -> Result<()> {
        let mut line = std::mem::take(&mut self.rest);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        let nobody = |_| Failure::new(Exit::Done, "");
        self.send.send((self.label.clone(), line)).map_err(nobody)
    }
}
