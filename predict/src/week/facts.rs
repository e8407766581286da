//! What the days were reckoned without, and what was assumed.

use super::Options;
use super::ends::Ends;
use dalsegno_scheduler::Scheduler;
use dalsegno_scheduler::spec::{EventSource, TriggerLeaf};
use std::collections::{BTreeMap, BTreeSet};

/// Names of at most this many flows are said one by one.
const NAMED: usize = 5;

/// What is told, and the flows of which it is not known whether runs would have come.
pub(super) fn gather(
    core: &Scheduler,
    ends: &Ends<'_>,
    options: &Options,
) -> (Vec<String>, BTreeSet<String>) {
    let mut waits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut by_hand = BTreeSet::new();
    let mut paused = BTreeSet::new();
    let mut sub_flows = BTreeSet::new();
    for state in core.flows().filter(|it| !it.row.removed) {
        let Some(flow) = &state.flow else { continue };
        for step in &flow.spec().steps {
            if let dalsegno_scheduler::spec::Command::Flow(own) = &step.run {
                sub_flows.insert(own.flow.to_string());
            }
        }
    }
    for state in core.flows().filter(|it| !it.row.removed) {
        let Some(flow) = &state.flow else { continue };
        let (spec, name) = (flow.spec(), state.row.name.to_string());
        if state.row.paused.is_some() {
            paused.insert(name.clone());
        }
        let is_reached = sub_flows.contains(&name);
        if spec.schedules.is_empty() && spec.triggers.is_empty() && !is_reached {
            by_hand.insert(name.clone());
        }
        for leaf in spec.triggers.iter().flat_map(|it| it.on.leaves()) {
            let what = match &leaf.source {
                EventSource::Event { kind } => format!("events `{kind}`"),
                EventSource::Object { bucket, key } => format!("objects s3://{bucket}/{}", key.0),
                EventSource::Dataset { namespace, name } => format!("data set {namespace}/{name}"),
                EventSource::Flow { .. } | EventSource::After { .. } => continue,
            };
            waits.entry(what).or_default().insert(name.clone());
        }
    }
    let mut unknowable: BTreeSet<String> = waits.values().flatten().cloned().collect();
    unknowable.extend(by_hand.iter().chain(&paused).cloned());
    with_those_after(core, &mut unknowable);
    let mut facts = Vec::new();
    for (what, flows) in waits {
        facts.push(format!(
            "{what} come from outside and do not come here: {} waits for them",
            listed(&flows)
        ));
    }
    if !by_hand.is_empty() {
        facts.push(format!(
            "started by hand only, so never here: {}",
            listed(&by_hand)
        ));
    }
    if !paused.is_empty() {
        facts.push(format!("paused, and stays so: {}", listed(&paused)));
    }
    let steps = |of: &BTreeSet<(dalsegno_scheduler::FlowName, dalsegno_scheduler::StepName)>| {
        let names = of.iter().map(|(flow, step)| format!("{flow}/{step}"));
        listed(&names.collect())
    };
    if !ends.without_history.is_empty() {
        facts.push(format!(
            "no step of these ever succeeded, so each task takes {} (or its timeout, if that is less): {}",
            options.assumed,
            steps(&ends.without_history)
        ));
    }
    if !ends.without_choice.is_empty() {
        facts.push(format!(
            "which way these go, or how many items they find, is not known from before; the first way, one item: {}",
            steps(&ends.without_choice)
        ));
    }
    facts.push(
        "every task succeeds, unless it runs out of time; nobody starts, stops or pauses anything"
            .to_owned(),
    );
    (facts, unknowable)
}

/// Adds the flows that wait for one of these.
fn with_those_after(core: &Scheduler, flows: &mut BTreeSet<String>) {
    loop {
        let before = flows.len();
        for flow in core.flows().filter_map(|it| it.flow.as_ref()) {
            let leaves = flow.spec().triggers.iter().flat_map(|it| it.on.leaves());
            let waits = |leaf: &TriggerLeaf| match &leaf.source {
                EventSource::Flow { flow, .. } => flows.contains(flow.as_str()),
                _ => false,
            };
            if leaves.into_iter().any(waits) {
                flows.insert(flow.name().to_string());
            }
        }
        if flows.len() == before {
            return;
        }
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    match names.len().checked_sub(NAMED).filter(|it| *it > 0) {
        None => first.join(", "),
        Some(more) => format!("{} and {more} more", first.join(", ")),
    }
}
