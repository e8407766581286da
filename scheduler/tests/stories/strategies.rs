//! The six run strategies.

use crate::world::{World, flow, step};

use dalsegno_scheduler::{Answer, Input, Outcome, RunId, Span, StartRequest};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn with(strategy: Value) -> World {
    World::new().flow(&named("f", strategy))
}

fn named(name: &str, strategy: Value) -> Value {
    flow(
        name,
        &[step("a", &[], json!({}))],
        json!({"run": {"strategy": strategy}}),
    )
}

/// `1 running, 2 queued`.
fn runs(w: &World) -> String {
    let told: Vec<String> = (1..)
        .map(RunId)
        .take_while(|it| it.0 <= w.last_run())
        .map(|it| format!("{it} {}", w.run_state(it)))
        .collect();
    told.join(", ")
}

#[test]
fn sequential_runs_one_at_a_time_and_goes_on_after_a_failure() {
    let mut w = with(json!("sequential"));
    w.start("f");
    w.start("f");
    w.start("f");
    assert_eq!(runs(&w), "1 running, 2 queued, 3 queued");
    w.fail("1/a");
    assert_eq!(runs(&w), "1 failed, 2 running, 3 queued");
    w.ok("2/a");
    assert_eq!(runs(&w), "1 failed, 2 succeeded, 3 running");
}

