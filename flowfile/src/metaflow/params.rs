//! `Parameter`, `IncludeFile` and `Config` of a flow.

use super::declared::{Param, ParamType};
use super::found::{Found, Place};
use super::reading::call_of;
use super::syntax::{Call, Expr, ExprKind};
use super::value::{Scope, Unknown, Value};
use serde_json::Value as Json;
use std::sync::Arc;

const PARAMETER: [&str; 6] = [
    "name",
    "default",
    "type",
    "help",
    "required",
    "show_default",
];
const CONFIG: [&str; 2] = ["name", "default"];
const INCLUDE_FILE: [&str; 6] = ["name", "required", "is_text", "encoding", "help", "parser"];

/// Metaflow looks for no Parameter in these members of a class.
const NOT_PARAMETERS: [&str; 6] = [
    "cmd",
    "foreach_stack",
    "index",
    "input",
    "script_name",
    "name",
];

/// Names that options of Metaflow's own commands have.
const RESERVED: [&str; 15] = [
    "params",
    "with",
    "tag",
    "namespace",
    "obj",
    "tags",
    "decospecs",
    "run-id-file",
    "max-num-splits",
    "max-workers",
    "max-log-size",
    "user-namespace",
    "run-id",
    "task-id",
    "runner-attribute-file",
];

pub(super) fn may_have_name(variable: &str) -> bool {
    !variable.starts_with('_') && !NOT_PARAMETERS.contains(&variable)
}

/// Whether the member of a class is one of them.
pub(super) fn read(
    scope: &Scope<'_>,
    variable: &str,
    value: &Expr,
    params: &mut Vec<Param>,
    found: &mut Found,
) -> bool {
    if !may_have_name(variable) {
        return false;
    }
    let Some((name, call, within)) = call_of(scope, value) else {
        return false;
    };
    let place = Place::new(&scope.file.source, value.at.clone());
    // `a = b = Parameter(…)`.
    let same = |it: &Param| it.place.at == place.at && Arc::ptr_eq(&it.place.source, &place.source);
    if params.iter().any(same) {
        return true;
    }
    match name.as_str() {
        "Parameter" => {
            let param = Reader::new(&within, &call, &PARAMETER);
            params.extend(param.parameter(place, found));
        }
        "IncludeFile" => {
            let param = Reader::new(&within, &call, &INCLUDE_FILE);
            params.extend(param.include_file(place, found));
        }
        "Config" => {
            let reason = "a Config is read when the flow is deployed";
            found.unknown(&place, format!("Config `{variable}`"), reason);
            let config = Reader::new(&within, &call, &CONFIG);
            if let Some(Ok(Value::Str(file))) = config.value("default") {
                found.config_files.push(file);
            }
        }
        _ => return false,
    }
    true
}

struct Reader {
    /// Those given by name, `**` included, before those given by their place.
    given: Vec<(String, Result<Value, Unknown>)>,
    /// `*` or `**` of something that is not known: anything may be given.
    unclear: Option<String>,
}

impl Reader {
    /// `order`: names of the values that may be given without one.
    fn new(scope: &Scope<'_>, call: &Call, order: &[&str]) -> Self {
        let mut reader = Self {
            given: Vec::new(),
            unclear: None,
        };
        for it in &call.keywords {
            match (&it.name, scope.eval(&it.value)) {
                (Some(name), value) => reader.given.push((name.clone(), value)),
                (None, Ok(Value::Dict(pairs))) => {
                    let pairs = pairs.into_iter();
                    let named = pairs.map(|(name, value)| (name.plain(), Ok(value)));
                    reader.given.extend(named);
                }
                (None, Ok(_)) => reader.unclear = Some("`**` needs a dict".to_owned()),
                (None, Err(Unknown(reason))) => reader.unclear = Some(reason),
            }
        }
        for (place, it) in call.arguments.iter().enumerate() {
            match (&it.kind, order.get(place)) {
                (ExprKind::Other("an unpacked list", _), _) => {
                    reader.unclear = Some("a list is unpacked into it".to_owned());
                    break;
                }
                (_, Some(name)) => reader.given.push(((*name).to_owned(), scope.eval(it))),
                (_, None) => {}
            }
        }
        reader
    }

    fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(it, _)| it == name)
    }

    /// `None`: not given.
    fn value(&self, name: &str) -> Option<Result<Value, Unknown>> {
        let given = self.given.iter().rev().find(|(it, _)| it == name);
        given
            .map(|(_, value)| value.clone())
            .filter(|it| *it != Ok(Value::None))
    }

    /// Notes what is not known of what decides how values are taken.
    fn note(&self, names: &[&str], place: &Place, found: &mut Found) {
        if let Some(reason) = &self.unclear {
            found.unknown(place, "what a Parameter is given", reason);
        }
        for name in names {
            if let Some(Err(Unknown(reason))) = self.value(name) {
                found.unknown(place, format!("Parameter({name}=…)"), reason);
            }
        }
    }

    fn is_true(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Ok(it)) if it.is_true())
    }

    fn name(&self, place: &Place, found: &mut Found) -> Option<String> {
        if self.unclear.is_some() && self.value("name").is_none() {
            return None;
        }
        match self.value("name") {
            Some(Ok(Value::Str(name))) => {
                check_name(&name, place, found);
                Some(name)
            }
            Some(Err(Unknown(reason))) => {
                found.unknown(place, "the name of a Parameter", reason);
                None
            }
            _ => {
                let message = "this Parameter has no name";
                let help = "write its name first: `Parameter(\"alpha\", default=0.5)`";
                found.error(place, "metaflow.parameter", message, help);
                None
            }
        }
    }

    fn help(&self) -> Option<String> {
        match self.value("help") {
            Some(Ok(Value::Str(help))) => Some(help),
            _ => None,
        }
    }

    fn parameter(&self, place: Place, found: &mut Found) -> Option<Param> {
        self.note(
            &["required", "multiple", "separator", "type"],
            &place,
            found,
        );
        let name = self.name(&place, found)?;
        let default = self.value("default");
        let multiple = self.is_true("multiple");
        let declared = match self.value("type") {
            Some(Ok(Value::Type(it))) => {
                let kind = type_named(&it);
                if kind.is_none() {
                    let reason = format!("`{it}` is not one of the types that are read");
                    found.unknown(&place, "Parameter(type=…)", reason);
                }
                kind
            }
            Some(Ok(_)) => {
                let reason = "it is not one of the types that are read";
                found.unknown(&place, "Parameter(type=…)", reason);
                None
            }
            _ => None,
        };
        let mut param = Param {
            kind: declared.unwrap_or(ParamType::String),
            required: self.is_true("required"),
            help: self.help(),
            multiple,
            default: None,
            unknown_default: None,
            name,
            place,
        };
        match default {
            None => {}
            Some(Ok(Value::Function(function))) => {
                let reason = format!("`{function}` is called when the flow is deployed");
                param.unknown_default = Some(reason);
            }
            Some(Ok(value)) => {
                if !self.is_given("type") {
                    param.kind = type_of(&value);
                }
                match value.to_json() {
                    Some(json) => param.default = Some(json),
                    None => param.unknown_default = Some("it is not a plain value".to_owned()),
                }
            }
            Some(Err(Unknown(reason))) => param.unknown_default = Some(reason),
        }
        if self.is_true("separator") && param.kind != ParamType::String {
            let message = format!("`{}` has a separator, but is not a string", param.name);
            let help = "remove `separator`, or write `type=str`";
            found.error(&param.place, "metaflow.parameter", message, help);
        }
        fit(&mut param, found);
        Some(param)
    }

    fn include_file(&self, place: Place, found: &mut Found) -> Option<Param> {
        self.note(&["required"], &place, found);
        let name = self.name(&place, found)?;
        let (mut default, mut unknown_default) = (None, None);
        match self.value("default") {
            Some(Ok(Value::Str(path))) => default = Some(Json::String(path)),
            Some(Ok(_)) => unknown_default = Some("it is worked out at deployment".to_owned()),
            Some(Err(Unknown(reason))) => unknown_default = Some(reason),
            None => {}
        }
        Some(Param {
            kind: ParamType::File,
            required: self.is_true("required"),
            multiple: false,
            help: self.help(),
            name,
            place,
            default,
            unknown_default,
        })
    }
}

