//! What a keeper must remember beyond its own death: an append-only file of JSON lines.
//!
//! It is not synced to disk: it has to outlive the keeper, not the machine. When the machine goes down all its
//! attempts end with it, and whatever was not committed by then is reported as lost.

use super::protocol::{End, Key};
use dalsegno_scheduler::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "journal";
const NEW_FILE: &str = "journal.new";

/// Beginning a new file is not worth the trouble below this size: about 3,000 attempts.
const LONG_BYTES_MIN: u64 = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// First line: which boot of the machine the process ids belong to.
    Boot(String),
    /// A process is about to be started.
    Asked(Key),
    Started {
        attempt: Key,
        pid: i32,
        /// Since the machine booted, in microseconds: tells the process from a later one of the same id.
        boot_us: u64,
        at: Timestamp,
    },
    Ended(Ended),
    Forgotten(Key),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) attempt: Key,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) at: Timestamp,
    pub(crate) end: End,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<String>,
}

/// What the file says of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Remembered {
    Asked,
    Started {
        pid: i32,
        boot_us: u64,
        at: Timestamp,
    },
    Ended(Ended),
}

/// What an earlier keeper left behind.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) boot: Option<String>,
    pub(crate) attempts: BTreeMap<Key, Remembered>,
}

pub(crate) struct Journal {
    file: File,
    size_bytes: u64,
    /// Size from which on it counts as long.
    long_bytes: u64,
    line: Vec<u8>,
}

impl Journal {
    /// Reads what the last keeper in this directory wrote. A last line that was cut short is ignored.
    pub(crate) fn read(dir: &Path) -> io::Result<Past> {
        let bytes = match std::fs::read(dir.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::default()),
            Err(error) => return Err(error),
        };
        let mut past = Past::default();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let Ok(record) = serde_json::from_slice(line) else {
                continue;
            };
            past.apply(record);
        }
        Ok(past)
    }

    /// Begins a new file that remembers these records and nothing else.
    pub(crate) fn begin(dir: &Path, boot: &str, records: &[Record]) -> io::Result<Self> {
        let mut bytes = Vec::new();
        push(&mut bytes, &Record::Boot(boot.to_owned()));
        for record in records {
            push(&mut bytes, record);
        }
        std::fs::write(dir.join(NEW_FILE), &bytes)?;
        std::fs::rename(dir.join(NEW_FILE), dir.join(FILE))?;
        let file = OpenOptions::new().append(true).open(dir.join(FILE))?;
        let size_bytes = bytes.len() as u64;
        Ok(Self {
            file,
            size_bytes,
            long_bytes: LONG_BYTES_MIN.max(4 * size_bytes),
            line: Vec::new(),
        })
    }

    /// Most of it is about attempts long forgotten, so it is time to begin a new one.
    pub(crate) const fn is_long(&self) -> bool {
        self.size_bytes > self.long_bytes
    }

    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.line.clear();
        for record in records {
            push(&mut self.line, record);
        }
        let before = self.size_bytes;
        match self.file.write_all(&self.line) {
            Ok(()) => {
                self.size_bytes += self.line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line would spoil the one that follows.
                let _ = self.file.set_len(before);
                Err(error)
            }
        }
    }
}

impl Past {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Boot(boot) => self.boot = Some(boot),
            Record::Asked(attempt) => {
                self.attempts.insert(attempt, Remembered::Asked);
            }
            Record::Started {
                attempt,
                pid,
                boot_us,
                at,
            } => {
                let started = Remembered::Started { pid, boot_us, at };
                self.attempts.insert(attempt, started);
            }
            Record::Ended(ended) => {
                let attempt = ended.attempt.clone();
                self.attempts.insert(attempt, Remembered::Ended(ended));
            }
            Record::Forgotten(attempt) => {
                self.attempts.remove(&attempt);
            }
        }
    }
}

fn push(bytes: &mut Vec<u8>, record: &Record) {
    serde_json::to_writer(&mut *bytes, record).expect("records have text keys only");
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(attempt: &str) -> Ended {
        Ended {
            attempt: attempt.into(),
            started_at: None,
            at: Timestamp(7),
            end: End::Exit(0),
            outputs: vec!["auc".into()],
        }
    }

    #[test]
    fn what_was_written_is_remembered_except_what_was_forgotten_and_a_line_cut_short() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::begin(dir.path(), "boot", &[]).expect("begun");
        let started = Record::Started {
            attempt: "b".into(),
            pid: 9,
            boot_us: 8,
            at: Timestamp(7),
        };
        let all = [
            Record::Asked("a".into()),
            Record::Asked("b".into()),
            started,
            Record::Asked("c".into()),
            Record::Ended(ended("c")),
            Record::Asked("d".into()),
            Record::Forgotten("d".into()),
        ];
        journal.append(&all).expect("written");
        journal
            .file
            .write_all(b"{\"ended\":{\"att")
            .expect("written");

        let past = Journal::read(dir.path()).expect("read");
        assert_eq!(past.boot.as_deref(), Some("boot"));
        let states: Vec<_> = past.attempts.into_iter().collect();
        let b = Remembered::Started {
            pid: 9,
            boot_us: 8,
            at: Timestamp(7),
        };
        assert_eq!(
            states,
            [
                ("a".into(), Remembered::Asked),
                ("b".into(), b),
                ("c".into(), Remembered::Ended(ended("c")))
            ]
        );
    }

    #[test]
    fn a_journal_becomes_long_by_what_is_forgotten_not_by_what_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept: Vec<_> = (0..20_000)
            .map(|n| Record::Ended(ended(&format!("{n}"))))
            .collect();
        let journal = Journal::begin(dir.path(), "boot", &kept).expect("begun");
        assert!(journal.size_bytes > LONG_BYTES_MIN && !journal.is_long());

        let mut journal = Journal::begin(dir.path(), "boot", &kept[..1]).expect("begun");
        while !journal.is_long() {
            journal
                .append(&[Record::Forgotten("other".into())])
                .expect("written");
        }
        assert!(journal.size_bytes < LONG_BYTES_MIN + 100);
    }
}
