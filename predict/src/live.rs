//! The plan of a promise, read off the state as it stands.

use crate::forecast::{Forecast, Target};
use crate::history::{Durations, Histories};
use crate::plan::{Gate, Job, JobId, Plan, Step, StepState};
use dalsegno_scheduler::row::{OccurrenceRow, RunRow, RunState, ScopeState, TaskRow, TaskState};
use dalsegno_scheduler::spec::{EventSource, ScopeIndex, StepSpec, Strategy, TriggerExpr};
use dalsegno_scheduler::{
    ExecutorKind, Flow, FlowName, Limit, Reason, RunId, Scheduler, Span, StepName, Timestamp,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// The most runs that one plan looks at; what is further upstream is not looked at.
pub const PLAN_JOBS_MAX: usize = 200;

/// The state at one moment, with what the queues look like.
pub struct Outlook<'a> {
    view: &'a Scheduler,
    histories: &'a Histories,
    now: Timestamp,
    queues: BTreeMap<Limit, Queue>,
}

/// Who waits for a limit that is full.
#[derive(Debug, Default)]
struct Queue {
    /// When those that wait already get their slots, from now: runs, and steps of runs.
    waits: BTreeMap<(RunId, Option<StepName>), Span>,
    /// When one that comes now would.
    newcomer: Span,
}

impl<'a> Outlook<'a> {
    /// Looks at all unfinished runs once.
    pub fn new(view: &'a Scheduler, histories: &'a Histories, now: Timestamp) -> Self {
        let mut outlook = Self {
            view,
            histories,
            now,
            queues: BTreeMap::new(),
        };
        outlook.queues = outlook.survey();
        outlook
    }

    /// When a run, or the next run of a flow, will have done what is asked about. `None`: there is nothing to predict
    /// from, for the flow has neither a version nor a run.
    pub fn forecast(
        &self,
        flow: &FlowName,
        run: Option<RunId>,
        target: &Target,
        due_at: Timestamp,
        seed: u64,
    ) -> Option<Forecast> {
        let (plan, job) = self.plan(flow, run, due_at)?;
        plan.forecast(job, target, due_at, seed)
    }

    /// What has to happen until a run has ended: this one, or the next one of the flow.
    pub fn plan(
        &self,
        flow: &FlowName,
        run: Option<RunId>,
        due_at: Timestamp,
    ) -> Option<(Plan, JobId)> {
        let mut draft = self.draft();
        let job = match run.and_then(|it| self.view.run(it)) {
            Some(row) => draft.run(&row.clone()),
            None => draft.next(flow, Some(due_at))?,
        };
        Some((draft.plan, job))
    }

    /// What has to happen until a run of the flow has ended: its oldest unfinished one, or the next.
    pub(crate) fn plan_of_next(&self, flow: &FlowName) -> Option<(Plan, JobId)> {
        let mut draft = self.draft();
        let job = draft.upstream(flow)?;
        Some((draft.plan, job))
    }

