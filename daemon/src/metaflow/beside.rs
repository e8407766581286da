//! Files beside flow files that are no code and yet decide what a flow is: configs, and `requirements.txt`.

use dalsegno_flowfile::FlowFile;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::Notify;

/// From this an environment is made for flows that have none.
const REQUIREMENTS: &str = "requirements.txt";

/// The config files of all flows, by flow file.
#[derive(Debug, Default)]
pub(super) struct Beside {
    configs: Mutex<BTreeMap<PathBuf, BTreeSet<PathBuf>>>,
    /// More files than before.
    more: Notify,
}

/// What files looked like: whether they were saved since.
pub(super) type Sight = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Beside {
    /// Notes what a flow's configs are read from. Files are never forgotten: an error in the flow does not make its
    /// repair go unnoticed.
    pub(super) fn add(&self, flow: &Path, files: impl IntoIterator<Item = PathBuf>) {
        let mut configs = self.lock();
        let known = configs.entry(flow.to_owned()).or_default();
        let before = known.len();
        known.extend(files.into_iter().map(|it| plain(&it)));
        if known.len() > before {
            self.more.notify_one();
        }
    }

    /// Until there are more files than before.
    pub(super) async fn grown(&self) {
        self.more.notified().await;
    }

    /// Whether a change of this file may concern a flow.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        if path.file_name().is_some_and(|it| it == REQUIREMENTS) {
            return true;
        }
        let path = plain(path);
        self.lock().values().any(|it| it.contains(&path))
    }

    /// The folders that hold such files.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let configs = self.lock();
        let files = configs.values().flatten();
        files
            .filter_map(|it| Some(it.parent()?.to_owned()))
            .collect()
    }

    /// How all that a probe of this flow file reads, or is run with, looks now.
    pub(super) fn sight(&self, flow: &Path) -> Sight {
        // The nearest one counts; of those above the flows folder none does, and there they rarely are.
        let requirements = flow.ancestors().skip(1).map(|it| it.join(REQUIREMENTS));
        let configs = self.lock().get(flow).cloned().unwrap_or_default();
        std::iter::once(flow.to_owned())
            .chain(requirements)
            .chain(configs)
            .map(|path| {
                let found = std::fs::metadata(&path).ok();
                let found = found.and_then(|it| Some((it.modified().ok()?, it.len())));
                (path, found)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, BTreeSet<PathBuf>>> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Config files that the text of a flow names.
pub(super) fn named_in(flow: &Path, file: &FlowFile) -> Vec<PathBuf> {
    let folder = flow.parent().unwrap_or(flow);
    let files = file.metaflow.iter().flat_map(|it| &it.config_files);
    files.map(|it| folder.join(it)).collect()
}

/// Config files that Metaflow has read, each with its SHA-256; `None`: the dump does not tell.
pub(super) fn read_by(dump: &Value) -> Option<BTreeMap<PathBuf, Option<String>>> {
    serde_json::from_value(dump.get("config_files")?.clone()).ok()
}

/// Whether these files are as they were.
pub(super) fn is_current(files: &BTreeMap<PathBuf, Option<String>>) -> bool {
    files.iter().all(|(path, hash)| sha256(path) == *hash)
}

/// `None`: it cannot be read.
fn sha256(path: &Path) -> Option<String> {
    let digest = Sha256::digest(std::fs::read(path).ok()?);
    let mut hex = String::with_capacity(64);
    for byte in digest {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
    }
    Some(hex)
}

/// The same path without `.` and `..`, as Python's `abspath` has it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_holds_as_long_as_the_files_that_metaflow_has_read_are_the_same() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (config, later) = (
            folder.path().join("cfg.json"),
            folder.path().join("later.json"),
        );
        std::fs::write(&config, "{}").expect("the folder can be written to");
        let dump = json!({"config_files": {
            config.display().to_string(): "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            later.display().to_string(): null,
        }});
        let holds = || is_current(&read_by(&dump).expect("it tells"));
        assert!(holds());
        std::fs::write(&later, "").expect("the folder can be written to");
        assert!(!holds(), "a file that was missing is there");
        std::fs::remove_file(&later).expect("the folder can be written to");
        std::fs::write(&config, "{} ").expect("the folder can be written to");
        assert!(!holds(), "a file has changed");
        assert_eq!(read_by(&json!({})), None, "answers of earlier versions");
    }

    #[test]
    fn changes_of_configs_and_requirements_concern_a_flow() {
        let beside = Beside::default();
        let flow = Path::new("/srv/flows/train.py");
        beside.add(flow, ["/srv/flows/../shared/./cfg.toml".into()]);
        assert!(beside.concerns(Path::new("/srv/shared/cfg.toml")));
        assert!(beside.concerns(Path::new("/srv/flows/requirements.txt")));
        assert!(!beside.concerns(Path::new("/srv/flows/cfg.toml")));
        assert_eq!(beside.folders(), ["/srv/shared".into()].into());
        let seen = beside.sight(flow);
        let paths: Vec<_> = seen.iter().map(|(path, _)| path.as_path()).collect();
        let expected = [
            "/srv/flows/train.py",
            "/srv/flows/requirements.txt",
            "/srv/requirements.txt",
            "/requirements.txt",
            "/srv/shared/cfg.toml",
        ];
        assert_eq!(paths, expected.map(Path::new));
    }
}
