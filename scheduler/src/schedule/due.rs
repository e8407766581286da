//! The schedule itself: when is a flow due?

use super::cron_text::CronText;
use super::describe::describe;
use super::error::ScheduleError;
use super::resolve::{Meaning, Pass, meaning_of, repeated_at, wall_at};
use super::walls::Walls;
use super::zone::parse_time_zone;
use crate::calendar::ClosedDays;
use crate::spec::Roll;
use crate::time::{Span, Timestamp};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// When a flow is due, as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// By the wall clock of a time zone: five fields as in Unix, six as in EventBridge or Quartz,
    /// seven as in Quartz, or a name such as `@daily`. `?` in the third or fifth of six fields
    /// marks EventBridge; see `docs/flow-files.md`.
    Cron { text: String },
    /// At every multiple of the period since the Unix epoch, UTC: `15m` is due at :00, :15, :30
    /// and :45, `1d` at midnight UTC. Neither time zones nor clock changes matter.
    Every { period: Span },
}

/// What becomes of a time that a clock change skips, such as 02:30 in spring.
///
/// This is about schedules with fixed hours. One whose hour is `*` or a step over the whole day
/// (`*/2`) counts elapsed time; it goes on after the gap and nothing is made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// It is due at the first instant after the gap. Several skipped times become one.
    #[default]
    Shift,
    /// It is not due that day.
    Skip,
}

/// Which of two equal wall-clock times counts when the clock goes back over it in autumn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    First,
    Second,
    Both,
}

/// A schedule ready to be asked.
///
/// Occurrences are whole seconds from 1970 to 2100. Asking costs microseconds: nothing is parsed.
///
/// ```
/// use dalsegno_scheduler::Timestamp;
/// use dalsegno_scheduler::schedule::{Gap, Schedule, When};
///
/// let when = When::Cron { text: "0 6 * * MON-FRI".to_owned() };
/// let schedule = Schedule::new(&when, "Europe/Berlin", Gap::Shift, None)?;
/// let friday = Timestamp::parse_rfc3339("2026-11-20T06:00:00+01:00").unwrap();
/// let monday = schedule.next_after(friday).unwrap();
/// assert_eq!(monday.to_string(), "2026-11-23T05:00:00Z");
/// assert_eq!(schedule.describe(), "at 06:00, Monday to Friday (Europe/Berlin)");
/// # Ok::<(), dalsegno_scheduler::schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(super) rule: Rule,
    pub(super) zone: Tz,
    description: String,
    daily_or_slower: bool,
    /// Seconds since midnight, of cron texts with one wall-clock time a day.
    pub(super) time_of_day: Option<i64>,
    pub(super) calendar: Option<(ClosedDays, Roll)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Cron {
        walls: Box<Walls>,
        /// The hour is `*` or a step over the whole day: it counts elapsed time.
        hours_roll: bool,
        gap: Gap,
        overlap: Overlap,
    },
    Every {
        period: Span,
    },
}

/// Beyond these no cron text has occurrences; within them no calendar arithmetic overflows.
const FIRST_SECOND: i64 = -2 * 86_400;
const LAST_SECOND: i64 = 4_134_067_200;

const DAY: Span = Span::from_mins(24 * 60);

impl Schedule {
    /// Checks and compiles a schedule for an IANA time zone.
    ///
    /// Without `overlap`, schedules with fixed hours are due once (`first`), and those whose hour
    /// is `*` or a step over the whole day (`*/2`) are due in both of the repeated hours.
    ///
    /// # Errors
    /// When the cron text, the period or the name of the zone is not valid. A day that never
    /// comes, such as 30 February, is no error: such a schedule has no occurrence.
    pub fn new(
        when: &When,
        timezone: &str,
        gap: Gap,
        overlap: Option<Overlap>,
    ) -> Result<Self, ScheduleError> {
        let zone = parse_time_zone(timezone)?;
        match when {
            When::Cron { text } => {
                let cron = CronText::parse(text)?;
                let once = |field: &std::collections::BTreeSet<u32>| match field.len() {
                    1 => field.first().map(|it| i64::from(*it)),
                    _ => None,
                };
                let time_of_day = once(&cron.hours)
                    .zip(once(&cron.minutes))
                    .zip(once(&cron.seconds))
                    .map(|((hour, minute), second)| (hour * 60 + minute) * 60 + second);
                let sentence = describe(&cron).unwrap_or_else(|| format!("cron {}", text.trim()));
                let (usual_gap, usual_overlap) = match cron.hours_roll {
                    true => (Gap::Skip, Overlap::Both),
                    false => (gap, Overlap::First),
                };
                Ok(Self {
                    rule: Rule::Cron {
                        hours_roll: cron.hours_roll,
                        walls: Box::new(cron.compile()),
                        gap: usual_gap,
                        overlap: overlap.unwrap_or(usual_overlap),
                    },
                    zone,
                    description: format!("{sentence} ({zone})"),
                    daily_or_slower: time_of_day.is_some(),
                    time_of_day,
                    calendar: None,
                })
            }
            When::Every { period } => {
                check_period(*period)?;
                Ok(Self {
                    rule: Rule::Every { period: *period },
                    zone,
                    description: format!("every {period}"),
                    daily_or_slower: *period >= DAY,
                    time_of_day: None,
                    calendar: None,
                })
            }
        }
    }

