//! Sets of waiting events: what a run uses up, when a set fires, what holds it.

use crate::world::{World, event, flow, step};
use dalsegno_scheduler::{CatchUp, HELD_MAX, Input, RunId, Span};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn kind(kind: &str) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}}})
}

fn after(time: &str) -> Value {
    json!({"leaf": {"source": {"after": {"time": time}}}})
}

/// A flow with one trigger that joins nothing.
fn triggered(on: Value, more: Value) -> Value {
    let mut trigger = json!({"name": "t", "on": on, "join_on": "none"});
    for (name, value) in more.as_object().expect("an object") {
        trigger[name] = value.clone();
    }
    let more = json!({"triggers": [trigger], "run": {"strategy": {"parallel": 100}}});
    flow("f", &[step("a", &[], json!({}))], more)
}

fn both() -> Value {
    json!({"all_of": [kind("a"), kind("b")]})
}

impl World {
    fn events(&mut self, kinds: &str) {
        for kind in kinds.split_whitespace() {
            let id = format!("{kind}{}", self.now.0);
            self.event(kind, &id, json!({}));
            self.now = self.now + Span(1);
        }
    }

    /// Events of each run: `1: 2 3`.
    fn used(&self) -> String {
        let runs = (1..=self.last_run()).map(RunId);
        let told = runs.map(|run| {
            let events = self.run_row(run).events.iter().map(ToString::to_string);
            format!("{run}: {}", events.collect::<Vec<_>>().join(" "))
        });
        told.collect::<Vec<_>>().join("\n")
    }

    fn release(&mut self, catch_up: CatchUp) {
        let (flow, by) = ("f".into(), "ada".into());
        self.decide(Input::Unpause { flow, by, catch_up })
            .expect("the flow is there");
    }
}

#[test]
fn the_first_meets_the_first_and_the_second_the_second() {
    for order in ["a a b b", "a b a b", "b b a a"] {
        let mut w = World::new().flow(&triggered(both(), json!({})));
        w.events(order);
        assert_eq!(w.last_run(), 2, "{order}");
        assert_eq!(w.core.half_matches("f").count(), 0);
    }
    let mut w = World::new().flow(&triggered(both(), json!({})));
    w.events("a a b");
    assert_snapshot!(w.used(), @"1: 1 3");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    2 f/t#0 waiting: waits for event b
    3 f/t#1 fired run 1
    ");
}

