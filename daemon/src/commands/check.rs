//! `dalsegno check`

use crate::cli::CheckArgs;
use crate::client::{Exit, Result};
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
    if args.json {
        let found: Vec<_> = files.iter().flat_map(|(_, it)| findings(it)).collect();
        print_json(&json!({ "items": found, "next": null }))?;
        return Ok(exit);
    }
    for (_, file) in &files {
        let found = findings(file);
        if !found.is_empty() {
            print(&format!("{}\n", found.render(true).trim_end()))?;
        }
    }
    let screen = Screen::of_stdout();
    for (path, file) in &files {
        if let Ok(file) = file {
            print(&output::checked(&file.flow, path, screen.now))?;
        }
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
