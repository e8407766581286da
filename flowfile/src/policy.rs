//! `run`, `defaults`, retries and pools: how runs and attempts behave.

use crate::names::{self, Kind};
use crate::reader::{Fields, Value};
use crate::yaml::Data;
use dalsegno_scheduler::spec::{Backoff, Retry, RunPolicy, Strategy};
use dalsegno_scheduler::{PoolName, Span};
use std::collections::BTreeMap;

pub(crate) const RUN_KEYS: [&str; 5] = [
    "strategy",
    "priority",
    "pools",
    "timeout",
    "max_parallel_tasks",
];
pub(crate) const DEFAULTS_KEYS: [&str; 2] = ["retry", "timeout"];
pub(crate) const RETRY_KEYS: [&str; 3] = ["times", "minutes_between_retries", "backoff"];
pub(crate) const BACKOFF_KEYS: [&str; 4] = ["initial", "max", "multiplier", "jitter"];
pub(crate) const STRATEGY_KEYS: [&str; 1] = ["parallel"];

/// More retries than this are a loop.
const RETRIES_MAX: i64 = 100;
const PARALLEL_MAX: i64 = 1_000_000;

const STRATEGIES: [(&str, Strategy); 5] = [
    ("sequential", Strategy::Sequential),
    ("strict_sequential", Strategy::StrictSequential),
    ("first_only", Strategy::FirstOnly),
    ("last_only", Strategy::LastOnly),
    ("serial_latest_only", Strategy::SerialLatestOnly),
];

pub(crate) fn run(value: Value<'_>) -> RunPolicy {
    let mut policy = RunPolicy::default();
    let Some(fields) = value.fields(
        &RUN_KEYS,
        "write `run: { strategy: sequential, timeout: 4h }`",
    ) else {
        return policy;
    };
    if let Some(it) = fields.get("strategy").and_then(strategy) {
        policy.strategy = it;
    }
    if let Some(it) = fields
        .get("priority")
        .and_then(|it| it.integer(-1_000_000..=1_000_000))
    {
        policy.priority = it as i32;
    }
    policy.pools = fields.section("pools").map_or_else(BTreeMap::new, pools);
    policy.timeout = fields.get("timeout").and_then(|it| it.duration());
    policy.max_parallel_tasks = parallel(&fields, "max_parallel_tasks");
    policy
}

fn strategy(value: Value<'_>) -> Option<Strategy> {
    const HELP: &str = "write `strategy: { parallel: 4 }`";
    match &value.node.data {
        Data::Map(_) => {
            let fields = value.fields(&STRATEGY_KEYS, HELP)?;
            fields.required("parallel", HELP)?;
            parallel(&fields, "parallel").map(Strategy::Parallel)
        }
        Data::Text(text) if text.starts_with("parallel") => {
            value
                .cx
                .push(value.bad("`parallel` needs a number of runs").help(HELP));
            None
        }
        _ => value.one_of(&STRATEGIES),
    }
}

/// A number of things at once.
pub(crate) fn parallel(fields: &Fields<'_>, key: &str) -> Option<u32> {
    let number = fields.get(key)?.integer(1..=PARALLEL_MAX)?;
    u32::try_from(number).ok()
}

/// Slots held in pools.
pub(crate) fn pools(value: Value<'_>) -> BTreeMap<PoolName, u32> {
    let mut pools = BTreeMap::new();
    for entry in value.entries("write `pools: { NAME: 1 }`") {
        let good = names::check(value.cx, Kind::Pool, &entry.key, &entry.key_span);
        let slots = Value {
            name: &entry.key,
            node: &entry.value,
            cx: value.cx,
        }
        .integer(1..=1_000_000);
        if let (true, Some(slots)) = (good, slots.and_then(|it| u32::try_from(it).ok())) {
            pools.insert(PoolName::new(&entry.key), slots);
        }
    }
    pools
}

/// What steps take over if they do not say it themselves.
#[derive(Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) retry: RetryParts,
    pub(crate) timeout: Option<Span>,
}

pub(crate) fn defaults(value: Value<'_>) -> Defaults {
    let Some(fields) = value.fields(&DEFAULTS_KEYS, "write `defaults: { timeout: 30m }`") else {
        return Defaults::default();
    };
    Defaults {
        retry: fields
            .get("retry")
            .map_or_else(RetryParts::default, |it| retry(it, &RetryParts::default())),
        timeout: fields.get("timeout").and_then(|it| it.duration()),
    }
}

