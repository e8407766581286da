//! Runs: how they come into being under their flow's strategy, how they are cancelled, how they end.

use super::Draft;
use super::events::{KEY_BYTES_MAX, event_json};
use crate::flow::{Flow, NodeId};
use crate::id::{FlowName, Path, RunId, TriggerName, Version};
use crate::input::{Answer, NewEvent, Rejected, StartRequest};
use crate::metaflow::ended::{self, Ended};
use crate::params;
use crate::reason::{Limit, Reason};
use crate::row::{
    Claim, EventRow, Interval, OccurrenceRow, OccurrenceState, RunRow, RunState, ScopeRow, TaskRow,
    TaskState,
};
use crate::spec::{HookOn, Strategy};
use crate::state::{Run, TaskKey};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The type of the event that every finished run gives.
pub const RUN_ENDED: &str = "dalsegno.run.ended";

/// A reason to run a flow now.
pub(super) struct Arrival {
    pub(super) flow: FlowName,
    pub(super) key: String,
    pub(super) trigger: TriggerName,
    pub(super) due_at: Timestamp,
    pub(super) interval: Interval,
    pub(super) params: Map<String, Value>,
    pub(super) events: Vec<Arc<EventRow>>,
    pub(super) before: Option<Before>,
}

/// The finished run that a new one is made from, and what is taken over of it.
pub(super) struct Before {
    pub(super) run: Arc<RunRow>,
    /// Where that lies, and when that run was created.
    pub(super) origin: (RunId, Timestamp),
    /// With which the new run goes on.
    pub(super) flow: Arc<Flow>,
    pub(super) version: Version,
    pub(super) tasks: Vec<Arc<TaskRow>>,
    pub(super) scopes: Vec<Arc<ScopeRow>>,
}

impl Draft {
    /// Someone wants a run now. A pause stops schedules and triggers, not people.
    pub(super) fn start(&mut self, request: StartRequest) -> Result<Answer, Rejected> {
        let flow = self.active_flow(&request.flow)?;
        check_key(request.key.as_ref())?;
        let interval = Interval {
            start: self.now,
            end: self.now,
        };
        params::resolve(
            flow.spec(),
            &request.params,
            &params::scope(interval, &[], self.s.last_run + 1, &request.flow),
        )
        .map_err(Rejected::BadParams)?;
        let key = match &request.key {
            Some(key) => format!("manual:key:{key}"),
            // Each decision that is on record has a journal entry, so no two share a number.
            None => format!("manual:#{}", self.s.last_journal + 1),
        };
        let claim = crate::input::Input::Start(request.clone()).claim();
        let arrival = Arrival {
            flow: request.flow,
            key,
            trigger: TriggerName::new("manual"),
            due_at: self.now,
            interval,
            params: request.params,
            events: Vec::new(),
            before: None,
        };
        Ok(self.arrive_for(claim, arrival))
    }

    /// Someone asked for this run, and is answered; a second time with the same key by the first result.
    pub(super) fn arrive_for(&mut self, claim: Option<String>, arrival: Arrival) -> Answer {
        let (flow, occurrence) = (arrival.flow.clone(), arrival.key.clone());
        let result = self.arrive(arrival);
        if let Some(key) = claim {
            self.changes.claims.push(Claim {
                key,
                result: match &result {
                    Ok(run) => format!("run:{run}"),
                    Err(_) => format!("occurrence:{flow} {occurrence}"),
                },
            });
        }
        match result {
            Ok(run) => Answer::Run {
                run,
                duplicate: false,
            },
            Err(reason) => Answer::NotStarted { occurrence, reason },
        }
    }

    pub(super) fn active_flow(&self, name: &FlowName) -> Result<Arc<Flow>, Rejected> {
        self.s.active(name)
    }

    /// A run comes into being, or its occurrence says why not.
    pub(super) fn arrive(&mut self, arrival: Arrival) -> Result<RunId, Reason> {
        let result = self.admit(&arrival);
        let (state, reason, run) = match &result {
            Ok(run) => (OccurrenceState::Ran, None, Some(*run)),
            Err(reason) => (OccurrenceState::Skipped, Some(reason.clone()), None),
        };
        self.put_occurrence(OccurrenceRow {
            flow: arrival.flow,
            key: arrival.key,
            trigger: arrival.trigger,
            due_at: arrival.due_at,
            interval: arrival.interval,
            state,
            reason,
            run,
            updated_at: self.now,
            since: arrival.interval.end,
        });
        result
    }

