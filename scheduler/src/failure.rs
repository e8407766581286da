//! Classes of failures: who pays for a retry, how often, and after what wait.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an attempt failed, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The network, or a service that answers with an error of its own (5xx).
    Network,
    /// A service asks to be called less often.
    Throttled,
    /// There is no machine for it now.
    Capacity,
    /// It cannot work as it is: repeating it changes nothing.
    Invalid,
    /// The task's own fault; what `retry` of the step is for.
    User,
    /// It ran out of memory.
    Oom,
    /// Its host or keeper went away.
    Lost,
}

impl FailureClass {
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Throttled,
        Self::Capacity,
        Self::Invalid,
        Self::User,
        Self::Oom,
        Self::Lost,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Invalid => "invalid",
            Self::User => "user",
            Self::Oom => "oom",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
