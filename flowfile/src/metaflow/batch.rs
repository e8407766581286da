//! `@batch` and `@resources`: what a step asks for when the operator lets it run elsewhere.

use super::declared::{Decorator, Step};
use super::found::Found;
use super::options::Options;
use super::read::MetaflowFile;
use super::value::Value;
use crate::batch::{TAGS_MAX, is_queue, is_role, tag_problem};
use crate::diagnostic::Diagnostic;
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::instances::MIB;
use dalsegno_scheduler::spec::Remote;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

const CODE: &str = "metaflow.batch";

/// What Metaflow asks for when nothing is said: also what a bare `@resources` says.
const CPU_DEFAULT: f64 = 1.0;
const MEMORY_MIB_DEFAULT: f64 = 4_096.0;

/// What runs elsewhere, as the core takes it.
pub(super) struct Elsewhere {
    pub(super) remote: Box<Remote>,
    pub(super) memory_bytes: u64,
    /// Variables that Metaflow sets for what the step asks for.
    pub(super) env: BTreeMap<String, Template>,
}

/// `None`: it runs on this machine. `gang`: the step is started by `num_parallel`.
pub(super) fn read(
    step: &Step,
    gang: bool,
    options: &Options,
    found: &mut Found,
) -> Option<Elsewhere> {
    let batch = step.decorator("batch");
    match (options.executor, batch) {
        (ExecutorKind::Local, _) | (ExecutorKind::Batch, None) => return None,
        (ExecutorKind::Batch | ExecutorKind::StepFunctions, _) => {}
    }
    if gang {
        let message = format!(
            "`{}` is started by `num_parallel`, and a job over several machines is not supported",
            step.name
        );
        let help = "use a `foreach` instead, or let the step run on this machine without `@batch`";
        let place = batch.map_or(&step.place, |it| &it.place);
        found.error(place, CODE, message, help);
    }
    let of = Resources {
        batch,
        resources: step.decorator("resources"),
    };
    let cpu = of
        .most("cpu", CPU_DEFAULT, 0.25..=192.0, found)
        .unwrap_or(CPU_DEFAULT);
    let memory = of
        .most("memory", MEMORY_MIB_DEFAULT, 4.0..=33_554_432.0, found)
        .unwrap_or(MEMORY_MIB_DEFAULT);
    let gpus = of.most("gpu", 0.0, 0.0..=8.0, found).unwrap_or(0.0);
    let shared = of.most("shared_memory", 0.0, 0.0..=33_554_432.0, found);
    let text = |name: &str, found: &mut Found| -> Option<String> {
        let decorator = batch?;
        match decorator.value(name, found)? {
            Value::Str(text) if !text.is_empty() => Some(text.clone()),
            other if !other.is_true() => None,
            other => {
                wrong(decorator, name, other, "a text", found);
                None
            }
        }
    };
    let mut remote = Remote {
        executor: options.executor,
        cpu_millis: Some((cpu * 1_000.0).round() as u32),
        gpus: Some(gpus as u32).filter(|it| *it > 0),
        image: text("image", found),
        queue: text("queue", found),
        job_role: text("iam_role", found),
        execution_role: text("execution_role", found),
        shared_memory_mib: shared.map(|it| it as u32).filter(|it| *it > 0),
        ..Remote::default()
    };
    let mut env = BTreeMap::new();
    if let Some(decorator) = batch {
        names(decorator, &remote, found);
        remote.tags = tags(decorator, found);
        let size = memory.floor() as u64;
        remote.container = container(decorator, size, &mut env, found);
    }
    Some(Elsewhere {
        remote: Box::new(remote),
        memory_bytes: memory.floor() as u64 * MIB,
        env,
    })
}

/// The two decorators that may say the same; the larger value counts.
struct Resources<'a> {
    batch: Option<&'a Decorator>,
    resources: Option<&'a Decorator>,
}

impl Resources<'_> {
    /// `default` is what `@resources` says where it says nothing.
    fn most(
        &self,
        name: &str,
        default: f64,
        range: std::ops::RangeInclusive<f64>,
        found: &mut Found,
    ) -> Option<f64> {
        let mut most: Option<f64> = self.resources.map(|_| default);
        // A value of its own wins over the default, also when it is smaller.
        if self
            .resources
            .is_some_and(|it| it.attribute(name).is_some())
        {
            most = None;
        }
        for decorator in [self.batch, self.resources].into_iter().flatten() {
            let Some(value) = decorator
                .value(name, found)
                .filter(|it| **it != Value::None)
            else {
                continue;
            };
            match number(value).filter(|it| range.contains(it)) {
                Some(it) => most = Some(most.map_or(it, |most| most.max(it))),
                None => {
                    let expected = format!("a number from {} to {}", range.start(), range.end());
                    wrong(decorator, name, value, &expected, found);
                }
            }
        }
        most
    }
}

