//! Switches: a task chooses which of its successors run, or itself once more.

use crate::world::{World, flow, step};
use dalsegno_scheduler::RunId;
use dalsegno_scheduler::row::RunState;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn branch() -> Value {
    let steps = [
        step("choose", &[], json!({"route": "switch"})),
        step("left", &["choose"], json!({})),
        step("right", &["choose"], json!({})),
        step("meet", &["left", "right"], json!({"join": "any_live"})),
    ];
    flow("branch", &steps, json!({}))
}

#[test]
fn the_branch_that_was_not_chosen_is_skipped_and_the_join_runs() {
    let mut w = World::new().flow(&branch());
    w.start("branch");
    w.quiet();
    w.chose("1/choose", &["right"]);
    w.ok("1/right");
    w.ok("1/meet");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/choose
    +0s task.skipped 1/left (choose chose another branch)
    +0s task.submitting 1/right
    +0s > forget 1/choose/1
    +0s > submit 1/right/1
    +0s task.succeeded 1/right
    +0s task.submitting 1/meet
    +0s > forget 1/right/1
    +0s > submit 1/meet/1
    +0s task.succeeded 1/meet
    +0s run.succeeded 1
    +0s > forget 1/meet/1
    ");
}

#[test]
fn a_join_does_not_run_past_a_failed_branch() {
    let mut w = World::new().flow(&branch());
    w.start("branch");
    w.chose("1/choose", &["left", "right"]);
    w.fail("1/left");
    w.ok("1/right");
    assert_eq!(
        w.tasks(RunId(1)),
        "choose succeeded, left failed, meet skipped, right succeeded"
    );
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
}

#[test]
fn a_switch_that_chooses_nothing_or_nonsense_fails() {
    for choice in [&["nowhere"][..], &[]] {
        let mut w = World::new().flow(&branch());
        w.start("branch");
        w.chose("1/choose", choice);
        assert_eq!(w.run_state(RunId(1)), RunState::Failed);
    }
}

fn again() -> Value {
    let steps = [
        step("loop", &["loop"], json!({"route": "switch"})),
        step(
            "end",
            &["loop"],
            json!({"env": {"N": "${{ steps.loop.outputs.n }}"}}),
        ),
    ];
    flow("again", &steps, json!({}))
}

#[test]
fn a_step_goes_on_to_itself_as_often_as_it_likes() {
    let mut w = World::new().flow(&again());
    w.start("again");
    w.chose("1/loop", &["loop"]);
    w.restart();
    w.chose("1/loop@1", &["loop"]);
    w.quiet();
    w.chose("1/loop@2", &["end"]);
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/loop@2
    +0s task.submitting 1/end
    +0s > forget 1/loop@2/1
    +0s > submit 1/end/1
    ");
    w.restart();
    w.ok("1/end");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn a_repeated_loop_that_ends_sooner_hands_on_its_own_outputs() {
    let mut w = World::new().flow(&again());
    let run = w.start("again");
    w.chose("1/loop", &["loop"]);
    w.chose("1/loop@1", &["end"]);
    w.fail("1/end");
    w.resume(run, Some("loop")).expect("finished");
    let outputs = serde_json::from_value(json!({"n": 7})).expect("an object");
    w.ended(
        "1/loop",
        dalsegno_scheduler::Outcome::Succeeded(dalsegno_scheduler::Success {
            outputs,
            chosen: Some(vec!["end".into()]),
            splits: None,
        }),
    );
    assert_eq!(w.submission("1/end").env["N"], "7");
    w.ok("1/end");
    assert_eq!(
        w.tasks(run),
        "end succeeded, loop succeeded, loop@1 skipped"
    );
}

#[test]
fn a_repeated_loop_that_ended_sooner_fills_its_join_after_a_restart() {
    let mut spec = again();
    let steps = spec["steps"].as_array_mut().expect("steps");
    steps.push(step("beside", &["loop"], json!({"route": "all"})));
    steps.push(step("join", &["end", "beside"], json!({})));
    steps[1] = step("end", &["loop", "wait"], json!({"join": "any_live"}));
    steps.push(step("wait", &[], json!({})));
    let mut w = World::new().flow(&spec);
    let run = w.start("again");
    w.chose("1/loop", &["loop"]);
    w.chose("1/loop@1", &["end", "beside"]);
    w.ok("1/wait");
    w.ok("1/beside");
    w.fail("1/end");
    w.resume(run, Some("loop")).expect("finished");
    w.resume(run, Some("wait")).expect_err("it runs");
    w.chose("1/loop", &["end", "beside"]);
    w.restart();
    w.ok("1/beside");
    w.ok("1/end");
    w.ok("1/join");
    assert_eq!(w.run_state(run), RunState::Succeeded);
}

#[test]
fn a_join_with_no_live_branch_is_skipped_under_either_rule() {
    let mut spec = branch();
    spec["steps"][1]["when"] = "false".into();
    spec["steps"][2]["when"] = "false".into();
    let mut w = World::new().flow(&spec);
    w.start("branch");
    w.chose("1/choose", &["left", "right"]);
    assert_eq!(
        w.tasks(RunId(1)),
        "choose succeeded, left skipped, meet skipped, right skipped"
    );
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}
