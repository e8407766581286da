//! Processes without us.

use anyhow::{Context as _, Result};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Starts `/bin/true` and waits for its end.
pub(crate) fn run_true() -> Result<()> {
    Command::new("/bin/true")
        .stdin(Stdio::null())
        .status()
        .context("/bin/true does not start")?;
    Ok(())
}

/// Processes per second when `workers` of them run at any moment.
pub(crate) fn spawn_rate(count: usize, workers: usize) -> Result<f64> {
    let left = AtomicUsize::new(count);
    let take = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1))
            .is_ok()
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let worker = || {
            while take() {
                run_true()?;
            }
            anyhow::Ok(())
        };
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        all.into_iter()
            .try_for_each(|it| it.join().expect("a worker does not panic"))
    })?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
