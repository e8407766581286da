//! Logs where Metaflow's client looks for them.

use crate::local::{Layout, Stream};
use dalsegno_scheduler::{AttemptId, Timestamp};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::warn;

/// Puts the logs of an attempt that has ended into its task's folder of a local datastore. An empty one needs no file.
pub(crate) fn save(layout: &Layout, attempt: &AttemptId, folder: &Path, retry: u32) {
    for (stream, name) in [(Stream::Out, "stdout"), (Stream::Err, "stderr")] {
        let from = layout.log_path(attempt, stream);
        let to = folder.join(format!("{retry}.runtime_{name}.log"));
        match save_file(&from, &to) {
            Ok(()) => {}
            // It was never begun.
            Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => {}
            Err(error) => warn!(
                "Metaflow's client will not find the log of {attempt}: cannot write {}: {error}",
                to.display()
            ),
        }
    }
}

fn save_file(from: &Path, to: &Path) -> io::Result<()> {
    let log = File::open(from)?;
    let about = log.metadata()?;
    // The end of an attempt may be heard more than once.
    if about.len() == 0 || to.exists() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = to.with_added_extension("draft");
    let begun = about.created().or_else(|_| about.modified())?;
    structured(
        BufReader::new(log),
        BufWriter::new(File::create(&draft)?),
        micros(begun),
    )?;
    std::fs::rename(draft, to)
}

/// Writes the lines in Metaflow's form. Its client sorts lines by their time, and those without one by their text; so the
/// first line gets the time at which the log was begun, and each that follows a microsecond more.
fn structured(mut log: impl BufRead, mut to: impl Write, begun_us: i64) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0;
    while log.read_until(b'\n', &mut line)? > 0 {
        let at = begun_us + number;
        let second = Timestamp::from_secs(at.div_euclid(1_000_000)).to_string();
        let second = second.trim_end_matches('Z');
        let part = at.rem_euclid(1_000_000);
        write!(to, "[MFLOG|0|{second}.{part:06}Z|runtime|{number}]")?;
        to.write_all(&line)?;
        line.clear();
        number += 1;
    }
    to.flush()
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_order_by_their_times() {
        let mut written = Vec::new();
        structured(&b"second\nfirst\n\nopen end"[..], &mut written, 1_999_999).expect("memory");
        assert_eq!(
            String::from_utf8_lossy(&written),
            "[MFLOG|0|1970-01-01T00:00:01.999999Z|runtime|0]second\n\
             [MFLOG|0|1970-01-01T00:00:02.000000Z|runtime|1]first\n\
             [MFLOG|0|1970-01-01T00:00:02.000001Z|runtime|2]\n\
             [MFLOG|0|1970-01-01T00:00:02.000002Z|runtime|3]open end"
        );
    }
}
