//! (o) Events over HTTP from many connections at once, each answered when it is durable.

use super::Effort;
use crate::daemon::House;
use crate::figure::Figure;
use crate::floors;
use crate::percentile::{median, percentile};
use crate::place::{self, Database};
use crate::raw::Raw;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::time::Instant;

const CONNECTIONS: usize = 64;

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let mut raw = Raw::open(&Database::sqlite(folder.path(), "raw")).await?;
    let database = Database::sqlite(folder.path(), "state");
    let flow = "flow: hears\ntriggers:\n  - event: bench.ping\n    where: event.data.n < 0\nsteps:\n  a: { run: 'true' }\n";
    let house = House::with(&[("hears".to_owned(), flow.to_owned())], &database)?;
    let daemon = house.up()?;
    let each = effort.pick(500, 50);
    let start = Instant::now();
    let answers: Vec<f64> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|sender| {
                let client = daemon.client();
                scope.spawn(move || -> Result<Vec<f64>> {
                    let mut answers = Vec::with_capacity(each);
                    for number in 0..each {
                        let event = json!({
                            "specversion": "1.0", "id": format!("{sender}-{number}"), "source": "/bench",
                            "type": "bench.ping", "data": { "n": number },
                        });
                        let begun = Instant::now();
                        client.post("/api/v1/events", "application/cloudevents+json", &event)?;
                        answers.push(begun.elapsed().as_secs_f64() * 1e3);
                    }
                    Ok(answers)
                })
            })
            .collect();
        let mut all = Vec::new();
        for sender in senders {
            let answers = sender.join().ok().context("a sender broke off")??;
            all.extend(answers);
        }
        anyhow::Ok(all)
    })?;
    let rate = answers.len() as f64 / start.elapsed().as_secs_f64();
    let commit = floors::commit_p50_ms(&mut raw, 1).await?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    let name = format!("durable events over HTTP, {CONNECTIONS} connections");
    Ok(vec![
        Figure::new("o", name, rate, "events/s")
            .limit("one commit after the other", 1e3 / commit)
            .more("answered p50 ms", median(&answers))
            .more("answered p99 ms", percentile(&answers, 99.0))
            .judged(fsync),
    ])
}
