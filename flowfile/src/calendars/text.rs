//! Calendars in YAML.

use super::{DATES_MAX, ics};
use crate::diagnostic::Diagnostic;
use crate::folder;
use crate::params::is_date;
use crate::reader::{Cx, Value};
use crate::source::Source;
use crate::yaml::{self, Data};
use chrono::{NaiveDate, Weekday};
use dalsegno_scheduler::calendar::{CalendarError, ClosedDays};
use dalsegno_scheduler::spec::{Calendar, CalendarRule};
use std::path::Path;

pub(crate) const KEYS: [&str; 5] = ["description", "dates", "rrule", "weekdays", "ics"];
pub(crate) const RULE_KEYS: [&str; 3] = ["rule", "start", "note"];

const HELP: &str =
    "write `dates: { 2026-12-24: Christmas Eve }`, `rrule`, `weekdays: [SAT, SUN]` or `ics: FILE`";

/// Reads as much as can be read; what is wrong goes to `found`.
pub(super) fn read(
    path: &Path,
    shown: &str,
    text: &str,
    name: &str,
    found: &mut Vec<Diagnostic>,
) -> Calendar {
    let mut calendar = Calendar {
        name: name.to_owned(),
        ..Calendar::default()
    };
    let source = Source::new(shown, text.strip_prefix('\u{feff}').unwrap_or(text));
    let root = match yaml::read(&source, found) {
        Ok(root) => root,
        Err(fatal) => {
            found.push(fatal);
            return calendar;
        }
    };
    let none = Default::default();
    let cx = Cx::new(&source, Vec::new(), &none);
    let value = Value {
        cx: &cx,
        name: "",
        node: &root,
    };
    let mut beside = None;
    if let Data::Null = root.data {
        cx.push(
            cx.at(&(0..0), "flow.empty", "the calendar is empty")
                .help(HELP),
        );
    } else if let Some(fields) = value.fields(&KEYS, HELP) {
        fields.get("description").and_then(|it| it.text());
        if let Some(it) = fields.section("dates") {
            dates(it, &mut calendar);
        }
        for it in fields
            .section("rrule")
            .map_or_else(Vec::new, |it| it.one_or_list())
        {
            calendar.rules.extend(rule(it));
        }
        let weekdays = fields.section("weekdays");
        for it in weekdays.map_or_else(Vec::new, |it| it.one_or_list()) {
            calendar.weekdays.extend(weekday(it));
        }
        beside = fields.get("ics").and_then(file_beside);
    }
    found.extend(cx.found());
    if let Some(file) = beside {
        let path = path.with_file_name(file);
        match folder::text(&path) {
            Ok(text) => ics::read(&path.display().to_string(), &text, &mut calendar, found),
            Err(unreadable) => found.extend(unreadable),
        }
    }
    calendar
}

/// `DAY: NOTE`, or a list of days.
fn dates(value: Value<'_>, calendar: &mut Calendar) {
    let Data::Map(entries) = &value.node.data else {
        for item in value.one_or_list() {
            let day = item.node.text().and_then(|it| day(item, it));
            match day {
                Some(day) => drop(calendar.dates.insert(day, String::new())),
                None if item.node.text().is_none() => item.wrong(DAY, DAY_HELP),
                None => {}
            }
        }
        return too_many(value, calendar);
    };
    for entry in entries {
        let key = crate::yaml::Node {
            span: entry.key_span.clone(),
            data: Data::Text(entry.key.clone()),
        };
        let at = Value {
            cx: value.cx,
            name: value.name,
            node: &key,
        };
        let note = value.with(&entry.value);
        let text = match note.node.is_null() {
            true => Some(String::new()),
            false => note.written(),
        };
        if text.is_none() {
            note.wrong(
                "a text: what the day is called",
                "write `2026-12-24: Christmas Eve`",
            );
        }
        if let (Some(day), Some(text)) = (day(at, &entry.key), text) {
            calendar.dates.insert(day, text);
        }
    }
    too_many(value, calendar);
}

fn too_many(value: Value<'_>, calendar: &Calendar) {
    if calendar.dates.len() > DATES_MAX {
        let message = format!("a calendar may have {DATES_MAX} single days");
        let help = "write days that come again as `rrule`";
        value.cx.push(value.bad(message).help(help));
    }
}

const DAY: &str = "a day such as 2026-12-24";
const DAY_HELP: &str = "write year, month and day: `2026-12-24: Christmas Eve`";

fn day(value: Value<'_>, text: &str) -> Option<NaiveDate> {
    let day = is_date(text.trim())
        .then(|| text.trim().parse().ok())
        .flatten();
    if day.is_none() {
        let message = format!("`{}` is not a day", crate::yaml::shorten(text));
        value.cx.push(value.bad(message).help(DAY_HELP));
    }
    day
}

/// A rule as a text, or with its first day and a note.
fn rule(value: Value<'_>) -> Option<CalendarRule> {
    const HELP: &str =
        "write `rrule: [{ rule: \"FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25,26\", note: Christmas }]`";
    let (rule, start, note) = match &value.node.data {
        Data::Text(_) => (value, None, None),
        _ => {
            let fields = value.fields(&RULE_KEYS, HELP)?;
            (
                fields.required("rule", HELP)?,
                fields.get("start"),
                fields.get("note"),
            )
        }
    };
    let text = rule.text()?;
    let start = match start {
        Some(it) => day(it, it.text()?)?,
        None => {
            let upper = text.to_ascii_uppercase();
            // Without these the first day says which days are meant.
            if !upper.contains(";BY") || upper.contains("INTERVAL=") || upper.contains("COUNT=") {
                let message = "the rule needs its first day, `start`";
                let help = format!(
                    "write `{{ rule: {}, start: 2026-01-01 }}`",
                    crate::yaml::shorten(text)
                );
                rule.cx.push(rule.bad(message).help(help));
                return None;
            }
            NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day")
        }
    };
    let it = CalendarRule {
        rrule: text.to_owned(),
        start,
        note: note.and_then(|it| it.written()).unwrap_or_default(),
    };
    match problem(&it) {
        None => Some(it),
        Some(problem) => {
            let message = format!("the rule cannot be used: {problem}");
            let help = "write a rule of RFC 5545 over whole days, such as FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25";
            rule.cx.push(rule.bad(message).help(help));
            None
        }
    }
}

/// What the core says of one rule.
pub(super) fn problem(rule: &CalendarRule) -> Option<String> {
    let alone = Calendar {
        rules: vec![rule.clone()],
        ..Calendar::default()
    };
    match ClosedDays::new(&alone) {
        Err(CalendarError::Rule { error, .. }) => Some(error.to_string()),
        Err(error @ CalendarError::NeverOpen { .. }) => Some(error.to_string()),
        Ok(_) => None,
    }
}

/// A day of the week: `SAT`, `sat`, `Saturday`.
pub(crate) fn weekday(value: Value<'_>) -> Option<Weekday> {
    let day = value.node.text().and_then(|it| it.trim().parse().ok());
    if day.is_none() {
        let help = "write MON, TUE, WED, THU, FRI, SAT or SUN";
        value.wrong("a day of the week", help);
    }
    day
}

fn file_beside(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    if name.contains(['/', '\\']) || name.starts_with('.') || !name.ends_with(".ics") {
        let message = "`ics` names a file in the same folder";
        let help = "write its name alone, such as `holidays.ics`";
        value.cx.push(value.bad(message).help(help));
        return None;
    }
    Some(name.to_owned())
}
