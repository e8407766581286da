//! Whose submission is next: one of each run in turn, and the many of one run never take all there is.

use dalsegno_scheduler::{ArrayPlace, AttemptId, RunId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// A run that has more than this waiting is a crowd.
const CROWD: usize = 32;

/// Crowds get this much of all submissions, in hundredths.
const CROWD_SHARE: u32 = 90;

/// What is submitted by one request: an attempt, or the members of an array.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) members: Vec<AttemptId>,
    pub(crate) array: Option<ArrayPlace>,
}

impl Unit {
    pub(crate) fn single(attempt: AttemptId) -> Self {
        Self {
            members: vec![attempt],
            array: None,
        }
    }

    fn run(&self) -> RunId {
        self.members.first().map_or(RunId(0), |it| it.run)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Fair {
    runs: BTreeMap<RunId, VecDeque<Unit>>,
    turns: VecDeque<RunId>,
    /// Between two submissions of crowds; zero: no limit.
    spacing: Duration,
    crowd_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum Next {
    Unit(Unit),
    /// There are only crowds, and they have had theirs.
    At(Instant),
    Nothing,
}

impl Fair {
    pub(crate) fn new(submissions_per_minute: u32) -> Self {
        let share = submissions_per_minute * CROWD_SHARE / 100;
        Self {
            spacing: Duration::from_secs(60)
                .checked_div(share)
                .unwrap_or_default(),
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, unit: Unit) {
        self.of_run(unit.run()).push_back(unit);
    }

    /// It was on its way and could not go.
    pub(crate) fn push_front(&mut self, unit: Unit) {
        self.of_run(unit.run()).push_front(unit);
    }

    fn of_run(&mut self, run: RunId) -> &mut VecDeque<Unit> {
        if !self.runs.contains_key(&run) {
            self.turns.push_back(run);
        }
        self.runs.entry(run).or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Next {
        for _ in 0..self.turns.len() {
            let Some(run) = self.turns.pop_front() else {
                return Next::Nothing;
            };
            let waiting = self.runs.get_mut(&run);
            let Some(waiting) = waiting.filter(|it| !it.is_empty()) else {
                self.runs.remove(&run);
                continue;
            };
            let is_crowd = waiting.len() > CROWD;
            if is_crowd && self.crowd_at.is_some_and(|at| now < at) {
                self.turns.push_back(run);
                continue;
            }
            let unit = waiting.pop_front();
            if waiting.is_empty() {
                self.runs.remove(&run);
            } else {
                self.turns.push_back(run);
            }
            if is_crowd && !self.spacing.is_zero() {
                self.crowd_at = Some(now + self.spacing);
            }
            if let Some(unit) = unit {
                return Next::Unit(unit);
            }
        }
        match self.crowd_at {
            Some(at) if !self.turns.is_empty() => Next::At(at),
            _ => Next::Nothing,
        }
    }

    /// Takes an attempt out that is its own job. `false`: it is not there.
    pub(crate) fn remove(&mut self, attempt: &AttemptId) -> bool {
        let Some(waiting) = self.runs.get_mut(&attempt.run) else {
            return false;
        };
        // Who stops a run stops its attempts in the order in which they came: the first is near the front.
        let place = waiting
            .iter()
            .position(|it| it.array.is_none() && it.members.first() == Some(attempt));
        place.is_some_and(|it| waiting.remove(it).is_some())
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.turns.clear();
    }

    /// All that waits.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &AttemptId> {
        let units = self.runs.values().flatten();
        units.flat_map(|it| it.members.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit::single(text.parse().expect("an attempt"))
    }

    fn text(next: Next) -> String {
        match next {
            Next::Unit(unit) => unit.members[0].to_string(),
            Next::At(_) => "later".into(),
            Next::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn runs_take_turns() {
        let mut fair = Fair::new(1_000);
        for it in ["1/a/1", "1/b/1", "1/c/1", "2/a/1"] {
            fair.push(unit(it));
        }
        let now = Instant::now();
        let order: Vec<_> = (0..5).map(|_| text(fair.pop(now))).collect();
        assert_eq!(order, ["1/a/1", "2/a/1", "1/b/1", "1/c/1", "nothing"]);
        assert!(fair.is_empty());
    }

    #[test]
    fn a_crowd_leaves_a_tenth_to_the_others() {
        let mut fair = Fair::new(1_000);
        for number in 0..2_000 {
            fair.push(unit(&format!("1/a[{number}]/1")));
        }
        let start = Instant::now();
        let mut given = 0;
        for millis in (0..60_000).step_by(10) {
            if let Next::Unit(_) = fair.pop(start + Duration::from_millis(millis)) {
                given += 1;
            }
        }
        assert!((850..=900).contains(&given), "{given} in a minute");
        let now = start + Duration::from_secs(60);
        text(fair.pop(now));
        assert_eq!(text(fair.pop(now)), "later");
        fair.push(unit("2/a/1"));
        assert_eq!(text(fair.pop(now)), "2/a/1");
        assert!(fair.remove(&"1/a[1999]/1".parse().expect("an attempt")));
    }
}
