//! Expressions of flow files: CEL, checked once when the file is read, evaluated on JSON values.
//!
//! Names in scope: `params`, `event`, `events`, `interval`, `run`, `steps.<name>.outputs`, `item`,
//! `items`, `item_index`. An expression knows which of them it uses, so only those are built.

use cel::common::ast::{EntryExpr, Expr as Ast};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// The longest expression that is parsed, in bytes; it bounds the parser's recursion.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// The most operator signs in an expression: each may make the syntax tree one level deeper, and it is
/// walked by recursion.
pub const OPERATORS_MAX: usize = 256;

/// The names that an expression may use.
pub const ROOT_NAMES: [&str; 9] = [
    "params",
    "event",
    "events",
    "interval",
    "run",
    "steps",
    "item",
    "items",
    "item_index",
];

/// A CEL expression that parses.
#[derive(Clone)]
pub struct Expr {
    source: Arc<str>,
    program: Arc<cel::Program>,
    names: Arc<Names>,
}

/// What an expression refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Variables at the root, those bound by macros such as `all` left out.
    pub roots: BTreeSet<String>,
    /// `NAME` of each `steps.NAME` or `steps["NAME"]`.
    pub steps: BTreeSet<String>,
    /// `NAME` of each `params.NAME`.
    pub params: BTreeSet<String>,
}

/// An expression that does not parse, or cannot be evaluated on these values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where in the expression, as a byte offset, when the parser knows.
    pub offset: Option<usize>,
}

/// The values an expression is evaluated on: root names to JSON.
pub type Scope = BTreeMap<&'static str, Value>;

impl Expr {
    /// Parses an expression.
    ///
    /// # Errors
    /// When it is longer than [`EXPRESSION_BYTES_MAX`], has more than [`OPERATORS_MAX`] operators, nests
    /// brackets deeper than 64, or is not CEL.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let fail = |message: String, offset| Err(ExprError { message, offset });
        if source.trim().is_empty() {
            return fail(
                "an expression is expected, and there is nothing".into(),
                None,
            );
        }
        if source.len() > EXPRESSION_BYTES_MAX {
            return fail(
                format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"),
                None,
            );
        }
        if operators(source) > OPERATORS_MAX {
            return fail(
                format!("the expression has more than {OPERATORS_MAX} operators"),
                None,
            );
        }
        if nesting(source) > 64 {
            return fail("the expression nests brackets deeper than 64".into(), None);
        }
        let program = match with_room(|| cel::Program::compile(source)) {
            Ok(program) => program,
            Err(errors) => {
                let first = errors.errors.first();
                let message = first.map_or_else(|| errors.to_string(), |it| it.msg.clone());
                let offset = first.map(|it| byte_offset(source, it.pos));
                return fail(message, offset);
            }
        };
        let mut names = Names::default();
        with_room(|| collect(&program.expression().expr, &mut Vec::new(), &mut names));
        Ok(Self {
            source: source.into(),
            program: Arc::new(program),
            names: Arc::new(names),
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Evaluates on these values.
    ///
    /// # Errors
    /// When a name or key is missing, types do not fit, or the result has no JSON form.
    pub fn eval(&self, scope: &Scope) -> Result<Value, ExprError> {
        let mut context = cel::Context::default();
        for (name, value) in scope {
            context.add_variable_from_value(*name, to_cel(value));
        }
        let fail = |message: String| ExprError {
            message: format!("`{}`: {message}", self.source),
            offset: None,
        };
        let value = with_room(|| self.program.execute(&context))
            .map_err(|error| fail(error.to_string()))?;
        value.json().map_err(|error| fail(error.to_string()))
    }

    /// Evaluates to true or false.
    ///
    /// # Errors
    /// As [`Expr::eval`], and when the result is not a boolean.
    pub fn eval_bool(&self, scope: &Scope) -> Result<bool, ExprError> {
        match self.eval(scope)? {
            Value::Bool(it) => Ok(it),
            other => Err(ExprError {
                message: format!(
                    "`{}` is {other}, and true or false is expected",
                    self.source
                ),
                offset: None,
            }),
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?})", self.source)
    }
}
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}
impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        Self::parse(&source).map_err(de::Error::custom)
    }
}

