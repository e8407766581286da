//! How long things took, from the database to predictions.

use dalsegno_predict::week::{Past, Success};
use dalsegno_predict::{Histories, SAMPLES_MAX, StepTime};
use dalsegno_scheduler::row::TaskState;
use dalsegno_scheduler::{FlowName, RunId, Span, StepName};
use dalsegno_store::{Error, Store, TaskFilter};
use std::collections::BTreeMap;

/// Flows that are asked about in one transaction.
const FLOWS_AT_ONCE: usize = 200;
/// Tasks of one run that are looked at for what they gave.
const TASKS_READ: usize = 1_000;

/// The newest durations of all steps of these flows, newest run first.
pub(crate) async fn times(store: &dyn Store, flows: &[FlowName]) -> Result<Vec<StepTime>, Error> {
    let mut times = Vec::new();
    for some in flows.chunks(FLOWS_AT_ONCE) {
        let read = store.step_times(some, SAMPLES_MAX).await?;
        times.extend(read.into_iter().map(|it| StepTime {
            of_one: Span(it.sum.0 / i64::from(it.tasks.max(1))),
            flow: it.flow,
            run: it.run,
            started_at: it.started_at,
            finished_at: it.finished_at,
            step: it.step,
            tasks: it.tasks,
            from: it.from,
            to: it.to,
        }));
    }
    Ok(times)
}

/// The same, and what the tasks of each flow's last successful run gave to those after them.
pub(crate) async fn past(store: &dyn Store, flows: &[FlowName]) -> Result<Past, Error> {
    let times = times(store, flows).await?;
    let mut newest: BTreeMap<&FlowName, RunId> = BTreeMap::new();
    for it in &times {
        let run = newest.entry(&it.flow).or_insert(it.run);
        *run = (*run).max(it.run);
    }
    let filter = TaskFilter {
        states: vec![TaskState::Succeeded],
        ..TaskFilter::default()
    };
    let mut successes: BTreeMap<(FlowName, StepName), Success> = BTreeMap::new();
    for (flow, run) in newest {
        let tasks = store.tasks(run, &filter, None, TASKS_READ).await?;
        for task in tasks.items {
            let key = (flow.clone(), task.task.step.clone());
            successes.entry(key).or_insert_with(|| Success {
                outputs: task.outputs.as_deref().cloned().unwrap_or_default(),
                chosen: task.chosen.as_deref().map(<[StepName]>::to_vec),
                splits: task.splits,
            });
        }
    }
    Ok(Past {
        histories: Histories::new(&times),
        successes,
    })
}
