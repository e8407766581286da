//! (g) A restart with 10,000 live runs: from opening the database to the first decision.

use super::Effort;
use crate::aim::Aim;
use crate::executors::Endless;
use crate::figure::Figure;
use crate::inside::{Inside, start};
use crate::place::{self, Database};
use crate::raw::{Raw, Row};
use crate::{floors, flows};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Instant;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "restart").await? {
        figures.push(one(&database, folder.path(), effort).await?);
    }
    Ok(figures)
}

async fn one(database: &Database, folder: &Path, effort: Effort) -> Result<Figure> {
    let runs = effort.pick(10_000, 1_000);
    let engine = Inside::start(database.store().await?, Endless::start).await?;
    engine
        .handle
        .ask(flows::deploy(flows::chain("chain", 3)))
        .await?;
    engine
        .ask_all((0..runs).map(|_| start("chain")).collect(), 512)
        .await?;
    engine.stop().await?;

    let begun = Instant::now();
    let store = database.store().await?;
    let opened = begun.elapsed().as_secs_f64();
    let engine = Inside::start(store, Endless::start).await?;
    let leading = begun.elapsed().as_secs_f64();
    engine.handle.ask(start("chain")).await?;
    let decided = begun.elapsed().as_secs_f64();
    let live = engine.handle.view().runs().count();
    ensure!(live == runs + 1, "{live} runs came back of {runs}");
    let begun = Instant::now();
    let rows = engine.handle.store().load().await?;
    let load = begun.elapsed().as_secs_f64();
    engine.stop().await?;

    let body = |row: serde_json::Result<String>| -> Result<Row> {
        Ok(Row {
            at: 1_800_000_000_000_000,
            run: 1,
            flow: "chain".to_owned(),
            kind: "running".to_owned(),
            body: row?,
        })
    };
    let runs_of = rows
        .runs
        .iter()
        .map(|it| body(serde_json::to_string(&**it)));
    let tasks_of = rows
        .tasks
        .iter()
        .map(|it| body(serde_json::to_string(&**it)));
    let bodies: Vec<Row> = runs_of.chain(tasks_of).collect::<Result<_>>()?;
    let beside = match database {
        Database::Sqlite(_) => Some(Database::sqlite(folder, "raw")),
        Database::Postgres(_) => Database::postgres("restart_raw").await?,
    };
    let mut figure = Figure::new(
        "g",
        format!(
            "restart with {runs} live runs until deciding, {}",
            database.kind()
        ),
        decided,
        "s",
    );
    if let Some(beside) = beside {
        figure = figure.limit(
            "plain read of as many bytes",
            read_seconds(&beside, &bodies).await?,
        );
    }
    Ok(figure
        .aim(Aim::AtMost(2.0))
        .more("open and check the schema s", opened)
        .more("until leading s", leading)
        .more("of that reading the rows s", load)
        .judged(floors::fsync_p50_us(folder)?))
}

async fn read_seconds(database: &Database, rows: &[Row]) -> Result<f64> {
    let mut raw = Raw::open(database).await?;
    for (place, batch) in rows.chunks(1_000).enumerate() {
        raw.many(1 + 1_000 * place as i64, batch).await?;
    }
    let begun = Instant::now();
    let read = raw.read_all().await?;
    ensure!(
        read == rows.len(),
        "{read} rows came back of {}",
        rows.len()
    );
    Ok(begun.elapsed().as_secs_f64())
}