/// A value in a flow file: a literal, one expression `${{ … }}` with its type kept, or text with
/// expressions in it. Serialized as the value that was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    Literal(Value),
    Expr(Expr),
    Text(Vec<Part>),
}

/// A piece of a text template.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    Expr(Expr),
}

impl Template {
    /// Reads a JSON value; strings may hold `${{ … }}`.
    ///
    /// # Errors
    /// When `${{` is not closed or an expression does not parse; `offset` counts from the start of the text.
    pub fn parse(value: &Value) -> Result<Self, ExprError> {
        let Value::String(text) = value else {
            return Ok(Self::Literal(value.clone()));
        };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find("${{") {
            let at = text.len() - rest.len() + start;
            let Some(length) = rest[start..].find("}}") else {
                return Err(ExprError {
                    message: "`${{` is never closed by `}}`".into(),
                    offset: Some(at),
                });
            };
            if start > 0 {
                parts.push(Part::Text(rest[..start].into()));
            }
            let inner = &rest[start + 3..start + length];
            let lead = inner.len() - inner.trim_start().len();
            let expr = Expr::parse(inner.trim()).map_err(|error| ExprError {
                offset: Some(at + 3 + lead + error.offset.unwrap_or(0)),
                ..error
            })?;
            parts.push(Part::Expr(expr));
            rest = &rest[start + length + 2..];
        }
        if parts.is_empty() {
            return Ok(Self::Literal(value.clone()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expr(expr)]) => Self::Expr(expr),
            Ok([part]) => Self::Text(vec![part]),
            Err(parts) => Self::Text(parts),
        })
    }

    /// This value and nothing else: `${{` in it is text. It stays so through storage, for each `${{` is
    /// written as an expression that gives these three characters.
    pub fn exact(value: Value) -> Self {
        let Value::String(text) = &value else {
            return Self::Literal(value);
        };
        let mut pieces = text.split("${{");
        let first = pieces.next().unwrap_or_default();
        let mut parts = Vec::new();
        if !first.is_empty() {
            parts.push(Part::Text(first.to_owned()));
        }
        let opening = || Expr::parse("'$' + '{{'").expect("a constant that parses");
        for piece in pieces {
            parts.push(Part::Expr(opening()));
            if !piece.is_empty() {
                parts.push(Part::Text(piece.to_owned()));
            }
        }
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expr(expr)]) => Self::Expr(expr),
            Ok([Part::Text(_)]) => Self::Literal(value),
            Err(parts) if parts.is_empty() => Self::Literal(value),
            Err(parts) => Self::Text(parts),
        }
    }

    /// The value on this scope: typed for a literal or a lone expression, else a string.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn eval(&self, scope: &Scope) -> Result<Value, ExprError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expr(expr) => expr.eval(scope),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(it) => text.push_str(it),
                        Part::Expr(expr) => text.push_str(&plain(&expr.eval(scope)?)),
                    }
                }
                Ok(Value::String(text))
            }
        }
    }

    /// The expressions in it, in order.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let (one, many): (Option<&Expr>, &[Part]) = match self {
            Self::Literal(_) => (None, &[]),
            Self::Expr(expr) => (Some(expr), &[]),
            Self::Text(parts) => (None, parts),
        };
        one.into_iter()
            .chain(many.iter().filter_map(|part| match part {
                Part::Expr(expr) => Some(expr),
                Part::Text(_) => None,
            }))
    }

    fn source(&self) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Expr(expr) => Value::String(format!("${{{{ {} }}}}", expr.source)),
            Self::Text(parts) => {
                let text = parts.iter().map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Expr(expr) => format!("${{{{ {} }}}}", expr.source),
                });
                Value::String(text.collect())
            }
        }
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source().serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A value as an environment variable shows it: strings bare, null empty, all else as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(it) => cel::Value::Bool(*it),
        // One kind of integer: CEL has no arithmetic between signed and unsigned.
        Value::Number(it) => match (it.as_i64(), it.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(uint)) => cel::Value::UInt(uint),
            (None, None) => cel::Value::Float(it.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(it) => cel::Value::String(Arc::new(it.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let map: HashMap<String, cel::Value> = map
                .iter()
                .map(|(name, value)| (name.clone(), to_cel(value)))
                .collect();
            cel::Value::from(map)
        }
    }
}

