//! Events, and what became of them.

use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, relative};
use super::tone::{self, Tone};
use crate::client::{Arrived, DryRun, Event, Match, Refused, WaitingSet};
use dalsegno_scheduler::Span;
use std::fmt::Write as _;

/// How much of an event's data a table shows.
const DATA_CHARS: usize = 60;

/// Events as a table, newest first.
pub(crate) fn events(screen: &Screen, events: &[Event]) -> String {
    if events.is_empty() {
        return "no events; send one with `dalsegno events emit TYPE`\n".to_owned();
    }
    let rows = events.iter().map(|it| {
        vec![
            Tone::Strong.cell(it.seq.to_string()),
            Tone::Plain.cell(&it.kind),
            Tone::Plain.cell(relative(it.received_at, screen.now)),
            Tone::Plain.cell(outcomes(it)),
            Tone::Quiet.cell(short(&it.data.to_string())),
            Tone::Plain.cell(it.subject.as_deref().unwrap_or_default()),
            Tone::Quiet.cell(&it.source),
            Tone::Quiet.cell(&it.id),
        ]
    });
    let columns = [
        Firm("event"),
        Soft("type"),
        Firm("received"),
        Extra("became"),
        Extra("data"),
        Extra("subject"),
        Extra("source"),
        Extra("id"),
    ];
    table(screen, &columns, rows.collect())
}

/// What became of an event that was just sent.
pub(crate) fn emitted(event: &Event, duplicate: bool) -> String {
    let again = if duplicate {
        " (accepted before; nothing new was started)"
    } else {
        ""
    };
    let mut text = format!("event {} {}{again}\n", event.seq, event.kind);
    matches(&mut text, &event.matches);
    if event.matches.is_empty() {
        text.push_str("  no flow waits for events of this type\n");
    }
    text
}

/// What became of an event, a line for each trigger.
fn matches(text: &mut String, matches: &[Match]) {
    for it in matches {
        let run = it.run.as_ref().map(|run| format!(" run {run}"));
        let reason = it.reason.as_ref().map(|it| format!(": {}", it.text()));
        let _ = writeln!(
            text,
            "  {} {} by {}: {}{}{}",
            Tone::of(&it.outcome).paint(tone::sign(&it.outcome)),
            Tone::Strong.paint(&it.flow),
            it.trigger,
            tone::state(&it.outcome),
            run.unwrap_or_default(),
            reason.unwrap_or_default()
        );
    }
}

/// `fired 2, filtered`
fn outcomes(event: &Event) -> String {
    let told = event.outcomes.iter().map(|(outcome, times)| match times {
        1 => outcome.clone(),
        times => format!("{outcome} {times}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// One event, whole.
pub(crate) fn event(screen: &Screen, event: &Event) -> String {
    let mut text = format!(
        "event {} {}  {} ({})\n",
        event.seq,
        Tone::Strong.paint(&event.kind),
        relative(event.received_at, screen.now),
        absolute(event.received_at)
    );
    let _ = writeln!(text, "  source   {}", event.source);
    let _ = writeln!(text, "  id       {}", event.id);
    if let Some(subject) = &event.subject {
        let _ = writeln!(text, "  subject  {subject}");
    }
    if let Some(before) = event.replay_of {
        let _ = writeln!(text, "  repeats  event {before}");
    }
    let data = serde_json::to_string_pretty(&event.data).unwrap_or_default();
    let _ = writeln!(text, "  data     {}", data.replace('\n', "\n           "));
    matches(&mut text, &event.matches);
    if event.matches.is_empty() {
        text.push_str("  no flow waited for it\n");
    }
    text
}

/// Sets that are not complete, and those that are held.
pub(crate) fn sets(screen: &Screen, sets: &[WaitingSet]) -> String {
    if sets.is_empty() {
        return "no event waits for others\n".to_owned();
    }
    let mut text = String::new();
    for set in sets {
        let key = match set.join_key.as_str() {
            "" => String::new(),
            key => format!(" [{key}]"),
        };
        let _ = writeln!(
            text,
            "{}{key}  since {}",
            Tone::Strong.paint(&set.trigger),
            relative(set.since, screen.now)
        );
        for it in &set.arrived {
            let _ = writeln!(text, "  {} {}", Tone::Good.paint("✓"), arrived(it));
        }
        for it in &set.missing {
            let _ = writeln!(text, "  {} waits for {it}", Tone::Warn.paint("…"));
        }
        if let Some(held) = &set.held {
            let _ = writeln!(text, "  complete, and held: {}", held.text());
        } else if let Some(at) = set.fires_at {
            let _ = writeln!(text, "  starts a run {}", relative(at, screen.now));
        } else if let Some(at) = set.expires_at {
            let _ = writeln!(text, "  expires {}", relative(at, screen.now));
        }
    }
    text
}

fn arrived(it: &Arrived) -> String {
    let seqs: Vec<String> = it.events.iter().map(|it| it.seq.to_string()).collect();
    let more = match it.more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let word = if seqs.len() == 1 && it.more == 0 {
        "event"
    } else {
        "events"
    };
    format!("{}  ({word} {}{more})", it.label, seqs.join(", "))
}

/// What a flow file would have started.
pub(crate) fn dry_run(screen: &Screen, dry: &DryRun) -> String {
    let length = Span((dry.until.0 - dry.since.0).0.max(0));
    let mut text = format!(
        "{} would have started {} {} from {} events in {}\n",
        dry.flow,
        dry.runs.iter().filter(|it| it.refused.is_none()).count(),
        if dry.runs.len() == 1 { "run" } else { "runs" },
        dry.events,
        super::time::whole(length),
    );
    let rows = dry.runs.iter().map(|it| {
        let params: Vec<String> = it
            .params
            .iter()
            .map(|(name, value)| format!("{name}={}", short(&value.to_string())))
            .collect();
        let events: Vec<String> = it.events.iter().take(5).map(u64::to_string).collect();
        let more = if it.events.len() > 5 { " …" } else { "" };
        let refused = it
            .refused
            .as_ref()
            .map(|it| format!("refused: {}", it.text()));
        vec![
            Tone::Plain.cell(absolute(it.at)),
            Tone::Plain.cell(&it.trigger),
            Tone::Quiet.cell(format!("{}{more}", events.join(", "))),
            Tone::Plain.cell(params.join(" ")),
            Tone::Warn.cell(refused.unwrap_or_default()),
        ]
    });
    let columns = [
        Firm("at"),
        Soft("by"),
        Extra("events"),
        Soft("with"),
        Soft(""),
    ];
    if !dry.runs.is_empty() {
        text.push_str(&table(screen, &columns, rows.collect()));
    }
    if dry.truncated {
        text.push_str("there were more events than are looked at; name a shorter time with --since and --until\n");
    }
    text
}

/// Deliveries that could not be read as events.
pub(crate) fn refusals(screen: &Screen, all: &[Refused]) -> String {
    if all.is_empty() {
        return "nothing was refused\n".to_owned();
    }
    let rows = all.iter().map(|it| {
        vec![
            Tone::Plain.cell(relative(it.received_at, screen.now)),
            Tone::Plain.cell(&it.source),
            Tone::Warn.cell(&it.reason),
            Tone::Quiet.cell(short(&it.excerpt)),
            Tone::Quiet.cell(&it.id),
        ]
    });
    let columns = [
        Firm("received"),
        Firm("from"),
        Soft("because"),
        Extra("begins with"),
        Extra("id"),
    ];
    table(screen, &columns, rows.collect())
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DATA_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
