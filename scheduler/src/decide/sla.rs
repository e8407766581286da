//! Promises about time: their rows are made from occurrences, days, runs and successes; they are met, or their moment
//! passes.
//!
//! A row is made when its period begins to matter: with the occurrence that is expected, not with the run that may never
//! come. So a breach needs nobody: its timer follows from the row.

use super::Draft;
use super::alerts::About;
use crate::alert::AlertKind;
use crate::flow::Flow;
use crate::id::{FlowName, RunId};
use crate::input::{Answer, Rejected};
use crate::reason::Reason;
use crate::row::{
    OccurrenceRow, OccurrenceState, RunRow, RunState, SilenceRow, SlaRow, SlaState, TaskRow,
    TaskState,
};
use crate::sla::{
    Acknowledged, NewPrediction, Prediction, Promise, SlaKey, SlaKind, period, sentence,
};
use crate::spec::BlackoutAction;
use crate::state::{self, TaskKey};
use crate::time::{Span, Timestamp};
use serde_json::json;
use std::sync::Arc;

/// Missed rows of one promise that may still be met late; older ones stay missed.
const MISSED_OPEN_MAX: usize = 32;

const TEXT_BYTES_MAX: usize = 4_096;

impl Draft {
    /// The flow as it promises now.
    fn promising(&self, flow: &FlowName) -> Option<Arc<Flow>> {
        let state = self.s.flows.get(flow)?;
        let flow = state.flow.as_ref()?;
        (!state.row.removed && !flow.promises().is_empty()).then(|| flow.clone())
    }

    fn open_row(&self, flow: &FlowName, promise: &Arc<str>, period: &str) -> Option<Arc<SlaRow>> {
        let key = (flow.clone(), promise.clone(), Arc::from(period));
        self.s.slas.get(&key).cloned()
    }

