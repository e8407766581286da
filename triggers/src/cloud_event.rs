//! CloudEvents 1.0 over HTTP: structured, binary and batch mode.

use crate::attributes::Attributes;
pub use crate::attributes::BadEvent;
use crate::base64;
use axum::http::{HeaderMap, header};
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::{EVENT_BYTES_MAX, NewEvent};
use serde_json::Value;

/// Reads the events of a request, all or none.
///
/// # Errors
/// When the content type is none of ours, the body is not JSON, or an event breaks the specification or is
/// larger than [`EVENT_BYTES_MAX`].
pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<NewEvent>, Problem> {
    let kind = media_type(headers);
    let is_binary = ["ce-id", "ce-source", "ce-type", "ce-specversion"]
        .iter()
        .any(|it| headers.contains_key(*it));
    let events = match kind.as_str() {
        "application/cloudevents+json" => vec![structured(json(body)?)?],
        "application/cloudevents-batch+json" => batch(json(body)?)?,
        _ if kind.starts_with("application/cloudevents") => return Err(unsupported(&kind)),
        _ if is_binary => vec![binary(headers, &kind, body)?],
        "application/json" => match json(body)? {
            events @ Value::Array(_) => batch(events)?,
            event => vec![structured(event)?],
        },
        _ => return Err(unsupported(&kind)),
    };
    let large = events
        .iter()
        .position(|it| it.data.to_string().len() > EVENT_BYTES_MAX);
    match large {
        None => Ok(events),
        Some(index) => {
            let id = &events[index].id;
            let detail = format!(
                "the data of event `{id}` is larger than {EVENT_BYTES_MAX} bytes; send a reference to it"
            );
            let problem = Problem::new(Code::BodyTooLarge, detail);
            Err(problem
                .with("limit_bytes", EVENT_BYTES_MAX)
                .with("index", index))
        }
    }
}

/// The content type without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or("");
    let bare = kind.split(';').next().unwrap_or("");
    bare.trim().to_ascii_lowercase()
}

fn unsupported(kind: &str) -> Problem {
    let sent = match kind {
        "" => "no content type".to_owned(),
        kind => format!("content type `{kind}`"),
    };
    let detail = format!(
        "the request has {sent}; send application/cloudevents+json (one event), application/cloudevents-batch+json \
         (a list), or any type with the headers ce-specversion, ce-id, ce-source and ce-type"
    );
    Problem::new(Code::UnsupportedMediaType, detail)
}

pub(crate) fn json(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let mut text = error.to_string();
        if let Some(at) = text.rfind(" at line ") {
            text.truncate(at);
        }
        let problem = Problem::new(Code::InvalidJson, text);
        problem
            .with("line", error.line())
            .with("column", error.column())
    })
}

fn batch(events: Value) -> Result<Vec<NewEvent>, BadEvent> {
    let Value::Array(events) = events else {
        return Err(BadEvent {
            index: None,
            attribute: None,
            message:
                "a batch is a JSON array of events; for one event use application/cloudevents+json"
                    .into(),
        });
    };
    let numbered = events.into_iter().enumerate();
    numbered
        .map(|(index, it)| structured(it).map_err(|error| error.at(index)))
        .collect()
}

/// One event as a JSON object.
pub(crate) fn structured(event: Value) -> Result<NewEvent, BadEvent> {
    let Value::Object(map) = event else {
        return Err(BadEvent {
            index: None,
            attribute: None,
            message: "an event is a JSON object with specversion, id, source and type".into(),
        });
    };
    let mut attributes = Attributes(map.into_iter().collect());
    let data = attributes.0.remove("data");
    let base64 = attributes
        .0
        .remove("data_base64")
        .filter(|it| !it.is_null());
    let data = match (data, base64) {
        (data, None) => data.unwrap_or_default(),
        (None | Some(Value::Null), Some(Value::String(text))) if base64::is_valid(&text) => {
            text.into()
        }
        (None | Some(Value::Null), Some(_)) => {
            return Err(BadEvent::of("data_base64", "is not base64 text"));
        }
        (Some(_), Some(_)) => {
            return Err(BadEvent::of(
                "data_base64",
                "and `data` are both given; send one of them",
            ));
        }
    };
    attributes.event(data)
}

/// Attributes in `ce-` headers, the data as body.
fn binary(headers: &HeaderMap, kind: &str, body: &[u8]) -> Result<NewEvent, Problem> {
    let mut attributes = Attributes::default();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else {
            continue;
        };
        let text = std::str::from_utf8(value.as_bytes()).ok().and_then(decode);
        let Some(text) = text else {
            let message = "is not UTF-8; encode other characters as %XX";
            return Err(BadEvent::of(name, message).into());
        };
        if attributes.0.insert(name.to_owned(), text.into()).is_some() {
            return Err(BadEvent::of(name, "is given twice").into());
        }
    }
    let is_json = kind.is_empty() || kind == "application/json" || kind.ends_with("+json");
    let data = match std::str::from_utf8(body) {
        Ok("") => Value::Null,
        _ if is_json => json(body)?,
        Ok(text) if kind.starts_with("text/") => text.into(),
        _ => base64::encode(body).into(),
    };
    Ok(attributes.event(data)?)
}

/// Header values carry other characters percent-encoded.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let pair = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match (first, pair.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

impl From<BadEvent> for Problem {
    fn from(error: BadEvent) -> Self {
        let problem = Self::new(Code::BadEvent, error.to_string());
        let problem = match error.attribute {
            Some(attribute) => problem.with("attribute", attribute),
            None => problem,
        };
        match error.index {
            Some(index) => problem.with("index", index),
            None => problem,
        }
    }
}
