//! The only reader of the clock.

use dalsegno_scheduler::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock now. May step back; whoever needs it monotonic clamps it.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
