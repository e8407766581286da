//! What was held by a pause or a blackout goes on, or is refused.

use super::super::Draft;
use super::fire::{Hold, Taken};
use super::leaf::interval_of;
use super::standing::{Next, Queues, Standing};
use crate::flow::Flow;
use crate::id::FlowName;
use crate::input::CatchUp;
use crate::reason::Reason;
use crate::row::{HalfMatchRow, Interval, MatchOutcome};
use crate::spec::TriggerSpec;
use crate::state::{Scheduler, SetKey};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most events that a trigger holds during a pause or a blackout; then the oldest are refused.
pub const HELD_MAX: u32 = 10_000;

/// How many are left when the oldest are refused, so that this is not done for each event.
const HELD_LEFT: u32 = HELD_MAX / 10 * 9;

/// A complete set that was held, with the events of one run.
pub(crate) struct Firing {
    set: SetKey,
    trigger: usize,
    taken: Taken,
    /// The number of its newest event.
    pub(crate) newest: u64,
    pub(crate) complete_at: Timestamp,
    /// When it would have fired if nothing had held it.
    fires_at: Timestamp,
}

impl Draft {
    /// A flow goes on after a pause: `None` and `Declared` refuse what would have fired since it began, with this reason;
    /// `Latest` fires the newest complete set of each trigger, `All` fires all in order of their newest events. In a
    /// blackout that defers, what would fire is held on; so is, whatever the choice, what it held before the pause.
    pub(in crate::decide) fn release_sets(
        &mut self,
        name: &FlowName,
        catch_up: CatchUp,
        why: &Reason,
        since: Timestamp,
    ) {
        let fires = matches!(catch_up, CatchUp::Latest | CatchUp::All);
        let hold = self.hold_now(name);
        if fires && let Some(Hold::Wait(_, until)) = &hold {
            // A restart may have forgotten that they are held; their timers tell.
            if let Some(until) = *until {
                let timer = crate::state::Timer::BlackoutOver(name.clone());
                self.s.timers.insert((until, timer));
            }
            return;
        }
        let Some(flow) = self.s.flows.get(name).and_then(|it| it.flow.clone()) else {
            return;
        };
        let firings = self.take_held(&flow);
        let mut newest = BTreeMap::new();
        for it in &firings {
            newest.insert(it.trigger, it.newest);
        }
        let mut held_on = BTreeSet::new();
        for it in firings {
            let chosen = match catch_up {
                CatchUp::All => true,
                CatchUp::Latest => newest[&it.trigger] == it.newest,
                CatchUp::Declared | CatchUp::None => it.fires_at < since,
            };
            match &hold {
                _ if !chosen => {
                    self.refuse_set(&it.set, &it.taken, why.clone());
                }
                Some(Hold::Skip(reason)) => {
                    self.refuse_set(&it.set, &it.taken, reason.clone());
                }
                Some(Hold::Wait(..)) => {
                    for (set, row) in it.taken.rows {
                        self.put_waiting(&set, Arc::unwrap_or_clone(row));
                        held_on.insert(set);
                    }
                }
                None => {
                    self.start_set(&flow, it.trigger, &it.set, it.taken);
                }
            }
        }
        for set in held_on {
            self.pump(&set, 0);
        }
    }

    /// What is due already fires before a pause begins, though nobody has looked at its timer yet.
    pub(in crate::decide) fn settle_sets(&mut self, name: &FlowName) {
        let due = |it: &crate::state::SetState| it.due.filter(|at| *at <= self.now && !it.held);
        let sets = self.s.sets_of(name);
        let mut sets: Vec<(Timestamp, SetKey)> = sets
            .filter_map(|(key, it)| Some((due(it)?, key.clone())))
            .collect();
        sets.sort();
        for (_, set) in sets {
            self.pump(&set, 0);
        }
    }

    /// A blackout is over: what it held fires.
    pub(in crate::decide) fn blackout_over(&mut self, name: &FlowName) {
        // The reason is for those that are refused, and none is.
        self.release_sets(name, CatchUp::All, &Reason::FlowRemoved, self.now);
    }

