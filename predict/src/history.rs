//! How long something takes: from how long it took.
//!
//! Each past duration is first predicted from those before it; how far that was off is what the next prediction may be
//! off. So drift, effects of the weekday and outliers widen or shift a prediction by as much as they did before.

use dalsegno_scheduler::{FlowName, RunId, Span, StepName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Older durations are forgotten.
pub const SAMPLES_MAX: usize = 60;

/// A past duration counts half as much for the level when so many newer ones are known.
const LEVEL_HALF_LIFE: f64 = 5.0;
/// The same for the spread, which needs more of them.
const SPREAD_HALF_LIFE: f64 = 25.0;
/// With fewer predictions of the past than this, some are made up: each off by as much as steps often are.
const ERRORS_WANTED: usize = 6;
/// In natural logarithms: from half as long to three times as long.
const MADE_UP_ERRORS: [f64; 6] = [-0.6, -0.2, -0.05, 0.1, 0.35, 1.1];
/// Longer than ever before: so many times the longest.
const BEYOND: [f64; 4] = [1.03, 1.15, 1.4, 2.0];
/// How much they weigh together, where a sample weighs 1. With more, predictions of runs with several steps hold too
/// often; with less, too rarely: see `calibration.rs`.
const BEYOND_WEIGHT: f64 = 0.15;

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub began_at: Timestamp,
    pub took: Span,
}

/// The tasks of one step in one run that succeeded, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    pub flow: FlowName,
    pub run: RunId,
    /// Of the run.
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub step: StepName,
    pub tasks: u32,
    /// When the first of them was submitted, and when the last ended.
    pub from: Timestamp,
    pub to: Timestamp,
    /// From submission to end, of one task, on average.
    pub of_one: Span,
}

/// What is known of all flows and steps.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    flows: BTreeMap<FlowName, OfFlow>,
}

#[derive(Clone, Debug, Default)]
struct OfFlow {
    /// From a run's start to its end.
    run: History,
    steps: BTreeMap<StepName, OfStep>,
}

#[derive(Clone, Debug, Default)]
struct OfStep {
    /// From the first submission of the step's tasks to the end of the last.
    whole: History,
    /// Of one task, from its submission to its end.
    task: History,
}

impl OfFlow {
    fn new(times: &[&StepTime]) -> Self {
        let mut runs: BTreeMap<RunId, Sample> = BTreeMap::new();
        let mut steps: BTreeMap<StepName, (Vec<Sample>, Vec<Sample>)> = BTreeMap::new();
        for it in times {
            let (began_at, took) = (it.started_at, it.finished_at - it.started_at);
            runs.insert(it.run, Sample { began_at, took });
            let (whole, task) = steps.entry(it.step.clone()).or_default();
            let began_at = it.from;
            let took = it.to - it.from;
            whole.push(Sample { began_at, took });
            let took = it.of_one;
            task.push(Sample { began_at, took });
        }
        let steps = steps.into_iter().map(|(step, (whole, task))| {
            let (whole, task) = (History::new(whole), History::new(task));
            (step, OfStep { whole, task })
        });
        Self {
            run: History::new(runs.into_values().collect()),
            steps: steps.collect(),
        }
    }
}

impl Histories {
    pub fn new(times: &[StepTime]) -> Self {
        let mut of: BTreeMap<&FlowName, Vec<&StepTime>> = BTreeMap::new();
        for it in times {
            of.entry(&it.flow).or_default().push(it);
        }
        let flows = of.into_iter();
        Self {
            flows: flows
                .map(|(flow, times)| (flow.clone(), OfFlow::new(&times)))
                .collect(),
        }
    }

    /// Replaces what is known of the flows of `newer`.
    pub fn renew(&mut self, newer: Self) {
        self.flows.extend(newer.flows);
    }

    pub fn run(&self, flow: &FlowName) -> Option<&History> {
        self.flows.get(flow).map(|it| &it.run)
    }
    pub fn step(&self, flow: &FlowName, step: &StepName) -> Option<&History> {
        let step = self.flows.get(flow)?.steps.get(step)?;
        Some(&step.whole)
    }
    pub fn task(&self, flow: &FlowName, step: &StepName) -> Option<&History> {
        let step = self.flows.get(flow)?.steps.get(step)?;
        Some(&step.task)
    }
}

/// The past durations of one thing.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Oldest first.
    samples: Vec<Sample>,
    /// By how much each was off from what the ones before it said; in logarithms, `None` for the first.
    errors: Vec<Option<f64>>,
    /// The same when the weekday is counted.
    weekday_errors: Vec<Option<f64>>,
    by_weekday: bool,
}

