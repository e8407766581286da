//! What one Metaflow task is given: above all the tasks that it reads from, worked out from the tokens that they
//! handed on.

use super::{MetaflowStep, MetaflowTask, Origin, PARAMETERS, ids, output};
use crate::flow::{Flow, NodeId, NodeKind};
use crate::id::{RunId, StepName};
use crate::row::{TaskRow, TaskState};
use crate::spec::{ParamKind, ScopeIndex};
use crate::state::{Place, Scheduler, TaskKey};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::sync::Arc;

impl Scheduler {
    /// `None` when the flow does not say what it is in Metaflow.
    pub(crate) fn metaflow_task(&self, key: TaskKey, step: &MetaflowStep) -> Option<MetaflowTask> {
        let run = &self.runs[&key.run];
        let (flow, row) = (&run.flow, &run.row);
        let task = &self.tasks[&key];
        let spec = flow.step_of(key.node);
        let inputs = match spec.hook {
            Some(_) => Inputs::default(),
            None => self.inputs(flow, key),
        };
        let split = self.split_of(flow, key);
        let name = ids::newest(task);
        let params = || {
            let values = row.params.iter().filter(|(_, value)| !value.is_null());
            let values = values.map(|(name, value)| (name.clone(), said(flow, name, value)));
            values.collect::<Map<String, Value>>()
        };
        let does_init = match spec.hook {
            None => inputs.own == 0,
            // Only of a run that took over all that it needed.
            Some(_) => row.origin.is_some() && !self.run_tasks(key.run).any(|(_, it)| is_own(it)),
        };
        Some(MetaflowTask {
            run_id: ids::run_id_in(flow.metaflow()?, row),
            flow: flow.metaflow()?.clone(),
            name: match &step.hook {
                Some(function) => StepName::new(function),
                None => spec.name.clone(),
            },
            task_id: name.task_id,
            earlier_task_id: ids::earlier_task_id(task),
            retry_count: name.retry_count,
            max_user_code_retries: ids::max_user_code_retries(task, step.user_retries),
            inputs: inputs.tasks,
            split_index: split.and_then(|_| key.path.as_slice().last().copied()),
            num_parallel: split
                .filter(|_| step.parallel)
                .and_then(|it| it.outputs.as_ref()?.get(output::NUM_PARALLEL)?.as_u64())
                .and_then(|it| u32::try_from(it).ok()),
            params: does_init.then(params),
            events: row.event_data.clone(),
            origin: ids::origin_run_id(row).map(|run_id| Origin {
                run_id,
                tasks: run.cloned.clone(),
                params: params(),
            }),
            run_failed: run.failed > 0,
            step: step.clone(),
        })
    }

    /// Works out which tasks a run began with; to be called when its rows are all there.
    pub(crate) fn remember_clones(&mut self, run: RunId) {
        let mut cloned = Inputs::default();
        for (_, task) in self.run_tasks(run).filter(|(_, it)| is_cloned(it)) {
            // Of a gang the control task is one of its members.
            cloned.extend(Some(task));
        }
        if let Some(run) = self.runs.get_mut(&run) {
            Arc::make_mut(run).cloned = Arc::new(cloned.tasks);
        }
    }

    /// The task that opened the foreach of which this one is a direct child.
    fn split_of(&self, flow: &Flow, key: TaskKey) -> Option<&Arc<TaskRow>> {
        let node = flow.node(key.node);
        let (spec, open, _) = flow.scope_at(node.scope)?;
        if key.iteration > 0 || !node.predecessors.contains(&open) {
            return None;
        }
        self.last_iteration(TaskKey {
            run: key.run,
            node: flow.step_node(spec.after.first()?.as_str())?,
            path: key.path.parent()?.0,
            iteration: 0,
        })
    }

