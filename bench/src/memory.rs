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

/// Processor time that a process has used so far, in seconds; 0 when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    // The scheduler's own count, in nanoseconds, of each thread; `stat` counts in hundredths.
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let threads = tasks.into_iter().flatten().flatten();
    let used = threads.filter_map(|it| {
        let text = std::fs::read_to_string(it.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    used.sum::<f64>() / 1e9
}
