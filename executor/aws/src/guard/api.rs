//! The calls that are made, what they share, and how often they may be made.

use std::fmt;

/// The calls that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    SubmitJob,
    DescribeJobs,
    ListJobs,
    TerminateJob,
    RegisterJobDefinition,
    DescribeJobDefinitions,
    DescribeJobQueues,
    DescribeComputeEnvironments,
    StartExecution,
    DescribeExecution,
    GetExecutionHistory,
    StopExecution,
    RedriveExecution,
    CreateStateMachine,
    UpdateStateMachine,
    DescribeStateMachine,
    S3Get,
    S3Put,
    Logs,
    Sqs,
    Metadata,
}

/// Calls that share a bulkhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    Metadata,
    Artifact,
    Compute,
}

impl Api {
    pub const ALL: [Self; 21] = [
        Self::SubmitJob,
        Self::DescribeJobs,
        Self::ListJobs,
        Self::TerminateJob,
        Self::RegisterJobDefinition,
        Self::DescribeJobDefinitions,
        Self::DescribeJobQueues,
        Self::DescribeComputeEnvironments,
        Self::StartExecution,
        Self::DescribeExecution,
        Self::GetExecutionHistory,
        Self::StopExecution,
        Self::RedriveExecution,
        Self::CreateStateMachine,
        Self::UpdateStateMachine,
        Self::DescribeStateMachine,
        Self::S3Get,
        Self::S3Put,
        Self::Logs,
        Self::Sqs,
        Self::Metadata,
    ];

    pub const fn pool(self) -> Pool {
        match self {
            Self::S3Get | Self::S3Put => Pool::Artifact,
            Self::Metadata => Pool::Metadata,
            _ => Pool::Compute,
        }
    }

    /// The service: a breaker is for one of these and one account and region.
    pub const fn service(self) -> &'static str {
        match self {
            Self::SubmitJob
            | Self::DescribeJobs
            | Self::ListJobs
            | Self::TerminateJob
            | Self::RegisterJobDefinition
            | Self::DescribeJobDefinitions
            | Self::DescribeJobQueues
            | Self::DescribeComputeEnvironments => "batch",
            Self::StartExecution
            | Self::DescribeExecution
            | Self::GetExecutionHistory
            | Self::StopExecution
            | Self::RedriveExecution
            | Self::CreateStateMachine
            | Self::UpdateStateMachine
            | Self::DescribeStateMachine => "states",
            Self::S3Get | Self::S3Put => "s3",
            Self::Logs => "logs",
            Self::Sqs => "sqs",
            Self::Metadata => "metadata",
        }
    }

    /// It makes something run, and counts towards what may be submitted in a minute.
    pub const fn is_submission(self) -> bool {
        matches!(
            self,
            Self::SubmitJob | Self::StartExecution | Self::RedriveExecution
        )
    }

    /// How often it may be made, all of this account and region together: AWS's defaults, of two kinds of regions those of
    /// the smaller. Whoever has been granted more sets it, see [`super::Guard::set_rate`].
    pub const fn rate(self) -> Rate {
        let (per_second, burst) = match self {
            // AWS Batch: 50 a second for every call, a fixed limit
            // (https://repost.aws/knowledge-center/aws-batch-requests-error).
            Self::SubmitJob
            | Self::DescribeJobs
            | Self::ListJobs
            | Self::TerminateJob
            | Self::RegisterJobDefinition
            | Self::DescribeJobDefinitions
            | Self::DescribeJobQueues
            | Self::DescribeComputeEnvironments => (50, 50),
            // AWS Step Functions Developer Guide, "Quotas related to API action throttling": refill and bucket, other
            // regions than us-east-1, us-west-2 and eu-west-1.
            Self::StartExecution | Self::RedriveExecution => (150, 800),
            Self::DescribeExecution => (10, 250),
            Self::GetExecutionHistory => (20, 400),
            Self::StopExecution => (25, 500),
            Self::CreateStateMachine | Self::UpdateStateMachine => (1, 100),
            Self::DescribeStateMachine => (20, 200),
            // Amazon CloudWatch Logs User Guide, "Quotas": GetLogEvents 25 a second.
            Self::Logs => (25, 25),
            // Amazon S3 User Guide, "Optimizing performance": 5,500 GET and 3,500 PUT a second and prefix.
            Self::S3Get => (5_500, 5_500),
            Self::S3Put => (3_500, 3_500),
            // Standard queues have no quota, and metadata services are not AWS's: a bound against our own mistakes.
            Self::Sqs | Self::Metadata => (1_000, 1_000),
        };
        Rate { per_second, burst }
    }
}

/// A bucket that holds `burst` calls and is filled up by `per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl fmt::Display for Api {
    /// `batch:SubmitJob`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3Get => f.write_str("s3:GetObject"),
            Self::S3Put => f.write_str("s3:PutObject"),
            Self::Metadata | Self::Logs | Self::Sqs => f.write_str(self.service()),
            it => write!(f, "{}:{it:?}", it.service()),
        }
    }
}
