//! `params`: typed inputs of a run.

use crate::expression::Where;
use crate::names::{self, Kind};
use crate::reader::{Cx, Value, did_you_mean};
use crate::yaml::{Data, Node};
use dalsegno_scheduler::Timestamp;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::spec::{ParamKind, ParamSpec};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) const KEYS: [&str; 6] = ["type", "default", "min", "max", "choices", "description"];

const KINDS: [(&str, ParamKind); 7] = [
    ("string", ParamKind::String),
    ("int", ParamKind::Int),
    ("float", ParamKind::Float),
    ("bool", ParamKind::Bool),
    ("date", ParamKind::Date),
    ("datetime", ParamKind::Datetime),
    ("json", ParamKind::Json),
];

/// A task finds a parameter under its name in upper case, so these would break its commands.
const TAKEN: [&str; 13] = [
    "PATH",
    "HOME",
    "PWD",
    "SHELL",
    "IFS",
    "TMPDIR",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "ITEM",
    "ITEMS",
    "ITEM_INDEX",
    "TRACEPARENT",
];

/// The declared parameters and where their names stand.
#[derive(Default)]
pub(crate) struct Params {
    pub(crate) specs: Vec<ParamSpec>,
    pub(crate) spans: Vec<Range<usize>>,
}

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&ParamSpec> {
        self.specs.iter().find(|it| it.name == name)
    }

    fn names(&self) -> Vec<&str> {
        self.specs.iter().map(|it| it.name.as_str()).collect()
    }
}

pub(crate) fn read(value: Value<'_>) -> Params {
    let cx = value.cx;
    let mut params = Params::default();
    let mut variables: BTreeMap<String, &Range<usize>> = BTreeMap::new();
    for entry in value.entries("write one parameter per line: `date: { type: date }`") {
        let at = &entry.key_span;
        if !names::check(cx, Kind::Param, &entry.key, at) {
            continue;
        }
        let variable = entry.key.to_ascii_uppercase();
        if TAKEN.contains(&variable.as_str()) || variable.starts_with("DALSEGNO_") {
            let message = format!("a parameter cannot be named `{}`", entry.key);
            let help = format!(
                "steps would find it as the environment variable {variable}, which means something else; rename it"
            );
            cx.push(cx.at(at, "flow.bad_name", message).help(help));
        }
        if let Some(first) = variables.insert(variable.clone(), at) {
            let message = format!("two parameters become the environment variable {variable}");
            let twice = cx
                .at(at, "flow.duplicate_name", message)
                .label("again here");
            cx.push(
                twice
                    .also(first.clone(), "first here")
                    .help("rename one of the two"),
            );
        }
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx,
        };
        params
            .specs
            .push(param(value).unwrap_or_else(|| unreadable(&entry.key)));
        params.spans.push(at.clone());
    }
    params
}

/// Stands in for a parameter with errors, so that its name is known elsewhere.
fn unreadable(name: &str) -> ParamSpec {
    ParamSpec {
        optional: false,
        name: name.into(),
        kind: ParamKind::Json,
        default: Some(Template::Literal(Json::Null)),
        min: None,
        max: None,
        choices: Vec::new(),
        description: None,
    }
}

fn param(value: Value<'_>) -> Option<ParamSpec> {
    let help = match value.node.data {
        Data::Map(_) | Data::List(_) | Data::Null => "write `{ type: string }`".into(),
        _ => {
            let written = value.cx.source.slice(value.span().clone());
            format!(
                "write `{{ type: {}, default: {written} }}`",
                guess(value.node)
            )
        }
    };
    let fields = value.fields(&KEYS, &help)?;
    let kind = kind(fields.required(
        "type",
        "add its type: `type: string`, or one of int, float, bool, date, datetime, json",
    )?)?;
    let default = fields
        .get("default")
        // One that is wrong is a default all the same.
        .map(|it| checked(it, kind, Where::ParamDefault).unwrap_or(Template::Literal(Json::Null)));
    let bound = |key| {
        let bound: Value<'_> = fields.get(key)?;
        if !matches!(kind, ParamKind::Int | ParamKind::Float) {
            let message = format!("`{key}` has no meaning for a parameter of this type");
            value.cx.push(
                bound
                    .bad(message)
                    .help("`min` and `max` are for int and float; use `choices` for others"),
            );
            return None;
        }
        bound.number().map(|number| (number, bound))
    };
    let (min, max) = (bound("min"), bound("max"));
    if let (Some((min, at)), Some((max, other))) = (&min, &max)
        && min > max
    {
        let message = format!("`min` is {min}, which is above `max`, {max}");
        value.cx.push(
            at.bad(message)
                .also(other.span().clone(), "")
                .help("swap the two"),
        );
    } else if let (Some(Template::Literal(it)), Some(at)) = (&default, fields.get("default"))
        && let Some(number) = it.as_f64()
    {
        let below = min
            .as_ref()
            .filter(|(min, _)| number < *min)
            .map(|(min, _)| format!("below `min`, {min}"));
        let above = max
            .as_ref()
            .filter(|(max, _)| number > *max)
            .map(|(max, _)| format!("above `max`, {max}"));
        if let Some(problem) = below.or(above) {
            let message = format!("the default of `{}` is {problem}", value.name);
            value
                .cx
                .push(at.bad(message).help("change the default or the limit"));
        }
    }
    let choices: Vec<Json> = fields.section("choices").map_or_else(Vec::new, |it| {
        let choices = it.list().into_iter();
        choices.filter_map(|it| literal(it, kind)).collect()
    });
    if let (Some(Template::Literal(it)), Some(at)) = (&default, fields.get("default"))
        && !choices.is_empty()
        && !choices.contains(it)
    {
        let message = format!("the default of `{}` is none of its choices", value.name);
        value.cx.push(
            at.bad(message)
                .help("add it to `choices`, or choose one of them"),
        );
    }
    Some(ParamSpec {
        optional: false,
        name: value.name.into(),
        kind,
        default,
        min: min.map(|(it, _)| it),
        max: max.map(|(it, _)| it),
        choices,
        description: fields
            .get("description")
            .and_then(|it| it.text())
            .map(str::to_owned),
    })
}

