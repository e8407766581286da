//! Parameters: given values, defaults and types.

use crate::context;
use crate::expr::{Scope, Template};
use crate::id::FlowName;
use crate::input::BadParam;
use crate::row::{EventRow, Interval};
use crate::spec::{FlowSpec, ParamKind, ParamSpec};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names that defaults may use: `interval`, `event`, `events`, `run`.
pub(crate) fn scope(
    data_interval: Interval,
    events: &[Arc<EventRow>],
    run: u64,
    flow: &FlowName,
) -> Scope {
    let events = events.iter().map(|it| context::event_json(it)).collect();
    scope_of(data_interval, events, run, flow)
}

/// The same of events as CloudEvents JSON.
pub(crate) fn scope_of(
    data_interval: Interval,
    events: Vec<Value>,
    run: u64,
    flow: &FlowName,
) -> Scope {
    [
        ("interval", interval(data_interval)),
        ("event", events.first().cloned().unwrap_or(Value::Null)),
        ("events", Value::Array(events)),
        ("run", json!({"id": run.to_string(), "flow": flow})),
    ]
    .into()
}

pub(crate) fn interval(interval: Interval) -> Value {
    json!({"start": interval.start.to_string(), "end": interval.end.to_string()})
}

/// Given values and defaults, checked and brought into their types. An optional parameter that has neither,
/// or is null, has no value.
///
/// # Errors
/// One entry for each parameter that is unknown, missing or does not fit.
pub fn resolve(
    spec: &FlowSpec,
    given: &Map<String, Value>,
    scope: &Scope,
) -> Result<Map<String, Value>, Vec<BadParam>> {
    let mut bad = Vec::new();
    let mut resolved = Map::new();
    for name in given.keys() {
        if !spec.params.iter().any(|it| it.name == *name) {
            let known = spec.params.iter().map(|it| it.name.as_str());
            let message = match crate::flow::closest(name, known.clone()) {
                Some(similar) => format!("does not exist; did you mean `{similar}`?"),
                None if spec.params.is_empty() => {
                    "does not exist; the flow has no parameters".into()
                }
                None => format!(
                    "does not exist; the flow has {}",
                    known.collect::<Vec<_>>().join(", ")
                ),
            };
            bad.push(BadParam {
                name: name.clone(),
                message,
            });
        }
    }
    for param in &spec.params {
        let given = given
            .get(&param.name)
            .filter(|it| !(param.optional && it.is_null()));
        let value = match (given, &param.default) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(default)) => default
                .eval(scope)
                .map_err(|error| format!("default: {error}")),
            (None, None) if param.optional => continue,
            (None, None) => Err("must be given".into()),
        };
        if param.optional && value.as_ref().is_ok_and(Value::is_null) {
            continue;
        }
        match value.and_then(|it| check(param, it)) {
            Ok(value) => {
                resolved.insert(param.name.clone(), value);
            }
            Err(message) => bad.push(BadParam {
                name: param.name.clone(),
                message,
            }),
        }
    }
    if bad.is_empty() {
        Ok(resolved)
    } else {
        Err(bad)
    }
}