    fn draft(&self) -> Draft<'_> {
        Draft {
            of: self,
            plan: Plan {
                now: self.now,
                jobs: Vec::new(),
            },
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    pub(crate) const fn view(&self) -> &Scheduler {
        self.view
    }

    fn step_durations(&self, flow: &FlowName, step: &StepSpec, at: Timestamp) -> Option<Durations> {
        let history = self.histories.step(flow, &step.name);
        let known = history.and_then(|it| it.durations(at));
        // Of what never succeeded only the timeout is known; it is told of among the unknown.
        known.or_else(|| step.timeout.map(Durations::exactly))
    }

    /// Which limits are full, and when their slots come free.
    fn survey(&self) -> BTreeMap<Limit, Queue> {
        let limits = self.view.limits();
        let shared = |it: &Limit| matches!(it, Limit::Tasks | Limit::Remote | Limit::Pool(_));
        let full = limits
            .into_iter()
            .filter(|it| shared(&it.limit) && (it.waiting > 0 || it.used >= it.capacity));
        let mut lines: BTreeMap<Limit, Line> = full
            .map(|it| {
                let slots = it.capacity.max(1);
                (it.limit, Line::of(slots))
            })
            .collect();
        if lines.is_empty() {
            return BTreeMap::new();
        }
        for run in self.view.runs() {
            let Some(flow) = self.view.flow_of(run.id) else {
                continue;
            };
            let usual = |of: Option<&crate::history::History>| {
                of.and_then(|it| it.usual()).unwrap_or_default()
            };
            let of_run = usual(self.histories.run(&run.flow));
            if run.state == RunState::Running {
                let left = of_run.0 - (self.now - run.started_at.unwrap_or(self.now)).0;
                for (pool, slots) in &flow.spec().run.pools {
                    if let Some(line) = lines.get_mut(&Limit::Pool(pool.clone())) {
                        line.hold(*slots, left);
                    }
                }
                for task in self.view.tasks(run.id) {
                    let Some(step) = flow.step(task.task.step.as_str()) else {
                        continue;
                    };
                    let of_task = usual(self.histories.task(&run.flow, &step.name));
                    if task.state.is_live() {
                        let begun = task.submitted_at.unwrap_or(self.now);
                        let left = of_task.0 - (self.now - begun).0;
                        for (limit, slots) in limits_of(step) {
                            if let Some(line) = lines.get_mut(&limit) {
                                line.hold(slots, left);
                            }
                        }
                    } else if task.state == TaskState::Ready
                        && let Some(Reason::LimitFull { limit, wanted, .. }) = &task.reason
                        && let Some(line) = lines.get_mut(limit)
                    {
                        let who = (run.id, Some(step.name.clone()));
                        let rank = rank(task.ready_at, run.priority);
                        line.waiting.push((rank, who, *wanted, of_task));
                    }
                }
            } else if let (RunState::Queued, Some(Reason::LimitFull { limit, wanted, .. })) =
                (run.state, &run.reason)
                && let Some(line) = lines.get_mut(limit)
            {
                let rank = rank(run.created_at, run.priority);
                line.waiting.push((rank, (run.id, None), *wanted, of_run));
            }
        }
        lines
            .into_iter()
            .map(|(limit, line)| (limit, line.play()))
            .collect()
    }

    /// The longest wait among the limits of a step.
    fn step_queue(&self, run: Option<RunId>, step: &StepSpec) -> Option<(Limit, Span)> {
        let waits = limits_of(step).into_iter().filter_map(|(limit, _)| {
            let queue = self.queues.get(&limit)?;
            let own = run.and_then(|it| queue.waits.get(&(it, Some(step.name.clone()))));
            let wait = own.copied().unwrap_or(queue.newcomer);
            (wait > Span::ZERO).then_some((limit, wait))
        });
        waits.max_by_key(|(_, wait)| *wait)
    }

    fn run_queue(&self, run: Option<RunId>, flow: &Flow) -> Option<(Limit, Span)> {
        let pools = flow.spec().run.pools.keys();
        let waits = pools.filter_map(|pool| {
            let limit = Limit::Pool(pool.clone());
            let queue = self.queues.get(&limit)?;
            let own = run.and_then(|it| queue.waits.get(&(it, None)));
            let wait = own.copied().unwrap_or(queue.newcomer);
            (wait > Span::ZERO).then_some((limit, wait))
        });
        waits.max_by_key(|(_, wait)| *wait)
    }
}

/// The slots that a step's attempts hold and that others want, too.
fn limits_of(step: &StepSpec) -> Vec<(Limit, u32)> {
    let pools = step.pools.iter();
    let mut limits: Vec<(Limit, u32)> = pools
        .map(|(pool, slots)| (Limit::Pool(pool.clone()), *slots))
        .collect();
    let runs_a_flow = matches!(step.run, dalsegno_scheduler::spec::Command::Flow(_));
    match step.executor() {
        ExecutorKind::Local if !runs_a_flow => limits.push((Limit::Tasks, 1)),
        ExecutorKind::Batch => limits.push((Limit::Remote, 1)),
        _ => {}
    }
    limits
}

/// As the core ranks: a point of priority is a minute of waiting.
fn rank(since: Timestamp, priority: i32) -> i64 {
    since
        .0
        .saturating_sub(i64::from(priority).saturating_mul(Span::from_mins(1).0))
}

type Who = (RunId, Option<StepName>);

/// The queue of one limit, played with usual durations.
struct Line {
    slots: u32,
    /// When slots that are held come free, from now.
    held: Vec<i64>,
    /// Rank, who, slots and how long.
    waiting: Vec<(i64, Who, u32, Span)>,
}

/// Slots that a queue is played with: of a larger limit only so many count.
const SLOTS_MAX: usize = 100_000;

impl Line {
    const fn of(slots: u32) -> Self {
        Self {
            slots,
            held: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn hold(&mut self, slots: u32, left: i64) {
        // More than the limit has cannot count.
        let room = SLOTS_MAX.saturating_sub(self.held.len());
        let slots = (slots.min(self.slots) as usize).min(room);
        self.held.extend(std::iter::repeat_n(left.max(0), slots));
    }

    fn play(mut self) -> Queue {
        let mut free: BinaryHeap<Reverse<i64>> = self.held.drain(..).map(Reverse).collect();
        while free.len() < (self.slots as usize).min(SLOTS_MAX) {
            free.push(Reverse(0));
        }
        self.waiting.sort();
        let mut queue = Queue::default();
        for (_, who, wanted, took) in self.waiting {
            let mut at = 0;
            let wanted = (wanted as usize).clamp(1, free.len().max(1));
            for _ in 0..wanted {
                at = at.max(free.pop().map_or(0, |it| it.0));
            }
            for _ in 0..wanted {
                free.push(Reverse(at.saturating_add(took.0)));
            }
            // The first of a step's tasks stands for the step.
            queue.waits.entry(who).or_insert(Span(at));
        }
        queue.newcomer = Span(free.peek().map_or(0, |it| it.0));
        queue
    }
}

struct Draft<'a> {
    of: &'a Outlook<'a>,
    plan: Plan,
    /// Of each flow the run that the next ones wait for; `None` while it is worked out.
    jobs: BTreeMap<FlowName, Option<JobId>>,
    runs: BTreeMap<RunId, JobId>,
}

impl Draft<'_> {
    /// What a flow that comes after this one waits for: its oldest unfinished run, or the next.
    fn upstream(&mut self, flow: &FlowName) -> Option<JobId> {
        if let Some(known) = self.jobs.get(flow) {
            return *known;
        }
        self.jobs.insert(flow.clone(), None);
        let view = self.of.view;
        let mut unfinished = view.runs_of(flow.as_str());
        let job = match unfinished.find(|it| counts(it)).cloned() {
            Some(row) => Some(self.run(&row)),
            None => self.next(flow, None),
        };
        self.jobs.insert(flow.clone(), job);
        job
    }