#[test]
fn of_a_choice_the_part_that_came_first_is_used_and_the_other_waits() {
    let on = json!({"all_of": [kind("x"), {"any_of": [kind("b"), kind("c")]}]});
    let mut w = World::new().flow(&triggered(on, json!({})));
    w.events("c b x");
    assert_snapshot!(w.used(), @"1: 1 3");
    w.events("x");
    assert_snapshot!(w.used(), @r"
    1: 1 3
    2: 2 4
    ");
}

#[test]
fn a_batch_fires_when_it_is_full_or_its_window_is_over() {
    let batch = json!({"consume": {"batch": {"max": 3, "window": 60_000_000}}});
    let mut w = World::new().flow(&triggered(kind("a"), batch));
    w.events("a a");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 waiting: the set is complete; more events are gathered until 2026-11-22T06:01:00Z
    2 f/t#0 waiting: the set is complete; more events are gathered until 2026-11-22T06:01:00Z
    ");
    w.events("a");
    assert_snapshot!(w.used(), @"1: 1 2 3");
    w.events("a");
    w.restart();
    assert_eq!(w.last_run(), 1);
    w.until_due();
    assert_snapshot!(w.used(), @r"
    1: 1 2 3
    2: 4
    ");
}

#[test]
fn a_full_batch_takes_the_oldest_and_whatever_completes_it() {
    let batch = json!({"consume": {"batch": {"max": 3, "window": 60_000_000}}});
    let mut w = World::new().flow(&triggered(both(), batch));
    w.events("a a a a b");
    assert_snapshot!(w.used(), @"1: 1 2 5");
    assert_eq!(w.core.half_matches("f").count(), 2);
}

#[test]
fn a_folder_of_ten_thousand_objects_is_one_run() {
    let batch = json!({"consume": {"batch": {"max": 100_000, "window": 60_000_000}}});
    let mut spec = triggered(kind("a"), batch);
    spec["params"] = json!([{"name": "n", "type": "int"}]);
    spec["triggers"][0]["on"]["leaf"]["params"] = json!({"n": "${{ size(events) }}"});
    let mut w = World::new().flow(&spec);
    for batch in 0..10 {
        let events =
            (0..1_000).map(|n| Input::Event(event("a", &format!("{batch}/{n}"), json!({}))));
        w.batch(events);
    }
    assert_eq!(
        w.changes.half_matches.len(),
        1_000,
        "only what is new is written"
    );
    w.until_due();
    assert_eq!(w.run_row(RunId(1)).params["n"], 10_000);
    assert_eq!(w.changes.half_matches_deleted.len(), 10_000);
    assert_eq!(w.core.half_matches("f").count(), 0);
}

#[test]
fn a_debounced_trigger_fires_when_its_events_grow_quiet_with_all_of_them() {
    let debounce = json!({"debounce": {"quiet": 10_000_000, "max_wait": 25_000_000}});
    let mut w = World::new().flow(&triggered(kind("a"), debounce));
    w.events("a");
    for _ in 0..2 {
        w.advance(Span::from_secs(8));
        w.events("a");
    }
    assert_eq!(w.last_run(), 0);
    w.restart();
    w.until_due();
    assert_snapshot!(w.used(), @"1: 1 2 3");
    assert!(
        w.run_row(RunId(1))
            .created_at
            .to_string()
            .starts_with("2026-11-22T06:00:25")
    );
    // Quiet comes before the longest wait is over.
    w.events("a");
    let quiet = w.now + Span::from_secs(10) - Span(1);
    assert_eq!(w.core.next_deadline(), Some(quiet));
}

#[test]
fn what_is_complete_and_gathers_does_not_expire() {
    let more = json!({"within": 5_000_000, "debounce": {"quiet": 10_000_000}});
    let mut w = World::new().flow(&triggered(both(), more));
    w.events("a b");
    w.advance(Span::from_secs(30));
    assert_snapshot!(w.used(), @"1: 1 2");
}

#[test]
fn data_and_time_wait_for_each_other() {
    let on = json!({"all_of": [kind("a"), after("07:30")]});
    let mut w = World::new().flow(&triggered(on, json!({"timezone": "Europe/Berlin"})));
    w.events("a");
    // Half past seven in Berlin is half past six in UTC.
    assert_snapshot!(w.matches(), @"1 f/t#0 waiting: waits for 07:30");
    let set = &w.core.sets("f", w.now)[0];
    assert_eq!(
        set.fires_at.expect("known").to_string(),
        "2026-11-22T06:30:00Z"
    );
    w.restart();
    w.until_due();
    assert_eq!(w.now.to_string(), "2026-11-22T06:30:00Z");
    assert_snapshot!(w.used(), @"1: 1");
    w.events("a");
    assert_eq!(w.last_run(), 2, "the time has come already");
}

#[test]
fn the_time_is_of_the_day_on_which_the_interval_ends() {
    let on = json!({"all_of": [kind("a"), after("08:00")]});
    let mut w = World::new().flow(&triggered(on, json!({})));
    let interval = json!({"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"});
    w.event("a", "1", json!({"interval": interval}));
    assert_eq!(
        w.core.next_deadline().expect("a timer").to_string(),
        "2026-11-24T08:00:00Z"
    );
    let old = json!({"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"});
    let mut w = World::new().flow(&triggered(
        json!({"all_of": [kind("a"), after("08:00")]}),
        json!({}),
    ));
    w.event("a", "1", json!({"interval": old}));
    assert_eq!(w.last_run(), 1);
}

#[test]
fn a_pause_holds_complete_sets_and_the_choice_at_its_end_says_what_becomes_of_them() {
    for (catch_up, runs) in [
        (CatchUp::Declared, ""),
        (CatchUp::None, ""),
        (CatchUp::Latest, "1: 3 4"),
        (CatchUp::All, "1: 1 2\n2: 3 4"),
    ] {
        for restart in [false, true] {
            let mut w = World::new().flow(&triggered(both(), json!({"within": 60_000_000})));
            w.pause("f");
            w.events("a b a b a");
            assert_eq!(w.last_run(), 0);
            let held = w.matches();
            assert_eq!(
                held.matches("waiting: the flow was paused by ada").count(),
                5
            );
            w.advance(Span::from_mins(10));
            assert_eq!(
                w.core.half_matches("f").count(),
                5,
                "held sets do not expire"
            );
            let preview = w.core.held_sets(&"f".into(), w.now);
            let keys: Vec<_> = preview.iter().map(|it| it.key.as_str()).collect();
            assert_eq!(keys, ["event:t:2", "event:t:4"]);
            if restart {
                w.restart();
            }
            w.release(catch_up);
            assert_eq!(w.used(), runs, "{catch_up:?}");
            // The third `a` was alone, and its minute is over.
            assert_eq!(w.core.half_matches("f").count(), 0);
            assert!(
                w.matches()
                    .ends_with("5 f/t#0 expired: event b did not arrive within 1m")
            );
        }
    }
}

#[test]
fn an_unpause_right_after_a_restart_refuses_what_was_held() {
    let mut w = World::new().flow(&triggered(kind("a"), json!({})));
    w.pause("f");
    w.events("a");
    let held = w.core.sets("f", w.now);
    assert!(held[0].held.is_some());
    w.recover();
    w.release(CatchUp::None);
    assert_eq!(w.last_run(), 0);
    assert_snapshot!(w.matches(), @"1 f/t#0 refused: the flow was paused by ada: maintenance");
}

#[test]
fn a_long_pause_keeps_the_newest_events() {
    let mut w = World::new().flow(&triggered(kind("a"), json!({})));
    w.pause("f");
    let events = (0..=HELD_MAX).map(|n| Input::Event(event("a", &n.to_string(), json!({}))));
    w.batch(events);
    assert_eq!(w.core.half_matches("f").count(), 9_000);
    assert!(w.matches().starts_with(
        "1 f/t#0 refused: too many events waited; the oldest were refused and 9000 kept"
    ));
    assert_eq!(w.core.disorder(), Vec::<String>::new());
    w.release(CatchUp::Latest);
    assert_snapshot!(w.used(), @"1: 10001");
}

#[test]
fn sets_say_what_they_wait_for() {
    let on = json!({"all_of": [kind("a"), kind("b"), after("23:00")]});
    let mut w = World::new().flow(&triggered(on, json!({"within": 3_600_000_000i64})));
    w.events(&"a ".repeat(25));
    let sets = w.core.sets("f", w.now);
    assert_eq!(
        (sets.len(), w.core.set_count("f"), sets[0].events),
        (1, 1, 25)
    );
    let set = &sets[0];
    assert_eq!(set.missing, ["event b", "23:00"]);
    assert_eq!(
        (
            set.arrived[0].label.as_str(),
            set.arrived[0].events.len(),
            set.arrived[0].more
        ),
        ("event a", 20, 5)
    );
    assert_eq!(set.expires_at, Some(set.since + Span::from_mins(60)));
    assert_eq!(set.fires_at, None);
    assert_eq!(set.held, None);
    w.events("b");
    assert_eq!(w.core.sets("f", w.now)[0].missing, ["23:00"]);
    assert!(w.core.sets("g", w.now).is_empty());
}

#[test]
fn an_event_at_two_leaves_is_used_once() {
    let mut big = kind("a");
    big["leaf"]["where"] = "event.data.n > 10".into();
    let on = json!({"all_of": [kind("x"), {"any_of": [big, kind("a")]}]});
    let mut w = World::new().flow(&triggered(on, json!({})));
    w.event("a", "1", json!({"n": 11}));
    assert_eq!(w.core.half_matches("f").count(), 2);
    w.event("x", "2", json!({}));
    assert_snapshot!(w.matches(), @r"
    1 f/t#1 fired run 1
    1 f/t#2 fired run 1
    2 f/t#0 fired run 1
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);
    assert_eq!(w.run_row(RunId(1)).events, [1, 2]);
}

#[test]
fn parameters_come_from_the_newest_event_of_each_leaf() {
    let mut leaf = kind("a");
    leaf["leaf"]["params"] =
        json!({"n": "${{ event.data.n }}", "all": "${{ events.map(it, it.data.n) }}"});
    let mut spec = triggered(leaf, json!({"debounce": {"quiet": 1_000_000}}));
    spec["params"] = json!([{"name": "n", "type": "int"}, {"name": "all", "type": "json"}]);
    let mut w = World::new().flow(&spec);
    for n in [1, 2, 3] {
        w.event("a", &n.to_string(), json!({ "n": n }));
    }
    w.until_due();
    let params = &w.run_row(RunId(1)).params;
    assert_eq!(
        (&params["n"], &params["all"]),
        (&json!(3), &json!([1, 2, 3]))
    );
}

#[test]
fn a_template_that_fails_refuses_the_run_and_the_ledger_says_so() {
    let mut leaf = kind("a");
    leaf["leaf"]["params"] = json!({"n": "${{ event.data.n }}"});
    let mut spec = triggered(leaf, json!({}));
    spec["params"] = json!([{"name": "n", "type": "int"}]);
    let mut w = World::new().flow(&spec);
    w.event("a", "1", json!({}));
    assert_snapshot!(w.occurrences(), @"f event:t:1 skipped (parameters are not usable: n: `event.data.n`: No such key: n)");
    assert_snapshot!(w.matches(), @"1 f/t#0 refused: parameters are not usable: n: `event.data.n`: No such key: n");
}

fn nightly(action: &str) -> Value {
    let mut spec = triggered(both(), json!({}));
    spec["blackouts"] = json!([{
        "name": "night", "timezone": "UTC", "action": action,
        "window": {"daily": {"from": "22:00", "to": "06:30"}},
    }]);
    spec
}

#[test]
fn a_blackout_holds_complete_sets_until_it_is_over() {
    // Until half past six.
    for restart in [false, true] {
        let mut w = World::new().flow(&nightly("defer"));
        w.events("a b a b a");
        assert_eq!(w.last_run(), 0);
        assert!(w.matches().starts_with("1 f/t#0 waiting: blackout night"));
        assert!(w.core.sets("f", w.now)[0].held.is_some());
        if restart {
            w.restart();
        }
        assert_eq!(w.core.disorder(), Vec::<String>::new());
        w.until_due();
        assert_eq!(w.now.to_string(), "2026-11-22T06:30:00Z");
        assert_eq!(w.used(), "1: 1 2\n2: 3 4");
        assert_eq!(w.core.half_matches("f").count(), 1);
        assert_eq!(w.core.sets("f", w.now)[0].held, None);
    }
}

#[test]
fn a_pause_that_ends_in_a_blackout_holds_on() {
    let mut w = World::new().flow(&nightly("defer"));
    w.pause("f");
    w.events("a b");
    w.release(CatchUp::All);
    assert_eq!(w.last_run(), 0);
    w.until_due();
    assert_eq!(
        (w.used().as_str(), w.now.to_string().as_str()),
        ("1: 1 2", "2026-11-22T06:30:00Z")
    );
}

#[test]
fn a_blackout_that_skips_refuses_complete_sets() {
    let mut w = World::new().flow(&nightly("skip"));
    w.events("a b a");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 refused: blackout night, until 2026-11-22T06:30:00Z
    2 f/t#1 refused: blackout night, until 2026-11-22T06:30:00Z
    3 f/t#0 waiting: waits for event b
    ");
    w.advance(Span::from_mins(60));
    w.events("b");
    assert_snapshot!(w.used(), @"1: 3 4");
}

fn late(action: &str) -> Value {
    let deadline = json!({"on_deadline": {"at": "09:00", "action": action}});
    triggered(both(), deadline)
}

#[test]
fn at_a_deadline_a_run_starts_with_what_has_come() {
    let mut w = World::new().flow(&late("run"));
    w.events("a a");
    w.until_due();
    assert_snapshot!(w.used(), @"1: 1 2");
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T09:00:00Z ran run 1
    f deadline:t:2026-11-23T09:00:00Z expected
    f event:t:2 ran run 1
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);
    // The next day nothing has come at all.
    w.until_due();
    assert_eq!(w.run_row(RunId(2)).events, Vec::<u64>::new());
    assert_eq!(
        w.run_row(RunId(2)).interval.end.to_string(),
        "2026-11-23T09:00:00Z"
    );
}

#[test]
fn at_a_deadline_what_has_come_is_dropped() {
    let mut w = World::new().flow(&late("skip"));
    w.events("a");
    w.until_due();
    assert_snapshot!(w.matches(), @"1 f/t#0 expired: no run had started by the deadline, for event b had not come");
    assert_snapshot!(w.occurrences(), @r"
    f deadline:t:2026-11-22T09:00:00Z skipped (no run had started by the deadline, for event b had not come)
    f deadline:t:2026-11-23T09:00:00Z expected
    ");
}

#[test]
fn at_a_deadline_an_event_says_that_the_trigger_is_late_and_the_set_waits_on() {
    let mut w = World::new().flow(&late("alert"));
    w.events("a");
    w.until_due();
    let told = &w.changes.events[0];
    assert_eq!(
        (told.kind.as_str(), told.source.as_str()),
        ("dalsegno.trigger.late", "dalsegno:flow/f")
    );
    assert_eq!(
        *told.data,
        json!({"flow": "f", "trigger": "t", "deadline": "2026-11-22T09:00:00Z", "waiting_for": ["event b"]})
    );
    w.events("b");
    assert_snapshot!(w.used(), @"1: 1 3");
}

fn joined(kind: &str, by: &str) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}, "join": by}})
}

