//! What is known of a job, whoever told it: an answer of DescribeJobs or an event.

use aws_sdk_batch::types::{ArrayPropertiesDetail, JobDetail};
use dalsegno_scheduler::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// In the order in which a job goes through them. Only a host that went away leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    Submitted,
    Pending,
    Runnable,
    Starting,
    Running,
    Succeeded,
    Failed,
}

impl JobState {
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The service's own word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Pending => "PENDING",
            Self::Runnable => "RUNNABLE",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    /// `None`: a word that this version does not know.
    pub fn of(word: &str) -> Option<Self> {
        [
            Self::Submitted,
            Self::Pending,
            Self::Runnable,
            Self::Starting,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
        ]
        .into_iter()
        .find(|it| it.as_str() == word)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: String,
    pub name: String,
    /// The queue's name.
    pub queue: String,
    pub state: JobState,
    /// Empty: none.
    pub status_reason: String,
    /// Of the container; empty: none.
    pub reason: String,
    pub exit: Option<i32>,
    pub created_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    /// How often it ran before and ended: Batch repeats it when its host goes away.
    pub tries: u32,
    /// When it last did.
    pub tried_until: Option<Timestamp>,
    pub log: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Somebody asked for its end.
    pub is_terminated: bool,
    /// Step Functions submitted it.
    pub is_of_execution: bool,
    /// Of an array: how many children it has, and how many are in which state.
    pub size: Option<u32>,
    pub summary: BTreeMap<String, i32>,
}

impl Job {
    /// # Errors
    /// What of it cannot be understood.
    pub fn of_detail(detail: &JobDetail) -> Result<Self, String> {
        let id = detail.job_id().ok_or("a job without an id")?.to_owned();
        let word = detail.status().map_or("", |it| it.as_str());
        let state = JobState::of(word).ok_or_else(|| format!("job {id} is `{word}`"))?;
        let container = detail.container();
        let array = detail.array_properties();
        let tries = detail.attempts().iter();
        let tried: Vec<_> = tries.filter_map(|it| time(it.stopped_at())).collect();
        Ok(Self {
            state,
            name: detail.job_name().unwrap_or_default().to_owned(),
            queue: last_word(detail.job_queue().unwrap_or_default()),
            status_reason: detail.status_reason().unwrap_or_default().to_owned(),
            reason: container
                .and_then(|it| it.reason())
                .unwrap_or_default()
                .to_owned(),
            exit: container.and_then(|it| it.exit_code()),
            created_at: time(detail.created_at()),
            started_at: time(detail.started_at()),
            stopped_at: time(detail.stopped_at()),
            tries: tried.len().try_into().unwrap_or(u32::MAX),
            tried_until: tried.into_iter().max(),
            log: container
                .and_then(|it| it.log_stream_name())
                .map(str::to_owned),
            tags: detail
                .tags()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            is_terminated: detail.is_terminated().unwrap_or(false)
                || detail.is_cancelled().unwrap_or(false),
            is_of_execution: container.is_some_and(|it| {
                let all = it.environment().iter();
                all.filter_map(|it| it.name()).any(is_managed)
            }),
            size: array.and_then(size),
            summary: array
                .and_then(|it| it.status_summary())
                .into_iter()
                .flatten()
                .map(|(state, count)| (state.clone(), *count))
                .collect(),
            id,
        })
    }

    /// The same from the detail of an event.
    ///
    /// # Errors
    /// What of it cannot be understood.
    pub fn of_event(detail: &Value) -> Result<Self, String> {
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let id = detail["jobId"].as_str().ok_or("a job without an id")?;
        let word = text(&detail["status"]);
        let state = JobState::of(&word).ok_or_else(|| format!("job {id} is `{word}`"))?;
        let container = &detail["container"];
        let tags = detail["tags"].as_object().into_iter().flatten();
        let yes = |name: &str| detail[name].as_bool().unwrap_or(false);
        let array = &detail["arrayProperties"];
        let tries = detail["attempts"].as_array().into_iter().flatten();
        let tried: Vec<_> = tries
            .filter_map(|it| time(it["stoppedAt"].as_i64()))
            .collect();
        let environment = container["environment"].as_array().into_iter().flatten();
        Ok(Self {
            id: id.to_owned(),
            state,
            name: text(&detail["jobName"]),
            queue: last_word(&text(&detail["jobQueue"])),
            status_reason: text(&detail["statusReason"]),
            reason: text(&container["reason"]),
            exit: container["exitCode"]
                .as_i64()
                .and_then(|it| it.try_into().ok()),
            created_at: time(detail["createdAt"].as_i64()),
            started_at: time(detail["startedAt"].as_i64()),
            stopped_at: time(detail["stoppedAt"].as_i64()),
            tries: tried.len().try_into().unwrap_or(u32::MAX),
            tried_until: tried.into_iter().max(),
            log: container["logStreamName"].as_str().map(str::to_owned),
            tags: tags
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            is_terminated: yes("isTerminated") || yes("isCancelled"),
            is_of_execution: environment
                .filter_map(|it| it["name"].as_str())
                .any(is_managed),
            size: array["size"].as_u64().and_then(|it| it.try_into().ok()),
            summary: array["statusSummary"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(state, count)| {
                    let count = count.as_i64()?.try_into().ok()?;
                    Some((state.clone(), count))
                })
                .collect(),
        })
    }

    /// Since when it runs on the machine that it is on now, as far as that is known.
    pub fn runs_since(&self) -> Option<Timestamp> {
        self.started_at.max(self.tried_until)
    }

    pub fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }
}

/// What Step Functions puts into the environment of jobs that it submits.
fn is_managed(name: &str) -> bool {
    name == "MANAGED_BY_AWS"
}

fn size(array: &ArrayPropertiesDetail) -> Option<u32> {
    // Children have an index instead.
    array.size().and_then(|it| it.try_into().ok())
}

/// Milliseconds since 1970; 0 means never.
fn time(millis: Option<i64>) -> Option<Timestamp> {
    let millis = millis.filter(|it| *it > 0)?;
    Some(Timestamp(millis.saturating_mul(1_000)))
}

/// A queue's name, from its ARN or as it is.
fn last_word(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_tells_what_an_answer_tells() {
        let event = json!({
            "jobId": "4c7599ae:3", "jobName": "ds-abcd1234-1", "status": "FAILED", "createdAt": 1_508_781_340_401_i64,
            "startedAt": 0, "stoppedAt": 1_508_781_341_000_i64, "statusReason": "Essential container in task exited",
            "jobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/cpu", "arrayProperties": {"index": 3},
            "container": {"exitCode": 3, "reason": "OutOfMemoryError", "logStreamName": "a/default/b", "environment": []},
            "tags": {"dalsegno:attempt": "1/a/1"}, "isTerminated": false
        });
        let job = Job::of_event(&event).expect("a job");
        assert_eq!((job.state, job.exit), (JobState::Failed, Some(3)));
        assert_eq!((job.queue.as_str(), job.size), ("cpu", None));
        assert_eq!(job.tag("dalsegno:attempt"), "1/a/1");
        assert_eq!(job.created_at, Some(Timestamp(1_508_781_340_401_000)));
        assert_eq!(job.started_at, None);
        assert!(!job.is_terminated);
        for unusable in [json!({}), json!({"jobId": "a", "status": "DREAMING"})] {
            Job::of_event(&unusable).expect_err("not a job");
        }
    }
}
