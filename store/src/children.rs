//! Which runs of sub-flows a resume reaches through to.

use dalsegno_scheduler::row::{RunRow, RunState};
use dalsegno_scheduler::{RunId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sub-flows are no deeper than this; so is a snapshot.
pub(crate) const DEPTH_MAX: u32 = 8;

/// Of each task the newest run, if it is over and did not succeed. `children` are by id.
pub(crate) fn to_resume(children: &[Arc<RunRow>]) -> Vec<RunId> {
    let mut newest: BTreeMap<&TaskId, &RunRow> = BTreeMap::new();
    for run in children {
        if let Some(parent) = &run.parent {
            newest.insert(&parent.attempt.task, run);
        }
    }
    let mut ids: Vec<RunId> = newest
        .into_values()
        .filter(|it| it.state.is_terminal() && it.state != RunState::Succeeded)
        .map(|it| it.id)
        .collect();
    ids.sort_unstable();
    ids
}
