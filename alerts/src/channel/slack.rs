//! Slack's incoming webhooks.

use super::webhook::{Address, shown};
use super::{Attempted, Letter, Verdict, judge, one_line};
use crate::alert::{Alert, Severity};
use crate::http::{Client, Way};
use serde_json::{Value, json};

/// What Slack takes of one message: 50 blocks, 3,000 characters in each.
const ALERTS_MAX: usize = 40;
const TEXT_MAX: usize = 2_900;

#[derive(Clone, Debug)]
pub(crate) struct Slack {
    pub(crate) url: Address,
    pub(crate) way: Way,
}

impl Slack {
    pub(super) fn target(&self) -> String {
        shown(&self.url.0)
    }

    pub(super) async fn send(&self, client: &Client, letter: Letter<'_>) -> Attempted {
        let headers = [("content-type", "application/json".to_owned())];
        let body = message(letter).to_string().into_bytes();
        let mut attempted = judge(client.post(&self.url.0, &self.way, &headers, body).await);
        // Slack never takes later what it does not understand now; the URL of a channel that is gone answers 404 or 410.
        attempted.verdict = match attempted.status {
            Some(400 | 413) => Verdict::Never,
            Some(404) => Verdict::Gone,
            _ => attempted.verdict,
        };
        attempted
    }
}

fn message(letter: Letter<'_>) -> Value {
    let shown = letter.alerts.iter().take(ALERTS_MAX).map(section);
    let mut blocks: Vec<Value> = shown.collect();
    let left = letter.alerts.len().saturating_sub(ALERTS_MAX);
    if left > 0 {
        blocks.push(context(&format!("and {left} more")));
    }
    blocks.push(context(&escaped(letter.id)));
    json!({ "text": escaped(&one_line(&letter.headline(), TEXT_MAX)), "blocks": blocks })
}

fn section(alert: &Alert) -> Value {
    let sign = match (alert.is_recovery, alert.severity()) {
        (true, _) => ":white_check_mark:",
        (_, Severity::Critical | Severity::Error) => ":red_circle:",
        (_, Severity::Warning) => ":large_yellow_circle:",
        (_, Severity::Info) => ":information_source:",
    };
    let mut text = format!(
        "{sign} *{}*\n`{}`",
        escaped(&one_line(&alert.summary, 2_000)),
        alert.kind
    );
    for (name, value) in [
        ("flow", &alert.flow),
        ("step", &alert.step),
        ("owner", &alert.owner),
    ] {
        if let Some(value) = value {
            text += &format!(" · {name} {}", escaped(&one_line(value, 200)));
        }
    }
    if let Some(run) = alert.run {
        text += &format!(" · run {run}");
    }
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": text }] })
}

/// As Slack asks for it; so no text of a flow becomes a link or calls everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::Timestamp;

    #[test]
    fn texts_of_flows_call_nobody_and_many_alerts_still_fit() {
        let mut alert = Alert::test("x", Timestamp::from_secs(1));
        alert.summary = "<!channel> \n & more".repeat(300);
        let alerts = vec![alert; 100];
        let letter = Letter {
            id: "msg_1_x",
            alerts: &alerts,
            at: Timestamp::from_secs(1),
        };
        let message = message(letter);
        let blocks = message["blocks"].as_array().expect("blocks");
        assert_eq!(blocks.len(), 42);
        assert_eq!(blocks[40]["elements"][0]["text"], "and 60 more");
        assert!(!message.to_string().contains("<!channel>"));
    }
}
