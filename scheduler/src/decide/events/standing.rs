//! How a set stands: whether it is complete, when it fires, when events of it expire. Worked out from what waits and
//! from nothing else, so a restart changes nothing.

use super::leaf::interval_of;
use crate::row::HalfMatchRow;
use crate::spec::{Consume, EventSource, TriggerExpr, TriggerLeaf, TriggerSpec};
use crate::time::Timestamp;
use chrono::TimeZone;
use std::sync::Arc;

/// The two ends of what waits at each leaf.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Over all leaves.
    pub(super) events: u32,
    pub(super) leaves: Vec<Option<Queue>>,
}

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) oldest: Arc<HalfMatchRow>,
    /// When the newest one arrived.
    pub(super) newest_at: Timestamp,
}

impl Queues {
    /// Takes a row into account; rows of one leaf come oldest first.
    pub(super) fn add(&mut self, row: &Arc<HalfMatchRow>) {
        let Some(queue) = self.leaves.get_mut(usize::from(row.leaf)) else {
            return;
        };
        let newest_at = row.event.received_at;
        match queue {
            Some(queue) => queue.newest_at = newest_at,
            None => {
                *queue = Some(Queue {
                    oldest: row.clone(),
                    newest_at,
                });
            }
        }
    }

    fn at(&self, leaf: u16) -> Option<&Queue> {
        self.leaves.get(usize::from(leaf))?.as_ref()
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &Arc<HalfMatchRow>> {
        self.leaves.iter().flatten().map(|it| &it.oldest)
    }
}

/// How a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// When it was, or will be, complete with what waits now.
    pub(super) complete_at: Option<Timestamp>,
    /// When it fires.
    pub(super) fires_at: Option<Timestamp>,
    /// When the first of its oldest events expires, unless the set is complete by then.
    pub(super) expires_at: Option<Timestamp>,
}

/// What is to be done with a set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Fire,
    Expire,
    Wait,
}

impl Standing {
    pub(super) fn of(spec: &TriggerSpec, queues: &Queues) -> Self {
        let holds = Holds::new(spec, queues);
        let complete_at = holds.since(&spec.on);
        let newest = queues.leaves.iter().flatten().map(|it| it.newest_at).max();
        let fires_at = complete_at.map(|complete_at| {
            let mut at = complete_at;
            if let Consume::Batch { window, .. } = spec.consume {
                at = at + window;
            }
            if let Some(debounce) = spec.debounce {
                let quiet = newest.unwrap_or(complete_at) + debounce.quiet;
                let latest = debounce.max_wait.map(|it| complete_at + it);
                let latest = match spec.consume {
                    Consume::Batch { .. } => Some(latest.unwrap_or(at).min(at)),
                    Consume::Each | Consume::Latest => latest,
                };
                at = latest.unwrap_or(quiet).min(quiet).max(complete_at);
            }
            match spec.consume {
                Consume::Batch { max, .. } if queues.events >= max => complete_at,
                _ => at,
            }
        });
        let expires_at = queues.heads().filter_map(|it| it.expires_at).min();
        Self {
            complete_at,
            fires_at,
            // What is complete does not expire.
            expires_at: expires_at.filter(|it| complete_at.is_none_or(|at| *it < at)),
        }
    }

    /// When something is next to be done.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.expires_at.or(self.fires_at)
    }

    pub(super) fn next(&self, now: Timestamp) -> Next {
        match (self.expires_at, self.fires_at) {
            (Some(at), _) if at <= now => Next::Expire,
            (None, Some(at)) if at <= now => Next::Fire,
            _ => Next::Wait,
        }
    }

    pub(super) fn is_complete(&self, now: Timestamp) -> bool {
        self.complete_at.is_some_and(|at| at <= now)
    }
}

/// Since when each leaf of a trigger holds.
struct Holds<'a> {
    queues: &'a Queues,
    spec: &'a TriggerSpec,
    /// The instant that the day of the set is taken from, if the trigger asks for the time.
    day_of: Option<Timestamp>,
}

impl<'a> Holds<'a> {
    fn new(spec: &'a TriggerSpec, queues: &'a Queues) -> Self {
        let leaves = spec.on.leaves();
        let timed = |it: &&TriggerLeaf| matches!(it.source, EventSource::After { .. });
        let day_of = leaves.iter().any(timed).then(|| day_of(queues)).flatten();
        Self {
            queues,
            spec,
            day_of,
        }
    }

    fn leaf(&self, number: u16, leaf: &TriggerLeaf) -> Option<Timestamp> {
        match leaf.source {
            EventSource::After { time } => {
                let zone = self.spec.timezone.as_deref().unwrap_or("UTC");
                moment(zone, self.day_of?, time.minutes)
            }
            _ => self.queues.at(number).map(|it| it.oldest.event.received_at),
        }
    }

    /// Of `all_of` the latest, of `any_of` the earliest of the parts that hold.
    fn since(&self, expr: &TriggerExpr) -> Option<Timestamp> {
        let mut next = 0;
        self.walk(expr, &mut next)
    }

    fn walk(&self, expr: &TriggerExpr, next: &mut u16) -> Option<Timestamp> {
        match expr {
            TriggerExpr::Leaf(leaf) => {
                *next += 1;
                self.leaf(*next - 1, leaf)
            }
            // All parts are walked, so that the leaves keep their numbers.
            TriggerExpr::AllOf(parts) => {
                let times: Vec<_> = parts.iter().map(|it| self.walk(it, next)).collect();
                let times: Option<Vec<Timestamp>> = times.into_iter().collect();
                times?.into_iter().max()
            }
            TriggerExpr::AnyOf(parts) => {
                let times: Vec<_> = parts.iter().map(|it| self.walk(it, next)).collect();
                times.into_iter().flatten().min()
            }
        }
    }
}

