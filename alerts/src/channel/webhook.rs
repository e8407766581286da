//! [Standard Webhooks](https://www.standardwebhooks.com) with a CloudEvent as body.

use super::{Attempted, Letter, judge};
use crate::alert::Alert;
use crate::http::{Client, Way, place};
use crate::sign::{Signer, seconds};
use serde_json::{Value, json};
use url::Url;

#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) url: Address,
    pub(crate) signer: Signer,
    pub(crate) way: Way,
}

/// A URL of which only the host is shown: path and query may hold a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Url);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({}://{}/…)", self.0.scheme(), place(&self.0))
    }
}

impl Webhook {
    pub(super) fn target(&self) -> String {
        shown(&self.url.0)
    }

    pub(super) async fn send(&self, client: &Client, letter: Letter<'_>) -> Attempted {
        let body = cloud_event(letter).to_string().into_bytes();
        let headers = [
            ("content-type", "application/cloudevents+json".to_owned()),
            ("webhook-id", letter.id.to_owned()),
            ("webhook-timestamp", seconds(letter.at).to_string()),
            (
                "webhook-signature",
                self.signer.sign(letter.id, letter.at, &body),
            ),
        ];
        judge(client.post(&self.url.0, &self.way, &headers, body).await)
    }
}

/// A URL for people: without what may be a key.
pub(super) fn shown(url: &Url) -> String {
    let more = match url.path() {
        "" | "/" => "",
        _ => "/…",
    };
    format!("{}://{}{more}", url.scheme(), place(url))
}

/// The message as a CloudEvent 1.0 in JSON. Nothing in it depends on the attempt.
pub(super) fn cloud_event(letter: Letter<'_>) -> Value {
    let first = letter.first();
    let is_one_kind = letter.alerts.iter().all(|it| it.kind == first.kind);
    let kind = match is_one_kind {
        true => format!("dalsegno.alert.{}", first.kind),
        false => "dalsegno.alert.group".to_owned(),
    };
    json!({
        "specversion": "1.0",
        "id": letter.id,
        "source": "/dalsegno/alerts",
        "type": kind,
        "time": first.at.to_string(),
        "subject": first.key,
        "datacontenttype": "application/json",
        "data": {
            "summary": letter.headline(),
            "alerts": letter.alerts.iter().map(told).collect::<Vec<_>>(),
        },
    })
}

/// An alert as receivers read it.
pub(super) fn told(alert: &Alert) -> Value {
    json!({
        "id": alert.id, "at": alert.at.to_string(), "kind": alert.kind, "severity": alert.severity().as_str(),
        "flow": alert.flow, "owner": alert.owner, "run": alert.run, "step": alert.step, "key": alert.key,
        "is_recovery": alert.is_recovery, "summary": alert.summary, "data": alert.data,
    })
}
