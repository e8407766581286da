//! Python text to our own trees. Only this and `uses` see the parser of Ruff.

use super::syntax::{
    Binding, Call, Called, Class, Expr, ExprKind, Function, Import, ImportedName, Keyword, Meaning,
    Member, MemberKind, Module, Piece, Span,
};
use super::uses::{self, Mentioned};
use ruff_python_ast as ast;
use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, ParseErrorType, lexer, parse_module};
use ruff_text_size::Ranged;

/// How deep an expression may nest, operators counted: trees are walked by recursion. Python itself gives up
/// at a few thousand.
const DEPTH_MAX: usize = 2000;
/// As in Python.
const INDENTS_MAX: usize = 100;

/// Why a text is not Python.
pub(super) enum Failure {
    Syntax { at: Span, message: String },
    TooDeep,
}

pub(super) fn parse(text: &str) -> Result<Module, Failure> {
    if too_deep(text) {
        return Err(Failure::TooDeep);
    }
    match parse_module(text) {
        Ok(parsed) => {
            let mut reader = Reader::default();
            let body = &parsed.syntax().body;
            reader.statements(body, Place::Top { perhaps: false });
            reader.module.units = uses::units(body);
            Ok(reader.module)
        }
        Err(error) => Err(Failure::Syntax {
            at: span(error.location),
            message: describe(&error.error),
        }),
    }
}

fn span(range: ruff_text_size::TextRange) -> Span {
    range.start().to_usize()..range.end().to_usize()
}

fn describe(error: &ParseErrorType) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("Expected `") => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.replacen("Expected", "expected", 1),
    }
}

/// Whether anything may nest deeper than [`DEPTH_MAX`]: an upper bound, from the tokens alone.
fn too_deep(text: &str) -> bool {
    let mut lexer = lexer::lex(text, Mode::Module);
    let mut open: Vec<usize> = Vec::new();
    let (mut depth, mut indents) = (0usize, 0usize);
    loop {
        match lexer.next_token() {
            TokenKind::EndOfFile => return false,
            TokenKind::Newline | TokenKind::Semi if open.is_empty() => depth = 0,
            TokenKind::Indent => indents += 1,
            TokenKind::Dedent => indents = indents.saturating_sub(1),
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => {
                depth += 1;
                open.push(depth);
            }
            // What follows a call or subscript goes on from it.
            TokenKind::Rpar | TokenKind::Rsqb => depth = open.pop().unwrap_or(depth),
            TokenKind::Rbrace => depth = open.pop().map_or(depth, |it| it - 1),
            TokenKind::Comma => depth = open.last().copied().unwrap_or(0),
            TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringStart
            | TokenKind::FStringMiddle
            | TokenKind::FStringEnd
            | TokenKind::Comment
            | TokenKind::Newline
            | TokenKind::NonLogicalNewline => {}
            _ => depth += 1,
        }
        if depth > DEPTH_MAX || indents > INDENTS_MAX {
            return true;
        }
    }
}

/// Where a statement stands.
#[derive(Clone, Copy)]
enum Place {
    Top { perhaps: bool },
    Function,
}

#[derive(Default)]
struct Reader {
    module: Module,
    /// The outermost function that is read.
    function: Option<String>,
}

impl Reader {
    fn statements(&mut self, body: &[ast::Stmt], place: Place) {
        for it in body {
            self.statement(it, place);
        }
    }

