//! Promises about time: they count whether runs come or not.

use crate::world::World;
use dalsegno_scheduler::row::SlaState;
use dalsegno_scheduler::sla::{Culprit, NewPrediction};
use dalsegno_scheduler::{Flow, Input, NewSilence, Span, Timestamp};
use insta::assert_snapshot;
use serde_json::{Value, json};

pub(crate) fn minutes(minutes: i64) -> i64 {
    Span::from_mins(minutes).as_micros()
}

pub(crate) fn by(time: &str) -> Value {
    json!({ "at": { "time": time, "timezone": "Europe/Berlin" } })
}

/// Runs each day at 07:00 in Berlin, which is when stories begin.
pub(crate) fn daily(slas: Value) -> Value {
    let mut spec = plain(slas);
    spec["schedules"] = json!([{ "name": "daily", "when": { "cron": { "text": "0 7 * * *" } },
        "timezone": "Europe/Berlin" }]);
    spec
}

pub(crate) fn plain(slas: Value) -> Value {
    json!({
        "name": "report",
        "owner": "growth",
        "steps": [
            { "name": "a", "run": { "shell": "true" } },
            { "name": "b", "after": ["a"], "run": { "shell": "true" } },
        ],
        "slas": slas,
        "alerts": [{ "on": ["sla.at_risk", "sla.missed", "sla.met"], "to": ["webhook:x"] }],
    })
}

pub(crate) fn mins(it: i64) -> Span {
    Span::from_mins(it)
}

#[test]
fn a_run_in_time_keeps_its_promise_and_nobody_is_told() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.advance(mins(24 * 60));
    w.ok("1/a");
    w.check();
    w.advance(mins(59));
    w.ok("1/b");
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z met at 2026-11-23T06:59:00Z run 1
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_eq!(w.alerts(), "");
    w.restart();
}

#[test]
fn a_late_run_is_one_breach_and_one_recovery() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.advance(mins(24 * 60));
    w.advance(mins(61));
    w.restart();
    w.advance(mins(5));
    w.ok("1/a");
    w.ok("1/b");
    w.restart();
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z met_late at 2026-11-23T07:06:00Z run 1
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 07:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)
11-23 07:06:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)", 6m late (run 1)
"#);
}

