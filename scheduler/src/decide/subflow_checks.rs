//! What is refused of flows that run flows, when they are deployed: what could never end, and what could never begin.

use crate::decide::sub_flow;
use crate::flow::Flow;
use crate::id::{FlowName, PoolName};
use crate::input::Rejected;
use crate::spec::{EventSource, FlowSpec, StepSpec, SubFlow, TriggerExpr};
use crate::state::{Scheduler, Subject};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::SUB_FLOW_DEPTH_MAX;

/// The steps of a flow that run flows.
pub(super) fn sub_flows(spec: &FlowSpec) -> impl Iterator<Item = (&StepSpec, &SubFlow)> {
    spec.steps
        .iter()
        .filter_map(|step| Some((step, sub_flow(step)?)))
}

/// How one flow leads to a run of another.
#[derive(Clone, Debug, PartialEq)]
enum Leads {
    Step(String),
    Trigger(String),
}

impl Scheduler {
    /// Checks what a flow, once active, would run and be run by.
    pub(super) fn check_sub_flows(&self, flow: &Flow) -> Result<(), Rejected> {
        let spec = flow.spec();
        if let Some(path) = self.loop_through(flow) {
            return Err(Rejected::FlowLoop {
                flow: spec.name.clone(),
                path,
            });
        }
        let (above, below) = (self.above(spec), self.below(spec, flow));
        if above.len() + below.len() - 2 > SUB_FLOW_DEPTH_MAX as usize {
            let names = above.iter().rev().chain(&below[1..]);
            let names: Vec<&str> = names.map(FlowName::as_str).collect();
            return Err(Rejected::SubFlowDepth {
                flow: spec.name.clone(),
                max: SUB_FLOW_DEPTH_MAX,
                path: names.join(" -> "),
            });
        }
        self.check_sub_flow_pools(flow)
    }

    /// The active version of a flow, or the one that is to be.
    fn version_of<'a>(&'a self, name: &FlowName, new: &'a Flow) -> Option<&'a Flow> {
        if name == new.name() {
            return Some(new);
        }
        let state = self.flows.get(name).filter(|it| !it.row.removed)?;
        state.flow.as_deref()
    }

    /// How a run of this flow leads to another run of it, again and again.
    ///
    /// That a step runs a flow counts always: a flow inside itself is refused whatever it asks before. Beyond that a
    /// way counts that nothing can stop: steps without `when`, and triggers that hold by the ends of flows on the way
    /// alone, without `where`.
    fn loop_through(&self, flow: &Flow) -> Option<String> {
        self.walk(flow, false).or_else(|| self.walk(flow, true))
    }

    fn walk(&self, flow: &Flow, with_triggers: bool) -> Option<String> {
        let start = flow.name();
        let mut from: BTreeMap<FlowName, (FlowName, Leads)> = BTreeMap::new();
        let mut led = BTreeSet::from([start.clone()]);
        let mut todo = VecDeque::from([start.clone()]);
        while let Some(at) = todo.pop_front() {
            let Some(version) = self.version_of(&at, flow) else {
                continue;
            };
            let mut next: Vec<(FlowName, Leads)> = sub_flows(version.spec())
                .filter(|(step, _)| !with_triggers || is_certain(version, step))
                .map(|(step, own)| (own.flow.clone(), Leads::Step(step.name.to_string())))
                .collect();
            if with_triggers {
                next.extend(self.triggered(&at, flow, &led));
            }
            for (name, how) in next {
                let step = (at.clone(), how);
                if name == *start {
                    return Some(told(start, &from, step));
                }
                if led.insert(name.clone()) {
                    from.insert(name.clone(), step);
                    todo.push_back(name);
                }
            }
        }
        None
    }

    /// The flows that start when all of these have ended, and that listen to this one.
    fn triggered(
        &self,
        ended: &FlowName,
        new: &Flow,
        led: &BTreeSet<FlowName>,
    ) -> Vec<(FlowName, Leads)> {
        let listeners = self.listeners_to(ended);
        let listeners = listeners.into_iter().chain([new.name().clone()]);
        let mut found = Vec::new();
        for name in listeners {
            let Some(version) = self.version_of(&name, new) else {
                continue;
            };
            for trigger in &version.spec().triggers {
                if listens(&trigger.on, ended) && holds(&trigger.on, led) {
                    let how = Leads::Trigger(trigger.name.to_string());
                    found.push((name.clone(), how));
                }
            }
        }
        found
    }

    fn listeners_to(&self, flow: &FlowName) -> BTreeSet<FlowName> {
        let subject = Subject::Flow(flow.clone());
        let first = (subject.clone(), FlowName::new(""), 0, 0);
        let found = self.subscriptions.range(first..);
        found
            .take_while(move |(it, ..)| *it == subject)
            .map(|(_, name, ..)| name.clone())
            .collect()
    }

    /// The longest way down from a flow by steps, itself included.
    fn below(&self, spec: &FlowSpec, new: &Flow) -> Vec<FlowName> {
        self.longest(&spec.name, &mut BTreeMap::new(), &|name| {
            let version = self.version_of(name, new);
            let own = version.into_iter().flat_map(|it| sub_flows(it.spec()));
            own.map(|(_, it)| it.flow.clone()).collect()
        })
    }

    /// The longest way up from a flow by steps, itself included.
    fn above(&self, spec: &FlowSpec) -> Vec<FlowName> {
        self.longest(&spec.name, &mut BTreeMap::new(), &|name| {
            self.callers(name).cloned().collect()
        })
    }