#[test]
fn strict_sequential_stops_at_a_failure_until_it_is_resumed_to_success() {
    let mut w = with(json!("strict_sequential"));
    w.start("f");
    w.start("f");
    w.quiet();
    w.fail("1/a");
    assert_snapshot!(w.journal_of(&["run.", "flow."]), @r"
    +0s run.failed 1 (a failed)
    +0s flow.blocked f
    ");
    w.advance(Span::from_secs(5));
    w.resume(RunId(1), None).expect("it failed");
    assert_eq!(runs(&w), "1 running, 2 queued");
    w.fail("1/a");
    assert_eq!(runs(&w), "1 failed, 2 queued");
    w.resume(RunId(1), None).expect("it failed");
    w.ok("1/a");
    assert_eq!(runs(&w), "1 succeeded, 2 running");
}

#[test]
fn strict_sequential_is_freed_by_hand() {
    let mut w = with(json!("strict_sequential"));
    w.start("f");
    w.fail("1/a");
    w.start("f");
    assert_eq!(runs(&w), "1 failed, 2 queued");
    w.restart();
    assert_eq!(runs(&w), "1 failed, 2 queued");
    w.unpause("f");
    assert_eq!(runs(&w), "1 failed, 2 running");
}

#[test]
fn strict_sequential_is_not_blocked_by_what_people_cancelled() {
    let mut w = with(json!("strict_sequential"));
    let first = w.start("f");
    w.start("f");
    w.cancel(first);
    w.ended("1/a", Outcome::Stopped);
    assert_eq!(runs(&w), "1 cancelled, 2 running");
}

#[test]
fn first_only_refuses_newcomers_and_keeps_the_reason() {
    let mut w = with(json!("first_only"));
    w.start("f");
    w.quiet();
    for _ in 0..2 {
        let refused = w.try_start("f", json!({})).expect("on record");
        assert!(matches!(refused, Answer::NotStarted { .. }), "{refused:?}");
    }
    assert_snapshot!(w.journal_of(&["occurrence"]), @r"
    +0s occurrence.skipped f manual:#5 (run 1 is unfinished and the strategy is first_only)
    +0s occurrence.skipped f manual:#6 (run 1 is unfinished and the strategy is first_only)
    ");
    w.ok("1/a");
    w.start("f");
    assert_eq!(runs(&w), "1 succeeded, 2 running");
    assert_snapshot!(w.occurrences(), @r"
    f manual:#2 ran run 1
    f manual:#5 skipped (run 1 is unfinished and the strategy is first_only)
    f manual:#6 skipped (run 1 is unfinished and the strategy is first_only)
    f manual:#9 ran run 2
    ");
}

#[test]
fn first_only_lets_one_in_that_comes_as_the_first_ends() {
    let mut w = with(json!("first_only"));
    let first = w.start("f");
    w.cancel(first);
    let attempt = w.attempt("1/a");
    let at = w.now;
    let ended = dalsegno_scheduler::Report::Ended {
        outcome: Outcome::Stopped,
        started_at: None,
        at,
    };
    let start = Input::Start(StartRequest {
        flow: "f".into(),
        params: Default::default(),
        key: None,
        by: "ada".into(),
    });
    w.batch([
        Input::Report {
            attempt,
            report: ended,
        },
        start,
    ]);
    assert_eq!(runs(&w), "1 cancelled, 2 running");
}

#[test]
fn last_only_waits_until_the_running_one_is_really_dead() {
    let mut w = with(json!("last_only"));
    w.start("f");
    w.quiet();
    w.start("f");
    assert_snapshot!(w.journal_of(&["run.", "occurrence.", ">"]), @r"
    +0s run.cancelling 1 (replaced by run 2)
    +0s run.queued 2 (waits for the run strategy of flow f: 1 of 1 in use)
    +0s occurrence.ran f manual:#5
    +0s > stop 1/a/1
    ");
    w.start("f");
    assert_eq!(runs(&w), "1 cancelling, 2 cancelled, 3 queued");
    w.quiet();
    w.ended("1/a", Outcome::Stopped);
    assert_snapshot!(w.journal_of(&["run.", ">"]), @r"
    +0s run.cancelled 1 (replaced by run 2)
    +0s run.running 3
    +0s > forget 1/a/1
    +0s > submit 3/a/1
    ");
    assert_snapshot!(w.occurrences(), @r"
    f manual:#2 ran run 1
    f manual:#5 coalesced run 2 (manual:#9 stands for it)
    f manual:#9 ran run 3
    ");
}

#[test]
fn parallel_runs_so_many_at_once_and_queues_the_rest() {
    let mut w = with(json!({"parallel": 2}));
    for _ in 0..4 {
        w.start("f");
    }
    assert_eq!(runs(&w), "1 running, 2 running, 3 queued, 4 queued");
    w.ok("2/a");
    assert_eq!(runs(&w), "1 running, 2 succeeded, 3 running, 4 queued");
    w.deploy(&named("f", json!({"parallel": 3})))
        .expect("valid");
    assert_eq!(runs(&w), "1 running, 2 succeeded, 3 running, 4 running");
}

#[test]
fn serial_latest_only_leaves_the_running_one_alone_and_keeps_one_in_the_queue() {
    let mut w = with(json!("serial_latest_only"));
    for _ in 0..4 {
        w.start("f");
        w.advance(Span::from_secs(1));
    }
    assert_eq!(runs(&w), "1 running, 2 cancelled, 3 cancelled, 4 queued");
    assert_snapshot!(w.occurrences(), @r"
    f manual:#11 ran run 4
    f manual:#2 ran run 1
    f manual:#5 coalesced run 2 (manual:#7 stands for it)
    f manual:#7 coalesced run 3 (manual:#11 stands for it)
    ");
    w.ok("1/a");
    assert_eq!(runs(&w), "1 succeeded, 2 cancelled, 3 cancelled, 4 running");
}

#[test]
fn a_replaced_run_that_starts_another_flow_keeps_its_number() {
    let downstream = flow(
        "down",
        &[step("a", &[], json!({}))],
        json!({"triggers": [{
            "name": "up", "on": {"leaf": {"source": {"flow": {"flow": "f", "on": "finished"}}}},
        }]}),
    );
    let mut w = with(json!("serial_latest_only")).flow(&downstream);
    w.start("f");
    w.start("f");
    let newest = w.start("f");
    let flows: Vec<_> = w
        .core
        .runs()
        .map(|it| (it.id.0, it.flow.to_string()))
        .collect();
    assert_eq!(
        flows.iter().map(|it| it.0).collect::<Vec<_>>(),
        [1, newest.0, newest.0 + 1]
    );
    assert_eq!(
        flows.iter().map(|it| &*it.1).collect::<Vec<_>>(),
        ["f", "f", "down"]
    );
}

#[test]
fn a_resumed_run_goes_before_those_that_came_after_it() {
    let mut w = with(json!("sequential"));
    w.start("f");
    w.fail("1/a");
    for _ in 0..2 {
        w.advance(Span::from_secs(1));
        w.start("f");
    }
    w.advance(Span::from_secs(1));
    w.resume(RunId(1), None).expect("it failed");
    assert_eq!(runs(&w), "1 queued, 2 running, 3 queued");
    w.ok("2/a");
    assert_eq!(runs(&w), "1 running, 2 succeeded, 3 queued");
}

#[test]
fn a_blocked_flow_does_not_hold_up_others_at_a_pool() {
    let with_pool = |name: &str, strategy: Value| {
        let run = json!({"run": {"strategy": strategy, "pools": {"db": 1}}});
        flow(name, &[step("a", &[], json!({}))], run)
    };
    let mut w = World::new()
        .flow(&with_pool("f", json!({"parallel": 2})))
        .flow(&with_pool("g", json!("sequential")))
        .flow(&with_pool("h", json!("sequential")));
    for name in ["f", "g", "f", "h"] {
        w.start(name);
        w.advance(Span::from_secs(1));
    }
    assert_eq!(runs(&w), "1 running, 2 running, 3 queued, 4 queued");
    w.deploy(&with_pool("f", json!("strict_sequential")))
        .expect("valid");
    w.fail("1/a");
    assert_eq!(runs(&w), "1 failed, 2 running, 3 queued, 4 running");
}

#[test]
fn a_run_that_ends_makes_room_for_what_is_due_at_that_moment() {
    let mut spec = named("f", json!("first_only"));
    spec["schedules"] = json!([{
        "name": "s", "when": {"cron": {"text": "0 7 * * *"}}, "timezone": "UTC",
    }]);
    let mut w = World::new().flow(&spec);
    w.start("f");
    w.now = w.now + Span::from_mins(60);
    w.ok("1/a");
    assert_eq!(runs(&w), "1 succeeded, 2 running");
}

#[test]
fn a_resumed_run_that_is_replaced_in_the_queue_has_run_all_the_same() {
    let mut w = with(json!("serial_latest_only"));
    w.start("f");
    w.fail("1/a");
    w.start("f");
    w.resume(RunId(1), None).expect("it failed");
    w.start("f");
    assert_eq!(runs(&w), "1 cancelled, 2 running, 3 queued");
    assert!(
        !w.occurrences().contains("coalesced"),
        "{}",
        w.occurrences()
    );
}
