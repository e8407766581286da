//! How a resumed run goes on: the execution it had, once more, or a new one over what is left.

use dalsegno_scheduler::{Span, Timestamp};
use serde::Serialize;
use std::fmt;

/// `RedriveExecution` takes executions that ended at most so long ago.
pub const REDRIVE_AGE_MAX: Span = Span::from_mins(14 * 24 * 60);

/// Of the history of an execution that may be redriven: one event less than it may have in all.
pub const REDRIVE_EVENTS_MAX: i64 = 24_999;

/// What is known of the execution before.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    pub name: String,
    /// The service's word: `FAILED`.
    pub status: String,
    pub stopped_at: Option<Timestamp>,
    pub error: String,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it should have been, had each generation since been a redrive.
    pub redrives_expected: u32,
    /// Events of its history.
    pub events: i64,
    pub is_same_definition: bool,
    pub is_same_input: bool,
    /// Steps that failed, and after which it went on: a redrive would leave them failed.
    pub caught: u32,
    /// What is done according to us is what is done in it.
    pub is_same_done: bool,
    /// Some of its jobs are in histories of their own.
    pub has_distributed: bool,
}

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumePlan {
    /// `RedriveExecution`: what failed there begins again.
    Redrive { execution: String },
    /// A new execution of a machine without what is done.
    New { execution: String, because: String },
}

impl ResumePlan {
    /// The execution in which it goes on.
    pub fn execution(&self) -> &str {
        match self {
            Self::Redrive { execution } | Self::New { execution, .. } => execution,
        }
    }

    /// Why it is not that of before; `None`: it is.
    pub fn because(&self) -> Option<&str> {
        match self {
            Self::Redrive { .. } => None,
            Self::New { because, .. } => Some(because),
        }
    }
}

impl fmt::Display for ResumePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redrive { execution } => {
                write!(f, "execution {execution} is redriven from where it failed")
            }
            Self::New { execution, because } => {
                write!(
                    f,
                    "a new execution {execution} does what is left, for {because}"
                )
            }
        }
    }
}

/// Which of both, and why. `name`: that of a new execution.
pub fn resume_plan(before: Option<&Before>, name: &str, now: Timestamp) -> ResumePlan {
    let new = |because: String| ResumePlan::New {
        execution: name.to_owned(),
        because,
    };
    let Some(it) = before else {
        return new("there is no execution before it".into());
    };
    let age = it.stopped_at.map(|at| Span(now.0.saturating_sub(at.0)));
    if !matches!(it.status.as_str(), "FAILED" | "ABORTED" | "TIMED_OUT") {
        return new(format!(
            "execution {} is {}, and only one that failed, was aborted or timed out can be redriven",
            it.name, it.status
        ));
    }
    if age.is_none_or(|it| it > REDRIVE_AGE_MAX) {
        return new(format!("execution {} ended more than 14 days ago", it.name));
    }
    if !it.is_same_definition {
        return new("the flow is another one by now".into());
    }
    if !it.is_same_input {
        return new("its parameters are others".into());
    }
    if it.events >= REDRIVE_EVENTS_MAX {
        return new(format!(
            "execution {} has {} events in its history, and a redrive adds to them",
            it.name, it.events
        ));
    }
    if it.error == super::STEPS_FAILED || it.caught > 0 {
        return new(format!(
            "execution {} went on after steps failed, and a redrive would leave them as they are",
            it.name
        ));
    }
    // Nor could their jobs be told from those after it.
    if it.has_distributed {
        return new(format!(
            "how the items of a Distributed Map ended is not in the history of execution {}",
            it.name
        ));
    }
    if !it.is_same_done {
        return new("what is to be done again is not what failed there".into());
    }
    if it.redrives != it.redrives_expected {
        return new(format!(
            "execution {} was redriven by somebody else",
            it.name
        ));
    }
    ResumePlan::Redrive {
        execution: it.name.clone(),
    }
}
