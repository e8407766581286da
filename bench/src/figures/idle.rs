//! (i) A daemon with 1,000 scheduled flows and nothing to do; and how soon it is ready.

use super::Effort;
use crate::aim::Aim;
use crate::daemon::House;
use crate::figure::Figure;
use crate::floors;
use crate::memory::{cpu_seconds, proportional_mib};
use crate::percentile::median;
use crate::place::{self, Database};
use anyhow::Result;
use std::time::{Duration, Instant};

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let database = Database::sqlite(folder.path(), "idle");
    let count = effort.pick(1_000, 100);
    let flows: Vec<_> = (0..count).map(flow).collect();
    let house = House::with(&flows, &database)?;
    // The first start makes the database and deploys all flows.
    let first = house.up()?.ready_after.as_secs_f64();
    let mut starts = Vec::new();
    for _ in 0..effort.pick(4, 1) {
        starts.push(house.up()?.ready_after.as_secs_f64());
    }
    let empty = House::with(&[flow(0)], &database)?;
    let empty_first = empty.up()?.ready_after.as_secs_f64();
    let empty_next = empty.up()?.ready_after.as_secs_f64();

    let daemon = house.up()?;
    starts.push(daemon.ready_after.as_secs_f64());
    // What the start has warmed up settles.
    std::thread::sleep(Duration::from_secs(effort.pick(10, 3)));
    let pids = daemon.pids();
    let used = |pids: &[u32]| pids.iter().copied().map(cpu_seconds).sum::<f64>();
    let (before, begun) = (used(&pids), Instant::now());
    std::thread::sleep(Duration::from_secs(effort.pick(20, 5)));
    let cpu = (used(&pids) - before) / begun.elapsed().as_secs_f64() * 100.0;
    let memory: f64 = pids.iter().copied().map(proportional_mib).sum();
    let alone = pids
        .first()
        .copied()
        .map(proportional_mib)
        .unwrap_or_default();
    let fsync = floors::fsync_p50_us(folder.path())?;
    Ok(vec![
        Figure::new(
            "i",
            format!("idle memory, {count} scheduled flows"),
            memory,
            "MiB",
        )
        .aim(Aim::AtMost(30.0))
        .more("processes", pids.len() as f64)
        .more("the daemon alone MiB", alone)
        .judged(fsync),
        Figure::new(
            "i",
            format!("idle processor, {count} scheduled flows"),
            cpu,
            "% of a core",
        )
        .aim(Aim::AtMost(0.3))
        .judged(fsync),
        Figure::new(
            "i",
            format!("start to ready, {count} flows known"),
            median(&starts),
            "s",
        )
        .aim(Aim::AtMost(0.2))
        .more("first start, all flows new, s", first)
        .more("one flow, first start, s", empty_first)
        .more("one flow, next start, s", empty_next)
        .judged(fsync),
    ])
}

/// Due once a day, each at another minute, none of them soon.
fn flow(number: usize) -> (String, String) {
    let (hour, minute) = (number / 60 % 24, number % 60);
    let text = format!(
        "flow: flow{number}\nschedule:\n  - cron: \"{minute} {hour} 29 2 *\"\nsteps:\n  \
         first: {{ run: [\"true\"] }}\n  second: {{ after: first, run: [\"true\"] }}\n"
    );
    (format!("flow{number}"), text)
}
