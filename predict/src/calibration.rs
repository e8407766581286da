//! How good predictions are: histories are made up, and each day is predicted from the days before it.

use crate::chance::Chance;
use crate::forecast::Target;
use crate::history::{History, Sample};
use crate::plan::{Gate, Job, JobId, Plan, Step, StepState};
use dalsegno_scheduler::{Span, Timestamp};

/// What the durations of a made-up world do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They vary, and that is all.
    Steady,
    /// They grow by a percent a day.
    Drift,
    /// Mondays take nearly twice as long.
    Weekdays,
    /// One in twenty takes three times as long.
    Outliers,
    /// All of that at the same time.
    All,
}

impl Weather {
    pub const ALL: [Self; 5] = [
        Self::Steady,
        Self::Drift,
        Self::Weekdays,
        Self::Outliers,
        Self::All,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Drift => "drift",
            Self::Weekdays => "weekdays",
            Self::Outliers => "outliers",
            Self::All => "all of them",
        }
    }
}

/// How often what happened was at most what was predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub predictions: u32,
    /// Of a thousand, those that ended by the moment of which it was said that half of them would.
    pub half: u32,
    /// The same for nine in ten.
    pub most: u32,
}

/// Days before the first prediction counts.
const LEARNING: usize = 14;
const DAYS: usize = 90;
/// Flows one after another, each with this many steps, of which the last two run side by side.
const FLOWS: usize = 3;
const STEPS: usize = 3;

/// Predicts the end of the last of three flows that follow one another, each day at midnight, when nothing has begun,
/// and once while the second one runs; over that many made-up installations.
pub fn calibrate(weather: Weather, installations: u64, seed: u64) -> Coverage {
    let (mut count, mut half, mut most) = (0, 0, 0);
    for installation in 0..installations {
        let chance = Chance::new(seed).named(weather.as_str()).of(installation);
        let mut past: Vec<Vec<Sample>> = vec![Vec::new(); FLOWS * STEPS];
        for day in 0..DAYS {
            let world = Day::made_up(weather, chance, day);
            if day >= LEARNING {
                let histories: Vec<History> = past.iter().cloned().map(History::new).collect();
                let ends = world.ends();
                for now in [world.midnight, world.half_way()] {
                    let plan = world.plan(&histories, now);
                    let last = JobId(FLOWS - 1);
                    let seed = day as u64;
                    let forecast = plan
                        .forecast(last, &Target::Finished, now, seed)
                        .expect("the plan has that job");
                    count += 1;
                    half += u32::from(ends <= forecast.p50);
                    most += u32::from(ends <= forecast.p90);
                }
            }
            for (place, sample) in world.samples().into_iter().enumerate() {
                past[place].push(sample);
            }
        }
    }
    Coverage {
        predictions: count,
        half: half * 1_000 / count.max(1),
        most: most * 1_000 / count.max(1),
    }
}

/// What really happens on one day.
struct Day {
    midnight: Timestamp,
    /// Of each step of each flow.
    took: Vec<Span>,
}

impl Day {
    fn made_up(weather: Weather, chance: Chance, day: usize) -> Self {
        let has = |it: Weather| weather == it || weather == Weather::All;
        let midnight = Timestamp::from_secs(1_790_000_000 / 86_400 * 86_400 + day as i64 * 86_400);
        let took = (0..FLOWS * STEPS).map(|step| {
            let step_chance = chance.of(step as u64);
            let usual = 300.0 * 12_f64.powf(step_chance.named("usual").unit());
            let spread = 0.05 + 0.25 * step_chance.named("spread").unit();
            let own = step_chance.of(day as u64);
            let normal = (-2.0 * own.named("a").unit().ln()).sqrt()
                * (std::f64::consts::TAU * own.named("b").unit()).cos();
            let mut secs = usual * (spread * normal).exp();
            if has(Weather::Drift) {
                secs *= 1.01_f64.powf(day as f64);
            }
            if has(Weather::Weekdays) && day % 7 == 4 {
                secs *= 1.8;
            }
            if has(Weather::Outliers) && own.named("outlier").unit() < 0.05 {
                secs *= 3.0;
            }
            Span((secs * 1e6) as i64)
        });
        Self {
            midnight,
            took: took.collect(),
        }
    }

    fn took(&self, flow: usize, step: usize) -> Span {
        self.took[flow * STEPS + step]
    }

    /// The first step, then the others side by side.
    fn length(&self, flow: usize) -> Span {
        let others = (1..STEPS).map(|it| self.took(flow, it).0).max();
        Span(self.took(flow, 0).0 + others.unwrap_or_default())
    }

    fn starts(&self, flow: usize) -> Timestamp {
        (0..flow).fold(self.midnight, |at, it| at + self.length(it))
    }

    fn ends(&self) -> Timestamp {
        self.starts(FLOWS)
    }

    fn began(&self, flow: usize, step: usize) -> Timestamp {
        match step {
            0 => self.starts(flow),
            _ => self.starts(flow) + self.took(flow, 0),
        }
    }

    /// In the middle of the second flow's first step.
    fn half_way(&self) -> Timestamp {
        self.starts(1) + Span(self.took(1, 0).0 / 2)
    }

    fn samples(&self) -> Vec<Sample> {
        let all = (0..FLOWS).flat_map(|flow| (0..STEPS).map(move |step| (flow, step)));
        all.map(|(flow, step)| Sample {
            began_at: self.began(flow, step),
            took: self.took(flow, step),
        })
        .collect()
    }

    /// The day as far as it is known at some moment of it.
    fn plan(&self, histories: &[History], now: Timestamp) -> Plan {
        let jobs = (0..FLOWS).map(|flow| {
            let started_at = Some(self.starts(flow)).filter(|it| *it < now);
            let steps = (0..STEPS).map(|step| {
                let (began_at, took) = (self.began(flow, step), self.took(flow, step));
                let durations = histories[flow * STEPS + step].durations(self.midnight);
                let (state, durations) = match () {
                    () if began_at + took <= now => {
                        let at = began_at + took;
                        (StepState::Done { began_at, at }, durations)
                    }
                    () if began_at < now => {
                        let durations = durations.map(|it| it.beyond(now - began_at));
                        (StepState::Running { since: began_at }, durations)
                    }
                    () => (StepState::Ahead, durations),
                };
                Step {
                    name: format!("step{step}").as_str().into(),
                    after: if step == 0 { Vec::new() } else { vec![0] },
                    state,
                    durations,
                    usual: None,
                    queue: None,
                }
            });
            Job {
                flow: format!("flow{flow}").as_str().into(),
                owner: None,
                run: None,
                started_at,
                not_before: self.midnight,
                gates: (flow > 0)
                    .then(|| Gate::All(vec![JobId(flow - 1)]))
                    .into_iter()
                    .collect(),
                queue: None,
                steps: steps.collect(),
                usual: None,
                unknown: Vec::new(),
            }
        });
        Plan {
            now,
            jobs: jobs.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_in_ten_predictions_of_nine_in_ten_hold() {
        let threads = Weather::ALL.map(|weather| {
            (
                weather,
                std::thread::spawn(move || calibrate(weather, 3, 1)),
            )
        });
        for (weather, thread) in threads {
            let it = thread.join().expect("it calibrates");
            println!("{:<12} {it:?}", weather.as_str());
            assert!(it.predictions > 400, "{it:?}");
            assert!((860..=945).contains(&it.most), "{weather:?}: {it:?}");
            assert!((450..=640).contains(&it.half), "{weather:?}: {it:?}");
        }
    }
}
