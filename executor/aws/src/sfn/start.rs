//! All that an execution needs, worked out before anything is asked of AWS.

use super::asl::{
    Estimate, Finding, INLINE_ITEMS_MAX, NAME_MAX, PAYLOAD_MAX, Problem, Settings, Severity,
    StateMachine, compile, findings,
};
use super::input::{Known, Places};
use super::jobs::shape;
use crate::config::AwsConfig;
use crate::container::{Object, exports};
use crate::names;
use crate::storage::Storage;
use dalsegno_scheduler::expr::Scope;
use dalsegno_scheduler::row::Interval;
use dalsegno_scheduler::{
    Execution, Flow, NodeKind, Reason, RunId, StepName, Timestamp, TriggerName, Version, params,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The input is kept below this: tokens and items come on top while it runs.
const INPUT_MAX: usize = (PAYLOAD_MAX as usize) * 3 / 4;

/// An execution that can be started.
#[derive(Debug)]
pub struct Prepared {
    pub machine: StateMachine,
    /// By name.
    pub definitions: BTreeMap<String, Value>,
    /// The execution's name if it is a new one.
    pub name: String,
    pub input: String,
    /// What must be in S3 before it starts.
    pub objects: Vec<Object>,
    pub findings: Vec<Finding>,
}

impl Prepared {
    /// An execution of a machine that somebody else compiled.
    pub(super) fn named(name: String, input: String) -> Self {
        Self {
            machine: StateMachine {
                definition: Value::Null,
                hash: String::new(),
                estimate: Estimate::default(),
                slots: BTreeMap::new(),
                distributed: BTreeSet::new(),
            },
            definitions: BTreeMap::new(),
            name,
            input,
            objects: Vec::new(),
            findings: Vec::new(),
        }
    }
}

/// Works out an execution. The same run and generation always give the same.
///
/// # Errors
/// Why it cannot be one, with the cure.
pub fn prepare(
    config: &AwsConfig,
    execution: &Execution,
    run: RunId,
    created: Timestamp,
) -> Result<Prepared, Reason> {
    let prepared = work_out(config, execution, run, created)?;
    let mut errors = prepared.findings.iter();
    match errors.find(|it| it.severity == Severity::Error) {
        None => Ok(prepared),
        Some(error) => Err(Reason::Configuration {
            message: format!("{}; {}", error.message, error.cure),
        }),
    }
}

/// The same, also where what was found forbids it.
fn work_out(
    config: &AwsConfig,
    execution: &Execution,
    run: RunId,
    created: Timestamp,
) -> Result<Prepared, Reason> {
    let refuse = |message: String| Reason::Configuration { message };
    let flow = &execution.flow;
    let known = Known { run, execution };
    let storage = Storage::new(config);
    let (done, done_steps) = known.done();
    let mut definitions = BTreeMap::new();
    for step in &flow.spec().steps {
        if let Ok((shape, content)) = shape(flow, step, config) {
            definitions.insert(shape.definition, content);
        }
    }
    let job = |step: &dalsegno_scheduler::spec::StepSpec| shape(flow, step, config).map(|it| it.0);
    let mut settings = Settings {
        job: &job,
        has_s3: storage.is_some(),
        items: known.counts(),
        items_in_s3: BTreeSet::new(),
        done,
        known: done_steps,
        lost_retries: config.lost_retries,
    };
    let name = names::execution(&config.installation, run, created, execution.generation);
    let mut objects = Vec::new();
    let mut places = Places {
        execution: name.clone(),
        bucket: String::new(),
        keys: String::new(),
        env_uri: String::new(),
        installation: config.installation.clone(),
        instance: config.instance.clone(),
    };
    if let Some(storage) = &storage {
        storage.bucket().clone_into(&mut places.bucket);
        places.keys = format!("{}sfn/", storage.of_run(run, created));
        if let Some(event) = execution.events.first() {
            let variables = BTreeMap::from([("DALSEGNO_EVENT_JSON".to_owned(), event.to_string())]);
            let key = format!("{}environment", places.keys);
            places.env_uri = storage.uri(&key);
            objects.push(Object {
                key,
                body: exports(&variables).into_bytes(),
            });
        }
    }
    // Twice at most: what turns out too large for the input goes through S3.
    for _ in 0..2 {
        let machine = compile(flow, &settings).map_err(|problems| refuse(join(&problems)))?;
        let mut input = known.shared(&machine.slots, &places);
        let items = known.items(&machine.slots);
        let in_s3 = too_large(&items, input.to_string().len());
        if in_s3 != settings.items_in_s3 {
            if storage.is_none() {
                return Err(refuse(format!(
                    "the items of {} do not fit an execution's input of 256 KiB; set `s3` in [aws] of dalsegno.toml",
                    in_s3
                        .iter()
                        .map(StepName::as_str)
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
            settings.items_in_s3 = in_s3;
            continue;
        }
        for (scope, (key, items)) in items {
            if settings.items_in_s3.contains(&scope) {
                let at = format!("{}items-{key}-g{}.json", places.keys, execution.generation);
                input["i"][&key] = Value::from(at.clone());
                let body = Value::Array(items).to_string().into_bytes();
                objects.push(Object { key: at, body });
            } else {
                input["i"][&key] = Value::Array(items);
            }
        }
        let input = input.to_string();
        let findings = findings(&machine, Some(input.len() as u64));
        return Ok(Prepared {
            machine,
            definitions,
            name,
            input,
            objects,
            findings,
        });
    }
    Err(refuse(
        "its items fit the input only when they are not in it".into(),
    ))
}

/// What is to be told when a flow is checked or deployed: what cannot be compiled, what is near a limit or beyond it.
/// Numbers of items are taken as `items` says; a foreach that is not in it counts as one item, or none of the history's
/// events when its items are only known later (a Distributed Map).
pub fn preflight(
    flow: &Flow,
    config: &AwsConfig,
    items: &BTreeMap<StepName, usize>,
) -> Vec<Finding> {
    let job = |step: &dalsegno_scheduler::spec::StepSpec| shape(flow, step, config).map(|it| it.0);
    let settings = Settings {
        job: &job,
        has_s3: config.s3.is_some(),
        items: items.clone(),
        items_in_s3: BTreeSet::new(),
        done: BTreeSet::new(),
        known: BTreeSet::new(),
        lost_retries: config.lost_retries,
    };
    let error = |message: String, cure: String| Finding {
        severity: Severity::Error,
        message,
        cure,
    };
    let mut all = Vec::new();
    match compile(flow, &settings) {
        Ok(machine) => {
            all.extend(sizes(flow, config, &machine));
            for scope in &machine.distributed {
                let why = match items.get(scope) {
                    Some(count) => format!("has {count} items, and more than {INLINE_ITEMS_MAX}"),
                    None => "gets its items from a step, and a number that is not known".to_owned(),
                };
                all.push(Finding {
                    severity: Severity::Warning,
                    message: format!("foreach {scope} {why} become a Distributed Map: each item is an execution of its own"),
                    cure: "nothing is to be done; it costs one start per item".into(),
                });
            }
            if config.state_machine_role.is_none() {
                all.push(error(
                    "no role is configured for state machines".into(),
                    "set `state_machine_role` in [aws] of dalsegno.toml".into(),
                ));
            }
        }
        Err(problems) => {
            for it in problems {
                all.push(error(format!("{}: {}", it.place, it.message), it.cure));
            }
        }
    }
    for node in flow.nodes() {
        let length = node.name.as_str().chars().count();
        let is_first = !matches!(node.kind, NodeKind::Close(_));
        if is_first && length * 100 > NAME_MAX * 80 {
            all.push(Finding {
                severity: Severity::Warning,
                message: format!(
                    "the name of {} has {length} characters, and that of a state at most {NAME_MAX}",
                    node.name
                ),
                cure: "nothing is to be done: it is shortened there, with a number that no other has".into(),
            });
        }
    }
    for step in &flow.spec().steps {
        if let Some(timeout) = step.timeout.filter(|it| it.0 < 60_000_000) {
            all.push(Finding {
                severity: Severity::Warning,
                message: format!(
                    "step {}: its time limit is {timeout}, and the shortest that Batch has is 60 s",
                    step.name
                ),
                cure: "it will be stopped after 60 s".into(),
            });
        }
        if !step.pools.is_empty() {
            all.push(Finding {
                severity: Severity::Warning,
                message: format!("step {}: Step Functions knows nothing of pools", step.name),
                cure: "use max_parallel of a foreach, or `executor: batch`".into(),
            });
        }
    }
    all
}

/// What a run that is started with nothing but defaults would take of the limits. What only other parameters could cure is
/// an error where it needs none, and a warning where some have to be given.
fn sizes(flow: &Flow, config: &AwsConfig, machine: &StateMachine) -> Vec<Finding> {
    let params = params::resolve(flow.spec(), &Map::new(), &Scope::new());
    let worst = match params {
        Ok(_) => Severity::Error,
        Err(_) => Severity::Warning,
    };
    let execution = Execution {
        flow: Arc::new(Flow::new(flow.spec().clone()).expect("it is one")),
        version: Version::new("check"),
        generation: 1,
        params: Arc::new(params.unwrap_or_default()),
        interval: Interval {
            start: Timestamp(0),
            end: Timestamp(0),
        },
        trigger: TriggerName::new("manual"),
        events: Arc::default(),
        done: Vec::new(),
    };
    let mut found = findings(machine, None);
    match work_out(config, &execution, RunId(1), Timestamp(0)) {
        Ok(prepared) => {
            for it in prepared.findings {
                if !found.contains(&it) {
                    let severity = it.severity.min(worst);
                    found.push(Finding { severity, ..it });
                }
            }
        }
        Err(reason) => {
            let text = reason.to_string();
            let (message, cure) = text.rsplit_once("; ").unwrap_or((&text, ""));
            found.push(Finding {
                severity: worst,
                message: format!("with its defaults: {message}"),
                cure: cure.to_owned(),
            });
        }
    }
    found
}

fn too_large(items: &BTreeMap<StepName, (String, Vec<Value>)>, rest: usize) -> BTreeSet<StepName> {
    let mut sizes: Vec<(usize, &StepName, usize)> = items
        .iter()
        .map(|(name, (_, items))| {
            (
                Value::Array(items.clone()).to_string().len(),
                name,
                items.len(),
            )
        })
        .collect();
    sizes.sort_unstable();
    let mut sum: usize = rest + sizes.iter().map(|it| it.0).sum::<usize>();
    let mut moved = BTreeSet::new();
    while sum > INPUT_MAX {
        // Only a Distributed Map reads its items from S3.
        let Some((size, name, count)) = sizes.pop() else {
            break;
        };
        if count > INLINE_ITEMS_MAX {
            moved.insert(name.clone());
            sum -= size;
        }
    }
    moved
}

fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join(". ")
}
