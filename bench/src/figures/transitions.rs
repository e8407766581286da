//! (e) Durable transitions per second with an instant executor, beside plain batched inserts of rows of the
//! same size on the same database.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::inside::{Inside, start};
use crate::place::{self, Database};
use crate::raw::Row;
use crate::{floors, flows};
use anyhow::Result;
use dalsegno_executor::InstantExecutor;
use dalsegno_store::JournalFilter;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Steps of each run.
const LENGTH: usize = 20;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "transitions").await? {
        figures.push(one(&database, folder.path(), effort).await?);
    }
    Ok(figures)
}

async fn one(database: &Database, folder: &Path, effort: Effort) -> Result<Figure> {
    let runs = effort.pick(2_000, 300);
    let engine = Inside::start(database.store().await?, InstantExecutor::start).await?;
    engine
        .handle
        .ask(flows::deploy(flows::chain("chain", LENGTH)))
        .await?;
    let counters = engine.handle.counters();
    let (commits, commit_us) = (&counters.commits, &counters.commit_us);
    let before = (
        commits.load(Ordering::Relaxed),
        commit_us.load(Ordering::Relaxed),
    );
    let first = engine.journal_length().await?;
    let begun = Instant::now();
    engine
        .ask_all((0..runs).map(|_| start("chain")).collect(), 512)
        .await?;
    engine.finished(runs).await;
    let seconds = begun.elapsed().as_secs_f64();
    let transitions = (engine.journal_length().await? - first) as f64;
    let commits = (commits.load(Ordering::Relaxed) - before.0) as f64;
    let in_commits = (commit_us.load(Ordering::Relaxed) - before.1) as f64 / 1e6;
    let sample = sample(&engine).await?;
    engine.stop().await?;

    let beside = match database {
        Database::Sqlite(_) => Some(Database::sqlite(folder, "raw")),
        Database::Postgres(_) => Database::postgres("transitions_raw").await?,
    };
    let batch = ((transitions / commits) as usize).clamp(1, 5_000);
    let (aim, mut limit) = match database {
        Database::Sqlite(_) => (20_000.0, 0.0),
        Database::Postgres(_) => (10_000.0, 0.0),
    };
    if let Some(beside) = beside {
        limit = floors::rows_per_second(&beside, &sample, batch).await?;
    }
    let bytes: usize = sample.iter().map(|it| it.body.len()).sum();
    Ok(Figure::new(
        "e",
        format!("durable transitions, instant executor, {}", database.kind()),
        transitions / seconds,
        "/s",
    )
    .limit(format!("plain inserts, {batch} a commit"), limit)
    .aim(Aim::AtLeast(aim))
    .more("transitions per commit", transitions / commits)
    .more("mean commit ms", in_commits * 1e3 / commits)
    .more("share of time in commits", in_commits / seconds)
    .more("tasks per second", runs as f64 * LENGTH as f64 / seconds)
    .more(
        "journal body bytes",
        bytes as f64 / sample.len().max(1) as f64,
    )
    .judged(floors::fsync_p50_us(folder)?))
}

/// Journal entries as they are: the plain inserts write the same.
async fn sample(engine: &Inside) -> Result<Vec<Row>> {
    let store = engine.handle.store();
    let entries = store
        .journal(&JournalFilter::default(), 1_000, 5_000)
        .await?;
    let rows = entries.into_iter().map(|it| Row {
        at: it.at.0,
        run: it.run.map_or(0, |run| run.0 as i64),
        flow: it.flow.as_str().to_owned(),
        kind: it.kind,
        body: it.body,
    });
    Ok(rows.collect())
}
