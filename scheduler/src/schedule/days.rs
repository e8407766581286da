//! Days that the calendar decides: the last one, the nearest weekday, the second Friday.

use chrono::{Datelike, NaiveDate};

/// One way to name days of a month. Weekdays count from Sunday = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DayRule {
    /// `15`: this date, in months that have it.
    Date(u32),
    /// `L` and `L-2`: so many days before the last day.
    BeforeLast(u32),
    /// `15W`: the weekday (Monday to Friday) nearest to this date, without leaving the month.
    NearestWorkday(u32),
    /// `LW`: the last weekday (Monday to Friday) of the month.
    LastWorkday,
    /// `MON`: every such day.
    Weekday(u32),
    /// `FRI#2`: the second Friday.
    NthWeekday { weekday: u32, nth: u32 },
    /// `FRIL`: the last Friday.
    LastWeekday(u32),
}

/// The days of a month that any of `rules` names: bit `n` is day `n`.
pub(super) fn days_in_month(rules: &[DayRule], year: i32, month: u32) -> u32 {
    let Some(month) = Month::new(year, month) else {
        return 0;
    };
    rules
        .iter()
        .fold(0, |days, rule| days | month.days_of(*rule))
}

struct Month {
    days: u32,
    /// Weekday of day 1, from Sunday = 0.
    first_weekday: u32,
}

impl Month {
    fn new(year: i32, month: u32) -> Option<Self> {
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        Some(Self {
            days: u32::from(first.num_days_in_month()),
            first_weekday: first.weekday().num_days_from_sunday(),
        })
    }

    fn days_of(&self, rule: DayRule) -> u32 {
        match rule {
            DayRule::Date(day) => self.bit(day),
            DayRule::BeforeLast(days) => self.days.checked_sub(days).map_or(0, |day| self.bit(day)),
            DayRule::NearestWorkday(day) if day > self.days => 0,
            DayRule::NearestWorkday(day) => self.bit(self.nearest_workday(day)),
            DayRule::LastWorkday => self.bit(self.nearest_workday(self.days)),
            DayRule::Weekday(weekday) => (1..=5)
                .map(|nth| self.bit(self.nth(weekday, nth)))
                .fold(0, |days, day| days | day),
            DayRule::NthWeekday { weekday, nth } => self.bit(self.nth(weekday, nth)),
            DayRule::LastWeekday(weekday) => {
                let fifth = self.nth(weekday, 5);
                self.bit(if fifth <= self.days { fifth } else { fifth - 7 })
            }
        }
    }

    fn bit(&self, day: u32) -> u32 {
        if (1..=self.days).contains(&day) {
            1 << day
        } else {
            0
        }
    }

    fn weekday(&self, day: u32) -> u32 {
        (self.first_weekday + day - 1) % 7
    }

    /// May lie past the end of the month.
    fn nth(&self, weekday: u32, nth: u32) -> u32 {
        (weekday + 7 - self.first_weekday) % 7 + 1 + 7 * (nth - 1)
    }

    fn nearest_workday(&self, day: u32) -> u32 {
        match self.weekday(day) {
            0 if day == self.days => day - 2,
            0 => day + 1,
            6 if day == 1 => day + 2,
            6 => day - 1,
            _ => day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(rule: DayRule, year: i32, month: u32) -> Vec<u32> {
        let mask = days_in_month(&[rule], year, month);
        (0..32).filter(|day| mask & (1 << day) != 0).collect()
    }

    #[test]
    fn calendar_days_are_those_of_the_month() {
        // August 2026 begins on a Saturday and ends on a Monday; May 2026 ends on a Sunday.
        assert!(days(DayRule::Date(31), 2026, 4).is_empty());
        assert_eq!(days(DayRule::BeforeLast(0), 2028, 2), [29]);
        assert_eq!(days(DayRule::BeforeLast(2), 2026, 4), [28]);
        assert!(days(DayRule::BeforeLast(30), 2026, 4).is_empty());
        assert_eq!(days(DayRule::NearestWorkday(1), 2026, 8), [3]);
        assert_eq!(days(DayRule::NearestWorkday(15), 2026, 8), [14]);
        assert_eq!(days(DayRule::NearestWorkday(16), 2026, 8), [17]);
        assert_eq!(days(DayRule::NearestWorkday(31), 2026, 5), [29]);
        assert!(days(DayRule::NearestWorkday(31), 2026, 4).is_empty());
        assert_eq!(days(DayRule::LastWorkday, 2026, 5), [29]);
        assert_eq!(days(DayRule::Weekday(6), 2026, 8), [1, 8, 15, 22, 29]);
        assert_eq!(days(DayRule::Weekday(5), 2026, 8), [7, 14, 21, 28]);
        let fifth = |weekday| DayRule::NthWeekday { weekday, nth: 5 };
        assert_eq!(days(fifth(6), 2026, 8), [29]);
        assert!(days(fifth(5), 2026, 8).is_empty());
        assert_eq!(days(DayRule::LastWeekday(5), 2026, 8), [28]);
        assert_eq!(days(DayRule::LastWeekday(1), 2026, 8), [31]);
    }
}
