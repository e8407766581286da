//! How long to wait before something is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest wait before a repetition.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// 1 s, doubled each time up to 300 s, a tenth more or less.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait: not shorter than what a service asked for, which counts up to 300 s.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let own = swung(plain(self.tries), RandomState::new().hash_one(self.tries));
        self.tries = self.tries.saturating_add(1);
        own.max(asked.unwrap_or_default().min(LONGEST))
    }

    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Without jitter.
fn plain(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.min(9)).min(LONGEST)
}

/// Times 0.9 to 1.1, by `dice`.
fn swung(wait: Duration, dice: u64) -> Duration {
    let per_mille = u32::try_from(900 + dice % 201).expect("at most 1,100");
    wait * per_mille / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_one_second_to_five_minutes() {
        let waits: Vec<u64> = (0..11).map(|it| plain(it).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn it_swings_by_a_tenth_and_waits_as_long_as_it_was_asked_to() {
        let waits: Vec<Duration> = (0..201).map(|it| swung(LONGEST, it)).collect();
        assert_eq!(waits.first(), Some(&Duration::from_secs(270)));
        assert_eq!(waits.last(), Some(&Duration::from_secs(330)));
        let mut it = Backoff::default();
        assert_eq!(
            it.next(Some(Duration::from_secs(17))),
            Duration::from_secs(17)
        );
        assert_eq!(it.next(Some(Duration::from_secs(86_400))), LONGEST);
        it.reset();
        assert!(it.next(None) <= Duration::from_millis(1_100));
    }
}
