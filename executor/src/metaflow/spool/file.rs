//! The files: `RUN.spool` has what waits, one update a line, `RUN.sent` the number of the last that arrived, `RUN.refused`
//! what the service will never take.
//!
//! Tasks append to a `.spool` file under a lock (`spool.py`), and only the daemon removes lines from it. What is read
//! here is never more than a prefix of what tasks believe to be kept.

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file whose first so many bytes have arrived, and are more than half of it, is written anew without them.
const ARRIVED_BYTES_MAX: u64 = 1 << 20;

/// The end of a file in which the last line's number is found.
const TAIL_BYTES: u64 = 32;

/// One update, as a task left it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Update {
    /// Seconds since 1970, by the clock of the machine.
    pub(super) at: f64,
    pub(super) method: String,
    /// Below the service's URL.
    pub(super) path: String,
    pub(super) body: Value,
    /// It was sent before, and whether it arrived is not known.
    #[serde(default)]
    pub(super) doubt: bool,
}

/// What waits of one run.
#[derive(Clone, Debug)]
pub(super) struct RunFile {
    path: PathBuf,
}

/// A line: an update, or what cannot be read as one.
pub(super) type Line = (u64, Result<Update, String>);

impl RunFile {
    /// All runs of which something waits.
    pub(super) fn all(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "spool") {
                all.push(Self { path });
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// The run's id, as far as a file's name tells it.
    pub(super) fn run(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// The number of the last update that arrived.
    pub(super) fn arrived(&self) -> u64 {
        let text = std::fs::read_to_string(self.path.with_extension("sent"));
        text.ok().and_then(|it| it.trim().parse().ok()).unwrap_or(0)
    }

    /// Not synced: after a power failure some are sent again.
    pub(super) fn set_arrived(&self, number: u64) -> io::Result<()> {
        let new = self.path.with_extension("sent.new");
        std::fs::write(&new, number.to_string())?;
        std::fs::rename(new, self.path.with_extension("sent"))
    }

    /// How many wait.
    pub(super) fn count(&self) -> io::Result<u64> {
        let mut file = File::open(&self.path)?;
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        // Half a line at the end is none: its number is missing, and it was not acknowledged.
        let last = match number(&tail) {
            Some(last) => last,
            None => self.lines(0)?.last().map_or(0, |(number, _)| number),
        };
        Ok(last.saturating_sub(self.arrived()))
    }

    /// When the first of those that wait was kept.
    pub(super) fn since(&self) -> Option<f64> {
        let (_, update) = self.lines(self.arrived()).ok()?.next()?;
        Some(update.ok()?.at)
    }

    /// The updates after this number, in order.
    pub(super) fn lines(&self, after: u64) -> io::Result<impl Iterator<Item = Line> + use<>> {
        let mut file = BufReader::new(File::open(&self.path)?);
        let mut line = Vec::new();
        Ok(std::iter::from_fn(move || {
            loop {
                line.clear();
                file.read_until(b'\n', &mut line).ok()?;
                let number = number(&line)?;
                if number > after {
                    return Some((number, update(&line)));
                }
            }
        }))
    }

    /// All up to this number has arrived: removes the file if nothing is behind it, or what has arrived if that is much.
    pub(super) fn tidy(&self, arrived: u64) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let size = file.metadata()?.len();
        let (kept_from, is_empty) = self.behind(arrived)?;
        if is_empty {
            // In this order: a number without its file would hide the updates of the next one.
            remove(&self.path.with_extension("sent"))?;
            return remove(&self.path);
        }
        if kept_from > ARRIVED_BYTES_MAX && kept_from > size / 2 {
            self.write_anew(file, kept_from)?;
        }
        Ok(())
    }

    /// Where the first line lies that is behind this number, and whether there is none.
    fn behind(&self, arrived: u64) -> io::Result<(u64, bool)> {
        let mut file = BufReader::new(File::open(&self.path)?);
        let (mut line, mut offset) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line)?;
            match number(&line) {
                Some(number) if number <= arrived => offset += read as u64,
                found => return Ok((offset, found.is_none())),
            }
        }
    }

    fn write_anew(&self, mut file: File, from: u64) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut new = options.open(&path)?;
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file, &mut new)?;
        new.sync_all()?;
        std::fs::rename(path, &self.path)
    }

    /// Keeps what the service will not take, for a person to look at.
    pub(super) fn refuse(&self, update: &Value, reason: &str) -> io::Result<()> {
        let path = self.path.with_extension("refused");
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        let line = json!({ "reason": reason, "update": update }).to_string() + "\n";
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }
}