    /// A period of a promise begins to matter.
    fn open_sla(
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
            created_at: self.now,
            updated_at: self.now,
        });
    }

    /// What was promised has come true at an instant.
    fn meet(&mut self, row: &SlaRow, at: Timestamp, run: Option<RunId>) {
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
        if row.told.is_some() && self.silence_of(&row).is_none() {
            self.tell_sla(&row, AlertKind::SlaMet);
        }
        self.put_sla(row.clone());
        if first {
            self.next_day(&row);
        }
    }

    /// Its moment has passed.
    fn miss(&mut self, row: &mut SlaRow) {
        row.state = SlaState::Missed;
        row.missed_at = Some(row.due_at);
        self.tell_or_silence(row);
    }

    /// Nothing asks for it any more. A breach before that stays one.
    fn withdraw(&mut self, row: &SlaRow, reason: Reason) {
        let mut row = row.clone();
        let first = row.missed_at.is_none();
        if row.due_at < self.now && first {
            self.miss(&mut row);
        }
        row.open = false;
        row.withdrawn = Some(reason);
        self.put_sla(row.clone());
        if first {
            self.next_day(&row);
        }
    }

    /// A promise that is still open has come due.
    pub(super) fn sla_due(&mut self, key: &SlaKey) {
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
        self.forget_old(&row);
    }

    /// Of very many missed periods the oldest stay as they are.
    fn forget_old(&mut self, row: &SlaRow) {
        // The promise of a run that is still there ends with it.
        if row.run.is_some_and(|it| self.s.runs.contains_key(&it)) {
            return;
        }
        let kind = &row.period[..=row.period.find(':').unwrap_or(0)];
        let first = (row.flow.clone(), row.promise.clone(), Arc::from(kind));
        let open = self
            .s
            .slas
            .range(first..)
            .take_while(|((flow, promise, period), _)| {
                *flow == row.flow && *promise == row.promise && period.starts_with(kind)
            });
        let missed = open.map(|(_, row)| row).filter(|it| it.missed_at.is_some());
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

    // What happens to occurrences, runs and tasks.

    /// An occurrence was planned, decided or dropped. `known`: it was expected before.
    pub(super) fn sla_of_occurrence(&mut self, row: &OccurrenceRow, known: bool) {
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
                (None, Some(reason @ Reason::Coalesced { .. })) if !known => {
                    // It came due while nobody looked: its promise was broken before another stood for it.
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
        let Some((_, schedule)) = state::schedule(flow, &row.trigger) else {
            return;
        };
        let is_off = schedule.closed_day(row.due_at).is_some()
            || flow
                .blackout_at(row.due_at)
                .is_some_and(|(_, action, _)| action == BlackoutAction::Skip);
        let slot = super::occurrences::slot_of(row);
        if let Some(due_at) = promise.due_of(schedule, slot).filter(|_| !is_off) {
            let period = period::slot(row.interval.end);
            self.open_sla(&row.flow, promise, period, due_at, row.run);
        }
    }

    /// Open rows that a run's progress is about.
    fn rows_of_run(&self, promise: &Promise, run: &RunRow) -> Vec<Arc<SlaRow>> {
        let mut periods = vec![period::run(run.id)];
        periods.extend(run.origin.map(period::run));
        if run.interval.start < run.interval.end || run.occurrence.starts_with("cron:") {
            periods.push(period::slot(run.interval.end));
        }
        if promise.is_daily() {
            let day = promise.day_of(run.interval, run.created_at);
            periods.extend(day.map(period::day));
        }
        let rows = periods.iter();
        rows.filter_map(|it| self.open_row(&run.flow, &promise.key, it))
            .collect()
    }

    fn meet_all(&mut self, promise: &Promise, run: &RunRow, at: Timestamp) {
        for row in self.rows_of_run(promise, run) {
            self.meet(&row, at, Some(run.id));
        }
    }

    /// Ends the row of one life of a run.
    fn meet_life(&mut self, promise: &Promise, run: &RunRow, at: Timestamp) {
        if let Some(row) = self.open_row(&run.flow, &promise.key, &period::life(run)) {
            self.meet(&row, at, Some(run.id));
        }
    }

    fn withdraw_life(&mut self, promise: &Promise, run: &RunRow) {
        if let Some(row) = self.open_row(&run.flow, &promise.key, &period::life(run)) {
            let reason = Reason::NeverStarted { run: run.id };
            self.withdraw(&row, reason);
        }
    }

    /// The last success is this one.
    fn refresh(&mut self, promise: &Promise, run: &RunRow, at: Timestamp, span: Span) {
        if run.backfill.is_some() {
            return;
        }
        for row in self.s.slas_of_promise(&run.flow, &promise.key) {
            // What ended earlier than the last one was told late.
            if period::since(at) == *row.period {
                return;
            }
            self.meet(&row, at, Some(run.id));
        }
        self.open_sla(
            &run.flow,
            promise,
            period::since(at),
            at + span,
            Some(run.id),
        );
    }

    /// A run was made, or has changed.
    pub(super) fn sla_of_run(&mut self, before: Option<&RunRow>, row: &RunRow) {
        if before.is_some_and(|it| it.state == row.state && it.generation == row.generation) {
            return;
        }
        let Some(flow) = self.promising(&row.flow) else {
            return;
        };
        for promise in flow.promises() {
            match row.state {
                RunState::Queued => self.sla_of_queued(promise, row),
                RunState::Running if promise.step.is_none() => self.sla_of_started(promise, row),
                RunState::Running | RunState::Cancelling => {}
                _ => self.sla_of_ended(promise, row),
            }
        }
    }

    fn sla_of_queued(&mut self, promise: &Promise, row: &RunRow) {
        let (flow, run) = (&row.flow, Some(row.id));
        // Runs of a backfill wait for their lane by order.
        let has_moment = row.backfill.is_none() && row.origin.is_none();
        let of_slot = row.occurrence.starts_with("cron:");
        match (&promise.kind, promise.after()) {
            (SlaKind::MaxQueueWait(span), _)
                if promise.step.is_none() && row.backfill.is_none() =>
            {
                let due_at = row.queued_at + *span;
                self.open_sla(flow, promise, period::life(row), due_at, run);
            }
            (_, Some(span)) if has_moment && !of_slot && row.generation == 1 => {
                let due_at = row.created_at + span;
                self.open_sla(flow, promise, period::run(row.id), due_at, run);
            }
            _ => {}
        }
    }

    fn sla_of_started(&mut self, promise: &Promise, row: &RunRow) {
        let at = row.started_at.unwrap_or(self.now);
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.meet_life(promise, row, self.now),
            SlaKind::StartBy(_) => self.meet_all(promise, row, at),
            SlaKind::MaxDuration(span) => {
                let (period, due_at) = (period::life(row), self.now + *span);
                self.open_sla(&row.flow, promise, period, due_at, Some(row.id));
            }
            SlaKind::FinishBy(_) | SlaKind::FreshWithin(_) => {}
        }
    }

    fn sla_of_ended(&mut self, promise: &Promise, row: &RunRow) {
        let at = row.finished_at.unwrap_or(self.now);
        let replaced = matches!(row.reason, Some(Reason::ReplacedBy { .. }));
        if promise.is_clock() && replaced {
            let open = self.open_row(&row.flow, &promise.key, &period::run(row.id));
            if let (Some(open), Some(reason)) = (open, &row.reason) {
                self.withdraw(&open, reason.clone());
            }
        }
        if promise.step.is_some() {
            return;
        }
        let succeeded = row.state == RunState::Succeeded;
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.withdraw_life(promise, row),
            SlaKind::MaxDuration(_) => self.meet_life(promise, row, at),
            SlaKind::FinishBy(_) if succeeded => self.meet_all(promise, row, at),
            SlaKind::FreshWithin(span) if succeeded => self.refresh(promise, row, at, *span),
            SlaKind::StartBy(_) | SlaKind::FinishBy(_) | SlaKind::FreshWithin(_) => {}
        }
    }

    /// A task was made, or has changed.
    pub(super) fn sla_of_task(&mut self, key: TaskKey, before: Option<&TaskRow>, row: &TaskRow) {
        let Some(run) = self.s.runs.get(&key.run) else {
            return;
        };
        if !run.flow.has_step_promises() || before.is_some_and(|it| it.state == row.state) {
            return;
        }
        let (graph, run) = (run.flow.clone(), run.row.clone());
        let Some(flow) = self.promising(&run.flow) else {
            return;
        };
        let step = &row.task.step;
        for promise in flow.promises() {
            if promise.step.as_ref() == Some(step) {
                self.sla_of_step(promise, &graph, &run, key, before, row);
            }
        }
    }

    fn sla_of_step(
        &mut self,
        promise: &Promise,
        graph: &Flow,
        run: &RunRow,
        key: TaskKey,
        before: Option<&TaskRow>,
        row: &TaskRow,
    ) {
        let is_first = row.task.iteration == 0;
        if row.state == TaskState::Ready {
            // Retries wait for their backoff, which is their own.
            if let SlaKind::MaxQueueWait(span) = promise.kind
                && is_first
                && row.attempt == row.attempts_before
                && run.backfill.is_none()
            {
                let (period, due_at) = (period::life(run), row.ready_at + span);
                self.open_sla(&run.flow, promise, period, due_at, Some(run.id));
            }
            return;
        }
        let over = row.state.is_terminal();
        let ran = before.is_some_and(|it| it.state.is_live() || it.state == TaskState::Ready);
        let unseen = before.is_none_or(|it| it.state != TaskState::Running);
        if is_first
            && ran
            && unseen
            && (row.state == TaskState::Running || over || row.state == TaskState::BackingOff)
            && let Some(at) = row.started_at
        {
            self.sla_of_step_start(promise, run, row, at);
        }
        if !over {
            return;
        }
        let at = row.finished_at.unwrap_or(self.now);
        let goes_on = super::goes_on(graph, key, row);
        let done = row.state == TaskState::Succeeded && !goes_on;
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.withdraw_life(promise, run),
            SlaKind::MaxDuration(_) if !goes_on => self.meet_life(promise, run, at),
            SlaKind::FinishBy(_) if done => self.meet_all(promise, run, at),
            SlaKind::FreshWithin(span) if done => self.refresh(promise, run, at, *span),
            SlaKind::StartBy(_) | SlaKind::FinishBy(_) if row.state == TaskState::Skipped => {
                // A branch that was not taken promised nothing; one that a failure stopped did.
                if let Some(reason) = &row.reason
                    && !matches!(reason, Reason::UpstreamFailed { .. })
                {
                    for it in self.rows_of_run(promise, run) {
                        self.withdraw(&it, reason.clone());
                    }
                }
            }
            _ => {}
        }
    }

    fn sla_of_step_start(&mut self, promise: &Promise, run: &RunRow, row: &TaskRow, at: Timestamp) {
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.meet_life(promise, run, at),
            SlaKind::StartBy(_) => self.meet_all(promise, run, at),
            SlaKind::MaxDuration(span) if row.attempt == row.attempts_before + 1 => {
                let (period, due_at) = (period::life(run), at + *span);
                self.open_sla(&run.flow, promise, period, due_at, Some(run.id));
            }
            _ => {}
        }
    }

    /// A flow has come, changed or gone: what it no longer promises is withdrawn, what it promises now begins. Rows of
    /// promises that are still there keep their moment.
    pub(super) fn sla_of_flow(&mut self, name: &FlowName) {
        let removed = self.s.flows.get(name).is_some_and(|it| it.row.removed);
        let flow = self.promising(name);
        for row in self.s.slas_of_flow(name) {
            let kept = flow.as_ref().and_then(|it| it.promise(&row.promise));
            if kept.is_none() {
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
                _ if promise.is_daily() && !has_schedule => self.begin_days(name, promise),
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

    /// The first day of a promise that is made every day, unless one is open that is still to come.
    fn begin_days(&mut self, name: &FlowName, promise: &Promise) {
        let rows = self.s.slas_of_promise(name, &promise.key);
        if rows.iter().any(|it| it.missed_at.is_none()) {
            return;
        }
        if let Some(day) = promise.next_day(self.now)
            && let Some(due_at) = promise.due_on(day)
        {
            self.open_sla(name, promise, period::day(day), due_at, None);
        }
    }

    // What people and predictors say.

    /// The predictor has looked at a row that is open.
    pub(super) fn predict(&mut self, it: NewPrediction) -> Answer {
        if !self.s.is_news(&it) {
            return Answer::Done;
        }
        let key = (it.flow, it.promise, it.period);
        let Some(row) = self.s.slas.get(&key).cloned() else {
            return Answer::Done;
        };
        let state = self.s.state_by(&row, it.chance_permille);
        let (at_risk, chance_permille) = (state == SlaState::AtRisk, it.chance_permille.min(1_000));
        let mut row = SlaRow::clone(&row);
        row.prediction = Some(Box::new(Prediction {
            at: self.now,
            chance_permille,
            finish_p50: it.finish_p50,
            finish_p90: it.finish_p90,
            culprit: it.culprit,
        }));
        row.state = state;
        row.at_risk_since = at_risk.then(|| row.at_risk_since.unwrap_or(self.now));
        if at_risk {
            self.tell_or_silence(&mut row);
        }
        self.put_sla(row);
        Answer::Done
    }

    /// Somebody has seen that a promise is at risk or missed.
    pub(super) fn acknowledge(
        &mut self,
        key: &SlaKey,
        by: String,
        note: Option<String>,
    ) -> Result<Answer, Rejected> {
        check_text(note.as_ref())?;
        let row = self.s.slas.get(key).cloned();
        let Some(row) = row else {
            let (flow, promise, period) = key;
            let name = format!("{flow} {promise} {period}");
            return Err(Rejected::UnknownSla(name));
        };
        let at = self.now;
        self.put_sla(SlaRow {
            acknowledged: Some(Acknowledged { by, at, note }),
            ..SlaRow::clone(&row)
        });
        Ok(Answer::Done)
    }

    pub(super) fn silence(&mut self, row: SilenceRow) -> Result<Answer, Rejected> {
        check_text(row.note.as_ref())?;
        if row.until <= row.from.max(self.now) {
            let (from, until) = (row.from, row.until);
            return Err(Rejected::EmptySilence { from, until });
        }
        if let Some(flow) = &row.flow {
            self.known(flow)?;
        }
        self.s.last_silence += 1;
        let id = self.s.last_silence;
        self.put_silence(SilenceRow {
            id,
            created_at: self.now,
            ended_at: None,
            ..row
        });
        Ok(Answer::Silence { silence: id })
    }

    /// A silence is over, by itself or because somebody wants it to be. What it kept is told, if it is still so.
    pub(super) fn end_silence(&mut self, id: u64) -> Result<Answer, Rejected> {
        let row = self.s.silences.get(&id).cloned();
        let row = row.ok_or(Rejected::UnknownSilence(id))?;
        self.put_silence(SilenceRow {
            ended_at: Some(self.now),
            ..SilenceRow::clone(&row)
        });
        let kept: Vec<Arc<SlaRow>> = match &row.flow {
            Some(flow) => self.s.slas_of_flow(flow),
            None => self.s.slas.values().cloned().collect(),
        };
        for it in kept {
            if it.silenced_until.is_some() {
                let mut it = SlaRow::clone(&it);
                self.tell_or_silence(&mut it);
                self.put_sla(it);
            }
        }
        Ok(Answer::Done)
    }

    /// Until when nobody is told of a row.
    fn silence_of(&self, row: &SlaRow) -> Option<Timestamp> {
        let silences = self.s.silences.values();
        let about = |it: &&Arc<SilenceRow>| {
            it.from <= self.now
                && self.now < it.until
                && it.flow.as_ref().is_none_or(|flow| *flow == row.flow)
                && it
                    .promise
                    .as_ref()
                    .is_none_or(|promise| **promise == *row.promise)
        };
        silences.filter(about).map(|it| it.until).max()
    }

    /// Tells of the state that a row has now, once for each row and state.
    fn tell_or_silence(&mut self, row: &mut SlaRow) {
        let kind = match row.state {
            SlaState::AtRisk => AlertKind::SlaAtRisk,
            SlaState::Missed => AlertKind::SlaMissed,
            SlaState::OnTime | SlaState::Met | SlaState::MetLate => {
                row.silenced_until = None;
                return;
            }
        };
        if row.told >= Some(row.state) {
            return;
        }
        row.silenced_until = self.silence_of(row);
        if row.silenced_until.is_none() {
            row.told = Some(row.state);
            self.tell_sla(row, kind);
        }
    }

    fn tell_sla(&mut self, row: &SlaRow, kind: AlertKind) {
        if !self.wants(kind, Some(&row.flow)) {
            return;
        }
        let flow = self.s.flows.get(&row.flow).and_then(|it| it.flow.clone());
        let promise = flow.as_ref().and_then(|it| it.promise(&row.promise));
        let what = promise.map_or_else(|| row.promise.to_string(), Promise::text);
        let culprit = row.prediction.as_ref().and_then(|it| it.culprit.as_ref());
        let told = culprit.map(|it| it.text(&row.flow));
        let because = told
            .as_ref()
            .map(|it| format!(": {it}"))
            .unwrap_or_default();
        let run = row.run.map(|it| format!(" (run {it})")).unwrap_or_default();
        let name = &row.flow;
        let summary = match kind {
            AlertKind::SlaAtRisk => {
                let due = promise.map_or_else(|| what.clone(), Promise::due_text);
                let who = match &row.step {
                    Some(step) => format!("{name} (step {step})"),
                    None => name.to_string(),
                };
                let (late, chance) = row.prediction.as_ref().map_or((Span::ZERO, 1_000), |it| {
                    (it.finish_p50 - row.due_at, it.chance_permille)
                });
                sentence(&who, &due, late, chance.max(100), told.as_deref()) + &run
            }
            AlertKind::SlaMet => {
                let late = row.met_at.map_or(Span::ZERO, |it| it - row.due_at);
                match late > Span::ZERO {
                    true => format!("{name} has kept \"{what}\", {late} late{run}"),
                    false => format!("{name} has kept \"{what}\" in time after all{run}"),
                }
            }
            _ => format!(
                "{name} has missed \"{what}\", due at {}{because}{run}",
                row.due_at
            ),
        };
        let text = |at: Option<Timestamp>| at.map(|it| it.to_string());
        self.alert(About {
            kind,
            flow: &row.flow,
            run: row.run,
            step: row.step.clone(),
            key: format!("sla:{}:{}:{}", row.flow, row.promise, row.period),
            summary,
            data: json!({
                "promise": row.promise,
                "promised": what,
                "period": row.period,
                "state": row.state,
                "due_at": row.due_at.to_string(),
                "at_risk_since": text(row.at_risk_since),
                "missed_at": text(row.missed_at),
                "met_at": text(row.met_at),
                "chance": row.prediction.as_ref().map(|it| f64::from(it.chance_permille) / 1000.0),
                "finish_p50": text(row.prediction.as_ref().map(|it| it.finish_p50)),
                "finish_p90": text(row.prediction.as_ref().map(|it| it.finish_p90)),
                "culprit": culprit,
            }),
        });
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

fn check_text(note: Option<&String>) -> Result<(), Rejected> {
    match note {
        Some(note) if note.len() > TEXT_BYTES_MAX => {
            Err(Rejected::TooLarge("the note", TEXT_BYTES_MAX))
        }
        _ => Ok(()),
    }
}
