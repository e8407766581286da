//! Promises about time: what a flow or step promises, and when that is due.
//!
//! Pure functions of declarations, slots and local days. What becomes of a promise in one period is a row
//! ([`crate::row::SlaRow`]); see docs/adr/0025-promises-without-runs.md.

mod check;
mod culprit;
mod said;

pub(crate) use check::promises;
pub use check::{SlaError, keys, loose};
pub use culprit::{Culprit, sentence};
pub use said::{Acknowledged, NewPrediction, Prediction};

use crate::id::{FlowName, StepName};
use crate::row::{Interval, RunRow, SlaRow};
use crate::schedule::{Schedule, Slot, first_instant_of, instants_of, local_day};
use crate::spec::TimeOfDay;
use crate::time::{Span, Timestamp};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A promise about time, as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaSpec {
    pub kind: SlaKind,
    /// The chance of a breach from which on it is at risk, in thousandths: 1 to 1000. `None`: [`AT_RISK`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<u16>,
}

/// Four in five.
pub const AT_RISK: u16 = 800;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaKind {
    /// The run (or step) of the occurrence has started.
    StartBy(SlaTime),
    /// It has succeeded.
    FinishBy(SlaTime),
    /// From the start of a run to its end; of a step from the start of its first attempt, retries included.
    MaxDuration(Span),
    /// From when a run is queued to its start; of a step from when it is ready.
    MaxQueueWait(Span),
    /// Since the last success.
    FreshWithin(Span),
}

impl SlaKind {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::StartBy(_) => "start_by",
            Self::FinishBy(_) => "finish_by",
            Self::MaxDuration(_) => "max_duration",
            Self::MaxQueueWait(_) => "max_queue_wait",
            Self::FreshWithin(_) => "fresh_within",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaTime {
    /// By the wall clock, on the local day on which the occurrence is due, or so many days later. A flow without a
    /// schedule promises it for every day.
    At {
        time: TimeOfDay,
        /// IANA name.
        timezone: String,
        #[serde(default, skip_serializing_if = "is_zero")]
        days: u16,
    },
    /// Since the occurrence was due.
    After(Span),
}

const fn is_zero(days: &u16) -> bool {
    *days == 0
}

impl std::fmt::Display for SlaTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At { time, days, .. } if *days > 0 => write!(f, "{time} +{days}d"),
            Self::At { time, .. } => write!(f, "{time}"),
            Self::After(span) => write!(f, "{span}"),
        }
    }
}

/// A promise that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    /// Stable in its flow: `finish_by`, `finish_by.2` for the second of its kind, `finish_by@STEP`.
    pub key: Arc<str>,
    pub kind: SlaKind,
    /// In thousandths.
    pub at_risk: u16,
    pub step: Option<StepName>,
    /// The outermost foreach around the step: the step is over when that is.
    pub(crate) fan: Option<StepName>,
    zone: Tz,
}

impl Promise {
    /// Whether it is about an occurrence or a day, so that it counts though no run was ever made.
    pub const fn is_clock(&self) -> bool {
        matches!(self.kind, SlaKind::StartBy(_) | SlaKind::FinishBy(_))
    }

    /// Whether it is made for every local day when the flow has no schedule.
    pub(crate) const fn is_daily(&self) -> bool {
        matches!(
            self.kind,
            SlaKind::StartBy(SlaTime::At { .. }) | SlaKind::FinishBy(SlaTime::At { .. })
        )
    }

    const fn time(&self) -> Option<&SlaTime> {
        match &self.kind {
            SlaKind::StartBy(time) | SlaKind::FinishBy(time) => Some(time),
            _ => None,
        }
    }

    /// How long after the due time of an occurrence.
    pub(crate) const fn after(&self) -> Option<Span> {
        match self.time() {
            Some(SlaTime::After(span)) => Some(*span),
            _ => None,
        }
    }

