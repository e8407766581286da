//! The figures, by letter.

mod batch;
mod burst;
mod chain;
mod coming;
mod event;
mod fan_out;
mod idle;
mod ingest;
mod live;
mod metaflow;
mod promises;
mod reading;
mod restart;
mod runs;
mod runs_true;
mod schedules;
mod telling;
mod tracker;
mod transitions;

use crate::figure::Figure;
use anyhow::{Result, bail};

/// How much work a figure does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// All parts with what they are about, in the order in which they are measured. A part's first letter is its
/// figure's; parts that need the daemon stand alone, so that one without it loses nothing else.
pub(crate) const ALL: [(&str, &str); 22] = [
    ("a", "a chain of steps"),
    ("b", "a wide fan-out"),
    ("c", "from an event to a process"),
    ("d-instant", "runs of one task that costs nothing"),
    ("d-true", "runs of one task that is a process"),
    ("e", "durable transitions"),
    ("f", "100,000 live tasks"),
    ("g", "a restart"),
    ("h", "10,000 schedules at once"),
    ("i", "an idle daemon"),
    ("j", "a chain of Metaflow steps"),
    ("k", "a foreach of Metaflow steps"),
    ("l", "reading Metaflow files"),
    ("m", "events against 10,000 triggers"),
    ("n", "100,000 half-matched sets"),
    ("o", "events over HTTP, 64 connections"),
    ("p", "10,000 jobs of AWS Batch"),
    ("q", "a foreach of 25,000 jobs beside another flow"),
    ("r", "a week in virtual time"),
    ("s", "how often predictions hold"),
    ("t", "100,000 armed promises"),
    ("u", "alerts beside endpoints that hang"),
];

/// Whether a part is meant by what someone asked for: its figure's letter, or its whole name.
pub(crate) fn is_meant(part: &str, asked: &str) -> bool {
    part == asked || part.split('-').next() == Some(asked)
}

/// Measures one part.
pub(crate) async fn measure(id: &str, effort: Effort) -> Result<Vec<Figure>> {
    match id {
        "a" => chain::measure(effort).await,
        "b" => fan_out::measure(effort).await,
        "c" => event::measure(effort).await,
        "d-instant" => runs::measure(effort).await,
        "d-true" => runs_true::measure(effort).await,
        "e" => transitions::measure(effort).await,
        "f" => live::measure(effort),
        "g" => restart::measure(effort).await,
        "h" => schedules::measure(effort).await,
        "i" => idle::measure(effort).await,
        "j" => metaflow::chain(effort).await,
        "k" => metaflow::fan_out(effort).await,
        "l" => reading::measure(effort).await,
        "m" => tracker::matching(effort),
        "n" => tracker::waiting(effort),
        "o" => ingest::measure(effort).await,
        "p" => batch::measure(effort).await,
        "q" => burst::measure(effort).await,
        "r" => coming::week(effort),
        "s" => coming::predictions(effort),
        "t" => promises::measure(effort),
        "u" => telling::measure(effort).await,
        _ => bail!("there is no figure `{id}`; there are a to u"),
    }
}