/// A flow with one trigger whose leaves say what they join by.
fn joining(on: Value, more: Value) -> Value {
    let mut spec = triggered(on, more);
    spec["triggers"][0]["join_on"] = "expr".into();
    spec
}

#[test]
fn an_event_that_completes_two_held_sets_starts_one_run() {
    let on = json!({"any_of": [joined("e", "event.data.x"), joined("e", "event.data.y")]});
    let mut w = World::new().flow(&joining(on, json!({})));
    w.pause("f");
    w.event("e", "1", json!({"x": "one", "y": "two"}));
    w.release(CatchUp::All);
    assert_snapshot!(w.used(), @"1: 1");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    1 f/t#1 fired run 1
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);
}

#[test]
fn an_event_that_stands_in_two_sets_is_used_up_by_the_one_that_fires() {
    let more = json!({"debounce": {"quiet": 1_000_000}});
    let on = json!({"any_of": [joined("e", "event.data.x"), joined("e", "event.data.y")]});
    let mut w = World::new().flow(&joining(on, more));
    w.event("e", "1", json!({"x": "one", "y": "two"}));
    assert_eq!(w.core.half_matches("f").count(), 2);
    w.until_due();
    w.advance(Span::from_mins(1));
    assert_snapshot!(w.used(), @"1: 1");

    let on = json!({"all_of": [joined("e", "event.data.a"), joined("e", "event.data.b")]});
    let mut w = World::new().flow(&joining(on, json!({})));
    w.event("e", "1", json!({"a": "1", "b": "2"}));
    w.event("e", "2", json!({"a": "2", "b": "1"}));
    w.event("e", "3", json!({"a": "2", "b": "9"}));
    assert_snapshot!(w.used(), @"1: 1 2");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    1 f/t#1 fired run 1
    2 f/t#0 fired run 1
    2 f/t#1 fired run 1
    3 f/t#0 waiting: waits for event e
    3 f/t#1 waiting: waits for event e
    ");
}