    /// Takes out of their queues all that a flow holds, run by run, in order of the newest events.
    fn take_held(&mut self, flow: &Arc<Flow>) -> Vec<Firing> {
        let due = |it: &crate::state::SetState| it.held || it.due.is_some_and(|at| at <= self.now);
        let sets = self.s.sets_of(flow.name());
        let sets: Vec<SetKey> = sets
            .filter(|(_, it)| due(it))
            .map(|(key, _)| key.clone())
            .collect();
        let mut firings = Vec::new();
        for set in sets {
            let Some((_, trigger)) = self.s.trigger_of(&set) else {
                continue;
            };
            let spec = &flow.spec().triggers[trigger];
            self.s.mark_held(&set, false);
            loop {
                let queues = self.s.queues(&set, spec.on.leaves().len());
                let standing = Standing::of(spec, &queues);
                // What waited too long behind others goes, and those behind it may be complete.
                if standing.next(self.now) == Next::Expire {
                    self.expire(flow, trigger, &set, &queues);
                    continue;
                }
                let (Next::Fire, Some(complete_at), Some(fires_at)) = (
                    standing.next(self.now),
                    standing.complete_at,
                    standing.fires_at,
                ) else {
                    break;
                };
                let taken = self.take(spec, &set, &queues);
                let newest = taken.used.iter().map(|(_, it)| it.seq).max();
                let fires_at = fired_at(spec, queues, complete_at, fires_at, &taken);
                firings.push(Firing {
                    set: set.clone(),
                    trigger,
                    taken,
                    newest: newest.unwrap_or_default(),
                    complete_at,
                    fires_at,
                });
            }
            // What is left may have waited too long by now.
            self.s.time_set(&set);
        }
        firings.sort_by_key(|it| (it.newest, it.trigger));
        firings
    }

    /// Refuses the oldest of what a trigger holds when it is too much.
    pub(super) fn bound_held(&mut self, set: &SetKey) {
        let trigger = (set.0.clone(), set.1.clone());
        let held = self.s.held.get(&trigger).copied().unwrap_or(0);
        if held <= HELD_MAX {
            return;
        }
        let sets = self.s.sets_of(&set.0);
        let sets = sets.filter(|((_, name, _), it)| *name == set.1 && it.held);
        let mut rows: Vec<(SetKey, Arc<HalfMatchRow>)> = sets
            .flat_map(|(key, _)| self.s.rows_of(key).map(|row| (key.clone(), row.clone())))
            .collect();
        rows.sort_by_key(|(_, row)| row.event.seq);
        rows.truncate((held - HELD_LEFT) as usize);
        for (set, row) in rows {
            let reason = Reason::TooManyWaiting { kept: HELD_LEFT };
            self.drop_waiting(&set, &row, MatchOutcome::Refused, reason);
            self.settle_smaller(&set);
        }
    }
}

/// When a held set would have fired. How it stands tells only that this moment is over: a full batch fires when its last
/// event comes, and no set fires before its events are there, whatever the time of day.
fn fired_at(
    spec: &TriggerSpec,
    queues: Queues,
    complete_at: Timestamp,
    fires_at: Timestamp,
    taken: &Taken,
) -> Timestamp {
    let came = || taken.used.iter().map(|(_, it)| it.received_at);
    let last = came().max().unwrap_or(complete_at).max(complete_at);
    let if_not_full = Queues {
        events: 0,
        ..queues
    };
    match Standing::of(spec, &if_not_full).fires_at {
        Some(at) if fires_at < at => at.min(last),
        _ => fires_at.max(came().min().unwrap_or(fires_at)),
    }
}

impl Firing {
    fn interval(&self, now: Timestamp) -> Interval {
        let found = self.taken.used.iter().find_map(|(_, it)| interval_of(it));
        found.unwrap_or(Interval {
            start: now,
            end: now,
        })
    }
}

impl Scheduler {
    /// The runs that what a flow's triggers hold would start now, in order, each with the last event's number in its
    /// key. What its run strategy makes of them is not looked at.
    pub fn held_sets(&self, flow: &FlowName, now: Timestamp) -> Vec<super::HeldRun> {
        let Some(active) = self.flows.get(flow).and_then(|it| it.flow.clone()) else {
            return Vec::new();
        };
        let firings = self.draft(now).take_held(&active);
        let told = firings.into_iter().map(|it| super::HeldRun {
            trigger: it.set.1.clone(),
            join_key: it.set.2.to_string(),
            key: format!("event:{}:{}", it.set.1, it.newest),
            complete_at: it.complete_at,
            interval: it.interval(now),
            events: it.taken.used.iter().map(|(_, event)| event.seq).collect(),
        });
        told.collect()
    }
}
