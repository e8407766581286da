//! Topics of Amazon SNS. Who speaks AWS is elsewhere; this says what is published and what the outcome means.

use super::webhook::cloud_event;
use super::{Attempted, Letter, Verdict, one_line};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// The longest subject that SNS takes, and the largest message.
const SUBJECT_MAX: usize = 100;
const MESSAGE_MAX: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Sns {
    /// Its ARN.
    pub(crate) topic: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub topic: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub subject: String,
    pub message: String,
    /// For filters of subscriptions.
    pub attributes: Vec<(&'static str, String)>,
    /// Of a FIFO topic: messages of one group stay in order, and one of the same id is taken once.
    pub fifo: Option<Fifo>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    pub group: String,
    pub id: String,
}

/// Why a topic did not take a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError {
    pub status: Option<u16>,
    pub message: String,
    /// It will not take it later either.
    pub is_final: bool,
}

/// Who speaks AWS.
#[async_trait]
pub trait Topics: Send + Sync + 'static {
    /// Publishes once; gives the message's id there.
    async fn publish(&self, notice: Notice) -> Result<String, TopicError>;
}

impl Sns {
    pub(super) async fn send(
        &self,
        topics: Option<&dyn Topics>,
        timeout: Duration,
        letter: Letter<'_>,
    ) -> Attempted {
        let Some(topics) = topics else {
            return Attempted::never(None, "this daemon cannot speak to SNS");
        };
        match tokio::time::timeout(timeout, topics.publish(self.notice(letter))).await {
            Ok(Ok(message)) => Attempted::delivered(Some(200), format!("it is message {message}")),
            Ok(Err(error)) => {
                let is_ill = error.status.is_none_or(|it| it >= 500 || it == 429);
                let verdict = match error.is_final {
                    true => Verdict::Never,
                    false => Verdict::Later {
                        asked: None,
                        is_ill,
                    },
                };
                let message = one_line(&error.message, 300);
                Attempted {
                    status: error.status,
                    message,
                    verdict,
                }
            }
            Err(_) => Attempted::ill(
                None,
                format!("SNS did not answer within {} s", timeout.as_secs()),
            ),
        }
    }

    fn notice(&self, letter: Letter<'_>) -> Notice {
        let first = letter.first();
        let mut attributes = vec![
            ("kind", first.kind.clone()),
            ("severity", first.severity().as_str().into()),
        ];
        let more = [("flow", &first.flow), ("owner", &first.owner)];
        attributes.extend(
            more.into_iter()
                .filter_map(|(name, it)| Some((name, it.clone()?))),
        );
        let mut message = cloud_event(letter);
        if message.to_string().len() > MESSAGE_MAX {
            // What does not fit is what a person can look up.
            for alert in message["data"]["alerts"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                alert["data"] = serde_json::Value::Null;
            }
        }
        Notice {
            topic: self.topic.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            subject: subject(&letter.headline()),
            message: message.to_string(),
            attributes,
            fifo: self.topic.ends_with(".fifo").then(|| Fifo {
                group: hash(&first.key),
                id: hash(letter.id),
            }),
        }
    }
}

/// ASCII without control characters, beginning with a letter, digit or mark, at most 100.
fn subject(text: &str) -> String {
    let mut subject: String = one_line(text, 1_000)
        .chars()
        .map(|it| if it.is_ascii() { it } else { '?' })
        .collect();
    subject.truncate(SUBJECT_MAX);
    match subject.trim() {
        "" => "Dalsegno".to_owned(),
        subject => subject.to_owned(),
    }
}

/// As ids of SNS may be: letters and digits, at most 128.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use dalsegno_scheduler::Timestamp;

    #[test]
    fn a_notice_fits_what_sns_takes() {
        let mut alert = Alert::test("x", Timestamp::from_secs(1));
        alert.summary = "ü\n".repeat(200);
        alert.data = serde_json::json!({"text": "y".repeat(300_000)});
        let letter = Letter {
            id: "msg_1_x",
            alerts: std::slice::from_ref(&alert),
            at: alert.at,
        };
        let topic = "arn:aws:sns:eu-west-1:1:t.fifo".to_owned();
        let notice = Sns {
            topic,
            region: None,
            endpoint: None,
        }
        .notice(letter);
        assert!(
            notice.subject.len() <= 100 && notice.subject.is_ascii(),
            "{}",
            notice.subject
        );
        assert!(notice.message.len() <= MESSAGE_MAX);
        assert_eq!(notice.fifo.expect("a FIFO topic").id, hash("msg_1_x"));
    }
}