/// A retry as far as it is known: a step completes what the defaults begin.
#[derive(Clone, Default)]
pub(crate) struct RetryParts {
    times: Option<u32>,
    backoff: Option<Backoff>,
}

impl RetryParts {
    pub(crate) fn finish(&self) -> Retry {
        Retry {
            times: self.times.unwrap_or(0),
            backoff: self.backoff.unwrap_or_default(),
        }
    }
}

/// Reads `retry`; a bare number means `times`. What it does not say is taken from `outer`.
pub(crate) fn retry(value: Value<'_>, outer: &RetryParts) -> RetryParts {
    const HELP: &str = "write `retry: { times: 3 }`";
    let mut parts = outer.clone();
    let times = |value: Value<'_>| {
        value
            .integer(0..=RETRIES_MAX)
            .and_then(|it| u32::try_from(it).ok())
    };
    if matches!(value.node.data, Data::Int(_)) {
        parts.times = times(value);
        return parts;
    }
    let Some(fields) = value.fields(&RETRY_KEYS, HELP) else {
        return parts;
    };
    if let Some(it) = fields.get("times") {
        parts.times = times(it);
    } else if parts.times.is_none() {
        fields.missing(
            value.span(),
            "times",
            "write how many retries: `times: 3` means up to 4 attempts",
        );
    }
    match (
        fields.get("minutes_between_retries"),
        fields.section("backoff"),
    ) {
        (Some(minutes), Some(_)) => {
            let message = "`minutes_between_retries` and `backoff` say the same in two ways";
            value
                .cx
                .push(minutes.bad(message).help("keep one of the two"));
        }
        (Some(minutes), None) => parts.backoff = constant(minutes).or(parts.backoff),
        (None, Some(it)) => parts.backoff = Some(backoff(it)),
        (None, None) => {}
    }
    parts
}

/// Metaflow's wait: always the same.
fn constant(value: Value<'_>) -> Option<Backoff> {
    let minutes = value.number()?;
    if !(0.0..=10_080.0).contains(&minutes) {
        let message = format!(
            "`{}` must be from 0 to 10080 (a week), and it is {minutes}",
            value.name
        );
        value.cx.push(
            value
                .bad(message)
                .help("write a number of minutes such as 2"),
        );
        return None;
    }
    let wait = Span::from_micros((minutes * 60e6).round() as i64);
    Some(Backoff {
        initial: wait,
        max: wait,
        multiplier_percent: 100,
        jitter_percent: 0,
    })
}

fn backoff(value: Value<'_>) -> Backoff {
    let mut backoff = Backoff::default();
    let help = "write `backoff: { initial: 1s, max: 300s, multiplier: 2, jitter: 0.1 }`";
    let Some(fields) = value.fields(&BACKOFF_KEYS, help) else {
        return backoff;
    };
    if let Some(it) = fields.get("initial").and_then(|it| it.duration_or_zero()) {
        backoff.initial = it;
        backoff.max = backoff.max.max(it);
    }
    if let Some(max) = fields.get("max")
        && let Some(it) = max.duration_or_zero()
    {
        if it < backoff.initial {
            let message = format!(
                "`max` is {it}, which is below `initial`, {}",
                backoff.initial
            );
            let mut wrong = max
                .bad(message)
                .help("the first wait is `initial`; raise `max`");
            if let Some(initial) = fields.get("initial") {
                wrong = wrong.also(initial.span().clone(), "");
            }
            value.cx.push(wrong);
        }
        backoff.max = it;
    }
    let percent = |key: &str, min: f64, max: f64| {
        let value = fields.get(key)?;
        let number = value.number()?;
        if !(min..=max).contains(&number) {
            let message = format!("`{key}` must be from {min} to {max}, and it is {number}");
            value.cx.push(value.bad(message).help(match key {
                "jitter" => "0.1 makes each wait up to a tenth longer or shorter",
                _ => "2 doubles the wait each time, 1 keeps it",
            }));
            return None;
        }
        Some((number * 100.0).round() as u32)
    };
    if let Some(it) = percent("multiplier", 1.0, 100.0) {
        backoff.multiplier_percent = it;
    }
    if let Some(it) = percent("jitter", 0.0, 1.0) {
        backoff.jitter_percent = it;
    }
    backoff
}
