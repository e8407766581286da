//! The circuit breaker: whether a dependency is asked at all. Pure: time comes in.

use super::clock::{Micros, micros};
use std::time::Duration;

/// So many failures in a row open it.
pub(crate) const THRESHOLD: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// None does.
    Open,
    /// One does, and decides.
    HalfOpen,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What a person has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manual {
    /// Open until somebody says otherwise.
    Open,
    /// Closed whatever fails.
    Closed,
    /// It goes by what fails.
    #[default]
    Auto,
}

impl Manual {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Auto => "auto",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Closed, Self::Auto]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// How a call was let through; it is handed back with what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Plain,
    Probe,
}

/// What came of a call, for the breaker. A request that is refused as wrong or not allowed is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answered,
    Failed,
}

/// In what it departs from the pattern as it is written down in the requirements; see `docs/adr/0021-circuit-breakers.md`.
/// Both are always on, but for the test that compares it with the pattern.
#[derive(Clone, Copy, Debug)]
struct Departures {
    /// A success while closed takes earlier failures back: only failures in a row count.
    success_resets: bool,
    /// Half-open, one call is let through and decides; the others are refused until it has.
    one_probe: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    departures: Departures,
    /// So long it stays open before one call may try.
    reset: Duration,
    state: State,
    manual: Manual,
    failures: u32,
    last_failure: Option<Micros>,
    opened_at: Option<Micros>,
    is_probing: bool,
}

impl Breaker {
    pub(crate) const fn new(reset: Duration) -> Self {
        let departures = Departures {
            success_resets: true,
            one_probe: true,
        };
        Self::with(departures, reset)
    }

    const fn with(departures: Departures, reset: Duration) -> Self {
        Self {
            departures,
            reset,
            state: State::Closed,
            manual: Manual::Auto,
            failures: 0,
            last_failure: None,
            opened_at: None,
            is_probing: false,
        }
    }

    /// May a call go out now? If not: when is it worth asking again (`None`: when a person says so).
    pub(crate) fn admit(&mut self, now: Micros) -> Result<Pass, Option<Duration>> {
        match self.manual {
            Manual::Open => return Err(None),
            Manual::Closed => return Ok(Pass::Plain),
            Manual::Auto => {}
        }
        if self.state == State::Open {
            match self.retry_in(now) {
                Some(left) => return Err(Some(left)),
                None => self.state = State::HalfOpen,
            }
        }
        match self.state {
            State::HalfOpen if self.departures.one_probe && self.is_probing => {
                Err(Some(PROBE_PATIENCE))
            }
            State::HalfOpen => {
                self.is_probing = true;
                Ok(Pass::Probe)
            }
            State::Closed | State::Open => Ok(Pass::Plain),
        }
    }

    /// What [`Self::admit`] would say, without it.
    pub(crate) fn refuses(&self, now: Micros) -> Option<Option<Duration>> {
        self.clone().admit(now).err()
    }

    pub(crate) fn done(&mut self, pass: Pass, now: Micros, verdict: Verdict) {
        let decides = !self.departures.one_probe || pass == Pass::Probe;
        if pass == Pass::Probe {
            self.is_probing = false;
        }
        match (self.state, verdict) {
            // A call that was under way before the breaker opened says nothing about now.
            (State::HalfOpen, _) if !decides => {}
            (State::HalfOpen, Verdict::Answered) => self.close(),
            (State::Closed, Verdict::Answered) if self.departures.success_resets => {
                self.failures = 0;
            }
            (State::Closed | State::Open, Verdict::Answered) => {}
            (_, Verdict::Failed) => {
                self.failures = self.failures.saturating_add(1);
                self.last_failure = Some(now);
                if self.failures >= THRESHOLD {
                    if self.state != State::Open {
                        self.opened_at = Some(now);
                    }
                    self.state = State::Open;
                }
            }
        }
    }

    /// The call was dropped before anything came of it: another may try.
    pub(crate) fn gave_up(&mut self, pass: Pass) {
        if pass == Pass::Probe {
            self.is_probing = false;
        }
    }

    /// From `Open` or `Closed` back to `Auto` it begins anew.
    pub(crate) fn set(&mut self, manual: Manual) {
        if self.manual != manual {
            self.close();
            self.manual = manual;
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
        self.opened_at = None;
        self.is_probing = false;
    }

    pub(crate) const fn manual(&self) -> Manual {
        self.manual
    }

    /// As people see it.
    pub(crate) const fn state(&self) -> State {
        match self.manual {
            Manual::Open => State::Open,
            Manual::Closed => State::Closed,
            Manual::Auto => self.state,
        }
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) const fn opened_at(&self) -> Option<Micros> {
        self.opened_at
    }

    /// From when on a call may try.
    pub(crate) fn retry_at(&self) -> Option<Micros> {
        (self.state() == State::Open)
            .then_some(self.last_failure)
            .flatten()
            .filter(|_| self.manual == Manual::Auto)
            .map(|at| at + micros(self.reset) + 1)
    }

    fn retry_in(&self, now: Micros) -> Option<Duration> {
        let left = self.retry_at()? - now;
        (left > 0).then(|| super::clock::span(left))
    }
}

/// After so long others ask again what became of the probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
