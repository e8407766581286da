//! What is told, as this crate works with it.

use dalsegno_scheduler::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing worth telling. It is written down whole in each delivery, so that a message is the same however often and
/// however late it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Counted by the core; 0 for a test message.
    pub id: u64,
    pub at: Timestamp,
    /// `run.failed`, `sla.missed` …
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What it is about: the same for all that is told of one matter.
    pub key: String,
    pub is_recovery: bool,
    /// One line for people.
    pub summary: String,
    pub data: Value,
}

/// How much an alert wants of whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    /// As PagerDuty has them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl Alert {
    pub fn severity(&self) -> Severity {
        if self.is_recovery {
            return Severity::Info;
        }
        match self.kind.as_str() {
            "sla.missed" => Severity::Critical,
            "run.failed" | "schedule.missed" | "flow.invalid" | "dead_letter" => Severity::Error,
            "sla.at_risk" | "task.retried" | "run.cancelled" | "orphan.found"
            | "breaker.opened" | "queue.long" => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// What `dalsegno alerts test` sends.
    pub fn test(channel: &str, at: Timestamp) -> Self {
        Self {
            id: 0,
            at,
            kind: TEST.to_owned(),
            flow: None,
            owner: None,
            run: None,
            step: None,
            key: format!("test/{channel}"),
            is_recovery: false,
            summary: format!("this is a test of the channel {channel}; nothing is wrong"),
            data: Value::Object(serde_json::Map::new()),
        }
    }
}

/// The kind of test messages.
pub const TEST: &str = "test";
