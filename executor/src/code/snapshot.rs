//! Copies of flow files and the modules they import, named after their content.

use super::package;
use crate::metaflow::hex;
use crate::private;
use dalsegno_scheduler::metaflow::Code;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is not linked: large, or made anew where it is missing, or for the folder itself alone.
const NOT_LINKED: [&str; 6] = [
    "__pycache__",
    ".git",
    ".metaflow",
    ".venv",
    "venv",
    ".dalsegno",
];

/// The folder of all snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the snapshot {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the path {} is not UTF-8; rename it", .0.display())]
    NotUtf8(PathBuf),
    #[error("the code package cannot be used: {0}")]
    Package(String),
}

/// What is copied: content by path below the snapshot.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

impl Snapshots {
    /// Snapshots are made below this folder, which is [`Layout::code_dir`](crate::Layout::code_dir).
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the flow file of a snapshot lies.
    pub fn entry(&self, code: &Code) -> PathBuf {
        self.dir.join(&code.hash).join(&code.entry)
    }

    /// Copies a flow file and those modules of its folder that it imports; all else in the folder is linked, so
    /// that what a flow finds beside itself is found. Modules elsewhere stay where they are. The same code gives
    /// the same snapshot. Reads and writes files, so nobody should wait for it.
    ///
    /// # Errors
    /// When a file cannot be read or the snapshot not be written.
    pub fn snapshot(&self, file: &Path, closure: &[PathBuf]) -> Result<Code, CodeError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| CodeError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let file = absolute(file)?;
        let folder = file.parent().unwrap_or(&file);
        let mut files = Files::new();
        for path in std::iter::once(&file).chain(closure) {
            let path = absolute(path)?;
            let Ok(name) = path.strip_prefix(folder) else {
                continue;
            };
            let content = std::fs::read(&path).map_err(|source| CodeError::Read {
                path: path.clone(),
                source,
            })?;
            files.insert(name.to_owned(), content);
        }
        let entry = file.strip_prefix(folder).unwrap_or(&file);
        let code = Code {
            hash: hash(Some(folder), &files),
            entry: text(entry)?,
            folder: text(folder)?,
        };
        self.put(&code, &files, |place| link_rest(folder, place, &files))?;
        Ok(code)
    }

    /// Unpacks the code that a deployment brings, a `.tar.gz`. Its folder is the snapshot itself.
    ///
    /// # Errors
    /// When the package is none, too large, or has anything but plain files below itself.
    pub fn unpack(&self, package: &[u8], entry: &str) -> Result<Code, CodeError> {
        let files = package::read(package).map_err(CodeError::Package)?;
        let Some(entry) = below(Path::new(entry)) else {
            return Err(CodeError::Package(format!(
                "its entry {entry:?} is no file in it; name the flow file's path in the package, without `..`"
            )));
        };
        let entry = text(&entry)?;
        if !files.contains_key(Path::new(&entry)) {
            let names: Vec<_> = files
                .keys()
                .take(5)
                .map(|it| it.display().to_string())
                .collect();
            return Err(CodeError::Package(format!(
                "it has no {entry}; it has {} files, such as {}",
                files.len(),
                names.join(", ")
            )));
        }
        let hash = hash(None, &files);
        let code = Code {
            entry,
            folder: text(&self.dir.join(&hash))?,
            hash,
        };
        self.put(&code, &files, |_| Ok(()))?;
        Ok(code)
    }

    /// Removes the snapshots that are not named, and what was left unfinished; gives how many. Nobody may make or
    /// use others meanwhile.
    pub fn keep_only(&self, named: &BTreeSet<String>) -> usize {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let unnamed = entries.filter(|it| match it.file_name().to_str() {
            Some(name) => !named.contains(name),
            None => false,
        });
        // Links in them are removed, and not what they lead to.
        unnamed
            .filter(|it| std::fs::remove_dir_all(it.path()).is_ok())
            .count()
    }

    /// Whether one of these is here.
    pub fn has_any_of(&self, named: &BTreeSet<String>) -> bool {
        named.iter().any(|it| self.dir.join(it).is_dir())
    }

    /// All or nothing, and once: whoever comes second finds it.
    fn put(
        &self,
        code: &Code,
        files: &Files,
        link: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), CodeError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let place = self.dir.join(&code.hash);
        let failed = |source| CodeError::Write {
            path: place.clone(),
            source,
        };
        if place.is_dir() {
            // What was added to the folder meanwhile.
            return link(&place).map_err(failed);
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("new-{}-{}-{number}", code.hash, std::process::id());
        let new = self.dir.join(name);
        let made = write(&new, files).and_then(|()| link(&new));
        let put = made.and_then(|()| std::fs::rename(&new, &place));
        if put.is_err() {
            let _ = std::fs::remove_dir_all(&new);
        }
        match put {
            Err(_) if place.is_dir() => Ok(()),
            other => other.map_err(failed),
        }
    }
}

