//! What the next changes of the clock do to a schedule, for people who write one.

use super::due::{Rule, Schedule};
use super::error::ScheduleError;
use super::resolve::{first_instant, first_instant_of, local_day, offset_at, wall_of};
use crate::spec::ScheduleSpec;
use crate::time::Timestamp;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A day on which a change of the clock gives a schedule another number of runs than its text says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When the clock changes.
    pub at: Timestamp,
    /// The local day.
    pub date: NaiveDate,
    pub kind: TransitionKind,
    /// How often it is due on that day.
    pub runs: u32,
    /// How often it would be without the change.
    pub normal: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// The clock jumps forward; some times do not come.
    Gap,
    /// The clock goes back; some times come twice.
    Overlap,
}

/// How many changes of the clock are looked at.
const CHANGES: usize = 2;
/// How far ahead they are looked for, in days: zones that still change do so twice a year.
const DAYS: i64 = 800;
const DAY_SECS: i64 = 86_400;

/// The days of the next two changes of the clock after `from` on which a schedule with fixed hours is due more or less
/// often than its text says. Periods and schedules whose hour is `*` or a step over the whole day count elapsed time
/// and have none. Calendars play no part.
///
/// # Errors
/// When the schedule is not valid.
pub fn lint(spec: &ScheduleSpec, from: Timestamp) -> Result<Vec<Transition>, ScheduleError> {
    let schedule = Schedule::new(&spec.when, &spec.timezone, spec.gap, spec.overlap)?;
    let Rule::Cron {
        walls,
        hours_roll: false,
        ..
    } = &schedule.rule
    else {
        return Ok(Vec::new());
    };
    let zone = schedule.zone;
    let start = from.0.div_euclid(1_000_000);
    let days = (0..DAYS).map(|day| start + day * DAY_SECS);
    let changes = days
        .filter(|day| offset_at(zone, *day) != offset_at(zone, day + DAY_SECS))
        .map(|day| {
            let before = offset_at(zone, day);
            first_instant(day..day + DAY_SECS, |at| offset_at(zone, at) != before)
        });
    let mut found = Vec::new();
    for at in changes.take(CHANGES) {
        let change = offset_at(zone, at) - offset_at(zone, at - 1);
        // The day of the times that do not come, or come twice.
        let wall = at + offset_at(zone, at).min(offset_at(zone, at - 1));
        let Some(date) = chrono::DateTime::from_timestamp(wall, 0).map(|it| it.date_naive()) else {
            continue;
        };
        let Some((first, last)) = first_instant_of(zone, date).zip(
            date.succ_opt()
                .and_then(|next| first_instant_of(zone, next)),
        ) else {
            continue;
        };
        let on_day = |it: &Timestamp| local_day(zone, *it) == Some(date);
        let tick = crate::time::Span(1);
        let runs = schedule.between(first - tick, last).filter(on_day).count();
        let midnight = wall_of(date);
        let normal = std::iter::successors(walls.next(midnight - 1), |it| walls.next(*it))
            .take_while(|it| *it < midnight + DAY_SECS)
            .count();
        if runs != normal {
            found.push(Transition {
                at: Timestamp::from_secs(at),
                date,
                kind: match change > 0 {
                    true => TransitionKind::Gap,
                    false => TransitionKind::Overlap,
                },
                runs: runs as u32,
                normal: normal as u32,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn linted(cron: &str, zone: &str, more: &serde_json::Value) -> String {
        let mut spec = json!({
            "name": "s", "when": {"cron": {"text": cron}}, "timezone": zone,
            "misfire": {"down": "skip", "paused": "skip", "max": 1, "window": 1},
        });
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        let spec: ScheduleSpec = serde_json::from_value(spec).expect("a schedule");
        let from = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time");
        let line = |it: &Transition| {
            format!(
                "{} {:?} at {}: {} instead of {}",
                it.date, it.kind, it.at, it.runs, it.normal
            )
        };
        let found = lint(&spec, from).expect("valid");
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn days_with_no_run_or_two_are_told_before_they_come() {
        insta::assert_snapshot!(
            linted("30 2 * * *", "Europe/Berlin", &json!({"gap": "skip", "overlap": "both"})),
            @r"
        2026-03-29 Gap at 2026-03-29T01:00:00Z: 0 instead of 1
        2026-10-25 Overlap at 2026-10-25T01:00:00Z: 2 instead of 1
        "
        );
        insta::assert_snapshot!(
            linted("*/20 2 * * *", "Europe/Berlin", &json!({})),
            @"2026-03-29 Gap at 2026-03-29T01:00:00Z: 1 instead of 3"
        );
    }

    #[test]
    fn whoever_is_due_as_usual_hears_nothing() {
        for cron in [
            "30 2 * * *",
            "0 6 * * *",
            "0 * * * *",
            "0 */2 * * *",
            "30 2 1 * *",
        ] {
            assert_eq!(linted(cron, "Europe/Berlin", &json!({})), "", "{cron}");
        }
        let both = json!({"gap": "skip", "overlap": "both"});
        assert_eq!(linted("30 2 * * *", "UTC", &both), "");
        assert_eq!(linted("30 2 * * *", "Asia/Tokyo", &both), "");
    }
}
