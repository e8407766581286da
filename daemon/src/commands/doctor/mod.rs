//! `dalsegno doctor`: looks, and changes nothing.

mod aws;
mod daemon;
mod machine;
mod metaflow;
mod sources;
mod storage;

use super::migrate::Place;
use crate::cli::{DoctorArgs, Global};
use crate::client::{Exit, Result, settings};
use crate::output::{Finding, Health, diagnosis, print, print_json, say};
use serde_json::json;

pub(super) fn doctor(args: &DoctorArgs, global: &Global) -> Result<Exit> {
    let place = Place::of(&args.store)?;
    let mut findings = daemon::look(global, &place);
    findings.extend(sources::look(global));
    findings.extend(storage::look(&place));
    findings.push(machine::flows(&args.flows_dir));
    findings.push(machine::python());
    // A configuration that cannot be used is told by the daemon.
    if let Ok(settings) = settings(args.store.config.as_deref(), Some("any")) {
        let data = args.store.data.as_deref();
        findings.extend(metaflow::look(&args.flows_dir, &settings, data));
        findings.extend(aws::look(&settings));
    }
    findings.push(machine::open_files());
    findings.push(machine::clock());
    if args.json {
        print_json(&json!({ "items": findings, "next": null }))?;
    } else {
        print(&diagnosis(&findings))?;
    }
    let count = |health| findings.iter().filter(|it| it.health == health).count();
    let summary = match (count(Health::Fail), count(Health::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("nothing is broken; {warnings} to look at"),
        (faults, 0) => format!("{faults} to repair"),
        (faults, warnings) => format!("{faults} to repair, {warnings} to look at"),
    };
    say(&summary);
    let failed = findings
        .iter()
        .any(|it: &Finding| it.health == Health::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
