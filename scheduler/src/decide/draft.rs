//! The draft: a working copy of the state, and what was touched in it.

use super::Decision;
use super::alerts::Missed;
use crate::flow::Flow;
use crate::id::{AttemptId, FlowName, RunId, TaskId, TriggerName};
use crate::input::{Answer, Command, Input, Rejected};
use crate::reason::{Limit, Reason};
use crate::row::{
    BackfillItemRow, BackfillRow, Changes, FlowRow, HalfMatchRow, JournalEntry, OccurrenceRow,
    OccurrenceState, RunRow, ScopeRow, SilenceRow, SlaRow, TaskRow, TaskState,
};
use crate::sla::SlaKey;
use crate::state::{FlowState, HalfKey, Place, Run, Scheduler, TaskKey, Timer, Token};
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Inputs worked out on a working copy of the state.
pub struct Draft {
    pub(super) s: Scheduler,
    pub(super) now: Timestamp,
    /// Limits of which slots became free and have not been given out again.
    pub(super) freed: BTreeSet<Limit>,
    /// Tokens on their way to their nodes.
    pub(super) tokens: VecDeque<(Place, Token)>,
    pub(super) changes: Changes,
    /// Events that began to wait (`None`: that wait no longer), as they are now.
    pub(super) waiting: BTreeMap<HalfKey, Option<Arc<HalfMatchRow>>>,
    pub(super) commands: Vec<Command>,
    /// Promises and kinds of period of which more was missed; old ones are looked for once, at the end.
    pub(super) missed_more: BTreeSet<SlaKey>,
    /// Timers fired so far.
    fired: usize,
    /// Runs whose last active task may be done.
    pub(super) maybe_done: BTreeSet<RunId>,
    /// Runs that ended during this input; they leave memory at its end.
    pub(super) ended: Vec<RunId>,
    /// Runs of sub-flows that ended, and of which their parents have not heard yet.
    pub(super) children_ended: VecDeque<RunId>,
    /// Backfills whose lane may have room, or that may be over.
    pub(super) lanes: BTreeSet<u64>,
    /// Backfills that ended during this input; they leave memory at its end.
    pub(super) backfills_ended: Vec<u64>,
    /// Tasks that may become parts of an array, in the order in which their attempts began.
    pub(super) placed: Vec<TaskKey>,
    /// Where in the journal those are told of.
    pub(super) entries: BTreeMap<TaskKey, usize>,
    /// What this input found missed, by flow and trigger.
    pub(super) missed: BTreeMap<(FlowName, TriggerName), Missed>,
    /// Rows changed in this draft, as they are now.
    latest: Latest,
    /// What this input changed, in order, for the journal.
    touched: Vec<Touched>,
    touched_set: BTreeSet<Touched>,
}

#[derive(Default)]
struct Latest {
    flows: BTreeMap<FlowName, FlowRow>,
    occurrences: BTreeMap<(FlowName, String), Arc<OccurrenceRow>>,
    runs: BTreeMap<RunId, Arc<RunRow>>,
    tasks: BTreeMap<TaskKey, Arc<TaskRow>>,
    scopes: BTreeMap<Place, Arc<ScopeRow>>,
    backfills: BTreeMap<u64, Arc<BackfillRow>>,
    backfill_items: BTreeMap<(u64, u32), Arc<BackfillItemRow>>,
    slas: BTreeMap<SlaKey, Arc<SlaRow>>,
    silences: BTreeMap<u64, Arc<SilenceRow>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Flow(FlowName),
    Occurrence(FlowName, String),
    Run(RunId),
    Scope(Place),
    Task(TaskKey),
    Backfill(u64),
    BackfillItem(u64, u32),
    Sla(SlaKey),
    Silence(u64),
}

/// How many timers one draft may fire, so that thousands that are due at once do not keep the first
/// process waiting for the last row. What is left fires in the next draft; `next_deadline` is then in
/// the past, and the engine comes back at once.
const TIMERS_MAX: usize = 4_000;

