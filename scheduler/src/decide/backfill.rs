//! Backfills at work: a plan becomes items, items become runs as their lane has room, and the ends of runs move on
//! what comes after. See docs/adr/0018-backfills.md.
//!
//! Who may run is never decided here alone: a run of a backfill waits for slots like any other. Only the number of
//! runs that exist is kept small.

use super::Draft;
use super::runs::{Arrival, RUN_ENDED, check_key};
use crate::backfill::{BACKFILL_ITEMS_MAX, BACKFILL_PARALLEL_MAX, PastRun, Plan, Verdict};
use crate::id::{FlowName, RunId, TriggerName};
use crate::input::{Answer, BackfillChange, BackfillRequest, Rejected};
use crate::params;
use crate::reason::{Limit, Reason};
use crate::row::{
    BackfillItemRow, BackfillItemState, BackfillRow, BackfillState, Claim, EventRow, Interval,
    RunRow, RunState,
};
use crate::state;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A backfill and the number of one of its items.
pub(super) type Key = (u64, u32);

/// Parameters, and the events that they were taken from.
pub(super) type Given = (Map<String, Value>, Vec<Arc<EventRow>>);

/// How many items in a row may fail before they have a run; then something is wrong with all of them, and people are
/// asked.
const NOT_STARTED_MAX: u32 = 100;

impl Draft {
    // What people ask for.

    pub(super) fn backfill(&mut self, request: BackfillRequest) -> Result<Answer, Rejected> {
        let claim = request.claim();
        check_key(request.key.as_ref())?;
        let BackfillRequest {
            plan, parallel, by, ..
        } = request;
        if !(1..=BACKFILL_PARALLEL_MAX).contains(&parallel) {
            return Err(Rejected::Backfill(format!(
                "`parallel` is to be 1 to {BACKFILL_PARALLEL_MAX}, and it is {parallel}"
            )));
        }
        self.check_plan(&plan)?;
        let id = self.s.last_backfill + 1;
        self.s.last_backfill = id;
        self.put_backfill(BackfillRow {
            id,
            flow: plan.flow.clone(),
            from: plan.from,
            to: plan.to,
            mode: plan.mode,
            downstream: plan.downstream,
            state: BackfillState::Running,
            parallel,
            by,
            reason: None,
            created_at: self.now,
            updated_at: self.now,
            finished_at: None,
        });
        // What is kept gets no item, so those that run are numbered anew.
        let mut numbers: Vec<u32> = Vec::with_capacity(plan.items.len());
        let mut next = 0;
        for item in plan.items {
            numbers.push(next);
            if item.verdict != Verdict::Run {
                continue;
            }
            let after = item.after.iter().map(|it| numbers[*it as usize]).collect();
            let interval = item.interval;
            let upstream = item.upstream.iter();
            let events = upstream.map(|it| self.past_end(it, interval)).collect();
            self.put_item(BackfillItemRow {
                backfill: id,
                number: next,
                flow: item.flow,
                interval,
                trigger: item.trigger,
                after,
                state: BackfillItemState::Waiting,
                run: None,
                reason: None,
                events,
                updated_at: self.now,
            });
            next += 1;
        }
        self.lanes.insert(id);
        self.changes.claims.extend(claim.map(|key| Claim {
            key,
            result: format!("backfill:{id}"),
        }));
        Ok(Answer::Backfill {
            backfill: id,
            duplicate: false,
        })
    }

