//! The daemon, and the keeper of its tasks.

use super::Place;
use crate::cli::Global;
use crate::client::{Client, Exit, Failure};
use crate::output::{Finding, Health};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::Path;

pub(super) fn look(global: &Global, place: &Place) -> Vec<Finding> {
    let holder = match place {
        Place::Folder(data) => holder(&data.join("daemon.lock")),
        Place::Server(_) => None,
    };
    let mut findings = vec![match Client::new(global) {
        Ok(client) => daemon(&client, holder.as_deref()),
        Err(failure) => of_failure(&failure, Health::Fail),
    }];
    if let Place::Folder(data) = place {
        findings.push(keeper(data));
    }
    findings
}

fn daemon(client: &Client, holder: Option<&str>) -> Finding {
    const ABOUT: &str = "daemon";
    let role = match client.text("/readyz", &[]) {
        Ok(role) => role,
        Err(failure) if failure.exit == Exit::NoDaemon => {
            let text = match holder {
                Some(process) => format!(
                    "none answers at {}, but process {process} is one",
                    client.server()
                ),
                None => format!("none answers at {}", client.server()),
            };
            let cure = match holder {
                Some(_) => "name its address with --server, or DALSEGNO_SERVER",
                None => "start one with `dalsegno up`, or name another with --server",
            };
            return Finding::new(ABOUT, Health::Warn, text).cure(cure);
        }
        Err(failure) => return of_failure(&failure, Health::Fail),
    };
    let metrics = match client.text("/metrics", &[]) {
        Ok(metrics) => metrics,
        Err(failure) => return of_failure(&failure, Health::Fail),
    };
    let (version, ours) = (version(&metrics), env!("CARGO_PKG_VERSION"));
    let text = format!(
        "answers at {} as {}, version {}",
        client.server(),
        role.trim(),
        version.unwrap_or("unknown")
    );
    match version {
        Some(version) if version == ours => Finding::new(ABOUT, Health::Ok, text),
        _ => {
            let cure = format!("this program is version {ours}; use the same on both sides");
            Finding::new(ABOUT, Health::Warn, text).cure(cure)
        }
    }
}

fn of_failure(failure: &Failure, health: Health) -> Finding {
    let finding = Finding::new("daemon", health, failure.text.as_str());
    match failure.help.first() {
        Some(help) => finding.cure(help.as_str()),
        None => finding,
    }
}

/// The label of `dalsegno_build_info`.
fn version(metrics: &str) -> Option<&str> {
    let mut lines = metrics
        .lines()
        .filter(|it| it.starts_with("dalsegno_build_info{"));
    lines
        .next()?
        .split_once("version=\"")?
        .1
        .split_once('"')
        .map(|(version, _)| version)
}

fn keeper(data: &Path) -> Finding {
    const ABOUT: &str = "keeper";
    let folder = data.join("keeper");
    match holder(&folder.join("lock")) {
        Some(process) => Finding::new(
            ABOUT,
            Health::Ok,
            format!("keeps local tasks as process {process}"),
        ),
        None => Finding::new(
            ABOUT,
            Health::Ok,
            "not running; the daemon starts it when it starts",
        ),
    }
}

/// The process that holds a lock file, if one does.
fn holder(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    // Released again when the file is closed, a moment later.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    std::fs::read_to_string(path)
        .ok()
        .map(|it| it.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_metrics() {
        let metrics =
            "# TYPE dalsegno_build_info gauge\ndalsegno_build_info{version=\"0.1.0\"} 1\n";
        assert_eq!(version(metrics), Some("0.1.0"));
        assert_eq!(version("go_goroutines 7\n"), None);
    }

    #[test]
    fn a_lock_tells_its_holder_while_it_is_held() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("lock");
        std::fs::write(&path, "4711\n").expect("the folder can be written to");
        assert_eq!(holder(&path), None);
        let file = File::open(&path).expect("it exists");
        flock(&file, FlockOperation::LockExclusive).expect("nobody else holds it");
        assert_eq!(holder(&path).as_deref(), Some("4711"));
    }
}
