//! Waiting for a run, and telling how it goes.

use crate::client::{Attempt, Client, Entry, Exit, Failure, Live, Result, Run, path, typed};
use crate::output::{self, Screen, Tally, Tone, print, print_json, say};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

/// How long a daemon that went away may stay away: a restart takes seconds.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked for meanwhile.
const KNOCK_EVERY: Duration = Duration::from_millis(500);
/// Entries of a journal that are read at once.
const ENTRIES: usize = 1_000;
/// How often the line of what goes on is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// Waits until a run has ended; tells what happens after the journal's entry `seen`.
pub(super) fn to_the_end(client: &Client, id: &str, seen: u64, json: bool) -> Result<Exit> {
    let is_terminal = std::io::stderr().is_terminal();
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    if is_terminal {
        bar.enable_steady_tick(TICK);
    }
    say(&format!("run {id} is on its way"));
    on_interrupt(bar.clone(), id.to_owned());

    let mut journal = Journal::new(client, id, seen);
    let mut tally = Tally::default();
    let mut last = Value::Null;
    let place = path(&["runs", id]);
    each_change(client, id, || {
        last = client.get(&place, &[])?;
        for entry in journal.read()? {
            let mut lines = match tally.asks(&entry) {
                Some(task) => tally.failures(&task, &attempts(client, id, Some(&task))?),
                None => Vec::new(),
            };
            lines.extend(tally.take(&entry));
            for line in lines {
                match is_terminal {
                    true if line.is_news => bar.suspend(|| say(&line.text)),
                    true => {}
                    false => say(&format!("{} {}", line.at, line.text)),
                }
            }
        }
        bar.set_message(tally.message());
        Ok(!last["finished_at"].is_null())
    })
    .inspect_err(|_| bar.finish_and_clear())?;
    bar.finish_and_clear();

    if json {
        print_json(&last)?;
    }
    let run: Run = typed(last)?;
    if !json {
        print(&format!(
            "{}\n",
            output::verdict(&run, &Screen::of_stdout())
        ))?;
    }
    if run.succeeded() {
        return Ok(Exit::Done);
    }
    let line = |command: &str| {
        say(&format!(
            "  {} dalsegno {command} {id}",
            Tone::Quiet.paint("→")
        ))
    };
    ["show", "logs", "resume"].into_iter().for_each(line);
    Ok(Exit::Failed)
}

/// Attempts of a run, or of one task of it.
pub(super) fn attempts(client: &Client, run: &str, task: Option<&str>) -> Result<Vec<Attempt>> {
    let query: Vec<_> = task.map(|it| ("task", it)).into_iter().collect();
    let mut answer = client.get(&path(&["runs", run, "attempts"]), &query)?;
    typed(answer["items"].take())
}

/// The number of the newest entry in a run's journal.
pub(super) fn last_entry(client: &Client, run: &str) -> Result<u64> {
    let mut journal = Journal::new(client, run, 0);
    journal.read()?;
    Ok(journal.seen)
}

/// Looks now, and whenever the run has changed, until there is nothing more to see. A daemon that restarts
/// meanwhile is waited for.
pub(super) fn each_change(
    client: &Client,
    run: &str,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let mut away = None;
    loop {
        let done = Live::of_run(client, run).and_then(|mut live| {
            loop {
                if look()? {
                    return Ok(true);
                }
                away = None;
                if !live.changed() {
                    return Ok(false);
                }
            }
        });
        match done {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(failure) if !is_passing(&failure) => return Err(failure),
            Err(failure) => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_MAX {
                    return Err(failure.help("the run goes on as soon as its daemon does"));
                }
            }
        }
        thread::sleep(KNOCK_EVERY);
    }
}

/// A daemon that stops or starts will answer again.
pub(super) fn is_passing(failure: &Failure) -> bool {
    failure.exit == Exit::NoDaemon
        || matches!(
            failure.code.as_deref(),
            Some("not_ready" | "not_leader" | "busy")
        )
}

/// What has happened in a run, entry by entry.
pub(super) struct Journal<'a> {
    client: &'a Client,
    place: String,
    seen: u64,
}

impl<'a> Journal<'a> {
    /// The entries after number `seen`.
    pub(super) fn new(client: &'a Client, run: &str, seen: u64) -> Self {
        Self {
            client,
            place: path(&["runs", run, "journal"]),
            seen,
        }
    }

    /// The entries that were not read before.
    pub(super) fn read(&mut self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        loop {
            let (limit, cursor) = (ENTRIES.to_string(), self.seen.to_string());
            let query = [("limit", limit.as_str()), ("cursor", cursor.as_str())];
            let mut answer = self.client.get(&self.place, &query)?;
            let page: Vec<Entry> = typed(answer["items"].take())?;
            let is_last = page.len() < ENTRIES;
            self.seen = page.last().map_or(self.seen, |it| it.seq);
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// Ctrl-C ends the waiting, not the run.
fn on_interrupt(bar: ProgressBar, run: String) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let interrupted = runtime.is_ok_and(|it| it.block_on(tokio::signal::ctrl_c()).is_ok());
        if interrupted {
            bar.finish_and_clear();
            say(&format!(
                "run {run} goes on; stop it with `dalsegno cancel {run}`"
            ));
            std::process::exit(Exit::Interrupted as i32);
        }
    });
}
