//! Every cause that `why` knows: how it comes about, its code, its words, and what to do.

use crate::backfill_plans::{daily, request};
use crate::world::{DAWN, World, explained, flow, retry, step};
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::spec::HookOn;
use dalsegno_scheduler::{
    BackfillChange, Config, Explanation, Input, Limit, Outcome, PastOutage, Reason, RunId, STATES,
    Span, SubmissionWait, Timestamp, cure, explain_at, explain_occurrence, explain_run,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

// How they are told.

/// The explanation with this code, these words and this cure; an empty cure is none.
fn tells(all: &[Explanation], code: &str, words: &str, cure: &str) -> Explanation {
    let fits = |told: Option<&str>| match told {
        Some(told) => !cure.is_empty() && told.contains(cure),
        None => cure.is_empty(),
    };
    let mut found = all
        .iter()
        .filter(|it| it.code == code && it.text.contains(words));
    found
        .find(|it| fits(it.cure.as_deref()))
        .cloned()
        .unwrap_or_else(|| panic!("no {code}: {words} -> {cure}\namong\n{}", listed(all)))
}

fn listed(all: &[Explanation]) -> String {
    let codes = all.iter().map(|it| it.code.as_str()).collect::<Vec<_>>();
    format!("{}\n{}", codes.join(", "), explained(all))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a valid time")
}

impl World {
    /// Of flow `f`.
    fn flow_tells(&self, code: &str, words: &str, cure: &str) -> Option<Timestamp> {
        let all = self.core.why_flow("f", self.now).expect("known");
        tells(&all, code, words, cure).until
    }

    /// Of a run that is not finished.
    fn run_tells(&self, run: u64, code: &str, words: &str, cure: &str) -> Option<Timestamp> {
        let all = self.core.why_run(RunId(run), self.now).expect("unfinished");
        tells(&all, code, words, cure).until
    }

    /// Of a finished run.
    fn end_tells(&self, run: u64, code: &str, words: &str, cure: &str) {
        let it = self.snapshot(RunId(run));
        tells(&explain_run(&it.run, &it.tasks), code, words, cure);
    }

    /// Of any occurrence of flow `f`.
    fn ledger_tells(&self, code: &str, words: &str, cure: &str) -> Option<Timestamp> {
        let rows = self.facts("f", self.now).occurrences;
        let all: Vec<_> = rows.iter().map(explain_occurrence).collect();
        tells(&all, code, words, cure).until
    }

    /// Of flow `f` at a moment.
    fn past(&self, time: &str) -> Vec<Explanation> {
        explain_at("f", at(time), self.now, &self.facts("f", at(time)))
    }

    /// Of an event that came at dawn.
    fn event_tells(&self, code: &str, words: &str, cure: &str) {
        tells(&self.past(DAWN), code, words, cure);
    }

    fn come(&mut self, kinds: &str) {
        for kind in kinds.split_whitespace() {
            self.event(kind, &format!("{kind}{}", self.now.0), json!({}));
            self.now = self.now + Span(1);
        }
    }
}

// What they are about.

fn with(mut into: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        into[name] = value.clone();
    }
    into
}

/// `f`, of one step.
fn plain(more: Value) -> Value {
    flow("f", &[step("a", &[], json!({}))], more)
}

/// `f`, of one step with these fields.
fn one(more: Value) -> Value {
    flow("f", &[step("a", &[], more)], json!({}))
}

fn strategy(it: Value) -> World {
    World::new().flow(&plain(json!({"run": {"strategy": it}})))
}

/// `f`, due every hour.
fn hourly(schedule: Value, more: Value) -> Value {
    cron("0 * * * *", schedule, more)
}

fn cron(text: &str, schedule: Value, more: Value) -> Value {
    let when = json!({"name": "s", "when": {"cron": {"text": text}}, "timezone": "UTC"});
    let more = with(json!({"run": {"strategy": {"parallel": 10}}}), more);
    plain(with(more, json!({"schedules": [with(when, schedule)]})))
}

fn kind(kind: &str) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}}})
}

fn both() -> Value {
    json!({"all_of": [kind("a"), kind("b")]})
}

/// `f`, started by events.
fn triggered(on: Value, more: Value) -> Value {
    let it = json!({"name": "t", "on": on, "join_on": "none"});
    plain(json!({"triggers": [with(it, more)], "run": {"strategy": {"parallel": 9}}}))
}

fn waits(on: Value, more: Value, kinds: &str) -> World {
    let mut w = World::new().flow(&triggered(on, more));
    w.come(kinds);
    w
}

fn weekends(roll: &str) -> Value {
    let calendar = json!({"name": "office", "weekdays": ["Sat", "Sun"]});
    json!({"calendar": {"calendar": calendar, "roll": roll}})
}

fn night(action: &str) -> Value {
    let window = json!({"daily": {"from": "05:00", "to": "08:30"}});
    json!({"blackouts": [{"name": "night", "timezone": "UTC", "window": window, "action": action}]})
}

fn misfire(down: &str) -> Value {
    json!({"misfire": {"down": down, "paused": "skip", "max": 2, "window": 18_000_000_000_u64}})
}

fn remove(w: &mut World) {
    w.decide(Input::Remove { flow: "f".into() }).expect("known");
}

fn invalid(w: &mut World) {
    let (flow, file, message) = ("f".into(), "flows/f.yaml".into(), "line 3: no".into());
    w.decide(Input::Invalid {
        flow,
        file,
        message,
    })
    .expect("taken");
}