/// Runs with enough stack for the deepest expression that is accepted: measured without optimization, the
/// parser takes up to 40 KiB per level.
fn with_room<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(16 << 20, 32 << 20, work)
}

fn operators(source: &str) -> usize {
    let is_sign = |byte: &u8| b"+-*/%&|=<>!?:.".contains(byte);
    source.bytes().filter(is_sign).count()
}

/// How deep brackets nest.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn byte_offset(source: &str, (line, column): (isize, isize)) -> usize {
    let before: usize = source
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or(0))
        .map(str::len)
        .sum();
    (before + usize::try_from(column - 1).unwrap_or(0)).min(source.len())
}

/// Walks the syntax tree; `bound` holds the variables of the enclosing macros.
fn collect(ast: &Ast, bound: &mut Vec<String>, names: &mut Names) {
    match ast {
        Ast::Unspecified | Ast::Literal(_) => {}
        Ast::Ident(name) => {
            if !bound.contains(name) && !name.starts_with('@') {
                names.roots.insert(name.clone());
            }
        }
        Ast::Select(select) => {
            if let Ast::Ident(root) = &select.operand.expr {
                match root.as_str() {
                    "steps" => names.steps.insert(select.field.clone()),
                    "params" => names.params.insert(select.field.clone()),
                    _ => false,
                };
            }
            collect(&select.operand.expr, bound, names);
        }
        Ast::Call(call) => {
            if call.func_name == "_[_]"
                && let [of, index] = call.args.as_slice()
                && let Ast::Ident(root) = &of.expr
                && let Ast::Literal(cel::common::ast::LiteralValue::String(field)) = &index.expr
            {
                match root.as_str() {
                    "steps" => names.steps.insert(field.inner().to_owned()),
                    "params" => names.params.insert(field.inner().to_owned()),
                    _ => false,
                };
            }
            let target = call.target.iter().map(|it| &it.expr);
            for part in target.chain(call.args.iter().map(|it| &it.expr)) {
                collect(part, bound, names);
            }
        }
        Ast::List(list) => {
            for element in &list.elements {
                collect(&element.expr, bound, names);
            }
        }
        Ast::Map(map) => {
            for entry in &map.entries {
                collect_entry(&entry.expr, bound, names);
            }
        }
        Ast::Struct(it) => {
            for entry in &it.entries {
                collect_entry(&entry.expr, bound, names);
            }
        }
        Ast::Comprehension(it) => {
            collect(&it.iter_range.expr, bound, names);
            collect(&it.accu_init.expr, bound, names);
            let before = bound.len();
            bound.push(it.iter_var.clone());
            bound.extend(it.iter_var2.clone());
            bound.push(it.accu_var.clone());
            for part in [&it.loop_cond, &it.loop_step, &it.result] {
                collect(&part.expr, bound, names);
            }
            bound.truncate(before);
        }
    }
}

