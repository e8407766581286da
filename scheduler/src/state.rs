//! The state: rows of all that is unfinished, and ordered indexes over them.
//!
//! Every map is persistent, so a clone of the whole state costs a few pointers and a draft can be
//! dropped without a trace. Indexes change only in [`Scheduler::index_task`] and its siblings, by
//! the difference between an old and a new row: nothing counts on its own, so nothing can leak.

use crate::alert::AlertKind;
use crate::decide::{in_queue, sub_flow};
use crate::failure::{Budget, Budgets, FailureClass, LOST_BACKOFF, Rule, Wait};
use crate::flow::{Flow, NodeId, NodeKind};
use crate::id::{AttemptId, FlowName, Path, PoolName, RunId, TaskId, TriggerName};
use crate::reason::{Limit, Reason};
use crate::row::{
    BackfillItemRow, BackfillItemState, BackfillRow, BackfillState, FlowRow, HalfMatchRow,
    Interval, OccurrenceRow, RunRow, RunState, ScopeRow, SilenceRow, SlaRow, TaskRow, TaskState,
};
use crate::schedule::Schedule;
use crate::sla::SlaKey;
use crate::spec::{ExecutorKind, Retry, ScheduleSpec, ScopeIndex, StepSpec, Strategy};
use crate::time::{Span, Timestamp};
use imbl::{OrdMap, OrdSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the operator sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Live attempts at the same time, over all flows.
    pub max_tasks: u32,
    pub pools: BTreeMap<PoolName, u32>,
    /// An occurrence that is decided later than this after it was due counts as a misfire.
    pub misfire_after: Span,
    /// Live attempts at the same time that run as jobs of AWS Batch, over all flows. They take nothing of this machine but
    /// memory, and a queue of Batch holds a million: the limit is against mistakes, and far above any foreach, for a
    /// foreach that fills it lets nobody else start.
    pub max_remote_tasks: u32,
    /// How often an attempt that was lost without its own fault is repeated on our account.
    pub lost_retries: u32,
    /// The same for other failures that are not the user's.
    pub budgets: Budgets,
    /// The operator's own rules of what belongs to which class; they come before [`crate::failure::built_in`].
    pub rules: Vec<Rule>,
    /// How much of `max_tasks` and of each pool the tasks of all backfills may hold together, in percent; 1 to 100.
    /// At least one slot.
    pub backfill_share: u32,
    /// The kinds of alerts that the operator's rules want, of all flows.
    pub alert_kinds: BTreeSet<AlertKind>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_tasks: 16,
            pools: BTreeMap::new(),
            misfire_after: Span::from_secs(60),
            max_remote_tasks: 100_000,
            lost_retries: 5,
            budgets: Budgets::default(),
            rules: Vec::new(),
            backfill_share: 50,
            alert_kinds: BTreeSet::new(),
        }
    }
}

impl Config {
    /// How often an attempt is repeated for a class of failures; `retry`: the step's own.
    pub(crate) fn budget(&self, class: FailureClass, retry: &Retry) -> Option<Budget> {
        let exponential = |retries, backoff| Budget {
            retries,
            wait: Wait::Exponential(backoff),
        };
        match class {
            FailureClass::Network => Some(self.budgets.network),
            FailureClass::Throttled => Some(self.budgets.throttled),
            FailureClass::Capacity => Some(self.budgets.capacity),
            FailureClass::Oom => Some(self.budgets.oom),
            FailureClass::Invalid => None,
            FailureClass::User => Some(exponential(retry.times, retry.backoff)),
            FailureClass::Lost => Some(exponential(self.lost_retries, LOST_BACKOFF)),
        }
    }
}

/// A flow as it stands.
#[derive(Clone, Debug)]
pub struct FlowState {
    pub row: FlowRow,
    /// The active version; `None` while no valid one was ever seen.
    pub flow: Option<Arc<Flow>>,
}

/// Names a task within the core: by node number, so that it is small and `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskKey {
    pub(crate) run: RunId,
    pub(crate) node: NodeId,
    pub(crate) path: Path,
    pub(crate) iteration: u32,
}

/// Names one place of a node in a run: a scope's opening, or where tokens gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) run: RunId,
    pub(crate) node: NodeId,
    pub(crate) path: Path,
}

/// An unfinished run with what is derived from its tasks.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) row: Arc<RunRow>,
    pub(crate) flow: Arc<Flow>,
    /// Tasks that are neither finished nor waiting for a repeated step.
    pub(crate) active: u32,
    /// Failed tasks and scopes.
    pub(crate) failed: u32,
    /// Of a Metaflow run that was made from another: the tasks that it began with, see
    /// [`crate::metaflow::Origin::tasks`].
    pub(crate) cloned: Arc<Vec<String>>,
}

/// Tokens that have come to a node with several incoming edges.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arrivals {
    pub(crate) live: u32,
    pub(crate) dead: u32,
    /// The first token, in order of arrival, that was dead or failed.
    pub(crate) first_dead: Option<Token>,
    pub(crate) failed: Option<Token>,
}

