//! Flows: the list, and one of them.

use super::checked::warning;
use super::plan::short;
use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, relative};
use super::tone::{self, Tone};
use crate::client::Flow;
use serde_json::Value;
use std::fmt::Write as _;

/// All flows.
pub(crate) fn flows(screen: &Screen, flows: &[Flow]) -> String {
    if flows.is_empty() {
        return "no flows; put a flow file into the flows folder, it is loaded at once\n"
            .to_owned();
    }
    let rows = flows.iter().map(|it| {
        let next = it.next_at.map(|at| relative(at, screen.now));
        let runs = match it.unfinished_runs {
            0 => String::new(),
            runs => runs.to_string(),
        };
        vec![
            Tone::Strong.cell(&it.name),
            Tone::of(&it.state).cell(tone::words(&it.state)),
            Tone::Plain.cell(next.unwrap_or_default()),
            Tone::Plain.cell(runs),
            Tone::Quiet.cell(it.starts.as_deref().unwrap_or_default()),
        ]
    });
    table(
        screen,
        &[
            Firm("flow"),
            Firm("state"),
            Firm("next"),
            Extra("running"),
            Soft("starts"),
        ],
        rows.collect(),
    )
}

/// A warning that a flow's file is not what runs, with the cure.
pub(crate) fn invalid_now(flow: &Flow) -> Option<String> {
    let (_, version) = (flow.invalid.as_ref()?, flow.active_version.as_deref()?);
    let message = format!(
        "{} is not valid now, so its last good version {} runs",
        flow.file,
        short(version)
    );
    let help = format!("`dalsegno check {}` says what to repair", flow.file);
    Some(warning(&message, &help).trim_end().to_owned())
}

/// One flow with all that it declares.
pub(crate) fn flow(screen: &Screen, flow: &Flow) -> String {
    let mut text = format!(
        "{}  {}\n",
        Tone::Strong.paint(&flow.name),
        tone::state(&flow.state)
    );
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(
                text,
                "  {} {value}",
                Tone::Quiet.paint(&format!("{name:<8}"))
            );
        }
    };
    line(
        "about",
        flow.description.as_deref().map_or("", |it| it.trim()),
    );
    line("owner", flow.owner.as_deref().unwrap_or_default());
    line("file", &flow.file);
    line(
        "version",
        flow.active_version.as_deref().unwrap_or_default(),
    );
    line("starts", flow.starts.as_deref().unwrap_or_default());
    let next = flow
        .next_at
        .map(|it| format!("{}, {}", relative(it, screen.now), absolute(it)));
    line("next", &next.unwrap_or_default());
    if let Some(paused) = &flow.paused {
        let reason = paused.reason.as_ref().map(|it| format!(": {it}"));
        line(
            "paused",
            &format!("by {}{}", paused.by, reason.unwrap_or_default()),
        );
    }
    line("invalid", flow.invalid.as_deref().unwrap_or_default());
    if let Some(metaflow) = &flow.metaflow {
        let python = metaflow.interpreter.as_ref();
        let python = python.map(|it| format!(", with {it}"));
        let class = format!("class {}{}", metaflow.class, python.unwrap_or_default());
        line("metaflow", &class);
        for it in &metaflow.dynamic {
            let told = format!(
                "{} on line {} is known only when the file runs: {}",
                it.what, it.line, it.reason
            );
            line("unknown", &told);
        }
        line("now", metaflow.progress.as_deref().unwrap_or_default());
        for it in &metaflow.warnings {
            line("warning", it);
        }
    }
    if !flow.params.is_empty() {
        let rows = flow.params.iter().map(|it| {
            let default = it.default.as_ref().map(plain);
            vec![
                Tone::Plain.cell(&it.name),
                Tone::Quiet.cell(&it.kind),
                Tone::Plain.cell(default.unwrap_or_else(|| {
                    let missing = if it.optional { "none" } else { "must be given" };
                    missing.to_owned()
                })),
                Tone::Quiet.cell(it.description.as_deref().unwrap_or_default()),
            ]
        });
        text.push('\n');
        text.push_str(&table(
            screen,
            &[
                Firm("parameter"),
                Firm("type"),
                Soft("default"),
                Soft("about"),
            ],
            rows.collect(),
        ));
    }
    if !flow.steps.is_empty() {
        let rows = flow.steps.iter().map(|it| {
            let after = flow.edges.iter().filter(|(_, to)| *to == it.name);
            let after: Vec<&str> = after.map(|(from, _)| from.as_str()).collect();
            let own = it.metaflow.as_ref().and_then(|it| it.user_retries);
            let own = own.filter(|own| *own < it.retries);
            let retries = match (it.retries, own) {
                (0, _) => String::new(),
                (times, None) => times.to_string(),
                // What is more than the file's own runs `@catch` alone.
                (_, Some(0)) => "catch".to_owned(),
                (_, Some(times)) => format!("{times} + catch"),
            };
            let foreach = match it.over() {
                Some(step) => format!("over {step}"),
                None => it.foreach.clone().unwrap_or_default(),
            };
            let mut cells = vec![
                Tone::Plain.cell(&it.name),
                Tone::Quiet.cell(after.join(", ")),
                Tone::Quiet.cell(foreach),
                Tone::Quiet.cell(it.when.as_ref().map(plain).unwrap_or_default()),
                Tone::Quiet.cell(retries),
            ];
            if flow.metaflow.is_some() {
                let decorators = it.metaflow.as_ref().map(|it| it.decorators.join(" "));
                cells.push(Tone::Quiet.cell(decorators.unwrap_or_default()));
            }
            cells
        });
        let mut columns = vec![
            Firm("step"),
            Soft("after"),
            Firm("foreach"),
            Soft("when"),
            Extra("retries"),
        ];
        if flow.metaflow.is_some() {
            columns.push(Soft("decorators"));
        }
        text.push('\n');
        text.push_str(&table(screen, &columns, rows.collect()));
    }
    text
}

/// A value in a line with others: without quotes, and no longer than can be read at a glance.
pub(crate) fn brief(value: &Value) -> String {
    let text = plain(value);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// How much of a value stands in a line with others.
const VALUE_CHARS: usize = 60;

/// A value without the quotes of JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