#[test]
fn a_deadline_runs_an_event_once_though_it_stands_in_two_sets() {
    let on = json!({"all_of": [joined("e", "event.data.a"), joined("e", "event.data.b")]});
    let more = json!({"on_deadline": {"at": "09:00", "action": "run"}});
    let mut w = World::new().flow(&joining(on, more));
    w.event("e", "1", json!({"a": "1", "b": "2"}));
    w.advance(Span::from_mins(24 * 60));
    assert_snapshot!(w.used(), @"1: 1");
}

#[test]
fn what_a_blackout_held_before_a_pause_is_deferred_on_and_not_refused() {
    let mut spec = triggered(kind("a"), json!({}));
    spec["blackouts"] = json!([{
        "name": "night", "timezone": "UTC", "action": "defer",
        "window": {"daily": {"from": "22:00", "to": "06:30"}},
    }]);
    for choice in [CatchUp::Declared, CatchUp::None] {
        let mut w = World::new().flow(&spec);
        w.events("a");
        w.pause("f");
        w.events("a");
        w.release(choice);
        assert_eq!(
            w.matches(),
            "1 f/t#0 waiting: blackout night, until 2026-11-22T06:30:00Z\n\
             2 f/t#0 refused: the flow was paused by ada: maintenance"
        );
        w.until_due();
        assert_eq!(w.used(), "1: 1");

        // The blackout ends while the flow is paused.
        let mut w = World::new().flow(&spec);
        w.events("a");
        w.pause("f");
        w.events("a");
        w.advance(Span::from_mins(12 * 60));
        assert_eq!(w.last_run(), 0);
        w.release(choice);
        assert_eq!(w.used(), "1: 1");
    }
}

