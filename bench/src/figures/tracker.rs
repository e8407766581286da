//! (m) Events and the triggers they find, (n) what events cost that wait: through the core alone.
//!
//! Triggers are found by indexes, so an event among 10,000 triggers must not cost much more than among 100.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::memory::resident_bytes;
use crate::percentile::percentile;
use crate::{floors, place};
use anyhow::Result;
use dalsegno_scheduler::{Config, Flow, Input, NewEvent, Scheduler, Timestamp, Version};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Events of one decision, as the engine gathers them under load.
const BATCH: usize = 100;
const FEW: usize = 100;
const MANY: usize = 10_000;

/// What becomes of the events that are measured.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// No trigger has their type.
    Unknown,
    /// One trigger has their type, and its filter is false.
    Filtered,
    /// Each takes the place of an older one in a set that waits.
    Replaced,
    /// An object that one pattern of one bucket matches; its filter is false.
    Object,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "nobody waits for",
            Self::Filtered => "a filter turns down",
            Self::Replaced => "wait for others",
            Self::Object => "are objects, by pattern and filter",
        }
    }
}

pub(super) fn matching(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let events = effort.pick(1_000_000, 20_000);
    let fsync = floors::fsync_p50_us(folder.path())?;
    let mut figures = Vec::new();
    for fate in [Fate::Unknown, Fate::Filtered, Fate::Replaced, Fate::Object] {
        let (few, _) = rate(&mut triggers(FEW, fate), fate, FEW, events / 10);
        let (many, p99_us) = rate(&mut triggers(MANY, fate), fate, MANY, events);
        let name = format!(
            "{events} events against {MANY} triggers, that {}",
            fate.name()
        );
        figures.push(
            Figure::new("m", name, many, "events/s")
                .limit(format!("against {FEW} triggers"), few)
                .aim(Aim::RatioAtLeast(0.5))
                .more("p99 of a decision over 100 events µs", p99_us)
                .judged(fsync),
        );
    }
    Ok(figures)
}

pub(super) fn waiting(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let sets = effort.pick(100_000, 10_000);
    let before = resident_bytes();
    let core = half_matched(sets);
    let each = (resident_bytes() - before) / sets as f64;
    anyhow::ensure!(core.set_count("flow0") == sets, "every event waits");
    let fsync = floors::fsync_p50_us(folder.path())?;
    let name = format!("memory per half-matched set with one event, of {sets}");
    let figure = Figure::new("n", name, each, "B").aim(Aim::AtMost(2_048.0));
    Ok(vec![figure.judged(fsync)])
}

/// A core with as many flows, each with one trigger of its own.
fn triggers(count: usize, fate: Fate) -> Scheduler {
    let mut core = Scheduler::recover(Config::default(), Default::default());
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
            Fate::Unknown => leaf(format!("a{number}")),
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
    });
    let spec = serde_json::from_value(spec).expect("a flow");
    let input = Input::Deploy {
        flow: Arc::new(Flow::new(spec).expect("valid")),
        version: Version::new("1"),
        source: "".into(),
        file: String::new(),
    };
    let decided = core.decide(Timestamp::from_secs(1), input);
    core.install(decided.expect("accepted").0);
}

fn event(fate: Fate, triggers: usize, number: usize) -> NewEvent {
    // Spread over the triggers without any order.
    let trigger = number.wrapping_mul(7_919) % triggers;
    let (source, kind, subject) = match fate {
        Fate::Unknown => ("bench".into(), format!("unknown{trigger}"), None),
        Fate::Object => (
            "s3://shop".to_owned(),
            "object.created".to_owned(),
            Some(format!("orders/{trigger}/dt=2026-11-22/_SUCCESS")),
        ),
        Fate::Filtered | Fate::Replaced => ("bench".into(), format!("a{trigger}"), None),
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

/// Events a second, and the 99th percentile of one decision in microseconds.
fn rate(core: &mut Scheduler, fate: Fate, triggers: usize, events: usize) -> (f64, f64) {
    let mut decisions = Vec::with_capacity(events / BATCH);
    let start = Instant::now();
    for batch in 0..events / BATCH {
        let begun = Instant::now();
        let mut draft = core.draft(Timestamp::from_secs(2));
        for number in batch * BATCH..(batch + 1) * BATCH {
            let event = event(fate, triggers, number);
            draft.decide(Input::Event(event)).expect("accepted");
        }
        core.install(draft.finish());
        decisions.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let took = start.elapsed().as_secs_f64();
    let done = decisions.len() * BATCH;
    (done as f64 / took, percentile(&decisions, 99.0))
}

/// Sets of one trigger, each with one event and a join key of its own.
fn half_matched(sets: usize) -> Scheduler {
    let mut core = Scheduler::recover(Config::default(), Default::default());
    let leaf = |kind: &str| json!({"leaf": {"source": {"event": {"kind": kind}}, "join": "event.data.order"}});
    let on = json!({"all_of": [leaf("a"), leaf("b")]});
    deploy(&mut core, 0, &on, "expr", "each");
    for batch in 0..sets / BATCH {
        let mut draft = core.draft(Timestamp::from_secs(2));
        for number in batch * BATCH..(batch + 1) * BATCH {
            let event = NewEvent {
                source: "bench".into(),
                id: number.to_string(),
                kind: "a".into(),
                subject: None,
                time: None,
                data: json!({"order": format!("order-{number:08}")}),
            };
            draft.decide(Input::Event(event)).expect("accepted");
        }
        core.install(draft.finish());
    }
    core
}
