//! Promises about time: what a flow or step promises, and when that is due.
//!
//! Pure functions of declarations, slots and local days. What becomes of a promise in one period is a row
//! ([`crate::row::SlaRow`]); see docs/adr/0025-promises-without-runs.md.

pub use crate::culprit::{Culprit, sentence};
use crate::id::{FlowName, StepName};
use crate::row::{Interval, RunRow, SlaRow, SlaState};
use crate::schedule::{Schedule, Slot, first_instant_of, instants_of, local_day, parse_time_zone};
use crate::spec::{FlowSpec, ScopeIndex, TimeOfDay};
use crate::state::Scheduler;
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
    zone: Tz,
}

/// What is wrong with a promise.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the promise {promise} {problem}")]
pub struct SlaError {
    /// Its key.
    pub promise: String,
    pub problem: String,
    pub cure: String,
}

/// Days that are looked at before a promise is found impossible: a leap day comes within them.
const DAYS_LOOKED_AT: u64 = 4 * 366;

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

    /// When it is due for a slot of a schedule; `None` when it is not about this slot: of several before the same
    /// time of day only the last is meant, and those after it on its day are not.
    pub(crate) fn due_of(&self, schedule: &Schedule, slot: Slot) -> Option<Timestamp> {
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
        let next = schedule.slot_after(slot.at);
        let is_last = next.is_none_or(|it| !in_time(it.due_at));
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

    /// Whether it can be kept at all by a schedule.
    fn is_possible(&self, schedule: &Schedule, from: Timestamp) -> bool {
        let Some(first) = local_day(self.zone, from) else {
            return true;
        };
        let days = first.iter_days().take(DAYS_LOOKED_AT as usize);
        let mut dues = days.filter_map(|day| self.due_on(day));
        dues.any(|due_at| {
            // Just after it, so that a slot at this very moment is seen.
            let before = schedule.previous_before(due_at + Span(1_000_000));
            before.is_some_and(|at| self.due_of(schedule, schedule.slot(at)) == Some(due_at))
        })
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
    pub(crate) fn day_in(period: &str) -> Option<NaiveDate> {
        period.strip_prefix("day:")?.parse().ok()
    }
}

/// The keys of promises of a flow (`None`) or of one of its steps, in their order.
pub fn keys(step: Option<&StepName>, slas: &[SlaSpec]) -> Vec<String> {
    let at = step.map(|it| format!("@{it}")).unwrap_or_default();
    let key = |(place, sla): (usize, &SlaSpec)| {
        let word = sla.kind.word();
        let before = slas[..place]
            .iter()
            .filter(|it| it.kind.word() == word)
            .count();
        match before {
            0 => format!("{word}{at}"),
            _ => format!("{word}.{}{at}", before + 1),
        }
    };
    slas.iter().enumerate().map(key).collect()
}

/// Checks all promises of a flow.
pub(crate) fn promises(
    spec: &FlowSpec,
    schedules: &[Schedule],
) -> Result<Vec<Promise>, Vec<SlaError>> {
    let (mut promises, mut errors) = (Vec::<Promise>::new(), Vec::new());
    let of_flow = spec.slas.iter().zip(keys(None, &spec.slas));
    let of_flow = of_flow.map(|(sla, key)| (None, sla, key));
    let of_steps = spec.steps.iter().flat_map(|step| {
        let keys = keys(Some(&step.name), &step.slas);
        let slas = step.slas.iter().zip(keys);
        slas.map(move |(sla, key)| (Some(step), sla, key))
    });
    for (step, sla, key) in of_flow.chain(of_steps) {
        let name = step.map(|it| it.name.clone());
        let mut wrong = |problem: String, cure: &str| {
            errors.push(SlaError {
                promise: key.clone(),
                problem,
                cure: cure.to_owned(),
            });
        };
        let zone = match &sla.kind {
            SlaKind::StartBy(SlaTime::At { timezone, .. })
            | SlaKind::FinishBy(SlaTime::At { timezone, .. }) => parse_time_zone(timezone),
            _ => Ok(Tz::UTC),
        };
        if let Some(step) = step {
            let problem = match step {
                it if it.hook.is_some() => Some("is about a hook, which is no part of the flow"),
                it if it.scope != ScopeIndex::ROOT => {
                    Some("is about a step in a foreach, which has no one start and end")
                }
                _ => None,
            };
            if let Some(problem) = problem {
                wrong(
                    problem.to_owned(),
                    "promise it for the flow, or for the step that comes after",
                );
            }
        }
        match zone {
            Err(error) => wrong(
                format!("names a zone that does not exist: {error}"),
                "write a name of the IANA database",
            ),
            Ok(zone) => promises.push(Promise {
                kind: sla.kind.clone(),
                at_risk: sla.at_risk.unwrap_or(AT_RISK),
                step: name,
                zone,
                key: key.into(),
            }),
        }
    }
    for promise in &promises {
        let problem = impossible(promise, &promises, spec, schedules);
        errors.extend(problem.map(|(problem, cure)| SlaError {
            promise: promise.key.to_string(),
            problem,
            cure,
        }));
    }
    match errors.is_empty() {
        true => Ok(promises),
        false => Err(errors),
    }
}

/// Why a promise cannot be kept by definition, and the cure.
fn impossible(
    it: &Promise,
    all: &[Promise],
    spec: &FlowSpec,
    schedules: &[Schedule],
) -> Option<(String, String)> {
    let begin = Timestamp::from_secs(1_767_225_600);
    let all_schedules = || spec.schedules.iter().zip(schedules);
    let has_never = |schedule: &Schedule| schedule.next_after(begin).is_none();
    if let Some(SlaTime::At { time, days, .. }) = it.time() {
        if schedules.is_empty() && *days > 0 {
            let problem = format!("says +{days}d, and the flow has no schedule to count days from");
            return Some((
                problem,
                format!("write \"{time}\": it is promised for every day"),
            ));
        }
        for (spec, schedule) in all_schedules() {
            let from = spec.start.unwrap_or(begin);
            if !has_never(schedule) && !it.is_possible(schedule, from) {
                let problem = format!(
                    "can never be kept: {} comes before the schedule itself, {}",
                    it.time().expect("it has one"),
                    schedule.describe()
                );
                let cure = match days {
                    0 => format!("write a later time, or \"{time} +1d\" if the next day is meant"),
                    _ => {
                        "write fewer days, so that the next occurrence is not due before".to_owned()
                    }
                };
                return Some((problem, cure));
            }
        }
    }
    if let SlaKind::FinishBy(finish) = &it.kind {
        let start = all.iter().find_map(|other| match &other.kind {
            SlaKind::StartBy(start) if other.step == it.step && is_before(finish, start) => {
                Some(start)
            }
            _ => None,
        });
        if let Some(start) = start {
            let problem = format!("ends at {finish}, before its start_by of {start}");
            return Some((problem, "let start_by be the earlier one".to_owned()));
        }
    }
    if let SlaKind::FreshWithin(span) = it.kind
        && spec.triggers.is_empty()
        && !schedules.is_empty()
    {
        let shortest = schedules.iter().filter_map(|it| {
            let slots = std::iter::successors(it.slot_after(begin), |slot| it.slot_after(slot.at));
            let slots: Vec<Timestamp> = slots.take(400).map(|it| it.due_at).collect();
            slots.windows(2).map(|it| it[1] - it[0]).min()
        });
        let shortest = shortest.min()?;
        if shortest > span && schedules.len() == 1 {
            let problem = format!(
                "can never be kept: the flow runs at most every {shortest}, and that is longer than {span}"
            );
            let cure = format!("write more than {shortest}, or let the schedule come more often");
            return Some((problem, cure));
        }
    }
    None
}

/// Whether one time is certainly before another of the same kind.
fn is_before(a: &SlaTime, b: &SlaTime) -> bool {
    match (a, b) {
        (SlaTime::After(a), SlaTime::After(b)) => a < b,
        (
            SlaTime::At {
                time,
                timezone,
                days,
            },
            SlaTime::At {
                time: time_b,
                timezone: timezone_b,
                days: days_b,
            },
        ) => timezone == timezone_b && (days, time) < (days_b, time_b),
        _ => false,
    }
}

/// When a run will be over, as the predictor sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// When it was made.
    pub at: Timestamp,
    /// The chance of a breach, in thousandths.
    pub chance_permille: u16,
    pub finish_p50: Timestamp,
    pub finish_p90: Timestamp,
    /// What makes it late, if one thing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Culprit>,
}

