//! Blackouts: times in which no schedule and no trigger of a flow starts a run.
//!
//! People, sub-flows and backfills are not stopped by a blackout: someone stands behind each of them.

use crate::calendar::{CalendarError, ClosedDays};
use crate::schedule::{ScheduleError, first_instant_of, instants_of, local_day, parse_time_zone};
use crate::spec::{BlackoutAction, BlackoutSpec, BlackoutWindow, TimeOfDay};
use crate::time::Timestamp;
use chrono::{Datelike, Days, NaiveDate, Weekday};
use chrono_tz::Tz;

/// A blackout ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    name: String,
    action: BlackoutAction,
    zone: Tz,
    window: Window,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Window {
    Daily {
        from: TimeOfDay,
        to: TimeOfDay,
        /// By number of days since Monday: those on which it begins.
        days: [bool; 7],
    },
    Between {
        start: Timestamp,
        end: Timestamp,
    },
    Calendar(ClosedDays),
}

/// What is wrong with a blackout, said so that its author can cure it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlackoutError {
    #[error("blackout `{name}`: {error}")]
    TimeZone {
        name: String,
        error: Box<ScheduleError>,
    },
    #[error("blackout `{name}`: {error}")]
    Calendar {
        name: String,
        error: Box<CalendarError>,
    },
    #[error("blackout `{name}` ends at {end}, which is not after its start at {start}")]
    Backwards {
        name: String,
        start: Timestamp,
        end: Timestamp,
    },
    #[error(
        "blackout `{name}` is never over: it lasts from {at} to {at} on every day; name the `days` on which it begins, \
         or pause the flow"
    )]
    Always { name: String, at: TimeOfDay },
}

/// How many windows in a row may follow each other without a gap; more than a year of days.
const WINDOWS_MAX: usize = 400;