/// A run whose only task ended like this.
fn failed(reason: Reason) -> World {
    let mut w = World::new().flow(&one(json!({})));
    w.start("f");
    w.ended("1/a", Outcome::Failed(reason));
    w
}

/// `f` runs `c`, and waits for it.
fn outer(child: Option<Value>) -> World {
    let w = World::new();
    let w = match child {
        Some(run) => w.flow(&flow(
            "c",
            &[step("x", &[], json!({}))],
            json!({"run": run}),
        )),
        None => w,
    };
    w.flow(&one(json!({"run": {"flow": {"flow": "c", "wait": true}}})))
}

/// Items that run at the same time.
fn wide(more: Value) -> Value {
    let items = json!([{"name": "a", "parent": 0, "items": {"template": [1, 2, 3]}}]);
    let spec = flow("f", &[step("a", &[], json!({"scope": 1}))], json!({}));
    with(with(spec, json!({"scopes": items})), more)
}

fn days(days: i64, parallel: u32) -> PlanRequest {
    let first = request("f", "2026-11-10", "2026-11-11");
    let to = first.from + Span::from_mins(days * 24 * 60);
    PlanRequest {
        to,
        parallel,
        ..first
    }
}

// Flows that do not run.

#[test]
fn removed() {
    let mut w = World::new().flow(&plain(json!({})));
    remove(&mut w);
    w.flow_tells(
        "flow_removed",
        "the flow file is gone",
        "put flows/story.yaml back",
    );
}

#[test]
fn invalid_with_a_good_version() {
    let mut w = World::new().flow(&plain(json!({})));
    invalid(&mut w);
    w.flow_tells(
        "flow_invalid",
        "line 3: no; the last good version stays active",
        "dalsegno check flows/f.yaml",
    );
}

#[test]
fn invalid_without_a_good_version() {
    let mut w = World::new();
    invalid(&mut w);
    w.flow_tells(
        "flow_invalid",
        "no version of it was ever valid",
        "dalsegno check flows/f.yaml",
    );
}

#[test]
fn paused() {
    let mut w = World::new().flow(&plain(json!({})));
    w.pause("f");
    w.flow_tells(
        "flow_paused",
        "paused by ada: maintenance",
        "dalsegno unpause f",
    );
}

#[test]
fn blocked_by_a_failure() {
    let mut w = strategy(json!("strict_sequential"));
    w.start("f");
    w.start("f");
    w.fail("1/a");
    w.flow_tells(
        "blocked_by_failure",
        "run 1 failed",
        "dalsegno resume 1, or dalsegno unpause f",
    );
    w.run_tells(
        2,
        "blocked_by_failure",
        "run 1 failed",
        "dalsegno resume 1, or dalsegno unpause f",
    );
}

#[test]
fn only_people_start_it() {
    World::new().flow(&plain(json!({}))).flow_tells(
        "only_people",
        "neither schedule nor trigger",
        "dalsegno run f",
    );
}

// Schedules.

#[test]
fn the_next_occurrence() {
    let w = World::new().flow(&hourly(json!({}), json!({})));
    let until = w.flow_tells("next_occurrence", "is due at 2026-11-22T07:00:00Z", "");
    assert_eq!(until, Some(at("2026-11-22T07:00:00Z")));
    let until = w.ledger_tells("expected", "expected", "");
    assert_eq!(until, Some(at("2026-11-22T07:00:00Z")));
}

#[test]
fn held_while_paused() {
    let mut w = World::new().flow(&hourly(json!({}), json!({})));
    w.pause("f");
    w.until_due();
    w.flow_tells("flow_paused", "paused by ada", "dalsegno unpause f");
    w.ledger_tells(
        "flow_paused",
        "expected: the flow was paused by ada",
        "dalsegno unpause f",
    );
}

#[test]
fn a_closed_day_is_ahead() {
    let w = World::new().flow(&hourly(weekends("skip"), json!({})));
    w.flow_tells(
        "next_occurrence",
        "it will be skipped: 2026-11-22 (Sunday) is a closed day",
        "",
    );
}

#[test]
fn moved_by_a_calendar() {
    let w = World::new().flow(&cron("0 7 22 * *", weekends("next"), json!({})));
    let until = w.flow_tells("next_occurrence", "moved from 2026-11-22 (Sunday)", "");
    assert_eq!(until, Some(at("2026-11-23T07:00:00Z")));
}

#[test]
fn skipped_by_a_calendar() {
    let mut w = World::new().flow(&hourly(weekends("skip"), json!({})));
    w.until_due();
    w.ledger_tells(
        "calendar",
        "2026-11-22 is a closed day of calendar office",
        "dalsegno run f",
    );
}

#[test]
fn moved_to_where_another_one_is() {
    let mut w =
        World::at("2026-11-21T00:30:00Z").flow(&cron("0 1 * * *", weekends("next"), json!({})));
    w.until_due();
    w.until_due();
    w.ledger_tells(
        "coalesced_by_roll",
        "cron:s:2026-11-21T01:00:00Z, which stands for it",
        "",
    );
}

#[test]
fn a_blackout_now() {
    let w = World::new().flow(&hourly(json!({}), night("skip")));
    let until = w.flow_tells(
        "blackout",
        "blackout night, until 2026-11-22T08:30:00Z",
        "dalsegno run f",
    );
    assert_eq!(until, Some(at("2026-11-22T08:30:00Z")));
}

