//! What code does with names while a file is loaded: which lists and dicts it hands on, whose attributes it sets,
//! and where it may do anything at all. Only this and `python` see the parser of Ruff.

use super::syntax::{Span, Stored, Unit};
use ruff_python_ast as ast;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_text_size::Ranged;

/// Calls that can change any name of the file without naming it.
const POWERS: [&str; 6] = ["exec", "globals", "locals", "vars", "setattr", "delattr"];
/// Functions that give back nothing of what they are given.
const TELLERS: [&str; 19] = [
    "len",
    "str",
    "repr",
    "int",
    "float",
    "bool",
    "print",
    "range",
    "any",
    "all",
    "isinstance",
    "issubclass",
    "super",
    "type",
    "format",
    "join",
    "dumps",
    "dump",
    "deepcopy",
];
/// Functions that keep nothing of their arguments but what is inside.
const READERS: [&str; 12] = [
    "list",
    "dict",
    "tuple",
    "set",
    "frozenset",
    "sorted",
    "reversed",
    "sum",
    "min",
    "max",
    "enumerate",
    "zip",
];
/// Methods of lists, dicts and strings that change nothing.
const READING_METHODS: [&str; 16] = [
    "get",
    "keys",
    "values",
    "items",
    "copy",
    "index",
    "count",
    "join",
    "format",
    "split",
    "strip",
    "lower",
    "upper",
    "startswith",
    "endswith",
    "replace",
];

/// The code of a file, cut into what runs when it is loaded and what runs only when it is called. Bodies of steps
/// are left out: they run in tasks.
pub(super) fn units(body: &[ast::Stmt]) -> Vec<Unit> {
    let mut walker = Walker {
        done: Vec::new(),
        unit: Unit::default(),
        class: None,
        in_function: false,
        quiet: false,
    };
    for statement in body {
        match statement {
            ast::Stmt::If(it) if is_main(&it.test) => {
                let main = Unit {
                    only_as_script: true,
                    ..Unit::default()
                };
                walker.apart(main, |it| it.visit_stmt(statement));
            }
            _ => walker.visit_stmt(statement),
        }
    }
    walker.done.push(walker.unit);
    walker.done
}

/// `__name__ == "__main__"`.
fn is_main(test: &ast::Expr) -> bool {
    matches!(test, ast::Expr::Compare(it)
        if matches!(&*it.left, ast::Expr::Name(name) if name.id.as_str() == "__name__"))
}

/// All names that an expression or block mentions, as far as they are dotted.
pub(super) fn mentioned(of: Mentioned<'_>) -> Vec<&ast::Expr> {
    let mut mentions = Mentions(Vec::new());
    match of {
        Mentioned::Expr(it) => mentions.visit_expr(it),
        Mentioned::Body(it) => mentions.visit_body(it),
    }
    mentions.0
}

pub(super) enum Mentioned<'a> {
    Expr(&'a ast::Expr),
    Body(&'a [ast::Stmt]),
}

struct Mentions<'a>(Vec<&'a ast::Expr>);

impl<'a> Visitor<'a> for Mentions<'a> {
    fn visit_expr(&mut self, expr: &'a ast::Expr) {
        match expr {
            ast::Expr::Name(_) => self.0.push(expr),
            ast::Expr::Attribute(_) if dotted(expr).is_some() => self.0.push(expr),
            _ => visitor::walk_expr(self, expr),
        }
    }
    fn visit_annotation(&mut self, _: &'a ast::Expr) {}
}

/// The names that `:=` sets in a statement's own expressions.
pub(super) fn walrus(statement: &ast::Stmt) -> Vec<&ast::ExprName> {
    let mut found = Walrus(Vec::new());
    match statement {
        // Its body is another place; what is given to it is here.
        ast::Stmt::FunctionDef(it) => {
            it.decorator_list
                .iter()
                .for_each(|it| found.visit_decorator(it));
            found.visit_parameters(&it.parameters);
        }
        _ => visitor::walk_stmt(&mut found, statement),
    }
    found.0
}

struct Walrus<'a>(Vec<&'a ast::ExprName>);

