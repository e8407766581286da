//! Who makes a promise late, and the sentence that says so.

use crate::id::{FlowName, RunId, StepName};
use crate::reason::Limit;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// What makes a promise late: something that takes longer than usual, or waits for slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    pub flow: FlowName,
    /// `None`: the flow's only step, or all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// `None`: it has ended already, or is yet to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How long it takes against what is usual, in thousandths: 2100 is 2.1 times as long. 0 of what waits.
    pub factor_permille: u32,
    /// What it waits for; `None` of what takes long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How much longer it takes than usual, or how long it waits.
    pub late_by: Span,
}

impl Culprit {
    /// `ingest_orders runs 2.1x longer than usual, owner data-eng`, said of a promise of `flow`.
    pub fn text(&self, flow: &FlowName) -> String {
        let is_upstream = self.flow != *flow;
        let who = match (&self.step, is_upstream) {
            (None, true) => self.flow.to_string(),
            (Some(step), true) => format!("{} (step {step})", self.flow),
            (None, false) => "it".to_owned(),
            (Some(step), false) => format!("its step {step}"),
        };
        let text = match &self.limit {
            Some(limit) => format!("{who} waits about {} for {limit}", about(self.late_by)),
            None => {
                let tenths = (self.factor_permille + 50) / 100;
                let (whole, part) = (tenths / 10, tenths % 10);
                format!("{who} runs {whole}.{part}x longer than usual")
            }
        };
        match self.owner.as_ref().filter(|_| is_upstream) {
            Some(owner) => format!("{text}, owner {owner}"),
            None => text,
        }
    }
}

/// "churn_training will miss 08:00 by about 12 min: ingest_orders runs 2.1x longer than usual, owner data-eng".
///
/// `what`: the flow, or its step; `due`: the due moment as people say it; `late_by`: of the middle case; `chance`: of a
/// breach, in thousandths; `because`: [`Culprit::text`].
pub fn sentence(
    what: &str,
    due: &str,
    late_by: Span,
    chance: u16,
    because: Option<&str>,
) -> String {
    let mut text = match (late_by > Span::ZERO, chance) {
        (true, _) => format!("{what} will miss {due} by about {}", about(late_by)),
        (false, 0..100) => return format!("{what} will be in time for {due}"),
        (false, chance) => format!("{what} may miss {due} (chance {} %)", (chance + 5) / 10),
    };
    if let Some(because) = because {
        text.push_str(": ");
        text.push_str(because);
    }
    text
}

/// In the unit that a person would choose: `40 s`, `12 min`, `3 h`, `2 days`.
fn about(span: Span) -> String {
    let secs = (span.0 + 500_000) / 1_000_000;
    match secs {
        ..90 => format!("{} s", secs.max(1)),
        90..5_400 => format!("{} min", (secs + 30) / 60),
        5_400..172_800 => {
            let tenths = (secs + 180) / 360;
            match tenths % 10 {
                0 => format!("{} h", tenths / 10),
                part => format!("{}.{part} h", tenths / 10),
            }
        }
        _ => format!("{} days", (secs + 43_200) / 86_400),
    }
}