#[test]
fn deferred_by_a_blackout() {
    let mut w = World::new().flow(&hourly(json!({}), night("defer")));
    w.until_due();
    let rows = w.core.why_flow("f", w.now).expect("known");
    let told = rows
        .iter()
        .find(|it| it.subject == "cron:s:2026-11-22T07:00:00Z");
    let told = told.expect("it is told");
    assert_eq!(
        (told.code.as_str(), told.until),
        ("blackout", Some(at("2026-11-22T08:30:00Z")))
    );
    assert!(
        told.cure
            .as_ref()
            .expect("a cure")
            .contains("dalsegno run f")
    );
}

#[test]
fn skipped_by_a_blackout() {
    let mut w = World::new().flow(&hourly(json!({}), night("skip")));
    w.until_due();
    w.ledger_tells("blackout", "skipped: blackout night", "dalsegno run f");
}

#[test]
fn a_schedule_that_ended() {
    let mut w = World::new().flow(&hourly(
        json!({"end": at("2026-11-22T07:30:00Z").0}),
        json!({}),
    ));
    w.until_due();
    w.flow_tells(
        "schedule_ended",
        "ended at 2026-11-22T07:30:00Z",
        "move or remove `end`",
    );
}

#[test]
fn a_schedule_without_a_future() {
    let w = World::new().flow(&cron("0 0 30 2 *", json!({}), json!({})));
    w.flow_tells(
        "no_future_date",
        "none of the schedule's days comes again",
        "the 30th of February",
    );
}

#[test]
fn a_schedule_that_was_changed() {
    let mut w = World::new().flow(&hourly(json!({}), json!({})));
    w.deploy(&cron("30 * * * *", json!({}), json!({})))
        .expect("valid");
    w.ledger_tells("schedule_changed", "changed before it was due", "");
}

#[test]
fn missed_while_down() {
    let mut w = World::new().flow(&hourly(misfire("skip"), json!({})));
    w.advance(Span::from_mins(200));
    w.ledger_tells(
        "missed_down",
        "missed: the daemon was down from 2026-11-22T07:00:00Z",
        "dalsegno backfill plan f",
    );
}

#[test]
fn too_many_missed() {
    let mut w = World::new().flow(&cron("* * * * *", misfire("skip"), json!({})));
    w.advance(Span::from_mins(1_000));
    w.ledger_tells(
        "missed_too_many",
        "older occurrences were missed",
        "misfire: { max:",
    );
}

#[test]
fn missed_too_long_ago() {
    let mut w = World::new().flow(&hourly(misfire("all"), json!({})));
    w.advance(Span::from_mins(10 * 60));
    w.ledger_tells(
        "missed_too_old",
        "older than the misfire window of 5h",
        "misfire: { window:",
    );
}

#[test]
fn coalesced() {
    let mut w = World::new().flow(&hourly(misfire("latest"), json!({})));
    w.advance(Span::from_mins(200));
    w.ledger_tells("coalesced", "cron:s:2026-11-22T09:00:00Z stands for it", "");
    w.ledger_tells("ran", "ran: run 1", "");
}

// Events.

#[test]
fn waits_for_events() {
    waits(both(), json!({}), "").flow_tells(
        "waiting_for",
        "waits for event a and event b",
        "dalsegno run f starts it without",
    );
}

#[test]
fn half_of_the_set_is_there() {
    let w = waits(both(), json!({"within": 60_000_000}), "a");
    let until = w.flow_tells(
        "waiting_for",
        "waits for event b; 1 event waits, the first since 2026-11-22T06:00:00Z",
        "event b must come",
    );
    assert_eq!(until, Some(at("2026-11-22T06:01:00Z")));
}

#[test]
fn a_set_that_a_pause_holds() {
    let mut w = World::new().flow(&triggered(kind("a"), json!({})));
    w.pause("f");
    w.come("a");
    w.flow_tells(
        "flow_paused",
        "maintenance; 1 event waits",
        "dalsegno unpause f",
    );
}

#[test]
fn a_set_that_a_blackout_holds() {
    let mut w = World::new().flow(&with(triggered(kind("a"), json!({})), night("defer")));
    w.come("a");
    let until = w.flow_tells("blackout", "1 event waits", "dalsegno run f");
    assert_eq!(until, Some(at("2026-11-22T08:30:00Z")));
}

#[test]
fn an_event_that_a_blackout_skips() {
    let mut w = World::new().flow(&with(triggered(kind("a"), json!({})), night("skip")));
    w.come("a");
    w.event_tells("blackout", "refused: blackout night", "dalsegno run f");
}

#[test]
fn debounced() {
    let w = waits(kind("a"), json!({"debounce": {"quiet": 10_000_000}}), "a");
    let until = w.flow_tells(
        "gathering",
        "the set is complete; more events are gathered until 2026-11-22T06:00:10Z",
        "",
    );
    assert_eq!(until, Some(at("2026-11-22T06:00:10Z")));
}

#[test]
fn a_batch() {
    let w = waits(
        kind("a"),
        json!({"consume": {"batch": {"max": 3, "window": 60_000_000}}}),
        "a a",
    );
    let until = w.flow_tells("gathering", "2 events wait", "");
    assert_eq!(until, Some(at("2026-11-22T06:01:00Z")));
}

