//! Deadlines of triggers: an occurrence a day, planned like a schedule's.

use crate::world::{World, flow, step};
use dalsegno_scheduler::{Input, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn daily(at: &str, more: Value) -> Value {
    let mut all = json!({"triggers": [{
        "name": "t", "on": {"leaf": {"source": {"event": {"kind": "ready"}}}},
        "timezone": "Europe/Berlin", "on_deadline": {"at": at, "action": "alert"},
    }]});
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    flow("f", &[step("a", &[], json!({}))], all)
}

#[test]
fn a_deadline_is_expected_before_it_comes_and_its_interval_is_a_day() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    assert_snapshot!(w.occurrences(), @"f deadline:t:2026-11-22T08:00:00Z expected");
    let row = w.core.expected("f").next().expect("planned").clone();
    assert_eq!(row.interval.start.to_string(), "2026-11-21T08:00:00Z");
    assert_eq!(row.interval.end.to_string(), "2026-11-22T08:00:00Z");
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z missed (no run had started by the deadline, for event ready had not come)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
}

#[test]
fn after_an_outage_the_newest_is_acted_upon_and_older_ones_are_missed() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    w.advance(Span::from_mins(3 * 24 * 60));
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z missed (the daemon was down from 2026-11-22T08:00:00Z to 2026-11-25T06:00:00Z)
    f deadline:t:2026-11-23T08:00:00Z missed (the daemon was down from 2026-11-22T08:00:00Z to 2026-11-25T06:00:00Z)
    f deadline:t:2026-11-24T08:00:00Z missed (no run had started by the deadline, for event ready had not come)
    f deadline:t:2026-11-25T08:00:00Z expected
    ");
}

#[test]
fn a_paused_flow_is_not_late() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    w.pause("f");
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z missed (the flow was paused by ada: maintenance)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
}

#[test]
fn in_a_blackout_a_deadline_waits_for_its_end_or_is_skipped() {
    let blackout = |action: &str| {
        let window = json!({"daily": {"from": "08:00", "to": "10:00"}});
        let it = json!({"name": "work", "timezone": "Europe/Berlin", "window": window, "action": action});
        json!({"blackouts": [it]})
    };
    let mut w = World::new().flow(&daily("09:00", blackout("defer")));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z expected (blackout work, until 2026-11-22T09:00:00Z)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
    w.restart();
    w.until_due();
    assert_eq!(w.now.to_string(), "2026-11-22T09:00:00Z");
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z missed (no run had started by the deadline, for event ready had not come)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
    let mut w = World::new().flow(&daily("09:00", blackout("skip")));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z skipped (blackout work, until 2026-11-22T09:00:00Z)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
}

#[test]
fn edits_and_removal_end_what_was_expected() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    w.deploy(&daily("10:00", json!({}))).expect("valid");
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z skipped (the schedule was changed before it was due)
    f deadline:t:2026-11-22T09:00:00Z expected
    ");
    w.decide(Input::Remove { flow: "f".into() }).expect("known");
    assert_eq!(w.core.next_deadline(), None);
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z skipped (the schedule was changed before it was due)
    f deadline:t:2026-11-22T09:00:00Z skipped (the flow file is gone)
    ");
}

#[test]
fn a_schedule_of_the_same_name_is_another_matter() {
    let schedule = json!({"name": "t", "when": {"cron": {"text": "0 8 * * *"}}, "timezone": "UTC"});
    let mut w = World::new().flow(&daily("09:00", json!({"schedules": [schedule]})));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f cron:t:2026-11-22T08:00:00Z ran run 1
    f cron:t:2026-11-23T08:00:00Z expected
    f deadline:t:2026-11-22T08:00:00Z missed (no run had started by the deadline, for event ready had not come)
    f deadline:t:2026-11-23T08:00:00Z expected
    ");
}

#[test]
fn a_run_of_the_trigger_meets_the_deadline_and_the_row_says_which() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    w.event("ready", "1", json!({}));
    w.event("ready", "2", json!({}));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z ran run 1
    f deadline:t:2026-11-23T08:00:00Z expected
    f event:t:1 ran run 1
    f event:t:2 ran run 2
    ");
}

#[test]
fn an_event_after_an_outage_over_the_deadline_comes_too_late_for_it() {
    let mut w = World::new().flow(&daily("09:00", json!({})));
    w.now = w.now + Span::from_mins(2 * 24 * 60);
    w.event("ready", "1", json!({}));
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z missed (the daemon was down from 2026-11-22T08:00:00Z to 2026-11-24T06:00:00Z)
    f deadline:t:2026-11-23T08:00:00Z missed (the daemon was down from 2026-11-22T08:00:00Z to 2026-11-24T06:00:00Z)
    f deadline:t:2026-11-24T08:00:00Z ran run 1
    f deadline:t:2026-11-25T08:00:00Z expected
    f event:t:1 ran run 1
    ");
}

#[test]
fn what_a_blackout_held_meets_the_deadline_that_it_deferred() {
    let window = json!({"daily": {"from": "08:00", "to": "10:00"}});
    let it =
        json!({"name": "work", "timezone": "Europe/Berlin", "window": window, "action": "defer"});
    let mut w = World::new().flow(&daily("09:00", json!({"blackouts": [it]})));
    w.advance(Span::from_mins(90));
    w.event("ready", "1", json!({}));
    w.until_due();
    w.until_due();
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T08:00:00Z ran run 1
    f deadline:t:2026-11-23T08:00:00Z expected
    f event:t:1 ran run 1
    ");
}
