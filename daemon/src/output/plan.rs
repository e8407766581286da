//! What a resume will do: which tasks are kept, and which are repeated.

use super::tone::{self, Tone};
use crate::client::{Flow, Run, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Names listed in one line of a plan.
const NAMES_MAX: usize = 12;

/// Tasks by what a resume does to them, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) kept: Vec<String>,
    pub(crate) repeated: Vec<String>,
    /// Steps that have no task yet.
    pub(crate) follows: Vec<String>,
}

/// Works out a plan. Without the flow of the run's version it is not known what follows a step.
pub(crate) fn plan(run: &Run, flow: Option<&Flow>, tasks: &[Task], from: Option<&str>) -> Plan {
    let again = from.map_or_else(BTreeSet::new, |from| from_here(flow, from));
    let mut steps: BTreeMap<(bool, &str), Vec<&Task>> = BTreeMap::new();
    let mut order: Vec<&str> = flow.map_or_else(Vec::new, |it| {
        it.steps.iter().map(|it| it.name.as_str()).collect()
    });
    let mut seen = BTreeSet::new();
    for task in tasks {
        let step = task.step();
        let kept = task.is_done() && !again.contains(step);
        steps.entry((kept, step)).or_default().push(task);
        seen.insert(step);
        if !order.contains(&step) {
            order.push(step);
        }
    }
    let mut plan = Plan::default();
    for step in order {
        if let Some(group) = steps.get(&(true, step)) {
            plan.kept.extend(names(group, false));
        }
        if let Some(group) = steps.get(&(false, step)) {
            plan.repeated.extend(names(group, true));
        }
        if !seen.contains(step) && !run.succeeded() {
            plan.follows.push(step.to_owned());
        }
    }
    plan
}

impl Plan {
    pub(crate) fn render(&self, run: &Run, new_run: bool) -> String {
        let (what, kept) = match new_run {
            true => ("a new run begins with copies", "cloned"),
            false => ("will go on", "kept"),
        };
        let (id, flow, state) = (&run.id, &run.flow, tone::state(&run.state));
        let mut text = match new_run {
            true => format!(
                "run {id} of {flow} {} {state} and stays so; {what}:\n",
                match run.state.as_str() {
                    "succeeded" | "failed" | "timed_out" => "has",
                    "cancelled" => "was",
                    _ => "is",
                }
            ),
            false => format!("run {id} of {flow}, now {state}, {what}:\n"),
        };
        for (title, names) in [
            (kept, &self.kept),
            ("repeated", &self.repeated),
            ("to come", &self.follows),
        ] {
            if names.is_empty() {
                continue;
            }
            let mut list = names
                .iter()
                .take(NAMES_MAX)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            if names.len() > NAMES_MAX {
                let _ = write!(list, " and {} more", names.len() - NAMES_MAX);
            }
            let _ = writeln!(
                text,
                "  {} {list}",
                Tone::Quiet.paint(&format!("{title:<9}"))
            );
        }
        text
    }
}

/// With which version of its flow a run goes on, where the newest valid one is known.
pub(crate) fn goes_on_with(run: &Run, newest: Option<&str>, same_version: bool) -> String {
    let own = short(&run.version);
    match newest.filter(|it| *it != run.version).map(short) {
        None => format!("goes on with version {own}"),
        Some(newest) if same_version => {
            format!("goes on with version {own}, as it began (the flow's newest is {newest})")
        }
        Some(newest) => format!(
            "goes on with version {newest} (the run began with {own}; --same-version keeps that)"
        ),
    }
}

/// Enough of a version to tell it from others.
pub(crate) fn short(version: &str) -> &str {
    version.get(..8).unwrap_or(version)
}

/// Tasks of one step: by one name when there are many alike.
fn names(group: &[&Task], with_state: bool) -> Vec<String> {
    let mut by_state: BTreeMap<&str, Vec<&&Task>> = BTreeMap::new();
    for task in group {
        by_state
            .entry(if with_state { &task.state } else { "" })
            .or_default()
            .push(task);
    }
    let of_state = |(state, tasks): (&str, Vec<&&Task>)| {
        let name = match tasks.as_slice() {
            [task] => task.task.clone(),
            tasks => format!("{} ×{}", tasks[0].step(), tasks.len()),
        };
        match state {
            "" => name,
            state => format!("{name} ({})", tone::words(state)),
        }
    };
    by_state.into_iter().map(of_state).collect()
}

/// A step, or the steps of a foreach, with all that follows.
fn from_here<'a>(flow: Option<&'a Flow>, from: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([from]);
    let Some(flow) = flow else {
        return found;
    };
    let inside = flow
        .steps
        .iter()
        .filter(|it| it.foreach.as_deref() == Some(from));
    found.extend(inside.map(|it| it.name.as_str()));
    loop {
        let before = found.len();
        for (step, next) in &flow.edges {
            if found.contains(step.as_str()) {
                found.insert(next);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
