//! How fast events find their triggers, and what waiting costs.
//!
//! `cargo run --release -p dalsegno-scheduler --example match_rate -- [triggers] [events] [sets]`

#![expect(
    clippy::disallowed_methods,
    reason = "the core reads no clock; who measures it does"
)]

use dalsegno_scheduler::{Config, Flow, Input, NewEvent, Scheduler, Timestamp, Version};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events of one decision, as the engine gathers them under load.
const BATCH: usize = 100;

/// What becomes of the events that are measured.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// No trigger has their type.
    Unknown,
    /// One trigger has their type, and its filter is false.
    Filtered,
    /// Each takes the place of an older one in a half-matched set.
    Replaced,
    /// An object that one pattern of one bucket matches; its filter is false.
    Object,
    /// Each starts a run.
    Fired,
}

/// How long events took.
#[derive(Clone, Debug)]
pub struct Rate {
    pub events: usize,
    pub took: Duration,
    /// Of one decision over 100 events: the 99th percentile.
    pub p99: Duration,
}

impl Rate {
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

/// A core with as many flows, each with one trigger of its own.
pub fn triggers(count: usize, fate: Fate) -> Scheduler {
    let mut core = Scheduler::recover(
        Config {
            max_tasks: 0,
            ..Config::default()
        },
        Default::default(),
    );
    for number in 0..count {
        let leaf = |kind: String| json!({"leaf": {"source": {"event": {"kind": kind}}}});
        let on = match fate {
            Fate::Replaced => {
                json!({"all_of": [leaf(format!("a{number}")), leaf(format!("b{number}"))]})
            }
            Fate::Object => json!({"leaf": {
                "source": {"object": {"bucket": "shop", "key": format!("orders/{number}/dt=*/_SUCCESS")}},
                "where": "event.data.size > 1000",
            }}),
            Fate::Filtered => {
                let mut leaf = leaf(format!("a{number}"));
                leaf["leaf"]["where"] = "event.data.size > 1000".into();
                leaf
            }
            Fate::Unknown | Fate::Fired => leaf(format!("a{number}")),
        };
        deploy(&mut core, number, &on, "none", "latest");
    }
    core
}

fn deploy(core: &mut Scheduler, number: usize, on: &Value, join: &str, consume: &str) {
    let spec = json!({
        "name": format!("flow{number}"),
        "steps": [{"name": "a", "run": {"shell": "true"}}],
        "triggers": [{"name": "t", "on": on, "join_on": join, "consume": consume}],
        "run": {"strategy": {"parallel": 100_000}, "priority": 0},
    });
    let spec = serde_json::from_value(spec).expect("a flow");
    let input = Input::Deploy {
        flow: Arc::new(Flow::new(spec).expect("valid")),
        version: Version::new("1"),
        source: "".into(),
        file: String::new(),
    };
    let (decision, _) = core
        .decide(Timestamp::from_secs(1), input)
        .expect("accepted");
    core.install(decision);
}

fn event(fate: Fate, triggers: usize, number: usize) -> NewEvent {
    // Spread over the triggers without any order.
    let trigger = number.wrapping_mul(7_919) % triggers.max(1);
    let (source, kind, subject) = match fate {
        Fate::Unknown => ("bench".into(), format!("unknown{trigger}"), None),
        Fate::Object => (
            "s3://shop".to_owned(),
            "object.created".to_owned(),
            Some(format!("orders/{trigger}/dt=2026-11-22/_SUCCESS")),
        ),
        _ => ("bench".into(), format!("a{trigger}"), None),
    };
    NewEvent {
        source,
        id: number.to_string(),
        kind,
        subject,
        time: None,
        data: json!({"size": 1, "region": "eu"}),
    }
}

/// Lets so many events arrive.
pub fn match_events(core: &mut Scheduler, fate: Fate, triggers: usize, events: usize) -> Rate {
    let mut decisions = Vec::with_capacity(events / BATCH + 1);
    let start = Instant::now();
    let mut number = 0;
    while number < events {
        let begun = Instant::now();
        let mut draft = core.draft(Timestamp::from_secs(2));
        for _ in 0..BATCH.min(events - number) {
            let event = event(fate, triggers, number);
            draft.decide(Input::Event(event)).expect("accepted");
            number += 1;
        }
        core.install(draft.finish());
        decisions.push(begun.elapsed());
    }
    let took = start.elapsed();
    decisions.sort_unstable();
    Rate {
        events,
        took,
        p99: decisions
            .get(decisions.len() * 99 / 100)
            .copied()
            .unwrap_or_default(),
    }
}

/// Half-matched sets of one trigger, each with one event and a join key of its own.
pub fn half_matched(sets: usize) -> Scheduler {
    let mut core = Scheduler::recover(Config::default(), Default::default());
    let leaf = |kind: &str| json!({"leaf": {"source": {"event": {"kind": kind}}, "join": "event.data.order"}});
    let on = json!({"all_of": [leaf("a"), leaf("b")]});
    deploy(&mut core, 0, &on, "expr", "each");
    let mut number = 0;
    while number < sets {
        let mut draft = core.draft(Timestamp::from_secs(2));
        for _ in 0..BATCH.min(sets - number) {
            let event = NewEvent {
                source: "bench".into(),
                id: number.to_string(),
                kind: "a".into(),
                subject: None,
                time: None,
                data: json!({"order": format!("order-{number:08}")}),
            };
            draft.decide(Input::Event(event)).expect("accepted");
            number += 1;
        }
        core.install(draft.finish());
    }
    core
}

/// Resident memory of this process in bytes, on Linux.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn main() {
    let mut given = std::env::args()
        .skip(1)
        .map(|it| it.parse().expect("a number"));
    let mut next = |default: usize| given.next().unwrap_or(default);
    let (count, events, sets) = (next(10_000), next(1_000_000), next(100_000));
    let before = resident_bytes().unwrap_or(0);
    let core = half_matched(sets);
    let after = resident_bytes().unwrap_or(0);
    let each = after.saturating_sub(before) / sets.max(1) as u64;
    println!("{sets} half-matched sets: {each} bytes each");
    assert_eq!(core.set_count("flow0"), sets);
    drop(core);
    for fate in [
        Fate::Unknown,
        Fate::Filtered,
        Fate::Replaced,
        Fate::Object,
        Fate::Fired,
    ] {
        let mut core = triggers(count, fate);
        // Runs that never end fill the memory; a tenth says enough.
        let events = if matches!(fate, Fate::Fired) {
            events / 10
        } else {
            events
        };
        let rate = match_events(&mut core, fate, count, events);
        println!(
            "{count} triggers, {events} events, {fate:?}: {:.0} events/s, p99 of {BATCH} events {:?}",
            rate.per_second(),
            rate.p99,
        );
    }
}
