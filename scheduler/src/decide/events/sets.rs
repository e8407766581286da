//! What waits: rows in queues, and for each set how many there are and when something is due.

use super::super::Draft;
use super::fire::stands_still;
use super::standing::{Next, Queue, Queues, Standing};
use crate::flow::Flow;
use crate::id::{FlowName, TriggerName};
use crate::reason::Reason;
use crate::row::{HalfMatchRow, MatchOutcome, MatchRow};
use crate::state::{HalfKey, Scheduler, SetKey, SetState, Timer};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most events that wait in one set; then the oldest at the leaf where one arrives is refused.
pub const SET_EVENTS_MAX: u32 = 100_000;

pub(crate) fn set_key(row: &HalfMatchRow) -> SetKey {
    (
        row.flow.clone(),
        row.trigger.clone(),
        row.join_key.as_str().into(),
    )
}

pub(super) fn half_key(set: &SetKey, leaf: u16, event: u64) -> HalfKey {
    (set.0.clone(), set.1.clone(), set.2.clone(), leaf, event)
}

impl Scheduler {
    /// Lets an event wait. [`Self::time_set`] must follow when the set is as it will be.
    pub(crate) fn put_waiting(&mut self, set: &SetKey, row: Arc<HalfMatchRow>) {
        let key = half_key(set, row.leaf, row.event.seq);
        if self.half_matches.insert(key, row).is_some() {
            return;
        }
        let mut state = self.sets.get(set).copied().unwrap_or_default();
        state.events += 1;
        if state.held {
            self.count_held(set, 1, 0);
        }
        self.sets.insert(set.clone(), state);
    }

    fn remove_waiting(&mut self, set: &SetKey, leaf: u16, event: u64) -> Option<Arc<HalfMatchRow>> {
        let row = self.half_matches.remove(&half_key(set, leaf, event))?;
        let state = self.sets.get_mut(set).expect("what waits has a set");
        state.events -= 1;
        if state.held {
            self.count_held(set, 0, 1);
        }
        Some(row)
    }

    /// Works out when something is next due in a set, and sets the timer. Follows from rows alone.
    pub(crate) fn time_set(&mut self, set: &SetKey) {
        let Some(old) = self.sets.get(set).copied() else {
            return;
        };
        let due = match old.events {
            0 => None,
            _ => self.standing(set).and_then(|it| it.due()),
        };
        let timer = Timer::Set(set.clone());
        let timed = |it: &SetState| it.due.filter(|_| !it.held);
        let new = SetState { due, ..old };
        if timed(&old) != timed(&new) {
            if let Some(at) = timed(&old) {
                self.timers.remove(&(at, timer.clone()));
            }
            if let Some(at) = timed(&new) {
                self.timers.insert((at, timer));
            }
        }
        if new.events == 0 {
            self.sets.remove(set);
        } else if new != old {
            self.sets.insert(set.clone(), new);
        }
    }

    /// Marks a set as one that is due but may not fire, or lifts that.
    pub(super) fn mark_held(&mut self, set: &SetKey, held: bool) {
        let Some(state) = self.sets.get(set).copied().filter(|it| it.held != held) else {
            return;
        };
        let timer = || Timer::Set(set.clone());
        match (state.due, held) {
            (Some(at), true) => drop(self.timers.remove(&(at, timer()))),
            (Some(at), false) => drop(self.timers.insert((at, timer()))),
            (None, _) => {}
        }
        self.sets.insert(set.clone(), SetState { held, ..state });
        match held {
            true => self.count_held(set, state.events, 0),
            false => self.count_held(set, 0, state.events),
        }
    }

    fn count_held(&mut self, set: &SetKey, more: u32, less: u32) {
        let trigger = (set.0.clone(), set.1.clone());
        let held = self.held.get(&trigger).copied().unwrap_or(0) + more - less;
        if held == 0 {
            self.held.remove(&trigger);
        } else {
            self.held.insert(trigger, held);
        }
    }

    /// The active version of a set's flow, and the place of its trigger in it.
    pub(super) fn trigger_of(&self, set: &SetKey) -> Option<(&Arc<Flow>, usize)> {
        let flow = self.flows.get(&set.0)?.flow.as_ref()?;
        Some((flow, flow.trigger(&set.1)?))
    }

    /// `None`: the flow cannot be read any more.
    pub(super) fn standing(&self, set: &SetKey) -> Option<Standing> {
        let (flow, trigger) = self.trigger_of(set)?;
        let spec = &flow.spec().triggers[trigger];
        Some(Standing::of(
            spec,
            &self.queues(set, spec.on.leaves().len()),
        ))
    }

    /// The ends of each queue of a set.
    pub(super) fn queues(&self, set: &SetKey, leaves: usize) -> Queues {
        let events = self.sets.get(set).map_or(0, |it| it.events);
        let mut queues = Queues {
            events,
            leaves: vec![None; leaves],
        };
        // A few rows are read through faster than each queue is looked up at both ends.
        if events as usize <= leaves * 2 {
            for row in self.rows_of(set) {
                queues.add(row);
            }
            return queues;
        }
        for (leaf, queue) in queues.leaves.iter_mut().enumerate() {
            let leaf = leaf as u16;
            let range = half_key(set, leaf, 0)..=half_key(set, leaf, u64::MAX);
            let mut rows = self.half_matches.range(range).map(|(_, row)| row);
            *queue = rows.next().map(|oldest| Queue {
                oldest: oldest.clone(),
                newest_at: rows.next_back().unwrap_or(oldest).event.received_at,
            });
        }
        queues
    }