fn write(place: &Path, files: &Files) -> io::Result<()> {
    private::make_dir(place)?;
    for (name, content) in files {
        let path = place.join(name);
        private::make_dir(path.parent().unwrap_or(place))?;
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o400))?;
    }
    Ok(())
}

/// Links what lies beside the copies, in every folder that has some.
fn link_rest(folder: &Path, place: &Path, files: &Files) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for name in files.keys() {
        folders.extend(name.ancestors().skip(1).map(Path::to_owned));
    }
    for inner in &folders {
        for entry in std::fs::read_dir(folder.join(inner))? {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            let is_left_out = NOT_LINKED.iter().any(|it| entry.file_name() == *it);
            if is_left_out || files.contains_key(&name) || folders.contains(&name) {
                continue;
            }
            match symlink(entry.path(), place.join(&name)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// `folder`: what the links lead to.
fn hash(folder: Option<&Path>, files: &Files) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(folder.map_or(&[], |it| it.as_os_str().as_encoded_bytes()));
    for (name, content) in files {
        add(name.as_os_str().as_encoded_bytes());
        add(content);
    }
    hex(&hash.finalize())
}

fn text(path: &Path) -> Result<String, CodeError> {
    let text = path
        .to_str()
        .ok_or_else(|| CodeError::NotUtf8(path.to_owned()))?;
    Ok(text.to_owned())
}

/// The same path without `.`; `None`: it leads elsewhere than below the folder it is in.
pub(crate) fn below(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!plain.as_os_str().is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_code_and_links_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        let flows = dir.path().join("flows");
        for (name, content) in [
            ("flow.py", "import help.more"),
            ("help/__init__.py", ""),
            ("help/more.py", "x = 1"),
            ("help/table.csv", "1,2"),
            ("data/big.csv", "3,4"),
            ("__pycache__/flow.pyc", ""),
        ] {
            let path = flows.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        let snapshots = Snapshots::new(dir.path().join("code"));
        let closure = [flows.join("help/__init__.py"), flows.join("help/more.py")];
        let take = || {
            snapshots
                .snapshot(&flows.join("flow.py"), &closure)
                .expect("taken")
        };
        let code = take();
        assert_eq!(take(), code);
        assert_eq!(code.folder, flows.display().to_string());

        std::fs::write(flows.join("help/more.py"), "x = 2").expect("edited");
        std::fs::write(flows.join("data/big.csv"), "5").expect("edited");
        let place = snapshots.entry(&code);
        let place = place.parent().expect("a folder");
        let read = |name: &str| std::fs::read_to_string(place.join(name)).expect("there");
        assert_eq!(read("help/more.py"), "x = 1");
        assert_eq!([read("help/table.csv"), read("data/big.csv")], ["1,2", "5"]);
        assert!(!place.join("__pycache__").exists());
        assert_ne!(take().hash, code.hash);
        let left: Vec<_> = std::fs::read_dir(dir.path().join("code"))
            .expect("listed")
            .collect();
        assert_eq!(left.len(), 2);
    }

    #[test]
    fn only_named_snapshots_are_kept_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("flow.py");
        std::fs::write(dir.path().join("data.csv"), "1,2").expect("written");
        let snapshots = Snapshots::new(dir.path().join(".dalsegno/code"));
        let take = |text: &str| {
            std::fs::write(&file, text).expect("written");
            snapshots.snapshot(&file, &[]).expect("taken")
        };
        let (old, new) = (take("pass"), take("..."));
        let named = BTreeSet::from([new.hash.clone(), "elsewhere".into()]);
        assert!(snapshots.has_any_of(&named));
        assert_eq!(snapshots.keep_only(&named), 1);
        assert!(!snapshots.entry(&old).exists() && snapshots.entry(&new).exists());
        assert!(dir.path().join("data.csv").exists());
    }

    #[test]
    fn what_is_added_beside_a_flow_is_found_at_the_next_registration() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("flow.py");
        std::fs::write(&file, "pass").expect("written");
        let snapshots = Snapshots::new(dir.path().join(".dalsegno/code"));
        let code = snapshots.snapshot(&file, &[]).expect("taken");
        std::fs::write(dir.path().join("new.txt"), "here").expect("written");
        assert_eq!(snapshots.snapshot(&file, &[]).expect("taken"), code);
        let found = snapshots.entry(&code).with_file_name("new.txt");
        assert_eq!(std::fs::read_to_string(found).expect("linked"), "here");
    }
}
