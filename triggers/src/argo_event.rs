//! Events as Metaflow's `ArgoEvent.publish` posts them: `{"name": …, "payload": {…}}`.

use crate::cloud_event::{BadEvent, json};
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::{EVENT_BYTES_MAX, NewEvent, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The `source` of events that Metaflow sends.
pub const SOURCE: &str = "metaflow";

/// The longest name or id, in bytes, as of a CloudEvent's attributes.
const TEXT_BYTES_MAX: usize = 2_048;

/// Seconds of a `timestamp` beyond this (the year 9999) are some other number.
const TIMESTAMP_MAX_S: f64 = 253_402_300_799.0;

/// Reads one event. Its type is the `name`, its data the `payload`, its id and time the payload's `id` and `timestamp`.
///
/// Metaflow makes an id anew for each event. Where the sender put another value there (an order's number, say), a hash of
/// the body goes into the source, so that two events about one order are two, and the same body sent twice is one.
///
/// # Errors
/// When the body is no such object, or its payload is larger than [`EVENT_BYTES_MAX`].
pub fn parse_argo(body: &[u8]) -> Result<NewEvent, Problem> {
    let Value::Object(mut map) = json(body)? else {
        return Err(of_all("the body is a JSON object with `name` and `payload`").into());
    };
    let name = name(map.remove("name"))?;
    let payload = match map.remove("payload") {
        Some(Value::Object(payload)) => payload,
        None | Some(Value::Null) => {
            let message =
                "is missing; it must be an object with an `id`, as ArgoEvent.publish sends it";
            return Err(BadEvent::of("payload", message).into());
        }
        Some(other) => {
            let message = format!("is {}, and an object is expected", kind(&other));
            return Err(BadEvent::of("payload", message).into());
        }
    };
    if let Some(name) = map.keys().next() {
        let message = "is not known here; what the event carries belongs into `payload`";
        return Err(BadEvent::of(name, message).into());
    }
    let id = id(&payload)?;
    let event = NewEvent {
        source: source(&payload, &id, body),
        id,
        kind: name,
        subject: None,
        time: time(&payload),
        data: Value::Object(payload),
    };
    if event.data.to_string().len() > EVENT_BYTES_MAX {
        let detail = format!(
            "the payload of event `{}` is larger than {EVENT_BYTES_MAX} bytes; send a reference to it, such as a \
             pathspec",
            event.kind
        );
        let problem = Problem::new(Code::BodyTooLarge, detail);
        return Err(problem.with("limit_bytes", EVENT_BYTES_MAX));
    }
    Ok(event)
}

fn of_all(message: &str) -> BadEvent {
    BadEvent {
        index: None,
        attribute: None,
        message: message.to_owned(),
    }
}

fn name(value: Option<Value>) -> Result<String, BadEvent> {
    let bad = |message: String| Err(BadEvent::of("name", message));
    match value {
        None | Some(Value::Null) => {
            bad("is missing; it must be the event's name, such as data_updated".into())
        }
        Some(Value::String(name)) if name.trim().is_empty() => {
            bad("is empty; it must be the event's name, such as data_updated".into())
        }
        Some(Value::String(name)) if name.len() > TEXT_BYTES_MAX => {
            bad(format!("is longer than {TEXT_BYTES_MAX} bytes"))
        }
        Some(Value::String(name)) if name.contains(char::is_control) => {
            bad("holds a control character".into())
        }
        Some(Value::String(name)) => Ok(name),
        Some(other) => bad(format!("is {}, and a text is expected", kind(&other))),
    }
}

fn id(payload: &Map<String, Value>) -> Result<String, BadEvent> {
    let bad = |message: String| Err(BadEvent::of("payload.id", message));
    let text = match payload.get("id") {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(it @ (Value::Number(_) | Value::Bool(_))) => it.to_string(),
        _ => {
            return bad(
                "is missing; it must be unique for each event, so that a second delivery is recognised \
                 (ArgoEvent.publish makes one)"
                    .into(),
            );
        }
    };
    match text {
        text if text.len() > TEXT_BYTES_MAX => {
            bad(format!("is longer than {TEXT_BYTES_MAX} bytes"))
        }
        text if text.contains(char::is_control) => bad("holds a control character".into()),
        text => Ok(text),
    }
}

fn source(payload: &Map<String, Value>, id: &str, body: &[u8]) -> String {
    if payload.contains_key("auto-generated-by-metaflow") || is_uuid(id) {
        return SOURCE.to_owned();
    }
    let mut source = format!("{SOURCE}/");
    for byte in &Sha256::digest(body)[..8] {
        write!(source, "{byte:02x}").expect("a string takes all that is written to it");
    }
    source
}

/// `8-4-4-4-12` hex digits.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |it: &&str| it.bytes().all(|it| it.is_ascii_hexdigit());
    parts.iter().map(|it| it.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

/// The payload's `timestamp`: seconds, or RFC 3339. The sender's own field of that name may be anything; then the
/// time of arrival counts.
fn time(payload: &Map<String, Value>) -> Option<Timestamp> {
    match payload.get("timestamp")? {
        Value::Number(seconds) => {
            let seconds = seconds
                .as_f64()
                .filter(|it| (0.0..TIMESTAMP_MAX_S).contains(it))?;
            Some(Timestamp((seconds * 1e6).round() as i64))
        }
        Value::String(text) => Timestamp::parse_rfc3339(text),
        _ => None,
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
