//! Alerts: what the core finds worth telling, and only if somebody wants to be told.

use crate::world::World;
use dalsegno_scheduler::alert::{AlertKind, NewAlert};
use dalsegno_scheduler::{Answer, Config, Input, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn flow(alerts: Value) -> Value {
    json!({
        "name": "report",
        "owner": "data-eng",
        "steps": [{ "name": "a", "run": { "shell": "true" } }],
        "alerts": alerts,
    })
}

fn rule(on: &[&str]) -> Value {
    json!([{ "on": on, "to": ["webhook:oncall"] }])
}

#[test]
fn a_failure_is_told_once_and_its_end_once() {
    let on = ["run.failed", "run.recovered", "run.succeeded"];
    let mut w = World::new().flow(&flow(rule(&on)));
    w.start("report");
    w.fail("1/a");
    w.check();
    w.start("report");
    w.fail("2/a");
    w.restart();
    w.start("report");
    w.ok("3/a");
    w.start("report");
    w.ok("4/a");
    assert_snapshot!(w.alerts(), @r"
11-22 06:00:00 run.failed [runs:report] report failed in run 1: a failed
11-22 06:00:00 run.failed [runs:report] report failed in run 2: a failed
11-22 06:00:00 run.succeeded [run:3:end] report succeeded in run 3 after 0s
11-22 06:00:00 run.recovered (recovery) [runs:report] report is well again: run 3 succeeded after 2 had failed
11-22 06:00:00 run.succeeded [run:4:end] report succeeded in run 4 after 0s
");
    let owners: Vec<_> = w.all_alerts().iter().map(|it| it.owner.clone()).collect();
    assert!(owners.iter().all(|it| it.as_deref() == Some("data-eng")));
    w.check();
}

#[test]
fn nobody_is_told_what_nobody_wants_to_know() {
    let mut w = World::new().flow(&flow(rule(&["sla.missed"])));
    w.start("report");
    w.fail("1/a");
    w.start("report");
    w.ok("2/a");
    assert_eq!(w.alerts(), "");
    assert_eq!(w.core.flow("report").expect("there").row.failing, None);
}

#[test]
fn a_resumed_run_that_succeeds_is_well_again() {
    let mut w = World::new().flow(&flow(rule(&["run.failed", "run.recovered"])));
    let run = w.start("report");
    w.fail("1/a");
    w.resume(run, None).expect("it failed");
    w.ok("1/a");
    assert_snapshot!(w.alerts(), @r"
11-22 06:00:00 run.failed [runs:report] report failed in run 1: a failed
11-22 06:00:00 run.recovered (recovery) [runs:report] report is well again: run 1 was resumed and succeeded
");
}

#[test]
fn the_operator_may_want_to_know_of_all_flows() {
    let config = Config {
        alert_kinds: [AlertKind::RunCancelled, AlertKind::TaskRetried].into(),
        ..Config::default()
    };
    let mut spec = flow(json!([]));
    spec["steps"][0]["retry"] = json!({ "times": 2, "backoff": { "initial": 1_000_000, "max": 1_000_000,
        "multiplier_percent": 100, "jitter_percent": 0 } });
    let mut w = World::with(config).flow(&spec);
    let run = w.start("report");
    w.fail("1/a");
    w.until_due();
    w.fail("1/a");
    w.cancel(run);
    assert_snapshot!(w.alerts(), @r"
11-22 06:00:00 task.retried [task:1:a] a of report is tried again (retry 1, run 1): attempt 1 failed (exit code 1); the next begins at 2026-11-22T06:00:01Z
11-22 06:00:01 task.retried [task:1:a] a of report is tried again (retry 2, run 1): attempt 2 failed (exit code 1); the next begins at 2026-11-22T06:00:02Z
11-22 06:00:01 run.cancelled [run:1:end] run 1 of report was cancelled: cancelled by ada
");
}

#[test]
fn missed_occurrences_of_one_schedule_are_one_alert() {
    let mut spec = flow(rule(&["schedule.missed"]));
    spec["schedules"] = json!([{ "name": "hourly", "when": { "cron": { "text": "0 * * * *" } }, "timezone": "UTC",
        "misfire": { "down": "skip", "paused": "skip", "max": 24, "window": 604_800_000_000_u64 } }]);
    let mut w = World::new().flow(&spec);
    w.advance(Span::from_mins(10 * 60 + 30));
    assert_snapshot!(w.alerts(), @"11-22 16:30:00 schedule.missed [schedule:report:hourly] report: 10 occurrences were missed, the last of 2026-11-22T16:00:00Z: the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T16:30:00Z");
}

#[test]
fn a_file_that_is_broken_is_told_and_so_is_its_repair() {
    let mut w = World::new().flow(&flow(rule(&["flow.invalid"])));
    let broken = |message: &str| Input::Invalid {
        flow: "report".into(),
        file: "report.yaml".into(),
        message: message.into(),
    };
    w.decide(broken("line 3: no such step\nmore"))
        .expect("taken");
    w.decide(broken("line 3: no such step\nmore"))
        .expect("taken");
    let mut again = flow(rule(&["flow.invalid"]));
    again["description"] = "repaired".into();
    w.deploy(&again).expect("accepted");
    assert_snapshot!(w.alerts(), @r"
11-22 06:00:00 flow.invalid [file:report] report.yaml is not valid, so report stays as it was: line 3: no such step
11-22 06:00:00 flow.invalid (recovery) [file:report] flows/story.yaml is valid again, and report is as it says
");
}

#[test]
fn what_others_saw_is_written_if_somebody_wants_it() {
    let seen = |kind| {
        Input::Alert(Box::new(NewAlert {
            kind,
            flow: None,
            run: None,
            step: None,
            key: "orphan:job-1".into(),
            is_recovery: false,
            summary: "job-1 runs, and nobody started it".into(),
            data: json!({ "job": "job-1" }),
            dedupe: "orphan:job-1".into(),
        }))
    };
    let config = Config {
        alert_kinds: [AlertKind::OrphanFound].into(),
        ..Config::default()
    };
    let mut w = World::with(config);
    let answer = w.decide(seen(AlertKind::BreakerOpened)).expect("taken");
    let none = Answer::Alert {
        alert: None,
        duplicate: false,
    };
    assert_eq!(answer, none);
    assert!(w.changes.is_empty());
    w.decide(seen(AlertKind::OrphanFound)).expect("taken");
    assert_eq!(w.changes.claims[0].key, "alert:orphan:job-1");
    assert_snapshot!(w.alerts(), @"11-22 06:00:00 orphan.found [orphan:job-1] job-1 runs, and nobody started it");
    w.check();
}
