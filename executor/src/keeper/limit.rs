//! Memory limits of attempts: a control group (version 2) where the keeper may make one, else the keeper looks
//! at the memory of the attempt's processes and kills them when it is too much.

use super::procfs;
use rustix::process::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often memory is looked at without control groups, and only while an attempt with a limit runs.
/// A program that fills memory at 2 GB/s is 100 MB above its limit when it is caught.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How an attempt is held to its limit.
#[derive(Debug)]
pub(crate) enum Limit {
    Group(PathBuf),
    Looked { memory_bytes: u64 },
}

impl Limit {
    /// Whether the processes of this attempt, a leader and all that descends from it, use too much by now.
    pub(crate) fn is_exceeded(&self, leader: Pid) -> bool {
        match self {
            Self::Group(_) => false,
            Self::Looked { memory_bytes } => tree_bytes(leader) > *memory_bytes,
        }
    }

    /// Whether the kernel killed a process for this limit. Asked once, at the end.
    pub(crate) fn was_exceeded(&self) -> bool {
        let Self::Group(path) = self else {
            return false;
        };
        let events = fs::read_to_string(path.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.split_once(' '))
            .any(|(name, count)| name == "oom_kill" && count.trim() != "0")
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Self::Group(path) = self {
            let _ = fs::write(path.join("cgroup.kill"), "1");
            let _ = fs::remove_dir(path);
        }
    }
}

fn tree_bytes(leader: Pid) -> u64 {
    let mut rest = vec![leader];
    let mut bytes = 0;
    while let Some(pid) = rest.pop() {
        bytes += procfs::memory_bytes(pid);
        rest.extend(procfs::children(pid));
    }
    bytes
}

/// Makes limits.
#[derive(Debug)]
pub(crate) struct Limits {
    /// A control group of ours whose children may have a memory limit.
    parent: Option<PathBuf>,
    made: u64,
}

impl Limits {
    /// Looks for a place where control groups with memory limits can be made: below the keeper's own group, or
    /// beside it where the parent was delegated to us (systemd: `Delegate=memory`, `DelegateSubgroup=`).
    pub(crate) fn find() -> Self {
        let parent = places()
            .into_iter()
            .find_map(|place| make_parent(&place).ok());
        Self { parent, made: 0 }
    }

    pub(crate) fn limit(&mut self, memory_bytes: u64) -> Limit {
        let made = self.parent.as_ref().and_then(|parent| {
            self.made += 1;
            let path = parent.join(self.made.to_string());
            make_group(&path, memory_bytes).ok()?;
            Some(Limit::Group(path))
        });
        made.unwrap_or(Limit::Looked { memory_bytes })
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            let _ = fs::remove_dir(parent);
        }
    }
}

fn places() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    });
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let (Some(mount), Some(own)) = (mount, own) else {
        return Vec::new();
    };
    let own_path = mount.join(own);
    // A slice belongs to systemd alone; a service with delegation to us.
    let delegated = Path::new(own)
        .parent()
        .filter(|it| it.extension().is_some_and(|it| it == "service"));
    let beside = delegated.map(|it| mount.join(it));
    [Some(own_path), beside].into_iter().flatten().collect()
}

fn make_parent(place: &Path) -> io::Result<PathBuf> {
    let has_memory = |file: &str| -> io::Result<bool> {
        Ok(fs::read_to_string(place.join(file))?
            .split_ascii_whitespace()
            .any(|it| it == "memory"))
    };
    if !has_memory("cgroup.controllers")? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if !has_memory("cgroup.subtree_control")? {
        fs::write(place.join("cgroup.subtree_control"), "+memory")?;
    }
    let parent = place.join(format!("dalsegno-keeper-{}", std::process::id()));
    fs::create_dir(&parent)?;
    fs::write(parent.join("cgroup.subtree_control"), "+memory").inspect_err(|_| {
        let _ = fs::remove_dir(&parent);
    })?;
    Ok(parent)
}

fn make_group(path: &Path, memory_bytes: u64) -> io::Result<()> {
    fs::create_dir(path)?;
    let set = || {
        fs::write(path.join("memory.max"), memory_bytes.to_string())?;
        // One process over the limit ends the attempt as a whole.
        fs::write(path.join("memory.oom.group"), "1")?;
        // Swap would only make the end slow. The file is absent where there is no swap.
        let _ = fs::write(path.join("memory.swap.max"), "0");
        Ok(())
    };
    set().inspect_err(|_| {
        let _ = fs::remove_dir(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_says_whether_the_kernel_killed_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let limit = Limit::Group(dir.path().to_owned());
        assert!(!limit.was_exceeded());
        let events = dir.path().join("memory.events");
        fs::write(&events, "low 0\nmax 12\noom 0\noom_kill 0\n").expect("written");
        assert!(!limit.was_exceeded());
        fs::write(&events, "low 0\nmax 12\noom 1\noom_kill 1\n").expect("written");
        assert!(limit.was_exceeded());
    }

    #[test]
    fn without_control_groups_the_keeper_looks_itself() {
        let me = rustix::process::getpid();
        assert!(
            !Limit::Looked {
                memory_bytes: u64::MAX
            }
            .is_exceeded(me)
        );
        assert!(Limit::Looked { memory_bytes: 1 }.is_exceeded(me));
    }
}
