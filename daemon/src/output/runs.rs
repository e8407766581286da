//! Lists of runs, and a run in one line.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{length, relative};
use super::tone::{self, Tone};
use crate::client::Run;

/// Runs as a table, newest first.
pub(crate) fn runs(screen: &Screen, runs: &[Run]) -> String {
    if runs.is_empty() {
        return "no runs; start one with `dalsegno run FLOW`\n".to_owned();
    }
    let rows = runs.iter().map(|it| {
        let state = format!("{} {}", tone::sign(&it.state), tone::words(&it.state));
        let reason = it.reason.as_ref().map_or("", |it| it.text());
        vec![
            Tone::Strong.cell(&it.id),
            Tone::Plain.cell(&it.flow),
            Tone::of(&it.state).cell(state),
            Tone::Plain.cell(relative(it.created_at, screen.now)),
            Tone::Plain.cell(length(it.started_at, it.finished_at, screen.now)),
            Tone::Quiet.cell(reason),
            Tone::Quiet.cell(&it.trigger),
        ]
    });
    let columns = [
        Firm("run"),
        Firm("flow"),
        Firm("state"),
        Firm("created"),
        Extra("took"),
        Soft("because"),
        Extra("by"),
    ];
    table(screen, &columns, rows.collect())
}

/// How a run stands, in one line: `run 42 of etl failed after 1m 12s: train[3] failed`.
pub(crate) fn verdict(run: &Run, screen: &Screen) -> String {
    let mut text = format!("run {} of {} ", run.id, run.flow);
    let took = length(run.started_at, run.finished_at, screen.now);
    let is = if matches!(run.state.as_str(), "succeeded" | "failed" | "timed_out") {
        ""
    } else {
        "is "
    };
    text.push_str(is);
    text.push_str(&tone::state(&run.state));
    if !took.is_empty() {
        text.push_str(if run.is_finished() {
            " after "
        } else {
            " for "
        });
        text.push_str(&took);
    }
    if let Some(reason) = &run.reason {
        text.push_str(": ");
        text.push_str(reason.text());
    }
    text
}