/// As Python's `float()` reads it; nothing in quotes is zero.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Int(it) => *it as f64,
        Value::Float(it) => *it,
        Value::Str(it) if it.is_empty() => 0.0,
        Value::Str(it) => it.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn wrong(decorator: &Decorator, name: &str, value: &Value, expected: &str, found: &mut Found) {
    let message = format!(
        "`{name}` of `@{}` is {}, and {expected} is expected",
        decorator.name,
        crate::yaml::shorten(&value.repr())
    );
    let help = format!("write {expected}, or leave `{name}` out");
    found.error(decorator.place_of(name), CODE, message, help);
}

fn names(decorator: &Decorator, remote: &Remote, found: &mut Found) {
    if let Some(queue) = remote.queue.as_deref().filter(|it| !is_queue(it)) {
        let value = Value::Str(queue.to_owned());
        wrong(
            decorator,
            "queue",
            &value,
            "the name or ARN of a job queue",
            found,
        );
    }
    let roles = [
        ("iam_role", &remote.job_role),
        ("execution_role", &remote.execution_role),
    ];
    for (name, role) in roles {
        if let Some(role) = role.as_deref().filter(|it| !is_role(it)) {
            let value = Value::Str(role.to_owned());
            wrong(decorator, name, &value, "the ARN of a role", found);
        }
    }
}

fn tags(decorator: &Decorator, found: &mut Found) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let entries = match decorator.value("aws_batch_tags", found) {
        Some(Value::Dict(it)) => it,
        Some(other) if other.is_true() => {
            wrong(decorator, "aws_batch_tags", other, "a dict of texts", found);
            return tags;
        }
        _ => return tags,
    };
    for (key, value) in entries {
        let (key, value) = (key.plain(), value.plain());
        match tag_problem(&key, &value) {
            Some(problem) => {
                let help = "tags hold letters, digits, spaces and `_ . : / = + - @`";
                found.error(decorator.place_of("aws_batch_tags"), CODE, problem, help);
            }
            None => {
                tags.insert(key, value);
            }
        }
    }
    if tags.len() > TAGS_MAX {
        let message = format!(
            "a job has room for {TAGS_MAX} tags, and there are {}",
            tags.len()
        );
        let help = "remove some; AWS allows 50, and six say whose the job is";
        found.error(decorator.place_of("aws_batch_tags"), CODE, message, help);
    }
    tags
}

