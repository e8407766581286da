//! The code package of a deployment: a `.tar.gz` from elsewhere, which may hold anything.

use super::snapshot::{Files, below};
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::Path;
use tar::{Archive, EntryType};

/// Unpacked. Metaflow itself, which packages may carry, is 2 MB; data does not belong into one.
const BYTES_MAX: u64 = 256 << 20;

/// An environment that was packed by mistake has more.
const FILES_MAX: usize = 20_000;

/// All plain files of a package.
///
/// # Errors
/// What is wrong with it, and the cure.
pub(crate) fn read(package: &[u8]) -> Result<Files, String> {
    let not_one = |error: std::io::Error| format!("it is not a .tar.gz ({error})");
    // Headers count as well, so a bomb of empty files ends too.
    let plain = GzDecoder::new(package).take(2 * BYTES_MAX);
    let mut archive = Archive::new(plain);
    let mut files = Files::new();
    let mut bytes = 0;
    for entry in archive.entries().map_err(not_one)? {
        let mut entry = entry.map_err(not_one)?;
        let path = entry.path().map_err(not_one)?.into_owned();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            other => {
                return Err(format!(
                    "{} in it is no plain file ({other:?}); packages have copies, not links",
                    path.display()
                ));
            }
        }
        let Some(name) = below(&path) else {
            return Err(format!(
                "{} in it leads out of the package; paths are relative and have no `..`",
                path.display()
            ));
        };
        bytes += entry.size();
        if bytes > BYTES_MAX {
            return Err(format!(
                "its files are larger than {} MiB together; leave data and environments out",
                BYTES_MAX >> 20
            ));
        }
        if files.len() == FILES_MAX {
            return Err(format!(
                "it has more than {FILES_MAX} files; leave data and environments out"
            ));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(not_one)?;
        files.insert(name, content);
    }
    if files.is_empty() {
        return Err("it is empty; it must hold the flow file and what that imports".into());
    }
    match clash(&files) {
        Some((file, below)) => Err(format!(
            "{} in it is a file, and a folder with {}; rename one of them",
            file.display(),
            below.display()
        )),
        None => Ok(files),
    }
}

/// A file below another one, which no file system can hold.
fn clash(files: &Files) -> Option<(&Path, &Path)> {
    files.keys().find_map(|name| {
        let mut above = name.ancestors().skip(1);
        let file = above.find(|it| files.contains_key(*it))?;
        Some((file, name.as_path()))
    })
}

#[cfg(test)]
mod tests {
    use crate::Snapshots;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};

    fn package(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Its own setter refuses what we want to see refused.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").expect("a name");
            }
            header.set_cksum();
            builder.append(&header, *content).expect("added");
        }
        let zipped = builder.into_inner().expect("a package");
        zipped.finish().expect("zipped")
    }

    #[test]
    fn a_package_is_unpacked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::new(dir.path());
        let package = package(&[
            ("help/", EntryType::Directory, b""),
            ("./flow.py", EntryType::Regular, b"import help.more"),
            ("help/more.py", EntryType::Regular, b"x = 1"),
        ]);
        let code = snapshots.unpack(&package, "flow.py").expect("unpacked");
        let again = snapshots.unpack(&package, "./help/../flow.py");
        assert!(again.is_err(), "{again:?}");
        let again = snapshots.unpack(&package, "./flow.py").expect("again");
        assert_eq!(again, code, "a path may be written in several ways");
        let file = snapshots.entry(&code);
        assert_eq!(
            std::fs::read_to_string(file.with_file_name("help").join("more.py")).expect("there"),
            "x = 1"
        );
        assert_eq!(
            std::fs::read_to_string(file).expect("there"),
            "import help.more"
        );
    }

    #[test]
    fn what_leads_elsewhere_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::new(dir.path().join("code"));
        let refused = |package: &[u8]| {
            let error = snapshots.unpack(package, "flow.py").expect_err("refused");
            error.to_string()
        };
        let file = EntryType::Regular;
        let errors = [
            refused(&package(&[("../../escaped.py", file, b"")])),
            refused(&package(&[("/tmp/escaped.py", file, b"")])),
            refused(&package(&[("link", EntryType::Symlink, b"")])),
            refused(&package(&[("pipe", EntryType::Fifo, b"")])),
            refused(&package(&[("other.py", file, b"")])),
            refused(&package(&[])),
            refused(&package(&[("a", file, b""), ("./a/b.py", file, b"")])),
            refused(b"nonsense"),
        ];
        assert_eq!(
            errors.join("\n"),
            "\
the code package cannot be used: ../../escaped.py in it leads out of the package; paths are relative and have no `..`
the code package cannot be used: /tmp/escaped.py in it leads out of the package; paths are relative and have no `..`
the code package cannot be used: link in it is no plain file (Symlink); packages have copies, not links
the code package cannot be used: pipe in it is no plain file (Fifo); packages have copies, not links
the code package cannot be used: it has no flow.py; it has 1 files, such as other.py
the code package cannot be used: it is empty; it must hold the flow file and what that imports
the code package cannot be used: a in it is a file, and a folder with a/b.py; rename one of them
the code package cannot be used: it is not a .tar.gz (unexpected end of file)"
        );
        assert!(!dir.path().join("code").exists() && !dir.path().join("escaped.py").exists());
    }

    #[test]
    fn a_package_with_a_whole_environment_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let names: Vec<_> = (0..=super::FILES_MAX)
            .map(|it| format!("{it}.py"))
            .collect();
        let empty: Vec<_> = names
            .iter()
            .map(|it| (it.as_str(), EntryType::Regular, b"".as_slice()))
            .collect();
        let error = Snapshots::new(dir.path())
            .unpack(&package(&empty), "0.py")
            .expect_err("too many");
        assert_eq!(
            error.to_string(),
            "the code package cannot be used: it has more than 20000 files; leave data and environments out"
        );
    }
}
