//! (c) From an event sent over HTTP to the first instruction of the process that it starts.

use super::Effort;
use crate::aim::Aim;
use crate::bare::run_true;
use crate::daemon::House;
use crate::figure::Figure;
use crate::percentile::{median, percentile};
use crate::place::{self, Database};
use crate::raw::Raw;
use crate::shuffle::Dice;
use crate::{floors, stamp};
use anyhow::{Context as _, Result, ensure};
use dalsegno_engine::clock;
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

/// With one commit on top, the 99th percentile must stay below this.
const AIM_MS: f64 = 10.0;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut raw = Raw::open(&Database::sqlite(folder.path(), "raw")).await?;
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .context("mkfifo does not start")?;
    ensure!(made.success(), "mkfifo failed");
    // Both ends are ours, so that opening does not wait and reading never ends.
    let open = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)?;
    let mut lines = BufReader::new(open).lines();
    let us = std::env::current_exe()?;
    let flow = format!(
        "flow: hears\nrun: {{ strategy: {{ parallel: 1000 }} }}\nparams:\n  n: {{ type: int, default: 0 }}\n\
         triggers:\n  - event: bench.ping\n    params: {{ n: \"${{{{ event.data.n }}}}\" }}\n\
         steps:\n  stamp: {{ run: [{us:?}, {:?}, {pipe:?}] }}\n",
        stamp::FLAG
    );
    let database = Database::sqlite(folder.path(), "state");
    let house = House::with(&[("hears".to_owned(), flow)], &database)?;
    let daemon = house.up()?;
    let client = daemon.client();
    let mut dice = Dice::new(3);
    let (mut waits, mut answers) = (Vec::new(), Vec::new());
    let count = effort.pick(400, 60);
    let warm_up = 10;
    for number in 0..count + warm_up {
        // Not in step with anything that ticks.
        std::thread::sleep(Duration::from_micros(2_000 + dice.below(10_000) as u64));
        let event = json!({
            "specversion": "1.0", "id": number.to_string(), "source": "/bench", "type": "bench.ping",
            "data": { "n": number },
        });
        let (sent, begun) = (clock::now(), Instant::now());
        client.post("/api/v1/events", "application/cloudevents+json", &event)?;
        let answered = begun.elapsed();
        let line = lines.next().context("the pipe has no end")??;
        let (who, at) = line
            .split_once(' ')
            .context("a stamp is a number and a time")?;
        ensure!(
            who == number.to_string(),
            "event {number} started the task of event {who}"
        );
        if number >= warm_up {
            waits.push((at.parse::<i64>()? - sent.0) as f64 / 1e3);
            answers.push(answered.as_secs_f64() * 1e3);
        }
    }
    let commit = floors::commit_p50_ms(&mut raw, 1).await?;
    let spawn = spawn_p50_ms(effort.pick(200, 50))?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    let name = "event over HTTP to process started";
    let limit = "one commit and one process";
    Ok(vec![
        Figure::new("c", format!("{name}, p50"), median(&waits), "ms")
            .limit(limit, commit + spawn)
            .more("worst ms", percentile(&waits, 100.0))
            .more("answered 202 p50 ms", median(&answers))
            .more("one-row commit p50 ms", commit)
            .more("spawn and wait p50 ms", spawn)
            .judged(fsync),
        Figure::new("c", format!("{name}, p99"), percentile(&waits, 99.0), "ms")
            .limit(limit, commit + spawn)
            .aim(Aim::AtMost(AIM_MS + commit))
            .judged(fsync),
    ])
}

fn spawn_p50_ms(count: usize) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        run_true()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times))
}
