//! When something will have happened: a plan is played through some hundred times.

use crate::chance::Chance;
use crate::culprit;
use crate::plan::{Gate, Job, JobId, Plan, StepState};
use dalsegno_scheduler::sla::Culprit;
use dalsegno_scheduler::{Span, StepName, Timestamp};

/// How many times a plan is played. A chance of one half is then off by 25 permille at most, two times out of three.
pub const WORLDS: usize = 400;

/// What is asked about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Started,
    Finished,
    StepStarted(StepName),
    StepFinished(StepName),
}

/// When it will have happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    pub p10: Timestamp,
    pub p50: Timestamp,
    pub p90: Timestamp,
    /// In how many of a thousand cases it happens after the due moment. A lower bound when something is unknown.
    pub chance_permille: u16,
    /// By how much the middle case is late; negative when it is in time.
    pub late_by: Span,
    /// What makes it late most, whether it is late or not.
    pub culprit: Option<Culprit>,
    /// What nobody can know.
    pub unknown: Vec<String>,
}

/// One play: when each job and step began and ended.
pub(crate) struct Played {
    jobs: Vec<PlayedJob>,
}

#[derive(Clone, Default)]
struct PlayedJob {
    started_at: i64,
    ended_at: i64,
    /// The job whose end let it start.
    after: Option<usize>,
    steps: Vec<PlayedStep>,
    last: Option<usize>,
}

#[derive(Clone, Copy, Default)]
struct PlayedStep {
    began_at: i64,
    ended_at: i64,
    after: Option<usize>,
}

impl Plan {
    /// Plays the plan [`WORLDS`] times. The same plan and seed give the same forecast. `None` when the plan has no such
    /// job.
    pub fn forecast(
        &self,
        job: JobId,
        target: &Target,
        due_at: Timestamp,
        seed: u64,
    ) -> Option<Forecast> {
        self.jobs.get(job.0)?;
        let chance = Chance::new(seed);
        let mut blame = culprit::Blame::new(self);
        let mut moments: Vec<i64> = (0..WORLDS)
            .map(|world| {
                let played = self.play(chance.of(world as u64));
                let (at, path) = self.walk(&played, job.0, target);
                blame.add(&path);
                at
            })
            .collect();
        moments.sort_unstable();
        let quantile = |share: f64| {
            let place = (share * WORLDS as f64) as usize;
            Timestamp(moments[place.min(WORLDS - 1)])
        };
        let late = WORLDS - moments.partition_point(|it| *it <= due_at.0);
        let p50 = quantile(0.5);
        let on_the_way = self.upstream(job.0);
        let unknown = on_the_way
            .iter()
            .flat_map(|it| unknown_of(&self.jobs[*it], job.0 == *it));
        Some(Forecast {
            p10: quantile(0.1),
            p50,
            p90: quantile(0.9),
            chance_permille: (late * 1_000 / WORLDS) as u16,
            late_by: p50 - due_at,
            culprit: blame.culprit(),
            unknown: unknown.collect(),
        })
    }

    fn play(&self, chance: Chance) -> Played {
        let mut jobs: Vec<PlayedJob> = Vec::with_capacity(self.jobs.len());
        for (place, job) in self.jobs.iter().enumerate() {
            let played = self.play_job(job, &jobs, chance.of(place as u64));
            jobs.push(played);
        }
        Played { jobs }
    }

