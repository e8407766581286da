//! The backfills in memory: rows and the indexes over them, which change only by the difference between rows.

use crate::id::FlowName;
use crate::row::{BackfillItemRow, BackfillItemState, BackfillRow, Interval};
use crate::state::{Backfill, Scheduler};
use std::sync::Arc;

type Key = (u64, u32);

impl Backfill {
    pub(crate) fn count(&self, state: BackfillItemState) -> u32 {
        self.counts[state as usize]
    }

    /// Items that are not over.
    pub(crate) fn open(&self) -> u32 {
        self.count(BackfillItemState::Waiting) + self.count(BackfillItemState::Running)
    }
}

const fn is_open(state: BackfillItemState) -> bool {
    matches!(
        state,
        BackfillItemState::Waiting | BackfillItemState::Running
    )
}

impl Scheduler {
    /// The unfinished backfill that has this flow and interval still to run.
    pub(crate) fn backfill_of(&self, flow: &FlowName, interval: Interval) -> Option<u64> {
        let first = (flow.clone(), interval, 0, 0);
        let mut targets = self.backfill_targets.range(first..);
        let (of, it, backfill, _) = targets.next()?;
        (of == flow && *it == interval).then_some(*backfill)
    }

    pub(crate) fn index_backfill(&mut self, row: Arc<BackfillRow>) {
        let id = row.id;
        match self.backfills.get_mut(&id) {
            Some(backfill) => Arc::make_mut(backfill).row = row,
            None => {
                let backfill = Backfill {
                    row,
                    counts: Default::default(),
                    left: Default::default(),
                };
                self.backfills.insert(id, Arc::new(backfill));
            }
        }
    }

    /// Stores an item and brings every index in line. Its backfill is there already, and so is all that it comes after.
    pub(crate) fn index_item(&mut self, row: Arc<BackfillItemRow>) {
        let key = (row.backfill, row.number);
        let old = self.backfill_items.insert(key, row.clone());
        let before = old.map(|it| it.state);
        if before.is_none() {
            for upstream in &row.after {
                self.backfill_followers
                    .insert((row.backfill, *upstream, row.number));
            }
        }
        if before == Some(row.state) {
            return;
        }
        if let Some(backfill) = self.backfills.get_mut(&row.backfill) {
            let backfill = Arc::make_mut(backfill);
            backfill.counts[row.state as usize] += 1;
            if let Some(before) = before {
                backfill.counts[before as usize] -= 1;
            }
            let (was_open, open) = (before.is_some_and(is_open), is_open(row.state));
            if was_open != open {
                let left = backfill.left.get(&row.flow).copied().unwrap_or(0);
                let left = left + u32::from(open) - u32::from(was_open);
                match left {
                    0 => backfill.left.remove(&row.flow),
                    _ => backfill.left.insert(row.flow.clone(), left),
                };
            }
        }
        let target = (row.flow.clone(), row.interval, row.backfill, row.number);
        match is_open(row.state) {
            true => self.backfill_targets.insert(target),
            false => self.backfill_targets.remove(&target),
        };
        match row.state {
            BackfillItemState::Running => self.backfill_running.insert(key),
            _ => self.backfill_running.remove(&key),
        };
        self.index_ready(key);
        if before.is_some_and(is_open) != is_open(row.state) {
            for follower in self.followers(key) {
                self.index_ready((key.0, follower));
            }
        }
    }

    fn index_ready(&mut self, key: Key) {
        match self.item_is_ready(key) {
            true => self.backfill_ready.insert(key),
            false => self.backfill_ready.remove(&key),
        };
    }

    /// It waits, and all that it comes after is over. What those ends do not let run does not wait any more.
    pub(crate) fn item_is_ready(&self, key: Key) -> bool {
        let over = |upstream: &u32| {
            let item = self.backfill_items.get(&(key.0, *upstream));
            item.is_some_and(|it| !is_open(it.state))
        };
        let item = self.backfill_items.get(&key);
        item.is_some_and(|it| it.state == BackfillItemState::Waiting && it.after.iter().all(over))
    }

    /// The items that come after one.
    pub(crate) fn followers(&self, (backfill, number): Key) -> Vec<u32> {
        self.backfill_followers
            .range((backfill, number, 0)..=(backfill, number, u32::MAX))
            .map(|(_, _, follower)| *follower)
            .collect()
    }

    pub(crate) fn items_of(&self, backfill: u64) -> impl Iterator<Item = &Arc<BackfillItemRow>> {
        self.backfill_items
            .range((backfill, 0)..=(backfill, u32::MAX))
            .map(|(_, row)| row)
    }

    /// Lets a finished backfill and all that hangs on it leave memory.
    pub(crate) fn drop_backfill(&mut self, id: u64) {
        self.backfills.remove(&id);
        let items: Vec<Arc<BackfillItemRow>> = self.items_of(id).cloned().collect();
        for item in items {
            let key = (id, item.number);
            self.backfill_items.remove(&key);
            self.backfill_ready.remove(&key);
            self.backfill_running.remove(&key);
            self.backfill_targets
                .remove(&(item.flow.clone(), item.interval, id, item.number));
            for upstream in &item.after {
                self.backfill_followers
                    .remove(&(id, *upstream, item.number));
            }
        }
    }
}
