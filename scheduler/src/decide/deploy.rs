//! Flows come, change, go, pause and go on.

use super::Draft;
use super::events::subscriptions;
use crate::flow::Flow;
use crate::id::{FlowName, Version};
use crate::input::{Answer, CatchUp, Rejected};
use crate::reason::{Limit, Reason};
use crate::row::{FlowRow, FlowVersionRow, Paused};
use crate::spec::{EventSource, FlowSpec};
use crate::state::{FlowState, Scheduler};
use petgraph::graphmap::DiGraphMap;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Draft {
    pub(super) fn deploy(
        &mut self,
        flow: Arc<Flow>,
        version: Version,
        source: &str,
        file: String,
    ) -> Result<Answer, Rejected> {
        let name = flow.name().clone();
        self.check_pools(&flow)?;
        let before = self.s.flows.get(&name).cloned();
        let same = |it: &FlowState| {
            it.row.active_version.as_ref() == Some(&version)
                && it.row.invalid.is_none()
                && !it.row.removed
                && it.row.file == file
        };
        let answer = |created| Answer::Deployed {
            flow: name.clone(),
            version: version.clone(),
            created,
        };
        if before.as_deref().is_some_and(same) {
            return Ok(answer(false));
        }
        if let Some(cycle) = self.s.flow_cycle(&flow) {
            return Err(Rejected::FlowCycle(name.clone(), cycle));
        }
        self.s.check_sub_flows(&flow)?;
        self.decide_overdue(&name, Some(&flow));
        let before = self.s.flows.get(&name).cloned();
        let new_version = before
            .as_deref()
            .is_none_or(|it| it.row.active_version.as_ref() != Some(&version));
        if new_version {
            self.changes.versions.push(FlowVersionRow {
                flow: name.clone(),
                version: version.clone(),
                source: source.to_owned(),
                definition: serde_json::to_string(flow.spec()).expect("a flow spec is plain data"),
                created_at: self.now,
            });
        }
        let old = before.as_deref().and_then(|it| it.flow.clone());
        self.s.unsubscribe(&name);
        self.s.forget_due(&name);
        self.put_flow(FlowState {
            row: FlowRow {
                name: name.clone(),
                active_version: Some(version.clone()),
                file,
                invalid: None,
                removed: false,
                paused: before.as_deref().and_then(|it| it.row.paused.clone()),
                blocked_by: before.as_deref().and_then(|it| it.row.blocked_by),
                failing: before.as_deref().and_then(|it| it.row.failing),
                updated_at: self.now,
            },
            flow: Some(flow.clone()),
        });
        if before.as_deref().is_some_and(|it| it.row.invalid.is_some()) {
            let file = self.s.flows[&name].row.file.clone();
            self.alert_of_file(&name, &file, None);
        }
        self.s.subscribe(&flow);
        self.drop_changed_sets(old.as_deref(), &flow);
        self.plan_flow_anew(&name, old.as_deref());
        self.sla_of_flow(&name, old.is_none());
        if old.is_some_and(|it| !it.blackouts().is_empty()) {
            // Those of now decide what becomes of sets that the old ones held.
            self.blackout_over(&name);
        }
        // The strategy may allow more runs now.
        self.freed.insert(Limit::Flow(name.clone()));
        Ok(answer(new_version))
    }

    pub(super) fn invalid(&mut self, name: FlowName, file: String, message: String) -> Answer {
        let mut state = match self.s.flows.get(&name) {
            Some(state) => FlowState::clone(state),
            None => FlowState {
                row: FlowRow {
                    name,
                    active_version: None,
                    file: String::new(),
                    invalid: None,
                    removed: false,
                    paused: None,
                    blocked_by: None,
                    failing: None,
                    updated_at: self.now,
                },
                flow: None,
            },
        };
        if state.row.invalid.as_ref() != Some(&message) || state.row.file != file {
            state.row.invalid = Some(message);
            state.row.file = file;
            state.row.updated_at = self.now;
            let (name, file) = (state.row.name.clone(), state.row.file.clone());
            let message = state.row.invalid.clone();
            self.put_flow(state);
            self.alert_of_file(&name, &file, message.as_deref());
        }
        Answer::Done
    }

    pub(super) fn remove(&mut self, name: &FlowName) -> Result<Answer, Rejected> {
        let state = self.known(name)?;
        if !state.row.removed {
            self.drop_overdue(name);
            self.change_flow(name, |row| row.removed = true);
            self.s.unsubscribe(name);
            self.drop_sets(name);
            self.plan_flow(name);
            self.sla_of_flow(name, false);
        }
        Ok(Answer::Done)
    }

    pub(super) fn pause(
        &mut self,
        name: &FlowName,
        by: String,
        reason: Option<String>,
    ) -> Result<Answer, Rejected> {
        self.known(name)?;
        self.decide_overdue(name, None);
        let (state, at) = (self.known(name)?, self.now);
        if state.row.paused.is_none() {
            self.settle_sets(name);
            self.change_flow(name, |row| row.paused = Some(Paused { by, reason, at }));
        }
        Ok(Answer::Done)
    }

    /// Goes on after a pause, and lifts the block that a failed run of a `strict_sequential` flow left.
    pub(super) fn unpause(
        &mut self,
        name: &FlowName,
        _by: &str,
        catch_up: CatchUp,
    ) -> Result<Answer, Rejected> {
        self.known(name)?;
        self.decide_overdue(name, None);
        let state = self.known(name)?;
        if state.row.paused.is_some() || state.row.blocked_by.is_some() {
            self.change_flow(name, |row| {
                row.paused = None;
                row.blocked_by = None;
            });
            self.release_held(name, catch_up);
            if let Some(paused) = &state.row.paused {
                let why = Reason::FlowPaused {
                    by: paused.by.clone(),
                    reason: paused.reason.clone(),
                };
                self.release_sets(name, catch_up, &why, paused.at);
            }
            self.freed.insert(Limit::Flow(name.clone()));
        }
        Ok(Answer::Done)
    }

    pub(super) fn known(&self, name: &FlowName) -> Result<Arc<FlowState>, Rejected> {
        self.s.flows.get(name).cloned().ok_or_else(|| {
            let names = self.s.flows.keys().map(FlowName::as_str);
            Rejected::UnknownFlow {
                flow: name.clone(),
                similar: crate::flow::closest(name.as_str(), names).map(FlowName::new),
            }
        })
    }

    /// Every pool exists and is large enough, or nothing of the flow could ever start.
    fn check_pools(&self, flow: &Flow) -> Result<(), Rejected> {
        let spec = flow.spec();
        let of_run = &spec.run.pools;
        // A task holds its slots besides those of its run.
        let of_steps = spec.steps.iter().flat_map(|it| &it.pools);
        let of_steps = of_steps.map(|(pool, &slots)| {
            let more = of_run.get(pool).copied().unwrap_or(0);
            (pool, slots.saturating_add(more))
        });
        let of_run = of_run.iter().map(|(pool, &slots)| (pool, slots));
        for (pool, slots) in of_run.chain(of_steps) {
            let has = match self.s.config.pools.get(pool) {
                None => "is not configured".to_owned(),
                Some(&size) if size < slots => format!("has {size}"),
                Some(_) => continue,
            };
            return Err(Rejected::Pool {
                flow: spec.name.clone(),
                pool: pool.to_string(),
                wanted: slots,
                has,
            });
        }
        Ok(())
    }
}