    fn statement(&mut self, statement: &ast::Stmt, place: Place) {
        if let Place::Top { .. } = place {
            for name in uses::walrus(statement) {
                self.bind(name.id.as_str(), name.range(), place, Meaning::Changed);
            }
        }
        match statement {
            ast::Stmt::Import(it) => self.import(it, place),
            ast::Stmt::ImportFrom(it) => self.import_from(it, place),
            ast::Stmt::ClassDef(it) => match place {
                Place::Top { .. } => {
                    let class = self.class(it);
                    self.module.classes.push(class);
                    let index = self.module.classes.len() - 1;
                    self.bind(it.name.as_str(), it.range(), place, Meaning::Class(index));
                }
                Place::Function => self.inside(it.name.as_str(), &it.body),
            },
            ast::Stmt::FunctionDef(it) => {
                self.inside(it.name.as_str(), &it.body);
                if let Place::Top { .. } = place {
                    self.module.functions.push(function(it));
                    let index = self.module.functions.len() - 1;
                    self.bind(
                        it.name.as_str(),
                        it.range(),
                        place,
                        Meaning::Function(index),
                    );
                }
            }
            ast::Stmt::Assign(it) => {
                self.called(&it.value, place);
                let one = it.targets.len() == 1;
                for target in &it.targets {
                    match target {
                        ast::Expr::Name(name) => {
                            self.value(name.id.as_str(), it.range(), &it.value, place);
                        }
                        ast::Expr::Tuple(targets) if one => self.unpack(targets, it, place),
                        other => self.changed(other, place),
                    }
                }
            }
            ast::Stmt::AnnAssign(it) => {
                if let Some(value) = &it.value {
                    self.called(value, place);
                    match &*it.target {
                        ast::Expr::Name(name) => {
                            self.value(name.id.as_str(), it.range(), value, place);
                        }
                        other => self.changed(other, place),
                    }
                }
            }
            ast::Stmt::AugAssign(it) => self.changed(&it.target, place),
            ast::Stmt::Delete(it) => it.targets.iter().for_each(|it| self.changed(it, place)),
            ast::Stmt::Global(it) => {
                for name in &it.names {
                    let top = Place::Top { perhaps: true };
                    self.bind(name.as_str(), it.range(), top, Meaning::Changed);
                }
            }
            ast::Stmt::Expr(it) => {
                self.called(&it.value, place);
                // `NAMES.append("x")` changes a list that was set above.
                if let ast::Expr::Call(call) = &*it.value
                    && let ast::Expr::Attribute(method) = &*call.func
                {
                    self.changed(&method.value, place);
                }
            }
            ast::Stmt::If(it) => {
                self.block(&it.body, place);
                for clause in &it.elif_else_clauses {
                    self.block(&clause.body, place);
                }
            }
            ast::Stmt::Try(it) => {
                self.block(&it.body, place);
                for handler in &it.handlers {
                    let ast::ExceptHandler::ExceptHandler(handler) = handler;
                    if let Some(name) = &handler.name {
                        self.bind(name.as_str(), name.range(), place, Meaning::Changed);
                    }
                    self.block(&handler.body, place);
                }
                self.block(&it.orelse, place);
                self.block(&it.finalbody, place);
            }
            ast::Stmt::With(it) => {
                let targets = it.items.iter().filter_map(|it| it.optional_vars.as_deref());
                targets.for_each(|it| self.changed(it, place));
                self.block(&it.body, place);
            }
            ast::Stmt::For(it) => {
                self.changed(&it.target, place);
                self.block(&it.body, place);
                self.block(&it.orelse, place);
            }
            ast::Stmt::While(it) => {
                self.block(&it.body, place);
                self.block(&it.orelse, place);
            }
            ast::Stmt::Match(it) => {
                for name in uses::captured(it) {
                    self.bind(name.as_str(), name.range(), place, Meaning::Changed);
                }
                for case in &it.cases {
                    self.block(&case.body, place);
                }
            }
            ast::Stmt::Return(it) => {
                if let Some(value) = &it.value {
                    self.called(value, place);
                }
            }
            _ => {}
        }
    }

    fn block(&mut self, body: &[ast::Stmt], place: Place) {
        let place = match place {
            Place::Top { .. } => Place::Top { perhaps: true },
            Place::Function => Place::Function,
        };
        self.statements(body, place);
    }

