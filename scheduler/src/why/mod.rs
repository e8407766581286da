//! Why: explanations from recorded reasons, for runs that wait, ended, or never came to be.

mod at;
mod cure;

pub use at::{NEAR, PastFacts, PastOutage, explain_at};
pub use cure::cure;

use crate::decide::WaitingSet;
use crate::id::{AttemptId, FlowName, RunId};
use crate::reason::{Limit, Reason};
use crate::row::{
    OccurrenceRow, OccurrenceState, RunRow, RunState, SlaRow, SlaState, TaskRow, TaskState,
};
use crate::spec::{EventSource, Strategy, TriggerSpec};
use crate::state::Scheduler;
use crate::time::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;

/// Codes of explanations that are no reasons.
pub const STATES: [&str; 12] = [
    "promise",
    "next_occurrence",
    "only_people",
    "running",
    "submitting",
    "waits_for_run",
    "ended",
    "ran",
    "expected",
    "no_flow_yet",
    "nothing_due",
    "event",
];

/// One reason, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Stable: the reason's code, or one of [`STATES`].
    pub code: String,
    /// What it is about: a flow, run, task, schedule or trigger.
    pub subject: String,
    pub reason: Option<Reason>,
    pub text: String,
    /// When it changes by itself.
    pub until: Option<Timestamp>,
    /// What a person can do.
    pub cure: Option<String>,
}

impl Explanation {
    fn new(code: &'static str, subject: impl ToString, text: impl ToString) -> Self {
        Self {
            code: code.to_owned(),
            subject: subject.to_string(),
            reason: None,
            text: text.to_string(),
            until: None,
            cure: None,
        }
    }

    fn because(subject: impl ToString, reason: &Reason) -> Self {
        Self {
            code: reason.code(),
            reason: Some(reason.clone()),
            ..Self::new("", subject, reason)
        }
    }

    fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    fn cure(self, cure: impl ToString) -> Self {
        Self {
            cure: Some(cure.to_string()),
            ..self
        }
    }
}

/// Promises of a flow that are told of.
const PROMISES_TOLD: usize = 50;

impl Scheduler {
    /// Why a flow runs or does not run now; `None` for an unknown flow.
    pub fn why_flow(&self, name: &str, now: Timestamp) -> Option<Vec<Explanation>> {
        let state = self.flow(name)?;
        let (row, mut all) = (&state.row, Vec::new());
        if row.removed {
            all.push(
                Explanation::because(name, &Reason::FlowRemoved)
                    .cure(format!("put {} back", row.file)),
            );
        }
        if let Some(message) = &row.invalid {
            let message = message.clone();
            let text = match &state.flow {
                Some(_) => "the last good version stays active",
                None => "no version of it was ever valid",
            };
            let reason = Reason::FlowInvalid { message };
            all.push(Explanation {
                text: format!("{reason}; {text}"),
                ..Explanation::because(name, &reason)
                    .cure(format!("run `dalsegno check {}` and repair it", row.file))
            });
        }
        if let Some(paused) = &row.paused {
            let reason = Reason::FlowPaused {
                by: paused.by.clone(),
                reason: paused.reason.clone(),
            };
            all.push(Explanation::because(name, &reason).cure(format!("dalsegno unpause {name}")));
        }
        if let Some(run) = row.blocked_by {
            let reason = Reason::BlockedByFailure { run };
            all.push(Explanation::because(name, &reason).cure(format!(
                "dalsegno resume {run}, or dalsegno unpause {name} to go on without it"
            )));
        }
        for run in self.runs_of(name) {
            all.extend(self.why_run(run.id, now).unwrap_or_default());
        }
        for occurrence in self.expected(name) {
            all.push(match &occurrence.reason {
                Some(reason) => {
                    let until = match reason {
                        Reason::Blackout { until, .. } => *until,
                        _ => None,
                    };
                    Explanation {
                        cure: cure(reason, name),
                        ..Explanation::because(&occurrence.key, reason).until(until)
                    }
                }
                None => {
                    let due = occurrence.due_at;
                    let mut text = if row.paused.is_some() {
                        format!("the next occurrence, due at {due}, starts no run while the flow is paused")
                    } else {
                        format!("the next occurrence is due at {due}")
                    };
                    if let Some(note) = self.calendar_note(occurrence) {
                        text += &note;
                    }
                    Explanation::new("next_occurrence", &occurrence.trigger, text).until(Some(self.fires_at(occurrence)))
                }
            });
        }
        for (flow, trigger, reason) in self.without_future(now) {
            if flow.as_str() == name {
                all.push(Explanation {
                    cure: cure(&reason, name),
                    ..Explanation::because(trigger, &reason)
                });
            }
        }
        all.extend(self.why_promises(self.slas_of_flow(&name.into()), now));
        if let Some(until) = self.blackout_of(name, now) {
            all.push(until);
        }
        if let Some(flow) = &state.flow {
            let sets = self.sets(name, now);
            for trigger in &flow.spec().triggers {
                all.extend(self.why_trigger(name, trigger, &sets));
            }
            let dynamic = flow.metaflow().and_then(|it| it.only_people());
            if let Some(text) = dynamic {
                all.push(
                    Explanation::new("only_people", name, text)
                        .cure(format!("dalsegno run {name}")),
                );
            } else if flow.spec().schedules.is_empty() && flow.spec().triggers.is_empty() {
                let text = "it has neither schedule nor trigger, so only people start it";
                all.push(
                    Explanation::new("only_people", name, text)
                        .cure(format!("dalsegno run {name}")),
                );
            }
        }
        Some(all)
    }

