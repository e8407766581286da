//! Steps that run other flows.

use crate::backfill_plans::{daily, request};
use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::row::RunState::{self, Cancelled, Failed, Queued, Running, Succeeded};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{
    Answer, Config, Input, Outcome, Rejected, Report, ResumeRequest, RunId, Span,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

const P: RunId = RunId(1);
const C: RunId = RunId(2);

/// A step that runs a flow; `more` adds or replaces fields of the step.
fn runs(name: &str, after: &[&str], child: &str, more: Value) -> Value {
    let mut it = step(
        name,
        after,
        json!({"run": {"flow": {"flow": child, "wait": true}}}),
    );
    merged(&mut it, more);
    it
}

fn merged(into: &mut Value, more: Value) {
    for (key, value) in more.as_object().expect("an object") {
        into[key] = value.clone();
    }
}

/// `p`: `a`, then `sub`, which runs `c`, then `b`.
fn parent(sub: Value) -> Value {
    let steps = [
        step("a", &[], json!({})),
        runs("sub", &["a"], "c", sub),
        step("b", &["sub"], json!({})),
    ];
    flow("p", &steps, json!({}))
}

fn child(run: Value) -> Value {
    let steps = [step("x", &[], json!({})), step("y", &["x"], json!({}))];
    flow("c", &steps, json!({ "run": run }))
}

fn world(sub: Value) -> World {
    World::new().flow(&child(json!({}))).flow(&parent(sub))
}

/// The same, with `sub` on its way: run 1 waits for run 2.
fn waiting(sub: Value) -> World {
    let mut w = world(sub);
    w.start("p");
    w.ok("1/a");
    w.quiet();
    w
}

fn states(w: &World, runs: &[(u64, RunState)]) {
    for (run, state) in runs {
        assert_eq!(w.run_state(RunId(*run)), *state, "run {run}");
    }
}

fn params(w: &World, run: u64) -> Value {
    Value::Object((*w.run_row(RunId(run)).params).clone())
}

#[test]
fn a_step_runs_another_flow_and_ends_with_it() {
    let mut w = world(json!({}));
    w.start("p");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s task.running 1/sub
    +0s run.running 2
    +0s occurrence.ran c task:1/sub/1
    +0s task.submitting 2/x
    +0s > forget 1/a/1
    +0s > submit 2/x/1
    ");
    let row = w.run_row(C).clone();
    assert_eq!(row.parent.expect("a parent").attempt.to_string(), "1/sub/1");
    assert_eq!(row.trigger.as_str(), "sub_flow");
    let attempt = "1/sub/1".parse().expect("an attempt");
    assert_eq!(w.core.child_of(&attempt), Some(C));
    w.ok("2/x");
    w.restart();
    // Nobody is asked about what runs here.
    assert_eq!(format!("{:?}", w.core.commands()).matches("sub").count(), 0);
    w.quiet();
    w.ok("2/y");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 2/y
    +0s run.succeeded 2
    +0s task.succeeded 1/sub
    +0s task.submitting 1/b
    +0s > forget 2/y/1
    +0s > submit 1/b/1
    ");
    w.ok("1/b");
    states(&w, &[(1, Succeeded), (2, Succeeded)]);
}

#[test]
fn its_outputs_tell_which_run_it_was() {
    let mut w = world(json!({}));
    let mut spec = parent(json!({}));
    spec["steps"][2]["env"] =
        json!({"CHILD": "${{ steps.sub.outputs.run }} ${{ steps.sub.outputs.state }}"});
    w.deploy(&spec).expect("valid");
    w.start("p");
    w.ok("1/a");
    w.ok("2/x");
    w.ok("2/y");
    assert_eq!(w.submission("1/b").env["CHILD"], "2 succeeded");
}

#[test]
fn its_parameters_see_what_the_task_sees() {
    let mut spec = child(json!({}));
    spec["params"] = json!([{"name": "n", "type": "int"}, {"name": "day", "type": "date"}]);
    let steps = [
        step("a", &[], json!({})),
        runs(
            "sub",
            &[],
            "c",
            json!({
                "scope": 1,
                "run": {"flow": {"flow": "c", "wait": true, "params": {
                    "n": "${{ item + steps.a.outputs.n }}",
                    "day": "${{ interval.start }}",
                }}},
            }),
        ),
    ];
    let each = json!({"scopes": [
        {"name": "each", "parent": 0, "after": ["a"], "items": {"template": [10, 20]}},
    ]});
    let mut w = World::new().flow(&spec).flow(&flow("p", &steps, each));
    w.start("p");
    w.ok_with("1/a", json!({"n": 3}));
    assert_eq!(params(&w, 2), json!({"n": 13, "day": "2026-11-22"}));
    assert_eq!(params(&w, 3), json!({"n": 23, "day": "2026-11-22"}));
    assert_eq!(w.run_row(C).interval, w.run_row(P).interval);
}

#[test]
fn bad_parameters_fail_the_task_and_are_not_retried() {
    let mut own = retry(3);
    merged(
        &mut own,
        json!({"run": {"flow": {"flow": "c", "wait": true, "params": {"m": 1}}}}),
    );
    let w = waiting(own);
    assert_eq!(w.last_run(), 1);
    assert_snapshot!(w.tasks(P), @"a succeeded, b skipped, sub failed");
    assert_snapshot!(w.occurrences(), @r"
    c task:1/sub/1 skipped (parameters are not usable: parameter `m`: does not exist; the flow has no parameters)
    p manual:#3 ran run 1
    ");
    let mut own = retry(3);
    merged(
        &mut own,
        json!({"run": {"flow": {"flow": "c", "wait": true, "params": {"m": "${{ nothing.at.all }}"}}}}),
    );
    let w = waiting(own);
    states(&w, &[(1, Failed)]);
}

#[test]
fn a_failed_run_is_a_failed_attempt_and_a_retry_makes_another() {
    let mut w = waiting(retry(1));
    w.fail("2/x");
    assert_snapshot!(w.journal_of(&["1/sub", "run."]), @r"
    +0s run.failed 2 (x failed)
    +0s task.backing_off 1/sub (attempt 1 failed (run 2, which it waited for, is failed); the next begins at 2026-11-22T06:00:01Z)
    ");
    w.restart();
    w.until_due();
    states(&w, &[(1, Running), (2, Failed), (3, Running)]);
    assert_eq!(w.run_row(RunId(3)).occurrence, "task:1/sub/2");
    w.fail("3/x");
    states(&w, &[(1, Failed), (3, Failed)]);
    assert_snapshot!(w.tasks(P), @"a succeeded, b skipped, sub failed");
}

#[test]
fn a_failure_may_be_caught() {
    let mut w = waiting(json!({"on_failure": "continue"}));
    w.fail("2/x");
    w.ok("1/b");
    states(&w, &[(1, Succeeded), (2, Failed)]);
}

#[test]
fn one_that_does_not_wait_succeeds_at_once_and_is_not_cancelled_with_its_parent() {
    let mut w = world(json!({"run": {"flow": {"flow": "c", "wait": false}}}));
    w.start("p");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal_of(&["1/", "run."]), @r"
    +0s task.succeeded 1/a
    +0s task.succeeded 1/sub
    +0s run.running 2
    +0s occurrence.ran c task:1/sub/1
    +0s task.submitting 1/b
    +0s > forget 1/a/1
    +0s > submit 1/b/1
    ");
    w.cancel(P);
    w.ended("1/b", Outcome::Stopped);
    states(&w, &[(1, Cancelled), (2, Running)]);
    assert!(!w.run_row(C).parent.as_ref().expect("provenance").waits);
    w.ok("2/x");
    w.fail("2/y");
    states(&w, &[(1, Cancelled), (2, Failed)]);
}

#[test]
fn a_cancelled_parent_ends_when_its_child_is_dead() {
    let mut w = waiting(json!({}));
    w.cancel(P);
    assert_snapshot!(w.journal(), @r"
    +0s run.cancelling 1 (cancelled by ada)
    +0s task.stopping 1/sub (cancelled by ada)
    +0s run.cancelling 2 (sub of run 1 waits for it, and is stopped: cancelled by ada)
    +0s task.stopping 2/x (sub of run 1 waits for it, and is stopped: cancelled by ada)
    +0s > stop 2/x/1
    ");
    w.restart();
    w.quiet();
    w.ended("2/x", Outcome::Stopped);
    assert_snapshot!(w.journal(), @r"
    +0s task.cancelled 2/x (sub of run 1 waits for it, and is stopped: cancelled by ada)
    +0s run.cancelled 2 (sub of run 1 waits for it, and is stopped: cancelled by ada)
    +0s task.cancelled 1/sub (cancelled by ada)
    +0s run.cancelled 1 (cancelled by ada)
    +0s > forget 2/x/1
    ");
}

#[test]
fn a_cancel_reaches_through_to_a_child_that_waits_in_its_queue() {
    let mut w = world(json!({}));
    w.start("c");
    w.start("p");
    w.ok("2/a");
    states(&w, &[(1, Running), (2, Running), (3, Queued)]);
    w.quiet();
    w.cancel(RunId(2));
    assert_snapshot!(w.journal(), @r"
    +0s run.cancelled 2 (cancelled by ada)
    +0s task.cancelled 2/sub (cancelled by ada)
    +0s run.cancelled 3 (sub of run 2 waits for it, and is stopped: cancelled by ada)
    ");
    states(&w, &[(1, Running), (2, Cancelled), (3, Cancelled)]);
}

#[test]
fn a_child_that_someone_cancels_is_a_failed_attempt() {
    let mut w = waiting(json!({}));
    w.cancel(C);
    w.ended("2/x", Outcome::Stopped);
    states(&w, &[(1, Failed), (2, Cancelled)]);
    assert_snapshot!(w.journal_of(&["1/sub"]), @"+0s task.failed 1/sub (run 2, which it waited for, is cancelled)");
}

#[test]
fn an_attempt_that_runs_out_of_time_takes_its_child_along_and_is_retried() {
    let mut own = retry(1);
    own["timeout"] = json!(Span::from_secs(60));
    let mut w = waiting(own);
    w.advance(Span::from_secs(60));
    assert_snapshot!(w.journal_of(&["1/sub", "run.", ">"]), @r"
    +60s task.stopping 1/sub (timed out after 1m)
    +60s run.cancelling 2 (sub of run 1 waits for it, and is stopped: timed out after 1m)
    +60s > stop 2/x/1
    ");
    w.ended("2/x", Outcome::Stopped);
    assert_snapshot!(w.journal_of(&["1/sub", "run."]), @r"
    +60s run.cancelled 2 (sub of run 1 waits for it, and is stopped: timed out after 1m)
    +60s task.backing_off 1/sub (attempt 1 failed (timed out after 1m); the next begins at 2026-11-22T06:01:01Z)
    ");
    w.until_due();
    states(&w, &[(1, Running), (2, Cancelled), (3, Running)]);
}

#[test]
fn a_child_that_times_out_fails_its_task() {
    let mut w = World::new()
        .flow(&child(json!({"timeout": Span::from_secs(30)})))
        .flow(&parent(json!({})));
    w.start("p");
    w.ok("1/a");
    w.advance(Span::from_secs(30));
    w.ended("2/x", Outcome::Stopped);
    states(&w, &[(1, Failed), (2, RunState::TimedOut)]);
}

#[test]
fn a_run_that_fails_fast_or_times_out_takes_its_children_along() {
    let steps = [
        runs("sub", &[], "c", json!({})),
        step("z", &[], json!({"on_failure": "fail_fast"})),
    ];
    let limit = json!({"run": {"timeout": Span::from_secs(30)}});
    let mut w = World::new()
        .flow(&child(json!({})))
        .flow(&flow("p", &steps, limit));
    w.start("p");
    w.fail("1/z");
    w.ended("2/x", Outcome::Stopped);
    states(&w, &[(1, Failed), (2, Cancelled)]);
    w.start("p");
    w.ok("3/z");
    w.advance(Span::from_secs(30));
    w.ended("4/x", Outcome::Stopped);
    states(&w, &[(3, RunState::TimedOut), (4, Cancelled)]);
}

#[test]
fn a_hundred_children_of_a_foreach_go_through_their_flows_own_strategy() {
    let steps = [
        runs("sub", &[], "c", json!({"scope": 1})),
        step("after", &["each"], json!({})),
    ];
    let items: Vec<u32> = (0..100).collect();
    let each = json!({"scopes": [
        {"name": "each", "parent": 0, "items": {"template": items}},
    ]});
    // Two slots for tasks: those that wait for a run take none.
    let config = Config {
        max_tasks: 2,
        ..Config::default()
    };
    let mut one = child(json!({"strategy": {"parallel": 3}}));
    one["steps"] = json!([step("x", &[], json!({}))]);
    let mut w = World::with(config)
        .flow(&one)
        .flow(&flow("p", &steps, each));
    w.start("p");
    let count = |w: &World, state| {
        let runs = w.core.runs_of("c").filter(|it| it.state == state).count();
        (runs, w.core.live_attempts().len())
    };
    assert_eq!(count(&w, Running), (3, 2));
    assert_eq!(count(&w, Queued), (97, 2));
    w.restart();
    for run in 2..=101 {
        let live = w.core.live_attempts();
        let next = live.iter().next().expect("one is live").to_string();
        w.ok(next.rsplit_once('/').expect("run/task/number").0);
        assert_eq!(w.core.disorder(), Vec::<String>::new(), "run {run}");
    }
    w.ok("1/after");
    assert!((1..=101).all(|it| w.run_state(RunId(it)) == Succeeded));
}

#[test]
fn what_a_strategy_refuses_or_replaces_fails_the_task_that_wanted_it() {
    let mut w = World::new()
        .flow(&child(json!({"strategy": "first_only"})))
        .flow(&parent(retry(1)));
    w.start("c");
    w.start("p");
    w.ok("2/a");
    assert_snapshot!(w.why_run(RunId(2)), @"run 2, task sub: attempt 1 failed (no run of flow c was made: run 1 is unfinished and the strategy is first_only); the next begins at 2026-11-22T06:00:01Z until 2026-11-22T06:00:01Z");
    w.ok("1/x");
    w.ok("1/y");
    w.until_due();
    w.ok("3/x");
    w.ok("3/y");
    assert_snapshot!(w.occurrences(), @r"
    c manual:#3 ran run 1
    c task:2/sub/1 skipped (run 1 is unfinished and the strategy is first_only)
    c task:2/sub/2 ran run 3
    p manual:#6 ran run 2
    ");
    w.ok("2/b");

    for strategy in ["last_only", "serial_latest_only"] {
        let mut w = World::new()
            .flow(&child(json!({"strategy": strategy})))
            .flow(&parent(json!({})));
        w.start("c");
        w.start("p");
        w.ok("2/a");
        states(&w, &[(3, Queued)]);
        // A newer run takes its place in the queue.
        w.start("c");
        states(&w, &[(2, Failed), (3, Cancelled), (4, Queued)]);
    }
}

#[test]
fn siblings_may_replace_each_other() {
    let steps = [
        runs("one", &[], "c", json!({"on_failure": "fail_fast"})),
        runs("two", &[], "c", json!({"on_failure": "fail_fast"})),
    ];
    let mut w = World::new()
        .flow(&child(json!({"strategy": "last_only"})))
        .flow(&flow("p", &steps, json!({})));
    w.start("c");
    w.quiet();
    w.start("p");
    // The second takes the first one's place, which cancels the run of both, and with it the second.
    assert_snapshot!(w.journal_of(&["2/", "run."]), @r"
    +0s run.failed 2 (cancelled because one failed (fail_fast))
    +0s task.failed 2/one (run 3, which it waited for, is cancelled)
    +0s task.cancelled 2/two (cancelled because one failed (fail_fast))
    +0s run.cancelling 1 (replaced by run 3)
    +0s run.cancelled 3 (replaced by run 4)
    +0s occurrence.coalesced c task:2/one/1 (task:2/two/1 stands for it)
    +0s run.cancelled 4 (two of run 2 waits for it, and is stopped: cancelled because one failed (fail_fast))
    +0s occurrence.ran c task:2/two/1
    ");
    states(&w, &[(2, Failed), (3, Cancelled), (4, Cancelled)]);
    w.restart();
}

#[test]
fn a_flow_that_is_not_there_fails_the_task_and_says_which() {
    let mut w = World::new().flow(&parent(json!({})));
    w.start("p");
    w.ok("1/a");
    assert_snapshot!(w.journal_of(&["1/sub"]), @"+0s task.failed 1/sub (there is no flow c; did you mean p?)");
    w.deploy(&child(json!({}))).expect("valid");
    w.decide(Input::Remove { flow: "c".into() }).expect("known");
    w.start("p");
    w.ok("2/a");
    assert_snapshot!(w.journal_of(&["2/sub"]), @r"
    +0s task.failed 2/sub (no run of flow c was made: the flow file is gone)
    +0s occurrence.skipped c task:2/sub/1 (the flow file is gone)
    ");
}

#[test]
fn a_pause_of_the_child_does_not_stop_its_parents() {
    let mut w = world(json!({}));
    w.pause("c");
    w.start("p");
    w.ok("1/a");
    states(&w, &[(2, Running)]);
}

#[test]
fn nobody_else_can_report_such_an_attempt() {
    let mut w = waiting(json!({}));
    let attempt = "1/sub/1".parse().expect("an attempt");
    let report = Report::Unknown;
    let refused = w.decide(Input::Report { attempt, report });
    assert!(matches!(refused, Err(Rejected::Stale(_))));
}

// Resume.

#[test]
fn a_resume_of_the_parent_resumes_its_child_in_place() {
    let mut w = waiting(json!({}));
    w.ok("2/x");
    w.fail("2/y");
    states(&w, &[(1, Failed), (2, Failed)]);
    w.quiet();
    w.resume(P, None).expect("it failed");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s task.waiting 1/b
    +0s task.running 1/sub
    +0s run.running 2
    +0s task.submitting 2/y
    +0s > submit 2/y/2
    ");
    assert_eq!(
        w.run_row(C)
            .parent
            .as_ref()
            .expect("a parent")
            .attempt
            .number,
        2
    );
    w.restart();
    w.ok("2/y");
    w.ok("1/b");
    states(&w, &[(1, Succeeded), (2, Succeeded)]);
    assert_eq!(w.last_run(), 2);
    assert_eq!(w.run_row(C).generation, 2);
}

#[test]
fn a_child_that_is_put_back_waits_until_its_task_is_reached() {
    let mut w = waiting(json!({}));
    w.fail("2/x");
    w.start("p");
    w.resume(P, None).expect("it failed");
    // Run 3 of the parent's flow is before it.
    states(&w, &[(1, Queued), (2, Queued), (3, Running)]);
    assert_snapshot!(w.why_run(C), @"run 2: goes on when run 1 comes to sub again");
    w.restart();
    assert_eq!(w.core.disorder(), Vec::<String>::new());
    // It stands in nobody's way.
    w.start("c");
    states(&w, &[(4, Running)]);
    w.ok("4/x");
    w.ok("4/y");
    states(&w, &[(2, Queued)]);
    w.ok("3/a");
    w.ok("5/x");
    w.ok("5/y");
    w.ok("3/b");
    states(&w, &[(1, Running), (2, Running), (3, Succeeded)]);
}

#[test]
fn a_child_whose_task_is_not_reached_again_ends_with_the_parent() {
    let mut w = waiting(json!({}));
    w.fail("2/x");
    w.start("p");
    w.resume(P, None).expect("it failed");
    w.quiet();
    w.cancel(P);
    assert_snapshot!(w.journal_of(&["run."]), @r"
    +0s run.cancelled 1 (cancelled by ada)
    +0s run.cancelled 2 (run 1 ended without coming to sub again)
    ");
    // And may go on later all the same.
    w.ok("3/a");
    w.resume(P, None).expect("it was cancelled");
    states(&w, &[(1, Queued), (2, Queued)]);
}

#[test]
fn a_child_that_was_resumed_by_hand_is_taken_up() {
    let mut w = waiting(json!({}));
    w.fail("2/x");
    w.resume(C, None).expect("it failed");
    states(&w, &[(1, Failed), (2, Running)]);
    w.resume(P, None).expect("it failed");
    assert_eq!(
        w.core.child_of(&"1/sub/2".parse().expect("an attempt")),
        Some(C)
    );
    w.restart();
    w.ok("2/x");
    w.ok("2/y");
    w.ok("1/b");
    states(&w, &[(1, Succeeded), (2, Succeeded)]);
    assert_eq!(w.last_run(), 2);
}

#[test]
fn a_child_that_succeeded_by_hand_gives_its_result_without_a_new_run() {
    let mut w = waiting(json!({}));
    w.fail("2/x");
    w.resume(C, None).expect("it failed");
    w.ok("2/x");
    w.ok("2/y");
    // A parent that is over stays as it is.
    states(&w, &[(1, Failed), (2, Succeeded)]);
    w.quiet();
    w.resume(P, None).expect("it failed");
    assert_snapshot!(w.journal(), @r"
    +0s run.running 1
    +0s task.submitting 1/b
    +0s task.succeeded 1/sub
    +0s > submit 1/b/1
    ");
    w.restart();
    w.ok("1/b");
    states(&w, &[(1, Succeeded)]);
    assert_eq!(w.last_run(), 2);
}

#[test]
fn a_child_that_is_resumed_by_hand_helps_a_task_that_waits_for_its_retry() {
    let mut w = waiting(retry(1));
    w.fail("2/x");
    w.resume(C, None).expect("it failed");
    w.ok("2/x");
    w.ok("2/y");
    assert_snapshot!(w.tasks(P), @"a succeeded, b submitting, sub succeeded");
    w.ok("1/b");
    states(&w, &[(1, Succeeded)]);
}

#[test]
fn a_child_that_is_gone_from_the_store_is_made_anew() {
    let mut w = waiting(json!({}));
    w.fail("2/x");
    let mut snapshot = w.snapshot(P);
    snapshot.children.clear();
    let request = ResumeRequest {
        snapshot,
        from: None,
        with: Default::default(),
        by: "ada".into(),
    };
    w.decide(Input::Resume(Box::new(request)))
        .expect("it failed");
    states(&w, &[(1, Running), (2, Failed), (3, Running)]);
}

#[test]
fn a_repeated_step_makes_a_new_run() {
    let mut w = waiting(json!({}));
    w.ok("2/x");
    w.fail("2/y");
    w.resume(P, Some("sub")).expect("it failed");
    states(&w, &[(2, Failed), (3, Running)]);
    w.ok("3/x");
    w.ok("3/y");
    w.ok("1/b");
    w.resume(P, Some("a")).expect("a step is named");
    w.ok("1/a");
    states(&w, &[(3, Succeeded), (4, Running)]);
}

#[test]
fn a_resume_reaches_through_all_levels_and_takes_the_repaired_flows() {
    let top = flow("top", &[runs("s", &[], "p", json!({}))], json!({}));
    let mut w = world(json!({})).flow(&top);
    w.start("top");
    w.ok("2/a");
    w.ok("3/x");
    w.fail("3/y");
    states(&w, &[(1, Failed), (2, Failed), (3, Failed)]);
    let mut repaired = child(json!({}));
    repaired["steps"][1]["run"] = json!({"shell": "repaired"});
    w.deploy(&repaired).expect("valid");
    w.resume(P, None).expect("it failed");
    w.restart();
    let repaired = Command::Shell("repaired".into());
    assert_eq!(w.submission("3/y").command, repaired);
    w.ok("3/y");
    w.ok("2/b");
    states(&w, &[(1, Succeeded), (2, Succeeded), (3, Succeeded)]);
    assert_eq!(w.last_run(), 3);
}

#[test]
fn a_rerun_makes_new_runs_for_what_is_not_done() {
    let mut w = waiting(json!({}));
    w.ok("2/x");
    w.fail("2/y");
    let answer = w.rerun(P, None, json!({}), None);
    assert!(matches!(answer, Ok(Answer::Run { run: RunId(3), .. })));
    states(&w, &[(2, Failed), (3, Running), (4, Running)]);
    assert_eq!(w.run_row(RunId(4)).occurrence, "task:3/sub/1");
}

#[test]
fn sub_flows_of_a_backfill_need_no_room_of_their_own_in_its_lane() {
    // The lane has one slot for tasks and one of pool db.
    let config = Config {
        max_tasks: 2,
        pools: [("db".into(), 2)].into(),
        ..Config::default()
    };
    let one = flow(
        "c",
        &[step("x", &[], json!({}))],
        json!({"run": {"pools": {"db": 1}}}),
    );
    let mut spec = daily("p", json!({}));
    spec["steps"] = json!([runs("sub", &[], "c", json!({"pools": {"db": 1}}))]);
    let after = after("d", "c", json!({}));
    let mut w = World::with(config).flow(&one).flow(&spec).flow(&after);
    w.backfill(&request("p", "2026-11-10", "2026-11-12"));
    for (parent, child) in [(1, 2), (3, 4)] {
        states(&w, &[(parent, Running), (child, Running)]);
        assert_eq!(w.run_row(RunId(child)).backfill, Some(1));
        w.restart();
        w.check();
        w.ok(&format!("{child}/x"));
        states(&w, &[(parent, Succeeded), (child, Succeeded)]);
    }
    // Past days start nothing by their ends.
    assert_eq!(w.last_run(), 4);
}

// What is refused.

fn leads(name: &str, to: &str) -> Value {
    flow(name, &[runs("s", &[], to, json!({}))], json!({}))
}

fn after(name: &str, upstream: &str, more: Value) -> Value {
    let mut leaf = json!({"source": {"flow": {"flow": upstream, "on": "succeeded"}}});
    merged(&mut leaf, more);
    flow(
        name,
        &[step("z", &[], json!({}))],
        json!({
            "triggers": [{"name": "t", "on": {"leaf": leaf}, "join_on": "none"}],
        }),
    )
}

fn refused(w: &mut World, spec: &Value) -> String {
    w.deploy(spec).expect_err("it is refused").to_string()
}

#[test]
fn a_flow_inside_itself_is_refused_with_the_path() {
    let mut w = World::new();
    assert_snapshot!(refused(&mut w, &leads("a", "a")), @"flow `a` would run itself, again and again: a runs a (step s)");
    let mut w = w.flow(&leads("a", "b")).flow(&leads("b", "c"));
    assert_snapshot!(refused(&mut w, &leads("c", "a")), @"flow `c` would run itself, again and again: c runs a (step s), which runs b (step s), which runs c (step s)");
    // Even if it asks first, and does not wait.
    let mut asks = leads("c", "a");
    asks["steps"][0]["when"] = json!("false");
    asks["steps"][0]["run"]["flow"]["wait"] = json!(false);
    refused(&mut w, &asks);
    // The circle is opened elsewhere.
    let mut w = w.flow(&leads("b", "d"));
    w.deploy(&leads("c", "a")).expect("no circle any more");
}

#[test]
fn a_trigger_that_leads_back_is_refused_unless_something_can_stop_it() {
    // Each end of b starts a, which runs b.
    let with = |mut spec: Value, steps: Value| {
        spec["steps"] = steps;
        spec
    };
    let b = || flow("b", &[step("z", &[], json!({}))], json!({}));
    let steps = || json!([runs("s", &[], "b", json!({}))]);
    let mut w = World::new().flow(&b());
    let a = with(after("a", "b", json!({})), steps());
    assert_snapshot!(refused(&mut w, &a), @"flow `a` would run itself, again and again: a runs b (step s), whose end starts a (trigger t)");
    let a = with(
        after(
            "a",
            "b",
            json!({"where": "event.data.trigger != 'sub_flow'"}),
        ),
        steps(),
    );
    w.deploy(&a).expect("the filter can stop it");
    let asks = json!([runs("s", &[], "b", json!({"when": "event == null"}))]);
    w.deploy(&with(after("a", "b", json!({})), asks))
        .expect("the step may be skipped");

    // A third that listens to both of what a leads to closes a circle; one that needs more does not.
    let two = |more: &str| {
        let mut spec = after("d", "b", json!({}));
        spec["steps"] = json!([runs("s", &[], "a", json!({}))]);
        spec["triggers"][0]["on"] = json!({"all_of": [
            {"leaf": {"source": {"flow": {"flow": "b", "on": "succeeded"}}}},
            {"leaf": {"source": {"event": {"kind": more}}}},
        ]});
        spec
    };
    let mut w = World::new().flow(&b()).flow(&leads("a", "b"));
    w.deploy(&two("k")).expect("it needs an event too");
    assert_snapshot!(refused(&mut w, &two("metaflow.a.end")), @"flow `d` would run itself, again and again: d runs a (step s), which runs b (step s), whose end starts d (trigger t)");
}

#[test]
fn a_trigger_that_follows_the_same_way_is_no_circle() {
    // a runs b, and b runs once more when a has ended: two runs of b, and that is all.
    let mut w = World::new()
        .flow(&leads("a", "b"))
        .flow(&after("b", "a", json!({})));
    w.start("a");
    w.ok("2/z");
    states(&w, &[(1, Succeeded), (2, Succeeded), (3, Running)]);
    w.ok("3/z");
    assert_eq!(w.last_run(), 3);
}

#[test]
fn eight_inside_each_other_are_the_most() {
    let name = |it: u32| format!("f{it}");
    let mut w = World::new();
    for it in (1..=8).rev() {
        w.deploy(&leads(&name(it), &name(it + 1)))
            .expect("eight deep");
    }
    assert_snapshot!(refused(&mut w, &leads("f0", "f1")), @"flows may run flows 8 deep, and with flow `f0` these go deeper: f0 -> f1 -> f2 -> f3 -> f4 -> f5 -> f6 -> f7 -> f8 -> f9");
    assert_snapshot!(refused(&mut w, &leads("f9", "f10")), @"flows may run flows 8 deep, and with flow `f9` these go deeper: f1 -> f2 -> f3 -> f4 -> f5 -> f6 -> f7 -> f8 -> f9 -> f10");
    let mut w = w.flow(&flow("f9", &[step("z", &[], json!({}))], json!({})));
    w.start("f1");
    w.ok("9/z");
    states(&w, &[(1, Succeeded), (9, Succeeded)]);
}

#[test]
fn runs_on_their_way_when_flows_change_do_not_go_deeper_than_eight() {
    let plain = |name: &str| flow(name, &[step("z", &[], json!({}))], json!({}));
    let steps = [step("z", &[], json!({})), runs("s", &["z"], "f1", retry(2))];
    let mut w = World::new().flow(&flow("f0", &steps, json!({})));
    w.start("f0");
    // The new version of f0 runs nothing, so the rest may be eight deep. Run 1 still has the old one.
    let mut w = w.flow(&plain("f0")).flow(&plain("f9"));
    for it in (1..=8).rev() {
        let spec = leads(&format!("f{it}"), &format!("f{}", it + 1));
        w.deploy(&spec).expect("eight deep");
    }
    w.quiet();
    w.ok("1/z");
    assert_snapshot!(w.journal_of(&["task.failed", "1/s"]), @r"
    +0s task.backing_off 1/s (attempt 1 failed (run 2, which it waited for, is failed); the next begins at 2026-11-22T06:00:01Z)
    +0s occurrence.ran f1 task:1/s/1
    +0s task.failed 2/s (run 3, which it waited for, is failed)
    +0s task.failed 3/s (run 4, which it waited for, is failed)
    +0s task.failed 4/s (run 5, which it waited for, is failed)
    +0s task.failed 5/s (run 6, which it waited for, is failed)
    +0s task.failed 6/s (run 7, which it waited for, is failed)
    +0s task.failed 7/s (run 8, which it waited for, is failed)
    +0s task.failed 8/s (run 9, which it waited for, is failed)
    +0s task.failed 9/s (a run of flow f9 would be inside more than 8 others, and 8 is the most)
    ");
    states(&w, &[(1, Running), (2, Failed), (9, Failed)]);
    assert_eq!(w.last_run(), 9);
}

#[test]
fn a_run_may_replace_the_one_that_it_is_inside_of() {
    let steps = [step("z", &[], json!({})), runs("s", &["z"], "b", json!({}))];
    let mut w = World::new().flow(&flow("a", &steps, json!({})));
    w.start("a");
    // Run 1 has the old version of a, and comes to b, which runs the new a, which takes the place of run 1.
    let newest = json!({"run": {"strategy": "last_only"}});
    let mut w = w
        .flow(&flow("a", &[step("z", &[], json!({}))], newest))
        .flow(&leads("b", "a"));
    w.quiet();
    w.ok("1/z");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/z
    +0s task.cancelled 1/s (replaced by run 3)
    +0s run.cancelled 2 (s of run 1 waits for it, and is stopped: replaced by run 3)
    +0s occurrence.ran b task:1/s/1
    +0s task.cancelled 2/s (s of run 1 waits for it, and is stopped: replaced by run 3)
    +0s run.cancelled 1 (replaced by run 3)
    +0s run.cancelled 3 (s of run 2 waits for it, and is stopped: s of run 1 waits for it, and is stopped: replaced by run 3)
    +0s occurrence.ran a task:2/s/1
    +0s > forget 1/z/1
    ");
    states(&w, &[(1, Cancelled), (2, Cancelled), (3, Cancelled)]);
}

#[test]
fn a_pool_that_parent_and_child_want_together_must_be_large_enough() {
    // Pool db has 2 slots.
    let mut w = World::new().flow(&child(json!({"pools": {"db": 1}})));
    assert_snapshot!(refused(&mut w, &parent(json!({"pools": {"db": 2}}))), @"flow `p` wants 3 of pool `db`, which has 2 (its steps run flows that want slots while it holds its own); set `db = N` below [pools] in dalsegno.toml and restart");
    w.deploy(&parent(json!({"pools": {"db": 1}})))
        .expect("one and one");
    let unwaited = json!({"pools": {"db": 2}, "run": {"flow": {"flow": "c", "wait": false}}});
    w.deploy(&parent(unwaited)).expect("it does not wait");
}

#[test]
fn why_tells_what_a_task_waits_for() {
    let mut w = world(json!({}));
    w.start("c");
    w.start("p");
    w.ok("2/a");
    w.advance(Span::from_secs(5));
    assert_snapshot!(w.why_run(RunId(2)), @"run 2, task sub: waits for run 3 of flow c, which is queued: waits for the run strategy of flow c: 1 of 1 in use");
    w.ok("1/x");
    w.ok("1/y");
    assert_snapshot!(w.why_run(RunId(2)), @"run 2, task sub: waits for run 3 of flow c, which is running");
}

#[test]
fn why_tells_of_runs_that_wait_for_each_others_slots() {
    let mut spec = parent(json!({}));
    spec["run"] = json!({"strategy": {"parallel": 2}, "priority": 0, "pools": {"db": 1}});
    let mut w = World::new()
        .flow(&child(json!({"pools": {"db": 1}})))
        .flow(&spec);
    w.start("p");
    w.start("p");
    w.ok("1/a");
    w.ok("2/a");
    // Both hold one of two slots, and wait for runs that want one.
    states(&w, &[(1, Running), (2, Running), (3, Queued), (4, Queued)]);
    assert_snapshot!(w.why_run(RunId(3)), @"run 3: waits for pool db: 2 of 2 in use; held by run 1, run 2; each of them waits for a run that wants a slot too, so nothing moves until one is cancelled -> make pool db larger in dalsegno.toml");
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task sub: waits for run 3 of flow c, which is queued: waits for pool db: 2 of 2 in use");
    w.cancel(RunId(2));
    states(&w, &[(2, Cancelled), (3, Running), (4, Cancelled)]);
}
