//! What a failed step does to its run; retries.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Config, Outcome, Reason, Rejected, Report, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn three(on_failure: &str) -> Value {
    let steps = [
        step("bad", &[], json!({"on_failure": on_failure})),
        step("beside", &[], json!({})),
        step(
            "needs_bad",
            &["bad"],
            json!({"env": {"X": "${{ steps.bad.outputs }}"}}),
        ),
        step("after_beside", &["beside"], json!({})),
    ];
    flow("three", &steps, json!({}))
}

#[test]
fn fail_skips_what_needs_it_and_lets_the_rest_go_on() {
    let mut w = World::new().flow(&three("fail"));
    w.start("three");
    w.quiet();
    w.fail("1/bad");
    w.ok("1/beside");
    w.ok("1/after_beside");
    assert_snapshot!(w.journal(), @r"
    +0s task.failed 1/bad (exit code 1)
    +0s task.skipped 1/needs_bad (bad, which it needs, failed)
    +0s > forget 1/bad/1
    +0s task.succeeded 1/beside
    +0s task.submitting 1/after_beside
    +0s > forget 1/beside/1
    +0s > submit 1/after_beside/1
    +0s task.succeeded 1/after_beside
    +0s run.failed 1 (bad failed)
    +0s > forget 1/after_beside/1
    ");
}

#[test]
fn continue_lets_what_needs_it_run_without_its_outputs() {
    let mut w = World::new().flow(&three("continue"));
    w.start("three");
    w.quiet();
    w.fail("1/bad");
    let env = w.submission("1/needs_bad").env;
    assert_eq!(env["X"], "{}");
    for task in ["needs_bad", "beside", "after_beside"] {
        w.ok(&format!("1/{task}"));
    }
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
    assert_eq!(
        w.tasks(RunId(1)),
        "after_beside succeeded, bad caught, beside succeeded, needs_bad succeeded"
    );
}

#[test]
fn fail_fast_cancels_all_else_and_waits_until_it_is_dead() {
    let mut w = World::new().flow(&three("fail_fast"));
    w.start("three");
    w.quiet();
    w.fail("1/bad");
    w.ended("1/beside", Outcome::Stopped);
    assert_snapshot!(w.journal(), @r"
    +0s task.failed 1/bad (exit code 1)
    +0s run.cancelling 1 (cancelled because bad failed (fail_fast))
    +0s task.stopping 1/beside (cancelled because bad failed (fail_fast))
    +0s > stop 1/beside/1
    +0s > forget 1/bad/1
    +0s task.cancelled 1/beside (cancelled because bad failed (fail_fast))
    +0s run.failed 1 (cancelled because bad failed (fail_fast))
    +0s > forget 1/beside/1
    ");
}

fn one(more: Value) -> Value {
    flow("one", &[step("a", &[], more)], json!({}))
}

#[test]
fn three_retries_are_four_attempts() {
    let mut w = World::new().flow(&one(retry(3)));
    w.start("one");
    for _ in 0..3 {
        w.fail("1/a");
        w.until_due();
    }
    w.quiet();
    w.fail("1/a");
    assert_snapshot!(w.journal(), @r"
    +7s task.failed 1/a (exit code 1)
    +7s run.failed 1 (a failed)
    +7s > forget 1/a/4
    ");
}

#[test]
fn backoff_doubles_from_one_second_to_three_hundred() {
    let mut w = World::new().flow(&one(retry(11)));
    w.start("one");
    let mut waits = Vec::new();
    for _ in 0..11 {
        w.fail("1/a");
        let before = w.now;
        w.until_due();
        waits.push((w.now - before).as_secs_f64());
    }
    assert_eq!(
        waits,
        [1., 2., 4., 8., 16., 32., 64., 128., 256., 300., 300.]
    );
    assert_eq!(w.attempt("1/a").number, 12);
}

#[test]
fn a_retry_does_not_begin_before_its_time() {
    let mut w = World::new().flow(&one(retry(1)));
    w.start("one");
    w.quiet();
    w.fail("1/a");
    w.advance(Span::from_millis(999));
    assert_snapshot!(w.journal(), @r"
    +0s task.backing_off 1/a (attempt 1 failed (exit code 1); the next begins at 2026-11-22T06:00:01Z)
    +0s > forget 1/a/1
    ");
    w.advance(Span::from_millis(1));
    assert_snapshot!(w.journal(), @r"
    +1s task.submitting 1/a
    +1s > submit 1/a/2
    ");
}

#[test]
fn jitter_is_the_same_after_a_restart() {
    let with_jitter = json!({"retry": {"times": 1, "backoff": {
        "initial": 100_000_000, "max": 300_000_000, "multiplier_percent": 200, "jitter_percent": 10,
    }}});
    let wait = || {
        let mut w = World::new().flow(&one(with_jitter.clone()));
        w.start("one");
        w.restart();
        w.fail("1/a");
        w.core.next_deadline().expect("a retry") - w.now
    };
    assert_eq!(wait(), wait());
    assert!((90.0..=110.0).contains(&wait().as_secs_f64()));
    assert_ne!(wait(), Span::from_secs(100));
}

#[test]
fn an_exit_that_says_do_not_retry_is_believed() {
    let mut w = World::new().flow(&one(retry(3)));
    w.start("one");
    w.ended("1/a", Outcome::Failed(Reason::DoNotRetry { status: 202 }));
    assert_eq!(w.tasks(RunId(1)), "a failed");
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
}

#[test]
fn a_lost_attempt_is_repeated_on_our_account() {
    let mut w = World::with(Config {
        lost_retries: 2,
        ..Config::default()
    })
    .flow(&one(json!({})));
    w.start("one");
    w.quiet();
    for _ in 0..2 {
        w.ended("1/a", Outcome::Lost("the keeper died".into()));
        w.until_due();
    }
    w.ended("1/a", Outcome::Lost("the keeper died".into()));
    assert_snapshot!(w.journal_of(&["backing_off", "failed", "> submit"]), @r"
    +0s task.backing_off 1/a (attempt 1 failed (lost: the keeper died); the next begins at 2026-11-22T06:00:01Z)
    +0.9989s > submit 1/a/2
    +0.9989s task.backing_off 1/a (attempt 2 failed (lost: the keeper died); the next begins at 2026-11-22T06:00:03Z)
    +2.8735s > submit 1/a/3
    +2.8735s task.failed 1/a (lost: the keeper died)
    +2.8735s run.failed 1 (a failed)
    ");
}

#[test]
fn lost_attempts_and_failures_have_budgets_of_their_own() {
    let mut w = World::with(Config {
        lost_retries: 1,
        ..Config::default()
    })
    .flow(&one(retry(1)));
    w.start("one");
    w.ended("1/a", Outcome::Lost("gone".into()));
    w.until_due();
    w.fail("1/a");
    w.until_due();
    w.ok("1/a");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn a_report_of_an_old_attempt_is_stale() {
    let mut w = World::new().flow(&one(retry(1)));
    w.start("one");
    let old = w.attempt("1/a");
    w.fail("1/a");
    w.until_due();
    let outcome = Outcome::Succeeded(Default::default());
    let at = w.now;
    let report = Report::Ended {
        outcome,
        started_at: None,
        at,
    };
    let again = dalsegno_scheduler::Input::Report {
        attempt: old.clone(),
        report,
    };
    assert_eq!(w.decide(again), Err(Rejected::Stale(old)));
    assert_eq!(w.tasks(RunId(1)), "a submitting");
}

#[test]
fn an_executor_that_forgot_is_asked_again() {
    let mut w = World::new().flow(&one(json!({})));
    w.start("one");
    w.quiet();
    w.report("1/a", Report::Unknown);
    w.began("1/a");
    w.report("1/a", Report::Unknown);
    assert_snapshot!(w.journal(), @r"
    +0s > submit 1/a/1
    +0s task.running 1/a
    +0s > watch 1/a/1
    ");
}

#[test]
fn a_stop_that_nobody_asked_for_counts_as_lost() {
    let mut w = World::new().flow(&one(json!({})));
    w.start("one");
    w.quiet();
    w.ended("1/a", Outcome::Stopped);
    assert_snapshot!(w.journal_of(&["backing_off"]), @"+0s task.backing_off 1/a (attempt 1 failed (lost: it was stopped, and not by this daemon); the next begins at 2026-11-22T06:00:01Z)");
}

#[test]
fn what_was_on_its_way_when_a_run_is_cancelled_does_not_begin() {
    let steps = [
        step("a", &[], json!({})),
        step(
            "bad",
            &["a"],
            json!({"when": "steps.a.outputs.nothing > 1", "on_failure": "fail_fast"}),
        ),
        step("good", &["a"], json!({})),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.ok("1/a");
    assert_eq!(w.tasks(RunId(1)), "a succeeded, bad failed");
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
}
