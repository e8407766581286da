//! Items of a backfill that follow from others: the expression of their trigger says what the ends of those lead to.

use super::Draft;
use super::backfill::{Given, Key, NotStarted};
use super::events;
use crate::flow::Flow;
use crate::reason::Reason;
use crate::row::{BackfillItemRow, BackfillItemState, BackfillState, EventRow};
use crate::spec::{EventSource, FlowEnd, TriggerExpr, TriggerLeaf, TriggerSpec};
use std::sync::Arc;

/// The events that make an expression hold, with the numbers of their leaves; `None` while ends are missing that may
/// make it hold. `Err`: it will not hold; the reason is that of the first leaf that is about flows.
type Holds = Result<Option<Vec<(u16, Arc<EventRow>)>>, Option<Reason>>;

impl Draft {
    /// Hands the end of a run to those that may follow from it.
    pub(super) fn tell_followers(&mut self, key: Key, event: &Arc<EventRow>) {
        if self.s.backfills[&key.0].row.state == BackfillState::Cancelling {
            return;
        }
        for number in self.s.followers(key) {
            let item = self.s.backfill_items[&(key.0, number)].clone();
            if !matches!(
                item.state,
                BackfillItemState::Waiting | BackfillItemState::Skipped
            ) {
                continue;
            }
            let mut item = BackfillItemRow::clone(&item);
            item.events.retain(|it| it.subject != event.subject);
            item.events.push(event.clone());
            item.updated_at = self.now;
            self.put_item(item);
        }
    }

    /// What cannot follow any more after the end of an item is skipped; what was skipped and may follow after all, since
    /// a run was resumed, waits again.
    pub(super) fn settle_followers(&mut self, key: Key) {
        if self.s.backfills[&key.0].row.state == BackfillState::Cancelling {
            return;
        }
        let mut todo = vec![key];
        while let Some(upstream) = todo.pop() {
            for number in self.s.followers(upstream) {
                let follower = (key.0, number);
                let item = self.s.backfill_items[&follower].clone();
                let skipped = item.state == BackfillItemState::Skipped;
                if !skipped && item.state != BackfillItemState::Waiting {
                    continue;
                }
                match self.may_follow(&item) {
                    Err(reason) if !skipped => {
                        self.turn_item(follower, BackfillItemState::Skipped, Some(reason));
                    }
                    Ok(()) if skipped => self.turn_item(follower, BackfillItemState::Waiting, None),
                    _ => continue,
                }
                todo.push(follower);
            }
        }
    }

    fn may_follow(&self, item: &BackfillItemRow) -> Result<(), Reason> {
        let flow = self.s.flows.get(&item.flow).and_then(|it| it.flow.clone());
        let found = flow
            .as_ref()
            .and_then(|flow| Some((flow, trigger(flow, item)?)));
        let Some((flow, spec)) = found else {
            // Nobody knows what it would need. That pauses the backfill once it is to start.
            let mut upstream = item.after.iter().map(|it| self.upstream(item, *it));
            return match upstream.find(|it| did_not_succeed(it.state)) {
                Some(it) => Err(did_not(it)),
                None => Ok(()),
            };
        };
        match self.holds(flow, item, &spec.on, &mut 0) {
            Ok(_) => Ok(()),
            Err(reason) => Err(reason.unwrap_or(Reason::TriggerChanged)),
        }
    }

    /// The parameters of an item that follows from others, all of which are over.
    pub(super) fn followed(
        &self,
        flow: &Flow,
        item: &BackfillItemRow,
        run: u64,
    ) -> Result<Given, NotStarted> {
        let gone = || Reason::TriggerGone {
            trigger: item.trigger.clone(),
        };
        let spec = trigger(flow, item).ok_or_else(|| NotStarted::All(gone()))?;
        let used = self.holds(flow, item, &spec.on, &mut 0);
        let used = used.map_err(|it| NotStarted::Filtered(it.unwrap_or_else(gone)))?;
        let used = used.unwrap_or_default();
        let is_used = |it: &&Arc<EventRow>| used.iter().any(|(_, of)| Arc::ptr_eq(of, it));
        let events: Vec<Arc<EventRow>> = item.events.iter().filter(is_used).cloned().collect();
        events::given(flow, spec, &used, &events, item.interval, run)
            .map(|given| (given, events))
            .map_err(NotStarted::This)
    }

