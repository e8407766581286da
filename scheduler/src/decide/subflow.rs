//! Steps that run other flows: the run of such a step is made in the decision that starts the attempt, and its end
//! is the attempt's end. No executor ever hears of it.
//!
//! Everything is in rows: a run knows the attempt it was made for ([`ParentTask`]), and the attempt the run
//! (`external_id`). A run that a resume of its parent put back is queued with [`Reason::WaitsForTask`] and stands in
//! no queue until the task takes it up. See docs/adr/0017-sub-flows.md.

use super::Draft;
use super::runs::Arrival;
use crate::context;
use crate::flow::NodeId;
use crate::id::{AttemptId, FlowName, RunId, TaskId, TriggerName};
use crate::input::{Outcome, Rejected, ResumeWith, Success};
use crate::reason::{Limit, Reason};
use crate::row::{ParentTask, RunRow, RunSnapshot, RunState, TaskRow, TaskState};
use crate::spec::{Command, StepSpec, SubFlow};
use crate::state::{Place, Run, Scheduler, TaskKey, key_in};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many runs of sub-flows may be inside each other.
pub const SUB_FLOW_DEPTH_MAX: u32 = 8;

/// The flow that a step runs, if it runs one.
pub(crate) const fn sub_flow(step: &StepSpec) -> Option<&SubFlow> {
    match &step.run {
        Command::Flow(own) => Some(own),
        Command::Shell(_) | Command::Argv(_) | Command::Metaflow(_) => None,
    }
}

/// What an attempt that runs a flow has as its external id.
fn external_id(run: RunId) -> Arc<str> {
    format!("run:{run}").into()
}

/// The run that the external id of a sub-flow's attempt names.
pub fn child_run(external_id: &str) -> Option<RunId> {
    external_id.strip_prefix("run:")?.parse().ok()
}

/// Whether a run waits for slots. One that a resume of its parent put back waits for its task first.
pub(crate) fn in_queue(row: &RunRow) -> bool {
    row.state == RunState::Queued && !is_held(row)
}

fn is_held(row: &RunRow) -> bool {
    row.state == RunState::Queued && matches!(row.reason, Some(Reason::WaitsForTask { .. }))
}

impl Draft {
    /// The task has its slots: a run is made for it, or one that is on its way already is taken up.
    pub(super) fn start_child(&mut self, key: TaskKey, own: &SubFlow) {
        let number = self.s.tasks[&key].attempt;
        let attempt = self.attempt_id(key, number);
        let child = match self.s.adoptable(&attempt, own) {
            Some(run) => {
                self.adopt(run, &attempt);
                Ok(run)
            }
            None => self.make_child(key, &attempt, own),
        };
        // Runs that the new one replaced may have been what this task's own run hangs on.
        let task = self.s.tasks[&key].clone();
        let now = self.now;
        let child = match child {
            Ok(child) => child,
            Err(reason) => {
                return self.attempt_ended(key, &task, &Outcome::Failed(reason), None, now);
            }
        };
        let timeout = self.flow_of(key.run).step_of(key.node).timeout;
        let stopping = task.state == TaskState::Stopping;
        self.put_task(
            key,
            TaskRow {
                state: match stopping {
                    true => TaskState::Stopping,
                    false => TaskState::Running,
                },
                external_id: Some(external_id(child)),
                started_at: Some(now),
                deadline: timeout.filter(|_| !stopping).map(|it| now + it),
                ..TaskRow::clone(&task)
            },
        );
        let task = self.s.tasks[&key].clone();
        match (own.wait, stopping) {
            (true, false) => {}
            (true, true) => {
                let reason = task.reason.clone();
                self.stop_child(key, &attempt, reason.unwrap_or(Reason::FlowRemoved));
            }
            (false, false) => {
                let outcome = Outcome::Succeeded(result(&self.run(child).row));
                self.attempt_ended(key, &task, &outcome, Some(now), now);
            }
            (false, true) => self.attempt_ended(key, &task, &Outcome::Stopped, Some(now), now),
        }
    }

