//! What expressions and tasks see of a run.

use crate::expr::{self, Expr, ExprError, Names, Scope};
use crate::flow::Flow;
use crate::id::AttemptId;
use crate::params;
use crate::spec::{Command, ExecutorKind, ScopeIndex, StepSpec};
use crate::state::{Place, Scheduler, TaskKey};
use crate::submission::{Executions, RemoteTask, Submission};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use crate::decide::event_json;

/// The values of the names that are used at a place of a run.
pub(crate) fn scope(s: &Scheduler, place: Place, names: &Names) -> Scope {
    let run = s.runs.get(&place.run).expect("the run is unfinished");
    let row = &run.row;
    let mut scope = Scope::new();
    for name in &names.roots {
        let (name, value) = match name.as_str() {
            "params" => ("params", Value::Object(Map::clone(&row.params))),
            "interval" => ("interval", params::interval(row.interval)),
            "run" => (
                "run",
                json!({
                    "id": row.id.to_string(),
                    "flow": row.flow,
                    "trigger": row.trigger,
                    "generation": row.generation,
                }),
            ),
            "event" => ("event", row.event_data.first().cloned().unwrap_or_default()),
            "events" => ("events", Value::Array(Vec::clone(&row.event_data))),
            "steps" => ("steps", steps(s, &run.flow, place, &names.steps)),
            "item" => ("item", items(s, &run.flow, place).pop().unwrap_or_default()),
            "items" => ("items", Value::Array(items(s, &run.flow, place))),
            "item_index" => (
                "item_index",
                place
                    .path
                    .as_slice()
                    .last()
                    .map_or(Value::Null, |it| json!(it)),
            ),
            _ => continue,
        };
        scope.insert(name, value);
    }
    scope
}

/// All names that several expressions use.
pub(crate) fn names_of<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Names {
    let mut all = Names::default();
    for expr in exprs {
        let names = expr.names();
        all.roots.extend(names.roots.iter().cloned());
        all.steps.extend(names.steps.iter().cloned());
        all.params.extend(names.params.iter().cloned());
    }
    all
}

/// The items of the enclosing foreach scopes, outermost first.
fn items(s: &Scheduler, flow: &Flow, place: Place) -> Vec<Value> {
    let mut scopes = Vec::new();
    let mut at = flow.node(place.node).scope;
    while let Some((spec, open, _)) = flow.scope_at(at) {
        scopes.push(open);
        at = spec.parent;
    }
    scopes.reverse();
    scopes
        .into_iter()
        .enumerate()
        .map(|(depth, node)| {
            let opening = Place {
                run: place.run,
                node,
                path: place.path.prefix(depth),
            };
            let index = place.path.as_slice()[depth] as usize;
            let row = s.scopes.get(&opening);
            row.and_then(|it| it.items.get(index).cloned())
                .unwrap_or_default()
        })
        .collect()
}

/// `steps.<name>.outputs` as seen from a place: a step around or beside it gives its outputs; one
/// inside a foreach that does not enclose the place gives a list in index order for each output.
fn steps(s: &Scheduler, flow: &Flow, place: Place, names: &BTreeSet<String>) -> Value {
    let mut steps = Map::new();
    for name in names {
        let Some(node) = flow.step_node(name) else {
            continue;
        };
        let step = flow.step_of(node);
        let shared = shared_depth(flow, flow.node(place.node).scope, step.scope);
        let first = TaskKey {
            run: place.run,
            node,
            path: place.path.prefix(shared),
            iteration: 0,
        };
        let mut outputs = Map::new();
        if step.outputs.is_empty() && first.path.depth() == flow.node(node).depth {
            // One task, and whatever it wrote.
            let task = s.last_iteration(first);
            let wrote = task.and_then(|it| it.outputs.as_deref().cloned());
            outputs = wrote.unwrap_or_default();
        } else {
            for output in output_names(s, flow, place, step) {
                let value = collect(s, flow, first, &output);
                outputs.insert(output, value);
            }
        }
        steps.insert(name.clone(), json!({ "outputs": outputs }));
    }
    Value::Object(steps)
}

/// Declared outputs; for a step that declares none, whatever it wrote.
fn output_names(s: &Scheduler, flow: &Flow, place: Place, step: &StepSpec) -> Vec<String> {
    if !step.outputs.is_empty() {
        return step.outputs.clone();
    }
    let node = flow
        .step_node(step.name.as_str())
        .expect("a step has a node");
    let names: BTreeSet<String> = s
        .node_tasks(place.run, node)
        .filter_map(|(_, row)| row.outputs.as_deref())
        .flat_map(|it| it.keys().cloned())
        .collect();
    names.into_iter().collect()
}

/// One output below a path: a value at the step's own depth, else a list over the next index.
fn collect(s: &Scheduler, flow: &Flow, key: TaskKey, output: &str) -> Value {
    let node = flow.node(key.node);
    if key.path.depth() == node.depth {
        return s
            .last_iteration(key)
            .and_then(|row| row.outputs.as_ref()?.get(output).cloned())
            .unwrap_or_default();
    }
    // The scope that adds the next index.
    let mut chain = Vec::new();
    let mut at = node.scope;
    while let Some((spec, open, _)) = flow.scope_at(at) {
        chain.push(open);
        at = spec.parent;
    }
    chain.reverse();
    let opening = Place {
        run: key.run,
        node: chain[key.path.depth()],
        path: key.path,
    };
    let count = s.scopes.get(&opening).map_or(0, |it| it.items.len());
    let list = (0..count).map(|index| {
        let path = key.path.child(index as u32);
        collect(s, flow, TaskKey { path, ..key }, output)
    });
    Value::Array(list.collect())
}

