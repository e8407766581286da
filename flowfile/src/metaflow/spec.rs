//! What Metaflow declares, as a flow of ours.

use super::declared::{Declared, Kind, Param, ParamType, Step};
use super::found::{Found, Place};
use super::graph::Shape;
use super::options::Options;
use super::{batch, events, hooks, machine, policy, project, schedule};
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::metaflow::{MetaflowFlow, MetaflowStep, Project};
use dalsegno_scheduler::spec::{
    Command, FlowSpec, Items, JoinRule, OnFailure, ParamKind, ParamSpec, Retry, Route, RunPolicy,
    ScopeIndex, ScopeSpec, StepSpec, Strategy, default_grace,
};
use dalsegno_scheduler::{ExecutorKind, FlowName, StepName};
use std::collections::{BTreeMap, HashMap};

/// As many runs at once as Metaflow's schedulers let overlap, with a bound.
const RUNS_MAX: u32 = 16;
const NAME_MAX: usize = 128;

/// Everything but the graph has been checked before; `shape` is `None` when the steps are not known yet.
pub(super) fn build(
    declared: &Declared,
    shape: Option<&Shape>,
    options: &Options,
    found: &mut Found,
) -> FlowSpec {
    let project = match &declared.project {
        Some(dump) => project::of_dump(dump, options),
        None => project::read(declared, options, found),
    };
    let schedule = schedule::read(declared, found);
    let trigger = events::trigger(declared, project.as_ref(), found);
    let on_finish = events::on_finish(declared, project.as_ref(), found);
    let has = |name: &str| declared.decorators.iter().any(|it| it.name == name);
    params(declared, schedule.is_some(), found);
    needs_environment(declared, options, found);
    runs_here(declared, options, found);
    machine::check(declared, options, found);
    let name = name(declared, project.as_ref(), found);

    let (mut scopes, mut steps) = (Vec::new(), Vec::new());
    match shape {
        Some(shape) => graph(declared, shape, options, &mut scopes, &mut steps, found),
        None => steps.push(placeholder(declared)),
    }
    let hooks = hooks::read(declared, found);
    let has_hooks = options.executor != ExecutorKind::StepFunctions;
    for hook in hooks.into_iter().filter(|_| has_hooks) {
        steps.push(StepSpec {
            slas: Vec::new(),
            on_failure: OnFailure::Continue,
            hook: Some(hook.on),
            ..step_spec(
                &hook.name,
                MetaflowStep {
                    hook: Some(hook.function),
                    ..MetaflowStep::default()
                },
            )
        });
    }
    let at = |which: Option<usize>, name: &str| {
        StepName::new(which.map_or(name, |it| &declared.steps[it].name))
    };
    let known = found.dynamic.is_empty();
    FlowSpec {
        alerts: Vec::new(),
        slas: Vec::new(),
        blackouts: Vec::new(),
        name: FlowName::new(name),
        description: description(&declared.doc),
        owner: None,
        tags: Vec::new(),
        params: declared.params.iter().map(param).collect(),
        schedules: schedule.into_iter().filter(|_| known).collect(),
        triggers: trigger
            .into_iter()
            .chain(on_finish)
            .filter(|_| known)
            .collect(),
        run: RunPolicy {
            strategy: options.strategy.unwrap_or(Strategy::Parallel(RUNS_MAX)),
            ..RunPolicy::default()
        },
        env: BTreeMap::new(),
        scopes,
        steps,
        metaflow: Some(MetaflowFlow {
            class: declared.class.clone(),
            project,
            start: at(shape.map(|it| it.start), "start"),
            end: at(shape.map(|it| it.end), "end"),
            code: None,
            python: options.python.clone(),
            configs: declared.configs.clone(),
            with: options.with.clone(),
            tags: options.tags.clone(),
            namespace: options.namespace.clone(),
            user: options.user.clone(),
            storage: options.storage.clone(),
            environment: options.environment.clone(),
            multiple: declared
                .params
                .iter()
                .filter(|it| it.multiple)
                .map(|it| it.name.clone())
                .collect(),
            takes_trigger: has("trigger_on_finish"),
            dynamic: found.dynamic.clone(),
            metaflow_version: declared.metaflow_version.clone(),
            executions: None,
        }),
    }
}

