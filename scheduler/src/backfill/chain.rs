//! The flows of a backfill: the one that was named, and those that follow from it by triggers that join by interval.

use crate::flow::Flow;
use crate::id::{FlowName, TriggerName};
use crate::schedule::{Gap, Overlap, When};
use crate::spec::{EventSource, FlowEnd, JoinOn, TriggerExpr, TriggerSpec};
use crate::state::Scheduler;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The flows of a plan, upstream before downstream.
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    pub(super) notes: Vec<String>,
}

/// One flow of a plan, and by what it follows.
pub(super) struct Link {
    pub(super) flow: Arc<Flow>,
    pub(super) trigger: TriggerName,
    /// Places in the chain of the flows that it comes after.
    pub(super) inside: Vec<usize>,
    /// Flows that are no part of the plan, of which it needs a run of the same interval that succeeded.
    pub(super) outside: Vec<FlowName>,
}

/// What a trigger needs of flows for one interval.
#[derive(Default)]
struct Needs {
    inside: BTreeSet<FlowName>,
    outside: BTreeSet<FlowName>,
}

impl Scheduler {
    /// The flow by itself, or with all that follows from it.
    pub(super) fn chain(&self, root: &Arc<Flow>, trigger: &TriggerName, downstream: bool) -> Chain {
        let mut chain = Chain {
            links: vec![Link {
                flow: root.clone(),
                trigger: trigger.clone(),
                inside: Vec::new(),
                outside: Vec::new(),
            }],
            notes: Vec::new(),
        };
        if !downstream {
            return chain;
        }
        let mut members = BTreeSet::from([root.name().clone()]);
        let mut others: BTreeMap<&FlowName, &Arc<Flow>> = self
            .flows
            .iter()
            .filter(|(name, it)| !it.row.removed && *name != root.name())
            .filter_map(|(name, it)| Some((name, it.flow.as_ref()?)))
            .filter(|(_, it)| !it.spec().triggers.is_empty())
            .collect();
        // A flow that follows makes others follow.
        let mut found = BTreeMap::new();
        loop {
            let more: Vec<&FlowName> = others
                .iter()
                .filter(|(_, it)| {
                    self.follows(root, it, &members)
                        .is_ok_and(|it| it.is_some())
                })
                .map(|(name, _)| *name)
                .collect();
            if more.is_empty() {
                break;
            }
            for name in more {
                members.insert(name.clone());
                found.insert(name, others.remove(name).expect("it is one of them"));
            }
        }
        for flow in others.values() {
            if let Err(why) = self.follows(root, flow, &members) {
                chain.notes.push(why);
            }
        }
        // Upstream before downstream; no flow waits for itself, so each round finds some.
        while !found.is_empty() {
            let done: BTreeMap<FlowName, usize> = chain
                .links
                .iter()
                .enumerate()
                .map(|(place, it)| (it.flow.name().clone(), place))
                .collect();
            let mut next = Vec::new();
            for (name, flow) in &found {
                let Ok(Some((trigger, needs))) = self.follows(root, flow, &members) else {
                    continue;
                };
                let inside = needs.inside.iter().map(|it| done.get(it).copied());
                if let Some(inside) = inside.collect::<Option<Vec<usize>>>() {
                    next.push(*name);
                    chain.links.push(Link {
                        flow: (*flow).clone(),
                        trigger: trigger.name.clone(),
                        inside,
                        outside: needs.outside.into_iter().collect(),
                    });
                }
            }
            if next.is_empty() {
                let names: Vec<&str> = found.keys().map(|it| it.as_str()).collect();
                let names = names.join(", ");
                chain
                    .notes
                    .push(format!("{names}: left out, for they wait for each other"));
                break;
            }
            for name in next {
                found.remove(name);
            }
        }
        chain
    }

