//! Limits: who gets the slots, and in what order.

use crate::world::{World, flow, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Config, Rejected, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn one(name: &str, more: Value) -> Value {
    flow(name, &[step("a", &[], more)], json!({}))
}

fn wants(name: &str, pool: &str, slots: u32) -> Value {
    one(name, json!({"pools": {pool: slots}}))
}

#[test]
fn a_pool_gives_out_its_slots_by_weight_and_in_order() {
    let mut w = World::new()
        .flow(&wants("heavy", "gpu", 2))
        .flow(&wants("light", "gpu", 1))
        .flow(&wants("whole", "gpu", 3));
    for name in ["heavy", "whole", "light"] {
        w.start(name);
        w.advance(Span::from_secs(1));
    }
    assert_snapshot!(w.journal_of(&["/a"]), @r"
    +0s task.submitting 1/a
    +0s > submit 1/a/1
    +1s task.ready 2/a (waits for pool gpu: 2 of 3 in use, 3 wanted)
    +2s task.ready 3/a (waits for pool gpu: 2 of 3 in use)
    ");
    w.ok("1/a");
    w.ok("2/a");
    w.ok("3/a");
    assert_snapshot!(w.journal_of(&["submit", "forget"]), @r"
    +3s task.submitting 2/a
    +3s > forget 1/a/1
    +3s > submit 2/a/1
    +3s task.submitting 3/a
    +3s > forget 2/a/1
    +3s > submit 3/a/1
    +3s > forget 3/a/1
    ");
}

#[test]
fn a_full_pool_does_not_hide_those_who_need_another() {
    let mut w = World::new()
        .flow(&wants("first", "db", 2))
        .flow(&wants("second", "db", 1))
        .flow(&wants("other", "gpu", 1))
        .flow(&one("free", json!({})));
    for name in ["first", "second", "other", "free"] {
        w.start(name);
    }
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +0s task.submitting 1/a
    +0s > submit 1/a/1
    +0s task.submitting 3/a
    +0s > submit 3/a/1
    +0s task.submitting 4/a
    +0s > submit 4/a/1
    ");
}

#[test]
fn one_who_waits_for_two_pools_does_not_hold_up_the_first() {
    let both = one("both", json!({"pools": {"db": 1, "gpu": 3}}));
    let mut w = World::new()
        .flow(&wants("gpu", "gpu", 1))
        .flow(&wants("db", "db", 2))
        .flow(&both);
    w.start("gpu");
    w.start("db");
    w.start("both");
    w.quiet();
    w.ok("2/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 2/a
    +0s run.succeeded 2
    +0s task.ready 3/a (waits for pool gpu: 1 of 3 in use, 3 wanted)
    +0s > forget 2/a/1
    ");
    w.start("db");
    w.ok("4/a");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +0s task.submitting 3/a
    +0s > submit 3/a/1
    ");
}

fn wide(more: Value) -> Value {
    let mut work = step("work", &[], json!({}));
    work["scope"] = 1.into();
    let mut scope = json!({
        "name": "work", "parent": 0, "items": {"template": [1, 2, 3, 4, 5]},
    });
    if let Some(most) = more.get("max_parallel") {
        scope["max_parallel"] = most.clone();
    }
    let mut spec = flow(
        "wide",
        &[work, step("beside", &[], json!({}))],
        json!({"scopes": [scope]}),
    );
    if let Some(run) = more.get("run") {
        spec["run"] = run.clone();
    }
    spec
}

#[test]
fn max_parallel_limits_one_block_and_not_its_neighbours() {
    let mut w = World::new().flow(&wide(json!({"max_parallel": 2})));
    w.start("wide");
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +0s task.submitting 1/beside
    +0s task.submitting 1/work[0]
    +0s task.submitting 1/work[1]
    +0s > submit 1/work[0]/1
    +0s > submit 1/work[1]/1
    +0s > submit 1/beside/1
    ");
    w.ok("1/work[1]");
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +0s task.submitting 1/work[2]
    +0s > submit 1/work[2]/1
    ");
}

#[test]
fn max_parallel_tasks_limits_the_run() {
    let run = json!({"strategy": "sequential", "priority": 0, "max_parallel_tasks": 3});
    let mut w = World::new().flow(&wide(json!({"run": run})));
    w.start("wide");
    assert_snapshot!(w.journal_of(&["submit", "ready"]), @r"
    +0s task.ready 1/beside (waits for max_parallel_tasks of run 1: 3 of 3 in use)
    +0s task.submitting 1/work[0]
    +0s task.submitting 1/work[1]
    +0s task.submitting 1/work[2]
    +0s task.ready 1/work[3] (waits for max_parallel_tasks of run 1: 3 of 3 in use)
    +0s task.ready 1/work[4]
    +0s > submit 1/work[0]/1
    +0s > submit 1/work[1]/1
    +0s > submit 1/work[2]/1
    ");
}

#[test]
fn max_tasks_limits_everything() {
    let config = Config {
        max_tasks: 2,
        ..Config::default()
    };
    let mut w = World::with(config).flow(&wide(json!({})));
    w.start("wide");
    assert_eq!(w.core.live_attempts().len(), 2);
    w.ok("1/work[0]");
    assert_eq!(w.core.live_attempts().len(), 2);
}

#[test]
fn an_attempt_that_is_being_stopped_still_holds_its_slots() {
    let mut w = World::new()
        .flow(&wants("first", "db", 2))
        .flow(&wants("second", "db", 2));
    let run = w.start("first");
    w.start("second");
    w.cancel(run);
    assert_eq!(w.tasks(RunId(2)), "a ready");
    w.ended("1/a", dalsegno_scheduler::Outcome::Stopped);
    assert_eq!(w.tasks(RunId(2)), "a submitting");
}

fn ranked(name: &str, priority: i32) -> Value {
    let more = json!({"run": {"priority": priority, "strategy": {"parallel": 9}}});
    flow(name, &[step("a", &[], json!({"pools": {"db": 2}}))], more)
}

#[test]
fn higher_priority_goes_first_but_a_minute_of_waiting_is_worth_a_point() {
    let mut w = World::new()
        .flow(&ranked("holder", 0))
        .flow(&ranked("low", 0))
        .flow(&ranked("high", 10));
    w.start("holder");
    w.start("low");
    w.advance(Span::from_mins(9));
    w.start("high");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +540s task.submitting 3/a
    +540s > submit 3/a/1
    ");
    // Now the other way round: the patient one has waited eleven minutes longer.
    w.ok("3/a");
    w.start("low");
    w.advance(Span::from_mins(11));
    w.start("high");
    w.ok("2/a");
    assert_snapshot!(w.journal_of(&["submit"]), @r"
    +540s task.submitting 2/a
    +540s > submit 2/a/1
    +1200s task.submitting 4/a
    +1200s > submit 4/a/1
    ");
}

#[test]
fn a_run_holds_its_own_pool_from_start_to_end() {
    let more = || json!({"run": {"pools": {"db": 2}}});
    let one = |name: &str| flow(name, &[step("a", &[], json!({}))], more());
    let mut w = World::new().flow(&one("first")).flow(&one("second"));
    w.start("first");
    w.start("second");
    assert_eq!(w.run_state(RunId(2)), RunState::Queued);
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s run.succeeded 1
    +0s run.running 2
    +0s task.submitting 2/a
    +0s > forget 1/a/1
    +0s > submit 2/a/1
    ");
}

#[test]
fn slots_are_the_same_after_a_restart() {
    let mut w = World::new()
        .flow(&wants("first", "db", 2))
        .flow(&wants("second", "db", 2));
    w.start("first");
    w.start("second");
    let limits = w.core.limits();
    w.restart();
    assert_eq!(w.core.limits(), limits);
    w.ok("1/a");
    assert_eq!(w.tasks(RunId(2)), "a submitting");
}

#[test]
fn a_pool_that_can_never_be_enough_is_refused_when_the_flow_is_deployed() {
    let mut w = World::new();
    let told = |it: Rejected| it.to_string();
    let refused = |w: &mut World, spec: &Value| w.deploy(spec).map_err(told).expect_err("refused");
    assert_snapshot!(refused(&mut w, &wants("f", "gpu", 4)), @"flow `f` wants 4 of pool `gpu`, which has 3; set `gpu = N` below [pools] in dalsegno.toml and restart");
    assert_snapshot!(refused(&mut w, &wants("f", "moon", 1)), @"flow `f` wants 1 of pool `moon`, which is not configured; set `moon = N` below [pools] in dalsegno.toml and restart");
    let both = flow(
        "f",
        &[step("a", &[], json!({"pools": {"db": 1}}))],
        json!({"run": {"pools": {"db": 2}}}),
    );
    assert_snapshot!(refused(&mut w, &both), @"flow `f` wants 3 of pool `db`, which has 2; set `db = N` below [pools] in dalsegno.toml and restart");
}

#[test]
fn ending_one_of_a_thousand_tasks_touches_a_few_rows() {
    let config = Config {
        max_tasks: 10,
        pools: BTreeMap::new(),
        ..Config::default()
    };
    let mut spec = wide(json!({}));
    let items: Vec<u32> = (0..1_000).collect();
    spec["scopes"][0]["items"]["template"] = json!(items);
    let mut w = World::with(config).flow(&spec);
    w.start("wide");
    assert_eq!(w.core.task_count(), 1_001);
    let mut ended = 0;
    while let Some(attempt) = w.core.live_attempts().into_iter().next() {
        w.ok(&format!("1/{}", attempt.task));
        ended += 1;
        // The one that ended, the one that starts, and the one that is next in its queue.
        assert!(w.changes.tasks.len() <= 3, "{:?}", w.changes.tasks);
        assert!(w.changes.scopes.len() <= 1 && w.changes.runs.len() <= 1);
        assert!(w.changes.journal.len() <= 5, "{:?}", w.changes.journal);
    }
    assert_eq!((ended, w.run_state(RunId(1))), (1_001, RunState::Succeeded));
}

#[test]
fn two_full_limits_do_not_stir_up_the_whole_queue() {
    let config = Config {
        max_tasks: 8,
        ..Config::default()
    };
    let items: Vec<u32> = (0..200).collect();
    let mut narrow = wide(json!({}));
    narrow["scopes"][0]["items"]["template"] = json!(items);
    narrow["scopes"][0]["max_parallel"] = json!(5);
    let mut other = narrow.clone();
    other["name"] = json!("other");
    let mut w = World::with(config).flow(&narrow).flow(&other);
    w.start("wide");
    w.start("other");
    for _ in 0..100 {
        let live = w.core.live_attempts();
        let attempt = live.iter().next_back().expect("eight are live");
        w.ok(&format!("{}/{}", attempt.run, attempt.task));
        assert!(w.changes.tasks.len() <= 6, "{:?}", w.changes.tasks);
        assert_eq!(w.core.live_attempts().len(), 8);
    }
}