    fn push(&mut self, job: Job) -> JobId {
        self.plan.jobs.push(job);
        JobId(self.plan.jobs.len() - 1)
    }

    /// A run that exists.
    fn run(&mut self, row: &Arc<RunRow>) -> JobId {
        if let Some(known) = self.runs.get(&row.id) {
            return *known;
        }
        let view = self.of.view;
        let Some(flow) = view.flow_of(row.id).cloned() else {
            return self.push(self.empty(&row.flow));
        };
        let mut job = self.empty(&row.flow);
        job.run = Some(row.id);
        if row.state == RunState::Queued {
            job.gates.extend(self.behind(&flow, Some(row.id)));
            job.queue = self.of.run_queue(Some(row.id), &flow);
            job.unknown.extend(held_back(view, &row.flow));
            job.steps = self.steps(&flow, None, &mut job.unknown);
        } else {
            job.started_at = Some(row.started_at.unwrap_or(row.created_at));
            job.steps = self.steps(&flow, Some(row), &mut job.unknown);
        }
        let id = self.push(job);
        self.runs.insert(row.id, id);
        id
    }

    /// The next run of a flow that has not been made: by the last schedule before `due_at`, the next schedule, or what
    /// its triggers wait for.
    fn next(&mut self, flow: &FlowName, due_at: Option<Timestamp>) -> Option<JobId> {
        let view = self.of.view;
        let state = view.flow(flow.as_str())?;
        let version = state.flow.clone().filter(|_| !state.row.removed)?;
        let mut job = self.empty(flow);
        if let Some(paused) = &state.row.paused {
            job.unknown
                .push(format!("flow {flow} is paused by {}", paused.by));
        }
        job.unknown.extend(held_back(view, flow));
        let expected: Vec<&OccurrenceRow> = view.expected(flow.as_str()).collect();
        let scheduled = |it: &&&OccurrenceRow| it.key.starts_with("cron:");
        let before = due_at.and_then(|due| {
            let mut all = expected.iter().filter(scheduled).rev();
            all.find(|it| it.due_at <= due)
        });
        let next = before.or_else(|| expected.iter().find(scheduled));
        match next {
            Some(row) => job.not_before = row.due_at,
            None => self.awaited(&version, &mut job),
        }
        job.gates.extend(self.behind(&version, None));
        job.queue = self.of.run_queue(None, &version);
        job.steps = self.steps(&version, None, &mut job.unknown);
        Some(self.push(job))
    }

    fn empty(&self, flow: &FlowName) -> Job {
        let version = self.of.view.flow(flow.as_str());
        let version = version.and_then(|it| it.flow.as_ref());
        Job {
            flow: flow.clone(),
            owner: version.and_then(|it| it.spec().owner.clone()),
            run: None,
            started_at: None,
            not_before: self.of.now,
            gates: Vec::new(),
            queue: None,
            steps: Vec::new(),
            usual: self.of.histories.run(flow).and_then(|it| it.usual()),
            unknown: Vec::new(),
        }
    }