/// How many enclosing scopes two scopes have in common.
fn shared_depth(flow: &Flow, a: ScopeIndex, b: ScopeIndex) -> usize {
    let chain = |mut at: ScopeIndex| {
        let mut chain = Vec::new();
        while let Some((spec, _, _)) = flow.scope_at(at) {
            chain.push(at);
            at = spec.parent;
        }
        chain.reverse();
        chain
    };
    chain(a)
        .iter()
        .zip(&chain(b))
        .take_while(|(x, y)| x == y)
        .count()
}

impl Scheduler {
    /// What an executor needs to run this attempt; `None` when it is not the live one.
    ///
    /// # Errors
    /// When an `env` expression cannot be evaluated: the attempt fails with that.
    pub fn submission(&self, attempt: &AttemptId) -> Option<Result<Submission, ExprError>> {
        self.submission_of(attempt, &mut Executions::default())
    }

    /// The same for one of several attempts: those of one execution share what is to be known of it.
    ///
    /// # Errors
    /// As [`Self::submission`].
    pub fn submission_of(
        &self,
        attempt: &AttemptId,
        executions: &mut Executions,
    ) -> Option<Result<Submission, ExprError>> {
        let key = self.task_key(attempt.run, &attempt.task)?;
        let task = self.tasks.get(&key)?;
        if task.attempt != attempt.number || !task.state.is_live() {
            return None;
        }
        Some(self.build_submission(key, attempt, executions))
    }

    fn build_submission(
        &self,
        key: TaskKey,
        attempt: &AttemptId,
        executions: &mut Executions,
    ) -> Result<Submission, ExprError> {
        let (run, task) = (&self.runs[&key.run], &self.tasks[&key]);
        let (flow, row) = (&run.flow, &run.row);
        let step = flow.step_of(key.node);
        let place = Place {
            run: key.run,
            node: key.node,
            path: key.path,
        };
        let mut env = BTreeMap::new();
        let metaflow = match &step.run {
            Command::Metaflow(it) => self.metaflow_task(key, it).map(Box::new),
            Command::Shell(_) | Command::Argv(_) | Command::Flow(_) => None,
        };
        // Metaflow's tasks find these in its datastore, and a parameter may be called like a setting.
        let common = metaflow.is_none();
        for (name, value) in row.params.iter().filter(|_| common) {
            env.insert(name.to_ascii_uppercase(), expr::plain(value));
        }
        if !key.path.is_root() && common {
            let items = items(self, flow, place);
            let last = items.last().map(expr::plain).unwrap_or_default();
            let index = key.path.as_slice().last().copied().unwrap_or_default();
            env.insert("ITEM".into(), last);
            env.insert("ITEM_INDEX".into(), index.to_string());
            env.insert("ITEMS".into(), Value::Array(items).to_string());
        }
        let templates = || flow.spec().env.iter().chain(&step.env);
        let names = names_of(templates().flat_map(|(_, template)| template.exprs()));
        let scope = scope(self, place, &names);
        for (name, template) in templates() {
            let value = template.eval(&scope).map_err(|error| ExprError {
                message: format!("env {name}: {error}"),
                offset: None,
            })?;
            env.insert(name.clone(), expr::plain(&value));
        }
        let own = [
            ("RUN_ID", row.id.to_string()),
            ("FLOW", row.flow.to_string()),
            ("STEP", step.name.to_string()),
            ("TASK", attempt.task.to_string()),
            ("ATTEMPT", attempt.number.to_string()),
            ("MAX_ATTEMPTS", (step.retry.times + 1).to_string()),
            ("INTERVAL_START", row.interval.start.to_string()),
            ("INTERVAL_END", row.interval.end.to_string()),
        ];
        for (name, value) in own {
            env.insert(format!("DALSEGNO_{name}"), value);
        }
        env.insert("TRACEPARENT".into(), traceparent(attempt));
        let file = self
            .flows
            .get(&row.flow)
            .map(|it| it.row.file.clone())
            .unwrap_or_default();
        Ok(Submission {
            attempt: attempt.clone(),
            flow: row.flow.clone(),
            command: step.run.clone(),
            file,
            env,
            outputs: step.outputs.clone(),
            memory_bytes: step.memory_of(task.memory_bytes),
            grace: step.grace,
            event: row.event_data.first().cloned().map(Arc::new),
            metaflow,
            remote: step.remote.as_deref().map(|spec| {
                let execution = (spec.executor == ExecutorKind::StepFunctions)
                    .then(|| executions.of(self, key.run));
                Box::new(RemoteTask {
                    spec: spec.clone(),
                    timeout: step.timeout,
                    capacity_retries: task.retries.capacity,
                    lost_retries: self
                        .config
                        .lost_retries
                        .saturating_sub(task.retries.infrastructure),
                    external_id: task.external_id.clone(),
                    array: task.array.clone(),
                    run_created_at: row.created_at,
                    attempts_before: task.attempts_before,
                    execution,
                })
            }),
        })
    }

    /// How long an attempt may take to end by itself when it is stopped.
    pub fn grace(&self, attempt: &AttemptId) -> crate::time::Span {
        self.task_key(attempt.run, &attempt.task)
            .and_then(|key| Some(self.runs.get(&key.run)?.flow.step_of(key.node).grace))
            .unwrap_or_else(crate::spec::default_grace)
    }
}

/// W3C trace context: one trace for the run, one span for the attempt, both by hash, so that a
/// repeated submission carries the same.
fn traceparent(attempt: &AttemptId) -> String {
    let run = crate::hash::fnv(&format!("run/{}", attempt.run));
    let more = crate::hash::fnv(&format!("trace/{}", attempt.run));
    let span = crate::hash::fnv(&attempt.to_string()).max(1);
    format!("00-{run:016x}{more:016x}-{span:016x}-01")
}
