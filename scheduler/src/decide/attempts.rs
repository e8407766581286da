//! Attempts: what executors report, and what follows: success, retry or failure.

use super::Draft;
use crate::hash;
use crate::id::AttemptId;
use crate::input::{Answer, Command, Outcome, Rejected, Report, Success};
use crate::reason::Reason;
use crate::row::{AttemptRow, AttemptState, RunState, TaskRow, TaskState};
use crate::spec::{Backoff, OnFailure, Route};
use crate::state::TaskKey;
use crate::time::{Span, Timestamp};
use std::sync::Arc;

/// The wait before a lost attempt is repeated on our own account: 1 s doubling to 300 s.
const LOST_BACKOFF: Backoff = Backoff {
    initial: Span::from_secs(1),
    max: Span::from_secs(300),
    multiplier_percent: 200,
    jitter_percent: 10,
};

impl Draft {
    /// Takes a report of the live attempt; of any other it is stale.
    pub(super) fn report(
        &mut self,
        attempt: &AttemptId,
        report: Report,
    ) -> Result<Answer, Rejected> {
        let stale = || Rejected::Stale(attempt.clone());
        let key = self
            .s
            .task_key(attempt.run, &attempt.task)
            .ok_or_else(stale)?;
        let task = self.s.tasks.get(&key).ok_or_else(stale)?.clone();
        // What a flow runs under is known here; nobody reports it.
        let own = super::sub_flow(self.run(key.run).flow.step_of(key.node)).is_some();
        if task.attempt != attempt.number || !task.state.is_live() || own {
            return Err(stale());
        }
        match report {
            Report::Started { external_id, at } => match task.state {
                TaskState::Submitting => {
                    let timeout = self.flow_of(key.run).step_of(key.node).timeout;
                    self.change_task(key, TaskState::Running, |row| {
                        row.external_id = Some(external_id);
                        row.started_at = Some(at);
                        row.deadline = timeout.map(|it| at + it);
                    });
                }
                TaskState::Stopping if task.started_at.is_none() => {
                    let row = TaskRow {
                        external_id: Some(external_id),
                        started_at: Some(at),
                        ..TaskRow::clone(&task)
                    };
                    self.put_task(key, row);
                }
                _ => return Err(stale()),
            },
            Report::Unknown => self.commands.push(match task.state {
                TaskState::Stopping => Command::Stop(attempt.clone()),
                TaskState::Running => Command::Watch(attempt.clone()),
                _ => Command::Submit(attempt.clone()),
            }),
            // Nothing is submitted anywhere yet.
            Report::News(_) => {}
            Report::Ended {
                outcome,
                started_at,
                at,
            } => {
                self.attempt_ended(key, &task, &outcome, started_at.or(task.started_at), at);
                self.commands.push(Command::Forget(attempt.clone()));
            }
        }
        Ok(Answer::Done)
    }

    pub(super) fn attempt_ended(
        &mut self,
        key: TaskKey,
        task: &TaskRow,
        outcome: &Outcome,
        started_at: Option<Timestamp>,
        at: Timestamp,
    ) {
        let timed_out = match &task.reason {
            Some(reason @ Reason::AttemptTimeout { .. }) if task.state == TaskState::Stopping => {
                Some(reason.clone())
            }
            _ => None,
        };
        let (outcome, state, reason) = match outcome {
            Outcome::Succeeded(success) => match self.missing_choice(key, success) {
                None => (Ended::Success(success), AttemptState::Succeeded, None),
                Some(reason) => (Ended::Failure, AttemptState::Failed, Some(reason)),
            },
            Outcome::Stopped if timed_out.is_some() => {
                (Ended::Failure, AttemptState::TimedOut, timed_out)
            }
            Outcome::Stopped if task.state == TaskState::Stopping => (
                Ended::Cancelled,
                AttemptState::Cancelled,
                task.reason.clone(),
            ),
            Outcome::Stopped => {
                let message = "it was stopped, and not by this daemon".to_owned();
                (
                    Ended::Failure,
                    AttemptState::Lost,
                    Some(Reason::Lost { message }),
                )
            }
            Outcome::Failed(reason) => match timed_out {
                Some(timeout) => (Ended::Failure, AttemptState::TimedOut, Some(timeout)),
                None => (Ended::Failure, AttemptState::Failed, Some(reason.clone())),
            },
            Outcome::Lost(message) => {
                let message = message.clone();
                (
                    Ended::Failure,
                    AttemptState::Lost,
                    Some(Reason::Lost { message }),
                )
            }
        };
        self.changes.attempts.push(AttemptRow {
            id: self.attempt_id(key, task.attempt),
            state,
            reason: reason.clone(),
            external_id: task.external_id.clone(),
            submitted_at: task.submitted_at.unwrap_or(at),
            started_at,
            finished_at: at,
        });
        match outcome {
            Ended::Success(success) => self.task_succeeded(key, success, started_at, at),
            Ended::Cancelled => {
                self.change_task(key, TaskState::Cancelled, |row| {
                    row.started_at = started_at;
                    row.finished_at = Some(at);
                    row.deadline = None;
                });
                self.maybe_done.insert(key.run);
            }
            Ended::Failure => {
                let reason = reason.expect("a failure has a reason");
                self.attempt_failed(key, reason, started_at, at);
            }
        }
    }

