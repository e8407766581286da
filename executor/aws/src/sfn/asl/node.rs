//! The states of one node: whether it is taken, what it does, what it leaves behind.

use super::rules::{Maker, Rules, any, any_of};
use super::scope::Inside;
use super::slots::{Kind, Slots};
use super::{Compiler, INLINE_ITEMS_MAX, Next, States, USE_BATCH, index_of, name};
use dalsegno_scheduler::expr::{Expr, Template};
use dalsegno_scheduler::spec::{Items, JoinRule, OnFailure, StepSpec};
use dalsegno_scheduler::{NodeId, StepName};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Where a chain of states goes when it does not go on.
pub(super) struct Exits {
    /// The node failed.
    failed: String,
    skipped: String,
}

impl Compiler<'_> {
    pub(super) fn step_states(
        &mut self,
        inside: &Inside,
        id: NodeId,
        next: &Next,
        states: &mut States,
    ) -> Next {
        let node = self.flow.node(id).clone();
        let step = self.step(id).expect("a step node has a step").clone();
        let task = name(&node, "");
        let exits = self.step_exits(inside, id, &step, next, states);

        let (state, reads) = self.task(inside, id, &step);
        let mut state = next.after(state);
        state["ResultSelector"] = json!({"t": "L"});
        state["ResultPath"] = match inside.is_noted(id) {
            true => json!(format!("$.r.n{}", id.0)),
            false => Value::Null,
        };
        if !inside.uncaught.contains(&id) {
            state["Catch"] = caught(&exits.failed);
        }
        states.insert(task.clone(), state);

        let mut entry = self.read(inside, id, &reads, &task, &exits, states);
        if let Some(when) = &step.when
            && !self.slots(inside).is_known(when)
        {
            entry = self.chosen(inside, id, when, &entry, &exits, states);
        }
        let templates = self
            .flow
            .spec()
            .env
            .values()
            .chain(step.env.values())
            .cloned();
        let fallible = self.fallible(inside, templates);
        let when = step
            .when
            .clone()
            .filter(|it| self.slots(inside).is_known(it));
        entry = self.go(
            inside,
            id,
            Kind::Go {
                when,
                fallible,
                list: None,
            },
            &entry,
            &exits,
            states,
        );
        entry = self.gate(inside, id, step.join, &entry, &exits, next, states);
        let is_part_done =
            node.depth > 0 && self.settings.done.iter().any(|it| it.step == step.name);
        if is_part_done {
            let done = name(&node, ":done");
            states.insert(done.clone(), next.after(self.note(inside, id, "L")));
            let choice =
                json!({"Variable": format!("$.it.d.n{}", id.0), "IsPresent": true, "Next": done});
            entry = choose(states, name(&node, ":done?"), vec![choice], &entry);
        }
        Next::State(entry)
    }

    fn step_exits(
        &mut self,
        inside: &Inside,
        id: NodeId,
        step: &StepSpec,
        next: &Next,
        states: &mut States,
    ) -> Exits {
        let node = self.flow.node(id);
        let exits = Exits {
            failed: name(node, ":failed"),
            skipped: name(node, ":skipped"),
        };
        if inside.uncaught.contains(&id) {
            let fail = json!({
                "Type": "Fail",
                "Error": super::super::STEP_FAILED,
                "Cause": format!("step {} could not be started, and nothing else goes on without it", step.name),
            });
            states.insert(exits.failed.clone(), fail);
        } else {
            let token = if step.on_failure == OnFailure::Continue {
                "L"
            } else {
                "F"
            };
            states.insert(
                exits.failed.clone(),
                next.after(self.note(inside, id, token)),
            );
        }
        states.insert(
            exits.skipped.clone(),
            next.after(self.note(inside, id, "S")),
        );
        exits
    }

    /// Leaves a step's token behind, if somebody looks at it.
    fn note(&self, inside: &Inside, id: NodeId, token: &str) -> Value {
        match inside.is_noted(id) {
            true => {
                json!({"Type": "Pass", "Result": {"t": token}, "ResultPath": format!("$.r.n{}", id.0)})
            }
            false => json!({"Type": "Pass"}),
        }
    }

    /// Looks at the tokens of those before it.
    #[allow(clippy::too_many_arguments)]
    fn gate(
        &mut self,
        inside: &Inside,
        id: NodeId,
        join: JoinRule,
        entry: &str,
        exits: &Exits,
        next: &Next,
        states: &mut States,
    ) -> String {
        let node = self.flow.node(id).clone();
        let before = inside.members.before(id);
        let mut choices = Vec::new();
        let failed: Vec<Value> = before
            .iter()
            .filter(|it| inside.may_fail.contains(it))
            .map(|it| self.is_failed(*it))
            .collect();
        if !failed.is_empty() {
            let upstream = name(&node, ":not reached");
            let state = match self.step(id) {
                Some(_) => self.note(inside, id, "F"),
                None => self.note_foreach(id, true),
            };
            states.insert(upstream.clone(), next.after(state));
            let mut choice = any_of(failed);
            choice["Next"] = json!(upstream);
            choices.push(choice);
        }
        let skippable: Vec<Value> = before
            .iter()
            .filter(|it| inside.may_skip.contains(it))
            .map(|it| self.is_skipped(*it))
            .collect();
        let is_dead = match join {
            JoinRule::AllLive if skippable.is_empty() => None,
            JoinRule::AllLive => Some(any_of(skippable)),
            JoinRule::AnyLive if skippable.len() < before.len() || before.is_empty() => None,
            JoinRule::AnyLive => Some(match skippable.as_slice() {
                [one] => one.clone(),
                _ => json!({"And": skippable}),
            }),
        };
        if let Some(mut choice) = is_dead {
            choice["Next"] = json!(exits.skipped);
            choices.push(choice);
        }
        choose(states, name(&node, ":needs"), choices, entry)
    }

    /// Looks at what was worked out when the execution started.
    fn go(
        &mut self,
        inside: &Inside,
        id: NodeId,
        kind: Kind,
        entry: &str,
        exits: &Exits,
        states: &mut States,
    ) -> String {
        let Kind::Go {
            when,
            fallible,
            list,
        } = &kind
        else {
            return entry.to_owned();
        };
        if when.is_none() && fallible.is_empty() && list.is_none() {
            return entry.to_owned();
        }
        let may_skip = when.is_some();
        let slot = self.slots(inside).add(kind);
        let is =
            |text: &str, next: &str| json!({"Variable": slot, "StringEquals": text, "Next": next});
        let mut choices = vec![is("E", &exits.failed)];
        if may_skip {
            choices.push(is("F", &exits.skipped));
        }
        choose(states, name(self.flow.node(id), ":when"), choices, entry)
    }

    /// Decides a `when` over outputs, which are read before. What the task needs of them is read again if it is taken.
    fn chosen(
        &mut self,
        inside: &Inside,
        id: NodeId,
        when: &Expr,
        entry: &str,
        exits: &Exits,
        states: &mut States,
    ) -> String {
        let node = self.flow.node(id).clone();
        let rules = match self.rules(inside, id, when) {
            Ok(rules) => rules,
            Err(message) => {
                let place = format!("{}: when `{}`", node.name, when.source());
                self.problem(place, message, USE_BATCH);
                return entry.to_owned();
            }
        };
        let mut is_false = rules.is_false;
        is_false["Next"] = json!(exits.skipped);
        let failed = json!({"Not": rules.is_true, "Next": exits.failed});
        let choice = choose(
            states,
            name(&node, ":chosen"),
            vec![is_false, failed],
            entry,
        );
        let reads = rules.reads;
        self.read_as(inside, id, &reads, &choice, exits, "for when", states)
    }

    pub(super) fn rules(
        &mut self,
        inside: &Inside,
        id: NodeId,
        expr: &Expr,
    ) -> Result<Rules, String> {
        let flow = self.flow;
        let readable = |step: &str, output: &str| output_place(flow, inside, id, step, output);
        let maker = Maker {
            slots: &mut self.slots(inside),
            output: &readable,
            reads: BTreeSet::new(),
        };
        maker.rules(expr)
    }

    /// Reads outputs of steps, then goes to `entry`.
    pub(super) fn read(
        &mut self,
        inside: &Inside,
        id: NodeId,
        steps: &BTreeSet<StepName>,
        entry: &str,
        exits: &Exits,
        states: &mut States,
    ) -> String {
        self.read_as(inside, id, steps, entry, exits, "for", states)
    }

    #[allow(clippy::too_many_arguments)]
    fn read_as(
        &mut self,
        inside: &Inside,
        id: NodeId,
        steps: &BTreeSet<StepName>,
        entry: &str,
        exits: &Exits,
        what: &str,
        states: &mut States,
    ) -> String {
        let mut entry = entry.to_owned();
        for step in steps {
            let source = self
                .flow
                .step_node(step.as_str())
                .expect("it was found before");
            let (source_node, node) = (self.flow.node(source).clone(), self.flow.node(id).clone());
            let depth = source_node.depth;
            let key = match depth {
                0 => format!("States.Format('{{}}n{}/output', $.x.k)", source.0),
                _ => format!(
                    "States.Format('{{}}n{}-{{}}/output', $.x.k, {})",
                    source.0,
                    path_at(node.depth, depth)
                ),
            };
            let read = name(&source_node, &format!(":outputs {what} n{}", id.0));
            let place = format!("$.o.n{}", source.0);
            states.insert(
                read.clone(),
                json!({
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
                    "Parameters": {"Bucket.$": "$.x.b", "Key.$": key},
                    "ResultSelector": {"v.$": "States.StringToJson($.Body)"},
                    "ResultPath": place,
                    "Retry": [
                        {"ErrorEquals": ["S3.NoSuchKeyException", "S3.S3Exception"], "MaxAttempts": 2,
                            "IntervalSeconds": 1, "BackoffRate": 2.0},
                        {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "BackoffRate": 2.0,
                            "MaxDelaySeconds": 300, "MaxAttempts": 5, "JitterStrategy": "FULL"},
                    ],
                    "Catch": caught(&exits.failed),
                    "Next": entry,
                }),
            );
            let is_beside = source_node.scope == inside.scope;
            if is_beside && inside.is_noted(source) && source != id {
                // It did not run, or its failure is none: its outputs are null.
                let spec = self.step(source).expect("a step");
                let nothing: BTreeMap<_, _> =
                    spec.outputs.iter().map(|it| (it, Value::Null)).collect();
                let none = name(&source_node, &format!(":no outputs {what} n{}", id.0));
                let pass = json!({"Type": "Pass", "Result": {"v": nothing}, "ResultPath": place, "Next": entry});
                states.insert(none.clone(), pass);
                let mut choice = any([self.is_failed(source), self.is_skipped(source)]);
                choice["Next"] = json!(none);
                let ran = name(&source_node, &format!(":ran {what} n{}", id.0));
                entry = choose(states, ran, vec![choice], &read);
            } else {
                entry = read;
            }
        }
        entry
    }

    pub(super) fn foreach(
        &mut self,
        inside: &Inside,
        id: NodeId,
        place: usize,
        next: &Next,
        states: &mut States,
    ) -> Next {
        let node = self.flow.node(id).clone();
        let spec = self.flow.spec().scopes[place].clone();
        let scope = index_of(place);
        let map = name(&node, " foreach");
        let exits = Exits {
            failed: name(&node, " foreach:failed"),
            skipped: name(&node, " foreach:skipped"),
        };
        states.insert(
            exits.failed.clone(),
            next.after(self.note_foreach(id, true)),
        );
        states.insert(
            exits.skipped.clone(),
            next.after(self.note_foreach(id, false)),
        );
        let is_known = inside.has_items && self.items_known(place, inside.has_items);
        let mut reads = BTreeSet::new();
        let items = match (&spec.items, is_known) {
            (_, true) => match inside.is_root() {
                true => format!("$.i.s{}", scope.0),
                false => format!("$.it.i.s{}", scope.0),
            },
            (Items::Template(Template::Expr(expr)), false) if inside.is_root() => {
                match self.items_place(inside, id, expr) {
                    Ok((path, steps)) => {
                        reads = steps;
                        path
                    }
                    Err(message) => {
                        let at = format!("foreach {}: `{}`", node.name, expr.source());
                        self.problem(at, message, USE_BATCH);
                        String::new()
                    }
                }
            }
            _ => {
                let message = "items inside of a foreach must be known when the run starts".into();
                self.problem(format!("foreach {}", node.name), message, USE_BATCH);
                String::new()
            }
        };
        let state = self.map_state(inside, id, place, &items, is_known);
        let mut state = next.after(state);
        if !self.has_fail_fast(scope) {
            state["Catch"] = caught(&exits.failed);
        }
        states.insert(map.clone(), state);
        let mut entry = self.read(inside, id, &reads, &map, &exits, states);
        if let Some(when) = &spec.when
            && !self.slots(inside).is_known(when)
        {
            entry = self.chosen(inside, id, when, &entry, &exits, states);
        }
        let when = spec
            .when
            .clone()
            .filter(|it| self.slots(inside).is_known(it));
        let list = match &spec.items {
            Items::Template(it) if is_known && it.exprs().next().is_some() => Some(it.clone()),
            _ => None,
        };
        let kind = Kind::Go {
            when,
            fallible: Vec::new(),
            list,
        };
        entry = self.go(inside, id, kind, &entry, &exits, states);
        Next::State(self.gate(inside, id, JoinRule::AllLive, &entry, &exits, next, states))
    }

    fn map_state(
        &mut self,
        inside: &Inside,
        id: NodeId,
        place: usize,
        items: &str,
        is_known: bool,
    ) -> Value {
        let spec = self.flow.spec().scopes[place].clone();
        let scope = index_of(place);
        let count = self.settings.items.get(&spec.name).copied();
        let is_large = count.is_some_and(|it| it > INLINE_ITEMS_MAX) || !is_known;
        let is_distributed = inside.is_root() && is_large;
        if is_distributed {
            self.distributed.insert(spec.name.clone());
        }
        let (start, inner) = self.item(scope, is_known);
        let mode = match is_distributed {
            true => json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}),
            false => json!({"Mode": "INLINE"}),
        };
        let item = match is_known {
            true => json!("$$.Map.Item.Value"),
            false => Value::Null,
        };
        let mut selector = json!({"x.$": "$.x", "r": {}});
        match is_known {
            true => selector["it.$"] = item,
            false => {
                selector["it"] = json!({
                    "p.$": "States.Format('{}', $$.Map.Item.Index)",
                    "n.$": "States.Format('{}', $$.Map.Item.Index)",
                    "e.$": "States.Format('{}', $$.Map.Item.Index)",
                    "t.$": "States.Format('{}', $$.Map.Item.Value)",
                    "a.$": "States.JsonToString(States.Array($$.Map.Item.Value))",
                });
            }
        }
        let mut state = json!({
            "Type": "Map",
            "ItemSelector": selector,
            "ItemProcessor": {"ProcessorConfig": mode, "StartAt": start, "States": inner},
            "ResultSelector": {
                "f.$": "States.ArrayContains($, 'F')",
                "l.$": "States.ArrayContains($, 'L')",
                "n.$": "States.ArrayLength($)",
            },
            "ResultPath": format!("$.r.n{}", id.0),
        });
        if let Some(most) = spec.max_parallel {
            state["MaxConcurrency"] = json!(most);
        }
        if is_distributed && self.settings.items_in_s3.contains(&spec.name) {
            state["ItemReader"] = json!({
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket.$": "$.x.b", "Key.$": items},
            });
        } else {
            state["ItemsPath"] = json!(items);
        }
        state
    }

    fn items_place(
        &mut self,
        inside: &Inside,
        id: NodeId,
        expr: &Expr,
    ) -> Result<(String, BTreeSet<StepName>), String> {
        let flow = self.flow;
        let readable = |step: &str, output: &str| output_place(flow, inside, id, step, output);
        let mut maker = Maker {
            slots: &mut self.slots(inside),
            output: &readable,
            reads: BTreeSet::new(),
        };
        let path = maker.place(expr)?;
        Ok((path, maker.reads))
    }

    /// Leaves behind that a foreach did not run.
    fn note_foreach(&self, id: NodeId, is_failed: bool) -> Value {
        json!({
            "Type": "Pass",
            "Result": {"f": is_failed, "l": false, "n": 1},
            "ResultPath": format!("$.r.n{}", id.0),
        })
    }

    pub(super) fn slots(&mut self, inside: &Inside) -> Slots<'_> {
        Slots {
            all: &mut self.slots,
            scope: inside.scope,
            has_items: inside.has_items,
            done: &self.settings.known,
        }
    }

    /// Templates that may fail when the execution starts.
    fn fallible(
        &mut self,
        inside: &Inside,
        templates: impl Iterator<Item = Template>,
    ) -> Vec<Template> {
        let slots = self.slots(inside);
        templates
            .filter(|it| it.exprs().next().is_some() && it.exprs().all(|it| slots.is_known(it)))
            .collect()
    }
}

