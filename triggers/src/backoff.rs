//! Waits between tries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubling waits with a tenth of jitter either way, so that many instances do not knock together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            tries: 0,
        }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        // Beyond this even a millisecond is longer than any limit.
        let factor = 1_u32 << self.tries.min(24);
        self.tries += 1;
        let wait = self.first.saturating_mul(factor).min(self.most);
        wait.mul_f64(0.9 + 0.2 * fraction())
    }

    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// 0 to 1, another each time: the hasher's keys are random.
fn fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let mut seconds = || backoff.next().as_secs_f64();
        for expected in [
            1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0,
        ] {
            let wait = seconds();
            assert!(
                (expected * 0.9..=expected * 1.1).contains(&wait),
                "{wait} for {expected}"
            );
        }
        for _ in 0..100 {
            seconds();
        }
        backoff.reset();
        assert!(backoff.next().as_secs_f64() <= 1.1);
    }
}
