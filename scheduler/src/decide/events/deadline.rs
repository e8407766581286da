//! Once a day a trigger must have started a run; what happens when it has not.

use super::super::Draft;
use super::super::runs::Arrival;
use super::fire::Hold;
use super::standing::{missing, missing_of};
use crate::id::FlowName;
use crate::input::NewEvent;
use crate::reason::Reason;
use crate::row::{MatchOutcome, OccurrenceRow, OccurrenceState};
use crate::spec::DeadlineAction;
use crate::state::SetKey;
use serde_json::{Map, json};

/// The type of the event that tells of a trigger that has not started a run in time.
pub(super) const TRIGGER_LATE: &str = "dalsegno.trigger.late";

impl Draft {
    /// A deadline has come, and the trigger has started no run since the one before.
    pub(in crate::decide) fn deadline_missed(
        &mut self,
        name: &FlowName,
        trigger: usize,
        row: OccurrenceRow,
    ) {
        let state = self.s.flows.get(name).expect("a deadline has a flow");
        let flow = state.flow.clone().expect("a deadline has a version");
        let spec = &flow.spec().triggers[trigger];
        let Some(deadline) = spec.on_deadline else {
            return;
        };
        let sets = self.s.sets_of(name);
        let sets: Vec<SetKey> = sets
            .filter(|((_, trigger, _), _)| *trigger == spec.name)
            .map(|(key, _)| key.clone())
            .collect();
        let leaves = spec.on.leaves().len();
        let waiting_for = match sets.first() {
            Some(set) => missing_of(spec, &self.s.queues(set, leaves), self.now),
            None => missing(&spec.on, &|_| false),
        };
        let reason = Reason::Deadline { waiting_for };
        match deadline.action {
            DeadlineAction::Run => {
                if let Some(Hold::Wait(reason, _) | Hold::Skip(reason)) = self.hold_now(name) {
                    return self.end_occurrence(row, OccurrenceState::Skipped, reason);
                }
                if sets.is_empty() {
                    // The occurrence row tells what came of it.
                    let _ = self.arrive(Arrival {
                        flow: name.clone(),
                        key: row.key,
                        trigger: row.trigger,
                        due_at: row.due_at,
                        interval: row.interval,
                        params: Map::new(),
                        events: Vec::new(),
                        before: None,
                    });
                    return;
                }
                let mut first = None;
                for set in sets {
                    let rows = self.s.rows_of(&set);
                    let used: Vec<_> = rows.map(|row| (row.leaf, row.event.clone())).collect();
                    // All that stood here may have been used up with a set before.
                    if used.is_empty() {
                        continue;
                    }
                    let taken = self.use_up(spec, &set, used);
                    self.s.mark_held(&set, false);
                    self.s.time_set(&set);
                    let fired = self.start_late(&flow, trigger, &set, taken);
                    first = match first {
                        Some(Ok(_)) => first,
                        _ => Some(
                            fired
                                .run
                                .ok_or_else(|| fired.reason.unwrap_or_else(|| reason.clone())),
                        ),
                    };
                }
                match first.expect("there is a set") {
                    Ok(run) => self.put_occurrence(OccurrenceRow {
                        state: OccurrenceState::Ran,
                        reason: None,
                        run: Some(run),
                        ..row
                    }),
                    Err(reason) => self.end_occurrence(row, OccurrenceState::Skipped, reason),
                }
            }
            DeadlineAction::Skip => {
                for set in sets {
                    let rows: Vec<_> = self.s.rows_of(&set).cloned().collect();
                    for row in rows {
                        self.drop_waiting(&set, &row, MatchOutcome::Expired, reason.clone());
                    }
                    self.s.mark_held(&set, false);
                    self.s.time_set(&set);
                }
                self.end_occurrence(row, OccurrenceState::Skipped, reason);
            }
            DeadlineAction::Alert => {
                let Reason::Deadline { waiting_for } = &reason else {
                    return;
                };
                let data = json!({
                    "flow": name,
                    "trigger": spec.name,
                    "deadline": row.due_at.to_string(),
                    "waiting_for": waiting_for,
                });
                let (due_at, key) = (row.due_at, row.key.clone());
                self.end_occurrence(row, OccurrenceState::Missed, reason);
                self.take_event(NewEvent {
                    source: format!("dalsegno:flow/{name}"),
                    id: key,
                    kind: TRIGGER_LATE.to_owned(),
                    subject: Some(name.to_string()),
                    time: Some(due_at),
                    data,
                });
            }
        }
    }
}
