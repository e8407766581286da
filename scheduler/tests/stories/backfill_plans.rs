//! Plans of backfills: which intervals, what is there already, what stands in the way.

use crate::world::{World, flow, step};
use dalsegno_scheduler::backfill::{Plan, PlanRequest, Verdict};
use dalsegno_scheduler::row::{BackfillMode, Interval, RunState};
use dalsegno_scheduler::{FlowName, RunId, Span, Timestamp, backfill::History};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A flow that is due at midnight UTC.
pub(crate) fn daily(name: &str, more: Value) -> Value {
    cron(name, "0 0 * * *", more)
}

fn cron(name: &str, text: &str, more: Value) -> Value {
    let schedule = json!({
        "name": "s", "when": {"cron": {"text": text}}, "timezone": "UTC",
    });
    let mut spec = flow(
        name,
        &[step("a", &[], json!({}))],
        json!({"schedules": [schedule]}),
    );
    for (name, value) in more.as_object().expect("an object") {
        spec[name] = value.clone();
    }
    spec
}

pub(crate) fn ends_of(flow: &str) -> Value {
    json!({"leaf": {"source": {"flow": {"flow": flow, "on": "succeeded"}}}})
}

/// A flow that follows others.
pub(crate) fn follower(name: &str, on: Value) -> Value {
    let trigger = json!({"name": "t", "on": on});
    flow(
        name,
        &[step("a", &[], json!({}))],
        json!({"triggers": [trigger]}),
    )
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a valid time")
}

pub(crate) fn request(flow: &str, from: &str, to: &str) -> PlanRequest {
    PlanRequest {
        flow: flow.into(),
        from: at(&format!("{from}T00:00:00Z")),
        to: at(&format!("{to}T00:00:00Z")),
        mode: BackfillMode::Missing,
        downstream: false,
        parallel: 1,
    }
}

fn day(date: &str) -> Interval {
    let start = at(&format!("{date}T00:00:00Z"));
    Interval {
        start,
        end: start + Span::from_mins(24 * 60),
    }
}

fn past(flow: &str, date: &str, run: u64, state: RunState) -> History {
    History {
        flow: flow.into(),
        interval: day(date),
        run: RunId(run),
        state,
        params: Default::default(),
    }
}

fn plan(w: &World, request: &PlanRequest, history: &[History]) -> Plan {
    let minute = Span::from_mins(1);
    let durations = w.core.flows().map(|it| (it.row.name.clone(), minute));
    let durations: BTreeMap<FlowName, Span> = durations.collect();
    let plan = w
        .core
        .plan_backfill(request, history, &durations, w.now)
        .expect("it can be planned");
    let again = w
        .core
        .plan_backfill(request, history, &BTreeMap::new(), w.now);
    assert_eq!(again.expect("as before").token, plan.token);
    plan
}

fn told(plan: &Plan) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (place, it) in plan.items.iter().enumerate() {
        let verdict = format!("{:?}", it.verdict).to_lowercase();
        let mut line = format!("{place} {} {} {verdict}", it.flow, it.interval.start);
        if !it.after.is_empty() {
            line += &format!(" after {:?}", it.after);
        }
        for it in &it.upstream {
            line += &format!(" upon {} {}", it.flow, it.run);
        }
        for it in &it.existing {
            line += &format!(" [{} {}]", it.run, it.state);
        }
        lines.push(line);
    }
    lines.extend(plan.conflicts.iter().map(|it| format!("! {it}")));
    lines.extend(plan.notes.iter().map(|it| format!("# {it}")));
    lines.extend(plan.estimate.map(|it| format!("takes {it}")));
    lines.join("\n")
}

