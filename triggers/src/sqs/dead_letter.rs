//! Where messages go that cannot be read.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use serde_json::Value;

/// The attribute of a dead letter that says why it is one.
pub(crate) const REASON: &str = "dalsegno-reason";

/// The most attributes that SQS allows a message.
const ATTRIBUTES_MAX: usize = 10;

/// The longest reason, in bytes: message and attributes share one limit.
const REASON_BYTES_MAX: usize = 1_024;

/// The dead-letter queue of a queue, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetter {
    None,
    Url(String),
}

impl DeadLetter {
    /// What is configured; else what the queue's redrive policy names, which is in the same account and region.
    pub(crate) fn of(url: &str, configured: Option<&str>, policy: Option<&str>) -> Self {
        if let Some(url) = configured {
            return Self::Url(url.to_owned());
        }
        let policy: Option<Value> = policy.and_then(|it| serde_json::from_str(it).ok());
        let arn = policy
            .as_ref()
            .and_then(|it| it["deadLetterTargetArn"].as_str());
        arn.and_then(|arn| beside(url, arn))
            .map_or(Self::None, Self::Url)
    }

    /// Whether it is there for messages that cannot be read.
    pub(crate) const fn exists(&self) -> bool {
        matches!(self, Self::Url(_))
    }

    /// Sends a copy of the message there, with the reason. Nothing happens where there is none.
    pub(crate) async fn send(
        &self,
        client: &Client,
        message: &Message,
        reason: &str,
    ) -> Result<(), SdkError<SendMessageError>> {
        let Self::Url(url) = self else {
            return Ok(());
        };
        let reason = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(plain(reason))
            .build()
            .expect("the only needed field is given");
        let mut send = client
            .send_message()
            .queue_url(url)
            .message_body(message.body().unwrap_or_default())
            .message_attributes(REASON, reason);
        let own = message.message_attributes().into_iter().flatten();
        for (name, value) in own.filter(|it| it.0 != REASON).take(ATTRIBUTES_MAX - 1) {
            send = send.message_attributes(name, value.clone());
        }
        if url.ends_with(".fifo") {
            let group = message
                .attributes()
                .and_then(|it| it.get(&MessageSystemAttributeName::MessageGroupId));
            send = send
                .message_group_id(group.map_or("dalsegno", String::as_str))
                .message_deduplication_id(message.message_id().unwrap_or("dalsegno"));
        }
        send.send().await.map(|_| ())
    }
}

/// The URL of the queue with this ARN, which lies beside the one with `url`.
fn beside(url: &str, arn: &str) -> Option<String> {
    let mut parts = arn.rsplit(':');
    let (name, account) = (parts.next()?, parts.next()?);
    let base = url.rsplit_once('/')?.0.rsplit_once('/')?.0;
    Some(format!("{base}/{account}/{name}"))
}

/// What SQS allows in a text, not too long.
fn plain(reason: &str) -> String {
    let clean = reason.chars();
    let mut text: String = clean
        .map(|it| {
            if it.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&it) {
                ' '
            } else {
                it
            }
        })
        .collect();
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    if text.is_empty() {
        text.push('?');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/arrivals";

    #[test]
    fn the_configured_queue_comes_first_then_that_of_the_policy() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:111122223333:arrivals-dead","maxReceiveCount":"3"}"#;
        let of_policy = "https://sqs.eu-central-1.amazonaws.com/111122223333/arrivals-dead";
        assert_eq!(
            DeadLetter::of(URL, None, Some(policy)),
            DeadLetter::Url(of_policy.into())
        );
        assert_eq!(
            DeadLetter::of(URL, Some("https://q/1/own"), Some(policy)),
            DeadLetter::Url("https://q/1/own".into())
        );
        assert_eq!(DeadLetter::of(URL, None, None), DeadLetter::None);
        assert_eq!(DeadLetter::of(URL, None, Some("{}")), DeadLetter::None);
    }

    #[test]
    fn a_reason_is_what_sqs_takes() {
        assert_eq!(plain("line\none\u{0}"), "line one ");
        assert_eq!(plain(""), "?");
        assert!(plain(&"ü".repeat(2_000)).len() <= REASON_BYTES_MAX);
    }
}
