//! Where events come from: objects, data sets, replays, backfills; and what is wrong with them.

use crate::world::{World, event, flow, step};
use dalsegno_scheduler::row::{EXCERPT_BYTES_MAX, EventRow, RefusedRow};
use dalsegno_scheduler::{
    Answer, Flow, Input, NewEvent, Rejected, ReplayRequest, RunId, Span, dry_run,
};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::sync::Arc;

fn object(bucket: &str, key: &str) -> NewEvent {
    NewEvent {
        source: format!("s3://{bucket}"),
        subject: Some(key.into()),
        ..event(
            "object.created",
            key,
            json!({"bucket": bucket, "key": key, "size": key.len()}),
        )
    }
}

fn on_object(bucket: &str, key: &str) -> Value {
    json!({"leaf": {"source": {"object": {"bucket": bucket, "key": key}}}})
}

fn kind(kind: &str) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}}})
}

fn triggered(name: &str, on: Value, more: Value) -> Value {
    let mut trigger = json!({"name": "t", "on": on, "join_on": "none"});
    for (name, value) in more.as_object().expect("an object") {
        trigger[name] = value.clone();
    }
    let more = json!({"triggers": [trigger], "run": {"strategy": {"parallel": 100}}});
    flow(name, &[step("a", &[], json!({}))], more)
}

impl World {
    fn object(&mut self, bucket: &str, key: &str) {
        self.decide(Input::Event(object(bucket, key)))
            .expect("the event is taken");
    }

    fn stored(&self) -> Arc<EventRow> {
        self.changes.events[0].clone()
    }

    fn replay(
        &mut self,
        event: &Arc<EventRow>,
        flow: Option<&str>,
        key: Option<&str>,
    ) -> Result<Answer, Rejected> {
        self.decide(Input::Replay(ReplayRequest {
            event: event.clone(),
            flow: flow.map(Into::into),
            key: key.map(str::to_owned),
            by: "ada".into(),
        }))
    }
}

