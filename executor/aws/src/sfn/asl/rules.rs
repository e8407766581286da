//! Expressions over outputs of steps as choice rules.
//!
//! A rule is true or false; an expression may also fail (an output is missing, types do not fit), and a failure inside
//! `&&` or `||` may not matter. So each expression becomes two rules: one that is true when it is true, one that is true
//! when it is false. When neither is, it failed.

use super::slots::{Kind, Slots};
use super::text::source;
use cel::common::ast::{Expr as Ast, LiteralValue, operators};
use dalsegno_scheduler::StepName;
use dalsegno_scheduler::expr::{Expr, Template};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The two rules, and the steps whose outputs must have been read before.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub is_true: Value,
    pub is_false: Value,
    pub reads: BTreeSet<StepName>,
}

/// What rules are made with.
pub(super) struct Maker<'a, 'b> {
    pub slots: &'a mut Slots<'b>,
    /// Where the outputs of a step lie when they were read, and whether this output may be read here; else why not.
    pub output: &'a dyn Fn(&str, &str) -> Result<String, String>,
    pub reads: BTreeSet<StepName>,
}

enum Operand {
    Literal(Value),
    Path(String),
}

impl Maker<'_, '_> {
    /// The rules for an expression.
    ///
    /// # Errors
    /// Which part of it has no rule.
    pub(super) fn rules(mut self, expr: &Expr) -> Result<Rules, String> {
        let program = cel::Program::compile(expr.source()).map_err(|error| error.to_string())?;
        let (is_true, is_false) = self.both(&program.expression().expr)?;
        Ok(Rules {
            is_true,
            is_false,
            reads: self.reads,
        })
    }

    /// Where the value of an expression that only names an output, or needs no outputs at all, will lie.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) fn place(&mut self, expr: &Expr) -> Result<String, String> {
        let program = cel::Program::compile(expr.source()).map_err(|error| error.to_string())?;
        match self.operand(&program.expression().expr)? {
            Operand::Path(path) => Ok(path),
            Operand::Literal(value) => Ok(self.slots.value(&Template::Literal(value))),
        }
    }

    fn both(&mut self, ast: &Ast) -> Result<(Value, Value), String> {
        if let Some(known) = self.known(ast)? {
            let slot = self.slots.add(Kind::Truth(known));
            let is = |text: &str| json!({"Variable": slot, "StringEquals": text});
            return Ok((is("T"), is("F")));
        }
        match ast {
            Ast::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND, [a, b]) => {
                    let (a, b) = (self.both(&a.expr)?, self.both(&b.expr)?);
                    Ok((all([a.0, b.0]), any([a.1, b.1])))
                }
                (operators::LOGICAL_OR, [a, b]) => {
                    let (a, b) = (self.both(&a.expr)?, self.both(&b.expr)?);
                    Ok((any([a.0, b.0]), all([a.1, b.1])))
                }
                (operators::LOGICAL_NOT, [a]) => {
                    let (is_true, is_false) = self.both(&a.expr)?;
                    Ok((is_false, is_true))
                }
                (operators::EQUALS, [a, b]) => {
                    let (a, b) = (self.operand(&a.expr)?, self.operand(&b.expr)?);
                    Ok(equal(&a, &b))
                }
                (operators::NOT_EQUALS, [a, b]) => {
                    let (a, b) = (self.operand(&a.expr)?, self.operand(&b.expr)?);
                    let (is_true, is_false) = equal(&a, &b);
                    Ok((is_false, is_true))
                }
                (name, [a, b]) if comparison(name).is_some() => {
                    let (a, b) = (self.operand(&a.expr)?, self.operand(&b.expr)?);
                    Ok(ordered(&a, &b, comparison(name).unwrap_or_default()))
                }
                _ => Err(unsupported(ast)),
            },
            _ => {
                let Operand::Path(path) = self.operand(ast)? else {
                    return Err(unsupported(ast));
                };
                let is = |it: bool| {
                    all([
                        test(&path, "IsPresent", &json!(true)),
                        test(&path, "IsBoolean", &json!(true)),
                        test(&path, "BooleanEquals", &json!(it)),
                    ])
                };
                Ok((is(true), is(false)))
            }
        }
    }

    /// The part as an expression of its own if its value is known when the execution starts.
    fn known(&self, ast: &Ast) -> Result<Option<Expr>, String> {
        let Some(text) = source(ast) else {
            return Ok(None);
        };
        let expr = Expr::parse(&text).map_err(|error| error.to_string())?;
        Ok(self.slots.is_known(&expr).then_some(expr))
    }

    fn operand(&mut self, ast: &Ast) -> Result<Operand, String> {
        if let Ast::Literal(literal) = ast
            && let Some(value) = literal_value(literal)
        {
            return Ok(Operand::Literal(value));
        }
        if let Some(known) = self.known(ast)? {
            return Ok(Operand::Path(self.slots.value(&Template::Expr(known))));
        }
        let Some((step, name)) = output_of(ast) else {
            return Err(unsupported(ast));
        };
        let path = (self.output)(step, name)?;
        self.reads.insert(StepName::new(step));
        Ok(Operand::Path(path))
    }
}