#[test]
fn a_batch_that_is_filled_in_a_pause_is_refused_with_it() {
    let batch = json!({"consume": {"batch": {"max": 2, "window": 60_000_000}}});
    let mut w = World::new().flow(&triggered(kind("a"), batch));
    w.events("a");
    w.pause("f");
    w.events("a");
    w.release(CatchUp::Declared);
    assert_eq!(w.last_run(), 0);
    assert_eq!(w.core.half_matches("f").count(), 0);
}

#[test]
fn what_was_due_before_a_pause_fires_before_it() {
    let more = json!({"debounce": {"quiet": 1_000_000}});
    let mut w = World::new().flow(&triggered(kind("a"), more));
    w.events("a");
    // Nobody looks at the timers for an hour.
    w.now = w.now + Span::from_mins(60);
    w.pause("f");
    assert_snapshot!(w.used(), @"1: 1");
    w.release(CatchUp::Declared);
    assert_snapshot!(w.matches(), @"1 f/t#0 fired run 1");
}

#[test]
fn what_waits_for_an_unreadable_version_waits_on_with_its_timers_in_the_next_one() {
    let within = json!({"within": 60_000_000});
    let spec = triggered(both(), within);
    let mut other = spec.clone();
    other["params"] = json!([{"name": "zz", "type": "string", "default": ""}]);
    let mut w = World::new().flow(&spec);
    w.events("a");
    w.unreadable();
    let mut w = w.flow(&other);
    w.check();
    w.advance(Span::from_mins(60));
    assert_snapshot!(w.matches(), @"1 f/t#0 expired: event b did not arrive within 1m");

    let mut w = World::new().flow(&spec);
    w.events("a");
    w.unreadable();
    let mut w = w.flow(&other);
    w.events("b");
    assert_snapshot!(w.used(), @"1: 1 1001");
}

