//! The wall-clock times of a cron text, in order, in both directions.
//!
//! A wall time is what a clock on the wall shows, written as seconds since 1970-01-01 00:00 on
//! that clock. No zone is involved here; the `cron` crate sees these times as UTC.

use super::days::{DayRule, days_in_month};
use chrono::{DateTime, Datelike, NaiveDate, Utc};

/// Compiled cron fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walls {
    pub(super) cron: cron::Schedule,
    /// The years, in order, when not every year is due.
    pub(super) years: Option<Vec<i32>>,
    /// Days that only the calendar knows; the days in `cron` are then `*`.
    pub(super) days: Option<Vec<DayRule>>,
}

impl Walls {
    /// The first wall time after `wall`.
    pub(super) fn next(&self, wall: i64) -> Option<i64> {
        let mut from = DateTime::from_timestamp(wall, 0)?;
        loop {
            let found = self.cron.after(&from).next()?;
            let Some(days) = self.days_of(found) else {
                return Some(found.timestamp());
            };
            if days & (1 << found.day()) != 0 {
                return Some(found.timestamp());
            }
            let later = days & (u32::MAX << found.day());
            let day = match later {
                0 => first_of_next_month(found)?,
                _ => found.date_naive().with_day(later.trailing_zeros())?,
            };
            from = midnight(day) - chrono::Duration::seconds(1);
        }
    }

    /// The last wall time before `wall`.
    pub(super) fn previous(&self, wall: i64) -> Option<i64> {
        let mut from = DateTime::from_timestamp(wall, 0)?;
        loop {
            let found = self.cron.after(&self.end_of_due_year(from)?).next_back()?;
            let Some(days) = self.days_of(found) else {
                return Some(found.timestamp());
            };
            if days & (1 << found.day()) != 0 {
                return Some(found.timestamp());
            }
            let earlier = days & !(u32::MAX << found.day());
            // Exclusive: the midnight that ends the day wanted.
            let day = match earlier {
                0 => found.date_naive().with_day(1)?,
                _ => found.date_naive().with_day(32 - earlier.leading_zeros())?,
            };
            from = midnight(day);
        }
    }

    fn days_of(&self, at: DateTime<Utc>) -> Option<u32> {
        let rules = self.days.as_ref()?;
        Some(days_in_month(rules, at.year(), at.month()))
    }

    /// The `cron` crate walks back only within years that are due, so a time in another year
    /// moves to the end of the last due year before it.
    fn end_of_due_year(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(years) = &self.years else {
            return Some(from);
        };
        let year = *years.iter().rev().find(|year| **year <= from.year())?;
        if year == from.year() {
            return Some(from);
        }
        Some(midnight(NaiveDate::from_ymd_opt(year + 1, 1, 1)?))
    }
}

fn first_of_next_month(at: DateTime<Utc>) -> Option<NaiveDate> {
    let (year, month) = match at.month() {
        12 => (at.year() + 1, 1),
        month => (at.year(), month + 1),
    };
    NaiveDate::from_ymd_opt(year, month, 1)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}
