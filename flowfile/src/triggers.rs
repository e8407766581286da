//! `triggers`: the events that start a flow.

pub(crate) mod handling;
pub(crate) mod leaf;
mod object;

use crate::expression::{Captures, Where};
use crate::params::Params;
use crate::reader::{Fields, Value};
use crate::schedules::{check_name, numbered};
use crate::yaml::{Data, Node};
use dalsegno_scheduler::TriggerName;
use dalsegno_scheduler::spec::{
    DeadlineAction, EventSource, FlowEnd, JoinOn, TriggerExpr, TriggerLeaf, TriggerSpec,
};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::ops::Range;

pub(crate) const LEAF_KEYS: [&str; 7] = [
    "flow", "event", "s3", "dataset", "after", "any_of", "all_of",
];
/// All keys that an entry of `triggers` may have.
pub(crate) const KEYS: [&str; 18] = [
    "any_of",
    "all_of",
    "flow",
    "event",
    "on",
    "where",
    "params",
    "join",
    "name",
    "join_on",
    "within",
    "s3",
    "dataset",
    "after",
    "consume",
    "debounce",
    "on_deadline",
    "timezone",
];
/// Those of an entry within `any_of` or `all_of`.
pub(crate) const NESTED_KEYS: [&str; 11] = [
    "any_of", "all_of", "flow", "event", "on", "where", "params", "join", "s3", "dataset", "after",
];

const NESTING_MAX: usize = 8;

pub(crate) fn read(
    value: Value<'_>,
    params: &Params,
    own: &str,
) -> Vec<(TriggerSpec, Range<usize>)> {
    let mut triggers: Vec<(TriggerSpec, Range<usize>)> = Vec::new();
    for item in value.one_or_list() {
        let Some(mut spec) = trigger(item, params, own) else {
            continue;
        };
        let taken = |name: &TriggerName| triggers.iter().find(|(it, _)| it.name == *name);
        let named = item
            .fields_quietly()
            .and_then(|it| it.iter().find(|it| it.key == "name"));
        match named.and_then(|it| it.value.text()) {
            Some(name) => {
                spec.name = TriggerName::new(name);
                if let Some((_, first)) = taken(&spec.name) {
                    let message = format!("two triggers are named `{name}`");
                    let twice = item.cx.at(item.span(), "flow.duplicate_name", message);
                    item.cx.push(
                        twice
                            .also(first.clone(), "first here")
                            .help("rename one of them"),
                    );
                }
            }
            None => spec.name = numbered(&spec.name, |it| taken(it).is_some()),
        }
        triggers.push((spec, item.span().clone()));
    }
    triggers
}

const HELP: &str = "write `- flow: NAME`, `- event: TYPE` or `- s3: s3://BUCKET/KEY`";

