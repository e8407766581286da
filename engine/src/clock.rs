//! The only reader of the clock.

use dalsegno_scheduler::{Span, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The wall clock now. May step back; [`Clock`] does not.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A clock that follows the wall clock forward and never back: while the wall clock is behind what was
/// said before, time goes on at the pace of the machine.
#[derive(Debug, Default)]
pub struct Clock {
    /// What was said last, and when.
    said: Mutex<Option<(Timestamp, Instant)>>,
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        self.follow(now(), Instant::now())
    }

    fn follow(&self, wall: Timestamp, at: Instant) -> Timestamp {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match *said {
            Some((before, then)) => {
                let passed = at.saturating_duration_since(then).as_micros();
                wall.max(before + Span(i64::try_from(passed).unwrap_or(i64::MAX)))
            }
            None => wall,
        };
        *said = Some((now, at));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_set_back_goes_on_at_the_machines_pace() {
        let (clock, start) = (Clock::default(), Instant::now());
        let hour = Span::from_mins(60);
        let noon = Timestamp::from_secs(1_000_000);
        assert_eq!(clock.follow(noon, start), noon);
        let later = start + Duration::from_secs(5);
        let set_back = clock.follow(noon - hour, later);
        assert_eq!(set_back, noon + Span::from_secs(5));
        let ahead = clock.follow(noon + hour, later);
        assert_eq!(ahead, noon + hour, "a clock set forward is believed");
    }
}