/// How many rows one input may touch before it stops firing timers: one timer may stand for hundreds of
/// missed occurrences.
const TOUCHED_MAX: usize = 20_000;

impl Draft {
    pub(super) fn new(s: Scheduler, now: Timestamp) -> Self {
        Self {
            s,
            now,
            freed: BTreeSet::new(),
            tokens: VecDeque::new(),
            changes: Changes::default(),
            waiting: BTreeMap::new(),
            commands: Vec::new(),
            missed_more: BTreeSet::new(),
            fired: 0,
            maybe_done: BTreeSet::new(),
            ended: Vec::new(),
            children_ended: VecDeque::new(),
            lanes: BTreeSet::new(),
            backfills_ended: Vec::new(),
            placed: Vec::new(),
            entries: BTreeMap::new(),
            missed: BTreeMap::new(),
            latest: Latest::default(),
            touched: Vec::new(),
            touched_set: BTreeSet::new(),
        }
    }

    /// Works out one more input.
    ///
    /// # Errors
    /// When the input does not apply. The draft is as it was before.
    pub fn decide(&mut self, input: Input) -> Result<Answer, Rejected> {
        let answer = match input {
            Input::Deploy {
                flow,
                version,
                source,
                file,
            } => self.deploy(flow, version, &source, file)?,
            Input::Invalid {
                flow,
                file,
                message,
            } => self.invalid(flow, file, message),
            Input::Remove { flow } => self.remove(&flow)?,
            Input::Start(request) => self.start(request)?,
            Input::Event(event) => self.accept_event(event)?,
            Input::Report { attempt, report } => self.report(&attempt, report)?,
            Input::Cancel { run, by, reason } => {
                self.cancel(run, Reason::CancelledBy { by, reason })?
            }
            Input::Resume(request) => self.resume(*request)?,
            Input::Rerun(request) => self.rerun(*request)?,
            Input::Pause { flow, by, reason } => self.pause(&flow, by, reason)?,
            Input::Unpause { flow, by, catch_up } => self.unpause(&flow, &by, catch_up)?,
            Input::Replay(request) => self.replay(request)?,
            Input::Refuse(row) => self.refuse(row)?,
            Input::Backfill(request) => self.backfill(*request)?,
            Input::ChangeBackfill {
                backfill,
                change,
                by,
            } => self.change_backfill(backfill, change, by)?,
            Input::Alert(alert) => self.accept_alert(*alert)?,
            Input::Prediction(it) => self.predict(*it),
            Input::Acknowledge {
                flow,
                promise,
                period,
                by,
                note,
            } => self.acknowledge(&(flow, promise, period), by, note)?,
            Input::Silence(row) => self.silence(*row)?,
            Input::EndSilence { silence } => self.end_silence(silence)?,
            Input::Tick => Answer::Done,
        };
        // What the input ended is over before anything that is due finds it still there.
        self.move_tokens();
        self.fire_timers();
        self.settle();
        Ok(answer)
    }

    /// The rows and commands of all inputs so far.
    pub fn finish(mut self) -> Decision {
        self.make_arrays();
        let mut changes = self.changes;
        for ((flow, trigger, join_key, leaf, event), row) in self.waiting {
            match row {
                Some(row) => changes.half_matches.push(Arc::unwrap_or_clone(row)),
                None => changes.half_matches_deleted.push((
                    flow,
                    trigger,
                    join_key.to_string(),
                    leaf,
                    event,
                )),
            }
        }
        changes.flows.extend(self.latest.flows.into_values());
        changes.occurrences.extend(
            self.latest
                .occurrences
                .into_values()
                .map(Arc::unwrap_or_clone),
        );
        changes.runs.extend(self.latest.runs.into_values());
        changes.tasks.extend(self.latest.tasks.into_values());
        changes.scopes.extend(self.latest.scopes.into_values());
        let backfills = self.latest.backfills.into_values();
        changes
            .backfills
            .extend(backfills.map(Arc::unwrap_or_clone));
        let items = self.latest.backfill_items.into_values();
        changes
            .backfill_items
            .extend(items.map(Arc::unwrap_or_clone));
        changes.slas.extend(self.latest.slas.into_values());
        let silences = self.latest.silences.into_values();
        changes.silences.extend(silences.map(Arc::unwrap_or_clone));
        Decision {
            changes,
            commands: self.commands,
            after: self.s,
        }
    }

