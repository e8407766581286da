//! Attempts: what executors report, and what follows: success, retry or failure.

use super::Draft;
use crate::failure::{self, Budget, FailureClass, retry_after};
use crate::id::AttemptId;
use crate::input::{Answer, Command, News, Outcome, Rejected, Report, Success};
use crate::instances;
use crate::reason::Reason;
use crate::row::{AttemptRow, AttemptState, RunState, TaskRow, TaskState};
use crate::spec::{ExecutorKind, OnFailure, Route, StepSpec};
use crate::state::TaskKey;
use crate::time::{Span, Timestamp};
use std::sync::Arc;

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
                    let timeout = core_timeout(self.flow_of(key.run).step_of(key.node));
                    self.change_task(key, TaskState::Running, |row| {
                        row.external_id = Some(external_id);
                        row.started_at = Some(at);
                        row.deadline = timeout.map(|it| at + it);
                        row.reason = None;
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
                TaskState::Running => {
                    let timeout = core_timeout(self.flow_of(key.run).step_of(key.node));
                    let is_later = task.started_at.is_none_or(|it| at > it);
                    let deadline = timeout.filter(|_| is_later).map(|it| at + it);
                    if deadline <= task.deadline {
                        return Err(stale());
                    }
                    let row = TaskRow {
                        deadline,
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
            Report::News(news) => self.news(key, &task, news),
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

    /// What was learned of a live attempt becomes durable; what was known already is not written again.
    fn news(&mut self, key: TaskKey, task: &Arc<TaskRow>, news: News) {
        let mut row = TaskRow::clone(task);
        row.external_id = news.external_id.or(row.external_id);
        row.log = news.log.or(row.log);
        let is_unknown = matches!(news.waiting, Some(Reason::SubmissionWaits { .. }));
        let tells = match task.state {
            TaskState::Submitting => true,
            TaskState::Running => news.is_wait_over || is_unknown,
            _ => false,
        };
        match news.waiting {
            _ if !tells => {}
            Some(reason) => row.reason = Some(since_then(row.reason, reason)),
            None if news.is_wait_over => row.reason = None,
            None => {}
        }
        if row != **task {
            self.put_task(key, row);
        }
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
        let repeated = match outcome {
            Outcome::HostsLost { times, .. } => times.checked_sub(1).filter(|it| *it > 0),
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
            Outcome::Lost(message) | Outcome::HostsLost { message, .. } => {
                let message = message.clone();
                (
                    Ended::Failure,
                    AttemptState::Lost,
                    Some(Reason::Lost { message }),
                )
            }
        };
        if let Some(earlier) = repeated {
            // Each of them was one of ours.
            let mut row = TaskRow::clone(&self.s.tasks[&key]);
            let used = &mut row.retries.infrastructure;
            *used = used.saturating_add(earlier);
            self.put_task(key, row);
        }
        let flow = self.flow_of(key.run);
        let step = flow.step_of(key.node);
        let failure = match (&outcome, &reason) {
            (Ended::Failure, Some(reason)) => Some(self.classify(key, reason)),
            _ => None,
        };
        let class = failure.as_ref().map(|(class, _)| *class);
        self.changes.attempts.push(AttemptRow {
            id: self.attempt_id(key, task.attempt),
            state,
            reason: reason.clone(),
            class,
            rule: failure.map(|(_, rule)| rule),
            external_id: task.external_id.clone(),
            log: task.log.clone(),
            memory_bytes: step.memory_of(task.memory_bytes),
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
                let (reason, class) = reason.zip(class).expect("a failure has a reason");
                self.attempt_failed(key, reason, class, started_at, at);
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
        class: FailureClass,
        started_at: Option<Timestamp>,
        at: Timestamp,
    ) {
        let now = self.now;
        if let Some(again) = self.retry(key, &reason, class) {
            self.change_task(key, TaskState::BackingOff, |row| {
                row.started_at = started_at;
                row.finished_at = Some(at);
                row.deadline = None;
                row.retry_at = Some(again.at);
                row.retries.count(again.paid_by);
                row.memory_bytes = again.memory_bytes.or(row.memory_bytes);
                row.reason = Some(Reason::RetryAt {
                    at: again.at,
                    attempt: row.attempt,
                    after: Box::new(reason),
                });
            });
            let row = self.s.tasks[&key].clone();
            self.alert_of_retry(&row);
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

    /// When the next attempt begins, and who pays for it; `None` when no retry is left.
    fn retry(&self, key: TaskKey, reason: &Reason, class: FailureClass) -> Option<Again> {
        if self.run(key.run).row.state != RunState::Running {
            return None;
        }
        let task = &self.s.tasks[&key];
        let timed_out = matches!(task.reason, Some(Reason::AttemptTimeout { .. }));
        if task.state == TaskState::Stopping && !timed_out {
            return None;
        }
        let flow = self.flow_of(key.run);
        let step = flow.step_of(key.node);
        // A repetition with the same memory is no business of this class.
        let grown = match class {
            FailureClass::Oom => next_memory(step, task, reason),
            _ => None,
        };
        let own = |class| match class {
            FailureClass::Oom if grown.is_none() => None,
            class => self.s.config.budget(class, &step.retry),
        };
        let used_up =
            |class: FailureClass, budget: &Budget| task.retries.of(class) >= budget.retries;
        // What the task itself said or did is its own fault in the end, whatever it looked like at first.
        let last = matches!(
            reason,
            Reason::Exit { .. }
                | Reason::UserError { .. }
                | Reason::Signal { .. }
                | Reason::OutOfMemory { .. }
                | Reason::Job { .. }
                | Reason::Execution { .. }
        );
        let last = (last && class != FailureClass::Invalid).then_some(FailureClass::User);
        let (paid_by, budget) = [Some(class), last]
            .into_iter()
            .flatten()
            .filter_map(|class| Some((class, own(class)?)))
            .find(|(class, budget)| !used_up(*class, budget))?;
        let attempt = self.attempt_id(key, task.attempt);
        let wait = budget.wait.before(task.retries.of(paid_by) + 1, &attempt);
        let asked = match paid_by {
            FailureClass::Throttled => retry_after(reason).unwrap_or_default(),
            _ => Span::ZERO,
        };
        Some(Again {
            at: self.now + wait.max(asked),
            paid_by,
            memory_bytes: grown.filter(|_| paid_by == FailureClass::Oom),
        })
    }

    /// A task that fails before any attempt: its expression cannot be evaluated.
    pub(super) fn fail_unstarted(&mut self, key: TaskKey, reason: Reason) {
        let now = self.now;
        let (class, _) = self.classify(key, &reason);
        self.attempt_failed(key, reason, class, None, now);
    }

    fn classify(&self, key: TaskKey, reason: &Reason) -> (FailureClass, String) {
        let executor = self.run(key.run).flow.step_of(key.node).executor();
        failure::classify(&self.s.config.rules, reason, executor)
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

/// Why a job waits, said anew: it has waited since it was first said so.
fn since_then(before: Option<Reason>, now: Reason) -> Reason {
    match (before, now) {
        (
            Some(Reason::JobWaits {
                queue: of,
                state: was,
                since: first,
                ..
            }),
            Reason::JobWaits {
                queue,
                state,
                since,
                message,
            },
        ) => {
            let same = of == queue && was == state;
            Reason::JobWaits {
                since: if same { first } else { since },
                queue,
                state,
                message,
            }
        }
        (_, now) => now,
    }
}

/// The timeout of each attempt that the core watches over. The states of an execution have theirs there.
fn core_timeout(step: &StepSpec) -> Option<Span> {
    step.timeout
        .filter(|_| step.executor() != ExecutorKind::StepFunctions)
}

/// The memory with which an attempt that ran out of it is repeated; `None` when it may not grow, or no further.
fn next_memory(step: &StepSpec, task: &TaskRow, reason: &Reason) -> Option<u64> {
    let on_oom = step.on_oom?;
    let limit = match reason {
        Reason::OutOfMemory { limit_bytes } => *limit_bytes,
        _ => None,
    };
    let unasked = step
        .remote
        .as_ref()
        .map(|_| instances::MEMORY_BYTES_DEFAULT);
    let had = step.memory_of(task.memory_bytes).or(limit).or(unasked)?;
    let (percent, max) = (on_oom.multiplier_percent, on_oom.max_bytes);
    match &step.remote {
        None => instances::next_memory(had, percent, max),
        Some(remote) => {
            let cpu = remote.cpu_millis.unwrap_or(instances::CPU_MILLIS_DEFAULT);
            let gpus = remote.gpus.unwrap_or(0);
            instances::next_fitting_memory(&instances::INSTANCES, had, percent, max, cpu, gpus)
        }
    }
}

/// An attempt follows.
struct Again {
    at: Timestamp,
    paid_by: FailureClass,
    /// With so much memory.
    memory_bytes: Option<u64>,
}

enum Ended<'a> {
    Success(&'a Success),
    Failure,
    Cancelled,
}
