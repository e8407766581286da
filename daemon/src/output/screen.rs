//! Where text goes: data to standard output, talk to standard error.

use super::tone::Tone;
use crate::cli::Color;
use crate::client::{Exit, Failure, Result};
use anstream::{ColorChoice, eprintln};
use dalsegno_scheduler::Timestamp;
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// How wide lines may be that nobody's terminal limits.
const WIDTH_UNLIMITED: usize = 10_000;
/// Below this nothing is legible, so lines are left to the terminal to break.
const WIDTH_MIN: usize = 40;

/// What a text is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Characters in a line.
    pub(crate) width: usize,
    /// A person looks at it while it is written.
    pub(crate) is_terminal: bool,
    pub(crate) now: Timestamp,
}

impl Screen {
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let width = match is_terminal {
            true => comfy_table::Table::new().width().map_or(80, usize::from),
            false => WIDTH_UNLIMITED,
        };
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_micros());
        Self {
            width: width.max(WIDTH_MIN),
            is_terminal,
            now: Timestamp(i64::try_from(micros).unwrap_or(i64::MAX)),
        }
    }
}

/// Says once for all streams when colours are used.
pub(crate) fn choose_color(color: Color) {
    match color {
        Color::Auto => {}
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
}

/// Prints data. When nobody reads any more, the command ends quietly.
pub(crate) fn print(text: &str) -> Result<()> {
    written(anstream::stdout().write_all(text.as_bytes()))
}

/// Prints bytes as they are.
pub(crate) fn print_raw(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

pub(crate) fn print_json(value: &Value) -> Result<()> {
    print_raw(format!("{value:#}\n").as_bytes())
}

/// Talk that is no data.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", text.trim_end_matches('\n'));
}

/// Tells what went wrong, and the cure.
pub(crate) fn complain(failure: &Failure) {
    if failure.text.is_empty() {
        return;
    }
    eprintln!("{} {}", Tone::Bad.paint("error:"), failure.text);
    for line in &failure.help {
        eprintln!("  {} {line}", Tone::Quiet.paint("help:"));
    }
}

fn written(result: std::io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
        _ => Failure::new(
            Exit::Broken,
            format!("standard output cannot be written: {error}"),
        ),
    })
}
