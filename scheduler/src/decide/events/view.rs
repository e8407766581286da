//! What pages and the command line show of sets.

use super::fire::Hold;
use super::standing::{Standing, label, missing_of};
use crate::id::{FlowName, TriggerName};
use crate::reason::Reason;
use crate::row::{EventRow, Interval};
use crate::spec::EventSource;
use crate::state::{Scheduler, SetKey, SetState};
use crate::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The most sets that are shown of a flow.
const SETS_MAX: usize = 100;

/// The most events that are shown of a leaf.
const EVENTS_MAX: usize = 20;

/// Events that wait together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitingSet {
    pub trigger: TriggerName,
    /// What they are about; empty where the trigger joins nothing.
    pub join_key: String,
    /// When the oldest of them arrived.
    pub since: Timestamp,
    /// All that wait.
    pub events: u32,
    /// Leaves at which something waits.
    pub arrived: Vec<WaitingLeaf>,
    /// What must still come, in words; empty: the set is complete.
    pub missing: Vec<String>,
    /// When it fires with what has come, unless it is held.
    pub fires_at: Option<Timestamp>,
    /// When its oldest event expires, unless the set is complete by then.
    pub expires_at: Option<Timestamp>,
    /// Why it does not fire though it is due: a pause or a blackout.
    pub held: Option<Reason>,
}

/// What waits at one leaf.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitingLeaf {
    /// The leaf's number.
    pub leaf: u16,
    /// What the leaf listens to, in words.
    pub label: String,
    /// The oldest 20.
    pub events: Vec<Arc<EventRow>>,
    /// How many more there are.
    pub more: usize,
}

/// A run that would start if nothing held it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldRun {
    pub trigger: TriggerName,
    pub join_key: String,
    /// The key that its occurrence would have.
    pub key: String,
    /// When its set was complete.
    pub complete_at: Timestamp,
    pub interval: Interval,
    /// By number.
    pub events: Vec<u64>,
}

impl Scheduler {
    /// The sets of a flow in which events wait, by trigger and join key; the first 100. [`Self::set_count`] tells how
    /// many there are.
    pub fn sets(&self, flow: &str, now: Timestamp) -> Vec<WaitingSet> {
        let draft = self.draft(now);
        let hold = draft.hold_now(&FlowName::new(flow));
        let held = match hold {
            Some(Hold::Wait(reason, _)) => Some(reason),
            Some(Hold::Skip(_)) | None => None,
        };
        let name = FlowName::new(flow);
        let sets = self.sets_of(&name).take(SETS_MAX);
        sets.filter_map(|(key, state)| self.waiting_set(key, *state, held.as_ref(), now))
            .collect()
    }

    /// How many sets of a flow there are in which events wait.
    pub fn set_count(&self, flow: &str) -> usize {
        self.sets_of(&FlowName::new(flow)).count()
    }

    fn waiting_set(
        &self,
        key: &SetKey,
        state: SetState,
        held: Option<&Reason>,
        now: Timestamp,
    ) -> Option<WaitingSet> {
        let (flow, trigger) = self.trigger_of(key)?;
        let spec = &flow.spec().triggers[trigger];
        let leaves = spec.on.leaves();
        let queues = self.queues(key, leaves.len());
        let standing = Standing::of(spec, &queues);
        let arrived = leaves.iter().enumerate().filter_map(|(number, leaf)| {
            let number = number as u16;
            let mut queue = self.queue_of(key, number);
            let events: Vec<_> = queue.by_ref().take(EVENTS_MAX).collect();
            let is_time = matches!(leaf.source, EventSource::After { .. });
            (!is_time && !events.is_empty()).then(|| WaitingLeaf {
                leaf: number,
                label: label(&leaf.source),
                events: events.iter().map(|it| it.event.clone()).collect(),
                more: queue.count(),
            })
        });
        let since = queues.heads().map(|it| it.event.received_at).min()?;
        Some(WaitingSet {
            trigger: key.1.clone(),
            join_key: key.2.to_string(),
            since,
            events: state.events,
            arrived: arrived.collect(),
            missing: missing_of(spec, &queues, now),
            fires_at: standing.fires_at.filter(|_| standing.expires_at.is_none()),
            expires_at: standing.expires_at,
            held: held.filter(|_| state.held).cloned(),
        })
    }
}
