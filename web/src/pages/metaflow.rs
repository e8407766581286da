//! What the pages tell of Metaflow flows, their runs and tasks.

use super::tasks::is_taken_over;
use crate::html::{DynamicLine, Fact, Html, MetaflowPanel, StepLine, chip, copy, fact, run_link};
use crate::metaflow::{KeptTask, of_run};
use crate::state::App;
use crate::text::escape;
use dalsegno_scheduler::metaflow::{
    MetaflowFlow, MetaflowStep, attempt_name, output, run_id_in, task_id_in,
};
use dalsegno_scheduler::row::{FlowRow, RunRow, TaskRow};
use dalsegno_scheduler::spec::{Command, HookOn, Items, Route, StepSpec};
use dalsegno_scheduler::{Flow, Scheduler};
use serde_json::Value;

/// What is told of the flow as a whole.
pub(super) fn panel(app: &App, row: &FlowRow, flow: &Flow) -> Option<MetaflowPanel> {
    let metaflow = flow.spec().metaflow.as_ref()?;
    let about = app.web.metaflow.about(row, metaflow);
    let mut facts = vec![fact("Class", Html::text(&metaflow.class))];
    let mut push = |name: &str, value: Option<String>| {
        facts.extend(value.map(|it| fact(name, Html::text(it))));
    };
    if let Some(project) = &metaflow.project {
        push("Project", Some(project.name.clone()));
        push("Branch", Some(project.branch.clone()));
    }
    push("Metaflow", metaflow.metaflow_version.clone());
    push("User", metaflow.user.clone());
    push("Namespace", metaflow.namespace.clone());
    push("Tags", said(&metaflow.tags));
    push("With", said(&metaflow.with));
    push("Environment", metaflow.environment.clone());
    push("Deployed from", about.deployed_from);
    push(
        "Working directory",
        metaflow.code.as_ref().map(|it| it.folder.clone()),
    );
    facts.extend(about.python.map(|it| fact("Interpreter", mono(&it))));
    facts.extend(about.storage.map(|it| {
        let service = match it.metadata.as_str() {
            "local" => String::new(),
            other => format!(" \u{b7} metadata {other}"),
        };
        fact("Data", mono(&it.root).then(&Html::text(service)))
    }));
    let steps = flow.spec().steps.iter();
    Some(MetaflowPanel {
        facts,
        dynamic: metaflow
            .dynamic
            .iter()
            .map(|it| DynamicLine {
                line: (it.line > 0).then_some(it.line),
                what: it.what.clone(),
                reason: it.reason.clone(),
            })
            .collect(),
        progress: about.progress,
        warnings: about.warnings,
        steps: steps
            .filter_map(|it| step_line(flow, metaflow, it))
            .collect(),
    })
}

fn said(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(", "))
}