    /// How the open promises of a flow stand, soonest due first.
    fn why_promises(&self, mut rows: Vec<Arc<SlaRow>>, now: Timestamp) -> Vec<Explanation> {
        rows.sort_by_key(|it| (it.due_at, it.promise.clone()));
        let rows = rows.iter().take(PROMISES_TOLD);
        rows.map(|row| self.why_promise(row, now)).collect()
    }

    fn why_promise(&self, row: &SlaRow, now: Timestamp) -> Explanation {
        let flow = self.flow(row.flow.as_str()).and_then(|it| it.flow.as_ref());
        let promise = flow.and_then(|it| it.promise(&row.promise));
        let what = promise.map_or_else(|| row.promise.to_string(), |it| it.text());
        let due = row.due_at;
        let mut text = match row.state {
            SlaState::Missed => format!(
                "promised and missed: {what}; it was due at {due}, {} ago",
                now - due
            ),
            SlaState::AtRisk => format!("promised and at risk: {what}; due at {due}"),
            SlaState::OnTime | SlaState::Met | SlaState::MetLate => {
                format!("promised: {what}; due at {due}")
            }
        };
        if let Some(it) = &row.prediction {
            let (percent, p50) = (it.chance_permille / 10, it.finish_p50.ceil_to_second());
            text +=
                &format!(", expected to be done at {p50}, and late with a chance of {percent} %");
            if let Some(culprit) = &it.culprit {
                text += &format!(": {}", culprit.text(&row.flow));
            }
        }
        if let Some(it) = &row.acknowledged {
            text += &format!("; {} has seen it", it.by);
        }
        if let Some(until) = row.silenced_until {
            text += &format!("; silenced until {until}");
        }
        let until = (row.state != SlaState::Missed).then_some(due);
        Explanation::new("promise", &row.promise, text).until(until)
    }

    /// A blackout that stops schedules and triggers now.
    fn blackout_of(&self, name: &str, now: Timestamp) -> Option<Explanation> {
        let flow = self.flow(name)?.flow.as_ref()?;
        let (blackout, _, until) = flow.blackout_at(now)?;
        let until = Some(until);
        let reason = Reason::Blackout {
            name: blackout,
            until,
        };
        Some(Explanation {
            cure: cure(&reason, name),
            ..Explanation::because(name, &reason).until(until)
        })
    }

