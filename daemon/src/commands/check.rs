//! `dalsegno check`

use super::pools;
use super::probe::{Reader, Unasked};
use crate::cli::CheckArgs;
use crate::client::{Exit, Result, settings};
use crate::output::{self, Screen, print, print_json, say};
use crate::{config, elsewhere, untold};
use dalsegno_flowfile::{Diagnostics, FlowFile};
use dalsegno_scheduler::instances::INSTANCES;
use serde_json::json;
use std::path::PathBuf;

pub(super) type Checked = (PathBuf, std::result::Result<FlowFile, Diagnostics>);

pub(super) fn check(args: &CheckArgs) -> Result<Exit> {
    if args.schema {
        print_json(&dalsegno_flowfile::json_schema())?;
        return Ok(Exit::Done);
    }
    let default = [PathBuf::from("flows")];
    let paths = if args.paths.is_empty() {
        &default[..]
    } else {
        &args.paths
    };
    let reader = Reader::new(args);
    let mut files: Vec<Checked> = paths.iter().flat_map(|it| reader.read(it)).collect();
    let unasked = match args.probe {
        true => reader.probe(args, &mut files)?,
        false => Unasked::new(),
    };
    let now = Screen::of_stdout().now;
    for (path, file) in &mut files {
        if let Ok(file) = file {
            dalsegno_flowfile::lint(&path.display().to_string(), file, now);
        }
        let fits = match file {
            Ok(it) => dalsegno_flowfile::preflight(&path.display().to_string(), it, &INSTANCES),
            Err(_) => Ok(()),
        };
        if let Err(found) = fits {
            *file = Err(found);
        }
    }
    // A broken configuration is the daemon's to tell; here it is about flow files.
    let settings = settings(None, Some("any")).ok();
    let places = config::places();
    let told = |file: &std::result::Result<FlowFile, Diagnostics>| {
        let Ok(file) = file else { return Vec::new() };
        let mut all = match &settings {
            Some(settings) => elsewhere::told(&file.flow, settings.aws.as_ref()),
            None => Vec::new(),
        };
        all.extend(untold::told(&file.flow, &places));
        all
    };
    let is_bad = |(path, file): &&Checked| {
        file.is_err() || unasked.contains_key(path) || told(file).iter().any(|it| it.is_error)
    };
    let bad = files.iter().filter(is_bad).count();
    let exit = if bad == 0 { Exit::Done } else { Exit::Failed };
    let lacks = |file: &std::result::Result<FlowFile, Diagnostics>| match (file, &settings) {
        (Ok(file), Some(settings)) => pools::lacks(&file.flow, &settings.core.pools),
        _ => Vec::new(),
    };
    if args.json {
        let mut found = Vec::new();
        for (path, file) in &files {
            found.extend(findings(file).iter().map(|it| json!(it)));
            found.extend(lacks(file).iter().map(|it| it.json(path)));
            found.extend(told(file).iter().map(|it| {
                json!({
                    "file": path.display().to_string(), "line": 1, "column": 1,
                    "severity": if it.is_error { "error" } else { "warning" },
                    "code": "config.aws", "message": it.message, "help": it.help,
                })
            }));
            found.extend(unasked.get(path).map(|it| {
                json!({
                    "file": path.display().to_string(), "line": 1, "column": 1, "severity": "error",
                    "code": "metaflow.not_asked", "message": format!("Metaflow cannot be asked: {it}"), "help": null,
                })
            }));
        }
        print_json(&json!({ "items": found, "next": null }))?;
        return Ok(exit);
    }
    let screen = Screen::of_stdout();
    let mut told_before = None;
    for (path, file) in &files {
        let mut text = match file {
            Ok(_) if unasked.contains_key(path) || told(file).iter().any(|it| it.is_error) => {
                output::refused(path)
            }
            Ok(file) => output::checked(&file.flow, path, screen.now),
            Err(_) => output::refused(path),
        };
        let (found, lacks) = (findings(file), lacks(file));
        if !found.is_empty() {
            text.push_str(found.render(true).trim_end());
            text.push('\n');
        }
        for it in told(file) {
            text.push_str(&match it.is_error {
                true => output::error(&it.message, &it.help),
                false => output::warning(&it.message, &it.help),
            });
        }
        for lack in &lacks {
            text.push_str(&output::warning(&lack.message, &lack.help));
        }
        if let Some(message) = unasked.get(path) {
            text.push_str(&output::not_asked(message));
        } else if let Ok(FlowFile {
            metaflow: Some(metaflow),
            ..
        }) = file
        {
            text.push_str(&output::dynamic(&metaflow.dynamic));
        }
        // Files with nothing to tell about stand close together.
        let has_more = text.lines().count() > 1;
        if told_before.is_some_and(|it| it || has_more) {
            print("\n")?;
        }
        told_before = Some(has_more);
        print(&text)?;
    }
    let counted = |count: usize| match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    match (files.len(), bad) {
        (0, _) => say(&format!("no flow files in {}", shown(paths))),
        (all, 0) => say(&format!("{} checked, no errors", counted(all))),
        (all, bad) => say(&format!("{} checked, {bad} with errors", counted(all))),
    }
    Ok(exit)
}

fn findings(file: &std::result::Result<FlowFile, Diagnostics>) -> &Diagnostics {
    match file {
        Ok(file) => &file.warnings,
        Err(found) => found,
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
    paths.join(", ")
}