/// What a finished node hands to each of its successors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Go on.
    Live,
    /// That step was skipped.
    Skipped(crate::id::StepName),
    /// That step failed.
    Failed(crate::id::StepName),
    /// That switch chose another branch.
    NotChosen(crate::id::StepName),
}

/// Something that happens when its time has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A retry begins, or an attempt times out.
    Task(TaskKey),
    RunDeadline(RunId),
    Occurrence(FlowName, String),
    /// Something is due in a set of waiting events: it fires, or some of them expire.
    Set(SetKey),
    /// The moment of a promise has passed.
    Sla(SlaKey),
    /// A silence is over.
    Silence(u64),
    /// A blackout of this flow ends. Not derived from rows: sets that are due bring it back.
    BlackoutOver(FlowName),
    /// A recovered flow lacks a future; at the beginning of all time.
    Plan(FlowName),
    /// A recovered backfill has items whose runs are not there; at the beginning of all time.
    GoneRuns(u64),
}

/// What waits for slots. Runs come before tasks of equal rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Candidate {
    Run(RunId),
    Task(TaskKey),
}

/// Smaller goes first: the time of becoming ready, brought forward by a minute per point of priority.
/// As time passes all ranks stay in order, so ageing needs no re-sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(pub(crate) i64);

pub(crate) const PRIORITY_POINT: Span = Span::from_mins(1);

impl Rank {
    pub(crate) fn new(since: Timestamp, priority: i32) -> Self {
        Self(
            since
                .0
                .saturating_sub(i64::from(priority).saturating_mul(PRIORITY_POINT.0)),
        )
    }
}

/// Names a set of waiting events: flow, trigger, join key.
pub(crate) type SetKey = (FlowName, TriggerName, Arc<str>);

/// Names an event in a set, with the leaf's number.
pub(crate) type HalfKey = (FlowName, TriggerName, Arc<str>, u16, u64);

/// What is known of a set without looking at its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetState {
    pub(crate) events: u32,
    /// When it fires or some of its events expire: follows from rows alone.
    pub(crate) due: Option<Timestamp>,
    /// It is due, but a pause or a blackout keeps it from firing, and so it has no timer. A recovered state finds that
    /// out again.
    pub(crate) held: bool,
}

/// A clock that was set back by at most so much does not make a slot be planned that was decided before.
pub(crate) const SET_BACK_MAX: Span = Span::from_mins(24 * 60);

/// The deterministic core. See the crate's documentation for how it is used.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    pub(crate) config: Arc<Config>,
    pub(crate) flows: OrdMap<FlowName, Arc<FlowState>>,
    pub(crate) runs: OrdMap<RunId, Arc<Run>>,
    pub(crate) tasks: OrdMap<TaskKey, Arc<TaskRow>>,
    pub(crate) scopes: OrdMap<Place, Arc<ScopeRow>>,
    pub(crate) arrivals: OrdMap<Place, Arc<Arrivals>>,
    /// Expected occurrences.
    pub(crate) occurrences: OrdMap<(FlowName, String), Arc<OccurrenceRow>>,
    /// Slots that a calendar moved to an earlier day and whose row was decided, or is held, since then: flow, schedule,
    /// and the slot's own time. Whatever plans the schedule when that time comes leaves them out.
    pub(crate) ahead: OrdSet<(FlowName, TriggerName, Timestamp)>,
    /// The last planned row of each timetable of a removed flow, until the flow comes back: by what its key begins with.
    pub(crate) left: OrdMap<(FlowName, String), Arc<OccurrenceRow>>,
    pub(crate) half_matches: OrdMap<HalfKey, Arc<HalfMatchRow>>,
    /// Sets of waiting events.
    pub(crate) sets: OrdMap<SetKey, SetState>,
    /// How many events wait in held sets of each trigger; absent means none.
    pub(crate) held: OrdMap<(FlowName, TriggerName), u32>,

    // Indexes.
    pub(crate) timers: OrdSet<(Timestamp, Timer)>,
    /// To be placed; empty between decisions.
    pub(crate) ready: OrdSet<(Rank, Candidate)>,
    /// All ready tasks by run and step. Tasks of one step in one run want the same slots, so only the
    /// first of them is a candidate: a foreach of 100,000 is one entry in the queues.
    pub(crate) waiting: OrdSet<(RunId, NodeId, Rank, TaskKey)>,
    /// Waiting for a limit, in the order in which it is given out.
    pub(crate) parked: OrdSet<(Limit, Rank, Candidate)>,
    /// Where a parked candidate waits.
    pub(crate) parked_at: OrdMap<Candidate, (Limit, Rank)>,
    /// Slots in use; absent means none.
    pub(crate) used: OrdMap<Limit, u32>,
    pub(crate) runs_by_flow: OrdSet<(FlowName, RunId)>,
    /// What events of a kind are waited for: kind (or upstream flow) to flow, trigger and leaf.
    pub(crate) subscriptions: OrdSet<(Subject, FlowName, u16, u16)>,
    /// Unfinished runs of sub-flows, by the attempt that waits for them.
    pub(crate) children: OrdMap<AttemptId, RunId>,
    /// Which flows are steps of others: (the step's flow, the flow that has the step).
    pub(crate) sub_flows: OrdSet<(FlowName, FlowName)>,

    /// Unfinished backfills.
    pub(crate) backfills: OrdMap<u64, Arc<Backfill>>,
    /// All items of unfinished backfills, by backfill and number.
    pub(crate) backfill_items: OrdMap<(u64, u32), Arc<BackfillItemRow>>,
    /// Items that wait for nothing but room in their lane.
    pub(crate) backfill_ready: OrdSet<(u64, u32)>,
    pub(crate) backfill_running: OrdSet<(u64, u32)>,
    /// Backfill, item, item that comes after it.
    pub(crate) backfill_followers: OrdSet<(u64, u32, u32)>,
    /// Items that wait or run, by what they are about.
    pub(crate) backfill_targets: OrdSet<(FlowName, Interval, u64, u32)>,

    pub(crate) last_run: u64,
    pub(crate) last_event: u64,
    pub(crate) last_journal: u64,
    pub(crate) last_backfill: u64,
    pub(crate) last_alert: u64,
    pub(crate) last_silence: u64,

    /// Open rows of promises.
    pub(crate) slas: OrdMap<SlaKey, Arc<SlaRow>>,
    /// Silences that are not over.
    pub(crate) silences: OrdMap<u64, Arc<SilenceRow>>,
}