const fn guess(node: &Node) -> &'static str {
    match node.data {
        Data::Bool(_) => "bool",
        Data::Int(_) => "int",
        Data::Float(_) => "float",
        _ => "string",
    }
}

fn kind(value: Value<'_>) -> Option<ParamKind> {
    let meant = match value.node.text().unwrap_or_default() {
        "str" | "text" => "string",
        "integer" => "int",
        "number" | "double" | "decimal" => "float",
        "boolean" => "bool",
        "timestamp" | "time" => "datetime",
        "list" | "array" | "object" | "dict" | "map" | "any" => "json",
        _ => return value.one_of(&KINDS),
    };
    let message = format!(
        "`type` cannot be `{}`",
        value.node.text().unwrap_or_default()
    );
    value
        .cx
        .push(value.bad(message).help(format!("did you mean `{meant}`?")));
    None
}

/// A literal of a type, or an expression.
fn checked(value: Value<'_>, kind: ParamKind, place: Where) -> Option<Template> {
    match value.template(place)? {
        Template::Literal(it) => {
            fits(&value, &it, kind).then(|| Template::Literal(number_of(it, kind)))
        }
        other => Some(other),
    }
}

fn literal(value: Value<'_>, kind: ParamKind) -> Option<Json> {
    let it = value.node.to_json()?;
    fits(&value, &it, kind).then(|| number_of(it, kind))
}

/// `1` is `1.0` where a float is declared.
fn number_of(it: Json, kind: ParamKind) -> Json {
    match (kind, it.as_f64()) {
        (ParamKind::Float, Some(number)) => Json::from(number),
        _ => it,
    }
}

fn fits(value: &Value<'_>, it: &Json, kind: ParamKind) -> bool {
    let text = it.as_str();
    let (fits, expected, help) = match kind {
        ParamKind::String => (text.is_some(), "a text", "put quotes around it"),
        ParamKind::Int => (
            it.is_i64(),
            "a whole number",
            "write it without quotes, or make the type float",
        ),
        ParamKind::Float => (it.is_number(), "a number", "write it without quotes"),
        ParamKind::Bool => (
            it.is_boolean(),
            "true or false",
            "write `true` or `false`, without quotes",
        ),
        ParamKind::Date => (
            text.is_some_and(is_date),
            "a date",
            "write it as 2026-11-22",
        ),
        ParamKind::Datetime => (
            text.is_some_and(|it| Timestamp::parse_rfc3339(it).is_some()),
            "a date with time and zone",
            "write it as 2026-11-22T06:00:00Z or with an offset such as +01:00",
        ),
        ParamKind::Json => (true, "", ""),
    };
    if !fits {
        value.wrong(expected, help);
    }
    fits
}

pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Parameters that a schedule or trigger gives: the names must be declared, the types must fit.
pub(crate) fn given(value: Value<'_>, params: &Params, place: Where) -> BTreeMap<String, Template> {
    let mut given = BTreeMap::new();
    for entry in value.entries("write `name: value`, one for each parameter") {
        let cx: &Cx<'_> = value.cx;
        let Some(spec) = params.get(&entry.key) else {
            let message = format!("unknown parameter `{}`", crate::yaml::shorten(&entry.key));
            let help = match params.specs.is_empty() {
                true => "this flow has no parameters; declare it under `params`".into(),
                false => did_you_mean(&entry.key, &params.names()),
            };
            cx.push(
                cx.at(&entry.key_span, "flow.unknown_param", message)
                    .help(help),
            );
            continue;
        };
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx,
        };
        if let Some(template) = checked(value, spec.kind, place) {
            given.insert(entry.key.clone(), template);
        }
    }
    given
}
