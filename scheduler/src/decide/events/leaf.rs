//! One event at one leaf: does it count, and to which set does it belong?

use super::accept::KEY_BYTES_MAX;
use super::listen::{foreign_upstream, may_listen, object};
use crate::expr::{Expr, ExprError, Scope};
use crate::reason::Reason;
use crate::row::{EventRow, Interval};
use crate::spec::{EventSource, FlowEnd, FlowSpec, JoinOn, ParamSpec, TriggerLeaf, TriggerSpec};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::sync::Arc;

/// An event that is offered to leaves; its JSON is built once, and only for those that ask.
pub(super) struct Seen {
    pub(super) event: Arc<EventRow>,
    json: OnceCell<Value>,
}

/// What an event is to a leaf.
pub(super) enum Verdict {
    /// The leaf waits for other objects.
    NotMeant,
    /// It is what the leaf listens to, but does not count.
    Filtered(Reason),
    /// It counts, in the set of this join key.
    Counts(String),
}

impl Seen {
    pub(super) fn new(event: Arc<EventRow>) -> Self {
        Self {
            event,
            json: OnceCell::new(),
        }
    }

    pub(super) fn judge(
        &self,
        flow: &FlowSpec,
        trigger: &TriggerSpec,
        leaf: &TriggerLeaf,
    ) -> Verdict {
        if let Some(backfill) = self.event.data["backfill"].as_u64()
            && self.event.source.starts_with("dalsegno:")
        {
            return Verdict::Filtered(Reason::OfBackfill { backfill });
        }
        let captures = match &leaf.source {
            EventSource::Object { key, .. } => {
                let found = object(&self.event).and_then(|(_, object)| key.captures(object));
                match found {
                    Some(found) => Some(found),
                    None => return Verdict::NotMeant,
                }
            }
            _ => None,
        };
        let scope = OnceCell::new();
        let scope = || -> &Scope {
            scope.get_or_init(|| {
                let json = self.json.get_or_init(|| event_json(&self.event));
                [("event", with_match(json.clone(), captures.as_deref()))].into()
            })
        };
        let key = passes(flow, leaf, &self.event, scope)
            .and_then(|()| join_key(trigger, leaf, &self.event, scope));
        match key {
            Ok(key) => Verdict::Counts(key),
            Err(reason) => Verdict::Filtered(reason),
        }
    }
}

/// Whether the end of a flow's run counts at a leaf, be it one of a backfill or not.
pub(in crate::decide) fn end_counts(
    flow: &FlowSpec,
    leaf: &TriggerLeaf,
    event: &EventRow,
) -> Result<(), Reason> {
    let scope = [("event", event_json(event))].into();
    passes(flow, leaf, event, || &scope)
}

fn passes<'a>(
    flow: &FlowSpec,
    leaf: &TriggerLeaf,
    event: &EventRow,
    scope: impl Fn() -> &'a Scope,
) -> Result<(), Reason> {
    if let EventSource::Flow { on, .. } = &leaf.source {
        let state = match foreign_upstream(event) {
            Some(_) => "succeeded",
            None => event.data["state"].as_str().unwrap_or_default(),
        };
        let counts = match on {
            FlowEnd::Succeeded => state == "succeeded",
            FlowEnd::Failed => state == "failed" || state == "timed_out",
            FlowEnd::Finished => true,
        };
        if !counts {
            let on = serde_json::to_value(on).unwrap_or_default();
            let expression = format!(
                "on: {}, and the run {state}",
                on.as_str().unwrap_or_default()
            );
            return Err(Reason::FilterFalse { expression });
        }
    }
    for (param, field) in &leaf.fields {
        let needed = |it: &&ParamSpec| it.name == *param && it.default.is_none() && !it.optional;
        if field_of(event, field).is_none() && flow.params.iter().any(|it| needed(&it)) {
            let (field, param) = (field.clone(), param.clone());
            return Err(Reason::FieldMissing { field, param });
        }
    }
    let Some(filter) = &leaf.filter else {
        return Ok(());
    };
    match filter.eval_bool(scope()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Reason::FilterFalse {
            expression: filter.source().to_owned(),
        }),
        Err(error) => Err(Reason::FilterFailed {
            message: error.to_string(),
        }),
    }
}

