//! One file of a watched folder.

use crate::object::Arrival;
use dalsegno_scheduler::Timestamp;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A file as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    modified_ns: i128,
    /// Of content, name or rights: also that of a file that was moved here.
    pub(super) changed_ns: i128,
    size: u64,
    inode: u64,
    links: u64,
}

/// A time of a file, in nanoseconds since the Unix epoch.
pub(super) fn ns(seconds: i64, ns: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(ns)
}

impl Look {
    pub(super) fn at(path: &Path) -> std::io::Result<Option<Self>> {
        let data = std::fs::symlink_metadata(path)?;
        Ok(Self::of(&data))
    }

    /// `None` for what is no plain file: links are not followed.
    pub(super) fn of(data: &Metadata) -> Option<Self> {
        data.is_file().then(|| Self {
            modified_ns: ns(data.mtime(), data.mtime_nsec()),
            changed_ns: ns(data.ctime(), data.ctime_nsec()),
            size: data.size(),
            inode: data.ino(),
            links: data.nlink(),
        })
    }

    /// Whether it came as a second name of a file, which nobody closes.
    pub(super) const fn is_linked(self) -> bool {
        self.links > 1
    }

    /// Another text of the file is another version. Rights do not matter.
    pub(super) fn version(self) -> String {
        format!("{:x}-{:x}-{:x}", self.modified_ns, self.size, self.inode)
    }

    pub(super) fn arrival(self, bucket: &str, key: String, path: &Path) -> Arrival {
        Arrival {
            bucket: bucket.to_owned(),
            key,
            size: i64::try_from(self.size).ok(),
            version: Some(self.version()),
            reason: Some("Write".into()),
            time: i64::try_from(self.modified_ns / 1_000).ok().map(Timestamp),
            path: path.to_str().map(str::to_owned),
            ..Arrival::default()
        }
    }
}

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Key(String),
    /// Hidden, or made to be renamed.
    Temporary,
    /// No key: keys are UTF-8.
    Unreadable(PathBuf),
}

/// The key of a file: its path below the folder, with `/`.
pub(super) fn named(root: &Path, path: &Path) -> Named {
    let below = path.strip_prefix(root).unwrap_or(path);
    if is_temporary(below) {
        return Named::Temporary;
    }
    let parts: Option<Vec<&str>> = below
        .components()
        .filter(|it| matches!(it, Component::Normal(_)))
        .map(|it| it.as_os_str().to_str())
        .collect();
    match parts {
        Some(parts) => Named::Key(parts.join("/")),
        None => Named::Unreadable(below.to_owned()),
    }
}

/// Whether a path below the folder is hidden, or of a file that its writer will rename.
pub(super) fn is_temporary(below: &Path) -> bool {
    let is_hidden = |it: Component<'_>| it.as_os_str().as_encoded_bytes().starts_with(b".");
    const ENDINGS: [&[u8]; 5] = [b"~", b".tmp", b".part", b".partial", b".crdownload"];
    let name = below.file_name().unwrap_or_default().as_encoded_bytes();
    below.components().any(is_hidden) || ENDINGS.iter().any(|it| name.ends_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn keys_are_paths_below_the_folder() {
        let root = Path::new("/data");
        let of = |path: &str| named(root, Path::new(path));
        assert_eq!(of("/data/in/a b.csv"), Named::Key("in/a b.csv".into()));
        for path in [
            "/data/.a",
            "/data/.git/config",
            "/data/a.csv.tmp",
            "/data/a.csv~",
            "/data/in/a.part",
        ] {
            assert_eq!(of(path), Named::Temporary, "{path}");
        }
        let odd = root.join(OsStr::from_bytes(b"in/\xff.csv"));
        assert!(matches!(named(root, &odd), Named::Unreadable(_)));
    }
}
