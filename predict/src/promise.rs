//! Predictions of open promises, as the core takes them.

use crate::forecast::Target;
use crate::live::Outlook;
use dalsegno_scheduler::row::SlaRow;
use dalsegno_scheduler::sla::{NewPrediction, SlaKind};
use dalsegno_scheduler::spec::EventSource;
use dalsegno_scheduler::{FlowName, Scheduler, Span, Timestamp};
use std::collections::BTreeSet;

/// A row that is due later than this, and whose run has not been made, is not predicted yet.
pub const AHEAD: Span = Span::from_mins(24 * 60);

/// The rows that a prediction says something about: open, not missed, due within [`AHEAD`] or with an unfinished run.
pub fn awaited(view: &Scheduler, now: Timestamp) -> Vec<&SlaRow> {
    let rows = view.slas().map(|it| &**it);
    let is_awaited = |row: &&SlaRow| {
        let runs = || row.run.is_some_and(|it| view.run(it).is_some());
        row.open && row.missed_at.is_none() && (row.due_at <= now + AHEAD || runs())
    };
    rows.filter(is_awaited).collect()
}

/// Flows whose past durations the predictions of these rows ask for: their own, all upstream of them, and those that
/// run now, for they may hold slots.
pub fn concerned(view: &Scheduler, rows: &[&SlaRow]) -> BTreeSet<FlowName> {
    let mut found: BTreeSet<FlowName> = rows.iter().map(|it| it.flow.clone()).collect();
    let mut open: Vec<FlowName> = found.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let flow = view.flow(name.as_str()).and_then(|it| it.flow.as_ref());
        let triggers = flow.iter().flat_map(|it| &it.spec().triggers);
        for leaf in triggers.flat_map(|it| it.on.leaves()) {
            if let EventSource::Flow { flow, .. } = &leaf.source
                && found.insert(flow.clone())
            {
                open.push(flow.clone());
            }
        }
    }
    if !rows.is_empty() {
        found.extend(view.runs().map(|it| it.flow.clone()));
    }
    found
}

impl Outlook<'_> {
    /// What is to be said of a row now. `None`: nothing can be, for its flow or its promise is gone.
    pub fn promise(&self, row: &SlaRow, seed: u64) -> Option<NewPrediction> {
        let flow = self.view().flow(row.flow.as_str())?.flow.clone()?;
        let promise = flow.promise(&row.promise)?;
        let step = promise.step.clone();
        let (target, is_next) = match (&promise.kind, step) {
            (SlaKind::StartBy(_) | SlaKind::MaxQueueWait(_), None) => (Target::Started, false),
            (SlaKind::StartBy(_) | SlaKind::MaxQueueWait(_), Some(step)) => {
                (Target::StepStarted(step), false)
            }
            (SlaKind::FinishBy(_) | SlaKind::MaxDuration(_), None) => (Target::Finished, false),
            (SlaKind::FinishBy(_) | SlaKind::MaxDuration(_), Some(step)) => {
                (Target::StepFinished(step), false)
            }
            // The next success will do, whichever run brings it.
            (SlaKind::FreshWithin(_), None) => (Target::Finished, true),
            (SlaKind::FreshWithin(_), Some(step)) => (Target::StepFinished(step), true),
        };
        let (plan, job) = match is_next {
            true => self.plan_of_next(&row.flow)?,
            false => self.plan(&row.flow, row.run, row.due_at)?,
        };
        let forecast = plan.forecast(job, &target, row.due_at, seed)?;
        Some(NewPrediction {
            flow: row.flow.clone(),
            promise: row.promise.clone(),
            period: row.period.clone(),
            chance_permille: forecast.chance_permille,
            finish_p50: forecast.p50,
            finish_p90: forecast.p90,
            culprit: forecast.culprit,
        })
    }
}
