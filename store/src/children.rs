//! Which runs of sub-flows a resume reaches through to.

use dalsegno_scheduler::row::{RunRow, TaskRow, TaskState};
use dalsegno_scheduler::{RunId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sub-flows are no deeper than this; so is a snapshot.
pub(crate) const DEPTH_MAX: u32 = 8;

/// Of each task that is not done and waits for its sub-flow the newest run, whatever became of that: the resume takes
/// over what someone brought to success meanwhile. `children` are by id.
pub(crate) fn to_resume<'a>(
    children: &[Arc<RunRow>],
    tasks: impl Iterator<Item = &'a Arc<TaskRow>>,
) -> Vec<RunId> {
    let is_done = |it: &&Arc<TaskRow>| matches!(it.state, TaskState::Succeeded | TaskState::Caught);
    let done: BTreeSet<&TaskId> = tasks.filter(is_done).map(|it| &it.task).collect();
    let mut newest: BTreeMap<&TaskId, RunId> = BTreeMap::new();
    for run in children {
        if let Some(parent) = run.parent.as_ref().filter(|it| it.waits)
            && !done.contains(&parent.attempt.task)
        {
            newest.insert(&parent.attempt.task, run.id);
        }
    }
    let mut ids: Vec<RunId> = newest.into_values().collect();
    ids.sort_unstable();
    ids
}
