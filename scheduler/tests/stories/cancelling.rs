//! Cancelling: nothing is over before it is known to be dead.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Input, Outcome, Rejected, RunId, Span};
use insta::assert_snapshot;
use serde_json::json;

#[test]
fn a_cancelled_run_ends_when_its_last_attempt_is_dead() {
    let steps = [
        step("a", &[], json!({})),
        step("b", &[], retry(1)),
        step("c", &["a"], json!({})),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    let run = w.start("f");
    w.began("1/a");
    w.fail("1/b");
    w.quiet();
    w.cancel(run);
    w.advance(Span::from_secs(100));
    assert_eq!(w.run_state(run), RunState::Cancelling);
    w.ended("1/a", Outcome::Stopped);
    assert_snapshot!(w.journal(), @r"
    +0s run.cancelling 1 (cancelled by ada)
    +0s task.stopping 1/a (cancelled by ada)
    +0s task.cancelled 1/b (cancelled by ada)
    +0s > stop 1/a/1
    +100s task.cancelled 1/a (cancelled by ada)
    +100s run.cancelled 1 (cancelled by ada)
    +100s > forget 1/a/1
    ");
}

#[test]
fn cancelling_twice_changes_nothing() {
    let mut w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], json!({})));
    let run = w.start("f");
    w.cancel(run);
    w.quiet();
    w.cancel(run);
    assert_eq!(w.journal(), "");
}

#[test]
fn a_queued_run_is_cancelled_at_once() {
    let mut w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], json!({})));
    w.start("f");
    let waiting = w.start("f");
    w.quiet();
    w.cancel(waiting);
    assert_snapshot!(w.journal(), @"+0s run.cancelled 2 (cancelled by ada)");
    let unknown = w.decide(Input::Cancel {
        run: waiting,
        by: "ada".into(),
        reason: None,
    });
    assert_eq!(unknown, Err(Rejected::UnknownRun(RunId(2))));
}

#[test]
fn a_restart_while_cancelling_goes_on_cancelling() {
    let mut w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], json!({})));
    let run = w.start("f");
    w.cancel(run);
    w.restart();
    w.ended("1/a", Outcome::Lost("nobody knows".into()));
    assert_eq!(w.run_state(run), RunState::Cancelled);
}

#[test]
fn a_task_that_succeeds_while_its_run_is_cancelled_keeps_its_success() {
    let steps = [step("a", &[], json!({})), step("b", &["a"], json!({}))];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    let run = w.start("f");
    w.cancel(run);
    w.ok("1/a");
    assert_eq!(w.run_state(run), RunState::Cancelled);
    assert_eq!(w.tasks(run), "a succeeded");
}

#[test]
fn cancelling_the_first_in_a_queue_wakes_those_behind_it() {
    let wide = |name: &str, slots: u32| {
        flow(
            name,
            &[step("a", &[], json!({"pools": {"gpu": slots}}))],
            json!({}),
        )
    };
    let mut w = World::new()
        .flow(&wide("two", 2))
        .flow(&wide("three", 3))
        .flow(&wide("one", 1));
    w.start("two");
    w.advance(Span::from_secs(1));
    let all = w.start("three");
    w.advance(Span::from_secs(1));
    w.start("one");
    assert_eq!(
        w.tasks(RunId(3)),
        "a ready",
        "it waits its turn behind the one that wants three"
    );
    w.quiet();
    w.cancel(all);
    assert_snapshot!(w.journal_of(&["3/a"]), @r"
    +2s task.submitting 3/a
    +2s > submit 3/a/1
    ");
}

#[test]
fn a_step_that_may_fail_and_dies_of_a_cancel_is_repeated_by_a_resume() {
    let steps = [step("a", &[], json!({"on_failure": "continue"}))];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    let run = w.start("f");
    w.cancel(run);
    w.fail("1/a");
    assert_eq!(w.tasks(run), "a failed");
    w.resume(run, None).expect("it was cancelled");
    assert_eq!(w.attempt("1/a").number, 2);
}
