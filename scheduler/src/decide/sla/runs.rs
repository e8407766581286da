//! Rows of promises as runs, tasks and foreach blocks go on.

use crate::decide::Draft;
use crate::flow::Flow;
use crate::reason::Reason;
use crate::row::{RunRow, RunState, ScopeRow, ScopeState, SlaRow, TaskRow, TaskState};
use crate::sla::{Promise, SlaKind, period};
use crate::state::{Place, TaskKey};
use crate::time::{Span, Timestamp};
use std::sync::Arc;

impl Draft {
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
        for row in self.s.slas_of_promise(&run.flow, &promise.key) {
            // What ended earlier than the last one was told late.
            if period::since_in(&row.period).is_some_and(|it| it >= at) {
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
    pub(in crate::decide) fn sla_of_run(&mut self, before: Option<&RunRow>, row: &RunRow) {
        let same = |it: &RunRow| it.state == row.state && it.generation == row.generation;
        // A backfill makes good what is long over: it neither promises nor keeps anything.
        if before.is_some_and(same) || row.backfill.is_some() {
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
        let has_moment = row.origin.is_none();
        let of_slot = row.occurrence.starts_with("cron:");
        match (&promise.kind, promise.after()) {
            (SlaKind::MaxQueueWait(span), _) if promise.step.is_none() => {
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
        let succeeded = row.state == RunState::Succeeded;
        if promise.is_clock() && !succeeded {
            for it in self.rows_of_run(promise, row) {
                if it.missed_at.is_some() {
                    self.missed_more(&it);
                }
            }
        }
        if promise.step.is_some() {
            return;
        }
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.withdraw_life(promise, row),
            SlaKind::MaxDuration(_) => self.meet_life(promise, row, at),
            SlaKind::FinishBy(_) if succeeded => self.meet_all(promise, row, at),
            SlaKind::FreshWithin(span) if succeeded => self.refresh(promise, row, at, *span),
            SlaKind::StartBy(_) | SlaKind::FinishBy(_) | SlaKind::FreshWithin(_) => {}
        }
    }

    /// A task was made, or has changed.
    pub(in crate::decide) fn sla_of_task(
        &mut self,
        key: TaskKey,
        before: Option<&TaskRow>,
        row: &TaskRow,
    ) {
        let Some(run) = self.s.runs.get(&key.run) else {
            return;
        };
        let same = before.is_some_and(|it| it.state == row.state);
        if !run.flow.has_step_promises() || same || run.row.backfill.is_some() {
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
            {
                let (period, due_at) = (period::life(run), row.ready_at + span);
                self.open_sla(&run.flow, promise, period, due_at, Some(run.id));
            }
            return;
        }
        let over = row.state.is_terminal();
        // Of a step in a foreach the end of all its items counts.
        let alone = promise.fan.is_none();
        let ran = before.is_some_and(|it| it.state.is_live() || it.state == TaskState::Ready);
        let unseen = before.is_none_or(|it| it.state != TaskState::Running);
        if is_first
            && ran
            && unseen
            && (row.state == TaskState::Running || over || row.state == TaskState::BackingOff)
            && let Some(at) = row.started_at
        {
            self.sla_of_step_start(promise, run, at);
        }
        if !over || !alone {
            return;
        }
        let at = row.finished_at.unwrap_or(self.now);
        let goes_on = crate::decide::goes_on(graph, key, row);
        let done = row.state == TaskState::Succeeded && !goes_on;
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.withdraw_life(promise, run),
            SlaKind::MaxDuration(_) if !goes_on => self.meet_life(promise, run, at),
            SlaKind::FinishBy(_) if done => self.meet_all(promise, run, at),
            SlaKind::FreshWithin(span) if done => self.refresh(promise, run, at, *span),
            SlaKind::StartBy(_) | SlaKind::FinishBy(_) if row.state == TaskState::Skipped => {
                self.not_taken(promise, run, row.reason.as_ref());
            }
            _ => {}
        }
    }

    /// A branch that was not taken promised nothing; one that a failure stopped did.
    fn not_taken(&mut self, promise: &Promise, run: &RunRow, reason: Option<&Reason>) {
        if let Some(reason) = reason
            && !matches!(reason, Reason::UpstreamFailed { .. })
        {
            for it in self.rows_of_run(promise, run) {
                self.withdraw(&it, reason.clone());
            }
        }
    }

    /// A foreach is over: so is the step that it repeats.
    pub(in crate::decide) fn sla_of_scope(&mut self, place: Place, row: &ScopeRow) {
        let over = matches!(
            row.state,
            ScopeState::Closed | ScopeState::Skipped | ScopeState::Failed
        );
        let Some(run) = self.s.runs.get(&place.run).filter(|_| over) else {
            return;
        };
        if !run.flow.has_step_promises() || run.row.backfill.is_some() {
            return;
        }
        let (graph, run) = (run.flow.clone(), run.row.clone());
        let Some(flow) = self.promising(&run.flow) else {
            return;
        };
        for promise in flow.promises() {
            if promise.fan.as_ref() == Some(&row.scope) {
                self.sla_of_fan(promise, &graph, &run, row);
            }
        }
    }

    fn sla_of_fan(&mut self, promise: &Promise, graph: &Flow, run: &RunRow, row: &ScopeRow) {
        let node = promise
            .step
            .as_ref()
            .and_then(|it| graph.step_node(it.as_str()));
        let tasks = node.map(|node| self.s.tasks_of_node(run.id, node));
        let ends = tasks.into_iter().flatten().filter_map(|it| it.finished_at);
        // After a resume that left it alone this is an end of long ago.
        let at = ends.max().unwrap_or(self.now);
        let done = row.state == ScopeState::Closed && row.reason.is_none();
        match &promise.kind {
            SlaKind::MaxDuration(_) => self.meet_life(promise, run, at),
            SlaKind::FinishBy(_) if done => self.meet_all(promise, run, at),
            SlaKind::FreshWithin(span) if done => self.refresh(promise, run, at, *span),
            // There was nothing to start.
            SlaKind::StartBy(_) if done => self.meet_all(promise, run, at),
            SlaKind::StartBy(_) | SlaKind::FinishBy(_) => {
                self.not_taken(promise, run, row.reason.as_ref());
            }
            SlaKind::FreshWithin(_) | SlaKind::MaxQueueWait(_) => {}
        }
    }

    fn sla_of_step_start(&mut self, promise: &Promise, run: &RunRow, at: Timestamp) {
        match &promise.kind {
            SlaKind::MaxQueueWait(_) => self.meet_life(promise, run, at),
            SlaKind::StartBy(_) => self.meet_all(promise, run, at),
            SlaKind::MaxDuration(span) => {
                let (period, due_at) = (period::life(run), at + *span);
                self.open_sla(&run.flow, promise, period, due_at, Some(run.id));
            }
            _ => {}
        }
    }
}
