//! Deadlines of triggers: one occurrence a day, which the trigger's runs meet or not.

use super::Draft;
use super::occurrences::slot_of;
use crate::flow::Flow;
use crate::id::{FlowName, RunId, TriggerName};
use crate::reason::Reason;
use crate::row::{OccurrenceRow, OccurrenceState};
use crate::spec::BlackoutAction;
use crate::state::{self, Timetable};
use std::sync::Arc;

/// Missed deadlines that get a row of their own; older ones are counted in the oldest row.
const MISSED_ROWS_MAX: usize = 500;

impl Draft {
    /// A trigger has started a run: its oldest deadline that is neither over nor met is met.
    pub(super) fn deadline_met(&mut self, flow: &FlowName, trigger: &TriggerName, run: RunId) {
        let state = self.s.flows.get(flow).cloned();
        let Some(graph) = state.and_then(|it| it.flow.clone()) else {
            return;
        };
        let prefix = state::deadline_prefix(trigger);
        for row in self.s.expected_of(flow, &prefix) {
            if row.run.is_some() {
                continue;
            }
            let Some(it) = state::timetable_of(&graph, &row.key) else {
                continue;
            };
            if row.reason.is_none() && row.due_at <= self.now {
                // It passed while the daemon was down, and nobody had looked since.
                let down = self.was_down(&row);
                let newest = self.pass_deadlines(&graph, &it, OccurrenceRow::clone(&row));
                self.end_occurrence(newest, OccurrenceState::Missed, down);
                return self.deadline_met(flow, trigger, run);
            }
            return self.put_occurrence(OccurrenceRow {
                run: Some(run),
                ..OccurrenceRow::clone(&row)
            });
        }
    }

    /// A deadline has come.
    pub(super) fn deadline_due(
        &mut self,
        flow: &Arc<Flow>,
        it: &Timetable<'_>,
        row: OccurrenceRow,
    ) {
        let row = match row.reason {
            None => self.pass_deadlines(flow, it, row),
            Some(_) => {
                // Its sets go first: what a blackout held is not late.
                let key = (row.flow.clone(), row.key.clone());
                self.blackout_over(&row.flow);
                match self.s.occurrences.get(&key) {
                    Some(row) => OccurrenceRow::clone(row),
                    None => return,
                }
            }
        };
        let state = self.s.flows[flow.name()].clone();
        if row.run.is_some() {
            return self.deadline_kept(row);
        }
        if let Some(paused) = &state.row.paused {
            let reason = Reason::FlowPaused {
                by: paused.by.clone(),
                reason: paused.reason.clone(),
            };
            return self.end_occurrence(row, OccurrenceState::Missed, reason);
        }
        if let Some((name, action, until)) = flow.blackout_at(self.now) {
            let state = match action {
                BlackoutAction::Defer => OccurrenceState::Expected,
                BlackoutAction::Skip => OccurrenceState::Skipped,
            };
            let until = Some(until);
            return self.end_occurrence(row, state, Reason::Blackout { name, until });
        }
        let trigger = it.deadline_of.expect("of a deadline");
        self.deadline_missed(flow.name(), trigger, row);
    }

    /// Gives the newest deadline that has passed; the ones before it are over, and the one after it is planned.
    fn pass_deadlines(
        &mut self,
        flow: &Arc<Flow>,
        it: &Timetable<'_>,
        first: OccurrenceRow,
    ) -> OccurrenceRow {
        let name = flow.name();
        let slots = std::iter::successors(it.schedule.slot_after(slot_of(&first).at), |slot| {
            it.schedule.slot_after(slot.at)
        });
        let passed: Vec<_> = slots.take_while(|it| it.due_at <= self.now).collect();
        let Some(&last) = passed.last() else {
            self.expect_after(name, it, slot_of(&first));
            return first;
        };
        self.expect_after(name, it, last);
        let dropped = passed.len().saturating_sub(MISSED_ROWS_MAX);
        let down = self.was_down(&first);
        let mut rows = vec![first];
        let later = passed.iter().skip(dropped);
        rows.extend(later.map(|slot| self.occurrence_row(name, it, *slot)));
        let newest = rows.pop().expect("there is a last one");
        let mut dropped = dropped as u64;
        for row in rows {
            if row.run.is_some() {
                self.deadline_kept(row);
                continue;
            }
            let reason = match std::mem::take(&mut dropped) {
                0 => down.clone(),
                dropped => Reason::MissedTooMany { dropped, kept: 1 },
            };
            self.end_occurrence(row, OccurrenceState::Missed, reason);
        }
        newest
    }

    fn was_down(&self, first: &OccurrenceRow) -> Reason {
        Reason::MissedDown {
            from: first.due_at,
            to: self.now,
        }
    }

    fn deadline_kept(&mut self, row: OccurrenceRow) {
        self.put_occurrence(OccurrenceRow {
            state: OccurrenceState::Ran,
            reason: None,
            ..row
        });
    }
}