fn name(declared: &Declared, project: Option<&Project>, found: &mut Found) -> String {
    let name = match project {
        Some(it) => format!("{}.{}.{}", it.name, it.branch, declared.class),
        None => declared.class.clone(),
    };
    let sign = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
    if name.len() > NAME_MAX || !name.bytes().all(sign) {
        let message = format!("`{name}` cannot be the name of a flow");
        let help = match project {
            Some(_) => {
                "use letters, digits and `_` in the class, and give a branch when the name of the user has other signs; 128 characters are the limit"
            }
            None => "use ASCII letters, digits and `_` for the class, at most 128 of them",
        };
        found.error(&declared.place, "metaflow.flow_name", message, help);
    }
    name
}

fn description(doc: &str) -> Option<String> {
    let paragraph: Vec<&str> = doc
        .trim()
        .lines()
        .map(str::trim)
        .take_while(|it| !it.is_empty())
        .collect();
    (!paragraph.is_empty()).then(|| paragraph.join(" "))
}

fn graph(
    declared: &Declared,
    shape: &Shape,
    options: &Options,
    scopes: &mut Vec<ScopeSpec>,
    steps: &mut Vec<StepSpec>,
    found: &mut Found,
) {
    let mut scope_of: HashMap<usize, ScopeIndex> = HashMap::new();
    let scope_at = |scope_of: &HashMap<usize, ScopeIndex>, around: &[usize]| {
        let known = around.last().and_then(|it| scope_of.get(it));
        known.copied().unwrap_or(ScopeIndex::ROOT)
    };
    for &index in &shape.order {
        let step = &declared.steps[index];
        let node = &shape.nodes[index];
        let scope = scope_at(&scope_of, &node.foreach);
        let mut after: Vec<StepName> = Vec::new();
        for &before in &node.predecessors {
            let around = &shape.nodes[before].foreach;
            if around == &node.foreach {
                let opens = matches!(declared.steps[before].kind, Kind::Foreach | Kind::Parallel);
                if !opens {
                    after.push(StepName::new(&declared.steps[before].name));
                }
            } else if around.len() > node.foreach.len() {
                // It joins the foreach that it comes out of.
                let split = around[node.foreach.len()];
                let name = StepName::new(scope_name(&declared.steps[split]));
                if !after.contains(&name) {
                    after.push(name);
                }
            }
        }
        let join = match after.len() {
            0 | 1 => JoinRule::AllLive,
            _ => JoinRule::AnyLive,
        };
        if step.kind == Kind::Switch && step.next.contains(&step.name) {
            after.push(StepName::new(&step.name));
        }
        let gang = node
            .predecessors
            .iter()
            .any(|&it| declared.steps[it].kind == Kind::Parallel);
        let (user_retries, retry) = policy::retry(step, found);
        policy::catch(step, found);
        let mut env = policy::environment(step, found);
        let elsewhere = batch::read(step, gang, options, found);
        let (remote, memory_bytes) = match elsewhere {
            Some(it) => {
                for (name, value) in it.env {
                    env.entry(name).or_insert(value);
                }
                (Some(it.remote), Some(it.memory_bytes))
            }
            None => (None, None),
        };
        let mut spec = StepSpec {
            slas: Vec::new(),
            scope,
            after,
            join,
            route: match step.kind {
                Kind::Switch => Route::Switch,
                _ => Route::All,
            },
            env,
            remote,
            memory_bytes,
            retry,
            timeout: policy::timeout(step, found),
            ..step_spec(
                &step.name,
                MetaflowStep {
                    user_retries,
                    parallel: gang,
                    next: successors(step),
                    hook: None,
                    decorators: step.decorators.iter().map(|it| it.text.clone()).collect(),
                },
            )
        };
        if options.executor == ExecutorKind::StepFunctions {
            machine::of_step(&mut spec, step, policy::TIMEOUT_GRACE_SECS, found);
        }
        steps.push(spec);
        if matches!(step.kind, Kind::Foreach | Kind::Parallel) {
            scopes.push(ScopeSpec {
                name: StepName::new(scope_name(step)),
                parent: scope,
                after: vec![StepName::new(&step.name)],
                when: None,
                items: Items::Reported,
                max_parallel: None,
            });
            let number = u16::try_from(scopes.len()).unwrap_or(u16::MAX);
            scope_of.insert(index, ScopeIndex(number));
        }
    }
}

fn scope_name(split: &Step) -> String {
    format!("{}-foreach", split.name)
}

fn successors(step: &Step) -> Vec<StepName> {
    let mut next: Vec<StepName> = Vec::new();
    for name in &step.next {
        let name = StepName::new(name);
        if !next.contains(&name) {
            next.push(name);
        }
    }
    next
}