    fn admit(&mut self, arrival: &Arrival) -> Result<RunId, Reason> {
        let state = self.s.flows.get(&arrival.flow).cloned();
        let (row, flow) = match state.as_deref() {
            Some(state) if state.row.removed => return Err(Reason::FlowRemoved),
            Some(state) => match &state.flow {
                Some(flow) => (state.row.clone(), flow.clone()),
                None => {
                    let message = state.row.invalid.clone().unwrap_or_default();
                    return Err(Reason::FlowInvalid { message });
                }
            },
            None => return Err(Reason::FlowRemoved),
        };
        let version = row
            .active_version
            .expect("a flow with a graph has a version");
        let mut event_data: Vec<Value> = arrival.events.iter().map(|it| event_json(it)).collect();
        let mut events = super::backfill::on_record(&arrival.events);
        let backfill = super::backfill::item_named(&arrival.key).map(|(backfill, _)| backfill);
        // How runs of a flow relate to each other is a matter of its active version.
        // Runs of a backfill stand beside them, in a lane of their own.
        let strategy = match backfill {
            Some(_) => Strategy::Parallel(u32::MAX),
            None => flow.spec().run.strategy,
        };
        let (flow, version) = match &arrival.before {
            Some(before) => {
                event_data = Vec::clone(&before.run.event_data);
                events = before.run.events.clone();
                (before.flow.clone(), before.version.clone())
            }
            None => (flow, version),
        };
        let id = RunId(self.s.last_run + 1);
        let scope = params::scope_of(arrival.interval, event_data.clone(), id.0, &arrival.flow);
        let params = params::resolve(flow.spec(), &arrival.params, &scope).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Reason::BadParams {
                message: texts.join("; "),
            }
        })?;
        let policy = &flow.spec().run;
        // A queue of thousands is looked through only where the strategy asks for it.
        let unfinished = match strategy {
            Strategy::Sequential | Strategy::StrictSequential | Strategy::Parallel(_) => Vec::new(),
            Strategy::FirstOnly | Strategy::LastOnly | Strategy::SerialLatestOnly => {
                let mut unfinished = self.s.unfinished(&arrival.flow);
                // Those that ended just now are still in memory.
                unfinished.retain(|it| {
                    let row = &self.run(*it).row;
                    !row.state.is_terminal() && row.backfill.is_none()
                });
                unfinished
            }
        };
        if strategy == Strategy::FirstOnly
            && let Some(&running) = unfinished.first()
        {
            let strategy = "first_only".to_owned();
            return Err(Reason::StrategyRefused { strategy, running });
        }
        // The number is taken before others are replaced: their ends may start runs of other flows.
        self.s.last_run = id.0;
        match strategy {
            Strategy::LastOnly => {
                for run in unfinished {
                    self.replace(run, id, &arrival.key);
                }
            }
            Strategy::SerialLatestOnly => {
                for run in unfinished {
                    if self.run(run).row.state == RunState::Queued {
                        self.replace(run, id, &arrival.key);
                    }
                }
            }
            Strategy::FirstOnly
            | Strategy::Sequential
            | Strategy::StrictSequential
            | Strategy::Parallel(_) => {}
        }
        let origin = arrival.before.as_ref().map(|it| it.origin);
        let run = Run {
            row: Arc::new(RunRow {
                id,
                flow: arrival.flow.clone(),
                version,
                state: RunState::Queued,
                generation: 1,
                params: Arc::new(params),
                occurrence: arrival.key.clone(),
                trigger: arrival.trigger.clone(),
                interval: arrival.interval,
                priority: policy.priority,
                events,
                event_data: Arc::new(event_data),
                reason: None,
                ending: None,
                queued_at: self.now,
                created_at: self.now,
                started_at: None,
                finished_at: None,
                deadline: None,
                origin: origin.map(|(run, _)| run),
                origin_created_at: origin.map(|(_, created_at)| created_at),
                parent: None,
                backfill,
            }),
            flow,
            active: 0,
            failed: 0,
            cloned: Arc::default(),
        };
        self.put_run(run.clone());
        if let Some(before) = &arrival.before {
            self.take_over(&run, before);
        }
        Ok(id)
    }

    /// A newer run takes the place of this one.
    fn replace(&mut self, run: RunId, by: RunId, occurrence: &str) {
        let row = self.run(run).row.clone();
        if row.state == RunState::Queued && row.generation == 1 {
            self.coalesce(occurrence_of(&row), occurrence);
        }
        match row.state {
            RunState::Queued => self.end_run(
                run,
                RunState::Cancelled,
                Some(Reason::ReplacedBy { run: by }),
            ),
            RunState::Running => {
                self.begin_cancelling(run, RunState::Cancelled, Reason::ReplacedBy { run: by });
            }
            _ => {}
        }
    }

    /// Another occurrence stands for this one.
    pub(super) fn coalesce(&mut self, row: OccurrenceRow, into: &str) {
        self.put_occurrence(OccurrenceRow {
            state: OccurrenceState::Coalesced,
            reason: Some(Reason::Coalesced {
                into: into.to_owned(),
            }),
            ..row
        });
    }

    /// Someone wants a run to end.
    pub(super) fn cancel(&mut self, run: RunId, reason: Reason) -> Result<Answer, Rejected> {
        let state = self
            .s
            .runs
            .get(&run)
            .ok_or(Rejected::UnknownRun(run))?
            .row
            .state;
        match state {
            RunState::Queued => self.end_run(run, RunState::Cancelled, Some(reason)),
            RunState::Running => self.begin_cancelling(run, RunState::Cancelled, reason),
            _ => {}
        }
        Ok(Answer::Done)
    }

    pub(super) fn run_timed_out(&mut self, run: RunId) {
        let timeout = self.flow_of(run).spec().run.timeout.unwrap_or_default();
        self.begin_cancelling(run, RunState::TimedOut, Reason::RunTimeout { timeout });
    }

    /// Stops all that lives; the run ends as `ending` when the last attempt is dead. When only its hooks are left, they
    /// are stopped, and the run ends as it had come to end without them.
    pub(super) fn begin_cancelling(&mut self, id: RunId, ending: RunState, reason: Reason) {
        if self.is_at_hooks(id) {
            let mut run = Run::clone(self.run(id));
            if run.row.deadline.is_some() {
                run.row = Arc::new(RunRow {
                    deadline: None,
                    ..RunRow::clone(&run.row)
                });
                self.put_run(run);
            }
            return self.stop_tasks(id, &reason, &[]);
        }
        self.change_run(id, RunState::Cancelling, |row| {
            row.ending = Some(ending);
            row.reason = Some(reason.clone());
        });
        self.stop_tasks(id, &reason, &[TaskState::Waiting]);
    }

    /// Stops what lives and cancels what waits for its turn; also what is in one of these other states.
    fn stop_tasks(&mut self, id: RunId, reason: &Reason, others: &[TaskState]) {
        let tasks: Vec<(TaskKey, TaskState)> = self
            .s
            .run_tasks(id)
            .map(|(key, row)| (*key, row.state))
            .collect();
        for (key, state) in tasks {
            match state {
                TaskState::Submitting | TaskState::Running => self.stop_task(key, reason.clone()),
                TaskState::Ready | TaskState::BackingOff => self.cancel_task(key, reason),
                _ if others.contains(&state) => self.cancel_task(key, reason),
                _ => {}
            }
        }
        self.maybe_done.insert(id);
    }

    fn cancel_task(&mut self, key: TaskKey, reason: &Reason) {
        let (now, reason) = (self.now, reason.clone());
        self.change_task(key, TaskState::Cancelled, |row| {
            row.retry_at = None;
            row.finished_at = Some(now);
            row.reason = Some(reason);
        });
    }

    /// All else of the run is over, and its hooks have been called.
    fn is_at_hooks(&self, id: RunId) -> bool {
        let flow = &self.run(id).flow;
        let mut hooks = flow.hooks().iter().map(|(node, _)| root_key(id, *node));
        hooks.any(|it| {
            let row = self.s.tasks.get(&it);
            row.is_some_and(|row| row.state != TaskState::Waiting)
        })
    }

    /// Calls the hooks for this end of a run; those for the other end say so. Gives whether there are any.
    fn call_hooks(&mut self, id: RunId, on: HookOn) -> bool {
        let flow = self.flow_of(id);
        for &(node, wants) in flow.hooks() {
            let key = root_key(id, node);
            if wants == on {
                self.bear(key);
            } else {
                self.skip_task(&flow, key, Reason::OtherEnd { on: wants });
            }
        }
        !flow.hooks().is_empty()
    }

    pub(super) fn end_if_done(&mut self, id: RunId) {
        let Some(run) = self.s.runs.get(&id) else {
            return;
        };
        if run.active > 0 {
            return;
        }
        let on = match run.failed {
            0 => HookOn::Success,
            _ => HookOn::Failure,
        };
        if run.row.state == RunState::Running && !self.is_at_hooks(id) && self.call_hooks(id, on) {
            return;
        }
        let run = self.run(id);
        match run.row.state {
            RunState::Running if run.failed > 0 => {
                let first = self
                    .s
                    .run_tasks(id)
                    .find(|(_, row)| row.state == TaskState::Failed);
                let scope = || {
                    let failed = |row: &&Arc<crate::row::ScopeRow>| {
                        row.state == crate::row::ScopeState::Failed
                    };
                    let mut scopes = self.s.run_scopes(id).map(|(_, row)| row);
                    scopes.find(failed).map(|row| row.scope.to_string())
                };
                let first = first.map_or_else(
                    || scope().unwrap_or_default(),
                    |(_, row)| row.task.to_string(),
                );
                let reason = Reason::TasksFailed {
                    tasks: run.failed,
                    first,
                };
                self.end_run(id, RunState::Failed, Some(reason));
            }
            RunState::Running => self.end_run(id, RunState::Succeeded, None),
            RunState::Cancelling => {
                let ending = run.row.ending.unwrap_or(RunState::Cancelled);
                let reason = run.row.reason.clone();
                self.end_run(id, ending, reason);
            }
            _ => {}
        }
    }

    pub(super) fn end_run(&mut self, id: RunId, state: RunState, reason: Option<Reason>) {
        let now = self.now;
        self.sweep_waiting(id);
        self.change_run(id, state, |row| {
            row.finished_at = Some(now);
            row.deadline = None;
            row.ending = None;
            row.reason = reason;
        });
        let row = self.run(id).row.clone();
        self.ended.push(id);
        if row.generation > 1 {
            self.end_held(id);
        }
        if row.parent.is_some() {
            self.children_ended.push_back(id);
        }
        self.update_block(&row);
        self.alert_of_end(&row);
        self.tell_end(&row);
    }

    /// After a resume with fewer items, some tasks were never reached again.
    fn sweep_waiting(&mut self, id: RunId) {
        if self.run(id).row.generation == 1 {
            return;
        }
        let waiting: Vec<(TaskKey, TaskRow)> = self
            .s
            .run_tasks(id)
            .filter(|(_, row)| row.state == TaskState::Waiting)
            .map(|(key, row)| (*key, TaskRow::clone(row)))
            .collect();
        for (key, row) in waiting {
            let step = row.task.step.clone();
            self.put_task(
                key,
                TaskRow {
                    state: TaskState::Skipped,
                    reason: Some(Reason::UpstreamSkipped { step }),
                    finished_at: Some(self.now),
                    ..row
                },
            );
        }
    }

    /// `strict_sequential`: a failure blocks the flow, success of the same run frees it.
    fn update_block(&mut self, row: &RunRow) {
        let Some(state) = self.s.flows.get(&row.flow) else {
            return;
        };
        let strict = state
            .flow
            .as_ref()
            .is_some_and(|it| it.spec().run.strategy == Strategy::StrictSequential);
        match state.row.blocked_by {
            None if strict && row.state == RunState::Failed && row.backfill.is_none() => {
                let run = row.id;
                self.change_flow(&row.flow.clone(), |flow| flow.blocked_by = Some(run));
            }
            Some(run) if run == row.id && row.state == RunState::Succeeded => {
                self.change_flow(&row.flow.clone(), |flow| flow.blocked_by = None);
                self.freed.insert(Limit::Flow(row.flow.clone()));
            }
            _ => {}
        }
    }

    /// Upstream completion is an event like any other, written in the commit that ends the run.
    fn tell_end(&mut self, row: &RunRow) {
        let flow = self.flow_of(row.id);
        let end = flow.metaflow().and_then(|it| {
            let node = flow.step_node(it.end.as_str())?;
            self.s.last_iteration(root_key(row.id, node)).cloned()
        });
        let (now, end) = (self.now, end.as_deref());
        let mut data = json!({
            "flow": row.flow,
            "run": row.id.to_string(),
            "state": row.state,
            "generation": row.generation,
            "params": *row.params,
            "interval": params::interval(row.interval),
            "trigger": row.trigger,
        });
        if let Some(parent) = &row.parent {
            data["parent"] = json!({
                "run": parent.attempt.run.to_string(),
                "task": parent.attempt.task,
                "attempt": parent.attempt,
            });
        }
        if let Some(metaflow) = flow.metaflow() {
            data["metaflow"] = ended::about(&row.flow, metaflow, row, end, now);
        }
        if let Some(backfill) = row.backfill {
            data["backfill"] = backfill.into();
        }
        let told = self.take_event(NewEvent {
            source: format!("dalsegno:flow/{}", row.flow),
            id: format!("run:{}:{}:{}", row.id, row.generation, row.state),
            kind: RUN_ENDED.to_owned(),
            subject: Some(row.flow.to_string()),
            time: Some(self.now),
            data,
        });
        if row.backfill.is_some() {
            let events = self.changes.events.iter().rev();
            let event = events.clone().find(|it| it.seq == told).cloned();
            self.item_ended(row, &event.expect("it was recorded just now"));
        }
        let metaflow = flow.metaflow().filter(|_| row.state == RunState::Succeeded);
        let told = metaflow.map(|it| ended::success(&row.flow, it, row, end, now));
        for Ended { kind, id, mut data } in told.unwrap_or_default() {
            if let Some(backfill) = row.backfill {
                data["backfill"] = backfill.into();
            }
            self.take_event(NewEvent {
                source: format!("dalsegno:flow/{}", row.flow),
                id,
                kind,
                subject: Some(row.flow.to_string()),
                time: Some(self.now),
                data,
            });
        }
    }
}

