//! How long a backfill takes: its items moved through the lane in virtual time.

use super::{PlanItem, Verdict};
use crate::id::FlowName;
use crate::time::Span;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// `None` when a flow that would run has no known duration.
pub(super) fn estimate(
    items: &[PlanItem],
    durations: &BTreeMap<FlowName, Span>,
    parallel: u32,
) -> Option<Span> {
    let mut followers: Vec<Vec<u32>> = vec![Vec::new(); items.len()];
    let mut pending = vec![0_usize; items.len()];
    let mut ready = BTreeSet::new();
    let mut lengths = vec![Span::ZERO; items.len()];
    for (place, item) in items.iter().enumerate() {
        if item.verdict != Verdict::Run {
            continue;
        }
        lengths[place] = *durations.get(&item.flow)?;
        pending[place] = item.after.len();
        for &upstream in &item.after {
            followers[upstream as usize].push(place as u32);
        }
        if item.after.is_empty() {
            ready.insert(place as u32);
        }
    }
    let (mut now, mut running) = (Span::ZERO, BinaryHeap::new());
    loop {
        while running.len() < parallel.max(1) as usize {
            let Some(place) = ready.pop_first() else {
                break;
            };
            let ends = now.0.saturating_add(lengths[place as usize].0);
            running.push(Reverse((Span(ends), place)));
        }
        let Some(Reverse((at, place))) = running.pop() else {
            return Some(now);
        };
        now = at;
        for &follower in &followers[place as usize] {
            pending[follower as usize] -= 1;
            if pending[follower as usize] == 0 {
                ready.insert(follower);
            }
        }
    }
}
