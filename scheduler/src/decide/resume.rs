//! Resume: the same run goes on. What was finished keeps its outputs; the rest is done again.
//!
//! The tokens of the run are simply moved once more from its first nodes. A finished task hands on
//! its token as before; a task that is to be repeated waits until its tokens come.

use super::Draft;
use crate::flow::{Flow, NodeId};
use crate::id::{RunId, StepName, Version};
use crate::input::{Answer, Rejected, ResumeRequest, ResumeWith};
use crate::reason::Reason;
use crate::row::{RunRow, RunSnapshot, RunState, ScopeRow, ScopeState, TaskRow, TaskState};
use crate::state::Run;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Draft {
    pub(super) fn resume(&mut self, request: ResumeRequest) -> Result<Answer, Rejected> {
        let ResumeRequest {
            snapshot,
            from,
            with,
            ..
        } = request;
        let (run, id) = (&snapshot.run, snapshot.run.id);
        if self.s.runs.contains_key(&id) || !run.state.is_terminal() {
            return Err(Rejected::NotFinished(id));
        }
        let (flow, version) = self.flow_version(&snapshot.version, run, with)?;
        if from.is_none() && run.state == RunState::Succeeded {
            return Err(Rejected::AlreadySucceeded(id));
        }
        let again = repeated(&flow, from.as_ref())?;
        self.check_children(&snapshot)?;
        self.take_back(&snapshot, flow, version, &again, None, with);
        Ok(Answer::Run {
            run: id,
            duplicate: false,
        })
    }

    /// Lays a finished run down as queued; `reason`: what it waits for besides slots.
    pub(super) fn take_back(
        &mut self,
        snapshot: &RunSnapshot,
        flow: Arc<Flow>,
        version: Version,
        again: &BTreeSet<NodeId>,
        reason: Option<Reason>,
        with: ResumeWith,
    ) {
        let (run, id) = (&snapshot.run, snapshot.run.id);
        self.put_run(Run {
            row: Arc::new(RunRow {
                state: RunState::Queued,
                version,
                generation: run.generation + 1,
                reason,
                ending: None,
                queued_at: self.now,
                finished_at: None,
                deadline: None,
                ..RunRow::clone(run)
            }),
            flow: flow.clone(),
            active: 0,
            failed: 0,
            cloned: Arc::default(),
        });
        for task in &snapshot.tasks {
            self.take_back_task(&flow, id, task, again);
        }
        for scope in &snapshot.scopes {
            self.take_back_scope(&flow, scope, again);
        }
        self.item_resumed(id);
        if run.origin.is_some() {
            self.s.remember_clones(id);
        }
        self.take_back_children(snapshot, again, with);
    }

    fn take_back_task(
        &mut self,
        flow: &Flow,
        run: RunId,
        task: &Arc<TaskRow>,
        again: &BTreeSet<NodeId>,
    ) {
        // A step that is gone, or stands in another block now, has no part in the run any more.
        let Some(key) = crate::state::key_in(flow, run, &task.task) else {
            return;
        };
        let node = key.node;
        // A new end calls its hooks anew.
        let hook = flow.step_of(node).hook.is_some();
        let done = !hook && matches!(task.state, TaskState::Succeeded | TaskState::Caught);
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

    fn take_back_scope(&mut self, flow: &Flow, scope: &Arc<ScopeRow>, again: &BTreeSet<NodeId>) {
        let Some(place) = crate::state::place_in(flow, scope) else {
            return;
        };
        let node = place.node;
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

    /// The version with which the run goes on: the active one, or the stored one.
    pub(super) fn flow_version(
        &self,
        stored: &crate::row::FlowVersionRow,
        run: &RunRow,
        with: ResumeWith,
    ) -> Result<(Arc<Flow>, Version), Rejected> {
        if let Some(state) = self.s.flows.get(&run.flow)
            && let (Some(version), Some(flow)) = (&state.row.active_version, &state.flow)
            && (with == ResumeWith::Latest || *version == run.version)
        {
            return Ok((flow.clone(), version.clone()));
        }
        match crate::recover::read_version(stored) {
            Some(flow) => Ok((Arc::new(flow), run.version.clone())),
            None => Err(Rejected::NoVersion(run.flow.clone())),
        }
    }
}

/// The nodes that are done again, finished or not: a step or block, and all that follows from it.
pub(super) fn repeated(flow: &Flow, from: Option<&StepName>) -> Result<BTreeSet<NodeId>, Rejected> {
    let Some(name) = from else {
        return Ok(BTreeSet::new());
    };
    let first = flow
        .scope(name.as_str())
        .map(|(_, open, _)| open)
        .or_else(|| flow.step_node(name.as_str()))
        .ok_or_else(|| Rejected::UnknownStep {
            flow: flow.name().clone(),
            step: name.clone(),
        })?;
    Ok(flow.following(first))
}