    /// What a flow without a schedule waits for.
    fn awaited(&mut self, flow: &Flow, job: &mut Job) {
        let spec = flow.spec();
        if spec.triggers.is_empty() {
            job.unknown
                .push(format!("flow {} is started by hand only", spec.name));
        }
        // Whichever trigger fires first; the first one that is known of stands for all.
        for trigger in &spec.triggers {
            let waiting: Vec<u16> = self
                .of
                .view
                .half_matches(spec.name.as_str())
                .filter(|it| it.trigger == trigger.name)
                .map(|it| it.leaf)
                .collect();
            let mut found = Found {
                waiting,
                leaf: 0,
                unknown: Vec::new(),
            };
            let gates = self.gates(&trigger.on, &mut found);
            if !gates.is_empty() || found.unknown.is_empty() {
                job.gates = gates;
                job.unknown.extend(found.unknown);
                return;
            }
            job.unknown.extend(found.unknown);
        }
    }

    fn gates(&mut self, on: &TriggerExpr, found: &mut Found) -> Vec<Gate> {
        match on {
            TriggerExpr::AllOf(parts) => {
                let gates = parts.iter().map(|it| self.gates(it, found));
                gates.collect::<Vec<_>>().into_iter().flatten().collect()
            }
            TriggerExpr::AnyOf(parts) => {
                let mut any = Vec::new();
                for part in parts {
                    for gate in self.gates(part, found) {
                        let (Gate::All(jobs) | Gate::Any(jobs)) = gate;
                        any.extend(jobs);
                    }
                }
                match any.is_empty() {
                    true => Vec::new(),
                    false => vec![Gate::Any(any)],
                }
            }
            TriggerExpr::Leaf(leaf) => {
                let number = found.leaf;
                found.leaf += 1;
                if found.waiting.contains(&number) {
                    return Vec::new();
                }
                let what = match &leaf.source {
                    EventSource::Flow { flow, .. } => {
                        let room = self.plan.jobs.len() < PLAN_JOBS_MAX;
                        if let Some(job) = room.then(|| self.upstream(flow)).flatten() {
                            return vec![Gate::All(vec![job])];
                        }
                        format!("waits for flow {flow}, of which no run is planned")
                    }
                    EventSource::Event { kind } => format!("waits for an event `{kind}`"),
                    EventSource::Object { bucket, key } => {
                        format!("waits for an object s3://{bucket}/{}", key.0)
                    }
                    EventSource::Dataset { namespace, name } => {
                        format!("waits for data set {namespace}/{name}")
                    }
                    EventSource::After { time } => format!("does not start before {time}"),
                };
                found.unknown.push(what);
                Vec::new()
            }
        }
    }

    /// Unfinished runs of the flow that must end before this one starts.
    fn behind(&mut self, flow: &Flow, run: Option<RunId>) -> Option<Gate> {
        let ahead: Vec<Arc<RunRow>> = self
            .of
            .view
            .runs_of(flow.name().as_str())
            .filter(|it| counts(it) && run.is_none_or(|own| it.id < own))
            .cloned()
            .collect();
        let lanes = match flow.spec().run.strategy {
            Strategy::Parallel(lanes) => lanes as usize,
            // What runs is cancelled, or what comes is skipped.
            Strategy::LastOnly => return None,
            _ => 1,
        };
        let wanted = (ahead.len() + 1).checked_sub(lanes).filter(|it| *it > 0)?;
        if self.plan.jobs.len() + wanted > PLAN_JOBS_MAX {
            return None;
        }
        let first = ahead.iter().take(wanted);
        Some(Gate::All(first.map(|it| self.run(it)).collect()))
    }