/// A prediction as it comes from outside: for one row.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPrediction {
    pub flow: FlowName,
    pub promise: Arc<str>,
    pub period: Arc<str>,
    pub chance_permille: u16,
    pub finish_p50: Timestamp,
    pub finish_p90: Timestamp,
    pub culprit: Option<Culprit>,
}

/// A prediction is written down when it differs from the last one by this much, in thousandths, or in time.
const CHANCE_STEP: u16 = 50;
const FINISH_STEP: Span = Span::from_mins(1);

impl Scheduler {
    /// Whether a prediction changes its row: another state, or clearly another chance or time.
    pub fn is_news(&self, it: &NewPrediction) -> bool {
        let key = (it.flow.clone(), it.promise.clone(), it.period.clone());
        let Some(row) = self.slas.get(&key).filter(|it| it.missed_at.is_none()) else {
            return false;
        };
        let flow = self.flow(it.flow.as_str()).and_then(|it| it.flow.as_ref());
        if flow.is_none_or(|flow| flow.promise(&it.promise).is_none()) {
            return false;
        }
        let chance = it.chance_permille.min(1_000);
        let moved = row.prediction.as_ref().is_none_or(|old| {
            old.chance_permille.abs_diff(chance) >= CHANCE_STEP
                || (old.finish_p50 - it.finish_p50).0.abs() >= FINISH_STEP.0
                || (old.finish_p90 - it.finish_p90).0.abs() >= FINISH_STEP.0
        });
        moved || self.state_by(row, chance) != row.state
    }

