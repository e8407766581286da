//! What an execution will take of the service's limits.

use super::{DEFINITION_MAX, StateMachine};
use dalsegno_scheduler::StepName;
use serde_json::Value;
use std::collections::BTreeMap;

/// Events that an execution's history may have.
pub const HISTORY_MAX: u64 = 25_000;

/// Bytes of a state's input or output.
pub const PAYLOAD_MAX: u64 = 256 << 10;

/// Percent of a limit from which on a flow is warned.
const WARN_PERCENT: u64 = 80;

/// What an execution takes.
///
/// Events, as the service counts them: 2 for the execution (started, and its end); entered and exited, 2, for a Choice,
/// Pass or Succeed, 1 for a Fail; 6 for a job (entered, scheduled, started, submitted, succeeded, exited) and 4 more
/// (scheduled, started, submitted, failed) for each retry; 5 for a read from S3 (no "submitted"); 4 for a Parallel and
/// those of its branches; 4 for an inline Map and per item 2 and those of its inside; 4 and one for the start of its
/// run for a Distributed Map, whose items have histories of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// When every step is taken and succeeds at once: exact, where the numbers of items are known.
    pub events: u64,
    /// When every state is entered and every job repeated as often as it may be: never more.
    pub events_most: u64,
    pub definition_bytes: u64,
    /// The longest name of a state, in characters.
    pub name_chars: u64,
    /// States that hold tokens: each takes up to 24 bytes of every payload.
    pub tokens: u64,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// Something to be told before a flow runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub message: String,
    pub cure: String,
}

pub(super) fn estimate(definition: &Value, items: &BTreeMap<StepName, usize>) -> Estimate {
    let mut estimate = Estimate {
        events: 2 + events(definition, items, false),
        events_most: 2 + events(definition, items, true),
        definition_bytes: definition.to_string().len() as u64,
        ..Estimate::default()
    };
    names(definition, &mut estimate);
    estimate
}

/// What is near a limit, or beyond it.
///
/// `input`: bytes of the execution's input, when it is known.
pub fn findings(machine: &StateMachine, input: Option<u64>) -> Vec<Finding> {
    let it = machine.estimate;
    let payload = input.map(|input| input + it.tokens * 24);
    let kib = 1 << 10;
    let split = "split the flow into several that follow each other, or use `executor: batch`, which has no such limit";
    let limits = [
        ("events in its history", it.events, HISTORY_MAX, 1, split),
        (
            "KiB of definition",
            it.definition_bytes,
            DEFINITION_MAX as u64,
            kib,
            split,
        ),
        (
            "KiB of input and tokens",
            payload.unwrap_or(0),
            PAYLOAD_MAX,
            kib,
            "give long values through S3, or use `executor: batch`",
        ),
    ];
    let mut findings = Vec::new();
    for (what, value, most, unit, cure) in limits {
        let severity = match value {
            _ if value > most => Severity::Error,
            _ if value * 100 > most * WARN_PERCENT => Severity::Warning,
            _ => continue,
        };
        findings.push(Finding {
            severity,
            message: format!(
                "an execution would have {} {what}, and Step Functions takes at most {}",
                value.div_ceil(unit),
                most / unit
            ),
            cure: cure.to_owned(),
        });
    }
    if it.events <= HISTORY_MAX && it.events_most > HISTORY_MAX {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "with all retries an execution would have up to {} events in its history, and Step Functions takes at \
                 most {HISTORY_MAX}",
                it.events_most
            ),
            cure: "allow fewer retries, or use `executor: batch`, which has no such limit".into(),
        });
    }
    findings
}

fn events(machine: &Value, items: &BTreeMap<StepName, usize>, most: bool) -> u64 {
    let Some(states) = machine["States"].as_object() else {
        return 0;
    };
    if most {
        let all = states.iter().map(|(name, it)| state(name, it, items, most));
        return all.fold(0, u64::saturating_add);
    }
    // The way on which everything is taken: a choice's default.
    let (mut at, mut sum) = (machine["StartAt"].as_str(), 0u64);
    while let Some((name, it)) = at.and_then(|name| Some((name, states.get(name)?))) {
        sum = sum.saturating_add(state(name, it, items, most));
        at = it["Default"].as_str().or_else(|| it["Next"].as_str());
    }
    sum
}

fn state(name: &str, state: &Value, items: &BTreeMap<StepName, usize>, most: bool) -> u64 {
    match state["Type"].as_str().unwrap_or_default() {
        "Fail" => 1,
        "Task" => {
            let retries = state["Retry"].as_array().into_iter().flatten();
            let retries: u64 = retries.filter_map(|it| it["MaxAttempts"].as_u64()).sum();
            let is_job = state["Resource"]
                .as_str()
                .is_some_and(|it| it.contains("batch:submitJob"));
            let (first, again) = if is_job { (6, 4) } else { (5, 3) };
            first + if most { again * retries } else { 0 }
        }
        "Parallel" => {
            let branches = state["Branches"].as_array().into_iter().flatten();
            branches.fold(4, |sum, it| sum + events(it, items, most))
        }
        "Map" => {
            let inside = &state["ItemProcessor"];
            if inside["ProcessorConfig"]["Mode"] == "DISTRIBUTED" {
                return 5;
            }
            let scope = name.strip_suffix(" foreach").unwrap_or(name);
            let count = items.get(scope).copied().unwrap_or(1) as u64;
            4u64.saturating_add(count.saturating_mul(2 + events(inside, items, most)))
        }
        _ => 2,
    }
}

fn names(machine: &Value, estimate: &mut Estimate) {
    for (name, state) in machine["States"].as_object().into_iter().flatten() {
        estimate.name_chars = estimate.name_chars.max(name.chars().count() as u64);
        let is_noted = state["Type"] == "Task" || state["Type"] == "Map";
        if is_noted
            && state["ResultPath"]
                .as_str()
                .is_some_and(|it| it.starts_with("$.r."))
        {
            estimate.tokens += 1;
        }
        for branch in state["Branches"].as_array().into_iter().flatten() {
            names(branch, estimate);
        }
        names(&state["ItemProcessor"], estimate);
    }
}