    /// The steps of a run as it stands, or of one to come.
    fn steps(
        &self,
        flow: &Flow,
        run: Option<&Arc<RunRow>>,
        unknown: &mut Vec<String>,
    ) -> Vec<Step> {
        let (view, now) = (self.of.view, self.of.now);
        let mut tasks: BTreeMap<&str, Vec<&Arc<TaskRow>>> = BTreeMap::new();
        for task in run.into_iter().flat_map(|it| view.tasks(it.id)) {
            let of_step = tasks.entry(task.task.step.as_str()).or_default();
            of_step.push(task);
        }
        let order = in_order(flow);
        let places: BTreeMap<&StepName, usize> =
            order.iter().enumerate().map(|(at, it)| (*it, at)).collect();
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); order.len()];
        for (from, to) in flow.step_edges() {
            if let (Some(from), Some(to)) = (places.get(&from), places.get(&to))
                && from < to
            {
                after[*to].push(*from);
            }
        }
        let mut steps = Vec::with_capacity(order.len());
        for (name, after) in order.into_iter().zip(after) {
            let Some(spec) = flow.step(name.as_str()) else {
                continue;
            };
            let of_step = tasks.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let state = run.map_or(StepState::Ahead, |run| {
                state_of(view, run, spec.scope, of_step)
            });
            let history = self.of.histories.step(flow.name(), name);
            let durations = self.of.step_durations(flow.name(), spec, now);
            let is_done = matches!(state, StepState::Done { .. });
            if history.is_none_or(|it| it.is_empty())
                && !is_done
                && let Some(timeout) = spec.timeout
            {
                unknown.push(format!(
                    "step {name} of {} has never succeeded before; reckoned with its timeout of {timeout}",
                    flow.name()
                ));
            }
            let durations = match state {
                StepState::Running { since } => durations.map(|it| it.beyond(now - since)),
                _ => durations,
            };
            let run = run.map(|it| it.id);
            let waits = !is_done && !matches!(state, StepState::Running { .. });
            steps.push(Step {
                name: name.clone(),
                after,
                state,
                durations,
                usual: history.and_then(|it| it.usual()),
                queue: self.of.step_queue(run, spec).filter(|_| waits),
            });
        }
        steps
    }
}

struct Found {
    /// Leaves whose events have come.
    waiting: Vec<u16>,
    leaf: u16,
    unknown: Vec<String>,
}

/// Runs that others wait for; those of backfills and sub-flows stand outside.
fn counts(row: &RunRow) -> bool {
    row.backfill.is_none() && row.parent.is_none()
}

fn held_back(view: &Scheduler, flow: &FlowName) -> Option<String> {
    let blocked = view.flow(flow.as_str())?.row.blocked_by?;
    Some(format!(
        "flow {flow} is blocked by its failed run {blocked}"
    ))
}

/// The steps of a flow, hooks left out, each after those before it.
fn in_order(flow: &Flow) -> Vec<&StepName> {
    let steps = flow.spec().steps.iter().filter(|it| it.hook.is_none());
    let names: Vec<&StepName> = steps.map(|it| &it.name).collect();
    let edges = flow.step_edges();
    let mut open: BTreeMap<&StepName, usize> = names.iter().map(|it| (*it, 0)).collect();
    for (_, to) in edges.iter().filter(|(from, to)| from != to) {
        if let Some(count) = open.get_mut(to) {
            *count += 1;
        }
    }
    let free = names.iter().filter(|it| open[**it] == 0);
    let mut order: Vec<&StepName> = free.copied().collect();
    let mut next = 0;
    while let Some(done) = order.get(next).copied() {
        next += 1;
        for (_, to) in edges.iter().filter(|(from, to)| from == done && to != done) {
            let Some((name, count)) = open.get_key_value(to) else {
                continue;
            };
            let (name, left) = (*name, count - 1);
            open.insert(name, left);
            if left == 0 {
                order.push(name);
            }
        }
    }
    order
}

fn state_of(
    view: &Scheduler,
    run: &RunRow,
    scope: ScopeIndex,
    tasks: &[&Arc<TaskRow>],
) -> StepState {
    let begun = tasks.iter().filter_map(|it| it.submitted_at).min();
    let is_over = |it: &&Arc<TaskRow>| it.state.is_terminal();
    let mut over = !tasks.is_empty() && tasks.iter().all(is_over);
    if over && scope != ScopeIndex::ROOT {
        // More items may follow.
        let open = |it: &&Arc<dalsegno_scheduler::row::ScopeRow>| {
            matches!(it.state, ScopeState::Open | ScopeState::Waiting)
        };
        over = view.scopes(run.id).find(open).is_none();
    }
    if over {
        let ends = tasks.iter().filter_map(|it| it.finished_at);
        let at = ends.max().or(run.started_at).unwrap_or(run.created_at);
        let began_at = begun.unwrap_or(at);
        return StepState::Done { began_at, at };
    }
    let has_begun = |it: &&Arc<TaskRow>| it.state.is_live() || is_over(it);
    if let Some(since) = begun.filter(|_| tasks.iter().any(has_begun)) {
        return StepState::Running { since };
    }
    let again = tasks.iter().filter(|it| it.state == TaskState::BackingOff);
    match again.filter_map(|it| it.retry_at).min() {
        Some(at) => StepState::Retrying { at },
        None => StepState::Ahead,
    }
}
