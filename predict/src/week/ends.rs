//! How attempts end in virtual time: as they did before.

use super::Options;
use crate::chance::Chance;
use crate::history::{Durations, Histories};
use dalsegno_scheduler::spec::{Items, Route, StepSpec};
use dalsegno_scheduler::{AttemptId, Flow, FlowName, NodeKind, RunId, Span, StepName, Timestamp};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of the past.
#[derive(Clone, Debug, Default)]
pub struct Past {
    pub histories: Histories,
    /// What the tasks of a step gave when they last succeeded; of several the first.
    pub successes: BTreeMap<(FlowName, StepName), Success>,
}

/// What a task gave to those after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Success {
    pub outputs: Map<String, Value>,
    pub chosen: Option<Vec<StepName>>,
    pub splits: Option<u32>,
}

/// Draws how attempts end.
pub(super) struct Ends<'a> {
    past: &'a Past,
    chance: Chance,
    assumed: Span,
    /// By step and weekday.
    durations: BTreeMap<(FlowName, StepName, i64), Option<Arc<Durations>>>,
    /// Steps whose durations, and steps whose choices and item counts nobody knows.
    pub(super) without_history: BTreeSet<(FlowName, StepName)>,
    pub(super) without_choice: BTreeSet<(FlowName, StepName)>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(past: &'a Past, options: &Options) -> Self {
        Self {
            past,
            chance: Chance::new(options.seed),
            assumed: options.assumed,
            durations: BTreeMap::new(),
            without_history: BTreeSet::new(),
            without_choice: BTreeSet::new(),
        }
    }

    /// How long an attempt takes from its submission; `elapsed`: it has taken so long already. `place`: what the run is
    /// called among those of its flow.
    pub(super) fn takes(
        &mut self,
        flow: &FlowName,
        step: &StepSpec,
        attempt: &AttemptId,
        place: &str,
        began_at: Timestamp,
        elapsed: Option<Span>,
    ) -> Span {
        let Some(durations) = self.durations(flow, step, began_at) else {
            let assumed = step.timeout.map_or(self.assumed, |it| it.min(self.assumed));
            return assumed.max(elapsed.unwrap_or_default());
        };
        let chance = self.chance.named(flow.as_str()).named(place);
        let chance = chance.named(step.name.as_str());
        let chance = chance.named(&attempt.task.to_string());
        let unit = chance.of(u64::from(attempt.number)).unit();
        match elapsed {
            None => durations.quantile(unit),
            Some(elapsed) => durations.beyond(elapsed).quantile(unit),
        }
    }

    fn durations(
        &mut self,
        flow: &FlowName,
        step: &StepSpec,
        at: Timestamp,
    ) -> Option<Arc<Durations>> {
        let weekday = at.0.div_euclid(86_400_000_000).rem_euclid(7);
        let key = (flow.clone(), step.name.clone(), weekday);
        if let Some(known) = self.durations.get(&key) {
            return known.clone();
        }
        let history = self.past.histories.task(flow, &step.name);
        let durations = history.and_then(|it| it.durations(at)).map(Arc::new);
        if durations.is_none() {
            let key = (flow.clone(), step.name.clone());
            self.without_history.insert(key);
        }
        self.durations.insert(key, durations.clone());
        durations
    }

    /// What a task gives when it succeeds: what it gave last time, else the least that lets its run go on.
    pub(super) fn success(&mut self, flow: &Flow, step: &StepSpec) -> dalsegno_scheduler::Success {
        let key = (flow.name().clone(), step.name.clone());
        let known = self.past.successes.get(&key).cloned();
        let mut success = known.unwrap_or_default();
        let node = flow.step_node(step.name.as_str()).map(|it| flow.node(it));
        let follow = |it: &dalsegno_scheduler::Node| {
            let next = it.successors.iter().map(|it| flow.node(*it));
            next.map(|it| (it.name.clone(), it.kind)).collect()
        };
        let successors: Vec<(StepName, NodeKind)> = node.map(follow).unwrap_or_default();
        if step.route == Route::Switch {
            let names = || successors.iter().map(|(name, _)| name);
            // A flow may have changed since.
            let still = |it: &Vec<StepName>| it.iter().all(|it| names().any(|name| name == it));
            if !success.chosen.as_ref().is_some_and(still) {
                success.chosen = names().next().map(|it| vec![it.clone()]);
                self.without_choice.insert(key.clone());
            }
        }
        let reported = successors.iter().any(|(name, kind)| {
            let scope = flow.scope(name.as_str()).map(|it| it.0);
            matches!(kind, NodeKind::Open(_))
                && scope.is_some_and(|it| matches!(it.items, Items::Reported))
        });
        if reported && success.splits.is_none() {
            success.splits = Some(1);
            self.without_choice.insert(key);
        }
        dalsegno_scheduler::Success {
            outputs: success.outputs,
            chosen: success.chosen,
            splits: success.splits,
        }
    }
}

/// What a run is called among those of its flow, whatever other flows do: its slot, else how many came before it.
pub(super) fn place_of(occurrence: &str, before: u64, run: RunId, is_old: bool) -> String {
    match (occurrence.starts_with("cron:"), is_old) {
        (true, _) => occurrence.to_owned(),
        (false, true) => format!("run {run}"),
        (false, false) => format!("number {before}"),
    }
}
