//! What the machine can do at best, measured in the same run.

use crate::bare::run_true;
use crate::percentile::median;
use crate::place::Database;
use crate::raw::{Raw, Row};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// Appends 4 KiB and waits for the disk, often enough for a median; in microseconds.
pub(crate) fn fsync_p50_us(folder: &Path) -> Result<f64> {
    let path = folder.join("fsync");
    let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4_096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(median(&times))
}

/// Half of the durable one-row commits are faster than this, in milliseconds.
pub(crate) async fn commit_p50_ms(raw: &mut Raw, first: i64) -> Result<f64> {
    let mut times = Vec::new();
    for seq in first..first + 300 {
        let begun = Instant::now();
        raw.one(seq).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times))
}

/// What a durable step costs at least: one durable commit, one process started and waited for. The mean over
/// `steps`, in milliseconds.
pub(crate) async fn step_ms(raw: &mut Raw, first: i64, steps: i64) -> Result<f64> {
    let begun = Instant::now();
    for seq in first..first + steps {
        raw.one(seq).await?;
        run_true()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3 / steps as f64)
}

/// Rows per second of a plain insert in batches of `batch`, for about two seconds.
pub(crate) async fn rows_per_second(
    database: &Database,
    sample: &[Row],
    batch: usize,
) -> Result<f64> {
    let mut raw = Raw::open(database).await?;
    let rows: Vec<Row> = sample.iter().cycle().take(batch.max(1)).cloned().collect();
    let mut seq = 1;
    // The first one is prepared and makes the files.
    raw.many(seq, &rows).await?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed().as_secs_f64() < 2.0 {
        seq += rows.len() as i64;
        raw.many(seq, &rows).await?;
        count += rows.len();
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