    /// Lets everything follow that follows: tokens move, runs end, slots are given out; then writes
    /// the journal.
    fn settle(&mut self) {
        loop {
            self.move_tokens();
            self.place_ready();
            self.start_items();
            let placed = self.s.ready.is_empty() && self.freed.is_empty() && self.lanes.is_empty();
            let quiet = self.maybe_done.is_empty() && self.children_ended.is_empty();
            if placed && self.tokens.is_empty() && quiet {
                break;
            }
        }
        self.alert_of_missed();
        self.forget_old();
        self.write_journal();
        for run in std::mem::take(&mut self.ended) {
            self.s.drop_run(run);
        }
        for backfill in std::mem::take(&mut self.backfills_ended) {
            self.s.drop_backfill(backfill);
        }
    }

    fn fire_timers(&mut self) {
        while self.fired < TIMERS_MAX {
            let Some((at, timer)) = self.s.timers.get_min().cloned() else {
                return;
            };
            if at > self.now || self.touched.len() > TOUCHED_MAX {
                return;
            }
            self.s.timers.remove(&(at, timer.clone()));
            self.fired += 1;
            match timer {
                Timer::Task(key) => self.task_due(key),
                Timer::RunDeadline(run) => self.run_timed_out(run),
                Timer::Plan(flow) => self.plan_flow(&flow),
                Timer::GoneRuns(backfill) => self.end_gone_runs(backfill),
                Timer::Occurrence(flow, key) => self.occurrence_due(&flow, &key),
                Timer::Sla(key) => self.sla_due(&key),
                Timer::Silence(id) => {
                    // A silence that has a timer is not over.
                    let _ = self.end_silence(id);
                }
                Timer::Set(set) => self.set_due(&set),
                Timer::BlackoutOver(flow) => self.blackout_over(&flow),
            }
            self.move_tokens();
        }
    }

    // Reading.

    pub(super) fn run(&self, id: RunId) -> &Arc<Run> {
        self.s.runs.get(&id).expect("the run is unfinished")
    }

    pub(super) fn flow_of(&self, run: RunId) -> Arc<Flow> {
        self.run(run).flow.clone()
    }

    pub(super) fn task_id(&self, key: TaskKey) -> TaskId {
        TaskId {
            step: self.run(key.run).flow.node(key.node).name.clone(),
            path: key.path,
            iteration: key.iteration,
        }
    }

    pub(super) fn attempt_id(&self, key: TaskKey, number: u32) -> AttemptId {
        AttemptId {
            run: key.run,
            task: self.task_id(key),
            number,
        }
    }

    // Writing: the only ways to change a row.

    pub(super) fn put_task(&mut self, key: TaskKey, row: TaskRow) {
        let row = Arc::new(row);
        let before = self.s.tasks.get(&key).cloned();
        self.freed.extend(self.s.index_task(key, row.clone()));
        self.latest.tasks.insert(key, row.clone());
        self.touch(Touched::Task(key));
        self.sla_of_task(key, before.as_deref(), &row);
    }

    /// Says more in a row that was put in this draft, of which the journal tells already.
    pub(super) fn amend_task(&mut self, key: TaskKey, row: TaskRow) {
        let row = Arc::new(row);
        self.s.index_task(key, row.clone());
        self.latest.tasks.insert(key, row);
    }

