//! Looking at what the configuration names, for `dalsegno doctor`: asks, and changes nothing.

use crate::config::AwsConfig;
use crate::cx;
use crate::guard::CallError;
use aws_sdk_batch::types::{CeState, CeStatus, JqState, JqStatus};

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub verdict: Verdict,
    pub text: String,
    pub cure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    Doubtful,
    Broken,
}

impl Seen {
    fn fine(text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fine,
            text: text.into(),
            cure: None,
        }
    }

    fn broken(text: impl Into<String>, cure: &str) -> Self {
        Self {
            verdict: Verdict::Broken,
            text: text.into(),
            cure: Some(cure.into()),
        }
    }

    fn doubtful(text: impl Into<String>, cure: &str) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            ..Self::broken(text, cure)
        }
    }
}

const PERMISSIONS: &str = "docs/aws.md, \"Permissions\", has the policy that the daemon needs";
const CREDENTIALS: &str = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run on a machine with a role; then the policy of \
     docs/aws.md, \"Permissions\"";
const SERVICE: &str = "look at region, endpoint and the network";

/// The name of something that is not there: the right to ask for it is all that is tried.
const NOTHING: &str = "ds-doctor-looks-for-nothing";

/// Looks at everything that the configuration names.
pub async fn look(config: &AwsConfig) -> Vec<Seen> {
    let sdk = cx::sdk(config).await;
    let Some(region) = sdk.region().map(ToString::to_string) else {
        let text = "no region is set";
        return vec![Seen::broken(
            text,
            "set `region` below [aws] in dalsegno.toml, or AWS_REGION",
        )];
    };
    let mut seen = queues(config, &sdk, &region).await;
    // Where nothing can be asked, one line says it all.
    if seen.iter().all(|it| it.verdict == Verdict::Broken) && !seen.is_empty() {
        return seen;
    }
    seen.extend(bucket(config, &sdk).await);
    seen.extend(status_queue(config, &sdk).await);
    seen.extend(logs(config, &sdk).await);
    seen.extend(state_machines(config, &sdk).await);
    seen
}

async fn queues(config: &AwsConfig, sdk: &aws_config::SdkConfig, region: &str) -> Vec<Seen> {
    let client = aws_sdk_batch::Client::new(sdk);
    let wanted: Vec<String> = [&config.queues[..], &config.gpu_queues[..]].concat();
    if wanted.is_empty() {
        return vec![Seen::doubtful(
            "no job queue is named",
            "name some: `queues = [\"NAME\"]` below [aws] in dalsegno.toml; or each step names its own (`batch: { queue }`)",
        )];
    }
    let asked = client
        .describe_job_queues()
        .set_job_queues(Some(wanted.clone()))
        .send()
        .await;
    let found = match asked {
        Ok(answer) => answer.job_queues.unwrap_or_default(),
        Err(error) => return vec![trouble("job queues", &CallError::of(&error))],
    };
    let mut seen = Vec::new();
    let mut environments = Vec::new();
    for name in wanted {
        let of_name = found.iter().find(|it| {
            it.job_queue_name.as_deref() == Some(&name)
                || it.job_queue_arn.as_deref() == Some(&name)
        });
        let Some(queue) = of_name else {
            seen.push(Seen::broken(
                format!("there is no job queue {name} in {region}"),
                "make it, or correct `queues` or `region` below [aws] in dalsegno.toml",
            ));
            continue;
        };
        let (state, status) = (queue.state.as_ref(), queue.status.as_ref());
        let order = queue.compute_environment_order.iter().flatten();
        environments.extend(order.filter_map(|it| it.compute_environment.clone()));
        seen.push(match (state, status) {
            (Some(JqState::Enabled), Some(JqStatus::Valid)) => {
                Seen::fine(format!("job queue {name} is enabled"))
            }
            (Some(JqState::Disabled), _) => Seen::broken(
                format!("job queue {name} is disabled"),
                "enable it: aws batch update-job-queue --state ENABLED --job-queue NAME",
            ),
            (_, status) => Seen::doubtful(
                format!(
                    "job queue {name} is {}: {}",
                    status.map_or("in an unknown state", JqStatus::as_str),
                    queue
                        .status_reason
                        .as_deref()
                        .unwrap_or("no reason is given")
                ),
                "look at it in the console of AWS Batch",
            ),
        });
    }
    environments.sort();
    environments.dedup();
    seen.extend(compute_environments(&client, environments).await);
    seen
}

async fn compute_environments(client: &aws_sdk_batch::Client, names: Vec<String>) -> Option<Seen> {
    if names.is_empty() {
        return None;
    }
    let asked = client
        .describe_compute_environments()
        .set_compute_environments(Some(names))
        .send()
        .await;
    let found = match asked {
        Ok(answer) => answer.compute_environments.unwrap_or_default(),
        Err(error) => return Some(trouble("compute environments", &CallError::of(&error))),
    };
    let bad = found.iter().find(|it| {
        it.state != Some(CeState::Enabled)
            || !matches!(it.status, Some(CeStatus::Valid | CeStatus::Updating))
    });
    Some(match bad {
        Some(it) => Seen::doubtful(
            format!(
                "compute environment {} is {} and {}: {}",
                it.compute_environment_name
                    .as_deref()
                    .unwrap_or("without a name"),
                it.state
                    .as_ref()
                    .map_or("in an unknown state", CeState::as_str),
                it.status
                    .as_ref()
                    .map_or("of unknown status", CeStatus::as_str),
                it.status_reason.as_deref().unwrap_or("no reason is given")
            ),
            "jobs may wait as RUNNABLE for ever; look at it in the console of AWS Batch",
        ),
        None => Seen::fine(format!("{} compute environments are valid", found.len())),
    })
}

