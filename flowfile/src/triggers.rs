//! `triggers`: the events that start a flow.

use crate::expression::Where;
use crate::later;
use crate::names::{self, Kind};
use crate::params::{self, Params};
use crate::reader::{Fields, Value};
use crate::schedules::{check_name, numbered};
use crate::yaml::{Data, Node};
use dalsegno_scheduler::spec::{
    Consume, EventSource, FlowEnd, JoinOn, TriggerExpr, TriggerLeaf, TriggerSpec,
};
use dalsegno_scheduler::{FlowName, TriggerName};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::ops::Range;

pub(crate) const LEAF_KEYS: [&str; 7] = [
    "flow", "event", "s3", "dataset", "after", "any_of", "all_of",
];
/// All keys that an entry of `triggers` may have.
pub(crate) const KEYS: [&str; 17] = [
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

fn trigger(value: Value<'_>, params: &Params, own: &str) -> Option<TriggerSpec> {
    let fields = value.fields(&KEYS, "write `- flow: NAME` or `- event: TYPE`")?;
    check_name(&fields);
    later::trigger(&fields);
    let on = expr(&fields, params, own, 0);
    let all_of = on.as_ref().is_some_and(has_all_of);
    let only_for_all_of = |key: &'static str| {
        let it = fields.get(key).filter(|_| on.is_some() && !all_of)?;
        let message = format!("`{key}` has no meaning here: this trigger waits for one event only");
        it.cx.push(it.bad(message).help(format!(
            "remove it; `{key}` is about the events of an `all_of`"
        )));
        Some(())
    };
    only_for_all_of("join_on");
    only_for_all_of("within");
    let within = fields.get("within").and_then(|it| it.duration());
    let join = join_on(&fields);
    let mut on = on?;
    let join_on = match join {
        Some((how, expr)) => {
            if let (JoinOn::Expr, Some(expr)) = (how, expr) {
                fill_join(&mut on, &expr);
            }
            how
        }
        None if on.leaves().iter().any(|it| it.join.is_some()) => JoinOn::Expr,
        None => JoinOn::Interval,
    };
    if join_on == JoinOn::Expr && on.leaves().iter().any(|it| it.join.is_none()) {
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
    // Runs carry a data interval; most events do not, and then the two can never meet.
    let is_event = |it: &&TriggerLeaf| matches!(it.source, EventSource::Event { .. });
    let (events, flows): (Vec<_>, Vec<_>) = on.leaves().into_iter().partition(is_event);
    let unasked = fields.get("join_on").is_none() && join_on == JoinOn::Interval;
    if unasked && all_of && !events.is_empty() && !flows.is_empty() {
        let message = "flows and events are joined by data interval, and events rarely have one";
        let mixed = value.cx.at(value.span(), "flow.join_of_events", message);
        value.cx.push(mixed.warning().help(
            "write `join_on: none` to take any of them together, or `join_on: interval` if the events' data \
             holds `interval: {start, end}`",
        ));
    }
    Some(TriggerSpec {
        timezone: None,
        consume: Consume::Each,
        debounce: None,
        on_deadline: None,
        reset_at: None,
        name: TriggerName::new(short(&label(&on))),
        on,
        join_on,
        within,
    })
}

fn join_on(fields: &Fields<'_>) -> Option<(JoinOn, Option<dalsegno_scheduler::expr::Expr>)> {
    let value = fields.get("join_on")?;
    match value.node.text() {
        Some("interval") => Some((JoinOn::Interval, None)),
        Some("none") => Some((JoinOn::None, None)),
        _ => Some((JoinOn::Expr, Some(value.expr(Where::EventFilter)?))),
    }
}

fn fill_join(on: &mut TriggerExpr, expr: &dalsegno_scheduler::expr::Expr) {
    match on {
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
            fields.missing(value.span(), "flow", "write what it waits for: `flow: NAME`, `event: TYPE`, `any_of: […]` or `all_of: […]`");
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
    leaf(fields, params, own).map(TriggerExpr::Leaf)
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
            let fields = item.fields(&NESTED_KEYS, "write `- flow: NAME` or `- event: TYPE`")?;
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

fn leaf(fields: &Fields<'_>, params: &Params, own: &str) -> Option<TriggerLeaf> {
    let cx = fields.value.cx;
    let filter = fields
        .get("where")
        .and_then(|it| it.expr(Where::EventFilter));
    let join = fields
        .get("join")
        .and_then(|it| it.expr(Where::EventFilter));
    let mapped = fields
        .section("params")
        .map(|it| params::given(it, params, Where::TriggerParam));
    let on = fields.get("on");
    if let (Some(on), None) = (on, fields.entry("flow")) {
        cx.push(
            on.bad("`on` has no meaning here")
                .help("`on` chooses the ends of a `flow`; use `where` for events"),
        );
    }
    let source = if let Some(flow) = fields.get("flow") {
        let name = flow.text()?;
        if !names::check(cx, Kind::Flow, name, flow.span()) {
            return None;
        }
        let ends = [
            ("succeeded", FlowEnd::Succeeded),
            ("failed", FlowEnd::Failed),
            ("finished", FlowEnd::Finished),
        ];
        let on = match on {
            Some(on) => on.one_of(&ends)?,
            None => FlowEnd::default(),
        };
        if name == own {
            let message = "this flow would wait for itself";
            let loops = cx.at(flow.span(), "flow.starts_itself", message);
            cx.push(loops.help("name another flow, or give it a `schedule`"));
        }
        EventSource::Flow {
            flow: FlowName::new(name),
            on,
        }
    } else if let Some(event) = fields.get("event") {
        let kind = event.text()?;
        if kind.trim().is_empty()
            || kind.len() > 256
            || kind.chars().any(|it| it.is_whitespace() || it.is_control())
        {
            let message = "the type of an event has 1 to 256 characters and no spaces";
            cx.push(
                event
                    .bad(message)
                    .help("write the CloudEvents `type`, such as `orders.corrected`"),
            );
            return None;
        }
        EventSource::Event {
            kind: kind.to_owned(),
        }
    } else {
        later::leaf(fields);
        return None;
    };
    Some(TriggerLeaf {
        fields: Default::default(),
        source,
        filter,
        params: mapped.unwrap_or_default(),
        join,
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
pub(crate) fn gives(on: &TriggerExpr, param: &str) -> bool {
    match on {
        TriggerExpr::Leaf(leaf) => leaf.params.contains_key(param),
        TriggerExpr::AnyOf(parts) => parts.iter().all(|it| gives(it, param)),
        TriggerExpr::AllOf(parts) => parts.iter().any(|it| gives(it, param)),
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