#[test]
fn what_waited_for_a_leaf_of_an_unreadable_version_waits_no_longer() {
    let leaf = |kind: &str| json!({"leaf": {"source": {"event": {"kind": kind}}, "params": {"p": "${{ event.id }}"}}});
    let with = |on: Value, more: Value| {
        let mut spec = triggered(on, more);
        spec["params"] = json!([{"name": "p", "type": "string", "default": ""}]);
        spec
    };
    let latest = json!({"consume": "latest"});
    let three = json!({"all_of": [leaf("a"), leaf("b"), leaf("c")]});
    let mut w = World::new().flow(&with(three, latest.clone()));
    w.events("b c");
    w.unreadable();
    let two = json!({"all_of": [leaf("a"), leaf("b")]});
    let mut w = w.flow(&with(two.clone(), latest));
    w.events("a");
    assert_snapshot!(w.used(), @"1: 1 1001");
    assert_snapshot!(w.matches(), @r"
    1 f/t#1 fired run 1
    2 f/t#2 expired: the trigger was changed while the event waited
    1001 f/t#0 fired run 1
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);

    // Neither does what would wait for another time, or what no trigger asks for.
    for name in ["t", "u"] {
        let mut w = World::new().flow(&with(two.clone(), json!({})));
        w.events("a");
        w.unreadable();
        let w = w.flow(&with(
            two.clone(),
            json!({"name": name, "within": 60_000_000}),
        ));
        assert_eq!(
            w.matches(),
            "1 f/t#0 expired: the trigger was changed while the event waited"
        );
    }
}

