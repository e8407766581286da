//! Backfills: plans, and how far they are.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, relative, whole};
use super::tone::{self, Tone};
use crate::client::{Backfill, BackfillItem, BackfillPlan, Interval, PlanItem};
use dalsegno_scheduler::Span;
use std::fmt::Write as _;

/// How many cells a bar has.
const BAR: u64 = 30;

/// A plan as a tree: each interval, and below it what follows.
pub(crate) fn backfill_plan(_screen: &Screen, plan: &BackfillPlan, shown: usize) -> String {
    let mut text = format!(
        "{} ({}): {} to run, {} kept{}\n",
        Tone::Strong.paint(&plan.flow),
        plan.mode,
        plan.counts.run,
        plan.counts.keep,
        match plan.counts.conflict {
            0 => String::new(),
            conflicts => format!(", {conflicts} in conflict"),
        }
    );
    for item in plan.items.iter().take(shown) {
        let _ = writeln!(text, "  {}", line(item, plan));
    }
    let more = plan.items.len().saturating_sub(shown);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    for it in &plan.conflicts {
        let _ = writeln!(text, "  {} {it}", Tone::Warn.paint("!"));
    }
    for it in &plan.notes {
        let _ = writeln!(text, "  {} {it}", Tone::Quiet.paint("·"));
    }
    if let Some(estimate) = plan.estimate_us {
        let _ = writeln!(
            text,
            "  takes about {}, one after the other",
            whole(Span(estimate))
        );
    }
    if plan.counts.run > 0 {
        let mode = match plan.mode.as_str() {
            "missing" => String::new(),
            mode => format!(" --{mode}"),
        };
        let _ = writeln!(
            text,
            "  apply it: dalsegno backfill apply {} --from {} --to {}{mode}{} --token {}",
            plan.flow,
            plan.from.0,
            plan.to.0,
            if plan.downstream { " --downstream" } else { "" },
            plan.token
        );
    }
    text
}

fn line(item: &PlanItem, plan: &BackfillPlan) -> String {
    let follows = item.flow != plan.flow || !item.after.is_empty();
    let branch = if follows { "  └ " } else { "" };
    let (sign, tone) = match item.verdict.as_str() {
        "run" => ("▸", Tone::Live),
        "keep" => ("✓", Tone::Good),
        _ => ("!", Tone::Warn),
    };
    let there = item.existing.first().map(|it| {
        let others = match item.existing.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} before"),
        };
        format!("  run {} {}{others}", it.run, tone::state(&it.state))
    });
    format!(
        "{branch}{} {}  {}{}",
        tone.paint(sign),
        interval(&item.interval),
        item.flow,
        Tone::Quiet.paint(&there.unwrap_or_default())
    )
}

/// `2026-11-21 00:00 UTC … 2026-11-22 00:00 UTC`
fn interval(it: &Interval) -> String {
    format!("{} … {}", absolute(it.start), absolute(it.end))
}

/// Backfills as a table, newest first.
pub(crate) fn backfills(screen: &Screen, all: &[Backfill]) -> String {
    if all.is_empty() {
        return "no backfills; plan one with `dalsegno backfill plan FLOW --from TIME`\n"
            .to_owned();
    }
    let rows = all.iter().map(|it| {
        vec![
            Tone::Strong.cell(&it.id),
            Tone::Plain.cell(&it.flow),
            Tone::of(&it.state).cell(&it.state),
            Tone::Plain.cell(progress(it)),
            Tone::Quiet.cell(format!("{} … {}", absolute(it.from), absolute(it.to))),
            Tone::Plain.cell(relative(it.created_at, screen.now)),
            Tone::Quiet.cell(&it.by),
        ]
    });
    let columns = [
        Firm("backfill"),
        Soft("flow"),
        Firm("state"),
        Firm("done"),
        Extra("intervals"),
        Extra("since"),
        Extra("by"),
    ];
    table(screen, &columns, rows.collect())
}

fn count(it: &Backfill, state: &str) -> u64 {
    it.counts.get(state).copied().unwrap_or(0)
}

/// `12 of 40`
fn progress(it: &Backfill) -> String {
    let all: u64 = it.counts.values().sum();
    let done = all - count(it, "waiting") - count(it, "running");
    format!("{done} of {all}")
}

/// One backfill: how far it is, and what failed.
pub(crate) fn backfill(screen: &Screen, it: &Backfill, failed: &[BackfillItem]) -> String {
    let mut text = format!(
        "backfill {} of {}: {}  ({}, by {}, {})\n",
        it.id,
        Tone::Strong.paint(&it.flow),
        Tone::of(&it.state).paint(&it.state),
        it.mode,
        it.by,
        relative(it.created_at, screen.now)
    );
    let all: u64 = it.counts.values().sum();
    if all > 0 {
        let cells = |state| (count(it, state) * BAR).div_ceil(all).min(BAR) as usize;
        let succeeded = cells("succeeded");
        let bad = cells("failed").min(BAR as usize - succeeded);
        let rest = BAR as usize - succeeded - bad;
        let _ = writeln!(
            text,
            "  {}{}{}  {}",
            Tone::Good.paint(&"█".repeat(succeeded)),
            Tone::Bad.paint(&"█".repeat(bad)),
            Tone::Quiet.paint(&"░".repeat(rest)),
            progress(it)
        );
    }
    let counts: Vec<String> = it
        .counts
        .iter()
        .filter(|(_, items)| **items > 0)
        .map(|(state, items)| format!("{items} {state}"))
        .collect();
    let _ = writeln!(text, "  {}", counts.join(", "));
    if !it.running.is_empty() {
        let _ = writeln!(
            text,
            "  running: {} (at most {} at once)",
            it.running.join(", "),
            it.parallel
        );
    }
    match (it.finished_at, it.estimate_us) {
        (Some(at), _) => {
            let _ = writeln!(text, "  ended {}", relative(at, screen.now));
        }
        (None, Some(rest)) => {
            let _ = writeln!(text, "  takes about {} more", whole(Span(rest)));
        }
        (None, None) => {}
    }
    for item in failed {
        let run = item.run.as_ref().map(|run| format!(" run {run}"));
        let reason = item.reason.as_ref().map(|it| format!(": {}", it.text()));
        let _ = writeln!(
            text,
            "  {} {} {}{}{}",
            Tone::Bad.paint("✗"),
            interval(&item.interval),
            item.flow,
            run.unwrap_or_default(),
            reason.unwrap_or_default()
        );
    }
    text
}
