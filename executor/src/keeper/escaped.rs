//! Processes that left their attempt's group (by `setsid`, as daemons do). When their parents are gone they
//! become the keeper's children, because it is a child subreaper; their mark tells whose they were.

use super::procfs;
use super::protocol::Key;
use super::warm::ServerId;
use rustix::process::{Pid, Signal};
use std::time::Duration;

/// The text of the mark: who keeps, and which attempt.
pub(crate) fn mark(keeper: &str, attempt: &str) -> String {
    format!("{keeper}#{attempt}")
}

/// The mark of a warm interpreter and of whatever it starts without a mark of its own, with room for an
/// attempt's in its place.
pub(crate) fn server_mark(keeper: &str, id: ServerId, room: usize) -> String {
    format!("{keeper}#{SERVER}{id}#{:.<room$}", "")
}

/// What comes before the number of a server. No attempt's id begins with it.
const SERVER: &str = "warm:";

/// The attempt a process belongs to, if it is one of this keeper.
pub(crate) fn owner(pid: Pid, keeper: &str) -> Option<Key> {
    let mark = procfs::mark(pid)?;
    let mark = mark.strip_prefix(keeper)?.strip_prefix('#')?;
    Some(mark.split('#').next()?.into())
}

/// The server that an owner is, instead of an attempt.
pub(crate) fn server(owner: &str) -> Option<ServerId> {
    owner.strip_prefix(SERVER)?.parse().ok()
}

/// Kills those children of the keeper that belong to an attempt that has ended.
pub(crate) fn kill_escaped(
    keeper: &str,
    is_needed: impl Fn(Pid) -> bool,
    is_running: impl Fn(&str) -> bool,
) {
    let orphans = procfs::own_children()
        .into_iter()
        .filter(|&pid| !is_needed(pid));
    for pid in orphans {
        if owner(pid, keeper).is_some_and(|attempt| !is_running(&attempt)) {
            procfs::signal(pid, Signal::KILL);
        }
    }
}

/// Kills all processes whose mark begins with this, wherever they are, and waits until they are gone, but not
/// for ever.
pub(crate) async fn kill_marked(prefix: &str) {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    const LOOKS_MAX: usize = 1_000;
    let is_marked = |pid: &Pid| {
        procfs::mark(*pid).is_some_and(|it| it.starts_with(prefix))
            && procfs::stat(*pid).is_some_and(|it| !it.is_zombie)
    };
    for _ in 0..LOOKS_MAX {
        let remains: Vec<_> = procfs::processes().into_iter().filter(is_marked).collect();
        if remains.is_empty() {
            return;
        }
        for pid in remains {
            procfs::signal(pid, Signal::KILL);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