    /// All that waits in a set, by leaf and number.
    pub(super) fn rows_of(&self, set: &SetKey) -> impl Iterator<Item = &Arc<HalfMatchRow>> {
        let range = half_key(set, 0, 0)..=half_key(set, u16::MAX, u64::MAX);
        self.half_matches.range(range).map(|(_, row)| row)
    }

    /// What waits at one leaf of a set, oldest first.
    pub(super) fn queue_of(
        &self,
        set: &SetKey,
        leaf: u16,
    ) -> impl Iterator<Item = &Arc<HalfMatchRow>> + use<'_> {
        let range = half_key(set, leaf, 0)..=half_key(set, leaf, u64::MAX);
        self.half_matches.range(range).map(|(_, row)| row)
    }

    /// The sets of a flow.
    pub(crate) fn sets_of(
        &self,
        flow: &FlowName,
    ) -> impl Iterator<Item = (&SetKey, &SetState)> + use<'_> {
        let flow = flow.clone();
        let first = (flow.clone(), TriggerName::new(""), Arc::from(""));
        self.sets
            .range(first..)
            .take_while(move |((of, ..), _)| *of == flow)
    }
}

impl Draft {
    pub(super) fn put_waiting(&mut self, set: &SetKey, row: HalfMatchRow) {
        let row = Arc::new(row);
        let key = half_key(set, row.leaf, row.event.seq);
        self.waiting.insert(key, Some(row.clone()));
        self.s.put_waiting(set, row);
    }

    /// Takes an event out of its queue; `None` when it does not stand there.
    pub(super) fn remove_waiting(
        &mut self,
        set: &SetKey,
        leaf: u16,
        event: u64,
    ) -> Option<Arc<HalfMatchRow>> {
        let row = self.s.remove_waiting(set, leaf, event)?;
        let key = half_key(set, leaf, event);
        // A row of this draft was never on the disk.
        if self.waiting.remove(&key).is_none() {
            self.waiting.insert(key, None);
        }
        Some(row)
    }

    /// Takes an event out of its queue for good, with the reason.
    pub(super) fn drop_waiting(
        &mut self,
        set: &SetKey,
        row: &HalfMatchRow,
        outcome: MatchOutcome,
        reason: Reason,
    ) {
        self.remove_waiting(set, row.leaf, row.event.seq);
        self.put_match(MatchRow {
            event: row.event.seq,
            flow: set.0.clone(),
            trigger: set.1.clone(),
            leaf: row.leaf,
            outcome,
            reason: Some(reason),
            run: None,
            updated_at: self.now,
        });
    }

    /// Events were taken out of a set: it may be complete no longer, and is due at another time.
    pub(super) fn settle_smaller(&mut self, set: &SetKey) {
        let standing = self.s.standing(set);
        if standing.is_none_or(|it| it.next(self.now) != Next::Fire) {
            self.s.mark_held(set, false);
        }
        self.s.time_set(set);
    }

    /// One draft may decide the same place twice; of several rows with one key the last one counts.
    pub(super) fn put_match(&mut self, row: MatchRow) {
        self.changes.matches.push(row);
    }

    /// Events of triggers that are no longer what they were wait no longer. Where the old version cannot be read any more,
    /// events stay that would come to stand at the same place now. What stays is timed.
    pub(in crate::decide) fn drop_changed_sets(&mut self, old: Option<&Flow>, new: &Flow) {
        let triggers = &new.spec().triggers;
        let same = |place: &usize| match old {
            Some(old) => {
                let it = &triggers[*place];
                let before = old.trigger(&it.name);
                before.is_some_and(|at| old.spec().triggers[at] == *it)
            }
            None => true,
        };
        let kept: BTreeSet<usize> = (0..triggers.len()).filter(same).collect();
        let sets = self.s.sets_of(new.name());
        let sets: Vec<SetKey> = sets.map(|(key, _)| key.clone()).collect();
        for set in sets {
            let place = new.trigger(&set.1).filter(|it| kept.contains(it));
            let stays = |row: &HalfMatchRow| match place {
                None => false,
                Some(place) => old.is_some() || stands_still(new, place, row),
            };
            let rows = self.s.rows_of(&set).filter(|row| !stays(row));
            let rows: Vec<_> = rows.cloned().collect();
            if rows.is_empty() {
                self.s.time_set(&set);
            } else {
                self.drop_rows(&set, rows, &Reason::TriggerChanged);
            }
        }
    }

    /// Nothing waits for a flow that is gone.
    pub(in crate::decide) fn drop_sets(&mut self, name: &FlowName) {
        let sets = self.s.sets_of(name);
        let sets: Vec<SetKey> = sets.map(|(key, _)| key.clone()).collect();
        for set in sets {
            let rows: Vec<_> = self.s.rows_of(&set).cloned().collect();
            self.drop_rows(&set, rows, &Reason::FlowRemoved);
        }
    }

    fn drop_rows(&mut self, set: &SetKey, rows: Vec<Arc<HalfMatchRow>>, reason: &Reason) {
        for row in rows {
            self.drop_waiting(set, &row, MatchOutcome::Expired, reason.clone());
        }
        self.settle_smaller(set);
    }
}
