//! What Metaflow's tasks read from, worked out once more and the other way round: each finished task names those that
//! it hands its token to.

use crate::shapes;
use dalsegno_scheduler::metaflow::{MetaflowStep, MetaflowTask, output, task_id};
use dalsegno_scheduler::row::{TaskRow, TaskState};
use dalsegno_scheduler::spec::{Command, Route};
use dalsegno_scheduler::{AttemptId, Flow, Path, Scheduler, StepName, TaskId};

/// A Metaflow task is told exactly the tasks that handed it their token, in order.
pub(crate) fn check(core: &Scheduler, attempt: &AttemptId, told: &MetaflowTask) {
    let run = attempt.run;
    let flow = core.flow_of(run).expect("an unfinished run has a flow");
    let done = |it: &&TaskRow| it.state == TaskState::Succeeded;
    let (mut from, mut own) = (Vec::new(), false);
    for task in core.tasks(run).map(|it| &**it).filter(done) {
        own |= task.submitted_at.is_some();
        if targets(flow, task).contains(&attempt.task) {
            from.push(task);
        }
    }
    check_task(flow, &attempt.task, told, from, own);
}

fn check_task(flow: &Flow, task: &TaskId, told: &MetaflowTask, mut from: Vec<&TaskRow>, own: bool) {
    let is_hook = told.step.hook.is_some();
    from.sort_by_key(|it| (it.task.path, shapes::number(it.task.step.as_str())));
    let is_start = told.flow.start == task.step;
    let expected: Vec<String> = match is_start {
        true => vec!["_parameters/params".to_owned()],
        false => from.iter().flat_map(|it| paths(it)).collect(),
    };
    assert_eq!(told.inputs, expected, "inputs of {}", task);
    let is_child = from
        .iter()
        .any(|it| it.task.path.depth() < task.path.depth());
    let index = task.path.as_slice().last().copied();
    assert_eq!(told.split_index, index.filter(|_| is_child), "{}", task);
    let gang = step_of(flow, &task.step).parallel;
    assert_eq!(told.num_parallel.is_some(), gang, "{}", task);
    assert!(
        told.params.is_some() || own || is_hook,
        "{} may be the first of its run, and cannot do `init`",
        task
    );
}

/// The tasks that a finished one hands its token to.
fn targets(flow: &Flow, task: &TaskRow) -> Vec<TaskId> {
    let id = &task.task;
    let spec = flow.step(id.step.as_str()).expect("its step");
    let to = |step: &StepName, path: Path| TaskId {
        step: step.clone(),
        path,
        iteration: 0,
    };
    let next = &step_of(flow, &id.step).next;
    let opened = flow.scope(&format!("{}-foreach", id.step)).is_some();
    match task
        .chosen
        .as_deref()
        .filter(|_| spec.route == Route::Switch)
    {
        Some([only]) if *only == id.step => vec![TaskId {
            iteration: id.iteration + 1,
            ..id.clone()
        }],
        Some([only]) => vec![to(only, id.path)],
        Some(other) => panic!("{id} chose {other:?}"),
        None if opened => (0..task.splits.expect("it was reported"))
            .map(|item| to(&next[0], id.path.child(item)))
            .collect(),
        None => next
            .iter()
            .map(|step| {
                // The join of a foreach stands outside of it.
                let depth = flow.step_node(step.as_str()).map(|it| flow.node(it).depth);
                to(step, id.path.prefix(depth.expect("its node")))
            })
            .collect(),
    }
}

/// What a task is as an input: itself, or the members of its gang.
fn paths(task: &TaskRow) -> Vec<String> {
    let outputs = task.outputs.as_deref();
    match outputs.and_then(|it| it.get(output::MAPPER_TASKS)?.as_array()) {
        Some(members) => members
            .iter()
            .map(|it| {
                it.as_str()
                    .expect("text")
                    .trim_start_matches("R/")
                    .to_owned()
            })
            .collect(),
        None => vec![format!("{}/{}", task.task.step, task_id(task))],
    }
}

pub(crate) fn step_of<'a>(flow: &'a Flow, step: &StepName) -> &'a MetaflowStep {
    match &flow.step(step.as_str()).expect("its step").run {
        Command::Metaflow(it) => it,
        other => panic!("{step} runs {other:?}"),
    }
}
