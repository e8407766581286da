//! Channels and deliveries of alerts, as pages and API show them and act on them. The daemon has them; the rows are the
//! store's.

use crate::metaflow::Later;
use dalsegno_scheduler::Timestamp;
use dalsegno_store::{ChannelStop, DeliveryRow, DeliveryState};

pub trait Channels: Send + Sync + 'static {
    /// All that are configured, by name.
    fn channels(&self) -> Later<Vec<ChannelView>>;

    /// The rules of the configuration, in its order.
    fn rules(&self) -> Vec<AlertRuleView>;

    /// Sends a test message now, once, and says what came of it.
    ///
    /// # Errors
    /// There is no such channel.
    fn test(&self, channel: String) -> Later<TestView>;

    /// Lets a channel go on that was stopped; false if it was not.
    ///
    /// # Errors
    /// There is no such channel.
    fn enable(&self, channel: String) -> Later<bool>;

    /// Has a delivery sent again under its own id.
    ///
    /// # Errors
    /// There is none of this name, or it is on its way already.
    fn replay(&self, delivery: String) -> Later<()>;
}

/// A channel as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    pub name: String,
    /// `webhook`, `slack`, `pagerduty`, `email` or `sns`.
    pub kind: &'static str,
    /// Where it is, without anything secret.
    pub target: String,
    /// Its circuit breaker: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// When it is tried again, if it is left alone now.
    pub retry_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is sent until a person says so, since then and for this reason.
    pub stopped: Option<(Timestamp, String)>,
    pub delivered_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// A rule of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRuleView {
    pub on: Vec<String>,
    pub to: Vec<String>,
    pub flow: Option<String>,
    pub owner: Option<String>,
    /// In microseconds; 0: nothing is held.
    pub hold_us: i64,
    /// Of `task.retried`: only from so many retries on.
    pub retries: Option<u32>,
    /// `flow`, `owner` or `none`.
    pub group: &'static str,
}

/// Why a delivery stands as it does. Of one that was not sent yet the row says nothing: that depends on its channel.
pub(crate) fn reason(row: &DeliveryRow, stops: &[ChannelStop]) -> String {
    if row.state != DeliveryState::Waiting || row.attempts > 0 || !row.reason.is_empty() {
        return row.reason.clone();
    }
    match stops.iter().find(|it| it.channel == row.channel) {
        Some(stop) => format!("its channel is stopped: {}", stop.reason),
        None => "it goes out when its channel has a place, after earlier ones of its matter".into(),
    }
}

/// What came of a test message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestView {
    pub id: String,
    pub delivered: bool,
    /// Of HTTP or SMTP.
    pub status: Option<u16>,
    pub message: String,
    pub took_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_yet_says_why_all_the_same() {
        let row = DeliveryRow {
            id: "msg_1_ops".into(),
            alert: 1,
            channel: "ops".into(),
            matter: "runs:etl".into(),
            batch: String::new(),
            kind: "run.failed".into(),
            flow: "etl".into(),
            summary: "etl failed".into(),
            is_recovery: false,
            alerts: "[]".into(),
            state: DeliveryState::Waiting,
            due_at: Timestamp(0),
            tries: 0,
            attempts: 0,
            told_with: String::new(),
            reason: String::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let stop = ChannelStop {
            channel: "ops".into(),
            reason: "it is gone".into(),
            stopped_at: Timestamp(0),
        };
        assert_eq!(
            reason(&row, std::slice::from_ref(&stop)),
            "its channel is stopped: it is gone"
        );
        assert!(reason(&row, &[]).contains("earlier ones of its matter"));
        let ended = DeliveryRow {
            state: DeliveryState::Delivered,
            ..row
        };
        assert_eq!(reason(&ended, &[stop]), "");
    }
}
