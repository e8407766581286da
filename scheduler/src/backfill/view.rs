//! What pages and the command line show of unfinished backfills.

use crate::id::{FlowName, RunId};
use crate::row::{BackfillItemRow, BackfillItemState, BackfillRow};
use crate::state::Scheduler;
use crate::time::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An unfinished backfill and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillView {
    pub row: Arc<BackfillRow>,
    /// Items in each state; states without any too.
    pub counts: Vec<(BackfillItemState, u32)>,
    /// Its unfinished runs, in the order of items.
    pub running: Vec<RunId>,
    /// The items that begin next, at most [`BackfillView::NEXT_MAX`].
    pub next: Vec<Arc<BackfillItemRow>>,
    /// How many items of each flow are not over.
    pub left: BTreeMap<FlowName, u32>,
}

impl BackfillView {
    /// How many of the next items are given.
    pub const NEXT_MAX: usize = 10;

    /// How long the rest takes when a run of each flow takes as long as usual and slots are free; `None` when the
    /// duration of a flow is not known. A rough figure: what runs is counted whole, and the last runs of a lane do not
    /// fill it.
    pub fn rest(&self, durations: &BTreeMap<FlowName, Span>) -> Option<Span> {
        let mut all = 0_i64;
        for (flow, items) in &self.left {
            let one = durations.get(flow)?.0;
            all = all.saturating_add(one.saturating_mul(i64::from(*items)));
        }
        let items: u32 = self.left.values().sum();
        let beside = self.row.parallel.min(items).max(1);
        Some(Span(all / i64::from(beside)))
    }
}

impl Scheduler {
    /// Unfinished backfills, oldest first.
    pub fn backfills(&self) -> Vec<BackfillView> {
        let ids: Vec<u64> = self.backfills.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.backfill(id)).collect()
    }

    /// An unfinished backfill. Costs what it shows, not what the backfill has.
    pub fn backfill(&self, id: u64) -> Option<BackfillView> {
        let backfill = self.backfills.get(&id)?;
        let (all, item) = ((id, 0)..=(id, u32::MAX), |key| &self.backfill_items[key]);
        Some(BackfillView {
            row: backfill.row.clone(),
            counts: BackfillItemState::ALL
                .iter()
                .map(|state| (*state, backfill.count(*state)))
                .collect(),
            running: self
                .backfill_running
                .range(all.clone())
                .filter_map(|key| item(key).run)
                .collect(),
            next: self
                .backfill_ready
                .range(all)
                .take(BackfillView::NEXT_MAX)
                .map(|key| item(key).clone())
                .collect(),
            left: backfill
                .left
                .iter()
                .map(|(flow, items)| (flow.clone(), *items))
                .collect(),
        })
    }
}