    /// What a calendar does to an occurrence.
    fn calendar_note(&self, occurrence: &OccurrenceRow) -> Option<String> {
        let flow = self.flow(occurrence.flow.as_str())?.flow.clone()?;
        let (_, schedule) = crate::state::schedule(&flow, &occurrence.trigger)?;
        let (day, note) = schedule.closed_day(occurrence.interval.end)?;
        let called = match note.as_str() {
            "" => String::new(),
            note => format!(" ({note})"),
        };
        Some(match occurrence.due_at == occurrence.interval.end {
            true => format!("; it will be skipped: {day}{called} is a closed day"),
            false => format!("; moved from {day}{called}"),
        })
    }

    fn why_trigger(
        &self,
        flow: &str,
        trigger: &TriggerSpec,
        sets: &[WaitingSet],
    ) -> Vec<Explanation> {
        let notes = self.upstream_notes(trigger);
        let mut sets = sets
            .iter()
            .filter(|it| it.trigger == trigger.name)
            .peekable();
        if sets.peek().is_none() {
            let missing = crate::decide::missing(&trigger.on, &|_| false);
            let reason = Reason::WaitingFor { missing };
            return vec![Explanation {
                text: format!("{reason}{notes}"),
                cure: cure(&reason, flow),
                ..Explanation::because(&trigger.name, &reason)
            }];
        }
        sets.map(|set| {
            let about = match set.join_key.as_str() {
                "" => trigger.name.to_string(),
                key => format!("{} [{key}]", trigger.name),
            };
            let since = set.since.floor_to_second();
            let (reason, until) = match (&set.held, set.missing.is_empty(), set.fires_at) {
                (Some(held), _, _) => {
                    let until = match held {
                        Reason::Blackout { until, .. } => *until,
                        _ => None,
                    };
                    (held.clone(), until)
                }
                (None, true, Some(until)) => (Reason::Gathering { until }, Some(until)),
                (None, ..) => {
                    let missing = set.missing.clone();
                    (
                        Reason::WaitingFor { missing },
                        set.expires_at.or(set.fires_at),
                    )
                }
            };
            let events = match set.events {
                1 => "1 event waits".to_owned(),
                events => format!("{events} events wait"),
            };
            Explanation {
                text: format!("{reason}; {events}, the first since {since}{notes}"),
                cure: cure(&reason, flow),
                ..Explanation::because(about, &reason).until(until)
            }
        })
        .collect()
    }

    /// What keeps the flows that a trigger waits for from running.
    fn upstream_notes(&self, trigger: &TriggerSpec) -> String {
        let mut notes = String::new();
        for leaf in trigger.on.leaves() {
            let EventSource::Flow { flow, .. } = &leaf.source else {
                continue;
            };
            let note = match self.flow(flow.as_str()).map(|it| &it.row) {
                None => "does not exist",
                Some(row) if row.removed => "has no flow file any more",
                Some(row) if row.paused.is_some() => "is paused",
                Some(row) if row.blocked_by.is_some() => "is blocked by a failed run",
                Some(row) if row.active_version.is_none() => "has no valid version",
                Some(_) => continue,
            };
            notes += &format!("; {flow} {note}");
        }
        notes
    }

