//! `--with retry:times=2`: decorators that a deployment adds to every step.

use super::declared::{Attribute, Declared, Decorator};
use super::found::Found;
use super::known;
use super::value::Value;

/// What the file itself says wins.
pub(super) fn attach(declared: &mut Declared, specs: &[String], found: &mut Found) {
    let place = declared.place.clone();
    for spec in specs {
        let (name, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let known = known::decorator(name).filter(|it| it.target == known::Target::Step);
        let mut attributes = Vec::new();
        for part in split(rest) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = key.trim();
            if known.is_some_and(|it| !it.attributes.contains(&key)) {
                let message = format!("`--with {spec}`: `@{name}` has no attribute `{key}`");
                let attributes = known.map_or(&[][..], |it| it.attributes);
                let help = crate::reader::did_you_mean(key, attributes);
                found.error(&place, "metaflow.with", message, help);
                return;
            }
            attributes.push(Attribute {
                name: key.to_owned(),
                place: place.clone(),
                value: Ok(read(value.trim())),
            });
        }
        for step in &mut declared.steps {
            let multiple = known.is_some_and(|it| it.multiple);
            if multiple || step.decorator(name).is_none() {
                if name == "retry" || name == "catch" {
                    // A dump may have counted without it.
                    step.retries = None;
                }
                step.decorators.push(Decorator {
                    name: name.to_owned(),
                    place: place.clone(),
                    attributes: attributes.clone(),
                    text: match rest {
                        "" => format!("@{name}"),
                        rest => format!("@{name}({rest})"),
                    },
                    triggers: None,
                });
            }
        }
    }
}

/// At each comma that a `name=` follows.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        let rest = &text[at + 1..];
        let word = rest
            .trim_start_matches(|it: char| it.is_alphanumeric() || it == '_' || it.is_whitespace());
        if word.len() < rest.len() && word.starts_with('=') {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts.retain(|it| !it.is_empty());
    parts
}

/// JSON, a number, else text.
fn read(text: &str) -> Value {
    match serde_json::from_str(&text.replace("\\\"", "\"")) {
        Ok(json) => Value::of_json(&json),
        Err(_) => Value::Str(text.to_owned()),
    }
}
