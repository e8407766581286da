//! Jobs on AWS that no task wants.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::relative;
use super::tone::Tone;
use crate::client::OrphanJob;

/// A line for each job.
pub(crate) fn orphans(screen: &Screen, all: &[OrphanJob]) -> String {
    if all.is_empty() {
        return "every job on AWS that carries this installation's name is wanted\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        let since = it.created_at.map(|at| relative(at, screen.now));
        let attempt = match (it.flow.as_str(), it.attempt.as_str()) {
            ("", _) | (_, "") => it.name.clone(),
            (flow, attempt) => format!("{flow} {attempt}"),
        };
        vec![
            Tone::Strong.cell(&it.job),
            Tone::Plain.cell(attempt),
            Tone::Plain.cell(&it.status),
            Tone::Plain.cell(&it.queue),
            Tone::Plain.cell(since.unwrap_or_default()),
            Tone::Plain.cell(&it.why),
        ]
    });
    let columns = [
        Firm("job"),
        Firm("was for"),
        Firm("status"),
        Extra("queue"),
        Extra("made"),
        Soft("because"),
    ];
    table(screen, &columns, rows.collect())
}
