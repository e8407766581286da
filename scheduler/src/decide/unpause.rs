//! The end of a pause, and what it would start.

use super::Draft;
use crate::id::{FlowName, TriggerName};
use crate::input::{CatchUp, Input};
use crate::reason::Reason;
use crate::row::{Interval, OccurrenceState};
use crate::spec::Misfire;
use crate::state::{self, Scheduler};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What would start if a pause ended now, for each way to end it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnpausePreview {
    pub choices: Vec<(CatchUp, Vec<WouldStart>)>,
    /// What happens when nobody chooses.
    pub default: CatchUp,
}

/// An occurrence that would run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WouldStart {
    pub trigger: TriggerName,
    pub key: String,
    pub due_at: Timestamp,
    pub interval: Interval,
}

impl Draft {
    /// What schedules and triggers held while the flow was paused runs, or ends with its reason.
    pub(super) fn release_held(&mut self, name: &FlowName, catch_up: CatchUp) {
        let Some(flow) = self.s.flows.get(name).and_then(|it| it.flow.clone()) else {
            return;
        };
        for it in state::timetables(&flow) {
            let Some(spec) = it.spec() else {
                continue;
            };
            let held = self.held(name, &it);
            let Some(reason) = held.first().and_then(|row| row.reason.clone()) else {
                continue;
            };
            let policy = match catch_up {
                CatchUp::Declared => spec.misfire.paused,
                CatchUp::None => Misfire::Skip,
                CatchUp::Latest => Misfire::Latest,
                CatchUp::All => Misfire::All,
            };
            let otherwise = (OccurrenceState::Skipped, &reason);
            self.catch_up(&flow, &spec.misfire, policy, held, otherwise);
        }
    }
}

impl Scheduler {
    /// What would start if the pause of a flow ended at `now`: worked out by ending it on a copy. `None` when there is
    /// no such flow or it is not paused.
    pub fn unpause_preview(&self, flow: &FlowName, now: Timestamp) -> Option<UnpausePreview> {
        self.flows.get(flow)?.row.paused.as_ref()?;
        let would_start = |catch_up: CatchUp| {
            let unpause = Input::Unpause {
                flow: flow.clone(),
                by: String::new(),
                catch_up,
            };
            let Ok((decision, _)) = self.decide(now, unpause) else {
                return Vec::new();
            };
            let rows = decision.changes.occurrences.into_iter();
            let ran = rows.filter(|row| row.flow == *flow && row.state == OccurrenceState::Ran);
            let mut ran: Vec<WouldStart> = ran
                .map(|row| WouldStart {
                    trigger: row.trigger,
                    key: row.key,
                    due_at: row.due_at,
                    interval: row.interval,
                })
                .collect();
            ran.sort_by(|a, b| (a.due_at, &a.key).cmp(&(b.due_at, &b.key)));
            ran
        };
        let choices = [
            CatchUp::Declared,
            CatchUp::None,
            CatchUp::Latest,
            CatchUp::All,
        ];
        Some(UnpausePreview {
            choices: choices.map(|it| (it, would_start(it))).into(),
            default: CatchUp::Declared,
        })
    }

    /// Schedules of flows that are there and valid, of which nothing is expected any more, and why: whoever is enabled
    /// and will never run again ought to be known. Held occurrences do not count as a future.
    pub fn without_future(&self, now: Timestamp) -> Vec<(FlowName, TriggerName, Reason)> {
        let flows = self.flows.values().filter(|it| !it.row.removed);
        let mut found = Vec::new();
        for flow in flows.filter_map(|it| it.flow.as_ref()) {
            for it in state::timetables(flow) {
                let rows = self.expected_of(flow.name(), &it.prefix);
                if rows.iter().any(|row| row.reason.is_none()) {
                    continue;
                }
                let next = it.schedule.first_due_after(now);
                let reason = match (next, it.end) {
                    (Some(next), Some(end)) if next.due_at >= end => Reason::ScheduleEnded { end },
                    (Some(next), _) => Reason::NotPlanned { next: next.due_at },
                    (None, _) => Reason::NoFutureDate,
                };
                found.push((flow.name().clone(), it.trigger.clone(), reason));
            }
        }
        found
    }
}
