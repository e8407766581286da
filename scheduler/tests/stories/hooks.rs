//! Hooks: what is called when all else of a run is over.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Flow, FlowError, Outcome, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn hooked(more: Value) -> Value {
    let steps = [
        step("a", &[], json!({})),
        step("b", &["a"], json!({})),
        step("cheer", &[], json!({"hook": "success"})),
        step("page", &[], json!({"hook": "failure"})),
    ];
    flow("f", &steps, more)
}

#[test]
fn a_success_calls_its_hooks_and_then_the_run_ends() {
    let mut w = World::new().flow(&hooked(json!({})));
    w.start("f");
    w.ok("1/a");
    w.quiet();
    w.ok("1/b");
    w.restart();
    assert_eq!(w.run_state(RunId(1)), RunState::Running);
    w.ok("1/cheer");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/b
    +0s task.submitting 1/cheer
    +0s task.skipped 1/page (it is called when the run fails)
    +0s > forget 1/b/1
    +0s > submit 1/cheer/1
    +0s task.succeeded 1/cheer
    +0s run.succeeded 1
    +0s > forget 1/cheer/1
    ");
}

#[test]
fn a_failure_calls_the_others_and_what_becomes_of_them_changes_nothing() {
    let mut w = World::new().flow(&hooked(json!({})));
    w.start("f");
    w.fail("1/a");
    w.quiet();
    w.fail("1/page");
    assert_snapshot!(w.journal(), @r"
    +0s task.caught 1/page (exit code 1)
    +0s run.failed 1 (a failed)
    +0s > forget 1/page/1
    ");
    assert_snapshot!(w.tasks(RunId(1)), @"a failed, b skipped, cheer skipped, page caught");
}

#[test]
fn a_failed_hook_leaves_a_success_what_it_is() {
    let mut spec = hooked(json!({}));
    spec["steps"][2]["on_failure"] = "fail_fast".into();
    let mut w = World::new().flow(&spec);
    w.start("f");
    w.ok("1/a");
    w.ok("1/b");
    w.fail("1/cheer");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
    assert_snapshot!(w.tasks(RunId(1)), @"a succeeded, b succeeded, cheer caught, page skipped");
}

#[test]
fn a_cancelled_run_and_one_that_ran_out_of_time_call_no_hook() {
    let mut w = World::new().flow(&hooked(json!({"run": {"timeout": 60_000_000}})));
    w.start("f");
    w.cancel(RunId(1));
    w.ended("1/a", Outcome::Stopped);
    assert_eq!(w.tasks(RunId(1)), "a cancelled");
    w.start("f");
    w.advance(Span::from_secs(60));
    w.ended("2/a", Outcome::Stopped);
    assert_eq!(w.tasks(RunId(2)), "a cancelled");
    assert_eq!(w.run_state(RunId(2)), RunState::TimedOut);
}

#[test]
fn whoever_cancels_a_run_at_its_hooks_stops_these_and_the_run_ends_as_it_had() {
    let mut spec = hooked(json!({"run": {"timeout": 60_000_000}}));
    spec["steps"][2]["retry"] = retry(3)["retry"].clone();
    let mut w = World::new().flow(&spec);
    w.start("f");
    w.ok("1/a");
    w.ok("1/b");
    w.quiet();
    w.cancel(RunId(1));
    w.restart();
    // It dies by its own fault in its grace: no reason to try it again.
    w.fail("1/cheer");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s task.stopping 1/cheer (cancelled by ada)
    +0s > stop 1/cheer/1
    +0s task.caught 1/cheer (exit code 1)
    +0s run.succeeded 1
    +0s > forget 1/cheer/1
    ");

    w.start("f");
    w.ok("2/a");
    w.ok("2/b");
    w.quiet();
    w.advance(Span::from_secs(60));
    w.restart();
    w.ended("2/cheer", Outcome::Stopped);
    assert_snapshot!(w.journal(), @r"
    +60s run.running 2
    +60s task.stopping 2/cheer (the run timed out after 1m)
    +60s > stop 2/cheer/1
    +60s task.cancelled 2/cheer (the run timed out after 1m)
    +60s run.succeeded 2
    +60s > forget 2/cheer/1
    ");
}

#[test]
fn a_resumed_run_calls_the_hooks_of_its_new_end() {
    let mut w = World::new().flow(&hooked(json!({})));
    w.start("f");
    w.ok("1/a");
    w.fail("1/b");
    w.ok("1/page");
    w.quiet();
    w.resume(RunId(1), None).expect("it failed");
    w.ok("1/b");
    w.ok("1/cheer");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s task.submitting 1/b
    +0s task.waiting 1/cheer
    +0s task.waiting 1/page
    +0s > submit 1/b/2
    +0s task.succeeded 1/b
    +0s task.submitting 1/cheer
    +0s task.skipped 1/page (it is called when the run fails)
    +0s > forget 1/b/2
    +0s > submit 1/cheer/1
    +0s task.succeeded 1/cheer
    +0s run.succeeded 1
    +0s > forget 1/cheer/1
    ");
}

#[test]
fn a_hook_has_no_place_in_the_graph() {
    let wrong = |steps: &[Value]| {
        let spec = serde_json::from_value(flow("f", steps, json!({}))).expect("reads");
        Flow::new(spec).expect_err("refused")
    };
    let after = wrong(&[
        step("a", &[], json!({})),
        step("h", &["a"], json!({"hook": "success"})),
    ]);
    let before = wrong(&[
        step("h", &[], json!({"hook": "success"})),
        step("a", &["h"], json!({})),
    ]);
    assert_eq!(after, [FlowError::HookInGraph("h".into())]);
    assert_eq!(before, after);
}
