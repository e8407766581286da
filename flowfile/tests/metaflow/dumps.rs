//! What a dump adds to reading.

use crate::text::{good, options, small};
use dalsegno_flowfile::metaflow::{Dump, flow_from_dump, with_dump};
use serde_json::{Value, json};
use std::path::Path;

fn dump(change: impl Fn(&mut Value)) -> Dump {
    let mut dump = json!({
        "version": 1, "metaflow_version": "2.19.39", "flow": "Small", "doc": "", "start": "start", "end": "end",
        "project": null, "decorators": [], "parameters": [], "configs": {},
        "steps": {
            "start": {"type": "start", "next": ["end"], "line": 8, "decorators": [], "user_code_retries": 0, "error_retries": 0},
            "end": {"type": "end", "next": [], "line": 12, "decorators": [], "user_code_retries": 0, "error_retries": 0},
        },
        "exit_hooks": {"on_success": [], "on_error": []},
    });
    change(&mut dump);
    serde_json::from_value(dump).expect("a dump")
}

#[test]
fn a_dump_tells_what_was_dynamic() {
    let text = small("@schedule(cron=os.getenv('CRON'))", "")
        .replace("\n@schedule", "\nimport os\n@schedule");
    let file = good(&text);
    assert!(file.flow.spec().schedules.is_empty());
    let dump = dump(|it| {
        it["decorators"] = json!([{"name": "schedule", "attributes": {"cron": "0 5 * * ? *", "weekly": false, "daily": true, "hourly": false, "timezone": null}}]);
    });
    let (file, differences) = with_dump(&file, &dump, &options()).expect("valid");
    assert!(differences.is_empty());
    assert_eq!(file.flow.spec().schedules.len(), 1);
    let about = file.metaflow.expect("Metaflow");
    assert!(!about.needs_probe && about.dynamic.is_empty());
    assert_eq!(
        file.flow
            .spec()
            .metaflow
            .as_ref()
            .and_then(|it| it.metaflow_version.as_deref()),
        Some("2.19.39")
    );
}

#[test]
fn where_running_differs_from_reading_running_counts_and_it_is_told() {
    let text = small("", "").replace(
        "    @step\n    def start",
        "    @retry(times=2)\n    @step\n    def start",
    );
    let dump = dump(|it| {
        it["steps"]["start"]["decorators"] =
            json!([{"name": "retry", "attributes": {"times": 3, "minutes_between_retries": "2"}}]);
        it["steps"]["start"]["user_code_retries"] = json!(3);
    });
    let (file, differences) = with_dump(&good(&text), &dump, &options()).expect("valid");
    let told: Vec<String> = differences
        .iter()
        .map(|it| format!("{} {it}", it.line))
        .collect();
    assert_eq!(
        told,
        ["6 @retry(times=…) of step start is 3 when run, 2 as read"]
    );
    assert_eq!(file.flow.step("start").expect("there").retry.times, 3);
    assert!(
        file.warnings
            .iter()
            .any(|it| it.code == "metaflow.differs" && it.line == 6)
    );
}

#[test]
fn configs_are_a_part_of_the_version() {
    let file = good(&small("", ""));
    let version = |value: i32| {
        let dump = dump(|it| it["configs"] = json!({"cfg": {"a": value}}));
        with_dump(&file, &dump, &options())
            .expect("valid")
            .0
            .version
    };
    assert_ne!(version(1), version(2));
    assert_eq!(
        with_dump(&file, &dump(|_| {}), &options())
            .expect("valid")
            .0
            .version,
        file.version
    );
}

#[test]
fn what_a_deployment_adds_counts_beside_a_dump() {
    let with = dalsegno_flowfile::metaflow::Options {
        with: vec!["retry:times=2".to_owned(), "catch".to_owned()],
        ..options()
    };
    let file = flow_from_dump(Path::new("flow.py"), None, "", &dump(|_| {}), &with).expect("valid");
    assert_eq!(file.flow.step("end").expect("there").retry.times, 5);
}

#[test]
fn a_dump_is_enough_for_a_flow() {
    let file =
        flow_from_dump(Path::new("flow.py"), None, "", &dump(|_| {}), &options()).expect("valid");
    assert_eq!(file.flow.name().as_str(), "Small");
    assert_eq!(file.flow.step_edges().len(), 1);
}

#[test]
fn a_dump_of_another_flow_is_refused() {
    let dump = dump(|it| it["flow"] = json!("Other"));
    let found = with_dump(&good(&small("", "")), &dump, &options()).expect_err("refused");
    assert_eq!(
        found.iter().next().map(|it| it.code),
        Some("metaflow.two_flows")
    );
}

#[test]
fn dumps_that_make_no_sense_are_refused_without_panic() {
    for broken in [
        json!({"flow": "X"}),
        json!({"flow": "X", "steps": {"start": {"type": "start", "next": ["nowhere"]}, "end": {"type": "end"}}, "start": "start", "end": "end"}),
        json!({"flow": "X", "steps": {"start": {"type": "split-foreach", "next": []}, "end": {"type": "end"}}, "start": "start", "end": "end"}),
        json!({"flow": "X", "steps": {"start": {"type": "join", "next": ["start"]}}, "start": "nowhere"}),
    ] {
        let dump: Dump = serde_json::from_value(broken).expect("a dump");
        assert!(flow_from_dump(Path::new("flow.py"), None, "", &dump, &options()).is_err());
    }
}