    /// The first occurrence strictly after `after`; `None` when there is none up to the year 2100.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every { period } => {
                let periods = after.0.div_euclid(period.0).checked_add(1)?;
                periods.checked_mul(period.0).map(Timestamp)
            }
            Rule::Cron { .. } => {
                let after = after.0.div_euclid(1_000_000);
                if after >= LAST_SECOND {
                    return None;
                }
                self.cron_after(after.max(FIRST_SECOND))
                    .map(Timestamp::from_secs)
            }
        }
    }

    /// The last occurrence strictly before `at`: where the data interval begins that ends at `at`.
    pub fn previous_before(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every { period } => {
                let periods = at.0.checked_sub(1)?.div_euclid(period.0);
                periods.checked_mul(period.0).map(Timestamp)
            }
            Rule::Cron { .. } => {
                let at = -(-at.0.max(i64::MIN + 1)).div_euclid(1_000_000);
                if at <= FIRST_SECOND {
                    return None;
                }
                self.cron_before(at.min(LAST_SECOND))
                    .map(Timestamp::from_secs)
            }
        }
    }

    /// All occurrences after `after` up to and including `until`, in order, each once.
    pub fn between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
            .take_while(move |at| *at <= until)
    }

    /// The zone whose wall clock counts.
    pub fn timezone(&self) -> Tz {
        self.zone
    }

    /// Whether there is at most one wall-clock time a day, so that a date names an occurrence.
    pub fn is_daily_or_slower(&self) -> bool {
        self.daily_or_slower
    }

    /// A sentence such as `at 06:00, Monday to Friday (Europe/Berlin)`, else the cron text itself.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Taken for the first pass alone, or for the second pass alone, wall times never go back;
    /// so each pass is walked by itself and the nearer answer wins.
    fn cron_after(&self, after: i64) -> Option<i64> {
        let Rule::Cron {
            walls,
            gap,
            overlap,
            ..
        } = &self.rule
        else {
            return None;
        };
        let repeated = repeated_at(self.zone, after);
        let pass_after = |pass: Pass| {
            let mut wall = match (&repeated, pass) {
                // In the second pass the first one is over; what it repeats is past.
                (Some(now), Pass::First) if now.pass == Pass::Second => now.walls.end - 1,
                // In the first pass all of the second one is still to come.
                (Some(now), Pass::Second) if now.pass == Pass::First => now.walls.start - 1,
                _ => wall_at(self.zone, after),
            };
            loop {
                wall = walls.next(wall)?;
                match meaning_of(self.zone, wall) {
                    Meaning::Once(at) => return Some(at),
                    Meaning::Twice { first, second } => return Some(pick(pass, first, second)),
                    Meaning::Never { resumes, .. } if *gap == Gap::Shift => return Some(resumes),
                    Meaning::Never { walls, .. } => wall = walls.end - 1,
                }
            }
        };
        match overlap {
            Overlap::First => pass_after(Pass::First),
            Overlap::Second => pass_after(Pass::Second),
            Overlap::Both if repeated.is_none() => pass_after(Pass::First),
            Overlap::Both => [pass_after(Pass::First), pass_after(Pass::Second)]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// The mirror of [`Self::cron_after`].
    fn cron_before(&self, at: i64) -> Option<i64> {
        let Rule::Cron {
            walls,
            gap,
            overlap,
            ..
        } = &self.rule
        else {
            return None;
        };
        let repeated = repeated_at(self.zone, at);
        let pass_before = |pass: Pass| {
            let mut wall = match (&repeated, pass) {
                (Some(now), Pass::First) if now.pass == Pass::Second => now.walls.end,
                (Some(now), Pass::Second) if now.pass == Pass::First => now.walls.start,
                _ => wall_at(self.zone, at),
            };
            loop {
                wall = walls.previous(wall)?;
                match meaning_of(self.zone, wall) {
                    Meaning::Once(found) => return Some(found),
                    Meaning::Twice { first, second } => return Some(pick(pass, first, second)),
                    Meaning::Never { resumes, .. } if *gap == Gap::Shift && resumes < at => {
                        return Some(resumes);
                    }
                    Meaning::Never { walls, .. } => wall = walls.start,
                }
            }
        };
        match overlap {
            Overlap::First => pass_before(Pass::First),
            Overlap::Second => pass_before(Pass::Second),
            Overlap::Both if repeated.is_none() => pass_before(Pass::Second),
            Overlap::Both => pass_before(Pass::First).max(pass_before(Pass::Second)),
        }
    }
}

fn pick(pass: Pass, first: i64, second: i64) -> i64 {
    match pass {
        Pass::First => first,
        Pass::Second => second,
    }
}

fn check_period(period: Span) -> Result<(), ScheduleError> {
    let (expected, cure) = match period.as_micros() {
        ..1_000_000 => (
            "at least 1s",
            "for work without a pause let a flow trigger itself when it ends",
        ),
        micros if micros % 1_000_000 != 0 => ("whole seconds", "round the period"),
        micros if micros > 3_660 * DAY.as_micros() => {
            ("at most ten years", "choose a shorter period")
        }
        _ => return Ok(()),
    };
    Err(ScheduleError::Period {
        period,
        expected,
        cure,
    })
}
