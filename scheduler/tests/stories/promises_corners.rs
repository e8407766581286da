//! Promises about time at the edges: refusals, long outages, changes of the clock, resumes, edits and blocks.

use crate::promises::{by, daily, mins, minutes, plain, silence};
use crate::world::World;
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::BackfillMode;
use dalsegno_scheduler::{Input, NewSilence, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn finish(time: Value) -> Value {
    json!([{ "kind": { "finish_by": time } }])
}

fn every_hour(slas: Value) -> Value {
    let mut spec = daily(slas);
    spec["schedules"][0]["when"]["cron"]["text"] = "0 * * * *".into();
    spec
}

fn lines(alerts: &str, kind: &str) -> usize {
    alerts.lines().filter(|it| it.contains(kind)).count()
}

#[test]
fn an_occurrence_that_the_strategy_refuses_has_broken_its_promise() {
    let mut spec = every_hour(finish(json!({ "after": minutes(30) })));
    spec["run"] = json!({ "strategy": "first_only", "priority": 0 });
    let mut w = World::new().flow(&spec);
    w.advance(mins(60));
    w.advance(mins(60));
    assert!(w.occurrences().contains("skipped"), "{}", w.occurrences());
    w.advance(mins(31));
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-22T07:00:00Z due 2026-11-22T07:30:00Z missed open run 1
finish_by slot:2026-11-22T08:00:00Z due 2026-11-22T08:30:00Z missed open
finish_by slot:2026-11-22T09:00:00Z due 2026-11-22T09:30:00Z on_time open
");
    assert_eq!(w.all_alerts().len(), 2);
    w.restart();
}

#[test]
fn an_outage_of_forty_days_tells_of_every_hour_once() {
    let mut w = World::new().flow(&every_hour(finish(json!({ "after": minutes(30) }))));
    w.recover();
    w.advance(mins(40 * 24 * 60));
    for _ in 0..5 {
        w.restart();
    }
    let more: u64 = w
        .all_alerts()
        .iter()
        .filter_map(|it| it.data["more"].as_u64())
        .sum();
    let told = w.all_alerts().len() as u64;
    // The last hour is not over.
    assert_eq!(told + more, 40 * 24 - 1);
    let one = w.all_alerts().iter().find(|it| it.data["more"] != 0);
    assert_snapshot!(one.expect("there is one").summary, @r#"report has missed "finish within 30m of when it is due", due at 2026-11-22T08:30:00Z and 458 more times since"#);
    let mut keys: Vec<&str> = w.all_alerts().iter().map(|it| &*it.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len() as u64, told, "each is told once");
    w.check();
}

#[test]
fn of_a_long_outage_only_those_that_the_time_of_day_means_are_counted() {
    let mut w = World::new().flow(&every_hour(finish(by("08:00"))));
    w.recover();
    w.advance(mins(40 * 24 * 60));
    w.restart();
    let more: u64 = w
        .all_alerts()
        .iter()
        .filter_map(|it| it.data["more"].as_u64())
        .sum();
    let told = w.all_alerts().len() as u64;
    // From the 23rd of November to the end of December: the last occurrence before 08:00 of the 22nd was over.
    assert_eq!(told + more, 39);
}

#[test]
fn days_are_local_ones_when_the_clock_changes() {
    // The clock goes back at 01:00 UTC on the 25th of October.
    let mut w = World::at("2026-10-24T12:00:00Z").flow(&plain(finish(by("02:30"))));
    w.advance(mins(2 * 24 * 60));
    assert_snapshot!(w.slas(), @r"
finish_by day:2026-10-25 due 2026-10-25T01:30:00Z missed open
finish_by day:2026-10-26 due 2026-10-26T01:30:00Z missed open
finish_by day:2026-10-27 due 2026-10-27T01:30:00Z on_time open
");
    // And on at 01:00 UTC on the 28th of March.
    let mut w = World::at("2027-03-27T12:00:00Z").flow(&plain(finish(by("02:30"))));
    w.advance(mins(2 * 24 * 60));
    assert_snapshot!(w.slas(), @r"
finish_by day:2027-03-28 due 2027-03-28T01:00:00Z missed open
finish_by day:2027-03-29 due 2027-03-29T00:30:00Z missed open
finish_by day:2027-03-30 due 2027-03-30T00:30:00Z on_time open
");
}

#[test]
fn a_run_that_is_resumed_too_late_keeps_its_promise_late() {
    let slas = json!([
        { "kind": { "finish_by": by("08:00") } },
        { "kind": { "max_duration": minutes(30) } },
    ]);
    let mut w = World::new().flow(&daily(slas));
    w.advance(mins(24 * 60));
    w.ok("1/a");
    w.fail("1/b");
    w.advance(mins(90));
    w.restart();
    w.resume(RunId(1), None).expect("it failed");
    w.advance(mins(10));
    w.ok("1/b");
    assert_snapshot!(w.slas(), @r"
max_duration run:1 due 2026-11-23T06:30:00Z met at 2026-11-23T06:00:00Z run 1
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z met_late at 2026-11-23T07:40:00Z run 1
max_duration run:1.2 due 2026-11-23T08:00:00Z met at 2026-11-23T07:40:00Z run 1
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z on_time open
");
    assert_snapshot!(w.alerts(), @r#"
11-23 07:30:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)
11-23 07:40:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has kept "finish by 08:00 (Europe/Berlin)", 40m late (run 1)
"#);
    w.restart();
}

#[test]
fn who_cancels_a_run_does_not_keep_its_promise() {
    let slas = json!([
        { "kind": { "finish_by": by("08:00") } },
        { "kind": { "start_by": by("07:30") } },
        { "kind": { "max_duration": minutes(30) } },
    ]);
    let mut w = World::new().flow(&daily(slas));
    w.advance(mins(24 * 60));
    w.cancel(RunId(1));
    w.restart();
    w.advance(mins(61));
    assert_snapshot!(w.alerts(), @r#"
11-23 07:01:00 sla.missed [sla:report:max_duration:run:1] report has missed "take at most 30m", due at 2026-11-23T06:30:00Z (run 1)
11-23 07:01:00 sla.missed [sla:report:finish_by:slot:2026-11-23T06:00:00Z] report has missed "finish by 08:00 (Europe/Berlin)", due at 2026-11-23T07:00:00Z (run 1)
"#);
    w.restart();
    assert_eq!(w.alerts(), "");
}

#[test]
fn a_backfill_neither_promises_nor_keeps() {
    let slas = json!([
        { "kind": { "finish_by": by("08:00") } },
        { "kind": { "max_queue_wait": minutes(1) } },
        { "kind": { "max_duration": minutes(1) } },
        { "kind": { "fresh_within": minutes(5 * 24 * 60) } },
    ]);
    let mut w = World::new().flow(&daily(slas));
    w.pause("report");
    w.advance(mins(3 * 24 * 60));
    w.unpause_with("report", dalsegno_scheduler::CatchUp::None);
    let before = w.slas();
    let request = PlanRequest {
        mode: BackfillMode::All,
        ..crate::backfill_plans::request("report", "2026-11-23", "2026-11-25")
    };
    w.backfill(&request);
    w.advance(mins(10));
    for run in 1..=w.last_run() {
        w.ok(&format!("{run}/a"));
        w.ok(&format!("{run}/b"));
    }
    assert!(w.last_run() > 0);
    assert_eq!(w.slas(), before);
}

#[test]
fn what_the_calendar_skips_is_not_promised() {
    let mut spec = daily(finish(by("08:00")));
    let calendar = json!({ "name": "office", "weekdays": ["Sat", "Sun"], "dates": { "2026-11-23": "Inventory" } });
    spec["schedules"][0]["calendar"] = json!({ "calendar": calendar, "roll": "skip" });
    let mut w = World::new().flow(&spec);
    w.advance(mins(2 * 24 * 60 + 90));
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-24T06:00:00Z due 2026-11-24T07:00:00Z missed open run 1
finish_by slot:2026-11-25T06:00:00Z due 2026-11-25T07:00:00Z on_time open
");
    w.restart();
}

#[test]
fn what_another_occurrence_stands_for_in_time_is_withdrawn() {
    let mut w = World::new().flow(&every_hour(finish(json!({ "after": minutes(300) }))));
    w.pause("report");
    w.advance(mins(121));
    w.unpause_with("report", dalsegno_scheduler::CatchUp::Latest);
    assert_snapshot!(w.slas(), @r"
finish_by slot:2026-11-22T07:00:00Z due 2026-11-22T12:00:00Z on_time withdrawn: cron:daily:2026-11-22T08:00:00Z stands for it
finish_by slot:2026-11-22T08:00:00Z due 2026-11-22T13:00:00Z on_time open run 1
finish_by slot:2026-11-22T09:00:00Z due 2026-11-22T14:00:00Z on_time open
");
    assert_eq!(w.alerts(), "");
    w.restart();
}

fn fan(slas: Value) -> Value {
    let mut spec = daily(json!([]));
    spec["scopes"] = json!([{ "name": "a", "parent": 0, "items": { "template": [1, 2, 3] } }]);
    spec["steps"][0]["scope"] = 1.into();
    spec["steps"][0]["slas"] = slas;
    spec
}

#[test]
fn a_step_in_a_foreach_is_over_with_its_last_item() {
    let slas = json!([
        { "kind": { "start_by": { "after": minutes(5) } } },
        { "kind": { "finish_by": { "after": minutes(20) } } },
        { "kind": { "max_duration": minutes(15) } },
        { "kind": { "fresh_within": minutes(26 * 60) } },
    ]);
    let mut w = World::new().flow(&fan(slas));
    w.advance(mins(24 * 60));
    w.began("1/a[1]");
    w.advance(mins(10));
    w.restart();
    w.began("1/a[0]");
    w.began("1/a[2]");
    w.ok("1/a[1]");
    w.ok("1/a[0]");
    w.advance(mins(7));
    w.ok("1/a[2]");
    assert_snapshot!(w.slas(), @r"
start_by@a slot:2026-11-23T06:00:00Z due 2026-11-23T06:05:00Z met at 2026-11-23T06:00:00Z run 1
max_duration@a run:1 due 2026-11-23T06:15:00Z met_late at 2026-11-23T06:17:00Z run 1
finish_by@a slot:2026-11-23T06:00:00Z due 2026-11-23T06:20:00Z met at 2026-11-23T06:17:00Z run 1
fresh_within@a since:2026-11-22T06:00:00Z due 2026-11-23T08:00:00Z met at 2026-11-23T06:17:00Z run 1
start_by@a slot:2026-11-24T06:00:00Z due 2026-11-24T06:05:00Z on_time open
finish_by@a slot:2026-11-24T06:00:00Z due 2026-11-24T06:20:00Z on_time open
fresh_within@a since:2026-11-23T06:17:00Z due 2026-11-24T08:17:00Z on_time open run 1
");
    w.check();
    let refused = |spec: Value| {
        let spec = serde_json::from_value(spec).expect("reads");
        let errors = dalsegno_scheduler::Flow::new(spec).expect_err("it has no one time");
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let wait = json!([{ "kind": { "max_queue_wait": minutes(1) } }]);
    assert_snapshot!(refused(fan(wait)), @"the promise max_queue_wait@a is about a step in a foreach, whose items wait for one another; promise it for the flow, or for the step that comes after");
    let mut two = fan(json!([{ "kind": { "max_duration": minutes(1) } }]));
    two["scopes"][0]["name"] = "block".into();
    two["steps"][1]["scope"] = 1.into();
    assert_snapshot!(refused(two), @"the promise max_duration@a is about a step in a foreach of several steps, which has no one start and end; promise it for the flow, or for the step that comes after");
}

#[test]
fn a_foreach_of_which_an_item_fails_is_not_done() {
    let slas = json!([{ "kind": { "finish_by": { "after": minutes(20) } } }]);
    let mut w = World::new().flow(&fan(slas));
    w.advance(mins(24 * 60));
    w.ok("1/a[0]");
    w.fail("1/a[1]");
    w.ok("1/a[2]");
    w.advance(mins(30));
    w.resume(RunId(1), None).expect("it failed");
    w.restart();
    w.ok("1/a[1]");
    assert_snapshot!(w.alerts(), @r#"
11-23 06:30:00 sla.missed [sla:report:finish_by@a:slot:2026-11-23T06:00:00Z] report has missed "a: finish within 20m of when it is due", due at 2026-11-23T06:20:00Z (run 1)
11-23 06:30:00 sla.met (recovery) [sla:report:finish_by@a:slot:2026-11-23T06:00:00Z] report has kept "a: finish within 20m of when it is due", 10m late (run 1)
"#);
}

#[test]
fn a_promise_that_an_edit_adds_begins_with_the_next_day() {
    let mut w = World::new().flow(&plain(json!([])));
    w.start("report");
    w.ok("1/a");
    w.ok("1/b");
    w.deploy(&plain(finish(by("08:00")))).expect("accepted");
    w.advance(mins(120));
    assert_eq!(w.alerts(), "", "it has run today, before anybody asked");
    assert_snapshot!(w.slas(), @"finish_by day:2026-11-23 due 2026-11-23T07:00:00Z on_time open");
    // A schedule carries it from now on.
    w.deploy(&daily(finish(by("08:00")))).expect("accepted");
    assert_snapshot!(w.slas(), @r"
finish_by day:2026-11-23 due 2026-11-23T07:00:00Z on_time withdrawn: the flow does not promise it any more
finish_by slot:2026-11-23T06:00:00Z due 2026-11-23T07:00:00Z on_time open
");
    w.restart();
    w.advance(mins(24 * 60));
    assert_eq!(lines(&w.alerts(), "sla.missed"), 1);
}

#[test]
fn a_file_that_cannot_be_read_leaves_the_promise_that_was_made() {
    let mut w = World::new().flow(&daily(finish(by("08:00"))));
    w.decide(Input::Invalid {
        flow: "report".into(),
        file: "flows/story.yaml".into(),
        message: "no".into(),
    })
    .expect("taken");
    w.pause("report");
    w.advance(mins(25 * 60 + 1));
    assert_eq!(lines(&w.alerts(), "sla.missed"), 1);
}

#[test]
fn who_was_told_of_a_breach_is_told_of_its_end_though_it_is_quiet_now() {
    let mut w = World::new().flow(&daily(finish(by("08:00"))));
    w.advance(mins(25 * 60 + 1));
    assert_eq!(lines(&w.alerts(), "sla.missed"), 1);
    w.decide(silence(Some("rep*"), w.now, w.now + mins(600)))
        .expect("taken");
    w.ok("1/a");
    w.ok("1/b");
    assert_eq!(lines(&w.alerts(), "sla.met (recovery)"), 1);
    w.decide(silence(Some("other-*"), w.now, w.now + mins(48 * 60)))
        .expect("taken");
    w.advance(mins(24 * 60));
    assert_eq!(
        lines(&w.alerts(), "sla.missed"),
        1,
        "that silence is about others"
    );
    w.decide(Input::Remove {
        flow: "report".into(),
    })
    .expect("there");
    assert_snapshot!(w.alerts(), @r#"11-24 07:01:00 sla.met (recovery) [sla:report:finish_by:slot:2026-11-24T06:00:00Z] nobody waits any more for report to keep "finish by 08:00 (Europe/Berlin)": the flow file is gone (run 2)"#);
    let error = w
        .decide(silence(Some("reprot"), w.now, w.now + mins(1)))
        .expect_err("a slip");
    assert_snapshot!(error, @"there is no flow `reprot`");
}

#[test]
fn a_silence_is_asked_for_once() {
    let mut w = World::new().flow(&daily(finish(by("08:00"))));
    let wanted = Input::Silence(Box::new(NewSilence {
        flow: None,
        promise: Some("finish_by".into()),
        from: None,
        until: w.now + Span::from_mins(5),
        by: "ada".into(),
        note: None,
        key: Some("k".into()),
    }));
    let claim = wanted.claim();
    w.decide(wanted).expect("taken");
    assert_eq!(w.changes.claims[0].key, claim.expect("it has a key"));
    assert_eq!(w.changes.claims[0].result, "silence:1");
    w.advance(mins(6));
    assert_eq!(w.core.silences().count(), 0);
    w.restart();
}

#[test]
fn runs_that_are_late_and_fail_are_not_kept_in_memory_for_ever() {
    let mut w = World::new().flow(&plain(finish(json!({ "after": minutes(1) }))));
    for run in 1..=80 {
        w.start("report");
        w.advance(mins(2));
        w.fail(&format!("{run}/a"));
    }
    assert_eq!(w.core.slas().count(), 32);
    w.check();
}