impl History {
    /// In any order; only the newest [`SAMPLES_MAX`] count.
    pub fn new(mut samples: Vec<Sample>) -> Self {
        samples.sort_by_key(|it| (it.began_at, it.took));
        let old = samples.len().saturating_sub(SAMPLES_MAX);
        samples.drain(..old);
        let mut history = Self {
            samples,
            ..Self::default()
        };
        for place in 0..history.samples.len() {
            let (level, at) = (history.level(place), history.samples[place].began_at);
            let error = level.map(|it| history.log(place) - it);
            // Before the error itself is known.
            let shift = history.weekday_shift(at);
            history.errors.push(error);
            let of_weekday = error.zip(shift).map(|(error, shift)| error - shift);
            history.weekday_errors.push(of_weekday);
        }
        history.by_weekday = history.weekday_is_better();
        history
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How long it takes as a rule; `None` when it never was.
    pub fn usual(&self) -> Option<Span> {
        Some(of_log(self.level(self.samples.len())?))
    }

    /// How long one takes that begins at this moment; `None` when there never was one.
    pub fn durations(&self, began_at: Timestamp) -> Option<Durations> {
        let count = self.samples.len();
        let mut level = self.level(count)?;
        let mut errors = &self.errors;
        if self.by_weekday
            && let Some(shift) = self.weekday_shift(began_at)
        {
            level += shift;
            errors = &self.weekday_errors;
        }
        let weight = |age: usize| 0.5_f64.powf(age as f64 / SPREAD_HALF_LIFE);
        let errors = errors.iter().enumerate();
        let known =
            errors.filter_map(|(place, error)| Some(((*error)?, weight(count - 1 - place))));
        let mut atoms: Vec<(f64, f64)> = known.collect();
        let lacking = ERRORS_WANTED.saturating_sub(atoms.len()) as f64;
        if lacking > 0.0 {
            let weight = lacking / MADE_UP_ERRORS.len() as f64;
            atoms.extend(MADE_UP_ERRORS.map(|error| (error, weight)));
        }
        let longest = atoms.iter().map(|it| it.0).fold(f64::MIN, f64::max);
        let each = BEYOND_WEIGHT / BEYOND.len() as f64;
        let beyond = BEYOND.map(|it| (longest + it.ln(), each));
        atoms.extend(beyond);
        let atoms = atoms
            .into_iter()
            .map(|(error, weight)| (of_log(level + error), weight));
        Some(Durations::new(atoms.collect()))
    }

    fn log(&self, place: usize) -> f64 {
        // Less than a millisecond is not told apart.
        (self.samples[place].took.0.max(1_000) as f64).ln()
    }

    /// The level before that place: a middle in which newer ones count more.
    fn level(&self, place: usize) -> Option<f64> {
        let weighted = (0..place).map(|it| {
            let age = (place - 1 - it) as f64;
            (self.log(it), 0.5_f64.powf(age / LEVEL_HALF_LIFE))
        });
        middle(weighted.collect())
    }

    /// By how much the last of this weekday (in UTC) were off, made smaller while they are few.
    fn weekday_shift(&self, at: Timestamp) -> Option<f64> {
        const LAST: usize = 4;
        let same = |place: &usize| day_of_week(self.samples[*place].began_at) == day_of_week(at);
        let places = (0..self.errors.len()).rev().filter(same);
        let errors = places.filter_map(|place| Some((self.errors[place]?, 1.0)));
        let errors: Vec<(f64, f64)> = errors.take(LAST).collect();
        let count = errors.len() as f64;
        if count < 2.0 {
            return None;
        }
        Some(middle(errors)? * count / (count + 0.5))
    }

    /// Whether counting the weekday would have been better in hindsight.
    fn weekday_is_better(&self) -> bool {
        let both = self.errors.iter().zip(&self.weekday_errors);
        let both: Vec<(f64, f64)> = both
            .filter_map(|(plain, of_weekday)| Some(((*plain)?, (*of_weekday)?)))
            .collect();
        let sum = |of: fn(&(f64, f64)) -> f64| both.iter().map(|it| of(it).abs().min(1.0)).sum();
        let (plain, of_weekday): (f64, f64) = (sum(|it| it.0), sum(|it| it.1));
        both.len() >= 7 && of_weekday < 0.85 * plain
    }
}

/// How long something takes, with the chance of each length.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    /// Shortest first, with the share of all that lies below its middle, from 0 to 1.
    atoms: Vec<(f64, f64, f64)>,
}

impl Durations {
    fn new(mut atoms: Vec<(Span, f64)>) -> Self {
        atoms.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let total: f64 = atoms.iter().map(|it| it.1).sum();
        let mut below = 0.0;
        let placed = atoms.into_iter().map(|(span, weight)| {
            let at = (below + weight / 2.0) / total;
            below += weight;
            (span.0 as f64, weight, at)
        });
        Self {
            atoms: placed.collect(),
        }
    }

