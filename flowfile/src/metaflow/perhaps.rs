//! What a name leads to that is not read itself: whether a Parameter may come of it, or a decorator of Metaflow.

use super::class::{ClassRef, lineage};
use super::module::{File, Loader, Symbol};
use super::packages;
use super::syntax::{Expr, ExprKind, Function, MemberKind, Piece};
use std::collections::HashSet;
use std::rc::Rc;

const PARAMETERS: [&str; 3] = ["Parameter", "IncludeFile", "Config"];
/// Builtins whose result is a plain value, whatever they are given.
const PLAIN: [&str; 28] = [
    "str",
    "int",
    "float",
    "bool",
    "list",
    "dict",
    "tuple",
    "set",
    "frozenset",
    "bytes",
    "len",
    "sum",
    "abs",
    "round",
    "range",
    "sorted",
    "reversed",
    "enumerate",
    "zip",
    "map",
    "filter",
    "open",
    "repr",
    "object",
    "property",
    "staticmethod",
    "classmethod",
    "isinstance",
];
/// Attributes in which Metaflow keeps what it knows of a step.
const OF_STEPS: [&str; 8] = [
    "decorators",
    "is_step",
    "config_decorators",
    "wrappers",
    "__dict__",
    "__setattr__",
    "add_decorator",
    "remove_decorator",
];
const POWERS: [&str; 7] = [
    "exec",
    "eval",
    "globals",
    "vars",
    "setattr",
    "delattr",
    "__import__",
];

/// Follows names through functions and values until one of them meets a condition.
struct Search<'a> {
    loader: &'a Loader<'a>,
    seen: HashSet<(usize, bool, usize)>,
    meets: &'a dyn Fn(&Symbol, &[&str]) -> bool,
}

impl Search<'_> {
    fn any<'b>(&mut self, file: &Rc<File>, names: impl IntoIterator<Item = &'b Expr>) -> bool {
        names.into_iter().any(|it| self.one(file, it))
    }

    fn one(&mut self, file: &Rc<File>, name: &Expr) -> bool {
        let Some(names) = name.dotted() else {
            return self.any(file, &mentions(name));
        };
        if !self.loader.may_follow() {
            return true;
        }
        self.loader.meanings(file, &names).iter().any(|symbol| {
            (self.meets)(symbol, &names)
                || match symbol {
                    Symbol::Function(file, index) => {
                        self.is_new(file, true, *index)
                            && self.any(file, &Symbol::function(file, *index).mentions)
                    }
                    Symbol::Value(file, index) => {
                        self.is_new(file, false, *index)
                            && self.any(file, &mentions(Symbol::value(file, *index)))
                    }
                    _ => false,
                }
        })
    }

    fn is_new(&mut self, file: &Rc<File>, function: bool, index: usize) -> bool {
        let id = Rc::as_ptr(file).addr();
        self.seen.insert((id, function, index))
    }
}

/// Whether the value of a class's member may be a Parameter that is not read.
pub(super) fn may_be_parameter(loader: &Loader<'_>, file: &Rc<File>, value: &Expr) -> bool {
    match &value.kind {
        ExprKind::Name(_) | ExprKind::Attribute(..) | ExprKind::Subscript(..) => {}
        ExprKind::Call(call) => {
            if let ExprKind::Name(name) = &call.function.kind
                && PLAIN.contains(&name.as_str())
                && matches!(loader.resolve(file, &[name], usize::MAX), Symbol::Undefined)
            {
                return false;
            }
            // `"a b".split()`: a method of a plain value.
            if let ExprKind::Attribute(of, _) = &call.function.kind
                && matches!(of.kind, ExprKind::Str(_) | ExprKind::Format(_))
            {
                return false;
            }
        }
        ExprKind::Other(what, _) if what.starts_with("a choice") || *what == "an expression" => {}
        _ => return false,
    }
    leads_to_parameter(loader, file, &mentions(value))
}

pub(super) fn leads_to_parameter(loader: &Loader<'_>, file: &Rc<File>, names: &[Expr]) -> bool {
    let meets = |symbol: &Symbol, _: &[&str]| is_parameter(loader, symbol);
    let mut search = Search {
        loader,
        seen: HashSet::new(),
        meets: &meets,
    };
    search.any(file, names)
}

