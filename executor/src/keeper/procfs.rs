//! What the kernel tells about processes.

use super::protocol::MARK;
use rustix::process::{Pid, Signal};
use std::fs;
use std::time::Duration;

/// Ticks of `starttime` in `/proc/PID/stat` are hundredths of a second on every Linux.
const TICK_US: u64 = 10_000;

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Time since the machine booted, in microseconds.
pub(crate) fn boot_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let time = Duration::try_from(time).unwrap_or_default();
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// One line of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) group: i32,
    pub(crate) is_zombie: bool,
    /// Its files are closed, or will be in a moment.
    pub(crate) is_ending: bool,
    /// Since boot, rounded down to a hundredth of a second.
    pub(crate) started_boot_us: u64,
}

/// The kernel's `PF_EXITING`.
const ENDING: u32 = 4;

/// `None`: there is no such process.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let flags: u32 = fields.nth(3)?.parse().ok()?;
    let ticks: u64 = fields.nth(12)?.parse().ok()?;
    Some(Stat {
        group,
        is_zombie: matches!(state, "Z" | "X"),
        is_ending: flags & ENDING != 0,
        started_boot_us: ticks * TICK_US,
    })
}

/// All processes there are.
pub(crate) fn processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

/// The children of a process, of whichever of its threads; empty when the kernel cannot tell.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| read_pids(&list)).collect()
}

/// The children of this process's only thread.
pub(crate) fn own_children() -> Vec<Pid> {
    read_pids(&fs::read_to_string("/proc/thread-self/children").unwrap_or_default())
}

fn read_pids(list: &str) -> Vec<Pid> {
    list.split_ascii_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// What [`MARK`] says in the environment the process was started with; `None` also when it cannot be read.
pub(crate) fn mark(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Memory of a process that is its own and in use, without pages of files and shared memory.
pub(crate) fn memory_bytes(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// How many processes the kernel has killed for want of memory since it booted.
pub(crate) fn oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = rustix::process::kill_process(pid, signal);
}

/// Sends a signal to all members of a group; a group that is gone already is no error.
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(leader, signal);
}

/// Whether the group has members that we may signal, zombies that were not waited for included.
pub(crate) fn group_exists(leader: Pid) -> bool {
    rustix::process::test_kill_process_group(leader).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_start_and_memory() {
        let me = rustix::process::getpid();
        let stat = stat(me).expect("I exist");
        assert!(!stat.is_zombie);
        assert_eq!(Pid::from_raw(stat.group), Some(rustix::process::getpgrp()));
        assert!((1..=boot_us()).contains(&stat.started_boot_us));
        assert!(memory_bytes(me) > 4096);
        assert!(processes().contains(&me));
        assert_eq!(boot_id().len(), 36);
    }
}
