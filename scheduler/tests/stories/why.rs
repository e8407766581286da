//! Why: explanations of what waits, failed, or never came to be.

use crate::world::{World, explained, flow, retry, step};
use dalsegno_scheduler::{RunId, Span, explain_run};
use insta::assert_snapshot;
use serde_json::json;

#[test]
fn a_task_that_waits_for_a_pool_names_the_holder() {
    let one = |name: &str| {
        flow(
            name,
            &[step("a", &[], json!({"pools": {"db": 2}}))],
            json!({}),
        )
    };
    let mut w = World::new().flow(&one("first")).flow(&one("second"));
    w.start("first");
    w.began("1/a");
    w.start("second");
    w.advance(Span::from_secs(90));
    assert_snapshot!(w.why_run(RunId(2)), @"run 2, task a: waits for pool db: 2 of 2 in use, 2 wanted; held by a of run 1 -> make pool db larger in dalsegno.toml");
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task a: attempt 1 runs for 1m 30s");
}

#[test]
fn a_queued_run_names_the_one_that_runs() {
    let mut w = World::new().flow(&flow("f", &[step("a", &[], retry(1))], json!({})));
    w.start("f");
    w.start("f");
    w.fail("1/a");
    assert_snapshot!(w.why_flow("f"), @r"
    run 1, task a: attempt 1 failed (exit code 1); the next begins at 2026-11-22T06:00:01Z until 2026-11-22T06:00:01Z
    run 2: waits for the run strategy of flow f (sequential); running: 1 -> wait, cancel a run of f, or let more run at once: `run: { strategy: { parallel: N } }`
    f: it has neither schedule nor trigger, so only people start it -> dalsegno run f
    ");
}

#[test]
fn a_failed_run_names_its_failed_task_and_the_cure() {
    let steps = [step("a", &[], json!({})), step("b", &["a"], json!({}))];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.fail("1/a");
    let snapshot = w.snapshot(RunId(1));
    assert_snapshot!(explained(&explain_run(&snapshot.run, &snapshot.tasks)), @r"
    run 1: a failed -> dalsegno resume 1
    run 1, task a: failed: exit code 1 -> read its log, put it right, and resume the run
    run 1, task b: skipped: a, which it needs, failed
    ");
}

#[test]
fn what_was_skipped_stands_after_what_it_was_skipped_for() {
    let steps = [step("z", &[], json!({})), step("a", &["z"], json!({}))];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.fail("1/z");
    let snapshot = w.snapshot(RunId(1));
    // As a store lists them.
    let mut tasks = snapshot.tasks.clone();
    tasks.sort_by_key(|it| it.task.to_string());
    assert_snapshot!(explained(&explain_run(&snapshot.run, &tasks)), @r"
    run 1: z failed -> dalsegno resume 1
    run 1, task z: failed: exit code 1 -> read its log, put it right, and resume the run
    run 1, task a: skipped: z, which it needs, failed
    ");
}

#[test]
fn a_flow_says_what_holds_it_back_and_what_comes_next() {
    let mut w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], json!({
        "run": {"strategy": "strict_sequential"},
        "schedules": [{"name": "daily", "when": {"cron": {"text": "0 7 * * *"}}, "timezone": "UTC"}],
        "triggers": [{"name": "both", "join_on": "none", "within": 60_000_000, "on": {"all_of": [
            {"leaf": {"source": {"event": {"kind": "x"}}}},
            {"leaf": {"source": {"flow": {"flow": "up", "on": "succeeded"}}}},
        ]}}],
    })));
    w.start("f");
    w.fail("1/a");
    w.event("x", "1", json!({}));
    w.pause("f");
    assert_snapshot!(w.why_flow("f"), @r"
    f: the flow was paused by ada: maintenance -> dalsegno unpause f
    f: waits because run 1 failed and the strategy is strict_sequential; resume it to go on -> dalsegno resume 1, or dalsegno unpause f to go on without it
    daily: the next occurrence, due at 2026-11-22T07:00:00Z, starts no run while the flow is paused until 2026-11-22T07:00:00Z
    both: waits for flow up; 1 event waits, the first since 2026-11-22T06:00:00Z; up does not exist until 2026-11-22T06:01:00Z -> flow up must come; dalsegno run f starts it without
    ");
}

#[test]
fn a_flow_that_only_people_start_says_so() {
    let w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], json!({})));
    assert_snapshot!(w.why_flow("f"), @"f: it has neither schedule nor trigger, so only people start it -> dalsegno run f");
}

#[test]
fn a_metaflow_file_that_has_to_run_to_be_known_says_so() {
    let steps = [crate::metaflow::mf("start", &[], &[], json!({}))];
    let mut spec = crate::metaflow::metaflow(&steps, json!({}));
    spec["metaflow"]["dynamic"] = json!([
        {"what": "@schedule(cron=…)", "reason": "os.getenv(…) is called", "line": 12},
        {"what": "@mine", "reason": "it is not Metaflow's", "line": 14},
    ]);
    let w = World::new().flow(&spec);
    assert_snapshot!(w.why_flow("F"), @"F: only people start it: @schedule(cron=…) on line 12 is known only when the file runs (os.getenv(…) is called); @mine on line 14 is known only when the file runs (it is not Metaflow's) -> dalsegno run F");
}
