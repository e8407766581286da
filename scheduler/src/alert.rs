//! Alerts: what is worth telling people, written in the commit that causes it.
//!
//! The core writes an alert only where some rule wants its kind: one of the operator's ([`crate::Config::alert_kinds`])
//! or one of the flow's own ([`crate::spec::FlowSpec::alerts`]). Who gets it, and how, is decided elsewhere.

use crate::id::{FlowName, RunId, StepName};
use crate::row::states;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

states! {
    /// What an alert is about.
    AlertKind {
        /// A run failed or ran into its timeout.
        RunFailed = "run.failed",
        RunSucceeded = "run.succeeded",
        /// A run succeeded after one of its flow (or itself) had failed, and somebody was told of that.
        RunRecovered = "run.recovered",
        RunCancelled = "run.cancelled",
        /// An attempt failed, and the next one waits for its time.
        TaskRetried = "task.retried",
        /// The chance that a promise is broken has reached the level that it declares.
        SlaAtRisk = "sla.at_risk",
        SlaMissed = "sla.missed",
        /// A promise that was at risk or missed is kept now, perhaps late.
        SlaMet = "sla.met",
        /// Occurrences of a schedule did not run, though they ought to have.
        ScheduleMissed = "schedule.missed",
        /// A flow file can no longer be read as a flow; as a recovery: it can again.
        FlowInvalid = "flow.invalid",
        /// A job runs elsewhere that nobody here started.
        OrphanFound = "orphan.found",
        BreakerOpened = "breaker.opened",
        BreakerClosed = "breaker.closed",
        /// More waits than the operator thinks right.
        QueueLong = "queue.long",
        /// A delivery was given up.
        DeadLetter = "dead_letter",
    }
}

impl AlertKind {
    /// The kind that says that a matter of this kind is over, where that is another one.
    pub const fn ended_by(self) -> Option<Self> {
        match self {
            Self::RunFailed => Some(Self::RunRecovered),
            Self::SlaAtRisk | Self::SlaMissed => Some(Self::SlaMet),
            Self::BreakerOpened => Some(Self::BreakerClosed),
            _ => None,
        }
    }

    /// Whether it says that an earlier matter of the same key is over.
    pub const fn is_recovery(self) -> bool {
        matches!(
            self,
            Self::RunRecovered | Self::SlaMet | Self::BreakerClosed
        )
    }
}

/// Names an alert: 1, 2, 3 … within a database, in the order in which they were caused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AlertId(pub u64);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing worth telling, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    pub id: AlertId,
    pub at: Timestamp,
    pub kind: AlertKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowName>,
    /// Of the flow, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What it is about: alerts of one key are one matter, which a recovery ends.
    pub key: String,
    pub is_recovery: bool,
    /// One line for people.
    pub summary: String,
    pub data: Value,
}

/// A rule of a flow: which of its alerts go where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRuleSpec {
    pub on: Vec<AlertKind>,
    /// Channels, `TYPE:NAME`, or `owner`: wherever the configuration sends what belongs to the flow's owner.
    pub to: Vec<String>,
    /// Nothing is sent before this has passed; if the matter is over by then, nothing at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    #[serde(default)]
    pub group: AlertGroup,
    /// Of `task.retried`: only from so many retries of a task on. `None`: from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl AlertRuleSpec {
    /// Whether alerts of this kind are written for it: those that it names, and what ends those that it holds.
    pub fn needs(&self, kind: AlertKind) -> bool {
        let ends = |it: &AlertKind| it.ended_by() == Some(kind);
        self.on.contains(&kind) || (self.hold.is_some() && self.on.iter().any(ends))
    }

    /// Whether the rule is about this alert.
    pub fn wants(&self, alert: &AlertRow) -> bool {
        let retries = || alert.data["retries"].as_u64().unwrap_or(0);
        self.on.contains(&alert.kind)
            && (alert.kind != AlertKind::TaskRetried
                || self.retries.is_none_or(|it| retries() >= u64::from(it)))
    }
}

/// Which alerts of a rule are sent as one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertGroup {
    /// Those of one flow.
    #[default]
    Flow,
    /// Those of all flows of one owner.
    Owner,
    /// Each alone.
    None,
}

/// Something worth telling that the core does not see by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    pub kind: AlertKind,
    pub flow: Option<FlowName>,
    pub run: Option<RunId>,
    pub step: Option<StepName>,
    /// See [`AlertRow::key`].
    pub key: String,
    pub is_recovery: bool,
    pub summary: String,
    pub data: Value,
    /// A second alert with the same one is the first; for ever.
    pub dedupe: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_about_retries_waits_for_as_many_as_it_says() {
        let rule = AlertRuleSpec {
            on: vec![AlertKind::TaskRetried],
            to: vec!["webhook:oncall".into()],
            hold: None,
            group: AlertGroup::None,
            retries: Some(3),
        };
        let alert = |retries: u32| AlertRow {
            id: AlertId(1),
            at: Timestamp(0),
            kind: AlertKind::TaskRetried,
            flow: None,
            owner: None,
            run: None,
            step: None,
            key: String::new(),
            is_recovery: false,
            summary: String::new(),
            data: serde_json::json!({ "retries": retries }),
        };
        assert_eq!(
            [2, 3, 4].map(|it| rule.wants(&alert(it))),
            [false, true, true]
        );
    }

    #[test]
    fn a_rule_that_holds_needs_what_ends_its_matters() {
        let rule = |hold| AlertRuleSpec {
            on: vec![AlertKind::RunFailed],
            to: vec!["webhook:oncall".into()],
            hold,
            group: AlertGroup::None,
            retries: None,
        };
        assert!(!rule(None).needs(AlertKind::RunRecovered));
        assert!(rule(Some(Span::from_mins(1))).needs(AlertKind::RunRecovered));
        assert!(!rule(Some(Span::from_mins(1))).needs(AlertKind::SlaMet));
    }
}
