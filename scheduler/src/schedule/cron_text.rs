//! Reading cron texts: which dialect a text is in, and what its fields say.
//!
//! The number of fields and the place of `?` decide the dialect, with no text left in doubt:
//!
//! | Fields | Read as | Weekdays |
//! |---|---|---|
//! | five | Unix: `minute hour day month weekday`; if both day fields are restricted, either is enough | 0 = SUN … 6 = SAT, 7 = SUN |
//! | six, `?` third or fifth | EventBridge: `minute hour day month weekday year` | 1 = SUN … 7 = SAT |
//! | six, otherwise | Quartz: `second minute hour day month weekday` | 1 = SUN … 7 = SAT |
//! | seven | Quartz: `second minute hour day month weekday year` | 1 = SUN … 7 = SAT |
//!
//! EventBridge itself refuses a text without `?`, so no text that works there is taken for Quartz.
//! Also read: EventBridge's `cron(…)` around six fields, and `@hourly`, `@daily`, `@midnight`,
//! `@weekly`, `@monthly`, `@yearly`, `@annually`.

use super::day_items::{day_of_month, day_of_week};
use super::days::DayRule;
use super::error::ScheduleError;
use super::field::{Kind, Wrong};
use super::walls::Walls;
use super::zone::shorten;
use std::collections::BTreeSet;

const MAX_LENGTH: usize = 256;
/// What the `cron` crate knows.
const YEARS: (u32, u32) = (1970, 2100);

/// A cron text, understood.
#[derive(Debug)]
pub(super) struct CronText {
    pub(super) seconds: BTreeSet<u32>,
    pub(super) minutes: BTreeSet<u32>,
    pub(super) hours: BTreeSet<u32>,
    /// The hour is `*` or a step over the whole day: the author thinks in elapsed time.
    pub(super) hours_roll: bool,
    /// `None` is every month, every year, any day.
    pub(super) months: Option<BTreeSet<u32>>,
    pub(super) years: Option<BTreeSet<u32>>,
    pub(super) days_of_month: Option<Vec<DayRule>>,
    pub(super) days_of_week: Option<Vec<DayRule>>,
}

impl CronText {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(ScheduleError::TooLong {
                length,
                max: MAX_LENGTH,
            });
        }
        let bare = text.trim();
        let bare = match bare.strip_prefix("cron(") {
            Some(inner) => inner.strip_suffix(')').unwrap_or(bare),
            None => bare,
        };
        let expanded = if bare.starts_with('@') {
            named(text, bare)?
        } else {
            bare
        };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        Reader { text }.read(&fields)
    }

    /// The same as the `cron` crate takes it, with calendar days set apart.
    pub(super) fn compile(&self) -> Walls {
        let list = |numbers: &BTreeSet<u32>| join(numbers.iter().copied());
        let any =
            |numbers: &Option<BTreeSet<u32>>| numbers.as_ref().map_or_else(|| "*".into(), list);
        let (mut day_of_month, mut day_of_week, mut days) = ("*".into(), "*".into(), None);
        match (&self.days_of_month, &self.days_of_week) {
            (None, None) => {}
            (Some(rules), None) => match plain(rules, |rule| match rule {
                DayRule::Date(day) => Some(day),
                _ => None,
            }) {
                Some(list) => day_of_month = list,
                None => days = Some(rules.clone()),
            },
            (None, Some(rules)) => match plain(rules, |rule| match rule {
                DayRule::Weekday(weekday) => Some(weekday + 1),
                _ => None,
            }) {
                Some(list) => day_of_week = list,
                None => days = Some(rules.clone()),
            },
            (Some(dates), Some(weekdays)) => days = Some([&dates[..], weekdays].concat()),
        }
        let text = format!(
            "{} {} {} {day_of_month} {} {day_of_week} {}",
            list(&self.seconds),
            list(&self.minutes),
            list(&self.hours),
            any(&self.months),
            any(&self.years),
        );
        Walls {
            cron: text
                .parse()
                .expect("lists of numbers within their ranges are cron text"),
            years: self
                .years
                .as_ref()
                .map(|years| years.iter().map(|year| year.cast_signed()).collect()),
            days,
        }
    }
}

/// The numbers of `rules` as a list, if all of them are plain.
fn plain(rules: &[DayRule], number: impl Fn(DayRule) -> Option<u32>) -> Option<String> {
    let numbers: Option<BTreeSet<u32>> = rules.iter().map(|rule| number(*rule)).collect();
    numbers.map(|numbers| join(numbers.into_iter()))
}

fn join(numbers: impl Iterator<Item = u32>) -> String {
    numbers
        .map(|number| number.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn named(text: &str, name: &str) -> Result<&'static str, ScheduleError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * SUN",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => {
            let every = other.strip_prefix("@every ");
            return Err(ScheduleError::Cron {
                text: text.to_owned(),
                problem: format!("there is no schedule named \"{name}\""),
                cure: every.map_or_else(
                    || {
                        "use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"
                            .to_owned()
                    },
                    |period| format!("write every: {} instead of cron", period.trim()),
                ),
            });
        }
    })
}

const MINUTE: Kind = number("minute", 0, 59);
const SECOND: Kind = number("second", 0, 59);
const HOUR: Kind = number("hour", 0, 23);
const DAY: Kind = number("day of month", 1, 31);
const YEAR: Kind = number("year", YEARS.0, YEARS.1);

const MONTH: Kind = Kind {
    names: &super::describe::MONTHS,
    ..number("month", 1, 12)
};

const WEEKDAY_UNIX: Kind = Kind {
    names: &super::describe::WEEKDAYS,
    wraps: true,
    ..number("day of week", 0, 7)
};