    /// A switch that succeeded without choosing one of its successors.
    fn missing_choice(&self, key: TaskKey, success: &Success) -> Option<Reason> {
        let flow = self.flow_of(key.run);
        if flow.step_of(key.node).route != Route::Switch {
            return None;
        }
        let node = flow.node(key.node);
        let known = |name: &crate::id::StepName| {
            (node.recursive && *name == node.name)
                || node
                    .successors
                    .iter()
                    .any(|it| flow.node(*it).name == *name)
        };
        let message = match success.chosen.as_deref() {
            Some([]) | None => {
                "a switch must choose one of its successors, and it chose none".into()
            }
            Some(chosen) => {
                let unknown = chosen.iter().find(|it| !known(it))?;
                format!("it chose `{unknown}`, which is not one of its successors")
            }
        };
        Some(Reason::BadOutput { message })
    }

    fn task_succeeded(
        &mut self,
        key: TaskKey,
        success: &Success,
        started_at: Option<Timestamp>,
        at: Timestamp,
    ) {
        self.change_task(key, TaskState::Succeeded, |row| {
            row.started_at = started_at;
            row.finished_at = Some(at);
            row.deadline = None;
            row.reason = None;
            row.outputs = (!success.outputs.is_empty()).then(|| Arc::new(success.outputs.clone()));
            row.chosen = success.chosen.as_deref().map(Arc::from);
            row.splits = success.splits;
        });
        self.hand_on(key);
    }

    fn attempt_failed(
        &mut self,
        key: TaskKey,
        reason: Reason,
        started_at: Option<Timestamp>,
        at: Timestamp,
    ) {
        let now = self.now;
        if let Some((retry_at, lost)) = self.retry(key, &reason) {
            self.change_task(key, TaskState::BackingOff, |row| {
                row.started_at = started_at;
                row.finished_at = Some(at);
                row.deadline = None;
                row.retry_at = Some(retry_at);
                if lost {
                    row.retries.infrastructure += 1;
                } else {
                    row.retries.user += 1;
                }
                row.reason = Some(Reason::RetryAt {
                    at: retry_at,
                    attempt: row.attempt,
                    after: Box::new(reason),
                });
            });
            return;
        }
        let flow = self.flow_of(key.run);
        let step = flow.step_of(key.node);
        // Whatever becomes of a hook, its run has ended already.
        let on_failure = match step.hook {
            Some(_) => OnFailure::Continue,
            None => step.on_failure,
        };
        let running = self.run(key.run).row.state == RunState::Running;
        let state = match on_failure {
            OnFailure::Continue if running => TaskState::Caught,
            _ => TaskState::Failed,
        };
        self.change_task(key, state, |row| {
            row.started_at = started_at.or(row.started_at);
            row.finished_at = Some(at.max(row.ready_at).min(now.max(at)));
            row.deadline = None;
            row.retry_at = None;
            row.reason = Some(reason);
        });
        if on_failure == OnFailure::FailFast && running {
            let task = self.task_id(key).to_string();
            self.begin_cancelling(key.run, RunState::Failed, Reason::FailFast { task });
        } else {
            self.hand_on(key);
        }
    }

