//! Backfills at work: items that become runs in their lane, and what people do to them.

use crate::backfill_plans::{at, daily, ends_of, follower, request};
use crate::world::{World, flow, step};
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::{BackfillMode, BackfillState, RunState};
use dalsegno_scheduler::{
    Answer, BackfillChange, Config, FlowName, Input, Limit, Rejected, RunId, Span,
};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// So many days from the tenth of November on.
fn days(flow: &str, days: i64, parallel: u32) -> PlanRequest {
    let first = request(flow, "2026-11-10", "2026-11-11");
    PlanRequest {
        to: first.from + Span::from_mins(days * 24 * 60),
        parallel,
        ..first
    }
}

fn downstream(flow: &str, count: i64, parallel: u32) -> PlanRequest {
    PlanRequest {
        downstream: true,
        ..days(flow, count, parallel)
    }
}

fn pair() -> World {
    World::new()
        .flow(&daily("a", json!({})))
        .flow(&follower("b", ends_of("a")))
}

fn counts(w: &World, backfill: u64) -> String {
    let view = w.core.backfill(backfill).expect("it is unfinished");
    let some = view.counts.iter().filter(|it| it.1 > 0);
    let told = some.map(|(state, count)| format!("{count} {state}"));
    told.collect::<Vec<_>>().join(", ")
}

