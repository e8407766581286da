//! What an error of SQS means for people.

use crate::status::{Condition, SourceState};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use std::error::Error;

/// What went wrong when `operation` was tried on a queue, and what to do.
pub(crate) fn condition<E>(operation: &str, error: &SdkError<E>) -> Condition
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let whole = DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(it) => {
            let code = it.err().code().unwrap_or_default().to_owned();
            let text = it.err().message().unwrap_or_default().to_owned();
            answered(operation, &code, &text, it.raw().status().as_u16())
        }
        _ if whole.contains("redential") => Condition::with(
            SourceState::Denied,
            format!("there are no AWS credentials to be had: {}", innermost(error)),
        )
        .cure(
            "give the daemon a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
        _ if whole.contains("region") && whole.contains("issing") => Condition::with(
            SourceState::Broken,
            "nobody says in which region the queue is",
        )
        .cure("set `region` of the queue in dalsegno.toml, or AWS_REGION"),
        SdkError::ConstructionFailure(_) => Condition::with(
            SourceState::Broken,
            format!("{operation} cannot be asked for: {}", innermost(error)),
        )
        .cure("look at `url`, `region` and `endpoint` of the queue in dalsegno.toml"),
        _ => Condition::with(
            SourceState::Unreachable,
            format!("{operation} got no answer: {}", innermost(error)),
        )
        .cure("nothing is lost: messages wait in the queue; look at the network and at `endpoint`"),
    }
}

/// Of an error that the service answered with.
fn answered(operation: &str, code: &str, text: &str, status: u16) -> Condition {
    let bare = code.rsplit(['.', '#']).next().unwrap_or(code);
    let told = match text.trim_end_matches('.') {
        "" => format!("{operation} is answered with {code} ({status})"),
        text => format!("{operation} is answered with {code}: {text}"),
    };
    match bare {
        "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" => {
            Condition::with(SourceState::Missing, "the queue does not exist")
                .cure("create it, or correct its `url` in dalsegno.toml; it is looked for all the time")
        }
        "RequestExpired" | "RequestTimeTooSkewed" | "SignatureNotYetCurrent" => {
            clock(SourceState::Denied, told)
        }
        _ if text.contains("Signature expired") || text.contains("Signature not yet current") => {
            clock(SourceState::Denied, told)
        }
        "AccessDenied" | "AccessDeniedException" | "AuthFailure" | "NotAuthorized"
        | "UnauthorizedOperation" | "KMS.AccessDeniedException" | "KmsAccessDenied" => {
            Condition::with(SourceState::Denied, told).cure(
                "allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on \
                 the queue to the daemon's role (and kms:Decrypt, if it is encrypted)",
            )
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch"
        | "InvalidSecurity" | "ExpiredToken" | "ExpiredTokenException" | "MissingAuthenticationToken"
        | "IncompleteSignature" | "OptInRequired" => Condition::with(SourceState::Denied, told)
            .cure("look at the daemon's AWS credentials: they are wrong, or have expired"),
        "ThrottlingException" | "Throttling" | "ThrottledException" | "RequestThrottled"
        | "RequestThrottledException" | "RequestLimitExceeded" | "TooManyRequestsException"
        | "SlowDown" | "KmsThrottled" | "OverLimit" => Condition::with(SourceState::Throttled, told)
            .cure("nothing is lost: it is asked again, ever more slowly"),
        _ if status >= 500 => Condition::with(SourceState::Unreachable, told)
            .cure("nothing is lost: messages wait in the queue, and it is asked again"),
        _ => Condition::with(SourceState::Broken, told)
            .cure("look at `url`, `region` and `endpoint` of the queue in dalsegno.toml"),
    }
}

fn clock(state: SourceState, told: String) -> Condition {
    Condition::with(state, told)
        .cure("set this machine's clock by NTP: it disagrees with that of AWS")
}

/// The cause below all others, which is what people can use.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_aws_become_states_with_cures() {
        for (code, text, status, state) in [
            (
                "AWS.SimpleQueueService.NonExistentQueue",
                "The specified queue does not exist.",
                400,
                SourceState::Missing,
            ),
            (
                "com.amazonaws.sqs#QueueDoesNotExist",
                "",
                400,
                SourceState::Missing,
            ),
            (
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/x is not authorized",
                403,
                SourceState::Denied,
            ),
            (
                "ExpiredToken",
                "The security token included in the request is expired",
                403,
                SourceState::Denied,
            ),
            (
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
                403,
                SourceState::Denied,
            ),
            (
                "ThrottlingException",
                "Rate exceeded",
                400,
                SourceState::Throttled,
            ),
            ("RequestThrottled", "", 403, SourceState::Throttled),
            ("InternalFailure", "", 500, SourceState::Unreachable),
            ("ServiceUnavailable", "", 503, SourceState::Unreachable),
            (
                "InvalidAddress",
                "The address is not valid for this endpoint.",
                404,
                SourceState::Broken,
            ),
            ("", "", 400, SourceState::Broken),
        ] {
            let it = answered("ReceiveMessage", code, text, status);
            assert_eq!(it.state, state, "{code}: {it:?}");
            assert!(it.cure.is_some() && !it.message.is_empty(), "{code}");
        }
        let clock = answered(
            "ReceiveMessage",
            "InvalidSignatureException",
            "Signature expired: 20261122T090000Z is now earlier than 20261122T091500Z",
            403,
        );
        assert!(clock.cure.is_some_and(|it| it.contains("clock")));
    }
}
