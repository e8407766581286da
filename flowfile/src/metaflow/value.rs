//! Values that can be known without running anything.

use super::module::{File, Loader, Symbol};
use super::syntax::{Call, Expr, ExprKind, Function, MemberKind, Piece};
use std::rc::Rc;

/// Values that contain values: deeper ones are not followed.
const DEPTH_MAX: usize = 256;
/// `"x" * 10**9` is not worked out.
const LENGTH_MAX: usize = 1 << 16;

/// A value of Python.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    /// `str`, `int`, `float`, `bool`, `JSONType` and the like.
    Type(String),
    /// A function by its name.
    Function(String),
    /// `namespaced_event_name(…)`: its prefix depends on the project.
    Namespaced(String),
}

impl Value {
    /// As Python's `bool()` sees it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(it) => *it,
            Self::Int(it) => *it != 0,
            Self::Float(it) => *it != 0.0,
            Self::Str(it) => !it.is_empty(),
            Self::List(it) | Self::Tuple(it) => !it.is_empty(),
            Self::Dict(it) => !it.is_empty(),
            Self::Type(_) | Self::Function(_) | Self::Namespaced(_) => true,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Str(it) => Some(it),
            _ => None,
        }
    }

    /// As Python's `int()` reads it.
    pub(super) fn to_int(&self) -> Option<i64> {
        match self {
            Self::Bool(it) => Some(i64::from(*it)),
            Self::Int(it) => Some(*it),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "within the range of exact integers"
            )]
            Self::Float(it) if it.abs() < 9e15 => Some(it.trunc() as i64),
            Self::Str(it) => it.trim().replace('_', "").parse().ok(),
            _ => None,
        }
    }

    /// As Python's `str()` writes it.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Str(it) => it.clone(),
            other => other.repr(),
        }
    }

    /// As Python's `repr()` writes it.
    pub(super) fn repr(&self) -> String {
        let list = |items: &[Self]| {
            let items: Vec<String> = items.iter().map(Self::repr).collect();
            items.join(", ")
        };
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(it) => it.to_string(),
            Self::Float(it) => float(*it),
            Self::Str(it) => quoted(it),
            Self::List(items) => format!("[{}]", list(items)),
            Self::Tuple(items) if items.len() == 1 => format!("({},)", items[0].repr()),
            Self::Tuple(items) => format!("({})", list(items)),
            Self::Dict(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|(key, value)| format!("{}: {}", key.repr(), value.repr()))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
            Self::Type(name) | Self::Function(name) => name.clone(),
            Self::Namespaced(name) => format!("namespaced_event_name({})", quoted(name)),
        }
    }

    /// `None` for what has no JSON form.
    pub(super) fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match self {
            Self::None => Json::Null,
            Self::Bool(it) => Json::Bool(*it),
            Self::Int(it) => Json::from(*it),
            Self::Float(it) => Json::from(*it),
            Self::Str(it) => Json::from(it.as_str()),
            Self::List(items) | Self::Tuple(items) => {
                Json::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Self::Dict(items) => {
                let pairs = items
                    .iter()
                    .map(|(key, value)| Some((key.plain(), value.to_json()?)));
                Json::Object(pairs.collect::<Option<_>>()?)
            }
            Self::Type(_) | Self::Function(_) | Self::Namespaced(_) => return None,
        })
    }

    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::None,
            Json::Bool(it) => Self::Bool(*it),
            Json::Number(it) => match it.as_i64() {
                Some(int) => Self::Int(int),
                None => Self::Float(it.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(it) => Self::Str(it.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            Json::Object(map) => Self::Dict(
                map.iter()
                    .map(|(key, value)| (Self::Str(key.clone()), Self::of_json(value)))
                    .collect(),
            ),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(items) => items
                .iter()
                .rev()
                .find(|(it, _)| it.text() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// How deep lists and dicts nest in it: 0 for a value that nothing can change.
    fn changeable(&self) -> usize {
        let deepest = |items: &mut dyn Iterator<Item = &Self>| {
            items.map(Self::changeable).max().unwrap_or_default()
        };
        match self {
            Self::List(items) => 1 + deepest(&mut items.iter()),
            Self::Dict(items) => 1 + deepest(&mut items.iter().map(|(_, it)| it)),
            Self::Tuple(items) => match deepest(&mut items.iter()) {
                0 => 0,
                // What is in it is reached by looking inside.
                depth => depth + 1,
            },
            _ => 0,
        }
    }

    /// `True`, `1` and `1.0` are one key.
    fn is_same_key(&self, other: &Self) -> bool {
        let exact = |it: &Self| match it {
            Self::Bool(it) => Some(f64::from(u8::from(*it))),
            other => number(other),
        };
        match (exact(self), exact(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
            _ => self == other,
        }
    }

    fn index(&self, index: &Self) -> Option<&Self> {
        match (self, index) {
            (Self::Dict(items), key) => items
                .iter()
                .rev()
                .find(|(it, _)| it.is_same_key(key))
                .map(|(_, value)| value),
            (Self::List(items) | Self::Tuple(items), Self::Int(at)) => {
                let at = match *at < 0 {
                    true => items
                        .len()
                        .checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?,
                    false => usize::try_from(*at).ok()?,
                };
                items.get(at)
            }
            _ => None,
        }
    }
}

fn float(it: f64) -> String {
    if it.is_nan() {
        "nan".into()
    } else if it.is_infinite() {
        if it > 0.0 { "inf" } else { "-inf" }.into()
    } else {
        let scientific = format!("{it:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        match exponent.parse::<i32>().unwrap_or_default() {
            exponent @ (..-4 | 16..) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{digits}e{sign}{:02}", exponent.abs())
            }
            _ if it == it.trunc() => format!("{it:.1}"),
            _ => it.to_string(),
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            it if it == quote => out.extend(['\\', it]),
            it => out.push(it),
        }
    }
    out.push(quote);
    out
}

/// Why a value is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

/// Where an expression stands: which names it sees.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    pub(super) loader: &'a Loader<'a>,
    pub(super) file: Rc<File>,
    /// The class whose body it is in.
    pub(super) class: Option<usize>,
    pub(super) before: usize,
}

/// A name of a class's body.
pub(super) enum Shadow<'a> {
    No,
    Value(&'a Expr),
    Function(&'a Function),
    Unclear,
}

impl Scope<'_> {
    pub(super) fn eval(&self, expr: &Expr) -> Result<Value, Unknown> {
        self.value(expr, DEPTH_MAX)
    }

    pub(super) fn resolve(&self, names: &[&str]) -> Symbol {
        self.loader.resolve(&self.file, names, self.before)
    }

    fn value(&self, expr: &Expr, depth: usize) -> Result<Value, Unknown> {
        let Some(depth) = depth.checked_sub(1).filter(|_| self.loader.may_work_out()) else {
            return Err(Unknown("it is nested too deep".into()));
        };
        let each = |items: &[Expr]| -> Result<Vec<Value>, Unknown> {
            items.iter().map(|it| self.value(it, depth)).collect()
        };
        Ok(match &expr.kind {
            ExprKind::None => Value::None,
            ExprKind::Bool(it) => Value::Bool(*it),
            ExprKind::Int(Some(it)) => Value::Int(*it),
            ExprKind::Int(None) => return Err(Unknown("the number is too large".into())),
            ExprKind::Float(it) => Value::Float(*it),
            ExprKind::Str(it) => Value::Str(it.clone()),
            ExprKind::List(items) => Value::List(each(items)?),
            ExprKind::Tuple(items) => Value::Tuple(each(items)?),
            ExprKind::Dict(items) => {
                let mut pairs = Vec::new();
                for (key, value) in items {
                    let value = self.value(value, depth)?;
                    match (key, value) {
                        (Some(key), value) => pairs.push((self.value(key, depth)?, value)),
                        (None, Value::Dict(more)) => pairs.extend(more),
                        (None, _) => return Err(Unknown("`**` needs a dict".into())),
                    }
                }
                Value::Dict(pairs)
            }
            ExprKind::Negative(it) => match self.value(it, depth)? {
                Value::Int(it) => Value::Int(it.wrapping_neg()),
                Value::Float(it) => Value::Float(-it),
                _ => return Err(Unknown("it is calculated".into())),
            },
            ExprKind::Add(left, right) => add(self.value(left, depth)?, self.value(right, depth)?)?,
            ExprKind::Multiply(left, right) => {
                multiply(self.value(left, depth)?, self.value(right, depth)?)?
            }
            ExprKind::Format(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(it) => text.push_str(it),
                        Piece::Value(it) => text.push_str(&known_text(&self.value(it, depth)?)?),
                        Piece::Formatted => return Err(Unknown("it is formatted".into())),
                    }
                    if text.len() > LENGTH_MAX {
                        return Err(Unknown("it is too long".into()));
                    }
                }
                Value::Str(text)
            }
            ExprKind::Subscript(of, index) => {
                let (of, index) = (self.value(of, depth)?, self.value(index, depth)?);
                let found = of.index(&index).cloned();
                found.ok_or_else(|| Unknown(format!("there is no `[{}]`", index.repr())))?
            }
            ExprKind::Call(call) => self.call(call, expr, depth)?,
            ExprKind::Name(_) | ExprKind::Attribute(..) => self.named(expr, depth)?,
            ExprKind::Lambda(_) => return Err(Unknown("a lambda is called at deployment".into())),
            ExprKind::Other(what, _) => return Err(Unknown(format!("{what} is worked out"))),
        })
    }

    fn named(&self, expr: &Expr, depth: usize) -> Result<Value, Unknown> {
        let Some(names) = expr.dotted() else {
            return Err(Unknown("an attribute of a value is read".into()));
        };
        let shown = names.join(".");
        match (self.member(names[0]), names.len()) {
            (Shadow::No, _) => {}
            (Shadow::Value(member), 1) => {
                let within = Scope {
                    before: member.at.start,
                    ..self.clone()
                };
                return self.unchanged(names[0], within.value(member, depth)?);
            }
            (Shadow::Value(_), _) => {
                let first = names[0];
                return Err(Unknown(format!("`{shown}` is an attribute of `{first}`")));
            }
            (Shadow::Function(function), 1) => {
                return Ok(Value::Function(function.name.clone()));
            }
            (Shadow::Function(_) | Shadow::Unclear, _) => {
                let reason = "the body of the class sets it in a way that is not followed";
                return Err(Unknown(format!("`{shown}`: {reason}")));
            }
        }
        match self.resolve(&names) {
            Symbol::Metaflow(name) if name.starts_with("JSONType") => Ok(Value::Type(name)),
            Symbol::Metaflow(_) => Err(Unknown(format!("`{shown}` is a value of Metaflow's"))),
            Symbol::Function(file, index) => {
                Ok(Value::Function(Symbol::function(&file, index).name.clone()))
            }
            Symbol::Class(file, index) => Ok(Value::Type(file.class(index).name.clone())),
            Symbol::Value(file, index) => {
                let scope = Scope {
                    loader: self.loader,
                    class: None,
                    before: Symbol::value(&file, index).at.start,
                    file: Rc::clone(&file),
                };
                let value = scope.value(Symbol::value(&file, index), depth)?;
                self.unchanged(names[names.len() - 1], value)
            }
            Symbol::Module(_) | Symbol::Package(_) => {
                Err(Unknown(format!("`{shown}` is a module")))
            }
            Symbol::Foreign(_) => Err(Unknown(format!(
                "`{shown}` comes from a module that is not beside the file"
            ))),
            Symbol::Unclear(why) => Err(Unknown(format!("`{shown}`: {why}"))),
            Symbol::Undefined => match (names.as_slice(), BUILTINS.contains(&names[0])) {
                ([name], true) => Ok(Value::Type((*name).to_owned())),
                _ => Err(Unknown(format!("`{shown}` is not set in the file"))),
            },
        }
    }

    /// A list or dict counts only if nothing else may have changed it.
    fn unchanged(&self, name: &str, value: Value) -> Result<Value, Unknown> {
        let depth = value.changeable();
        match depth > 0 && self.loader.world().may_change(name, depth) {
            true => Err(Unknown(format!(
                "`{name}` may be changed while the file runs"
            ))),
            false => Ok(value),
        }
    }

    /// What the body of the class, so far, says of a name.
    pub(super) fn member(&self, name: &str) -> Shadow<'_> {
        let Some(class) = self.class else {
            return Shadow::No;
        };
        let members = &self.file.class(class).members;
        let found = members
            .iter()
            .rev()
            .find(|it| it.name == name && it.at.end <= self.before);
        match found {
            None => Shadow::No,
            Some(it) if it.perhaps => Shadow::Unclear,
            Some(it) => match &it.kind {
                MemberKind::Value(value) => Shadow::Value(value),
                MemberKind::Function(function) => Shadow::Function(function),
                MemberKind::Deleted => Shadow::No,
                MemberKind::Import(..) | MemberKind::Other(_) => Shadow::Unclear,
            },
        }
    }

    fn call(&self, call: &Call, whole: &Expr, depth: usize) -> Result<Value, Unknown> {
        let Some(names) = call.function.dotted() else {
            return Err(Unknown("a function is called".into()));
        };
        let shown = names.join(".");
        let unknown = || Unknown(format!("`{shown}(…)` is called"));
        let one = match (call.arguments.as_slice(), call.keywords.as_slice()) {
            ([one], []) => Some(one),
            _ => None,
        };
        if !matches!(self.member(names[0]), Shadow::No) {
            return Err(unknown());
        }
        match (self.resolve(&names), one) {
            (Symbol::Metaflow(name), Some(one)) if name == "namespaced_event_name" => {
                match self.value(one, depth)? {
                    Value::Str(event) => Ok(Value::Namespaced(event)),
                    _ => Err(unknown()),
                }
            }
            (Symbol::Metaflow(name), _) if name == "config_expr" => {
                let text = self.file.source.slice(whole.at.clone());
                Err(Unknown(format!(
                    "`{}` reads a Config",
                    crate::yaml::shorten(text)
                )))
            }
            (Symbol::Undefined, one) => match (shown.as_str(), one) {
                ("dict", None) if call.arguments.is_empty() => {
                    let mut pairs = Vec::new();
                    for it in &call.keywords {
                        let value = self.value(&it.value, depth)?;
                        match (&it.name, value) {
                            (Some(name), value) => pairs.push((Value::Str(name.clone()), value)),
                            (None, Value::Dict(more)) => pairs.extend(more),
                            (None, _) => return Err(unknown()),
                        }
                    }
                    Ok(Value::Dict(pairs))
                }
                ("str", Some(one)) => Ok(Value::Str(known_text(&self.value(one, depth)?)?)),
                ("int", Some(one)) => {
                    let value = self.value(one, depth)?;
                    value.to_int().map(Value::Int).ok_or_else(unknown)
                }
                ("list", Some(one)) => match self.value(one, depth)? {
                    Value::List(items) | Value::Tuple(items) => Ok(Value::List(items)),
                    _ => Err(unknown()),
                },
                ("dict", Some(one)) => match self.value(one, depth)? {
                    it @ Value::Dict(_) => Ok(it),
                    _ => Err(unknown()),
                },
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

/// What `str()` gives; of functions and types that is not known.
fn known_text(value: &Value) -> Result<String, Unknown> {
    match value.to_json() {
        Some(_) => Ok(value.plain()),
        None => Err(Unknown("the text of a function or type is used".into())),
    }
}

const BUILTINS: [&str; 12] = [
    "str", "int", "float", "bool", "list", "dict", "tuple", "set", "bytes", "print", "len",
    "object",
];

fn add(left: Value, right: Value) -> Result<Value, Unknown> {
    match (left, right) {
        (Value::Str(a), Value::Str(b)) if a.len() + b.len() <= LENGTH_MAX => Ok(Value::Str(a + &b)),
        (Value::Int(a), Value::Int(b)) => a
            .checked_add(b)
            .map(Value::Int)
            .ok_or_else(|| Unknown("the number is too large".into())),
        (Value::List(a), Value::List(b)) if a.len() + b.len() <= LENGTH_MAX => {
            Ok(Value::List(a.into_iter().chain(b).collect()))
        }
        (Value::Tuple(a), Value::Tuple(b)) if a.len() + b.len() <= LENGTH_MAX => {
            Ok(Value::Tuple(a.into_iter().chain(b).collect()))
        }
        (a, b) => match (number(&a), number(&b)) {
            (Some(a), Some(b)) => Ok(Value::Float(a + b)),
            _ => Err(Unknown("it is calculated".into())),
        },
    }
}

fn multiply(left: Value, right: Value) -> Result<Value, Unknown> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => a
            .checked_mul(b)
            .map(Value::Int)
            .ok_or_else(|| Unknown("the number is too large".into())),
        (a, b) => match (number(&a), number(&b)) {
            (Some(a), Some(b)) => Ok(Value::Float(a * b)),
            _ => Err(Unknown("it is calculated".into())),
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Python does")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(it) => Some(*it as f64),
        Value::Float(it) => Some(*it),
        _ => None,
    }
}