/// An unfinished backfill with what is counted of its items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backfill {
    pub(crate) row: Arc<BackfillRow>,
    /// Items in each state, in the order of [`BackfillItemState::ALL`].
    pub(crate) counts: [u32; BackfillItemState::ALL.len()],
    /// Items of each flow that wait or run.
    pub(crate) left: OrdMap<FlowName, u32>,
}

/// What a trigger leaf listens to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Flow(FlowName),
    Kind(String),
    /// Objects below a folder of a bucket: the part of a pattern before its first wildcard, up to the last `/`.
    Folder(String, String),
    /// Namespace and name.
    Dataset(String, String),
}

impl Scheduler {
    pub(crate) fn task_key(&self, run: RunId, task: &TaskId) -> Option<TaskKey> {
        key_in(&self.runs.get(&run)?.flow, run, task)
    }

    /// Slots that a task holds while it is live, in the order in which they are asked for.
    pub(crate) fn task_limits(&self, key: TaskKey) -> Vec<(Limit, u32)> {
        let Some(run) = self.runs.get(&key.run) else {
            return Vec::new();
        };
        let step = run.flow.step_of(key.node);
        let mut limits = Vec::with_capacity(2);
        if run.flow.spec().run.max_parallel_tasks.is_some() {
            limits.push((Limit::Run(key.run), 1));
        }
        let mut scope = step.scope;
        while let Some((spec, _, _)) = run.flow.scope_at(scope) {
            if spec.max_parallel.is_some() {
                limits.push((Limit::Scope(key.run, spec.name.clone()), 1));
            }
            scope = spec.parent;
        }
        // Who waits for room in the lane waits there, and stands in nobody's way.
        if run.row.backfill.is_some() {
            let of_run = &run.flow.spec().run.pools;
            for (pool, slots) in &step.pools {
                // A run that holds the pool was let in already; were its tasks stopped here, it would never end.
                if in_lane(&run.row) && !of_run.contains_key(pool) {
                    limits.push(self.lane_of(pool, *slots));
                }
            }
            if own_limit(step) == Some(Limit::Tasks) {
                limits.push((Limit::BackfillTasks, 1));
            }
        }
        for (pool, slots) in &step.pools {
            limits.push((Limit::Pool(pool.clone()), *slots));
        }
        limits.extend(own_limit(step).map(|it| (it, 1)));
        limits
    }

    /// Slots that a run holds from its start to its end.
    pub(crate) fn run_limits(&self, run: &Run) -> Vec<(Limit, u32)> {
        let policy = &run.flow.spec().run;
        let mut limits = match run.row.backfill.filter(|_| in_lane(&run.row)) {
            None => vec![(Limit::Flow(run.row.flow.clone()), 1)],
            Some(id) => {
                let pools = policy.pools.iter();
                let pools = pools.map(|(pool, slots)| self.lane_of(pool, *slots));
                let lane = [(Limit::Backfill(id), 1)];
                lane.into_iter().chain(pools).collect()
            }
        };
        for (pool, slots) in &policy.pools {
            limits.push((Limit::Pool(pool.clone()), *slots));
        }
        limits
    }

    /// Slots of a pool in the lane of backfills: as many as wanted, or the whole lane where that is less.
    fn lane_of(&self, pool: &PoolName, slots: u32) -> (Limit, u32) {
        let lane = Limit::BackfillPool(pool.clone());
        let slots = slots.min(self.capacity(&lane));
        (lane, slots)
    }

    /// The share of backfills, at least one slot.
    fn share(&self, slots: u32) -> u32 {
        let share = u64::from(slots) * u64::from(self.config.backfill_share) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }

    /// How many slots there are.
    pub(crate) fn capacity(&self, limit: &Limit) -> u32 {
        match limit {
            Limit::Tasks => self.config.max_tasks,
            Limit::Remote => self.config.max_remote_tasks,
            Limit::Pool(pool) => self.config.pools.get(pool).copied().unwrap_or(0),
            // A run of a backfill that is over goes on because somebody wants it to.
            Limit::Backfill(id) => match self.backfills.get(id) {
                Some(it) if it.row.state != BackfillState::Cancelling => it.row.parallel,
                _ => u32::MAX,
            },
            Limit::BackfillTasks => self.share(self.config.max_tasks),
            Limit::BackfillPool(pool) => {
                self.share(self.config.pools.get(pool).copied().unwrap_or(0))
            }
            Limit::Run(run) => self
                .runs
                .get(run)
                .and_then(|it| it.flow.spec().run.max_parallel_tasks)
                .unwrap_or(u32::MAX),
            Limit::Scope(run, scope) => self
                .runs
                .get(run)
                .and_then(|it| it.flow.scope(scope.as_str())?.0.max_parallel)
                .unwrap_or(u32::MAX),
            Limit::Flow(flow) => {
                self.flows
                    .get(flow)
                    .and_then(|it| it.flow.as_ref())
                    .map_or(1, |it| match it.spec().run.strategy {
                        Strategy::Parallel(runs) => runs,
                        _ => 1,
                    })
            }
        }
    }

    pub(crate) fn in_use(&self, limit: &Limit) -> u32 {
        self.used.get(limit).copied().unwrap_or(0)
    }

    fn hold(&mut self, limit: &Limit, slots: u32) {
        let used = self.in_use(limit) + slots;
        self.used.insert(limit.clone(), used);
    }

    fn release(&mut self, limit: &Limit, slots: u32) {
        let used = self
            .in_use(limit)
            .checked_sub(slots)
            .expect("only slots in use are released");
        if used == 0 {
            self.used.remove(limit);
        } else {
            self.used.insert(limit.clone(), used);
        }
    }

    /// Stores a task and brings every index in line. Gives the limits of which slots became free.
    pub(crate) fn index_task(&mut self, key: TaskKey, row: Arc<TaskRow>) -> Vec<Limit> {
        let old = self.tasks.insert(key, row.clone());
        let old = old.as_deref();
        let mut freed = Vec::new();
        let was_live = old.is_some_and(|it| it.state.is_live());
        if was_live != row.state.is_live() {
            for (limit, slots) in self.task_limits(key) {
                if was_live {
                    self.release(&limit, slots);
                    freed.push(limit);
                } else {
                    self.hold(&limit, slots);
                }
            }
        }
        let old_timer = old.and_then(task_timer);
        let new_timer = task_timer(&row);
        if old_timer != new_timer {
            if let Some(at) = old_timer {
                self.timers.remove(&(at, Timer::Task(key)));
            }
            if let Some(at) = new_timer {
                self.timers.insert((at, Timer::Task(key)));
            }
        }
        let was_ready = old.is_some_and(|it| it.state == TaskState::Ready);
        match (was_ready, row.state == TaskState::Ready) {
            (false, true) => freed.extend(self.queue_task(key, self.task_rank(key, &row))),
            (true, false) => {
                let rank = old.map(|it| self.task_rank(key, it));
                freed.extend(self.unqueue_task(key, rank.expect("a ready task had a row")));
            }
            _ => {}
        }
        let (was_active, was_failed) = old.map_or((false, false), |it| {
            (is_active(it.state), it.state == TaskState::Failed)
        });
        let (active, failed) = (is_active(row.state), row.state == TaskState::Failed);
        if (was_active, was_failed) != (active, failed)
            && let Some(run) = self.runs.get_mut(&key.run)
        {
            let run = Arc::make_mut(run);
            run.active = run.active + u32::from(active) - u32::from(was_active);
            run.failed = run.failed + u32::from(failed) - u32::from(was_failed);
        }
        freed
    }

    /// A task may run: it waits behind the others of its step, or is their first.
    fn queue_task(&mut self, key: TaskKey, rank: Rank) -> Option<Limit> {
        let first = self.first_waiting(key.run, key.node);
        self.waiting.insert((key.run, key.node, rank, key));
        match first {
            Some(first) if first < (rank, key) => None,
            _ => {
                let freed =
                    first.and_then(|(rank, it)| self.unqueue(Candidate::Task(it), Some(rank)));
                self.ready.insert((rank, Candidate::Task(key)));
                freed
            }
        }
    }

    /// A task does not wait any more; the next of its step takes its place.
    fn unqueue_task(&mut self, key: TaskKey, rank: Rank) -> Option<Limit> {
        let first = self.first_waiting(key.run, key.node);
        self.waiting.remove(&(key.run, key.node, rank, key));
        if first != Some((rank, key)) {
            return None;
        }
        let freed = self.unqueue(Candidate::Task(key), Some(rank));
        if let Some((rank, next)) = self.first_waiting(key.run, key.node) {
            self.ready.insert((rank, Candidate::Task(next)));
        }
        freed
    }