#[test]
fn each_mode_looks_at_what_is_there() {
    let w = World::new().flow(&daily("f", json!({})));
    let history = [
        past("f", "2026-11-10", 1, RunState::Succeeded),
        past("f", "2026-11-10", 5, RunState::Failed),
        past("f", "2026-11-11", 2, RunState::Failed),
        past("f", "2026-11-11", 3, RunState::Succeeded),
        past("f", "2026-11-12", 4, RunState::Cancelled),
    ];
    let mut request = request("f", "2026-11-10", "2026-11-14");
    let told = |mode, request: &mut PlanRequest| {
        request.mode = mode;
        told(&plan(&w, request, &history))
    };
    assert_snapshot!(told(BackfillMode::Missing, &mut request), @r"
    0 f 2026-11-10T00:00:00Z keep [5 failed] [1 succeeded]
    1 f 2026-11-11T00:00:00Z keep [3 succeeded] [2 failed]
    2 f 2026-11-12T00:00:00Z run [4 cancelled]
    3 f 2026-11-13T00:00:00Z run
    takes 2m
    ");
    assert_snapshot!(told(BackfillMode::Failed, &mut request), @r"
    0 f 2026-11-10T00:00:00Z run [5 failed] [1 succeeded]
    1 f 2026-11-11T00:00:00Z keep [3 succeeded] [2 failed]
    2 f 2026-11-12T00:00:00Z run [4 cancelled]
    3 f 2026-11-13T00:00:00Z keep
    takes 2m
    ");
    assert_snapshot!(told(BackfillMode::All, &mut request), @r"
    0 f 2026-11-10T00:00:00Z run [5 failed] [1 succeeded]
    1 f 2026-11-11T00:00:00Z run [3 succeeded] [2 failed]
    2 f 2026-11-12T00:00:00Z run [4 cancelled]
    3 f 2026-11-13T00:00:00Z run
    takes 4m
    ");
}

#[test]
fn a_run_under_way_is_not_repeated() {
    let w = World::new().flow(&daily("f", json!({})));
    let mut request = request("f", "2026-11-10", "2026-11-12");
    let history = [past("f", "2026-11-10", 1, RunState::Running)];
    assert_snapshot!(told(&plan(&w, &request, &history)), @r"
    0 f 2026-11-10T00:00:00Z keep [1 running]
    1 f 2026-11-11T00:00:00Z run
    takes 1m
    ");
    request.mode = BackfillMode::All;
    assert_snapshot!(told(&plan(&w, &request, &history)), @r"
    0 f 2026-11-10T00:00:00Z conflict [1 running]
    1 f 2026-11-11T00:00:00Z run
    ! f 2026-11-10T00:00:00Z: run 1 is unfinished; wait for it, or cancel it
    takes 1m
    ");
}

#[test]
fn intervals_are_those_of_the_schedule() {
    // The day on which summer time ends in Berlin has 25 hours; noon of the 25th is already winter time.
    let mut spec = cron("f", "0 12 * * *", json!({}));
    spec["schedules"][0]["timezone"] = "Europe/Berlin".into();
    let w = World::new().flow(&spec);
    let plan = plan(&w, &request("f", "2026-10-23", "2026-10-26"), &[]);
    let told = plan.items.iter().map(|it| {
        let Interval { start, end } = it.interval;
        format!("{start} to {end}, {}", end - start)
    });
    assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
    2026-10-23T10:00:00Z to 2026-10-24T10:00:00Z, 1d
    2026-10-24T10:00:00Z to 2026-10-25T11:00:00Z, 1d 1h
    2026-10-25T11:00:00Z to 2026-10-26T11:00:00Z, 1d
    ");
}

#[test]
fn what_is_not_over_yet_is_left_to_the_schedule() {
    // It is 06:00 on the 22nd.
    let w = World::new().flow(&daily("f", json!({})));
    let plan = plan(&w, &request("f", "2026-11-20", "2026-12-24"), &[]);
    assert_snapshot!(told(&plan), @r"
    0 f 2026-11-20T00:00:00Z run
    1 f 2026-11-21T00:00:00Z run
    # intervals that end after now are left out, from 2026-11-22T00:00:00Z on; the schedule runs them
    takes 2m
    ");
}

#[test]
fn a_schedule_that_began_later_has_no_earlier_intervals() {
    let mut spec = daily("f", json!({}));
    spec["schedules"][0]["start"] = at("2026-11-12T00:00:00Z").0.into();
    spec["schedules"][0]["end"] = at("2026-11-14T00:00:00Z").0.into();
    let w = World::new().flow(&spec);
    let plan = plan(&w, &request("f", "2026-11-09", "2026-11-16"), &[]);
    assert_snapshot!(told(&plan), @r"
    0 f 2026-11-11T00:00:00Z run
    1 f 2026-11-12T00:00:00Z run
    # intervals before `start` or after `end` of schedule s are left out
    takes 2m
    ");
}

#[test]
fn closed_days_have_no_runs_in_a_backfill_either() {
    // The 14th and 15th are a weekend; a run stands for the day before.
    let mut spec = daily("f", json!({}));
    let weekend = json!({"name": "work", "weekdays": ["Sat", "Sun"]});
    spec["schedules"][0]["calendar"] = json!({"calendar": weekend, "roll": "skip"});
    let mut w = World::new().flow(&spec);
    let request = request("f", "2026-11-12", "2026-11-16");
    assert_snapshot!(told(&plan(&w, &request, &[])), @r"
    0 f 2026-11-12T00:00:00Z run
    1 f 2026-11-15T00:00:00Z run
    # 2 intervals are left out, for their runs would be on closed days of calendar work
    takes 2m
    ");
    spec["schedules"][0]["calendar"]["roll"] = "next".into();
    w.deploy(&spec).expect("valid");
    assert_eq!(plan(&w, &request, &[]).runs(), 4, "those that move are run");
}

fn diamond() -> World {
    World::new()
        .flow(&daily("a", json!({})))
        .flow(&follower("b", ends_of("a")))
        .flow(&follower("c", ends_of("a")))
        .flow(&follower(
            "d",
            json!({"all_of": [ends_of("b"), ends_of("c")]}),
        ))
}

#[test]
fn flows_that_follow_come_after_what_they_follow() {
    let w = diamond();
    let mut request = request("a", "2026-11-10", "2026-11-12");
    assert_snapshot!(told(&plan(&w, &request, &[])), @r"
    0 a 2026-11-10T00:00:00Z run
    1 a 2026-11-11T00:00:00Z run
    takes 2m
    ");
    request.downstream = true;
    assert_snapshot!(told(&plan(&w, &request, &[])), @r"
    0 a 2026-11-10T00:00:00Z run
    1 b 2026-11-10T00:00:00Z run after [0]
    2 c 2026-11-10T00:00:00Z run after [0]
    3 d 2026-11-10T00:00:00Z run after [1, 2]
    4 a 2026-11-11T00:00:00Z run
    5 b 2026-11-11T00:00:00Z run after [4]
    6 c 2026-11-11T00:00:00Z run after [4]
    7 d 2026-11-11T00:00:00Z run after [5, 6]
    takes 8m
    ");
    request.parallel = 100;
    let plan = plan(&w, &request, &[]);
    assert_eq!(
        plan.estimate,
        Some(Span::from_mins(3)),
        "a, then b and c, then d"
    );
}

#[test]
fn a_follower_builds_upon_what_has_succeeded_already() {
    let w = diamond();
    let mut request = request("a", "2026-11-10", "2026-11-11");
    request.downstream = true;
    let history = [
        past("a", "2026-11-10", 1, RunState::Succeeded),
        past("b", "2026-11-10", 2, RunState::Succeeded),
        past("c", "2026-11-10", 3, RunState::Failed),
    ];
    assert_snapshot!(told(&plan(&w, &request, &history)), @r"
    0 a 2026-11-10T00:00:00Z keep [1 succeeded]
    1 b 2026-11-10T00:00:00Z keep [2 succeeded]
    2 c 2026-11-10T00:00:00Z run upon a 1 [3 failed]
    3 d 2026-11-10T00:00:00Z run after [2] upon b 2
    takes 2m
    ");
}

#[test]
fn an_upstream_beside_the_plan_must_have_succeeded() {
    let both = json!({"all_of": [ends_of("a"), ends_of("side"), {"leaf": {"source": {"after": {"time": "06:00"}}}}]});
    let w = World::new()
        .flow(&daily("a", json!({})))
        .flow(&daily("side", json!({})))
        .flow(&follower("b", both));
    let mut request = request("a", "2026-11-10", "2026-11-12");
    request.downstream = true;
    let needed = w.core.backfill_past(&request, w.now).expect("known");
    let names: Vec<&str> = needed.flows.iter().map(FlowName::as_str).collect();
    assert_eq!(names, ["a", "b", "side"]);
    let history = [past("side", "2026-11-10", 1, RunState::Succeeded)];
    assert_snapshot!(told(&plan(&w, &request, &history)), @r"
    0 a 2026-11-10T00:00:00Z run
    1 b 2026-11-10T00:00:00Z run after [0] upon side 1
    2 a 2026-11-11T00:00:00Z run
    3 b 2026-11-11T00:00:00Z conflict after [2]
    ! b 2026-11-11T00:00:00Z: it follows from side, which has no run of this interval that succeeded
    takes 3m
    ");
}

#[test]
fn what_does_not_follow_by_interval_is_left_out_with_the_reason() {
    let event = json!({"leaf": {"source": {"event": {"kind": "order"}}}});
    let failed = json!({"leaf": {"source": {"flow": {"flow": "hourly", "on": "failed"}}}});
    let mut unjoined = follower("unjoined", ends_of("hourly"));
    unjoined["triggers"][0]["join_on"] = "none".into();
    let w = World::new()
        .flow(&cron("hourly", "0 * * * *", json!({})))
        .flow(&daily("daily", json!({})))
        .flow(&follower(
            "event",
            json!({"all_of": [ends_of("hourly"), event]}),
        ))
        .flow(&follower(
            "either",
            json!({"any_of": [ends_of("hourly"), event]}),
        ))
        .flow(&follower(
            "report",
            json!({"all_of": [ends_of("hourly"), ends_of("daily")]}),
        ))
        .flow(&follower("alarm", failed))
        .flow(&unjoined);
    let mut request = request("hourly", "2026-11-10", "2026-11-11");
    request.to = at("2026-11-10T01:00:00Z");
    request.downstream = true;
    assert_snapshot!(told(&plan(&w, &request, &[])), @r"
    0 hourly 2026-11-10T00:00:00Z run
    1 either 2026-11-10T00:00:00Z run after [0]
    # alarm follows from hourly, but its trigger t waits for hourly to fail: left out
    # event follows from hourly, but its trigger t also waits for event order: left out
    # report follows from hourly, but its trigger t also waits for daily, whose intervals are others than those of hourly: left out
    # unjoined follows from hourly, but its trigger t does not join by interval: left out
    takes 2m
    ");
}

#[test]
fn what_cannot_be_planned_says_what_to_do() {
    let w = World::new()
        .flow(&daily("a", json!({})))
        .flow(&follower("b", ends_of("a")))
        .flow(&cron("second", "* * * * * *", json!({})));
    let error = |request: &PlanRequest| {
        let plan = w.core.plan_backfill(request, &[], &BTreeMap::new(), w.now);
        plan.expect_err("it cannot").to_string()
    };
    assert_snapshot!(error(&request("b", "2026-11-10", "2026-11-11")), @"no backfill: flow `b` has no schedule, and so no intervals; plan a, from which it follows, with downstream");
    assert_snapshot!(error(&request("a", "2026-11-11", "2026-11-11")), @"no backfill: `from` is to be before `to`, and 2026-11-11T00:00:00Z is not before 2026-11-11T00:00:00Z");
    assert_snapshot!(error(&request("second", "2026-11-10", "2026-11-20")), @"no backfill: it would have more than 100000 items; choose a shorter span, such as until 2026-11-11T03:46:40Z");
    assert_snapshot!(error(&request("x", "2026-11-10", "2026-11-20")), @"there is no flow `x`");
    let none = PlanRequest {
        parallel: 0,
        ..request("a", "2026-11-10", "2026-11-11")
    };
    assert_snapshot!(error(&none), @"no backfill: `parallel` is to be 1 to 1000, and it is 0");
}

#[test]
fn parameters_that_the_schedule_does_not_give_are_a_conflict() {
    let spec = daily(
        "f",
        json!({"params": [{"name": "region", "type": "string"}]}),
    );
    let w = World::new().flow(&spec);
    let plan = plan(&w, &request("f", "2026-11-10", "2026-11-12"), &[]);
    assert_snapshot!(told(&plan), @r"
    0 f 2026-11-10T00:00:00Z run
    1 f 2026-11-11T00:00:00Z run
    ! f 2026-11-10T00:00:00Z: parameter `region`: must be given; give it a default, or a value in the schedule
    takes 2m
    ");
}

#[test]
fn a_span_from_the_beginning_of_time_costs_no_more_than_what_is_in_it() {
    let mut spec = cron("f", "* * * * * *", json!({}));
    spec["schedules"][0]["start"] = at("2026-11-20T00:00:00Z").0.into();
    spec["schedules"][0]["end"] = at("2026-11-20T00:00:03Z").0.into();
    let w = World::new().flow(&spec);
    let mut request = request("f", "2026-11-20", "2026-11-22");
    request.from = at("0001-01-01T00:00:00Z");
    assert_snapshot!(told(&plan(&w, &request, &[])), @r"
    0 f 2026-11-19T23:59:59Z run
    1 f 2026-11-20T00:00:00Z run
    2 f 2026-11-20T00:00:01Z run
    # intervals before `start` or after `end` of schedule s are left out
    takes 3m
    ");
    let past = w.core.backfill_past(&request, w.now).expect("known");
    assert_eq!(
        (past.from, past.to - past.from),
        (at("2026-11-19T23:59:59Z"), Span(2_000_001)),
        "only the past of what is planned is read"
    );
    request.to = at("2026-11-19T00:00:00Z");
    assert_eq!(plan(&w, &request, &[]).items, []);
}

#[test]
fn closed_days_are_not_looked_through_without_end() {
    let mut spec = cron("f", "* * * * * *", json!({}));
    let sundays =
        json!({"name": "sundays", "weekdays": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]});
    spec["schedules"][0]["calendar"] = json!({"calendar": sundays, "roll": "skip"});
    let w = World::new().flow(&spec);
    // A Monday.
    let request = request("f", "2026-11-09", "2026-11-14");
    let error = w.core.backfill_past(&request, w.now);
    assert_snapshot!(error.expect_err("too long"), @"no backfill: it spans more than 100000 intervals, those of closed days included; choose a shorter span, such as until 2026-11-10T03:46:40Z");
}

#[test]
fn the_token_is_that_of_the_world() {
    let mut w = World::new().flow(&daily("f", json!({})));
    let request = request("f", "2026-11-10", "2026-11-12");
    let before = plan(&w, &request, &[]).token;
    let failed = [past("f", "2026-11-10", 1, RunState::Failed)];
    assert_ne!(plan(&w, &request, &failed).token, before, "a run is there");
    w.advance(Span::from_secs(60));
    assert_eq!(
        plan(&w, &request, &[]).token,
        before,
        "time alone is no change"
    );
    w.deploy(&daily("f", json!({"owner": "ada"})))
        .expect("valid");
    assert_ne!(plan(&w, &request, &[]).token, before, "another version");
}

#[test]
fn ten_thousand_intervals_are_planned_in_no_time() {
    let w = World::at("2026-11-22T06:00:00Z")
        .flow(&cron("f", "0 * * * *", json!({})))
        .flow(&follower("g", ends_of("f")));
    let mut request = request("f", "2025-09-01", "2026-10-23");
    request.downstream = true;
    request.to = request.from + Span::from_mins(60 * 10_000);
    let history: Vec<History> = (0..10_000)
        .step_by(3)
        .map(|hour| {
            let start = request.from + Span::from_mins(60 * hour);
            let end = start + Span::from_mins(60);
            History {
                flow: "f".into(),
                interval: Interval { start, end },
                run: RunId(hour as u64 + 1),
                state: RunState::Succeeded,
                params: Default::default(),
            }
        })
        .collect();
    let plan = plan(&w, &request, &history);
    assert_eq!(plan.items.len(), 20_000);
    let keep = plan.items.iter().filter(|it| it.verdict == Verdict::Keep);
    assert_eq!((keep.count(), plan.runs()), (3_334, 16_666));
    assert!(plan.conflicts.is_empty());
}