    fn make_child(
        &mut self,
        key: TaskKey,
        attempt: &AttemptId,
        own: &SubFlow,
    ) -> Result<RunId, Reason> {
        let parent = self.run(key.run).row.clone();
        let depth = 1 + parent.parent.as_ref().map_or(0, |it| it.depth);
        if depth > SUB_FLOW_DEPTH_MAX {
            return Err(Reason::SubFlowDepth {
                flow: own.flow.clone(),
                max: SUB_FLOW_DEPTH_MAX,
            });
        }
        if !self.s.flows.contains_key(&own.flow) {
            let names = self.s.flows.keys().map(FlowName::as_str);
            return Err(Reason::SubFlowUnknown {
                similar: crate::flow::closest(own.flow.as_str(), names).map(FlowName::new),
                flow: own.flow.clone(),
            });
        }
        let params = self.child_params(key, own)?;
        let arrival = Arrival {
            flow: own.flow.clone(),
            key: format!("task:{attempt}"),
            trigger: TriggerName::new("sub_flow"),
            due_at: self.now,
            interval: parent.interval,
            params,
            events: Vec::new(),
            before: None,
        };
        let id = self.arrive(arrival).map_err(|reason| match reason {
            Reason::BadParams { .. } => reason,
            because => Reason::SubFlowRefused {
                flow: own.flow.clone(),
                because: Box::new(because),
            },
        })?;
        let mut run = Run::clone(self.run(id));
        run.row = Arc::new(RunRow {
            parent: Some(ParentTask {
                attempt: attempt.clone(),
                waits: own.wait,
                depth,
            }),
            backfill: parent.backfill,
            ..RunRow::clone(&run.row)
        });
        self.put_run(run);
        Ok(id)
    }

    /// The parameters for the run, as seen from the task.
    fn child_params(&self, key: TaskKey, own: &SubFlow) -> Result<Map<String, Value>, Reason> {
        let place = Place {
            run: key.run,
            node: key.node,
            path: key.path,
        };
        let names = context::names_of(own.params.values().flat_map(|it| it.exprs()));
        let scope = context::scope(&self.s, place, &names);
        let mut params = Map::new();
        for (name, template) in &own.params {
            let value = template.eval(&scope).map_err(|error| Reason::Expression {
                message: format!("params {name}: {error}"),
            })?;
            params.insert(name.clone(), value);
        }
        Ok(params)
    }

    /// From now on the run is that of this attempt.
    fn adopt(&mut self, id: RunId, attempt: &AttemptId) {
        let mut run = Run::clone(self.run(id));
        let mut row = RunRow::clone(&run.row);
        if is_held(&row) {
            row.reason = None;
            row.queued_at = self.now;
        }
        if let Some(parent) = &mut row.parent {
            parent.attempt = attempt.clone();
        }
        run.row = Arc::new(row);
        self.put_run(run);
    }

    /// The attempt must die: what it runs is cancelled, and the attempt ends with it.
    pub(super) fn stop_child(&mut self, key: TaskKey, attempt: &AttemptId, reason: Reason) {
        let because = Reason::ParentStopped {
            run: attempt.run,
            task: attempt.task.to_string(),
            because: Box::new(reason),
        };
        let child = self.s.children.get(attempt).copied();
        let cancelled = child.is_some_and(|it| self.cancel(it, because).is_ok());
        let task = self.s.tasks[&key].clone();
        // Between being asked for and being made it has no run yet; without one that can be read it is over.
        if !cancelled && task.external_id.is_some() {
            let (now, started_at) = (self.now, task.started_at);
            self.attempt_ended(key, &task, &Outcome::Stopped, started_at, now);
        }
    }

    /// A run of a sub-flow is over: so is the attempt that waits for it.
    pub(super) fn child_ended(&mut self, child: RunId) {
        let row = self.run(child).row.clone();
        let Some(parent) = row.parent.as_ref().filter(|it| it.waits) else {
            return;
        };
        let attempt = &parent.attempt;
        let Some(key) = self.s.task_key(attempt.run, &attempt.task) else {
            return;
        };
        let Some(task) = self.s.tasks.get(&key).cloned() else {
            return;
        };
        if task.state.is_live() && task.attempt == attempt.number {
            let outcome = match row.state {
                RunState::Succeeded => Outcome::Succeeded(result(&row)),
                RunState::Cancelled if task.state == TaskState::Stopping => Outcome::Stopped,
                state => Outcome::Failed(Reason::SubFlow { run: child, state }),
            };
            let (now, started_at) = (self.now, task.started_at);
            return self.attempt_ended(key, &task, &outcome, started_at, now);
        }
        // Someone resumed it by hand, and its task has not begun again.
        let open = matches!(
            task.state,
            TaskState::Waiting | TaskState::Ready | TaskState::BackingOff
        );
        if open && row.state == RunState::Succeeded && self.s.runs_flow(key, &row.flow) {
            self.take_result(key, &row);
            if task.state != TaskState::Waiting {
                self.hand_on(key);
            }
        }
    }

