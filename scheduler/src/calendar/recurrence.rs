//! Recurrence rules of RFC 5545 over whole days.
//!
//! Every part but `BYSETPOS` and `COUNT` is a question about one day alone, so whether a day belongs to a rule is
//! answered without walking from its beginning.

use crate::spec::CalendarRule;
use chrono::{Datelike, Days, NaiveDate, Weekday};

/// A rule ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recurrence {
    every: Every,
    interval: i64,
    start: NaiveDate,
    /// Inclusive; of `UNTIL`, or where `COUNT` is used up.
    until: Option<NaiveDate>,
    months: Vec<u32>,
    /// Negative ones count from the month's end.
    month_days: Vec<i32>,
    /// With an ordinal: only the so-many-th of the month or year; negative ones count from its end.
    days: Vec<(Option<i32>, Weekday)>,
    positions: Vec<i32>,
    week_start: Weekday,
    /// What ordinals of weekdays count in.
    ordinals_in_year: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    Day,
    Week,
    Month,
    Year,
}

/// Why a recurrence rule was refused: what was found, what was expected, the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    #[error("`{0}` is no part of a rule; write parts such as FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25")]
    Part(String),
    #[error("{0} is missing; write FREQ=DAILY, WEEKLY, MONTHLY or YEARLY first")]
    Missing(&'static str),
    #[error("{0} stands there twice; write a list such as BYMONTH=6,12 instead")]
    Twice(String),
    #[error("{part}={found} is not valid, expected {expected}")]
    Value {
        part: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("{part} is not supported: {cure}")]
    Unsupported { part: String, cure: &'static str },
    #[error("{0} and {1} cannot stand together; write one of the two")]
    Together(&'static str, &'static str),
}

use RecurrenceError::{Missing, Part, Together, Twice, Unsupported, Value};

/// No rule goes on longer; schedules end there too.
fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2100, 12, 31).expect("a day")
}