#[test]
fn expired() {
    let mut w = waits(both(), json!({"within": 60_000_000}), "a");
    w.until_due();
    w.event_tells(
        "set_expired",
        "expired: event b did not arrive within 1m",
        "raise `within`",
    );
}

#[test]
fn emptied_by_a_reset() {
    let reset = json!({"reset_at": {"when": {"cron": {"text": "0 7 * * *"}}, "timezone": "UTC"}});
    let mut w = waits(both(), reset, "a");
    w.until_due();
    w.event_tells(
        "set_reset",
        "emptied at 2026-11-22T07:00:00Z (reset_at)",
        "replay the events",
    );
}

#[test]
fn replaced_by_a_newer_event() {
    waits(both(), json!({"consume": "latest"}), "a a").event_tells(
        "replaced_by_event",
        "event 2 took its place",
        "`consume: each`",
    );
}

#[test]
fn filtered() {
    let mut on = kind("a");
    on["leaf"]["where"] = "event.data.n > 10".into();
    let mut w = World::new().flow(&triggered(on, json!({})));
    w.event("a", "1", json!({"n": 3}));
    w.event_tells(
        "filter_false",
        "filtered: `where` was false: event.data.n > 10",
        "dalsegno events replay",
    );
    w.event("a", "2", json!({}));
    w.event_tells("filter_failed", "No such key: n", "repair the expression");
}

#[test]
fn a_field_is_missing() {
    let mut on = kind("a");
    on["leaf"]["fields"] = json!({"day": "date"});
    let params = json!({"params": [{"name": "day", "type": "date"}]});
    let mut w = World::new().flow(&with(triggered(on, json!({})), params));
    w.come("a");
    w.event_tells(
        "field_missing",
        "filtered: the event has no field `date`, from which parameter `day` is taken",
        "send `date`, or give the parameter a default",
    );
}

#[test]
fn parameters_that_do_not_fit() {
    let mut spec = triggered(kind("a"), json!({}));
    spec["params"] = json!([{"name": "n", "type": "int"}]);
    spec["triggers"][0]["on"]["leaf"]["params"] = json!({"n": "${{ event.data.n }}"});
    let mut w = World::new().flow(&spec);
    w.come("a");
    w.event_tells(
        "bad_params",
        "parameters are not usable: n: ",
        "correct the parameters",
    );
    w.ledger_tells(
        "bad_params",
        "skipped: parameters are not usable",
        "in the flow file",
    );
}

#[test]
fn an_event_of_a_backfill() {
    let on = json!({"leaf": {"source": {"flow": {"flow": "up", "on": "succeeded"}}}});
    let follows = flow(
        "f",
        &[step("a", &[], json!({}))],
        json!({"triggers": [{"name": "t", "on": on}]}),
    );
    let mut w = World::new().flow(&daily("up", json!({}))).flow(&follows);
    w.backfill(&PlanRequest {
        flow: "up".into(),
        ..days(1, 1)
    });
    w.ok("1/a");
    w.event_tells("of_backfill", "belongs to backfill 1", "--downstream");
}

#[test]
fn the_trigger_was_changed() {
    let mut w = waits(both(), json!({}), "a");
    w.deploy(&triggered(
        json!({"all_of": [kind("b"), kind("c")]}),
        json!({}),
    ))
    .expect("valid");
    w.event_tells(
        "trigger_changed",
        "changed while the event waited",
        "replay the event",
    );
}

#[test]
fn what_it_follows_does_not_run() {
    let on = json!({"leaf": {"source": {"flow": {"flow": "up", "on": "succeeded"}}}});
    let mut w = World::new().flow(&triggered(on, json!({})));
    w.flow_tells("waiting_for", "up does not exist", "flow up must come");
    let strict = json!({"run": {"strategy": "strict_sequential"}});
    w.deploy(&flow("up", &[step("a", &[], json!({}))], strict))
        .expect("valid");
    w.start("up");
    w.fail("1/a");
    w.flow_tells(
        "waiting_for",
        "up is blocked by a failed run",
        "flow up must come",
    );
    w.pause("up");
    w.flow_tells("waiting_for", "up is paused", "flow up must come");
    w.decide(Input::Remove { flow: "up".into() })
        .expect("known");
    w.flow_tells(
        "waiting_for",
        "up has no flow file any more",
        "flow up must come",
    );
}

#[test]
fn the_deadline_passed() {
    let mut w = World::new().flow(&triggered(
        kind("ready"),
        json!({"timezone": "UTC", "on_deadline": {"at": "07:00", "action": "alert"}}),
    ));
    w.until_due();
    w.ledger_tells(
        "deadline",
        "no run had started by the deadline, for event ready had not come",
        "see why event ready did not come",
    );
}

// Runs that wait.

#[test]
fn the_strategy_is_full() {
    let mut w = strategy(json!("sequential"));
    w.start("f");
    w.start("f");
    w.run_tells(
        2,
        "limit_full",
        "the run strategy of flow f (sequential); running: 1",
        "cancel a run of f",
    );
}

#[test]
fn first_only_refuses() {
    let mut w = strategy(json!("first_only"));
    w.start("f");
    w.try_start("f", json!({})).expect("it is answered");
    w.ledger_tells(
        "strategy_refused",
        "run 1 is unfinished and the strategy is first_only",
        "wait for run 1 to end",
    );
}

