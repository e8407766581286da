//! What `doctor` found.

use super::tone::Tone;
use serde::Serialize;
use std::fmt::Write as _;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) about: &'static str,
    pub(crate) health: Health,
    pub(crate) text: String,
    pub(crate) cure: Option<String>,
}

impl Finding {
    pub(crate) fn new(about: &'static str, health: Health, text: impl Into<String>) -> Self {
        Self {
            about,
            health,
            text: text.into(),
            cure: None,
        }
    }

    #[must_use]
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// Findings, one a line, each with its cure below.
pub(crate) fn diagnosis(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (tone, word) = match finding.health {
            Health::Ok => (Tone::Good, "OK  "),
            Health::Warn => (Tone::Warn, "WARN"),
            Health::Fail => (Tone::Bad, "FAIL"),
        };
        let _ = writeln!(
            text,
            "{}  {:<11} {}",
            tone.paint(word),
            finding.about,
            finding.text
        );
        if let Some(cure) = &finding.cure {
            let _ = writeln!(text, "{:17} {} {cure}", "", Tone::Quiet.paint("→"));
        }
    }
    text
}
