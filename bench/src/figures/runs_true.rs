//! (d) One-task runs per minute through the real binary, each a process, started over HTTP.

use super::Effort;
use crate::aim::Aim;
use crate::bare::spawn_rate;
use crate::daemon::{Daemon, House};
use crate::figure::Figure;
use crate::floors;
use crate::percentile::median;
use crate::place::{self, Database};
use anyhow::Result;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;
const FLOW: &str =
    "flow: one\nrun: { strategy: { parallel: 1000 } }\nsteps:\n  only: { run: [\"true\"] }\n";

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut figures = Vec::new();
    for database in Database::all(folder.path(), "runs_true").await? {
        let house = House::with(&[("one".to_owned(), FLOW.to_owned())], &database)?;
        let daemon = house.up()?;
        let client = daemon.client();
        let mut alone = Vec::new();
        for _ in 0..effort.pick(40, 10) {
            let begun = Instant::now();
            client.wait(&client.start("one")?)?;
            alone.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let count = effort.pick(3_000, 500);
        let bare = spawn_rate(count, CLIENTS)?;
        let rate = burst(&daemon, count)?;
        figures.push(
            Figure::new(
                "d",
                format!("one-task runs of `true` over HTTP, {}", database.kind()),
                rate * 60.0,
                "/min",
            )
            .limit("bare spawning, 16 at a time", bare * 60.0)
            .aim(Aim::AtLeast(40_000.0))
            .more("one alone, started to seen ended, p50 ms", median(&alone))
            .judged(floors::fsync_p50_us(folder.path())?),
        );
    }
    Ok(figures)
}

/// Runs that ended per second, from the first request to the last end.
fn burst(daemon: &Daemon, count: usize) -> Result<f64> {
    let watcher = daemon.client();
    let name = "dalsegno_runs_finished_total";
    let before = watcher.metric(name)?;
    let left = AtomicUsize::new(count);
    let take = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1))
            .is_ok()
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let work = || {
            let client = daemon.client();
            while take() {
                client.start("one")?;
            }
            anyhow::Ok(())
        };
        let all: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        all.into_iter()
            .try_for_each(|it| it.join().expect("a client does not panic"))
    })?;
    while watcher.metric(name)? - before < count as f64 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
