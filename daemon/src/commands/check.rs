//! `dalsegno check`

use super::pools;
use crate::cli::CheckArgs;
use crate::client::{Exit, Result, settings};
use crate::output::{self, Screen, print, print_json, say};
use dalsegno_flowfile::{Diagnostics, FlowFile};
use serde_json::json;
use std::path::{Path, PathBuf};

type Checked = (PathBuf, std::result::Result<FlowFile, Diagnostics>);

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
    let files: Vec<Checked> = paths.iter().flat_map(|it| read(it)).collect();
    let bad = files.iter().filter(|(_, it)| it.is_err()).count();
    let exit = if bad == 0 { Exit::Done } else { Exit::Failed };
    // A broken configuration is the daemon's to tell; here it is about flow files.
    let pools = settings(None, Some("any")).map(|it| it.core.pools).ok();
    let lacks = |file: &std::result::Result<FlowFile, Diagnostics>| match (file, &pools) {
        (Ok(file), Some(pools)) => pools::lacks(&file.flow, pools),
        _ => Vec::new(),
    };
    if args.json {
        let mut found = Vec::new();
        for (path, file) in &files {
            found.extend(findings(file).iter().map(|it| json!(it)));
            found.extend(lacks(file).iter().map(|it| it.json(path)));
        }
        print_json(&json!({ "items": found, "next": null }))?;
        return Ok(exit);
    }
    let screen = Screen::of_stdout();
    let mut told_before = None;
    for (path, file) in &files {
        let mut text = match file {
            Ok(file) => output::checked(&file.flow, path, screen.now),
            Err(_) => output::refused(path),
        };
        let (found, lacks) = (findings(file), lacks(file));
        if !found.is_empty() {
            text.push_str(found.render(true).trim_end());
            text.push('\n');
        }
        for lack in &lacks {
            text.push_str(&output::warning(&lack.message, &lack.help));
        }
        // Files with nothing to tell about stand close together.
        let has_more = !found.is_empty() || !lacks.is_empty();
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

fn read(path: &Path) -> Vec<Checked> {
    match path.is_dir() {
        true => dalsegno_flowfile::read_dir(path),
        false => vec![(path.to_owned(), dalsegno_flowfile::read(path))],
    }
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