impl Blackout {
    /// Checks and compiles a blackout.
    ///
    /// # Errors
    /// When its time zone or calendar is not valid, or when it has no end or ends before it begins.
    pub fn new(spec: &BlackoutSpec) -> Result<Self, BlackoutError> {
        let name = spec.name.clone();
        let zone = parse_time_zone(&spec.timezone).map_err(|error| BlackoutError::TimeZone {
            name: name.clone(),
            error: Box::new(error),
        })?;
        let window = match &spec.window {
            BlackoutWindow::Daily { from, to, days } => {
                let mut begins = [days.is_empty(); 7];
                for day in days {
                    begins[place(*day)] = true;
                }
                if from == to && begins == [true; 7] {
                    return Err(BlackoutError::Always { name, at: *from });
                }
                Window::Daily {
                    from: *from,
                    to: *to,
                    days: begins,
                }
            }
            BlackoutWindow::Between { start, end } if start < end => Window::Between {
                start: *start,
                end: *end,
            },
            BlackoutWindow::Between { start, end } => {
                let (start, end) = (*start, *end);
                return Err(BlackoutError::Backwards { name, start, end });
            }
            BlackoutWindow::Calendar(calendar) => match ClosedDays::new(calendar) {
                Ok(closed) => Window::Calendar(closed),
                Err(error) => {
                    let error = Box::new(error);
                    return Err(BlackoutError::Calendar { name, error });
                }
            },
        };
        Ok(Self {
            name,
            action: spec.action,
            zone,
            window,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn action(&self) -> BlackoutAction {
        self.action
    }

    /// The end of the blackout in which `now` is. Windows that follow each other without a gap are one.
    pub fn active(&self, now: Timestamp) -> Option<Timestamp> {
        let mut until = self.window_at(now)?;
        for _ in 0..WINDOWS_MAX {
            match self.window_at(until) {
                Some(later) => until = later,
                None => break,
            }
        }
        Some(until)
    }

    /// When the first window after `after` begins, whether or not it is in one.
    pub fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        let today = local_day(self.zone, after)?;
        match &self.window {
            Window::Between { start, .. } => Some(*start).filter(|it| *it > after),
            Window::Daily { .. } => days_from(today, 9)
                .filter_map(|day| self.daily(day))
                .map(|(start, _)| start)
                .find(|start| *start > after),
            Window::Calendar(closed) => days_from(today, WINDOWS_MAX as u64)
                .filter(|day| closed.is_closed(*day))
                .filter_map(|day| first_instant_of(self.zone, day))
                .find(|start| *start > after),
        }
    }

    /// The end of the window in which `at` is.
    fn window_at(&self, at: Timestamp) -> Option<Timestamp> {
        let today = local_day(self.zone, at)?;
        match &self.window {
            Window::Between { start, end } => (*start <= at && at < *end).then_some(*end),
            Window::Daily { .. } => days_from(today.checked_sub_days(Days::new(1))?, 2)
                .filter_map(|day| self.daily(day))
                .filter(|(start, end)| *start <= at && at < *end)
                .map(|(_, end)| end)
                .max(),
            Window::Calendar(closed) => {
                let open = closed.open_from(today)?;
                (open != today).then(|| first_instant_of(self.zone, open))?
            }
        }
    }

    /// The window that begins on a day. Where the clock goes back it is the longer one, where it jumps it begins or
    /// ends at the first instant after the gap.
    fn daily(&self, day: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        let Window::Daily { from, to, days } = &self.window else {
            return None;
        };
        if !days[place(day.weekday())] {
            return None;
        }
        let last = match from < to {
            true => day,
            false => day.succ_opt()?,
        };
        let (start, _) = instants_of(self.zone, day, *from)?;
        let (_, end) = instants_of(self.zone, last, *to)?;
        Some((start, end))
    }
}

fn place(day: Weekday) -> usize {
    day.num_days_from_monday() as usize
}

fn days_from(day: NaiveDate, count: u64) -> impl Iterator<Item = NaiveDate> {
    (0..count).filter_map(move |days| day.checked_add_days(Days::new(days)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Calendar;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn daily(from: &str, to: &str, days: &[Weekday]) -> BlackoutSpec {
        BlackoutSpec {
            name: "night".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            window: BlackoutWindow::Daily {
                from: from.parse().expect("a time of day"),
                to: to.parse().expect("a time of day"),
                days: days.to_vec(),
            },
            action: BlackoutAction::Defer,
        }
    }

    /// `time: until, next start`, one line each.
    fn asked(spec: &BlackoutSpec, times: &[&str]) -> String {
        let blackout = Blackout::new(spec).expect("valid");
        let told = |it: Option<Timestamp>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let line = |time: &&str| {
            let now = at(time);
            let until = told(blackout.active(now));
            format!("{time}: {until}, {}", told(blackout.next_start(now)))
        };
        times.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn over_midnight_it_belongs_to_the_day_on_which_it_begins() {
        let spec = daily("22:00", "02:00", &[Weekday::Fri]);
        let times = [
            "2026-11-19T23:00:00+01:00",
            "2026-11-20T21:59:59+01:00",
            "2026-11-20T22:00:00+01:00",
            "2026-11-21T01:59:59+01:00",
            "2026-11-21T02:00:00+01:00",
        ];
        insta::assert_snapshot!(asked(&spec, &times), @r"
        2026-11-19T23:00:00+01:00: -, 2026-11-20T21:00:00Z
        2026-11-20T21:59:59+01:00: -, 2026-11-20T21:00:00Z
        2026-11-20T22:00:00+01:00: 2026-11-21T01:00:00Z, 2026-11-27T21:00:00Z
        2026-11-21T01:59:59+01:00: 2026-11-21T01:00:00Z, 2026-11-27T21:00:00Z
        2026-11-21T02:00:00+01:00: -, 2026-11-27T21:00:00Z
        ");
    }

    #[test]
    fn when_the_clock_changes_it_covers_all_that_the_wall_clock_shows() {
        // 02:00 to 03:00 is skipped on 29 March and comes twice on 25 October.
        let spring = ["2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"];
        insta::assert_snapshot!(asked(&daily("01:00", "02:30", &[]), &spring), @r"
        2026-03-29T01:59:59+01:00: 2026-03-29T01:00:00Z, 2026-03-29T23:00:00Z
        2026-03-29T03:00:00+02:00: -, 2026-03-29T23:00:00Z
        ");
        let autumn = [
            "2026-10-25T02:15:00+02:00",
            "2026-10-25T02:15:00+01:00",
            "2026-10-25T02:45:00+02:00",
            "2026-10-25T02:30:00+01:00",
        ];
        insta::assert_snapshot!(asked(&daily("02:10", "02:30", &[]), &autumn), @r"
        2026-10-25T02:15:00+02:00: 2026-10-25T01:30:00Z, 2026-10-26T01:10:00Z
        2026-10-25T02:15:00+01:00: 2026-10-25T01:30:00Z, 2026-10-26T01:10:00Z
        2026-10-25T02:45:00+02:00: 2026-10-25T01:30:00Z, 2026-10-26T01:10:00Z
        2026-10-25T02:30:00+01:00: -, 2026-10-26T01:10:00Z
        ");
    }

    #[test]
    fn windows_without_a_gap_are_one() {
        let spec = daily("00:00", "00:00", &[Weekday::Sat, Weekday::Sun]);
        let times = ["2026-11-21T12:00:00+01:00", "2026-11-23T00:00:00+01:00"];
        insta::assert_snapshot!(asked(&spec, &times), @r"
        2026-11-21T12:00:00+01:00: 2026-11-22T23:00:00Z, 2026-11-21T23:00:00Z
        2026-11-23T00:00:00+01:00: -, 2026-11-27T23:00:00Z
        ");
    }

    #[test]
    fn once_and_by_calendar() {
        let window = BlackoutWindow::Between {
            start: at("2026-12-20T00:00:00Z"),
            end: at("2027-01-04T00:00:00Z"),
        };
        let spec = BlackoutSpec {
            window,
            ..daily("00:00", "01:00", &[])
        };
        let times = [
            "2026-12-19T23:59:59Z",
            "2026-12-20T00:00:00Z",
            "2027-01-04T00:00:00Z",
        ];
        insta::assert_snapshot!(asked(&spec, &times), @r"
        2026-12-19T23:59:59Z: -, 2026-12-20T00:00:00Z
        2026-12-20T00:00:00Z: 2027-01-04T00:00:00Z, -
        2027-01-04T00:00:00Z: -, -
        ");
        let calendar = Calendar {
            weekdays: vec![Weekday::Sat, Weekday::Sun],
            ..Calendar::default()
        };
        let spec = BlackoutSpec {
            window: BlackoutWindow::Calendar(calendar),
            ..spec
        };
        let times = ["2026-11-20T23:59:59+01:00", "2026-11-21T00:00:00+01:00"];
        insta::assert_snapshot!(asked(&spec, &times), @r"
        2026-11-20T23:59:59+01:00: -, 2026-11-20T23:00:00Z
        2026-11-21T00:00:00+01:00: 2026-11-22T23:00:00Z, 2026-11-21T23:00:00Z
        ");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_cure() {
        let error = |spec: &BlackoutSpec| Blackout::new(spec).expect_err("refused").to_string();
        assert_eq!(
            error(&daily("06:00", "06:00", &[])),
            "blackout `night` is never over: it lasts from 06:00 to 06:00 on every day; name the `days` on which it \
             begins, or pause the flow"
        );
        let window = BlackoutWindow::Between {
            start: at("2026-12-20T00:00:00Z"),
            end: at("2026-12-20T00:00:00Z"),
        };
        let spec = BlackoutSpec {
            window,
            ..daily("00:00", "01:00", &[])
        };
        assert_eq!(
            error(&spec),
            "blackout `night` ends at 2026-12-20T00:00:00Z, which is not after its start at 2026-12-20T00:00:00Z"
        );
        let spec = BlackoutSpec {
            timezone: "berlin".to_owned(),
            ..daily("00:00", "01:00", &[])
        };
        assert!(error(&spec).contains("did you mean \"Europe/Berlin\""));
    }
}
