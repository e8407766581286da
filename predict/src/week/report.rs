//! What the days came to.

use super::Options;
use dalsegno_scheduler::row::{
    Changes, OccurrenceState, RunRow, RunState, SlaRow, TaskRow, TaskState,
};
use dalsegno_scheduler::sla::SlaKey;
use dalsegno_scheduler::{
    FlowName, Input, Limit, Reason, Rejected, RunId, Scheduler, TaskId, Timestamp,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const HOUR: i64 = 3_600_000_000;

/// What some days came to. Times are microseconds, as everywhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Week {
    pub from: Timestamp,
    pub until: Timestamp,
    pub seed: u64,
    pub runs: u64,
    pub tasks: u64,
    pub flows: Vec<FlowWeek>,
    pub limits: Vec<LimitWeek>,
    /// Promises that are not kept.
    pub breaches: Vec<Breach>,
    /// Why runs ended otherwise than by success, and how many did.
    pub failures: BTreeMap<String, u64>,
    /// Flows that could not be deployed, and why.
    pub refused: Vec<String>,
    /// What the days were reckoned without, and what was assumed.
    pub facts: Vec<String>,
    /// The days ended early, for there was too much to decide.
    pub stopped_at: Option<Timestamp>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowWeek {
    pub flow: FlowName,
    pub runs: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Still queued or running at the end.
    pub unfinished: u64,
    /// Occurrences that started no run: skipped, coalesced or missed.
    pub not_run: u64,
    /// From when a run was due to its start.
    pub wait_us: Spread,
    /// From when a run was due to its end.
    pub finish_us: Spread,
    /// What its tasks waited for slots, in all.
    pub task_wait_us: i64,
}

/// Half of all are at most `p50`, nine in ten at most `p90`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub p50: i64,
    pub p90: i64,
    pub max: i64,
}

/// One limit that several flows share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitWeek {
    pub limit: Limit,
    pub capacity: u32,
    pub peak: u32,
    /// How much of its slots' time was used, in thousandths.
    pub used_permille: u32,
    /// How long all of them were in use, or someone waited.
    pub full_us: i64,
    /// What runs and tasks waited for it, in all.
    pub waited_us: i64,
    /// The hour with the most of that, and how long it was full then.
    pub worst_hour: Option<Timestamp>,
    pub worst_hour_full_us: i64,
}

/// A promise that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Breach {
    pub flow: FlowName,
    pub promise: String,
    pub period: String,
    pub due_at: Timestamp,
    /// When it was met after all.
    pub met_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct OfFlow {
    runs: u64,
    succeeded: u64,
    failed: u64,
    not_run: u64,
    waits: Vec<i64>,
    finishes: Vec<i64>,
    task_wait: i64,
}

#[derive(Clone, Debug)]
struct OfLimit {
    limit: Limit,
    capacity: u32,
    peak: u32,
    used: u32,
    is_full: bool,
    used_time: i128,
    full: i64,
    waited: i64,
    by_hour: BTreeMap<i64, i64>,
}

/// Takes notes while the days go by.
pub(super) struct Ledger {
    from: Timestamp,
    seed: u64,
    measured_at: Timestamp,
    flows: BTreeMap<FlowName, OfFlow>,
    limits: Vec<OfLimit>,
    /// When runs that are there were due.
    due: BTreeMap<RunId, Timestamp>,
    /// Whose they are.
    open: BTreeMap<RunId, FlowName>,
    /// What runs and tasks wait for at the moment.
    parked: BTreeMap<(RunId, Option<TaskId>), (Limit, Timestamp)>,
    /// And whether a run is known.
    breaches: BTreeMap<SlaKey, (Breach, bool)>,
    not_judged: BTreeMap<FlowName, u64>,
    failures: BTreeMap<String, u64>,
    refused: Vec<String>,
    tasks: u64,
}

impl Ledger {
    pub(super) fn new(core: &Scheduler, options: &Options) -> Self {
        let shared = |it: &Limit| matches!(it, Limit::Tasks | Limit::Remote | Limit::Pool(_));
        let mut limits: Vec<Limit> = core.limits().into_iter().map(|it| it.limit).collect();
        limits.push(Limit::Remote);
        limits.sort();
        limits.dedup();
        let limits = limits.into_iter().filter(shared).map(|limit| OfLimit {
            capacity: core.usage(&limit).capacity,
            limit,
            peak: 0,
            used: 0,
            is_full: false,
            used_time: 0,
            full: 0,
            waited: 0,
            by_hour: BTreeMap::new(),
        });
        Self {
            from: options.from,
            seed: options.seed,
            measured_at: options.from,
            flows: BTreeMap::new(),
            limits: limits.collect(),
            due: BTreeMap::new(),
            open: BTreeMap::new(),
            parked: BTreeMap::new(),
            breaches: BTreeMap::new(),
            not_judged: BTreeMap::new(),
            failures: BTreeMap::new(),
            refused: Vec::new(),
            tasks: 0,
        }
    }

