//! What an execution is started with: all that is known when it starts.
//!
//! `$.x` goes everywhere: `j` what names of jobs begin with, `b` and `k` bucket and what keys begin with, `t` tags, `v`
//! variables, `s` slots. `$.i` are the items of foreachs: `t` the item as text, `n` its index, `e` and `p` its path
//! (`3.0` and `3-0`), `q1` … the paths around it, `a` all items around it as JSON, `s` its slots, `i` the items of
//! foreachs in it, `d` what is done already. `$.r` gets the tokens.

use super::asl::{AllSlots, Kind, index_of};
use dalsegno_scheduler::expr::{Scope, Template, plain};
use dalsegno_scheduler::spec::{Items, ScopeIndex};
use dalsegno_scheduler::{Execution, Flow, ITEMS_MAX, NodeKind, Path, RunId, StepName, TaskId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A run as an execution sees it.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub run: RunId,
    pub execution: &'a Execution,
}

/// Where the execution's things are, and whose it is.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The execution's name.
    pub execution: String,
    pub bucket: String,
    /// What keys of its tasks begin with; `/` at the end.
    pub keys: String,
    /// The script with variables that are too large for a request; empty: none.
    pub env_uri: String,
    pub installation: String,
    pub instance: String,
}

impl Known<'_> {
    fn flow(&self) -> &Flow {
        &self.execution.flow
    }

    /// What expressions see that need no step of this execution.
    pub fn scope(&self) -> Scope {
        let it = self.execution;
        let mut steps = Map::new();
        for (task, outputs) in &it.done {
            if task.path.is_root() && task.iteration == 0 {
                let outputs = outputs.as_deref().cloned().unwrap_or_default();
                steps.insert(task.step.to_string(), json!({"outputs": outputs}));
            }
        }
        let run = json!({
            "id": self.run.to_string(),
            "flow": it.flow.name(),
            "trigger": it.trigger,
            "generation": it.generation,
        });
        let interval = json!({
            "start": it.interval.start.to_string(),
            "end": it.interval.end.to_string(),
        });
        [
            ("params", Value::Object(Map::clone(&it.params))),
            ("interval", interval),
            ("run", run),
            ("event", it.events.first().cloned().unwrap_or_default()),
            ("events", Value::Array(Vec::clone(&it.events))),
            ("steps", Value::Object(steps)),
        ]
        .into()
    }

    /// Tasks that are done, and the steps among them whose outputs expressions can see.
    pub fn done(&self) -> (BTreeSet<TaskId>, BTreeSet<StepName>) {
        let done = self.execution.done.iter().map(|it| &it.0);
        let known = done
            .clone()
            .filter(|it| it.path.is_root() && it.iteration == 0);
        let known = known.map(|it| it.step.clone()).collect();
        (done.cloned().collect(), known)
    }

    /// How many items foreachs have that are known now; of one inside another the most.
    pub fn counts(&self) -> BTreeMap<StepName, usize> {
        let mut counts = BTreeMap::new();
        let scope = self.scope();
        self.count(ScopeIndex::ROOT, &scope, &[], Path::ROOT, &mut counts);
        counts
    }

    fn count(
        &self,
        parent: ScopeIndex,
        scope: &Scope,
        around: &[Value],
        path: Path,
        counts: &mut BTreeMap<StepName, usize>,
    ) {
        for (place, spec) in self.flow().spec().scopes.iter().enumerate() {
            if spec.parent != parent || !self.is_known(place) {
                continue;
            }
            let values = list(&spec.items, scope).unwrap_or_default();
            let most = counts.entry(spec.name.clone()).or_default();
            *most = values.len().max(*most);
            let has_more = self
                .flow()
                .spec()
                .scopes
                .iter()
                .any(|it| it.parent == index_of(place));
            if !has_more {
                continue;
            }
            for (index, value) in values.iter().enumerate() {
                let (inner, all, path) = inside(scope, around, path, index, value);
                self.count(index_of(place), &inner, &all, path, counts);
            }
        }
    }

    /// Whether the items of a foreach need no step of this execution.
    fn is_known(&self, place: usize) -> bool {
        let spec = &self.flow().spec().scopes[place];
        let Items::Template(template) = &spec.items else {
            return false;
        };
        let done = self.done().1;
        let needs = |it: &dalsegno_scheduler::expr::Expr| {
            let names = it.names();
            names.roots.contains("steps")
                && (names.steps.is_empty()
                    || names.steps.iter().any(|it| !done.contains(it.as_str())))
        };
        let around = usize::from(spec.parent.0).checked_sub(1);
        !template.exprs().any(needs) && around.is_none_or(|it| self.is_known(it))
    }

    /// The whole input but for `i`.
    pub fn shared(&self, slots: &AllSlots, places: &Places) -> Value {
        let it = self.execution;
        let mut variables = Map::new();
        for param in &it.flow.spec().params {
            let value = it.params.get(&param.name).map(plain).unwrap_or_default();
            variables.insert(param.name.to_ascii_uppercase(), Value::from(value));
        }
        variables.insert(
            "DALSEGNO_INTERVAL_START".into(),
            it.interval.start.to_string().into(),
        );
        variables.insert(
            "DALSEGNO_INTERVAL_END".into(),
            it.interval.end.to_string().into(),
        );
        variables.insert("DALSEGNO_ENV_URI".into(), places.env_uri.clone().into());
        json!({
            "x": {
                "j": format!("{}-", places.execution),
                "b": places.bucket,
                "k": places.keys,
                "t": {
                    "installation": places.installation,
                    "instance": places.instance,
                    "flow": it.flow.name(),
                    "run": self.run.to_string(),
                },
                "v": variables,
                "s": self.slots(slots, ScopeIndex::ROOT, &self.scope()),
            },
            "i": {},
            "r": {},
        })
    }

    /// The items of each foreach at the root that are known now, by [`key_of`].
    pub fn items(&self, slots: &AllSlots) -> BTreeMap<StepName, (String, Vec<Value>)> {
        let mut all = BTreeMap::new();
        for (place, spec) in self.flow().spec().scopes.iter().enumerate() {
            if spec.parent == ScopeIndex::ROOT && self.is_known(place) {
                let items = self.items_of(slots, place, &self.scope(), &[], Path::ROOT);
                all.insert(spec.name.clone(), (key_of(place), items));
            }
        }
        all
    }

    fn items_of(
        &self,
        slots: &AllSlots,
        place: usize,
        scope: &Scope,
        around: &[Value],
        path: Path,
    ) -> Vec<Value> {
        let flow = self.flow();
        let spec = &flow.spec().scopes[place];
        let index = index_of(place);
        let nodes = flow.nodes().iter().filter(|it| it.scope == index);
        let steps: Vec<_> = nodes
            .filter(|it| matches!(it.kind, NodeKind::Step(_)))
            .collect();
        let values = list(&spec.items, scope).unwrap_or_default();
        let values = values.into_iter().enumerate();
        values
            .map(|(number, value)| {
                let (scope, all, path) = inside(scope, around, path, number, &value);
                let mut item = json!({
                    "t": plain(&value),
                    "n": number.to_string(),
                    "e": path.to_string(),
                    "p": dashed(path),
                    "a": Value::Array(all.clone()).to_string(),
                });
                for depth in 1..path.depth() {
                    item[format!("q{depth}")] = json!(dashed(path.prefix(depth)));
                }
                let own = self.slots(slots, index, &scope);
                if own.as_object().is_some_and(|it| !it.is_empty()) {
                    item["s"] = own;
                }
                let done = steps.iter().filter(|node| {
                    self.execution
                        .done
                        .iter()
                        .any(|(task, _)| task.step == node.name && task.path == path)
                });
                let done: Map<String, Value> = done
                    .map(|it| (format!("n{}", it.id.0), json!(true)))
                    .collect();
                if !self.execution.done.is_empty() {
                    item["d"] = Value::Object(done);
                }
                let mut inner = Map::new();
                for (place, spec) in flow.spec().scopes.iter().enumerate() {
                    if spec.parent == index {
                        let items = self.items_of(slots, place, &scope, &all, path);
                        inner.insert(key_of(place), Value::Array(items));
                    }
                }
                if !inner.is_empty() {
                    item["i"] = Value::Object(inner);
                }
                item
            })
            .collect()
    }

    fn slots(&self, slots: &AllSlots, index: ScopeIndex, scope: &Scope) -> Value {
        let mut values = Map::new();
        for (number, kind) in slots.get(&index).into_iter().flatten().enumerate() {
            if let Some(value) = evaluate(kind, scope) {
                values.insert(format!("k{number}"), value);
            }
        }
        Value::Object(values)
    }
}

