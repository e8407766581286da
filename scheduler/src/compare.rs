//! Comparing two states: what a recovery brought back must be what was there. For tests.

use crate::reason::{Limit, Reason};
use crate::row::{BackfillItemState, BackfillState, RunRow, RunState, TaskRow, TaskState};
use crate::state::{Candidate, Rank, Run, Scheduler, SetKey, SetState, Timer};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

impl Scheduler {
    /// Where this state differs from another, one line each; empty when they decide alike.
    ///
    /// Reasons of what waits may differ: they tell what was so when it began to wait. So may the
    /// limit that is waited for, where several are full: a recovered state places all who wait anew.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let flow = |it: &crate::state::FlowState| {
            let steps = it.flow.as_ref().map(|it| it.spec().clone());
            (it.row.clone(), steps)
        };
        differ(
            &mut found,
            "flow",
            self.flows.iter().map(|(key, it)| (key, flow(it))),
            other.flows.iter().map(|(key, it)| (key, flow(it))),
        );
        differ(
            &mut found,
            "run",
            self.runs.iter().map(|(key, it)| (key, run(it))),
            other.runs.iter().map(|(key, it)| (key, run(it))),
        );
        differ(
            &mut found,
            "task",
            self.tasks.iter().map(|(key, it)| (key, task(it))),
            other.tasks.iter().map(|(key, it)| (key, task(it))),
        );
        differ(&mut found, "scope", self.scopes.iter(), other.scopes.iter());
        differ(&mut found, "arrivals", self.gathered(), other.gathered());
        differ(
            &mut found,
            "occurrence",
            self.occurrences.iter(),
            other.occurrences.iter(),
        );
        differ(
            &mut found,
            "half match",
            self.half_matches.iter(),
            other.half_matches.iter(),
        );
        // That a set is held a recovered state finds out when it looks at it.
        let due = |it: &SetState| (it.events, it.due);
        differ(
            &mut found,
            "set",
            self.sets.iter().map(|(key, it)| (key, due(it))),
            other.sets.iter().map(|(key, it)| (key, due(it))),
        );
        // A recovered state looks for schedules without a future; it finds those that have ended.
        let of_rows = |it: &&(_, Timer)| {
            !matches!(
                it.1,
                Timer::Set(_) | Timer::BlackoutOver(_) | Timer::Plan(_) | Timer::GoneRuns(_)
            )
        };
        let set =
            |it: &imbl::OrdSet<_>| it.iter().filter(of_rows).cloned().collect::<BTreeSet<_>>();
        differ(
            &mut found,
            "timer",
            set(&self.timers).into_iter().map(|it| (it, ())),
            set(&other.timers).into_iter().map(|it| (it, ())),
        );
        differ(
            &mut found,
            "queue",
            self.queue().into_iter(),
            other.queue().into_iter(),
        );
        differ(&mut found, "used", self.used.iter(), other.used.iter());
        differ(
            &mut found,
            "run of flow",
            self.runs_by_flow.iter().map(|it| (it, ())),
            other.runs_by_flow.iter().map(|it| (it, ())),
        );
        differ(
            &mut found,
            "child",
            self.children.iter(),
            other.children.iter(),
        );
        differ(
            &mut found,
            "sub-flow",
            self.sub_flows.iter().map(|it| (it, ())),
            other.sub_flows.iter().map(|it| (it, ())),
        );
        differ(
            &mut found,
            "subscription",
            self.subscriptions.iter().map(|it| (it, ())),
            other.subscriptions.iter().map(|it| (it, ())),
        );
        differ(
            &mut found,
            "backfill",
            self.backfills.iter(),
            other.backfills.iter(),
        );
        differ(
            &mut found,
            "backfill item",
            self.backfill_items.iter(),
            other.backfill_items.iter(),
        );
        differ(&mut found, "promise", self.slas.iter(), other.slas.iter());
        differ(
            &mut found,
            "silence",
            self.silences.iter(),
            other.silences.iter(),
        );
        let last = |it: &Self| {
            let events = [it.last_run, it.last_event, it.last_backfill];
            let all = [&events[..], &[it.last_alert, it.last_silence]].concat();
            all.into_iter().enumerate().collect::<Vec<_>>()
        };
        differ(
            &mut found,
            "number",
            last(self).into_iter(),
            last(other).into_iter(),
        );
        found
    }

    /// What in the indexes does not follow from the rows; empty when all is in order.
    pub fn disorder(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (mut waits, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut used = BTreeMap::new();
        for (id, run) in &self.runs {
            if crate::decide::in_queue(&run.row) {
                waits.insert(Candidate::Run(*id));
            }
            if matches!(run.row.state, RunState::Running | RunState::Cancelling) {
                for (limit, slots) in self.run_limits(run) {
                    *used.entry(limit).or_insert(0) += slots;
                }
            }
        }
        for (key, row) in &self.tasks {
            if row.state == TaskState::Ready {
                waiting.insert((key.run, key.node, self.task_rank(*key, row), *key));
            }
            if row.state.is_live() {
                for (limit, slots) in self.task_limits(*key) {
                    *used.entry(limit).or_insert(0) += slots;
                }
            }
        }
        // Of each step the first ready task stands for all.
        let mut steps = BTreeSet::new();
        for (run, node, _, key) in &waiting {
            if steps.insert((*run, *node)) {
                waits.insert(Candidate::Task(*key));
            }
        }
        differ(
            &mut found,
            "waiting",
            self.waiting.iter().map(|it| (it, ())),
            waiting.iter().map(|it| (it, ())),
        );
        differ(&mut found, "used", self.used.iter(), used.iter());
        self.check_sets(&mut found);
        let parked = self
            .parked
            .iter()
            .map(|(limit, rank, it)| (it, (limit, *rank)));
        let parked: BTreeMap<_, _> = parked.collect();
        let parked_at = self
            .parked_at
            .iter()
            .map(|(it, (limit, rank))| (it, (limit, *rank)));
        differ(&mut found, "parked", parked.into_iter(), parked_at);
        differ(
            &mut found,
            "waits",
            self.parked_at.keys().map(|it| (it, ())),
            waits.iter().map(|it| (it, ())),
        );
        if self.parked.len() != self.parked_at.len() {
            found.push("someone waits in two places".to_owned());
        }
        let limits: BTreeSet<&Limit> = self.parked.iter().map(|(limit, ..)| limit).collect();
        for limit in limits {
            if let Some((_, first)) = self.first_for(limit)
                && self.in_use(limit) + self.wanted(first, limit) <= self.capacity(limit)
            {
                found.push(format!("{first:?} waits for {limit}, which has room"));
            }
        }
        self.lanes_in_disorder(&mut found);
        if !self.ready.is_empty() {
            found.push(format!("still to be placed: {:?}", self.ready));
        }
        found
    }

    /// Each set counts its events, has its timer unless it is held, and counts for its trigger if it is.
    fn check_sets(&self, found: &mut Vec<String>) {
        let mut events: BTreeMap<SetKey, u32> = BTreeMap::new();
        for row in self.half_matches.values() {
            *events.entry(crate::decide::set_key(row)).or_insert(0) += 1;
        }
        let counted = self.sets.iter().map(|(key, it)| (key, it.events));
        let counts = events.iter().map(|(key, it)| (key, *it));
        differ(found, "events of set", counted, counts);
        let timers = self.timers.iter().filter_map(|(at, timer)| match timer {
            Timer::Set(key) => Some((key.clone(), *at)),
            _ => None,
        });
        let timers: BTreeMap<SetKey, Timestamp> = timers.collect();
        let timed = |it: &SetState| it.due.filter(|_| !it.held);
        let due = self
            .sets
            .iter()
            .filter_map(|(key, it)| Some((key, timed(it)?)));
        differ(
            found,
            "timer of set",
            timers.iter().map(|(key, at)| (key, *at)),
            due,
        );
        let mut held = BTreeMap::new();
        for ((flow, trigger, _), it) in self.sets.iter().filter(|(_, it)| it.held) {
            *held.entry((flow.clone(), trigger.clone())).or_insert(0) += it.events;
        }
        differ(found, "held", self.held.iter(), held.iter());
    }

    /// The same of backfills: every index follows from the items, and no lane with room stands still.
    fn lanes_in_disorder(&self, found: &mut Vec<String>) {
        let mut naive = Self::default();
        for backfill in self.backfills.values() {
            naive.index_backfill(backfill.row.clone());
        }
        for item in self.backfill_items.values() {
            naive.index_item(item.clone());
        }
        differ(
            found,
            "items",
            self.backfills.iter(),
            naive.backfills.iter(),
        );
        type Set<T> = BTreeSet<T>;
        let keys = |it: &imbl::OrdSet<(u64, u32)>| it.iter().copied().collect::<Set<_>>();
        let ready = self
            .backfill_items
            .iter()
            .filter(|(key, _)| self.item_is_ready(**key));
        let ready: Set<_> = ready.map(|(key, _)| *key).collect();
        let running = |it: &Self| keys(&it.backfill_running);
        for (what, same) in [
            ("ready items", keys(&self.backfill_ready) == ready),
            ("running items", running(self) == running(&naive)),
            ("targets", self.backfill_targets == naive.backfill_targets),
            (
                "followers",
                self.backfill_followers == naive.backfill_followers,
            ),
        ] {
            if !same {
                found.push(format!("the index of {what} is wrong"));
            }
        }
        for (id, it) in &self.backfills {
            let running = it.count(BackfillItemState::Running);
            let waits = self.backfill_ready.range((*id, 0)..=(*id, u32::MAX)).next();
            let open = it.row.state == BackfillState::Running;
            if open && running < it.row.parallel && waits.is_some() {
                found.push(format!("{waits:?} waits, and its lane has room"));
            }
            if it.open() == 0 {
                found.push(format!("backfill {id} is over and goes on"));
            }
            if open && running == 0 && waits.is_none() {
                found.push(format!("backfill {id} waits for nothing"));
            }
        }
        for item in self.backfill_items.values() {
            let run = item.run.and_then(|it| self.runs.get(&it));
            if item.state == BackfillItemState::Running && run.is_none() {
                found.push(format!("{item:?} has no unfinished run"));
            }
        }
    }

    /// All who wait for slots, whether they were placed yet or not.
    fn queue(&self) -> BTreeMap<Candidate, Rank> {
        let parked = self.parked_at.iter().map(|(it, (_, rank))| (*it, *rank));
        let ready = self.ready.iter().map(|(rank, it)| (*it, *rank));
        parked.chain(ready).collect()
    }

    fn gathered(&self) -> impl Iterator<Item = (&crate::state::Place, (u32, u32, bool))> {
        let running = |run| {
            let run: Option<&Arc<Run>> = self.runs.get(&run);
            run.is_some_and(|it| it.row.state == RunState::Running)
        };
        self.arrivals
            .iter()
            .filter(move |(place, _)| running(place.run))
            .map(|(place, it)| (place, (it.live, it.dead, it.failed.is_some())))
    }
}

