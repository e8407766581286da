//! Calendars: which days are closed, and which open day is next.

mod recurrence;

pub use recurrence::RecurrenceError;

use crate::spec::{Calendar, CalendarRule};
use chrono::{Datelike, Days, NaiveDate, Weekday};
use recurrence::Recurrence;
use std::collections::BTreeMap;

/// The longest time without an open day, in days: a leap year.
pub const CLOSED_DAYS_MAX: u64 = 366;

/// A calendar ready to be asked. Asking parses nothing and costs well under a microsecond for each rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedDays {
    name: String,
    dates: BTreeMap<NaiveDate, String>,
    rules: Vec<(Recurrence, String)>,
    weekdays: [bool; 7],
}

/// What is wrong with a calendar, said so that its author can cure it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    #[error("calendar `{calendar}`: rule {index} `{rrule}`: {error}")]
    Rule {
        calendar: String,
        /// From 1.
        index: usize,
        rrule: String,
        error: RecurrenceError,
    },
    #[error(
        "calendar `{calendar}` has no open day in the {CLOSED_DAYS_MAX} days from {from} on, so nothing could run for \
         more than a year; take days out of it"
    )]
    NeverOpen { calendar: String, from: NaiveDate },
}

impl ClosedDays {
    /// Checks and compiles a calendar.
    ///
    /// # Errors
    /// When a rule cannot be read, or when some [`CLOSED_DAYS_MAX`] days in a row (from 1970 to 2100) are all closed.
    pub fn new(calendar: &Calendar) -> Result<Self, CalendarError> {
        let compile = |(index, rule): (usize, &CalendarRule)| {
            let compiled = Recurrence::new(rule).map_err(|error| CalendarError::Rule {
                calendar: calendar.name.clone(),
                index: index + 1,
                rrule: rule.rrule.clone(),
                error,
            })?;
            Ok((compiled, rule.note.clone()))
        };
        let rules: Result<Vec<_>, CalendarError> =
            calendar.rules.iter().enumerate().map(compile).collect();
        let mut weekdays = [false; 7];
        for weekday in &calendar.weekdays {
            weekdays[weekday.num_days_from_monday() as usize] = true;
        }
        let closed = Self {
            name: calendar.name.clone(),
            dates: calendar.dates.clone(),
            rules: rules?,
            weekdays,
        };
        match closed.long_closure() {
            Some(from) => Err(CalendarError::NeverOpen {
                calendar: closed.name,
                from,
            }),
            None => Ok(closed),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_closed(&self, day: NaiveDate) -> bool {
        self.weekdays[day.weekday().num_days_from_monday() as usize]
            || self.dates.contains_key(&day)
            || self.rules.iter().any(|(rule, _)| rule.contains(day))
    }

    /// What a closed day is called: the note of its date or rule, else its weekday; `None` for open days.
    pub fn note(&self, day: NaiveDate) -> Option<String> {
        if !self.is_closed(day) {
            return None;
        }
        let dates = self.dates.get(&day).into_iter();
        let rules = self.rules.iter().filter(|(rule, _)| rule.contains(day));
        let mut notes = dates.chain(rules.map(|(_, note)| note));
        let named = notes.find(|it| !it.is_empty()).cloned();
        Some(named.unwrap_or_else(|| weekday_name(day.weekday()).to_owned()))
    }

    /// The first open day at or after this one.
    pub fn open_from(&self, day: NaiveDate) -> Option<NaiveDate> {
        (0..=CLOSED_DAYS_MAX)
            .filter_map(|days| day.checked_add_days(Days::new(days)))
            .find(|it| !self.is_closed(*it))
    }

    /// The last open day at or before this one.
    pub fn open_until(&self, day: NaiveDate) -> Option<NaiveDate> {
        (0..=CLOSED_DAYS_MAX)
            .filter_map(|days| day.checked_sub_days(Days::new(days)))
            .find(|it| !self.is_closed(*it))
    }

    /// Where a time of [`CLOSED_DAYS_MAX`] days without an open one begins. Every such time holds one of the days that
    /// are looked at, so most calendars are checked with a few hundred questions.
    fn long_closure(&self) -> Option<NaiveDate> {
        let first = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let last = NaiveDate::from_ymd_opt(2100, 1, 1)?;
        let looked_at = first.iter_days().step_by(300).take_while(|it| *it < last);
        for day in looked_at.filter(|it| self.is_closed(*it)) {
            let from = match self.open_until(day) {
                Some(open) => open.succ_opt()?,
                None => return Some(day),
            };
            match self.open_from(day) {
                Some(open) if (open - from).num_days() < CLOSED_DAYS_MAX as i64 => {}
                _ => return Some(from),
            }
        }
        None
    }
}

fn weekday_name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn rule(rrule: &str, start: &str, note: &str) -> CalendarRule {
        CalendarRule {
            rrule: rrule.to_owned(),
            start: day(start),
            note: note.to_owned(),
        }
    }

    fn german() -> Calendar {
        Calendar {
            name: "german_holidays".to_owned(),
            dates: BTreeMap::from([
                (day("2026-04-03"), "Karfreitag".to_owned()),
                (day("2026-04-06"), "Ostermontag".to_owned()),
                (day("2026-12-24"), String::new()),
            ]),
            rules: vec![
                rule(
                    "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25,26",
                    "2020-01-01",
                    "Weihnachten",
                ),
                rule("FREQ=YEARLY", "2020-05-01", "Tag der Arbeit"),
            ],
            weekdays: vec![Weekday::Sat, Weekday::Sun],
        }
    }

    #[test]
    fn a_closed_day_says_what_it_is_called() {
        let closed = ClosedDays::new(&german()).expect("valid");
        let note = |text: &str| closed.note(day(text));
        assert_eq!(note("2026-04-03").as_deref(), Some("Karfreitag"));
        assert_eq!(note("2026-12-24").as_deref(), Some("Thursday"));
        assert_eq!(
            note("2026-12-26").as_deref(),
            Some("Weihnachten"),
            "a Saturday too"
        );
        assert_eq!(note("2027-05-01").as_deref(), Some("Tag der Arbeit"));
        assert_eq!(note("2019-12-25"), None, "before the rule begins");
        assert_eq!(note("2026-11-22").as_deref(), Some("Sunday"));
        assert_eq!(note("2026-11-23"), None);
    }

    #[test]
    fn the_next_and_the_last_open_day_pass_over_all_closed_ones() {
        let closed = ClosedDays::new(&german()).expect("valid");
        assert_eq!(closed.open_from(day("2026-04-03")), Some(day("2026-04-07")));
        assert_eq!(
            closed.open_until(day("2026-04-06")),
            Some(day("2026-04-02"))
        );
        assert_eq!(closed.open_from(day("2026-04-07")), Some(day("2026-04-07")));
    }

    #[test]
    fn a_calendar_that_is_never_open_is_refused_wherever_that_begins() {
        let every_day = |rrule: &str, start: &str| Calendar {
            name: "shop".to_owned(),
            rules: vec![rule(rrule, start, "")],
            ..Calendar::default()
        };
        let error = ClosedDays::new(&every_day("FREQ=DAILY", "2030-07-05")).expect_err("for ever");
        assert_eq!(
            error.to_string(),
            "calendar `shop` has no open day in the 366 days from 2030-07-05 on, so nothing could run for more than \
             a year; take days out of it"
        );
        for start in ["1999-02-03", "2026-01-01", "2071-11-11"] {
            let long = every_day("FREQ=DAILY;COUNT=366", start);
            assert!(ClosedDays::new(&long).is_err(), "{start}");
            let shorter = every_day("FREQ=DAILY;COUNT=365", start);
            assert!(ClosedDays::new(&shorter).is_ok(), "{start}");
        }
        let week = vec![
            Weekday::Mon,
            Weekday::Tue,
            Weekday::Wed,
            Weekday::Thu,
            Weekday::Fri,
            Weekday::Sat,
            Weekday::Sun,
        ];
        let calendar = Calendar {
            weekdays: week,
            ..Calendar::default()
        };
        assert!(ClosedDays::new(&calendar).is_err());
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_named() {
        let calendar = Calendar {
            rules: vec![
                rule("FREQ=YEARLY", "2020-05-01", ""),
                rule("FREQ=HOURLY", "2020-05-01", ""),
            ],
            name: "shop".to_owned(),
            ..Calendar::default()
        };
        let error = ClosedDays::new(&calendar).expect_err("hours are no days");
        assert_eq!(
            error.to_string(),
            "calendar `shop`: rule 2 `FREQ=HOURLY`: FREQ=HOURLY is not supported: a calendar is about whole days; \
             write DAILY, WEEKLY, MONTHLY or YEARLY"
        );
    }
}