    /// How many runs of a flow there have been.
    pub(super) fn runs_before(&self, flow: &FlowName) -> u64 {
        self.flows.get(flow).map_or(0, |it| it.runs)
    }

    pub(super) fn refused(&mut self, input: &Input, why: &Rejected) {
        if let Input::Deploy { flow, .. } = input {
            self.refused.push(format!("flow {}: {why}", flow.name()));
        }
    }

    /// A promise that is missed, or met after that. `place`: which run it is about, whatever its number.
    pub(super) fn breach(&mut self, row: &SlaRow, place: Option<String>) {
        if row.missed_at.is_none_or(|it| it < self.from) {
            return;
        }
        let of_a_run = row.period.starts_with("run:");
        let period = place.filter(|_| of_a_run);
        let breach = Breach {
            flow: row.flow.clone(),
            promise: row.promise.to_string(),
            period: period.unwrap_or_else(|| row.period.to_string()),
            due_at: row.due_at,
            met_at: row.met_at,
        };
        let key = (row.flow.clone(), row.promise.clone(), row.period.clone());
        self.breaches.insert(key, (breach, row.run.is_some()));
    }

    /// No run came of these flows, and nobody knows whether one would have: what they promised is not judged.
    pub(super) fn leave_out(&mut self, flows: &BTreeSet<String>) {
        let mut left_out: BTreeMap<FlowName, u64> = BTreeMap::new();
        self.breaches.retain(|(flow, ..), (_, has_run)| {
            let is_judged = *has_run || !flows.contains(flow.as_str());
            if !is_judged {
                *left_out.entry(flow.clone()).or_default() += 1;
            }
            is_judged
        });
        self.not_judged = left_out;
    }

    pub(super) fn take(&mut self, changes: &Changes, now: Timestamp) {
        for row in &changes.occurrences {
            use OccurrenceState::{Coalesced, Expected, Missed, Ran, Skipped};
            match row.state {
                Ran => {
                    if let Some(run) = row.run {
                        self.due.insert(run, row.due_at);
                    }
                }
                Coalesced | Skipped | Missed => {
                    self.flows.entry(row.flow.clone()).or_default().not_run += 1;
                }
                Expected => {}
            }
        }
        changes.tasks.iter().for_each(|it| self.task(it, now));
        changes.runs.iter().for_each(|it| self.run(it));
    }

    pub(super) fn run(&mut self, row: &RunRow) {
        let due = self.due.get(&row.id).copied().unwrap_or(row.created_at);
        let of_flow = self.flows.entry(row.flow.clone()).or_default();
        if self.open.insert(row.id, row.flow.clone()).is_none() {
            of_flow.runs += 1;
        }
        if row.state == RunState::Queued
            && let Some(Reason::LimitFull { limit, .. }) = &row.reason
        {
            let parked = self.parked.entry((row.id, None));
            parked.or_insert_with(|| (limit.clone(), row.queued_at));
        } else if let Some((limit, since)) = self.parked.remove(&(row.id, None)) {
            let until = row.started_at.or(row.finished_at).unwrap_or(since);
            let waited = (until - since).0.max(0);
            if let Some(it) = self.limits.iter_mut().find(|it| it.limit == limit) {
                it.waited += waited;
            }
        }
        if !row.state.is_terminal() {
            return;
        }
        self.open.remove(&row.id);
        self.due.remove(&row.id);
        if let Some(started) = row.started_at.filter(|it| *it >= self.from) {
            of_flow.waits.push((started - due).0.max(0));
        }
        match (row.state, row.finished_at) {
            (RunState::Succeeded, Some(at)) => {
                of_flow.succeeded += 1;
                of_flow.finishes.push((at - due).0.max(0));
            }
            _ => {
                of_flow.failed += 1;
                let reason = row.reason.as_ref().map(ToString::to_string);
                let text = reason.unwrap_or_else(|| row.state.to_string());
                *self.failures.entry(text).or_default() += 1;
            }
        }
    }

