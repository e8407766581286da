//! (q) A foreach of 25,000 jobs beside another flow: how late that one's jobs are.

use super::Effort;
use crate::aim::Aim;
use crate::elsewhere::{Elsewhere, Wish, on_batch, prefix};
use crate::emulator::Emulator;
use crate::figure::Figure;
use crate::inside::start;
use crate::percentile::{median, percentile};
use crate::place::{self, Database};
use crate::{floors, flows};
use anyhow::{Result, bail};
use dalsegno_engine::clock;
use dalsegno_scheduler::{Answer, Config, RunId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Runs of the other flow: before the burst, and a second apart after it has begun.
const RUNS: usize = 10;

/// A job that is later than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const SUBMISSIONS_PER_MINUTE: u32 = 1_000;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let name = "benchbig";
    let folder = place::folder()?;
    let width = effort.pick(25_000, 12_000);
    let emulator = Arc::new(Emulator::start()?);
    emulator.bare_definition()?;
    emulator.job_queue("other")?;
    emulator.job_queue("probe")?;
    let store = Database::sqlite(folder.path(), name).store().await?;
    let wish = Wish {
        installation: name,
        queue: name,
        submissions_per_minute: SUBMISSIONS_PER_MINUTE,
        max_remote_tasks: Config::default().max_remote_tasks,
        has_storage: true,
    };
    let house = Elsewhere::start(&emulator, store, folder.path(), wish).await?;
    let engine = &house.engine;
    let burst = on_batch(flows::fan("burst", width, 1), None);
    let other = on_batch(flows::chain("other", 1), Some("other"));
    for flow in [burst, other] {
        engine.handle.ask(flows::deploy(flow)).await?;
    }

    let before = other_runs(&house, 0, Duration::from_millis(200)).await?;
    let idle = lateness(&emulator, name, before).await?;

    let is_over = Arc::new(AtomicBool::new(false));
    let probe = probe(emulator.clone(), is_over.clone());
    let handle = engine.handle.clone();
    let burst = tokio::spawn(async move {
        let begun = Instant::now();
        handle.ask(start("burst")).await?;
        anyhow::Ok(begun.elapsed())
    });
    let beside = other_runs(&house, 1, Duration::from_secs(1)).await?;
    is_over.store(true, Ordering::Relaxed);
    let answers = probe.await??;
    let durable = burst.await??;
    let late = lateness(&emulator, name, beside).await?;
    let arrays = submissions(&emulator, name)?;
    house.stop().await?;
    let figure = figure(
        &format!("job beside a foreach of {width}, worst of {RUNS}"),
        &late,
        &idle,
    )
    .more("the burst durable after ms", durable.as_secs_f64() * 1e3)
    .more("submissions of the burst", arrays as f64)
    .more(
        "a bare SubmitJob meanwhile, worst ms",
        percentile(&answers, 100.0),
    )
    .more("a bare SubmitJob meanwhile, p50 ms", median(&answers))
    .judged(floors::fsync_p50_us(folder.path())?);
    Ok(vec![figure])
}

fn figure(name: &str, late: &[f64], idle: &[f64]) -> Figure {
    let usual = median(idle);
    let delay: Vec<f64> = late.iter().map(|it| (it - usual).max(0.0)).collect();
    let first = delay.first().copied().unwrap_or_default();
    Figure::new("q", name, percentile(&delay, 100.0), "ms late")
        .aim(Aim::AtMost(1_000.0))
        .more("the first one ms", first)
        .more("p50 ms", median(&delay))
        .more("in an idle house ms", usual)
}

/// Starts runs of the other flow, the first after `every` times `first`; gives each with the time at which it was asked
/// for.
async fn other_runs(house: &Elsewhere, first: u32, every: Duration) -> Result<Vec<(RunId, f64)>> {
    let mut runs = Vec::new();
    tokio::time::sleep(every * first).await;
    for _ in 0..RUNS {
        let next = Instant::now() + every;
        let asked = clock::now().0 as f64 / 1e3;
        match house.engine.handle.ask(start("other")).await? {
            Answer::Run { run, .. } => runs.push((run, asked)),
            other => bail!("no run was started: {other:?}"),
        }
        tokio::time::sleep_until(next.into()).await;
    }
    Ok(runs)
}

/// For each run, how long after it was asked for its job was submitted, in ms.
async fn lateness(
    emulator: &Arc<Emulator>,
    name: &str,
    runs: Vec<(RunId, f64)>,
) -> Result<Vec<f64>> {
    let mut late = Vec::new();
    for (run, asked) in runs {
        let prefix = format!("{}{run}-", prefix(name));
        let begun = Instant::now();
        let at = loop {
            let (emulator, prefix) = (emulator.clone(), prefix.clone());
            let times = tokio::task::spawn_blocking(move || emulator.submitted(&prefix)).await??;
            if let Some(first) = times.first() {
                break first * 1e3;
            }
            if begun.elapsed() > PATIENCE {
                // Later than any that is waited for: as late as it is by now.
                break clock::now().0 as f64 / 1e3;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        late.push(at - asked);
    }
    Ok(late)
}

/// How many jobs there are that are not the other flow's; an array is one.
fn submissions(emulator: &Emulator, name: &str) -> Result<usize> {
    let all = emulator.submitted(&prefix(name))?;
    Ok(all.len().saturating_sub(2 * RUNS))
}

/// A client that submits a job now and then: how long each takes, in ms. What of the figure is the emulator's.
fn probe(
    emulator: Arc<Emulator>,
    is_over: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Result<Vec<f64>>> {
    tokio::task::spawn_blocking(move || {
        let client = emulator.client();
        let mut answers = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            client.submit("probe", &format!("probe-{}", answers.len()), None)?;
            answers.push(begun.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(answers)
    })
}
