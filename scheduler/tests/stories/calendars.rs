//! Calendars and blackouts: days and times in which schedules do not run, and where their runs go; pauses that end
//! with a choice; schedules without a future.

use crate::world::{World, flow, step};
use dalsegno_scheduler::{CatchUp, Input, RunId, Span, Timestamp};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn scheduled(cron: &str, schedule: Value, more: Value) -> Value {
    let mut it = json!({
        "name": "s", "when": {"cron": {"text": cron}}, "timezone": "Europe/Berlin",
    });
    for (name, value) in schedule.as_object().expect("an object") {
        it[name] = value.clone();
    }
    let mut all = json!({"schedules": [it], "run": {"strategy": {"parallel": 10}}});
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    flow("f", &[step("a", &[], json!({}))], all)
}

fn weekends(roll: &str) -> Value {
    let calendar = json!({"name": "office", "weekdays": ["Sat", "Sun"]});
    json!({"calendar": {"calendar": calendar, "roll": roll}})
}

fn due(w: &mut World, times: usize) {
    for _ in 0..times {
        w.until_due();
    }
}

fn at(text: &str) -> i64 {
    Timestamp::parse_rfc3339(text).expect("a time").0
}

#[test]
fn on_a_closed_day_it_does_not_run_and_says_why() {
    let mut spec = scheduled("0 6 * * *", weekends("skip"), json!({}));
    spec["schedules"][0]["calendar"]["calendar"]["dates"] = json!({"2026-11-23": "Inventur"});
    let mut w = World::at("2026-11-20T12:00:00Z").flow(&spec);
    due(&mut w, 4);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T05:00:00Z skipped (2026-11-21 is a closed day of calendar office (Saturday))
    f cron:s:2026-11-22T05:00:00Z skipped (2026-11-22 is a closed day of calendar office (Sunday))
    f cron:s:2026-11-23T05:00:00Z skipped (2026-11-23 is a closed day of calendar office (Inventur))
    f cron:s:2026-11-24T05:00:00Z ran run 1
    f cron:s:2026-11-25T05:00:00Z expected
    ");
}

#[test]
fn it_moves_to_the_next_open_day_and_keeps_its_name_and_interval() {
    // The first of August 2026 is a Saturday.
    let spec = scheduled("0 6 1 * *", weekends("next"), json!({}));
    let mut w = World::at("2026-07-20T12:00:00Z").flow(&spec);
    let expected = w.core.expected("f").next().expect("planned").clone();
    assert_eq!(expected.due_at.to_string(), "2026-08-03T04:00:00Z");
    due(&mut w, 1);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-08-01T04:00:00Z ran run 1
    f cron:s:2026-09-01T04:00:00Z expected
    ");
    let run = w.run_row(RunId(1));
    assert_eq!(run.created_at.to_string(), "2026-08-03T04:00:00Z");
    assert_eq!(run.interval.start.to_string(), "2026-07-01T04:00:00Z");
    assert_eq!(run.interval.end.to_string(), "2026-08-01T04:00:00Z");
}

#[test]
fn it_moves_to_the_open_day_before() {
    let spec = scheduled("0 6 1 * *", weekends("previous"), json!({}));
    let mut w = World::at("2026-07-20T12:00:00Z").flow(&spec);
    due(&mut w, 1);
    let run = w.run_row(RunId(1));
    assert_eq!(run.created_at.to_string(), "2026-07-31T04:00:00Z");
    assert_eq!(run.occurrence, "cron:s:2026-08-01T04:00:00Z");
}

