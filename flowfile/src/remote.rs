//! Where steps run, and what those that run elsewhere ask for there.

use crate::batch;
use crate::reader::{Fields, Value};
use crate::yaml::Data;
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::instances::{MIB, size};
use dalsegno_scheduler::spec::{OnOom, Remote, StepSpec};

pub(crate) const RESOURCES_KEYS: [&str; 3] = ["cpu", "memory", "gpu"];
pub(crate) const OOM_KEYS: [&str; 2] = ["memory", "max"];

const EXECUTORS: [(&str, ExecutorKind); 3] = [
    ("local", ExecutorKind::Local),
    ("batch", ExecutorKind::Batch),
    ("step_functions", ExecutorKind::StepFunctions),
];
/// The least that a container gets from Batch.
const MEMORY_MIN: u64 = 4 * MIB;
/// Of one job, in thousandths.
const CPU_MILLIS: std::ops::RangeInclusive<f64> = 250.0..=192_000.0;
const GPUS: std::ops::RangeInclusive<i64> = 1..=8;
const ELSEWHERE: &str =
    "write `executor: batch` at this step or at the top of the file, or remove it";

/// `executor` of the flow: that of all steps that do not say it themselves.
pub(crate) fn of_flow(fields: &Fields<'_>) -> ExecutorKind {
    let kind = fields
        .get("executor")
        .and_then(|it| it.one_of(&EXECUTORS))
        .unwrap_or_default();
    let parallel = fields.entry("run").and_then(|it| match &it.value.data {
        Data::Map(entries) => entries.iter().find(|it| it.key == "max_parallel_tasks"),
        _ => None,
    });
    if let (ExecutorKind::StepFunctions, Some(key)) = (kind, parallel) {
        let cx = fields.value.cx;
        let message = "`max_parallel_tasks` cannot be kept under Step Functions, which starts tasks by itself";
        let help = "remove it; `max_parallel` at a foreach bounds its items";
        cx.push(cx.at(&key.key_span, "flow.executor", message).help(help));
    }
    kind
}

/// Reads `executor`, `image`, `resources`, `on_oom` and `batch` of a step that has a command.
pub(crate) fn of_step(fields: &Fields<'_>, flow: ExecutorKind, step: &mut StepSpec) {
    let executor = executor(fields, flow);
    let mut remote = Remote {
        executor,
        image: fields.get("image").and_then(image),
        ..Remote::default()
    };
    let resources = fields
        .section("resources")
        .and_then(|it| it.fields(&RESOURCES_KEYS, "write `resources: { memory: 2GiB }`"));
    if let Some(it) = &resources {
        remote.cpu_millis = it.get("cpu").and_then(cpu);
        remote.gpus = it.get("gpu").and_then(gpus);
        step.memory_bytes = it.get("memory").and_then(|it| it.size());
    }
    if let Some(it) = fields.get("on_oom") {
        let memory = resources.and_then(|it| it.get("memory"));
        step.on_oom = on_oom(it, memory, step.memory_bytes);
    }
    if let Some(it) = fields.section("batch") {
        batch::read(it, &mut remote);
    }
    if executor == ExecutorKind::Local {
        refuse_here(fields, resources.as_ref());
        return;
    }
    elsewhere(fields, resources.as_ref(), step, &remote);
    step.remote = Some(Box::new(remote));
}

fn executor(fields: &Fields<'_>, flow: ExecutorKind) -> ExecutorKind {
    use ExecutorKind::StepFunctions;
    let Some(value) = fields.get("executor") else {
        return flow;
    };
    let (message, help) = match value.one_of(&EXECUTORS) {
        Some(StepFunctions) if flow != StepFunctions => (
            "Step Functions execute a whole flow, not one step of it",
            "write `executor: step_functions` at the top of the file, or `executor: batch` here",
        ),
        Some(kind) if flow == StepFunctions && kind != StepFunctions => (
            "the flow runs under Step Functions, and so do all its steps",
            "remove it; with `executor: batch` at the top of the file each step may choose",
        ),
        Some(kind) => return kind,
        None => return flow,
    };
    let cx = value.cx;
    cx.push(cx.at(value.span(), "flow.executor", message).help(help));
    flow
}

/// What a process on this machine cannot have.
fn refuse_here(fields: &Fields<'_>, resources: Option<&Fields<'_>>) {
    let cx = fields.value.cx;
    for key in ["image", "batch"] {
        if let Some(entry) = fields.entry(key) {
            let message = format!("`{key}` has no meaning for a process on this machine");
            cx.push(
                cx.at(&entry.key_span, "flow.executor", message)
                    .help(ELSEWHERE),
            );
        }
    }
    for key in ["cpu", "gpu"] {
        if let Some(entry) = resources.and_then(|it| it.entry(key)) {
            let message = format!("`{key}` cannot be reserved for a process on this machine");
            let help = "use `pools` to bound how many tasks run at once, or write `executor: batch`; `memory` works here";
            cx.push(cx.at(&entry.key_span, "flow.executor", message).help(help));
        }
    }
}

