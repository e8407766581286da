//! The text of a part of an expression.

use cel::common::ast::{CallExpr, Expr as Ast, LiteralValue, operators};

/// The part as an expression of its own; `None` where it holds a macro, a map or something rarer.
pub(super) fn source(ast: &Ast) -> Option<String> {
    Some(match ast {
        Ast::Ident(name) if !name.starts_with('@') => name.clone(),
        Ast::Literal(literal) => literal_source(literal)?,
        Ast::Select(select) if select.test => {
            format!("has({}.{})", source(&select.operand.expr)?, select.field)
        }
        Ast::Select(select) => format!("{}.{}", source(&select.operand.expr)?, select.field),
        Ast::List(list) if list.optional_indices.is_empty() => {
            let elements = list.elements.iter().map(|it| source(&it.expr));
            format!("[{}]", elements.collect::<Option<Vec<_>>>()?.join(", "))
        }
        Ast::Call(call) => call_source(call)?,
        _ => return None,
    })
}

fn call_source(call: &CallExpr) -> Option<String> {
    let args = call.args.iter().map(|it| source(&it.expr));
    let args = args.collect::<Option<Vec<_>>>()?;
    let sign = match call.func_name.as_str() {
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::IN => "in",
        _ => "",
    };
    Some(
        match (call.func_name.as_str(), args.as_slice(), &call.target) {
            (_, [a, b], None) if !sign.is_empty() => format!("({a} {sign} {b})"),
            (operators::LOGICAL_NOT, [a], None) => format!("!({a})"),
            (operators::NEGATE, [a], None) => format!("-({a})"),
            (operators::INDEX, [of, index], None) => format!("{of}[{index}]"),
            (operators::CONDITIONAL, [a, b, c], None) => format!("({a} ? {b} : {c})"),
            (name, _, _) if name.starts_with(['_', '@', '!', '-']) => return None,
            (name, args, Some(target)) => {
                format!("{}.{name}({})", source(&target.expr)?, args.join(", "))
            }
            (name, args, None) => format!("{name}({})", args.join(", ")),
        },
    )
}

fn literal_source(literal: &LiteralValue) -> Option<String> {
    Some(match literal {
        LiteralValue::Boolean(it) => it.inner().to_string(),
        LiteralValue::Int(it) => it.inner().to_string(),
        LiteralValue::UInt(it) => format!("{}u", it.inner()),
        LiteralValue::Double(it) => format!("{:?}", it.inner()),
        // JSON's escapes are CEL's.
        LiteralValue::String(it) => serde_json::to_string(it.inner()).ok()?,
        LiteralValue::Null => "null".into(),
        LiteralValue::Bytes(_) => return None,
    })
}