impl crate::state::Scheduler {
    /// The flow as it runs now.
    ///
    /// # Errors
    /// When there is none, its file is gone, or no version of it was ever valid.
    pub(crate) fn active(&self, name: &FlowName) -> Result<Arc<Flow>, Rejected> {
        let Some(state) = self.flows.get(name) else {
            let names = self.flows.keys().map(FlowName::as_str);
            return Err(Rejected::UnknownFlow {
                flow: name.clone(),
                similar: crate::flow::closest(name.as_str(), names).map(FlowName::new),
            });
        };
        if state.row.removed {
            return Err(Rejected::FlowRemoved(name.clone()));
        }
        state
            .flow
            .clone()
            .ok_or_else(|| Rejected::NoVersion(name.clone()))
    }
}

pub(super) fn check_key(key: Option<&String>) -> Result<(), Rejected> {
    match key {
        Some(key) if key.len() > KEY_BYTES_MAX => {
            Err(Rejected::TooLarge("the idempotency key", KEY_BYTES_MAX))
        }
        _ => Ok(()),
    }
}

fn root_key(run: RunId, node: NodeId) -> TaskKey {
    TaskKey {
        run,
        node,
        path: Path::ROOT,
        iteration: 0,
    }
}

/// The occurrence that a run stands for: decided ones are not in memory.
fn occurrence_of(run: &RunRow) -> OccurrenceRow {
    let scheduled = run.occurrence.starts_with("cron:");
    OccurrenceRow {
        flow: run.flow.clone(),
        key: run.occurrence.clone(),
        trigger: run.trigger.clone(),
        due_at: if scheduled {
            run.interval.end.min(run.created_at)
        } else {
            run.created_at
        },
        interval: run.interval,
        state: OccurrenceState::Ran,
        reason: None,
        run: Some(run.id),
        updated_at: run.created_at,
        since: run.interval.end,
    }
}
