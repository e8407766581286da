//! One attempt as the keeper sees it.

use super::journal::{Ended, Record};
use super::limit::Limit;
use super::procfs;
use super::protocol::{End, Event, Key, Order};
use super::state::Inherited;
use super::warm::ServerId;
use dalsegno_scheduler::Timestamp;
use rustix::process::{Pid, Signal, WaitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for killed processes of a group to be gone. Only one that hangs in the kernel takes longer.
const GONE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) enum Attempt {
    /// Accepted; its turn to be started has not come.
    Queued,
    /// A warm interpreter was asked for a process; none runs anything yet.
    Offered(Box<Turn>),
    Running(Process),
    Ended(Ended),
}

/// What is needed to start it one way or the other.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) order: Arc<Order>,
    pub(crate) inherited: Inherited,
    pub(crate) limit: Option<Limit>,
    /// How often a warm interpreter died before it answered.
    pub(crate) deaths: u32,
}

/// A process group: alive, or its leader is dead and the rest is on its way out.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) leader: Pid,
    pub(crate) started_at: Timestamp,
    /// Since boot.
    pub(crate) started_boot_us: u64,
    /// Those of its order.
    pub(crate) outputs: Vec<String>,
    pub(crate) status: Option<WaitStatus>,
    pub(crate) stop: Option<Stop>,
    pub(crate) limit: Option<Limit>,
    /// Of the interpreter it is a copy of.
    pub(crate) server: Option<ServerId>,
    /// It was over its limit and we killed it.
    pub(crate) over_limit: bool,
    /// Nobody wants to know how it ends.
    pub(crate) is_forgotten: bool,
    /// When to give up waiting for the killed rest of its group.
    pub(crate) gone_by: Option<Instant>,
}

/// Someone wants it to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// Asked to; killed at this moment.
    Asked(Instant),
    Killed,
}

impl Process {
    pub(crate) const fn new(leader: Pid, started_at: Timestamp, started_boot_us: u64) -> Self {
        Self {
            leader,
            started_at,
            started_boot_us,
            outputs: Vec::new(),
            status: None,
            stop: None,
            limit: None,
            server: None,
            over_limit: false,
            is_forgotten: false,
            gone_by: None,
        }
    }

    /// Asks the group to end, or kills it when there is no time left. A second call can only shorten the grace.
    pub(crate) fn stop(&mut self, now: Instant, grace: Duration) {
        if self.status.is_some() {
            return;
        }
        let kill_at = now + grace;
        self.stop = match self.stop {
            Some(Stop::Killed) => Some(Stop::Killed),
            Some(Stop::Asked(at)) => Some(Stop::Asked(at.min(kill_at))),
            None => {
                procfs::signal_group(self.leader, Signal::TERM);
                Some(Stop::Asked(kill_at))
            }
        };
        self.advance(now);
    }

    /// Does what is due; true when the group is gone.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        if let Some(Stop::Asked(at)) = self.stop
            && at <= now
        {
            procfs::signal_group(self.leader, Signal::KILL);
            self.stop = Some(Stop::Killed);
        }
        if self.status.is_none() {
            return false;
        }
        if !procfs::group_exists(self.leader) {
            return true;
        }
        // The leader has ended, others of its group have not. After a polite stop they have their grace too;
        // else nothing is left behind.
        if matches!(self.stop, Some(Stop::Asked(_))) {
            return false;
        }
        procfs::signal_group(self.leader, Signal::KILL);
        now >= *self.gone_by.get_or_insert(now + GONE_WITHIN)
    }

    /// When [`Self::advance`] has something to do by itself.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        /// Members of a group whose parents left the group are not ours to wait for, so nothing tells that
        /// they are gone.
        const LOOK_AGAIN: Duration = Duration::from_millis(10);
        let kill = match self.stop {
            Some(Stop::Asked(at)) => Some(at),
            _ => None,
        };
        let look = self.status.map(|_| now + LOOK_AGAIN);
        kill.into_iter().chain(look).min()
    }

    /// How it ended. `kernel_killed`: since the last time somebody asked, the kernel has killed a process
    /// somewhere on the machine because memory ran out.
    pub(crate) fn end(&self, kernel_killed: impl FnOnce() -> bool) -> End {
        let Some(status) = self.status else {
            return End::Lost("its exit status is not known".into());
        };
        // A shell says 128 + 9 of a command that was killed.
        let killed = status.terminating_signal() == Some(Signal::KILL.as_raw())
            || status.exit_status() == Some(128 + Signal::KILL.as_raw());
        if self.over_limit || self.limit.as_ref().is_some_and(Limit::was_exceeded) {
            return End::OutOfMemory;
        }
        if self.stop.is_some() {
            return End::Stopped;
        }
        if killed && kernel_killed() {
            return End::OutOfMemory;
        }
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => End::Exit(code),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        }
    }
}

impl Attempt {
    /// What a daemon is told when it asks; nothing while it is queued, since the news will come.
    pub(crate) fn event(&self, attempt: &Key) -> Option<Event> {
        match self {
            Self::Queued | Self::Offered(_) => None,
            Self::Running(process) => Some(Event::Started {
                attempt: attempt.clone(),
                pid: process.leader.as_raw_nonzero().get(),
                at: process.started_at,
            }),
            Self::Ended(ended) => Some(ended.event()),
        }
    }

    /// What the journal has to say of it.
    pub(crate) fn record(&self, attempt: &Key) -> Option<Record> {
        match self {
            Self::Queued | Self::Offered(_) => None,
            Self::Running(process) => Some(process.record(attempt)),
            Self::Ended(ended) => Some(Record::Ended(ended.clone())),
        }
    }
}

impl Process {
    pub(crate) fn record(&self, attempt: &Key) -> Record {
        Record::Started {
            attempt: attempt.clone(),
            pid: self.leader.as_raw_nonzero().get(),
            boot_us: self.started_boot_us,
            at: self.started_at,
        }
    }
}

impl Ended {
    pub(crate) fn event(&self) -> Event {
        Event::Ended {
            attempt: self.attempt.clone(),
            started_at: self.started_at,
            at: self.at,
            end: self.end.clone(),
            outputs: self.outputs.clone(),
        }
    }
}
