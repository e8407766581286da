//! Our Python: part of the program, and written to the data directory for interpreters to find.

use crate::private;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Path below `python/`, and content.
pub(super) const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/python_files.rs"));

/// Where our Python lies.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Writes them below this folder, unless these very files lie there already. Versions live side by side,
    /// because tasks of an older daemon may still run.
    pub(crate) fn write(below: &Path) -> io::Result<Self> {
        let dir = below.join(format!("ext-{}", hash()));
        if !dir.is_dir() {
            let new = below.join(format!("new-{}-{}", hash(), std::process::id()));
            let _ = std::fs::remove_dir_all(&new);
            for (name, content) in FILES {
                let path = new.join(name);
                private::make_dir(path.parent().unwrap_or(&new))?;
                std::fs::write(path, content)?;
            }
            if let Err(error) = std::fs::rename(&new, &dir) {
                let _ = std::fs::remove_dir_all(&new);
                if !dir.is_dir() {
                    return Err(error);
                }
            }
        }
        Ok(Self { dir })
    }

    /// Removes what other versions wrote beside them. Nothing may run from there.
    pub(crate) fn remove_others(&self) {
        let beside = self.dir.parent().and_then(|it| std::fs::read_dir(it).ok());
        for entry in beside.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if (name.starts_with("ext-") || name.starts_with("new-")) && entry.path() != self.dir {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The first folder of `PYTHONPATH`.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Runs one request in a process of its own.
    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("runtime/run.py")
    }

    /// Loads Metaflow once, and runs requests in copies of itself.
    pub(crate) fn warm(&self) -> PathBuf {
        self.dir.join("runtime/warm.py")
    }
}

fn hash() -> String {
    let mut hash = Sha256::new();
    for (name, content) in FILES {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    hex(&hash.finalize())
}

/// The first 16 hexadecimal digits.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .take(8)
        .map(|it| format!("{it:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_are_written_once_and_privately() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::write(dir.path()).expect("written");
        assert!(files.run().is_file() && files.warm().is_file());
        let again = Files::write(dir.path()).expect("there already");
        assert_eq!(again.path(), files.path());
        let left = std::fs::read_dir(dir.path()).expect("a folder").count();
        assert_eq!(left, 1);
    }
}
