//! Alerts, channels and deliveries.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::{table, text};
use super::time::relative;
use super::tone::Tone;
use crate::client::Time;
use comfy_table::Cell;
use dalsegno_scheduler::Timestamp;
use serde_json::Value;

/// A line for each alert.
pub(crate) fn alerts(screen: &Screen, all: &[Value]) -> String {
    if all.is_empty() {
        return "no alerts; they are written only if a rule wants them\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let tone = if it["is_recovery"] == true {
            Tone::Good
        } else {
            Tone::Bad
        };
        vec![
            Tone::Strong.cell(it["id"].to_string()),
            tone.cell(text(it, "kind")),
            when(screen, it, "at"),
            Tone::Plain.cell(text(it, "owner")),
            Tone::Plain.cell(text(it, "summary")),
        ]
    });
    let columns = [
        Firm("alert"),
        Firm("kind"),
        Firm("when"),
        Extra("owner"),
        Soft("summary"),
    ];
    table(screen, &columns, rows.collect())
}

/// A line for each channel.
pub(crate) fn channels(screen: &Screen, all: &[Value]) -> String {
    if all.is_empty() {
        return "no channels are configured: dalsegno.toml has no [channels]\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let (tone, state) = match (it["stopped_at"].is_string(), text(it, "breaker")) {
            (true, _) => (Tone::Bad, "stopped"),
            (_, "open") => (Tone::Bad, "left alone"),
            (_, "half_open") => (Tone::Warn, "trying"),
            _ if it["failures"].as_u64() > Some(0) => (Tone::Warn, "failing"),
            _ => (Tone::Good, "ok"),
        };
        let because = match text(it, "stopped_reason") {
            "" if state != "ok" => text(it, "last_error"),
            reason => reason,
        };
        vec![
            Tone::Strong.cell(text(it, "name")),
            Tone::Plain.cell(text(it, "type")),
            tone.cell(state),
            count(it, "pending"),
            count(it, "dead"),
            when(screen, it, "delivered_at"),
            when(screen, it, "retry_at"),
            Tone::Plain.cell(text(it, "target")),
            Tone::Plain.cell(because),
        ]
    });
    let columns = [
        Firm("channel"),
        Firm("type"),
        Firm("state"),
        Firm("waiting"),
        Firm("given up"),
        Extra("last delivered"),
        Extra("tries again"),
        Extra("target"),
        Soft("because"),
    ];
    table(screen, &columns, rows.collect())
}

/// A line for each delivery.
pub(crate) fn deliveries(screen: &Screen, all: &[Value]) -> String {
    if all.is_empty() {
        return "no deliveries\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let state = text(it, "state");
        let tone = match state {
            "delivered" | "grouped" => Tone::Good,
            "dead" => Tone::Bad,
            _ => Tone::Plain,
        };
        let because = match text(it, "told_with") {
            "" => text(it, "reason").to_owned(),
            other => format!("told with {other}"),
        };
        vec![
            Tone::Strong.cell(text(it, "id")),
            tone.cell(state),
            count(it, "attempts"),
            when(screen, it, "updated_at"),
            when(screen, it, "due_at"),
            Tone::Plain.cell(text(it, "summary")),
            Tone::Plain.cell(because),
        ]
    });
    let columns = [
        Firm("delivery"),
        Firm("state"),
        Extra("attempts"),
        Extra("changed"),
        Extra("due"),
        Soft("summary"),
        Soft("because"),
    ];
    table(screen, &columns, rows.collect())
}

fn count(it: &Value, name: &str) -> Cell {
    let count = it[name].as_u64().filter(|it| *it > 0);
    Tone::Plain.cell(count.map(|it| it.to_string()).unwrap_or_default())
}

fn when(screen: &Screen, it: &Value, name: &str) -> Cell {
    let at = Timestamp::parse_rfc3339(text(it, name));
    Tone::Plain.cell(
        at.map(|at| relative(Time(at), screen.now))
            .unwrap_or_default(),
    )
}