impl Recurrence {
    /// # Errors
    /// When the text is no rule, or has parts that are about times of day or numbers of weeks.
    pub(super) fn new(rule: &CalendarRule) -> Result<Self, RecurrenceError> {
        let text = rule.rrule.trim().to_ascii_uppercase();
        let text = text.strip_prefix("RRULE:").unwrap_or(&text);
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for part in text.split(';').filter(|it| !it.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| Part(part.to_owned()))?;
            if parts.iter().any(|(it, _)| *it == name) {
                return Err(Twice(name.to_owned()));
            }
            parts.push((name, value));
        }
        let frequency = parts.iter().find(|(name, _)| *name == "FREQ");
        let (_, frequency) = frequency.ok_or(Missing("FREQ"))?;
        let every = match *frequency {
            "DAILY" => Every::Day,
            "WEEKLY" => Every::Week,
            "MONTHLY" => Every::Month,
            "YEARLY" => Every::Year,
            "HOURLY" | "MINUTELY" | "SECONDLY" => {
                return Err(Unsupported {
                    part: format!("FREQ={frequency}"),
                    cure: "a calendar is about whole days; write DAILY, WEEKLY, MONTHLY or YEARLY",
                });
            }
            other => {
                return Err(Value {
                    part: "FREQ",
                    found: other.to_owned(),
                    expected: "DAILY, WEEKLY, MONTHLY or YEARLY",
                });
            }
        };
        let mut it = Self {
            every,
            interval: 1,
            start: rule.start,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Mon,
            ordinals_in_year: false,
        };
        let mut count = None;
        for (name, value) in parts {
            match name {
                "FREQ" => {}
                "INTERVAL" => it.interval = one("INTERVAL", value, 1..=1_000, "1 to 1000")?,
                "COUNT" => count = Some(one("COUNT", value, 1..=100_000, "1 to 100000")?),
                "UNTIL" => it.until = Some(until(value)?),
                "BYMONTH" => it.months = list("BYMONTH", value, 1..=12, "months 1 to 12")?,
                "BYMONTHDAY" => {
                    it.month_days =
                        list("BYMONTHDAY", value, -31..=31, "days 1 to 31 or -1 to -31")?;
                }
                "BYDAY" => it.days = value.split(',').map(weekday).collect::<Result<_, _>>()?,
                "BYSETPOS" => {
                    it.positions = list(
                        "BYSETPOS",
                        value,
                        -366..=366,
                        "places 1 to 366 or -1 to -366",
                    )?;
                }
                "WKST" => it.week_start = weekday_of("WKST", value)?,
                "BYYEARDAY" | "BYWEEKNO" => {
                    return Err(Unsupported {
                        part: name.to_owned(),
                        cure: "write BYMONTH and BYMONTHDAY, or list the dates",
                    });
                }
                "BYHOUR" | "BYMINUTE" | "BYSECOND" => {
                    return Err(Unsupported {
                        part: name.to_owned(),
                        cure: "a calendar is about whole days; leave it out",
                    });
                }
                "RSCALE" | "SKIP" => {
                    return Err(Unsupported {
                        part: name.to_owned(),
                        cure: "list the dates of other calendars, or import them as ICS",
                    });
                }
                other => return Err(Part(other.to_owned())),
            }
        }
        if count.is_some() && it.until.is_some() {
            return Err(Together("COUNT", "UNTIL"));
        }
        it.check()?;
        it.fill();
        if let Some(count) = count {
            let last = it.all_days().nth(count as usize - 1);
            it.until = Some(last.unwrap_or_else(last_day));
        }
        Ok(it)
    }

    fn check(&self) -> Result<(), RecurrenceError> {
        if self.every == Every::Week && !self.month_days.is_empty() {
            return Err(Together("FREQ=WEEKLY", "BYMONTHDAY"));
        }
        let ordinal = self.days.iter().any(|(ordinal, _)| ordinal.is_some());
        match self.every {
            Every::Day if ordinal => Err(Together("FREQ=DAILY", "BYDAY with a number")),
            Every::Week if ordinal => Err(Together("FREQ=WEEKLY", "BYDAY with a number")),
            _ if !self.positions.is_empty()
                && self.months.is_empty()
                && self.month_days.is_empty()
                && self.days.is_empty() =>
            {
                Err(Value {
                    part: "BYSETPOS",
                    found: format!("{:?}", self.positions),
                    expected: "another part besides it, such as BYDAY",
                })
            }
            _ => Ok(()),
        }
    }

    /// What is not said follows from the first day.
    fn fill(&mut self) {
        self.ordinals_in_year = self.every == Every::Year && self.months.is_empty();
        match self.every {
            Every::Year | Every::Month if self.days.is_empty() && self.month_days.is_empty() => {
                if self.every == Every::Year && self.months.is_empty() {
                    self.months = vec![self.start.month()];
                }
                self.month_days = vec![self.start.day() as i32];
            }
            Every::Week if self.days.is_empty() => self.days = vec![(None, self.start.weekday())],
            _ => {}
        }
    }

    pub(super) fn contains(&self, day: NaiveDate) -> bool {
        if day < self.start || self.until.is_some_and(|until| day > until) || !self.fits(day) {
            return false;
        }
        let (first, last, number) = self.period(day);
        let (_, _, began) = self.period(self.start);
        if (number - began) % self.interval != 0 {
            return false;
        }
        if self.positions.is_empty() {
            return true;
        }
        let set: Vec<NaiveDate> = first
            .iter_days()
            .take_while(|it| *it <= last)
            .filter(|it| self.fits(*it))
            .collect();
        self.positions.iter().any(|&position| {
            let place = match position {
                1.. => position as usize - 1,
                _ => match set.len().checked_sub(position.unsigned_abs() as usize) {
                    Some(place) => place,
                    None => return false,
                },
            };
            set.get(place) == Some(&day)
        })
    }

    /// All its days up to the last one there is.
    fn all_days(&self) -> impl Iterator<Item = NaiveDate> + '_ {
        let days = self.start.iter_days().take_while(|it| *it <= last_day());
        days.filter(|it| self.contains(*it))
    }

    /// The day's own features, apart from interval and place.
    fn fits(&self, day: NaiveDate) -> bool {
        let months = self.months.is_empty() || self.months.contains(&day.month());
        let (number, length) = (day.day() as i32, days_in_month(day));
        let month_days = self.month_days.is_empty()
            || (self.month_days.iter())
                .any(|&it| it == number || (it < 0 && length + it + 1 == number));
        months && month_days && (self.days.is_empty() || self.fits_weekday(day))
    }

    fn fits_weekday(&self, day: NaiveDate) -> bool {
        let (number, length) = match self.ordinals_in_year {
            true => (day.ordinal() as i32, days_in_year(day)),
            false => (day.day() as i32, days_in_month(day)),
        };
        let (from_start, from_end) = ((number - 1) / 7 + 1, -((length - number) / 7 + 1));
        let mut days = self.days.iter();
        days.any(|(ordinal, weekday)| {
            *weekday == day.weekday() && ordinal.is_none_or(|it| it == from_start || it == from_end)
        })
    }

    /// The first and the last day of the period that a day is in, and the period's number.
    fn period(&self, day: NaiveDate) -> (NaiveDate, NaiveDate, i64) {
        let (year, month) = (i64::from(day.year()), i64::from(day.month0()));
        let back = |days: u32| day - Days::new(u64::from(days));
        match self.every {
            Every::Day => (day, day, i64::from(day.num_days_from_ce())),
            Every::Week => {
                let first = back(day.weekday().days_since(self.week_start));
                let number = i64::from(first.num_days_from_ce()).div_euclid(7);
                (first, first + Days::new(6), number)
            }
            Every::Month => {
                let first = back(day.day0());
                let last = first + Days::new(days_in_month(day) as u64 - 1);
                (first, last, year * 12 + month)
            }
            Every::Year => {
                let first = back(day.ordinal0());
                let last = first + Days::new(days_in_year(day) as u64 - 1);
                (first, last, year)
            }
        }
    }
}