#[test]
fn last_only_replaces() {
    let mut w = strategy(json!("last_only"));
    w.start("f");
    w.start("f");
    w.run_tells(
        1,
        "replaced_by",
        "replaced by run 2; its last attempts are being stopped",
        "",
    );
    w.ended("1/a", Outcome::Stopped);
    w.end_tells(1, "replaced_by", "replaced by run 2", "dalsegno resume 1");
}

#[test]
fn the_pool_is_full() {
    let mut w = strategy(json!({"parallel": 2}));
    w.deploy(&with(
        one(json!({"pools": {"db": 2}})),
        json!({"run": {"strategy": {"parallel": 2}, "priority": 0}}),
    ))
    .expect("valid");
    w.start("f");
    w.start("f");
    w.run_tells(
        2,
        "limit_full",
        "pool db: 2 of 2 in use, 2 wanted; held by a of run 1",
        "make pool db larger in dalsegno.toml",
    );
}

#[test]
fn all_tasks_that_may_run_do() {
    let config = Config {
        max_tasks: 1,
        ..Config::default()
    };
    let mut w = World::with(config).flow(&wide(json!({})));
    w.start("f");
    w.run_tells(
        1,
        "limit_full",
        "max_tasks): 1 of 1 in use; held by a[0] of run 1",
        "raise max_tasks in dalsegno.toml",
    );
}

#[test]
fn the_run_has_enough_tasks() {
    let run = json!({"strategy": "sequential", "priority": 0, "max_parallel_tasks": 1});
    let mut w = World::new().flow(&wide(json!({"run": run})));
    w.start("f");
    w.run_tells(
        1,
        "limit_full",
        "max_parallel_tasks of run 1: 1 of 1 in use",
        "raise max_parallel_tasks in the flow file",
    );
}

#[test]
fn the_block_has_enough_tasks() {
    let mut spec = wide(json!({}));
    spec["scopes"][0]["max_parallel"] = 2.into();
    let mut w = World::new().flow(&spec);
    w.start("f");
    w.run_tells(
        1,
        "limit_full",
        "max_parallel of a in run 1: 2 of 2 in use",
        "raise max_parallel of a in the flow file",
    );
}

#[test]
fn the_lane_of_a_backfill_is_full() {
    let reason = Reason::LimitFull {
        limit: Limit::Backfill(7),
        capacity: 1,
        used: 1,
        wanted: 1,
    };
    assert_eq!(
        reason.to_string(),
        "waits for the runs at a time of backfill 7 (parallel): 1 of 1 in use"
    );
    assert_eq!(
        cure(&reason, "f").expect("a cure"),
        "wait; dalsegno backfill show 7 tells how far it is"
    );
}

#[test]
fn backfills_have_had_their_share() {
    let config = Config {
        max_tasks: 2,
        ..Config::default()
    };
    let spec = with(
        daily("f", json!({})),
        json!({"scopes": wide(json!({}))["scopes"], "steps": wide(json!({}))["steps"]}),
    );
    let mut w = World::with(config).flow(&spec);
    w.backfill(&days(1, 1));
    w.run_tells(
        1,
        "limit_full",
        "(backfill_share): 1 of 1 in use; held by a[0] of run 1",
        "raise backfill_share in dalsegno.toml",
    );
}

#[test]
fn a_backfill_is_paused_and_an_item_follows_a_failure() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let id = w.backfill(&days(2, 1));
    w.change(id, BackfillChange::Pause).expect("it is there");
    assert!(w.backfill_row(id).finished_at.is_none());
    let paused = Reason::PausedBy { by: "ada".into() };
    assert_eq!(
        cure(&paused, "f").expect("a cure"),
        "dalsegno backfill resume goes on"
    );
    let after = Reason::BackfillUpstream { flow: "up".into() };
    assert!(
        cure(&after, "f")
            .expect("a cure")
            .contains("repair and resume the failed run of up")
    );
}

// Runs on their way.

#[test]
fn the_next_attempt_has_its_time() {
    let mut w = World::new().flow(&one(retry(1)));
    w.start("f");
    w.fail("1/a");
    let until = w.run_tells(1, "retry_at", "attempt 1 failed (exit code 1)", "");
    assert_eq!(until, Some(at("2026-11-22T06:00:01Z")));
}

#[test]
fn asked_to_start_and_then_running() {
    let mut w = World::new().flow(&one(json!({"timeout": 60_000_000})));
    w.start("f");
    w.run_tells(1, "submitting", "the executor is asked to start it", "");
    w.began("1/a");
    w.advance(Span::from_secs(5));
    let until = w.run_tells(1, "running", "attempt 1 runs for 5s", "");
    assert_eq!(until, Some(at("2026-11-22T06:01:00Z")));
}

#[test]
fn its_attempt_is_being_stopped() {
    let mut w = World::new().flow(&one(with(retry(1), json!({"timeout": 60_000_000}))));
    w.start("f");
    w.began("1/a");
    w.advance(Span::from_secs(60));
    w.run_tells(
        1,
        "attempt_timeout",
        "timed out after 1m; waits until the attempt is dead",
        "",
    );
}

#[test]
fn it_is_being_cancelled() {
    let mut w = World::new().flow(&one(json!({})));
    w.start("f");
    w.cancel(RunId(1));
    w.run_tells(
        1,
        "cancelled_by",
        "cancelled by ada; its last attempts are being stopped",
        "",
    );
    w.ended("1/a", Outcome::Stopped);
    w.end_tells(1, "cancelled_by", "cancelled by ada", "dalsegno resume 1");
}

