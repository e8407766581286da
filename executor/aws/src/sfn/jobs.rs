//! Jobs of an execution: what they are defined as, what they are called, what became of them.

use super::asl::{JobShape, word};
use crate::config::AwsConfig;
use crate::container::wrapped;
use crate::cx::Aws;
use crate::guard::{Api, CallError};
use crate::names;
use aws_sdk_batch::types::{JobDefinitionType, JobDetail};
use dalsegno_scheduler::spec::{Command, Remote, StepSpec};
use dalsegno_scheduler::{Flow, NodeId, Path, Reason, TaskId, Timestamp};
use serde_json::{Map, Value, json};

/// The exit code of [`OUTPUT`] when a declared output is missing.
pub const EXIT_MISSING: i32 = 215;

/// Makes JSON of outputs.
const OUTPUT: &str = include_str!("output.sh");

/// Of a job that asks for no memory, as Batch's own examples have it.
const MEMORY_MIB: u64 = 2048;

/// What is registered for a step, and how its jobs are submitted.
///
/// # Errors
/// What is missing, and where to set it.
pub fn shape(
    flow: &Flow,
    step: &StepSpec,
    config: &AwsConfig,
) -> Result<(JobShape, Value), String> {
    let fallback = Remote::default();
    let remote = step.remote.as_deref().unwrap_or(&fallback);
    let Some(image) = remote.image.as_ref().or(config.image.as_ref()) else {
        return Err("names no image; set `image` in the step, or in [aws] of dalsegno.toml".into());
    };
    let gpus = remote.gpus.unwrap_or(0);
    let queues = if gpus > 0 {
        &config.gpu_queues
    } else {
        &config.queues
    };
    let Some(queue) = remote.queue.as_ref().or_else(|| queues.first()) else {
        let which = if gpus > 0 { "gpu_queues" } else { "queues" };
        return Err(format!(
            "names no queue; set `queue` in the step, or `{which}` in [aws] of dalsegno.toml"
        ));
    };
    let command = match &step.run {
        Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".into(), line.clone()],
        Command::Argv(argv) => argv.clone(),
        Command::Metaflow(_) => {
            return Err(
                "is a Metaflow step; such flows are deployed with Metaflow's own compiler".into(),
            );
        }
        Command::Flow(sub) => {
            return Err(format!("is a run of flow {}, which is no job", sub.flow));
        }
    };
    let has_event = !flow.spec().triggers.is_empty();
    let is_wrapped = config.s3.is_some() && (!step.outputs.is_empty() || has_event);
    let command = match (step.outputs.is_empty(), is_wrapped) {
        (_, false) => command,
        (true, true) => wrapped(command),
        (false, true) => {
            let names = step.outputs.join(" ");
            let own = ["/bin/sh", "-c", OUTPUT, "dalsegno", &names].map(str::to_owned);
            wrapped(own.into_iter().chain(command).collect())
        }
    };
    let mib = step
        .memory_bytes
        .map_or(MEMORY_MIB, |it| it.div_ceil(1 << 20).max(4));
    let cpus = f64::from(remote.cpu_millis.unwrap_or(1000)) / 1000.0;
    let mut resources = vec![
        json!({"type": "VCPU", "value": cpus.to_string()}),
        json!({"type": "MEMORY", "value": mib.to_string()}),
    ];
    if gpus > 0 {
        resources.push(json!({"type": "GPU", "value": gpus.to_string()}));
    }
    let mut container: Map<String, Value> = Map::from_iter(remote.container.clone());
    container.insert("image".into(), json!(image));
    container.insert("command".into(), json!(command));
    container.insert("resourceRequirements".into(), json!(resources));
    let roles = [
        ("jobRoleArn", &remote.job_role, &config.job_role),
        (
            "executionRoleArn",
            &remote.execution_role,
            &config.execution_role,
        ),
    ];
    for (name, own, common) in roles {
        if let Some(role) = own.as_ref().or(common.as_ref()) {
            container.insert(name.into(), json!(role));
        }
    }
    if let Some(mib) = remote.shared_memory_mib {
        container.insert("linuxParameters".into(), json!({"sharedMemorySize": mib}));
    }
    let content = json!({
        "type": "container",
        "containerProperties": container,
        "propagateTags": true,
        "tags": {"dalsegno:installation": config.installation},
    });
    let shape = JobShape {
        definition: names::definition(&config.installation, &content.to_string()),
        queue: queue.clone(),
        is_wrapped,
        tags: remote.tags.clone(),
    };
    Ok((shape, content))
}

