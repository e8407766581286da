//! (p) Jobs of AWS Batch, submitted and finished through the emulator: the pace, the calls and the processor time of
//! each, and whether a limit of submissions is kept to.

use super::Effort;
use crate::aim::Aim;
use crate::elsewhere::{Elsewhere, Wish, on_batch, prefix};
use crate::emulator::Emulator;
use crate::figure::Figure;
use crate::inside::start;
use crate::place::{self, Database};
use crate::{floors, flows, memory};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Instant;

/// The connections of the client that does nothing else: as many as the executor has.
const CONNECTIONS: usize = 16;

/// Submissions in 60 seconds, as it is without a word in the configuration.
const USUAL: u32 = 1_000;

/// So many a minute that it limits nothing.
const UNLIMITED: u32 = 600_000;

struct Measured {
    /// From the first start of a run to the durable end of the last.
    seconds: f64,
    cpu_seconds: f64,
    /// By service and operation.
    calls: Vec<(String, f64)>,
    /// When jobs were submitted, in seconds, in order.
    submitted: Vec<f64>,
    jobs: usize,
}

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let jobs = effort.pick(10_000, 1_000);
    let emulator = Emulator::start()?;
    emulator.bare_definition()?;
    let singles = run(&emulator, folder.path(), "benchone", false, UNLIMITED, jobs).await?;
    emulator.status_queue("bareone", "bareone-")?;
    let rate = emulator.submit_rate("benchone", "bareone-", jobs / 5, CONNECTIONS)?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    let mut figures = vec![
        explained(
            Figure::new(
                "p",
                format!("{jobs} tasks as jobs of Batch, submitted"),
                singles.pace(),
                "/min",
            )
            .limit("a client that only submits, 16 connections", rate * 60.0)
            .aim(Aim::AtLeast(f64::from(USUAL))),
            &singles,
        )
        .judged(fsync),
        cpu("a job of its own", &singles, fsync),
        calls("a job of its own", &singles, fsync),
    ];

    // One that is full of ended jobs is slower.
    let emulator = Emulator::start()?;
    emulator.bare_definition()?;
    let array = run(&emulator, folder.path(), "benchmny", true, UNLIMITED, jobs).await?;
    emulator.status_queue("baremny", "baremny-")?;
    let bare = emulator.array_seconds("benchmny", "baremny-0", jobs)?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    figures.extend([
        explained(
            Figure::new(
                "p",
                format!("a foreach of {jobs} as one array job, finished"),
                jobs as f64 / array.seconds * 60.0,
                "/min",
            )
            .limit(
                "the emulator's own end of such an array",
                jobs as f64 / bare * 60.0,
            ),
            &array,
        )
        .judged(fsync),
        cpu("a child of an array", &array, fsync),
        calls("a child of an array", &array, fsync),
    ]);

    let emulator = Emulator::start()?;
    let jobs = effort.pick(1_500, 1_100);
    let held = run(&emulator, folder.path(), "benchlim", false, USUAL, jobs).await?;
    figures.push(
        explained(
            Figure::new(
                "p",
                format!("{jobs} jobs at once, most submitted in any 60 s"),
                held.most_in_a_minute() as f64,
                "jobs",
            )
            .limit("as configured", f64::from(USUAL))
            .aim(Aim::RatioAtMost(1.0)),
            &held,
        )
        .judged(floors::fsync_p50_us(folder.path())?),
    );
    Ok(figures)
}

/// As many tasks: each the only one of its run, or all of them of one foreach.
async fn run(
    emulator: &Emulator,
    folder: &Path,
    name: &str,
    is_array: bool,
    limit: u32,
    jobs: usize,
) -> Result<Measured> {
    let store = Database::sqlite(folder, name).store().await?;
    let wish = Wish {
        installation: name,
        queue: name,
        submissions_per_minute: limit,
        max_remote_tasks: 1_000_000,
        has_storage: is_array,
    };
    let house = Elsewhere::start(emulator, store, folder, wish).await?;
    let (flow, runs) = match is_array {
        true => (flows::fan("many", jobs, 1), 1),
        false => (flows::chain("one", 1), jobs),
    };
    let flow_name = flow.name.to_string();
    let engine = &house.engine;
    engine
        .handle
        .ask(flows::deploy(on_batch(flow, None)))
        .await?;
    let before = emulator.calls()?;
    let cpu = memory::cpu_seconds(std::process::id());
    let begun = Instant::now();
    let starts = (0..runs).map(|_| start(&flow_name));
    engine.ask_all(starts.collect(), 512).await?;
    engine.finished(runs as u64).await;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = memory::cpu_seconds(std::process::id()) - cpu;
    let calls = emulator.calls()?.into_iter();
    let calls = calls.map(|(name, count)| {
        let earlier = before.get(&name).copied().unwrap_or_default();
        (name, count - earlier)
    });
    let calls: Vec<_> = calls.filter(|(_, count)| *count > 0.0).collect();
    house.stop().await?;
    let submitted = emulator.submitted(&prefix(name))?;
    ensure!(
        submitted.len() == runs,
        "{runs} jobs were to be submitted, not {}",
        submitted.len()
    );
    Ok(Measured {
        seconds,
        cpu_seconds,
        calls,
        submitted,
        jobs,
    })
}

impl Measured {
    /// Submissions a minute, from the first to the last.
    fn pace(&self) -> f64 {
        match (self.submitted.first(), self.submitted.last()) {
            (Some(first), Some(last)) if last > first => {
                (self.submitted.len() - 1) as f64 / (last - first) * 60.0
            }
            _ => 0.0,
        }
    }

    fn most_in_a_minute(&self) -> usize {
        let mut first = 0;
        let times = self.submitted.iter().enumerate();
        let counts = times.map(|(last, at)| {
            while self.submitted[first] <= at - 60.0 {
                first += 1;
            }
            last - first + 1
        });
        counts.max().unwrap_or_default()
    }

    fn calls_each(&self) -> f64 {
        self.calls.iter().map(|(_, count)| count).sum::<f64>() / self.jobs as f64
    }
}

fn explained(figure: Figure, it: &Measured) -> Figure {
    figure
        .more("finished /min", it.jobs as f64 / it.seconds * 60.0)
        .more("seconds", it.seconds)
        .more("submissions /min", it.pace())
}

fn cpu(of: &str, it: &Measured, fsync: f64) -> Figure {
    let each = it.cpu_seconds * 1e3 / it.jobs as f64;
    Figure::new("p", format!("our processor time for {of}"), each, "ms")
        .more("share of a core", it.cpu_seconds / it.seconds)
        .judged(fsync)
}

fn calls(of: &str, it: &Measured, fsync: f64) -> Figure {
    let figure = Figure::new("p", format!("calls for {of}"), it.calls_each(), "calls");
    let calls = it.calls.iter();
    calls
        .fold(figure, |figure, (name, count)| {
            figure.more(name, count / it.jobs as f64)
        })
        .judged(fsync)
}
