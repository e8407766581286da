//! Tasks added up and told: states of many as one, bars of a time line.

use crate::gantt::Bar;
use crate::text::relative;
use dalsegno_scheduler::row::{AttemptRow, ScopeRow, TaskRow, TaskState};
use dalsegno_scheduler::{Flow, StepName, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Until when the newest attempt ran; `None` while it runs.
pub(super) fn until(task: &TaskRow) -> Option<Timestamp> {
    match task.state {
        TaskState::Running | TaskState::Stopping | TaskState::Submitting => None,
        _ => task.finished_at.or(task.started_at),
    }
}

pub(super) fn word(state: TaskState) -> String {
    state.as_str().replace('_', " ")
}

/// The second line of a card.
pub(super) fn task_told(task: &TaskRow, now: Timestamp) -> String {
    // With a retry there is no room for the word as well; the icon says it.
    let mut parts = match task.attempt {
        _ if task.state == TaskState::BackingOff && task.retry_at.is_some() => Vec::new(),
        0 | 1 => vec![word(task.state)],
        number => vec![format!("attempt {number}")],
    };
    match (task.state, task.started_at, task.retry_at) {
        (TaskState::BackingOff, _, Some(at)) => parts.push(format!("again {}", relative(at, now))),
        (TaskState::Ready, ..) => parts.push((now - task.ready_at).to_string()),
        (_, Some(from), _) => parts.push((until(task).unwrap_or(now) - from).to_string()),
        _ => {}
    }
    parts.join(" · ")
}

pub(super) fn sum_told(sums: &BTreeMap<TaskState, u64>, total: u64) -> String {
    if total == 0 {
        return "not yet".into();
    }
    let count = |states: &[TaskState]| -> u64 { states.iter().filter_map(|it| sums.get(it)).sum() };
    let done = count(&[TaskState::Succeeded, TaskState::Caught]);
    let mut line = format!("{done} of {total}");
    let failed = count(&[TaskState::Failed]);
    let live = count(&[
        TaskState::Running,
        TaskState::Submitting,
        TaskState::Stopping,
    ]);
    let skipped = count(&[TaskState::Skipped]);
    for (n, word) in [(failed, "failed"), (live, "running"), (skipped, "skipped")] {
        if n > 0 {
            line = format!("{line} · {n} {word}");
        }
    }
    line
}

/// The state that a person should see first.
pub(super) fn sum_state(sums: &BTreeMap<TaskState, u64>, total: u64) -> &'static str {
    use TaskState::{
        BackingOff, Cancelled, Caught, Failed, Ready, Running, Skipped, Stopping, Submitting,
        Succeeded, Waiting,
    };
    if sums.is_empty() {
        return "none";
    }
    for state in [Running, Submitting, Stopping, BackingOff, Ready, Waiting] {
        if sums.contains_key(&state) {
            return if matches!(state, Submitting) {
                "running"
            } else {
                state.as_str()
            };
        }
    }
    for state in [Failed, Cancelled, Caught] {
        if sums.contains_key(&state) {
            return state.as_str();
        }
    }
    match sums.values().sum::<u64>() < total {
        true => "running",
        false if sums.keys().all(|it| *it == Skipped) => "skipped",
        false => Succeeded.as_str(),
    }
}

pub(super) fn parts(sums: &BTreeMap<TaskState, u64>, total: u64) -> Vec<(&'static str, u32)> {
    let share = |count: u64| u32::try_from(count * 1000 / total.max(1)).unwrap_or(1000);
    let order = [
        TaskState::Succeeded,
        TaskState::Caught,
        TaskState::Failed,
        TaskState::Cancelled,
        TaskState::Skipped,
        TaskState::BackingOff,
        TaskState::Stopping,
        TaskState::Running,
        TaskState::Submitting,
    ];
    let part = |state: TaskState| {
        sums.get(&state)
            .map(|count| (state.as_str(), share(*count)))
    };
    order.into_iter().filter_map(part).collect()
}

/// How many tasks each step of a foreach will have, by the items of its open scopes.
pub(super) fn expected(flow: &Flow, scopes: &[Arc<ScopeRow>]) -> BTreeMap<StepName, u64> {
    let mut expected = BTreeMap::new();
    for step in &flow.spec().steps {
        if let Some((scope, ..)) = flow.scope_at(step.scope) {
            let openings = scopes.iter().filter(|it| it.scope == scope.name);
            let items: usize = openings.map(|it| it.items.len()).sum();
            expected.insert(step.name.clone(), items as u64);
        }
    }
    expected
}

/// Attempts that ended, then the live one or the wait for it.
pub(super) fn bars(task: &TaskRow, ended: &[AttemptRow], now: Timestamp) -> Vec<Bar> {
    let newest = ended.last().map_or(0, |it| it.id.number);
    let wait_of = |number: u32, submitted: Timestamp, before: Option<Timestamp>| {
        let fits = number == task.attempt.max(1)
            && task.ready_at <= submitted
            && before.is_none_or(|it| it <= task.ready_at);
        fits.then_some(task.ready_at)
    };
    // What a resume repeats was over in between, and waited for nothing.
    let retried = |number: u32, before: Option<Timestamp>| {
        before.filter(|_| number > task.attempts_before + 1)
    };
    let mut bars = Vec::new();
    let mut before = None;
    for it in ended {
        bars.push(Bar {
            number: it.id.number,
            retry_since: retried(it.id.number, before),
            queued_at: wait_of(it.id.number, it.submitted_at, before),
            submitted_at: Some(it.submitted_at),
            started_at: it.started_at,
            until: it.finished_at,
            state: it.state.as_str(),
        });
        before = Some(it.finished_at);
    }
    match (task.state, task.submitted_at) {
        (TaskState::Ready, _) => bars.push(Bar {
            number: 0,
            retry_since: retried(task.attempt + 1, before),
            queued_at: Some(task.ready_at),
            submitted_at: None,
            started_at: None,
            until: now,
            state: "ready",
        }),
        (TaskState::BackingOff, _) => bars.push(Bar {
            number: 0,
            retry_since: before,
            queued_at: None,
            submitted_at: None,
            started_at: None,
            until: now,
            state: "backing_off",
        }),
        (state, Some(submitted)) if task.attempt > newest => bars.push(Bar {
            number: task.attempt,
            retry_since: retried(task.attempt, before),
            queued_at: wait_of(task.attempt, submitted, before),
            submitted_at: Some(submitted),
            started_at: task.started_at,
            until: if state.is_live() {
                now
            } else {
                task.finished_at.unwrap_or(now)
            },
            state: if state == TaskState::Submitting {
                "running"
            } else {
                state.as_str()
            },
        }),
        _ => {}
    }
    bars
}
