//! The attributes of one event, and what CloudEvents 1.0 demands of each.

use dalsegno_scheduler::{NewEvent, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest attribute that is kept, in bytes. The specification asks for 64 KiB of *all* attributes to pass
/// through; names that are looked up by databases are kept far shorter.
const ATTRIBUTE_BYTES_MAX: usize = 2_048;

/// What is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(.index, .attribute))]
pub struct BadEvent {
    /// Its place in a batch, from 0.
    pub index: Option<usize>,
    /// The attribute that is missing or wrong; `data` for the data.
    pub attribute: Option<String>,
    /// What was expected, and what to do.
    pub message: String,
}

fn place(index: &Option<usize>, attribute: &Option<String>) -> String {
    let index = index
        .map(|it| format!("event {it} of the batch: "))
        .unwrap_or_default();
    let attribute = attribute
        .as_ref()
        .map(|it| format!("`{it}` "))
        .unwrap_or_default();
    index + &attribute
}

impl BadEvent {
    pub(crate) fn of(attribute: &str, message: impl Into<String>) -> Self {
        Self {
            index: None,
            attribute: Some(attribute.to_owned()),
            message: message.into(),
        }
    }

    pub(crate) fn at(self, index: usize) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }
}

/// Context attributes by name, as JSON values.
#[derive(Debug, Default)]
pub(crate) struct Attributes(pub(crate) BTreeMap<String, Value>);

impl Attributes {
    /// The event, if every attribute is as it should be. Extension attributes are checked, not kept.
    pub(crate) fn event(mut self, data: Value) -> Result<NewEvent, BadEvent> {
        match self.text("specversion")? {
            Some(version) if version == "1.0" => {}
            Some(version) => {
                let message = format!("is `{version}`, and this daemon speaks 1.0");
                return Err(BadEvent::of("specversion", message));
            }
            None => {
                return Err(BadEvent::of(
                    "specversion",
                    "is missing; it must be \"1.0\"",
                ));
            }
        }
        let event = NewEvent {
            id: self.needed(
                "id",
                "unique for the source, so that a second delivery is recognised",
            )?,
            source: self.needed(
                "source",
                "a URI reference that names who sends, such as /warehouse/orders",
            )?,
            kind: self.needed("type", "what happened, such as orders.corrected")?,
            subject: self.text("subject")?,
            time: self.time()?,
            data,
        };
        if event.source.contains(char::is_whitespace) {
            let message = format!(
                "is `{}`; a URI reference holds no white space (encode it as %20)",
                event.source
            );
            return Err(BadEvent::of("source", message));
        }
        self.text("datacontenttype")?;
        self.text("dataschema")?;
        match self
            .0
            .into_iter()
            .find_map(|(name, value)| bad_extension(&name, &value))
        {
            Some(error) => Err(error),
            None => Ok(event),
        }
    }

    fn needed(&mut self, name: &str, what: &str) -> Result<String, BadEvent> {
        let missing = || BadEvent::of(name, format!("is missing; it must be {what}"));
        self.text(name)?.ok_or_else(missing)
    }

    /// A text attribute, taken out. JSON null counts as left out.
    fn text(&mut self, name: &str) -> Result<Option<String>, BadEvent> {
        let text = match self.0.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(other) => {
                let message = format!("is {other}, and a string is expected");
                return Err(BadEvent::of(name, message));
            }
        };
        if text.trim().is_empty() {
            return Err(BadEvent::of(
                name,
                "is empty; leave an optional attribute out instead",
            ));
        }
        if text.len() > ATTRIBUTE_BYTES_MAX {
            let message = format!("is longer than {ATTRIBUTE_BYTES_MAX} bytes");
            return Err(BadEvent::of(name, message));
        }
        if text.contains(char::is_control) {
            return Err(BadEvent::of(name, "holds a control character"));
        }
        Ok(Some(text))
    }

    fn time(&mut self) -> Result<Option<Timestamp>, BadEvent> {
        let Some(text) = self.text("time")? else {
            return Ok(None);
        };
        let bad = || {
            let message =
                format!("is `{text}`, and an instant such as 2026-11-22T06:00:00Z is expected");
            BadEvent::of("time", message)
        };
        Timestamp::parse_rfc3339(&text).map(Some).ok_or_else(bad)
    }
}

fn bad_extension(name: &str, value: &Value) -> Option<BadEvent> {
    let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(is_plain) {
        let message = "is not an attribute of CloudEvents: names are lower-case letters and digits; \
                       what the event carries belongs into `data`";
        return Some(BadEvent::of(name, message));
    }
    let nested = value.is_array() || value.is_object();
    let message = "is an extension attribute, which holds a string, a whole number or a boolean; \
                   anything larger belongs into `data`";
    nested.then(|| BadEvent::of(name, message))
}