    /// Changes a task through the transition table.
    pub(super) fn change_task(
        &mut self,
        key: TaskKey,
        to: TaskState,
        change: impl FnOnce(&mut TaskRow),
    ) {
        let mut row = TaskRow::clone(self.s.tasks.get(&key).expect("the task exists"));
        assert!(
            row.state.may_become(to),
            "task {} of run {} is {} and cannot become {to}",
            row.task,
            row.run,
            row.state
        );
        row.state = to;
        change(&mut row);
        self.put_task(key, row);
    }

    pub(super) fn put_scope(&mut self, place: Place, row: ScopeRow) {
        let row = Arc::new(row);
        self.s.index_scope(place, row.clone());
        self.latest.scopes.insert(place, row.clone());
        self.touch(Touched::Scope(place));
        self.sla_of_scope(place, &row);
    }

    pub(super) fn put_run(&mut self, run: Run) {
        let row = run.row.clone();
        let before = self.s.runs.get(&row.id).map(|it| it.row.clone());
        self.freed.extend(self.s.index_run(run));
        self.latest.runs.insert(row.id, row.clone());
        self.touch(Touched::Run(row.id));
        self.sla_of_run(before.as_deref(), &row);
    }

    /// Changes a run through the transition table.
    pub(super) fn change_run(
        &mut self,
        id: RunId,
        to: crate::row::RunState,
        change: impl FnOnce(&mut RunRow),
    ) {
        let mut run = Run::clone(self.run(id));
        let mut row = RunRow::clone(&run.row);
        assert!(
            row.state.may_become(to),
            "run {id} is {} and cannot become {to}",
            row.state
        );
        row.state = to;
        change(&mut row);
        run.row = Arc::new(row);
        self.put_run(run);
    }

    pub(super) fn put_flow(&mut self, state: FlowState) {
        let row = state.row.clone();
        self.s.flows.insert(row.name.clone(), Arc::new(state));
        self.touch(Touched::Flow(row.name.clone()));
        self.latest.flows.insert(row.name.clone(), row);
    }

    pub(super) fn change_flow(&mut self, name: &FlowName, change: impl FnOnce(&mut FlowRow)) {
        let mut state = FlowState::clone(self.s.flows.get(name).expect("the flow exists"));
        change(&mut state.row);
        state.row.updated_at = self.now;
        self.put_flow(state);
    }

    pub(super) fn put_occurrence(&mut self, mut row: OccurrenceRow) {
        row.updated_at = self.now;
        if row.state == OccurrenceState::Missed {
            self.note_missed(&row);
        }
        let row = Arc::new(row);
        let key = (row.flow.clone(), row.key.clone());
        let known = self.s.occurrences.contains_key(&key);
        self.s.index_occurrence(&row);
        self.touch(Touched::Occurrence(key.0.clone(), key.1.clone()));
        self.latest.occurrences.insert(key, row.clone());
        self.sla_of_occurrence(&row, known);
    }

    pub(super) fn put_sla(&mut self, row: SlaRow) {
        let row = Arc::new(SlaRow {
            updated_at: self.now,
            ..row
        });
        self.s.index_sla(&row);
        let key = crate::sla::key_of(&row);
        self.touch(Touched::Sla(key.clone()));
        self.latest.slas.insert(key, row);
    }

    pub(super) fn put_silence(&mut self, row: SilenceRow) {
        let row = Arc::new(row);
        self.s.index_silence(&row);
        self.touch(Touched::Silence(row.id));
        self.latest.silences.insert(row.id, row);
    }

    pub(super) fn put_backfill(&mut self, row: BackfillRow) {
        let row = Arc::new(row);
        self.s.index_backfill(row.clone());
        self.touch(Touched::Backfill(row.id));
        self.latest.backfills.insert(row.id, row);
    }

