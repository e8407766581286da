//! Rows of promises: how they begin and end.

use crate::decide::Draft;
use crate::flow::Flow;
use crate::id::{FlowName, RunId};
use crate::reason::Reason;
use crate::row::{OccurrenceRow, OccurrenceState, SlaRow, SlaState};
use crate::schedule::Slot;
use crate::sla::{Promise, SlaKey, SlaKind, period};
use crate::spec::BlackoutAction;
use crate::state::{self, Timetable};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Missed rows of one promise that may still be met late; older ones stay missed.
const MISSED_OPEN_MAX: usize = 32;

/// Of occurrences that an outage left without rows: what they promised, by promise.
#[derive(Default)]
pub(in crate::decide) struct Unseen(BTreeMap<Arc<str>, (Slot, Timestamp, u64)>);

impl Unseen {
    /// One more such occurrence.
    pub(in crate::decide) fn add(&mut self, flow: &Flow, it: &Timetable<'_>, slot: Slot) {
        for promise in flow.promises().iter().filter(|it| it.is_clock()) {
            if let Some(due_at) = due_of(flow, promise, it.schedule, it.end, slot) {
                let first = (slot, due_at, 0);
                self.0.entry(promise.key.clone()).or_insert(first).2 += 1;
            }
        }
    }
}

/// When a promise is due for a slot on which the flow may run; `None` if it is not about this slot.
fn due_of(
    flow: &Flow,
    promise: &Promise,
    schedule: &crate::schedule::Schedule,
    end: Option<Timestamp>,
    slot: Slot,
) -> Option<Timestamp> {
    let skips = |(_, action, _)| action == BlackoutAction::Skip;
    let is_off = |at: Timestamp| {
        schedule.closed_day(at).is_some() || flow.blackout_at(at).is_some_and(skips)
    };
    let due_at = promise.due_of(schedule, end, slot, &is_off)?;
    (!is_off(slot.due_at)).then_some(due_at)
}

impl Draft {
    /// The flow as it promises now.
    pub(super) fn promising(&self, flow: &FlowName) -> Option<Arc<Flow>> {
        let state = self.s.flows.get(flow)?;
        let flow = state.flow.as_ref()?;
        (!state.row.removed && !flow.promises().is_empty()).then(|| flow.clone())
    }

    pub(super) fn open_row(
        &self,
        flow: &FlowName,
        promise: &Arc<str>,
        period: &str,
    ) -> Option<Arc<SlaRow>> {
        let key = (flow.clone(), promise.clone(), Arc::from(period));
        self.s.slas.get(&key).cloned()
    }

    /// A period of a promise begins to matter.
    pub(super) fn open_sla(
        &mut self,
        flow: &FlowName,
        promise: &Promise,
        period: String,
        due_at: Timestamp,
        run: Option<RunId>,
    ) {
        if self.open_row(flow, &promise.key, &period).is_some() {
            return;
        }
        self.put_sla(SlaRow {
            flow: flow.clone(),
            promise: promise.key.clone(),
            period: period.into(),
            due_at,
            state: SlaState::OnTime,
            open: true,
            run,
            step: promise.step.clone(),
            at_risk_since: None,
            missed_at: None,
            met_at: None,
            told: None,
            prediction: None,
            acknowledged: None,
            silenced_until: None,
            withdrawn: None,
            more: 0,
            created_at: self.now,
            updated_at: self.now,
        });
    }

    /// What was promised has come true at an instant.
    pub(super) fn meet(&mut self, row: &SlaRow, at: Timestamp, run: Option<RunId>) {
        let mut row = row.clone();
        let first = row.missed_at.is_none();
        if at > row.due_at && first {
            // Nobody had looked since it was due.
            self.miss(&mut row);
        }
        row.state = match at <= row.due_at {
            true => SlaState::Met,
            false => SlaState::MetLate,
        };
        row.met_at = Some(at);
        row.open = false;
        row.run = run.or(row.run);
        row.silenced_until = None;
        self.tell_over(&row);
        self.put_sla(row.clone());
        if first {
            self.next_day(&row);
        }
    }

    /// Its moment has passed.
    pub(super) fn miss(&mut self, row: &mut SlaRow) {
        row.state = SlaState::Missed;
        row.missed_at = Some(row.due_at);
        self.tell_or_silence(row);
    }