fn mono(text: &str) -> Html {
    Html(format!(r#"<span class="mono">{}</span>"#, escape(text)))
}

fn step_line(flow: &Flow, metaflow: &MetaflowFlow, step: &StepSpec) -> Option<StepLine> {
    let Command::Metaflow(own) = &step.run else {
        return None;
    };
    let next = own.next.iter().map(|it| match *it == step.name {
        true => "itself".to_owned(),
        false => it.to_string(),
    });
    let next: Vec<String> = next.collect();
    let word = match step.route {
        Route::Switch => " or ",
        Route::All => ", ",
    };
    Some(StepLine {
        name: own.hook.clone().unwrap_or_else(|| step.name.to_string()),
        kind: with_ends(metaflow, step, kinds(flow, step, own)).join(", "),
        chips: own.decorators.iter().map(|it| chip(it)).collect(),
        next: next.join(word),
    })
}

/// The same with what is the first and the last.
fn with_ends(
    metaflow: &MetaflowFlow,
    step: &StepSpec,
    kinds: Vec<&'static str>,
) -> Vec<&'static str> {
    let first = (step.name == metaflow.start).then_some("first");
    let last = (step.name == metaflow.end).then_some("last");
    first.into_iter().chain(last).chain(kinds).collect()
}

/// What a step is in the graph beyond one that follows another.
pub(super) fn kinds(flow: &Flow, step: &StepSpec, own: &MetaflowStep) -> Vec<&'static str> {
    let spec = flow.spec();
    let mut kinds = Vec::new();
    let opened = spec
        .scopes
        .iter()
        .find(|it| it.items == Items::Reported && it.after.contains(&step.name));
    let opens_gang = opened.is_some_and(|it| is_gang(flow, it.name.as_str()));
    let joins_scope = step
        .after
        .iter()
        .any(|it| spec.scopes.iter().any(|scope| scope.name == *it));
    match step.hook {
        Some(HookOn::Success) => kinds.push("exit hook, on success"),
        Some(HookOn::Failure) => kinds.push("exit hook, on failure"),
        None => {}
    }
    if own.parallel {
        kinds.push("gang");
    }
    if joins_scope
        || (step.after.len() > 1 && step.route == Route::All && !follows_switch(flow, step))
    {
        kinds.push("join");
    }
    match (step.route, opened, own.next.len()) {
        (Route::Switch, ..) if own.next.contains(&step.name) => {
            kinds.push("switch, may come again")
        }
        (Route::Switch, ..) => kinds.push("switch"),
        (_, Some(_), _) if opens_gang => kinds.push("starts a gang"),
        (_, Some(_), _) => kinds.push("foreach"),
        (_, None, 2..) => kinds.push("split"),
        _ => {}
    }
    kinds
}

/// Where the branches of a switch meet, one of them goes on; nothing is joined.
fn follows_switch(flow: &Flow, step: &StepSpec) -> bool {
    let mut names: Vec<_> = step.after.iter().collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(name) = names.pop() {
        let Some(before) = flow.step(name.as_str()).filter(|_| seen.insert(name)) else {
            continue;
        };
        if before.route == Route::Switch {
            return true;
        }
        // What branched off in a split is joined again, whatever came before it.
        let splits = matches!(&before.run, Command::Metaflow(own) if own.next.len() > 1);
        if !splits && let [_] = before.after.as_slice() {
            names.extend(&before.after);
        }
    }
    false
}

/// Whether the steps of a scope run as a gang.
pub(super) fn is_gang(flow: &Flow, scope: &str) -> bool {
    let steps = flow.spec().steps.iter();
    let mut inside = steps.filter(|it| {
        flow.scope_at(it.scope)
            .is_some_and(|(it, ..)| it.name.as_str() == scope)
    });
    inside.any(|it| matches!(&it.run, Command::Metaflow(step) if step.parallel))
}

/// What the run is called in Metaflow, to be copied.
pub(super) fn run_facts(view: &Scheduler, flow: Option<&Flow>, run: &RunRow) -> Vec<Fact> {
    let pathspec = match flow.and_then(|it| it.spec().metaflow.as_ref()) {
        Some(metaflow) => format!("{}/{}", metaflow.class, run_id_in(metaflow, run)),
        None => match of_run(view, run) {
            Some(told) => told["pathspec"].as_str().unwrap_or_default().to_owned(),
            None => return Vec::new(),
        },
    };
    let call = format!("Run(\"{pathspec}\")");
    // Whoever looks is not always the user in whose namespace the run is.
    let python = format!("from metaflow import Run, namespace; namespace(None); run = {call}");
    vec![
        fact("Pathspec", copy(&pathspec, &pathspec)),
        fact("In Python", copy(&python, &python)),
    ]
}

