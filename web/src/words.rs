//! What starts a flow, in words.

use dalsegno_scheduler::Flow;
use dalsegno_scheduler::spec::{
    EventSource, FlowEnd, Misfire, ScheduleSpec, TriggerExpr, TriggerLeaf,
};

/// One line for lists: all schedules and triggers.
pub(crate) fn starts(flow: &Flow) -> String {
    let schedules = flow
        .schedules()
        .map(|(_, schedule)| schedule.describe().to_owned());
    let triggers = flow
        .spec()
        .triggers
        .iter()
        .map(|it| format!("on {}", trigger(&it.on)));
    let all: Vec<String> = schedules.chain(triggers).collect();
    if all.is_empty() {
        return "by hand only".into();
    }
    all.join("; ")
}

/// `etl succeeded and orders.corrected`.
pub(crate) fn trigger(on: &TriggerExpr) -> String {
    match on {
        TriggerExpr::Leaf(it) => leaf(it),
        TriggerExpr::AllOf(parts) => join(parts, " and "),
        TriggerExpr::AnyOf(parts) => join(parts, " or "),
    }
}

fn join(parts: &[TriggerExpr], word: &str) -> String {
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            TriggerExpr::Leaf(it) => leaf(it),
            nested => format!("({})", trigger(nested)),
        })
        .collect();
    texts.join(word)
}

/// One leaf: what it waits for.
pub(crate) fn leaf(leaf: &TriggerLeaf) -> String {
    let what = match &leaf.source {
        EventSource::Flow { flow, on } => match on {
            FlowEnd::Succeeded => format!("{flow} succeeded"),
            FlowEnd::Failed => format!("{flow} failed"),
            FlowEnd::Finished => format!("{flow} finished"),
        },
        EventSource::Event { kind } => format!("event {kind}"),
    };
    match &leaf.filter {
        Some(filter) => format!("{what} where {}", filter.source()),
        None => what,
    }
}

/// What is special about a schedule: zone, jitter, what happens when it is missed.
pub(crate) fn schedule_detail(spec: &ScheduleSpec) -> String {
    let misfire = |it: Misfire| match it {
        Misfire::Skip => "nothing is caught up",
        Misfire::Latest => "the latest is caught up",
        Misfire::All => "all are caught up",
    };
    let mut parts = vec![spec.name.to_string()];
    if spec.jitter.0 > 0 {
        parts.push(format!("up to {} later", spec.jitter));
    }
    parts.push(format!("after an outage {}", misfire(spec.misfire.down)));
    parts.push(format!("after a pause {}", misfire(spec.misfire.paused)));
    parts.join(" · ")
}
