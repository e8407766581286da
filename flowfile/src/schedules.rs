//! `schedule`: when a flow runs by the clock.

use crate::calendars;
use crate::expression::Where;
use crate::params::{self, Params};
use crate::reader::{Cx, Fields, Value};
use chrono::{NaiveDate, TimeZone};
use dalsegno_scheduler::schedule::{Gap, Overlap, When, parse_time_zone};
use dalsegno_scheduler::spec::{CalendarSpec, Misfire, MisfireSpec, Roll, ScheduleSpec};
use dalsegno_scheduler::{Timestamp, TriggerName};
use std::ops::Range;

pub(crate) const KEYS: [&str; 11] = [
    "name", "cron", "every", "timezone", "dst", "jitter", "misfire", "params", "start", "end",
    "calendar",
];
pub(crate) const CALENDAR_KEYS: [&str; 2] = ["name", "roll"];
pub(crate) const DST_KEYS: [&str; 2] = ["gap", "overlap"];
pub(crate) const MISFIRE_KEYS: [&str; 4] = ["down", "paused", "max", "window"];

const MISFIRES: [(&str, Misfire); 3] = [
    ("skip", Misfire::Skip),
    ("latest", Misfire::Latest),
    ("all", Misfire::All),
];

/// Where a schedule's parts stand, for what the core finds wrong with it.
pub(crate) struct SchedulePlace {
    pub(crate) whole: Range<usize>,
    pub(crate) when: Range<usize>,
    pub(crate) timezone: Range<usize>,
    pub(crate) calendar: Range<usize>,
}

pub(crate) fn read(value: Value<'_>, params: &Params) -> Vec<(ScheduleSpec, SchedulePlace)> {
    let mut schedules: Vec<(ScheduleSpec, SchedulePlace)> = Vec::new();
    for item in value.one_or_list() {
        let Some((mut spec, place)) = schedule(item, params) else {
            continue;
        };
        let taken = |name: &TriggerName| schedules.iter().find(|(it, _)| it.name == *name);
        spec.name = match name(item) {
            Some(name) => {
                if let Some((_, first)) = taken(&name) {
                    let message = format!("two schedules are named `{name}`");
                    let twice = item.cx.at(&place.whole, "flow.duplicate_name", message);
                    item.cx.push(
                        twice
                            .also(first.whole.clone(), "first here")
                            .help("rename one of them"),
                    );
                }
                name
            }
            None => numbered(&spec.name, |it| taken(it).is_some()),
        };
        schedules.push((spec, place));
    }
    schedules
}

/// The `name` that a schedule or trigger gives itself.
fn name(value: Value<'_>) -> Option<TriggerName> {
    let crate::yaml::Data::Map(entries) = &value.node.data else {
        return None;
    };
    let text = entries.iter().find(|it| it.key == "name")?.value.text()?;
    Some(TriggerName::new(text))
}

/// The first of `name`, `name #2`, `name #3` … that is free.
pub(crate) fn numbered(name: &TriggerName, taken: impl Fn(&TriggerName) -> bool) -> TriggerName {
    let mut free = name.clone();
    let mut number = 2;
    while taken(&free) {
        free = TriggerName::new(format!("{name} #{number}"));
        number += 1;
    }
    free
}

/// Checks a `name` that was given.
pub(crate) fn check_name(fields: &Fields<'_>) {
    let Some(name) = fields.get("name") else {
        return;
    };
    let Some(text) = name.text() else {
        return;
    };
    if text.trim().is_empty() || text.chars().count() > 128 || text.chars().any(char::is_control) {
        let message = "`name` must have 1 to 128 characters on one line";
        name.cx.push(
            name.cx
                .at(name.span(), "flow.bad_name", message)
                .help("write a short name such as `nightly`"),
        );
    }
}