    /// The task of a step that goes next.
    pub(crate) fn first_waiting(&self, run: RunId, node: NodeId) -> Option<(Rank, TaskKey)> {
        self.waiting_of(run, node).next()
    }

    /// The ready tasks of a step, in the order in which they go.
    pub(crate) fn waiting_of(
        &self,
        run: RunId,
        node: NodeId,
    ) -> impl Iterator<Item = (Rank, TaskKey)> {
        let first = TaskKey {
            run,
            node,
            path: Path::ROOT,
            iteration: 0,
        };
        self.waiting
            .range((run, node, Rank(i64::MIN), first)..)
            .take_while(move |(of, step, _, _)| (*of, *step) == (run, node))
            .map(|(_, _, rank, key)| (*rank, *key))
    }

    pub(crate) fn index_scope(&mut self, place: Place, row: Arc<ScopeRow>) {
        let failed = |row: &ScopeRow| u32::from(row.state == crate::row::ScopeState::Failed);
        let old = self.scopes.insert(place, row.clone());
        let before = old.map_or(0, |it| failed(&it));
        if before != failed(&row)
            && let Some(run) = self.runs.get_mut(&place.run)
        {
            let run = Arc::make_mut(run);
            run.failed = run.failed + failed(&row) - before;
        }
    }

    /// Stores a run and brings every index in line.
    pub(crate) fn index_run(&mut self, run: Run) -> Vec<Limit> {
        let id = run.row.id;
        let old = self.runs.get(&id).cloned();
        let (new_state, row, limits) = (run.row.state, run.row.clone(), self.run_limits(&run));
        self.runs.insert(id, Arc::new(run));
        self.runs_by_flow.insert((row.flow.clone(), id));
        let mut freed = Vec::new();
        let was_holding = old.as_ref().is_some_and(|it| holds_slots(it.row.state));
        match (was_holding, holds_slots(new_state)) {
            (false, true) => limits
                .iter()
                .for_each(|(limit, slots)| self.hold(limit, *slots)),
            (true, false) => {
                for (limit, slots) in limits {
                    self.release(&limit, slots);
                    freed.push(limit);
                }
            }
            _ => {}
        }
        let old_deadline = old.as_ref().and_then(|it| run_timer(&it.row));
        let new_deadline = run_timer(&row);
        if old_deadline != new_deadline {
            if let Some(at) = old_deadline {
                self.timers.remove(&(at, Timer::RunDeadline(id)));
            }
            if let Some(at) = new_deadline {
                self.timers.insert((at, Timer::RunDeadline(id)));
            }
        }
        // A run that is resumed goes before those that came after it.
        let rank = Rank::new(row.created_at, row.priority);
        self.index_child(old.as_deref().map(|it| &*it.row), &row);
        let was_queued = old.is_some_and(|it| in_queue(&it.row));
        match (was_queued, in_queue(&row)) {
            (false, true) => {
                self.ready.insert((rank, Candidate::Run(id)));
            }
            (true, false) => freed.extend(self.unqueue(Candidate::Run(id), Some(rank))),
            _ => {}
        }
        freed
    }

    /// Lets a finished run and all that hangs on it leave memory.
    pub(crate) fn drop_run(&mut self, id: RunId) {
        let Some(run) = self.runs.remove(&id) else {
            return;
        };
        self.runs_by_flow.remove(&(run.row.flow.clone(), id));
        self.forget_child(&run.row);
        let (from, to) = (first_of(id), first_of(RunId(id.0 + 1)));
        let tasks: Vec<TaskKey> = self
            .tasks
            .range(task_start(from)..task_start(to))
            .map(|(key, _)| *key)
            .collect();
        for key in tasks {
            self.tasks.remove(&key);
        }
        let scopes: Vec<Place> = self.scopes.range(from..to).map(|(key, _)| *key).collect();
        for place in scopes {
            self.scopes.remove(&place);
        }
        let arrivals: Vec<Place> = self.arrivals.range(from..to).map(|(key, _)| *key).collect();
        for place in arrivals {
            self.arrivals.remove(&place);
        }
    }

    pub(crate) fn index_occurrence(&mut self, row: &Arc<OccurrenceRow>) {
        use crate::row::OccurrenceState::Expected;
        let key = (row.flow.clone(), row.key.clone());
        if let Some(old) = self.occurrences.remove(&key)
            && let Some(timer) = self.occurrence_timer(&old)
        {
            self.timers.remove(&timer);
        }
        if row.state == Expected {
            self.timers.extend(self.occurrence_timer(row));
            self.occurrences.insert(key, row.clone());
        }
        self.index_ahead(row);
        if row.is_left() {
            let place = (row.flow.clone(), timetable_prefix(&row.key).to_owned());
            let newest = self.left.get(&place).map(|it| it.updated_at);
            if newest.is_none_or(|it| it <= row.updated_at) {
                self.left.insert(place, row.clone());
            }
        }
    }

    pub(crate) fn left_of(&self, flow: &FlowName) -> Vec<Arc<OccurrenceRow>> {
        let from = (flow.clone(), String::new());
        let rows = self.left.range(from..);
        let own = rows.take_while(|((of, _), _)| of == flow);
        own.map(|(_, row)| row.clone()).collect()
    }

