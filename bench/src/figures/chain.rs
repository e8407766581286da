//! (a) A chain of 40 `true` steps through the real binary: wall time per step, beside one durable commit
//! and one process.

use super::Effort;
use crate::aim::Aim;
use crate::daemon::House;
use crate::figure::Figure;
use crate::floors;
use crate::percentile::median;
use crate::place::{self, Database};
use crate::raw::Raw;
use anyhow::Result;
use std::fmt::Write as _;
use std::time::Instant;

const LENGTH: usize = 40;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "chain").await? {
        let beside = match &database {
            Database::Sqlite(_) => Database::sqlite(folder.path(), "raw"),
            Database::Postgres(_) => match Database::postgres("chain_raw").await? {
                Some(beside) => beside,
                None => continue,
            },
        };
        let mut raw = Raw::open(&beside).await?;
        let house = House::with(&[("chain".to_owned(), flow())], &database)?;
        let daemon = house.up()?;
        let client = daemon.client();
        client.wait(&client.start("chain")?)?;
        let commits = client.metric("dalsegno_commits_total")?;
        let times = effort.pick(15, 5);
        let (mut steps, mut floor) = (Vec::new(), Vec::new());
        for time in 0..times {
            // Side by side, so that both meet the disk in the same mood.
            floor.push(floors::step_ms(&mut raw, 1 + time * 1_000, LENGTH as i64).await?);
            let begun = Instant::now();
            client.wait(&client.start("chain")?)?;
            steps.push(begun.elapsed().as_secs_f64() * 1e3 / LENGTH as f64);
        }
        let commits = client.metric("dalsegno_commits_total")? - commits;
        let commit = floors::commit_p50_ms(&mut raw, 1_000_000).await?;
        figures.push(
            Figure::new(
                "a",
                format!("chain of 40 `true`, per step, {}", database.kind()),
                median(&steps),
                "ms",
            )
            .limit("one durable commit and one process", median(&floor))
            .aim(Aim::RatioAtMost(1.5))
            .more("whole run ms", median(&steps) * LENGTH as f64)
            .more("commits per step", commits / (times * LENGTH as i64) as f64)
            .more("one-row commit p50 ms", commit)
            .judged(floors::fsync_p50_us(folder.path())?),
        );
    }
    Ok(figures)
}

fn flow() -> String {
    let mut text = String::from("flow: chain\nrun: { strategy: { parallel: 1000 } }\nsteps:\n");
    for place in 0..LENGTH {
        let after = match place {
            0 => String::new(),
            _ => format!("after: s{}, ", place - 1),
        };
        let _ = writeln!(text, "  s{place}: {{ {after}run: [\"true\"] }}");
    }
    text
}
