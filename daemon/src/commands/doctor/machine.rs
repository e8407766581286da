//! What lies outside Dalsegno: flow files, Python, limits, the clock.

use crate::output::{Finding, Health};
use rustix::process::{Resource, getrlimit};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Sockets, logs and the database of a busy daemon fit into this many open files.
const OPEN_FILES_MIN: u64 = 1_024;
/// A clock that shows less than this (the year 2025) was never set.
const CLOCK_MIN_S: u64 = 1_735_689_600;

pub(super) fn flows(folder: &Path) -> Finding {
    const ABOUT: &str = "flows";
    let shown = folder.display();
    if !folder.is_dir() {
        return Finding::new(ABOUT, Health::Warn, format!("there is no folder {shown}"))
            .cure("name the folder of your flow files: dalsegno doctor FLOWS_DIR");
    }
    let files = dalsegno_flowfile::read_dir(folder);
    let bad: Vec<String> = files
        .iter()
        .filter(|(_, it)| it.is_err())
        .map(|(path, _)| path.display().to_string())
        .collect();
    match (files.len(), bad.as_slice()) {
        (0, _) => Finding::new(ABOUT, Health::Warn, format!("no flow files in {shown}"))
            .cure("docs/flow-files.md shows how one looks"),
        (all, []) => Finding::new(ABOUT, Health::Ok, format!("{all} valid in {shown}")),
        (all, [one]) => Finding::new(
            ABOUT,
            Health::Fail,
            format!("{one} is not valid ({all} in all)"),
        )
        .cure(format!("`dalsegno check {shown}` says what is wrong")),
        (all, bad) => Finding::new(
            ABOUT,
            Health::Fail,
            format!("{} of {all} are not valid", bad.len()),
        )
        .cure(format!("`dalsegno check {shown}` says what is wrong")),
    }
}

pub(super) fn python() -> Finding {
    const ABOUT: &str = "python3";
    match Command::new("python3").arg("--version").output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            Finding::new(ABOUT, Health::Ok, version.trim())
        }
        _ => Finding::new(
            ABOUT,
            Health::Warn,
            "not found; steps that use it will fail",
        )
        .cure("install Python 3; Dalsegno itself does not need it"),
    }
}

pub(super) fn open_files() -> Finding {
    const ABOUT: &str = "open files";
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES_MIN => Finding::new(
            ABOUT,
            Health::Warn,
            format!("at most {limit} for each process"),
        )
        .cure(format!(
            "allow more before `up`: ulimit -n {OPEN_FILES_MIN}"
        )),
        Some(limit) => Finding::new(
            ABOUT,
            Health::Ok,
            format!("at most {limit} for each process"),
        ),
        None => Finding::new(ABOUT, Health::Ok, "no limit"),
    }
}

pub(super) fn clock() -> Finding {
    const ABOUT: &str = "clock";
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    let at = dalsegno_scheduler::Timestamp::from_secs(i64::try_from(now).unwrap_or(i64::MAX));
    let zone = match std::env::var("TZ") {
        Ok(zone) if !zone.is_empty() => zone,
        _ => std::fs::read_link("/etc/localtime")
            .ok()
            .and_then(|it| Some(it.to_str()?.split_once("zoneinfo/")?.1.to_owned()))
            .unwrap_or_else(|| "UTC".to_owned()),
    };
    let text = format!(
        "{at}; this machine is in {zone}, schedules are in the zones that flows name, else UTC"
    );
    match now {
        ..CLOCK_MIN_S => {
            Finding::new(ABOUT, Health::Fail, text).cure("set the clock; schedules go by it")
        }
        _ => Finding::new(ABOUT, Health::Ok, text),
    }
}