#[test]
fn it_waits_for_a_run_of_another_flow() {
    let mut w = outer(Some(json!({})));
    w.start("f");
    w.run_tells(
        1,
        "waits_for_run",
        "waits for run 2 of flow c, which is running",
        "",
    );
}

// Runs that ended.

#[test]
fn it_succeeded() {
    let mut w = World::new().flow(&one(json!({})));
    w.start("f");
    w.ok("1/a");
    w.end_tells(1, "ended", "succeeded", "");
}

#[test]
fn the_run_it_waited_for_failed() {
    let mut w = outer(Some(json!({})));
    w.start("f");
    w.fail("2/x");
    w.end_tells(
        1,
        "sub_flow",
        "run 2, which it waited for, is failed",
        "dalsegno why 2",
    );
}

#[test]
fn the_flow_it_runs_refused() {
    let mut w = outer(Some(json!({"strategy": "first_only"})));
    w.start("c");
    w.start("f");
    w.end_tells(
        2,
        "sub_flow_refused",
        "no run of flow c was made: run 1 is unfinished",
        "wait for run 1 to end",
    );
}

#[test]
fn the_flow_it_runs_is_unknown() {
    let mut w = outer(None);
    w.start("f");
    w.end_tells(
        1,
        "sub_flow_unknown",
        "there is no flow c",
        "add a flow file for c",
    );
}

#[test]
fn flows_in_flows_are_too_deep() {
    failed(Reason::SubFlowDepth {
        flow: "c".into(),
        max: 8,
    })
    .end_tells(
        1,
        "sub_flow_depth",
        "inside more than 8 others",
        "nest fewer flows",
    );
}

#[test]
fn the_outer_run_was_stopped() {
    let mut w = outer(Some(json!({})));
    w.start("f");
    w.cancel(RunId(1));
    w.run_tells(
        2,
        "parent_stopped",
        "a of run 1 waits for it, and is stopped: cancelled by ada",
        "",
    );
    w.ended("2/x", Outcome::Stopped);
    w.end_tells(2, "parent_stopped", "cancelled by ada", "dalsegno why 1");
}

#[test]
fn exit_code() {
    let w = failed(Reason::Exit { status: 3 });
    w.end_tells(1, "exit", "failed: exit code 3", "read its log");
    w.end_tells(1, "tasks_failed", "a failed", "dalsegno resume 1");
}

#[test]
fn not_to_be_retried() {
    failed(Reason::DoNotRetry { status: 64 }).end_tells(
        1,
        "do_not_retry",
        "exit code 64, which means: do not retry",
        "it asked not to be repeated",
    );
}

#[test]
fn an_error_of_its_own_code() {
    let message = "KeyError: 'x'".to_owned();
    failed(Reason::UserError { message }).end_tells(1, "user_error", "KeyError", "read its log");
}

#[test]
fn it_cannot_run_as_it_is() {
    let message = "no such image".to_owned();
    failed(Reason::Configuration { message }).end_tells(
        1,
        "configuration",
        "no such image",
        "put that right",
    );
}

#[test]
fn a_signal() {
    failed(Reason::Signal { signal: 11 }).end_tells(
        1,
        "signal",
        "killed by signal 11",
        "read its log",
    );
}

#[test]
fn out_of_memory() {
    let limit_bytes = Some(64 << 20);
    failed(Reason::OutOfMemory { limit_bytes }).end_tells(
        1,
        "out_of_memory",
        "the limit is 64 MiB",
        "raise resources.memory",
    );
}

#[test]
fn an_attempt_that_took_too_long() {
    let timeout = Span::from_secs(60);
    failed(Reason::AttemptTimeout { timeout }).end_tells(
        1,
        "attempt_timeout",
        "timed out after 1m",
        "raise timeout of the step",
    );
}

#[test]
fn lost() {
    let config = Config {
        lost_retries: 0,
        ..Config::default()
    };
    let mut w = World::with(config).flow(&one(json!({})));
    w.start("f");
    w.ended("1/a", Outcome::Lost("the host went away".into()));
    w.end_tells(1, "lost", "lost: the host went away", "dalsegno doctor");
}

#[test]
fn not_started() {
    let message = "no program `x`".to_owned();
    failed(Reason::NotStarted { message }).end_tells(
        1,
        "not_started",
        "no program `x`",
        "put right what it names",
    );
}

#[test]
fn outputs_that_cannot_be_used() {
    let message = "line 2".to_owned();
    failed(Reason::BadOutput { message }).end_tells(
        1,
        "bad_output",
        "outputs are not usable",
        "$DALSEGNO_OUTPUT",
    );
}

