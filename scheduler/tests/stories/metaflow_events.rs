//! Metaflow's triggers: fields of events, resets, and the event that a run's end gives.

use crate::metaflow::{metaflow, mf};
use crate::world::{World, event, flow, step};
use dalsegno_scheduler::{Answer, Input, NewEvent, Reason, Rejected, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn triggered(name: &str, on: Value, trigger: Value, params: Value) -> Value {
    let mut all = json!({"name": "t", "on": on, "join_on": "none"});
    for (name, value) in trigger.as_object().expect("an object") {
        all[name] = value.clone();
    }
    let more = json!({"triggers": [all], "params": params, "run": {"strategy": {"parallel": 10}}});
    flow(name, &[step("a", &[], json!({}))], more)
}

fn kind(kind: &str, fields: Value) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}, "fields": fields}})
}

fn upstream(flow: &str, on: &str) -> Value {
    json!({"leaf": {"source": {"flow": {"flow": flow, "on": on}}}})
}

#[test]
fn fields_become_parameters_of_their_type() {
    let params = json!([
        {"name": "text", "type": "string", "default": "-"},
        {"name": "list", "type": "string", "default": "-"},
        {"name": "number", "type": "string", "default": "-"},
        {"name": "int", "type": "int", "default": 0},
        {"name": "float", "type": "float", "default": 0.0},
        {"name": "flag", "type": "bool", "default": false},
        {"name": "opts", "type": "json", "default": {}},
        {"name": "raw", "type": "json", "default": {}},
        {"name": "absent", "type": "int", "default": 7},
        {"name": "null", "type": "int", "optional": true},
    ]);
    let names = params.as_array().expect("a list").iter();
    let names = names.map(|it| it["name"].as_str().expect("a name"));
    let fields: Value = names.map(|it| (it.to_owned(), Value::from(it))).collect();
    let mut w = World::new().flow(&triggered("f", kind("k", fields), json!({}), params));
    let data = json!({
        "text": "x", "list": [1, "a"], "number": 3, "int": " 4", "float": "0.5", "flag": "True",
        "opts": {"a": 1}, "raw": "{\"b\": 2}", "null": null, "more": "is not asked for",
    });
    w.event("k", "1", data);
    let row = w.run_row(RunId(1));
    assert_eq!(
        Value::Object(row.params.as_ref().clone()),
        json!({
            "text": "x", "list": "[1,\"a\"]", "number": "3", "int": 4, "float": 0.5, "flag": true,
            "opts": {"a": 1}, "raw": "{\"b\": 2}", "absent": 7,
        })
    );
}