    /// The body of a function or inner class: its imports count, its names do not.
    fn inside(&mut self, name: &str, body: &[ast::Stmt]) {
        let outermost = self.function.is_none();
        if outermost {
            self.function = Some(name.to_owned());
        }
        self.statements(body, Place::Function);
        if outermost {
            self.function = None;
        }
    }

    fn bind(&mut self, name: &str, at: ruff_text_size::TextRange, place: Place, meaning: Meaning) {
        if let Place::Top { perhaps } = place {
            self.module.bindings.push(Binding {
                name: name.to_owned(),
                at: at.start().to_usize(),
                perhaps,
                meaning,
            });
        }
    }

    fn value(
        &mut self,
        name: &str,
        at: ruff_text_size::TextRange,
        value: &ast::Expr,
        place: Place,
    ) {
        if let Place::Top { .. } = place {
            self.module.values.push(expression(value));
            let index = self.module.values.len() - 1;
            // Until then the name means what it meant before: `retry = retry(times=2)`.
            let end = ruff_text_size::TextRange::empty(at.end());
            self.bind(name, end, place, Meaning::Value(index));
        }
    }

    /// `a, b = 1, 2`.
    fn unpack(&mut self, targets: &ast::ExprTuple, it: &ast::StmtAssign, place: Place) {
        let values = match &*it.value {
            ast::Expr::Tuple(values) if values.elts.len() == targets.elts.len() => {
                Some(&values.elts)
            }
            _ => None,
        };
        for (index, target) in targets.elts.iter().enumerate() {
            match (target, values) {
                (ast::Expr::Name(name), Some(values)) => {
                    self.value(name.id.as_str(), it.range(), &values[index], place);
                }
                _ => self.changed(target, place),
            }
        }
    }

    /// The name at the root of a target gets another value, or what it holds does.
    fn changed(&mut self, target: &ast::Expr, place: Place) {
        match target {
            ast::Expr::Name(name) => {
                self.bind(name.id.as_str(), name.range(), place, Meaning::Changed);
            }
            ast::Expr::Attribute(it) => self.changed(&it.value, place),
            ast::Expr::Subscript(it) => self.changed(&it.value, place),
            ast::Expr::Starred(it) => self.changed(&it.value, place),
            ast::Expr::Tuple(it) => it.elts.iter().for_each(|it| self.changed(it, place)),
            ast::Expr::List(it) => it.elts.iter().for_each(|it| self.changed(it, place)),
            _ => {}
        }
    }

    /// Notes `NAME(…)`.
    fn called(&mut self, value: &ast::Expr, place: Place) {
        if let ast::Expr::Call(call) = value {
            match &*call.func {
                ast::Expr::Name(name) => self.module.calls.push(Called {
                    name: name.id.to_string(),
                    at: span(call.range()),
                    in_function: match place {
                        Place::Top { .. } => None,
                        Place::Function => self.function.clone(),
                    },
                }),
                // `NAME().run()`.
                ast::Expr::Attribute(method) => self.called(&method.value, place),
                _ => {}
            }
        }
    }

    fn import(&mut self, it: &ast::StmtImport, place: Place) {
        for name in &it.names {
            self.module.imports.push(Import {
                module: name.name.to_string(),
                level: 0,
                at: span(name.range()),
                names: None,
                aliased: name.asname.is_some(),
            });
            let index = self.module.imports.len() - 1;
            let full = name.name.as_str();
            let bound = match &name.asname {
                Some(alias) => alias.as_str(),
                None => full.split('.').next().unwrap_or(full),
            };
            self.bind(bound, it.range(), place, Meaning::Import(index, None));
        }
    }

