//! Circuit breakers of the services that are asked.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::relative;
use super::tone::Tone;
use crate::client::Breaker;

/// A line for each that was used, or that is not as it should be.
pub(crate) fn breakers(screen: &Screen, all: &[Breaker]) -> String {
    let is_shown = |it: &&Breaker| !it.name.contains(':') || it.calls > 0 || it.by_hand.is_some();
    let shown: Vec<&Breaker> = all.iter().filter(is_shown).collect();
    if shown.is_empty() {
        return "this daemon asks no services: dalsegno.toml has no [aws]\n".to_owned();
    }
    let rows = shown.into_iter().map(|it| {
        let tone = match it.state.as_str() {
            "closed" => Tone::Good,
            "half_open" => Tone::Warn,
            _ => Tone::Bad,
        };
        let state = it.state.replace('_', " ");
        let state = match it.by_hand {
            Some(_) => format!("{state}, by hand"),
            None => state,
        };
        let when = |at: Option<_>| at.map(|at| relative(at, screen.now)).unwrap_or_default();
        let number = |count: u64| match count {
            0 => String::new(),
            count => count.to_string(),
        };
        let error = it.last_error.clone().filter(|_| it.failures > 0);
        vec![
            Tone::Strong.cell(&it.name),
            tone.cell(state),
            Tone::Plain.cell(when(it.opened_at)),
            Tone::Plain.cell(when(it.retry_at)),
            Tone::Plain.cell(number(it.calls)),
            Tone::Warn.cell(number(it.errors)),
            Tone::Plain.cell(error.unwrap_or_default()),
        ]
    });
    let columns = [
        Firm("service"),
        Firm("breaker"),
        Extra("since"),
        Extra("tries again"),
        Extra("calls"),
        Extra("failed"),
        Soft("because"),
    ];
    table(screen, &columns, rows.collect())
}
