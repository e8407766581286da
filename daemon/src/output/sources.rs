//! Where events come from, and how those places are.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::relative;
use super::tone::Tone;
use crate::client::Source;

/// A line for each source.
pub(crate) fn sources(screen: &Screen, all: &[Source]) -> String {
    if all.is_empty() {
        return "no queues, folders or webhooks are configured; events come over HTTP alone\n"
            .to_owned();
    }
    let rows = all.iter().map(|it| {
        let tone = match it.state.as_str() {
            "ok" => Tone::Good,
            "starting" => Tone::Quiet,
            "throttled" => Tone::Warn,
            _ => Tone::Bad,
        };
        let told = [it.message.as_deref(), it.cure.as_deref()];
        let told: Vec<&str> = told.into_iter().flatten().collect();
        let last = it.last_event_at.map(|at| relative(at, screen.now));
        let refused = match it.refused {
            0 => String::new(),
            refused => refused.to_string(),
        };
        vec![
            Tone::Strong.cell(&it.name),
            Tone::Plain.cell(&it.kind),
            tone.cell(&it.state),
            Tone::Plain.cell(it.received.to_string()),
            Tone::Warn.cell(refused),
            Tone::Plain.cell(last.unwrap_or_default()),
            Tone::Plain.cell(told.join("; ")),
        ]
    });
    let columns = [
        Firm("source"),
        Firm("kind"),
        Firm("state"),
        Extra("received"),
        Extra("refused"),
        Extra("last"),
        Soft("because"),
    ];
    table(screen, &columns, rows.collect())
}
