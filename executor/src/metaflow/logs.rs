//! Logs where Metaflow's client looks for them.

use crate::local::{Layout, Stream};
use dalsegno_scheduler::AttemptId;
use std::io::{self, ErrorKind};
use std::path::Path;
use tracing::warn;

/// Makes the logs of an attempt that has ended known in its task's folder of a local datastore, as links where that
/// is possible.
pub(crate) fn link(layout: &Layout, attempt: &AttemptId, folder: &Path, retry: u32) {
    for (stream, name) in [(Stream::Out, "stdout"), (Stream::Err, "stderr")] {
        let from = layout.log_path(attempt, stream);
        let to = folder.join(format!("{retry}.runtime_{name}.log"));
        match link_file(&from, &to) {
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

fn link_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // The end of an attempt may be heard more than once.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
        // Another file system, or one without links.
        Err(_) => std::fs::copy(from, to).map(|_| ()),
    }
}
