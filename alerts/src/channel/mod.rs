//! Where alerts go, and what came of sending one there.

mod email;
mod pagerduty;
mod slack;
mod sns;
mod webhook;

pub(crate) use email::{Email, Security};
pub(crate) use pagerduty::{EVENTS, PagerDuty};
pub(crate) use slack::Slack;
pub(crate) use sns::Sns;
pub use sns::{Fifo, Notice, TopicError, Topics};
pub(crate) use webhook::{Address, Webhook};

use crate::alert::Alert;
use crate::http::{Answer, Client, SendError};
use dalsegno_scheduler::{Span, Timestamp};
use std::sync::Arc;

/// A place that alerts go to, checked, with its secrets.
#[derive(Clone, Debug)]
pub struct Channel {
    pub name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Webhook(Webhook),
    Slack(Slack),
    PagerDuty(PagerDuty),
    Email(Email),
    Sns(Sns),
}

impl Kind {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Email(_) => "email",
            Self::Sns(_) => "sns",
        }
    }

    /// Whether one message may tell of several matters.
    pub(crate) const fn takes_groups(&self) -> bool {
        // A matter of theirs is begun and ended by its own key.
        !matches!(self, Self::PagerDuty(_))
    }
}

impl Channel {
    /// `webhook`, `slack` …
    pub const fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    /// Where it is, for people: no part of it is secret.
    pub fn target(&self) -> String {
        match &self.kind {
            Kind::Webhook(it) => it.target(),
            Kind::Slack(it) => it.target(),
            Kind::PagerDuty(it) => it.target(),
            Kind::Email(it) => it.target(),
            Kind::Sns(it) => it.topic.clone(),
        }
    }
}

/// One message on its way. The same id and the same alerts make the same message.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// `msg_<alert>_<channel>`.
    pub id: &'a str,
    /// At least one.
    pub alerts: &'a [Alert],
    /// When this attempt is made.
    pub at: Timestamp,
}

impl Letter<'_> {
    pub(crate) fn first(&self) -> &Alert {
        &self.alerts[0]
    }

    /// One line.
    pub(crate) fn headline(&self) -> String {
        match self.alerts {
            [one] => one.summary.clone(),
            several => format!("{} alerts: {}", several.len(), self.first().summary),
        }
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Of HTTP or SMTP.
    pub status: Option<u16>,
    /// What was said, or what went wrong.
    pub message: String,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// It may be taken later.
    Later {
        /// The endpoint asks to wait so long.
        asked: Option<Span>,
        /// The endpoint is not well; after several of these it is left alone for a while.
        is_ill: bool,
    },
    /// This message will never be taken.
    Never,
    /// The endpoint says that it is gone: nothing more is to be sent there until a person says so.
    Gone,
}

impl Attempted {
    pub(crate) fn delivered(status: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            verdict: Verdict::Delivered,
        }
    }

    pub(crate) fn never(status: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            verdict: Verdict::Never,
        }
    }

    pub(crate) fn ill(status: Option<u16>, message: impl Into<String>) -> Self {
        let verdict = Verdict::Later {
            asked: None,
            is_ill: true,
        };
        Self {
            status,
            message: message.into(),
            verdict,
        }
    }
}

impl Kind {
    /// What is never to be shown, longest first.
    fn secrets(&self) -> Vec<&str> {
        fn of_url(url: &url::Url) -> Vec<&str> {
            let whole = &url[url::Position::BeforePath..url::Position::AfterQuery];
            vec![whole, url.path(), url.query().unwrap_or_default()]
        }
        let mut secrets = match self {
            Self::Webhook(it) => of_url(&it.url.0),
            Self::Slack(it) => of_url(&it.url.0),
            Self::PagerDuty(it) => vec![it.routing_key.reveal()],
            Self::Email(_) | Self::Sns(_) => Vec::new(),
        };
        secrets.retain(|it| it.len() > 1);
        secrets
    }
}

/// Sends letters to channels. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    pub client: Client,
    /// Who publishes to topics of SNS; `None`: nobody here can.
    pub topics: Option<Arc<dyn Topics>>,
}

impl Sender {
    /// Sends once, and says what came of it. Takes no longer than a bounded time, and never fails otherwise.
    pub async fn send(&self, channel: &Channel, letter: Letter<'_>) -> Attempted {
        let mut attempted = match &channel.kind {
            Kind::Webhook(it) => it.send(&self.client, letter).await,
            Kind::Slack(it) => it.send(&self.client, letter).await,
            Kind::PagerDuty(it) => it.send(&self.client, letter).await,
            Kind::Email(it) => it.send(&self.client, letter).await,
            Kind::Sns(it) => {
                it.send(self.topics.as_deref(), self.client.timeout(), letter)
                    .await
            }
        };
        // Endpoints like to repeat what they were asked; it is shown, logged, and told to other channels.
        for secret in channel.kind.secrets() {
            attempted.message = attempted.message.replace(secret, "…");
        }
        attempted
    }
}

/// What an answer over HTTP means where nothing special was agreed on: 2xx is taken, 410 gone, all else may pass.
fn judge(answer: Result<Answer, SendError>) -> Attempted {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Attempted::ill(None, error.to_string()),
    };
    let verdict = match answer.status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone,
        status => Verdict::Later {
            asked: answer.retry_after,
            is_ill: status >= 500 || status == 429,
        },
    };
    Attempted {
        status: Some(answer.status),
        message: said(&answer),
        verdict,
    }
}

/// The answer in a line.
fn said(answer: &Answer) -> String {
    let body = one_line(&answer.body, 300);
    match (answer.status, &answer.location) {
        // The path may be the secret of a channel.
        (300..=399, Some(location)) => {
            let to = url::Url::parse(location).map(|it| one_line(&webhook::shown(&it), 200));
            let to = to.unwrap_or_else(|_| "another path".to_owned());
            let status = answer.status;
            format!(
                "it answers {status} and points to {to}; redirects are not followed: correct the channel's `url`"
            )
        }
        (status, _) if body.is_empty() => format!("it answers {status}"),
        (status, _) => format!("it answers {status}: {body}"),
    }
}

/// Text from outside as a part of one line.
fn one_line(text: &str, most: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    if line.len() > most {
        line.truncate(line.floor_char_boundary(most));
        line.push('…');
    }
    line.trim().to_owned()
}