    fn play_job(&self, job: &Job, before: &[PlayedJob], chance: Chance) -> PlayedJob {
        let mut played = PlayedJob::default();
        played.started_at = match job.started_at {
            Some(at) => at.0,
            None => {
                let mut at = job.not_before.max(self.now).0;
                for gate in &job.gates {
                    let ends = |it: &JobId| before.get(it.0).map(|job| (job.ended_at, it.0));
                    let open = match gate {
                        Gate::All(jobs) => jobs.iter().filter_map(ends).max(),
                        Gate::Any(jobs) => jobs.iter().filter_map(ends).min(),
                    };
                    if let Some((open, upstream)) = open
                        && open > at
                    {
                        (at, played.after) = (open, Some(upstream));
                    }
                }
                at + waited(job.queue.as_ref().map(|it| it.1), chance.named("queue"))
            }
        };
        played.ended_at = played.started_at.max(self.now.0);
        if job.steps.is_empty() && job.started_at.is_none() {
            // Nothing is known of its inside.
            let usual = job.usual.unwrap_or_default();
            played.ended_at = played.started_at + usual.0;
        }
        for (place, step) in job.steps.iter().enumerate() {
            let chance = chance.of(place as u64);
            let mut own = PlayedStep {
                began_at: played.started_at,
                ..PlayedStep::default()
            };
            let ends = |it: &usize| played.steps.get(*it).map(|step| (step.ended_at, *it));
            if let Some((at, last)) = step.after.iter().filter_map(ends).max() {
                (own.began_at, own.after) = (at.max(own.began_at), Some(last));
            }
            let took = step.durations.as_ref();
            let took = took.map_or(0, |of| of.quantile(chance.unit()).0);
            match step.state {
                StepState::Done { began_at, at } => {
                    (own.began_at, own.ended_at) = (began_at.0, at.0);
                }
                StepState::Running { since } => {
                    own.began_at = since.0;
                    own.ended_at = (since.0 + took).max(self.now.0);
                }
                StepState::Retrying { at } => {
                    own.began_at = own.began_at.max(at.0).max(self.now.0);
                    own.ended_at = own.began_at + took;
                }
                StepState::Ahead => {
                    let wait = waited(step.queue.as_ref().map(|it| it.1), chance.named("queue"));
                    own.began_at = own.began_at.max(self.now.0) + wait;
                    own.ended_at = own.began_at + took;
                }
            }
            played.steps.push(own);
            if own.ended_at >= played.ended_at {
                (played.ended_at, played.last) = (own.ended_at, Some(place));
            }
        }
        played
    }

    /// When it happens in that play, and the chain of jobs and steps that made it so late, last first.
    fn walk(
        &self,
        played: &Played,
        job: usize,
        target: &Target,
    ) -> (i64, Vec<(usize, Option<usize>)>) {
        let own = &played.jobs[job];
        let place = |name: &StepName| self.jobs[job].steps.iter().position(|it| it.name == *name);
        let (at, mut step) = match target {
            Target::Started => (own.started_at, None),
            Target::Finished => (own.ended_at, own.last),
            Target::StepStarted(name) => match place(name) {
                Some(it) => (own.steps[it].began_at, own.steps[it].after),
                None => (own.started_at, None),
            },
            Target::StepFinished(name) => match place(name) {
                Some(it) => (own.steps[it].ended_at, Some(it)),
                None => (own.ended_at, own.last),
            },
        };
        let (mut path, mut job) = (Vec::new(), Some(job));
        while let Some(of) = job {
            while let Some(it) = step {
                path.push((of, Some(it)));
                step = played.jobs[of].steps[it].after;
            }
            path.push((of, None));
            job = played.jobs[of].after;
            step = job.and_then(|it| played.jobs[it].last);
        }
        (at, path)
    }

    /// The job and all that it waits for.
    fn upstream(&self, job: usize) -> Vec<usize> {
        let (mut found, mut todo) = (vec![job], vec![job]);
        while let Some(next) = todo.pop() {
            for gate in &self.jobs[next].gates {
                let (Gate::All(jobs) | Gate::Any(jobs)) = gate;
                for JobId(it) in jobs.iter().copied() {
                    if it < self.jobs.len() && !found.contains(&it) {
                        found.push(it);
                        todo.push(it);
                    }
                }
            }
        }
        found
    }
}

/// A wait that the queue of now suggests: from half as long to once more as long.
fn waited(wait: Option<Span>, chance: Chance) -> i64 {
    let wait = wait.unwrap_or_default().0;
    // 0.5 to 2, as often below 1 as above.
    let factor = 4_f64.powf(chance.unit() - 0.5);
    (wait as f64 * factor) as i64
}

fn unknown_of(job: &Job, is_own: bool) -> impl Iterator<Item = String> + '_ {
    let lacks = |it: &&crate::plan::Step| {
        it.durations.is_none() && !matches!(it.state, StepState::Done { .. })
    };
    let steps = job.steps.iter().filter(lacks).map(move |it| match is_own {
        true => format!("step {} has never succeeded before", it.name),
        false => format!(
            "step {} of {} has never succeeded before",
            it.name, job.flow
        ),
    });
    job.unknown.iter().cloned().chain(steps)
}