fn run(run: &Run) -> (RunRow, u32, u32, Arc<Vec<String>>) {
    let waits = run.row.state == RunState::Queued;
    let row = RunRow {
        reason: run.row.reason.clone().filter(|_| !waits),
        ..RunRow::clone(&run.row)
    };
    (row, run.active, run.failed, run.cloned.clone())
}

fn task(row: &TaskRow) -> TaskRow {
    let kept = |reason: &Reason| row.state != TaskState::Ready || !is_wait(reason);
    TaskRow {
        reason: row.reason.clone().filter(kept),
        ..row.clone()
    }
}

fn is_wait(reason: &Reason) -> bool {
    matches!(reason, Reason::LimitFull { .. })
}

/// Two ordered maps side by side.
fn differ<K: Ord + Debug, V: PartialEq + Debug>(
    found: &mut Vec<String>,
    what: &str,
    left: impl Iterator<Item = (K, V)>,
    right: impl Iterator<Item = (K, V)>,
) {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(&b.0),
        };
        let line = match order {
            std::cmp::Ordering::Less => left.next().map(|it| format!("{what}: only here {it:?}")),
            std::cmp::Ordering::Greater => {
                right.next().map(|it| format!("{what}: only there {it:?}"))
            }
            std::cmp::Ordering::Equal => left
                .next()
                .zip(right.next())
                .filter(|(a, b)| a.1 != b.1)
                .map(|(a, b)| format!("{what} {:?}: {:?} here, {:?} there", a.0, a.1, b.1)),
        };
        found.extend(line);
    }
}