/// The day that a set is about: that on which its interval ends, or on which its first event came.
fn day_of(queues: &Queues) -> Option<Timestamp> {
    let mut heads = queues.heads();
    let interval = heads.find_map(|it| interval_of(&it.event));
    let first = || queues.heads().min_by_key(|it| it.event.seq);
    interval
        .map(|it| it.end)
        .or_else(|| first().map(|it| it.event.received_at))
}

/// A time of the local day on which an instant lies: the first such moment, or the first after a gap of the clock.
fn moment(zone: &str, day_of: Timestamp, minutes: u16) -> Option<Timestamp> {
    let zone: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    let day = zone
        .from_utc_datetime(&day_of.to_chrono().naive_utc())
        .date_naive();
    let wall = day.and_hms_opt(u32::from(minutes / 60), u32::from(minutes % 60), 0)?;
    // Gaps are at most a day long (Samoa left one out).
    let mut later = (0..=1440).filter_map(|more| {
        let wall = wall.checked_add_signed(chrono::TimeDelta::minutes(more))?;
        zone.from_local_datetime(&wall).earliest()
    });
    later.next().map(|at| Timestamp::from_chrono(at.to_utc()))
}

/// The leaves whose oldest events a complete set uses for one run: of an `any_of` the part that held first, by the
/// numbers of events. So what a group of leaves gives depends on the order within the group only.
pub(super) fn selection(spec: &TriggerSpec, queues: &Queues, now: Timestamp) -> Option<Vec<u16>> {
    /// The number of the event that completed a part; `None` if no event did. And the leaves used.
    type Part = (Option<u64>, Vec<u16>);
    fn walk(holds: &Holds<'_>, expr: &TriggerExpr, next: &mut u16, now: Timestamp) -> Option<Part> {
        match expr {
            TriggerExpr::Leaf(leaf) => {
                let number = *next;
                *next += 1;
                if matches!(leaf.source, EventSource::After { .. }) {
                    let since = holds.leaf(number, leaf)?;
                    return (since <= now).then_some((None, Vec::new()));
                }
                let oldest = &holds.queues.at(number)?.oldest;
                Some((Some(oldest.event.seq), vec![number]))
            }
            TriggerExpr::AllOf(parts) => {
                let parts: Vec<_> = parts.iter().map(|it| walk(holds, it, next, now)).collect();
                let parts: Option<Vec<Part>> = parts.into_iter().collect();
                let parts = parts?;
                let last = parts.iter().filter_map(|it| it.0).max();
                Some((last, parts.into_iter().flat_map(|it| it.1).collect()))
            }
            TriggerExpr::AnyOf(parts) => {
                let parts: Vec<_> = parts.iter().map(|it| walk(holds, it, next, now)).collect();
                let parts = parts.into_iter().flatten();
                // The time of day alone gives way to events.
                parts.min_by_key(|(last, _)| (last.is_none(), *last))
            }
        }
    }
    let holds = Holds::new(spec, queues);
    walk(&holds, &spec.on, &mut 0, now).map(|it| it.1)
}

/// What a set still needs, in words: `flow b`, `event x or event y`. Leaves count as `filled` tells of their numbers.
pub(crate) fn missing(expr: &TriggerExpr, filled: &dyn Fn(u16) -> bool) -> Vec<String> {
    fn walk(expr: &TriggerExpr, next: &mut u16, filled: &dyn Fn(u16) -> bool) -> Vec<String> {
        match expr {
            TriggerExpr::Leaf(leaf) => {
                *next += 1;
                match filled(*next - 1) {
                    true => Vec::new(),
                    false => vec![label(&leaf.source)],
                }
            }
            TriggerExpr::AllOf(parts) => parts
                .iter()
                .flat_map(|part| walk(part, next, filled))
                .collect(),
            TriggerExpr::AnyOf(parts) => {
                let texts: Vec<Vec<String>> =
                    parts.iter().map(|part| walk(part, next, filled)).collect();
                if texts.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                let choices: Vec<String> = texts.iter().map(|it| it.join(" and ")).collect();
                vec![choices.join(" or ")]
            }
        }
    }
    walk(expr, &mut 0, filled)
}

/// What a set still needs now.
pub(super) fn missing_of(spec: &TriggerSpec, queues: &Queues, now: Timestamp) -> Vec<String> {
    let holds = Holds::new(spec, queues);
    let leaves = spec.on.leaves();
    let filled = |number: u16| {
        let since = leaves
            .get(usize::from(number))
            .and_then(|it| holds.leaf(number, it));
        since.is_some_and(|at| at <= now)
    };
    missing(&spec.on, &filled)
}

/// What a leaf waits for, in words.
pub(super) fn label(source: &EventSource) -> String {
    match source {
        EventSource::Flow { flow, .. } => format!("flow {flow}"),
        EventSource::Event { kind } => format!("event {kind}"),
        EventSource::Object { bucket, key } => format!("s3://{bucket}/{}", key.0),
        EventSource::Dataset { namespace, name } => format!("data set {namespace}/{name}"),
        EventSource::After { time } => format!("{time}"),
    }
}