fn collect_entry(entry: &EntryExpr, bound: &mut Vec<String>, names: &mut Names) {
    match entry {
        EntryExpr::StructField(field) => collect(&field.value.expr, bound, names),
        EntryExpr::MapEntry(entry) => {
            collect(&entry.key.expr, bound, names);
            collect(&entry.value.expr, bound, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        [
            ("params", json!({"threshold": 0.8, "n": 3})),
            ("steps", json!({"fit": {"outputs": {"auc": 0.91}}})),
            ("item", json!("north")),
        ]
        .into()
    }

    #[test]
    fn an_expression_is_evaluated_on_json() {
        let eval = |text: &str| Expr::parse(text).expect(text).eval(&scope()).expect(text);
        assert_eq!(
            eval("steps.fit.outputs.auc > params.threshold"),
            json!(true)
        );
        assert_eq!(eval("params.n + 1"), json!(4));
        assert_eq!(eval("params.n > 2.5"), json!(true));
        assert_eq!(
            eval("[1, 2].map(x, x * params.n)"),
            json!([3, 6]),
            "macros work"
        );
    }

    #[test]
    fn an_expression_knows_what_it_refers_to() {
        let expr =
            Expr::parse("steps.a.outputs.x.all(y, y > params.n) && steps['b-c'].outputs.z == item")
                .expect("valid");
        let names = expr.names();
        assert_eq!(
            names.roots,
            ["item", "params", "steps"].map(String::from).into()
        );
        assert_eq!(names.steps, ["a", "b-c"].map(String::from).into());
        assert_eq!(names.params, ["n"].map(String::from).into());
    }

    #[test]
    fn what_is_not_cel_is_refused_with_the_place() {
        let error = Expr::parse("params.n >").expect_err("incomplete");
        assert!(error.offset.is_some(), "{error:?}");
        assert!(Expr::parse("").is_err());
        assert!(Expr::parse(&"(".repeat(5000)).is_err());
        assert!(Expr::parse(&"(".repeat(1000)).is_err());
    }

    #[test]
    fn long_chains_of_operators_do_not_exhaust_the_stack() {
        for operator in ["+", "&&", "==", "? 1 :", "."] {
            let add = format!(" {operator} item");
            let as_many_as_may_be = OPERATORS_MAX / operators(operator);
            assert!(Expr::parse(&format!("item{}", add.repeat(500))).is_err());
            let text = format!("item{}", add.repeat(as_many_as_may_be));
            if let Ok(expr) = Expr::parse(&text) {
                let _ = expr.eval(&scope());
            }
        }
        let brackets = format!("{}item{}", "(".repeat(64), ")".repeat(64));
        assert!(Expr::parse(&brackets).is_ok());
    }

    #[test]
    fn a_missing_key_is_an_error_and_not_a_panic() {
        let expr = Expr::parse("steps.nope.outputs.x > 1").expect("valid");
        let message = expr.eval(&scope()).expect_err("missing").message;
        assert!(message.contains("nope"), "{message}");
    }

    #[test]
    fn a_template_keeps_the_type_of_a_lone_expression() {
        let eval = |value: Value| Template::parse(&value).expect("valid").eval(&scope());
        assert_eq!(eval(json!("${{ params.n }}")), Ok(json!(3)));
        assert_eq!(eval(json!("n=${{ params.n }}!")), Ok(json!("n=3!")));
        assert_eq!(eval(json!(["linear", 2])), Ok(json!(["linear", 2])));
        assert!(Template::parse(&json!("${{ params.n")).is_err());
    }

    #[test]
    fn an_exact_value_stays_what_it_is_through_storage() {
        for value in [
            json!("plain"),
            json!(""),
            json!("${{"),
            json!("${{ params.n }}"),
            json!("$${{${{}}}} and }} ${{{{ more"),
            json!(["${{ params.n }}", 1]),
            json!(null),
        ] {
            let template = Template::exact(value.clone());
            let stored = serde_json::to_string(&template).expect("json");
            let again: Template = serde_json::from_str(&stored).expect("reads back");
            assert_eq!(template, again, "{stored}");
            assert_eq!(again.eval(&scope()), Ok(value));
        }
    }

    #[test]
    fn a_template_reads_back_from_its_json() {
        for text in [json!("${{ params.n }}"), json!("a ${{ item }} b"), json!(5)] {
            let template = Template::parse(&text).expect("valid");
            let again: Template =
                serde_json::from_value(serde_json::to_value(&template).expect("json"))
                    .expect("reads back");
            assert_eq!(template, again);
        }
    }
}