fn step_spec(name: &str, metaflow: MetaflowStep) -> StepSpec {
    StepSpec {
        slas: Vec::new(),
        name: StepName::new(name),
        scope: ScopeIndex::ROOT,
        after: Vec::new(),
        join: JoinRule::AllLive,
        route: Route::All,
        when: None,
        run: Command::Metaflow(metaflow),
        env: BTreeMap::new(),
        outputs: Vec::new(),
        retry: Retry::default(),
        timeout: None,
        pools: BTreeMap::new(),
        on_failure: OnFailure::Fail,
        memory_bytes: None,
        on_oom: None,
        remote: None,
        grace: default_grace(),
        hook: None,
    }
}

/// Stands for steps that only a probe can tell.
fn placeholder(declared: &Declared) -> StepSpec {
    let name = declared.start.as_deref().unwrap_or("start");
    step_spec(name, MetaflowStep::default())
}

fn param(it: &Param) -> ParamSpec {
    ParamSpec {
        name: it.name.clone(),
        kind: match it.kind {
            _ if it.multiple => ParamKind::Json,
            ParamType::String | ParamType::File => ParamKind::String,
            ParamType::Int => ParamKind::Int,
            ParamType::Float => ParamKind::Float,
            ParamType::Bool => ParamKind::Bool,
            ParamType::Json => ParamKind::Json,
        },
        default: it.default.clone().map(Template::exact),
        min: None,
        max: None,
        choices: Vec::new(),
        description: it.help.clone(),
        optional: it.default.is_none() && (!it.required || it.unknown_default.is_some()),
    }
}

/// Names are unique, and a start that nobody makes by hand has all it needs.
fn params(declared: &Declared, scheduled: bool, found: &mut Found) {
    let mut seen: HashMap<String, &Place> = HashMap::new();
    for it in &declared.params {
        let lower = it.name.to_lowercase();
        if let Some(first) = seen.get(&lower) {
            let message = format!("two Parameters are named `{}`", it.name);
            let help = "rename one of them; upper and lower case are the same here";
            found.error_also(
                &it.place,
                "metaflow.parameter",
                message,
                (first, "and here"),
                help,
            );
        }
        seen.insert(lower, &it.place);
    }
    let starts = ["schedule", "trigger", "trigger_on_finish"];
    let by_itself = declared
        .decorators
        .iter()
        .find(|it| starts.contains(&it.name.as_str()));
    let Some(by_itself) = by_itself else {
        return;
    };
    for it in &declared.params {
        if let Some(reason) = &it.unknown_default {
            let what = format!("the default of the Parameter `{}`", it.name);
            found.unknown(&it.place, what, reason);
        } else if it.required && it.default.is_none() && scheduled {
            let message = format!(
                "the flow has a schedule, and its Parameter `{}` has no default",
                it.name
            );
            found.error_also(
                &it.place,
                "metaflow.required_param",
                message,
                (&by_itself.place, "starts it without values"),
                "add a `default`, or remove `required`",
            );
        }
    }
}

fn needs_environment(declared: &Declared, options: &Options, found: &mut Found) {
    if options.environment.is_some() {
        return;
    }
    let names = ["conda_base", "pypi_base", "conda", "pypi"];
    let of_steps = declared.steps.iter().flat_map(|it| &it.decorators);
    let first = declared
        .decorators
        .iter()
        .chain(of_steps)
        .find(|it| names.contains(&it.name.as_str()));
    if let Some(it) = first {
        let message = format!(
            "what `@{}` asks for is not installed for the tasks",
            it.name
        );
        let help = "let the flow's interpreter have these packages (requirements.txt beside the flow), and set `ignore_environments = true` below [metaflow] in dalsegno.toml";
        found.warning(&it.place, "metaflow.packages", message, help);
    }
}

fn runs_here(declared: &Declared, options: &Options, found: &mut Found) {
    for name in ["batch", "kubernetes"] {
        if name == "batch" && options.executor != ExecutorKind::Local {
            continue;
        }
        let steps: Vec<&Step> = declared
            .steps
            .iter()
            .filter(|it| it.decorator(name).is_some())
            .collect();
        if let Some(first) = steps.first().and_then(|it| it.decorator(name)) {
            let of = match steps.as_slice() {
                [one] => format!("`{}`", one.name),
                [one, ..] => format!("`{}` and {} more", one.name, steps.len() - 1),
                [] => continue,
            };
            let message = format!(
                "`@{name}` of {of} has no effect: the tasks run as processes on this machine"
            );
            let help = "nothing has to be done; what it asks for is shown with the step";
            found.warning(&first.place, "metaflow.runs_here", message, help);
        }
    }
}