    /// When it is due for a slot of a schedule that is over at `end`; `None` when it is not about this slot: of several
    /// before the same time of day only the last is meant, and those after it on its day are not.
    pub(crate) fn due_of(
        &self,
        schedule: &Schedule,
        end: Option<Timestamp>,
        slot: Slot,
        is_off: &dyn Fn(Timestamp) -> bool,
    ) -> Option<Timestamp> {
        let (time, days) = match self.time()? {
            SlaTime::After(span) => return Some(slot.due_at + *span),
            SlaTime::At { time, days, .. } => (*time, *days),
        };
        let day = local_day(self.zone, slot.due_at)?.checked_add_days(Days::new(days.into()))?;
        let due_at = self.on(day, time)?;
        let in_time = |at: Timestamp| match self.kind {
            SlaKind::StartBy(_) => at <= due_at,
            _ => at < due_at,
        };
        let after = |it: Slot| schedule.slot_after(it.at);
        let mut later = std::iter::successors(after(slot), |it| after(*it))
            .take_while(|it| in_time(it.due_at) && end.is_none_or(|end| it.due_at < end));
        let is_last = !later.any(|it| !is_off(it.due_at));
        (in_time(slot.due_at) && is_last).then_some(due_at)
    }

    /// When it is due on a local day.
    pub(crate) fn due_on(&self, day: NaiveDate) -> Option<Timestamp> {
        match self.time()? {
            SlaTime::At { time, .. } => self.on(day, *time),
            SlaTime::After(_) => None,
        }
    }

    /// A time that the clock shows twice counts the second time, one that it leaps over when it goes on: the promise is
    /// never tighter than it reads.
    fn on(&self, day: NaiveDate, time: TimeOfDay) -> Option<Timestamp> {
        instants_of(self.zone, day, time).map(|(_, last)| last)
    }

    /// The first local day whose due time is not over.
    pub(crate) fn next_day(&self, now: Timestamp) -> Option<NaiveDate> {
        let today = local_day(self.zone, now)?;
        match self.due_on(today)? > now {
            true => Some(today),
            false => today.succ_opt(),
        }
    }

    /// The local day after that of `now`.
    pub(crate) fn tomorrow(&self, now: Timestamp) -> Option<NaiveDate> {
        local_day(self.zone, now)?.succ_opt()
    }

    /// The local day that a run is about: that on which its interval ends, or on which it was made.
    pub(crate) fn day_of(&self, interval: Interval, created_at: Timestamp) -> Option<NaiveDate> {
        let at = match interval.start < interval.end {
            true => interval.end,
            false => created_at,
        };
        local_day(self.zone, at)
    }

    /// Where a local day begins: nothing before it counts for the day.
    pub fn day_begins(&self, day: NaiveDate) -> Option<Timestamp> {
        first_instant_of(self.zone, day)
    }

    /// What is due, for people, in a sentence about missing it: `08:00`, `its 2h`.
    pub fn due_text(&self) -> String {
        match &self.kind {
            SlaKind::StartBy(time @ SlaTime::At { .. }) => format!("its start by {time}"),
            SlaKind::FinishBy(time @ SlaTime::At { .. }) => time.to_string(),
            SlaKind::StartBy(SlaTime::After(span)) => format!("its start within {span}"),
            SlaKind::FinishBy(SlaTime::After(span)) => format!("its end within {span}"),
            SlaKind::MaxDuration(span) => format!("its limit of {span}"),
            SlaKind::MaxQueueWait(span) => format!("its wait of at most {span}"),
            SlaKind::FreshWithin(span) => format!("its success every {span}"),
        }
    }

    /// What is promised, for people: `finish by 08:00 (Europe/Berlin)`.
    pub fn text(&self) -> String {
        let time = |time: &SlaTime| match time {
            SlaTime::At { .. } => format!("by {time} ({})", self.zone),
            SlaTime::After(_) => format!("within {time} of when it is due"),
        };
        let what = match &self.kind {
            SlaKind::StartBy(at) => format!("start {}", time(at)),
            SlaKind::FinishBy(at) => format!("finish {}", time(at)),
            SlaKind::MaxDuration(span) => format!("take at most {span}"),
            SlaKind::MaxQueueWait(span) => format!("wait at most {span} for its start"),
            SlaKind::FreshWithin(span) => format!("succeed at least every {span}"),
        };
        match &self.step {
            Some(step) => format!("{step}: {what}"),
            None => what,
        }
    }
}

/// The due times of a promise's periods as texts, and back.
pub(crate) mod period {
    use super::{NaiveDate, RunRow, Timestamp};
    use crate::id::RunId;

