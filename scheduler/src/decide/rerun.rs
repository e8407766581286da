//! Rerun: a new run is made from a finished one. What was finished there before a step is taken over; the rest is
//! done in the new run, which may have other parameters.
//!
//! As at a resume, the tokens of the run are moved from its first nodes, and finished tasks hand theirs on.

use super::Draft;
use super::runs::{Arrival, Before};
use crate::id::TriggerName;
use crate::input::{Answer, Input, Rejected, RerunRequest};
use crate::params;
use crate::row::{RunState, ScopeRow, ScopeState, TaskRow, TaskState};
use crate::state::{Run, key_in, place_in};
use serde_json::Map;
use std::sync::Arc;

impl Draft {
    pub(super) fn rerun(&mut self, request: RerunRequest) -> Result<Answer, Rejected> {
        let claim = Input::Rerun(Box::new(request.clone())).claim();
        let RerunRequest {
            snapshot,
            from,
            params,
            with,
            key,
            ..
        } = request;
        let before = &snapshot.run;
        self.active_flow(&before.flow)?;
        super::runs::check_key(key.as_ref())?;
        if self.s.runs.contains_key(&before.id) || !before.state.is_terminal() {
            return Err(Rejected::NotFinished(before.id));
        }
        if from.is_none() && before.state == RunState::Succeeded {
            return Err(Rejected::AlreadySucceeded(before.id));
        }
        let (flow, version) = self.flow_version(&snapshot.version, before, with)?;
        let again = super::resume::repeated(&flow, from.as_ref())?;
        // A value that the flow has no use for any more is left behind; one that is given now must fit.
        let declared = |name: &String| flow.spec().params.iter().any(|it| it.name == *name);
        let old = before.params.iter().filter(|(name, _)| declared(name));
        let mut given: Map<_, _> = old.map(|(it, value)| (it.clone(), value.clone())).collect();
        given.extend(params);
        let events = Vec::clone(&before.event_data);
        let next = self.s.last_run + 1;
        let scope = params::scope_of(before.interval, events, next, &before.flow);
        params::resolve(flow.spec(), &given, &scope).map_err(Rejected::BadParams)?;

        let mut tasks = Vec::new();
        for task in &snapshot.tasks {
            let node = key_in(&flow, before.id, &task.task).map(|it| it.node);
            let kept = |&node| !again.contains(&node) && flow.step_of(node).hook.is_none();
            if is_done(task) && node.as_ref().is_some_and(kept) {
                tasks.push(task.clone());
            }
        }
        let mut scopes = snapshot.scopes.clone();
        scopes.retain(|scope| {
            let kept = matches!(scope.state, ScopeState::Open | ScopeState::Closed);
            kept && place_in(&flow, scope).is_some_and(|it| !again.contains(&it.node))
        });
        // Where nothing was finished besides what it began with, that lies with the run from which it came.
        let of_its_own = snapshot
            .tasks
            .iter()
            .any(|it| is_done(it) && it.submitted_at.is_some());
        let origin = match (before.origin, before.origin_created_at) {
            (Some(run), Some(created_at)) if !of_its_own => (run, created_at),
            _ => (before.id, before.created_at),
        };
        let key = match &key {
            Some(key) => format!("rerun:{key}"),
            None => format!("rerun:#{}", self.s.last_journal + 1),
        };
        Ok(self.arrive_for(
            claim,
            Arrival {
                flow: before.flow.clone(),
                key,
                trigger: TriggerName::new("rerun"),
                due_at: self.now,
                interval: before.interval,
                params: given,
                events: Vec::new(),
                before: Some(Before {
                    run: before.clone(),
                    origin,
                    flow,
                    version,
                    tasks,
                    scopes,
                }),
            },
        ))
    }

    /// Lays down what a new run takes over. A task keeps its numbers, and with them its name in Metaflow, where the
    /// clone has the same; that it has no attempt in this run shows in that none was ever submitted.
    pub(super) fn take_over(&mut self, run: &Run, before: &Before) {
        let id = run.row.id;
        for task in &before.tasks {
            let Some(key) = key_in(&run.flow, id, &task.task) else {
                continue;
            };
            let row = TaskRow {
                run: id,
                retries: Default::default(),
                ready_at: self.now,
                submitted_at: None,
                started_at: None,
                finished_at: Some(self.now),
                external_id: None,
                ..TaskRow::clone(task)
            };
            self.put_task(key, row);
        }
        for scope in &before.scopes {
            let row = ScopeRow {
                run: id,
                opened_at: self.now,
                closed_at: scope.closed_at.map(|_| self.now),
                ..ScopeRow::clone(scope)
            };
            if let Some(place) = place_in(&run.flow, &row) {
                self.put_scope(place, row);
            }
        }
        self.s.remember_clones(id);
    }
}

fn is_done(task: &Arc<TaskRow>) -> bool {
    matches!(task.state, TaskState::Succeeded | TaskState::Caught)
}
