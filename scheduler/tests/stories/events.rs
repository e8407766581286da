//! Triggers: events, upstream flows, and sets of them.

use crate::world::{World, event, flow, step};
use dalsegno_scheduler::{Answer, EVENT_BYTES_MAX, Input, Rejected, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn kind(kind: &str) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}}})
}

fn upstream(flow: &str, on: &str) -> Value {
    json!({"leaf": {"source": {"flow": {"flow": flow, "on": on}}}})
}

fn triggered(name: &str, on: Value, more: Value) -> Value {
    let mut trigger = json!({"name": "t", "on": on});
    for (name, value) in more.as_object().expect("an object") {
        trigger[name] = value.clone();
    }
    let more = json!({"triggers": [trigger], "run": {"strategy": {"parallel": 10}}});
    flow(name, &[step("a", &[], json!({}))], more)
}

fn plain(name: &str) -> Value {
    flow(name, &[step("a", &[], json!({}))], json!({}))
}

#[test]
fn an_event_starts_the_flow_that_waits_for_it() {
    let mut w = World::new().flow(&triggered("f", kind("order"), json!({})));
    w.event("order", "1", json!({"n": 1}));
    assert_eq!(
        w.answer,
        Some(Answer::Event {
            seq: 1,
            runs: vec![dalsegno_scheduler::RunId(1)],
            duplicate: false,
        })
    );
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s occurrence.ran f event:t:1
    +0s task.submitting 1/a
    +0s > submit 1/a/1
    ");
    let submission = w.submission("1/a");
    assert_eq!(
        submission.event.expect("the event")["data"],
        json!({"n": 1})
    );
    w.event("invoice", "2", json!({}));
    assert_snapshot!(w.matches(), @"1 f/t#0 fired run 1");
}