pub(super) fn check_name(name: &str, place: &Place, found: &mut Found) {
    const CODE: &str = "metaflow.parameter";
    if RESERVED
        .iter()
        .any(|it| *it == name || it.replace('-', "_") == name)
    {
        let message = format!("a Parameter cannot be named `{name}`: Metaflow's commands use it");
        let help = "choose another name; the variable may keep its own";
        found.error(place, CODE, message, help);
    } else if name.is_empty() || name.contains(|it: char| it.is_whitespace() || it.is_control()) {
        let message = "the name of a Parameter is empty or holds a space";
        let help = "use letters, digits, `_` and `-`";
        found.error(place, CODE, message, help);
    }
}

pub(super) fn type_named(name: &str) -> Option<ParamType> {
    Some(match name {
        "str" | "text" | "string" => ParamType::String,
        "int" | "integer" => ParamType::Int,
        "float" => ParamType::Float,
        "bool" | "boolean" => ParamType::Bool,
        "JSONType" | "JSONTypeClass" | "JSON" | "dict" | "list" => ParamType::Json,
        "FilePath" => ParamType::File,
        _ => return None,
    })
}

fn type_of(value: &Value) -> ParamType {
    match value {
        Value::Bool(_) => ParamType::Bool,
        Value::Int(_) => ParamType::Int,
        Value::Float(_) => ParamType::Float,
        Value::List(_) | Value::Tuple(_) | Value::Dict(_) => ParamType::Json,
        _ => ParamType::String,
    }
}

/// Brings the default into the type, as Metaflow's command line does.
pub(super) fn fit(param: &mut Param, found: &mut Found) {
    let Some(default) = param.default.take() else {
        return;
    };
    if param.multiple {
        let list = match default {
            it @ Json::Array(_) => it,
            it => Json::Array(vec![it]),
        };
        param.default = Some(list);
        return;
    }
    let value = Value::of_json(&default);
    let fitted = match param.kind {
        ParamType::String | ParamType::File => Some(Json::String(value.plain())),
        ParamType::Int => value.to_int().map(Json::from),
        ParamType::Float => match &value {
            Value::Str(text) => text.trim().parse::<f64>().ok().map(Json::from),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => match default.as_f64() {
                Some(float) => Some(Json::from(float)),
                None => value.to_int().map(Json::from),
            },
            _ => None,
        },
        ParamType::Bool => match &value {
            Value::Bool(it) => Some(Json::Bool(*it)),
            Value::Str(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "t" | "yes" | "y" | "on" => Some(Json::Bool(true)),
                "0" | "false" | "f" | "no" | "n" | "off" => Some(Json::Bool(false)),
                _ => None,
            },
            Value::Int(it @ 0..=1) => Some(Json::Bool(*it == 1)),
            _ => None,
        },
        ParamType::Json => match &value {
            Value::Str(text) => serde_json::from_str(text).ok(),
            _ => Some(default.clone()),
        },
    };
    match fitted {
        Some(fitted) => param.default = Some(fitted),
        None => {
            let expected = match param.kind {
                ParamType::Int => "an int",
                ParamType::Float => "a float",
                ParamType::Bool => "a bool",
                ParamType::Json => "JSON",
                ParamType::String | ParamType::File => "a string",
            };
            let message = format!(
                "the default of `{}` is {}, and that is not {expected}",
                param.name,
                crate::yaml::shorten(&value.repr())
            );
            let help = "write a default of the Parameter's type, or change `type`";
            found.error(&param.place, "metaflow.parameter", message, help);
        }
    }
}
