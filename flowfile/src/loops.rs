//! Flows that would run each other for ever.

use crate::diagnostic::Diagnostic;
use crate::file::FlowFile;
use crate::neighbours::How;
use crate::source::Source;
use dalsegno_scheduler::Flow;
use dalsegno_scheduler::spec::{Command, EventSource, StepSpec, TriggerExpr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

type Flows = BTreeMap<String, Arc<Flow>>;

/// A way from a flow back to itself.
pub(crate) struct Loop {
    start: String,
    ways: Vec<Way>,
}

/// How one flow leads to a run of the next.
#[derive(Clone)]
struct Way {
    from: String,
    to: String,
    /// The step that runs it, or the trigger that its end pulls.
    by: By,
}

#[derive(Clone)]
enum By {
    Step(String),
    Trigger(String),
}

/// How a run of this flow leads to another run of it, again and again.
///
/// That a step runs a flow counts always. Beyond that a way counts that nothing can stop: steps without `when`, and
/// triggers that hold by the ends of flows on the way alone, without `where`. The core goes by the same rule.
pub(crate) fn find(flows: &Flows, flow: &Flow) -> Option<Loop> {
    walk(flows, flow, false).or_else(|| walk(flows, flow, true))
}

fn walk(flows: &Flows, flow: &Flow, with_triggers: bool) -> Option<Loop> {
    let start = flow.name().to_string();
    let mut came_by: BTreeMap<String, Way> = BTreeMap::new();
    let mut led = BTreeSet::from([start.clone()]);
    let mut todo = VecDeque::from([start.clone()]);
    while let Some(at) = todo.pop_front() {
        let Some(flow) = flows.get(&at) else { continue };
        let mut next = steps(flow, with_triggers);
        if with_triggers {
            next.extend(triggered(flows, &at, &led));
        }
        for (to, by) in next {
            let from = at.clone();
            let way = Way {
                from,
                to: to.clone(),
                by,
            };
            if to == start {
                return Some(told(start, &came_by, way));
            }
            if led.insert(to.clone()) {
                came_by.insert(to.clone(), way);
                todo.push_back(to);
            }
        }
    }
    None
}

fn told(start: String, came_by: &BTreeMap<String, Way>, last: Way) -> Loop {
    let mut ways = vec![last];
    while let Some(way) = came_by.get(&ways[ways.len() - 1].from) {
        ways.push(way.clone());
    }
    ways.reverse();
    Loop { start, ways }
}

/// The flows that a flow's own steps run.
fn steps(flow: &Flow, only_certain: bool) -> Vec<(String, By)> {
    let steps = flow.spec().steps.iter();
    let steps = steps.filter(|it| !only_certain || is_certain(flow, it));
    steps
        .filter_map(|step| match &step.run {
            Command::Flow(it) => Some((it.flow.to_string(), By::Step(step.name.to_string()))),
            _ => None,
        })
        .collect()
}

/// The flows that start when all of these have ended, and that listen to this one.
fn triggered(flows: &Flows, ended: &str, led: &BTreeSet<String>) -> Vec<(String, By)> {
    let mut found = Vec::new();
    for (name, flow) in flows {
        for trigger in &flow.spec().triggers {
            if listens(&trigger.on, ended) && holds(&trigger.on, led) {
                found.push((name.clone(), By::Trigger(trigger.name.to_string())));
            }
        }
    }
    found
}

/// Whether nothing that the flow's author wrote can keep a step from being taken.
fn is_certain(flow: &Flow, step: &StepSpec) -> bool {
    let mut scope = step.scope;
    while let Some((block, ..)) = flow.scope_at(scope) {
        if block.when.is_some() {
            return false;
        }
        scope = block.parent;
    }
    step.when.is_none()
}

fn listens(on: &TriggerExpr, ended: &str) -> bool {
    let is =
        |it: &EventSource| matches!(it, EventSource::Flow { flow, .. } if flow.as_str() == ended);
    on.leaves().iter().any(|it| is(&it.source))
}

/// Whether a trigger holds once these flows have ended, whatever their runs were about.
fn holds(on: &TriggerExpr, ended: &BTreeSet<String>) -> bool {
    match on {
        TriggerExpr::AllOf(parts) => parts.iter().all(|it| holds(it, ended)),
        TriggerExpr::AnyOf(parts) => parts.iter().any(|it| holds(it, ended)),
        TriggerExpr::Leaf(leaf) if leaf.filter.is_some() => false,
        TriggerExpr::Leaf(leaf) => match &leaf.source {
            // Time passes by itself.
            EventSource::After { .. } => true,
            EventSource::Flow { flow, .. } => ended.contains(flow.as_str()),
            _ => false,
        },
    }
}

impl Loop {
    /// Told at the place of this file where the loop could be opened.
    pub(crate) fn diagnostic(&self, source: &Arc<Source>, file: &FlowFile) -> Diagnostic {
        let (first, last) = (&self.ways[0], &self.ways[self.ways.len() - 1]);
        let at = |flow: &str, runs: bool| {
            let mentions = file.mentions.iter();
            mentions
                .filter(|it| matches!(it.how, How::Runs { .. }) == runs)
                .find(|it| it.flow == flow)
                .map(|it| it.at.clone())
        };
        let place = match (&first.by, &last.by) {
            (By::Step(_), _) => at(&first.to, true),
            (_, By::Trigger(_)) => at(&last.from, false),
            _ => None,
        };
        let at = place.unwrap_or_else(|| file.name_at.clone());
        let message = format!("these flows would run each other for ever: {}", self.path());
        let help = "take one of these ways out; a `when` at a step, or a `where` at a trigger, can also end it";
        let help = match self.ways.iter().all(|it| matches!(it.by, By::Step(_))) {
            true => "take one of these steps out: a flow cannot be inside of itself",
            false => help,
        };
        Diagnostic::new(source, at, "flow.flow_cycle", message).help(help)
    }

    fn path(&self) -> String {
        let mut text = self.start.clone();
        for (place, way) in self.ways.iter().enumerate() {
            let (which, end) = match place {
                0 => ("", "its end"),
                _ => (", which", "whose end"),
            };
            text += &match &way.by {
                By::Step(step) => format!("{which} runs {} (step {step})", way.to),
                By::Trigger(trigger) => {
                    format!(", {end} starts {} (trigger {trigger})", way.to)
                }
            };
        }
        text
    }
}
