//! (f) 100,000 live tasks: what each takes in memory, and what an input costs beside 100 live tasks.
//!
//! Through the core alone: this is about its data structures. Every input is decided, finished and installed
//! as the engine does, which also keeps a copy of the state for readers.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::inside::start;
use crate::memory::resident_bytes;
use crate::shuffle::Dice;
use crate::{floors, flows, place};
use anyhow::Result;
use dalsegno_scheduler::{
    AttemptId, Command, Config, Input, Outcome, Report, Scheduler, Success, Timestamp,
};
use std::time::Instant;

/// Items of each run's fan-out, and steps of each item's chain: enough that no chain ends while we measure.
const WIDTH: usize = 100;
const LENGTH: usize = 300;
const BATCH: usize = 50;
const INPUTS: usize = 100 * BATCH;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let many = effort.pick(100_000, 10_000);
    // Warms the allocator and the code, and is measured twice to see how much both differ by chance.
    let few = World::with(100).costs();
    let small = World::with(100).costs();
    let before = resident_bytes();
    let mut world = World::with(many);
    let bytes = (resident_bytes() - before) / many as f64;
    let large = world.costs();
    let fsync = floors::fsync_p50_us(folder.path())?;
    let batched = format!("{BATCH} inputs a batch");
    Ok(vec![
        Figure::new("f", format!("memory per live task, of {many}"), bytes, "B")
            .aim(Aim::AtMost(1_024.0))
            .judged(fsync),
        Figure::new(
            "f",
            format!("cost per input at {many} live tasks, one at a time"),
            large.single_us,
            "µs",
        )
        .limit("at 100 live tasks", small.single_us)
        .aim(Aim::RatioAtMost(2.0))
        .more("at 100 live tasks, measured before", few.single_us)
        .judged(fsync),
        Figure::new(
            "f",
            format!("cost per input at {many} live tasks, {batched}"),
            large.batched_us,
            "µs",
        )
        .limit("at 100 live tasks", small.batched_us)
        .aim(Aim::RatioAtMost(2.0))
        .more("at 100 live tasks, measured before", few.batched_us)
        .judged(fsync),
    ])
}

struct Costs {
    single_us: f64,
    batched_us: f64,
}

/// A core with live tasks.
struct World {
    core: Scheduler,
    /// What readers hold.
    view: Scheduler,
    live: Vec<AttemptId>,
    dice: Dice,
    now: Timestamp,
}

impl World {
    fn with(tasks: usize) -> Self {
        let config = Config {
            max_tasks: 10_000_000,
            ..Config::default()
        };
        let mut world = Self {
            core: Scheduler::recover(config, Default::default()),
            view: Scheduler::default(),
            live: Vec::new(),
            dice: Dice::new(11),
            now: NOW,
        };
        world.decide([flows::deploy(flows::fan("fan", WIDTH, LENGTH))]);
        for _ in 0..tasks / WIDTH {
            world.decide([start("fan")]);
        }
        world
    }

    fn costs(&mut self) -> Costs {
        Costs {
            single_us: self.cost(1),
            batched_us: self.cost(BATCH),
        }
    }

    fn cost(&mut self, batch: usize) -> f64 {
        let mut spent = 0.0;
        for _ in 0..INPUTS / batch {
            let batch: Vec<Input> = (0..batch).map(|_| self.end_of_one()).collect();
            let begun = Instant::now();
            self.decide(batch);
            spent += begun.elapsed().as_secs_f64();
        }
        spent * 1e6 / INPUTS as f64
    }

    fn end_of_one(&mut self) -> Input {
        let place = self.dice.below(self.live.len());
        let attempt = self.live.swap_remove(place);
        let report = Report::Ended {
            outcome: Outcome::Succeeded(Success::default()),
            started_at: Some(self.now),
            at: self.now,
        };
        Input::Report { attempt, report }
    }

    fn decide(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.now = Timestamp(self.now.0 + 1_000);
        let mut draft = self.core.draft(self.now);
        for input in inputs {
            draft
                .decide(input)
                .expect("every input of this figure applies");
        }
        let decision = draft.finish();
        for command in &decision.commands {
            if let Command::Submit(attempt) = command {
                self.live.push(attempt.clone());
            }
        }
        self.core.install(decision);
        self.view = self.core.clone();
    }
}