fn join_key<'a>(
    spec: &TriggerSpec,
    leaf: &TriggerLeaf,
    event: &EventRow,
    scope: impl Fn() -> &'a Scope,
) -> Result<String, Reason> {
    let failed = |message: String| Reason::FilterFailed {
        message: format!("join_on: {message}"),
    };
    match (spec.join_on, &leaf.join) {
        (JoinOn::Interval, _) => {
            Ok(interval_of(event).map_or_else(String::new, |it| it.start.to_string()))
        }
        (JoinOn::None, _) | (JoinOn::Expr, None) => Ok(String::new()),
        (JoinOn::Expr, Some(expr)) => {
            let value: Result<Value, ExprError> = Expr::eval(expr, scope());
            let key = crate::expr::plain(&value.map_err(|error| failed(error.to_string()))?);
            // Not every database keeps them, and a set that is read back must be the same.
            if key.contains(char::is_control) {
                return Err(failed(
                    "a value without control characters is expected".into(),
                ));
            }
            if key.len() > KEY_BYTES_MAX {
                return Err(failed(format!(
                    "a value of at most {KEY_BYTES_MAX} bytes is expected"
                )));
            }
            Ok(key)
        }
    }
}

/// Where an event may stand in other sets of a trigger than this: each leaf, and its join key there. Worked out from
/// the event once more, as when it came.
pub(super) fn keys_elsewhere(
    spec: &TriggerSpec,
    event: &EventRow,
    besides: &str,
) -> Vec<(u16, String)> {
    let leaves = spec.on.leaves();
    let alike = |pair: &[&TriggerLeaf]| pair[0].join == pair[1].join;
    if spec.join_on != JoinOn::Expr || leaves.windows(2).all(alike) {
        return Vec::new();
    }
    let key = |leaf: &TriggerLeaf| {
        let scope = OnceCell::new();
        let scope = || scope.get_or_init(|| [("event", event_at(leaf, event))].into());
        join_key(spec, leaf, event, scope).ok()
    };
    let keys = (0..).zip(&leaves);
    let keys = keys.filter(|(_, leaf)| may_listen(leaf, event));
    let keys = keys.filter_map(|(number, leaf)| Some((number, key(leaf)?)));
    keys.filter(|(_, key)| key != besides).collect()
}

/// The data interval that an event is about, if it says so.
pub(super) fn interval_of(event: &EventRow) -> Option<Interval> {
    let at = |name: &str| Timestamp::parse_rfc3339(event.data["interval"][name].as_str()?);
    let (start, end) = (at("start")?, at("end")?);
    Some(Interval { start, end })
}

/// A field of an event's data; one that is null is not there.
pub(super) fn field_of<'a>(event: &'a EventRow, field: &str) -> Option<&'a Value> {
    event.data.get(field).filter(|it| !it.is_null())
}

/// An event as expressions and tasks see it: CloudEvents attributes and the data.
pub(crate) fn event_json(event: &EventRow) -> Value {
    json!({
        "specversion": "1.0",
        "source": event.source,
        "id": event.id,
        "type": event.kind,
        "subject": event.subject,
        "time": event.time.to_string(),
        "data": *event.data,
    })
}

/// The same as a leaf sees it: with what the wildcards of its pattern matched.
pub(super) fn event_at(leaf: &TriggerLeaf, event: &EventRow) -> Value {
    let captures = match &leaf.source {
        EventSource::Object { key, .. } => object(event).and_then(|(_, it)| key.captures(it)),
        _ => None,
    };
    with_match(event_json(event), captures.as_deref())
}

fn with_match(mut event: Value, captures: Option<&[&str]>) -> Value {
    if let Some(captures) = captures {
        event["match"] = captures.into();
    }
    event
}