fn days_in_month(day: NaiveDate) -> i32 {
    i32::from(day.num_days_in_month())
}

fn days_in_year(day: NaiveDate) -> i32 {
    if day.leap_year() { 366 } else { 365 }
}

fn one(
    part: &'static str,
    value: &str,
    range: std::ops::RangeInclusive<i64>,
    expected: &'static str,
) -> Result<i64, RecurrenceError> {
    let number = value.parse().ok().filter(|it| range.contains(it));
    number.ok_or_else(|| Value {
        part,
        found: value.to_owned(),
        expected,
    })
}

/// Numbers of a list, none of them 0.
fn list<T: TryFrom<i64>>(
    part: &'static str,
    value: &str,
    range: std::ops::RangeInclusive<i64>,
    expected: &'static str,
) -> Result<Vec<T>, RecurrenceError> {
    let wrong = |found: &str| Value {
        part,
        found: found.to_owned(),
        expected,
    };
    let read = |text: &str| {
        let number = one(part, text, range.clone(), expected)?;
        let number = Some(number).filter(|it| *it != 0);
        number
            .and_then(|it| T::try_from(it).ok())
            .ok_or_else(|| wrong(text))
    };
    value.split(',').map(read).collect()
}

/// `MO`, `1MO`, `-1FR`.
fn weekday(text: &str) -> Result<(Option<i32>, Weekday), RecurrenceError> {
    let split = text
        .len()
        .checked_sub(2)
        .filter(|it| text.is_char_boundary(*it));
    let (ordinal, name) = text.split_at(split.unwrap_or(0));
    let day = weekday_of("BYDAY", name)?;
    if ordinal.is_empty() {
        return Ok((None, day));
    }
    let number = one(
        "BYDAY",
        ordinal,
        -53..=53,
        "1 to 53 or -1 to -53 before the day",
    )?;
    match number {
        0 => Err(Value {
            part: "BYDAY",
            found: text.to_owned(),
            expected: "1 to 53 or -1 to -53 before the day",
        }),
        _ => Ok((Some(number as i32), day)),
    }
}

fn weekday_of(part: &'static str, text: &str) -> Result<Weekday, RecurrenceError> {
    Ok(match text {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => {
            return Err(Value {
                part,
                found: text.to_owned(),
                expected: "MO, TU, WE, TH, FR, SA or SU",
            });
        }
    })
}