/// What only matters elsewhere.
fn elsewhere(
    fields: &Fields<'_>,
    resources: Option<&Fields<'_>>,
    step: &StepSpec,
    remote: &Remote,
) {
    let cx = fields.value.cx;
    let memory = resources.and_then(|it| it.get("memory"));
    if let (Some(value), Some(0..MEMORY_MIN)) = (memory, step.memory_bytes) {
        let message = "`memory` of a container must be at least 4MiB";
        cx.push(value.bad(message).help("write more, such as `512MiB`"));
    }
    let cpu = resources.and_then(|it| it.get("cpu"));
    if let (Some(value), Some(millis)) = (cpu, remote.cpu_millis)
        && millis % 1_000 != 0
    {
        let message =
            "queues of EC2 machines give whole vCPUs only; parts are for queues of Fargate";
        let help = "write a whole number, unless the step's queue is one of Fargate";
        let odd = cx.at(value.span(), "batch.part_of_a_cpu", message);
        cx.push(odd.warning().help(help));
    }
    match remote.executor {
        ExecutorKind::StepFunctions => {
            if let Some(entry) = fields.entry("pools") {
                let message = "slots of `pools` cannot be held for a step under Step Functions, which starts tasks by itself";
                let help = "hold them for the whole run: `run: { pools: … }`; `max_parallel` at a foreach bounds its items";
                cx.push(cx.at(&entry.key_span, "flow.executor", message).help(help));
            }
        }
        ExecutorKind::Batch | ExecutorKind::Local => {
            if let (Some(value), Some(timeout)) = (fields.get("timeout"), step.timeout)
                && timeout < batch::TIMEOUT_MIN
            {
                let message =
                    format!("Batch itself counts from 60 s on, and the timeout is {timeout}");
                let help = "nothing has to be done: Dalsegno stops the job on time; only while Dalsegno is down it may run on, for up to 60 s in all";
                let short = cx.at(value.span(), "batch.short_timeout", message);
                cx.push(short.warning().help(help));
            }
        }
    }
    if let Some(entry) = fields.entry("grace") {
        let message = "`grace` has no effect on a job: its machine gives it 30 s between the polite and the forced stop";
        let odd = cx.at(&entry.key_span, "batch.grace", message);
        cx.push(odd.warning().help("remove it"));
    }
}

fn image(value: Value<'_>) -> Option<String> {
    const HELP: &str = "write where the image is: `python:3.12`, or `REGISTRY/NAME:TAG`";
    let text = value.text()?;
    let message = match text {
        "" => "`image` is empty",
        _ if text.len() > 1_024 => "`image` has more than 1024 characters",
        _ if text.chars().any(|it| it.is_whitespace() || it.is_control()) => {
            "`image` cannot hold a space"
        }
        _ => return Some(text.to_owned()),
    };
    value.cx.push(value.bad(message).help(HELP));
    None
}

fn cpu(value: Value<'_>) -> Option<u32> {
    let number = value.number()?;
    let millis = number * 1_000.0;
    if !CPU_MILLIS.contains(&millis) || millis % 250.0 != 0.0 {
        let message =
            format!("`cpu` must be from 0.25 to 192 vCPUs in quarters, and it is {number}");
        let help = "write a number such as 4 or 0.5";
        value.cx.push(value.bad(message).help(help));
        return None;
    }
    Some(millis as u32)
}

fn gpus(value: Value<'_>) -> Option<u32> {
    if matches!(value.node.data, Data::Int(0)) {
        let help = "leave it out for none: only steps without `gpu` go to machines without GPUs";
        value.cx.push(
            value
                .bad("`gpu` must be from 1 to 8, and it is 0")
                .help(help),
        );
        return None;
    }
    u32::try_from(value.integer(GPUS)?).ok()
}

fn on_oom(value: Value<'_>, memory: Option<Value<'_>>, bytes: Option<u64>) -> Option<OnOom> {
    const HELP: &str = "write `on_oom: { memory: x2, max: 120GiB }`";
    let fields = value.fields(&OOM_KEYS, HELP)?;
    let multiplier_percent = fields.get("memory").map_or(Some(200), multiplier);
    let max_bytes = fields.required("max", HELP)?.size();
    if memory.is_none() {
        let message = "`on_oom` needs to know what to begin with";
        let at = value.cx.at(value.span(), "flow.missing_key", message);
        value
            .cx
            .push(at.help("write it: `resources: { memory: 4GiB }`"));
        return None;
    }
    let (percent, max, bytes) = (multiplier_percent?, max_bytes?, bytes?);
    if max <= bytes {
        let max = fields.get("max")?;
        let message = format!(
            "`max` leaves nothing to grow to: the step begins with {}",
            size(bytes)
        );
        let mut wrong = max.bad(message).help("raise `max`, or remove `on_oom`");
        if let Some(memory) = memory {
            wrong = wrong.also(memory.span().clone(), "begins with this");
        }
        value.cx.push(wrong);
        return None;
    }
    Some(OnOom {
        multiplier_percent: percent,
        max_bytes: max,
    })
}

/// `x2`, in hundredths.
fn multiplier(value: Value<'_>) -> Option<u32> {
    const HELP: &str = "write how many times as much each time, from `x1.1` to `x10`: `memory: x2`";
    let Some(text) = value.node.text() else {
        value.wrong("a multiplier such as x2", HELP);
        return None;
    };
    let number = text.trim().strip_prefix('x').map(str::trim);
    let percent = number
        .filter(|it| it.bytes().all(|it| it.is_ascii_digit() || it == b'.'))
        .and_then(|it| it.parse::<f64>().ok())
        .map(|it| (it * 100.0).round());
    match percent {
        Some(it) if (110.0..=1_000.0).contains(&it) => Some(it as u32),
        _ => {
            let message = match percent {
                Some(_) => format!(
                    "`memory` must be from x1.1 to x10, and it is {}",
                    text.trim()
                ),
                None => format!(
                    "`memory`: `{}` is not a multiplier",
                    crate::yaml::shorten(text)
                ),
            };
            value.cx.push(value.bad(message).help(HELP));
            None
        }
    }
}
