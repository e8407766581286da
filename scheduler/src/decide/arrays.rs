//! Arrays: first attempts of one step that a decision places together are submitted as one.

use super::Draft;
use super::draft::json;
use crate::row::{TaskRow, TaskState};
use crate::spec::{Command, ExecutorKind};
use crate::state::TaskKey;
use crate::submission::ArrayPlace;
use std::collections::BTreeMap;

/// The most that one array job may have, says AWS Batch.
const SIZE_MAX: usize = 10_000;

impl Draft {
    /// An attempt has begun: it may become a part of an array.
    pub(super) fn note_placed(&mut self, key: TaskKey) {
        let flow = self.flow_of(key.run);
        let step = flow.step_of(key.node);
        let task = &self.s.tasks[&key];
        let first = task.attempt == task.attempts_before + 1;
        let plain = matches!(step.run, Command::Shell(_) | Command::Argv(_));
        if first && plain && !key.path.is_root() && step.executor() == ExecutorKind::Batch {
            self.placed.push(key);
        }
    }

    /// Gives the attempts that began in this decision their places. They differ in their items only: those with memory of
    /// their own are apart.
    pub(super) fn make_arrays(&mut self) {
        let mut groups: BTreeMap<_, Vec<TaskKey>> = BTreeMap::new();
        for key in std::mem::take(&mut self.placed) {
            // It may be stopped again already, and its run gone.
            if let Some(task) = self.s.tasks.get(&key)
                && task.state == TaskState::Submitting
            {
                let group = (key.run, key.node, key.iteration, task.memory_bytes);
                groups.entry(group).or_default().push(key);
            }
        }
        for keys in groups.values() {
            for part in keys.chunks(SIZE_MAX).filter(|it| it.len() > 1) {
                self.make_array(part);
            }
        }
    }

    fn make_array(&mut self, keys: &[TaskKey]) {
        let first = self.attempt_id(keys[0], self.s.tasks[&keys[0]].attempt);
        for (index, key) in (0..).zip(keys) {
            let row = TaskRow {
                array: Some(ArrayPlace {
                    first: first.clone(),
                    index,
                    size: keys.len() as u32,
                }),
                ..TaskRow::clone(&self.s.tasks[key])
            };
            // Its entry was written when the input that placed it was done; more may have been placed since.
            if let Some(entry) = self.entries.get(key) {
                self.changes.journal[*entry].body = json(&row);
            }
            self.amend_task(*key, row);
        }
    }
}
