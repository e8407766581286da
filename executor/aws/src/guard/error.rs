//! What an answer of a service means for what comes next.

use aws_sdk_batch::config::http::HttpResponse;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_batch::primitives::{DateTime, DateTimeFormat};
use std::time::Duration;

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
    /// For counts: `breaker_open`, `throttled` …
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Throttled { .. } => "throttled",
            Self::Unreachable { .. } => "unreachable",
            Self::Denied { .. } => "denied",
            Self::Invalid { .. } => "invalid",
        }
    }

    /// Of a call that was not made through the guard.
    pub(crate) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        Self::from_host(error, "AWS")
    }

    /// `host`: who was asked, for messages.
    pub(crate) fn from_host<E: ProvideErrorMetadata>(
        error: &SdkError<E, HttpResponse>,
        host: &str,
    ) -> Self {
        let code = error.code().unwrap_or_default();
        let said = error.message().unwrap_or_default();
        match error {
            SdkError::ConstructionFailure(it) => unmade(&format!("{it:?}"), host),
            SdkError::TimeoutError(_) => Self::unreachable(host, "no answer in time"),
            SdkError::DispatchFailure(it) => {
                let chain = it
                    .as_connector_error()
                    .map_or_else(String::new, |it| chain(it));
                match it.is_timeout() {
                    true => Self::unreachable(host, "no answer in time"),
                    false => unmade(&chain, host),
                }
            }
            SdkError::ResponseError(_) => {
                Self::unreachable(host, "its answer ended early, or is none of the service's")
            }
            SdkError::ServiceError(context) => answered(code, said, context.raw(), host),
            _ => Self::unreachable(host, "no usable answer"),
        }
    }

    fn unreachable(host: &str, what: &str) -> Self {
        Self::Unreachable {
            message: format!("{host}: {what}"),
        }
    }
}

/// The request was not made, or not answered.
fn unmade(chain: &str, host: &str) -> CallError {
    let says = |it: &str| chain.to_lowercase().contains(it);
    let denied = |message: &str| CallError::Denied {
        message: message.to_owned(),
    };
    if says("region") && says("missing") || says("invalid configuration: region") {
        return denied(
            "no AWS region is set: set region in [aws] of the configuration, or AWS_REGION",
        );
    }
    if says("credential") || says("token provider") {
        return denied(
            "the daemon finds no AWS credentials that work: give its machine a role, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, where the daemon runs",
        );
    }
    if says("dns error") || says("lookup address") || says("no record found") {
        let what =
            "there is no host of this name: is the region right, and does name resolution work?";
        return CallError::unreachable(host, what);
    }
    for (sign, what) in [
        ("connection refused", "it refuses connections"),
        ("connection reset", "the connection was reset"),
        ("broken pipe", "the connection broke"),
        ("certificate", "its certificate is not accepted"),
        ("incomplete", "the connection ended before the answer did"),
        (
            "closed before",
            "the connection ended before the answer did",
        ),
        ("timed out", "no answer in time"),
    ] {
        if says(sign) {
            return CallError::unreachable(host, what);
        }
    }
    match chain {
        "" => CallError::unreachable(host, "no usable answer"),
        it => CallError::unreachable(host, it),
    }
}

/// All causes, outermost first.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |it| it.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

fn answered(code: &str, said: &str, raw: &HttpResponse, host: &str) -> CallError {
    let status = raw.status().as_u16();
    let message = match (said, code) {
        ("", "") => format!("{host}: HTTP {status}"),
        ("", code) => format!("{code} (HTTP {status})"),
        (said, _) => said.to_owned(),
    };
    if is_throttling(code) || status == 429 {
        return CallError::Throttled {
            message,
            retry_after: retry_after(raw),
        };
    }
    // A role that may not be handed on is a matter of the request, not of all requests.
    let is_about_a_role = code.contains("AccessDenied") && said.contains("iam:PassRole");
    let cure = cure(code);
    if (cure.is_some() || matches!(status, 401 | 403)) && !is_about_a_role {
        let message = match cure {
            None => message,
            Some(cure) => format!("{message}: {cure}"),
        };
        return CallError::Denied { message };
    }
    match status {
        // S3 says no more of a HEAD than this.
        404 if code.is_empty() => CallError::Invalid {
            code: "NotFound".to_owned(),
            message,
        },
        500.. => CallError::Unreachable { message },
        // Whatever says so is not the service: something between, or half an answer.
        _ if status < 300 || code.is_empty() => CallError::unreachable(
            host,
            &format!("an answer that is none of the service's (HTTP {status})"),
        ),
        301 | 307 => CallError::Invalid {
            code: code.to_owned(),
            message: format!("{message}: it is in another region than the one that was asked"),
        },
        _ => CallError::Invalid {
            code: code.to_owned(),
            message,
        },
    }
}

/// In seconds, or as a date.
fn retry_after(raw: &HttpResponse) -> Option<Duration> {
    if let Some(millis) = raw.headers().get("x-amz-retry-after") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    let text = raw.headers().get("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?;
    let date = std::time::SystemTime::try_from(date).ok()?;
    date.duration_since(std::time::SystemTime::now()).ok()
}

fn is_throttling(code: &str) -> bool {
    let signs = [
        "Throttl",
        "TooManyRequests",
        "SlowDown",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
    ];
    signs.iter().any(|it| code.contains(it))
}

const EXPIRED: &str = "the daemon's AWS credentials have expired: renew them";
const UNKNOWN: &str = "the daemon's AWS credentials are not known to AWS: set others";
const CLOCK: &str = "the clock of the daemon's machine is wrong: set it, best by NTP";
const SIGNATURE: &str =
    "the secret key is wrong, or the clock of the daemon's machine is: correct whichever it is";
const RIGHTS: &str = "the daemon's role lacks the permission: see docs/aws.md";

/// What a person does about it.
fn cure(code: &str) -> Option<&'static str> {
    DENIALS
        .iter()
        .find(|(sign, _)| code.contains(sign))
        .map(|(_, cure)| *cure)
}

const DENIALS: [(&str, &str); 14] = [
    ("AccessDenied", RIGHTS),
    ("NotAuthorized", RIGHTS),
    (
        "OptInRequired",
        "this account has not enabled the service or region",
    ),
    ("ExpiredToken", EXPIRED),
    ("RequestExpired", CLOCK),
    ("RequestTimeTooSkewed", CLOCK),
    ("RequestInTheFuture", CLOCK),
    ("UnrecognizedClient", UNKNOWN),
    ("InvalidClientTokenId", UNKNOWN),
    ("InvalidAccessKeyId", UNKNOWN),
    ("InvalidToken", UNKNOWN),
    ("MissingAuthenticationToken", UNKNOWN),
    ("SignatureDoesNotMatch", SIGNATURE),
    ("InvalidSignature", SIGNATURE),
];
