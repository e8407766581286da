//! Resume: the same run goes on from what is finished.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{Outcome, Rejected, ResumeWith, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn chain() -> Value {
    let steps = [
        step("a", &[], json!({})),
        step("b", &["a"], retry(1)),
        step(
            "c",
            &["b"],
            json!({"env": {"N": "${{ steps.a.outputs.n }}"}}),
        ),
        step("beside", &["a"], json!({})),
    ];
    flow("f", &steps, json!({}))
}

/// A run whose `b` has failed twice.
fn failed() -> World {
    let mut w = World::new().flow(&chain());
    w.start("f");
    w.ok_with("1/a", json!({"n": 5}));
    w.ok("1/beside");
    w.fail("1/b");
    w.until_due();
    w.fail("1/b");
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
    w.quiet();
    w.advance(Span::from_secs(10));
    w
}

#[test]
fn finished_tasks_are_kept_and_attempt_numbers_go_on() {
    let mut w = failed();
    w.resume(RunId(1), None).expect("it failed");
    assert_snapshot!(w.journal(), @r"
    +11s run.running 1
    +11s task.submitting 1/b
    +11s task.waiting 1/c
    +11s > submit 1/b/3
    ");
    w.ok("1/b");
    assert_eq!(w.submission("1/c").env["N"], "5");
    w.ok("1/c");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
    assert_eq!(w.run_row(RunId(1)).generation, 2);
}

#[test]
fn a_resume_goes_on_with_the_repaired_flow_or_if_asked_with_the_old_one() {
    let one = |command: &str| {
        let steps = [step("a", &[], json!({})), step("b", &["a"], json!({}))];
        let mut spec = flow("f", &steps, json!({}));
        spec["steps"][1]["run"] = json!({ "shell": command });
        spec
    };
    for (with, runs) in [(ResumeWith::Latest, "true"), (ResumeWith::Same, "false")] {
        let mut w = World::new().flow(&one("false"));
        w.start("f");
        w.ok("1/a");
        w.fail("1/b");
        let before = w.run_row(RunId(1)).version.clone();
        w.deploy(&one("true")).expect("the repair");
        w.resume_with(RunId(1), None, with).expect("it failed");
        assert_eq!(w.submission("1/b").command, Command::Shell(runs.into()));
        assert_eq!(
            w.run_row(RunId(1)).version == before,
            with == ResumeWith::Same
        );
        w.restart();
        w.ok("1/b");
        assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
    }
}

#[test]
fn a_resumed_task_has_all_its_retries_again() {
    let mut w = failed();
    w.resume(RunId(1), None).expect("it failed");
    w.fail("1/b");
    w.until_due();
    assert_eq!(w.attempt("1/b").number, 4);
}

#[test]
fn from_a_step_repeats_it_and_all_that_follows() {
    let mut w = failed();
    w.resume(RunId(1), None).expect("it failed");
    w.ok("1/b");
    w.ok("1/c");
    assert_eq!(
        w.resume(RunId(1), None),
        Err(Rejected::AlreadySucceeded(RunId(1)))
    );
    w.quiet();
    w.resume(RunId(1), Some("b")).expect("it is finished");
    assert_snapshot!(w.journal(), @r"
    +11s run.running 1
    +11s task.submitting 1/b
    +11s task.waiting 1/c
    +11s > submit 1/b/4
    ");
    w.ok("1/b");
    w.ok("1/c");
    let refused = w
        .resume(RunId(1), Some("nowhere"))
        .expect_err("no such step");
    assert_eq!(refused.to_string(), "flow `f` has no step `nowhere`");
}

#[test]
fn a_cancelled_run_goes_on_where_it_was() {
    let mut w = World::new().flow(&chain());
    let run = w.start("f");
    w.ok("1/a");
    w.cancel(run);
    w.ended("1/b", Outcome::Stopped);
    w.ended("1/beside", Outcome::Stopped);
    assert_eq!(w.run_state(run), RunState::Cancelled);
    w.resume(run, None).expect("it was cancelled");
    w.restart();
    for task in ["b", "beside", "c"] {
        w.ok(&format!("1/{task}"));
    }
    assert_eq!(w.run_state(run), RunState::Succeeded);
}

#[test]
fn a_run_that_is_not_finished_cannot_be_resumed() {
    let mut w = World::new().flow(&chain());
    let run = w.start("f");
    assert_eq!(w.resume(run, None), Err(Rejected::NotFinished(run)));
}

#[test]
fn a_resumed_run_that_is_cancelled_in_the_queue_can_be_resumed_again() {
    let mut w = failed();
    w.start("f");
    w.resume(RunId(1), None).expect("it failed");
    w.cancel(RunId(1));
    assert_eq!(w.run_state(RunId(1)), RunState::Cancelled);
    w.resume(RunId(1), None).expect("it was cancelled");
    w.ok("2/a");
    for task in ["b", "beside", "c"] {
        w.ok(&format!("2/{task}"));
    }
    w.ok("1/b");
    w.ok("1/c");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

fn regions() -> Value {
    let mut work = step("work", &[], json!({}));
    work["scope"] = 1.into();
    let steps = [
        step("list", &[], json!({})),
        work,
        step(
            "join",
            &["work"],
            json!({"env": {"ALL": "${{ steps.work.outputs.n }}"}}),
        ),
    ];
    let scopes = json!({"scopes": [{
        "name": "work", "parent": 0, "after": ["list"],
        "items": {"template": "${{ steps.list.outputs.items }}"},
    }]});
    flow("regions", &steps, scopes)
}

#[test]
fn only_the_failed_item_of_a_foreach_is_repeated() {
    let mut w = World::new().flow(&regions());
    let run = w.start("regions");
    w.ok_with("1/list", json!({"items": [1, 2, 3]}));
    w.ok_with("1/work[0]", json!({"n": 1}));
    w.fail("1/work[1]");
    w.ok_with("1/work[2]", json!({"n": 3}));
    w.quiet();
    w.resume(run, None).expect("it failed");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s task.waiting 1/join
    +0s task.submitting 1/work[1]
    +0s scope.open 1/work
    +0s > submit 1/work[1]/2
    ");
    w.restart();
    w.ok_with("1/work[1]", json!({"n": 2}));
    assert_eq!(w.submission("1/join").env["ALL"], "[1,2,3]");
    w.ok("1/join");
    assert_eq!(w.run_state(run), RunState::Succeeded);
}

#[test]
fn a_repeated_foreach_may_have_fewer_items() {
    let mut w = World::new().flow(&regions());
    let run = w.start("regions");
    w.ok_with("1/list", json!({"items": [1, 2, 3]}));
    for (index, n) in [(0, 1), (1, 2), (2, 3)] {
        w.ok_with(&format!("1/work[{index}]"), json!({"n": n}));
    }
    w.fail("1/join");
    w.resume(run, Some("list")).expect("it failed");
    w.ok_with("1/list", json!({"items": [9]}));
    w.restart();
    w.ok_with("1/work[0]", json!({"n": 9}));
    assert_eq!(w.submission("1/join").env["ALL"], "[9]");
    w.ok("1/join");
    assert_eq!(w.run_state(run), RunState::Succeeded);
    assert_eq!(
        w.tasks(run),
        "join succeeded, list succeeded, work[0] succeeded, work[1] skipped, work[2] skipped"
    );
}

#[test]
fn a_run_goes_on_with_the_version_it_began_with_if_that_is_wanted() {
    let mut w = failed();
    let changed = flow("f", &[step("other", &[], json!({}))], json!({}));
    w.deploy(&changed).expect("valid");
    w.resume_with(RunId(1), None, ResumeWith::Same)
        .expect("it failed");
    w.ok("1/b");
    w.ok("1/c");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn steps_that_the_repair_took_away_have_no_part_in_the_run_any_more() {
    let mut w = failed();
    let steps = [step("a", &[], json!({})), step("other", &["a"], json!({}))];
    w.deploy(&flow("f", &steps, json!({}))).expect("valid");
    w.resume(RunId(1), None).expect("it failed");
    w.restart();
    w.ok("1/other");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}