const WEEKDAY_QUARTZ: Kind = Kind {
    names: &super::describe::WEEKDAYS,
    wraps: true,
    base: 1,
    ..number("day of week", 1, 7)
};

const fn number(name: &'static str, min: u32, max: u32) -> Kind {
    Kind {
        name,
        min,
        max,
        base: 0,
        names: &[],
        wraps: false,
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn read(&self, fields: &[&str]) -> Result<CronText, ScheduleError> {
        match *fields {
            [minute, hour, day, month, weekday] => {
                self.parts("0", minute, hour, day, month, (weekday, &WEEKDAY_UNIX), "*")
            }
            [minute, hour, day, month, weekday, year] if day == "?" || weekday == "?" => {
                self.one_question_mark(day, weekday)?;
                let weekday = (weekday, &WEEKDAY_QUARTZ);
                self.parts("0", minute, hour, day, month, weekday, year)
            }
            [second, minute, hour, day, month, weekday] => {
                self.quartz_days(day, weekday)?;
                let weekday = (weekday, &WEEKDAY_QUARTZ);
                self.parts(second, minute, hour, day, month, weekday, "*")
                    .map_err(|error| self.perhaps_event_bridge(fields, error))
            }
            [second, minute, hour, day, month, weekday, year] => {
                self.quartz_days(day, weekday)?;
                let weekday = (weekday, &WEEKDAY_QUARTZ);
                self.parts(second, minute, hour, day, month, weekday, year)
            }
            _ if self.text.trim_start().starts_with("rate(") => Err(self.refuse(
                "this is a rate, not cron",
                "write the period as every:, such as every: 5m",
            )),
            _ => Err(self.refuse(
                &format!("found {} fields, expected 5, 6 or 7", fields.len()),
                "write minute hour day month weekday, such as \"0 6 * * MON-FRI\"",
            )),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one for each field of a cron text"
    )]
    fn parts(
        &self,
        second: &str,
        minute: &str,
        hour: &str,
        day: &str,
        month: &str,
        (weekday, weekdays): (&str, &Kind),
        year: &str,
    ) -> Result<CronText, ScheduleError> {
        let some = |kind: &Kind, field: &str| match field {
            "*" => Ok(None),
            _ => self.numbers(kind, field).map(Some),
        };
        let hours = self.numbers(&HOUR, hour)?;
        Ok(CronText {
            seconds: self.numbers(&SECOND, second)?,
            minutes: self.numbers(&MINUTE, minute)?,
            hours_roll: hours.len() == 24 || (hour.contains('/') && !hour.contains(['-', ','])),
            hours,
            days_of_month: self.days(&DAY, day, day_of_month)?,
            months: some(&MONTH, month)?,
            days_of_week: self.days(weekdays, weekday, day_of_week)?,
            years: some(&YEAR, year)?,
        })
    }

    fn numbers(&self, kind: &Kind, field: &str) -> Result<BTreeSet<u32>, ScheduleError> {
        let mut numbers = BTreeSet::new();
        for item in field.split(',') {
            numbers.extend(kind.item(item).map_err(|wrong| self.field(kind, wrong))?);
        }
        Ok(numbers)
    }

    fn days(
        &self,
        kind: &Kind,
        field: &str,
        item: impl Fn(&Kind, &str) -> Result<Vec<DayRule>, Wrong>,
    ) -> Result<Option<Vec<DayRule>>, ScheduleError> {
        if field == "*" || field == "?" {
            return Ok(None);
        }
        let mut rules = Vec::new();
        for text in field.split(',') {
            rules.extend(item(kind, text).map_err(|wrong| self.field(kind, wrong))?);
        }
        Ok(Some(rules))
    }

    fn one_question_mark(&self, day: &str, weekday: &str) -> Result<(), ScheduleError> {
        if day == "?" && weekday == "?" {
            return Err(self.refuse(
                "both the day of month and the day of week are \"?\"",
                "write \"*\" for one of them",
            ));
        }
        Ok(())
    }

    fn quartz_days(&self, day: &str, weekday: &str) -> Result<(), ScheduleError> {
        self.one_question_mark(day, weekday)?;
        let any = ["*", "?"];
        if !any.contains(&day) && !any.contains(&weekday) {
            return Err(self.refuse(
                "with six or seven fields, day of month and day of week cannot both be restricted",
                "write \"?\" for one of them, or five fields, where either day is enough",
            ));
        }
        Ok(())
    }

    /// Six fields without `?` that make no sense with seconds were meant for EventBridge.
    fn perhaps_event_bridge(&self, fields: &[&str], error: ScheduleError) -> ScheduleError {
        let year = |field: &&str| field.len() == 4 && field.bytes().all(|b| b.is_ascii_digit());
        let shifted = fields.get(4).is_some_and(|field| {
            field.len() >= 3
                && field
                    .split(['-', ',', '#'])
                    .any(|day| WEEKDAY_QUARTZ.number(day).is_ok() && MONTH.number(day).is_err())
        });
        if shifted || fields.last().is_some_and(year) {
            return self.refuse(
                "six fields without \"?\" begin with the second, and so read, it is not valid",
                "if the last field is the year, as in EventBridge, write \"?\" for the day of month or the day of week",
            );
        }
        error
    }

    fn field(&self, kind: &Kind, wrong: Wrong) -> ScheduleError {
        ScheduleError::Field {
            text: self.text.to_owned(),
            field: kind.name,
            found: shorten(&wrong.found, 40),
            expected: wrong.expected,
            cure: wrong.cure,
        }
    }

    fn refuse(&self, problem: &str, cure: &str) -> ScheduleError {
        ScheduleError::Cron {
            text: self.text.to_owned(),
            problem: problem.to_owned(),
            cure: cure.to_owned(),
        }
    }
}