/// An event's field as a value for a parameter: what is not text becomes its JSON where text is wanted, and the ways
/// in which Metaflow's command line says true and false are understood. All else is left to [`check`].
pub(crate) fn from_field(kind: ParamKind, value: &Value) -> Value {
    match (kind, value) {
        (ParamKind::String, Value::String(_)) => value.clone(),
        (ParamKind::String, other) => Value::String(other.to_string()),
        (ParamKind::Bool, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Value::Bool(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Value::Bool(false),
            _ => value.clone(),
        },
        (ParamKind::Bool, Value::Number(it)) if it.as_u64() == Some(1) => Value::Bool(true),
        (ParamKind::Bool, Value::Number(it)) if it.as_u64() == Some(0) => Value::Bool(false),
        (ParamKind::Int | ParamKind::Float, Value::String(text)) => {
            Value::String(text.trim().to_owned())
        }
        _ => value.clone(),
    }
}

/// Values of a schedule's own parameters; one that cannot be evaluated is left out, and the flow's
/// default or its refusal follows.
pub(crate) fn evaluate(params: &BTreeMap<String, Template>, scope: &Scope) -> Map<String, Value> {
    params
        .iter()
        .filter_map(|(name, template)| Some((name.clone(), template.eval(scope).ok()?)))
        .collect()
}

/// Brings a value into a parameter's type. Text is read as its type, so that command lines and
/// environment variables can give any of them.
///
/// # Errors
/// What was expected, and what was found.
pub fn check(param: &ParamSpec, value: Value) -> Result<Value, String> {
    let expected =
        |what: &str, found: &Value| Err(format!("{what} is expected, and it is {found}"));
    let value = match (param.kind, value) {
        (ParamKind::Json, value) => value,
        (ParamKind::String, Value::String(text)) => Value::String(text),
        (ParamKind::String, value @ (Value::Number(_) | Value::Bool(_))) => {
            Value::String(value.to_string())
        }
        (ParamKind::String, other) => return expected("text", &other),
        (ParamKind::Int, Value::Number(it)) if it.is_i64() => Value::Number(it),
        (ParamKind::Int, Value::Number(it)) if whole(&it).is_some() => Value::from(whole(&it)),
        (ParamKind::Int, value) => match value.as_str().and_then(|it| it.parse::<i64>().ok()) {
            Some(int) => Value::from(int),
            None => return expected("a whole number", &value),
        },
        (ParamKind::Float, Value::Number(it)) => Value::Number(it),
        (ParamKind::Float, value) => {
            let float = value.as_str().and_then(|it| it.parse::<f64>().ok());
            match float.and_then(serde_json::Number::from_f64) {
                Some(float) => Value::Number(float),
                None => return expected("a number", &value),
            }
        }
        (ParamKind::Bool, Value::Bool(it)) => Value::Bool(it),
        (ParamKind::Bool, value) => match value.as_str() {
            Some("true") => Value::Bool(true),
            Some("false") => Value::Bool(false),
            _ => return expected("true or false", &value),
        },
        (ParamKind::Date, value) => match value.as_str().and_then(read_date) {
            Some(date) => Value::String(date),
            None => return expected("a date such as 2026-11-22", &value),
        },
        (ParamKind::Datetime, value) => match value.as_str().and_then(Timestamp::parse_rfc3339) {
            Some(at) => Value::String(at.to_string()),
            None => return expected("a time such as 2026-11-22T06:00:00Z", &value),
        },
    };
    if let Some(number) = value.as_f64() {
        if param.min.is_some_and(|min| number < min) {
            return Err(format!(
                "{number} is less than {}",
                param.min.unwrap_or_default()
            ));
        }
        if param.max.is_some_and(|max| number > max) {
            return Err(format!(
                "{number} is more than {}",
                param.max.unwrap_or_default()
            ));
        }
    }
    if !param.choices.is_empty() && !param.choices.contains(&value) {
        let choices: Vec<String> = param.choices.iter().map(ToString::to_string).collect();
        return expected(&format!("one of {}", choices.join(", ")), &value);
    }
    Ok(value)
}

/// Some programs write whole numbers as `1.0`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let float = number.as_f64().filter(|it| it.fract() == 0.0)?;
    (number.is_f64() && (-LIMIT..LIMIT).contains(&float)).then_some(float as i64)
}

/// A date, or the date of a time: `2026-11-22T06:00:00Z` is `2026-11-22`.
fn read_date(text: &str) -> Option<String> {
    let date = match text.split_once('T') {
        Some((date, _)) => {
            Timestamp::parse_rfc3339(text)?;
            date
        }
        None => text,
    };
    let parsed = chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    Some(parsed.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(kind: ParamKind) -> ParamSpec {
        ParamSpec {
            optional: false,
            name: "x".into(),
            kind,
            default: None,
            min: None,
            max: Some(10.0),
            choices: Vec::new(),
            description: None,
        }
    }

    #[test]
    fn text_is_read_as_the_parameters_type() {
        let check = |kind, value| check(&param(kind), value);
        assert_eq!(check(ParamKind::Int, json!("7")), Ok(json!(7)));
        assert_eq!(check(ParamKind::Float, json!("0.5")), Ok(json!(0.5)));
        assert_eq!(check(ParamKind::Bool, json!("true")), Ok(json!(true)));
        assert_eq!(
            check(ParamKind::Date, json!("2026-11-22T06:00:00Z")),
            Ok(json!("2026-11-22"))
        );
        assert_eq!(check(ParamKind::Int, json!(1.0)), Ok(json!(1)));
        assert_eq!(check(ParamKind::Int, json!(-2e3)), Ok(json!(-2000)));
        for no_number in [json!("seven"), json!(1.5), json!(-1e300), json!(u64::MAX)] {
            check(ParamKind::Int, no_number).expect_err("no whole number of 64 bits");
        }
        assert!(
            check(ParamKind::Int, json!(11)).is_err(),
            "over the maximum"
        );
        assert!(check(ParamKind::Date, json!("2026-02-30")).is_err());
    }
}