    /// Whether the world still is as the plan says, as far as memory knows it. What is finished is not in memory: the
    /// caller has planned anew and found the same token.
    fn check_plan(&self, plan: &Plan) -> Result<(), Rejected> {
        let changed = |what: String| Err(Rejected::PlanChanged(what));
        if plan.items.len() > BACKFILL_ITEMS_MAX {
            return Err(Rejected::Backfill(format!(
                "it has more than {BACKFILL_ITEMS_MAX} items"
            )));
        }
        if plan.token != plan.hash() {
            return changed("the token is that of another plan".to_owned());
        }
        if let Some(first) = plan.conflicts.first() {
            let more = match plan.conflicts.len() {
                1 => String::new(),
                many => format!(" (and {} more)", many - 1),
            };
            return Err(Rejected::Backfill(format!(
                "the plan has conflicts: {first}{more}"
            )));
        }
        let mut unfinished: BTreeMap<&FlowName, BTreeMap<Interval, RunId>> = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (name, version) in &plan.versions {
            self.active_flow(name)?;
            let active = self.s.flows[name].row.active_version.as_ref();
            if active != Some(version) {
                return changed(format!("{name} has a new version"));
            }
            let runs = self.s.unfinished(name).into_iter();
            let runs = runs.map(|id| (self.run(id).row.interval, id)).collect();
            unfinished.insert(name, runs);
            held.insert(name, self.s.still_to_run(name));
        }
        let mut runs = 0_usize;
        for (place, item) in plan.items.iter().enumerate() {
            let (name, start) = (&item.flow, item.interval.start);
            let Some(unfinished) = unfinished.get(name) else {
                return changed(format!("{name} is no flow of the plan"));
            };
            if item.verdict != Verdict::Run {
                continue;
            }
            runs += 1;
            if let Some(run) = unfinished.get(&item.interval) {
                return changed(format!("run {run} of {name} {start} is unfinished"));
            }
            if let Some(backfill) = self.s.backfill_of(name, item.interval) {
                return changed(format!(
                    "backfill {backfill} has {name} {start} still to run"
                ));
            }
            if let Some(why) = held.get(name).and_then(|it| it.get(&item.interval)) {
                return changed(why.clone());
            }
            let before = |it: &u32| {
                let upstream = plan.items.get(*it as usize);
                (*it as usize) < place && upstream.is_some_and(|it| it.verdict == Verdict::Run)
            };
            if !item.after.iter().all(before) {
                return changed(format!("{name} {start} comes after what does not run"));
            }
        }
        if runs == 0 {
            let text = "nothing is to be run: every interval is there; choose another span or mode";
            return Err(Rejected::Backfill(text.to_owned()));
        }
        Ok(())
    }

    /// What the end of a run told that ended before the backfill was made, as far as a plan knows it.
    fn past_end(&self, past: &PastRun, interval: Interval) -> Arc<EventRow> {
        let (flow, run) = (&past.flow, past.run);
        Arc::new(EventRow {
            seq: 0,
            source: format!("dalsegno:flow/{flow}"),
            id: format!("run:{run}"),
            kind: RUN_ENDED.to_owned(),
            subject: Some(flow.to_string()),
            time: self.now,
            data: Arc::new(json!({
                "flow": flow,
                "run": run.to_string(),
                "state": RunState::Succeeded,
                "params": *past.params,
                "interval": params::interval(interval),
            })),
            received_at: self.now,
            replay_of: None,
        })
    }

    pub(super) fn change_backfill(
        &mut self,
        id: u64,
        change: BackfillChange,
        by: String,
    ) -> Result<Answer, Rejected> {
        let state = self.s.backfills.get(&id).map(|it| it.row.state);
        match (state.ok_or(Rejected::UnknownBackfill(id))?, change) {
            (BackfillState::Running, BackfillChange::Pause) => {
                self.pause_backfill(id, Reason::PausedBy { by });
            }
            (BackfillState::Paused, BackfillChange::Resume) => {
                self.turn_backfill(id, BackfillState::Running, None);
                self.lanes.insert(id);
            }
            (BackfillState::Running | BackfillState::Paused, BackfillChange::Cancel) => {
                self.cancel_backfill(id, &Reason::CancelledBy { by, reason: None });
            }
            (BackfillState::Cancelling, BackfillChange::Pause | BackfillChange::Resume) => {
                return Err(Rejected::Backfill(format!(
                    "backfill {id} is being cancelled, so it cannot go on; plan another"
                )));
            }
            // It is so already.
            _ => {}
        }
        Ok(Answer::Done)
    }

    fn pause_backfill(&mut self, id: u64, reason: Reason) {
        self.turn_backfill(id, BackfillState::Paused, Some(reason));
    }

    /// What waits will not run, what runs is stopped.
    fn cancel_backfill(&mut self, id: u64, reason: &Reason) {
        self.turn_backfill(id, BackfillState::Cancelling, Some(reason.clone()));
        let items: Vec<Arc<BackfillItemRow>> = self.s.items_of(id).cloned().collect();
        for item in &items {
            if item.state == BackfillItemState::Waiting {
                let key = (id, item.number);
                self.turn_item(key, BackfillItemState::Skipped, Some(reason.clone()));
            }
        }
        for item in items {
            if item.state == BackfillItemState::Running
                && let Some(run) = item.run
            {
                // A change that has begun is not refused any more.
                if self.cancel(run, reason.clone()).is_err() {
                    let key = (id, item.number);
                    self.turn_item(
                        key,
                        BackfillItemState::Failed,
                        Some(Reason::RunUnreadable { run }),
                    );
                }
            }
        }
        // Runs that a person resumes from now on are no part of it any more.
        self.freed.insert(Limit::Backfill(id));
        self.lanes.insert(id);
    }

