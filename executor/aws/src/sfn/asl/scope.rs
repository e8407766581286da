//! One scope: the whole flow, or the inside of a foreach.

use super::plan::{Block, Members};
use super::rules::{all, any_of};
use super::{Compiler, Next, States};
use dalsegno_scheduler::spec::{Items, OnFailure, ScopeIndex};
use dalsegno_scheduler::{NodeId, NodeKind};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a scope while its states are made.
pub(super) struct Inside {
    pub scope: ScopeIndex,
    pub members: Members,
    pub ancestors: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Nodes whose token may say that something failed.
    pub may_fail: BTreeSet<NodeId>,
    /// Nodes whose token may say that they were skipped.
    pub may_skip: BTreeSet<NodeId>,
    /// Steps whose failure ends the execution.
    pub uncaught: BTreeSet<NodeId>,
    /// All foreachs around have items that are known when the execution starts.
    pub has_items: bool,
}

impl Inside {
    pub(super) fn is_root(&self) -> bool {
        self.scope == ScopeIndex::ROOT
    }

    /// Whether somebody looks at its token.
    pub(super) fn is_noted(&self, node: NodeId) -> bool {
        self.may_fail.contains(&node) || self.may_skip.contains(&node)
    }
}

impl Compiler<'_> {
    /// The states of the whole flow, and the first.
    pub(super) fn root(&mut self) -> (String, States) {
        let inside = self.inside(ScopeIndex::ROOT, true);
        let mut states = States::new();
        let last = inside.members.last();
        let failed: Vec<Value> = last
            .iter()
            .filter(|it| inside.may_fail.contains(it))
            .map(|it| self.is_failed(*it))
            .collect();
        states.insert("run succeeded".into(), json!({"Type": "Succeed"}));
        let mut next = Next::State("run succeeded".into());
        if !failed.is_empty() {
            states.insert(
                "run failed".into(),
                json!({
                    "Type": "Fail",
                    "Error": super::super::STEPS_FAILED,
                    "Cause": "steps failed; what needs them was skipped, and the rest went on to its end",
                }),
            );
            let mut choice = any_of(failed);
            choice["Next"] = json!("run failed");
            states.insert(
                "run".into(),
                json!({"Type": "Choice", "Choices": [choice], "Default": "run succeeded"}),
            );
            next = Next::State("run".into());
        }
        let start = self.body(&inside, next, &mut states);
        (start, states)
    }

    /// The states of a foreach's inside, and the first. Its output is `F`, `L` or `S`: failed, live, skipped.
    pub(super) fn item(&mut self, scope: ScopeIndex, has_items: bool) -> (String, States) {
        let inside = self.inside(scope, has_items);
        let mut states = States::new();
        let word = |states: &mut States, name: &str, word: &str| {
            let name = format!("s{}:{name}", scope.0);
            states.insert(
                name.clone(),
                json!({"Type": "Pass", "Result": word, "End": true}),
            );
            name
        };
        let live = word(&mut states, "item done", "L");
        let last = inside.members.last();
        let failed = last.iter().filter(|it| inside.may_fail.contains(it));
        let failed: Vec<Value> = failed.map(|it| self.is_failed(*it)).collect();
        let is_always_live = last.iter().any(|it| !inside.is_noted(*it));
        let skipped: Vec<Value> = last.iter().map(|it| self.is_skipped(*it)).collect();
        let mut choices = Vec::new();
        if !failed.is_empty() {
            let mut choice = any_of(failed);
            choice["Next"] = json!(word(&mut states, "item failed", "F"));
            choices.push(choice);
        }
        if !is_always_live && last.iter().any(|it| inside.may_skip.contains(it)) {
            let mut choice = match skipped.as_slice() {
                [one] => one.clone(),
                _ => json!({"And": skipped}),
            };
            choice["Next"] = json!(word(&mut states, "item skipped", "S"));
            choices.push(choice);
        }
        let mut next = Next::State(live.clone());
        if !choices.is_empty() {
            let name = format!("s{}:item", scope.0);
            states.insert(
                name.clone(),
                json!({"Type": "Choice", "Choices": choices, "Default": live}),
            );
            next = Next::State(name);
        }
        let start = self.body(&inside, next, &mut states);
        (start, states)
    }

    fn body(&mut self, inside: &Inside, next: Next, states: &mut States) -> String {
        let done = inside.members.all().into_iter();
        let done: BTreeSet<NodeId> = match inside.is_root() {
            true => done
                .filter(|it| self.step(*it).is_some_and(|step| self.is_done(&step.name)))
                .collect(),
            false => BTreeSet::new(),
        };
        let entry = match inside.members.blocks(&done) {
            Some(block) => self.block(inside, &block, &next, &BTreeSet::new(), states),
            None => next.clone(),
        };
        match entry {
            Next::State(name) => name,
            Next::End => unreachable!("a body ends in a state of its own"),
        }
    }

    fn inside(&self, scope: ScopeIndex, has_items: bool) -> Inside {
        let members = Members::of(self.flow, scope);
        let ancestors = members.ancestors();
        let count = ancestors.len();
        let mut descendants: BTreeMap<NodeId, usize> = BTreeMap::new();
        for before in ancestors.values().flatten() {
            *descendants.entry(*before).or_default() += 1;
        }
        let mut inside = Inside {
            scope,
            ancestors,
            may_fail: BTreeSet::new(),
            may_skip: BTreeSet::new(),
            uncaught: BTreeSet::new(),
            has_items,
            members,
        };
        for id in inside.members.in_order() {
            let before = inside.members.before(id);
            let mut may_fail = before.iter().any(|it| inside.may_fail.contains(it));
            let mut may_skip = before.iter().any(|it| inside.may_skip.contains(it));
            match self.step(id) {
                Some(step) if inside.is_root() && self.is_done(&step.name) => continue,
                Some(step) => {
                    let around =
                        inside.ancestors[&id].len() + descendants.get(&id).copied().unwrap_or(0);
                    // Nothing else could go on: the execution may as well end here, and a redrive begins here.
                    let is_alone = inside.is_root() && around + 1 == count;
                    match step.on_failure {
                        OnFailure::Continue => {}
                        OnFailure::FailFast => {
                            inside.uncaught.insert(id);
                        }
                        OnFailure::Fail if is_alone => {
                            inside.uncaught.insert(id);
                        }
                        OnFailure::Fail => may_fail = true,
                    }
                    may_skip |= step.when.is_some();
                }
                None => {
                    may_fail = true;
                    may_skip = true;
                }
            }
            if may_fail {
                inside.may_fail.insert(id);
            }
            if may_skip {
                inside.may_skip.insert(id);
            }
        }
        inside
    }

    /// Makes the states of a block; gives the first. `known`: nodes that were noted before it.
    fn block(
        &mut self,
        inside: &Inside,
        block: &Block,
        next: &Next,
        known: &BTreeSet<NodeId>,
        states: &mut States,
    ) -> Next {
        match block {
            Block::Node(id) => match self.flow.node(*id).kind {
                NodeKind::Open(place) => self.foreach(inside, *id, place, next, states),
                _ => self.step_states(inside, *id, next, states),
            },
            Block::Series(parts) => {
                let mut before = vec![known.clone()];
                for part in parts {
                    let mut more = before.last().cloned().unwrap_or_default();
                    more.extend(part.nodes().into_iter().filter(|it| inside.is_noted(*it)));
                    before.push(more);
                }
                let mut next = next.clone();
                for (part, known) in parts.iter().zip(&before).rev() {
                    next = self.block(inside, part, &next, known, states);
                }
                next
            }
            Block::Parallel(parts) => {
                self.parallels += 1;
                let name = format!("parallel {}", self.parallels);
                let mut selector = self.carried(inside, "$[0]");
                let mut noted = Map::new();
                for id in known {
                    noted.insert(format!("n{}.$", id.0), json!(format!("$[0].r.n{}", id.0)));
                }
                let mut branches = Vec::new();
                for (at, part) in parts.iter().enumerate() {
                    let mut inner = States::new();
                    let start = match self.block(inside, part, &Next::End, known, &mut inner) {
                        Next::State(name) => name,
                        Next::End => unreachable!("a block has a state"),
                    };
                    branches.push(json!({"StartAt": start, "States": inner}));
                    for id in part.nodes().iter().filter(|it| inside.is_noted(**it)) {
                        noted.insert(
                            format!("n{}.$", id.0),
                            json!(format!("$[{at}].r.n{}", id.0)),
                        );
                    }
                }
                selector.insert("r".into(), Value::Object(noted));
                let state =
                    json!({"Type": "Parallel", "Branches": branches, "ResultSelector": selector});
                states.insert(name.clone(), next.after(state));
                Next::State(name)
            }
        }
    }

    /// What every state has beside the tokens.
    fn carried(&self, inside: &Inside, from: &str) -> Map<String, Value> {
        let mut carried = Map::new();
        let parts: &[&str] = match inside.is_root() {
            true if self.flow.spec().scopes.is_empty() => &["x"],
            true => &["x", "i"],
            false => &["x", "it"],
        };
        for part in parts {
            carried.insert(format!("{part}.$"), json!(format!("{from}.{part}")));
        }
        carried
    }

    pub(super) fn is_failed(&self, id: NodeId) -> Value {
        match self.step(id) {
            Some(_) => json!({"Variable": format!("$.r.n{}.t", id.0), "StringEquals": "F"}),
            None => json!({"Variable": format!("$.r.n{}.f", id.0), "BooleanEquals": true}),
        }
    }

    /// A foreach is skipped when it has items and none of them was taken.
    pub(super) fn is_skipped(&self, id: NodeId) -> Value {
        let path = |what: &str| format!("$.r.n{}.{what}", id.0);
        match self.step(id) {
            Some(_) => json!({"Variable": path("t"), "StringEquals": "S"}),
            None => all([
                json!({"Variable": path("f"), "BooleanEquals": false}),
                json!({"Variable": path("l"), "BooleanEquals": false}),
                json!({"Variable": path("n"), "NumericGreaterThan": 0}),
            ]),
        }
    }

    /// Whether the items of a foreach are known when the execution starts.
    pub(super) fn items_known(&mut self, place: usize, has_items: bool) -> bool {
        let Items::Template(template) = &self.flow.spec().scopes[place].items else {
            return false;
        };
        let spec = &self.flow.spec().scopes[place];
        let slots = super::slots::Slots {
            all: &mut self.slots,
            scope: spec.parent,
            has_items,
            done: &self.settings.known,
        };
        template.exprs().all(|it| slots.is_known(it))
    }
}
