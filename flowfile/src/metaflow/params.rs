//! `Parameter`, `IncludeFile` and `Config` of a flow.

use super::declared::{Param, ParamType};
use super::found::{Found, Place};
use super::reading::call_of;
use super::syntax::{Call, Expr, Keyword};
use super::value::{Scope, Unknown, Value};
use serde_json::Value as Json;

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

/// Whether the member of a class is one of them.
pub(super) fn read(
    scope: &Scope<'_>,
    variable: &str,
    value: &Expr,
    params: &mut Vec<Param>,
    found: &mut Found,
) -> bool {
    if variable.starts_with('_') || NOT_PARAMETERS.contains(&variable) {
        return false;
    }
    let Some((name, call, within)) = call_of(scope, value) else {
        return false;
    };
    let place = Place::new(&scope.file.source, value.at.clone());
    match name.as_str() {
        "Parameter" => {
            let param = Reader {
                scope: &within,
                call: &call,
                order: &PARAMETER,
            };
            params.extend(param.parameter(place, found));
        }
        "IncludeFile" => {
            let param = Reader {
                scope: &within,
                call: &call,
                order: &INCLUDE_FILE,
            };
            params.extend(param.include_file(place, found));
        }
        "Config" => {
            let reason = "a Config is read when the flow is deployed";
            found.unknown(&place, format!("Config `{variable}`"), reason);
            let config = Reader {
                scope: &within,
                call: &call,
                order: &CONFIG,
            };
            if let Some(Ok(Value::Str(file))) = config.value("default") {
                found.config_files.push(file);
            }
        }
        _ => return false,
    }
    true
}

struct Reader<'a> {
    scope: &'a Scope<'a>,
    call: &'a Call,
    /// Names of the values that may be given without one.
    order: &'static [&'static str],
}

impl Reader<'_> {
    fn argument(&self, name: &str) -> Option<&Expr> {
        let place = self.order.iter().position(|it| *it == name);
        place
            .and_then(|it| self.call.arguments.get(it))
            .or_else(|| {
                let named = |it: &&Keyword| it.name.as_deref() == Some(name);
                self.call.keywords.iter().find(named).map(|it| &it.value)
            })
    }

    /// `None`: not given.
    fn value(&self, name: &str) -> Option<Result<Value, Unknown>> {
        self.argument(name)
            .map(|it| self.scope.eval(it))
            .filter(|it| *it != Ok(Value::None))
    }

    fn is_true(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Ok(it)) if it.is_true())
    }

    fn name(&self, place: &Place, found: &mut Found) -> Option<String> {
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
        let name = self.name(&place, found)?;
        let default = self.value("default");
        let multiple = self.is_true("multiple");
        let declared = match self.value("type") {
            Some(Ok(Value::Type(it))) => type_named(&it),
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
                if self.argument("type").is_none() {
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