    pub(super) fn put_item(&mut self, row: BackfillItemRow) {
        let row = Arc::new(row);
        self.s.index_item(row.clone());
        self.touch(Touched::BackfillItem(row.backfill, row.number));
        let key = (row.backfill, row.number);
        self.latest.backfill_items.insert(key, row);
    }

    fn touch(&mut self, what: Touched) {
        if self.touched_set.insert(what.clone()) {
            self.touched.push(what);
        }
    }

    /// One entry for each row that this input changed.
    fn write_journal(&mut self) {
        self.touched_set.clear();
        for touched in std::mem::take(&mut self.touched) {
            let (flow, run, kind, body) = match &touched {
                Touched::Flow(name) => {
                    let row = &self.latest.flows[name];
                    (name.clone(), None, flow_kind(row), json(row))
                }
                Touched::Occurrence(flow, key) => {
                    let row = &self.latest.occurrences[&(flow.clone(), key.clone())];
                    let kind = format!("occurrence.{}", row.state);
                    (flow.clone(), row.run, kind, json(&**row))
                }
                Touched::Run(id) => {
                    let row = &self.latest.runs[id];
                    let kind = format!("run.{}", row.state);
                    (row.flow.clone(), Some(*id), kind, json(&**row))
                }
                Touched::Scope(place) => {
                    let row = &self.latest.scopes[place];
                    let kind = format!("scope.{}", row.state);
                    (
                        self.flow_name(place.run),
                        Some(place.run),
                        kind,
                        json(&**row),
                    )
                }
                Touched::Task(key) => {
                    let row = &self.latest.tasks[key];
                    let kind = format!("task.{}", row.state);
                    // Of a row that changes again only the last entry is amended.
                    if row.state == TaskState::Submitting && !self.placed.is_empty() {
                        self.entries.insert(*key, self.changes.journal.len());
                    }
                    (self.flow_name(key.run), Some(key.run), kind, json(&**row))
                }
                Touched::Backfill(id) => {
                    let row = &self.latest.backfills[id];
                    let kind = format!("backfill.{}", row.state);
                    (row.flow.clone(), None, kind, json(&**row))
                }
                Touched::BackfillItem(backfill, number) => {
                    let row = &self.latest.backfill_items[&(*backfill, *number)];
                    let kind = format!("backfill_item.{}", row.state);
                    (row.flow.clone(), row.run, kind, json(&**row))
                }
                Touched::Sla(key) => {
                    let row = &self.latest.slas[key];
                    let kind = match row.withdrawn {
                        Some(_) => "sla.withdrawn".to_owned(),
                        None => format!("sla.{}", row.state),
                    };
                    (row.flow.clone(), row.run, kind, json(&**row))
                }
                Touched::Silence(id) => {
                    let row = &self.latest.silences[id];
                    let kind = match row.ended_at {
                        Some(_) => "silence.ended",
                        None => "silence.began",
                    };
                    let flow = FlowName::new(row.flow.as_deref().unwrap_or_default());
                    (flow, None, kind.to_owned(), json(&**row))
                }
            };
            self.s.last_journal += 1;
            self.changes.journal.push(JournalEntry {
                seq: self.s.last_journal,
                at: self.now,
                flow,
                run,
                kind,
                body,
            });
        }
    }

    fn flow_name(&self, run: RunId) -> FlowName {
        self.run(run).row.flow.clone()
    }
}

fn flow_kind(row: &FlowRow) -> String {
    let state = match row {
        FlowRow { removed: true, .. } => "removed",
        FlowRow {
            invalid: Some(_), ..
        } => "invalid",
        FlowRow {
            paused: Some(_), ..
        } => "paused",
        FlowRow {
            blocked_by: Some(_),
            ..
        } => "blocked",
        _ => "active",
    };
    format!("flow.{state}")
}

pub(super) fn json<T: Serialize>(row: &T) -> String {
    serde_json::to_string(row).expect("rows are plain data")
}