    /// Why an unfinished run waits, or what it does; `None` when it is finished or unknown.
    pub fn why_run(&self, id: RunId, now: Timestamp) -> Option<Vec<Explanation>> {
        let run = self.runs.get(&id)?;
        let subject = format!("run {id}");
        let mut all = Vec::new();
        match (run.row.state, &run.row.reason) {
            (RunState::Queued, Some(reason)) => {
                all.push(self.explain_wait(subject, reason, &run.row.flow))
            }
            (RunState::Cancelling, Some(reason)) => all.push(Explanation {
                text: format!("{reason}; its last attempts are being stopped"),
                ..Explanation::because(subject, reason)
            }),
            _ => {}
        }
        let mut states = [0usize; TaskState::ALL.len()];
        for task in self.tasks(id) {
            states[task.state as usize] += 1;
            let about = format!("run {id}, task {}", task.task);
            match (task.state, &task.reason) {
                (TaskState::Ready, Some(reason)) => {
                    all.push(self.explain_wait(about, reason, &run.row.flow))
                }
                (TaskState::BackingOff, Some(reason)) => {
                    all.push(Explanation::because(about, reason).until(task.retry_at));
                }
                (TaskState::Stopping, Some(reason)) => all.push(Explanation {
                    text: format!("{reason}; waits until the attempt is dead"),
                    ..Explanation::because(about, reason)
                }),
                (TaskState::Running, _) if self.child_of(&attempt_of(task)).is_some() => {
                    let text = self.waits_for_run(task);
                    let waits = Explanation::new("waits_for_run", about, text);
                    all.push(waits.until(task.deadline));
                }
                (TaskState::Running, _) => {
                    let since = task.started_at.unwrap_or(now);
                    let mut text = format!("attempt {} runs for {}", task.attempt, now - since);
                    if let Some(reason @ Reason::SubmissionWaits { .. }) = &task.reason {
                        let _ = write!(text, ", and how it stands is not known: {reason}");
                    }
                    all.push(Explanation::new("running", about, text).until(task.deadline));
                }
                (TaskState::Submitting, Some(reason)) => {
                    let until = match reason {
                        Reason::SubmissionWaits { until, .. } => *until,
                        _ => None,
                    };
                    let told = self.explain_wait(about, reason, &run.row.flow);
                    all.push(told.until(until));
                }
                (TaskState::Submitting, None) => {
                    all.push(Explanation::new(
                        "submitting",
                        about,
                        "the executor is asked to start it",
                    ));
                }
                _ => {}
            }
            if all.len() >= EXPLANATIONS_MAX {
                break;
            }
        }
        Some(all)
    }

    fn explain_wait(&self, subject: String, reason: &Reason, flow: &FlowName) -> Explanation {
        let told = Explanation {
            cure: cure(reason, flow.as_str()),
            ..Explanation::because(subject, reason)
        };
        match reason {
            Reason::LimitFull {
                limit: limit @ Limit::Flow(flow),
                ..
            } => {
                let ahead: Vec<String> = self
                    .runs_of(flow.as_str())
                    .filter(|it| matches!(it.state, RunState::Running | RunState::Cancelling))
                    .map(|it| it.id.to_string())
                    .collect();
                // What it waited for ended in the meantime, and badly.
                let blocked_by = self.flow(flow.as_str()).and_then(|it| it.row.blocked_by);
                if let (Some(run), true) = (blocked_by, ahead.is_empty()) {
                    let reason = Reason::BlockedByFailure { run };
                    return Explanation {
                        cure: cure(&reason, flow.as_str()),
                        ..Explanation::because(told.subject, &reason)
                    };
                }
                let strategy = self
                    .flow(flow.as_str())
                    .and_then(|it| it.flow.as_ref())
                    .map_or(Strategy::Sequential, |it| it.spec().run.strategy);
                Explanation {
                    text: format!(
                        "waits for {limit} ({}); running: {}",
                        strategy_name(strategy),
                        ahead.join(", ")
                    ),
                    ..told
                }
            }
            Reason::LimitFull {
                limit: limit @ (Limit::Pool(_) | Limit::Tasks | Limit::Remote),
                ..
            } => {
                let holders = self.holders(limit);
                let stuck = match self.all_holders_wait(limit) {
                    true => {
                        "; each of them waits for a run that wants a slot too, so nothing moves until one is cancelled"
                    }
                    false => "",
                };
                Explanation {
                    text: format!("{reason}; held by {}{stuck}", holders.join(", ")),
                    ..told
                }
            }
            Reason::LimitFull {
                limit: limit @ (Limit::BackfillTasks | Limit::BackfillPool(_)),
                ..
            } => Explanation {
                text: format!("{reason}; held by {}", self.holders(limit).join(", ")),
                ..told
            },
            _ => told,
        }
    }