/// Makes sure that a definition is there.
///
/// # Errors
/// Why that is not known.
pub async fn ensure_definition(
    aws: &Aws,
    name: &str,
    content: &Value,
) -> Result<(), (Api, CallError)> {
    let api = Api::DescribeJobDefinitions;
    let find = aws.batch.describe_job_definitions();
    let find = find.job_definition_name(name).status("ACTIVE").send();
    let found = aws.guard.call(api, find).await.map_err(|it| (api, it))?;
    if !found.job_definitions().is_empty() {
        return Ok(());
    }
    let mut body = content.clone();
    body["jobDefinitionName"] = json!(name);
    let body = body.to_string();
    let api = Api::RegisterJobDefinition;
    let register = aws
        .batch
        .register_job_definition()
        .job_definition_name(name)
        .r#type(JobDefinitionType::Container)
        .customize()
        // It is named after this text, which may have properties that this version has no types for.
        .mutate_request(move |request| {
            let length = body.len().to_string();
            request.headers_mut().insert("content-length", length);
            *request.body_mut() = body.clone().into();
        })
        .send();
    aws.guard
        .call(api, register)
        .await
        .map_err(|it| (api, it))?;
    Ok(())
}

/// Which task a job is, and which of its tries (0, 1 …), by the job's name: `{execution}-n{node}-{word}-{path}-{retry}`.
pub fn task_of(flow: &Flow, execution: &str, job: &str) -> Option<(TaskId, u32)> {
    let rest = job.strip_prefix(execution)?.strip_prefix("-n")?;
    let (node, rest) = rest.split_once('-')?;
    let node = NodeId(node.parse().ok()?);
    let node = flow.nodes().get(usize::from(node.0))?;
    let rest = rest
        .strip_prefix(&word(node.name.as_str()))?
        .strip_prefix('-')?;
    let mut numbers = rest
        .split('-')
        .map(|it| it.parse::<u32>().ok())
        .collect::<Option<Vec<_>>>()?;
    let retry = numbers.pop()?;
    if numbers.len() != node.depth {
        return None;
    }
    let path = numbers
        .into_iter()
        .fold(Path::ROOT, |path, it| path.child(it));
    let task = TaskId {
        step: node.name.clone(),
        path,
        iteration: 0,
    };
    Some((task, retry))
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub struct JobNews {
    pub id: String,
    pub name: String,
    /// Batch's own word.
    pub status: String,
    pub queue: String,
    pub status_reason: String,
    pub reason: String,
    pub exit: Option<i32>,
    pub created_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    pub log: Option<String>,
    pub is_terminated: bool,
}

impl JobNews {
    pub fn of(detail: &JobDetail) -> Option<Self> {
        let container = detail.container();
        let time = |it: Option<i64>| {
            it.filter(|it| *it > 0)
                .map(|it| Timestamp(it.saturating_mul(1_000)))
        };
        let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
        Some(Self {
            id: detail.job_id()?.to_owned(),
            name: text(detail.job_name()),
            status: text(detail.status().map(|it| it.as_str())),
            queue: detail
                .job_queue()
                .and_then(|it| it.rsplit('/').next())
                .unwrap_or_default()
                .to_owned(),
            status_reason: text(detail.status_reason()),
            reason: text(container.and_then(|it| it.reason())),
            exit: container.and_then(|it| it.exit_code()),
            created_at: time(detail.created_at()),
            started_at: time(detail.started_at()),
            stopped_at: time(detail.stopped_at()),
            log: container
                .and_then(|it| it.log_stream_name())
                .map(str::to_owned),
            is_terminated: detail.is_terminated().unwrap_or(false)
                || detail.is_cancelled().unwrap_or(false),
        })
    }

    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "SUCCEEDED" | "FAILED")
    }

    /// Why it failed.
    pub fn failure(&self, step: &StepSpec) -> Reason {
        let said = match (self.status_reason.as_str(), self.reason.as_str()) {
            ("", said) | (said, "") => said.to_owned(),
            (one, two) => format!("{one}: {two}"),
        };
        let low = said.to_lowercase();
        match (self.exit, step.timeout) {
            _ if low.contains("outofmemory") => Reason::OutOfMemory {
                limit_bytes: step.memory_bytes,
            },
            (_, Some(timeout)) if low.contains("attempt duration exceeded") => {
                Reason::AttemptTimeout { timeout }
            }
            (Some(EXIT_MISSING), _) if !step.outputs.is_empty() => Reason::BadOutput {
                message: format!(
                    "not all of {} was written; its log has more",
                    step.outputs.join(", ")
                ),
            },
            _ if low.contains("cannotpull")
                || low.contains("cannotstart")
                || low.contains("cannotcreate") =>
            {
                Reason::Configuration { message: said }
            }
            (Some(exit), _) if exit != 0 => Reason::Exit { status: exit },
            (exit, _) if low.contains("host ec2") => Reason::Job {
                message: said,
                exit,
            },
            (exit, _) => Reason::Job {
                message: said,
                exit,
            },
        }
    }
}
