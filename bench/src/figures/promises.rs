//! (t) 100,000 armed promises about time: what each takes in memory, what a tick costs beside them, and what a breach
//! costs beside the start of a run.
//!
//! Through the core alone, as (f): each row of a promise has its timer.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::inside::start;
use crate::memory::resident_bytes;
use crate::{floors, flows, place};
use anyhow::{Result, ensure};
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::sla::{SlaKind, SlaSpec};
use dalsegno_scheduler::{Config, Input, Scheduler, Span, Timestamp};
use std::time::Instant;

/// Promises of each flow.
const OF_EACH: usize = 4;
const TICKS: usize = 10_000;
/// Runs that are started, and promises that are broken, one input each.
const INPUTS: usize = 1_000;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Long enough that nothing is due while flows are deployed.
const DAY_SECS: i64 = 24 * 60 * 60;

pub(super) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let armed = effort.pick(100_000, 10_000);
    let flows = armed / OF_EACH;
    // Warms the allocator and the code, and stays, so that what it took is not taken again.
    let warm = World::with(flows, OF_EACH);
    let before = resident_bytes();
    let mut bare = World::with(flows, 0);
    let between = resident_bytes();
    let mut full = World::with(flows, OF_EACH);
    let after = resident_bytes();
    drop(warm);
    let count = full.core.slas().count();
    ensure!(count == armed, "{count} promises are armed, not {armed}");
    let bytes = ((after - between) - (between - before)) / armed as f64;
    let (quiet, tick) = (bare.tick_us(), full.tick_us());
    let run = bare.start_us();
    let breach = full.breach_us()?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    Ok(vec![
        Figure::new(
            "t",
            format!("memory per armed promise, of {armed}"),
            bytes,
            "B",
        )
        .aim(Aim::AtMost(1_024.0))
        .judged(fsync),
        Figure::new(
            "t",
            format!("cost per tick at {armed} armed promises"),
            tick,
            "µs",
        )
        .limit("with none", quiet)
        .aim(Aim::RatioAtMost(2.0))
        .judged(fsync),
        Figure::new(
            "t",
            format!("cost per breach at {armed} armed promises"),
            breach,
            "µs",
        )
        .limit("the start of a run, with none", run)
        .aim(Aim::RatioAtMost(2.0))
        .judged(fsync),
    ])
}

/// A core with flows that promise.
struct World {
    core: Scheduler,
    /// What readers hold.
    view: Scheduler,
    now: Timestamp,
}

impl World {
    fn with(flows: usize, promises: usize) -> Self {
        let config = Config {
            max_tasks: 10_000_000,
            alert_kinds: [AlertKind::SlaMissed].into(),
            ..Config::default()
        };
        let mut world = Self {
            core: Scheduler::recover(config, Default::default()),
            view: Scheduler::default(),
            now: NOW,
        };
        for flow in 0..flows {
            let mut spec = flows::chain(&format!("flow{flow}"), 1);
            // Each is due at a moment of its own.
            let place = |it: usize| (flow * OF_EACH + it) as i64;
            let due = (0..promises).map(|it| Span::from_secs(DAY_SECS + place(it)));
            spec.slas = due
                .map(|it| SlaSpec {
                    kind: SlaKind::FreshWithin(it),
                    at_risk: None,
                })
                .collect();
            world.decide(flows::deploy(spec));
        }
        world
    }

    fn tick_us(&mut self) -> f64 {
        let begun = Instant::now();
        for _ in 0..TICKS {
            self.now = Timestamp(self.now.0 + 1);
            self.decide(Input::Tick);
        }
        begun.elapsed().as_secs_f64() * 1e6 / TICKS as f64
    }

    fn start_us(&mut self) -> f64 {
        let begun = Instant::now();
        for _ in 0..INPUTS {
            self.decide(start("flow7"));
        }
        begun.elapsed().as_secs_f64() * 1e6 / INPUTS as f64
    }

    /// Each tick finds one promise broken: its row, its journal entry and its alert.
    fn breach_us(&mut self) -> Result<f64> {
        let mut alerts = 0;
        let mut spent = 0.0;
        for _ in 0..INPUTS {
            self.now = self.core.next_deadline().unwrap_or(self.now);
            let begun = Instant::now();
            alerts += self.decide(Input::Tick);
            spent += begun.elapsed().as_secs_f64();
        }
        ensure!(alerts == INPUTS, "{alerts} alerts of {INPUTS} breaches");
        Ok(spent * 1e6 / INPUTS as f64)
    }

    /// How many alerts it led to.
    fn decide(&mut self, input: Input) -> usize {
        let mut draft = self.core.draft(self.now);
        draft
            .decide(input)
            .expect("every input of this figure applies");
        let decision = draft.finish();
        let alerts = decision.changes.alerts.len();
        self.core.install(decision);
        self.view = self.core.clone();
        alerts
    }
}