/// How the items of a foreach are called in the input.
pub fn key_of(place: usize) -> String {
    format!("s{}", index_of(place).0)
}

fn evaluate(kind: &Kind, scope: &Scope) -> Option<Value> {
    let word = |it: &str| Some(Value::from(it));
    match kind {
        Kind::Value(template) => template.eval(scope).ok(),
        Kind::Text(template) => {
            let text = template
                .eval(scope)
                .map(|it| plain(&it))
                .unwrap_or_default();
            Some(Value::from(text))
        }
        Kind::Truth(expr) => match expr.eval_bool(scope) {
            Ok(true) => word("T"),
            Ok(false) => word("F"),
            Err(_) => word("E"),
        },
        Kind::Go {
            when,
            fallible,
            list: items,
        } => {
            match when.as_ref().map(|it| it.eval_bool(scope)) {
                Some(Err(_)) => return word("E"),
                Some(Ok(false)) => return word("F"),
                Some(Ok(true)) | None => {}
            }
            let is_list = items
                .as_ref()
                .is_none_or(|it| list(&Items::Template(it.clone()), scope).is_some());
            match is_list && fallible.iter().all(|it| it.eval(scope).is_ok()) {
                true => word("T"),
                false => word("E"),
            }
        }
    }
}

fn list(items: &Items, scope: &Scope) -> Option<Vec<Value>> {
    let Items::Template(template) = items else {
        return None;
    };
    match Template::eval(template, scope) {
        Ok(Value::Array(values)) if values.len() <= ITEMS_MAX => Some(values),
        _ => None,
    }
}

/// The inside of one item.
fn inside(
    scope: &Scope,
    around: &[Value],
    path: Path,
    index: usize,
    value: &Value,
) -> (Scope, Vec<Value>, Path) {
    let mut all = around.to_vec();
    all.push(value.clone());
    let mut scope = scope.clone();
    scope.insert("item", value.clone());
    scope.insert("items", Value::Array(all.clone()));
    scope.insert("item_index", json!(index));
    (
        scope,
        all,
        path.child(u32::try_from(index).expect("ITEMS_MAX fits u32")),
    )
}

fn dashed(path: Path) -> String {
    path.to_string().replace('.', "-")
}