/// What Metaflow makes of the rest, in Batch's spelling.
fn container(
    decorator: &Decorator,
    memory_mib: u64,
    env: &mut BTreeMap<String, Template>,
    found: &mut Found,
) -> BTreeMap<String, Json> {
    let mut container = BTreeMap::new();
    let mut linux = Map::new();
    let whole = |name: &str, max: i64, found: &mut Found| -> Option<i64> {
        let value = decorator
            .value(name, found)
            .filter(|it| **it != Value::None)?;
        let number = value.to_int().filter(|it| (0..=max).contains(it));
        if number.is_none() {
            let expected = format!("a whole number from 0 to {max}");
            wrong(decorator, name, value, &expected, found);
        }
        number
    };
    if let Some(it) = whole("max_swap", 33_554_432, found) {
        linux.insert("maxSwap".into(), it.into());
    }
    if let Some(it) = whole("swappiness", 100, found) {
        linux.insert("swappiness".into(), it.into());
    }
    let chips = whole("inferentia", 16, found).or_else(|| whole("trainium", 16, found));
    let neuron = (0..chips.unwrap_or(0)).map(|it| {
        let path = format!("/dev/neuron{it}");
        json!({ "containerPath": path, "hostPath": path, "permissions": ["READ", "WRITE"] })
    });
    let mut devices: Vec<Json> = neuron.collect();
    if whole("efa", 32, found).is_some_and(|it| it > 0) {
        devices.push(json!({ "hostPath": "/dev/infiniband/uverbs0" }));
    }
    if !devices.is_empty() {
        linux.insert("devices".into(), devices.into());
    }
    let tmpfs_size = whole("tmpfs_size", 33_554_432, found).filter(|it| *it > 0);
    if let Some(it) = whole("ephemeral_storage", 200, found).filter(|it| *it > 0) {
        container.insert("ephemeralStorage".into(), json!({ "sizeInGiB": it }));
    }
    let is = |name: &str, default: bool, found: &mut Found| {
        decorator.value(name, found).map_or(default, Value::is_true)
    };
    if is("use_tmpfs", false, found) || tmpfs_size.is_some() {
        let path = decorator
            .value("tmpfs_path", found)
            .and_then(Value::text)
            .unwrap_or("/metaflow_temp")
            .to_owned();
        let half = i64::try_from(memory_mib / 2).unwrap_or(i64::MAX);
        let size = tmpfs_size.unwrap_or(half);
        let tmpfs = json!([{ "containerPath": path, "size": size, "mountOptions": ["defaults"] }]);
        linux.insert("tmpfs".into(), tmpfs);
        if is("tmpfs_tempdir", true, found) {
            env.insert("METAFLOW_TEMPDIR".into(), Template::exact(path.into()));
        }
    }
    if !linux.is_empty() {
        container.insert("linuxParameters".into(), linux.into());
    }
    if is("privileged", false, found) {
        container.insert("privileged".into(), true.into());
    }
    log(decorator, &mut container, found);
    volumes(decorator, &mut container, found);
    if decorator
        .value("executable", found)
        .is_some_and(Value::is_true)
    {
        let message =
            "`executable` of `@batch` has no effect: a job takes the `python` of its image";
        let help = "let `python` in the image be that one";
        found.warning(decorator.place_of("executable"), CODE, message, help);
    }
    container
}

fn log(decorator: &Decorator, container: &mut BTreeMap<String, Json>, found: &mut Found) {
    let mut log = Map::new();
    if let Some(driver) = decorator.value("log_driver", found).and_then(Value::text) {
        log.insert("logDriver".into(), driver.into());
    }
    let options: Map<String, Json> = texts(decorator, "log_options", found)
        .iter()
        .filter_map(|it| it.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !options.is_empty() {
        log.insert("options".into(), options.into());
    }
    if !log.is_empty() {
        container.insert("logConfiguration".into(), log.into());
    }
}

fn volumes(decorator: &Decorator, container: &mut BTreeMap<String, Json>, found: &mut Found) {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for it in texts(decorator, "host_volumes", found) {
        let (host, inside) = it.split_once(':').unwrap_or((&it, &it));
        let name = host.replace(['/', '.'], "_");
        volumes.push(json!({ "name": name, "host": { "sourcePath": host } }));
        mounts.push(json!({ "sourceVolume": name, "containerPath": inside }));
    }
    for it in texts(decorator, "efs_volumes", found) {
        let default = format!("/mnt/{it}");
        let (id, inside) = it.split_once(':').unwrap_or((&it, &default));
        let name = format!("efs_{id}");
        let efs = json!({ "fileSystemId": id, "transitEncryption": "ENABLED" });
        volumes.push(json!({ "name": name, "efsVolumeConfiguration": efs }));
        mounts.push(json!({ "sourceVolume": name, "containerPath": inside }));
    }
    if !volumes.is_empty() {
        container.insert("volumes".into(), volumes.into());
        container.insert("mountPoints".into(), mounts.into());
    }
}

/// A text, or a list of them.
fn texts(decorator: &Decorator, name: &str, found: &mut Found) -> Vec<String> {
    match decorator.value(name, found) {
        Some(Value::Str(text)) if !text.is_empty() => vec![text.clone()],
        Some(Value::List(items) | Value::Tuple(items)) => items.iter().map(Value::plain).collect(),
        _ => Vec::new(),
    }
}

impl MetaflowFile {
    /// About what a step asks for, at the place where it does.
    pub(crate) fn about_resources(
        &self,
        step: &str,
        code: &'static str,
        message: String,
        help: &str,
    ) -> Diagnostic {
        let step = self.declared.steps.iter().find(|it| it.name == step);
        let decorator =
            step.and_then(|it| it.decorator("resources").or_else(|| it.decorator("batch")));
        let place = match (decorator, step) {
            (Some(decorator), _) => &decorator.place,
            (None, Some(step)) => &step.place,
            (None, None) => &self.declared.place,
        };
        place.diagnostic(code, message).help(help)
    }
}