    pub(crate) fn forget_left(&mut self, row: &OccurrenceRow) {
        let prefix = timetable_prefix(&row.key).to_owned();
        self.left.remove(&(row.flow.clone(), prefix));
    }

    fn index_ahead(&mut self, row: &OccurrenceRow) {
        if !row.is_ahead() {
            return;
        }
        let (flow, trigger) = (row.flow.clone(), row.trigger.clone());
        let slot = (flow, trigger, row.interval.end);
        if row.is_planned() {
            self.ahead.remove(&slot);
            return;
        }
        // What is past nobody plans any more.
        let first = (slot.0.clone(), slot.1.clone(), Timestamp(i64::MIN));
        let now = (
            slot.0.clone(),
            slot.1.clone(),
            row.updated_at - SET_BACK_MAX,
        );
        let past: Vec<_> = self.ahead.range(first..now).cloned().collect();
        for slot in past {
            self.ahead.remove(&slot);
        }
        self.ahead.insert(slot);
    }

    pub(crate) fn is_ahead(&self, flow: &FlowName, it: &Timetable<'_>, slot: Timestamp) -> bool {
        let place = || (flow.clone(), it.trigger.clone(), slot);
        !self.ahead.is_empty() && it.deadline_of.is_none() && self.ahead.contains(&place())
    }

    /// Stores a promise's row, as long as it is open.
    pub(crate) fn index_sla(&mut self, row: &Arc<SlaRow>) {
        let key = crate::sla::key_of(row);
        if let Some(old) = self.slas.remove(&key)
            && let Some(at) = sla_timer(&old)
        {
            self.timers.remove(&(at, Timer::Sla(key.clone())));
        }
        if row.open {
            if let Some(at) = sla_timer(row) {
                self.timers.insert((at, Timer::Sla(key.clone())));
            }
            self.slas.insert(key, row.clone());
        }
    }

    pub(crate) fn index_silence(&mut self, row: &Arc<SilenceRow>) {
        if let Some(old) = self.silences.remove(&row.id) {
            self.timers.remove(&(old.until, Timer::Silence(row.id)));
        }
        if row.ended_at.is_none() {
            self.timers.insert((row.until, Timer::Silence(row.id)));
            self.silences.insert(row.id, row.clone());
        }
    }

    /// Open rows of a flow's promises.
    pub(crate) fn slas_of_flow(&self, flow: &FlowName) -> Vec<Arc<SlaRow>> {
        let first = (flow.clone(), Arc::from(""), Arc::from(""));
        let rows = self.slas.range(first..);
        rows.take_while(|((of, ..), _)| of == flow)
            .map(|(_, row)| row.clone())
            .collect()
    }

    pub(crate) fn slas_of_promise(&self, flow: &FlowName, promise: &Arc<str>) -> Vec<Arc<SlaRow>> {
        let first = (flow.clone(), promise.clone(), Arc::from(""));
        let rows = self.slas.range(first..);
        rows.take_while(|((of, it, _), _)| of == flow && it == promise)
            .map(|(_, row)| row.clone())
            .collect()
    }

    /// When an expected occurrence is looked at; `None` while a pause holds it.
    pub(crate) fn occurrence_timer(&self, row: &OccurrenceRow) -> Option<(Timestamp, Timer)> {
        let at = match &row.reason {
            None => self.fires_at(row),
            Some(Reason::Blackout { until, .. }) => (*until)?,
            Some(_) => return None,
        };
        Some((at, Timer::Occurrence(row.flow.clone(), row.key.clone())))
    }

    /// Expected occurrences of a flow whose key begins like this, by key.
    pub(crate) fn expected_of(&self, flow: &FlowName, prefix: &str) -> Vec<Arc<OccurrenceRow>> {
        let first = (flow.clone(), prefix.to_owned());
        self.occurrences
            .range(first..)
            .take_while(|((of, key), _)| of == flow && key.starts_with(prefix))
            .map(|(_, row)| row.clone())
            .collect()
    }

    /// Takes the timers of a flow's expected occurrences away before its jitter may change.
    pub(crate) fn forget_due(&mut self, flow: &FlowName) {
        for row in self.expected_of(flow, "") {
            if let Some(timer) = self.occurrence_timer(&row) {
                self.timers.remove(&timer);
            }
        }
    }

    /// When an expected occurrence is decided: its due time and its share of the jitter.
    pub(crate) fn fires_at(&self, row: &OccurrenceRow) -> Timestamp {
        let jitter = self
            .flows
            .get(&row.flow)
            .and_then(|it| it.flow.as_ref())
            .and_then(|it| timetable_of(it, &row.key)?.spec())
            .map_or(Span::ZERO, |spec| spec.jitter);
        if jitter <= Span::ZERO {
            return row.due_at;
        }
        let share = crate::hash::fnv(&format!("{}/{}", row.flow, row.key)) % (jitter.0 as u64 + 1);
        row.due_at + Span(share as i64)
    }

    pub(crate) fn task_rank(&self, key: TaskKey, row: &TaskRow) -> Rank {
        let priority = self.runs.get(&key.run).map_or(0, |it| it.row.priority);
        Rank::new(row.ready_at, priority)
    }

