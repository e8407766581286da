//! When a failed delivery is tried again.

use dalsegno_scheduler::Span;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What Standard Webhooks recommends: the waits after the first, second … failure, in seconds. After the last one a
/// delivery is dead: three days and a bit after the first try.
const WAITS_S: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// An endpoint that asks for more patience than this is not obeyed beyond it.
pub(crate) const RETRY_AFTER_MAX: Span = Span::from_secs(86_400);

/// How often a delivery is tried in all.
pub const TRIES_MAX: u32 = WAITS_S.len() as u32 + 1;

/// How long to wait after so many failures (1 or more); `None`: no more. The endpoint may ask for a longer wait, never for a
/// shorter one. `jitter` is 0 to 1000 and moves the wait by up to a tenth either way.
pub fn wait_after(failures: u32, asked: Option<Span>, jitter: u16) -> Option<Span> {
    let seconds = WAITS_S.get(failures.checked_sub(1)? as usize)?;
    let permille = 900 + i64::from(jitter.min(1_000)) / 5;
    let own = Span(seconds * 1_000 * permille);
    Some(asked.map_or(own, |asked| asked.min(RETRY_AFTER_MAX).max(own)))
}

/// 0 to 1000, another each time: the hasher's keys are random. What waits together is not to knock together.
pub(crate) fn jitter() -> u16 {
    (RandomState::new().build_hasher().finish() % 1_001) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_those_of_the_specification_and_end() {
        let seconds = |failures| wait_after(failures, None, 500).map(|it| it.0 / 1_000_000);
        let waits: Vec<_> = (1..=10).map(seconds).collect();
        let expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Some);
        assert_eq!(waits[..9], expected);
        assert_eq!((waits[9], TRIES_MAX, seconds(0)), (None, 10, None));
    }

    #[test]
    fn jitter_is_a_tenth_either_way_and_differs() {
        assert_eq!(wait_after(2, None, 0), Some(Span::from_secs(270)));
        assert_eq!(wait_after(2, None, 1_000), Some(Span::from_secs(330)));
        let first = jitter();
        assert!((0..1_000).any(|_| jitter() != first));
        assert!((0..1_000).all(|_| jitter() <= 1_000));
    }

    #[test]
    fn an_endpoint_may_ask_for_a_longer_wait_within_reason() {
        let wait = |asked| wait_after(1, Some(Span::from_secs(asked)), 500).expect("more tries");
        assert_eq!(wait(1), Span::from_secs(5));
        assert_eq!(wait(60), Span::from_secs(60));
        assert_eq!(wait(10_000_000), RETRY_AFTER_MAX);
    }
}
