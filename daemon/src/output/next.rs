//! What runs next, and what came of what was to run.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, relative};
use super::tone::{self, Tone};
use crate::client::{Occurrence, Unpausing};
use std::fmt::Write as _;

/// Coming occurrences of all flows.
pub(crate) fn next(screen: &Screen, items: &[Occurrence]) -> String {
    if items.is_empty() {
        return "nothing is scheduled; flows with triggers start when their events come\n"
            .to_owned();
    }
    let rows = items.iter().map(|it| {
        vec![
            Tone::Strong.cell(relative(it.due_at, screen.now)),
            Tone::Plain.cell(absolute(it.due_at)),
            Tone::Plain.cell(&it.flow),
            Tone::Quiet.cell(&it.trigger),
        ]
    });
    table(
        screen,
        &[Firm("in"), Extra("at"), Firm("flow"), Soft("by")],
        rows.collect(),
    )
}

/// Occurrences of one flow, latest due first.
pub(crate) fn occurrences(screen: &Screen, items: &[Occurrence]) -> String {
    if items.is_empty() {
        return "no occurrences: nothing was due\n".to_owned();
    }
    let rows = items.iter().map(|it| {
        let state = format!("{} {}", tone::sign(&it.state), tone::words(&it.state));
        vec![
            Tone::Plain.cell(absolute(it.due_at)),
            Tone::Plain.cell(relative(it.due_at, screen.now)),
            Tone::of(&it.state).cell(state),
            Tone::Plain.cell(it.run.as_deref().unwrap_or_default()),
            Tone::Quiet.cell(it.reason.as_ref().map_or("", |it| it.text())),
            Tone::Quiet.cell(&it.trigger),
        ]
    });
    table(
        screen,
        &[
            Firm("due"),
            Extra(""),
            Firm("state"),
            Firm("run"),
            Soft("because"),
            Extra("by"),
        ],
        rows.collect(),
    )
}

/// What would start if a flow were unpaused now, for each choice.
pub(crate) fn unpausing(screen: &Screen, held: &Unpausing) -> String {
    if held.choices.iter().all(|it| it.starts == 0) {
        return "nothing was held; nothing starts at once\n".to_owned();
    }
    let mut text = String::from("of what was held while it was paused\n");
    for it in &held.choices {
        let runs = if it.starts == 1 { "run" } else { "runs" };
        let what = match it.choice.as_str() {
            "declared" => "as the flow file says".to_owned(),
            choice => format!("--catch-up {choice}"),
        };
        let _ = writeln!(text, "  {what:<22} {} {runs}", it.starts);
        if it.choice == "all" {
            for run in &it.runs {
                let _ = writeln!(
                    text,
                    "    {}  {}  {}",
                    absolute(run.due_at),
                    relative(run.due_at, screen.now),
                    Tone::Quiet.paint(&run.trigger)
                );
            }
            let more = it.starts.saturating_sub(it.runs.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "    and {more} more");
            }
        }
    }
    text
}
