//! Processes that left their attempt's group (by `setsid`, as daemons do). When their parents are gone they
//! become the keeper's children, because it is a child subreaper; their mark tells whose they were.

use super::procfs;
use super::protocol::Key;
use rustix::process::{Pid, Signal};

/// The text of the mark: who keeps, and which attempt.
pub(crate) fn mark(keeper: &str, attempt: &str) -> String {
    format!("{keeper}#{attempt}")
}

/// The attempt a process belongs to, if it is one of this keeper.
pub(crate) fn owner(pid: Pid, keeper: &str) -> Option<Key> {
    let mark = procfs::mark(pid)?;
    Some(mark.strip_prefix(keeper)?.strip_prefix('#')?.into())
}

/// Kills those children of the keeper that belong to an attempt that has ended.
pub(crate) fn kill_escaped(
    keeper: &str,
    is_leader: impl Fn(Pid) -> bool,
    is_running: impl Fn(&str) -> bool,
) {
    let orphans = procfs::own_children()
        .into_iter()
        .filter(|&pid| !is_leader(pid));
    for pid in orphans {
        if owner(pid, keeper).is_some_and(|attempt| !is_running(&attempt)) {
            procfs::signal(pid, Signal::KILL);
        }
    }
}