    /// Ends the running items of a recovered backfill whose runs are not there.
    pub(super) fn end_gone_runs(&mut self, id: u64) {
        let running = self.s.backfill_running.range((id, 0)..=(id, u32::MAX));
        let running: Vec<Key> = running.copied().collect();
        for key in running {
            let run = self.s.backfill_items[&key].run;
            let Some(run) = run.filter(|it| !self.s.runs.contains_key(it)) else {
                continue;
            };
            self.turn_item(
                key,
                BackfillItemState::Failed,
                Some(Reason::RunUnreadable { run }),
            );
            self.settle_followers(key);
        }
        self.lanes.insert(id);
    }

    // Items become runs.

    /// Lets items become runs where lanes have room, and ends the backfills that are over.
    pub(super) fn start_items(&mut self) {
        while let Some(id) = self.lanes.pop_first() {
            let mut not_started = 0;
            while let Some(key) = self.next_item(id) {
                let Err(reason) = self.start_item(key) else {
                    not_started = 0;
                    continue;
                };
                not_started += 1;
                if not_started == NOT_STARTED_MAX {
                    self.pause_backfill(id, reason);
                }
            }
            self.end_backfill(id);
        }
    }

    /// The item that begins next, if one may begin.
    fn next_item(&self, id: u64) -> Option<Key> {
        let backfill = self.s.backfills.get(&id)?;
        let room = backfill.count(BackfillItemState::Running) < backfill.row.parallel;
        let items = (id, 0)..=(id, u32::MAX);
        let next = self.s.backfill_ready.range(items).next().copied();
        next.filter(|_| room && backfill.row.state == BackfillState::Running)
    }

    /// Makes the run of an item; `Err`: why it has none. What stands in the way of all items of a flow pauses the
    /// backfill instead, so that nothing is lost before somebody has looked.
    fn start_item(&mut self, key: Key) -> Result<(), Reason> {
        let item = self.s.backfill_items[&key].clone();
        let (given, events) = match self.item_params(&item) {
            Ok(given) => given,
            Err(NotStarted::All(reason)) => {
                self.pause_backfill(key.0, reason);
                return Ok(());
            }
            Err(NotStarted::Filtered(reason)) => {
                self.turn_item(key, BackfillItemState::Skipped, Some(reason));
                self.settle_followers(key);
                return Ok(());
            }
            Err(NotStarted::This(reason)) => {
                self.turn_item(key, BackfillItemState::Failed, Some(reason.clone()));
                self.settle_followers(key);
                return Err(reason);
            }
        };
        let made = self.arrive(Arrival {
            flow: item.flow.clone(),
            key: occurrence(key),
            trigger: TriggerName::new("backfill"),
            due_at: self.now,
            interval: item.interval,
            params: given,
            events,
            before: None,
        });
        match made {
            Ok(run) => {
                self.put_item(BackfillItemRow {
                    state: BackfillItemState::Running,
                    run: Some(run),
                    reason: None,
                    updated_at: self.now,
                    ..BackfillItemRow::clone(&item)
                });
                Ok(())
            }
            Err(reason) => {
                self.turn_item(key, BackfillItemState::Failed, Some(reason.clone()));
                self.settle_followers(key);
                Err(reason)
            }
        }
    }

    /// The parameters of an item, as its schedule or trigger gives them, and the events that start it.
    fn item_params(&self, item: &BackfillItemRow) -> Result<Given, NotStarted> {
        let state = self.s.flows.get(&item.flow);
        let state = state.filter(|it| !it.row.removed);
        let state = state.ok_or(NotStarted::All(Reason::FlowRemoved))?;
        let flow = state.flow.as_ref().ok_or_else(|| {
            let message = state.row.invalid.clone().unwrap_or_default();
            NotStarted::All(Reason::FlowInvalid { message })
        })?;
        let run = self.s.last_run + 1;
        if let Some((spec, _)) = state::schedule(flow, &item.trigger) {
            let scope = params::scope(item.interval, &[], run, &item.flow);
            return Ok((params::evaluate(&spec.params, &scope), Vec::new()));
        }
        self.followed(flow, item, run)
    }

