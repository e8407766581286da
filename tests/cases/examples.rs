//! The example flows that a newcomer sees first, each run to its end as shipped.

use dalsegno_tests::{Daemon, House, Metaflow};
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
fn a_delivery_is_noted_with_its_region_and_day() {
    let house = with_examples();
    let daemon = house.up();
    runs(
        &daemon,
        "take_delivery",
        &json!({"region": "coast", "day": "2026-02-13"}),
    );
    let note = house.path("flows/results/deliveries/2026-02-13-coast.txt");
    let note = std::fs::read_to_string(note).expect("the delivery is noted");
    assert_eq!(note, "2026-02-13: coffee for coast\n");
}

#[test]
fn the_shop_hangs_out_its_sign() {
    let house = with_examples();
    let daemon = house.up();
    runs(&daemon, "open_shop", &json!({}));
    let sign = std::fs::read_to_string(house.path("flows/results/shop/sign.txt"));
    assert!(sign.expect("the sign").starts_with("open, with the report"));
}

#[test]
fn the_review_waits_for_the_run_of_the_other_flow() {
    let house = with_examples();
    let daemon = house.up();
    runs(&daemon, "evening_review", &json!({}));
    let minutes = std::fs::read_to_string(house.path("flows/results/review/minutes.txt"))
        .expect("the minutes are taken");
    let grid = daemon.api().list("/api/v1/runs?flow=nested_grid");
    let id = grid[0]["id"].to_string().replace('"', "");
    assert_eq!(minutes, format!("the settings were tried by run {id}\n"));
    assert_eq!(grid[0]["state"], "succeeded");
    assert!(has_files(&house.path("flows/results/grid")));
}

#[test]
fn the_first_metaflow_flow_greets() {
    let house = with_metaflow_examples();
    let daemon = house.up();
    let run = daemon.succeeds("HelloFlow", &json!({"who": "Clara", "cups": 2}));
    let run = house.metaflow().of_run(&run);
    assert_eq!(
        run.stdout("end"),
        "Good morning, Clara! Here you are: espresso, espresso\n"
    );
    let row = daemon
        .api()
        .get("/api/v1/flows/HelloFlow")
        .expect(200)
        .json();
    assert!(row["next_at"].is_string(), "it opens at seven: {row}");
}

#[test]
fn the_metaflow_flow_that_decides_its_way_takes_either() {
    let house = with_metaflow_examples();
    let daemon = house.up();
    let large = daemon.succeeds("RouteFlow", &json!({"kilos": 11}));
    let large = house.metaflow().of_run(&large);
    assert_eq!(large.tasks("roast").len(), 3);
    assert_eq!(large.data("end")["left_over"], 1);
    let small = daemon.succeeds("RouteFlow", &json!({"kilos": 2}));
    let small = house.metaflow().of_run(&small);
    assert_eq!(small.tasks("roast").len(), 0);
    assert_eq!(small.data("end")["source"], "the shelf");
}

#[test]
fn the_grid_search_chooses_without_the_settings_that_explode() {
    let house = with_metaflow_examples();
    let daemon = house.up();
    let run = daemon.succeeds("GridSearchFlow", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert_eq!(run.data("end")["exploded"], 2);
    let tasks = run.tasks("fit");
    assert_eq!(tasks.len(), 6);
    assert_eq!(
        tasks
            .iter()
            .filter(|it| it["attempt"] == 1 && it["ok"] == true)
            .count(),
        2,
        "those that explode are tried twice and then caught"
    );
}

#[test]
fn an_event_brings_in_sales_and_the_report_follows() {
    let house = with_metaflow_examples();
    let daemon = house.up();
    let data = r#"{"date": "2026-02-13"}"#;
    daemon
        .cli(&["events", "emit", "orders.exported", "--data", data])
        .succeeded();
    follows(&daemon, "coda.user.tester.SalesIngestFlow");
    follows(&daemon, "coda.user.tester.SalesReportFlow");
    let page = std::fs::read_to_string(house.path("flows/results/sales/2026-02-13.md"))
        .expect("the report is written");
    assert!(
        page.contains("| alps |") && page.contains("Total:"),
        "{page}"
    );
    let events = daemon.api().list("/api/v1/events?type=orders.refused");
    assert_eq!(events.len(), 1, "dirty rows are told of: {events:?}");
}

#[test]
fn the_training_has_a_card_and_word_is_sent_when_it_is_over() {
    let house = with_metaflow_examples();
    let daemon = house.up();
    let run = daemon.succeeds("TrainFlow", &json!({"epochs": 2}));
    let id = run["id"].as_str().expect("an id").to_owned();
    let said = daemon
        .cli(&["logs", &id, "exit-hook-tell"])
        .succeeded()
        .stdout;
    assert!(said.contains("is ready: AUC 0.7"), "{said}");
    let cards = "import sys; from metaflow import Run, namespace; from metaflow.cards import get_cards; namespace(None);\
                 print(len(list(get_cards(Run(sys.argv[1])['train'].task))))";
    let pathspec = run["metaflow"]["pathspec"].as_str().expect("text");
    let said = house
        .metaflow()
        .python(&["-c", cards, pathspec])
        .succeeded();
    assert_eq!(said.stdout, "1\n");

    let run = daemon.fails("TrainFlow", &json!({"epochs": 1, "wanted": 0.99}));
    let id = run["id"].as_str().expect("an id").to_owned();
    let said = daemon
        .cli(&["logs", &id, "exit-hook-alarm"])
        .succeeded()
        .stdout;
    assert!(said.contains("the old model stays"), "{said}");
}

#[test]
fn the_scripts_pass_their_own_tests() {
    let python = std::env::var_os("DALSEGNO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .args(["-m", "unittest", "discover", "-s", "tests"])
        // Nor do the scripts that it starts: other tests copy this folder meanwhile.
        .env("PYTHONDONTWRITEBYTECODE", "1")
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
    copied_to(House::with(&[]))
}

/// The same with the Metaflow of the tests.
fn with_metaflow_examples() -> House {
    copied_to(Metaflow::house(&[]))
}

fn copied_to(house: House) -> House {
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
