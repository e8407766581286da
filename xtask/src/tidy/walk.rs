//! The files of the checkout.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Folders that hold nothing written here.
const FOREIGN: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// All files below `root` whose name ends in `.ext`, sorted. Hidden folders are left out, but for `.ci`.
pub(crate) fn files(root: &Path, ext: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci";
                if !hidden && !FOREIGN.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|it| it == ext) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
