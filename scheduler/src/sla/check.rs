//! Whether promises can be kept at all.

use super::{AT_RISK, Promise, SlaKind, SlaSpec, SlaTime};
use crate::flow::Flow;
use crate::id::StepName;
use crate::schedule::{Schedule, local_day, parse_time_zone};
use crate::spec::{FlowSpec, ScopeIndex, StepSpec};
use crate::time::{Span, Timestamp};
use chrono_tz::Tz;

/// What is wrong with a promise.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the promise {promise} {problem}")]
pub struct SlaError {
    /// Its key.
    pub promise: String,
    pub problem: String,
    pub cure: String,
}

/// Where looking at a schedule begins that says nothing of it: the begin of 2026.
const BEGIN_SECS: i64 = 1_767_225_600;

/// Days that are looked at before a promise is found impossible: a leap day comes within them.
const DAYS_LOOKED_AT: u64 = 4 * 366;

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
        let fan = step.map(|it| fan_of(spec, it));
        let problem = step.zip(fan.as_ref());
        let problem = problem.and_then(|(it, fan)| no_one_time(it, &sla.kind, fan.as_ref()));
        if let Some(problem) = problem {
            wrong(
                problem.to_owned(),
                "promise it for the flow, or for the step that comes after",
            );
        }
        if length(&sla.kind) == Some(Span::ZERO) {
            wrong(
                "can never be kept: it leaves no time".to_owned(),
                "write a length of time above zero",
            );
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
                fan: fan.and_then(Result::ok).flatten(),
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
    let begin = Timestamp::from_secs(BEGIN_SECS);
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
            SlaKind::StartBy(start)
                if other.step == it.step
                    && (is_before(finish, start) || is_always_before(it, other, schedules)) =>
            {
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

/// How many occurrences or days are looked at to see which of two promises is the tighter one.
const MOMENTS_LOOKED_AT: usize = 400;

/// When two promises are due that are about the same occurrence or day.
fn moments(a: &Promise, b: &Promise, schedules: &[Schedule]) -> Vec<(Timestamp, Timestamp)> {
    if let Some((a, b)) = a.after().zip(b.after()) {
        return vec![(Timestamp(a.0), Timestamp(b.0))];
    }
    let begin = Timestamp::from_secs(BEGIN_SECS);
    let of_slots = schedules.iter().flat_map(|schedule| {
        let slots =
            std::iter::successors(schedule.slot_after(begin), |it| schedule.slot_after(it.at));
        let due = |it: &Promise, slot| it.due_of(schedule, None, slot, &|_| false);
        slots
            .take(MOMENTS_LOOKED_AT)
            .filter_map(move |slot| due(a, slot).zip(due(b, slot)))
    });
    let first = local_day(a.zone, begin).filter(|_| schedules.is_empty());
    let days = first
        .into_iter()
        .flat_map(|it| it.iter_days().take(MOMENTS_LOOKED_AT));
    of_slots
        .chain(days.filter_map(|day| a.due_on(day).zip(b.due_on(day))))
        .collect()
}

fn is_always_before(a: &Promise, b: &Promise, schedules: &[Schedule]) -> bool {
    let moments = moments(a, b, schedules);
    !moments.is_empty() && moments.iter().all(|(a, b)| a < b)
}

/// Promises that another makes empty: each with what is odd about it. They can be kept, so they are no errors.
pub fn loose(flow: &Flow) -> Vec<SlaError> {
    let schedules: Vec<Schedule> = flow.schedules().map(|(_, it)| it.clone()).collect();
    let mut found = Vec::new();
    for it in flow.promises() {
        let SlaKind::MaxDuration(longest) = it.kind else {
            continue;
        };
        let is_end =
            |other: &&Promise| other.step == it.step && matches!(other.kind, SlaKind::FinishBy(_));
        for end in flow.promises().iter().filter(is_end) {
            if time_for(end, &schedules).is_some_and(|time| longest > time) {
                found.push(SlaError {
                    promise: it.key.to_string(),
                    problem: format!("allows {longest}, and {} is broken before that", end.key),
                    cure: format!("write less than that, or leave {} out", it.key),
                });
            }
        }
    }
    found
}

/// The most time that there is between an occurrence and its end.
fn time_for(end: &Promise, schedules: &[Schedule]) -> Option<Span> {
    if let Some(span) = end.after() {
        return Some(span);
    }
    let begin = Timestamp::from_secs(BEGIN_SECS);
    let times = schedules.iter().flat_map(|schedule| {
        let slots =
            std::iter::successors(schedule.slot_after(begin), |it| schedule.slot_after(it.at));
        let slots = slots.take(MOMENTS_LOOKED_AT);
        slots.filter_map(|slot| Some(end.due_of(schedule, None, slot, &|_| false)? - slot.due_at))
    });
    times.max()
}

/// The outermost foreach around a step; `Err` if it repeats more than this step.
fn fan_of(spec: &FlowSpec, step: &StepSpec) -> Result<Option<StepName>, ()> {
    let mut inner = step.scope;
    let steps = spec
        .steps
        .iter()
        .filter(|it| it.scope == inner && inner != ScopeIndex::ROOT);
    if steps.count() > 1 {
        return Err(());
    }
    let mut fan = None;
    while let Some(place) = usize::from(inner.0).checked_sub(1) {
        let scope = &spec.scopes[place];
        fan = Some(scope.name.clone());
        let has_more = |outer: ScopeIndex| {
            let scopes = spec.scopes.iter().filter(|it| it.parent == outer).count();
            let steps = spec.steps.iter().filter(|it| it.scope == outer).count();
            scopes + steps > 1
        };
        let blocks = spec.scopes.iter().filter(|it| it.parent == inner).count();
        if (inner == step.scope && blocks > 0)
            || (scope.parent != ScopeIndex::ROOT && has_more(scope.parent))
        {
            return Err(());
        }
        inner = scope.parent;
    }
    Ok(fan)
}

/// Why a step has no one moment to which a promise could hold it.
fn no_one_time(
    step: &StepSpec,
    kind: &SlaKind,
    fan: Result<&Option<StepName>, &()>,
) -> Option<&'static str> {
    match (fan, kind) {
        _ if step.hook.is_some() => Some("is about a hook, which is no part of the flow"),
        (Err(()), _) => {
            Some("is about a step in a foreach of several steps, which has no one start and end")
        }
        (Ok(Some(_)), SlaKind::MaxQueueWait(_)) => {
            Some("is about a step in a foreach, whose items wait for one another")
        }
        _ => None,
    }
}

const fn length(kind: &SlaKind) -> Option<Span> {
    match kind {
        SlaKind::StartBy(SlaTime::After(span))
        | SlaKind::FinishBy(SlaTime::After(span))
        | SlaKind::MaxDuration(span)
        | SlaKind::MaxQueueWait(span)
        | SlaKind::FreshWithin(span) => Some(*span),
        SlaKind::StartBy(_) | SlaKind::FinishBy(_) => None,
    }
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

impl Promise {
    /// Whether it can be kept at all by a schedule.
    pub(super) fn is_possible(&self, schedule: &Schedule, from: Timestamp) -> bool {
        let Some(first) = local_day(self.zone, from) else {
            return true;
        };
        let days = first.iter_days().take(DAYS_LOOKED_AT as usize);
        let mut dues = days.filter_map(|day| self.due_on(day));
        dues.any(|due_at| {
            // The one before it, or at this very moment.
            let ends = [due_at + Span(1_000_000), due_at];
            let mut before = ends
                .into_iter()
                .filter_map(|it| schedule.previous_before(it));
            before.any(|at| {
                self.due_of(schedule, None, schedule.slot(at), &|_| false) == Some(due_at)
            })
        })
    }
}
