//! What an answer of a service means for what comes next.

use aws_sdk_batch::config::http::HttpResponse;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use std::fmt;
use std::time::Duration;

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

/// Why a call gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service was not asked: its breaker is open.
    #[error("the circuit breaker is open")]
    BreakerOpen { retry_in: Duration },
    /// It was asked and refused for now; nothing was done.
    #[error("throttled: {message}")]
    Throttled {
        message: String,
        /// As the service asked for it.
        retry_after: Option<Duration>,
    },
    /// No answer, or an error of the service's own: whether anything was done is **unknown**.
    #[error("{message}")]
    Unreachable { message: String },
    /// Credentials are missing, expired or not enough; nothing was done.
    #[error("{message}")]
    Denied { message: String },
    /// The request cannot work as it is; nothing was done.
    #[error("{code}: {message}")]
    Invalid { code: String, message: String },
}

impl CallError {
    pub(crate) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let code = error.code().unwrap_or_default().to_owned();
        let said = error.message().unwrap_or_default().to_owned();
        match error {
            SdkError::ConstructionFailure(_) => Self::Denied {
                message: "the request could not be made: are there credentials and a region?"
                    .into(),
            },
            SdkError::ServiceError(context) => {
                let status = context.raw().status().as_u16();
                let retry_after = context.raw().headers().get("retry-after");
                let retry_after = retry_after.and_then(|it| it.parse().ok());
                let retry_after = retry_after.map(Duration::from_secs);
                let message = match said.as_str() {
                    "" => format!("{code} (HTTP {status})"),
                    _ => said.clone(),
                };
                match code.as_str() {
                    _ if is_throttling(&code) || status == 429 => Self::Throttled {
                        message,
                        retry_after,
                    },
                    _ if is_denial(&code) || status == 401 || status == 403 => {
                        Self::Denied { message }
                    }
                    _ if status >= 500 => Self::Unreachable { message },
                    _ => Self::Invalid {
                        code,
                        message: said,
                    },
                }
            }
            _ => Self::Unreachable {
                message: "no usable answer".to_owned(),
            },
        }
    }
}

fn is_throttling(code: &str) -> bool {
    [
        "Throttl",
        "TooManyRequests",
        "SlowDown",
        "RequestLimitExceeded",
    ]
    .iter()
    .any(|it| code.contains(it))
}

fn is_denial(code: &str) -> bool {
    [
        "AccessDenied",
        "UnrecognizedClient",
        "ExpiredToken",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
    ]
    .iter()
    .any(|it| code.contains(it))
}