    /// Nothing asks for it any more. A breach before that stays one.
    pub(super) fn withdraw(&mut self, row: &SlaRow, reason: Reason) {
        let mut row = row.clone();
        let first = row.missed_at.is_none();
        if row.due_at < self.now && first {
            // Nobody had looked: that it is told and over in one breath helps nobody.
            self.miss(&mut row);
            row.withdrawn = Some(reason);
        } else {
            row.withdrawn = Some(reason);
            self.tell_over(&row);
        }
        row.open = false;
        row.silenced_until = None;
        self.put_sla(row.clone());
        if first {
            self.next_day(&row);
        }
    }

    /// A promise that is still open has come due.
    pub(in crate::decide) fn sla_due(&mut self, key: &SlaKey) {
        let Some(row) = self.s.slas.get(key).cloned() else {
            return;
        };
        if row.missed_at.is_some() {
            return;
        }
        let mut row = SlaRow::clone(&row);
        self.miss(&mut row);
        self.put_sla(row.clone());
        self.next_day(&row);
        self.missed_more(&row);
    }

    /// One more period of a promise is missed.
    pub(super) fn missed_more(&mut self, row: &SlaRow) {
        let kind = &row.period[..=row.period.find(':').unwrap_or(0)];
        let first = (row.flow.clone(), row.promise.clone(), Arc::from(kind));
        self.missed_more.insert(first);
    }

    /// Of very many missed periods the oldest stay as they are.
    pub(in crate::decide) fn forget_old(&mut self) {
        for first in std::mem::take(&mut self.missed_more) {
            self.forget_old_of(first);
        }
    }

    fn forget_old_of(&mut self, first: SlaKey) {
        let (flow_name, promise_key, kind) = first.clone();
        let open = self
            .s
            .slas
            .range(first..)
            .take_while(|((flow, promise, period), _)| {
                *flow == flow_name && *promise == promise_key && period.starts_with(&*kind)
            });
        // What a silence keeps is told at its end, and a run that goes on may still come to its own.
        let is_over = |it: &&Arc<SlaRow>| {
            let run = it.run.and_then(|it| self.s.runs.get(&it));
            let is_alive = run.is_some_and(|it| !it.row.state.is_terminal());
            it.missed_at.is_some() && it.silenced_until.is_none() && !is_alive
        };
        let missed = open.map(|(_, row)| row).filter(is_over);
        let mut missed: Vec<Arc<SlaRow>> = missed.cloned().collect();
        missed.sort_by_key(|it| it.due_at);
        let old = missed.len().saturating_sub(MISSED_OPEN_MAX);
        for row in missed.into_iter().take(old) {
            self.put_sla(SlaRow {
                open: false,
                ..SlaRow::clone(&row)
            });
        }
    }

    /// A day is over, or its promise is kept, for the first time: the next one follows.
    fn next_day(&mut self, row: &SlaRow) {
        let Some(day) = period::day_in(&row.period) else {
            return;
        };
        let Some(flow) = self.promising(&row.flow) else {
            return;
        };
        let Some(promise) = flow.promise(&row.promise).filter(|it| it.is_daily()) else {
            return;
        };
        if flow.schedules().next().is_some() {
            return;
        }
        if let Some(next) = day.succ_opt()
            && let Some(due_at) = promise.due_on(next)
        {
            self.open_sla(&row.flow, promise, period::day(next), due_at, None);
        }
    }

    // What happens to occurrences and flows.

    /// An occurrence was planned, decided or dropped. `known`: it was expected before.
    pub(in crate::decide) fn sla_of_occurrence(&mut self, row: &OccurrenceRow, known: bool) {
        if !row.key.starts_with("cron:") {
            return;
        }
        let Some(flow) = self.promising(&row.flow) else {
            return;
        };
        let period = period::slot(row.interval.end);
        let void = is_void(row);
        for promise in flow.promises().iter().filter(|it| it.is_clock()) {
            let open = self.open_row(&row.flow, &promise.key, &period);
            match (open, void) {
                (Some(open), Some(reason)) => self.withdraw(&open, reason.clone()),
                (Some(open), None) if open.run.is_none() && row.run.is_some() => {
                    self.put_sla(SlaRow {
                        run: row.run,
                        ..SlaRow::clone(&open)
                    });
                }
                (None, None) if !known => self.promise_slot(&flow, promise, row),
                (None, Some(reason @ (Reason::Coalesced { .. } | Reason::FlowRemoved)))
                    if !known =>
                {
                    // It came due while nobody looked: its promise was broken before another stood for it, or before
                    // the flow went.
                    self.promise_slot(&flow, promise, row);
                    if let Some(open) = self.open_row(&row.flow, &promise.key, &period) {
                        self.withdraw(&open, reason.clone());
                    }
                }
                _ => {}
            }
        }
    }

