//! Promises about time, and silences.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::{table, text};
use super::time::relative;
use super::tone::Tone;
use crate::client::Time;
use comfy_table::Cell;
use dalsegno_scheduler::Timestamp;
use serde_json::Value;

/// A line for each promise.
pub(crate) fn slas(screen: &Screen, all: &[Value]) -> String {
    if all.is_empty() {
        return "no promises; a flow file makes them with `sla:`\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let (tone, state) = match text(it, "state") {
            "on_time" => (Tone::Plain, "on time"),
            "at_risk" => (Tone::Warn, "at risk"),
            "missed" => (Tone::Bad, "missed"),
            "met_late" => (Tone::Warn, "met late"),
            _ => (Tone::Good, "met"),
        };
        let (tone, state) = match it["withdrawn"].is_object() && state == "on time" {
            true => (Tone::Plain, "withdrawn"),
            false => (tone, state),
        };
        vec![
            Tone::Strong.cell(text(it, "flow")),
            Tone::Plain.cell(text(it, "promise")),
            tone.cell(state),
            when(screen, it, "due_at"),
            Tone::Plain.cell(text(it, "run")),
            Tone::Plain.cell(text(it, "period")),
            Tone::Plain.cell(note(screen, it)),
        ]
    });
    let columns = [
        Firm("flow"),
        Firm("promise"),
        Firm("state"),
        Firm("due"),
        Extra("run"),
        Extra("period"),
        Soft("note"),
    ];
    table(screen, &columns, rows.collect())
}

/// What else is to be said of a promise.
fn note(screen: &Screen, it: &Value) -> String {
    let mut notes = Vec::new();
    let prediction = &it["prediction"];
    if it["state"] == "at_risk"
        && let Some(chance) = prediction["chance"].as_f64()
    {
        notes.push(format!("{:.0} % late", chance * 100.0));
        let culprit = prediction["culprit"]["text"].as_str();
        notes.extend(culprit.map(str::to_owned));
    }
    if let Some(more) = it["more"].as_u64().filter(|it| *it > 0) {
        notes.push(format!("and {more} more times"));
    }
    if let Some(by) = it["acknowledged"]["by"].as_str() {
        let note = it["acknowledged"]["note"].as_str();
        let note = note.map(|it| format!(" ({it})")).unwrap_or_default();
        notes.push(format!("seen by {by}{note}"));
    }
    if let Some(at) = Timestamp::parse_rfc3339(text(it, "silenced_until")) {
        notes.push(format!("silent until {}", relative(Time(at), screen.now)));
    }
    let withdrawn = it["withdrawn"]["text"].as_str();
    notes.extend(withdrawn.map(str::to_owned));
    notes.join("; ")
}

/// A line for each silence.
pub(crate) fn silences(screen: &Screen, all: &[Value]) -> String {
    if all.is_empty() {
        return "no silences\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let or_all = |name: &str| match text(it, name) {
            "" => "all".to_owned(),
            text => text.to_owned(),
        };
        let until = match it["ended_at"].is_string() {
            true => "ended_at",
            false => "until",
        };
        vec![
            Tone::Strong.cell(it["id"].to_string()),
            Tone::Plain.cell(or_all("flow")),
            Tone::Plain.cell(or_all("promise")),
            when(screen, it, "from"),
            when(screen, it, until),
            Tone::Plain.cell(text(it, "by")),
            Tone::Plain.cell(text(it, "note")),
        ]
    });
    let columns = [
        Firm("silence"),
        Firm("flow"),
        Extra("promise"),
        Extra("from"),
        Firm("until"),
        Extra("by"),
        Soft("note"),
    ];
    table(screen, &columns, rows.collect())
}

fn when(screen: &Screen, it: &Value, name: &str) -> Cell {
    let at = Timestamp::parse_rfc3339(text(it, name));
    let text = at.map(|at| relative(Time(at), screen.now));
    Tone::Plain.cell(text.unwrap_or_default())
}