#[test]
fn items_become_runs_as_their_lane_has_room() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 4, 2));
    assert_snapshot!(w.journal(), @r"
    +0s backfill.running 1
    +0s backfill_item.running 1:0 f
    +0s backfill_item.running 1:1 f
    +0s backfill_item.waiting 1:2 f
    +0s backfill_item.waiting 1:3 f
    +0s run.running 1
    +0s occurrence.ran f backfill:1:0
    +0s run.running 2
    +0s occurrence.ran f backfill:1:1
    +0s task.submitting 1/a
    +0s task.submitting 2/a
    +0s > submit 1/a/1
    +0s > submit 2/a/1
    ");
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s run.succeeded 1
    +0s backfill_item.succeeded 1:0 f
    +0s run.running 3
    +0s occurrence.ran f backfill:1:2
    +0s backfill_item.running 1:2 f
    +0s task.submitting 3/a
    +0s > forget 1/a/1
    +0s > submit 3/a/1
    ");
    assert_eq!(counts(&w, id), "1 waiting, 2 running, 1 succeeded");
    w.check();
    for run in [2, 3, 4] {
        w.ok(&format!("{run}/a"));
    }
    assert_snapshot!(w.journal_of(&["backfill"]), @r"
    +0s backfill_item.succeeded 1:1 f
    +0s occurrence.ran f backfill:1:3
    +0s backfill_item.running 1:3 f
    +0s backfill_item.succeeded 1:2 f
    +0s backfill_item.succeeded 1:3 f
    +0s backfill.finished 1
    ");
    w.check();
    assert!(w.core.backfills().is_empty(), "it left memory");
}

#[test]
fn a_run_has_the_parameters_and_the_interval_that_its_schedule_would_have_given() {
    let mut spec = daily(
        "f",
        json!({"params": [
            {"name": "day", "type": "date"},
            {"name": "size", "type": "int", "default": 3},
        ]}),
    );
    spec["schedules"][0]["params"] = json!({"day": "${{ interval.start }}"});
    let mut w = World::new().flow(&spec);
    w.backfill(&days("f", 1, 1));
    let run = w.run_row(RunId(1));
    assert_eq!(json!(*run.params), json!({"day": "2026-11-10", "size": 3}));
    assert_eq!(run.interval.end, at("2026-11-11T00:00:00Z"));
    assert_eq!(run.trigger.as_str(), "backfill");
    assert_eq!(
        (run.occurrence.as_str(), run.backfill),
        ("backfill:1:0", Some(1))
    );
}

#[test]
fn what_follows_is_run_by_the_backfill_and_not_once_more_by_the_event() {
    let mut spec = follower("b", ends_of("a"));
    spec["params"] = json!([{"name": "upstream", "type": "string"}]);
    let leaf = &mut spec["triggers"][0]["on"]["leaf"];
    leaf["params"] =
        json!({"upstream": "${{ event.data.run }} of ${{ event.data.interval.start }}"});
    let mut w = World::new().flow(&daily("a", json!({}))).flow(&spec);
    let id = w.backfill(&downstream("a", 1, 1));
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s run.succeeded 1
    +0s backfill_item.succeeded 1:0 a
    +0s backfill_item.running 1:1 b
    +0s run.running 2
    +0s occurrence.ran b backfill:1:1
    +0s task.submitting 2/a
    +0s > forget 1/a/1
    +0s > submit 2/a/1
    ");
    assert_snapshot!(w.matches(), @"1 b/t#0 filtered: the run belongs to backfill 1, which itself says what follows");
    let run = w.run_row(RunId(2));
    assert_eq!(
        json!(*run.params),
        json!({"upstream": "1 of 2026-11-10T00:00:00Z"})
    );
    assert_eq!((run.events.len(), run.event_data.len()), (1, 1));
    w.check();
    w.ok("2/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
    assert_eq!(w.last_run(), 2);
}

#[test]
fn a_follower_takes_its_parameters_from_a_run_that_ended_long_ago() {
    let mut first = daily(
        "a",
        json!({"params": [{"name": "region", "type": "string", "default": "eu"}]}),
    );
    first["schedules"][0]["start"] = at("2026-11-01T00:00:00Z").0.into();
    let mut spec = follower("b", ends_of("a"));
    spec["params"] = json!([{"name": "region", "type": "string"}]);
    let leaf = &mut spec["triggers"][0]["on"]["leaf"];
    leaf["params"] = json!({"region": "${{ event.data.params.region }}"});
    let mut w = World::new().flow(&first);
    w.backfill(&days("a", 1, 1));
    w.ok("1/a");
    w.deploy(&spec).expect("valid");
    w.backfill(&downstream("a", 1, 1));
    assert_snapshot!(w.items(2), @"0 b running 2");
    let run = w.run_row(RunId(2));
    assert_eq!(json!(*run.params), json!({"region": "eu"}));
    assert!(run.events.is_empty(), "the event was never on record");
    w.check();
}

#[test]
fn what_comes_after_a_failed_item_is_skipped_until_the_run_is_resumed() {
    let mut w = pair().flow(&follower("c", ends_of("b")));
    let id = w.backfill(&downstream("a", 2, 1));
    w.fail("1/a");
    assert_snapshot!(w.items(id), @r"
    0 a failed 1 (a failed)
    1 b skipped (a of the same interval, from which it follows, did not succeed)
    2 c skipped (b of the same interval, from which it follows, did not succeed)
    3 a running 2
    4 b waiting
    5 c waiting
    ");
    w.check();
    w.resume(RunId(1), None).expect("it may go on");
    assert_snapshot!(w.items(id), @r"
    0 a running 1
    1 b skipped (a of the same interval, from which it follows, did not succeed)
    2 c skipped (b of the same interval, from which it follows, did not succeed)
    3 a running 2
    4 b waiting
    5 c waiting
    ");
    w.ok("2/a");
    w.ok("1/a");
    w.check();
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 1
    1 b running 3
    2 c waiting
    3 a succeeded 2
    4 b waiting
    5 c waiting
    ");
    for run in [3, 4, 5, 6] {
        w.ok(&format!("{run}/a"));
    }
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 1
    1 b succeeded 3
    2 c succeeded 4
    3 a succeeded 2
    4 b succeeded 5
    5 c succeeded 6
    ");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
}

#[test]
fn a_run_that_is_resumed_when_the_backfill_is_over_changes_nothing_of_it() {
    let mut w = pair();
    let id = w.backfill(&downstream("a", 1, 1));
    w.fail("1/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
    w.resume(RunId(1), None).expect("it may go on");
    w.check();
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/a
    +0s run.succeeded 1
    +0s > forget 1/a/2
    ");
    assert_snapshot!(w.items(id), @r"
    0 a failed 1 (a failed)
    1 b skipped (a of the same interval, from which it follows, did not succeed)
    ");
    assert_eq!(w.last_run(), 1);
}

#[test]
fn a_follower_of_two_waits_for_both() {
    let mut w = pair().flow(&follower("c", ends_of("a"))).flow(&follower(
        "d",
        json!({"all_of": [ends_of("b"), ends_of("c")]}),
    ));
    let id = w.backfill(&downstream("a", 1, 4));
    w.ok("1/a");
    w.fail("2/a");
    w.fail("3/a");
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 1
    1 b failed 2 (a failed)
    2 c failed 3 (a failed)
    3 d skipped (b of the same interval, from which it follows, did not succeed)
    ");
    // All is over.
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);

    let id = w.backfill(&PlanRequest {
        mode: BackfillMode::All,
        ..downstream("a", 1, 4)
    });
    w.ok("4/a");
    w.fail("5/a");
    w.resume(RunId(5), None).expect("it may go on");
    w.fail("6/a");
    w.ok("5/a");
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 4
    1 b succeeded 5
    2 c failed 6 (a failed)
    3 d skipped (b of the same interval, from which it follows, did not succeed)
    ");
}

#[test]
fn a_cancelled_run_is_a_failed_item() {
    let mut w = pair();
    let id = w.backfill(&downstream("a", 2, 1));
    w.cancel(RunId(1));
    w.ended("1/a", dalsegno_scheduler::Outcome::Stopped);
    assert_snapshot!(w.items(id), @r"
    0 a failed 1 (cancelled by ada)
    1 b skipped (a of the same interval, from which it follows, did not succeed)
    2 a running 2
    3 b waiting
    ");
    w.check();
}

#[test]
fn a_paused_backfill_makes_no_new_runs() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 4, 2));
    w.change(id, BackfillChange::Pause).expect("it runs");
    w.quiet();
    w.ok("1/a");
    w.ok("2/a");
    assert_snapshot!(w.journal_of(&["run.", "backfill"]), @r"
    +0s run.succeeded 1
    +0s backfill_item.succeeded 1:0 f
    +0s run.succeeded 2
    +0s backfill_item.succeeded 1:1 f
    ");
    w.check();
    w.restart();
    let row = w.backfill_row(id);
    assert_eq!(
        row.reason.as_ref().expect("why").to_string(),
        "paused by ada"
    );
    w.quiet();
    w.change(id, BackfillChange::Resume).expect("it is paused");
    assert_snapshot!(w.journal_of(&["run.", "backfill"]), @r"
    +0s backfill.running 1
    +0s run.running 3
    +0s occurrence.ran f backfill:1:2
    +0s backfill_item.running 1:2 f
    +0s run.running 4
    +0s occurrence.ran f backfill:1:3
    +0s backfill_item.running 1:3 f
    ");
    w.change(id, BackfillChange::Resume)
        .expect("it runs already");
    w.check();
}

#[test]
fn a_cancelled_backfill_reaches_its_runs() {
    let mut w = pair();
    let id = w.backfill(&downstream("a", 3, 2));
    w.quiet();
    w.change(id, BackfillChange::Cancel).expect("it runs");
    assert_snapshot!(w.journal(), @r"
    +0s backfill.cancelling 1 (cancelled by ada)
    +0s backfill_item.skipped 1:1 b (cancelled by ada)
    +0s backfill_item.skipped 1:3 b (cancelled by ada)
    +0s backfill_item.skipped 1:4 a (cancelled by ada)
    +0s backfill_item.skipped 1:5 b (cancelled by ada)
    +0s run.cancelling 1 (cancelled by ada)
    +0s task.stopping 1/a (cancelled by ada)
    +0s run.cancelling 2 (cancelled by ada)
    +0s task.stopping 2/a (cancelled by ada)
    +0s > stop 1/a/1
    +0s > stop 2/a/1
    ");
    w.check();
    let again = w.change(id, BackfillChange::Resume);
    assert_snapshot!(again.expect_err("it cannot go on").to_string(), @"no backfill: backfill 1 is being cancelled, so it cannot go on; plan another");
    w.ended("1/a", dalsegno_scheduler::Outcome::Stopped);
    // It succeeded before the stop came: its run is cancelled all the same, and nothing follows.
    w.ok("2/a");
    assert_snapshot!(w.items(id), @r"
    0 a failed 1 (cancelled by ada)
    1 b skipped (cancelled by ada)
    2 a failed 2 (cancelled by ada)
    3 b skipped (cancelled by ada)
    4 a skipped (cancelled by ada)
    5 b skipped (cancelled by ada)
    ");
    assert_eq!(w.backfill_row(id).state, BackfillState::Cancelled);
    w.check();
    let gone = w.change(id, BackfillChange::Cancel);
    assert_eq!(gone, Err(Rejected::UnknownBackfill(id)));
}

#[test]
fn a_run_that_is_resumed_while_its_backfill_is_cancelled_goes_on_alone() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 3, 1));
    w.fail("1/a");
    w.change(id, BackfillChange::Cancel).expect("it runs");
    w.resume(RunId(1), None).expect("it may go on");
    w.check();
    w.ended("2/a", dalsegno_scheduler::Outcome::Stopped);
    assert_eq!(w.backfill_row(id).state, BackfillState::Cancelled);
    w.check();
    w.ok("1/a");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
    assert_snapshot!(w.items(id), @r"
    0 f failed 1 (a failed)
    1 f failed 2 (cancelled by ada)
    2 f skipped (cancelled by ada)
    ");
    w.check();
}

#[test]
fn runs_of_a_backfill_stand_beside_those_of_the_strategy() {
    for strategy in [
        "sequential",
        "strict_sequential",
        "first_only",
        "last_only",
        "serial_latest_only",
    ] {
        let run = json!({"strategy": strategy, "priority": 0});
        let mut w = World::new().flow(&daily("f", json!({"run": run})));
        let living = w.start("f");
        w.backfill(&days("f", 2, 2));
        let states = |w: &World, runs: [u64; 3]| runs.map(|it| w.run_state(RunId(it)));
        let all_run = [RunState::Running; 3];
        assert_eq!(states(&w, [1, 2, 3]), all_run, "{strategy}");
        w.fail("2/a");
        w.ok(&format!("{living}/a"));
        let newcomer = w.start("f");
        assert_eq!(w.run_state(newcomer), RunState::Running, "{strategy}");
        assert_eq!(w.run_state(RunId(3)), RunState::Running, "{strategy}");
        w.check();
    }
}

#[test]
fn a_flow_that_is_blocked_by_a_failure_can_be_backfilled() {
    let run = json!({"strategy": "strict_sequential", "priority": 0});
    let mut w = World::new().flow(&daily("f", json!({"run": run})));
    w.start("f");
    w.fail("1/a");
    w.backfill(&days("f", 1, 1));
    assert_eq!(w.run_state(RunId(2)), RunState::Running);
}

#[test]
fn a_paused_flow_can_be_backfilled() {
    let mut w = World::new().flow(&daily("f", json!({})));
    w.pause("f");
    let plan = w.plan(&days("f", 1, 1));
    assert_snapshot!(plan.notes.join("\n"), @"f is paused by ada: that stops its schedules and triggers, not a backfill");
    w.backfill(&days("f", 1, 1));
    assert_eq!(w.run_state(RunId(1)), RunState::Running);
}

#[test]
fn a_flow_that_goes_away_pauses_the_backfill_and_loses_nothing() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 3, 1));
    let flow = FlowName::new("f");
    w.decide(Input::Remove { flow }).expect("it is there");
    w.quiet();
    w.ok("1/a");
    assert_snapshot!(w.journal_of(&["backfill"]), @r"
    +0s backfill_item.succeeded 1:0 f
    +0s backfill.paused 1 (the flow file is gone)
    ");
    w.check();
    w.deploy(&daily("f", json!({}))).expect("valid");
    w.change(id, BackfillChange::Resume).expect("it is paused");
    assert_eq!(counts(&w, id), "1 waiting, 1 running, 1 succeeded");
}

#[test]
fn runs_take_the_version_that_is_active_when_they_are_made() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 3, 1));
    w.deploy(&daily("f", json!({"owner": "ada"})))
        .expect("valid");
    w.ok("1/a");
    assert_ne!(w.run_row(RunId(1)).version, w.run_row(RunId(2)).version);
    let mut renamed = daily("f", json!({}));
    renamed["schedules"][0]["name"] = "other".into();
    w.deploy(&renamed).expect("valid");
    w.ok("2/a");
    let row = w.backfill_row(id);
    assert_snapshot!(row.reason.as_ref().expect("why"), @"the flow has no schedule or trigger `s` any more");
    assert_eq!(row.state, BackfillState::Paused);
    w.check();
}