    pub(crate) fn slot(at: Timestamp) -> String {
        format!("slot:{at}")
    }
    pub(crate) fn day(day: NaiveDate) -> String {
        format!("day:{day}")
    }
    pub(crate) fn run(run: RunId) -> String {
        format!("run:{run}")
    }
    /// Of one life of a run: a resumed run begins anew.
    pub(crate) fn life(run: &RunRow) -> String {
        match run.generation {
            0 | 1 => self::run(run.id),
            generation => format!("run:{}.{generation}", run.id),
        }
    }
    pub(crate) fn since(at: Timestamp) -> String {
        format!("since:{at}")
    }
    pub(crate) fn since_in(period: &str) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(period.strip_prefix("since:")?)
    }
    pub(crate) fn day_in(period: &str) -> Option<NaiveDate> {
        period.strip_prefix("day:")?.parse().ok()
    }
}

/// Names a row.
pub type SlaKey = (FlowName, Arc<str>, Arc<str>);

pub fn key_of(row: &SlaRow) -> SlaKey {
    (row.flow.clone(), row.promise.clone(), row.period.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Gap, When};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn cron(text: &str) -> Schedule {
        let when = When::Cron { text: text.into() };
        Schedule::new(&when, "Europe/Berlin", Gap::Shift, None).expect("valid")
    }

    fn by(time: &str, days: u16) -> Promise {
        Promise {
            key: "finish_by".into(),
            kind: SlaKind::FinishBy(SlaTime::At {
                time: time.parse().expect("a time of day"),
                timezone: "Europe/Berlin".into(),
                days,
            }),
            at_risk: AT_RISK,
            step: None,
            fan: None,
            zone: Tz::Europe__Berlin,
        }
    }

    #[test]
    fn a_time_of_day_is_that_of_the_wall_clock_on_every_side_of_a_change() {
        let schedule = cron("0 1 * * *");
        let due = |promise: &Promise, day: &str| {
            let slot = schedule.next_after(at(&format!("{day}T00:30:00+01:00")));
            let due = promise.due_of(&schedule, None, schedule.slot(slot.expect("one")), &|_| {
                false
            });
            due.expect("about it").to_string()
        };
        let eight = by("08:00", 0);
        assert_eq!(due(&eight, "2026-03-28"), "2026-03-28T07:00:00Z");
        assert_eq!(due(&eight, "2026-03-29"), "2026-03-29T06:00:00Z");
        assert_eq!(due(&eight, "2026-10-26"), "2026-10-26T07:00:00Z");
        // The clock leaps over 02:30 in spring and shows it twice in autumn: never tighter than it reads.
        let half_past_two = by("02:30", 0);
        assert_eq!(due(&half_past_two, "2026-03-29"), "2026-03-29T01:00:00Z");
        let slot = schedule
            .next_after(at("2026-10-24T22:30:00Z"))
            .expect("one");
        let autumn = half_past_two.due_of(&schedule, None, schedule.slot(slot), &|_| false);
        assert_eq!(autumn, Some(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn of_several_occurrences_before_a_time_the_last_is_meant() {
        let hourly = cron("0 * * * *");
        let eight = by("08:00", 0);
        let about = |is_off: &dyn Fn(Timestamp) -> bool| -> Vec<String> {
            let slots = hourly.between(
                at("2026-11-22T00:00:00+01:00"),
                at("2026-11-22T12:00:00+01:00"),
            );
            slots
                .filter(|it| {
                    let due = eight.due_of(&hourly, None, hourly.slot(*it), is_off);
                    due.is_some() && !is_off(*it)
                })
                .map(|it| it.to_string())
                .collect()
        };
        assert_eq!(about(&|_| false), ["2026-11-22T06:00:00Z"]);
        // One on which nothing may run speaks for nobody.
        let seven = at("2026-11-22T07:00:00+01:00");
        assert_eq!(about(&|it| it == seven), ["2026-11-22T05:00:00Z"]);
    }

    #[test]
    fn a_nightly_flow_may_end_the_next_morning() {
        let nightly = cron("0 22 * * *");
        let begin = at("2026-11-22T00:00:00Z");
        assert!(!by("06:00", 0).is_possible(&nightly, begin));
        assert!(by("06:00", 1).is_possible(&nightly, begin));
        assert!(!by("23:00", 1).is_possible(&nightly, begin));
        assert!(by("08:00", 0).is_possible(&cron("0 * * * *"), begin));
        let leap_days = cron("0 5 29 2 *");
        assert!(by("08:00", 0).is_possible(&leap_days, begin));
    }
}