    // What the ends of runs lead to.

    /// A run of a backfill has ended, and `event` tells it.
    pub(super) fn item_ended(&mut self, run: &RunRow, event: &Arc<EventRow>) {
        let Some(key) = self.item_of(run) else {
            return;
        };
        if self.s.backfill_items[&key].state != BackfillItemState::Running {
            return;
        }
        if run.state == RunState::Succeeded {
            self.turn_item(key, BackfillItemState::Succeeded, None);
        } else {
            self.turn_item(key, BackfillItemState::Failed, run.reason.clone());
        }
        self.tell_followers(key, event);
        self.settle_followers(key);
        self.lanes.insert(key.0);
    }

    /// A run of a backfill goes on after its end: its item is not over after all, unless its backfill is.
    pub(super) fn item_resumed(&mut self, run: RunId) {
        let Some(key) = self.item_of(&self.run(run).row.clone()) else {
            return;
        };
        let backfill = &self.s.backfills[&key.0].row;
        if backfill.state != BackfillState::Cancelling {
            self.turn_item(key, BackfillItemState::Running, None);
        }
    }

    /// The item whose run this is, while its backfill is unfinished.
    fn item_of(&self, run: &RunRow) -> Option<Key> {
        run.backfill?;
        let key = item_named(&run.occurrence)?;
        let item = self.s.backfill_items.get(&key)?;
        (item.run == Some(run.id)).then_some(key)
    }

    /// A backfill is over when all of its items are.
    fn end_backfill(&mut self, id: u64) {
        let Some(backfill) = self.s.backfills.get(&id).filter(|it| it.open() == 0) else {
            return;
        };
        let (state, reason) = match backfill.row.state {
            BackfillState::Running | BackfillState::Paused => (BackfillState::Finished, None),
            BackfillState::Cancelling => (BackfillState::Cancelled, backfill.row.reason.clone()),
            BackfillState::Cancelled | BackfillState::Finished => return,
        };
        self.turn_backfill(id, state, reason);
        self.backfills_ended.push(id);
    }

    pub(super) fn turn_item(&mut self, key: Key, to: BackfillItemState, reason: Option<Reason>) {
        let item = &self.s.backfill_items[&key];
        let from = item.state;
        assert!(
            from.may_become(to),
            "item {} of backfill {} is {from} and cannot become {to}",
            key.1,
            key.0
        );
        self.put_item(BackfillItemRow {
            state: to,
            reason,
            updated_at: self.now,
            ..BackfillItemRow::clone(item)
        });
    }

    fn turn_backfill(&mut self, id: u64, to: BackfillState, reason: Option<Reason>) {
        let row = &self.s.backfills[&id].row;
        let from = row.state;
        assert!(
            from.may_become(to),
            "backfill {id} is {from} and cannot become {to}"
        );
        let over = matches!(to, BackfillState::Cancelled | BackfillState::Finished);
        self.put_backfill(BackfillRow {
            state: to,
            reason,
            updated_at: self.now,
            finished_at: over.then_some(self.now),
            ..BackfillRow::clone(row)
        });
    }
}

/// Why an item has no run.
pub(super) enum NotStarted {
    /// No item of its flow could have one.
    All(Reason),
    /// `where` of its trigger is false for it.
    Filtered(Reason),
    This(Reason),
}

/// The key of the occurrence that an item's run stands for.
fn occurrence((backfill, number): Key) -> String {
    format!("backfill:{backfill}:{number}")
}

/// The item that the key of an occurrence names.
pub(super) fn item_named(occurrence: &str) -> Option<Key> {
    let (backfill, number) = occurrence.strip_prefix("backfill:")?.split_once(':')?;
    Some((backfill.parse().ok()?, number.parse().ok()?))
}

/// The numbers of the events that are on record, of those that a run is given.
pub(super) fn on_record(events: &[Arc<EventRow>]) -> Vec<u64> {
    let numbers: BTreeSet<u64> = events
        .iter()
        .map(|it| it.seq)
        .filter(|it| *it > 0)
        .collect();
    numbers.into_iter().collect()
}
