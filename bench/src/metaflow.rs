//! Real Metaflow beside the daemon: flow files, and its own command line.

use crate::daemon::House;
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The interpreter with Metaflow in it that `cargo xtask bench` has made.
pub(crate) fn python() -> Result<PathBuf> {
    let python = std::env::var_os("DALSEGNO_BENCH_METAFLOW_PYTHON");
    Ok(python
        .context(
            "DALSEGNO_BENCH_METAFLOW_PYTHON names no Python with Metaflow; run `cargo xtask bench`",
        )?
        .into())
}

/// Steps that do nothing, one after another, with `start` and `end`.
pub(crate) fn chain(class: &str, length: usize) -> String {
    let names: Vec<String> = (0..length)
        .map(|it| match it {
            0 => "start".to_owned(),
            _ if it + 1 == length => "end".to_owned(),
            _ => format!("s{it}"),
        })
        .collect();
    let steps = names.iter().enumerate().map(|(place, name)| {
        let body = names.get(place + 1).map_or_else(
            || "pass".to_owned(),
            |next| format!("self.next(self.{next})"),
        );
        format!("    @step\n    def {name}(self):\n        {body}\n")
    });
    file(class, &steps.collect::<String>())
}

/// A foreach of so many tasks that do nothing.
pub(crate) fn fan(class: &str, width: usize) -> String {
    let steps = format!(
        "    @step\n    def start(self):\n        self.items = list(range({width}))\n        self.next(self.work, foreach=\"items\")\n\
         \x20   @step\n    def work(self):\n        self.next(self.join)\n\
         \x20   @step\n    def join(self, inputs):\n        self.next(self.end)\n\
         \x20   @step\n    def end(self):\n        pass\n"
    );
    file(class, &steps)
}

fn file(class: &str, steps: &str) -> String {
    format!(
        "from metaflow import FlowSpec, step\n\n\nclass {class}(FlowSpec):\n{steps}\n\nif __name__ == \"__main__\":\n    {class}()\n"
    )
}

/// Lets the house's flows run with the interpreter above.
pub(crate) fn install(house: &House) -> Result<()> {
    let python = python()?;
    let environment = python.parent().and_then(std::path::Path::parent);
    let environment = environment.context("an interpreter lies in bin/ of its environment")?;
    std::os::unix::fs::symlink(environment, house.path().join("flows/.venv"))?;
    Ok(())
}

/// Seconds that `python FILE run` needs, with Metaflow's own scheduler.
pub(crate) fn run_by_itself(house: &House, file: &str, workers: usize) -> Result<f64> {
    let folder = house.path().join("alone");
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new(python()?);
    command
        .arg(house.path().join("flows").join(file))
        .args([
            "--no-pylint",
            "--quiet",
            "run",
            "--max-workers",
            &workers.to_string(),
        ])
        .current_dir(&folder)
        .env("METAFLOW_HOME", &folder)
        .env("METAFLOW_USER", "bench")
        .env("METAFLOW_DEFAULT_METADATA", "local")
        .env("METAFLOW_DATASTORE_SYSROOT_LOCAL", &folder);
    let begun = Instant::now();
    let output = command.output().context("the interpreter does not start")?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(seconds)
}