    /// What a task does whose step is a run of another flow.
    fn waits_for_run(&self, task: &TaskRow) -> String {
        let child = self.child_of(&attempt_of(task)).and_then(|it| self.run(it));
        let Some(child) = child else {
            return "the run that it waits for is over".to_owned();
        };
        let text = format!("waits for run {} of flow {}", child.id, child.flow);
        match (&child.reason, child.state) {
            (Some(reason), RunState::Queued | RunState::Cancelling) => {
                format!("{text}, which is {}: {reason}", child.state)
            }
            _ => format!("{text}, which is {}", child.state),
        }
    }

    /// Who holds slots of a limit; the first ten.
    fn holders(&self, limit: &Limit) -> Vec<String> {
        let holds = |limits: Vec<(Limit, u32)>| limits.iter().any(|(it, _)| it == limit);
        let runs = self
            .runs
            .values()
            .filter(|run| run.row.state == RunState::Running && holds(self.run_limits(run)))
            .map(|run| format!("run {}", run.row.id));
        let tasks = self
            .tasks
            .iter()
            .filter(|(key, row)| row.state.is_live() && holds(self.task_limits(**key)))
            .map(|(key, row)| format!("{} of run {}", row.task, key.run));
        runs.chain(tasks).take(10).collect()
    }
}

fn attempt_of(task: &TaskRow) -> AttemptId {
    AttemptId {
        run: task.run,
        task: task.task.clone(),
        number: task.attempt,
    }
}

/// More explanations than this help nobody.
const EXPLANATIONS_MAX: usize = 100;

fn strategy_name(strategy: Strategy) -> String {
    match strategy {
        Strategy::Sequential => "sequential".into(),
        Strategy::StrictSequential => "strict_sequential".into(),
        Strategy::FirstOnly => "first_only".into(),
        Strategy::LastOnly => "last_only".into(),
        Strategy::Parallel(runs) => format!("parallel: {runs}"),
        Strategy::SerialLatestOnly => "serial_latest_only".into(),
    }
}

/// Why a run ended as it did, from its rows.
pub fn explain_run(run: &RunRow, tasks: &[Arc<TaskRow>]) -> Vec<Explanation> {
    let subject = format!("run {}", run.id);
    let mut all = Vec::new();
    match &run.reason {
        Some(reason) => {
            let told = Explanation::because(&subject, reason);
            all.push(match run.state {
                RunState::Failed | RunState::TimedOut | RunState::Cancelled => {
                    told.cure(format!("dalsegno resume {}", run.id))
                }
                _ => told,
            });
        }
        None => all.push(Explanation::new("ended", &subject, run.state)),
    }
    let mut told: Vec<_> = tasks
        .iter()
        .filter(|it| it.state != TaskState::Succeeded)
        .collect();
    // Causes first; then what came to pass only because of them.
    told.sort_by_key(|it| {
        matches!(
            it.reason,
            Some(Reason::UpstreamFailed { .. } | Reason::UpstreamSkipped { .. })
        )
    });
    for task in told {
        if let Some(reason) = &task.reason {
            let about = format!("run {}, task {}", run.id, task.task);
            all.push(Explanation {
                text: format!("{}: {reason}", task.state),
                cure: cure(reason, run.flow.as_str()),
                ..Explanation::because(about, reason)
            });
        }
        if all.len() >= EXPLANATIONS_MAX {
            break;
        }
    }
    all
}

/// Why an occurrence ended as it did.
pub fn explain_occurrence(row: &crate::row::OccurrenceRow) -> Explanation {
    let told = match (&row.reason, row.run) {
        (Some(reason), _) => Explanation {
            text: format!("{}: {reason}", row.state),
            cure: cure(reason, row.flow.as_str()),
            ..Explanation::because(&row.key, reason)
        },
        (None, Some(run)) => Explanation::new("ran", &row.key, format!("{}: run {run}", row.state)),
        (None, None) => Explanation::new("expected", &row.key, row.state),
    };
    match row.state {
        OccurrenceState::Expected => told.until(Some(row.due_at)),
        _ => told,
    }
}
