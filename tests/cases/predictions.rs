//! What is said of promises before they are broken.

use dalsegno_tests::House;
use serde_json::json;

/// It has never run, so it is reckoned with its timeout: an hour too long.
const FLOW: &str = r#"
flow: report
steps:
  build:
    timeout: 2h
    run: cat '{house}/gate'
sla:
  - max_duration: 1h
"#;

#[test]
fn a_promise_that_will_be_broken_is_at_risk_long_before() {
    let house = House::with(&[("report.yaml", FLOW)]);
    let gate = house.gate("gate");
    let daemon = house.up();
    let id = daemon.api().start("report", &json!({}));
    let at_risk = |daemon: &dalsegno_tests::Daemon| {
        let why = daemon.why(&json!("report"));
        why.contains("promised and at risk").then_some(why)
    };
    let why = daemon
        .api()
        .wait_until("the prediction", || at_risk(&daemon));
    assert!(
        why.contains("take at most 1h") && why.contains("late with a chance of 100 %"),
        "{why}"
    );

    daemon.kill_nine();
    let daemon = house.up();
    at_risk(&daemon).expect("what was predicted is on disk");
    gate.open();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    let why = daemon.why(&json!("report"));
    assert!(!why.contains("promised"), "{why}");
}

#[test]
fn a_flow_that_waits_for_a_long_one_is_at_risk_with_it() {
    let ingest = r#"
flow: ingest_orders
steps:
  load: { timeout: 3h, run: "cat '{house}/gate'" }
"#;
    let training = r#"
flow: churn_training
triggers: { flow: ingest_orders }
steps:
  train: { run: "true" }
sla:
  - fresh_within: 1h
"#;
    let house = House::with(&[("ingest.yaml", ingest), ("training.yaml", training)]);
    let gate = house.gate("gate");
    let daemon = house.up();
    // Nothing is known of the past: three hours are reckoned with.
    let id = daemon.api().start("ingest_orders", &json!({}));
    let why = daemon.api().wait_until("the prediction", || {
        let why = daemon.why(&json!("churn_training"));
        why.contains("promised and at risk").then_some(why)
    });
    assert!(why.contains("succeed at least every 1h"), "{why}");
    gate.open();
    daemon.api().wait_for_run(&id);
    // The training follows, and the promise begins anew.
    daemon.api().wait_until("a promise that is kept", || {
        let why = daemon.why(&json!("churn_training"));
        (why.contains("promised:") && !why.contains("at risk")).then_some(())
    });
}
