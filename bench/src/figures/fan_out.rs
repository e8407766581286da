//! (b) A fan-out of 1,000 `true` tasks, ten at a time, beside bare spawning, ten at a time.

use super::Effort;
use crate::aim::Aim;
use crate::bare::spawn_rate;
use crate::daemon::House;
use crate::figure::Figure;
use crate::floors;
use crate::percentile::median;
use crate::place::{self, Database};
use anyhow::Result;
use std::time::Instant;

const PARALLEL: usize = 10;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let width = effort.pick(1_000, 200);
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "fan").await? {
        let house = House::with(&[("fan".to_owned(), flow(width))], &database)?;
        let daemon = house.up()?;
        let client = daemon.client();
        client.wait(&client.start("fan")?)?;
        let before = client.metric("dalsegno_commits_total")?;
        let (mut rates, mut bare) = (Vec::new(), Vec::new());
        let times = effort.pick(3, 2);
        for _ in 0..times {
            bare.push(spawn_rate(width, PARALLEL)?);
            let begun = Instant::now();
            client.wait(&client.start("fan")?)?;
            rates.push(width as f64 / begun.elapsed().as_secs_f64());
        }
        let commits = client.metric("dalsegno_commits_total")? - before;
        figures.push(
            Figure::new(
                "b",
                format!(
                    "fan-out of {width} `true`, ten at a time, {}",
                    database.kind()
                ),
                median(&rates),
                "tasks/s",
            )
            .limit("bare spawning, ten at a time", median(&bare))
            .aim(Aim::RatioAtLeast(0.7))
            .more(
                "tasks per commit",
                (times * width) as f64 / commits.max(1.0),
            )
            .judged(floors::fsync_p50_us(folder.path())?),
        );
    }
    Ok(figures)
}

fn flow(width: usize) -> String {
    let items: Vec<String> = (0..width).map(|it| it.to_string()).collect();
    format!(
        "flow: fan\nrun: {{ strategy: {{ parallel: 1000 }} }}\nsteps:\n  each:\n    foreach: [{}]\n    \
         max_parallel: {PARALLEL}\n    run: [\"true\"]\n",
        items.join(", ")
    )
}
