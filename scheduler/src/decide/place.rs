//! Giving out slots. Candidates are queued runs, and of each step of a run the first ready task; each waits
//! in one place: for the first limit that stops it, in order of rank. When slots of a limit become free
//! only its own queue is looked at, so the work is O(log n) for each candidate that moves, and however
//! many tasks of a step wait, they move as one.

use super::Draft;
use crate::input::Command;
use crate::reason::{Limit, Reason};
use crate::row::{RunRow, RunState, TaskRow, TaskState};
use crate::spec::Strategy;
use crate::state::{Candidate, Rank, Run, Scheduler, TaskKey};
use std::sync::Arc;

impl Draft {
    /// Starts what may start, parks what may not.
    pub(super) fn place_ready(&mut self) {
        loop {
            while let Some((rank, candidate)) = self.s.ready.get_min().copied() {
                self.s.ready.remove(&(rank, candidate));
                self.place(rank, candidate);
            }
            let Some(limit) = self.freed.pop_first() else {
                return;
            };
            self.wake(limit);
        }
    }

    /// Gives the first in the queue of a limit another try, if it fits; the limit is then looked at again,
    /// after whoever follows in its step. One that is stopped by another limit leaves its slots here unused.
    fn wake(&mut self, limit: Limit) {
        let Some((rank, candidate)) = self.s.first_for(&limit) else {
            return;
        };
        let free = self
            .s
            .capacity(&limit)
            .saturating_sub(self.s.in_use(&limit));
        // One that may not start at all goes to wait where its flow is unblocked.
        let misplaced = self.s.blocked(candidate).is_some() && !matches!(limit, Limit::Flow(_));
        if self.s.wanted(candidate, &limit) > free && !misplaced {
            return;
        }
        self.s.unqueue(candidate, None);
        self.place(rank, candidate);
        self.freed.insert(limit);
    }

    fn place(&mut self, rank: Rank, candidate: Candidate) {
        let limits = match candidate {
            Candidate::Run(id) => self.s.run_limits(self.run(id)),
            Candidate::Task(key) => self.s.task_limits(key),
        };
        if let Some(reason) = self.s.blocked(candidate) {
            let (limit, _) = limits.first().expect("a run has its flow's limit").clone();
            return self.park(rank, candidate, limit, reason);
        }
        for (limit, wanted) in &limits {
            let (capacity, used) = (self.s.capacity(limit), self.s.in_use(limit));
            // Someone with an older claim waits here for more slots than are free.
            let behind = self
                .s
                .head(limit)
                .is_some_and(|(head, waiting)| head < rank && self.s.blocked(waiting).is_none());
            if used + wanted > capacity || behind {
                let reason = Reason::LimitFull {
                    limit: limit.clone(),
                    capacity,
                    used,
                    wanted: *wanted,
                };
                return self.park(rank, candidate, limit.clone(), reason);
            }
        }
        match candidate {
            Candidate::Run(id) => self.start_run(id),
            Candidate::Task(key) => self.submit(key),
        }
    }

    fn park(&mut self, rank: Rank, candidate: Candidate, limit: Limit, reason: Reason) {
        match candidate {
            Candidate::Run(id) => {
                let run = self.run(id);
                if run.row.reason.as_ref() != Some(&reason) {
                    let mut changed = Run::clone(run);
                    changed.row = Arc::new(RunRow {
                        reason: Some(reason),
                        ..RunRow::clone(&run.row)
                    });
                    self.put_run(changed);
                }
            }
            Candidate::Task(key) => {
                let task = self.s.tasks.get(&key).expect("a candidate exists");
                if task.reason.as_ref() != Some(&reason) {
                    let row = TaskRow {
                        reason: Some(reason),
                        ..TaskRow::clone(task)
                    };
                    self.put_task(key, row);
                }
            }
        }
        self.s.park(candidate, rank, limit);
    }

    /// A task has its slots: its next attempt begins.
    fn submit(&mut self, key: TaskKey) {
        let now = self.now;
        self.change_task(key, TaskState::Submitting, |row| {
            row.attempt += 1;
            row.submitted_at = Some(now);
            row.started_at = None;
            row.finished_at = None;
            row.retry_at = None;
            row.deadline = None;
            row.external_id = None;
            row.log = None;
            row.array = None;
            row.reason = None;
        });
        let flow = self.flow_of(key.run);
        if let Some(own) = super::sub_flow(flow.step_of(key.node)) {
            return self.start_child(key, own);
        }
        self.note_placed(key);
        let number = self.s.tasks[&key].attempt;
        let attempt = self.attempt_id(key, number);
        self.commands.push(Command::Submit(attempt));
    }

    /// A run has its slots: its first nodes get their tokens.
    fn start_run(&mut self, id: crate::id::RunId) {
        let (now, flow) = (self.now, self.flow_of(id));
        let timeout = flow.spec().run.timeout;
        self.change_run(id, RunState::Running, |row| {
            row.started_at.get_or_insert(now);
            row.finished_at = None;
            row.deadline = timeout.map(|it| now + it);
            row.reason = None;
        });
        self.begin(id);
    }
}

impl Scheduler {
    /// Who gets the next slots of a limit: the head of its queue, or the failed run for which a
    /// `strict_sequential` head waits.
    pub(crate) fn first_for(&self, limit: &Limit) -> Option<(Rank, Candidate)> {
        let (rank, head) = self.head(limit)?;
        let (Limit::Flow(_), Some(Reason::BlockedByFailure { run })) = (limit, self.blocked(head))
        else {
            return Some((rank, head));
        };
        let resumed = Candidate::Run(run);
        let (at, rank) = self.parked_at.get(&resumed)?;
        (at == limit).then_some((*rank, resumed))
    }

    pub(crate) fn wanted(&self, candidate: Candidate, limit: &Limit) -> u32 {
        let limits = match candidate {
            Candidate::Run(id) => self.run_limits(&self.runs[&id]),
            Candidate::Task(key) => self.task_limits(key),
        };
        limits
            .iter()
            .find(|(it, _)| it == limit)
            .map_or(0, |(_, slots)| *slots)
    }

    /// A run of a flow whose strategy lets nothing start after a failure.
    fn blocked(&self, candidate: Candidate) -> Option<Reason> {
        let Candidate::Run(id) = candidate else {
            return None;
        };
        let run = &self.runs[&id];
        if run.row.backfill.is_some() {
            return None;
        }
        let state = self.flows.get(&run.row.flow)?;
        let strict = state
            .flow
            .as_ref()
            .is_some_and(|it| it.spec().run.strategy == Strategy::StrictSequential);
        let failed = state
            .row
            .blocked_by
            .filter(|failed| *failed != id && strict)?;
        Some(Reason::BlockedByFailure { run: failed })
    }
}