    fn import_from(&mut self, it: &ast::StmtImportFrom, place: Place) {
        let names: Vec<ImportedName> = it
            .names
            .iter()
            .map(|name| ImportedName {
                name: name.name.to_string(),
                alias: name.asname.as_ref().unwrap_or(&name.name).to_string(),
            })
            .collect();
        let index = self.module.imports.len();
        for (which, name) in names.iter().enumerate() {
            let meaning = match name.name.as_str() {
                "*" => Meaning::Star(index),
                _ => Meaning::Import(index, Some(which)),
            };
            self.bind(&name.alias, it.range(), place, meaning);
        }
        self.module.imports.push(Import {
            module: it
                .module
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            level: it.level,
            at: span(it.range()),
            names: Some(names),
            aliased: false,
        });
    }

    fn class(&mut self, it: &ast::StmtClassDef) -> Class {
        let mut members = Vec::new();
        self.members(&it.body, false, &mut members);
        let bases = it.arguments.as_ref().map_or(&[][..], |it| &it.args);
        Class {
            name: it.name.to_string(),
            name_at: span(it.name.range()),
            start: it.range().start().to_usize(),
            bases: bases.iter().map(expression).collect(),
            decorators: it
                .decorator_list
                .iter()
                .map(|it| expression(&it.expression))
                .collect(),
            doc: doc(&it.body),
            members,
        }
    }

    fn members(&mut self, body: &[ast::Stmt], perhaps: bool, members: &mut Vec<Member>) {
        for statement in body {
            for name in uses::walrus(statement) {
                let mentions = mentions_of_statement(statement);
                let kind = MemberKind::Other(mentions);
                add(members, name.id.as_str(), name.range(), perhaps, kind);
            }
            self.member(statement, perhaps, members);
        }
    }

    fn member(&mut self, statement: &ast::Stmt, perhaps: bool, members: &mut Vec<Member>) {
        match statement {
            ast::Stmt::FunctionDef(it) => {
                self.inside(it.name.as_str(), &it.body);
                let kind = MemberKind::Function(function(it));
                add(members, it.name.as_str(), it.name.range(), perhaps, kind);
            }
            ast::Stmt::Assign(it) => {
                for target in &it.targets {
                    assign(target, &it.value, it.range(), perhaps, members);
                }
            }
            ast::Stmt::AnnAssign(it) => {
                if let Some(value) = &it.value {
                    assign(&it.target, value, it.range(), perhaps, members);
                }
            }
            ast::Stmt::AugAssign(it) => unclear(&it.target, Some(&it.value), perhaps, members),
            ast::Stmt::Delete(it) => {
                for target in &it.targets {
                    match target {
                        ast::Expr::Name(name) if !perhaps => {
                            let name = name.id.as_str();
                            add(members, name, it.range(), perhaps, MemberKind::Deleted);
                        }
                        other => unclear(other, None, perhaps, members),
                    }
                }
            }
            ast::Stmt::Expr(it) => {
                // `VARS.update(…)` changes what was set above.
                if let ast::Expr::Call(call) = &*it.value
                    && let ast::Expr::Attribute(method) = &*call.func
                    && let ast::Expr::Name(name) = &*method.value
                    && members.iter().any(|it| it.name == name.id.as_str())
                {
                    unclear(&method.value, None, perhaps, members);
                }
            }
            ast::Stmt::ClassDef(it) => {
                self.inside(it.name.as_str(), &it.body);
                let kind = MemberKind::Other(Vec::new());
                add(members, it.name.as_str(), it.range(), perhaps, kind);
            }
            ast::Stmt::Import(it) => {
                let first = self.module.imports.len();
                self.statement(statement, Place::Function);
                for (index, name) in it.names.iter().enumerate() {
                    let bound = match &name.asname {
                        Some(alias) => alias.as_str(),
                        None => name.name.split('.').next().unwrap_or_default(),
                    };
                    let kind = MemberKind::Import(first + index, None);
                    add(members, bound, it.range(), perhaps, kind);
                }
            }
            ast::Stmt::ImportFrom(it) => {
                let index = self.module.imports.len();
                self.statement(statement, Place::Function);
                for (which, name) in it.names.iter().enumerate() {
                    let bound = name.asname.as_ref().unwrap_or(&name.name);
                    let kind = MemberKind::Import(index, Some(which));
                    add(members, bound.as_str(), it.range(), perhaps, kind);
                }
            }
            ast::Stmt::If(it) => {
                self.members(&it.body, true, members);
                for clause in &it.elif_else_clauses {
                    self.members(&clause.body, true, members);
                }
            }
            ast::Stmt::Try(it) => {
                self.members(&it.body, true, members);
                for handler in &it.handlers {
                    let ast::ExceptHandler::ExceptHandler(handler) = handler;
                    if let Some(name) = &handler.name {
                        let kind = MemberKind::Other(Vec::new());
                        add(members, name.as_str(), name.range(), true, kind);
                    }
                    self.members(&handler.body, true, members);
                }
                self.members(&it.orelse, true, members);
                self.members(&it.finalbody, true, members);
            }
            ast::Stmt::With(it) => {
                for item in &it.items {
                    if let Some(target) = &item.optional_vars {
                        unclear(target, Some(&item.context_expr), true, members);
                    }
                }
                self.members(&it.body, true, members);
            }
            ast::Stmt::For(it) => {
                unclear(&it.target, Some(&it.iter), true, members);
                self.members(&it.body, true, members);
                self.members(&it.orelse, true, members);
            }
            ast::Stmt::While(it) => {
                self.members(&it.body, true, members);
                self.members(&it.orelse, true, members);
            }
            ast::Stmt::Match(it) => {
                for name in uses::captured(it) {
                    let kind = MemberKind::Other(mentions(&it.subject));
                    add(members, name.as_str(), name.range(), true, kind);
                }
                for case in &it.cases {
                    self.members(&case.body, true, members);
                }
            }
            _ => {}
        }
    }
}

