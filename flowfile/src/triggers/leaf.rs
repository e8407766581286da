//! One event that a trigger waits for.

use super::object;
use crate::expression::{Captures, Where};
use crate::names::{self, Kind};
use crate::neighbours::{How, Mention};
use crate::params::{self, Params};
use crate::reader::{Fields, Value};
use dalsegno_scheduler::FlowName;
use dalsegno_scheduler::spec::{EventSource, FlowEnd, TriggerLeaf};

pub(crate) const DATASET_KEYS: [&str; 2] = ["namespace", "name"];

/// What stands beside a source and is about its events.
const OF_EVENTS: [&str; 4] = ["where", "params", "join", "on"];

pub(crate) fn read(fields: &Fields<'_>, params: &Params, own: &str) -> Option<TriggerLeaf> {
    let source = source(fields, own);
    if let Some(EventSource::After { .. }) = source {
        for key in OF_EVENTS {
            if let Some(entry) = fields.entry(key) {
                let cx = fields.value.cx;
                let message =
                    format!("`{key}` has no meaning here: `after` is a time, not an event");
                let help = "move it into the entry of an event";
                cx.push(cx.at(&entry.key_span, "flow.bad_value", message).help(help));
            }
        }
    } else if let (Some(on), None) = (fields.get("on"), fields.entry("flow")) {
        fields.value.cx.push(
            on.bad("`on` has no meaning here")
                .help("`on` chooses the ends of a `flow`; use `where` for events"),
        );
    }
    let captures = source.as_ref().map_or(Captures::Unknown, captures);
    let filter = fields
        .get("where")
        .and_then(|it| it.expr(Where::EventFilter(captures)));
    let join = fields
        .get("join")
        .and_then(|it| it.expr(Where::EventFilter(captures)));
    let mapped = fields
        .section("params")
        .map(|it| params::given(it, params, Where::TriggerParam(captures)));
    Some(TriggerLeaf {
        fields: Default::default(),
        source: source?,
        filter,
        params: mapped.unwrap_or_default(),
        join,
    })
}

/// What `event.match` holds for the events of a source.
pub(crate) fn captures(source: &EventSource) -> Captures {
    match source {
        EventSource::Object { key, .. } => Captures::Of(object::wildcards(&key.0)),
        _ => Captures::Missing,
    }
}

fn source(fields: &Fields<'_>, own: &str) -> Option<EventSource> {
    if let Some(it) = fields.get("flow") {
        flow(it, fields.get("on"), own)
    } else if let Some(it) = fields.get("event") {
        event(it)
    } else if let Some(it) = fields.get("s3") {
        object::read(it)
    } else if let Some(it) = fields.get("dataset") {
        dataset(it)
    } else {
        let time = fields.get("after")?.time_of_day()?;
        Some(EventSource::After { time })
    }
}

fn flow(flow: Value<'_>, on: Option<Value<'_>>, own: &str) -> Option<EventSource> {
    let cx = flow.cx;
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
    cx.mentions.borrow_mut().push(Mention {
        flow: name.to_owned(),
        at: flow.span().clone(),
        how: How::Waits,
    });
    let flow = FlowName::new(name);
    Some(EventSource::Flow { flow, on })
}

fn event(event: Value<'_>) -> Option<EventSource> {
    let kind = event.text()?;
    if kind.trim().is_empty()
        || kind.len() > 256
        || kind.chars().any(|it| it.is_whitespace() || it.is_control())
    {
        let message = "the type of an event has 1 to 256 characters and no spaces";
        let help = "write the CloudEvents `type`, such as `orders.corrected`";
        event.cx.push(event.bad(message).help(help));
        return None;
    }
    let kind = kind.to_owned();
    Some(EventSource::Event { kind })
}

fn dataset(dataset: Value<'_>) -> Option<EventSource> {
    const HELP: &str = "write `dataset: { namespace: NAMESPACE, name: NAME }`";
    let fields = dataset.fields(&DATASET_KEYS, HELP)?;
    let part = |key: &'static str| {
        let value: Value<'_> = fields.required(
            key,
            "a data set has a namespace and a name, as OpenLineage calls it",
        )?;
        let text = value.text()?;
        if text.trim().is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            let message = format!("`{key}` has 1 to 1024 characters on one line");
            value.cx.push(value.bad(message).help(HELP));
            return None;
        }
        if text.contains('*') {
            let message = format!("`*` stands for itself in the `{key}` of a data set");
            let doubt = value.cx.at(value.span(), "flow.key_pattern", message);
            let help = "write each data set as an entry of its own below `any_of:`";
            value.cx.push(doubt.warning().help(help));
        }
        Some(text.to_owned())
    };
    let (namespace, name) = (part("namespace"), part("name"));
    Some(EventSource::Dataset {
        namespace: namespace?,
        name: name?,
    })
}