/// Whether a decorator leads to Metaflow's `step`.
pub(super) fn leads_to_step(loader: &Loader<'_>, file: &Rc<File>, decorator: &Expr) -> bool {
    let meets =
        |symbol: &Symbol, _: &[&str]| matches!(symbol, Symbol::Metaflow(it) if it == "step");
    let mut search = Search {
        loader,
        seen: HashSet::new(),
        meets: &meets,
    };
    search.any(file, &mentions(decorator))
}

/// Whether a name by itself may stand for a Parameter or make one.
pub(super) fn is_parameter(loader: &Loader<'_>, symbol: &Symbol) -> bool {
    match symbol {
        Symbol::Metaflow(name) => name.is_empty() || PARAMETERS.contains(&name.as_str()),
        Symbol::Class(file, index) => {
            let class = ClassRef {
                file: Rc::clone(file),
                index: *index,
            };
            let lineage = lineage(loader, &class);
            let of_metaflow = |it: &String| PARAMETERS.contains(&it.as_str());
            !lineage.unknown.is_empty() || lineage.metaflow.iter().any(of_metaflow)
        }
        Symbol::Foreign(path) => !packages::is_plain(path),
        Symbol::Module(_) | Symbol::Package(_) => true,
        _ => false,
    }
}

/// Whether a decorator of the user's leaves the step as it is: it wraps what it is given with `functools.wraps`, or
/// gives it back, and names nothing that could change how Metaflow sees it.
pub(super) fn is_harmless(loader: &Loader<'_>, file: &Rc<File>, index: usize) -> bool {
    let function: &Function = Symbol::function(file, index);
    let wraps = function.mentions.iter().any(|it| {
        let names = it.dotted().unwrap_or_default();
        let symbol = loader.resolve(file, &names, usize::MAX);
        matches!(symbol, Symbol::Foreign(it) if it == "functools.wraps" || it == "functools.update_wrapper")
    });
    let meets = |symbol: &Symbol, names: &[&str]| {
        names.iter().any(|it| OF_STEPS.contains(it))
            || POWERS.contains(&names[0])
            || match symbol {
                Symbol::Metaflow(name) => name != "current",
                Symbol::Foreign(path) => !packages::is_plain(path),
                Symbol::Function(..) | Symbol::Value(..) | Symbol::Undefined => false,
                Symbol::Class(file, index) => {
                    let class = file.class(*index);
                    let of_class = |it: &Expr| {
                        let names = it.dotted().unwrap_or_default();
                        let symbol = loader.resolve(file, &names, usize::MAX);
                        names.iter().any(|it| OF_STEPS.contains(it))
                            || matches!(symbol, Symbol::Metaflow(name) if name != "current")
                    };
                    class.members.iter().any(|it| {
                        matches!(&it.kind, MemberKind::Function(it) if it.mentions.iter().any(of_class))
                    })
                }
                Symbol::Module(_) | Symbol::Package(_) | Symbol::Unclear(_) => true,
            }
    };
    let mut search = Search {
        loader,
        seen: HashSet::new(),
        meets: &meets,
    };
    (wraps || function.returns_argument) && !search.any(file, &function.mentions)
}

/// The names in an expression, each as far as it is dotted.
pub(super) fn mentions(expr: &Expr) -> Vec<Expr> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Expr>) {
    if expr.dotted().is_some() {
        return found.push(expr.clone());
    }
    match &expr.kind {
        ExprKind::Attribute(of, _) | ExprKind::Negative(of) => collect(of, found),
        ExprKind::List(items) | ExprKind::Tuple(items) => {
            items.iter().for_each(|it| collect(it, found));
        }
        ExprKind::Dict(items) => {
            for (key, value) in items {
                key.iter().for_each(|it| collect(it, found));
                collect(value, found);
            }
        }
        ExprKind::Call(call) => {
            collect(&call.function, found);
            call.arguments.iter().for_each(|it| collect(it, found));
            let keywords = call.keywords.iter();
            keywords.for_each(|it| collect(&it.value, found));
        }
        ExprKind::Add(left, right)
        | ExprKind::Multiply(left, right)
        | ExprKind::Subscript(left, right) => {
            collect(left, found);
            collect(right, found);
        }
        ExprKind::Format(pieces) => {
            for piece in pieces {
                if let Piece::Value(it) = piece {
                    collect(it, found);
                }
            }
        }
        ExprKind::Lambda(names) | ExprKind::Other(_, names) => found.extend(names.iter().cloned()),
        ExprKind::None
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Str(_)
        | ExprKind::Name(_) => {}
    }
}