fn add(
    members: &mut Vec<Member>,
    name: &str,
    at: ruff_text_size::TextRange,
    perhaps: bool,
    kind: MemberKind,
) {
    members.push(Member {
        name: name.to_owned(),
        at: span(at),
        perhaps,
        kind,
    });
}

/// `target = value` in the body of a class.
fn assign(
    target: &ast::Expr,
    value: &ast::Expr,
    at: ruff_text_size::TextRange,
    perhaps: bool,
    members: &mut Vec<Member>,
) {
    match (target, value) {
        (ast::Expr::Name(name), _) => {
            let kind = MemberKind::Value(expression(value));
            add(members, name.id.as_str(), at, perhaps, kind);
        }
        (ast::Expr::Tuple(targets), ast::Expr::Tuple(values))
            if targets.elts.len() == values.elts.len()
                && !values.elts.iter().any(ast::Expr::is_starred_expr) =>
        {
            for (target, value) in targets.elts.iter().zip(&values.elts) {
                match target {
                    ast::Expr::Starred(_) => unclear(target, Some(value), perhaps, members),
                    _ => assign(target, value, at, perhaps, members),
                }
            }
        }
        _ => unclear(target, Some(value), perhaps, members),
    }
}

/// The names in a target get a value that is not followed, or what they hold is changed.
fn unclear(
    target: &ast::Expr,
    value: Option<&ast::Expr>,
    perhaps: bool,
    members: &mut Vec<Member>,
) {
    match target {
        ast::Expr::Name(name) => {
            let kind = MemberKind::Other(value.map(mentions).unwrap_or_default());
            add(members, name.id.as_str(), name.range(), perhaps, kind);
        }
        ast::Expr::Attribute(it) => unclear(&it.value, value, perhaps, members),
        ast::Expr::Subscript(it) => unclear(&it.value, value, perhaps, members),
        ast::Expr::Starred(it) => unclear(&it.value, value, perhaps, members),
        ast::Expr::Tuple(it) => {
            let each = it.elts.iter();
            each.for_each(|it| unclear(it, value, perhaps, members));
        }
        ast::Expr::List(it) => {
            let each = it.elts.iter();
            each.for_each(|it| unclear(it, value, perhaps, members));
        }
        _ => {}
    }
}