/// What a task is called in Metaflow and where its data lies; nothing of hooks, which are no tasks there.
pub(super) fn task_facts(
    app: &App,
    flow: Option<&Flow>,
    run: &RunRow,
    task: &TaskRow,
) -> Vec<Fact> {
    let of = |flow: &Flow| {
        Some((
            flow.spec().metaflow.clone()?,
            flow.step(task.task.step.as_str())?.clone(),
        ))
    };
    let Some((metaflow, step)) = flow.and_then(of).filter(|(_, step)| step.hook.is_none()) else {
        return Vec::new();
    };
    let (class, step) = (&metaflow.class, &step.name);
    let run_id = run_id_in(&metaflow, run);
    let Some(task_id) = task_id_in(&metaflow, task) else {
        // Its job, which it will be named after, is not there yet.
        return Vec::new();
    };
    let pathspec = format!("{class}/{run_id}/{step}/{task_id}");
    let mut facts = vec![fact("Pathspec", copy(&pathspec, &pathspec))];
    let known = app
        .engine()
        .view()
        .flow(run.flow.as_str())
        .map(|it| it.row.clone());
    let storage = known.and_then(|row| app.web.metaflow.about(&row, &metaflow).storage);
    if let Some(storage) = storage.filter(|it| !it.root.is_empty()) {
        let path = format!("{}/{pathspec}", storage.root.trim_end_matches('/'));
        facts.push(fact("Data", copy(&path, &path)));
    }
    let outputs = task.outputs.as_deref();
    let members = outputs.and_then(|it| it.get(output::MAPPER_TASKS)?.as_array());
    if let Some(members) = members {
        facts.push(fact(
            "Gang",
            Html::text(format_args!("{} tasks", members.len())),
        ));
    }
    if let Some(error) = caught(task) {
        facts.push(fact("@catch", Html::text(error)));
    }
    if let (true, Some(origin)) = (is_taken_over(task), run.origin) {
        facts.push(fact("Taken over from", run_link(origin)));
    }
    facts
}

/// What `@catch` took, so that the run went on: `caught: ZeroDivisionError: division by zero`.
pub(super) fn caught(task: &TaskRow) -> Option<String> {
    let outputs = task.outputs.as_deref()?;
    outputs.get(output::CAUGHT).filter(|it| **it == true)?;
    Some(match outputs.get(output::ERROR).and_then(Value::as_str) {
        Some(error) => format!("caught: {error}"),
        None => "caught: @catch took an error".into(),
    })
}

/// Where Metaflow keeps what an attempt of a task stored; nothing for hooks, which are no tasks there, and where
/// nobody knows the place.
pub(super) fn kept_task(
    app: &App,
    flow: Option<&Flow>,
    run: &RunRow,
    task: &TaskRow,
    attempt: u32,
) -> Option<KeptTask> {
    let flow = flow?;
    let metaflow = flow.spec().metaflow.as_ref()?;
    let step = flow.step(task.task.step.as_str())?;
    if step.hook.is_some() {
        return None;
    }
    let known = app.engine().view().flow(run.flow.as_str())?.row.clone();
    let storage = app.web.metaflow.about(&known, metaflow).storage;
    let number = match attempt {
        0 => task.attempts_before + 1,
        number => number,
    };
    let name = attempt_name(task, number)?;
    Some(KeptTask {
        storage: storage.filter(|it| !it.root.is_empty())?,
        class: metaflow.class.clone(),
        run_id: run_id_in(metaflow, run),
        step: step.name.to_string(),
        task_id: match metaflow.executions {
            Some(_) => task_id_in(metaflow, task)?,
            None => name.task_id,
        },
        // What was taken over is stored under the first one, whatever it had in its own run.
        retry_count: match is_taken_over(task) {
            true => 0,
            false => name.retry_count,
        },
    })
}

/// What an attempt is called in Metaflow: `task t-3, retry 1`.
pub(super) fn attempt_told(flow: Option<&Flow>, task: &TaskRow, attempt: u32) -> Option<String> {
    let flow = flow?;
    let step = flow.step(task.task.step.as_str())?;
    let executions = flow.spec().metaflow.as_ref()?.executions.as_ref();
    match &step.run {
        // Named after their jobs, which the attempt's row shows.
        Command::Metaflow(_) if executions.is_some() => None,
        Command::Metaflow(own) if own.hook.is_none() => {
            let name = attempt_name(task, attempt)?;
            Some(match name.retry_count {
                0 => format!("task {}", name.task_id),
                count => format!("task {}, retry {count}", name.task_id),
            })
        }
        _ => None,
    }
}