#[test]
fn an_event_without_a_field_that_is_needed_does_not_count() {
    let params = json!([{"name": "day", "type": "string"}]);
    let on = kind("k", json!({"day": "date"}));
    let mut w = World::new().flow(&triggered("f", on, json!({}), params));
    w.event("k", "1", json!({"day": "monday"}));
    w.event("k", "2", json!({"date": null}));
    w.event("k", "3", json!("no fields at all"));
    w.event("k", "4", json!({"date": 20}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 filtered: the event has no field `date`, from which parameter `day` is taken
    2 f/t#0 filtered: the event has no field `date`, from which parameter `day` is taken
    3 f/t#0 filtered: the event has no field `date`, from which parameter `day` is taken
    4 f/t#0 fired run 1
    ");
    assert_eq!(w.run_row(RunId(1)).params["day"], "20");
}

#[test]
fn a_field_of_the_wrong_type_refuses_the_run_with_the_reason() {
    let params = json!([{"name": "n", "type": "int"}]);
    let on = kind("k", json!({"n": "n"}));
    let mut w = World::new().flow(&triggered("f", on, json!({}), params));
    w.event("k", "1", json!({"n": "many"}));
    assert_snapshot!(w.matches(), @r#"1 f/t#0 refused: parameters are not usable: parameter `n`: a whole number is expected, and it is "many""#);
}

fn reset(more: Value) -> Value {
    let on = json!({"all_of": [kind("a", json!({})), kind("b", json!({}))]});
    let mut trigger = json!({"reset_at": {
        "when": {"cron": {"text": "0 0 * * *"}}, "timezone": "America/Los_Angeles",
    }});
    for (name, value) in more.as_object().expect("an object") {
        trigger[name] = value.clone();
    }
    triggered("f", on, trigger, json!([]))
}

#[test]
fn a_half_set_is_emptied_at_the_first_reset_after_it_began() {
    // Midnight in Los Angeles is 08:00 UTC, two hours after the beginning.
    let mut w = World::new().flow(&reset(json!({})));
    w.event("a", "1", json!({}));
    assert_snapshot!(w.why_flow("f"), @"t: waits for event b; 1 event waits, the first since 2026-11-22T06:00:00Z until 2026-11-22T08:00:00Z -> event b must come; dalsegno run f starts it without");
    w.restart();
    w.until_due();
    assert_snapshot!(w.matches(), @"1 f/t#0 expired: the set was emptied at 2026-11-22T08:00:00Z (reset_at), and event b had not arrived");
    w.event("b", "2", json!({}));
    assert_eq!(w.last_run(), 0, "the first half is gone");
    w.event("a", "3", json!({}));
    assert_eq!(w.last_run(), 1);
}

#[test]
fn an_event_that_comes_with_the_reset_belongs_to_the_next_set() {
    let mut w = World::new().flow(&reset(json!({})));
    w.event("a", "1", json!({}));
    w.now = w.now + Span::from_mins(2 * 60);
    // Nobody has looked at the clock since.
    w.event("b", "2", json!({}));
    assert_eq!(w.last_run(), 0);
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 expired: the set was emptied at 2026-11-22T08:00:00Z (reset_at), and event b had not arrived
    2 f/t#1 waiting: waits for event a
    ");
}

#[test]
fn whichever_comes_first_ends_a_set() {
    let within = json!({"within": 60_000_000});
    let mut w = World::new().flow(&reset(within));
    w.event("a", "1", json!({}));
    w.until_due();
    assert_snapshot!(w.matches(), @"1 f/t#0 expired: event b did not arrive within 1m");
}

fn project() -> Value {
    let steps = [
        mf("start", &[], &["finish"], json!({})),
        mf("finish", &["start"], &[], json!({})),
    ];
    let mut spec = metaflow(&steps, json!({}));
    spec["name"] = "p.prod.F".into();
    spec["metaflow"]["end"] = "finish".into();
    spec["metaflow"]["project"] = json!({"name": "p", "branch": "prod", "production": true});
    spec
}

#[test]
fn the_end_of_a_metaflow_run_is_told_as_metaflow_tells_it() {
    let mut w = World::new().flow(&project());
    w.start("p.prod.F");
    w.ok("1/start");
    w.ok("1/finish");
    let told: Vec<String> = w
        .changes
        .events
        .iter()
        .map(|it| format!("{} {} {}", it.source, it.kind, it.id))
        .collect();
    assert_snapshot!(told.join("\n"), @r"
    dalsegno:flow/p.prod.F dalsegno.run.ended run:1:1:succeeded
    dalsegno:flow/p.prod.F metaflow.p.prod.F.finish F/dalsegno-1-hoe1xgwlc0/finish/t
    dalsegno:flow/p.prod.F metaflow.p.prod.F.end F/dalsegno-1-hoe1xgwlc0/finish/t
    ");
    let data = |place: usize| (*w.changes.events[place].data).clone();
    assert_snapshot!(serde_json::to_string_pretty(&data(2)).expect("json"), @r#"
    {
      "auto-generated-by-metaflow": "True",
      "branch_name": "prod",
      "flow_name": "F",
      "generated-by-metaflow": true,
      "id": "F/dalsegno-1-hoe1xgwlc0/finish/t",
      "is_production": "True",
      "name": "metaflow.p.prod.F.end",
      "pathspec": "F/dalsegno-1-hoe1xgwlc0/finish/t",
      "project_flow_name": "p.prod.F",
      "project_name": "p",
      "run_id": "dalsegno-1-hoe1xgwlc0",
      "step_name": "finish",
      "task_id": "t",
      "timestamp": 1795327200,
      "utc_date": "20261122"
    }
    "#);
    assert_eq!(data(0)["metaflow"], data(2));
}

#[test]
fn only_success_has_metaflows_event() {
    let mut w = World::new().flow(&project());
    w.start("p.prod.F");
    w.fail("1/start");
    assert_eq!(w.changes.events.len(), 1);
    let data = &w.changes.events[0].data["metaflow"];
    assert_eq!(data["pathspec"], "F/dalsegno-1-hoe1xgwlc0");
    assert_eq!(data["project_flow_name"], "p.prod.F");
}

#[test]
fn a_flow_is_triggered_once_by_the_end_of_another_however_it_listens() {
    let both = json!({"all_of": [
        upstream("p.prod.F", "succeeded"),
        kind("metaflow.p.prod.F.end", json!({})),
    ]});
    let mut w = World::new()
        .flow(&project())
        .flow(&triggered(
            "by_flow",
            upstream("p.prod.F", "succeeded"),
            json!({}),
            json!([]),
        ))
        .flow(&triggered(
            "by_event",
            kind("metaflow.p.prod.F.end", json!({})),
            json!({}),
            json!([]),
        ))
        .flow(&triggered("both", both, json!({}), json!([])));
    w.start("p.prod.F");
    w.ok("1/start");
    w.ok("1/finish");
    assert_snapshot!(w.matches(), @r"
    1 both/t#0 fired run 3
    1 by_flow/t#0 fired run 2
    3 both/t#1 fired run 3
    3 by_event/t#0 fired run 4
    ");
}

#[test]
fn metaflows_own_runs_elsewhere_start_what_waits_for_their_flow() {
    let mut w = World::new()
        .flow(&triggered(
            "done",
            upstream("F", "succeeded"),
            json!({}),
            json!([]),
        ))
        .flow(&triggered(
            "ended",
            upstream("F", "finished"),
            json!({}),
            json!([]),
        ))
        .flow(&triggered(
            "failed",
            upstream("F", "failed"),
            json!({}),
            json!([]),
        ));
    w.event(
        "metaflow.F.end",
        "1",
        json!({"flow_name": "F", "run_id": "argo-f-x"}),
    );
    w.event("metaflow.F.start", "2", json!({}));
    w.event("metaflow.G.end", "3", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 done/t#0 fired run 1
    1 ended/t#0 fired run 2
    1 failed/t#0 filtered: `where` was false: on: failed, and the run succeeded
    ");
    let forged = Input::Event(NewEvent {
        source: "dalsegno:flow/F".into(),
        ..event("metaflow.F.end", "4", json!({}))
    });
    assert!(matches!(w.decide(forged), Err(Rejected::ReservedEvent(_))));
}

#[test]
fn a_circle_is_seen_through_metaflows_events() {
    let mut w = World::new()
        .flow(&triggered(
            "b",
            kind("metaflow.a.end", json!({})),
            json!({}),
            json!([]),
        ))
        .flow(&triggered(
            "c",
            upstream("b", "succeeded"),
            json!({}),
            json!([]),
        ));
    let closing = triggered("a", kind("metaflow.c.end", json!({})), json!({}), json!([]));
    let refused: Result<Answer, Rejected> = w.deploy(&closing);
    assert_snapshot!(refused.expect_err("a circle"), @"flow `a` would wait for itself: a -> b -> c -> a");
}

#[test]
fn an_error_of_the_users_code_is_tried_again_and_a_wrong_configuration_is_not() {
    use dalsegno_scheduler::Outcome;
    let mut steps = vec![mf("start", &[], &[], crate::world::retry(1))];
    steps[0]["name"] = "start".into();
    let mut w = World::new().flow(&metaflow(&steps, json!({})));
    w.start("F");
    w.quiet();
    let message = || "ValueError: boom".to_owned();
    w.ended(
        "1/start",
        Outcome::Failed(Reason::UserError { message: message() }),
    );
    w.until_due();
    let message = "Error: Invalid value for '--alpha'".to_owned();
    w.ended(
        "1/start",
        Outcome::Failed(Reason::Configuration { message }),
    );
    assert_snapshot!(w.journal_of(&["backing_off", "failed"]), @r"
    +0s task.backing_off 1/start (attempt 1 failed (ValueError: boom); the next begins at 2026-11-22T06:00:01Z)
    +1s task.failed 1/start (it cannot run as it is: Error: Invalid value for '--alpha')
    +1s run.failed 1 (start failed)
    ");
}