#[test]
fn an_event_that_the_filter_refuses_is_on_record_with_the_reason() {
    let mut on = kind("order");
    on["leaf"]["where"] = "event.data.n > 10".into();
    let mut w = World::new().flow(&triggered("f", on, json!({})));
    w.event("order", "1", json!({"n": 1}));
    w.event("order", "2", json!({"n": 11}));
    w.event("order", "3", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 filtered: `where` was false: event.data.n > 10
    2 f/t#0 fired run 1
    3 f/t#0 filtered: `where` could not be evaluated: `event.data.n > 10`: No such key: n
    ");
}

#[test]
fn an_event_that_fits_two_places_of_any_of_starts_one_run() {
    let mut big = kind("order");
    big["leaf"]["where"] = "event.data.n > 10".into();
    let on = json!({"any_of": [big, kind("order")]});
    let mut w = World::new().flow(&triggered("f", on, json!({})));
    w.event("order", "1", json!({"n": 11}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    1 f/t#1 fired run 1
    ");
    assert_snapshot!(w.occurrences(), @"f event:t:1 ran run 1");
    w.event("order", "2", json!({"n": 1}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    1 f/t#1 fired run 1
    2 f/t#0 filtered: `where` was false: event.data.n > 10
    2 f/t#1 fired run 2
    ");
}

#[test]
fn all_of_waits_for_its_last_part() {
    let on = json!({"all_of": [kind("a"), {"any_of": [kind("b"), kind("c")]}]});
    let mut w = World::new().flow(&triggered("f", on, json!({"join_on": "none"})));
    w.event("c", "1", json!({}));
    assert_snapshot!(w.matches(), @"1 f/t#2 waiting: waits for event a");
    w.restart();
    w.quiet();
    w.event("a", "2", json!({}));
    assert_snapshot!(w.journal_of(&["run.queued", "run.running", "occurrence"]), @r"
    +0s run.running 1
    +0s occurrence.ran f event:t:1001
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);
}

#[test]
fn a_newer_event_takes_the_place_of_one_that_still_waits() {
    let on = json!({"all_of": [kind("a"), kind("b")]});
    let latest = json!({"join_on": "none", "consume": "latest"});
    let mut w = World::new().flow(&triggered("f", on, latest));
    for id in ["1", "2"] {
        w.event("a", id, json!({}));
    }
    w.event("b", "3", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 replaced: event 2 took its place before the set was complete
    2 f/t#0 fired run 1
    3 f/t#1 fired run 1
    ");
    let run = w.run_row(dalsegno_scheduler::RunId(1));
    assert_eq!(run.events, [2, 3]);
}

#[test]
fn a_set_that_is_not_complete_in_time_expires() {
    let on = json!({"all_of": [kind("a"), kind("b")]});
    let more = json!({"join_on": "none", "within": 60_000_000});
    let mut w = World::new().flow(&triggered("f", on, more));
    w.event("a", "1", json!({}));
    w.restart();
    w.until_due();
    w.event("b", "2", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 expired: event b did not arrive within 1m
    1001 f/t#1 waiting: waits for event a
    ");
}

#[test]
fn each_event_waits_from_its_own_arrival() {
    let on = json!({"all_of": [kind("a"), kind("b"), kind("c")]});
    let more = json!({"join_on": "none", "within": 60_000_000});
    let mut w = World::new().flow(&triggered("f", on, more));
    w.event("a", "1", json!({}));
    w.advance(Span::from_secs(40));
    w.event("b", "2", json!({}));
    assert_eq!(w.core.next_deadline(), Some(w.now + Span::from_secs(20)));
    w.until_due();
    assert_eq!(w.core.half_matches("f").count(), 1);
    assert_eq!(w.core.next_deadline(), Some(w.now + Span::from_secs(40)));
    w.until_due();
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 expired: event c did not arrive within 1m
    2 f/t#1 expired: event a and event c did not arrive within 1m
    ");
}

#[test]
fn events_are_joined_by_what_they_are_about() {
    let by_region = |it: &str| {
        let mut leaf = kind(it);
        leaf["leaf"]["join"] = "event.data.region".into();
        leaf["leaf"]["params"] = json!({it: "${{ event.data.n }}"});
        leaf
    };
    let on = json!({"all_of": [by_region("a"), by_region("b")]});
    let mut spec = triggered("f", on, json!({"join_on": "expr"}));
    spec["params"] = json!([{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]);
    let mut w = World::new().flow(&spec);
    w.event("a", "1", json!({"region": "n", "n": 1}));
    w.event("b", "2", json!({"region": "s", "n": 2}));
    w.event("b", "3", json!({"region": "n", "n": 3}));
    w.event("b", "4", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    2 f/t#1 waiting: waits for event a
    3 f/t#1 fired run 1
    4 f/t#1 filtered: `where` could not be evaluated: join_on: `event.data.region`: No such key: region
    ");
    assert_eq!(
        *w.run_row(dalsegno_scheduler::RunId(1)).params,
        *json!({"a": 1, "b": 3}).as_object().expect("an object")
    );
}

#[test]
fn upstream_flows_are_joined_by_their_data_interval() {
    let hourly = |name: &str| {
        let mut spec = plain(name);
        spec["schedules"] = json!([{
            "name": "s", "when": {"cron": {"text": "0 * * * *"}}, "timezone": "UTC",
        }]);
        spec["run"] = json!({"strategy": {"parallel": 10}, "priority": 0});
        spec
    };
    let on = json!({"all_of": [upstream("x", "succeeded"), upstream("y", "succeeded")]});
    let mut w = World::new()
        .flow(&hourly("x"))
        .flow(&hourly("y"))
        .flow(&triggered("down", on, json!({})));
    w.until_due();
    w.until_due();
    w.ok("1/a");
    w.ok("4/a");
    assert_eq!(w.core.runs_of("down").count(), 0, "different hours");
    w.ok("2/a");
    let run = w
        .core
        .runs_of("down")
        .next()
        .expect("the first hour is complete");
    assert_eq!(run.interval.end.to_string(), "2026-11-22T07:00:00Z");
    w.ok("3/a");
    assert_eq!(w.core.runs_of("down").count(), 2);
}

#[test]
fn an_upstream_end_counts_as_its_trigger_says() {
    let mut w = World::new()
        .flow(&plain("up"))
        .flow(&triggered("good", upstream("up", "succeeded"), json!({})))
        .flow(&triggered("bad", upstream("up", "failed"), json!({})))
        .flow(&triggered("any", upstream("up", "finished"), json!({})));
    w.start("up");
    w.ok("1/a");
    w.start("up");
    let failed = w.core.runs_of("up").next().expect("it runs").id;
    w.fail(&format!("{failed}/a"));
    let cancelled = w.start("up");
    w.cancel(cancelled);
    w.ended(
        &format!("{cancelled}/a"),
        dalsegno_scheduler::Outcome::Stopped,
    );
    assert_snapshot!(w.matches(), @r"
    1 any/t#0 fired run 2
    1 bad/t#0 filtered: `where` was false: on: failed, and the run succeeded
    1 good/t#0 fired run 3
    2 any/t#0 fired run 5
    2 bad/t#0 fired run 6
    2 good/t#0 filtered: `where` was false: on: succeeded, and the run failed
    3 any/t#0 fired run 8
    3 bad/t#0 filtered: `where` was false: on: failed, and the run cancelled
    3 good/t#0 filtered: `where` was false: on: succeeded, and the run cancelled
    ");
}

#[test]
fn the_downstream_run_begins_in_the_commit_that_ends_the_upstream_run() {
    let mut w = World::new().flow(&plain("up")).flow(&triggered(
        "down",
        upstream("up", "succeeded"),
        json!({}),
    ));
    w.start("up");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s run.succeeded 1
    +0s run.running 2
    +0s occurrence.ran down event:t:1
    +0s task.submitting 2/a
    +0s > forget 1/a/1
    +0s > submit 2/a/1
    ");
}

#[test]
fn a_paused_flow_holds_events_and_refuses_them_when_it_goes_on() {
    let mut w = World::new().flow(&triggered("f", kind("a"), json!({})));
    w.pause("f");
    w.event("a", "1", json!({}));
    assert_snapshot!(w.matches(), @"1 f/t#0 waiting: the flow was paused by ada: maintenance");
    w.unpause("f");
    assert_snapshot!(w.matches(), @"1 f/t#0 refused: the flow was paused by ada: maintenance");
    assert_eq!(w.last_run(), 0);
}

#[test]
fn flows_that_would_wait_for_each_other_are_refused_with_the_path() {
    let mut w = World::new()
        .flow(&triggered("b", upstream("a", "succeeded"), json!({})))
        .flow(&triggered("c", upstream("b", "finished"), json!({})));
    let refused = |it: Result<Answer, Rejected>| it.expect_err("a cycle").to_string();
    let cycle = w.deploy(&triggered("a", upstream("c", "failed"), json!({})));
    assert_snapshot!(refused(cycle), @"flow `a` would wait for itself: a -> b -> c -> a");
    let itself = w.deploy(&triggered("a", upstream("a", "failed"), json!({})));
    assert_snapshot!(refused(itself), @"flow `a` would wait for itself: a -> a");
    w.deploy(&plain("a")).expect("no cycle");
}

#[test]
fn a_set_outlives_an_edit_of_its_flow_but_not_of_its_trigger() {
    let on = || json!({"all_of": [kind("a"), kind("b")]});
    let mut w = World::new().flow(&triggered("f", on(), json!({"join_on": "none"})));
    w.event("a", "1", json!({}));
    let mut edited = triggered("f", on(), json!({"join_on": "none"}));
    edited["description"] = "edited".into();
    w.deploy(&edited).expect("valid");
    assert_eq!(w.core.half_matches("f").count(), 1);
    w.deploy(&triggered(
        "f",
        on(),
        json!({"join_on": "none", "within": 5_000_000}),
    ))
    .expect("valid");
    assert_eq!(w.core.half_matches("f").count(), 0);
    assert_eq!(w.core.next_deadline(), None);
    assert_snapshot!(w.matches(), @"1 f/t#0 expired: the trigger was changed while the event waited");
}

#[test]
fn events_of_our_own_kind_and_events_too_large_are_refused() {
    let mut w = World::new();
    let refused = w.decide(Input::Event(event("dalsegno.run.ended", "1", json!({}))));
    assert_eq!(
        refused,
        Err(Rejected::ReservedEvent("dalsegno.run.ended".into()))
    );
    let large = "x".repeat(EVENT_BYTES_MAX);
    let refused = w.decide(Input::Event(event("a", "1", json!(large))));
    assert!(
        matches!(refused, Err(Rejected::TooLarge(..))),
        "{refused:?}"
    );
}

#[test]
fn a_set_that_fires_and_begins_anew_in_one_commit_is_written_once() {
    let on = json!({"all_of": [kind("a"), kind("b")]});
    let mut w = World::new().flow(&triggered("f", on, json!({"join_on": "none"})));
    w.event("a", "0", json!({}));
    let inputs = [("b", "1"), ("a", "2")];
    w.batch(inputs.map(|(kind, id)| Input::Event(event(kind, id, json!({})))));
    let written = w.changes.half_matches.iter().map(|it| it.leaf);
    assert_eq!(written.collect::<Vec<_>>(), [0]);
    let gone = w.changes.half_matches_deleted.iter().map(|it| it.4);
    assert_eq!(
        gone.collect::<Vec<_>>(),
        [1],
        "the one that was on the disk"
    );
    w.restart();
    w.event("b", "3", json!({}));
    assert_eq!(w.core.runs_of("f").count(), 2);
}
