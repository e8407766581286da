//! Occurrences of schedules: one row in the future for each schedule of each flow, decided when due.

use super::Draft;
use super::runs::Arrival;
use crate::flow::Flow;
use crate::id::{FlowName, TriggerName};
use crate::reason::Reason;
use crate::row::{Interval, OccurrenceRow, OccurrenceState};
use crate::schedule::Schedule;
use crate::spec::{Misfire, MisfireSpec, ScheduleSpec};
use crate::state;
use crate::time::Timestamp;
use serde_json::Map;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most missed occurrences that get a row of their own; older ones are counted in the oldest row.
const MISSED_ROWS_MAX: usize = 500;

impl Draft {
    /// Makes sure that every schedule of a flow has its next occurrence, and no other has one.
    pub(super) fn plan_flow(&mut self, name: &FlowName) {
        let state = self.s.flows.get(name).cloned().expect("the flow exists");
        let flow = state.flow.clone().filter(|_| !state.row.removed);
        let first = (name.clone(), String::new());
        let expected: Vec<Arc<OccurrenceRow>> = self
            .s
            .occurrences
            .range(first..)
            .take_while(|((flow, _), _)| flow == name)
            .map(|(_, row)| row.clone())
            .collect();
        let mut planned = Vec::new();
        for row in expected {
            let wanted = flow
                .as_ref()
                .and_then(|it| state::schedule(it, &row.trigger))
                .is_some_and(|(spec, schedule)| {
                    let after = self.now.min(row.due_at - TICK);
                    row.reason.is_some() || next(spec, schedule, after) == Some(row.due_at)
                });
            if wanted {
                if row.reason.is_none() {
                    planned.push(row.trigger.clone());
                }
                // The jitter may have changed.
                self.put_occurrence(OccurrenceRow::clone(&row));
                continue;
            }
            let reason = match state.row.removed {
                true => Reason::FlowRemoved,
                false => Reason::ScheduleChanged,
            };
            self.put_occurrence(OccurrenceRow {
                state: OccurrenceState::Skipped,
                reason: Some(reason),
                ..OccurrenceRow::clone(&row)
            });
        }
        for (spec, schedule) in flow.iter().flat_map(|it| it.schedules()) {
            if !planned.contains(&spec.name) {
                self.expect_next(name, spec, schedule, self.now);
            }
        }
    }

    fn expect_next(
        &mut self,
        flow: &FlowName,
        spec: &ScheduleSpec,
        schedule: &Schedule,
        after: Timestamp,
    ) {
        if let Some(due_at) = next(spec, schedule, after) {
            let row = self.occurrence_row(flow, spec, schedule, due_at);
            self.put_occurrence(row);
        }
    }

    fn occurrence_row(
        &self,
        flow: &FlowName,
        spec: &ScheduleSpec,
        schedule: &Schedule,
        due_at: Timestamp,
    ) -> OccurrenceRow {
        OccurrenceRow {
            flow: flow.clone(),
            key: key(&spec.name, due_at),
            trigger: spec.name.clone(),
            due_at,
            interval: Interval {
                start: schedule.previous_before(due_at).unwrap_or(due_at),
                end: due_at,
            },
            state: OccurrenceState::Expected,
            reason: None,
            run: None,
            updated_at: self.now,
        }
    }

    /// An occurrence has come due: it runs, or is held, or is a misfire; and the next one is planned.
    pub(super) fn occurrence_due(&mut self, flow: &FlowName, key: &str) {
        let row = self.s.occurrences.get(&(flow.clone(), key.to_owned()));
        let Some(row) = row.map(|it| OccurrenceRow::clone(it)) else {
            return;
        };
        let state = self
            .s
            .flows
            .get(flow)
            .cloned()
            .expect("an occurrence has a flow");
        let active = state.flow.clone().filter(|_| !state.row.removed);
        let Some((graph, name)) = active.map(|it| (it, row.trigger.clone())) else {
            return self.plan_flow(flow);
        };
        let Some((spec, schedule)) = state::schedule(&graph, &name) else {
            return self.plan_flow(flow);
        };
        let late = self.now - self.s.fires_at(&row);
        let due_at = row.due_at;
        if let Some(paused) = &state.row.paused {
            let reason = Reason::FlowPaused {
                by: paused.by.clone(),
                reason: paused.reason.clone(),
            };
            let kept = match spec.misfire.paused {
                Misfire::Skip => OccurrenceState::Skipped,
                Misfire::Latest | Misfire::All => OccurrenceState::Expected,
            };
            if spec.misfire.paused == Misfire::Latest {
                // Only the newest will ever run, so one is held at most.
                for held in self.held(flow, &spec.name) {
                    self.coalesce(held, &row.key);
                }
            }
            self.put_occurrence(OccurrenceRow {
                state: kept,
                reason: Some(reason),
                ..row
            });
            // Those that came due while the daemon was down count too, as far back as they may be caught up.
            let after = match spec.misfire.paused {
                Misfire::Skip => self.now - TICK,
                Misfire::Latest | Misfire::All => self.now - spec.misfire.window,
            };
            return self.expect_next(flow, spec, schedule, due_at.max(after));
        }
        if late <= self.s.config.misfire_after {
            self.run_occurrence(&graph, row);
            return self.expect_next(flow, spec, schedule, due_at);
        }
        self.misfired(&graph, spec, schedule, row);
        self.expect_next(flow, spec, schedule, self.now);
    }

