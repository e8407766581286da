//! The data folder, the disk below it, and the database.

use super::Place;
use crate::commands::migrate::block_on;
use crate::output::{Finding, Health};
use dalsegno_store::SCHEMA_VERSION;
use std::path::{Path, PathBuf};

/// Below this nothing useful can be done any more.
const FREE_FAIL_BYTES: u64 = 100 << 20;
/// A busy day writes this much.
const FREE_WARN_BYTES: u64 = 1 << 30;

pub(super) fn look(place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Place::Folder(data) = place {
        findings.push(folder(data));
        findings.extend(disk(data));
    }
    findings.push(database(place));
    findings
}

fn folder(data: &Path) -> Finding {
    const ABOUT: &str = "data";
    let shown = data.display();
    let Some(existing) = nearest(data) else {
        return Finding::new(ABOUT, Health::Fail, format!("no part of {shown} exists"))
            .cure("name another folder with --data");
    };
    match write_into(&existing) {
        Err(error) => Finding::new(
            ABOUT,
            Health::Fail,
            format!("{} cannot be written: {error}", existing.display()),
        )
        .cure("make it writable for this user, or name another folder with --data"),
        Ok(()) if existing == data => {
            Finding::new(ABOUT, Health::Ok, format!("{shown} can be written"))
        }
        Ok(()) => Finding::new(
            ABOUT,
            Health::Ok,
            format!("{shown} does not exist yet; `up` makes it"),
        ),
    }
}

/// Whether a folder, or the nearest one above it that exists, can be written to.
pub(super) fn probe(folder: &Path) -> std::io::Result<()> {
    let missing = || std::io::Error::other("no part of it exists");
    write_into(&nearest(folder).ok_or_else(missing)?)
}

/// Permissions lie (read-only mounts, root), so a file is made.
fn write_into(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".dalsegno-doctor-{}", std::process::id()));
    std::fs::write(&probe, "probe")?;
    std::fs::remove_file(&probe)
}

/// The folder itself, or the nearest one above it that exists.
fn nearest(data: &Path) -> Option<PathBuf> {
    let full = std::path::absolute(data).ok()?;
    if data.is_dir() {
        return Some(data.to_owned());
    }
    full.ancestors().find(|it| it.exists()).map(Path::to_owned)
}

fn disk(data: &Path) -> Option<Finding> {
    let stat = rustix::fs::statvfs(&nearest(data)?).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let text = match free >> 30 {
        0 => format!("{} MiB free", free >> 20),
        gib => format!("{gib} GiB free"),
    };
    let cure = "make room: old logs and checkpoints in the data folder, or elsewhere on that disk";
    Some(if free < FREE_FAIL_BYTES {
        Finding::new("disk", Health::Fail, text).cure(cure)
    } else if free < FREE_WARN_BYTES {
        Finding::new("disk", Health::Warn, text).cure(cure)
    } else {
        Finding::new("disk", Health::Ok, text)
    })
}

fn database(place: &Place) -> Finding {
    const ABOUT: &str = "database";
    if place.file().is_some_and(|it| !it.exists()) {
        return Finding::new(
            ABOUT,
            Health::Ok,
            format!("{place} does not exist yet; `up` makes it"),
        );
    }
    let version = block_on(async { place.open().await?.schema_version().await });
    match version {
        Ok(SCHEMA_VERSION) => Finding::new(
            ABOUT,
            Health::Ok,
            format!("{place} has schema version {SCHEMA_VERSION}"),
        ),
        Ok(newer) if newer > SCHEMA_VERSION => {
            let text = format!(
                "{place} has schema version {newer}, and this program knows up to {SCHEMA_VERSION}"
            );
            Finding::new(ABOUT, Health::Fail, text).cure("use the newer program that wrote it")
        }
        Ok(older) => {
            let text = format!(
                "{place} has schema version {older}, and this program wants {SCHEMA_VERSION}"
            );
            Finding::new(ABOUT, Health::Warn, text)
                .cure("`up` brings it up to date, or `dalsegno migrate`")
        }
        Err(failure) => Finding::new(ABOUT, Health::Fail, failure.text)
            .cure("check that the database runs, and that its address and password are right"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_exist_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let finding = super::folder(&folder.path().join("a/b"));
        assert_eq!(finding.health, Health::Ok);
        assert!(finding.text.contains("does not exist yet"), "{finding:?}");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            0,
            "nothing is left"
        );
    }

    #[test]
    fn a_folder_that_takes_no_files_is_a_fault() {
        let finding = super::folder(Path::new("/proc/self"));
        assert_eq!(finding.health, Health::Fail);
    }

    #[test]
    fn a_file_that_is_no_database_is_a_fault() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        std::fs::write(
            folder.path().join("dalsegno.db"),
            "this is no database, whatever it is called",
        )
        .expect("the folder can be written to");
        let finding = database(&Place::Folder(folder.path().to_owned()));
        assert_eq!(finding.health, Health::Fail, "{finding:?}");
    }
}
