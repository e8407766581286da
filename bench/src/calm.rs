//! Waiting for a calm machine: others' work shows in every figure.

use std::time::{Duration, Instant};

/// Others may use this much of all cores, in hundredths, on a machine that counts as calm.
const OTHERS_MAX: f64 = 10.0;

/// Returns when nobody else has worked for a second, at the latest after `patience`.
pub(crate) fn wait(patience: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let before = times();
        std::thread::sleep(Duration::from_secs(1));
        let after = times();
        let (busy, all) = (after.0 - before.0, after.1 - before.1);
        if busy / all.max(1.0) * 100.0 <= OTHERS_MAX {
            return;
        }
    }
    if !patience.is_zero() {
        eprintln!("warning: others still work on this machine after {patience:?}");
    }
}

/// Busy time and all time of all cores since the machine booted, in ticks.
fn times() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .flat_map(str::parse)
        .collect();
    let all: f64 = ticks.iter().sum();
    // The fourth is idle, the fifth waits for a disk.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (all - idle, all)
}
