//! Jobs of an execution: what they are defined as, what they are called, what became of them.

use super::asl::{JobShape, word};
use crate::batch::judge::{self, Asked, End};
use crate::config::AwsConfig;
use crate::container::wrapped;
use crate::cx::Aws;
use crate::guard::{Api, CallError};
use crate::job::Job;
use crate::names;
use aws_sdk_batch::types::JobDefinitionType;
use dalsegno_scheduler::spec::{Command, Remote, StepSpec};
use dalsegno_scheduler::{Flow, NodeId, Outcome, Path, Reason, TaskId};
use serde_json::{Map, Value, json};

/// The exit codes of [`OUTPUT`]: a declared output is missing; a line is not NAME=JSON.
pub const EXIT_MISSING: i32 = 215;
pub const EXIT_BAD: i32 = 216;

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

/// What the end of a job means that nobody asked for, by the same table as for jobs of our own; `None`: it succeeded.
pub(super) fn failure(
    flow: &Flow,
    step: &StepSpec,
    config: &AwsConfig,
    job: &Job,
) -> Option<Outcome> {
    let asked = Asked {
        memory_bytes: step.memory_bytes,
        timeout: step.timeout,
    };
    let bad = |message: String| Some(Outcome::Failed(Reason::BadOutput { message }));
    match judge::judge(job, asked) {
        End::Exit(0) => None,
        End::Exit(EXIT_MISSING) if !step.outputs.is_empty() => bad(format!(
            "not all of {} was written; its log has more",
            step.outputs.join(", ")
        )),
        End::Exit(EXIT_BAD) if !step.outputs.is_empty() => bad(
            "what was written to $DALSEGNO_OUTPUT is not lines NAME=JSON; its log says where"
                .into(),
        ),
        End::Exit(status) => {
            let is_wrapped = shape(flow, step, config).is_ok_and(|it| it.0.is_wrapped);
            Some(Outcome::Failed(judge::exit(status, is_wrapped)))
        }
        End::Other(outcome) => Some(outcome),
    }
}
