//! Lists the Python files that become part of the program: `python/metaflow_extensions/dalsegno_task` and
//! `python/runtime`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["metaflow_extensions/dalsegno_task", "runtime"];

fn main() -> std::io::Result<()> {
    let variable = |name| PathBuf::from(std::env::var_os(name).expect("set by cargo"));
    let python = variable("CARGO_MANIFEST_DIR").join("../python");
    let mut files = Vec::new();
    for folder in FOLDERS {
        let folder = python.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&python).expect("a file below it");
        writeln!(code, "({name:?}, include_bytes!({file:?}).as_slice()),").expect("text");
    }
    code.push(']');
    std::fs::write(variable("OUT_DIR").join("python_files.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() {
            // What Python itself leaves there.
            if !path.ends_with("__pycache__") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|it| it == "py") {
            files.push(path);
        }
    }
    Ok(())
}
