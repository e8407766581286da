//! Whether an endpoint is asked at all: after failures in a row it is left alone for a while, then one delivery tries.
//! Pure: time comes in.

use dalsegno_scheduler::{Span, Timestamp};

/// So many failures in a row open it.
pub(crate) const THRESHOLD: u32 = 5;

/// So long it stays open before one delivery may try.
pub(crate) const RESET: Span = Span::from_secs(60);

/// How an endpoint is doing, since the daemon began to deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    /// Nobody may try before.
    open_until: Option<Timestamp>,
    is_probing: bool,
    /// The endpoint itself has asked not to be asked before (`Retry-After`).
    asked_until: Option<Timestamp>,
}

/// In a word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    Open,
    HalfOpen,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    /// How many deliveries may be begun now; without any: when it is worth asking again (`None`: when the probe is over).
    pub(crate) fn room(&self, now: Timestamp, places: usize) -> Result<usize, Option<Timestamp>> {
        if let Some(until) = self.asked_until.filter(|it| *it > now) {
            return Err(Some(until));
        }
        match self.open_until {
            None => Ok(places),
            Some(until) if until > now => Err(Some(until)),
            Some(_) if self.is_probing => Err(None),
            Some(_) => Ok(places.min(1)),
        }
    }

    /// A delivery goes out.
    pub(crate) fn begin(&mut self) {
        self.is_probing = self.open_until.is_some();
    }

    /// A delivery was not sent after all.
    pub(crate) fn gave_up(&mut self) {
        self.is_probing = false;
    }

    /// The endpoint has answered, whatever it said.
    pub(crate) fn answered(&mut self) {
        *self = Self {
            asked_until: self.asked_until,
            ..Self::default()
        };
    }

    /// It has not, or said that it is not well.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.is_probing = false;
        if self.failures >= THRESHOLD {
            self.open_until = Some(now + RESET);
        }
    }

    /// It asks to be left alone until then.
    pub(crate) fn rest(&mut self, until: Timestamp) {
        self.asked_until = self.asked_until.max(Some(until));
    }

    pub(crate) fn state(&self, now: Timestamp) -> State {
        match self.open_until {
            None => State::Closed,
            Some(until) if until > now => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    /// From when on a delivery may try again, if it may not now.
    pub(crate) fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.max(self.asked_until).filter(|it| *it > now)
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn broken() -> Breaker {
        let mut breaker = Breaker::default();
        (0..THRESHOLD).for_each(|_| breaker.failed(START));
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_an_answer_begins_anew() {
        let mut breaker = Breaker::default();
        (1..THRESHOLD).for_each(|_| breaker.failed(START));
        assert_eq!(breaker.room(START, 4), Ok(4));
        breaker.answered();
        (1..THRESHOLD).for_each(|_| breaker.failed(START));
        assert_eq!(breaker.room(START, 4), Ok(4));
        breaker.failed(START);
        assert_eq!(breaker.room(START, 4), Err(Some(START + RESET)));
        assert_eq!(breaker.state(START), State::Open);
    }

    #[test]
    fn after_a_minute_one_delivery_tries_and_decides() {
        let later = START + RESET;
        let mut breaker = broken();
        assert_eq!(
            (breaker.room(later, 4), breaker.state(later)),
            (Ok(1), State::HalfOpen)
        );
        breaker.begin();
        assert_eq!(breaker.room(later, 4), Err(None));
        breaker.failed(later);
        assert_eq!(breaker.room(later, 4), Err(Some(later + RESET)));
        let later = later + RESET;
        breaker.begin();
        breaker.answered();
        assert_eq!(
            (breaker.room(later, 4), breaker.state(later)),
            (Ok(4), State::Closed)
        );
    }

    #[test]
    fn an_endpoint_that_asks_for_rest_gets_it() {
        let mut breaker = Breaker::default();
        let until = START + Span::from_secs(7);
        breaker.rest(until);
        breaker.answered();
        assert_eq!(breaker.room(START, 4), Err(Some(until)));
        assert_eq!(breaker.room(until, 4), Ok(4));
    }
}