#[test]
fn a_paused_flow_breaks_its_promise_without_any_run() {
    let slas = json!([{ "kind": { "finish_by": by("08:00") } }, { "kind": { "start_by": { "after": minutes(10) } } }]);
    let mut w = World::new().flow(&daily(slas));
    w.pause("report");
    w.advance(mins(25 * 60 + 1));
    assert_eq!(w.last_run(), 0);
    assert_snapshot!(w.slas(), @r"
start_by slot:2026-11-23T06:00:00Z due 2026-11-23T06:10:00Z missed open
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z missed open
start_by slot:2026-11-24T06:00:00Z due 2026-11-24T06:10:00Z on_time open
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 07:01:00 sla.missed [sla:report:start_by:slot:2026-11-23T06:00:00Z] report has missed "start within 10m of when it is due", due at 2026-11-23T06:10:00Z
11-23 07:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z
"#);
}

#[test]
fn nothing_came_from_upstream_and_each_day_counts() {
    let mut w = World::new().flow(&plain(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.restart();
    w.advance(mins(24 * 60));
    w.start("report");
    w.ok("1/a");
    w.ok("1/b");
    w.check();
    w.advance(mins(36 * 60));
    assert_snapshot!(w.slas(), @r"
finish_by day:2026-11-22 due 2026-11-22T07:00:00Z missed open
finish_by day:2026-11-23 due 2026-11-23T07:00:00Z met at 2026-11-23T06:00:00Z run 1
finish_by day:2026-11-24 due 2026-11-24T07:00:00Z missed open
finish_by day:2026-11-25 due 2026-11-25T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 06:00:00 sla.missed [sla:report:finish_by:day:2026-11-22] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-22T07:00:00Z
11-24 18:00:00 sla.missed [sla:report:finish_by:day:2026-11-24] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-24T07:00:00Z
"#);
}

#[test]
fn an_outage_over_several_moments_loses_none_and_doubles_none() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.recover();
    // Three days later: only the newest occurrence is caught up.
    w.advance(mins(3 * 24 * 60 + 90));
    w.restart();
    w.restart();
    w.ok("1/a");
    w.ok("1/b");
    w.restart();
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z missed withdrawn: cron:daily:2026-11-25T06:00:00Z stands for it
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z missed withdrawn: cron:daily:2026-11-25T06:00:00Z stands for it
finish_by slot:2026-11-25T06:00:00Z due 2026-11-25T07:00:00Z met_late at 2026-11-25T07:30:00Z run 1
finish_by slot:2026-11-26T06:00:00Z due 2026-11-26T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-25 07:30:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z
11-25 07:30:00 sla.missed [sla:report:finish_by:slot:2026-11-24T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-24T07:00:00Z
11-25 07:30:00 sla.missed [sla:report:finish_by:slot:2026-11-25T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-25T07:00:00Z (run 1)
11-25 07:30:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-25T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)", 30m late (run 1)
"#);
}

#[test]
fn a_clock_that_is_set_back_tells_nothing_twice() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.advance(mins(25 * 60 + 1));
    assert_eq!(w.alerts().lines().count(), 1);
    w.advance(mins(-120));
    w.restart();
    w.advance(mins(120));
    assert_eq!(w.alerts(), "");
    w.check();
}

#[test]
fn durations_waits_and_freshness_have_their_own_clocks() {
    let slas = json!([
        { "kind": { "max_duration": minutes(30) } },
        { "kind": { "max_queue_wait": minutes(10) } },
        { "kind": { "fresh_within": minutes(120) } },
    ]);
    let mut w = World::new().flow(&plain(slas));
    w.start("report");
    w.start("report");
    w.advance(mins(11));
    assert_snapshot!(w.alerts(), @r#"11-22 06:11:00 sla.missed [sla:report:max_queue_wait:run:2] report has missed "wait at most 10m for its start", due at 2026-11-22T06:10:00Z (run 2)"#);
    w.advance(mins(20));
    assert_snapshot!(w.alerts(), @r#"11-22 06:31:00 sla.missed [sla:report:max_duration:run:1] report has missed "take at most 30m", due at 2026-11-22T06:30:00Z (run 1)"#);
    w.restart();
    w.ok("1/a");
    w.ok("1/b");
    assert_snapshot!(w.alerts(), @r#"
11-22 06:31:00 sla.met (recovery) [sla:report:max_duration:run:1] report has kept "take at most 30m", 1m late (run 1)
11-22 06:31:00 sla.met (recovery) [sla:report:max_queue_wait:run:2] report has kept "wait at most 10m for its start", 21m late (run 2)
"#);
    w.ok("2/a");
    w.advance(mins(5));
    w.ok("2/b");
    assert_eq!(w.alerts(), "");
    w.advance(mins(121));
    w.start("report");
    w.ok("3/a");
    w.ok("3/b");
    assert_snapshot!(w.alerts(), @r#"
11-22 08:37:00 sla.missed [sla:report:fresh_within:since:2026-11-22T06:36:00Z] report has missed "succeed at least every 2h", due at 2026-11-22T08:36:00Z (run 2)
11-22 08:37:00 sla.met (recovery) [sla:report:fresh_within:since:2026-11-22T06:36:00Z] report has kept "succeed at least every 2h", 1m late (run 3)
"#);
    assert_snapshot!(w.slas(), @r"
max_queue_wait run:1 due 2026-11-22T06:10:00Z met at 2026-11-22T06:00:00Z run 1
max_queue_wait run:2 due 2026-11-22T06:10:00Z met_late at 2026-11-22T06:31:00Z run 2
max_duration run:1 due 2026-11-22T06:30:00Z met_late at 2026-11-22T06:31:00Z run 1
max_duration run:2 due 2026-11-22T07:01:00Z met at 2026-11-22T06:36:00Z run 2
fresh_within since:2026-11-22T06:00:00Z due 2026-11-22T08:00:00Z met at 2026-11-22T06:31:00Z run 1
fresh_within since:2026-11-22T06:31:00Z due 2026-11-22T08:31:00Z met at 2026-11-22T06:36:00Z run 2
fresh_within since:2026-11-22T06:36:00Z due 2026-11-22T08:36:00Z met_late at 2026-11-22T08:37:00Z run 3
max_queue_wait run:3 due 2026-11-22T08:47:00Z met at 2026-11-22T08:37:00Z run 3
max_duration run:3 due 2026-11-22T09:07:00Z met at 2026-11-22T08:37:00Z run 3
fresh_within since:2026-11-22T08:37:00Z due 2026-11-22T10:37:00Z on_time open run 3
");
    w.check();
}

#[test]
fn steps_promise_too() {
    let mut spec = daily(json!([]));
    spec["steps"][0]["slas"] = json!([
        { "kind": { "finish_by": { "after": minutes(20) } } },
        { "kind": { "max_duration": minutes(15) } },
    ]);
    spec["steps"][1]["slas"] = json!([{ "kind": { "start_by": by("07:30") } }]);
    let mut w = World::new().flow(&spec);
    w.advance(mins(24 * 60));
    w.began("1/a");
    w.advance(mins(16));
    w.restart();
    w.ok("1/a");
    w.advance(mins(20));
    w.began("1/b");
    w.ok("1/b");
    assert_snapshot!(w.slas(), @r"
max_duration@a run:1 due 2026-11-23T06:15:00Z met_late at 2026-11-23T06:16:00Z run 1
finish_by@a slot:2026-11-23T06:00:00Z due 2026-11-23T06:20:00Z met at 2026-11-23T06:16:00Z run 1
start_by@b slot:2026-11-23T06:00:00Z due 2026-11-23T06:30:00Z met_late at 2026-11-23T06:36:00Z run 1
finish_by@a slot:2026-11-24T06:00:00Z due 2026-11-24T06:20:00Z on_time open
start_by@b slot:2026-11-24T06:00:00Z due 2026-11-24T06:30:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 06:16:00 sla.missed [sla:report:max_duration@a:run:1] report has missed "a: take at most 15m", due at 2026-11-23T06:15:00Z (run 1)
11-23 06:16:00 sla.met (recovery) [sla:report:max_duration@a:run:1] report has kept "a: take at most 15m", 1m late (run 1)
11-23 06:36:00 sla.missed [sla:report:start_by@b:slot:2026-11-23T06:00:00Z] report has missed "b: start by 07:30 (Europe/Berlin)", due at 2026-11-23T06:30:00Z (run 1)
11-23 06:36:00 sla.met (recovery) [sla:report:start_by@b:slot:2026-11-23T06:00:00Z] report has kept "b: start by 07:30 (Europe/Berlin)", 6m late (run 1)
"#);
    w.check();
}

#[test]
fn a_branch_that_is_not_taken_promised_nothing() {
    let mut spec = daily(json!([]));
    spec["steps"][1]["when"] = json!("false");
    spec["steps"][1]["slas"] = json!([{ "kind": { "finish_by": by("08:00") } }]);
    let mut w = World::new().flow(&spec);
    w.advance(mins(24 * 60));
    w.ok("1/a");
    w.advance(mins(120));
    assert_snapshot!(w.slas(), @r"
finish_by@b slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z on_time run 1 withdrawn: `when` was false: false
finish_by@b slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_eq!(w.alerts(), "");
}

#[test]
fn an_edit_keeps_open_moments_and_withdraws_what_is_no_longer_promised() {
    let slas =
        json!([{ "kind": { "finish_by": by("08:00") } }, { "kind": { "start_by": by("07:30") } }]);
    let mut w = World::new().flow(&daily(slas));
    let slas = json!([{ "kind": { "finish_by": by("09:00") } }, { "kind": { "fresh_within": minutes(3 * 24 * 60) } }]);
    w.deploy(&daily(slas)).expect("accepted");
    assert_snapshot!(w.slas(), @r"
start_by slot:2026-11-23T06:00:00Z due 2026-11-23T06:30:00Z on_time withdrawn: the flow does not promise it any more
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z on_time open
fresh_within since:2026-11-22T06:00:00Z due 2026-11-25T06:00:00Z on_time open
");
    w.restart();
    w.advance(mins(25 * 60 + 1));
    assert_snapshot!(w.alerts(), @r#"11-23 07:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 09:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)"#);
    w.decide(Input::Remove {
        flow: "report".into(),
    })
    .expect("there");
    assert_snapshot!(w.slas(), @r"
start_by slot:2026-11-23T06:00:00Z due 2026-11-23T06:30:00Z on_time withdrawn: the flow does not promise it any more
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z missed run 1 withdrawn: the flow file is gone
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T08:00:00Z on_time withdrawn: the flow file is gone
fresh_within since:2026-11-22T06:00:00Z due 2026-11-25T06:00:00Z on_time withdrawn: the flow file is gone
");
    assert_snapshot!(w.alerts(), @r#"11-23 07:01:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] nobody waits any more for report to keep "finish by 09:00 (Europe/Berlin)": the flow file is gone (run 1)"#);
    w.restart();
    w.advance(mins(10 * 24 * 60));
    assert_eq!(w.alerts(), "");
}

#[test]
fn a_failed_run_may_keep_its_promise_by_a_resume_or_a_rerun() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.advance(mins(24 * 60));
    w.ok("1/a");
    w.fail("1/b");
    w.advance(mins(61));
    w.rerun(dalsegno_scheduler::RunId(1), None, json!({}), None)
        .expect("it failed");
    w.ok("2/b");
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z met_late at 2026-11-23T07:01:00Z run 2
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 07:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)
11-23 07:01:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)", 1m late (run 2)
"#);
    w.check();
}

#[test]
fn a_prediction_puts_at_risk_and_names_who_is_late() {
    let mut w = World::new().flow(&daily(
        json!([{ "kind": { "finish_by": by("08:00") }, "at_risk": 700 }]),
    ));
    w.advance(mins(24 * 60));
    let due = w.now + mins(60);
    let predict = |w: &mut World, chance_permille, minutes| {
        let row = w.core.slas().next().expect("open").clone();
        w.decide(Input::Prediction(Box::new(NewPrediction {
            flow: row.flow.clone(),
            promise: row.promise.clone(),
            period: row.period.clone(),
            chance_permille,
            finish_p50: due + mins(minutes),
            finish_p90: due + mins(minutes + 20),
            culprit: Some(Culprit {
                flow: "ingest".into(),
                step: None,
                run: None,
                factor_permille: 2_100,
                limit: None,
                owner: Some("data-eng".into()),
                late_by: mins(20),
            }),
        })))
        .expect("taken");
    };
    predict(&mut w, 400, -20);
    assert_eq!(w.alerts(), "");
    predict(&mut w, 410, -20);
    assert!(w.changes.is_empty(), "nearly the same is not worth a row");
    predict(&mut w, 900, 12);
    w.restart();
    predict(&mut w, 300, -5);
    predict(&mut w, 950, 12);
    assert_snapshot!(w.alerts(), @r#"11-23 06:00:00 sla.at_risk [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report will miss 08:00 by about 12 min: ingest runs 2.1x longer than usual, owner data-eng (run 1)"#);
    assert_snapshot!(w.why_flow("report"), @r"
run 1, task a: the executor is asked to start it
daily: the next occurrence is due at 2026-11-24T06:00:00Z until 2026-11-24T06:00:00Z
finish_by: promised and at risk: finish by 08:00 (Europe/Berlin); due at 2026-11-23T07:00:00Z, expected to be done at 2026-11-23T07:12:00Z, and late with a chance of 95 %: ingest runs 2.1x longer than usual, owner data-eng until 2026-11-23T07:00:00Z
finish_by: promised: finish by 08:00 (Europe/Berlin); due at 2026-11-24T07:00:00Z until 2026-11-24T07:00:00Z
");
    w.ok("1/a");
    w.ok("1/b");
    assert_snapshot!(w.alerts(), @r#"11-23 06:00:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)" in time after all (run 1)"#);
    w.check();
}

#[test]
fn who_has_seen_it_says_so() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    w.advance(mins(25 * 60 + 1));
    let seen = |period: &str| Input::Acknowledge {
        flow: "report".into(),
        promise: "finish_by".into(),
        period: period.into(),
        by: "ada".into(),
        note: Some("the source is late".into()),
    };
    w.decide(seen("slot:2026-11-23T06:00:00Z"))
        .expect("it is open");
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z missed open run 1 seen by ada
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    let error = w
        .decide(seen("slot:2026-01-01T06:00:00Z"))
        .expect_err("it is not");
    assert_snapshot!(error, @"there is no open promise `report finish_by slot:2026-01-01T06:00:00Z`: it may be over by now");
    w.restart();
}

pub(crate) fn silence(flow: Option<&str>, from: Timestamp, until: Timestamp) -> Input {
    Input::Silence(Box::new(NewSilence {
        flow: flow.map(str::to_owned),
        promise: None,
        from: Some(from),
        until,
        by: "ada".into(),
        note: None,
        key: None,
    }))
}

#[test]
fn a_silence_keeps_quiet_until_its_end_and_then_tells_what_is_still_so() {
    let mut w = World::new().flow(&daily(json!([{ "kind": { "finish_by": by("08:00") } }])));
    let (from, until) = (w.now, w.now + mins(26 * 60));
    w.decide(silence(Some("report"), from, until))
        .expect("taken");
    w.advance(mins(25 * 60 + 1));
    assert_eq!(w.alerts(), "");
    let row = w
        .core
        .slas()
        .find(|it| it.state == SlaState::Missed)
        .expect("there")
        .clone();
    assert_eq!(row.silenced_until, Some(until));
    w.restart();
    w.advance(mins(60));
    assert_snapshot!(w.alerts(), @r#"11-23 08:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)"#);
    assert_eq!(w.core.silences().count(), 0);
    w.restart();
    // What is over before the silence ends is never told.
    let (from, until) = (w.now, w.now + mins(26 * 60));
    w.decide(silence(None, from, until)).expect("taken");
    w.ok("1/a");
    w.ok("1/b");
    w.advance(mins(27 * 60));
    assert_snapshot!(w.alerts(), @r#"
11-23 08:01:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)", 1h 1m late (run 1)
11-24 11:01:00 sla.missed [sla:report:finish_by:slot:2026-11-24T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-24T07:00:00Z (run 2)
"#);
    let error = w
        .decide(silence(None, until, from))
        .expect_err("it ends first");
    assert_snapshot!(error, @"a silence from 2026-11-24T10:01:00Z until 2026-11-23T08:01:00Z is none: let it end later");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let refused = |spec: Value| {
        let spec = serde_json::from_value(spec).expect("reads");
        let errors = Flow::new(spec).expect_err("it cannot be kept");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.join("\n")
    };
    assert_snapshot!(refused(daily(json!([{ "kind": { "finish_by": by("06:00") } }]))), @r#"the promise finish_by can never be kept: 06:00 comes before the schedule itself, at 07:00 (Europe/Berlin); write a later time, or "06:00 +1d" if the next day is meant"#);
    assert_snapshot!(refused(plain(json!([
        { "kind": { "finish_by": { "at": { "time": "06:00", "timezone": "UTC", "days": 1 } } } }
    ]))), @r#"the promise finish_by says +1d, and the flow has no schedule to count days from; write "06:00": it is promised for every day"#);
    assert_snapshot!(refused(daily(json!([
        { "kind": { "finish_by": by("08:00") } },
        { "kind": { "start_by": by("09:00") } }
    ]))), @"the promise finish_by ends at 08:00, before its start_by of 09:00; let start_by be the earlier one");
    assert_snapshot!(refused(daily(json!([{ "kind": { "fresh_within": minutes(60) } }]))), @"the promise fresh_within can never be kept: the flow runs at most every 23h, and that is longer than 1h; write more than 23h, or let the schedule come more often");
    assert_snapshot!(refused(daily(json!([
        { "kind": { "finish_by": { "at": { "time": "08:00", "timezone": "Europe/Berln" } } } }
    ]))), @r#"the promise finish_by names a zone that does not exist: unknown time zone "Europe/Berln", expected a name of the IANA database such as "Europe/Berlin" or "UTC"; did you mean "Europe/Berlin"?; write a name of the IANA database"#);
}