    /// Takes a candidate out of the queue, wherever it waits. Gives the limit it waited for: those
    /// behind it may fit where it did not.
    pub(crate) fn unqueue(&mut self, candidate: Candidate, rank: Option<Rank>) -> Option<Limit> {
        if let Some((limit, rank)) = self.parked_at.remove(&candidate) {
            self.parked.remove(&(limit.clone(), rank, candidate));
            return Some(limit);
        }
        if let Some(rank) = rank {
            self.ready.remove(&(rank, candidate));
        }
        None
    }

    pub(crate) fn park(&mut self, candidate: Candidate, rank: Rank, limit: Limit) {
        self.parked.insert((limit.clone(), rank, candidate));
        self.parked_at.insert(candidate, (limit, rank));
    }

    /// The first that waits for a limit.
    pub(crate) fn head(&self, limit: &Limit) -> Option<(Rank, Candidate)> {
        self.parked
            .range(first_parked(limit)..)
            .next()
            .filter(|(of, _, _)| of == limit)
            .map(|(_, rank, candidate)| (*rank, *candidate))
    }

    pub(crate) fn run_tasks(&self, run: RunId) -> impl Iterator<Item = (&TaskKey, &Arc<TaskRow>)> {
        let (from, to) = (first_of(run), first_of(RunId(run.0 + 1)));
        self.tasks.range(task_start(from)..task_start(to))
    }

    /// Tasks of one node, in order of path and iteration.
    pub(crate) fn node_tasks(
        &self,
        run: RunId,
        node: NodeId,
    ) -> impl Iterator<Item = (&TaskKey, &Arc<TaskRow>)> {
        let at = |node| TaskKey {
            run,
            node: NodeId(node),
            path: Path::ROOT,
            iteration: 0,
        };
        self.tasks.range(at(node.0)..at(node.0 + 1))
    }

    /// The last iteration that counts: after a resume a step may have gone on to itself less often,
    /// and then rows of later iterations remain that nothing reaches any more.
    /// All tasks of a step in a run, of every item and iteration.
    pub(crate) fn tasks_of_node(
        &self,
        run: RunId,
        node: NodeId,
    ) -> impl Iterator<Item = &Arc<TaskRow>> {
        let first = TaskKey {
            run,
            node,
            path: Path::ROOT,
            iteration: 0,
        };
        let rows = self.tasks.range(first..);
        rows.take_while(move |(key, _)| (key.run, key.node) == (run, node))
            .map(|(_, row)| row)
    }

    pub(crate) fn last_iteration(&self, first: TaskKey) -> Option<&Arc<TaskRow>> {
        let last = TaskKey {
            iteration: u32::MAX,
            ..first
        };
        let reached = |row: &&Arc<TaskRow>| {
            row.task.iteration == 0 || !matches!(row.state, TaskState::Waiting | TaskState::Skipped)
        };
        let rows = self.tasks.range(first..=last).map(|(_, row)| row);
        rows.rev().find(reached)
    }

    pub(crate) fn run_scopes(&self, run: RunId) -> impl Iterator<Item = (&Place, &Arc<ScopeRow>)> {
        self.scopes.range(first_of(run)..first_of(RunId(run.0 + 1)))
    }

    /// Unfinished runs of a flow, oldest first.
    pub(crate) fn unfinished(&self, flow: &FlowName) -> Vec<RunId> {
        self.runs_by_flow
            .range((flow.clone(), RunId(0))..=(flow.clone(), RunId(u64::MAX)))
            .map(|(_, id)| *id)
            .collect()
    }

    /// How many tokens a node waits for; `None` for a close whose scope is not open.
    pub(crate) fn tokens_wanted(&self, flow: &Flow, place: Place) -> Option<usize> {
        let node = flow.node(place.node);
        Some(match node.kind {
            NodeKind::Close(scope) => {
                let index = ScopeIndex(u16::try_from(scope + 1).expect("scopes fit u16"));
                let (_, open, _) = flow.scope_at(index).expect("a close has a scope");
                let row = self.scopes.get(&Place {
                    node: open,
                    ..place
                })?;
                row.items.len() * flow.sinks(scope)
            }
            _ => node.predecessors.len(),
        })
    }

    pub(crate) fn all_limits(&self) -> BTreeSet<Limit> {
        let pools = self.config.pools.keys().cloned().map(Limit::Pool);
        self.used
            .keys()
            .cloned()
            .chain(self.parked.iter().map(|(limit, _, _)| limit.clone()))
            .chain(pools)
            .chain([Limit::Tasks])
            .collect()
    }
}

/// What the attempts of a step are counted against by where they run.
fn own_limit(step: &StepSpec) -> Option<Limit> {
    // A run of another flow is no process: its own tasks hold slots.
    if sub_flow(step).is_some() {
        return None;
    }
    match step.executor() {
        ExecutorKind::Local => Some(Limit::Tasks),
        ExecutorKind::Batch => Some(Limit::Remote),
        // An execution does its tasks by itself, under limits of its own.
        ExecutorKind::StepFunctions => None,
    }
}

