//! How steps and tests tell each other things without asking again and again: named pipes.

use crate::patience::PATIENCE;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A named pipe that steps write lines to (`echo "ready" > PIPE`) and a test reads.
pub struct Witness {
    path: PathBuf,
    lines: Receiver<String>,
    passed_over: VecDeque<String>,
}

impl Witness {
    pub(crate) fn at(path: &Path) -> Self {
        make_pipe(path);
        // Open for both, so that writers never wait and the end never comes.
        let pipe = open_for_both(path);
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            path: path.to_owned(),
            lines,
            passed_over: VecDeque::new(),
        }
    }

    /// Where steps write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next line, oldest first.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.line_within(PATIENCE) {
            Some(line) => line,
            None => panic!("no step said anything for {PATIENCE:?}"),
        }
    }

    /// The next line, oldest first; `None` when none comes in time.
    pub fn line_within(&mut self, limit: Duration) -> Option<String> {
        self.passed_over
            .pop_front()
            .or_else(|| self.lines.recv_timeout(limit).ok())
    }

    /// Waits for a line that starts so, and gives it; lines before it stay for later.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for(&mut self, start: &str) -> String {
        if let Some(at) = self.passed_over.iter().position(|it| it.starts_with(start)) {
            return self.passed_over.remove(at).expect("it was found there");
        }
        let since = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(since.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(start) => return line,
                Ok(line) => self.passed_over.push_back(line),
                Err(_) => break,
            }
        }
        panic!(
            "no step said `{start}…` within {PATIENCE:?}; said were {:?}",
            self.passed_over
        );
    }

    /// All lines said so far.
    pub fn so_far(&mut self) -> Vec<String> {
        self.passed_over
            .drain(..)
            .chain(self.lines.try_iter())
            .collect()
    }
}

/// A named pipe at which steps wait (`cat PIPE`) until the test lets them through.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    pub(crate) fn at(path: &Path) -> Self {
        make_pipe(path);
        Self {
            path: path.to_owned(),
        }
    }

    /// Where steps wait.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets one step through, once it has come to the gate.
    pub fn open(&self) {
        drop(
            OpenOptions::new()
                .write(true)
                .open(&self.path)
                .expect("the pipe is there"),
        );
    }
}

fn make_pipe(path: &Path) {
    let status = Command::new("mkfifo")
        .arg(path)
        .status()
        .expect("mkfifo of coreutils is installed");
    assert!(status.success(), "mkfifo {} failed", path.display());
}

fn open_for_both(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the pipe was made a moment ago")
}

#[cfg(test)]
mod tests {
    use crate::House;
    use std::process::Command;

    #[test]
    fn a_step_speaks_waits_at_the_gate_and_goes_on() {
        let house = House::with(&[]);
        let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
        let mut step = Command::new("sh")
            .args([
                "-c",
                "echo first > witness; cat gate; echo second > witness",
            ])
            .current_dir(house.folder())
            .spawn()
            .expect("there is a shell");
        assert_eq!(witness.line(), "first");
        assert_eq!(witness.so_far(), [""; 0], "it waits");
        gate.open();
        witness.wait_for("sec");
        assert!(step.wait().expect("our child").success());
    }

    #[test]
    fn lines_that_were_passed_over_come_later() {
        let house = House::with(&[]);
        let mut witness = house.witness("witness");
        std::fs::write(witness.path(), "one\ntwo\nthree\n").expect("the pipe is open");
        assert_eq!(witness.wait_for("three"), "three");
        assert_eq!(witness.line(), "one");
        assert_eq!(witness.so_far(), ["two"]);
    }
}
