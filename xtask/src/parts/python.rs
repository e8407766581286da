//! The Pythons that tests use, each in an environment of its own.

use super::install::{can_install, debian_package};
use crate::shell;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of an environment with what `tests/requirements.txt` names, and nothing when there is no such file.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    named(workspace, "python", "requirements.txt")
}

/// The interpreter of an environment with real Metaflow, of the version in `tests/metaflow.txt`.
pub(crate) fn metaflow(workspace: &Workspace) -> Result<PathBuf> {
    named(workspace, "metaflow", "metaflow.txt")
}

/// The interpreter of an environment with the emulator of AWS in `tests/aws.txt`.
pub(crate) fn aws_emulator(workspace: &Workspace) -> Result<PathBuf> {
    named(workspace, "aws", "aws.txt")
}

/// A folder with all packages of the environment with Metaflow, so that tests can install them without a network.
pub(crate) fn metaflow_wheels(workspace: &Workspace, python: &Path) -> Result<PathBuf> {
    let folder = workspace.target().join("xtask/wheels");
    let requirements = workspace.root().join("tests/metaflow.txt");
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let note = folder.join("requirements-fetched.txt");
    if std::fs::read_to_string(&note).is_ok_and(|it| it == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .arg("--wheel-dir")
    .arg(&folder)
    .arg("--requirement")
    .arg(&requirements);
    shell::quiet("fetching Metaflow's packages", &mut pip)?;
    std::fs::write(&note, wanted).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(folder)
}

fn named(workspace: &Workspace, name: &str, requirements: &str) -> Result<PathBuf> {
    let wanted = workspace.root().join("tests").join(requirements);
    let requirements = if wanted.exists() {
        std::fs::read_to_string(&wanted)
            .with_context(|| format!("cannot read {}", wanted.display()))?
    } else {
        String::new()
    };
    let folder = workspace.target().join("xtask").join(name);
    let python = environment(&folder, &requirements)?;
    eprintln!("   Python environment at {}", folder.display());
    Ok(python)
}

/// An environment with these requirements at `folder`; made anew when they change.
pub(super) fn environment(folder: &Path, requirements: &str) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let note = folder.join("requirements-installed.txt");
    if shell::is_program(&python)
        && std::fs::read_to_string(&note).is_ok_and(|it| it == requirements)
    {
        return Ok(python);
    }
    if shell::on_path("python3").is_none() {
        debian_package("python3").context("there is no python3 on PATH")?;
    }
    let packages: Vec<_> = requirements
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    // Debian's python3 alone can make an environment, but only without pip.
    let without_pip: &[&str] = if packages.is_empty() {
        &["--without-pip"]
    } else {
        &[]
    };
    let make = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"])
            .args(without_pip)
            .arg(folder);
        shell::quiet("making a Python environment", &mut venv)
    };
    if let Err(error) = make() {
        if !can_install() {
            bail!(
                "{error}\ninstall Python's venv module first: as root, apt-get install python3-venv"
            );
        }
        debian_package("python3-venv")?;
        make()?;
    }
    if !packages.is_empty() {
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(&packages);
        shell::quiet(&format!("installing {}", packages.join(", ")), &mut pip)?;
    }
    std::fs::write(&note, requirements)
        .with_context(|| format!("cannot write {}", note.display()))?;
    Ok(python)
}