impl Scheduler {
    pub(crate) fn subscribe(&mut self, flow: &Flow) {
        self.subscriptions.extend(subscriptions(flow));
        let own = super::subflow_checks::sub_flows(flow.spec());
        let own = own.map(|(_, it)| (it.flow.clone(), flow.name().clone()));
        self.sub_flows.extend(own);
    }

    pub(crate) fn unsubscribe(&mut self, name: &FlowName) {
        let flow = self.flows.get(name).and_then(|it| it.flow.clone());
        for subscription in flow.iter().flat_map(|it| subscriptions(it)) {
            self.subscriptions.remove(&subscription);
        }
        let own = flow
            .iter()
            .flat_map(|it| super::subflow_checks::sub_flows(it.spec()));
        for (_, it) in own {
            self.sub_flows.remove(&(it.flow.clone(), name.clone()));
        }
    }

    /// The path by which a flow, once active, would wait for itself.
    fn flow_cycle(&self, flow: &Flow) -> Option<String> {
        // Who waits for nobody closes no circle; most flows do not wait.
        upstreams(flow.spec()).next()?;
        let others = self
            .flows
            .values()
            .filter(|it| !it.row.removed && it.row.name != *flow.name())
            .filter_map(|it| it.flow.as_deref());
        let mut numbers: BTreeMap<FlowName, usize> = BTreeMap::new();
        let mut names: Vec<FlowName> = Vec::new();
        let mut graph = DiGraphMap::<usize, ()>::new();
        for it in others.chain([flow]) {
            for upstream in upstreams(it.spec()) {
                let mut number = |name: FlowName| {
                    *numbers.entry(name.clone()).or_insert_with(|| {
                        names.push(name);
                        names.len() - 1
                    })
                };
                let (from, to) = (number(upstream), number(it.name().clone()));
                graph.add_edge(from, to, ());
            }
        }
        let start = *numbers.get(flow.name())?;
        // The shortest way from the flow back to itself.
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut todo = std::collections::VecDeque::from([start]);
        while let Some(at) = todo.pop_front() {
            for next in graph.neighbors(at) {
                if next == start {
                    let mut path = vec![start, at];
                    while let Some(&earlier) = before.get(path.last().expect("not empty")) {
                        path.push(earlier);
                    }
                    if path.last() != Some(&start) {
                        path.push(start);
                    }
                    path.reverse();
                    path.dedup();
                    if path.len() == 1 {
                        path.push(start);
                    }
                    let texts: Vec<&str> = path.iter().map(|&it| names[it].as_str()).collect();
                    return Some(texts.join(" -> "));
                }
                if next != start && !before.contains_key(&next) {
                    before.insert(next, at);
                    todo.push_back(next);
                }
            }
        }
        None
    }
}

/// The flows whose completion a flow waits for, also where it listens to the event that Metaflow makes of it.
fn upstreams(spec: &FlowSpec) -> impl Iterator<Item = FlowName> {
    spec.triggers
        .iter()
        .flat_map(|it| it.on.leaves())
        .filter_map(|leaf| match &leaf.source {
            EventSource::Flow { flow, .. } => Some(flow.clone()),
            EventSource::Event { kind } => super::events::ended_flow(kind),
            EventSource::Object { .. }
            | EventSource::Dataset { .. }
            | EventSource::After { .. } => None,
        })
}