fn trigger(value: Value<'_>, params: &Params, own: &str) -> Option<TriggerSpec> {
    let fields = value.fields(&KEYS, HELP)?;
    check_name(&fields);
    let on = expr(&fields, params, own, 0);
    let handling = handling::read(&fields, on.as_ref());
    let all_of = on.as_ref().is_some_and(has_all_of);
    let only_for_all_of = |key: &'static str, help: &str| {
        if let Some(it) = fields.get(key).filter(|_| on.is_some() && !all_of) {
            let message =
                format!("`{key}` has no meaning here: this trigger waits for one event only");
            it.cx.push(it.bad(message).help(help));
        }
    };
    if !handling.gathers() {
        let help = "remove it; `join_on` is about the events of an `all_of`, or of a `batch` or `debounce`";
        only_for_all_of("join_on", help);
    }
    let help = "remove it; `within` is about the events of an `all_of`";
    only_for_all_of("within", help);
    let within = fields.get("within").and_then(|it| it.duration());
    let join = join_on(&fields, on.as_ref());
    let mut on = on?;
    if holds_without_event(&on) {
        needs_event(value, &on);
    }
    let join_on = match join {
        Some((how, expr)) => {
            if let (JoinOn::Expr, Some(expr)) = (how, expr) {
                fill_join(&mut on, &expr);
            }
            how
        }
        None if on.leaves().iter().any(|it| it.join.is_some()) => JoinOn::Expr,
        // Events that gather for one run, though each would be enough: nothing says that they belong to one interval.
        None if handling.gathers() && !all_of => JoinOn::None,
        None => JoinOn::Interval,
    };
    let mut events = on.leaves().into_iter().filter(|it| !is_time(it));
    if join_on == JoinOn::Expr && events.any(|it| it.join.is_none()) {
        let message = "some events of this trigger have a `join` and others have none";
        let help = "give each of them a `join`, or write one expression for all as `join_on`";
        value.cx.push(value.bad(message).help(help));
    } else if join_on != JoinOn::Expr && on.leaves().iter().any(|it| it.join.is_some()) {
        let message = "`join` has no meaning while `join_on` is `interval` or `none`";
        value.cx.push(
            value
                .bad(message)
                .help("remove `join_on`, or remove `join`"),
        );
    }
    if join_on == JoinOn::Interval && all_of {
        join_by_interval(value, &on, fields.get("join_on"));
    }
    Some(TriggerSpec {
        timezone: handling.timezone,
        consume: handling.consume,
        debounce: handling.debounce,
        on_deadline: handling.on_deadline,
        reset_at: None,
        name: TriggerName::new(short(&label(&on))),
        on,
        join_on,
        within,
    })
}

/// Runs carry a data interval; objects never do, and other events rarely: then the two cannot meet.
fn join_by_interval(value: Value<'_>, on: &TriggerExpr, asked: Option<Value<'_>>) {
    let any = |is: fn(&EventSource) -> bool| on.leaves().iter().any(|it| is(&it.source));
    let flows = any(|it| matches!(it, EventSource::Flow { .. }));
    let objects = any(|it| matches!(it, EventSource::Object { .. }));
    let events = any(|it| matches!(it, EventSource::Event { .. }));
    let data_sets = any(|it| matches!(it, EventSource::Dataset { .. }));
    let warn = |at: Value<'_>, message: &str, help: &str| {
        let mixed = at.cx.at(at.span(), "flow.join_of_events", message);
        at.cx.push(mixed.warning().help(help));
    };
    if objects && flows {
        let message = "flows and objects are joined by data interval, and objects have none, so they never meet";
        let help = "write `join_on: none` to take any of them together, or give each entry a `join`, such as \
                    `join: event.match[0]` at the object";
        return warn(asked.unwrap_or(value), message, help);
    }
    if asked.is_some() || !flows {
        return;
    }
    if events {
        let message = "flows and events are joined by data interval, and events rarely have one";
        let help = "write `join_on: none` to take any of them together, or `join_on: interval` if the events' data \
                    holds `interval: {start, end}`";
        warn(value, message, help);
    } else if data_sets {
        let message = "flows and data sets are joined by data interval, and not every job tells that of its data set";
        let help = "write `join_on: none` to take any of them together, or `join_on: interval` if the jobs send the \
                    facet `nominalTime`";
        warn(value, message, help);
    }
}

fn is_time(leaf: &TriggerLeaf) -> bool {
    matches!(leaf.source, EventSource::After { .. })
}

/// Whether the trigger could fire though nothing has happened, only because of the time.
fn holds_without_event(on: &TriggerExpr) -> bool {
    match on {
        TriggerExpr::Leaf(leaf) => is_time(leaf),
        TriggerExpr::AnyOf(parts) => parts.iter().any(holds_without_event),
        TriggerExpr::AllOf(parts) => parts.iter().all(holds_without_event),
    }
}

