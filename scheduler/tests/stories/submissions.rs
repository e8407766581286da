//! Parameters, and what a task is given.

use crate::world::{World, flow, step};
use dalsegno_scheduler::Rejected;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn with_params() -> Value {
    let steps = [step(
        "a",
        &[],
        json!({
            "env": {"WHO": "${{ run.flow }} ${{ params.region }}", "FLOW_WIDE": "step"},
            "outputs": ["rows"],
            "memory_bytes": 1_048_576,
            "retry": {"times": 2, "backoff": {
                "initial": 1, "max": 1, "multiplier_percent": 100, "jitter_percent": 0,
            }},
        }),
    )];
    flow(
        "f",
        &steps,
        json!({
            "env": {"FLOW_WIDE": "flow", "DAY": "${{ interval.end }}"},
            "params": [
                {"name": "region", "type": "string", "choices": ["north", "south"]},
                {"name": "rows", "type": "int", "default": 10, "min": 1.0, "max": 100.0},
                {"name": "opts", "type": "json", "default": {"deep": true}},
            ],
        }),
    )
}

#[test]
fn a_task_is_given_all_it_needs() {
    let mut w = World::new().flow(&with_params());
    w.try_start("f", json!({"region": "north", "rows": "20"}))
        .expect("valid");
    let submission = w.submission("1/a");
    let env: Vec<String> = submission
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_snapshot!(env.join("\n"), @r#"
    DALSEGNO_ATTEMPT=1
    DALSEGNO_FLOW=f
    DALSEGNO_INTERVAL_END=2026-11-22T06:00:00Z
    DALSEGNO_INTERVAL_START=2026-11-22T06:00:00Z
    DALSEGNO_MAX_ATTEMPTS=3
    DALSEGNO_RUN_ID=1
    DALSEGNO_STEP=a
    DALSEGNO_TASK=a
    DAY=2026-11-22T06:00:00Z
    FLOW_WIDE=step
    OPTS={"deep":true}
    REGION=north
    ROWS=20
    TRACEPARENT=00-7fb6cde5028c84a594bb82f9cc8557e4-7763d277bad434cd-01
    WHO=f north
    "#);
    assert_eq!(submission.outputs, ["rows"]);
    assert_eq!(submission.file, "flows/story.yaml");
}

#[test]
fn every_parameter_that_does_not_fit_is_named() {
    let mut w = World::new().flow(&with_params());
    let refused = |w: &mut World, params: Value| match w.try_start("f", params) {
        Err(refused @ Rejected::BadParams(_)) => refused.to_string(),
        other => panic!("{other:?}"),
    };
    assert_snapshot!(refused(&mut w, json!({"region": "west", "rows": 0, "regio": 1})), @r#"parameter `regio`: does not exist; did you mean `region`?; parameter `region`: one of "north", "south" is expected, and it is "west"; parameter `rows`: 0 is less than 1"#);
    assert_snapshot!(refused(&mut w, json!({"rows": "many"})), @r#"parameter `region`: must be given; parameter `rows`: a whole number is expected, and it is "many""#);
    assert_eq!(w.journal(), "", "nothing is recorded");
}

#[test]
fn an_unknown_flow_is_refused_with_the_one_that_was_meant() {
    let mut w = World::new().flow(&flow("ingest", &[step("a", &[], json!({}))], json!({})));
    let refused = w.try_start("injest", json!({})).expect_err("unknown");
    assert!(
        matches!(refused, Rejected::UnknownFlow { similar: Some(it), .. } if it.as_str() == "ingest")
    );
}
