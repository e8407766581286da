//! (j) Ten empty Metaflow steps, and (k) a foreach of them, beside Metaflow's own `run` of the same file.

use super::Effort;
use crate::aim::Aim;
use crate::daemon::House;
use crate::figure::Figure;
use crate::floors;
use crate::metaflow;
use crate::percentile::median;
use crate::place::{self, Database};
use anyhow::Result;
use std::time::Instant;

/// What Metaflow's own scheduler is told, and our limit of tasks at the same time.
const WORKERS: usize = 16;

/// How tasks are started, and how much of Metaflow's own time a run may take so.
const WAYS: [(&str, &[&str], Aim); 2] = [
    ("warm", &[], Aim::RatioAtMost(0.25)),
    ("cold", &["--cold"], Aim::RatioAtMost(1.25)),
];

pub(super) async fn chain(effort: Effort) -> Result<Vec<Figure>> {
    let text = metaflow::chain("Chain", 10);
    beside_itself("j", "10 empty Metaflow steps", "Chain", &text, effort)
}

pub(super) async fn fan_out(effort: Effort) -> Result<Vec<Figure>> {
    let width = effort.pick(100, 20);
    let text = metaflow::fan("Fan", width);
    let name = format!("foreach of {width} empty Metaflow steps");
    beside_itself("k", &name, "Fan", &text, effort)
}

fn beside_itself(
    id: &str,
    name: &str,
    class: &str,
    text: &str,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let house = House::with(&[], &Database::sqlite(folder.path(), "metaflow"))?;
    house.write("flow.py", text)?;
    house.write("../dalsegno.toml", &format!("max_tasks = {WORKERS}\n"))?;
    metaflow::install(&house)?;
    let times = effort.pick(5, 2);
    let mut alone = Vec::new();
    let mut ours = [Vec::new(), Vec::new()];
    for _ in 0..times {
        alone.push(metaflow::run_by_itself(&house, "flow.py", WORKERS)?);
        for (seconds, (_, how, _)) in ours.iter_mut().zip(WAYS) {
            let daemon = house.up_with(how)?;
            let client = daemon.client();
            // The first run loads Metaflow for all that follow.
            client.wait(&client.start(class)?)?;
            let begun = Instant::now();
            client.wait(&client.start(class)?)?;
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    let figures = ours.iter().zip(WAYS).map(|(seconds, (how, _, aim))| {
        let figure = Figure::new(id, format!("{name}, {how}"), median(seconds), "s")
            .limit("`flow.py run`", median(&alone))
            .aim(aim)
            .more("times as fast", median(&alone) / median(seconds));
        Ok(figure.judged(floors::fsync_p50_us(folder.path())?))
    });
    figures.collect()
}
