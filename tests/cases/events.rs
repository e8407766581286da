//! Events that start flows: CloudEvents over HTTP, and other flows' ends.

use dalsegno_tests::{Daemon, House};
use serde_json::{Value, json};

const LISTENS: &str = r#"
flow: listens
run: { strategy: { parallel: 10 } }
params:
  day: { type: string, default: none }
triggers:
  - event: orders.corrected
    params: { day: "${{ event.data.day }}" }
steps:
  hear: { run: "echo \"$DAY\" >> '{house}/witness'" }
"#;

const ORDER: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"orders.corrected","data":{"day":"monday"}}"#;

#[test]
fn a_structured_event_starts_the_flow_with_its_data() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let headers = [("content-type", "application/cloudevents+json")];
    daemon
        .api()
        .post_with("/api/v1/events", &headers, ORDER.as_bytes())
        .expect(202);
    assert_eq!(witness.line(), "monday");
}

#[test]
fn a_binary_event_starts_the_flow_with_its_data() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "orders.corrected"),
    ];
    daemon
        .api()
        .post_with("/api/v1/events", &headers, br#"{"day":"tuesday"}"#)
        .expect(202);
    assert_eq!(witness.line(), "tuesday");
}

#[test]
fn a_batch_starts_the_flow_once_for_each_event() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let second = ORDER
        .replace("\"id\":\"1\"", "\"id\":\"2\"")
        .replace("monday", "friday");
    let batch = format!("[{ORDER},{second}]");
    let headers = [("content-type", "application/cloudevents-batch+json")];
    daemon
        .api()
        .post_with("/api/v1/events", &headers, batch.as_bytes())
        .expect(202);
    let mut days = [witness.line(), witness.line()];
    days.sort();
    assert_eq!(days, ["friday", "monday"]);
}

#[test]
fn the_same_source_and_id_twice_is_one_event() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let daemon = house.up();
    let _witness = house.witness("witness");
    let headers = [("content-type", "application/cloudevents+json")];
    for _ in 0..3 {
        daemon
            .api()
            .post_with("/api/v1/events", &headers, ORDER.as_bytes())
            .expect(202);
    }
    assert_eq!(daemon.api().list("/api/v1/events?source=/shop").len(), 1);
    assert_eq!(runs_of(&daemon, "listens").len(), 1);
}

#[test]
fn an_accepted_event_survives_the_death_of_the_daemon() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let headers = [("content-type", "application/cloudevents+json")];
    daemon
        .api()
        .post_with("/api/v1/events", &headers, ORDER.as_bytes())
        .expect(202);
    daemon.kill_nine();
    let daemon = house.up();
    assert_eq!(witness.line(), "monday");
    let id = runs_of(&daemon, "listens")[0]["id"].to_string();
    assert_eq!(
        daemon.api().wait_for_run(id.trim_matches('"'))["state"],
        "succeeded"
    );
}

#[test]
fn bad_events_are_refused_with_the_reason() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let daemon = house.up();
    let structured = [("content-type", "application/cloudevents+json")];
    for (body, word) in [
        ("{", "JSON"),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "id"),
        (
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            "specversion",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s","type":""}"#,
            "type",
        ),
    ] {
        let problem = daemon
            .api()
            .post_with("/api/v1/events", &structured, body.as_bytes())
            .problem(400);
        assert!(problem.to_string().contains(word), "{body}: {problem}");
    }
    assert_eq!(daemon.api().list("/api/v1/events").len(), 0);
}

#[test]
fn emit_and_list_events_on_the_command_line() {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    daemon
        .cli(&[
            "events",
            "emit",
            "orders.corrected",
            "--data",
            r#"{"day":"sunday"}"#,
        ])
        .succeeded();
    assert_eq!(witness.line(), "sunday");
    let events = daemon
        .cli(&["events", "list", "--type", "orders.corrected", "--json"])
        .succeeded()
        .json();
    assert_eq!(events["items"][0]["type"], "orders.corrected", "{events}");
    daemon
        .cli(&["events", "emit", "orders.corrected", "--data", "{not json"])
        .failed(2, &["JSON"]);
}

#[test]
fn the_end_of_one_flow_starts_the_next() {
    let up = "flow: upstream\nsteps:\n  go: { run: 'true' }\n";
    let down = "flow: downstream\ntriggers:\n  - flow: upstream\nsteps:\n  go: { run: \"echo down > '{house}/witness'\" }\n";
    let house = House::with(&[("up.yaml", up), ("down.yaml", down)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    daemon.api().start("upstream", &json!({}));
    assert_eq!(witness.line(), "down");
}

#[test]
fn a_failed_flow_starts_only_those_that_want_failures() {
    let up = "flow: upstream\nsteps:\n  go: { run: 'false' }\n";
    let glad = "flow: glad\ntriggers:\n  - flow: upstream\nsteps:\n  go: { run: \"echo glad > '{house}/witness'\" }\n";
    let sad = "flow: sad\ntriggers:\n  - flow: upstream\n    on: failed\nsteps:\n  go: { run: \"echo sad > '{house}/witness'\" }\n";
    let house = House::with(&[("up.yaml", up), ("glad.yaml", glad), ("sad.yaml", sad)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    daemon.api().start("upstream", &json!({}));
    assert_eq!(witness.line(), "sad");
    assert_eq!(runs_of(&daemon, "glad").len(), 0);
}

#[test]
fn all_of_waits_for_both_flows_and_says_what_is_missing() {
    let part = |name: &str| format!("flow: {name}\nsteps:\n  go: {{ run: 'true' }}\n");
    let both = r#"
flow: both
triggers:
  - all_of:
      - flow: left
      - flow: right
    join_on: none
steps:
  go: { run: "echo both > '{house}/witness'" }
"#;
    let (left, right) = (part("left"), part("right"));
    let house = House::with(&[
        ("left.yaml", &left),
        ("right.yaml", &right),
        ("both.yaml", both),
    ]);
    let mut witness = house.witness("witness");
    let daemon = house.up();

    let id = daemon.api().start("left", &json!({}));
    daemon.api().wait_for_run(&id);
    assert_eq!(runs_of(&daemon, "both").len(), 0);
    let why = daemon.cli(&["why", "both"]).succeeded();
    assert!(
        why.stdout.contains("right"),
        "it says what it waits for: {why}"
    );

    daemon.api().start("right", &json!({}));
    assert_eq!(witness.line(), "both");
    assert_eq!(runs_of(&daemon, "both").len(), 1);
}

fn runs_of(daemon: &Daemon, flow: &str) -> Vec<Value> {
    daemon.api().list(&format!("/api/v1/runs?flow={flow}"))
}
