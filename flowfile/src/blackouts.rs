//! `blackouts`: times in which no schedule and no trigger starts a run.

use crate::calendars;
use crate::reader::{Fields, Value};
use crate::schedules::{check_name, instant};
use dalsegno_scheduler::Timestamp;
use dalsegno_scheduler::schedule::parse_time_zone;
use dalsegno_scheduler::spec::{BlackoutAction, BlackoutSpec, BlackoutWindow};
use std::ops::Range;

pub(crate) const KEYS: [&str; 7] = ["name", "daily", "from", "to", "calendar", "timezone", "do"];
pub(crate) const DAILY_KEYS: [&str; 3] = ["from", "to", "days"];

const HELP: &str = "write `- { daily: { from: \"22:00\", to: \"06:00\" } }`, `- { from: 2026-12-24, to: 2026-12-27 }` or `- { calendar: NAME }`";

pub(crate) fn read(value: Value<'_>) -> Vec<(BlackoutSpec, Range<usize>)> {
    let mut blackouts: Vec<(BlackoutSpec, Range<usize>)> = Vec::new();
    for item in value.one_or_list() {
        let Some(spec) = blackout(item) else { continue };
        let first = blackouts.iter().find(|(it, _)| it.name == spec.name);
        if let Some((_, first)) = first {
            let message = format!("two blackouts are named `{}`", spec.name);
            let twice = item.cx.at(item.span(), "flow.duplicate_name", message);
            let help = "give each a `name` of its own, or remove one of them";
            item.cx
                .push(twice.also(first.clone(), "first here").help(help));
        }
        blackouts.push((spec, item.span().clone()));
    }
    blackouts
}

fn blackout(value: Value<'_>) -> Option<BlackoutSpec> {
    let fields = value.fields(&KEYS, HELP)?;
    check_name(&fields);
    let zone = fields.get("timezone").map_or(Some("UTC"), |it| {
        let name = it.text()?;
        match parse_time_zone(name) {
            Ok(_) => Some(name),
            Err(error) => {
                crate::graph::unknown_zone(it.cx, it.span(), &error);
                None
            }
        }
    });
    let actions = [
        ("defer", BlackoutAction::Defer),
        ("skip", BlackoutAction::Skip),
    ];
    let action = fields
        .get("do")
        .map_or_else(|| Some(BlackoutAction::default()), |it| it.one_of(&actions));
    let (window, label) = window(&fields, zone.unwrap_or("UTC"))?;
    let name = fields.get("name").and_then(|it| it.text());
    Some(BlackoutSpec {
        name: name.map_or(label, str::to_owned),
        timezone: zone?.to_owned(),
        window,
        action: action?,
    })
}

/// When it is, and what that is called.
fn window(fields: &Fields<'_>, zone: &str) -> Option<(BlackoutWindow, String)> {
    let cx = fields.value.cx;
    let once = fields.entry("from").or_else(|| fields.entry("to"));
    let ways = [fields.entry("daily"), once, fields.entry("calendar")];
    let mut ways = ways.into_iter().flatten();
    match (ways.next(), ways.next()) {
        (None, _) => {
            fields.missing(fields.value.span(), "daily", HELP);
            return None;
        }
        (Some(first), Some(second)) => {
            let message = format!(
                "`{}` and `{}` cannot stand in one blackout",
                first.key, second.key
            );
            let both = cx.at(&second.key_span, "flow.bad_value", message);
            cx.push(both.help("make two blackouts of it"));
            return None;
        }
        _ => {}
    }
    if let Some(it) = fields.get("daily") {
        return daily(it);
    }
    if let Some(it) = fields.get("calendar") {
        let calendar = calendars::named(it)?;
        let label = format!("calendar {}", calendar.name);
        return Some((BlackoutWindow::Calendar(calendar), label));
    }
    let moment = |key: &'static str| -> Option<(Timestamp, String)> {
        let text = fields
            .required(key, "write both `from` and `to`")?
            .written();
        Some((instant(fields, key, zone)?, text?))
    };
    let (from, to) = (moment("from"), moment("to"));
    let ((start, from), (end, to)) = (from?, to?);
    if start >= end {
        let at = fields.get("to")?;
        let message = format!("`to`, {end}, is not after `from`, {start}");
        cx.push(
            at.bad(message)
                .help("swap the two; a date means its midnight"),
        );
        return None;
    }
    let label = format!("{from} to {to}");
    Some((BlackoutWindow::Between { start, end }, label))
}

fn daily(value: Value<'_>) -> Option<(BlackoutWindow, String)> {
    const HELP: &str = "write `daily: { from: \"22:00\", to: \"06:00\", days: [FRI, SAT] }`";
    let fields = value.fields(&DAILY_KEYS, HELP)?;
    let time = |key| fields.required(key, HELP).and_then(|it| it.time_of_day());
    let (from, to) = (time("from"), time("to"));
    let days = fields
        .section("days")
        .map_or_else(Vec::new, |it| it.one_or_list());
    let count = days.len();
    let days: Vec<_> = days.into_iter().filter_map(calendars::weekday).collect();
    if days.len() < count {
        return None;
    }
    let (from, to) = (from?, to?);
    let on: Vec<String> = days.iter().map(ToString::to_string).collect();
    let label = match on.as_slice() {
        [] => format!("daily {from} to {to}"),
        on => format!("{from} to {to} on {}", on.join(", ")),
    };
    Some((BlackoutWindow::Daily { from, to, days }, label))
}
