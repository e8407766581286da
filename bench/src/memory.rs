//! What a process takes, as the kernel counts it.

use std::path::Path;

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> f64 {
    kib(Path::new("/proc/self/smaps_rollup"), "Rss:") * 1_024.0
}

/// Resident memory of a process with its share of what it shares, in MiB; 0 when it is gone.
pub(crate) fn proportional_mib(pid: u32) -> f64 {
    kib(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Pss:") / 1_024.0
}

fn kib(file: &Path, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|it| it.strip_prefix(name));
    let number = line.and_then(|it| it.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// Processor time that a process has used so far, threads that are gone included, in seconds; 0 when it is
/// gone itself. Counted in hundredths: measure over some seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; what counts stands behind it: user and system time, fields 14 and 15.
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |place: usize| after.split_whitespace().nth(place)?.parse::<f64>().ok();
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / TICKS_PER_SECOND
}

/// `USER_HZ`, the same on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
