//! Rows as the API shows them: times in RFC 3339, run ids as text, reasons with their text.

use crate::metaflow;
use dalsegno_scheduler::row::{
    AttemptRow, BackfillItemRow, BackfillRow, EventRow, FlowRow, HalfMatchRow, JournalEntry,
    MatchRow, OccurrenceRow, RefusedRow, RunRow, TaskRow,
};
use dalsegno_scheduler::{AttemptId, Reason, Scheduler, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A list as every list of the API looks.
pub(crate) fn list(items: Vec<Value>, next: Option<String>) -> Value {
    json!({ "items": items, "next": next })
}

/// A row that the API shows.
pub(crate) trait Shown: Serialize {
    /// Members that rows leave out when they have no value, and the API shows as null.
    const NULLABLE: &'static [&'static str];
}

macro_rules! shown {
    ($($row:ty: $($name:literal)*;)*) => {
        $(impl Shown for $row { const NULLABLE: &'static [&'static str] = &[$($name),*]; })*
    };
}

shown! {
    FlowRow: "active_version" "invalid" "paused" "blocked_by";
    OccurrenceRow: "reason" "run";
    RefusedRow:;
    BackfillRow: "reason" "finished_at";
    BackfillItemRow: "reason" "run";
    EventRow: "subject" "replay_of";
    MatchRow: "reason" "run";
    HalfMatchRow: "expires_at";
    RunRow: "reason" "ending" "started_at" "finished_at" "deadline" "origin"
        "parent" "backfill";
    TaskRow: "reason" "submitted_at" "started_at" "finished_at" "retry_at" "deadline" "external_id"
        "log" "array" "memory_bytes" "outputs" "chosen" "splits";
    AttemptRow: "reason" "class" "rule" "external_id" "log" "memory_bytes" "started_at";
    JournalEntry: "run";
    Reason:;
}

/// Any row.
pub(crate) fn row<R: Shown>(row: &R) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or_default();
    public(&mut value);
    if let Some(map) = value.as_object_mut() {
        for name in R::NULLABLE {
            map.entry(*name).or_insert(Value::Null);
        }
    }
    value
}

/// What people and tasks wrote is shown as it is.
fn is_theirs(name: &str) -> bool {
    matches!(
        name,
        "params" | "outputs" | "data" | "items" | "source" | "definition"
    )
}

fn is_time(name: &str) -> bool {
    name.ends_with("_at")
        || matches!(
            name,
            "at" | "deadline"
                | "time"
                | "start"
                | "end"
                | "from"
                | "to"
                | "since"
                | "until"
                | "next"
        )
}

/// Lengths in microseconds, whose unit is added to the name.
fn is_span(name: &str) -> bool {
    matches!(name, "timeout" | "within" | "window")
}

fn is_run(name: &str) -> bool {
    matches!(name, "run" | "running" | "blocked_by" | "origin")
}

fn public(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(public),
        Value::Object(map) => {
            if let Some(text) = reason_text(map) {
                map.insert("text".into(), Value::String(text));
            }
            // The events of a run stand under their own numbers.
            map.remove("event_data");
            // Of all rows only runs have a number as `id`.
            if let Some(Value::Number(id)) = map.get("id") {
                let id = id.to_string();
                map.insert("id".into(), id.into());
            }
            let spans: Vec<String> = map
                .iter()
                .filter(|(name, value)| is_span(name) && value.is_i64())
                .map(|(name, _)| name.clone())
                .collect();
            for name in spans {
                let span = map.remove(&name).unwrap_or_default();
                map.insert(format!("{name}_us"), span);
            }
            for (name, value) in map.iter_mut() {
                match value.as_i64() {
                    Some(us) if is_time(name) => *value = Timestamp(us).to_string().into(),
                    Some(number) if is_run(name) => *value = number.to_string().into(),
                    _ if is_theirs(name) => {}
                    _ => public(value),
                }
            }
        }
        _ => {}
    }
}

fn reason_text(map: &Map<String, Value>) -> Option<String> {
    map.get("code")?.as_str()?;
    let reason: Reason = serde_json::from_value(Value::Object(map.clone())).ok()?;
    Some(reason.to_string())
}

