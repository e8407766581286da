//! The breaker against the pattern as it is written down in the requirements, and what it promises beyond that.

use super::*;
use proptest::prelude::*;

const RESET: Duration = Duration::from_secs(60);

/// The pseudo-code, line by line. `execute` is cut in two where it calls the service, so that calls may overlap.
mod written {
    pub(super) const THRESHOLD: u32 = 5;
    pub(super) const RESET_TIMEOUT: i64 = 60_000_000;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum State {
        Closed,
        Open,
        HalfOpen,
    }

    #[derive(Debug)]
    pub(super) struct CircuitBreaker {
        pub(super) state: State,
        pub(super) failure_count: u32,
        pub(super) last_failure_time: Option<i64>,
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct CircuitOpenError;

    impl CircuitBreaker {
        pub(super) fn new() -> Self {
            Self {
                state: State::Closed,
                failure_count: 0,
                last_failure_time: None,
            }
        }

        pub(super) fn before_the_call(&mut self, now: i64) -> Result<(), CircuitOpenError> {
            if self.state == State::Open {
                if now - self.last_failure_time.expect("it has failed") > RESET_TIMEOUT {
                    self.state = State::HalfOpen;
                } else {
                    return Err(CircuitOpenError);
                }
            }
            Ok(())
        }

        pub(super) fn a_result(&mut self) {
            if self.state == State::HalfOpen {
                self.state = State::Closed;
                self.failure_count = 0;
            }
        }

        pub(super) fn an_exception(&mut self, now: i64) {
            self.failure_count += 1;
            self.last_failure_time = Some(now);
            if self.failure_count >= THRESHOLD {
                self.state = State::Open;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin,
    /// The n-th of those under way ends.
    End(usize, bool),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Begin),
        4 => (0_usize..8, prop::bool::weighted(0.3)).prop_map(|(n, ok)| Step::End(n, ok)),
        1 => (0_i64..10_000_000).prop_map(Step::Wait),
        1 => (59_999_998_i64..60_000_003).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

fn verdict(is_ok: bool) -> Verdict {
    match is_ok {
        true => Verdict::Answered,
        false => Verdict::Failed,
    }
}

proptest! {
    /// With both departures off it does what is written, whatever overlaps.
    #[test]
    fn without_its_departures_it_is_the_pattern_as_written(steps in steps()) {
        let off = Departures { success_resets: false, one_probe: false };
        let mut ours = Breaker::with(off, RESET);
        let mut written = written::CircuitBreaker::new();
        let mut under_way = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(span) => now += span,
                Step::Begin => {
                    let pass = ours.admit(now);
                    prop_assert_eq!(pass.is_ok(), written.before_the_call(now).is_ok());
                    under_way.extend(pass);
                }
                Step::End(n, is_ok) => {
                    if under_way.is_empty() {
                        continue;
                    }
                    let pass = under_way.remove(n % under_way.len());
                    ours.done(pass, now, verdict(is_ok));
                    match is_ok {
                        true => written.a_result(),
                        false => written.an_exception(now),
                    }
                }
            }
            let state = match written.state {
                written::State::Closed => State::Closed,
                written::State::Open => State::Open,
                written::State::HalfOpen => State::HalfOpen,
            };
            prop_assert_eq!(ours.state(), state);
            prop_assert_eq!(ours.failures(), written.failure_count);
        }
    }

    /// With them: it opens only after five failures in a row, tries with one call at a time, and never stays shut for ever.
    #[test]
    fn it_opens_after_five_in_a_row_and_tries_with_one(steps in steps()) {
        let mut it = Breaker::new(RESET);
        let mut under_way: Vec<Pass> = Vec::new();
        let (mut now, mut in_a_row) = (0, 0);
        for step in steps {
            let before = it.state();
            match step {
                Step::Wait(span) => now += span,
                Step::Begin => under_way.extend(it.admit(now)),
                Step::End(n, is_ok) => {
                    if under_way.is_empty() {
                        continue;
                    }
                    let pass = under_way.remove(n % under_way.len());
                    it.done(pass, now, verdict(is_ok));
                    in_a_row = if is_ok { 0 } else { in_a_row + 1 };
                    if before == State::Closed && it.state() == State::Open {
                        prop_assert!(in_a_row >= THRESHOLD);
                    }
                    if before == State::HalfOpen && it.state() != State::HalfOpen {
                        prop_assert_eq!(pass, Pass::Probe, "only the probe decides");
                    }
                }
            }
            let probes = under_way.iter().filter(|it| **it == Pass::Probe).count();
            prop_assert!(probes <= 1, "{} probes at once", probes);
        }
        for pass in under_way {
            it.gave_up(pass);
        }
        prop_assert!(it.admit(now + micros(RESET) + 1).is_ok());
    }
}

/// The first departure: one failure a day is no outage.
#[test]
fn five_failures_of_a_year_do_not_open_it() {
    let mut it = Breaker::new(RESET);
    for day in 0..365 {
        let now = day * 86_400_000_000;
        for verdict in [Verdict::Failed, Verdict::Answered] {
            let pass = it.admit(now).expect("closed");
            it.done(pass, now, verdict);
        }
    }
    assert_eq!(it.state(), State::Closed);
}

/// The second: a service that comes back is not met by everything that waited.
#[test]
fn half_open_it_lets_one_call_through_and_that_decides() {
    let mut it = opened();
    let now = micros(RESET) + 1;
    assert_eq!(it.admit(now), Ok(Pass::Probe));
    assert_eq!(it.state(), State::HalfOpen);
    assert!(it.admit(now).is_err());
    it.done(Pass::Plain, now, Verdict::Answered);
    assert_eq!(
        it.state(),
        State::HalfOpen,
        "an old call says nothing about now"
    );
    it.done(Pass::Probe, now, Verdict::Failed);
    assert_eq!(it.state(), State::Open);
    assert!(it.admit(now + micros(RESET)).is_err());

    let later = now + micros(RESET) + 1;
    let pass = it.admit(later).expect("a probe");
    it.done(pass, later, Verdict::Answered);
    assert_eq!((it.state(), it.failures()), (State::Closed, 0));
}

#[test]
fn a_probe_that_is_dropped_makes_room_for_another() {
    let mut it = opened();
    let now = micros(RESET) + 1;
    let pass = it.admit(now).expect("a probe");
    it.gave_up(pass);
    assert_eq!(it.admit(now), Ok(Pass::Probe));
}

#[test]
fn a_person_opens_and_closes_it_and_gives_it_back() {
    let mut it = Breaker::new(RESET);
    it.set(Manual::Open);
    assert_eq!(
        (it.admit(0), it.state(), it.retry_at()),
        (Err(None), State::Open, None)
    );
    it.set(Manual::Closed);
    for _ in 0..10 {
        let pass = it.admit(0).expect("closed by hand");
        it.done(pass, 0, Verdict::Failed);
    }
    assert_eq!(it.state(), State::Closed);
    it.set(Manual::Auto);
    assert_eq!((it.state(), it.failures()), (State::Closed, 0));
    assert_eq!(it.admit(0), Ok(Pass::Plain));
}

fn opened() -> Breaker {
    let mut it = Breaker::new(RESET);
    for _ in 0..THRESHOLD {
        let pass = it.admit(0).expect("closed");
        it.done(pass, 0, Verdict::Failed);
    }
    assert_eq!(it.state(), State::Open);
    assert!(it.admit(micros(RESET)).is_err(), "60 s are not over");
    it
}