    fn longest(
        &self,
        name: &FlowName,
        known: &mut BTreeMap<FlowName, Vec<FlowName>>,
        next: &dyn Fn(&FlowName) -> Vec<FlowName>,
    ) -> Vec<FlowName> {
        if let Some(way) = known.get(name) {
            return way.clone();
        }
        // A circle, should there be one, is not walked twice.
        known.insert(name.clone(), Vec::new());
        let mut longest = Vec::new();
        for next_name in next(name) {
            let way = self.longest(&next_name, known, next);
            if way.len() > longest.len() {
                longest = way;
            }
        }
        let mut way = vec![name.clone()];
        way.extend(longest);
        known.insert(name.clone(), way.clone());
        way
    }

    /// While a step waits for a run, its own run and it hold their slots: together with what the run wants, no pool
    /// may be asked for more than there is.
    fn check_sub_flow_pools(&self, flow: &Flow) -> Result<(), Rejected> {
        let waits = sub_flows(flow.spec()).any(|(_, own)| own.wait);
        let wanted = match waits {
            true => self.slots_wanted(flow.name(), flow, &mut BTreeMap::new()),
            false => Arc::default(),
        };
        for (pool, slots) in wanted.iter() {
            let Some(&has) = self.config.pools.get(pool).filter(|has| *has < slots) else {
                continue;
            };
            return Err(Rejected::Pool {
                flow: flow.name().clone(),
                pool: pool.to_string(),
                wanted: *slots,
                has: format!(
                    "has {has} (its steps run flows that want slots while it holds its own)"
                ),
            });
        }
        Ok(())
    }

    /// The most slots of each pool that a run of a flow needs at the same time, with the runs that it waits for.
    fn slots_wanted(
        &self,
        name: &FlowName,
        new: &Flow,
        known: &mut BTreeMap<FlowName, Arc<BTreeMap<PoolName, u32>>>,
    ) -> Arc<BTreeMap<PoolName, u32>> {
        if let Some(wanted) = known.get(name) {
            return wanted.clone();
        }
        known.insert(name.clone(), Arc::default());
        let Some(version) = self.version_of(name, new) else {
            return Arc::default();
        };
        let spec = version.spec();
        let mut most: BTreeMap<PoolName, u32> = BTreeMap::new();
        for step in &spec.steps {
            let mut wanted = step.pools.clone();
            if let Some(own) = sub_flow(step).filter(|own| own.wait) {
                for (pool, slots) in self.slots_wanted(&own.flow, new, known).iter() {
                    add(&mut wanted, pool, *slots);
                }
            }
            for (pool, slots) in wanted {
                let so_far = most.entry(pool).or_default();
                *so_far = slots.max(*so_far);
            }
        }
        for (pool, slots) in &spec.run.pools {
            add(&mut most, pool, *slots);
        }
        let most = Arc::new(most);
        known.insert(name.clone(), most.clone());
        most
    }
}

fn add(to: &mut BTreeMap<PoolName, u32>, pool: &PoolName, slots: u32) {
    let sum = to.entry(pool.clone()).or_default();
    *sum = sum.saturating_add(slots);
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

/// The flow whose end a leaf waits for.
fn upstream(source: &EventSource) -> Option<FlowName> {
    match source {
        EventSource::Flow { flow, .. } => Some(flow.clone()),
        EventSource::Event { kind } => super::events::ended_flow(kind),
        EventSource::Object { .. } | EventSource::Dataset { .. } | EventSource::After { .. } => {
            None
        }
    }
}

fn listens(on: &TriggerExpr, flow: &FlowName) -> bool {
    let leaves = on.leaves();
    let mut upstreams = leaves.iter().filter_map(|it| upstream(&it.source));
    upstreams.any(|it| it == *flow)
}

/// Whether a trigger holds once these flows have ended, whatever their runs were about.
fn holds(on: &TriggerExpr, ended: &BTreeSet<FlowName>) -> bool {
    match on {
        TriggerExpr::AllOf(parts) => parts.iter().all(|it| holds(it, ended)),
        TriggerExpr::AnyOf(parts) => parts.iter().any(|it| holds(it, ended)),
        TriggerExpr::Leaf(leaf) if leaf.filter.is_some() => false,
        TriggerExpr::Leaf(leaf) => match &leaf.source {
            // Time passes by itself.
            EventSource::After { .. } => true,
            source => upstream(source).is_some_and(|it| ended.contains(&it)),
        },
    }
}

/// `a runs b (step load), whose end starts a (trigger t)`.
fn told(
    start: &FlowName,
    from: &BTreeMap<FlowName, (FlowName, Leads)>,
    last: (FlowName, Leads),
) -> String {
    let mut steps = vec![(last, start)];
    while let Some(((at, _), _)) = steps.last()
        && let Some((name, earlier)) = from.get_key_value(at)
    {
        steps.push((earlier.clone(), name));
    }
    let mut text = start.to_string();
    for (place, ((_, how), to)) in steps.iter().rev().enumerate() {
        let (which, end) = match place {
            0 => ("", "its end"),
            _ => (", which", "whose end"),
        };
        text += &match how {
            Leads::Step(step) => format!("{which} runs {to} (step {step})"),
            Leads::Trigger(trigger) => format!(", {end} starts {to} (trigger {trigger})"),
        };
    }
    text
}