fn schedule(value: Value<'_>, params: &Params) -> Option<(ScheduleSpec, SchedulePlace)> {
    let cx = value.cx;
    let help = match value.node.text() {
        Some(_) => "write `cron: \"0 6 * * *\"` or `every: 15m`",
        None => "write `- cron: \"0 6 * * *\"` or `- every: 15m`",
    };
    let fields = value.fields(&KEYS, help)?;
    check_name(&fields);
    let calendar = fields.get("calendar").and_then(calendar);
    let timezone = fields.get("timezone");
    let zone = timezone.map_or(Some("UTC"), |it| it.text());
    let (when, when_at, label) = when(&fields)?;
    if let (When::Every { .. }, Some(it)) = (&when, fields.entry("dst")) {
        let message = "`dst` has no meaning for `every`, which counts elapsed time";
        cx.push(
            cx.at(&it.key_span, "flow.bad_value", message)
                .help("remove it, or write the times as `cron`"),
        );
    }
    let (gap, overlap) = fields
        .section("dst")
        .map_or_else(|| (Gap::default(), None), dst);
    let jitter = fields
        .get("jitter")
        .and_then(|it| it.duration_or_zero())
        .unwrap_or_default();
    if let (When::Every { period }, Some(it)) = (&when, fields.get("jitter"))
        && jitter > *period
    {
        let message = format!("`jitter` is {jitter}, and that is more than the period, {period}");
        cx.push(it.bad(message).help("write at most the period"));
    }
    let zone = zone.unwrap_or("UTC");
    let (start, end) = (
        instant(&fields, "start", zone),
        instant(&fields, "end", zone),
    );
    if let (Some(from), Some(to), Some(at)) = (start, end, fields.get("end"))
        && from >= to
    {
        cx.push(
            at.bad(format!("`end`, {to}, is not after `start`, {from}"))
                .help("swap the two"),
        );
    }
    let spec = ScheduleSpec {
        calendar,
        name: TriggerName::new(match (&when, zone) {
            (When::Cron { .. }, zone) => format!("{label} {zone}"),
            (When::Every { .. }, _) => label,
        }),
        when,
        timezone: zone.to_owned(),
        gap,
        overlap,
        jitter,
        misfire: fields
            .section("misfire")
            .map_or_else(MisfireSpec::default, misfire),
        params: fields
            .section("params")
            .map_or_else(Default::default, |it| {
                params::given(it, params, Where::ScheduleParam)
            }),
        start,
        end,
    };
    let place = SchedulePlace {
        whole: value.span().clone(),
        timezone: timezone.map_or_else(|| when_at.clone(), |it| it.span().clone()),
        calendar: fields
            .get("calendar")
            .map_or_else(|| when_at.clone(), |it| it.span().clone()),
        when: when_at,
    };
    Some((spec, place))
}

/// When it is due, where that is written, and the text that names the schedule.
fn when(fields: &Fields<'_>) -> Option<(When, Range<usize>, String)> {
    let cx: &Cx<'_> = fields.value.cx;
    match (fields.get("cron"), fields.get("every")) {
        (Some(_), Some(every)) => {
            let message = "a schedule has either `cron` or `every`";
            cx.push(
                every
                    .bad(message)
                    .help("make two schedules of it, or remove one of the two"),
            );
            None
        }
        (None, None) => {
            let at = fields.value.span();
            fields.missing(at, "cron", "write `cron: \"0 6 * * *\"` or `every: 15m`");
            None
        }
        (Some(cron), None) => {
            let text = cron.text()?;
            let label = text.split_whitespace().collect::<Vec<_>>().join(" ");
            Some((
                When::Cron {
                    text: text.to_owned(),
                },
                cron.span().clone(),
                label,
            ))
        }
        (None, Some(every)) => {
            let period = every.duration()?;
            let label = format!("every {}", every.node.text().unwrap_or_default().trim());
            Some((When::Every { period }, every.span().clone(), label))
        }
    }
}

