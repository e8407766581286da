//! Who it is that makes it late, and the sentence that says so.

use crate::forecast::{Forecast, WORLDS};
use crate::plan::{JobId, Plan, Step, StepState};
use dalsegno_scheduler::{FlowName, Limit, RunId, Span, StepName};
use std::collections::BTreeMap;

/// Less than this is no cause of anything.
const EXCESS_MIN: Span = Span::from_secs(5);
/// In thousandths: what takes less than a tenth longer than usual does not run long.
const FACTOR_MIN: i64 = 1_100;

/// Why something will be late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step takes longer than usual.
    Slow {
        flow: FlowName,
        step: StepName,
        /// The flow has no other step.
        is_alone: bool,
        /// Of that flow; `None`: it has ended already, or is yet to be made.
        run: Option<RunId>,
        owner: Option<String>,
        /// How long it takes against how long it usually does, in thousandths.
        factor_permille: u32,
        /// How much longer it takes than usual.
        excess: Span,
        /// It is another flow than the one that was asked about.
        is_upstream: bool,
    },
    /// A run or step waits for slots.
    Queue {
        flow: FlowName,
        step: Option<StepName>,
        run: Option<RunId>,
        owner: Option<String>,
        limit: Limit,
        wait: Span,
        is_upstream: bool,
    },
}

impl Cause {
    fn weight(&self) -> Span {
        match self {
            Self::Slow { excess, .. } => *excess,
            Self::Queue { wait, .. } => *wait,
        }
    }
}

/// Counts how often each job and step was on the path that decided.
pub(crate) struct Blame {
    on_path: BTreeMap<(usize, Option<usize>), usize>,
    causes: Vec<((usize, Option<usize>), Cause)>,
}

impl Blame {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut causes = Vec::new();
        for (place, job) in plan.jobs.iter().enumerate() {
            if let (Some((limit, wait)), None) = (&job.queue, job.started_at) {
                let cause = Cause::Queue {
                    flow: job.flow.clone(),
                    step: None,
                    run: job.run,
                    owner: job.owner.clone(),
                    limit: limit.clone(),
                    wait: *wait,
                    is_upstream: false,
                };
                causes.push(((place, None), cause));
            }
            for (number, step) in job.steps.iter().enumerate() {
                let slow = slow(plan, step).map(|(factor_permille, excess)| Cause::Slow {
                    flow: job.flow.clone(),
                    step: step.name.clone(),
                    is_alone: job.steps.len() == 1,
                    run: job.run,
                    owner: job.owner.clone(),
                    factor_permille,
                    excess,
                    is_upstream: false,
                });
                let queue = step
                    .queue
                    .as_ref()
                    .filter(|_| step.state == StepState::Ahead);
                let queue = queue.map(|(limit, wait)| Cause::Queue {
                    flow: job.flow.clone(),
                    step: Some(step.name.clone()),
                    run: job.run,
                    owner: job.owner.clone(),
                    limit: limit.clone(),
                    wait: *wait,
                    is_upstream: false,
                });
                let both = slow.into_iter().chain(queue);
                causes.extend(both.map(|it| ((place, Some(number)), it)));
            }
        }
        causes.retain(|(_, it)| it.weight() >= EXCESS_MIN);
        Self {
            on_path: BTreeMap::new(),
            causes,
        }
    }

    pub(crate) fn add(&mut self, path: &[(usize, Option<usize>)]) {
        for at in path {
            *self.on_path.entry(*at).or_default() += 1;
        }
    }

    /// What adds most to the lateness of a job, over all plays.
    pub(crate) fn cause(&self, plan: &Plan, job: JobId) -> Option<Cause> {
        let weighed = self.causes.iter().filter_map(|(at, cause)| {
            let plays = *self.on_path.get(at)?;
            let weight = i128::from(cause.weight().0) * plays as i128 / WORLDS as i128;
            Some((weight, at, cause))
        });
        // Of equal ones the first.
        let worst = weighed.rev().max_by_key(|(weight, ..)| *weight)?;
        let (weight, (place, _), cause) = worst;
        if weight < i128::from(EXCESS_MIN.0) {
            return None;
        }
        let upstream = plan.jobs[*place].flow != plan.jobs[job.0].flow;
        let mut cause = cause.clone();
        let (Cause::Slow { is_upstream, .. } | Cause::Queue { is_upstream, .. }) = &mut cause;
        *is_upstream = upstream;
        Some(cause)
    }
}

