//! What a trigger does with events that have come: which of them a run takes, how long it waits for more, and what
//! happens when they are late.

use crate::reader::{Fields, Value};
use crate::yaml::Data;
use dalsegno_scheduler::schedule::parse_time_zone;
use dalsegno_scheduler::spec::{
    Consume, DeadlineAction, DeadlineSpec, Debounce, EventSource, TriggerExpr,
};

pub(crate) const BATCH_KEYS: [&str; 2] = ["max", "window"];
pub(crate) const CONSUME_KEYS: [&str; 1] = ["batch"];
pub(crate) const DEBOUNCE_KEYS: [&str; 2] = ["quiet", "max_wait"];
pub(crate) const DEADLINE_KEYS: [&str; 2] = ["at", "do"];

/// The most events that one run takes.
const BATCH_MAX: i64 = 10_000;

#[derive(Default)]
pub(crate) struct Handling {
    pub(crate) consume: Consume,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) on_deadline: Option<DeadlineSpec>,
    pub(crate) timezone: Option<String>,
}

impl Handling {
    /// A run may take several events of one leaf.
    pub(crate) const fn gathers(&self) -> bool {
        self.debounce.is_some() || matches!(self.consume, Consume::Batch { .. })
    }
}

pub(crate) fn read(fields: &Fields<'_>, on: Option<&TriggerExpr>) -> Handling {
    let debounce = fields.get("debounce").and_then(debounce);
    let handling = Handling {
        consume: fields
            .get("consume")
            .and_then(|it| consume(it, debounce))
            .unwrap_or_default(),
        debounce,
        on_deadline: fields.get("on_deadline").and_then(deadline),
        timezone: fields.get("timezone").and_then(timezone),
    };
    if let Some(on) = on {
        warn_of_latest(fields, on, &handling);
        timezone_without_time(fields, on);
    }
    handling
}

fn consume(value: Value<'_>, debounce: Option<Debounce>) -> Option<Consume> {
    const HELP: &str = "write `consume: { batch: { max: 100, window: 5m } }`";
    let Data::Map(_) = value.node.data else {
        if value.node.text() == Some("batch") {
            let message = "`consume: batch` needs to know how many events and how long";
            value.cx.push(value.bad(message).help(HELP));
            return None;
        }
        return value.one_of(&[("each", Consume::Each), ("latest", Consume::Latest)]);
    };
    let batch = value.fields(&CONSUME_KEYS, HELP)?.required("batch", HELP)?;
    let fields = batch.fields(&BATCH_KEYS, HELP)?;
    let max = fields
        .required("max", HELP)
        .and_then(|it| it.integer(1..=BATCH_MAX));
    let window = match (fields.get("window"), debounce) {
        (Some(window), None) => window.duration(),
        (Some(window), Some(_)) => {
            let message =
                "`window` has no meaning beside `debounce`, which says when the run begins";
            let help = "remove one of the two";
            window.cx.push(window.bad(message).help(help));
            None
        }
        (None, Some(it)) => Some(it.max_wait.unwrap_or(it.quiet)),
        (None, None) => {
            fields.required("window", HELP);
            None
        }
    };
    Some(Consume::Batch {
        max: u32::try_from(max?).ok()?,
        window: window?,
    })
}

fn debounce(value: Value<'_>) -> Option<Debounce> {
    const HELP: &str = "write `debounce: { quiet: 60s, max_wait: 10m }`";
    let fields = value.fields(&DEBOUNCE_KEYS, HELP)?;
    let quiet = fields.required("quiet", HELP).and_then(|it| it.duration());
    let max_wait = fields.get("max_wait").map(|it| (it, it.duration()));
    let debounce = Debounce {
        quiet: quiet?,
        max_wait: match max_wait {
            Some((_, max_wait)) => Some(max_wait?),
            None => None,
        },
    };
    if let (Some((at, _)), Some(max_wait)) = (max_wait, debounce.max_wait)
        && max_wait < debounce.quiet
    {
        let message = format!(
            "`max_wait` is {max_wait}, and `quiet`, {}, would never pass before it",
            debounce.quiet
        );
        at.cx.push(at.bad(message).help("swap the two"));
    }
    Some(debounce)
}

fn deadline(value: Value<'_>) -> Option<DeadlineSpec> {
    const HELP: &str = "write `on_deadline: { at: \"09:00\", do: alert }`";
    let fields = value.fields(&DEADLINE_KEYS, HELP)?;
    let action = match fields.get("do") {
        Some(it) => it.one_of(&[
            ("run", DeadlineAction::Run),
            ("skip", DeadlineAction::Skip),
            ("alert", DeadlineAction::Alert),
        ]),
        None => Some(DeadlineAction::Alert),
    };
    let at = fields.required("at", HELP).and_then(|it| it.time_of_day());
    Some(DeadlineSpec {
        at: at?,
        action: action?,
    })
}

fn timezone(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    match parse_time_zone(name) {
        Ok(_) => Some(name.to_owned()),
        Err(error) => {
            crate::graph::unknown_zone(value.cx, value.span(), &error);
            None
        }
    }
}

/// A set that is complete with its first event has no older event that a newer one could replace.
fn warn_of_latest(fields: &Fields<'_>, on: &TriggerExpr, handling: &Handling) {
    let latest = fields
        .get("consume")
        .filter(|_| handling.consume == Consume::Latest);
    if let Some(latest) = latest
        && handling.debounce.is_none()
        && !super::needs_several(on)
    {
        let message =
            "`consume: latest` changes nothing here: one event is enough, and starts a run at once";
        let help = "remove it, or let events gather first: `debounce: { quiet: 60s }`";
        let warning = latest.cx.at(latest.span(), "flow.no_effect", message);
        latest.cx.push(warning.warning().help(help));
    }
}

fn timezone_without_time(fields: &Fields<'_>, on: &TriggerExpr) {
    let is_time = |it: &EventSource| matches!(it, EventSource::After { .. });
    let has_time = on.leaves().iter().any(|it| is_time(&it.source));
    if let Some(zone) = fields.get("timezone")
        && !has_time
        && fields.entry("on_deadline").is_none()
    {
        let message = "`timezone` has no meaning here: this trigger names no time of day";
        let help = "remove it; it is about `after` and `on_deadline`";
        zone.cx.push(zone.bad(message).help(help));
    }
}