/// Where an output lies once it was read.
pub(super) fn output_place(
    flow: &dalsegno_scheduler::Flow,
    inside: &Inside,
    reader: NodeId,
    step: &str,
    output: &str,
) -> Result<String, String> {
    let Some(source) = flow.step_node(step) else {
        return Err(format!("there is no step `{step}`"));
    };
    let node = flow.node(source);
    let spec = flow.step(step).expect("it has a node");
    if !spec.outputs.iter().any(|it| it == output) {
        return Err(format!(
            "step `{step}` does not declare the output `{output}`; add it to its `outputs`"
        ));
    }
    if !is_identifier(output) {
        return Err(format!(
            "the output `{output}` has a name that a path cannot have"
        ));
    }
    let is_around = {
        let mut at = inside.scope;
        loop {
            if at == node.scope {
                break true;
            }
            match flow.scope_at(at) {
                Some((spec, _, _)) => at = spec.parent,
                None => break false,
            }
        }
    };
    if !is_around {
        return Err(format!(
            "the outputs of `{step}` are a list, one of each item"
        ));
    }
    let is_before = node.scope != inside.scope || inside.ancestors[&reader].contains(&source);
    if !is_before {
        return Err(format!("step `{step}` does not come before it"));
    }
    Ok(format!("$.o.n{}.v.{output}", source.0))
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|it| it.is_ascii_alphabetic() || it == '_')
        && chars.all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// The path of the enclosing item `depth` deep, as it is part of names, seen from `here` deep.
fn path_at(here: usize, depth: usize) -> String {
    match depth == here {
        true => "$.it.p".to_owned(),
        false => format!("$.it.q{depth}"),
    }
}

fn caught(next: &str) -> Value {
    json!([{"ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": next}])
}

/// A choice in front of `entry`; without choices there is none.
fn choose(states: &mut States, name: String, choices: Vec<Value>, entry: &str) -> String {
    if choices.is_empty() {
        return entry.to_owned();
    }
    states.insert(
        name.clone(),
        json!({"Type": "Choice", "Choices": choices, "Default": entry}),
    );
    name
}
