//! What came of environments before: a small file beside them.

use crate::private;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::warn;

const FILE: &str = "past.json";

/// The last good environment of each folder of flows, and why others could not be made.
#[derive(Debug)]
pub(super) struct Past {
    folder: PathBuf,
    /// One at a time reads and writes.
    turn: Mutex<()>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// Names of environments, by folder.
    good: BTreeMap<PathBuf, String>,
    /// Reasons, by the name that the environment would have had.
    failed: BTreeMap<String, String>,
}

impl Past {
    /// `folder`: where the environments are.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            turn: Mutex::default(),
        }
    }

    /// The name of the last good environment of a folder.
    pub(super) fn good(&self, folder: &Path) -> Option<String> {
        self.read().good.remove(folder)
    }

    /// Why the environment of this name could not be made when that was tried last.
    pub(super) fn failure(&self, name: &str) -> Option<String> {
        self.read().failed.remove(name)
    }

    pub(super) fn succeeded(&self, folder: &Path, name: &str) {
        self.change(|it| {
            it.good.insert(folder.to_owned(), name.to_owned());
            it.failed.remove(name);
        });
    }

    pub(super) fn failed(&self, name: &str, reason: &str) {
        self.change(|it| {
            it.failed.insert(name.to_owned(), reason.to_owned());
        });
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.read();
        let mut now = before.clone();
        change(&mut now);
        if now == before {
            return;
        }
        let text = serde_json::to_string_pretty(&now).expect("paths of flows are text");
        let place = self.folder.join(FILE);
        let new = self.folder.join(format!("{FILE}.{}", std::process::id()));
        let written = private::make_dir(&self.folder)
            .and_then(|()| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, &place));
        if let Err(error) = written {
            warn!(
                "{} cannot be written ({error}); it is not known later which environments were good",
                place.display()
            );
        }
    }

    /// Without the file, or with one that nobody can read, nothing was before.
    fn read(&self) -> Content {
        let text = std::fs::read_to_string(self.folder.join(FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_environment_of_a_folder_is_known_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let environments = dir.path().join("environments");
        let past = Past::new(environments.clone());
        past.succeeded(Path::new("/flows"), "a");
        past.failed("b", "no such package");
        past.succeeded(Path::new("/flows/team"), "c");
        let past = Past::new(environments);
        assert_eq!(past.good(Path::new("/flows")).as_deref(), Some("a"));
        assert_eq!(past.good(Path::new("/elsewhere")), None);
        assert_eq!(past.failure("b").as_deref(), Some("no such package"));
        past.succeeded(Path::new("/flows"), "b");
        assert_eq!(past.failure("b"), None);
        std::fs::write(dir.path().join("environments").join(FILE), "nonsense").expect("written");
        assert_eq!(past.good(Path::new("/flows")), None);
    }
}