#[test]
fn nothing_waits_for_a_flow_that_is_gone() {
    let spec = triggered(both(), json!({"within": 60_000_000}));
    let mut w = World::new().flow(&spec);
    w.events("a");
    w.pause("f");
    w.events("a b");
    w.decide(Input::Remove { flow: "f".into() })
        .expect("removed");
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 expired: the flow file is gone
    2 f/t#0 expired: the flow file is gone
    3 f/t#1 expired: the flow file is gone
    ");
    assert_eq!(w.core.half_matches("f").count(), 0);
    let mut w = w.flow(&spec);
    w.release(CatchUp::All);
    w.events("b");
    assert_eq!(w.last_run(), 0);
}

#[test]
fn a_join_key_has_no_control_characters() {
    let on = json!({"all_of": [joined("a", "event.data.x"), joined("b", "event.data.x")]});
    let mut w = World::new().flow(&joining(on, json!({})));
    w.event("a", "1", json!({"x": "one\u{0}two"}));
    assert_snapshot!(w.matches(), @"1 f/t#0 filtered: `where` could not be evaluated: join_on: a value without control characters is expected");
    assert_eq!(w.core.half_matches("f").count(), 0);
}

#[test]
fn one_event_finds_each_of_a_flows_many_triggers() {
    let trigger = |number: usize| {
        let on = json!({"all_of": [kind(&format!("a{number}")), kind("z")]});
        json!({"name": format!("t{number}"), "on": on, "join_on": "none"})
    };
    let triggers: Vec<Value> = (0..1_000).map(trigger).collect();
    let more = json!({"triggers": triggers});
    let mut w = World::new().flow(&flow("f", &[step("a", &[], json!({}))], more));
    let active = w.core.flow("f").and_then(|it| it.flow.clone());
    let active = active.expect("it is deployed");
    for (place, it) in active.spec().triggers.iter().enumerate() {
        assert_eq!(active.trigger(&it.name), Some(place));
    }
    assert_eq!(active.trigger(&"a1".into()), None);
    w.event("z", "1", json!({}));
    assert_eq!(w.core.set_count("f"), 1_000);
    w.event("a999", "2", json!({}));
    assert_eq!(w.run_row(RunId(1)).trigger, "t999".into());
}
