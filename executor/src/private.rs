//! Folders for nobody but the user of the daemon: parameters, outputs and logs are private. So are open files.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the folder and those above it that are missing. One that exists keeps its mode.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    let make = || match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    // Most of the time the folder above is there.
    match (make(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            make_dir(parent)?;
            make()
        }
        (made, _) => made,
    }
}

/// Closes what whoever started us left open, so that the programs that we start do not have it; standard input and
/// outputs stay. To be called before we have opened anything ourselves.
pub(crate) fn close_inherited() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers = open
        .flatten()
        .filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    // One of them is the folder's, closed by then.
    for number in numbers.collect::<Vec<_>>() {
        if number > 2 {
            let _ = nix::unistd::close(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_made_is_private_and_what_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let mode = |path: &str| {
            let found = std::fs::metadata(dir.path().join(path)).expect("a folder");
            found.permissions().mode() & 0o777
        };
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("changed");
        for _ in 0..2 {
            make_dir(&dir.path().join("a/b/c")).expect("made");
        }
        assert_eq!(
            ["", "a", "a/b", "a/b/c"].map(mode),
            [0o755, 0o700, 0o700, 0o700]
        );
        std::fs::write(dir.path().join("file"), "").expect("written");
        make_dir(&dir.path().join("file/a")).expect_err("in a file");
    }
}