    /// When the next attempt begins, and whether we pay for it; `None` when no retry is left.
    fn retry(&self, key: TaskKey, reason: &Reason) -> Option<(Timestamp, bool)> {
        if self.run(key.run).row.state != RunState::Running {
            return None;
        }
        let task = &self.s.tasks[&key];
        let timed_out = matches!(task.reason, Some(Reason::AttemptTimeout { .. }));
        if task.state == TaskState::Stopping && !timed_out {
            return None;
        }
        let flow = self.flow_of(key.run);
        let retry = flow.step_of(key.node).retry;
        let attempt = self.attempt_id(key, task.attempt);
        match reason {
            Reason::DoNotRetry { .. }
            | Reason::Configuration { .. }
            | Reason::BadParams { .. }
            | Reason::SubFlowDepth { .. }
            | Reason::Expression { .. } => None,
            Reason::Lost { .. } => {
                let used = task.retries.infrastructure;
                (used < self.s.config.lost_retries)
                    .then(|| (self.now + delay(&LOST_BACKOFF, used + 1, &attempt), true))
            }
            _ => {
                let used = task.retries.user;
                (used < retry.times)
                    .then(|| (self.now + delay(&retry.backoff, used + 1, &attempt), false))
            }
        }
    }

    /// A task that fails before any attempt: its expression cannot be evaluated.
    pub(super) fn fail_unstarted(&mut self, key: TaskKey, reason: Reason) {
        let now = self.now;
        self.attempt_failed(key, reason, None, now);
    }

    pub(super) fn hand_on(&mut self, key: TaskKey) {
        if self.run(key.run).row.state == RunState::Running {
            let (flow, task) = (self.flow_of(key.run), self.s.tasks[&key].clone());
            self.pass_on(&flow, key, &task);
        }
        self.maybe_done.insert(key.run);
    }

    /// A retry begins, or an attempt has run out of time.
    pub(super) fn task_due(&mut self, key: TaskKey) {
        let now = self.now;
        let Some(task) = self.s.tasks.get(&key).cloned() else {
            return;
        };
        match task.state {
            TaskState::BackingOff => self.change_task(key, TaskState::Ready, |row| {
                row.ready_at = now;
                row.retry_at = None;
            }),
            TaskState::Submitting | TaskState::Running => {
                let timeout = self.flow_of(key.run).step_of(key.node).timeout;
                let timeout = timeout.unwrap_or_default();
                self.stop_task(key, Reason::AttemptTimeout { timeout });
            }
            _ => {}
        }
    }

    /// The attempt must die; nothing replaces it before that is confirmed.
    pub(super) fn stop_task(&mut self, key: TaskKey, reason: Reason) {
        self.change_task(key, TaskState::Stopping, |row| {
            row.deadline = None;
            row.reason = Some(reason.clone());
        });
        let number = self.s.tasks[&key].attempt;
        let attempt = self.attempt_id(key, number);
        if super::sub_flow(self.run(key.run).flow.step_of(key.node)).is_some() {
            return self.stop_child(key, &attempt, reason);
        }
        self.commands.push(Command::Stop(attempt));
    }
}

enum Ended<'a> {
    Success(&'a Success),
    Failure,
    Cancelled,
}

/// The wait before retry `number` (from 1). Jitter is a hash of the attempt, so a replay agrees.
pub fn delay(backoff: &Backoff, number: u32, attempt: &AttemptId) -> Span {
    let max = i128::from(backoff.max.0.max(0));
    let mut wait = i128::from(backoff.initial.0.max(0)).min(max);
    for _ in 1..number {
        wait = (wait * i128::from(backoff.multiplier_percent) / 100).min(max);
        if wait == max {
            break;
        }
    }
    let swing = wait * i128::from(backoff.jitter_percent.min(100)) / 100;
    let share = i128::from(hash::fnv(&attempt.to_string()) % 2_001) - 1_000;
    let wait = (wait + swing * share / 1_000).clamp(0, max);
    Span(i64::try_from(wait).unwrap_or(i64::MAX))
}