fn mentions(of: &ast::Expr) -> Vec<Expr> {
    let names = uses::mentioned(Mentioned::Expr(of));
    names.into_iter().map(expression).collect()
}

fn mentions_of_statement(of: &ast::Stmt) -> Vec<Expr> {
    let names = uses::mentioned(Mentioned::Body(std::slice::from_ref(of)));
    names.into_iter().map(expression).collect()
}

fn function(it: &ast::StmtFunctionDef) -> Function {
    let mut nexts = Vec::new();
    find_nexts(&it.body, &mut nexts);
    let tail = match it.body.last() {
        Some(ast::Stmt::Expr(tail)) => Some(expression(&tail.value)),
        _ => None,
    };
    let mentions = match uses::is_step(it) {
        true => Vec::new(),
        false => uses::mentioned(Mentioned::Body(&it.body)),
    };
    let returned = match it.body.last() {
        Some(ast::Stmt::Return(it)) => it.value.as_deref().and_then(uses::dotted),
        _ => None,
    };
    let arguments: Vec<&str> = it.parameters.iter().map(|it| it.name().as_str()).collect();
    Function {
        mentions: mentions.into_iter().map(expression).collect(),
        returns_argument: arguments.len() == 1 && returned.is_some_and(|it| it == arguments),
        name: it.name.to_string(),
        name_at: span(it.name.range()),
        decorators: it
            .decorator_list
            .iter()
            .map(|it| expression(&it.expression))
            .collect(),
        arguments: it.parameters.args.len(),
        tail,
        nexts,
    }
}

