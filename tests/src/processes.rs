//! Processes of this machine, by the folder they belong to.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// A process, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub command: String,
}

/// All processes that name the folder in their command line or environment, or work in it. Zombies are not among
/// them, since they have neither; we ourselves are not, either.
pub(crate) fn of_folder(folder: &Path) -> Vec<Process> {
    let needle = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("Linux has /proc");
    let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| belonging(pid, &needle))
        .collect()
}

fn belonging(pid: u32, needle: &str) -> Option<Process> {
    // Any of these may be gone or forbidden a moment later; then it is not ours or no longer there.
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let command = read("cmdline");
    let works_in = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    let is_ours = command.contains(needle)
        || read("environ").contains(needle)
        || works_in.starts_with(needle);
    is_ours.then(|| Process {
        pid,
        command: command.trim().to_owned(),
    })
}

/// Sends SIGKILL.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid is a positive number");
    match kill_process(pid, signal) {
        // It may have ended a moment ago, which is what was wanted.
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot signal process {pid:?}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::House;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_belongs_to_a_house_by_its_words_its_variables_or_its_place() {
        let house = House::with(&[]);
        assert_eq!(house.processes(), []);
        let mut waits = Command::new("sh");
        waits.args(["-c", "read _"]).stdin(Stdio::piped());
        let mut by_words = waits.arg(house.folder()).spawn().expect("there is a shell");
        let mut waits = Command::new("sh");
        waits.args(["-c", "read _"]).stdin(Stdio::piped());
        let mut by_variable = waits
            .env("PLACE", house.path("x"))
            .spawn()
            .expect("there is a shell");
        let mut waits = Command::new("sh");
        waits.args(["-c", "read _"]).stdin(Stdio::piped());
        let mut by_place = waits
            .current_dir(house.flows())
            .spawn()
            .expect("there is a shell");

        let mut started = vec![by_words.id(), by_variable.id(), by_place.id()];
        started.sort_unstable();
        // For a moment after its start a process shows neither words nor variables.
        crate::eventually("all three and no other", || {
            let mut found: Vec<_> = house.processes().iter().map(|it| it.pid).collect();
            found.sort_unstable();
            (found == started).then_some(())
        });
        for child in [&mut by_words, &mut by_variable, &mut by_place] {
            kill(child.id());
            child.wait().expect("our child");
        }
        house.is_empty_soon();
    }
}
