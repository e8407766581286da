//! `self.next(…)`: how a step goes on. Exactly what Metaflow accepts, see its `graph.py`.

use super::declared::{Kind, Step};
use super::found::Place;
use super::syntax::{Call, Expr, ExprKind, Function};
use crate::source::Source;
use std::sync::Arc;

/// Reads the last statement of a step; nothing else of its body counts.
pub(super) fn read(step: &mut Step, function: &Function, source: &Arc<Source>) {
    let tail = function.tail.as_ref().filter(|it| is_next(it));
    let stray = function
        .nexts
        .iter()
        .find(|it| tail.is_none_or(|tail| tail.at != **it));
    step.stray_next = stray.map(|it| Place::new(source, it.clone()));
    let Some(call) = tail.and_then(Expr::call) else {
        return;
    };
    step.next_place = tail.map(|it| Place::new(source, it.at.clone()));
    step.has_next = true;
    let arguments = step.arguments;
    let (kind, next) = classify(call, arguments);
    step.valid_next = kind.is_some();
    step.kind = kind.unwrap_or(Kind::Unclear);
    step.next = next;
}

pub(super) fn is_next(expr: &Expr) -> bool {
    expr.call()
        .and_then(|it| it.function.dotted())
        .is_some_and(|it| it == ["self", "next"])
}

/// `None`: not a form that Metaflow understands.
fn classify(call: &Call, arguments: usize) -> (Option<Kind>, Vec<String>) {
    let keyword = |name: &str| {
        call.keywords
            .iter()
            .find(|it| it.name.as_deref() == Some(name))
    };
    if let (
        [
            Expr {
                kind: ExprKind::Dict(cases),
                ..
            },
        ],
        Some(condition),
    ) = (call.arguments.as_slice(), keyword("condition"))
    {
        let next = switch(cases);
        let named = condition.value.string().is_some_and(|it| !it.is_empty());
        return match next {
            Some(next) if named => (Some(Kind::Switch), next),
            _ => (None, Vec::new()),
        };
    }
    let mut next = Vec::new();
    for it in &call.arguments {
        match &it.kind {
            ExprKind::Attribute(_, name) => next.push(name.clone()),
            _ => return (None, Vec::new()),
        }
    }
    let kind = match call.keywords.as_slice() {
        [] if next.len() > 1 => Some(Kind::Split),
        [] if next.len() == 1 && arguments > 1 => Some(Kind::Join),
        [] if next.len() == 1 => Some(Kind::Linear),
        [one] if next.len() == 1 => match one.name.as_deref() {
            Some("foreach") => Some(Kind::Foreach),
            Some("num_parallel") => Some(Kind::Parallel),
            _ => None,
        },
        _ => None,
    };
    (kind, next)
}

/// The targets of a switch, one for each different key.
fn switch(cases: &[(Option<Expr>, Expr)]) -> Option<Vec<String>> {
    let mut targets: Vec<(String, String)> = Vec::new();
    for (key, value) in cases {
        let key = case(key.as_ref()?)?;
        let ["self", target] = value.dotted()?[..] else {
            return None;
        };
        match targets.iter_mut().find(|(it, _)| *it == key) {
            Some((_, old)) => *old = target.to_owned(),
            None => targets.push((key, target.to_owned())),
        }
    }
    let targets: Vec<String> = targets.into_iter().map(|(_, target)| target).collect();
    (!targets.is_empty()).then_some(targets)
}

/// A key of a switch, equal texts for keys that Python holds equal.
fn case(key: &Expr) -> Option<String> {
    match &key.kind {
        ExprKind::Str(it) => Some(format!("'{it}'")),
        ExprKind::Bool(it) => Some(format!("{}", f64::from(u8::from(*it)))),
        #[expect(clippy::cast_precision_loss, reason = "only compared with other keys")]
        ExprKind::Int(it) => {
            Some(it.map_or_else(|| format!("{:?}", key.at), |it| format!("{}", it as f64)))
        }
        ExprKind::Float(it) => Some(it.to_string()),
        ExprKind::Other("bytes" | "a complex number", _) => Some(format!("{:?}", key.at)),
        ExprKind::Attribute(..) => match key.dotted()?[..] {
            ["self", config, name] => Some(format!("config {config}.{name}")),
            _ => None,
        },
        _ => None,
    }
}
