//! What predictors and people say of a promise.

use super::{AT_RISK, Culprit};
use crate::id::FlowName;
use crate::row::{SlaRow, SlaState};
use crate::state::Scheduler;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// When a run will be over, as the predictor sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// When it was made.
    pub at: Timestamp,
    /// The chance of a breach, in thousandths.
    pub chance_permille: u16,
    pub finish_p50: Timestamp,
    pub finish_p90: Timestamp,
    /// What makes it late, if one thing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Culprit>,
}

/// A prediction as it comes from outside: for one row.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPrediction {
    pub flow: FlowName,
    pub promise: Arc<str>,
    pub period: Arc<str>,
    pub chance_permille: u16,
    pub finish_p50: Timestamp,
    pub finish_p90: Timestamp,
    pub culprit: Option<Culprit>,
}

/// A prediction is written down when it differs from the last one by this much, in thousandths, or in time.
const CHANCE_STEP: u16 = 50;
const FINISH_STEP: Span = Span::from_mins(1);

impl Scheduler {
    /// Whether a prediction changes its row: another state, or clearly another chance or time.
    pub fn is_news(&self, it: &NewPrediction) -> bool {
        let key = (it.flow.clone(), it.promise.clone(), it.period.clone());
        let Some(row) = self.slas.get(&key).filter(|it| it.missed_at.is_none()) else {
            return false;
        };
        let flow = self.flow(it.flow.as_str()).and_then(|it| it.flow.as_ref());
        if flow.is_none_or(|flow| flow.promise(&it.promise).is_none()) {
            return false;
        }
        let chance = it.chance_permille.min(1_000);
        let moved = row.prediction.as_ref().is_none_or(|old| {
            old.chance_permille.abs_diff(chance) >= CHANCE_STEP
                || (old.finish_p50 - it.finish_p50).0.abs() >= FINISH_STEP.0
                || (old.finish_p90 - it.finish_p90).0.abs() >= FINISH_STEP.0
        });
        moved || self.state_by(row, chance) != row.state
    }

    /// At risk when the chance of a breach reaches the level that was declared.
    pub(crate) fn state_by(&self, row: &SlaRow, chance_permille: u16) -> SlaState {
        let flow = self.flow(row.flow.as_str()).and_then(|it| it.flow.as_ref());
        let promise = flow.and_then(|it| it.promise(&row.promise));
        match chance_permille >= promise.map_or(AT_RISK, |it| it.at_risk) {
            true => SlaState::AtRisk,
            false => SlaState::OnTime,
        }
    }
}

/// Somebody has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub by: String,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
