//! `sla`: promises about time.

use crate::graph::unknown_zone;
use crate::reader::Value;
use crate::yaml::Data;
use dalsegno_scheduler::schedule::parse_time_zone;
use dalsegno_scheduler::sla::{SlaKind, SlaSpec, SlaTime};
use dalsegno_scheduler::spec::TimeOfDay;
use std::ops::Range;

pub(crate) const KEYS: [&str; 7] = [
    "finish_by",
    "start_by",
    "max_duration",
    "max_queue_wait",
    "fresh_within",
    "at_risk",
    "timezone",
];

const HELP: &str = "write `- finish_by: \"08:00\"`";

/// More days after that of the occurrence are a mistake.
const DAYS_MAX: u16 = 31;

/// Promises, each with its place. `zone`: that of the flow's schedule.
pub(crate) fn read(value: Value<'_>, zone: &str) -> Vec<(SlaSpec, Range<usize>)> {
    let mut promises: Vec<(SlaSpec, Range<usize>)> = Vec::new();
    let mut for_all = None;
    for item in value.list() {
        let Some(fields) = item.fields(&KEYS, HELP) else {
            continue;
        };
        let at_risk = fields.get("at_risk").and_then(level);
        let zone = fields.get("timezone").map_or(zone, |it| zone_of(it, zone));
        let mut found = Vec::new();
        for key in ["finish_by", "start_by"] {
            let Some(value) = fields.get(key) else {
                continue;
            };
            if let Some(time) = time(value, zone) {
                let kind = match key {
                    "finish_by" => SlaKind::FinishBy(time),
                    _ => SlaKind::StartBy(time),
                };
                found.push((kind, value.span().clone()));
            }
        }
        for key in ["max_duration", "max_queue_wait", "fresh_within"] {
            let Some(value) = fields.get(key) else {
                continue;
            };
            if let Some(span) = value.duration() {
                let kind = match key {
                    "max_duration" => SlaKind::MaxDuration(span),
                    "max_queue_wait" => SlaKind::MaxQueueWait(span),
                    _ => SlaKind::FreshWithin(span),
                };
                found.push((kind, value.span().clone()));
            }
        }
        if found.is_empty() && at_risk.is_some() {
            for_all = at_risk;
        }
        let found = found.into_iter();
        promises.extend(found.map(|(kind, at)| (SlaSpec { kind, at_risk }, at)));
    }
    for (promise, _) in &mut promises {
        promise.at_risk = promise.at_risk.or(for_all);
    }
    promises
}

/// A chance between 0 and 1, in thousandths.
fn level(value: Value<'_>) -> Option<u16> {
    let number = value.number()?;
    if !(0.001..=1.0).contains(&number) {
        let message = format!("`at_risk` is a chance, and {number} is none");
        let help = "write a number above 0 and at most 1, such as 0.8";
        value.cx.push(value.bad(message).help(help));
        return None;
    }
    Some((number * 1000.0).round() as u16)
}

fn zone_of<'a>(value: Value<'a>, usual: &'a str) -> &'a str {
    let Some(name) = value.text() else {
        return usual;
    };
    match parse_time_zone(name) {
        Ok(_) => name,
        Err(error) => {
            unknown_zone(value.cx, value.span(), &error);
            usual
        }
    }
}

/// `08:00`, `06:00 +1d`, or a length of time.
fn time(value: Value<'_>, zone: &str) -> Option<SlaTime> {
    let Data::Text(text) = &value.node.data else {
        value.wrong("a time of day or a length of time", TIME_HELP);
        return None;
    };
    let text = text.trim();
    if !text.contains(':') {
        return value.duration().map(SlaTime::After);
    }
    let (time, days) = match text.split_once('+') {
        Some((time, days)) => (time.trim(), days.trim().strip_suffix('d')),
        None => (text, Some("0")),
    };
    let days = days.and_then(|it| it.parse::<u16>().ok());
    let days = days.filter(|it| *it <= DAYS_MAX);
    match (time.parse::<TimeOfDay>(), days) {
        (Ok(time), Some(days)) => Some(SlaTime::At {
            time,
            timezone: zone.to_owned(),
            days,
        }),
        _ => {
            let shown = crate::yaml::shorten(text);
            let message = format!("`{}`: `{shown}` is not a time of day", value.name);
            value.cx.push(value.bad(message).help(TIME_HELP));
            None
        }
    }
}

const TIME_HELP: &str = "write a time of day in quotes, \"08:00\" (\"06:00 +1d\" on the next day), or a length of time \
                         after the occurrence is due: `2h`";