impl<'a> Visitor<'a> for Walrus<'a> {
    fn visit_stmt(&mut self, _: &'a ast::Stmt) {}
    fn visit_expr(&mut self, expr: &'a ast::Expr) {
        match expr {
            ast::Expr::Lambda(_) => return,
            ast::Expr::Named(it) => {
                if let ast::Expr::Name(name) = &*it.target {
                    self.0.push(name);
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

/// The names that the patterns of a `match` set.
pub(super) fn captured(it: &ast::StmtMatch) -> Vec<&ast::Identifier> {
    let mut found = Captured(Vec::new());
    it.cases
        .iter()
        .for_each(|it| found.visit_pattern(&it.pattern));
    found.0
}

struct Captured<'a>(Vec<&'a ast::Identifier>);

impl<'a> Visitor<'a> for Captured<'a> {
    fn visit_pattern(&mut self, pattern: &'a ast::Pattern) {
        match pattern {
            ast::Pattern::MatchAs(it) => self.0.extend(&it.name),
            ast::Pattern::MatchStar(it) => self.0.extend(&it.name),
            ast::Pattern::MatchMapping(it) => self.0.extend(&it.rest),
            _ => {}
        }
        visitor::walk_pattern(self, pattern);
    }
}

/// `a.b.c` as its names.
pub(super) fn dotted(expr: &ast::Expr) -> Option<Vec<&str>> {
    match expr {
        ast::Expr::Name(it) => Some(vec![it.id.as_str()]),
        ast::Expr::Attribute(it) => {
            let mut names = dotted(&it.value)?;
            names.push(it.attr.as_str());
            Some(names)
        }
        _ => None,
    }
}

struct Walker {
    done: Vec<Unit>,
    unit: Unit,
    class: Option<String>,
    in_function: bool,
    /// What is mentioned goes to Metaflow, which changes nothing.
    quiet: bool,
}

impl Walker {
    fn apart(&mut self, unit: Unit, walk: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.unit, unit);
        walk(self);
        let unit = std::mem::replace(&mut self.unit, outer);
        self.done.push(unit);
    }

    fn mention(&mut self, names: &[&str]) {
        for name in names {
            if !self.unit.names.contains(*name) {
                self.unit.names.insert((*name).to_owned());
            }
        }
    }

    /// Whoever gets it may change it.
    fn keep(&mut self, name: &str, at: Span) {
        if !self.quiet && name != "self" {
            self.unit.kept.entry(name.to_owned()).or_insert(at);
        }
    }

    /// Only what is inside it is handed on.
    fn look(&mut self, expr: &ast::Expr) {
        match dotted(expr) {
            Some(names) => {
                self.mention(&names);
                if !self.quiet {
                    self.unit.inside.insert(names[names.len() - 1].to_owned());
                }
            }
            None => self.visit_expr(expr),
        }
    }

    fn target(&mut self, target: &ast::Expr) {
        match target {
            ast::Expr::Attribute(it) => {
                let of = dotted(&it.value);
                if of
                    .as_ref()
                    .is_none_or(|it| it != &["self"] && it != &["cls"])
                {
                    self.unit.stored.push(Stored {
                        of: of.iter().flatten().map(|it| (*it).to_owned()).collect(),
                        name: it.attr.to_string(),
                        at: span(target),
                    });
                }
                if of.is_none_or(|it| it.len() > 1) {
                    self.visit_expr(&it.value);
                }
            }
            ast::Expr::Subscript(it) => {
                self.visit_expr(&it.value);
                self.visit_expr(&it.slice);
            }
            ast::Expr::Starred(it) => self.target(&it.value),
            ast::Expr::Tuple(it) => it.elts.iter().for_each(|it| self.target(it)),
            ast::Expr::List(it) => it.elts.iter().for_each(|it| self.target(it)),
            _ => {}
        }
    }

    /// `a = b`: from here on both names mean the same; `a = [b]`: one holds the other.
    fn assigned(&mut self, targets: &[&ast::Expr], value: &ast::Expr) {
        let names: Option<Vec<&str>> = targets
            .iter()
            .map(|it| match it {
                ast::Expr::Name(it) => Some(it.id.as_str()),
                _ => None,
            })
            .collect();
        let Some(names) = names else {
            return self.visit_expr(value);
        };
        let link = |walker: &mut Self, value: &ast::Expr, held: bool| match dotted(value) {
            Some(of) => {
                walker.mention(&of);
                let last = of[of.len() - 1];
                if let [.., base, _] = of.as_slice() {
                    // `turn = NAMES.reverse`.
                    walker.keep(base, span(value));
                }
                for name in &names {
                    walker
                        .unit
                        .links
                        .push(((*name).to_owned(), last.to_owned(), held));
                }
            }
            None => walker.visit_expr(value),
        };
        match value {
            ast::Expr::List(it) => it.elts.iter().for_each(|it| link(self, it, true)),
            ast::Expr::Tuple(it) => it.elts.iter().for_each(|it| link(self, it, true)),
            ast::Expr::Dict(it) => {
                for item in &it.items {
                    match &item.key {
                        Some(key) => {
                            self.visit_expr(key);
                            link(self, &item.value, true);
                        }
                        None => self.look(&item.value),
                    }
                }
            }
            _ => link(self, value, false),
        }
    }

    fn call(&mut self, it: &ast::ExprCall) {
        let names = dotted(&it.func);
        let last = match &*it.func {
            ast::Expr::Name(it) => Some(it.id.as_str()),
            ast::Expr::Attribute(it) => Some(it.attr.as_str()),
            _ => None,
        };
        let of_self = matches!(it.arguments.args.first(), Some(ast::Expr::Name(it)) if it.id.as_str() == "self");
        if let Some(names) = &names {
            self.mention(names);
            let power = match names.as_slice() {
                [name] => POWERS.contains(name),
                [.., name] => matches!(*name, "__setattr__" | "__delattr__") || *name == "reload",
                [] => false,
            };
            if power && !of_self {
                let power = (names.join("."), span(it));
                self.unit.powers.push(power);
            }
        }
        // What a method is called on may be changed by it, wherever its answer goes.
        let before = std::mem::replace(&mut self.quiet, false);
        if let ast::Expr::Attribute(method) = &*it.func {
            // `Base.__init__(self)`.
            let of_base = of_self && method.attr.starts_with("__");
            let reads = of_base || READING_METHODS.contains(&method.attr.as_str());
            match dotted(&method.value) {
                Some(_) if reads => self.look(&method.value),
                Some(names) => self.keep(names[names.len() - 1], span(it)),
                None => self.visit_expr(&method.value),
            }
        } else if names.is_none() {
            self.visit_expr(&it.func);
        }
        let tells = last.is_some_and(|it| TELLERS.contains(&it));
        let quiet = tells || last.is_some_and(super::known::is_name);
        let reads = last.is_some_and(|it| READERS.contains(&it));
        self.quiet = quiet;
        for argument in &it.arguments.args {
            match reads {
                true => self.look(argument),
                false => self.visit_expr(argument),
            }
        }
        for keyword in &it.arguments.keywords {
            match reads || keyword.arg.is_none() {
                true => self.look(&keyword.value),
                false => self.visit_expr(&keyword.value),
            }
        }
        self.quiet = before;
    }

    fn parameters(&mut self, it: &ast::Parameters) {
        for it in it.iter_non_variadic_params() {
            if let Some(default) = &it.default {
                self.visit_expr(default);
            }
        }
    }

    fn function(&mut self, it: &ast::StmtFunctionDef) {
        it.decorator_list
            .iter()
            .for_each(|it| self.visit_decorator(it));
        self.parameters(&it.parameters);
        if self.in_function {
            return self.visit_body(&it.body);
        }
        if self.class.is_some() && is_step(it) {
            return;
        }
        let name = it.name.as_str();
        let woken_by = match &self.class {
            Some(class) if name.starts_with("__") => class.clone(),
            _ => name.to_owned(),
        };
        let unit = Unit {
            woken_by: Some(woken_by),
            ..Unit::default()
        };
        self.in_function = true;
        self.apart(unit, |walker| walker.visit_body(&it.body));
        self.in_function = false;
    }
}

/// `@step`, under any name that ends so.
pub(super) fn is_step(it: &ast::StmtFunctionDef) -> bool {
    it.decorator_list.iter().any(|it| {
        let called = match &it.expression {
            ast::Expr::Call(call) => &call.func,
            other => other,
        };
        dotted(called).is_some_and(|it| it[it.len() - 1] == "step")
    })
}

fn span(it: &impl Ranged) -> Span {
    it.range().start().to_usize()..it.range().end().to_usize()
}

impl<'a> Visitor<'a> for Walker {
    fn visit_stmt(&mut self, statement: &'a ast::Stmt) {
        match statement {
            ast::Stmt::FunctionDef(it) => self.function(it),
            ast::Stmt::ClassDef(it) => {
                it.decorator_list
                    .iter()
                    .for_each(|it| self.visit_decorator(it));
                for base in it.arguments.iter().flat_map(|it| &it.args) {
                    match dotted(base) {
                        Some(names) => self.mention(&names),
                        None => self.visit_expr(base),
                    }
                }
                for keyword in it.arguments.iter().flat_map(|it| &it.keywords) {
                    self.visit_expr(&keyword.value);
                }
                let outer = self.class.replace(it.name.to_string());
                self.visit_body(&it.body);
                self.class = outer;
            }
            ast::Stmt::Assign(it) => {
                let targets: Vec<&ast::Expr> = it.targets.iter().collect();
                self.assigned(&targets, &it.value);
                it.targets.iter().for_each(|it| self.target(it));
            }
            ast::Stmt::AnnAssign(it) => {
                if let Some(value) = &it.value {
                    self.assigned(&[&it.target], value);
                    self.target(&it.target);
                }
            }
            ast::Stmt::AugAssign(it) => {
                self.look(&it.value);
                match &*it.target {
                    ast::Expr::Name(name) => self.keep(name.id.as_str(), span(it)),
                    other => self.target(other),
                }
            }
            ast::Stmt::Delete(it) => it.targets.iter().for_each(|it| self.target(it)),
            ast::Stmt::For(it) => {
                self.look(&it.iter);
                self.target(&it.target);
                self.visit_body(&it.body);
                self.visit_body(&it.orelse);
            }
            ast::Stmt::ImportFrom(it) => {
                for name in &it.names {
                    self.mention(&[name.name.as_str()]);
                    if let Some(alias) = &name.asname {
                        let link = (alias.to_string(), name.name.to_string(), false);
                        self.unit.links.push(link);
                    }
                }
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_annotation(&mut self, _: &'a ast::Expr) {}

    fn visit_comprehension(&mut self, it: &'a ast::Comprehension) {
        self.look(&it.iter);
        it.ifs.iter().for_each(|it| self.visit_expr(it));
    }

    fn visit_expr(&mut self, expr: &'a ast::Expr) {
        match expr {
            ast::Expr::Name(it) => {
                if it.ctx.is_load() {
                    self.mention(&[it.id.as_str()]);
                    self.keep(it.id.as_str(), span(it));
                } else if it.ctx.is_del() {
                    self.keep(it.id.as_str(), span(it));
                }
            }
            ast::Expr::Attribute(it) => {
                let name = it.attr.as_str();
                self.mention(&[name]);
                let of_self = matches!(&*it.value, ast::Expr::Name(it) if it.id.as_str() == "self");
                if name == "__dict__" && !of_self {
                    self.unit.powers.push(("__dict__".to_owned(), span(it)));
                }
                if matches!(name, "__name__" | "__doc__" | "__file__" | "__version__") {
                    return self.look(&it.value);
                }
                self.keep(name, span(it));
                self.visit_expr(&it.value);
            }
            ast::Expr::Subscript(it) => {
                self.look(&it.value);
                self.visit_expr(&it.slice);
            }
            ast::Expr::Call(it) => self.call(it),
            ast::Expr::BinOp(it) => {
                self.look(&it.left);
                self.look(&it.right);
            }
            ast::Expr::UnaryOp(it) => self.look(&it.operand),
            ast::Expr::Compare(it) => {
                self.look(&it.left);
                it.comparators.iter().for_each(|it| self.look(it));
            }
            ast::Expr::Starred(it) => self.look(&it.value),
            ast::Expr::Dict(it) => {
                for item in &it.items {
                    match &item.key {
                        Some(key) => {
                            self.visit_expr(key);
                            self.visit_expr(&item.value);
                        }
                        None => self.look(&item.value),
                    }
                }
            }
            ast::Expr::Lambda(it) => {
                if let Some(parameters) = &it.parameters {
                    self.parameters(parameters);
                }
                self.visit_expr(&it.body);
            }
            _ => visitor::walk_expr(self, expr),
        }
    }

    fn visit_interpolated_string_element(&mut self, it: &'a ast::InterpolatedStringElement) {
        match it {
            ast::InterpolatedStringElement::Interpolation(it) => self.look(&it.expression),
            ast::InterpolatedStringElement::Literal(_) => {}
        }
    }
}
