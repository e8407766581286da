//! The circuit breakers of services, as pages and API show and set them. The daemon has them.

use crate::metaflow::Later;
use dalsegno_scheduler::Timestamp;

pub trait Breakers: Send + Sync + 'static {
    /// All, by name.
    fn all(&self) -> Vec<BreakerView>;

    /// What a person says of one of them. It holds beyond a restart.
    ///
    /// # Errors
    /// There is none of that name.
    fn set(&self, name: String, to: ByHand) -> Later<()>;
}

/// What a person can say of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// Nothing is sent until somebody says otherwise.
    Open,
    /// Everything is sent, whatever fails.
    Close,
    /// It goes by what fails.
    Auto,
}

impl ByHand {
    pub(crate) fn parse(verb: &str) -> Option<Self> {
        match verb {
            "open" => Some(Self::Open),
            "close" => Some(Self::Close),
            "auto" => Some(Self::Auto),
            _ => None,
        }
    }
}

/// One of them as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerView {
    /// `batch`, `batch:SubmitJob` …
    pub name: String,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// `open` or `closed` when a person set it so.
    pub by_hand: Option<&'static str>,
    /// In a row.
    pub failures: u32,
    pub opened_at: Option<Timestamp>,
    /// When the next call may try.
    pub retry_at: Option<Timestamp>,
    /// The last that counted, also if it is long over.
    pub last_error: Option<String>,
    /// Calls since the daemon started, and those that failed.
    pub calls: u64,
    pub errors: u64,
}

impl BreakerView {
    /// Someone may want to look at it.
    pub(crate) fn is_notable(&self) -> bool {
        self.state != "closed" || self.by_hand.is_some()
    }
}