    /// Always this long.
    pub fn exactly(span: Span) -> Self {
        Self::new(vec![(span, 1.0)])
    }

    /// The length that it exceeds with a chance of `1 - share`; `share` from 0 to 1.
    pub fn quantile(&self, share: f64) -> Span {
        let next = self.atoms.partition_point(|it| it.2 < share);
        let last = self.atoms.len() - 1;
        let (after, before) = (&self.atoms[next.min(last)], &self.atoms[next.max(1) - 1]);
        let width = after.2 - before.2;
        let part = match width > 0.0 {
            true => ((share - before.2) / width).clamp(0.0, 1.0),
            false => 0.0,
        };
        Span((before.0 + (after.0 - before.0) * part) as i64)
    }

    /// Of all lengths those that are longer than this: what is left to expect of something that has taken so long
    /// already. Lengths stay counted from its beginning.
    pub fn beyond(&self, elapsed: Span) -> Self {
        let elapsed = elapsed.0 as f64;
        let longer = self.atoms.iter().filter(|it| it.0 > elapsed);
        let mut atoms: Vec<(Span, f64)> = longer.map(|it| (Span(it.0 as i64), it.1)).collect();
        let weight: f64 = atoms.iter().map(|it| it.1).sum();
        if weight < 1.0 {
            // Hardly anything ever took so long, so the past says little of when it ends.
            let lacking = (1.0 - weight) / BEYOND.len() as f64;
            atoms.extend(BEYOND.map(|it| (Span((elapsed * it) as i64), lacking)));
        }
        Self::new(atoms)
    }
}

fn of_log(log: f64) -> Span {
    // A thousand years are enough, and a millisecond is no difference.
    Span((log.exp().min(3.2e16) / 1e3).round() as i64 * 1_000)
}

/// The weighted median.
fn middle(mut weighted: Vec<(f64, f64)>) -> Option<f64> {
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = weighted.iter().map(|it| it.1).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (place, (value, weight)) in weighted.iter().enumerate() {
        below += weight;
        if below > half {
            return Some(*value);
        }
        if below == half {
            let next = weighted.get(place + 1).map_or(*value, |it| it.0);
            return Some(f64::midpoint(*value, next));
        }
    }
    None
}

fn day_of_week(at: Timestamp) -> i64 {
    at.0.div_euclid(86_400_000_000).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(minutes: &[i64]) -> History {
        let samples = minutes.iter().enumerate().map(|(day, minutes)| Sample {
            began_at: Timestamp::from_secs(1_790_000_000 + day as i64 * 86_400),
            took: Span::from_mins(*minutes),
        });
        History::new(samples.collect())
    }

    fn next(history: &History) -> Durations {
        let last = history.samples.last().expect("there is one").began_at;
        let durations = history.durations(last + Span::from_mins(24 * 60));
        durations.expect("there were some")
    }

    fn minutes(durations: &Durations) -> [i64; 3] {
        [0.1, 0.5, 0.9].map(|it| durations.quantile(it).0 / 60_000_000)
    }

    #[test]
    fn few_samples_make_a_wide_prediction_and_many_a_narrow_one() {
        assert!(History::default().durations(Timestamp(0)).is_none());
        let width = |count: usize| {
            let [low, _, high] = minutes(&next(&history(&vec![100; count])));
            high - low
        };
        let widths = [1, 3, 20].map(width);
        assert!(widths[0] > 100 && widths[0] >= widths[1], "{widths:?}");
        assert!(widths[2] < 10, "{widths:?}");
    }

    #[test]
    fn the_newest_count_most() {
        let mut past = vec![60; 20];
        past.extend([120; 8]);
        assert_eq!(
            history(&past).usual().map(|it| it.0 / 60_000_000),
            Some(120)
        );
    }

    #[test]
    fn a_long_monday_is_expected_on_mondays_only() {
        let past: Vec<i64> = (0..42)
            .map(|day| if day % 7 == 0 { 180 } else { 60 })
            .collect();
        // The 43rd day is like the first.
        let monday = minutes(&next(&history(&past)))[1];
        assert!((150..190).contains(&monday), "{monday}");
        let longer: Vec<i64> = past.iter().copied().chain([180]).collect();
        let tuesday = minutes(&next(&history(&longer)))[1];
        assert!((55..66).contains(&tuesday), "{tuesday}");
    }

    #[test]
    fn what_has_taken_long_already_takes_longer() {
        let durations = next(&history(&[60; 20]));
        let half_way = durations.beyond(Span::from_mins(30));
        assert_eq!(minutes(&half_way), minutes(&durations));
        let [low, middle, high] = minutes(&durations.beyond(Span::from_mins(120)));
        assert!(
            low > 120 && middle > 125 && high > 150,
            "{low} {middle} {high}"
        );
    }
}
