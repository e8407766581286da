//! Events, and what became of them.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::relative;
use super::tone::{self, Tone};
use crate::client::Event;
use std::fmt::Write as _;

/// How much of an event's data a table shows.
const DATA_CHARS: usize = 60;

/// Events as a table, newest first.
pub(crate) fn events(screen: &Screen, events: &[Event]) -> String {
    if events.is_empty() {
        return "no events; send one with `dalsegno events emit TYPE`\n".to_owned();
    }
    let rows = events.iter().map(|it| {
        vec![
            Tone::Strong.cell(it.seq.to_string()),
            Tone::Plain.cell(&it.kind),
            Tone::Plain.cell(relative(it.received_at, screen.now)),
            Tone::Quiet.cell(short(&it.data.to_string())),
            Tone::Plain.cell(it.subject.as_deref().unwrap_or_default()),
            Tone::Quiet.cell(&it.source),
            Tone::Quiet.cell(&it.id),
        ]
    });
    let columns = [
        Firm("event"),
        Soft("type"),
        Firm("received"),
        Extra("data"),
        Extra("subject"),
        Extra("source"),
        Extra("id"),
    ];
    table(screen, &columns, rows.collect())
}

/// What became of an event that was just sent.
pub(crate) fn emitted(event: &Event, duplicate: bool) -> String {
    let again = if duplicate {
        " (accepted before; nothing new was started)"
    } else {
        ""
    };
    let mut text = format!("event {} {}{again}\n", event.seq, event.kind);
    for it in &event.matches {
        let run = it.run.as_ref().map(|run| format!(" run {run}"));
        let reason = it.reason.as_ref().map(|it| format!(": {}", it.text()));
        let _ = writeln!(
            text,
            "  {} {} by {}: {}{}{}",
            Tone::of(&it.outcome).paint(tone::sign(&it.outcome)),
            Tone::Strong.paint(&it.flow),
            it.trigger,
            tone::state(&it.outcome),
            run.unwrap_or_default(),
            reason.unwrap_or_default()
        );
    }
    if event.matches.is_empty() {
        text.push_str("  no flow waits for events of this type\n");
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DATA_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
