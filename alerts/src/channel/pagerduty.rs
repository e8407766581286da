//! PagerDuty's Events API v2: an alert triggers an incident, its recovery resolves it.

use super::webhook::{Address, shown, told};
use super::{Attempted, Letter, Verdict, judge, one_line};
use crate::http::{Client, Way};
use crate::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where PagerDuty takes events, in the United States; its European region is another address.
pub(crate) const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";

/// The longest `dedup_key` and `summary`.
const KEY_MAX: usize = 255;
const SUMMARY_MAX: usize = 1_000;

#[derive(Clone, Debug)]
pub(crate) struct PagerDuty {
    pub(crate) url: Address,
    pub(crate) routing_key: Secret,
    pub(crate) way: Way,
}

impl PagerDuty {
    pub(super) fn target(&self) -> String {
        shown(&self.url.0)
    }

    pub(super) async fn send(&self, client: &Client, letter: Letter<'_>) -> Attempted {
        let headers = [("content-type", "application/json".to_owned())];
        let body = event(letter, self.routing_key.reveal())
            .to_string()
            .into_bytes();
        let mut attempted = judge(client.post(&self.url.0, &self.way, &headers, body).await);
        if attempted.status == Some(400) {
            // Its own words: do not send it again.
            attempted.verdict = Verdict::Never;
        }
        attempted
    }
}

fn event(letter: Letter<'_>, routing_key: &str) -> Value {
    let alert = letter.first();
    let mut event = json!({
        "routing_key": routing_key,
        "dedup_key": dedup_key(&alert.key),
        "event_action": if alert.is_recovery { "resolve" } else { "trigger" },
    });
    if !alert.is_recovery {
        let mut details = told(alert);
        details["delivery"] = letter.id.into();
        event["client"] = "Dalsegno".into();
        event["payload"] = json!({
            "summary": one_line(&alert.summary, SUMMARY_MAX),
            "source": alert.flow.as_deref().unwrap_or("dalsegno"),
            "severity": alert.severity().as_str(),
            "timestamp": alert.at.to_string(),
            "component": alert.step, "group": alert.owner, "class": alert.kind,
            "custom_details": details,
        });
    }
    event
}

/// The matter's key; one that is too long is cut, and told apart by its hash.
fn dedup_key(key: &str) -> String {
    if key.len() <= KEY_MAX {
        return key.to_owned();
    }
    let digest = Sha256::digest(key.as_bytes());
    let hash: String = digest
        .iter()
        .take(16)
        .map(|it| format!("{it:02x}"))
        .collect();
    let start = key.floor_char_boundary(KEY_MAX - hash.len() - 1);
    format!("{}#{hash}", &key[..start])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use dalsegno_scheduler::Timestamp;

    #[test]
    fn an_alert_triggers_and_its_recovery_resolves_the_same_incident() {
        let mut alert = Alert::test("x", Timestamp::from_secs(1));
        alert.kind = "sla.missed".into();
        alert.key = "sla/etl/".to_owned() + &"é".repeat(300);
        let of = |alert: &Alert| {
            let letter = Letter {
                id: "msg_1_x",
                alerts: std::slice::from_ref(alert),
                at: alert.at,
            };
            event(letter, "key")
        };
        let triggered = of(&alert);
        alert.is_recovery = true;
        let resolved = of(&alert);
        assert_eq!(triggered["event_action"], "trigger");
        assert_eq!(triggered["payload"]["severity"], "critical");
        assert_eq!(resolved["event_action"], "resolve");
        assert!(resolved.get("payload").is_none());
        assert_eq!(triggered["dedup_key"], resolved["dedup_key"]);
        assert!(resolved["dedup_key"].as_str().expect("text").len() <= KEY_MAX);
    }
}