    /// `leaf`: the number of the expression's first leaf; afterwards that of the first one behind it.
    fn holds(
        &self,
        flow: &Flow,
        item: &BackfillItemRow,
        expr: &TriggerExpr,
        leaf: &mut u16,
    ) -> Holds {
        match expr {
            TriggerExpr::Leaf(it) => {
                let number = *leaf;
                *leaf = leaf.saturating_add(1);
                let event = self.leaf_holds(flow, item, it)?;
                Ok(event.map(|it| it.into_iter().map(|it| (number, it)).collect()))
            }
            TriggerExpr::AllOf(parts) => {
                let parts = parts.iter().map(|it| self.holds(flow, item, it, leaf));
                // Each is looked at, for the sake of the numbers.
                let parts: Vec<Holds> = parts.collect();
                let parts: Vec<Option<_>> = parts.into_iter().collect::<Result<_, _>>()?;
                let parts: Option<Vec<Vec<_>>> = parts.into_iter().collect();
                Ok(parts.map(|it| it.concat()))
            }
            TriggerExpr::AnyOf(parts) => {
                let (mut held, mut open, mut why) = (None, false, None);
                for part in parts {
                    match self.holds(flow, item, part, leaf) {
                        Ok(Some(more)) => held.get_or_insert_with(Vec::new).extend(more),
                        Ok(None) => open = true,
                        Err(reason) => why = why.or(reason),
                    }
                }
                match held {
                    None if !open => Err(why),
                    held => Ok(held),
                }
            }
        }
    }

    /// The event that makes a leaf hold, if it takes one.
    fn leaf_holds(
        &self,
        flow: &Flow,
        item: &BackfillItemRow,
        leaf: &TriggerLeaf,
    ) -> Result<Option<Option<Arc<EventRow>>>, Option<Reason>> {
        let (name, on) = match &leaf.source {
            EventSource::Flow { flow, on } => (flow, on),
            // Of a past interval this time has come.
            EventSource::After { .. } => return Ok(Some(None)),
            _ => return Err(None),
        };
        let mut upstream = item.after.iter().map(|it| self.upstream(item, *it));
        let upstream = upstream.find(|it| it.flow == *name);
        match upstream.map(|it| it.state) {
            Some(BackfillItemState::Waiting | BackfillItemState::Running) => return Ok(None),
            Some(BackfillItemState::Skipped) => return Err(upstream.map(did_not)),
            Some(BackfillItemState::Succeeded | BackfillItemState::Failed) | None => {}
        }
        let about = |it: &&Arc<EventRow>| it.subject.as_deref() == Some(name.as_str());
        let Some(event) = item.events.iter().find(about) else {
            return Err(upstream.map(did_not));
        };
        events::end_counts(flow.spec(), leaf, event).map_err(|reason| match upstream {
            Some(it) if did_not_succeed(it.state) && *on != FlowEnd::Finished => Some(did_not(it)),
            _ => Some(reason),
        })?;
        Ok(Some(Some(event.clone())))
    }

    fn upstream(&self, item: &BackfillItemRow, number: u32) -> &BackfillItemRow {
        &self.s.backfill_items[&(item.backfill, number)]
    }
}

fn trigger<'a>(flow: &'a Flow, item: &BackfillItemRow) -> Option<&'a TriggerSpec> {
    let mut triggers = flow.spec().triggers.iter();
    triggers.find(|it| it.name == item.trigger)
}

const fn did_not_succeed(state: BackfillItemState) -> bool {
    matches!(
        state,
        BackfillItemState::Failed | BackfillItemState::Skipped
    )
}

fn did_not(upstream: &BackfillItemRow) -> Reason {
    Reason::BackfillUpstream {
        flow: upstream.flow.clone(),
    }
}
