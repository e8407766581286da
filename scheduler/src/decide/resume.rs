//! Resume: the same run goes on. What was finished keeps its outputs; the rest is done again.
//!
//! The tokens of the run are simply moved once more from its first nodes. A finished task hands on
//! its token as before; a task that is to be repeated waits until its tokens come.

use super::Draft;
use crate::flow::{Flow, NodeId};
use crate::id::RunId;
use crate::input::{Answer, Rejected, ResumeRequest};
use crate::row::{RunRow, RunState, ScopeRow, ScopeState, TaskRow, TaskState};
use crate::state::{Place, Run, TaskKey};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Draft {
    pub(super) fn resume(&mut self, request: ResumeRequest) -> Result<Answer, Rejected> {
        let ResumeRequest { snapshot, from, .. } = request;
        let (run, id) = (&snapshot.run, snapshot.run.id);
        if self.s.runs.contains_key(&id) || !run.state.is_terminal() {
            return Err(Rejected::NotFinished(id));
        }
        let flow = self.flow_version(&snapshot.version, run)?;
        let again: BTreeSet<NodeId> = match &from {
            None if run.state == RunState::Succeeded => return Err(Rejected::AlreadySucceeded(id)),
            None => BTreeSet::new(),
            Some(name) => {
                let first = flow
                    .scope(name.as_str())
                    .map(|(_, open, _)| open)
                    .or_else(|| flow.step_node(name.as_str()))
                    .ok_or_else(|| Rejected::UnknownStep {
                        flow: run.flow.clone(),
                        step: name.clone(),
                    })?;
                flow.following(first)
            }
        };
        self.put_run(Run {
            row: Arc::new(RunRow {
                state: RunState::Queued,
                generation: run.generation + 1,
                reason: None,
                ending: None,
                queued_at: self.now,
                finished_at: None,
                deadline: None,
                ..RunRow::clone(run)
            }),
            flow: flow.clone(),
            active: 0,
            failed: 0,
        });
        for task in &snapshot.tasks {
            self.take_back_task(&flow, id, task, &again);
        }
        for scope in &snapshot.scopes {
            self.take_back_scope(&flow, id, scope, &again);
        }
        Ok(Answer::Run {
            run: id,
            duplicate: false,
        })
    }

    fn take_back_task(
        &mut self,
        flow: &Flow,
        run: RunId,
        task: &Arc<TaskRow>,
        again: &BTreeSet<NodeId>,
    ) {
        let Some(node) = flow.step_node(task.task.step.as_str()) else {
            return;
        };
        let key = TaskKey {
            run,
            node,
            path: task.task.path,
            iteration: task.task.iteration,
        };
        let done = matches!(task.state, TaskState::Succeeded | TaskState::Caught);
        if done && !again.contains(&node) {
            self.s.index_task(key, task.clone());
            return;
        }
        self.put_task(
            key,
            TaskRow {
                state: TaskState::Waiting,
                reason: None,
                retry_at: None,
                deadline: None,
                external_id: None,
                outputs: None,
                chosen: None,
                splits: None,
                ..TaskRow::clone(task)
            },
        );
    }

    fn take_back_scope(
        &mut self,
        flow: &Flow,
        run: RunId,
        scope: &Arc<ScopeRow>,
        again: &BTreeSet<NodeId>,
    ) {
        let Some((_, node, _)) = flow.scope(scope.scope.as_str()) else {
            return;
        };
        let place = Place {
            run,
            node,
            path: scope.path,
        };
        let kept = matches!(scope.state, ScopeState::Open | ScopeState::Closed);
        if kept && !again.contains(&node) {
            // Opened again with the same items when its token comes.
            self.s.index_scope(place, scope.clone());
            return;
        }
        self.put_scope(
            place,
            ScopeRow {
                state: ScopeState::Waiting,
                items: Arc::default(),
                reason: None,
                closed_at: None,
                ..ScopeRow::clone(scope)
            },
        );
    }

    /// The version a run belongs to: the active one if it is the same, else the stored one.
    fn flow_version(
        &self,
        version: &crate::row::FlowVersionRow,
        run: &RunRow,
    ) -> Result<Arc<Flow>, Rejected> {
        if let Some(state) = self.s.flows.get(&run.flow)
            && state.row.active_version.as_ref() == Some(&run.version)
            && let Some(flow) = &state.flow
        {
            return Ok(flow.clone());
        }
        crate::recover::read_version(version)
            .map(Arc::new)
            .ok_or_else(|| Rejected::NoVersion(run.flow.clone()))
    }
}
