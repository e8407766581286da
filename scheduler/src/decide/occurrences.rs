//! Occurrences: one row in the future for each schedule and each deadline of a flow, decided when due.
//!
//! Every moment of a schedule ends as a row that says what became of it. The only rows in the past that are not
//! decided are those that a pause or a blackout holds.

use super::Draft;
use super::runs::Arrival;
use super::sla::Unseen;
use crate::flow::Flow;
use crate::id::{FlowName, RunId};
use crate::reason::Reason;
use crate::row::{Interval, OccurrenceRow, OccurrenceState};
use crate::schedule::Slot;
use crate::spec::{BlackoutAction, Misfire, MisfireSpec};
use crate::state::{self, SET_BACK_MAX, Timetable};
use crate::time::{Span, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The most missed occurrences that get a row of their own; older ones are counted in the oldest row.
const MISSED_ROWS_MAX: usize = 500;

/// The most occurrences of one schedule that wait for the end of a blackout; older ones are skipped.
const DEFERRED_MAX: usize = 1_000;

const TICK: Span = Span(1);

/// How many slots in a row may come due while one decision looks at a flow.
const OVERDUE_MAX: usize = 4_000;

/// What an expected row tells of the slots around it, whatever its timetable is now.
#[derive(Clone, Copy)]
struct Before {
    /// When it was planned: what was due until then is decided.
    seen: Timestamp,
    /// Slots from here on were not decided.
    floor: Timestamp,
    /// The run that met it, if it is a deadline.
    run: Option<RunId>,
}

impl Draft {
    /// Makes sure that every schedule and deadline of a flow has its next occurrence, and no other has one.
    pub(super) fn plan_flow(&mut self, name: &FlowName) {
        let flow = self.s.flows[name].flow.clone();
        self.plan_flow_anew(name, flow.as_deref());
    }

    /// The same for a flow that another version planned until now.
    pub(super) fn plan_flow_anew(&mut self, name: &FlowName, old: Option<&Flow>) {
        let state = self.s.flows.get(name).cloned().expect("the flow exists");
        let flow = state.flow.clone().filter(|_| !state.row.removed);
        let mut planned: BTreeMap<String, Option<Before>> = BTreeMap::new();
        for row in self.s.expected_of(name, "") {
            let timetable = flow
                .as_ref()
                .and_then(|it| state::timetable_of(it, &row.key));
            let before = self.before(&row, timetable.as_ref());
            let prefix = state::timetable_prefix(&row.key).to_owned();
            if row.reason.is_some() {
                match timetable {
                    Some(_) => self.keep_held(&row, flow.as_deref()),
                    None => self.drop_expected(&row, state.row.removed),
                }
                continue;
            }
            let wanted = timetable.is_some_and(|it| {
                let after = self.now.max(before.seen).min(row.due_at - TICK);
                let slot = Slot {
                    at: row.interval.end,
                    due_at: row.due_at,
                };
                self.next_slot(name, &it, after, Some(before)) == Some(slot)
            });
            if wanted {
                planned.insert(prefix, None);
                // The jitter may have changed.
                self.s.index_occurrence(&row);
            } else {
                planned.insert(prefix, Some(before));
                self.drop_expected(&row, state.row.removed);
            }
        }
        // What the removal of the flow left tells the same.
        let left = flow.as_ref().map(|_| self.s.left_of(name));
        let left: Vec<_> = left.into_iter().flatten().collect();
        for row in left.iter().filter(|it| it.due_at > self.now) {
            let timetable = flow
                .as_ref()
                .and_then(|it| state::timetable_of(it, &row.key));
            let before = self.before(row, timetable.as_ref());
            let prefix = state::timetable_prefix(&row.key).to_owned();
            planned.entry(prefix).or_insert(Some(before));
        }
        for it in flow.iter().flat_map(|it| state::timetables(it)) {
            let before = match planned.get(&it.prefix) {
                Some(None) => continue,
                Some(Some(before)) => Some(*before),
                None => None,
            };
            let was_there = || old.and_then(|old| state::timetable_of(old, &it.prefix));
            let before = before.or_else(|| was_there().map(|_| self.over()));
            let after = before.map_or(self.now, |it| self.now.max(it.seen));
            if let Some(slot) = self.next_slot(name, &it, after, before) {
                let row = self.occurrence_row(name, &it, slot);
                // A deadline that was met is met, whenever it is now.
                let run = before.and_then(|it| it.run);
                let since = before.map_or(Timestamp(0), |it| it.floor);
                self.put_occurrence(OccurrenceRow { run, since, ..row });
            }
        }
        for row in left {
            let key = (row.flow.clone(), row.key.clone());
            if row.due_at > self.now && !self.s.occurrences.contains_key(&key) {
                self.drop_expected(&row, false);
            }
            self.s.forget_left(&row);
        }
    }

    /// The next slot that is due after an instant, within start and end, and that was not decided before.
    fn next_slot(
        &self,
        flow: &FlowName,
        it: &Timetable<'_>,
        after: Timestamp,
        before: Option<Before>,
    ) -> Option<Slot> {
        let due_after = it.start.map_or(after, |start| after.max(start - TICK));
        let first = it.schedule.first_due_after(due_after);
        let is_open = |slot: &Slot| {
            let was_before = before.is_some_and(|before| slot.at < before.floor);
            !self.s.is_ahead(flow, it, slot.at) && (slot.at > after || !was_before)
        };
        std::iter::successors(first, |slot| it.schedule.slot_after(slot.at))
            .find(is_open)
            .filter(|slot| it.end.is_none_or(|end| slot.due_at < end))
    }

    /// The slot after another, without those that an earlier timetable was ahead with.
    fn slot_after(&self, flow: &FlowName, it: &Timetable<'_>, at: Timestamp) -> Option<Slot> {
        std::iter::successors(it.schedule.slot_after(at), |slot| {
            it.schedule.slot_after(slot.at)
        })
        .find(|slot| !self.s.is_ahead(flow, it, slot.at))
    }

    fn before(&self, row: &OccurrenceRow, timetable: Option<&Timetable<'_>>) -> Before {
        let slot = row.interval.end;
        let seen = match row.updated_at {
            seen if seen - self.now > SET_BACK_MAX => self.now,
            seen => seen,
        };
        let floor = match timetable {
            // It was the only one of its day.
            Some(it) if row.due_at != slot => {
                let day = it.schedule.day_begins(slot).unwrap_or(slot);
                day.max(row.since).min(slot)
            }
            _ => slot,
        };
        Before {
            seen,
            floor,
            run: row.run,
        }
    }

    /// Of a timetable that was there and has no row: nothing that is past is planned any more.
    fn over(&self) -> Before {
        Before {
            seen: self.now,
            floor: self.now + TICK,
            run: None,
        }
    }

    /// Nothing asks any more for what this row expects.
    fn drop_expected(&mut self, row: &OccurrenceRow, removed: bool) {
        let (state, reason, run) = match (row.run, removed) {
            (Some(run), true) => (OccurrenceState::Ran, None, Some(run)),
            (None, true) => (OccurrenceState::Skipped, Some(Reason::FlowRemoved), None),
            (_, false) => (
                OccurrenceState::Skipped,
                Some(Reason::ScheduleChanged),
                None,
            ),
        };
        self.put_occurrence(OccurrenceRow {
            state,
            reason,
            run,
            ..row.clone()
        });
    }

    /// The flow's blackouts may have changed: what waits for the end of one is decided by those of now.
    fn keep_held(&mut self, row: &Arc<OccurrenceRow>, flow: Option<&Flow>) {
        let Some(Reason::Blackout { name, until }) = &row.reason else {
            return self.s.index_occurrence(row);
        };
        let now = flow.and_then(|it| it.blackout_at(self.now));
        let reason = match now {
            Some((name, _, until)) => Reason::Blackout {
                name,
                until: Some(until),
            },
            None => Reason::Blackout {
                name: name.clone(),
                until: until.map(|it| it.min(self.now)),
            },
        };
        if row.reason.as_ref() == Some(&reason) {
            return self.s.index_occurrence(row);
        }
        self.put_occurrence(OccurrenceRow {
            reason: Some(reason),
            ..OccurrenceRow::clone(row)
        });
    }

    pub(super) fn occurrence_row(
        &self,
        flow: &FlowName,
        timetable: &Timetable<'_>,
        slot: Slot,
    ) -> OccurrenceRow {
        let start = timetable.schedule.previous_before(slot.at);
        OccurrenceRow {
            flow: flow.clone(),
            key: timetable.key(slot.at),
            trigger: timetable.trigger.clone(),
            due_at: slot.due_at,
            interval: Interval {
                start: start.unwrap_or(slot.at),
                end: slot.at,
            },
            state: OccurrenceState::Expected,
            reason: None,
            run: None,
            updated_at: self.now,
            since: slot.at,
        }
    }

    /// Plans what comes after a slot. Slots that the calendar moved to the same moment end with it.
    pub(super) fn expect_after(&mut self, flow: &FlowName, it: &Timetable<'_>, slot: Slot) {
        let mut at = slot.at;
        while let Some(next) = self.slot_after(flow, it, at) {
            let row = self.occurrence_row(flow, it, next);
            if it.end.is_some_and(|end| next.due_at >= end) {
                return;
            }
            if next.due_at > slot.due_at {
                let since = at + TICK;
                return self.put_occurrence(OccurrenceRow { since, ..row });
            }
            let into = it.key(slot.at);
            self.end_occurrence(
                row,
                OccurrenceState::Coalesced,
                Reason::CoalescedByRoll { into },
            );
            at = next.at;
        }
    }

    pub(super) fn end_occurrence(
        &mut self,
        row: OccurrenceRow,
        state: OccurrenceState,
        reason: Reason,
    ) {
        self.put_occurrence(OccurrenceRow {
            state,
            reason: Some(reason),
            ..row
        });
    }

    /// What came due before a flow changes is decided by what it was then: nobody may have looked since the daemon was
    /// down. What the new version plans alike is left to it.
    pub(super) fn decide_overdue(&mut self, name: &FlowName, new: Option<&Flow>) {
        for _ in 0..OVERDUE_MAX {
            let flow = self.s.flows.get(name).and_then(|it| it.flow.clone());
            let same = |row: &OccurrenceRow| {
                let old = flow
                    .as_ref()
                    .and_then(|it| state::timetable_of(it, &row.key));
                let new = new.and_then(|it| state::timetable_of(it, &row.key));
                old.zip(new).is_some_and(|(old, new)| {
                    (old.schedule, old.start, old.end) == (new.schedule, new.start, new.end)
                })
            };
            let overdue = |row: &Arc<OccurrenceRow>| {
                let timer = self.s.occurrence_timer(row);
                timer.is_some_and(|(at, _)| at <= self.now) && !same(row)
            };
            let rows = self.s.expected_of(name, "");
            let rows: Vec<_> = rows.into_iter().filter(overdue).collect();
            if rows.is_empty() {
                return;
            }
            for row in rows {
                self.occurrence_due(name, &row.key);
            }
        }
    }

    /// The flow is gone: what came due before that, and that nobody has seen, is over with it.
    pub(super) fn drop_overdue(&mut self, name: &FlowName) {
        let Some(flow) = self.s.flows.get(name).and_then(|it| it.flow.clone()) else {
            return;
        };
        for it in state::timetables(&flow) {
            let rows = self.s.expected_of(name, &it.prefix);
            let overdue = |row: &&Arc<OccurrenceRow>| {
                let timer = self.s.occurrence_timer(row);
                row.reason.is_none() && timer.is_some_and(|(at, _)| at <= self.now)
            };
            let Some(planned) = rows.iter().find(overdue) else {
                continue;
            };
            let planned = OccurrenceRow::clone(planned);
            let (rows, mut dropped) = self.all_due(&flow, &it, planned);
            for row in rows {
                match std::mem::take(&mut dropped) {
                    0 => self.drop_expected(&row, true),
                    dropped => {
                        let reason = Reason::MissedTooMany { dropped, kept: 0 };
                        self.end_occurrence(row, OccurrenceState::Missed, reason);
                    }
                }
            }
        }
    }

    /// An occurrence has come due: it runs, or is held, or is a misfire; and the next one is planned.
    pub(super) fn occurrence_due(&mut self, flow: &FlowName, key: &str) {
        let row = self.s.occurrences.get(&(flow.clone(), key.to_owned()));
        let Some(row) = row.map(|it| OccurrenceRow::clone(it)) else {
            return;
        };
        let state = self.s.flows.get(flow).cloned();
        let state = state.expect("an occurrence has a flow");
        let Some(graph) = state.flow.clone().filter(|_| !state.row.removed) else {
            return self.plan_flow(flow);
        };
        match state::timetable_of(&graph, key) {
            Some(it) if it.deadline_of.is_some() => self.deadline_due(&graph, &it, row),
            Some(it) => self.schedule_due(&graph, &it, row),
            None => self.plan_flow(flow),
        }
    }

    fn schedule_due(&mut self, flow: &Arc<Flow>, it: &Timetable<'_>, row: OccurrenceRow) {
        let misfire = &it.spec().expect("of a schedule").misfire;
        let name = flow.name().clone();
        let from = row.due_at;
        let timer = self.s.occurrence_timer(&row);
        let fired = timer.map_or(row.due_at, |(at, _)| at);
        let late = self.now - fired > self.s.config.misfire_after;
        let (rows, dropped) = match late {
            true => self.all_due(flow, it, row),
            false => (vec![row], 0),
        };
        let planned = rows.first().filter(|row| !late && row.reason.is_none());
        let planned = planned.map(slot_of);
        let paused = self.s.flows[&name].row.paused.clone();
        let paused = paused.map(|it| Reason::FlowPaused {
            by: it.by,
            reason: it.reason,
        });
        let mut left = Vec::new();
        for (place, row) in rows.into_iter().enumerate() {
            if dropped > 0 && place == 0 {
                let kept = match &paused {
                    Some(_) => held_max(misfire),
                    None => kept(misfire, misfire.down),
                };
                let kept = u32::try_from(kept).unwrap_or(u32::MAX);
                let reason = Reason::MissedTooMany { dropped, kept };
                self.end_occurrence(row, OccurrenceState::Missed, reason);
                continue;
            }
            if let Some((day, note)) = it.schedule.closed_day(row.due_at) {
                let calendar = it.schedule.calendar().map(|(it, _)| it.name().to_owned());
                let reason = Reason::Calendar {
                    calendar: calendar.unwrap_or_default(),
                    day,
                    note,
                };
                self.end_occurrence(row, OccurrenceState::Skipped, reason);
                continue;
            }
            let in_blackout = flow.blackout_at(row.due_at);
            if let Some((name, BlackoutAction::Skip, until)) = in_blackout {
                let until = Some(until);
                let reason = Reason::Blackout { name, until };
                self.end_occurrence(row, OccurrenceState::Skipped, reason);
                continue;
            }
            match &paused {
                Some(reason) => self.hold_occurrence(it, misfire, row, reason),
                None if in_blackout.is_some_and(|(_, _, until)| until > self.now) => {
                    self.start_occurrence(flow, row);
                }
                None => left.push(row),
            }
        }
        if late {
            let down = Reason::MissedDown {
                from: from.max(fired),
                to: self.now,
            };
            let missed = OccurrenceState::Missed;
            self.catch_up(flow, misfire, misfire.down, left, (missed, &down));
        } else {
            for row in left {
                self.start_occurrence(flow, row);
            }
        }
        if let Some(slot) = planned {
            self.expect_after(&name, it, slot);
        }
    }

    /// All that came due while nobody was there to see it, oldest first, and how many of those after the first are
    /// left out because they are too many; plans the one after them.
    fn all_due(
        &mut self,
        flow: &Arc<Flow>,
        it: &Timetable<'_>,
        row: OccurrenceRow,
    ) -> (Vec<OccurrenceRow>, u64) {
        let name = flow.name();
        let is_due = |it: &Arc<OccurrenceRow>| {
            it.key == row.key
                || self
                    .s
                    .occurrence_timer(it)
                    .is_some_and(|(at, _)| at <= self.now)
        };
        let mut rows: Vec<OccurrenceRow> = self
            .s
            .expected_of(name, &it.prefix)
            .into_iter()
            .filter(is_due)
            .map(|it| OccurrenceRow::clone(&it))
            .collect();
        rows.sort_by_key(slot_of);
        // Behind the planned one come those that have no row yet.
        let Some(planned) = rows.iter().position(|it| it.reason.is_none()) else {
            return (rows, 0);
        };
        let mut last = slot_of(&rows[planned]);
        let mut newest: VecDeque<(Slot, Option<String>)> = VecDeque::new();
        let mut dropped = 0u64;
        let mut unseen = Unseen::default();
        let mut into = rows[planned].key.clone();
        while let Some(slot) = self.slot_after(name, it, last.at) {
            let over = it.end.is_some_and(|end| slot.due_at >= end);
            if over || slot.due_at > self.now || self.is_jittered_away(name, it, slot) {
                break;
            }
            let rolled = slot.due_at == last.due_at;
            if !rolled {
                into.clear();
            }
            if rolled && into.is_empty() {
                into = it.key(last.at);
            }
            newest.push_back((slot, rolled.then(|| into.clone())));
            if newest.len() > MISSED_ROWS_MAX {
                if let Some((slot, None)) = newest.pop_front() {
                    unseen.add(flow, it, slot);
                }
                dropped += 1;
            }
            last = slot;
        }
        self.expect_after(name, it, last);
        self.sla_of_unseen(flow, unseen);
        for (slot, into) in newest {
            let row = self.occurrence_row(name, it, slot);
            match into {
                Some(into) => self.end_occurrence(
                    row,
                    OccurrenceState::Coalesced,
                    Reason::CoalescedByRoll { into },
                ),
                None => rows.push(row),
            }
        }
        if dropped > 0 {
            // What counts the rest is the first.
            rows.swap(0, planned);
        }
        (rows, dropped)
    }

    /// It is due, but its share of the jitter lets it wait.
    fn is_jittered_away(&self, flow: &FlowName, it: &Timetable<'_>, slot: Slot) -> bool {
        let jitter = it.spec().map_or(Span::ZERO, |it| it.jitter);
        slot.due_at + jitter > self.now
            && self.s.fires_at(&self.occurrence_row(flow, it, slot)) > self.now
    }

    /// The flow is paused: the newest few wait for someone to say what becomes of them.
    fn hold_occurrence(
        &mut self,
        it: &Timetable<'_>,
        misfire: &MisfireSpec,
        row: OccurrenceRow,
        reason: &Reason,
    ) {
        let flow = row.flow.clone();
        self.put_occurrence(OccurrenceRow {
            reason: Some(reason.clone()),
            ..row
        });
        let held = self.held(&flow, it);
        let too_many = held.len().saturating_sub(held_max(misfire));
        for row in held.into_iter().take(too_many) {
            let reason = row.reason.clone().unwrap_or_else(|| reason.clone());
            self.end_occurrence(row, OccurrenceState::Skipped, reason);
        }
    }

    /// Occurrences of a schedule that wait for the end of a pause, by slot.
    pub(super) fn held(&self, flow: &FlowName, it: &Timetable<'_>) -> Vec<OccurrenceRow> {
        self.waiting_for(flow, it, |reason| {
            matches!(reason, Reason::FlowPaused { .. })
        })
    }

    fn waiting_for(
        &self,
        flow: &FlowName,
        it: &Timetable<'_>,
        what: impl Fn(&Reason) -> bool,
    ) -> Vec<OccurrenceRow> {
        let rows = self.s.expected_of(flow, &it.prefix).into_iter();
        let mut rows: Vec<OccurrenceRow> = rows
            .filter(|row| row.reason.as_ref().is_some_and(&what))
            .map(|row| OccurrenceRow::clone(&row))
            .collect();
        rows.sort_by_key(slot_of);
        rows
    }

    /// An occurrence runs now, unless a blackout says otherwise.
    fn start_occurrence(&mut self, flow: &Arc<Flow>, row: OccurrenceRow) {
        match flow.blackout_at(self.now) {
            None => self.run_occurrence(flow, row),
            Some((name, action, until)) => {
                let until = Some(until);
                self.black_out(flow, row, Reason::Blackout { name, until }, action);
            }
        }
    }

    fn black_out(
        &mut self,
        flow: &Flow,
        row: OccurrenceRow,
        reason: Reason,
        action: BlackoutAction,
    ) {
        if action == BlackoutAction::Skip {
            return self.end_occurrence(row, OccurrenceState::Skipped, reason);
        }
        let key = row.key.clone();
        self.put_occurrence(OccurrenceRow {
            reason: Some(reason.clone()),
            ..row
        });
        let Some(it) = state::timetable_of(flow, &key) else {
            return;
        };
        let deferred =
            self.waiting_for(flow.name(), &it, |it| matches!(it, Reason::Blackout { .. }));
        let too_many = deferred.len().saturating_sub(DEFERRED_MAX);
        for row in deferred.into_iter().take(too_many) {
            self.end_occurrence(row, OccurrenceState::Skipped, reason.clone());
        }
    }

    fn run_occurrence(&mut self, flow: &Flow, row: OccurrenceRow) {
        let params = state::schedule(flow, &row.trigger)
            .map(|(spec, _)| {
                let scope = crate::params::scope(row.interval, &[], self.s.last_run + 1, &row.flow);
                crate::params::evaluate(&spec.params, &scope)
            })
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

    /// Applies a misfire policy to occurrences in order of time; each ends with its reason. What is not caught up ends
    /// as `otherwise` says.
    pub(super) fn catch_up(
        &mut self,
        flow: &Arc<Flow>,
        misfire: &MisfireSpec,
        policy: Misfire,
        rows: Vec<OccurrenceRow>,
        otherwise: (OccurrenceState, &Reason),
    ) {
        let oldest = self.now - misfire.window;
        let kept_from = rows.len().saturating_sub(kept(misfire, policy));
        let newest = rows.last().map(|row| row.key.clone()).unwrap_or_default();
        for (place, row) in rows.into_iter().enumerate() {
            let too_old = row.due_at < oldest;
            match policy {
                _ if place >= kept_from && !too_old => self.start_occurrence(flow, row),
                Misfire::Latest | Misfire::All if too_old => {
                    let window = misfire.window;
                    let reason = Reason::MissedTooOld { window };
                    self.end_occurrence(row, OccurrenceState::Missed, reason);
                }
                Misfire::Latest => self.coalesce(row, &newest),
                Misfire::Skip | Misfire::All => {
                    let (state, reason) = otherwise;
                    let reason = row.reason.clone().unwrap_or_else(|| reason.clone());
                    self.end_occurrence(row, state, reason);
                }
            }
        }
    }
}

/// How many occurrences a policy lets run.
fn kept(misfire: &MisfireSpec, policy: Misfire) -> usize {
    match policy {
        Misfire::Skip => 0,
        Misfire::Latest => 1,
        Misfire::All => misfire.max as usize,
    }
}

/// How many occurrences of a schedule a pause holds: whoever ends it may choose among all that could run.
fn held_max(misfire: &MisfireSpec) -> usize {
    misfire.max.max(1) as usize
}

pub(super) fn slot_of(row: &OccurrenceRow) -> Slot {
    Slot {
        at: row.interval.end,
        due_at: row.due_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_at_least_one() {
        let none = MisfireSpec {
            max: 0,
            ..MisfireSpec::default()
        };
        assert_eq!(held_max(&none), 1);
        assert_eq!(held_max(&MisfireSpec::default()), 24);
    }
}
