//! (h) 10,000 schedules that are due in the same second: how late their runs are.

use super::Effort;
use crate::aim::Aim;
use crate::executors::Witness;
use crate::figure::Figure;
use crate::inside::Inside;
use crate::percentile::{median, percentile};
use crate::place::{self, Database};
use crate::raw::Row;
use crate::{floors, flows};
use anyhow::{Result, ensure};
use dalsegno_engine::clock;
use dalsegno_executor::InstantExecutor;
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::JournalFilter;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "schedules").await? {
        figures.push(one(&database, folder.path(), effort).await?);
    }
    Ok(figures)
}

async fn one(database: &Database, folder: &Path, effort: Effort) -> Result<Figure> {
    let count: usize = effort.pick(10_000, 1_000);
    let seen = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let witness = seen.clone();
    let engine = Inside::start(database.store().await?, |reporter| Witness {
        inner: InstantExecutor::start(reporter),
        seen: witness,
    })
    .await?;
    // Far enough that all are deployed before.
    let wait = Span::from_secs(effort.pick(15, 4));
    let due = Timestamp::from_secs((clock::now() + wait).0 / 1_000_000);
    let deploys = (0..count).map(|it| flows::deploy(flows::scheduled(&format!("flow{it}"), due)));
    engine.ask_all(deploys.collect(), 512).await?;
    let left = (due - clock::now()).0;
    ensure!(
        left > 0,
        "{count} flows were not deployed in {} s",
        wait.0 / 1_000_000
    );
    let before = engine.journal_length().await?;
    engine.finished(count as u64).await;
    let rows = engine.journal_length().await? - before;
    let entries = engine
        .handle
        .store()
        .journal(&JournalFilter::default(), before, 5_000)
        .await?;
    engine.stop().await?;
    let sample: Vec<Row> = entries
        .into_iter()
        .map(|it| Row {
            at: it.at.0,
            run: 1,
            flow: it.flow.as_str().to_owned(),
            kind: it.kind,
            body: it.body,
        })
        .collect();
    let seen = seen.lock().expect("no holder panics").clone();
    let late: Vec<f64> = seen.iter().map(|it| (*it - due).0 as f64 / 1e3).collect();
    let mut figure = Figure::new(
        "h",
        format!(
            "{count} schedules due at once, lateness p99, {}",
            database.kind()
        ),
        percentile(&late, 99.0),
        "ms",
    );
    let beside = match database {
        Database::Sqlite(_) => Some(Database::sqlite(folder, "raw")),
        Database::Postgres(_) => Database::postgres("schedules_raw").await?,
    };
    if let Some(beside) = beside {
        let rate = floors::rows_per_second(&beside, &sample, 2_000).await?;
        figure = figure.limit(
            "plain inserts of the rows written",
            rows as f64 / rate * 1e3,
        );
    }
    Ok(figure
        .aim(Aim::AtMost(1_000.0))
        .more("p50 ms", median(&late))
        .more("worst ms", percentile(&late, 100.0))
        .more("journal entries", rows as f64)
        .more("deployed before it was due by s", left as f64 / 1e6)
        .judged(floors::fsync_p50_us(folder)?))
}
