//! `[aws]` of `dalsegno.toml`: where steps with `executor: batch` and flows with `executor: step_functions` run.

use super::DEFAULT_FILE;
use anyhow::bail;
use dalsegno_executor_aws::{AwsConfig, OrphanPolicy, S3Place};
use serde::Deserialize;
use std::time::Duration;

/// AWS admits 50 jobs a second to queues of one account.
const SUBMISSIONS_PER_MINUTE_MAX: u32 = 3_000;

/// `[aws]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    region: Option<String>,
    endpoint: Option<String>,
    /// `s3://BUCKET/PREFIX`.
    s3: Option<String>,
    #[serde(default)]
    queues: Vec<String>,
    #[serde(default)]
    gpu_queues: Vec<String>,
    image: Option<String>,
    job_role: Option<String>,
    execution_role: Option<String>,
    state_machine_role: Option<String>,
    status_queue: Option<String>,
    submissions_per_minute: Option<u32>,
    metadata_calls: Option<u32>,
    artifact_calls: Option<u32>,
    queue_wait_minutes: Option<u32>,
    orphans: Option<Orphans>,
    log_group: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Orphans {
    Report,
    Cancel,
}

/// Checks the section. What only the running daemon knows (its installation, directory and address) is put in later.
pub(super) fn checked(section: Option<Section>) -> anyhow::Result<Option<AwsConfig>> {
    match section.map(config).transpose() {
        Ok(config) => Ok(config),
        Err(message) => bail!("{DEFAULT_FILE}: [aws]: {message}"),
    }
}

fn config(section: Section) -> Result<AwsConfig, String> {
    let s3 = section.s3.as_deref().map(place).transpose()?;
    for queue in section.queues.iter().chain(&section.gpu_queues) {
        if queue.trim().is_empty() {
            return Err("a queue has an empty name; give the name or ARN of a job queue".into());
        }
    }
    for (key, role) in [
        ("job_role", &section.job_role),
        ("execution_role", &section.execution_role),
        ("state_machine_role", &section.state_machine_role),
    ] {
        if let Some(role) = role
            && !role.starts_with("arn:")
        {
            return Err(format!(
                "`{key} = \"{role}\"` is to be the ARN of a role, such as arn:aws:iam::123456789012:role/NAME"
            ));
        }
    }
    for (key, url) in [
        ("endpoint", &section.endpoint),
        ("status_queue", &section.status_queue),
    ] {
        if let Some(url) = url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return Err(format!("`{key} = \"{url}\"` is to be a URL"));
        }
    }
    let within = |key: &str, value: Option<u32>, default: u32, max: u32| match value {
        Some(value) if !(1..=max).contains(&value) => {
            Err(format!("`{key} = {value}` is to be 1 to {max}"))
        }
        value => Ok(value.unwrap_or(default)),
    };
    Ok(AwsConfig {
        region: section.region,
        endpoint: section.endpoint,
        s3,
        queues: section.queues,
        gpu_queues: section.gpu_queues,
        image: section.image,
        job_role: section.job_role,
        execution_role: section.execution_role,
        state_machine_role: section.state_machine_role,
        status_queue: section.status_queue,
        submissions_per_minute: within(
            "submissions_per_minute",
            section.submissions_per_minute,
            AwsConfig::SUBMISSIONS_PER_MINUTE,
            SUBMISSIONS_PER_MINUTE_MAX,
        )?,
        metadata_calls: within(
            "metadata_calls",
            section.metadata_calls,
            AwsConfig::METADATA_CALLS,
            1_000,
        )?,
        artifact_calls: within(
            "artifact_calls",
            section.artifact_calls,
            AwsConfig::ARTIFACT_CALLS,
            1_000,
        )?,
        queue_wait: section
            .queue_wait_minutes
            .map(|it| within("queue_wait_minutes", Some(it), it, 14 * 24 * 60))
            .transpose()?
            .map(|it| Duration::from_secs(u64::from(it) * 60)),
        orphans: match section.orphans {
            Some(Orphans::Cancel) => OrphanPolicy::Cancel,
            Some(Orphans::Report) | None => OrphanPolicy::Report,
        },
        log_group: section.log_group.unwrap_or_else(|| "/aws/batch/job".into()),
        ..AwsConfig::default()
    })
}

/// `s3://BUCKET/PREFIX`, the prefix without `/` at its ends.
fn place(text: &str) -> Result<S3Place, String> {
    let wrong = || {
        format!(
            "`s3 = \"{text}\"` is to be a bucket and what keys in it begin with, such as s3://BUCKET/dalsegno"
        )
    };
    let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.len() < 3 {
        return Err(wrong());
    }
    Ok(S3Place {
        bucket: bucket.into(),
        prefix: prefix.trim_matches('/').into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AwsConfig, String> {
        config(toml::from_str(text).map_err(|it| it.to_string())?)
    }

    #[test]
    fn what_is_left_out_has_the_numbers_of_the_requirements() {
        let config = read("queues = [\"cpu\"]").expect("usable");
        assert_eq!(
            (
                config.submissions_per_minute,
                config.metadata_calls,
                config.artifact_calls
            ),
            (1_000, 50, 100)
        );
        assert_eq!(config.orphans, OrphanPolicy::Report);
        assert_eq!(config.log_group, "/aws/batch/job");
    }

    #[test]
    fn a_place_in_s3_is_a_bucket_and_a_prefix() {
        let of = |text: &str| {
            let place = read(&format!("s3 = \"{text}\""))?.s3.expect("a place");
            Ok::<_, String>((place.bucket, place.prefix))
        };
        assert_eq!(of("s3://data"), Ok(("data".into(), String::new())));
        assert_eq!(of("s3://data/a/b/"), Ok(("data".into(), "a/b".into())));
        assert!(of("data/a").is_err_and(|it| it.contains("s3://BUCKET")));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        let message = |text: &str| read(text).expect_err("refused");
        assert_eq!(
            message("submissions_per_minute = 0"),
            "`submissions_per_minute = 0` is to be 1 to 3000"
        );
        assert!(message("job_role = \"worker\"").contains("is to be the ARN of a role"));
        assert!(message("status_queue = \"jobs\"").contains("is to be a URL"));
        assert!(message("que = []").contains("unknown field"));
    }
}