    /// The tasks that handed their token to this one.
    fn inputs(&self, flow: &Flow, key: TaskKey) -> Inputs {
        let mut inputs = Inputs::default();
        if let Some(before) = key.iteration.checked_sub(1) {
            let before = TaskKey {
                iteration: before,
                ..key
            };
            inputs.extend(self.tasks.get(&before).map(|it| &**it));
            return inputs;
        }
        let node = flow.node(key.node);
        if node.predecessors.is_empty() {
            inputs.tasks.push(PARAMETERS.to_owned());
            return inputs;
        }
        for &from in flow.in_branch_order(node).iter() {
            self.handed_on(flow, from, key.node, key, &mut inputs);
        }
        inputs
    }

    /// The tasks behind the live tokens that went from one node, at the path of `key`, to another.
    fn handed_on(&self, flow: &Flow, from: NodeId, to: NodeId, key: TaskKey, inputs: &mut Inputs) {
        let node = flow.node(from);
        let first = TaskKey {
            node: from,
            path: key.path.prefix(node.depth),
            iteration: 0,
            ..key
        };
        match node.kind {
            NodeKind::Step(_) => {
                let task = self.last_iteration(first).map(|it| &**it);
                let live = |it: &&TaskRow| {
                    matches!(it.state, TaskState::Succeeded | TaskState::Caught)
                        && crate::decide::takes(flow, node, it, &flow.node(to).name)
                };
                inputs.extend(task.filter(live));
            }
            NodeKind::Open(_) => inputs.extend(self.split_of(flow, key).map(|it| &**it)),
            NodeKind::Close(scope) => {
                let index = ScopeIndex(scope as u16 + 1);
                let (_, open, _) = flow.scope_at(index).expect("a close has a scope");
                let opening = Place {
                    run: key.run,
                    node: open,
                    path: first.path,
                };
                let items = self.scopes.get(&opening).map_or(0, |it| it.items.len());
                for item in 0..items {
                    let inside = TaskKey {
                        path: first.path.child(item as u32),
                        ..first
                    };
                    for &last in &node.predecessors {
                        self.handed_on(flow, last, from, inside, inputs);
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Inputs {
    /// `step/task id`.
    tasks: Vec<String>,
    /// How many of them ran in this run; the others were cloned from its origin.
    own: usize,
}

impl Inputs {
    fn extend(&mut self, task: Option<&TaskRow>) {
        let Some(task) = task else {
            return;
        };
        self.own += usize::from(!is_cloned(task));
        // A gang stands for its members, which its control task names as `run/step/task`.
        let outputs = task.outputs.as_deref();
        let gang = outputs.and_then(|it| it.get(output::MAPPER_TASKS)?.as_array());
        match gang {
            Some(members) => self.tasks.extend(members.iter().filter_map(|it| {
                let (_, task) = it.as_str()?.split_once('/')?;
                Some(task.to_owned())
            })),
            None => self.tasks.push(path_of(task)),
        }
    }
}

/// It came finished from the run that its own was made from: no attempt of this run gave it.
pub(crate) fn is_cloned(task: &TaskRow) -> bool {
    task.state == TaskState::Succeeded && task.submitted_at.is_none()
}

fn is_own(task: &TaskRow) -> bool {
    task.state == TaskState::Succeeded && task.submitted_at.is_some()
}

/// A parameter's value so that Metaflow's command line reads the same. There text of a JSON parameter is JSON itself;
/// what is none is a value that happens to be text.
fn said(flow: &Flow, name: &str, value: &Value) -> Value {
    let param = flow.spec().params.iter().find(|it| it.name == name);
    let is_json = param.is_some_and(|it| it.kind == ParamKind::Json)
        && flow
            .metaflow()
            .is_some_and(|it| !it.multiple.iter().any(|it| it == name));
    match value {
        Value::String(text) if is_json && serde_json::from_str::<IgnoredAny>(text).is_err() => {
            Value::String(value.to_string())
        }
        _ => value.clone(),
    }
}

fn path_of(task: &TaskRow) -> String {
    format!("{}/{}", task.task.step, ids::task_id(task))
}