/// How many updates were refused, and the reason of the last.
pub(super) fn refused(folder: &Path) -> io::Result<Option<(usize, String)>> {
    let mut found: Option<(usize, String)> = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != "refused") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let last = text.lines().last().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap_or_default();
        let reason = last["reason"].as_str().unwrap_or("unknown").to_owned();
        let count = found.map_or(0, |(count, _)| count) + text.lines().count();
        found = Some((count, reason));
    }
    Ok(found)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lines end with a space and a number.
fn number(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\n")?;
    let space = line.iter().rposition(|it| *it == b' ')?;
    std::str::from_utf8(&line[space + 1..]).ok()?.parse().ok()
}

fn update(line: &[u8]) -> Result<Update, String> {
    let end = line.iter().rposition(|it| *it == b' ').unwrap_or(0);
    serde_json::from_slice(&line[..end]).map_err(|error| {
        format!(
            "it is not what a task writes ({error}): {}",
            String::from_utf8_lossy(line)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(lines: &[&str]) -> (tempfile::TempDir, RunFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("R.spool");
        std::fs::write(&path, lines.concat()).expect("written");
        (folder, RunFile { path })
    }

    fn line(number: u64) -> String {
        let path = format!("/flows/F{number}");
        let update =
            json!({ "at": 7.5, "method": "POST", "path": path, "body": {}, "doubt": false });
        format!("{update} {number}\n")
    }

    fn paths(file: &RunFile) -> Vec<String> {
        let lines = file.lines(file.arrived()).expect("a file");
        lines.map(|(_, it)| it.expect("an update").path).collect()
    }

    #[test]
    fn what_arrived_is_not_read_again_and_half_a_line_not_at_all() {
        let (_folder, file) = file_with(&[&line(1), &line(2), &line(3), r#"{"at": 8, "me"#]);
        assert_eq!(file.count().expect("a count"), 3);
        file.set_arrived(1).expect("written");
        assert_eq!(paths(&file), ["/flows/F2", "/flows/F3"]);
        assert_eq!(file.count().expect("a count"), 2);
        assert_eq!(file.since(), Some(7.5));
    }

    #[test]
    fn a_file_goes_away_with_its_last_update_and_not_before() {
        let (folder, file) = file_with(&[&line(1), &line(2)]);
        file.set_arrived(1).expect("written");
        file.tidy(1).expect("tidied");
        assert_eq!(paths(&file), ["/flows/F2"]);
        file.tidy(2).expect("tidied");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0
        );
    }

    #[test]
    fn what_arrived_of_a_long_file_is_let_go_and_the_rest_stays() {
        let all: Vec<String> = (1..=20_000).map(line).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (_folder, file) = file_with(&all);
        let before = std::fs::metadata(&file.path).expect("a file").len();
        file.set_arrived(19_000).expect("written");
        file.tidy(19_000).expect("tidied");
        let after = std::fs::metadata(&file.path).expect("a file").len();
        assert!(after < before / 15, "{before} and {after}");
        let left = paths(&file);
        assert_eq!((left.len(), left[0].as_str()), (1_000, "/flows/F19001"));
        assert_eq!(file.count().expect("a count"), 1_000);
    }

    #[test]
    fn what_no_task_wrote_is_told_by_itself() {
        let (folder, file) = file_with(&["{\"at\": 1} 1\n", &line(2)]);
        let mut lines = file.lines(0).expect("a file");
        let (number, found) = lines.next().expect("a line");
        let reason = found.expect_err("is none");
        assert!(number == 1 && reason.contains("missing field"), "{reason}");
        file.refuse(&json!("x"), &reason).expect("written");
        let (count, told) = refused(folder.path()).expect("read").expect("one");
        assert_eq!((count, told), (1, reason));
    }
}