#[test]
fn of_those_that_move_to_one_moment_the_first_runs() {
    let spec = scheduled("0 6 * * *", weekends("next"), json!({}));
    let mut w = World::at("2026-11-20T12:00:00Z").flow(&spec);
    due(&mut w, 2);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T05:00:00Z ran run 1
    f cron:s:2026-11-22T05:00:00Z coalesced (the calendar moved it to the moment of cron:s:2026-11-21T05:00:00Z, which stands for it)
    f cron:s:2026-11-23T05:00:00Z coalesced (the calendar moved it to the moment of cron:s:2026-11-21T05:00:00Z, which stands for it)
    f cron:s:2026-11-24T05:00:00Z ran run 2
    f cron:s:2026-11-25T05:00:00Z expected
    ");
}

#[test]
fn a_flow_that_comes_over_a_weekend_still_runs_what_moved_to_monday() {
    let spec = scheduled("0 6 1 * *", weekends("next"), json!({}));
    let mut w = World::at("2026-08-02T12:00:00Z").flow(&spec);
    // An edit keeps it, even one of the time of day.
    w.deploy(&scheduled("0 5 1 * *", weekends("next"), json!({})))
        .expect("valid");
    due(&mut w, 1);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-08-01T03:00:00Z ran run 1
    f cron:s:2026-08-01T04:00:00Z skipped (the schedule was changed before it was due)
    f cron:s:2026-09-01T03:00:00Z expected
    ");
}

#[test]
fn what_ran_does_not_run_again_because_a_calendar_moves_it_later() {
    let mut w =
        World::at("2026-11-20T12:00:00Z").flow(&scheduled("0 6 * * *", json!({}), json!({})));
    due(&mut w, 1);
    w.deploy(&scheduled("0 6 * * *", weekends("next"), json!({})))
        .expect("valid");
    due(&mut w, 1);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T05:00:00Z ran run 1
    f cron:s:2026-11-22T05:00:00Z ran run 2
    f cron:s:2026-11-23T05:00:00Z coalesced (the calendar moved it to the moment of cron:s:2026-11-22T05:00:00Z, which stands for it)
    f cron:s:2026-11-24T05:00:00Z expected
    ");
}

#[test]
fn after_an_outage_closed_days_are_skipped_and_the_newest_open_one_is_caught_up() {
    let spec = scheduled("0 6 * * *", weekends("skip"), json!({}));
    let mut w = World::at("2026-11-19T12:00:00Z").flow(&spec);
    w.advance(Span::from_mins(3 * 24 * 60));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-20T05:00:00Z ran run 1
    f cron:s:2026-11-21T05:00:00Z skipped (2026-11-21 is a closed day of calendar office (Saturday))
    f cron:s:2026-11-22T05:00:00Z skipped (2026-11-22 is a closed day of calendar office (Sunday))
    f cron:s:2026-11-23T05:00:00Z expected
    ");
}

fn night(action: &str) -> Value {
    let window = json!({"daily": {"from": "22:00", "to": "06:00"}});
    json!({"blackouts": [{"name": "night", "timezone": "UTC", "window": window, "action": action}]})
}

