//! Timeouts of attempts and of runs.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Outcome, Reason, RunId, Span};
use insta::assert_snapshot;
use serde_json::json;

fn limited(times: u32) -> serde_json::Value {
    let mut more = retry(times);
    more["timeout"] = 60_000_000.into();
    flow("limited", &[step("a", &[], more)], json!({}))
}

#[test]
fn an_attempt_that_takes_too_long_is_replaced_only_once_it_is_dead() {
    let mut w = World::new().flow(&limited(1));
    w.start("limited");
    w.advance(Span::from_secs(100));
    w.began("1/a");
    w.quiet();
    w.advance(Span::from_secs(59));
    assert_eq!(
        w.journal(),
        "",
        "the clock of the timeout starts with the attempt"
    );
    w.advance(Span::from_secs(1));
    w.advance(Span::from_secs(500));
    w.ended("1/a", Outcome::Stopped);
    w.until_due();
    assert_snapshot!(w.journal(), @r"
    +160s task.stopping 1/a (timed out after 1m)
    +160s > stop 1/a/1
    +660s task.backing_off 1/a (attempt 1 failed (timed out after 1m); the next begins at 2026-11-22T06:11:01Z)
    +660s > forget 1/a/1
    +661s task.submitting 1/a
    +661s > submit 1/a/2
    ");
}

#[test]
fn the_last_attempt_that_times_out_fails_its_task() {
    let mut w = World::new().flow(&limited(0));
    w.start("limited");
    w.began("1/a");
    w.advance(Span::from_secs(60));
    w.quiet();
    // However it says that it died, it died of the timeout.
    w.ended("1/a", Outcome::Failed(Reason::Signal { signal: 15 }));
    assert_snapshot!(w.journal(), @r"
    +60s task.failed 1/a (timed out after 1m)
    +60s run.failed 1 (a failed)
    +60s > forget 1/a/1
    ");
}

#[test]
fn an_attempt_that_succeeds_while_it_is_stopped_has_succeeded() {
    let mut w = World::new().flow(&limited(1));
    w.start("limited");
    w.began("1/a");
    w.advance(Span::from_secs(60));
    w.ok("1/a");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_as_a_whole() {
    let steps = [step("a", &[], retry(3)), step("b", &["a"], json!({}))];
    let spec = flow(
        "slow",
        &steps,
        json!({"run": {"timeout": 3_600_000_000_u64}}),
    );
    let mut w = World::new().flow(&spec);
    w.start("slow");
    w.began("1/a");
    w.quiet();
    w.advance(Span::from_mins(60));
    w.advance(Span::from_secs(10));
    w.ended("1/a", Outcome::Stopped);
    assert_snapshot!(w.journal(), @r"
    +3600s run.cancelling 1 (the run timed out after 1h)
    +3600s task.stopping 1/a (the run timed out after 1h)
    +3600s > stop 1/a/1
    +3610s task.cancelled 1/a (the run timed out after 1h)
    +3610s run.timed_out 1 (the run timed out after 1h)
    +3610s > forget 1/a/1
    ");
}

#[test]
fn a_run_that_waits_is_not_timed_out() {
    let spec = flow(
        "slow",
        &[step("a", &[], json!({}))],
        json!({"run": {"timeout": 60_000_000}}),
    );
    let mut w = World::new().flow(&spec);
    w.start("slow");
    w.start("slow");
    w.advance(Span::from_secs(59));
    w.ok("1/a");
    w.quiet();
    w.advance(Span::from_secs(59));
    assert_eq!(w.journal(), "");
    w.advance(Span::from_secs(1));
    assert_snapshot!(w.journal_of(&["run."]), @"+119s run.cancelling 2 (the run timed out after 1m)");
}
