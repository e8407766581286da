//! Steps that wait for each other: chains, diamonds, skips.

use crate::world::{World, flow, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Command, RunId, Span};
use insta::assert_snapshot;
use serde_json::json;

fn chain() -> serde_json::Value {
    flow(
        "chain",
        &[step("a", &[], json!({})), step("b", &["a"], json!({}))],
        json!({}),
    )
}

#[test]
fn the_next_step_is_asked_for_in_the_decision_that_ends_the_one_before() {
    let mut w = World::new().flow(&chain());
    w.start("chain");
    w.began("1/a");
    w.advance(Span::from_secs(3));
    w.ok("1/a");
    w.began("1/b");
    w.ok("1/b");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s occurrence.ran chain manual:#2
    +0s task.submitting 1/a
    +0s > submit 1/a/1
    +0s task.running 1/a
    +3s task.succeeded 1/a
    +3s task.submitting 1/b
    +3s > forget 1/a/1
    +3s > submit 1/b/1
    +3s task.running 1/b
    +3s task.succeeded 1/b
    +3s run.succeeded 1
    +3s > forget 1/b/1
    ");
}

#[test]
fn a_diamond_joins_when_both_sides_are_done() {
    let steps = [
        step("a", &[], json!({})),
        step("left", &["a"], json!({})),
        step("right", &["a"], json!({})),
        step("join", &["left", "right"], json!({})),
    ];
    let mut w = World::new().flow(&flow("diamond", &steps, json!({})));
    w.start("diamond");
    w.ok("1/a");
    w.ok("1/right");
    assert_eq!(
        w.tasks(RunId(1)),
        "a succeeded, left submitting, right succeeded"
    );
    w.quiet();
    w.ok("1/left");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/left
    +0s task.submitting 1/join
    +0s > forget 1/left/1
    +0s > submit 1/join/1
    ");
}

#[test]
fn when_is_decided_with_the_outputs_of_the_steps_before() {
    let steps = [
        step("measure", &[], json!({})),
        step(
            "good",
            &["measure"],
            json!({"when": "steps.measure.outputs.score > 0.5"}),
        ),
        step(
            "bad",
            &["measure"],
            json!({"when": "steps.measure.outputs.score <= 0.5"}),
        ),
        step("after_bad", &["bad"], json!({})),
    ];
    let mut w = World::new().flow(&flow("gate", &steps, json!({})));
    w.start("gate");
    w.quiet();
    w.ok_with("1/measure", json!({"score": 0.9}));
    w.ok("1/good");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/measure
    +0s task.submitting 1/good
    +0s task.skipped 1/bad (`when` was false: steps.measure.outputs.score <= 0.5)
    +0s task.skipped 1/after_bad (bad, which it needs, was skipped)
    +0s > forget 1/measure/1
    +0s > submit 1/good/1
    +0s task.succeeded 1/good
    +0s run.succeeded 1
    +0s > forget 1/good/1
    ");
}

#[test]
fn a_step_whose_condition_cannot_be_worked_out_fails() {
    let steps = [
        step("a", &[], json!({})),
        step("b", &["a"], json!({"when": "steps.a.outputs.nothing > 1"})),
    ];
    let mut w = World::new().flow(&flow("broken", &steps, json!({})));
    w.start("broken");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s task.failed 1/b (expression failed: when: `steps.a.outputs.nothing > 1`: No such key: nothing)
    +0s run.failed 1 (b failed)
    +0s > forget 1/a/1
    ");
}

#[test]
fn a_join_runs_over_the_branches_that_were_taken() {
    let steps = [
        step("a", &[], json!({})),
        step("left", &["a"], json!({"when": "false"})),
        step("right", &["a"], json!({})),
        step("any", &["left", "right"], json!({"join": "any_live"})),
        step("all", &["left", "right"], json!({})),
    ];
    let mut w = World::new().flow(&flow("joins", &steps, json!({})));
    w.start("joins");
    w.ok("1/a");
    w.ok("1/right");
    w.ok("1/any");
    assert_eq!(
        w.tasks(RunId(1)),
        "a succeeded, all skipped, any succeeded, left skipped, right succeeded"
    );
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn roots_run_side_by_side_and_names_do_not_order_them() {
    let steps = [step("z", &[], json!({})), step("a", &[], json!({}))];
    let mut w = World::new().flow(&flow("roots", &steps, json!({})));
    w.start("roots");
    assert_snapshot!(w.journal_of(&[">"]), @r"
    +0s > submit 1/z/1
    +0s > submit 1/a/1
    ");
}

#[test]
fn after_a_restart_the_same_is_asked_for_again() {
    let mut w = World::new().flow(&chain());
    w.start("chain");
    w.began("1/a");
    let (before, live) = (w.core.commands(), w.core.live_attempts());
    assert_eq!(before, [Command::Watch(w.attempt("1/a"))]);
    w.restart();
    assert_eq!((w.core.commands(), w.core.live_attempts()), (before, live));
    w.ok("1/a");
    w.restart();
    assert_eq!(w.core.commands(), [Command::Submit(w.attempt("1/b"))]);
    w.ok("1/b");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn a_half_filled_join_survives_a_restart() {
    let steps = [
        step("left", &[], json!({})),
        step("right", &[], json!({})),
        step("join", &["left", "right"], json!({})),
    ];
    let mut w = World::new().flow(&flow("half", &steps, json!({})));
    w.start("half");
    w.ok("1/left");
    w.restart();
    w.ok("1/right");
    w.ok("1/join");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}