fn needs_event(value: Value<'_>, on: &TriggerExpr) {
    let (message, help) = if on.leaves().into_iter().all(is_time) {
        (
            "this trigger waits for a time only, and for no event",
            "write a `schedule` for runs by the clock, or add an event below `all_of:`",
        )
    } else {
        (
            "this trigger would hold every day without any event, because `after` alone is enough",
            "write `all_of:` if the event is needed too; to run at that time without it, use \
             `on_deadline: { at: …, do: run }`",
        )
    };
    let nothing = value.cx.at(value.span(), "flow.time_only", message);
    value.cx.push(nothing.help(help));
}

/// Whether one event can be too few.
fn needs_several(on: &TriggerExpr) -> bool {
    match on {
        TriggerExpr::Leaf(_) => false,
        TriggerExpr::AnyOf(parts) => parts.iter().any(needs_several),
        TriggerExpr::AllOf(parts) => parts.len() > 1 || parts.iter().any(needs_several),
    }
}

fn join_on(
    fields: &Fields<'_>,
    on: Option<&TriggerExpr>,
) -> Option<(JoinOn, Option<dalsegno_scheduler::expr::Expr>)> {
    let value = fields.get("join_on")?;
    match value.node.text() {
        Some("interval") => Some((JoinOn::Interval, None)),
        Some("none") => Some((JoinOn::None, None)),
        _ => {
            // It is asked of each event, so it may only use what all of them have.
            let leaves = on.map_or_else(Vec::new, TriggerExpr::leaves);
            let events = leaves
                .into_iter()
                .filter(|it| !is_time(it) && it.join.is_none());
            let captures = events.map(|it| leaf::captures(&it.source));
            let captures = captures.min().unwrap_or(Captures::Unknown);
            Some((
                JoinOn::Expr,
                Some(value.expr(Where::EventFilter(captures))?),
            ))
        }
    }
}

fn fill_join(on: &mut TriggerExpr, expr: &dalsegno_scheduler::expr::Expr) {
    match on {
        TriggerExpr::Leaf(leaf) if is_time(leaf) => {}
        TriggerExpr::Leaf(leaf) => {
            leaf.join.get_or_insert_with(|| expr.clone());
        }
        TriggerExpr::AnyOf(parts) | TriggerExpr::AllOf(parts) => {
            parts.iter_mut().for_each(|it| fill_join(it, expr));
        }
    }
}

fn has_all_of(on: &TriggerExpr) -> bool {
    match on {
        TriggerExpr::Leaf(_) => false,
        TriggerExpr::AnyOf(parts) => parts.iter().any(has_all_of),
        TriggerExpr::AllOf(_) => true,
    }
}

fn expr(fields: &Fields<'_>, params: &Params, own: &str, depth: usize) -> Option<TriggerExpr> {
    let (cx, value) = (fields.value.cx, fields.value);
    let present: Vec<&str> = LEAF_KEYS
        .into_iter()
        .filter(|it| fields.entry(it).is_some())
        .collect();
    match present.as_slice() {
        [] => {
            fields.missing(value.span(), "flow", "write what it waits for: `flow: NAME`, `event: TYPE`, `s3: s3://BUCKET/KEY`, `dataset: {…}`, `any_of: […]` or `all_of: […]`");
            return None;
        }
        [_] => {}
        [_, second, ..] => {
            let entry = fields.entry(second)?;
            let message = format!("`{}` and `{second}` cannot stand in one entry", present[0]);
            let help = "write each below `all_of:` (both are needed) or `any_of:` (one is enough), after `- `";
            cx.push(cx.at(&entry.key_span, "flow.bad_value", message).help(help));
            return None;
        }
    }
    for (key, all) in [("any_of", false), ("all_of", true)] {
        if let Some(group) = fields.get(key) {
            for inner in ["where", "params", "on", "join"] {
                if let Some(entry) = fields.entry(inner) {
                    let message = format!("`{inner}` belongs to one event, not to `{key}`");
                    let help = "move it into the entry of its event";
                    cx.push(cx.at(&entry.key_span, "flow.bad_value", message).help(help));
                }
            }
            return self::group(group, params, own, depth, all);
        }
    }
    leaf::read(fields, params, own).map(TriggerExpr::Leaf)
}