    /// The task succeeds without another attempt: what it runs has succeeded meanwhile.
    fn take_result(&mut self, key: TaskKey, child: &RunRow) {
        let task = TaskRow::clone(&self.s.tasks[&key]);
        self.put_task(
            key,
            TaskRow {
                state: TaskState::Succeeded,
                reason: None,
                retry_at: None,
                finished_at: Some(self.now),
                external_id: Some(external_id(child.id)),
                outputs: Some(Arc::new(result(child).outputs)),
                ..task
            },
        );
    }

    /// A resume reaches through: of each task that is done again, the run of its sub-flow goes on too. One that
    /// succeeded meanwhile gives its result; one that is on its way is taken up when the task is.
    pub(super) fn take_back_children(
        &mut self,
        snapshot: &RunSnapshot,
        again: &BTreeSet<NodeId>,
        with: ResumeWith,
    ) {
        for (key, child) in self.children_of(snapshot) {
            let row = &child.run;
            let task = self.s.tasks.get(&key);
            if again.contains(&key.node)
                || task.is_none_or(|it| it.state != TaskState::Waiting)
                || self.s.runs.contains_key(&row.id)
            {
                continue;
            }
            if row.state == RunState::Succeeded {
                self.take_result(key, row);
                continue;
            }
            // Without a version that can be read, the task makes a new run.
            if let Ok((flow, version)) = self.flow_version(&child.version, row, with) {
                let reason = Reason::WaitsForTask {
                    run: key.run,
                    task: self.task_id(key).to_string(),
                };
                self.take_back(child, flow, version, &BTreeSet::new(), Some(reason), with);
            }
        }
    }

    /// Whether what a resume wants to put back has ended: a snapshot may be older than the state.
    pub(super) fn check_children(&self, snapshot: &RunSnapshot) -> Result<(), Rejected> {
        for child in &snapshot.children {
            let id = child.run.id;
            let waits = child.run.parent.as_ref().is_some_and(|it| it.waits);
            if waits && !child.run.state.is_terminal() && !self.s.runs.contains_key(&id) {
                return Err(Rejected::NotFinished(id));
            }
            self.check_children(child)?;
        }
        Ok(())
    }

    /// The newest run of each sub-flow step that still runs that flow and waits for it.
    fn children_of<'a>(&self, snapshot: &'a RunSnapshot) -> BTreeMap<TaskKey, &'a RunSnapshot> {
        let (id, flow) = (snapshot.run.id, self.flow_of(snapshot.run.id));
        let mut newest: BTreeMap<TaskKey, &RunSnapshot> = BTreeMap::new();
        for child in &snapshot.children {
            let parent = child.run.parent.as_ref();
            let parent = parent.filter(|it| it.waits && it.attempt.run == id);
            let key = parent.and_then(|it| key_in(&flow, id, &it.attempt.task));
            let Some(key) = key.filter(|it| self.s.runs_flow(*it, &child.run.flow)) else {
                continue;
            };
            let held = newest.entry(key).or_insert(child);
            if held.run.id < child.run.id {
                *held = child;
            }
        }
        newest
    }

    /// The run is over, and did not come to these tasks again: what a resume put back for them is over too.
    pub(super) fn end_held(&mut self, run: RunId) {
        for (attempt, child) in self.s.children_in(run) {
            if is_held(&self.run(child).row) {
                let reason = Reason::TaskNotReached {
                    run,
                    task: attempt.task.to_string(),
                };
                self.end_run(child, RunState::Cancelled, Some(reason));
            }
        }
    }
}

/// What a task that runs a flow gives to those after it.
fn result(run: &RunRow) -> Success {
    let outputs = [
        ("run".to_owned(), json!(run.id.to_string())),
        ("state".to_owned(), json!(run.state)),
    ];
    Success {
        outputs: outputs.into_iter().collect(),
        ..Success::default()
    }
}

impl Scheduler {
    /// The run of the sub-flow that a task's newest attempt made or took up; of tasks of unfinished runs.
    pub fn child_of(&self, attempt: &AttemptId) -> Option<RunId> {
        let key = self.task_key(attempt.run, &attempt.task)?;
        sub_flow(self.runs[&key.run].flow.step_of(key.node))?;
        let task = self.tasks.get(&key)?;
        let task = Some(task).filter(|it| it.attempt == attempt.number)?;
        child_run(task.external_id.as_deref()?)
    }

    /// The flows that have a step that runs this one.
    pub fn callers(&self, flow: &FlowName) -> impl Iterator<Item = &FlowName> {
        let first = (flow.clone(), FlowName::new(""));
        let flow = flow.clone();
        let from = self.sub_flows.range(first..);
        from.take_while(move |(it, _)| *it == flow)
            .map(|(_, caller)| caller)
    }