#[test]
fn an_object_starts_the_flows_whose_pattern_it_matches() {
    let mut leaf = on_object("shop", "orders/dt=*/_SUCCESS");
    leaf["leaf"]["params"] = json!({"date": "${{ event.match[0] }}"});
    leaf["leaf"]["where"] = "event.match[0] > '2026-11-20' && event.data.size > 0".into();
    let mut spec = triggered("f", leaf, json!({}));
    spec["params"] = json!([{"name": "date", "type": "date"}]);
    let mut w = World::new()
        .flow(&spec)
        .flow(&triggered("all", on_object("shop", "**"), json!({})))
        .flow(&triggered(
            "deep",
            on_object("shop", "orders/**/*.csv"),
            json!({}),
        ))
        .flow(&triggered("other", on_object("elsewhere", "**"), json!({})))
        .flow(&triggered("any", kind("object.created"), json!({})));
    w.object("shop", "orders/dt=2026-11-22/_SUCCESS");
    w.object("shop", "orders/dt=2026-11-19/_SUCCESS");
    w.object("shop", "orders/dt=2026-11-22/eu/1.csv");
    w.object("shop", "returns.csv");
    assert_snapshot!(w.matches(), @r"
    1 all/t#0 fired run 1
    1 any/t#0 fired run 2
    1 f/t#0 fired run 3
    2 all/t#0 fired run 4
    2 any/t#0 fired run 5
    2 f/t#0 filtered: `where` was false: event.match[0] > '2026-11-20' && event.data.size > 0
    3 all/t#0 fired run 6
    3 any/t#0 fired run 7
    3 deep/t#0 fired run 8
    4 all/t#0 fired run 9
    4 any/t#0 fired run 10
    ");
    assert_eq!(w.run_row(RunId(3)).params["date"], "2026-11-22");
}

#[test]
fn captures_join_what_belongs_together() {
    let leaf = |key: &str| {
        let mut leaf = on_object("shop", key);
        leaf["leaf"]["join"] = "event.match[0]".into();
        leaf
    };
    let on = json!({"all_of": [leaf("a/*.csv"), leaf("b/*.csv")]});
    let mut w = World::new().flow(&triggered("f", on, json!({"join_on": "expr"})));
    for key in ["a/1.csv", "b/2.csv", "b/1.csv"] {
        w.object("shop", key);
    }
    assert_eq!(w.run_row(RunId(1)).events, [1, 3]);
    assert_eq!(w.core.sets("f", w.now)[0].join_key, "2");
}

#[test]
fn what_only_looks_like_an_object_starts_nothing() {
    let mut w = World::new().flow(&triggered("f", on_object("shop", "**"), json!({})));
    for odd in [
        NewEvent {
            subject: None,
            ..object("shop", "x")
        },
        NewEvent {
            source: "shop".into(),
            ..object("shop", "x")
        },
        NewEvent {
            kind: "object.deleted".into(),
            ..object("shop", "x")
        },
    ] {
        w.decide(Input::Event(odd)).expect("the event is taken");
    }
    assert_eq!(w.matches(), "");
}

#[test]
fn a_data_set_starts_those_that_wait_for_it() {
    let on = json!({"leaf": {"source": {"dataset": {"namespace": "warehouse", "name": "dim"}}}});
    let mut w = World::new().flow(&triggered("f", on, json!({})));
    w.event(
        "dataset.written",
        "1",
        json!({"namespace": "warehouse", "name": "dim"}),
    );
    w.event(
        "dataset.written",
        "2",
        json!({"namespace": "warehouse", "name": "fact"}),
    );
    w.event("dataset.written", "3", json!("no fields"));
    assert_snapshot!(w.matches(), @"1 f/t#0 fired run 1");
}

#[test]
fn a_replayed_event_is_a_new_one_with_the_same_content() {
    let mut w = World::new()
        .flow(&triggered("f", kind("a"), json!({})))
        .flow(&triggered("g", kind("a"), json!({})));
    w.event("a", "one", json!({"n": 1}));
    let first = w.stored();
    w.advance(Span::from_mins(5));
    assert_eq!(
        w.replay(&first, Some("g"), Some("k")),
        Ok(Answer::Event {
            seq: 2,
            runs: vec![RunId(3)],
            duplicate: false
        })
    );
    let again = w.stored();
    assert_eq!((again.id.as_str(), again.replay_of), ("one~2", Some(1)));
    assert_eq!(
        (&again.source, &again.data, again.time),
        (&first.source, &first.data, first.time)
    );
    assert_eq!(again.received_at, w.now);
    let claims: Vec<_> = w
        .changes
        .claims
        .iter()
        .map(|it| (it.key.as_str(), it.result.as_str()))
        .collect();
    assert_eq!(claims, [("replay:1 k", "event:2")]);
    assert_snapshot!(w.matches(), @r"
    1 f/t#0 fired run 1
    1 g/t#0 fired run 2
    2 g/t#0 fired run 3
    ");
    w.replay(&again, None, None)
        .expect("a replay may be replayed");
    assert_eq!(
        (w.stored().id.as_str(), w.stored().replay_of),
        ("one~2~3", Some(2))
    );
    assert!(w.changes.claims.is_empty());
    assert!(matches!(
        w.replay(&first, Some("h"), None),
        Err(Rejected::UnknownFlow { .. })
    ));
}

#[test]
fn the_id_of_a_replay_stays_within_its_bound() {
    let mut w = World::new();
    let long = "é".repeat(512);
    w.event("a", &long, json!({}));
    let first = w.stored();
    w.replay(&first, None, None).expect("accepted");
    let id = w.stored().id.clone();
    assert!(id.len() <= 1024 && id.ends_with("é~2"), "{id}");
}

#[test]
fn a_refused_delivery_is_on_record_once() {
    let mut w = World::new();
    let row = RefusedRow {
        source: "queue:arrivals".into(),
        id: "m1".into(),
        reason: "not JSON".into(),
        excerpt: "é".repeat(EXCERPT_BYTES_MAX),
        received_at: w.now,
    };
    assert_eq!(w.decide(Input::Refuse(row.clone())), Ok(Answer::Done));
    assert_eq!(w.changes.refused.len(), 1);
    assert_eq!(w.changes.refused[0].excerpt.len(), EXCERPT_BYTES_MAX);
    let claims: Vec<_> = w.changes.claims.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(claims, ["refused:14 queue:arrivals m1"]);
    let long = RefusedRow {
        id: "x".repeat(2000),
        ..row
    };
    assert!(matches!(
        w.decide(Input::Refuse(long)),
        Err(Rejected::TooLarge(..))
    ));
}

#[test]
fn events_from_the_future_and_out_of_order_count_as_they_arrive() {
    let on = json!({"all_of": [kind("a"), kind("b")]});
    let mut w = World::new().flow(&triggered("f", on, json!({"within": 60_000_000})));
    let at = |text: &str| dalsegno_scheduler::Timestamp::parse_rfc3339(text);
    let future = NewEvent {
        time: at("2999-01-01T00:00:00Z"),
        ..event("a", "1", json!({}))
    };
    let past = NewEvent {
        time: at("1970-01-01T00:00:00Z"),
        ..event("b", "2", json!({}))
    };
    w.decide(Input::Event(future)).expect("taken");
    assert_eq!(
        w.core.next_deadline(),
        Some(w.now + Span::from_mins(1)),
        "by arrival"
    );
    w.decide(Input::Event(past)).expect("taken");
    assert_eq!(w.run_row(RunId(1)).events, [1, 2]);
}

#[test]
fn a_filter_that_fails_is_counted_and_the_event_is_not_lost() {
    let mut broken = kind("a");
    broken["leaf"]["where"] = "event.data.n > 10".into();
    let mut w = World::new()
        .flow(&triggered("broken", broken, json!({})))
        .flow(&triggered("f", kind("a"), json!({})));
    w.event("a", "1", json!({"n": "ten"}));
    let row = w
        .changes
        .matches
        .iter()
        .find(|it| it.flow.as_str() == "broken")
        .expect("a row");
    assert_eq!(
        row.reason.as_ref().expect("a reason").code(),
        "filter_failed"
    );
    assert_eq!(w.changes.events.len(), 1);
    assert_eq!(w.core.runs_of("f").count(), 1);
}

#[test]
fn a_dry_run_tells_which_runs_would_have_started() {
    let on = json!({"all_of": [kind("a"), kind("b")]});
    let mut old = World::new();
    let mut events = Vec::new();
    for (minutes, kind, n) in [
        (0, "a", 1),
        (10, "b", 2),
        (20, "a", 3),
        (200, "b", 4),
        (30, "a", 5),
    ] {
        old.now = old.now + Span::from_mins(minutes);
        old.event(kind, &n.to_string(), json!({"n": n}));
        events.push(old.stored());
    }
    let mut spec = triggered("f", on, json!({"within": 3_600_000_000i64}));
    spec["params"] = json!([{"name": "n", "type": "int", "max": 4}]);
    spec["triggers"][0]["on"]["all_of"][0]["leaf"]["params"] = json!({"n": "${{ event.data.n }}"});
    spec["schedules"] = json!([{"name": "s", "when": {"cron": {"text": "0 8 * * *"}}, "timezone": "UTC", "params": {"n": 0}}]);
    spec["run"] = json!({"strategy": "first_only", "priority": 0, "pools": {"gone": 3}});
    let spec = serde_json::from_value(spec).expect("a flow");
    let flow = Flow::new(spec).expect("valid");
    let from = events[0].received_at;
    let tell = |to| {
        let told = dry_run(&flow, &events, from, to).into_iter().map(|it| {
            let refused = it
                .refused
                .map(|it| format!(" refused: {it}"))
                .unwrap_or_default();
            format!(
                "{} {} {:?} {}{refused}",
                it.at,
                it.trigger,
                it.events,
                json!(it.params)
            )
        });
        told.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(tell(old.now + Span::from_mins(24 * 60)), @r#"
    2026-11-22T06:10:00Z t [1, 2] {"n":1}
    2026-11-22T08:00:00Z s [] {"n":0}
    2026-11-22T10:20:00Z t [] {} refused: parameters are not usable: parameter `n`: 5 is more than 4
    2026-11-23T08:00:00Z s [] {"n":0}
    "#);
    assert_snapshot!(tell(from + Span::from_mins(15)), @r#"2026-11-22T06:10:00Z t [1, 2] {"n":1}"#);
}

#[test]
fn the_end_of_a_backfills_run_starts_nothing() {
    let on = json!({"leaf": {"source": {"flow": {"flow": "up", "on": "succeeded"}}}});
    let mut w = World::new().flow(&triggered("down", on, json!({})));
    let mut told = EventRow {
        source: "dalsegno:flow/up".into(),
        kind: "dalsegno.run.ended".into(),
        data: Arc::new(json!({"flow": "up", "state": "succeeded", "backfill": 7})),
        ..stranger()
    };
    w.replay(&Arc::new(told.clone()), None, None)
        .expect("accepted");
    told.data = Arc::new(json!({"flow": "up", "state": "succeeded"}));
    w.replay(&Arc::new(told), None, None).expect("accepted");
    assert_snapshot!(w.matches(), @r"
    1 down/t#0 filtered: the run belongs to backfill 7, which itself says what follows
    2 down/t#0 fired run 1
    ");
}

/// An event of long ago.
fn stranger() -> EventRow {
    let mut w = World::new();
    w.event("a", "1", json!({}));
    EventRow::clone(&w.stored())
}