/// The key of a task in a flow; `None` when the flow has no such step at that depth.
pub(crate) fn key_in(flow: &Flow, run: RunId, task: &TaskId) -> Option<TaskKey> {
    let node = flow.step_node(task.step.as_str())?;
    (flow.node(node).depth == task.path.depth()).then_some(TaskKey {
        run,
        node,
        path: task.path,
        iteration: task.iteration,
    })
}

/// The place of a scope's opening in a flow; `None` when the flow has no such scope at that depth.
pub(crate) fn place_in(flow: &Flow, row: &ScopeRow) -> Option<Place> {
    let (_, node, _) = flow.scope(row.scope.as_str())?;
    (flow.node(node).depth == row.path.depth()).then_some(Place {
        run: row.run,
        node,
        path: row.path,
    })
}

/// A schedule of a flow by its name.
pub(crate) fn schedule<'a>(
    flow: &'a Flow,
    name: &TriggerName,
) -> Option<(&'a ScheduleSpec, &'a Schedule)> {
    flow.schedules().find(|(spec, _)| spec.name == *name)
}

/// What an occurrence is planned by: a schedule, or the deadline of a trigger.
#[derive(Clone)]
pub(crate) struct Timetable<'a> {
    pub(crate) trigger: &'a TriggerName,
    pub(crate) schedule: &'a Schedule,
    /// What the keys of its occurrences begin with.
    pub(crate) prefix: String,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    spec: Option<&'a ScheduleSpec>,
    /// The trigger's place in the flow.
    pub(crate) deadline_of: Option<usize>,
}

impl<'a> Timetable<'a> {
    /// `None` for a deadline.
    pub(crate) fn spec(&self) -> Option<&'a ScheduleSpec> {
        self.spec
    }

    pub(crate) fn key(&self, slot: Timestamp) -> String {
        format!("{}{slot}", self.prefix)
    }
}

/// All timetables of a flow.
pub(crate) fn timetables(flow: &Flow) -> impl Iterator<Item = Timetable<'_>> {
    let schedules = flow.schedules().map(|(spec, schedule)| Timetable {
        trigger: &spec.name,
        schedule,
        prefix: format!("cron:{}:", spec.name),
        start: spec.start,
        end: spec.end,
        spec: Some(spec),
        deadline_of: None,
    });
    let triggers = flow.spec().triggers.iter().enumerate();
    let deadlines = triggers.filter_map(|(place, spec)| {
        Some(Timetable {
            trigger: &spec.name,
            schedule: flow.deadline(place)?,
            prefix: deadline_prefix(&spec.name),
            start: None,
            end: None,
            spec: None,
            deadline_of: Some(place),
        })
    });
    schedules.chain(deadlines)
}

/// The timetable that an occurrence was planned by, if the flow still has it.
pub(crate) fn timetable_of<'a>(flow: &'a Flow, key: &str) -> Option<Timetable<'a>> {
    let prefix = timetable_prefix(key);
    timetables(flow).find(|it| it.prefix == prefix)
}

/// `cron:<schedule>:` of `cron:<schedule>:<slot>`.
pub(crate) fn timetable_prefix(key: &str) -> &str {
    let name = key.find(':').map_or(0, |it| it + 1);
    let end = key[name..].find(':').map_or(key.len(), |it| name + it + 1);
    &key[..end]
}

pub(crate) fn deadline_prefix(trigger: &TriggerName) -> String {
    format!("deadline:{trigger}:")
}

pub(crate) fn first_parked(limit: &Limit) -> (Limit, Rank, Candidate) {
    (limit.clone(), Rank(i64::MIN), Candidate::Run(RunId(0)))
}

pub(crate) fn first_of(run: RunId) -> Place {
    Place {
        run,
        node: NodeId(0),
        path: Path::ROOT,
    }
}

fn task_start(place: Place) -> TaskKey {
    TaskKey {
        run: place.run,
        node: place.node,
        path: place.path,
        iteration: 0,
    }
}

fn task_timer(row: &TaskRow) -> Option<Timestamp> {
    match row.state {
        TaskState::BackingOff => row.retry_at,
        TaskState::Submitting | TaskState::Running => row.deadline,
        _ => None,
    }
}

/// What happens at the very moment still is in time.
fn sla_timer(row: &SlaRow) -> Option<Timestamp> {
    row.missed_at.is_none().then_some(row.due_at + Span(1))
}

fn run_timer(row: &RunRow) -> Option<Timestamp> {
    (row.state == RunState::Running)
        .then_some(row.deadline)
        .flatten()
}

pub(crate) fn is_active(state: TaskState) -> bool {
    !state.is_terminal() && state != TaskState::Waiting
}

/// Whether a run has its place in the lane of its backfill. A sub-flow of such a run has not: its parent holds that
/// place until it ends.
const fn in_lane(row: &RunRow) -> bool {
    row.backfill.is_some() && row.parent.is_none()
}

fn holds_slots(state: RunState) -> bool {
    matches!(state, RunState::Running | RunState::Cancelling)
}
