//! Promises about time, seen from outside: a breach is told once, however often the daemon dies.

use dalsegno_tests::{Daemon, House};
use serde_json::{Value, json};

/// It promises a success within a second, and nothing ever runs: nobody has to wait for a clock.
const STALE: &str = r#"
flow: stale
owner: growth
sla: [{ fresh_within: 1s }]
alerts: [{ on: [sla.missed, sla.met], to: "webhook:nobody" }]
steps: { only: { run: "true" } }
"#;

/// A run takes a second at most, and the gate is shut.
const SHUT: &str = r#"
flow: shut
schedule: { every: 1h }
sla: [{ max_duration: 1s }]
alerts: [{ on: [sla.missed, sla.met], to: "webhook:nobody" }]
steps:
  wait: { run: "echo started > '{house}/witness'; cat '{house}/gate'" }
"#;

/// Where nobody listens: alerts are written all the same.
const NOBODY: &str = r#"
[channels.nobody]
type = "webhook"
url = "http://127.0.0.1:9/"
secret = { env = "SECRET" }
allow_private = true
"#;

fn house(name: &str, flow: &str) -> House {
    let house = House::with(&[(name, flow)]);
    house.configure(NOBODY);
    house
}

fn up(house: &House) -> Daemon {
    house.up_in(&[(
        "SECRET",
        "whsec_YSBzZWNyZXQgdGhhdCBub2JvZHkgaGFzIHRvIGtlZXA=",
    )])
}

fn alerts(api: &dalsegno_tests::Api, flow: &str) -> Vec<Value> {
    api.list(&format!("/api/v1/alerts?flow={flow}"))
}

#[test]
fn a_breach_without_any_run_is_told_once_over_kills() {
    let house = house("stale.yaml", STALE);
    let daemon = up(&house);
    let api = daemon.api();
    let missed = api.wait_until("the promise is missed", || {
        api.list("/api/v1/slas?flow=stale&state=missed").pop()
    });
    assert_eq!(missed["promise"], "fresh_within");
    assert!(missed["run"].is_null(), "nothing ever ran: {missed}");
    assert_eq!(alerts(&api, "stale").len(), 1);
    daemon.kill_nine();
    for _ in 0..2 {
        let daemon = up(&house);
        let api = daemon.api();
        assert_eq!(api.list("/api/v1/slas?flow=stale&open=true").len(), 1);
        assert_eq!(alerts(&api, "stale").len(), 1);
        daemon.kill_nine();
    }
    let daemon = up(&house);
    let api = daemon.api();
    let place = "/api/v1/slas/stale/fresh_within/";
    let period = missed["period"].as_str().expect("text").replace(':', "%3A");
    let seen = api.post(
        &format!("{place}{period}/acknowledge"),
        &json!({ "by": "ada" }),
    );
    assert_eq!(seen.json()["acknowledged"]["by"], "ada");
    let id = api.start("stale", &json!({}));
    api.wait_for_run(&id);
    let told = alerts(&api, "stale");
    let kinds: Vec<&Value> = told.iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["sla.met", "sla.missed"]);
    assert_eq!(told[0]["key"], told[1]["key"]);
}

#[test]
fn a_run_that_goes_on_while_the_daemon_is_dead_breaks_its_promise_once() {
    let house = house("shut.yaml", SHUT);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = up(&house);
    let id = daemon.api().start("shut", &json!({}));
    witness.wait_for("started");
    daemon.kill_nine();
    let daemon = up(&house);
    let api = daemon.api();
    let missed = api.wait_until("the promise is missed", || {
        api.list("/api/v1/slas?flow=shut&state=missed").pop()
    });
    assert_eq!(missed["run"], json!(id));
    daemon.kill_nine();
    let daemon = up(&house);
    let api = daemon.api();
    assert_eq!(alerts(&api, "shut").len(), 1);
    gate.open();
    assert_eq!(api.wait_for_run(&id)["state"], "succeeded");
    let state = &api.list("/api/v1/slas?flow=shut&open=false")[0]["state"];
    assert_eq!(state, "met_late");
    assert_eq!(alerts(&api, "shut").len(), 2);
}

#[test]
fn a_person_at_a_terminal_sees_it_and_has_quiet() {
    let house = house("stale.yaml", STALE);
    let daemon = up(&house);
    let api = daemon.api();
    api.wait_until("the promise is missed", || {
        api.list("/api/v1/slas?flow=stale&state=missed").pop()
    });
    let shown = daemon.cli(&["slas"]).succeeded().stdout;
    assert!(
        shown.contains("fresh_within") && shown.contains("missed"),
        "{shown}"
    );
    daemon.cli(&["ack", "stale", "--note", "known"]).succeeded();
    let shown = daemon.cli(&["slas", "--flow", "stale"]).succeeded().stdout;
    assert!(shown.contains("(known)"), "{shown}");
    daemon
        .cli(&["ack", "stale", "finish_by"])
        .failed(4, &["no open promise of stale"]);
    let silence = ["silence", "sta*", "--for", "2h", "--key", "k"];
    daemon.cli(&silence).succeeded();
    daemon.cli(&silence).succeeded();
    let listed = daemon.cli(&["silences", "--json"]).succeeded().json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    daemon.cli(&["silences", "end", "1"]).succeeded();
    let shown = daemon.cli(&["silences"]).succeeded().stdout;
    assert_eq!(shown, "no silences\n");
    daemon
        .cli(&["silence", "stale"])
        .failed(2, &["a silence needs its end"]);
    daemon
        .cli(&["silence", "stail", "--for", "2h"])
        .failed(3, &["there is no flow `stail`"]);
}
