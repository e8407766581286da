//! What the operator sets for AWS.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// Eight lower-case letters and digits that name this house's database: a part of every job's name, so that
    /// two houses in one account never take each other's jobs for their own.
    pub installation: String,
    /// The name of this instance: a tag of what it submits.
    pub instance: String,
    /// Else as every AWS tool finds it.
    pub region: Option<String>,
    /// Instead of AWS's own addresses.
    pub endpoint: Option<String>,
    /// Where code, inputs and outputs of jobs lie. Without it only steps that need none of them can run there.
    pub s3: Option<S3Place>,
    /// Job queues in the order in which they are tried.
    pub queues: Vec<String>,
    /// Those for steps that ask for GPUs.
    pub gpu_queues: Vec<String>,
    /// The image of steps that name none.
    pub image: Option<String>,
    pub job_role: Option<String>,
    pub execution_role: Option<String>,
    /// The role of state machines; needed for Step Functions only.
    pub state_machine_role: Option<String>,
    /// The URL of the SQS queue that gets state changes from EventBridge. Without it only polling tells.
    pub status_queue: Option<String>,
    /// Submissions of jobs and executions in any 60 seconds, of all instances together.
    pub submissions_per_minute: u32,
    /// Calls at the same time to metadata services, and to S3.
    pub metadata_calls: u32,
    pub artifact_calls: u32,
    /// A job that waits longer than this for a machine goes to the next queue. `None`: it waits on.
    pub queue_wait: Option<Duration>,
    pub orphans: OrphanPolicy,
    /// The log group of jobs.
    pub log_group: String,
    /// How often the host of a job may go away before that is a failure; Batch takes nine at most.
    pub lost_retries: u32,
    /// This instance's data directory.
    pub data_dir: PathBuf,
    /// What jobs can call back, if they can reach it.
    pub api_url: Option<String>,
    pub timings: Timings,
}

impl AwsConfig {
    pub const SUBMISSIONS_PER_MINUTE: u32 = 1_000;
    pub const METADATA_CALLS: u32 = 50;
    pub const ARTIFACT_CALLS: u32 = 100;
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            installation: String::new(),
            instance: String::new(),
            region: None,
            endpoint: None,
            s3: None,
            queues: Vec::new(),
            gpu_queues: Vec::new(),
            image: None,
            job_role: None,
            execution_role: None,
            state_machine_role: None,
            status_queue: None,
            submissions_per_minute: Self::SUBMISSIONS_PER_MINUTE,
            metadata_calls: Self::METADATA_CALLS,
            artifact_calls: Self::ARTIFACT_CALLS,
            queue_wait: None,
            orphans: OrphanPolicy::default(),
            log_group: String::new(),
            lost_retries: dalsegno_scheduler::Config::default().lost_retries,
            data_dir: PathBuf::new(),
            api_url: None,
            timings: Timings::default(),
        }
    }
}

/// A bucket and what all keys begin with: without `/` at either end, may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Place {
    pub bucket: String,
    pub prefix: String,
}

/// What becomes of jobs that carry our name and that nobody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrphanPolicy {
    /// They are told of.
    #[default]
    Report,
    /// They are told of, and cancelled when they are still there at the next look.
    Cancel,
}

/// How long things are waited for. Tests wait less.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Between two looks for a job that may exist: lists at AWS are behind by some seconds.
    pub look_again: Duration,
    /// Between two looks at jobs when nothing is heard of them, at first and at most.
    pub poll_first: Duration,
    pub poll_max: Duration,
    /// A job that waits in its queue for less than this is not spoken of.
    pub waiting_after: Duration,
    /// The wait after a call that failed, at first and at most.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// Between two sweeps for orphans.
    pub orphans_every: Duration,
    /// What is still not wanted so long after it was first seen is an orphan.
    pub orphan_after: Duration,
    /// So long the members of an array are waited for that were not asked for with the others.
    pub gather: Duration,
    /// So long a circuit breaker stays open before one call tries.
    pub breaker_reset: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            look_again: Duration::from_secs(5),
            poll_first: Duration::from_secs(5),
            poll_max: Duration::from_secs(60),
            waiting_after: Duration::from_secs(3),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            orphans_every: Duration::from_secs(600),
            orphan_after: Duration::from_secs(60),
            gather: Duration::from_secs(1),
            breaker_reset: Duration::from_secs(60),
        }
    }
}