fn group(
    group: Value<'_>,
    params: &Params,
    own: &str,
    depth: usize,
    all: bool,
) -> Option<TriggerExpr> {
    if depth == NESTING_MAX {
        let message = format!("`any_of` and `all_of` may nest {NESTING_MAX} deep");
        group
            .cx
            .push(group.bad(message).help("flatten the condition"));
        return None;
    }
    let items = group.list();
    if items.is_empty() {
        if matches!(group.node.data, Data::List(_)) {
            group.cx.push(
                group
                    .bad(format!("`{}` is empty", group.name))
                    .help("write at least one event"),
            );
        }
        return None;
    }
    let parts: Vec<Option<TriggerExpr>> = items
        .into_iter()
        .map(|item| {
            let fields = item.fields(&NESTED_KEYS, HELP)?;
            expr(&fields, params, own, depth + 1)
        })
        .collect();
    let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
    Some(if all {
        TriggerExpr::AllOf(parts)
    } else {
        TriggerExpr::AnyOf(parts)
    })
}

/// A name made of what is waited for, so that it stays the same when other triggers change.
fn label(on: &TriggerExpr) -> String {
    let join = |name: &str, parts: &[TriggerExpr]| {
        let parts: Vec<String> = parts.iter().map(label).collect();
        format!("{name}({})", parts.join(", "))
    };
    match on {
        TriggerExpr::AnyOf(parts) => join("any_of", parts),
        TriggerExpr::AllOf(parts) => join("all_of", parts),
        TriggerExpr::Leaf(leaf) => match &leaf.source {
            EventSource::Flow {
                flow,
                on: FlowEnd::Succeeded,
            } => format!("flow {flow}"),
            EventSource::Flow {
                flow,
                on: FlowEnd::Failed,
            } => format!("flow {flow} failed"),
            EventSource::Flow {
                flow,
                on: FlowEnd::Finished,
            } => format!("flow {flow} finished"),
            EventSource::Event { kind } => format!("event {kind}"),
            EventSource::Object { bucket, key } => format!("s3 {bucket}/{}", key.0),
            EventSource::Dataset { namespace, name } => format!("dataset {namespace}/{name}"),
            EventSource::After { time } => format!("after {time}"),
        },
    }
}

/// A long name is cut and told apart by its hash.
fn short(name: &str) -> String {
    const LENGTH_MAX: usize = 100;
    if name.chars().count() <= LENGTH_MAX {
        return name.to_owned();
    }
    let mut cut: String = name.chars().take(LENGTH_MAX - 10).collect();
    cut.push('~');
    for byte in &Sha256::digest(name.as_bytes())[..4] {
        write!(cut, "{byte:02x}").expect("a string takes all that is written to it");
    }
    cut
}

/// Whether every way in which this trigger starts a run gives a parameter.
pub(crate) fn gives(trigger: &TriggerSpec, param: &str) -> bool {
    let runs_without =
        |it: dalsegno_scheduler::spec::DeadlineSpec| it.action == DeadlineAction::Run;
    !trigger.on_deadline.is_some_and(runs_without) && expr_gives(&trigger.on, param)
}

fn expr_gives(on: &TriggerExpr, param: &str) -> bool {
    match on {
        TriggerExpr::Leaf(leaf) => leaf.params.contains_key(param),
        TriggerExpr::AnyOf(parts) => parts.iter().all(|it| expr_gives(it, param)),
        TriggerExpr::AllOf(parts) => parts.iter().any(|it| expr_gives(it, param)),
    }
}

impl<'a> Value<'a> {
    /// The entries of a mapping, without a word about anything else.
    pub(crate) fn fields_quietly(&self) -> Option<&'a [crate::yaml::Entry]> {
        let node: &'a Node = self.node;
        match &node.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }
}