    /// At risk when the chance of a breach reaches the level that was declared.
    pub(crate) fn state_by(&self, row: &SlaRow, chance_permille: u16) -> SlaState {
        let flow = self.flow(row.flow.as_str()).and_then(|it| it.flow.as_ref());
        let promise = flow.and_then(|it| it.promise(&row.promise));
        match chance_permille >= promise.map_or(AT_RISK, |it| it.at_risk) {
            true => SlaState::AtRisk,
            false => SlaState::OnTime,
        }
    }
}

/// Somebody has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub by: String,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
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
            zone: Tz::Europe__Berlin,
        }
    }

    #[test]
    fn a_time_of_day_is_that_of_the_wall_clock_on_every_side_of_a_change() {
        let schedule = cron("0 1 * * *");
        let due = |promise: &Promise, day: &str| {
            let slot = schedule.next_after(at(&format!("{day}T00:30:00+01:00")));
            let due = promise.due_of(&schedule, schedule.slot(slot.expect("one")));
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
        let autumn = half_past_two.due_of(&schedule, schedule.slot(slot));
        assert_eq!(autumn, Some(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn of_several_occurrences_before_a_time_the_last_is_meant() {
        let hourly = cron("0 * * * *");
        let eight = by("08:00", 0);
        let slots = hourly.between(
            at("2026-11-22T00:00:00+01:00"),
            at("2026-11-22T12:00:00+01:00"),
        );
        let about: Vec<String> = slots
            .filter(|it| eight.due_of(&hourly, hourly.slot(*it)).is_some())
            .map(|it| it.to_string())
            .collect();
        assert_eq!(about, ["2026-11-22T06:00:00Z"]);
    }

    #[test]
    fn a_nightly_flow_may_end_the_next_morning() {
        let nightly = cron("0 22 * * *");
        let begin = at("2026-11-22T00:00:00Z");
        assert!(!by("06:00", 0).is_possible(&nightly, begin));
        assert!(by("06:00", 1).is_possible(&nightly, begin));
        assert!(!by("23:00", 1).is_possible(&nightly, begin));
        let leap_days = cron("0 5 29 2 *");
        assert!(by("08:00", 0).is_possible(&leap_days, begin));
    }
}
