//! OpenLineage with its official client on the other side, as tools have it.

use dalsegno_tests::{House, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const LISTENS: &str = r#"
flow: listens
run: { strategy: { parallel: 10 } }
params:
  rows: { type: int, default: 0 }
triggers:
  - dataset: { namespace: "postgres://db:5432", name: shop.orders }
    where: event.data.facets.outputStatistics.rowCount > 0
    params: { rows: "${{ event.data.facets.outputStatistics.rowCount }}" }
steps:
  hear: { run: "echo \"$ROWS $DALSEGNO_INTERVAL_START\" >> '{house}/witness'" }
"#;

#[test]
fn what_the_official_client_tells_starts_one_run_and_a_repetition_none() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    house.configure("token = \"s3cret\"\n");
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let client = |token: &str, run: &str, rows: &str| {
        let mut python = Command::new(python());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client/lineage.py");
        python.args([script, daemon.url(), token, run, rows]);
        let output = python.output().expect("Python starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (first, second) = (
        "0199f000-0000-7000-8000-000000000001",
        "0199f000-0000-7000-8000-000000000002",
    );
    let (went, said) = client("guessed", first, "7");
    assert!(!went && said.contains("401"), "a wrong key: {said}");
    // Nothing was written, so nothing follows.
    assert!(client("s3cret", first, "0").0);
    let (went, said) = client("s3cret", second, "12");
    assert!(went, "{said}");
    assert_eq!(witness.line(), "12 2026-11-21T00:00:00Z");
    let runs = daemon.cli(&["runs", "--json", "--token", "s3cret"]);
    let runs = runs.succeeded().json();
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "{runs}");
}

#[test]
fn lineage_that_is_none_is_refused_by_the_name_of_the_field() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let daemon = house.up();
    let event = json!({"eventType": "COMPLETE", "eventTime": "2026-11-22T06:00:00Z", "run": {"runId": "7"}});
    let problem = daemon.api().post("/api/v1/lineage", &event).problem(400);
    assert_eq!(problem["code"], "bad_event");
    assert_eq!(problem["attribute"], "run.runId");
    let problem = daemon
        .api()
        .post("/api/v1/lineage/batch", &event)
        .problem(400);
    assert!(problem["detail"].to_string().contains("array"), "{problem}");
}

const WORKS: &str = r#"
flow: works
params:
  how: { type: string, default: "true" }
steps:
  go: { run: "$HOW" }
"#;

#[test]
fn runs_are_told_to_a_receiver_that_reads_them_with_the_official_classes() {
    let house = House::with(&[("works.yaml", WORKS)]);
    let heard = house.path("heard");
    let receiver = Receiver::start(&heard);
    // The harness takes the first address that begins with 127.0.0.1 for the daemon's own.
    let url = format!("http://localhost:{}", receiver.port);
    house.configure(&format!(
        "[openlineage]\nurl = \"{url}\"\nnamespace = \"tests\"\n"
    ));
    let daemon = house.up();
    daemon.succeeds("works", &json!({}));
    daemon.fails("works", &json!({"how": "false"}));
    let lines = eventually("four events", || {
        let text = house.read("heard");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= 4).then_some(lines)
    });
    let words: Vec<Vec<&str>> = lines.iter().map(|it| it.split(' ').collect()).collect();
    let kinds: Vec<_> = words.iter().map(|it| (it[0], it[1])).collect();
    let job = "tests/works";
    let expected = [
        ("START", job),
        ("COMPLETE", job),
        ("START", job),
        ("FAIL", job),
    ];
    assert_eq!(kinds, expected, "{lines:?}");
    assert!(
        words[0][2] == words[1][2] && words[2][2] == words[3][2],
        "{lines:?}"
    );
    assert_ne!(words[0][2], words[2][2]);
}

#[test]
fn a_receiver_that_is_away_hears_all_of_it_after_a_kill_of_the_daemon() {
    let house = House::with(&[("works.yaml", WORKS)]);
    let heard = house.path("heard");
    // Nobody listens there until later.
    house.configure("[openlineage]\nurl = \"http://localhost:1\"\n");
    let daemon = house.up();
    daemon.succeeds("works", &json!({}));
    daemon.kill_nine();
    let receiver = Receiver::start(&heard);
    house.configure(&format!(
        "[openlineage]\nurl = \"http://localhost:{}\"\n",
        receiver.port
    ));
    let _daemon = house.up();
    let lines = eventually("both events", || {
        let text = house.read("heard");
        text.contains("COMPLETE").then_some(text)
    });
    assert!(lines.starts_with("START dalsegno/works "), "{lines}");
}

/// A receiver of lineage with the official client's classes; it ends with this value.
struct Receiver {
    child: Child,
    port: String,
}

impl Receiver {
    fn start(heard: &std::path::Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client/receiver.py");
        let mut child = Command::new(python())
            .arg(script)
            .arg(heard)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut port = String::new();
        let said = child.stdout.take().expect("stdout is piped");
        BufReader::new(said).read_line(&mut port).expect("a line");
        let port = port.trim().to_owned();
        assert!(
            port.parse::<u16>().is_ok(),
            "it says its port, not `{port}`"
        );
        Self { child, port }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python() -> std::ffi::OsString {
    std::env::var_os("DALSEGNO_TEST_PYTHON").expect(
        "DALSEGNO_TEST_PYTHON names a Python with tests/requirements.txt; run `cargo xtask test`, which makes one",
    )
}

#[test]
fn a_receiver_that_cannot_be_is_told_when_the_daemon_starts() {
    let house = House::with(&[("works.yaml", WORKS)]);
    house.configure("[openlineage]\nurl = \"marquez:5000\"\n");
    let said: Value = json!(house.run(&house.up_command()).all());
    assert!(
        said.to_string()
            .contains("[openlineage]: `url` is `marquez:5000`"),
        "{said}"
    );
}
