//! After a keeper has died: its attempts are lost, and what is left of them is killed before anyone is told.

use super::escaped;
use super::journal::{Ended, Past, Remembered};
use super::procfs;
use super::protocol::{End, Key};
use dalsegno_engine::clock;
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::time::Duration;

/// How far the start of a process as the kernel counts it (hundredths of a second) may be from the moment at
/// which we noted it.
const START_DIFFERS_US_MAX: u64 = 1_000_000;

/// How often to look whether the killed processes are gone, and whether they had started others meanwhile. They
/// are not our children, so nothing tells us.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// After about five seconds we go on without those that do not die.
const LOOKS_MAX: usize = 2_500;

/// The ends of all attempts of the past, those that ended with their keeper included.
pub(crate) async fn settle(past: Past, boot: &str, keeper: &str) -> Vec<Ended> {
    let same_boot = past.boot.as_deref() == Some(boot);
    let mut ends = Vec::new();
    let mut leaders = Vec::new();
    for (attempt, remembered) in past.attempts {
        let started_at = match remembered {
            Remembered::Ended(ended) => {
                ends.push(ended);
                continue;
            }
            Remembered::Asked => None,
            Remembered::Started { pid, boot_us, at } => {
                leaders.extend(Pid::from_raw(pid).map(|pid| (pid, boot_us)));
                Some(at)
            }
        };
        ends.push(lost(attempt, started_at, same_boot));
    }
    if same_boot {
        kill_remains(&leaders, keeper).await;
    }
    ends
}

fn lost(attempt: Key, started_at: Option<dalsegno_scheduler::Timestamp>, same_boot: bool) -> Ended {
    let message = if same_boot {
        "the keeper that ran it died; what was left of it was killed"
    } else {
        "the machine went down while it ran"
    };
    Ended {
        attempt,
        started_at,
        at: clock::now(),
        end: End::Lost(message.into()),
        outputs: Vec::new(),
    }
}

async fn kill_remains(leaders: &[(Pid, u64)], keeper: &str) {
    // A process id may belong to somebody else by now: only a leader that started when ours did is ours.
    let groups: BTreeSet<i32> = leaders
        .iter()
        .filter(|(pid, boot_us)| {
            procfs::stat(*pid).is_some_and(|it| {
                it.group == pid.as_raw_nonzero().get()
                    && it.started_boot_us.abs_diff(*boot_us) <= START_DIFFERS_US_MAX
            })
        })
        .map(|(pid, _)| pid.as_raw_nonzero().get())
        .collect();
    let me = rustix::process::getpid();
    let mut told = BTreeSet::new();
    for _ in 0..LOOKS_MAX {
        let is_ours = |pid: &Pid| {
            *pid != me
                && procfs::stat(*pid).is_some_and(|it| {
                    !it.is_zombie
                        && (groups.contains(&it.group) || escaped::owner(*pid, keeper).is_some())
                })
        };
        let remains: Vec<_> = procfs::processes().into_iter().filter(is_ours).collect();
        if remains.is_empty() {
            return;
        }
        for pid in remains {
            if told.insert(pid.as_raw_nonzero()) {
                eprintln!("keeper: kills process {pid}, left by an earlier keeper");
            }
            procfs::signal(pid, Signal::KILL);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    eprintln!("keeper: some processes of an earlier keeper do not die");
}
