//! Occurrences of schedules: planned ahead, due, missed, held, changed.

use crate::world::{World, flow, step};
use dalsegno_scheduler::{Input, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn scheduled(schedule: Value) -> Value {
    let mut it = json!({
        "name": "s", "when": {"cron": {"text": "0 * * * *"}}, "timezone": "UTC",
    });
    for (name, value) in schedule.as_object().expect("an object") {
        it[name] = value.clone();
    }
    let more = json!({"schedules": [it], "run": {"strategy": {"parallel": 10}}});
    flow("f", &[step("a", &[], json!({}))], more)
}

fn misfire(down: &str, paused: &str) -> Value {
    json!({"misfire": {"down": down, "paused": paused, "max": 2, "window": 18_000_000_000_u64}})
}

#[test]
fn the_next_occurrence_is_a_row_before_it_is_due() {
    let mut w = World::new();
    w.deploy(&scheduled(json!({}))).expect("valid");
    assert_snapshot!(w.journal(), @r"
    +0s flow.active f
    +0s occurrence.expected f cron:s:2026-11-22T07:00:00Z
    ");
    w.until_due();
    assert_snapshot!(w.journal(), @r"
    +3600s run.running 1
    +3600s occurrence.ran f cron:s:2026-11-22T07:00:00Z
    +3600s occurrence.expected f cron:s:2026-11-22T08:00:00Z
    +3600s task.submitting 1/a
    +3600s > submit 1/a/1
    ");
    let run = w.run_row(dalsegno_scheduler::RunId(1));
    assert_eq!(run.interval.start.to_string(), "2026-11-22T06:00:00Z");
    assert_eq!(run.interval.end.to_string(), "2026-11-22T07:00:00Z");
}

#[test]
fn a_little_late_is_not_missed() {
    let mut w = World::new().flow(&scheduled(json!({})));
    w.advance(Span::from_secs(3_660));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z ran run 1
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}

#[test]
fn local_time_is_kept_when_the_clock_changes() {
    let daily = json!({"when": {"cron": {"text": "30 2 * * *"}}, "timezone": "Europe/Berlin"});
    let mut w = World::at("2026-03-27T12:00:00Z").flow(&scheduled(daily));
    for _ in 0..3 {
        w.until_due();
    }
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-03-28T01:30:00Z ran run 1
    f cron:s:2026-03-29T01:00:00Z ran run 2
    f cron:s:2026-03-30T00:30:00Z ran run 3
    f cron:s:2026-03-31T00:30:00Z expected
    ");
}

#[test]
fn after_an_outage_skip_runs_nothing_and_says_what_was_missed() {
    let mut w = World::new().flow(&scheduled(misfire("skip", "skip")));
    w.advance(Span::from_mins(210));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z missed (the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T09:30:00Z)
    f cron:s:2026-11-22T08:00:00Z missed (the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T09:30:00Z)
    f cron:s:2026-11-22T09:00:00Z missed (the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T09:30:00Z)
    f cron:s:2026-11-22T10:00:00Z expected
    ");
}

#[test]
fn after_an_outage_latest_runs_the_newest_for_all() {
    let mut w = World::new().flow(&scheduled(misfire("latest", "skip")));
    w.advance(Span::from_mins(210));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z expected
    ");
}

#[test]
fn after_an_outage_all_runs_the_newest_few() {
    let mut w = World::new().flow(&scheduled(misfire("all", "skip")));
    w.restart();
    w.advance(Span::from_mins(270));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z missed (the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T10:30:00Z)
    f cron:s:2026-11-22T08:00:00Z missed (the daemon was down from 2026-11-22T07:00:00Z to 2026-11-22T10:30:00Z)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z ran run 2
    f cron:s:2026-11-22T11:00:00Z expected
    ");
}

#[test]
fn what_is_older_than_the_window_is_not_caught_up() {
    let mut spec = scheduled(misfire("latest", "skip"));
    spec["schedules"][0]["when"]["cron"]["text"] = "0 8 * * *".into();
    let mut w = World::new().flow(&spec);
    w.advance(Span::from_mins(60 * 8));
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T08:00:00Z missed (older than the misfire window of 5h)
    f cron:s:2026-11-23T08:00:00Z expected
    ");
}

#[test]
fn a_pause_skips_by_default() {
    let mut w = World::new().flow(&scheduled(json!({})));
    w.pause("f");
    w.until_due();
    w.unpause("f");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z skipped (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}

#[test]
fn after_a_pause_latest_runs_the_newest_of_those_held() {
    let mut w = World::new().flow(&scheduled(misfire("skip", "latest")));
    w.pause("f");
    for _ in 0..3 {
        w.until_due();
    }
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z skipped (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T08:00:00Z expected (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T09:00:00Z expected (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T10:00:00Z expected
    ");
    w.restart();
    w.unpause("f");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z skipped (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T08:00:00Z coalesced (cron:s:2026-11-22T09:00:00Z stands for it)
    f cron:s:2026-11-22T09:00:00Z ran run 1
    f cron:s:2026-11-22T10:00:00Z expected
    ");
}

#[test]
fn after_a_pause_all_runs_the_newest_few() {
    let mut w = World::new().flow(&scheduled(misfire("skip", "all")));
    w.pause("f");
    for _ in 0..3 {
        w.until_due();
    }
    w.unpause("f");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z skipped (the flow was paused by ada: maintenance)
    f cron:s:2026-11-22T08:00:00Z ran run 1
    f cron:s:2026-11-22T09:00:00Z ran run 2
    f cron:s:2026-11-22T10:00:00Z expected
    ");
}

#[test]
fn people_start_a_paused_flow_all_the_same() {
    let mut w = World::new().flow(&scheduled(json!({})));
    w.pause("f");
    w.start("f");
}

#[test]
fn a_changed_schedule_replaces_what_was_expected() {
    let mut w = World::new().flow(&scheduled(
        json!({"when": {"cron": {"text": "30 7 * * *"}}}),
    ));
    w.deploy(&scheduled(json!({"when": {"cron": {"text": "0 9 * * *"}}})))
        .expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:30:00Z skipped (the schedule was changed before it was due)
    f cron:s:2026-11-22T09:00:00Z expected
    ");
}

#[test]
fn a_schedule_that_comes_more_often_does_not_wait_for_the_old_occurrence() {
    let daily = json!({"when": {"cron": {"text": "0 0 * * *"}}});
    let mut w = World::new().flow(&scheduled(daily));
    w.deploy(&scheduled(json!({}))).expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z expected
    f cron:s:2026-11-23T00:00:00Z skipped (the schedule was changed before it was due)
    ");
}

#[test]
fn a_flow_that_goes_and_comes_back_is_expected_again() {
    let mut w = World::new().flow(&scheduled(json!({})));
    w.decide(Input::Remove { flow: "f".into() }).expect("known");
    assert_eq!(w.core.next_deadline(), None);
    assert_snapshot!(w.occurrences(), @"f cron:s:2026-11-22T07:00:00Z skipped (the flow file is gone)");
    w.deploy(&scheduled(json!({}))).expect("valid");
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z ran run 1
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}

#[test]
fn jitter_moves_the_start_and_a_new_jitter_moves_it_again() {
    let jitter = |minutes: i64| json!({"jitter": Span::from_mins(minutes).as_micros()});
    let mut w = World::new().flow(&scheduled(jitter(30)));
    let first = w.core.next_deadline().expect("due");
    assert!(first > w.now + Span::from_mins(60) && first <= w.now + Span::from_mins(90));
    w.deploy(&scheduled(jitter(0))).expect("valid");
    let second = w.core.next_deadline().expect("due");
    assert_eq!(second, w.now + Span::from_mins(60));
    w.deploy(&scheduled(jitter(30))).expect("valid");
    assert_eq!(w.core.next_deadline(), Some(first));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z ran run 1
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}

#[test]
fn a_schedule_has_a_beginning_and_an_end() {
    let at = |text: &str| {
        dalsegno_scheduler::Timestamp::parse_rfc3339(text)
            .expect("valid")
            .0
    };
    let bounds = json!({"start": at("2026-11-22T08:00:00Z"), "end": at("2026-11-22T10:00:00Z")});
    let mut w = World::new().flow(&scheduled(bounds));
    for _ in 0..2 {
        w.until_due();
    }
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T08:00:00Z ran run 1
    f cron:s:2026-11-22T09:00:00Z ran run 2
    ");
    assert_eq!(w.core.next_deadline(), None);
}

#[test]
fn a_schedule_gives_parameters() {
    let mut spec = scheduled(json!({"params": {"day": "${{ interval.start }}"}}));
    spec["params"] = json!([{"name": "day", "type": "date"}]);
    let mut w = World::new().flow(&spec);
    w.until_due();
    assert_eq!(
        w.run_row(dalsegno_scheduler::RunId(1)).params["day"],
        "2026-11-22"
    );
}

#[test]
fn an_occurrence_whose_parameters_do_not_fit_is_skipped_with_the_reason() {
    let mut spec = scheduled(json!({}));
    spec["params"] = json!([{"name": "day", "type": "date"}]);
    let mut w = World::new().flow(&spec);
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f cron:s:2026-11-22T07:00:00Z skipped (parameters are not usable: parameter `day`: must be given)
    f cron:s:2026-11-22T08:00:00Z expected
    ");
}