async fn bucket(config: &AwsConfig, sdk: &aws_config::SdkConfig) -> Option<Seen> {
    let Some(place) = &config.s3 else {
        return Some(Seen::doubtful(
            "no bucket is named: the flow's own files, outputs and large foreach do not reach jobs",
            "`s3 = \"s3://BUCKET/PREFIX\"` below [aws] in dalsegno.toml",
        ));
    };
    let client = cx::s3(config, sdk);
    let key = match place.prefix.as_str() {
        "" => NOTHING.to_owned(),
        prefix => format!("{prefix}/{NOTHING}"),
    };
    let asked = client
        .get_object()
        .bucket(&place.bucket)
        .key(key)
        .send()
        .await;
    let bucket = &place.bucket;
    Some(match asked.map_err(|error| CallError::of(&error)) {
        Ok(_) => Seen::fine(format!("bucket {bucket} can be read")),
        Err(CallError::Invalid { code, .. }) if code == "NoSuchKey" => {
            Seen::fine(format!("bucket {bucket} can be read"))
        }
        Err(CallError::Invalid { code, .. }) if code == "NoSuchBucket" => Seen::broken(
            format!("there is no bucket {bucket}"),
            "make it, or correct `s3` below [aws] in dalsegno.toml",
        ),
        // S3 says so also of what is not there, to those who may not list.
        Err(CallError::Denied { message }) => Seen::doubtful(
            format!(
                "bucket {bucket}: {message}; without the right to list it, that may only mean that a key is not there"
            ),
            PERMISSIONS,
        ),
        Err(error) => trouble(&format!("bucket {bucket}"), &error),
    })
}

async fn status_queue(config: &AwsConfig, sdk: &aws_config::SdkConfig) -> Option<Seen> {
    let Some(url) = &config.status_queue else {
        return Some(Seen::doubtful(
            "no status queue is named: every state is asked for, which is slower and takes more calls",
            "docs/aws.md, \"What has to be there\", has the rule of EventBridge; then `status_queue` below [aws]",
        ));
    };
    let client = aws_sdk_sqs::Client::new(sdk);
    let asked = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages)
        .send()
        .await;
    Some(match asked.map_err(|error| CallError::of(&error)) {
        Ok(_) => Seen::fine(format!("status queue {url} answers")),
        Err(CallError::Invalid { code, .. })
            if code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist") =>
        {
            Seen::broken(
                format!("there is no queue {url}"),
                "make it, or correct `status_queue` below [aws] in dalsegno.toml",
            )
        }
        Err(error) => trouble("the status queue", &error),
    })
}

async fn logs(config: &AwsConfig, sdk: &aws_config::SdkConfig) -> Option<Seen> {
    let client = aws_sdk_cloudwatchlogs::Client::new(sdk);
    let asked = client
        .get_log_events()
        .log_group_name(&config.log_group)
        .log_stream_name(NOTHING)
        .limit(1)
        .send()
        .await;
    let group = &config.log_group;
    Some(match asked.map_err(|error| CallError::of(&error)) {
        Ok(_) => Seen::fine(format!("log group {group} can be read")),
        // The stream is not there, or the group: AWS makes the group with the first job.
        Err(CallError::Invalid { code, .. }) if code == "ResourceNotFoundException" => {
            Seen::fine(format!("log group {group} may be read"))
        }
        Err(error) => trouble("logs of jobs", &error),
    })
}

async fn state_machines(config: &AwsConfig, sdk: &aws_config::SdkConfig) -> Option<Seen> {
    // Who has no role for them does not use them.
    config.state_machine_role.as_ref()?;
    let client = aws_sdk_sfn::Client::new(sdk);
    let region = sdk.region().map(ToString::to_string).unwrap_or_default();
    let arn = format!("arn:aws:states:{region}:123456789012:stateMachine:{NOTHING}");
    let asked = client
        .describe_state_machine()
        .state_machine_arn(arn)
        .send()
        .await;
    Some(match asked.map_err(|error| CallError::of(&error)) {
        Ok(_) => Seen::fine("Step Functions answers"),
        Err(CallError::Invalid { .. }) => Seen::fine("Step Functions answers"),
        // That account is not this one.
        Err(CallError::Denied { message })
            if message.contains("not authorized") || message.contains("cross-account") =>
        {
            Seen::fine("Step Functions answers")
        }
        Err(error) => trouble("Step Functions", &error),
    })
}

fn trouble(what: &str, error: &CallError) -> Seen {
    let text = format!("{what}: {error}");
    match error {
        CallError::Denied { message } if message.contains("not authorized") => {
            Seen::broken(text, PERMISSIONS)
        }
        CallError::Denied { .. } => Seen::broken(text, CREDENTIALS),
        CallError::Throttled { .. } | CallError::BreakerOpen { .. } => {
            Seen::doubtful(text, "wait, and ask again")
        }
        CallError::Unreachable { .. } => Seen::broken(text, SERVICE),
        CallError::Invalid { .. } => {
            Seen::broken(text, "correct what it names below [aws] in dalsegno.toml")
        }
    }
}