/// The name of a calendar, or that with what becomes of its closed days.
fn calendar(value: Value<'_>) -> Option<CalendarSpec> {
    const HELP: &str = "write `calendar: NAME` or `calendar: { name: NAME, roll: next }`";
    if value.node.text().is_some() {
        let calendar = calendars::named(value)?;
        let roll = Roll::default();
        return Some(CalendarSpec { calendar, roll });
    }
    let fields = value.fields(&CALENDAR_KEYS, HELP)?;
    let rolls = [
        ("skip", Roll::Skip),
        ("next", Roll::Next),
        ("previous", Roll::Previous),
    ];
    let roll = fields
        .get("roll")
        .map_or_else(|| Some(Roll::default()), |it| it.one_of(&rolls));
    let calendar = fields.required("name", HELP).and_then(calendars::named);
    Some(CalendarSpec {
        calendar: calendar?,
        roll: roll?,
    })
}

fn dst(value: Value<'_>) -> (Gap, Option<Overlap>) {
    let Some(fields) = value.fields(&DST_KEYS, "write `dst: { gap: shift, overlap: first }`")
    else {
        return (Gap::default(), None);
    };
    let gap = fields
        .get("gap")
        .and_then(|it| it.one_of(&[("shift", Gap::Shift), ("skip", Gap::Skip)]));
    let overlaps = [
        ("first", Overlap::First),
        ("second", Overlap::Second),
        ("both", Overlap::Both),
    ];
    let overlap = fields.get("overlap").and_then(|it| it.one_of(&overlaps));
    (gap.unwrap_or_default(), overlap)
}

fn misfire(value: Value<'_>) -> MisfireSpec {
    let mut misfire = MisfireSpec::default();
    let Some(fields) = value.fields(
        &MISFIRE_KEYS,
        "write `misfire: { down: latest, paused: skip }`",
    ) else {
        return misfire;
    };
    if let Some(it) = fields.get("down").and_then(|it| it.one_of(&MISFIRES)) {
        misfire.down = it;
    }
    if let Some(it) = fields.get("paused").and_then(|it| it.one_of(&MISFIRES)) {
        misfire.paused = it;
    }
    if let Some(it) = fields.get("max").and_then(|it| it.integer(1..=10_000)) {
        misfire.max = u32::try_from(it).unwrap_or(misfire.max);
    }
    if let Some(it) = fields.get("window").and_then(|it| it.duration()) {
        misfire.window = it;
    }
    misfire
}

/// An instant in RFC 3339, or a date, which means its midnight in the schedule's zone.
pub(crate) fn instant(fields: &Fields<'_>, key: &str, zone: &str) -> Option<Timestamp> {
    const HELP: &str =
        "write a date such as 2026-11-22, or an instant such as 2026-11-22T06:00:00+01:00";
    let value = fields.get(key)?;
    let Some(text) = value.node.text() else {
        value.wrong("a date or an instant", HELP);
        return None;
    };
    if let Some(instant) = Timestamp::parse_rfc3339(text) {
        return Some(instant);
    }
    let date = params::is_date(text)
        .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
        .flatten();
    let Some(date) = date else {
        let message = format!(
            "`{key}`: `{}` is not a date or an instant",
            crate::yaml::shorten(text)
        );
        value.cx.push(value.bad(message).help(HELP));
        return None;
    };
    // An unknown zone is reported by the core.
    let zone = parse_time_zone(zone).ok()?;
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    // Where clocks go forward at midnight, the day begins an hour later.
    let first = (0..4).find_map(|hour| {
        zone.from_local_datetime(&(midnight + chrono::TimeDelta::hours(hour)))
            .earliest()
    });
    first.map(|it| Timestamp(it.timestamp_micros()))
}

/// Whether a schedule gives a parameter.
pub(crate) fn gives(spec: &ScheduleSpec, param: &str) -> bool {
    spec.params.contains_key(param)
}