    /// The first trigger by which a flow follows from these for an interval; `Err`: why none of those that listen to
    /// them will do.
    fn follows<'a>(
        &self,
        root: &Flow,
        flow: &'a Flow,
        members: &BTreeSet<FlowName>,
    ) -> Result<Option<(&'a TriggerSpec, Needs)>, String> {
        let mut why = None;
        for trigger in &flow.spec().triggers {
            let heard = trigger
                .on
                .leaves()
                .into_iter()
                .find_map(|it| match &it.source {
                    EventSource::Flow { flow, .. } => members.get(flow),
                    _ => None,
                });
            let Some(heard) = heard else {
                continue;
            };
            let needs = match trigger.join_on {
                JoinOn::Interval => needs(&trigger.on, members),
                JoinOn::Expr | JoinOn::None => Err("does not join by interval".to_owned()),
            };
            let needs = needs.and_then(|needs| match self.other_intervals(root, &needs) {
                Some(other) => Err(format!(
                    "also waits for {other}, whose intervals are others than those of {}",
                    root.name()
                )),
                None => Ok(needs),
            });
            match needs {
                Ok(needs) => return Ok(Some((trigger, needs))),
                Err(text) => {
                    let (name, trigger) = (flow.name(), &trigger.name);
                    why.get_or_insert_with(|| {
                        format!("{name} follows from {heard}, but its trigger {trigger} {text}: left out")
                    });
                }
            }
        }
        why.map_or(Ok(None), Err)
    }

    /// An upstream that is no part of the plan and has a schedule unlike that of the plan.
    fn other_intervals(&self, root: &Flow, needs: &Needs) -> Option<FlowName> {
        let ours = rhythm(root)?;
        let differs = |name: &&FlowName| {
            let flow = self.flows.get(*name).and_then(|it| it.flow.as_ref());
            flow.and_then(|it| rhythm(it)).is_some_and(|it| it != ours)
        };
        needs.outside.iter().find(differs).cloned()
    }
}

/// What decides where the intervals of a flow begin and end.
fn rhythm(flow: &Flow) -> Option<(&When, &str, Gap, Option<Overlap>)> {
    let (spec, _) = flow.schedules().next()?;
    Some((&spec.when, &spec.timezone, spec.gap, spec.overlap))
}

/// The flows whose ends make an expression hold, given that all in `members` succeed; an error when something else is
/// needed.
fn needs(expr: &TriggerExpr, members: &BTreeSet<FlowName>) -> Result<Needs, String> {
    match expr {
        TriggerExpr::Leaf(leaf) => match &leaf.source {
            EventSource::Flow {
                flow,
                on: FlowEnd::Failed,
            } => Err(format!("waits for {flow} to fail")),
            EventSource::Flow { flow, .. } if members.contains(flow) => Ok(Needs {
                inside: BTreeSet::from([flow.clone()]),
                outside: BTreeSet::new(),
            }),
            EventSource::Flow { flow, .. } => Ok(Needs {
                inside: BTreeSet::new(),
                outside: BTreeSet::from([flow.clone()]),
            }),
            // Of a past interval this time has come.
            EventSource::After { .. } => Ok(Needs::default()),
            EventSource::Event { kind } => Err(format!("also waits for event {kind}")),
            EventSource::Object { bucket, key } => {
                Err(format!("also waits for s3://{bucket}/{}", key.0))
            }
            EventSource::Dataset { namespace, name } => {
                Err(format!("also waits for data set {namespace}/{name}"))
            }
        },
        TriggerExpr::AllOf(parts) => {
            let mut all = Needs::default();
            for part in parts {
                let part = needs(part, members)?;
                all.inside.extend(part.inside);
                all.outside.extend(part.outside);
            }
            Ok(all)
        }
        // It comes after all flows of the plan that could start it.
        TriggerExpr::AnyOf(parts) => {
            let mut any = Needs::default();
            let mut why = String::new();
            for part in parts {
                match needs(part, members) {
                    Ok(part) if !part.inside.is_empty() => {
                        any.inside.extend(part.inside);
                        any.outside.extend(part.outside);
                    }
                    Ok(_) => {}
                    Err(text) => why = text,
                }
            }
            match any.inside.is_empty() {
                true if !why.is_empty() => Err(why),
                _ => Ok(any),
            }
        }
    }
}