/// A run; of a Metaflow flow with its name there.
pub(crate) fn run(view: &Scheduler, run: &RunRow) -> Value {
    let mut value = row(run);
    value["metaflow"] = json!(metaflow::of_run(view, run));
    if let Some(parent) = &run.parent {
        let attempt = &parent.attempt;
        value["parent"] = json!({
            "run": attempt.run.to_string(), "task": attempt.task, "attempt": attempt.number,
            "waits": parent.waits, "depth": parent.depth,
        });
    }
    value
}

/// An event; CloudEvents calls its kind `type`.
pub(crate) fn event(event: &EventRow) -> Value {
    let mut value = row(event);
    value["type"] = value["kind"].take();
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
    }
    value
}

/// An occurrence, and whether a calendar moved it to another day than the schedule's.
pub(crate) fn occurrence(occurrence: &OccurrenceRow) -> Value {
    let mut value = row(occurrence);
    if let Some(map) = value.as_object_mut() {
        // What the scheduler plans by.
        map.remove("since");
    }
    value["moved"] = is_moved(occurrence).into();
    value
}

/// The interval of a schedule's occurrence ends at its slot, wherever a calendar moved the run.
pub(crate) fn is_moved(occurrence: &OccurrenceRow) -> bool {
    occurrence.key.starts_with("cron:") && occurrence.due_at != occurrence.interval.end
}

/// An attempt that has ended.
pub(crate) fn attempt(attempt: &AttemptRow) -> Value {
    let mut value = row(attempt);
    name_parts(&mut value, &attempt.id);
    value
}

/// The live attempt of a task, if it has one.
pub(crate) fn live_attempt(task: &TaskRow) -> Option<Value> {
    let id = AttemptId {
        run: task.run,
        task: task.task.clone(),
        number: task.attempt,
    };
    let mut value = json!({
        "id": id,
        "state": task.state,
        "reason": task.reason.as_ref().map(row),
        "class": null,
        "rule": null,
        "external_id": task.external_id,
        "log": task.log,
        "memory_bytes": task.memory_bytes,
        "submitted_at": task.submitted_at.map(|it| it.to_string()),
        "started_at": task.started_at.map(|it| it.to_string()),
        "finished_at": null,
    });
    name_parts(&mut value, &id);
    task.state.is_live().then_some(value)
}

fn name_parts(value: &mut Value, id: &AttemptId) {
    value["run"] = id.run.to_string().into();
    value["task"] = id.task.to_string().into();
    value["number"] = id.number.into();
}

/// In one word, what a person would say of the flow.
pub(crate) fn flow_state(flow: &FlowRow) -> &'static str {
    match flow {
        FlowRow { removed: true, .. } => "removed",
        FlowRow {
            paused: Some(_), ..
        } => "paused",
        FlowRow {
            invalid: Some(_), ..
        } => "invalid",
        _ => "active",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::row::{Interval, RunState};
    use dalsegno_scheduler::{RunId, Span};
    use std::sync::Arc;

    #[test]
    fn a_run_shows_text_ids_calendar_times_and_reasons_in_words() {
        let at = Timestamp::from_secs;
        let params = json!({"at": 5, "deadline": 6});
        let run = RunRow {
            parent: None,
            backfill: None,
            origin: None,
            origin_created_at: None,
            id: RunId(42),
            flow: "etl".into(),
            version: "0123456789abcdef".into(),
            state: RunState::TimedOut,
            generation: 1,
            params: Arc::new(params.as_object().expect("an object").clone()),
            occurrence: "cron:daily:2026-11-22T06:00:00Z".into(),
            trigger: "daily".into(),
            interval: Interval {
                start: at(0),
                end: at(86_400),
            },
            priority: 0,
            events: vec![7],
            event_data: Arc::default(),
            reason: Some(Reason::RunTimeout {
                timeout: Span::from_mins(5),
            }),
            ending: None,
            queued_at: at(86_400),
            created_at: at(86_400),
            started_at: Some(at(86_401)),
            finished_at: Some(at(86_701)),
            deadline: Some(at(86_701)),
        };
        insta::assert_json_snapshot!(row(&run));
    }
}
