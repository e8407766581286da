//! What starts a flow, in words.

use dalsegno_scheduler::schedule::{Gap, Schedule, When};
use dalsegno_scheduler::spec::{
    EventSource, FlowEnd, Misfire, ResetSpec, ScheduleSpec, TriggerExpr, TriggerLeaf,
};
use dalsegno_scheduler::{Flow, TriggerName};

/// One line for lists: all schedules and triggers.
pub(crate) fn starts(flow: &Flow) -> String {
    let schedules = flow
        .schedules()
        .map(|(_, schedule)| schedule.describe().to_owned());
    let triggers = flow.spec().triggers.iter().map(|it| when(&it.on));
    let all: Vec<String> = schedules.chain(triggers).collect();
    if all.is_empty() {
        return "by hand only".into();
    }
    all.join("; ")
}

/// What started a run, where the flow still has it and gave it no name of its own.
pub(crate) fn starter(flow: &Flow, name: &TriggerName) -> Option<String> {
    let mut schedules = flow.schedules().filter(|(it, _)| is_made_of(it));
    if let Some((_, schedule)) = schedules.find(|(it, _)| it.name == *name) {
        return Some(schedule.describe().to_owned());
    }
    if let Some(words) = metaflow_starter(flow, name) {
        return Some(words);
    }
    let made = ["all_of(", "any_of(", "flow ", "event "];
    let mut triggers = flow.spec().triggers.iter();
    let trigger = triggers.find(|it| it.name == *name)?;
    made.iter()
        .any(|it| name.as_str().starts_with(it))
        .then(|| when(&trigger.on))
}

/// In a Metaflow flow every schedule and trigger is named after its decorator.
fn metaflow_starter(flow: &Flow, name: &TriggerName) -> Option<String> {
    flow.spec().metaflow.as_ref()?;
    let schedule = flow.schedules().find(|(it, _)| it.name == *name);
    let trigger = || flow.spec().triggers.iter().find(|it| it.name == *name);
    match schedule {
        Some((_, schedule)) => Some(schedule.describe().to_owned()),
        None => trigger().map(|it| when(&it.on)),
    }
}

/// Whether the schedule has no name of its own: then its name only repeats what it says.
fn is_made_of(spec: &ScheduleSpec) -> bool {
    let name = spec.name.as_str();
    match &spec.when {
        When::Cron { text } => name.starts_with(text.trim()),
        When::Every { .. } => name.starts_with("every "),
    }
}

/// `when etl and report have succeeded`, `on event orders.corrected`.
pub(crate) fn when(on: &TriggerExpr) -> String {
    let events_only = on
        .leaves()
        .iter()
        .all(|it| matches!(it.source, EventSource::Event { .. }));
    let word = if events_only { "on" } else { "when" };
    format!("{word} {}", trigger(on))
}

/// `etl has succeeded and event orders.corrected`.
pub(crate) fn trigger(on: &TriggerExpr) -> String {
    match on {
        TriggerExpr::Leaf(it) => leaf(it),
        TriggerExpr::AllOf(parts) => join(parts, " and "),
        TriggerExpr::AnyOf(parts) => join(parts, " or "),
    }
}

fn join(parts: &[TriggerExpr], word: &str) -> String {
    if let Some(together) = same_end(parts, word) {
        return together;
    }
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            TriggerExpr::Leaf(it) => leaf(it),
            nested => format!("({})", trigger(nested)),
        })
        .collect();
    texts.join(word)
}

/// Flows that are waited for in the same way, said once: `a and b have succeeded`.
fn same_end(parts: &[TriggerExpr], word: &str) -> Option<String> {
    let mut names = Vec::new();
    let mut ends = Vec::new();
    for part in parts {
        match part {
            TriggerExpr::Leaf(TriggerLeaf {
                source: EventSource::Flow { flow, on },
                filter: None,
                ..
            }) => {
                names.push(flow.as_str());
                ends.push(*on);
            }
            _ => return None,
        }
    }
    let first = *ends.first()?;
    let (last, before) = names.split_last()?;
    if before.is_empty() || ends.iter().any(|it| *it != first) {
        return None;
    }
    let have = if word == " and " { "have" } else { "has" };
    let before = before.join(", ");
    Some(format!("{before}{word}{last} {have} {}", end(first)))
}

const fn end(on: FlowEnd) -> &'static str {
    match on {
        FlowEnd::Succeeded => "succeeded",
        FlowEnd::Failed => "failed",
        FlowEnd::Finished => "finished",
    }
}

/// One leaf: what it waits for.
pub(crate) fn leaf(leaf: &TriggerLeaf) -> String {
    let what = match &leaf.source {
        EventSource::Flow { flow, on } => format!("{flow} has {}", end(*on)),
        EventSource::Event { kind } => format!("event {kind}"),
        EventSource::Object { bucket, key } => format!("s3://{bucket}/{} arrives", key.0),
        EventSource::Dataset { namespace, name } => format!("{namespace}/{name} is written"),
        EventSource::After { time } => format!("it is {time}"),
    };
    match &leaf.filter {
        Some(filter) => format!("{what} where {}", filter.source()),
        None => what,
    }
}

/// When arrivals that wait for others are forgotten.
pub(crate) fn reset(reset: &ResetSpec) -> String {
    match Schedule::new(&reset.when, &reset.timezone, Gap::default(), None) {
        Ok(schedule) => format!("what has arrived is forgotten {}", schedule.describe()),
        Err(_) => format!(
            "what has arrived is forgotten by a schedule in {}",
            reset.timezone
        ),
    }
}

/// What is special about a schedule: its own name, jitter, what happens when it is missed.
pub(crate) fn schedule_detail(spec: &ScheduleSpec) -> String {
    let misfire = |it: Misfire| match it {
        Misfire::Skip => "nothing is caught up",
        Misfire::Latest => "the latest is caught up",
        Misfire::All => "all are caught up",
    };
    let mut parts = Vec::new();
    if !is_made_of(spec) {
        parts.push(spec.name.to_string());
    }
    if spec.jitter.0 > 0 {
        parts.push(format!("up to {} later", spec.jitter));
    }
    parts.push(format!("after an outage {}", misfire(spec.misfire.down)));
    parts.push(format!("after a pause {}", misfire(spec.misfire.paused)));
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(on: Value) -> String {
        when(&serde_json::from_value(on).expect("a trigger"))
    }

    fn flow(name: &str, on: &str) -> Value {
        json!({"leaf": {"source": {"flow": {"flow": name, "on": on}}}})
    }

    #[test]
    fn what_starts_a_flow_is_a_sentence() {
        let event = json!({"leaf": {"source": {"event": {"kind": "orders.in"}}}});
        let all = json!({"all_of": [flow("a", "succeeded"), flow("b", "succeeded")]});
        let any =
            json!({"any_of": [flow("a", "failed"), flow("b", "failed"), flow("c", "failed")]});
        let mixed = json!({"all_of": [flow("a", "finished"), event.clone()]});
        assert_eq!(told(flow("a", "succeeded")), "when a has succeeded");
        assert_eq!(told(all), "when a and b have succeeded");
        assert_eq!(told(any), "when a, b or c has failed");
        assert_eq!(told(mixed), "when a has finished and event orders.in");
        assert_eq!(told(event), "on event orders.in");
    }
}