    /// Whether all who hold slots of a limit wait for runs that can only begin when such slots are free.
    pub(crate) fn all_holders_wait(&self, limit: &Limit) -> bool {
        let holds = |limits: Vec<(Limit, u32)>| limits.iter().any(|(it, _)| it == limit);
        let runs = self.runs.values().filter(|run| {
            let holding = matches!(run.row.state, RunState::Running | RunState::Cancelling);
            holding && holds(self.run_limits(run))
        });
        let mut tasks = self
            .tasks
            .iter()
            .filter(|(key, row)| row.state.is_live() && holds(self.task_limits(**key)));
        runs.into_iter().all(|run| self.is_stuck(run.row.id, limit))
            && tasks.all(|(key, _)| self.waits_in_vain(*key, limit))
    }

    /// Nothing of a run goes on before slots of a limit are free.
    fn is_stuck(&self, run: RunId, limit: &Limit) -> bool {
        let Some(run) = self.runs.get(&run) else {
            return false;
        };
        let wants_slots = |reason: &Option<Reason>| matches!(reason, Some(Reason::LimitFull { limit: it, .. }) if it == limit);
        match run.row.state {
            RunState::Queued => wants_slots(&run.row.reason),
            RunState::Running => self
                .run_tasks(run.row.id)
                .all(|(key, row)| match row.state {
                    TaskState::Ready => wants_slots(&row.reason),
                    TaskState::BackingOff | TaskState::Submitting | TaskState::Stopping => false,
                    TaskState::Running => self.waits_in_vain(*key, limit),
                    _ => true,
                }),
            _ => false,
        }
    }

    fn waits_in_vain(&self, key: TaskKey, limit: &Limit) -> bool {
        let task = &self.tasks[&key];
        let child = task
            .external_id
            .as_deref()
            .filter(|_| self.runs_a_flow(key));
        let child = child.and_then(child_run);
        child.is_some_and(|it| self.is_stuck(it, limit))
    }

    /// Whether a task's step runs a flow.
    pub(crate) fn runs_a_flow(&self, key: TaskKey) -> bool {
        let run = self.runs.get(&key.run);
        run.is_some_and(|it| sub_flow(it.flow.step_of(key.node)).is_some())
    }

    /// Whether the step of a task runs this flow and waits for it.
    fn runs_flow(&self, key: TaskKey, flow: &FlowName) -> bool {
        let run = self.runs.get(&key.run);
        let own = run.and_then(|it| sub_flow(it.flow.step_of(key.node)));
        own.is_some_and(|it| it.wait && it.flow == *flow)
    }

    /// An unfinished run for the same task from an earlier attempt: a resume put it back, or someone resumed it.
    fn adoptable(&self, attempt: &AttemptId, own: &SubFlow) -> Option<RunId> {
        let first = AttemptId {
            number: 0,
            ..attempt.clone()
        };
        let usable = |id: &RunId| {
            let row = &self.runs[id].row;
            row.flow == own.flow && matches!(row.state, RunState::Queued | RunState::Running)
        };
        let earlier = self.children.range(first..attempt.clone());
        let mut newest = earlier.rev().map(|(_, id)| *id).filter(|_| own.wait);
        newest.find(usable)
    }

    /// The runs for which tasks of a run wait, or will.
    pub(crate) fn children_in(&self, run: RunId) -> Vec<(AttemptId, RunId)> {
        let first = |run| AttemptId {
            run,
            task: TaskId {
                step: "".into(),
                path: crate::id::Path::ROOT,
                iteration: 0,
            },
            number: 0,
        };
        let all = self.children.range(first(run)..first(RunId(run.0 + 1)));
        all.map(|(attempt, id)| (attempt.clone(), *id)).collect()
    }

    pub(crate) fn index_child(&mut self, old: Option<&RunRow>, row: &RunRow) {
        if old.map(|it| &it.parent) == Some(&row.parent) {
            return;
        }
        if let Some(old) = old {
            self.forget_child(old);
        }
        if let Some(parent) = row.parent.as_ref().filter(|it| it.waits) {
            self.children.insert(parent.attempt.clone(), row.id);
        }
    }

    pub(crate) fn forget_child(&mut self, row: &RunRow) {
        if let Some(parent) = &row.parent
            && self.children.get(&parent.attempt) == Some(&row.id)
        {
            self.children.remove(&parent.attempt);
        }
    }
}
