//! How long an answer is waited for: longer where a service has become slow, so that slow is not taken for dead.

use super::api::{Api, Pool};
use std::collections::VecDeque;
use std::time::Duration;

/// So many of the last calls are looked at.
const RECENT: usize = 128;
/// Fewer say nothing.
const ENOUGH: usize = 5;

/// What the last calls of one API took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    recent: VecDeque<Duration>,
}

impl Patience {
    /// A call that was given up took at least its limit: that counts as well.
    pub(crate) fn note(&mut self, took: Duration) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
    }

    /// What is set, or three times what 95 of 100 calls stay below if that is more, but not beyond a bound.
    pub(crate) fn limit(&self, api: Api) -> Duration {
        let (set, most) = bounds(api);
        let slow = self.p95().map_or(Duration::ZERO, |it| it * 3);
        slow.clamp(set, most)
    }

    fn p95(&self) -> Option<Duration> {
        if self.recent.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100);
        sorted.get(rank - 1).copied()
    }
}

/// The time limit as long as a service is quick, and the longest.
pub(crate) const fn bounds(api: Api) -> (Duration, Duration) {
    let seconds = Duration::from_secs;
    match (api, api.pool()) {
        // Its long poll alone takes 20 s.
        (Api::Sqs, _) => (seconds(40), seconds(120)),
        (_, Pool::Artifact) => (seconds(60), seconds(900)),
        (_, Pool::Metadata) => (seconds(10), seconds(120)),
        (_, Pool::Compute) => (seconds(30), seconds(120)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_becomes_slow_is_given_more_time_up_to_a_bound() {
        let mut it = Patience::default();
        assert_eq!(it.limit(Api::S3Get), Duration::from_secs(60));
        let mut limits = Vec::new();
        for seconds in [1, 20, 40, 60, 120, 400] {
            for _ in 0..RECENT {
                it.note(Duration::from_secs(seconds));
            }
            limits.push(it.limit(Api::S3Get).as_secs());
        }
        assert_eq!(limits, [60, 60, 120, 180, 360, 900]);
        for _ in 0..RECENT {
            it.note(Duration::from_millis(80));
        }
        assert_eq!(it.limit(Api::S3Get), Duration::from_secs(60), "quick again");
    }

    #[test]
    fn one_slow_call_among_many_changes_nothing() {
        let mut it = Patience::default();
        for _ in 0..99 {
            it.note(Duration::from_millis(50));
        }
        it.note(Duration::from_secs(50));
        assert_eq!(it.limit(Api::DescribeJobs), Duration::from_secs(30));
    }
}