#[test]
fn a_blackout_defers_and_at_its_end_all_run_in_order() {
    let mut w = World::at("2026-11-21T21:30:00Z").flow(&scheduled(
        "0 */3 * * *",
        json!({}),
        night("defer"),
    ));
    due(&mut w, 3);
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T23:00:00Z expected (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-22T02:00:00Z expected (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-22T05:00:00Z expected (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-22T08:00:00Z expected
    ");
    w.restart();
    due(&mut w, 1);
    assert_eq!(w.now.to_string(), "2026-11-22T06:00:00Z");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T23:00:00Z ran run 1
    f cron:s:2026-11-22T02:00:00Z ran run 2
    f cron:s:2026-11-22T05:00:00Z ran run 3
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}

#[test]
fn a_blackout_skips_and_people_start_runs_all_the_same() {
    let mut w =
        World::at("2026-11-21T22:30:00Z").flow(&scheduled("0 0 * * *", json!({}), night("skip")));
    due(&mut w, 1);
    w.start("f");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T23:00:00Z skipped (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-22T23:00:00Z expected
    f manual:#5 ran run 1
    ");
}

#[test]
fn when_a_blackout_is_taken_out_of_the_file_what_it_deferred_runs_at_once() {
    let mut w =
        World::at("2026-11-21T22:30:00Z").flow(&scheduled("0 0 * * *", json!({}), night("defer")));
    due(&mut w, 1);
    w.deploy(&scheduled("0 0 * * *", json!({}), json!({})))
        .expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T23:00:00Z ran run 1
    f cron:s:2026-11-22T23:00:00Z expected
    ");
}

#[test]
fn a_blackout_that_ended_while_the_daemon_was_down_is_a_misfire_like_any_other() {
    let mut w = World::at("2026-11-21T21:30:00Z").flow(&scheduled(
        "0 */3 * * *",
        json!({}),
        night("defer"),
    ));
    due(&mut w, 1);
    w.advance(Span::from_mins(12 * 60));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T23:00:00Z coalesced (cron:s:2026-11-22T11:00:00Z stands for it)
    f cron:s:2026-11-22T02:00:00Z coalesced (cron:s:2026-11-22T11:00:00Z stands for it)
    f cron:s:2026-11-22T05:00:00Z coalesced (cron:s:2026-11-22T11:00:00Z stands for it)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T11:00:00Z stands for it)
    f cron:s:2026-11-22T11:00:00Z ran run 1
    f cron:s:2026-11-22T14:00:00Z expected
    ");
}

#[test]
fn a_pause_that_ends_in_a_blackout_lets_runs_wait_for_its_end() {
    let all = json!({"misfire": {"down": "skip", "paused": "all", "max": 5, "window": 604_800_000_000_u64}});
    let mut w =
        World::at("2026-11-21T20:30:00Z").flow(&scheduled("0 * * * *", all, night("defer")));
    w.pause("f");
    due(&mut w, 2);
    w.unpause("f");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-21T21:00:00Z expected (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-21T22:00:00Z expected (blackout night, until 2026-11-22T06:00:00Z)
    f cron:s:2026-11-21T23:00:00Z expected
    ");
}

#[test]
fn whoever_ends_a_pause_sees_and_chooses_what_it_starts() {
    let paused = || {
        let mut w = World::new().flow(&scheduled("0 * * * *", json!({}), json!({})));
        w.pause("f");
        due(&mut w, 3);
        w
    };
    let preview = |w: &World| {
        let preview = w
            .core
            .unpause_preview(&"f".into(), w.now)
            .expect("it is paused");
        let line = |(choice, starts): &(CatchUp, Vec<dalsegno_scheduler::WouldStart>)| {
            let keys: Vec<&str> = starts.iter().map(|it| it.key.as_str()).collect();
            format!("{choice:?}: {}", keys.join(", "))
        };
        preview
            .choices
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut w = paused();
    assert_snapshot!(preview(&w), @r"
    Declared: 
    None: 
    Latest: cron:s:2026-11-22T09:00:00Z
    All: cron:s:2026-11-22T07:00:00Z, cron:s:2026-11-22T08:00:00Z, cron:s:2026-11-22T09:00:00Z
    ");
    w.unpause_with("f", CatchUp::Latest);
    assert_eq!(
        w.core.unpause_preview(&"f".into(), w.now),
        None,
        "not paused any more"
    );
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z expected
    ");
    let mut w = paused();
    w.restart();
    w.unpause_with("f", CatchUp::All);
    assert_eq!(w.occurrences().matches("ran run").count(), 3);
    let mut w = paused();
    w.unpause_with("f", CatchUp::None);
    assert_eq!(
        w.occurrences()
            .matches("skipped (the flow was paused")
            .count(),
        3
    );
}

#[test]
fn what_came_due_in_an_outage_during_a_pause_is_on_record_too() {
    let mut w = World::new().flow(&scheduled("0 * * * *", json!({}), json!({})));
    w.pause("f");
    w.advance(Span::from_mins(200));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z expected (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T08:00:00Z expected (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T09:00:00Z expected (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T10:00:00Z expected
    ");
}

#[test]
fn what_came_due_in_an_outage_is_decided_before_an_edit_or_a_removal() {
    let mut w = World::new().flow(&scheduled("0 * * * *", json!({}), json!({})));
    w.now = w.now + Span::from_mins(200);
    w.deploy(&scheduled("30 */4 * * *", json!({}), json!({})))
        .expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z skipped (the schedule was changed before it was due)
    f cron:s:2026-11-22T11:30:00Z expected
    ");
    w.now = w.now + Span::from_mins(8 * 60);
    w.decide(Input::Remove { flow: "f".into() }).expect("known");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z skipped (the schedule was changed before it was due)
    f cron:s:2026-11-22T11:30:00Z skipped (the flow file is gone)
    f cron:s:2026-11-22T15:30:00Z skipped (the flow file is gone)
    f cron:s:2026-11-22T19:30:00Z skipped (the flow file is gone)
    ");
}

#[test]
fn more_than_five_hundred_missed_are_counted_in_the_oldest() {
    let skip = json!({"misfire": {"down": "skip", "paused": "skip", "max": 5, "window": 3_600_000_000_u64}});
    let mut w = World::new().flow(&scheduled("* * * * *", skip, json!({})));
    w.advance(Span::from_mins(1_000));
    let told = w.occurrences();
    assert_eq!(
        told.lines().count(),
        502,
        "the first, the newest 500, the next"
    );
    let first = told.lines().next().expect("a line");
    assert_eq!(
        first,
        "f cron:s:2026-11-22T06:01:00Z missed (499 older occurrences were missed; only the newest 0 are caught up)"
    );
}

#[test]
fn a_schedule_that_lost_its_future_gets_it_back_at_the_next_start() {
    let mut w = World::new().flow(&scheduled("0 * * * *", json!({}), json!({})));
    assert_eq!(w.core.without_future(w.now), []);
    w.lose_occurrence("f", "cron:s:2026-11-22T07:00:00Z");
    w.restart();
    assert_snapshot!(w.occurrences(), @"f cron:s:2026-11-22T07:00:00Z expected");
    assert_eq!(w.core.without_future(w.now), []);
}

#[test]
fn whoever_will_never_run_again_is_known() {
    let ends = json!({"end": at("2026-11-22T07:30:00Z")});
    let mut w = World::new().flow(&scheduled("0 * * * *", ends, json!({})));
    due(&mut w, 1);
    let mut never = scheduled("0 0 30 2 *", json!({}), json!({}));
    never["name"] = "never".into();
    w.deploy(&never).expect("valid");
    let told = |w: &World| {
        let lines = w.core.without_future(w.now).into_iter();
        let lines = lines.map(|(flow, trigger, reason)| format!("{flow} {trigger}: {reason}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(told(&w), @r"
    f s: the schedule ended at 2026-11-22T07:30:00Z
    never s: none of the schedule's days comes again
    ");
    w.restart();
    assert_eq!(w.core.without_future(w.now).len(), 2);
}

#[test]
fn a_clock_set_back_over_an_edit_does_not_run_anything_twice() {
    let mut w = World::new().flow(&scheduled("0 * * * *", json!({}), json!({})));
    due(&mut w, 3);
    w.now = w.now - Span::from_mins(150);
    w.restart();
    w.deploy(&scheduled(
        "0 * * * *",
        json!({}),
        json!({"tags": ["changed"]}),
    ))
    .expect("valid");
    w.deploy(&scheduled("0 */2 * * *", json!({}), json!({})))
        .expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z ran run 1
    f cron:s:2026-11-22T08:00:00Z ran run 2
    f cron:s:2026-11-22T09:00:00Z ran run 3
    f cron:s:2026-11-22T10:00:00Z skipped (the schedule was changed before it was due)
    f cron:s:2026-11-22T11:00:00Z expected
    ");
}