/// `20301231` or `20301231T235959Z`, of which the day counts.
fn until(value: &str) -> Result<NaiveDate, RecurrenceError> {
    let day = value.split('T').next().unwrap_or_default();
    NaiveDate::parse_from_str(day, "%Y%m%d").map_err(|_| Value {
        part: "UNTIL",
        found: value.to_owned(),
        expected: "a day such as 20301231",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rrule: &str, start: &str) -> CalendarRule {
        CalendarRule {
            rrule: rrule.to_owned(),
            start: start.parse().expect("a date"),
            note: String::new(),
        }
    }

    fn first(rrule: &str, start: &str, count: usize) -> String {
        let rule = Recurrence::new(&rule(rrule, start)).expect("valid");
        let days: Vec<String> = rule
            .all_days()
            .take(count)
            .map(|it| it.to_string())
            .collect();
        days.join(" ")
    }

    /// The examples of RFC 5545, section 3.8.5.3, as far as they are about days.
    #[test]
    fn the_examples_of_the_standard() {
        let cases = [
            (
                "FREQ=DAILY;INTERVAL=10;COUNT=5",
                "1997-09-02",
                "1997-09-02 1997-09-12 1997-09-22 1997-10-02 1997-10-12",
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
                "1997-09-01",
                "1997-09-01 1997-09-03 1997-09-05 1997-09-15",
            ),
            (
                "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
                "1997-09-05",
                "1997-09-05 1997-10-03 1997-11-07 1997-12-05",
            ),
            (
                "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
                "1997-09-07",
                "1997-09-07 1997-09-28 1997-11-02 1997-11-30",
            ),
            (
                "FREQ=MONTHLY;BYMONTHDAY=-3",
                "1997-09-28",
                "1997-09-28 1997-10-29 1997-11-28 1997-12-29",
            ),
            (
                "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
                "1997-09-02",
                "1998-02-13 1998-03-13 1998-11-13 1999-08-13",
            ),
            (
                "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
                "1997-09-04",
                "1997-09-04 1997-10-07 1997-11-06",
            ),
            (
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
                "1997-09-29",
                "1997-09-29 1997-10-30 1997-11-27 1997-12-30",
            ),
            (
                "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
                "1997-06-10",
                "1997-06-10 1997-07-10 1998-06-10 1998-07-10",
            ),
            (
                "FREQ=YEARLY;BYDAY=20MO",
                "1997-05-19",
                "1997-05-19 1998-05-18 1999-05-17",
            ),
            (
                "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
                "1997-03-13",
                "1997-03-13 1997-03-20 1997-03-27 1998-03-05",
            ),
            (
                "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
                "1996-11-05",
                "1996-11-05 2000-11-07 2004-11-02",
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
                "1997-08-05",
                "1997-08-05 1997-08-10 1997-08-19 1997-08-24",
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
                "1997-08-05",
                "1997-08-05 1997-08-17 1997-08-19 1997-08-31",
            ),
            (
                "FREQ=YEARLY",
                "2024-02-29",
                "2024-02-29 2028-02-29 2032-02-29",
            ),
        ];
        for (rrule, start, days) in cases {
            assert_eq!(
                first(rrule, start, days.split(' ').count()),
                days,
                "{rrule}"
            );
        }
        assert_eq!(
            first("FREQ=DAILY;COUNT=2", "2026-01-01", 9),
            "2026-01-01 2026-01-02"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_with_the_cure() {
        let cases = [
            (
                "",
                "FREQ is missing; write FREQ=DAILY, WEEKLY, MONTHLY or YEARLY first",
            ),
            (
                "BYMONTH=1",
                "FREQ is missing; write FREQ=DAILY, WEEKLY, MONTHLY or YEARLY first",
            ),
            (
                "FREQ=YEARLY;BYMONTH=13",
                "BYMONTH=13 is not valid, expected months 1 to 12",
            ),
            (
                "FREQ=YEARLY;BYMONTHDAY=0",
                "BYMONTHDAY=0 is not valid, expected days 1 to 31 or -1 to -31",
            ),
            (
                "FREQ=YEARLY;BYDAY=XX",
                "BYDAY=XX is not valid, expected MO, TU, WE, TH, FR, SA or SU",
            ),
            (
                "FREQ=YEARLY;BYDAY=é",
                "BYDAY=é is not valid, expected MO, TU, WE, TH, FR, SA or SU",
            ),
            (
                "FREQ=DAILY;BYDAY=1MO",
                "FREQ=DAILY and BYDAY with a number cannot stand together; write one of the two",
            ),
            (
                "FREQ=YEARLY;BYWEEKNO=20",
                "BYWEEKNO is not supported: write BYMONTH and BYMONTHDAY, or list the dates",
            ),
            (
                "FREQ=DAILY;BYHOUR=9",
                "BYHOUR is not supported: a calendar is about whole days; leave it out",
            ),
            (
                "FREQ=DAILY;COUNT=3;UNTIL=20300101",
                "COUNT and UNTIL cannot stand together; write one of the two",
            ),
            (
                "FREQ=DAILY;UNTIL=tomorrow",
                "UNTIL=TOMORROW is not valid, expected a day such as 20301231",
            ),
            (
                "FREQ=DAILY;FREQ=DAILY",
                "FREQ stands there twice; write a list such as BYMONTH=6,12 instead",
            ),
            (
                "easter",
                "`EASTER` is no part of a rule; write parts such as FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25",
            ),
            (
                "FREQ=YEARLY;X=1",
                "`X` is no part of a rule; write parts such as FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25",
            ),
        ];
        for (rrule, message) in cases {
            let error = Recurrence::new(&rule(rrule, "2026-01-01")).expect_err(rrule);
            assert_eq!(error.to_string(), message);
        }
    }
}
