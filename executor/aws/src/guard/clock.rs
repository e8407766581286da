//! The time that the guard goes by: it only ever asks a [`Clock`], so that ten minutes of throttling pass in a test at once.

use dalsegno_scheduler::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds on a clock that never goes back. Where it starts means nothing; moments before the start are negative.
pub(crate) type Micros = i64;

pub(crate) trait Clock: Send + Sync + 'static {
    fn now(&self) -> Micros;
    /// The time of day, which people and other instances go by.
    fn wall(&self) -> Timestamp;
    fn sleep_until(&self, at: Micros) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What tokio's timers go by.
pub(crate) struct RealClock {
    start: tokio::time::Instant,
}

impl RealClock {
    pub(crate) fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Micros {
        micros(self.start.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, micros))
    }

    fn sleep_until(&self, at: Micros) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let at = self.start + span(at);
        Box::pin(tokio::time::sleep_until(at))
    }
}

/// The time of day at a moment of the clock.
pub(crate) fn wall_at(clock: &dyn Clock, at: Micros) -> Timestamp {
    Timestamp(clock.wall().0 + (at - clock.now()))
}

pub(crate) fn micros(span: Duration) -> Micros {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Nothing for what is negative.
pub(crate) fn span(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
