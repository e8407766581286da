//! What runs next, and what came of what was to run.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, relative};
use super::tone::{self, Tone};
use crate::client::Occurrence;

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