#[test]
fn an_expression_that_fails() {
    let steps = [
        step("a", &[], json!({})),
        step("b", &["a"], json!({"when": "steps.a.outputs.no > 1"})),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.ok("1/a");
    w.end_tells(
        1,
        "expression",
        "expression failed: when",
        "repair the expression in the flow file",
    );
}

#[test]
fn the_run_took_too_long() {
    let mut w = World::new().flow(&plain(json!({"run": {"timeout": 60_000_000}})));
    w.start("f");
    w.began("1/a");
    w.advance(Span::from_secs(60));
    w.run_tells(
        1,
        "run_timeout",
        "the run timed out after 1m; its last attempts",
        "",
    );
    w.ended("1/a", Outcome::Stopped);
    w.end_tells(1, "run_timeout", "timed out after 1m", "dalsegno resume 1");
}

#[test]
fn one_failure_ends_all() {
    let steps = [
        step("a", &[], json!({"on_failure": "fail_fast"})),
        step("b", &[], json!({})),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.fail("1/a");
    w.ended("1/b", Outcome::Stopped);
    w.end_tells(
        1,
        "fail_fast",
        "cancelled because a failed (fail_fast)",
        "repair that task",
    );
}

#[test]
fn skipped_for_many_reasons() {
    let steps = [
        step("a", &[], json!({})),
        step("b", &["a"], json!({"when": "false"})),
        step("c", &["b"], json!({})),
        step("d", &[], json!({"route": "switch"})),
        step("e", &["d"], json!({})),
        step("g", &["d"], json!({})),
        step("h", &["g"], json!({})),
        step("cheer", &[], json!({"hook": "success"})),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.ok("1/a");
    w.chose("1/d", &["g"]);
    w.fail("1/g");
    w.end_tells(1, "when_false", "skipped: `when` was false: false", "");
    w.end_tells(1, "upstream_skipped", "b, which it needs, was skipped", "");
    w.end_tells(1, "not_chosen", "d chose another branch", "");
    w.end_tells(1, "upstream_failed", "g, which it needs, failed", "");
    w.end_tells(1, "other_end", "it is called when the run succeeds", "");
}

// Moments that are past.

#[test]
fn an_occurrence_of_that_moment_stands_first() {
    let mut w = World::new().flow(&hourly(json!({}), json!({})));
    w.until_due();
    let told = w.past("2026-11-22T07:00:00Z");
    assert_eq!(
        (told[0].code.as_str(), told[0].text.as_str()),
        ("ran", "ran: run 1")
    );
}

#[test]
fn the_daemon_was_down_then() {
    let mut facts = World::new()
        .flow(&plain(json!({})))
        .facts("f", at("2026-11-22T07:00:00Z"));
    facts.outages = vec![PastOutage {
        from: at("2026-11-22T06:30:00Z"),
        to: at("2026-11-22T08:00:00Z"),
        holder: "host-1".into(),
        stopped: false,
    }];
    let told = explain_at(
        "f",
        at("2026-11-22T07:00:00Z"),
        at("2026-11-22T09:00:00Z"),
        &facts,
    );
    tells(
        &told,
        "missed_down",
        "down from 2026-11-22T06:30:00Z to 2026-11-22T08:00:00Z (host-1 fell silent)",
        "dalsegno backfill plan f",
    );
    let told = explain_at(
        "f",
        at("2026-11-22T08:00:00Z"),
        at("2026-11-22T09:00:00Z"),
        &facts,
    );
    assert!(
        told.iter().all(|it| it.code != "missed_down"),
        "it was up again"
    );
}

#[test]
fn it_was_paused_then() {
    let mut w = World::new().flow(&plain(json!({})));
    w.advance(Span::from_mins(30));
    w.pause("f");
    w.advance(Span::from_mins(30));
    w.unpause("f");
    tells(
        &w.past("2026-11-22T06:45:00Z"),
        "flow_paused",
        "maintenance, since 2026-11-22T06:30:00Z",
        "dalsegno unpause f, if it is still paused",
    );
    assert!(
        w.past("2026-11-22T06:20:00Z")
            .iter()
            .all(|it| it.code != "flow_paused")
    );
    assert!(
        w.past("2026-11-22T07:20:00Z")
            .iter()
            .all(|it| it.code != "flow_paused")
    );
}

#[test]
fn it_was_invalid_then() {
    let mut w = World::new().flow(&plain(json!({})));
    invalid(&mut w);
    tells(
        &w.past("2026-11-22T06:20:00Z"),
        "flow_invalid",
        "line 3: no; the last good version stayed active",
        "dalsegno check",
    );
}

#[test]
fn it_was_blocked_or_removed_then() {
    let mut w = strategy(json!("strict_sequential"));
    w.start("f");
    w.fail("1/a");
    tells(
        &w.past("2026-11-22T06:20:00Z"),
        "blocked_by_failure",
        "run 1 failed",
        "dalsegno resume 1",
    );
    remove(&mut w);
    tells(
        &w.past("2026-11-22T06:20:00Z"),
        "flow_removed",
        "the flow file is gone",
        "put the flow file back",
    );
}

#[test]
fn there_was_no_such_flow_yet() {
    let w = World::new().flow(&plain(json!({})));
    let facts = w.facts("f", w.now);
    let told = explain_at("f", at("2026-11-22T05:00:00Z"), w.now, &facts);
    tells(
        &told,
        "no_flow_yet",
        "there was no flow f yet at 2026-11-22T05:00:00Z",
        "",
    );
}

#[test]
fn nothing_was_due_then() {
    let mut w = World::new().flow(&hourly(json!({}), json!({})));
    w.until_due();
    tells(
        &w.past("2026-11-22T07:20:00Z"),
        "nothing_due",
        "before it s at 2026-11-22T07:00:00Z (ran); after it s is expected at 2026-11-22T08:00:00Z",
        "dalsegno run f",
    );
}

#[test]
fn an_event_of_that_moment_still_waits() {
    let w = waits(both(), json!({}), "a");
    w.event_tells(
        "waiting_for",
        "waiting: waits for event b",
        "event b must come",
    );
    let mut facts = w.facts("f", w.now);
    facts.matches[0].1.reason = None;
    let told = explain_at("f", at(DAWN), w.now, &facts);
    tells(&told, "event", "waiting", "");
}

// What is written about them.

macro_rules! samples {
    ($($name:ident $({ $($field:ident: $value:expr),* })?),* $(,)?) => {
        fn samples() -> Vec<Reason> {
            // A reason that is missing here does not compile.
            let _ = |it: &Reason| match it { $(Reason::$name { .. } => (),)* };
            vec![$(Reason::$name $({ $($field: $value),* })?),*]
        }
    };
}

fn text() -> String {
    "x".to_owned()
}

samples! {
    LimitFull { limit: Limit::Tasks, capacity: 1, used: 1, wanted: 1 },
    SubmissionWaits { api: "batch:SubmitJob".into(), cause: SubmissionWait::Throttled, until: Some(Timestamp(0)), message: "Rate exceeded".into() },
    JobWaits { queue: "cpu".into(), state: "RUNNABLE".into(), since: Timestamp(0), message: String::new() },
    Network { message: "reset".into() },
    Throttled { message: "Rate exceeded".into() },
    Capacity { message: "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY".into() },
    Job { message: "Task failed to start".into(), exit: None },
    Execution { error: "States.Timeout".into(), cause: String::new() },
    BlockedByFailure { run: RunId(1) },
    RetryAt { at: Timestamp(0), attempt: 1, after: Box::new(Reason::FlowRemoved) },
    FlowPaused { by: text(), reason: None },
    WaitsForTask { run: RunId(1), task: text() },
    WhenFalse { expression: text() },
    UpstreamSkipped { step: "x".into() },
    UpstreamFailed { step: "x".into() },
    NotChosen { by: "x".into() },
    OtherEnd { on: HookOn::Success },
    Exit { status: 1 },
    DoNotRetry { status: 1 },
    UserError { message: text() },
    Configuration { message: text() },
    Signal { signal: 9 },
    OutOfMemory { limit_bytes: None },
    AttemptTimeout { timeout: Span(1) },
    Lost { message: text() },
    NotStarted { message: text() },
    BadOutput { message: text() },
    Expression { message: text() },
    SubFlow { run: RunId(1), state: RunState::Failed },
    SubFlowRefused { flow: "x".into(), because: Box::new(Reason::FlowRemoved) },
    SubFlowUnknown { flow: "x".into(), similar: None },
    SubFlowDepth { flow: "x".into(), max: 8 },
    ParentStopped { run: RunId(1), task: text(), because: Box::new(Reason::FlowRemoved) },
    TaskNotReached { run: RunId(1), task: text() },
    TasksFailed { tasks: 1, first: text() },
    RunTimeout { timeout: Span(1) },
    CancelledBy { by: text(), reason: None },
    FailFast { task: text() },
    ReplacedBy { run: RunId(1) },
    BadParams { message: text() },
    StrategyRefused { strategy: text(), running: RunId(1) },
    Coalesced { into: text() },
    MissedDown { from: Timestamp(0), to: Timestamp(1) },
    MissedTooMany { dropped: 1, kept: 1 },
    MissedTooOld { window: Span(1) },
    FlowInvalid { message: text() },
    FlowRemoved,
    ScheduleChanged,
    PromiseRemoved,
    NeverStarted { run: RunId(1) },
    Calendar { calendar: text(), day: "2026-11-22".parse().expect("a day"), note: text() },
    CoalescedByRoll { into: text() },
    Blackout { name: text(), until: None },
    Deadline { waiting_for: vec![] },
    ScheduleEnded { end: Timestamp(0) },
    NoFutureDate,
    NotPlanned { next: Timestamp(0) },
    FilterFalse { expression: text() },
    FilterFailed { message: text() },
    FieldMissing { field: text(), param: text() },
    WaitingFor { missing: vec![] },
    SetReset { at: Timestamp(0), missing: vec![] },
    SetExpired { within: Span(1), missing: vec![] },
    ReplacedByEvent { event: 1 },
    Gathering { until: Timestamp(0) },
    OfBackfill { backfill: 1 },
    TooManyWaiting { kept: 1 },
    TriggerChanged,
    NoTrigger,
    PausedBy { by: text() },
    BackfillUpstream { flow: "x".into() },
    RunUnreadable { run: RunId(1) },
    TriggerGone { trigger: "x".into() },
}

/// What the daemon says of itself.
const OF_THE_DAEMON: [&str; 6] = [
    "starting",
    "lease_elsewhere",
    "storage",
    "stopped",
    "not_ready",
    "metadata_waits",
];

#[test]
fn every_code_is_in_the_manual_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/why.md");
    let manual = std::fs::read_to_string(path).expect("the manual is there");
    let rows = manual.lines().filter_map(|it| it.strip_prefix("| `"));
    let written: BTreeSet<String> = rows
        .filter_map(|it| it.split_once('`'))
        .map(|(code, _)| code.to_owned())
        .collect();
    let reasons = samples().iter().map(Reason::code).collect::<Vec<_>>();
    let known: BTreeSet<String> = STATES
        .iter()
        .chain(&OF_THE_DAEMON)
        .map(|it| (*it).to_owned())
        .chain(reasons)
        .collect();
    let missing: Vec<_> = known.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:?}, unknown: {unknown:?}"
    );
}