/// By what factor, and how much, a step takes longer than usual; `None` for one that has not begun.
fn slow(plan: &Plan, step: &Step) -> Option<(u32, Span)> {
    let usual = step.usual.filter(|it| it.0 > 0)?;
    let took = match step.state {
        StepState::Done { began_at, at } => at - began_at,
        StepState::Running { since } => {
            let expected = step.durations.as_ref().map(|it| it.quantile(0.5));
            expected.unwrap_or_default().max(plan.now - since)
        }
        StepState::Retrying { .. } | StepState::Ahead => return None,
    };
    let factor = i128::from(took.0) * 1_000 / i128::from(usual.0);
    if factor < i128::from(FACTOR_MIN) {
        return None;
    }
    Some((
        u32::try_from(factor).unwrap_or(u32::MAX),
        Span(took.0 - usual.0),
    ))
}

/// "churn_training will miss 08:00 by about 12 min: ingest_orders runs 2.1x longer than usual, owner data-eng".
///
/// `what`: the flow, or its step; `due`: the due moment as people say it.
pub fn sentence(what: &str, due: &str, forecast: &Forecast) -> String {
    let late = forecast.late_by.0 > 0;
    let mut text = match (late, forecast.chance_permille) {
        (true, _) => format!(
            "{what} will miss {due} by about {}",
            about(forecast.late_by)
        ),
        (false, 0..100) => format!("{what} will be in time for {due}"),
        (false, chance) => format!("{what} may miss {due} (chance {} %)", (chance + 5) / 10),
    };
    if forecast.chance_permille >= 100
        && let Some(cause) = &forecast.cause
    {
        text.push_str(": ");
        text.push_str(&told(cause));
    }
    text
}

fn told(cause: &Cause) -> String {
    let (text, owner) = match cause {
        Cause::Slow {
            flow,
            step,
            owner,
            factor_permille,
            is_upstream,
            is_alone,
            ..
        } => {
            let tenths = (factor_permille + 50) / 100;
            let who = match is_upstream {
                true if *is_alone => flow.to_string(),
                true => format!("{flow} (step {step})"),
                false => format!("its step {step}"),
            };
            let text = format!(
                "{who} runs {}.{}x longer than usual",
                tenths / 10,
                tenths % 10
            );
            (text, owner.as_ref().filter(|_| *is_upstream))
        }
        Cause::Queue {
            flow,
            step,
            owner,
            limit,
            wait,
            is_upstream,
            ..
        } => {
            let who = match (is_upstream, step) {
                (true, None) => flow.to_string(),
                (true, Some(step)) => format!("{flow} (step {step})"),
                (false, None) => "it".to_owned(),
                (false, Some(step)) => format!("its step {step}"),
            };
            let text = format!("{who} waits about {} for {limit}", about(*wait));
            (text, owner.as_ref().filter(|_| *is_upstream))
        }
    };
    match owner {
        Some(owner) => format!("{text}, owner {owner}"),
        None => text,
    }
}

/// In the unit that a person would choose: `40 s`, `12 min`, `3 h`, `2 days`.
fn about(span: Span) -> String {
    let secs = (span.0 + 500_000) / 1_000_000;
    match secs {
        ..90 => format!("{} s", secs.max(1)),
        90..5_400 => format!("{} min", (secs + 30) / 60),
        5_400..172_800 => {
            let tenths = (secs + 180) / 360;
            match tenths % 10 {
                0 => format!("{} h", tenths / 10),
                part => format!("{}.{part} h", tenths / 10),
            }
        }
        _ => format!("{} days", (secs + 43_200) / 86_400),
    }
}
