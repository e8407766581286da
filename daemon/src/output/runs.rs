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
    let any_metaflow = runs.iter().any(|it| it.metaflow.is_some());
    let rows = runs.iter().map(|it| {
        let state = format!("{} {}", tone::sign(&it.state), tone::words(&it.state));
        let reason = it.reason.as_ref().map_or("", |it| it.text());
        let mut cells = vec![
            Tone::Strong.cell(&it.id),
            Tone::Plain.cell(&it.flow),
            Tone::of(&it.state).cell(state),
            Tone::Plain.cell(relative(it.created_at, screen.now)),
            Tone::Plain.cell(length(it.since(), it.finished_at, screen.now)),
            Tone::Quiet.cell(reason),
            Tone::Quiet.cell(it.by.as_ref().unwrap_or(&it.trigger)),
        ];
        if any_metaflow {
            let pathspec = it.metaflow.as_ref().map_or("", |it| it.pathspec.as_str());
            cells.push(Tone::Quiet.cell(pathspec));
        }
        cells
    });
    let mut columns = vec![
        Firm("run"),
        Firm("flow"),
        Firm("state"),
        Firm("created"),
        Extra("took"),
        Soft("because"),
        Extra("by"),
    ];
    if any_metaflow {
        columns.push(Extra("in Metaflow"));
    }
    table(screen, &columns, rows.collect())
}

/// How a run stands, in one line: `run 42 of etl failed after 1m 12s: train[3] failed`.
pub(crate) fn verdict(run: &Run, screen: &Screen) -> String {
    let (verb, state) = match run.state.as_str() {
        "succeeded" | "failed" | "timed_out" => ("", run.state.as_str()),
        "cancelled" => ("was ", "cancelled"),
        "cancelling" => ("is being ", "cancelled"),
        state => ("is ", state),
    };
    let mut text = format!("run {} of {} {verb}", run.id, run.flow);
    text.push_str(&Tone::of(&run.state).paint(&tone::words(state)));
    let took = length(run.since(), run.finished_at, screen.now);
    if run.is_finished() && !took.is_empty() {
        text.push_str(" after ");
        text.push_str(&took);
    } else if run.state == "running" && !took.is_empty() {
        text.push_str(" for ");
        text.push_str(&took);
    }
    match run
        .reason
        .as_ref()
        .map(|it| (it, tone::rest(state, it.text())))
    {
        None => {}
        Some((reason, _)) if run.state == "timed_out" && reason.code == "run_timeout" => {}
        Some((_, Some(rest))) => {
            text.push(' ');
            text.push_str(rest);
        }
        Some((reason, None)) => {
            text.push_str(": ");
            text.push_str(reason.text());
        }
    }
    text
}

/// A run that was just set going, and how to see more of it; one that waits or has ended tells that instead.
pub(crate) fn begun(run: &Run, verb: &str) -> String {
    match run.state.as_str() {
        "running" => format!(
            "run {} of {} {verb}; follow it: dalsegno logs {} -f",
            run.id, run.flow, run.id
        ),
        _ => verdict(run, &Screen::of_stdout()),
    }
}