fn doc(body: &[ast::Stmt]) -> Option<String> {
    match body.first() {
        Some(ast::Stmt::Expr(it)) => match &*it.value {
            ast::Expr::StringLiteral(text) => Some(text.value.to_str().to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn find_nexts(body: &[ast::Stmt], found: &mut Vec<Span>) {
    for statement in body {
        match statement {
            ast::Stmt::Expr(it) => {
                if let ast::Expr::Call(call) = &*it.value
                    && let ast::Expr::Attribute(method) = &*call.func
                    && method.attr.as_str() == "next"
                    && matches!(&*method.value, ast::Expr::Name(name) if name.id.as_str() == "self")
                {
                    found.push(span(it.range()));
                }
            }
            ast::Stmt::If(it) => {
                find_nexts(&it.body, found);
                for clause in &it.elif_else_clauses {
                    find_nexts(&clause.body, found);
                }
            }
            ast::Stmt::With(it) => find_nexts(&it.body, found),
            ast::Stmt::For(it) => find_nexts(&it.body, found),
            ast::Stmt::While(it) => find_nexts(&it.body, found),
            ast::Stmt::Match(it) => {
                for case in &it.cases {
                    find_nexts(&case.body, found);
                }
            }
            ast::Stmt::Try(it) => {
                find_nexts(&it.body, found);
                for handler in &it.handlers {
                    let ast::ExceptHandler::ExceptHandler(handler) = handler;
                    find_nexts(&handler.body, found);
                }
                find_nexts(&it.orelse, found);
                find_nexts(&it.finalbody, found);
            }
            _ => {}
        }
    }
}

fn expressions(list: &[ast::Expr]) -> Vec<Expr> {
    list.iter().map(expression).collect()
}

fn boxed(it: &ast::Expr) -> Box<Expr> {
    Box::new(expression(it))
}

fn expression(whole: &ast::Expr) -> Expr {
    let kind = match whole {
        ast::Expr::NoneLiteral(_) => ExprKind::None,
        ast::Expr::BooleanLiteral(it) => ExprKind::Bool(it.value),
        ast::Expr::NumberLiteral(it) => match &it.value {
            ast::Number::Int(int) => ExprKind::Int(int.as_i64()),
            ast::Number::Float(float) => ExprKind::Float(*float),
            ast::Number::Complex { .. } => ExprKind::Other("a complex number", Vec::new()),
        },
        ast::Expr::StringLiteral(it) => ExprKind::Str(it.value.to_str().to_owned()),
        ast::Expr::Name(it) => ExprKind::Name(it.id.to_string()),
        ast::Expr::Attribute(it) => ExprKind::Attribute(boxed(&it.value), it.attr.to_string()),
        ast::Expr::List(it) => ExprKind::List(expressions(&it.elts)),
        ast::Expr::Tuple(it) => ExprKind::Tuple(expressions(&it.elts)),
        ast::Expr::Dict(it) => ExprKind::Dict(
            it.items
                .iter()
                .map(|it| (it.key.as_ref().map(expression), expression(&it.value)))
                .collect(),
        ),
        ast::Expr::Call(it) => ExprKind::Call(Box::new(Call {
            function: expression(&it.func),
            arguments: expressions(&it.arguments.args),
            keywords: it
                .arguments
                .keywords
                .iter()
                .map(|it| Keyword {
                    name: it.arg.as_ref().map(ToString::to_string),
                    at: span(it.range()),
                    value: expression(&it.value),
                })
                .collect(),
        })),
        ast::Expr::BinOp(it) => match it.op {
            ast::Operator::Add => ExprKind::Add(boxed(&it.left), boxed(&it.right)),
            ast::Operator::Mult => ExprKind::Multiply(boxed(&it.left), boxed(&it.right)),
            _ => ExprKind::Other("a calculation", mentions(whole)),
        },
        ast::Expr::UnaryOp(it) => match it.op {
            ast::UnaryOp::USub => ExprKind::Negative(boxed(&it.operand)),
            _ => ExprKind::Other("a calculation", mentions(whole)),
        },
        ast::Expr::FString(it) => ExprKind::Format(pieces(&it.value)),
        ast::Expr::Subscript(it) => ExprKind::Subscript(boxed(&it.value), boxed(&it.slice)),
        ast::Expr::Lambda(it) => ExprKind::Lambda(mentions(&it.body)),
        ast::Expr::If(_) => ExprKind::Other("a choice by `if`", mentions(whole)),
        ast::Expr::BoolOp(_) => ExprKind::Other("a choice by `and` or `or`", mentions(whole)),
        ast::Expr::Compare(_) => ExprKind::Other("a comparison", mentions(whole)),
        ast::Expr::BytesLiteral(_) => ExprKind::Other("bytes", mentions(whole)),
        ast::Expr::Set(_) => ExprKind::Other("a set", mentions(whole)),
        ast::Expr::ListComp(_)
        | ast::Expr::SetComp(_)
        | ast::Expr::DictComp(_)
        | ast::Expr::Generator(_) => ExprKind::Other("a comprehension", mentions(whole)),
        ast::Expr::Starred(_) => ExprKind::Other("an unpacked list", mentions(whole)),
        _ => ExprKind::Other("an expression", mentions(whole)),
    };
    Expr {
        at: span(whole.range()),
        kind,
    }
}

fn pieces(value: &ast::FStringValue) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in value.iter() {
        match part {
            ast::FStringPart::Literal(text) => pieces.push(Piece::Text(text.value.to_string())),
            ast::FStringPart::FString(text) => {
                for element in &text.elements {
                    pieces.push(match element {
                        ast::InterpolatedStringElement::Literal(text) => {
                            Piece::Text(text.value.to_string())
                        }
                        ast::InterpolatedStringElement::Interpolation(it)
                            if it.debug_text.is_none()
                                && it.format_spec.is_none()
                                && matches!(
                                    it.conversion,
                                    ast::ConversionFlag::None | ast::ConversionFlag::Str
                                ) =>
                        {
                            Piece::Value(expression(&it.expression))
                        }
                        ast::InterpolatedStringElement::Interpolation(_) => Piece::Formatted,
                    });
                }
            }
        }
    }
    pieces
}
