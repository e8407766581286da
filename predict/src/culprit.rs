//! Who it is that makes it late.

use crate::forecast::WORLDS;
use crate::plan::{Plan, Step, StepState};
use dalsegno_scheduler::Span;
use dalsegno_scheduler::sla::Culprit;
use std::collections::BTreeMap;

/// Less than this is no cause of anything.
const EXCESS_MIN: Span = Span::from_secs(5);
/// In thousandths: what takes less than a tenth longer than usual does not run long.
const FACTOR_MIN: i64 = 1_100;

/// Counts how often each job and step was on the path that decided.
pub(crate) struct Blame {
    on_path: BTreeMap<(usize, Option<usize>), usize>,
    causes: Vec<((usize, Option<usize>), Culprit)>,
}

impl Blame {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut causes = Vec::new();
        for (place, job) in plan.jobs.iter().enumerate() {
            if let (Some((limit, wait)), None) = (&job.queue, job.started_at) {
                let cause = Culprit {
                    flow: job.flow.clone(),
                    step: None,
                    run: job.run,
                    factor_permille: 0,
                    limit: Some(limit.clone()),
                    owner: job.owner.clone(),
                    late_by: *wait,
                };
                causes.push(((place, None), cause));
            }
            for (number, step) in job.steps.iter().enumerate() {
                let cause = |factor_permille, limit, late_by| Culprit {
                    flow: job.flow.clone(),
                    step: (job.steps.len() > 1).then(|| step.name.clone()),
                    run: job.run,
                    factor_permille,
                    limit,
                    owner: job.owner.clone(),
                    late_by,
                };
                let slow = slow(plan, step).map(|(factor, excess)| cause(factor, None, excess));
                let queue = step
                    .queue
                    .as_ref()
                    .filter(|_| step.state == StepState::Ahead);
                let queue = queue.map(|(limit, wait)| cause(0, Some(limit.clone()), *wait));
                let both = slow.into_iter().chain(queue);
                causes.extend(both.map(|it| ((place, Some(number)), it)));
            }
        }
        causes.retain(|(_, it)| it.late_by >= EXCESS_MIN);
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
    pub(crate) fn culprit(&self) -> Option<Culprit> {
        let weighed = self.causes.iter().filter_map(|(at, cause)| {
            let plays = *self.on_path.get(at)?;
            let weight = i128::from(cause.late_by.0) * plays as i128 / WORLDS as i128;
            Some((weight, at, cause))
        });
        // Of equal ones the first.
        let worst = weighed.rev().max_by_key(|(weight, ..)| *weight)?;
        let (weight, _, culprit) = worst;
        (weight >= i128::from(EXCESS_MIN.0)).then(|| culprit.clone())
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