/// `steps.NAME.outputs.OUTPUT`, in either spelling.
pub(super) fn output_of(ast: &Ast) -> Option<(&str, &str)> {
    let (outputs, output) = field(ast)?;
    let (step, "outputs") = field(outputs)? else {
        return None;
    };
    match field(step)? {
        (Ast::Ident(root), name) if root == "steps" => Some((name, output)),
        _ => None,
    }
}

fn field(ast: &Ast) -> Option<(&Ast, &str)> {
    match ast {
        Ast::Select(select) if !select.test => Some((&select.operand.expr, &select.field)),
        Ast::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, index] => match &index.expr {
                Ast::Literal(LiteralValue::String(name)) => Some((&of.expr, name.inner())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn literal_value(literal: &LiteralValue) -> Option<Value> {
    Some(match literal {
        LiteralValue::Boolean(it) => json!(it.inner()),
        LiteralValue::Int(it) => json!(it.inner()),
        LiteralValue::UInt(it) => json!(it.inner()),
        LiteralValue::Double(it) => json!(it.inner()),
        LiteralValue::String(it) => json!(it.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::Bytes(_) => return None,
    })
}

fn unsupported(ast: &Ast) -> String {
    match source(ast) {
        Some(text) => format!("`{text}` has no form as a choice rule"),
        None => {
            "macros such as `all`, `exists` or `map` over outputs have no form as a choice rule"
                .into()
        }
    }
}

fn comparison(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::LESS => "LessThan",
        operators::LESS_EQUALS => "LessThanEquals",
        operators::GREATER => "GreaterThan",
        operators::GREATER_EQUALS => "GreaterThanEquals",
        _ => return None,
    })
}

fn equal(a: &Operand, b: &Operand) -> (Value, Value) {
    let of = |kind: &str| match kind {
        "Null" => all([is(a, kind), is(b, kind)]),
        _ => all([is(a, kind), is(b, kind), compare(a, b, kind, "Equals")]),
    };
    let is_true = any(["Numeric", "String", "Boolean", "Null"].map(of));
    let is_false = all([present(a), present(b), json!({"Not": is_true.clone()})]);
    (all([present(a), present(b), is_true]), is_false)
}

fn ordered(a: &Operand, b: &Operand, how: &str) -> (Value, Value) {
    let fits = |kind: &str| all([present(a), present(b), is(a, kind), is(b, kind)]);
    let of = |kind: &str| {
        let holds = compare(a, b, kind, how);
        let not = json!({"Not": holds.clone()});
        (all([fits(kind), holds]), all([fits(kind), not]))
    };
    let (numbers, texts) = (of("Numeric"), of("String"));
    (any([numbers.0, texts.0]), any([numbers.1, texts.1]))
}

fn present(operand: &Operand) -> Value {
    match operand {
        Operand::Literal(_) => always(),
        Operand::Path(path) => test(path, "IsPresent", &json!(true)),
    }
}

fn is(operand: &Operand, kind: &str) -> Value {
    match operand {
        Operand::Path(path) => test(path, &format!("Is{kind}"), &json!(true)),
        Operand::Literal(value) => {
            let fits = match kind {
                "Numeric" => value.is_number(),
                "String" => value.is_string(),
                "Boolean" => value.is_boolean(),
                _ => value.is_null(),
            };
            if fits { always() } else { never() }
        }
    }
}

/// Only where both are of the kind.
fn compare(a: &Operand, b: &Operand, kind: &str, how: &str) -> Value {
    let turned = match how {
        "LessThan" => "GreaterThan",
        "LessThanEquals" => "GreaterThanEquals",
        "GreaterThan" => "LessThan",
        "GreaterThanEquals" => "LessThanEquals",
        other => other,
    };
    let fits = |value: &Value| is(&Operand::Literal(value.clone()), kind) == always();
    match (a, b) {
        (Operand::Path(a), Operand::Path(b)) => test(a, &format!("{kind}{how}Path"), &json!(b)),
        (Operand::Path(a), Operand::Literal(b)) if fits(b) => test(a, &format!("{kind}{how}"), b),
        (Operand::Literal(a), Operand::Path(b)) if fits(a) => {
            test(b, &format!("{kind}{turned}"), a)
        }
        // Two literals are known when the execution starts.
        _ => never(),
    }
}

fn test(path: &str, how: &str, with: &Value) -> Value {
    json!({"Variable": path, how: with})
}

/// A rule that always holds: the input has an `x`.
pub(super) fn always() -> Value {
    json!({"Variable": "$.x", "IsPresent": true})
}

pub(super) fn never() -> Value {
    json!({"Variable": "$.x", "IsPresent": false})
}

/// Shortened where parts are known.
pub(super) fn all<const N: usize>(rules: [Value; N]) -> Value {
    let mut rules = rules.to_vec();
    if rules.contains(&never()) {
        return never();
    }
    rules.retain(|it| *it != always());
    match rules.len() {
        0 => always(),
        1 => rules.remove(0),
        _ => json!({"And": rules}),
    }
}

/// Shortened where parts are known.
pub(super) fn any<const N: usize>(rules: [Value; N]) -> Value {
    any_of(rules.to_vec())
}

/// [`any`] of as many as there are.
pub(super) fn any_of(mut rules: Vec<Value>) -> Value {
    if rules.contains(&always()) {
        return always();
    }
    rules.retain(|it| *it != never());
    match rules.len() {
        0 => never(),
        1 => rules.remove(0),
        _ => json!({"Or": rules}),
    }
}
