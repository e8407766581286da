//! Finding what lies in a folder.

use super::file::{Look, Named, is_temporary, named, ns};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a look at a whole folder found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: Vec<(PathBuf, Look)>,
    /// Hidden and temporary files that changed since.
    pub(super) passed_over: u64,
    /// Folders that cannot be read, and why.
    pub(super) unread: Vec<String>,
}

/// Finds the files below `folder` that changed at or after `since_ns`. Links are not followed, hidden folders left out.
/// All files of a folder that was moved here since are new here, however old they are.
///
/// # Errors
/// When `folder` itself cannot be read.
pub(super) fn scan(root: &Path, folder: &Path, since_ns: i128) -> io::Result<Scan> {
    let mut found = Scan::default();
    let mut todo = vec![(folder.to_owned(), since_ns)];
    while let Some((folder_now, since_ns)) = todo.pop() {
        let entries = match std::fs::read_dir(&folder_now) {
            Ok(entries) => entries,
            Err(error) if folder_now == folder => return Err(error),
            // It went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let text = format!("{}: {error}", folder_now.display());
                found.unread.push(text);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                let below = path.strip_prefix(root).unwrap_or(&path);
                if !is_temporary(below) {
                    let moved = was_moved(&data, since_ns);
                    todo.push((path, if moved { i128::MIN } else { since_ns }));
                }
            } else if let Some(look) = Look::of(&data).filter(|it| it.changed_ns >= since_ns) {
                match named(root, &path) {
                    Named::Temporary => found.passed_over += 1,
                    Named::Key(_) | Named::Unreadable(_) => found.files.push((path, look)),
                }
            }
        }
    }
    found.files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A move changes a folder's own record and not what is in it; new files in it change both.
fn was_moved(folder: &Metadata, since_ns: i128) -> bool {
    let changed = ns(folder.ctime(), folder.ctime_nsec());
    let filled = ns(folder.mtime(), folder.mtime_nsec());
    changed >= since_ns && filled < since_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_folder_that_was_moved_here_is_new_and_a_file_added_to_one_makes_only_itself_new() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (root, elsewhere) = (folder.path().join("here"), folder.path().join("there"));
        for one in [root.join("in"), elsewhere.join("deep")] {
            std::fs::create_dir_all(one).expect("writable");
        }
        for file in [root.join("in/old"), elsewhere.join("deep/older")] {
            std::fs::write(file, "x").expect("writable");
        }
        let old = scan(folder.path(), folder.path(), 0).expect("readable");
        let newest = old.files.iter().map(|it| it.1.changed_ns).max();
        let since = newest.expect("files") + 1;
        // File systems take their times from a clock that ticks every few milliseconds.
        let ticked = folder.path().join("ticked");
        loop {
            std::fs::write(&ticked, "x").expect("writable");
            let data = std::fs::metadata(&ticked).expect("there");
            if ns(data.ctime(), data.ctime_nsec()) > since {
                break;
            }
        }
        std::fs::rename(&elsewhere, root.join("moved")).expect("one file system");
        std::fs::write(root.join("in/new"), "x").expect("writable");
        let found = scan(&root, &root, since).expect("readable");
        let names: Vec<_> = found
            .files
            .iter()
            .map(|it| it.0.strip_prefix(&root).expect("below").to_owned())
            .collect();
        assert_eq!(names, ["in/new", "moved/deep/older"].map(PathBuf::from));
    }

    #[test]
    fn a_scan_finds_files_in_folders_and_leaves_links_and_hidden_ones_out() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let root = folder.path();
        let outside = tempfile::tempdir().expect("a folder for the test");
        std::fs::write(outside.path().join("secret"), "").expect("writable");
        for inner in ["in/deep", ".git"] {
            std::fs::create_dir_all(root.join(inner)).expect("writable");
        }
        for file in ["a", "in/b", "in/deep/c", ".git/config", "in/d.tmp"] {
            std::fs::write(root.join(file), "x").expect("writable");
        }
        let link = |to: &Path, name| std::os::unix::fs::symlink(to, root.join(name));
        link(outside.path(), "linked").expect("writable");
        link(&outside.path().join("secret"), "one").expect("writable");
        let found = scan(root, root, 0).expect("readable");
        let names: Vec<_> = found
            .files
            .iter()
            .map(|it| it.0.strip_prefix(root).expect("below").to_owned())
            .collect();
        assert_eq!(names, ["a", "in/b", "in/deep/c"].map(PathBuf::from));
        assert_eq!(found.passed_over, 1);
        let newest = found.files.iter().map(|it| it.1.changed_ns).max();
        let later = scan(root, root, newest.expect("files") + 1).expect("readable");
        assert!(later.files.is_empty());
        assert!(scan(root, &root.join("nowhere"), 0).is_err());
    }
}