    fn task(&mut self, row: &TaskRow, now: Timestamp) {
        if row.state == TaskState::Ready {
            if let Some(Reason::LimitFull { limit, .. }) = &row.reason {
                let who = (row.run, Some(row.task.clone()));
                self.parked.insert(who, (limit.clone(), row.ready_at));
            }
            return;
        }
        self.tasks += u64::from(row.state.is_terminal() && row.submitted_at.is_some());
        // Whoever is parked has a row here, so most tasks cost no look.
        if self.parked.is_empty() {
            return;
        }
        let who = (row.run, Some(row.task.clone()));
        if let Some((limit, since)) = self.parked.remove(&who) {
            let waited = (now - since).0.max(0);
            let flow = self
                .open
                .get(&row.run)
                .and_then(|it| self.flows.get_mut(it));
            if let Some(of_flow) = flow {
                of_flow.task_wait += waited;
            }
            if let Some(it) = self.limits.iter_mut().find(|it| it.limit == limit) {
                it.waited += waited;
            }
        }
    }

    /// Looks at the limits after a decision.
    pub(super) fn measure(&mut self, core: &Scheduler, now: Timestamp) {
        let (from, elapsed) = (self.measured_at, (now - self.measured_at).0);
        self.measured_at = now;
        for it in &mut self.limits {
            if elapsed > 0 {
                it.used_time += i128::from(it.used) * i128::from(elapsed);
                if it.is_full {
                    it.full += elapsed;
                    spread(&mut it.by_hour, from.0, now.0);
                }
            }
            let usage = core.usage(&it.limit);
            it.used = usage.used;
            it.capacity = usage.capacity;
            it.peak = it.peak.max(it.used);
            it.is_full = usage.waiting > 0 || (usage.used >= usage.capacity && usage.used > 0);
        }
    }

    pub(super) fn report(
        mut self,
        core: &Scheduler,
        until: Timestamp,
        stopped_at: Option<Timestamp>,
        mut facts: Vec<String>,
    ) -> Week {
        facts.extend(self.not_judged.iter().map(|(flow, times)| {
            format!("not judged: {times} promises of flow {flow}, for what it waits for does not come here")
        }));
        self.measure(core, until.max(self.measured_at));
        for (limit, since) in std::mem::take(&mut self.parked).into_values() {
            if let Some(it) = self.limits.iter_mut().find(|it| it.limit == limit) {
                it.waited += (until - since).0.max(0);
            }
        }
        let mut unfinished: BTreeMap<FlowName, u64> = BTreeMap::new();
        for run in core.runs() {
            *unfinished.entry(run.flow.clone()).or_default() += 1;
        }
        let length = (until - self.from).0.max(1);
        let flows = self.flows.into_iter().map(|(flow, mut it)| FlowWeek {
            unfinished: unfinished.get(&flow).copied().unwrap_or(0),
            flow,
            runs: it.runs,
            succeeded: it.succeeded,
            failed: it.failed,
            not_run: it.not_run,
            wait_us: Spread::of(&mut it.waits),
            finish_us: Spread::of(&mut it.finishes),
            task_wait_us: it.task_wait,
        });
        let flows: Vec<FlowWeek> = flows.collect();
        let limits = self
            .limits
            .into_iter()
            .filter(|it| it.peak > 0 || matches!(it.limit, Limit::Tasks | Limit::Pool(_)));
        let limits = limits.map(|it| {
            let all = i128::from(it.capacity.max(1)) * i128::from(length);
            let worst = it.by_hour.iter().rev().max_by_key(|(_, full)| **full);
            LimitWeek {
                used_permille: (it.used_time * 1_000 / all) as u32,
                worst_hour: worst.map(|(hour, _)| Timestamp(*hour)),
                worst_hour_full_us: worst.map_or(0, |(_, full)| *full),
                limit: it.limit,
                capacity: it.capacity,
                peak: it.peak,
                full_us: it.full,
                waited_us: it.waited,
            }
        });
        Week {
            from: self.from,
            until,
            seed: self.seed,
            runs: flows.iter().map(|it| it.runs).sum(),
            tasks: self.tasks,
            flows,
            limits: limits.collect(),
            breaches: self.breaches.into_values().map(|(it, _)| it).collect(),
            failures: self.failures,
            refused: self.refused,
            facts,
            stopped_at,
        }
    }
}

impl Spread {
    fn of(values: &mut [i64]) -> Self {
        values.sort_unstable();
        let at = |share: usize| {
            let place = (values.len() * share).div_ceil(100).max(1) - 1;
            values.get(place).copied().unwrap_or(0)
        };
        Self {
            p50: at(50),
            p90: at(90),
            max: at(100),
        }
    }
}

/// Adds a stretch of time to the hours that it lies in.
fn spread(hours: &mut BTreeMap<i64, i64>, mut from: i64, to: i64) {
    while from < to {
        let hour = from.div_euclid(HOUR) * HOUR;
        let end = to.min(hour + HOUR);
        *hours.entry(hour).or_default() += end - from;
        from = end;
    }
}
