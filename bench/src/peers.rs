//! Other engines beside us, in the same run: see `bench/peers/README.md`.

use crate::place;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Those with a script in `bench/peers`.
const KNOWN: [&str; 11] = [
    "restate",
    "dbos",
    "prefect",
    "airflow",
    "dagster",
    "luigi",
    "metaflow",
    "cylc",
    "snakemake",
    "duroxide",
    "limits",
];

/// # Errors
/// When one of them has no script.
pub(crate) fn check(names: &[String]) -> Result<()> {
    match names.iter().find(|it| !KNOWN.contains(&it.as_str())) {
        Some(name) => bail!(
            "there is no script for `{name}`; there are {}",
            KNOWN.join(", ")
        ),
        None => Ok(()),
    }
}

/// Installs and measures them one after another, Dalsegno first; prints one table and gives all figures.
pub(crate) fn measure(names: &[String]) -> Result<Vec<Value>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let home = place::target()?.join("peers");
    std::fs::create_dir_all(&home)?;
    let mut asked = Vec::new();
    if std::env::var_os("DALSEGNO_BENCH_POSTGRES_URL").is_some() {
        asked.push("dalsegno:postgres".to_owned());
    }
    asked.insert(0, "dalsegno:sqlite".to_owned());
    for name in names {
        match name.as_str() {
            "dbos" => asked.extend(["dbos:sqlite".to_owned(), "dbos:postgres".to_owned()]),
            "airflow" => asked.push("airflow:postgres".to_owned()),
            name => asked.push(name.to_owned()),
        }
    }
    let script = scripts()?.join("run_all.sh");
    let status = Command::new("bash")
        .arg(&script)
        .args(&asked)
        .env("PEERS", &home)
        .env("DALSEGNO_BENCH_SELF", std::env::current_exe()?)
        .env("DALSEGNO_BENCH_TARGET", place::target()?)
        .status()
        .with_context(|| format!("{} does not start", script.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", script.display());
    }
    let mut figures = Vec::new();
    for name in asked {
        let file = home.join("logs").join(name.replace(':', "-") + ".jsonl");
        figures.extend(lines(&file)?);
    }
    Ok(figures)
}

fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().filter(|it| it.starts_with('{'));
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The folder of the scripts, as seen from the checkout.
fn scripts() -> Result<PathBuf> {
    let folder = PathBuf::from("bench/peers");
    if !folder.is_dir() {
        bail!("there is no bench/peers here; run `cargo xtask bench` in the checkout");
    }
    Ok(folder.canonicalize()?)
}