#[test]
fn a_filter_of_the_trigger_counts_here_too() {
    let mut spec = follower("b", ends_of("a"));
    spec["triggers"][0]["on"]["leaf"]["where"] =
        "event.data.interval.start != '2026-11-10T00:00:00Z'".into();
    let mut w = World::new()
        .flow(&daily("a", json!({})))
        .flow(&spec)
        .flow(&follower("c", ends_of("b")));
    let id = w.backfill(&downstream("a", 2, 1));
    w.ok("1/a");
    w.ok("2/a");
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 1
    1 b skipped (`where` was false: event.data.interval.start != '2026-11-10T00:00:00Z')
    2 c skipped (b of the same interval, from which it follows, did not succeed)
    3 a succeeded 2
    4 b running 3
    5 c waiting
    ");
    w.check();
}

#[test]
fn parameters_that_never_fit_pause_the_backfill_after_a_while() {
    let mut spec = daily("f", json!({"params": [{"name": "size", "type": "int"}]}));
    let size = "${{ interval.start == '2025-11-10T00:00:00Z' ? '1' : 'big' }}";
    spec["schedules"][0]["params"] = json!({"size": size});
    let mut w = World::new().flow(&spec);
    let id = w.backfill(&PlanRequest {
        from: at("2025-11-10T00:00:00Z"),
        ..days("f", 1, 1)
    });
    w.ok("1/a");
    assert_snapshot!(counts(&w, id), @"265 waiting, 1 succeeded, 100 failed");
    let row = w.backfill_row(id);
    assert_snapshot!(row.reason.as_ref().expect("why"), @r#"parameters are not usable: parameter `size`: a whole number is expected, and it is "big""#);
    assert_eq!(row.state, BackfillState::Paused);
    w.check();
    let flow = daily("f", json!({}));
    w.deploy(&flow).expect("valid");
    w.change(id, BackfillChange::Resume).expect("it is paused");
    assert_snapshot!(counts(&w, id), @"264 waiting, 1 running, 1 succeeded, 100 failed");
}

#[test]
fn a_plan_is_applied_only_to_the_world_that_it_was_made_for() {
    let mut w = pair();
    let plan = w.plan(&downstream("a", 2, 1));
    let refused = |w: &mut World, plan: &_| {
        let plan = dalsegno_scheduler::backfill::Plan::clone(plan);
        let refused = w.apply(plan, 1, None).expect_err("the world changed");
        assert_eq!(w.changes, Default::default());
        refused.to_string()
    };
    let mut other = plan.clone();
    other.items.pop();
    assert_snapshot!(refused(&mut w, &other), @"the plan is out of date: the token is that of another plan; plan again");
    let first = w.backfill(&days("a", 2, 1));
    assert_snapshot!(refused(&mut w, &plan), @"the plan is out of date: run 1 of a 2026-11-10T00:00:00Z is unfinished; plan again");
    w.ok("1/a");
    assert_snapshot!(refused(&mut w, &plan), @"the plan is out of date: run 2 of a 2026-11-11T00:00:00Z is unfinished; plan again");
    w.ok("2/a");
    assert_eq!(w.backfill_row(first).state, BackfillState::Finished);
    let nothing = w.plan(&days("a", 2, 1));
    assert_snapshot!(refused(&mut w, &nothing), @"no backfill: nothing is to be run: every interval is there; choose another span or mode");
    let plan = w.plan(&PlanRequest {
        mode: BackfillMode::All,
        ..downstream("a", 2, 1)
    });
    w.resume(RunId(1), Some("a")).expect("it may go on");
    assert_snapshot!(refused(&mut w, &plan), @"the plan is out of date: run 1 of a 2026-11-10T00:00:00Z is unfinished; plan again");
    let conflicts = w.plan(&PlanRequest {
        mode: BackfillMode::All,
        ..downstream("a", 2, 1)
    });
    assert_snapshot!(refused(&mut w, &conflicts), @"no backfill: the plan has conflicts: a 2026-11-10T00:00:00Z: run 1 is unfinished; wait for it, or cancel it");
    w.ok("1/a");
    w.deploy(&daily("a", json!({"owner": "ada"})))
        .expect("valid");
    assert_snapshot!(refused(&mut w, &plan), @"the plan is out of date: a has a new version; plan again");
    let flow = FlowName::new("b");
    w.decide(Input::Remove { flow }).expect("it is there");
    assert_snapshot!(refused(&mut w, &plan), @"the plan is out of date: a has a new version; plan again");
}

#[test]
fn a_key_is_claimed_with_the_backfill() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let plan = w.plan(&days("f", 2, 1));
    let answer = w.apply(plan, 1, Some("monday"));
    let duplicate = false;
    assert_eq!(
        answer,
        Ok(Answer::Backfill {
            backfill: 1,
            duplicate
        })
    );
    assert_snapshot!(format!("{:?}", w.changes.claims), @r#"[Claim { key: "backfill:f monday", result: "backfill:1" }]"#);
}

/// Ends the oldest live attempt well; gives whether there was one.
fn end_one(w: &mut World) -> bool {
    let Some(attempt) = w.core.live_attempts().into_iter().next() else {
        return false;
    };
    w.ok(&format!("{}/{}", attempt.run, attempt.task));
    true
}

#[test]
fn a_death_at_any_line_loses_nothing_and_doubles_nothing() {
    let story = |die: bool| {
        let mut w = pair().flow(&follower("c", ends_of("a"))).flow(&follower(
            "d",
            json!({"all_of": [ends_of("b"), ends_of("c")]}),
        ));
        let id = w.backfill(&downstream("a", 5, 3));
        let mut steps = 0;
        loop {
            w.check();
            if die {
                w.restart();
                w.check();
            }
            match steps {
                4 => drop(w.change(id, BackfillChange::Pause)),
                7 => drop(w.change(id, BackfillChange::Resume)),
                8 => drop(w.resume(RunId(2), None)),
                _ => {}
            }
            steps += 1;
            if steps == 2 {
                w.fail("2/a");
            } else if !end_one(&mut w) && steps > 8 {
                break;
            }
        }
        (w.last_run(), w.items(id), w.backfill_row(id).state)
    };
    let (calm, stormy) = (story(false), story(true));
    assert_eq!(calm, stormy);
    assert_eq!((calm.0, calm.2), (20, BackfillState::Finished));
}

#[test]
fn ten_thousand_items_are_one_commit_and_each_further_one_is_small() {
    let mut spec = daily("f", json!({}));
    spec["schedules"][0]["when"] = json!({"cron": {"text": "0 * * * *"}});
    let mut w = World::new().flow(&spec);
    let first = request("f", "2025-09-01", "2025-09-02");
    let id = w.backfill(&PlanRequest {
        to: first.from + Span::from_mins(60 * 10_000),
        parallel: 3,
        ..first
    });
    let changes = &w.changes;
    assert_eq!(changes.backfill_items.len(), 10_000);
    assert_eq!((changes.backfills.len(), changes.runs.len()), (1, 3));
    w.ok("1/a");
    let changes = &w.changes;
    let touched = (
        changes.backfill_items.len(),
        changes.runs.len(),
        changes.tasks.len(),
    );
    assert_eq!(touched, (2, 2, 2), "the one that ended and the next");
    assert_eq!(changes.backfills.len(), 0);
    let view = w.core.backfill(id).expect("it runs");
    assert_eq!(view.running, [RunId(2), RunId(3), RunId(4)]);
    assert_eq!(view.next.len(), 10);
    assert_eq!(view.left[&FlowName::new("f")], 9_999);
    let durations = BTreeMap::from([(FlowName::new("f"), Span::from_secs(3))]);
    assert_eq!(view.rest(&durations), Some(Span::from_secs(9_999)));
    assert_eq!(view.rest(&BTreeMap::new()), None);
    w.change(id, BackfillChange::Cancel).expect("it runs");
    assert_eq!(w.changes.backfill_items.len(), 9_996);
    w.check();
}

/// A flow whose one step has so many items.
fn wide(mut spec: Value, items: u32, more: Value) -> Value {
    let mut work = step("a", &[], more);
    work["scope"] = 1.into();
    let items: Vec<u32> = (0..items).collect();
    spec["scopes"] = json!([{"name": "a", "parent": 0, "items": {"template": items}}]);
    spec["steps"] = json!([work]);
    spec
}

/// A minute of four slots: tasks of a second each, of a backfill of ten days with fifty tasks each, and beside it, each
/// second, of a run of a flow with so many. Gives how many tasks of both ran, and the longest that a run of the flow
/// had waited before its first task began.
fn minute(tasks: u32) -> (u32, u32, Span) {
    let config = Config {
        max_tasks: 4,
        ..Config::default()
    };
    let run = json!({"run": {"strategy": {"parallel": 100}}});
    let busy = flow("busy", &[step("a", &[], json!({}))], run);
    let mut w = World::with(config)
        .flow(&wide(daily("f", json!({})), 50, json!({})))
        .flow(&wide(busy, tasks, json!({})));
    w.backfill(&days("f", 10, 10));
    let (mut of_backfill, mut of_living, mut longest) = (0, 0, Span::ZERO);
    for _ in 0..60 {
        w.start("busy");
        for attempt in w.core.live_attempts() {
            let row = w.run_row(attempt.run);
            if row.backfill.is_some() {
                of_backfill += 1;
            } else {
                of_living += 1;
                if attempt.task.path.as_slice() == [0] {
                    longest = longest.max(w.now - row.created_at);
                }
            }
        }
        let mut limits = w.core.limits().into_iter();
        let lane = limits.find(|it| it.limit == Limit::BackfillTasks);
        assert_eq!(lane.expect("it is in use").used, 2, "half of four");
        w.check();
        // All slots are given out anew.
        let live = w.core.live_attempts();
        w.advance(Span::from_secs(1));
        for attempt in live {
            w.ok(&format!("{}/{}", attempt.run, attempt.task));
        }
    }
    (of_backfill, of_living, longest)
}

#[test]
fn neither_the_backfill_nor_the_living_starve() {
    let no_wait = Span::ZERO;
    assert_eq!(minute(2), (120, 120, no_wait), "the living fill their half");
    let (of_backfill, of_living, _) = minute(9);
    assert_eq!(
        (of_backfill, of_living),
        (120, 120),
        "they want all and more"
    );
    let (of_backfill, of_living, _) = minute(1);
    assert_eq!((of_backfill, of_living), (120, 60), "a slot stays free");
}

#[test]
fn an_idle_house_gives_a_backfill_its_share_and_no_more() {
    let config = Config {
        max_tasks: 10,
        pools: BTreeMap::from([("db".into(), 4)]),
        backfill_share: 25,
        ..Config::default()
    };
    let used = |w: &World| {
        let limits = w.core.limits().into_iter();
        let lanes = limits.filter(|it| {
            matches!(
                it.limit,
                Limit::Backfill(_) | Limit::BackfillTasks | Limit::BackfillPool(_)
            )
        });
        let told = lanes.map(|it| {
            format!(
                "{}: {} of {}, {} wait",
                it.limit, it.used, it.capacity, it.waiting
            )
        });
        told.collect::<Vec<_>>().join("\n")
    };
    let mut w = World::with(config.clone()).flow(&wide(daily("f", json!({})), 9, json!({})));
    w.backfill(&days("f", 3, 2));
    assert_snapshot!(used(&w), @r"
    the runs at a time of backfill 1 (parallel): 2 of 2, 0 wait
    the share of live tasks that backfills have (backfill_share): 2 of 2, 16 wait
    ");
    assert_snapshot!(w.why_run(RunId(1)), @r"
    run 1, task a[0]: the executor is asked to start it
    run 1, task a[1]: the executor is asked to start it
    run 1, task a[2]: waits for the share of live tasks that backfills have (backfill_share): 2 of 2 in use; held by a[0] of run 1, a[1] of run 1 -> raise backfill_share in dalsegno.toml, if backfills may take more
    ");

    // A task that wants more of a pool than the share runs alone, and does not wait for ever.
    let heavy = wide(daily("f", json!({})), 9, json!({"pools": {"db": 3}}));
    let mut w = World::with(config.clone()).flow(&heavy);
    w.backfill(&days("f", 3, 2));
    assert_snapshot!(used(&w), @r"
    the runs at a time of backfill 1 (parallel): 2 of 2, 0 wait
    the share of live tasks that backfills have (backfill_share): 1 of 2, 0 wait
    the share of pool db that backfills have (backfill_share): 1 of 1, 17 wait
    ");
    w.check();

    // Runs that hold a pool have the share of it; their tasks are let through.
    let mut whole = wide(daily("f", json!({})), 9, json!({"pools": {"db": 1}}));
    whole["run"] = json!({"strategy": "sequential", "priority": 0, "pools": {"db": 1}});
    let mut w = World::with(config).flow(&whole);
    w.backfill(&days("f", 3, 2));
    assert_snapshot!(used(&w), @r"
    the runs at a time of backfill 1 (parallel): 1 of 2, 0 wait
    the share of live tasks that backfills have (backfill_share): 2 of 2, 7 wait
    the share of pool db that backfills have (backfill_share): 1 of 1, 1 wait
    ");
    assert_eq!(w.run_state(RunId(2)), RunState::Queued);
    assert_snapshot!(w.why_run(RunId(2)), @"run 2: waits for the share of pool db that backfills have (backfill_share): 1 of 1 in use; held by run 1 -> raise backfill_share in dalsegno.toml, if backfills may take more");
    w.check();
}

#[test]
fn a_resumed_run_waits_for_room_in_the_lane() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 3, 1));
    w.fail("1/a");
    w.resume(RunId(1), None).expect("it may go on");
    assert_eq!(counts(&w, id), "1 waiting, 2 running");
    assert_snapshot!(w.why_run(RunId(1)), @"run 1: waits for the runs at a time of backfill 1 (parallel): 1 of 1 in use -> wait; dalsegno backfill show 1 tells how far it is");
    w.check();
    w.ok("2/a");
    // Two are unfinished until now, so no third was made.
    assert_eq!(counts(&w, id), "1 waiting, 1 running, 1 succeeded");
    w.ok("1/a");
    w.ok("3/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
}

#[test]
fn what_a_pause_or_a_blackout_holds_is_not_run_by_a_backfill_besides() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let request = days("f", 13, 10);
    let before = w.plan(&request);
    w.pause("f");
    w.advance(Span::from_mins(24 * 60));
    let plan = w.plan(&days("f", 14, 10));
    assert_snapshot!(plan.conflicts.join("\n"), @"f 2026-11-22T00:00:00Z: held (the flow was paused by ada: maintenance), and the end of the pause may run it; `dalsegno unpause f --catch-up none` first, or leave it out");
    assert_eq!(before.items.len(), 12, "the 22nd is not over yet");
    w.unpause_with("f", dalsegno_scheduler::CatchUp::None);
    assert_eq!(w.plan(&request).conflicts, Vec::<String>::new());
    w.backfill(&request);
    for run in 1..=13 {
        w.ok(&format!("{run}/a"));
    }
    let intervals: std::collections::BTreeSet<_> =
        (1..=13).map(|it| w.run_row(RunId(it)).interval).collect();
    assert_eq!(
        (w.last_run(), intervals.len()),
        (13, 13),
        "each interval has one run"
    );

    let mut spec = daily("night", json!({}));
    let window = json!({"daily": {"from": "23:00", "to": "09:00"}});
    spec["blackouts"] =
        json!([{"name": "night", "timezone": "UTC", "action": "defer", "window": window}]);
    let mut w = World::new().flow(&spec);
    w.advance(Span::from_mins(24 * 60));
    let plan = w.plan(&days("night", 14, 10));
    assert_snapshot!(plan.conflicts.join("\n"), @"night 2026-11-22T00:00:00Z: held by blackout night, until 2026-11-23T09:00:00Z, and then it may run; leave it out, or wait until then");
}

#[test]
fn a_follower_of_any_end_runs_after_a_failure_too() {
    let finished = json!({"leaf": {"source": {"flow": {"flow": "a", "on": "finished"}}}});
    let mut w = World::new()
        .flow(&daily("a", json!({})))
        .flow(&follower("b", finished));
    let id = w.backfill(&downstream("a", 1, 1));
    w.fail("1/a");
    assert_snapshot!(w.items(id), @r"
    0 a failed 1 (a failed)
    1 b running 2
    ");
    w.check();
    w.ok("2/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
}

#[test]
fn a_follower_of_any_flow_waits_for_all_and_runs_by_those_that_succeeded() {
    let any = json!({"any_of": [ends_of("b"), ends_of("a")]});
    let mut w = World::new()
        .flow(&daily("a", json!({})))
        .flow(&follower("b", ends_of("a")))
        .flow(&follower("c", any));
    let id = w.backfill(&downstream("a", 1, 3));
    w.ok("1/a");
    assert_eq!(w.last_run(), 2, "b is not over");
    w.fail("2/a");
    assert_snapshot!(w.items(id), @r"
    0 a succeeded 1
    1 b failed 2 (a failed)
    2 c running 3
    ");
    assert_eq!(w.run_row(RunId(3)).events, [1], "the end of a alone");
    w.check();
    w.ok("3/a");

    // None of them succeeds.
    let id = w.backfill(&PlanRequest {
        mode: BackfillMode::All,
        ..downstream("a", 1, 3)
    });
    w.fail("4/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
    assert_eq!(w.last_run(), 4);
}

/// A backfill of two days, of which the first has begun when a program starts that cannot read the stored version.
fn unreadable() -> (World, u64) {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days("f", 2, 1));
    w.unreadable();
    (w, id)
}

#[test]
fn an_item_whose_run_cannot_be_read_ends_after_the_restart() {
    let (mut w, id) = unreadable();
    w.advance(Span::from_secs(1));
    assert_snapshot!(w.items(id), @r"
    0 f failed 1 (run 1 is not there: its version of the flow cannot be read by this version of Dalsegno)
    1 f waiting
    ");
    assert_eq!(
        w.backfill_row(id).state,
        BackfillState::Paused,
        "no item can have a run"
    );
    let other = json!({"params": [{"name": "region", "type": "string", "default": "north"}]});
    w.deploy(&daily("f", other)).expect("valid");
    w.change(id, BackfillChange::Resume).expect("it goes on");
    w.ok("2/a");
    assert_eq!(w.backfill_row(id).state, BackfillState::Finished);
}

#[test]
fn a_backfill_whose_run_cannot_be_read_is_cancelled_whole() {
    let (mut w, id) = unreadable();
    w.change(id, BackfillChange::Cancel).expect("cancelled");
    assert_eq!(w.backfill_row(id).state, BackfillState::Cancelled);
}
