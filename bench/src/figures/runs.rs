//! (d) One-task runs per minute when tasks cost nothing.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::inside::{Inside, start};
use crate::place::{self, Database};
use crate::{floors, flows};
use anyhow::Result;
use dalsegno_executor::InstantExecutor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Callers that each start a run as soon as the one before was accepted.
const CALLERS: usize = 256;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "runs").await? {
        let engine = Inside::start(database.store().await?, InstantExecutor::start).await?;
        engine
            .handle
            .ask(flows::deploy(flows::chain("one", 1)))
            .await?;
        let measured = for_a_while(&engine, effort.pick(4.0, 1.0)).await?;
        engine.stop().await?;
        figures.push(
            Figure::new(
                "d",
                format!("one-task runs, instant executor, {}", database.kind()),
                measured.finished * 60.0,
                "/min",
            )
            .aim(Aim::AtLeast(40_000.0))
            .more("commits per second", measured.commits)
            .more("mean commit ms", measured.commit_ms)
            .more("share of time in commits", measured.commit_share)
            .judged(floors::fsync_p50_us(folder.path())?),
        );
    }
    Ok(figures)
}

/// Rates per second.
struct Measured {
    finished: f64,
    commits: f64,
    commit_ms: f64,
    commit_share: f64,
}

async fn for_a_while(engine: &Inside, seconds: f64) -> Result<Measured> {
    let counters = engine.handle.counters();
    let read = |it: &AtomicU64| it.load(Ordering::Relaxed) as f64;
    let until = Instant::now() + Duration::from_secs_f64(seconds + 0.3);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let handle = engine.handle.clone();
        callers.spawn(async move {
            while Instant::now() < until {
                handle.ask(start("one")).await?;
            }
            anyhow::Ok(())
        });
    }
    // The first moment, when nothing has ended yet, does not count.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    let before = [
        &counters.runs_finished,
        &counters.commits,
        &counters.commit_us,
    ]
    .map(read);
    tokio::time::sleep_until(until.into()).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let after = [
        &counters.runs_finished,
        &counters.commits,
        &counters.commit_us,
    ]
    .map(read);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let [finished, commits, commit_us] = [0, 1, 2].map(|it| after[it] - before[it]);
    Ok(Measured {
        finished: finished / elapsed,
        commits: commits / elapsed,
        commit_ms: commit_us / commits.max(1.0) / 1e3,
        commit_share: commit_us / 1e6 / elapsed,
    })
}