    fn promise_slot(&mut self, flow: &Flow, promise: &Promise, row: &OccurrenceRow) {
        let Some(it) = state::timetable_of(flow, &row.key) else {
            return;
        };
        let slot = crate::decide::occurrences::slot_of(row);
        if let Some(due_at) = due_of(flow, promise, it.schedule, it.end, slot) {
            let period = period::slot(row.interval.end);
            self.open_sla(&row.flow, promise, period, due_at, row.run);
        }
    }

    /// Occurrences that an outage left without rows: one row of each promise stands for all of them.
    pub(in crate::decide) fn sla_of_unseen(&mut self, flow: &Flow, unseen: Unseen) {
        let name = flow.name();
        for (key, (slot, due_at, count)) in unseen.0 {
            let (period, promise) = (period::slot(slot.at), flow.promise(&key));
            let Some(promise) = promise else {
                continue;
            };
            self.open_sla(name, promise, period.clone(), due_at, None);
            if let Some(row) = self.open_row(name, &key, &period) {
                self.put_sla(SlaRow {
                    more: count - 1,
                    ..SlaRow::clone(&row)
                });
            }
        }
    }

    /// A flow has come, changed or gone: what it no longer promises is withdrawn, what it promises now begins. Rows of
    /// promises that are still there keep their moment.
    pub(in crate::decide) fn sla_of_flow(&mut self, name: &FlowName, is_new: bool) {
        let removed = self.s.flows.get(name).is_some_and(|it| it.row.removed);
        let flow = self.promising(name);
        for row in self.s.slas_of_flow(name) {
            let promise = |it: &Arc<Flow>| it.promise(&row.promise).cloned().zip(Some(it.clone()));
            let kept = flow.as_ref().and_then(promise);
            if kept.is_none_or(|(promise, flow)| !is_of(&row, &promise, &flow)) {
                let reason = match removed {
                    true => Reason::FlowRemoved,
                    false => Reason::PromiseRemoved,
                };
                self.withdraw(&row, reason);
            }
        }
        let Some(flow) = flow else {
            return;
        };
        let has_schedule = flow.schedules().next().is_some();
        for promise in flow.promises() {
            match promise.kind {
                SlaKind::FreshWithin(span)
                    if self.s.slas_of_promise(name, &promise.key).is_empty() =>
                {
                    let (period, due_at) = (period::since(self.now), self.now + span);
                    self.open_sla(name, promise, period, due_at, None);
                }
                _ if promise.is_daily() && !has_schedule => self.begin_days(name, promise, is_new),
                _ if promise.is_clock() => {
                    for row in self.s.expected_of(name, "cron:") {
                        let period = period::slot(row.interval.end);
                        if row.due_at > self.now
                            && self.open_row(name, &promise.key, &period).is_none()
                        {
                            self.promise_slot(&flow, promise, &row);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The first day of a promise that is made every day, unless one is open that is still to come. Of a flow that was
    /// there before it is tomorrow: nobody knows any more whether it has run today.
    fn begin_days(&mut self, name: &FlowName, promise: &Promise, is_new: bool) {
        let rows = self.s.slas_of_promise(name, &promise.key);
        if rows.iter().any(|it| it.missed_at.is_none()) {
            return;
        }
        let first = match is_new {
            true => promise.next_day(self.now),
            false => promise.tomorrow(self.now),
        };
        if let Some(day) = first
            && let Some(due_at) = promise.due_on(day)
        {
            self.open_sla(name, promise, period::day(day), due_at, None);
        }
    }
}

/// Whether a row may be one of this promise as the flow makes it now. What was missed stays what it was.
fn is_of(row: &SlaRow, promise: &Promise, flow: &Flow) -> bool {
    let has_schedule = flow.schedules().next().is_some();
    row.missed_at.is_some()
        || match row.period.split(':').next() {
            Some("day") => promise.is_daily() && !has_schedule,
            Some("slot") => promise.is_clock() && has_schedule,
            Some("since") => matches!(promise.kind, SlaKind::FreshWithin(_)),
            _ => !promise.is_daily() && !matches!(promise.kind, SlaKind::FreshWithin(_)),
        }
}

/// Why an occurrence's promises do not count: nobody expects anything of it.
fn is_void(row: &OccurrenceRow) -> Option<&Reason> {
    let reason = row.reason.as_ref()?;
    match (row.state, reason) {
        (OccurrenceState::Coalesced, _) => Some(reason),
        (
            OccurrenceState::Skipped,
            Reason::Calendar { .. }
            | Reason::Blackout { .. }
            | Reason::FlowRemoved
            | Reason::ScheduleChanged,
        ) => Some(reason),
        _ => None,
    }
}