    fn run_occurrence(&mut self, flow: &Flow, row: OccurrenceRow) {
        let params = state::schedule(flow, &row.trigger)
            .map(|(spec, _)| self.schedule_params(spec, &row))
            .unwrap_or_default();
        // The occurrence row tells what came of it.
        let _ = self.arrive(Arrival {
            flow: row.flow,
            key: row.key,
            trigger: row.trigger,
            due_at: row.due_at,
            interval: row.interval,
            params,
            events: Vec::new(),
            before: None,
        });
    }

    fn schedule_params(
        &self,
        spec: &ScheduleSpec,
        row: &OccurrenceRow,
    ) -> Map<String, serde_json::Value> {
        let scope = crate::params::scope(row.interval, &[], self.s.last_run + 1, &row.flow);
        crate::params::evaluate(&spec.params, &scope)
    }

    /// The daemon was down when this occurrence, and perhaps more after it, came due.
    fn misfired(
        &mut self,
        flow: &Flow,
        spec: &ScheduleSpec,
        schedule: &Schedule,
        first: OccurrenceRow,
    ) {
        let until = spec.end.map_or(self.now, |end| self.now.min(end - TICK));
        let down = Reason::MissedDown {
            from: first.due_at,
            to: self.now,
        };
        // The newest ones, and how many there were before them.
        let mut newest: VecDeque<Timestamp> = VecDeque::new();
        let mut dropped = 0u64;
        for due_at in schedule.between(first.due_at, until) {
            newest.push_back(due_at);
            if newest.len() > MISSED_ROWS_MAX {
                newest.pop_front();
                dropped += 1;
            }
        }
        let name = flow.name().clone();
        let mut rows = vec![first];
        rows.extend(
            newest
                .into_iter()
                .map(|due_at| self.occurrence_row(&name, spec, schedule, due_at)),
        );
        self.catch_up(flow, &spec.misfire, spec.misfire.down, rows, &down, dropped);
    }

    /// The flow goes on after a pause: what was held runs, or is missed.
    pub(super) fn release_held(&mut self, name: &FlowName) {
        let Some(flow) = self.s.flows.get(name).and_then(|it| it.flow.clone()) else {
            return;
        };
        for (spec, _) in flow.schedules() {
            let held = self.held(name, &spec.name);
            if let Some(reason) = held.first().and_then(|row| row.reason.clone()) {
                self.catch_up(&flow, &spec.misfire, spec.misfire.paused, held, &reason, 0);
            }
        }
    }

    /// Occurrences of a schedule that wait for the end of a pause, by due time.
    fn held(&self, flow: &FlowName, schedule: &TriggerName) -> Vec<OccurrenceRow> {
        let first = (flow.clone(), String::new());
        let mut held: Vec<OccurrenceRow> = self
            .s
            .occurrences
            .range(first..)
            .take_while(|((of, _), _)| of == flow)
            .filter(|(_, row)| row.trigger == *schedule && row.reason.is_some())
            .map(|(_, row)| OccurrenceRow::clone(row))
            .collect();
        held.sort_by_key(|row| row.due_at);
        held
    }

    /// Applies a misfire policy to occurrences in order of time; each ends with its reason.
    fn catch_up(
        &mut self,
        flow: &Flow,
        misfire: &MisfireSpec,
        policy: Misfire,
        rows: Vec<OccurrenceRow>,
        why: &Reason,
        dropped: u64,
    ) {
        let keep = match policy {
            Misfire::Skip => 0,
            Misfire::Latest => 1,
            Misfire::All => misfire.max as usize,
        };
        let oldest = self.now - misfire.window;
        let kept_from = rows.len().saturating_sub(keep);
        let newest = rows.last().map(|row| row.key.clone()).unwrap_or_default();
        for (place, row) in rows.into_iter().enumerate() {
            let too_old = row.due_at < oldest;
            if place >= kept_from && !too_old {
                self.run_occurrence(flow, row);
                continue;
            }
            let first_of_many = dropped > 0 && place == 0;
            let reason = match policy {
                _ if first_of_many => Reason::MissedTooMany {
                    dropped,
                    kept: keep as u32,
                },
                Misfire::Latest | Misfire::All if too_old => Reason::MissedTooOld {
                    window: misfire.window,
                },
                Misfire::Latest => {
                    self.coalesce(row, &newest);
                    continue;
                }
                _ => why.clone(),
            };
            self.put_occurrence(OccurrenceRow {
                state: OccurrenceState::Missed,
                reason: Some(reason),
                ..row
            });
        }
    }
}

const TICK: crate::time::Span = crate::time::Span(1);

fn key(schedule: &TriggerName, due_at: Timestamp) -> String {
    format!("cron:{schedule}:{due_at}")
}

/// The next occurrence within the schedule's start and end.
fn next(spec: &ScheduleSpec, schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    let after = spec.start.map_or(after, |start| after.max(start - TICK));
    let at = schedule.next_after(after)?;
    spec.end.is_none_or(|end| at < end).then_some(at)
}
