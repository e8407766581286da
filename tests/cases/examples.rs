//! The example flows that a newcomer sees first, each run to its end as shipped.

use dalsegno_tests::{Daemon, House};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_examples_pass_check() {
    let house = with_examples();
    house.dalsegno(&["check", "flows"]).succeeded();
}

#[test]
fn the_ingest_starts_the_report_and_both_start_the_brief() {
    let house = with_examples();
    let daemon = house.up();
    runs(&daemon, "ingest_orders", &json!({"day": "2026-02-14"}));
    follows(&daemon, "regional_report");
    follows(&daemon, "morning_brief");
    assert!(
        has_files(&house.path("flows/results/orders")),
        "the ingest leaves orders"
    );
    let report = files_below(&house.path("flows/results/report"));
    for ending in ["md", "svg"] {
        assert!(
            report
                .iter()
                .any(|it| it.extension().is_some_and(|ext| ext == ending)),
            "{ending}: {report:?}"
        );
    }
    assert!(
        has_files(&house.path("flows/results/brief")),
        "the brief is written"
    );
}

#[test]
fn the_model_fails_retries_and_goes_on_from_its_checkpoint() {
    let house = with_examples();
    let daemon = house.up();
    let run = runs(&daemon, "train_model", &json!({}));
    let id = run["id"].to_string().replace('"', "");
    let attempts = daemon.api().list(&format!("/api/v1/runs/{id}/tasks"));
    let most = attempts
        .iter()
        .filter_map(|task| task["attempt"].as_u64())
        .max();
    assert!(
        most >= Some(2),
        "one of its tasks needs more than one attempt: {attempts:?}"
    );
    assert!(
        has_files(&house.path("flows/results/model")),
        "the model is written"
    );
}

#[test]
fn the_grid_runs_a_foreach_within_a_foreach() {
    let house = with_examples();
    let daemon = house.up();
    runs(&daemon, "nested_grid", &json!({}));
    assert!(
        has_files(&house.path("flows/results/grid")),
        "the heat map is written"
    );
}

#[test]
fn the_scripts_pass_their_own_tests() {
    let python = std::env::var_os("DALSEGNO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .args(["-B", "-m", "unittest", "discover", "-s", "tests"])
        .current_dir(shipped())
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A house with a copy of the shipped flows, so that results do not land in the checkout.
fn with_examples() -> House {
    let house = House::with(&[]);
    let status = Command::new("cp")
        .args(["-R", "."])
        .arg(house.flows())
        .current_dir(shipped())
        .status()
        .expect("cp of coreutils is installed");
    assert!(status.success(), "the flows can be copied");
    house
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("flows")
}

/// Runs a flow to success and gives the run.
fn runs(daemon: &Daemon, flow: &str, params: &Value) -> Value {
    let id = daemon.api().start(flow, params);
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.cli(&["why", &id]));
    run
}

/// Waits for a run of this flow that has succeeded.
fn follows(daemon: &Daemon, flow: &str) {
    daemon.api().wait_until(&format!("a run of {flow}"), || {
        let runs = daemon.api().list(&format!("/api/v1/runs?flow={flow}"));
        runs.iter()
            .any(|run| run["state"] == "succeeded")
            .then_some(())
    });
}

fn has_files(folder: &Path) -> bool {
    !files_below(folder).is_empty()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|it| Some(it.ok()?.path()));
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
