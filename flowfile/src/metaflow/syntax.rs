//! Python as far as reading a flow needs it: plain trees, free of the parser they came from.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Byte offsets in the text of the file.
pub(super) type Span = Range<usize>;

/// What a file says at its top level.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) classes: Vec<Class>,
    pub(super) functions: Vec<Function>,
    pub(super) values: Vec<Expr>,
    /// Names in the order in which they get a meaning.
    pub(super) bindings: Vec<Binding>,
    /// All imports, those within functions too.
    pub(super) imports: Vec<Import>,
    /// Names that are called as `NAME(…)` when the file is run.
    pub(super) calls: Vec<Called>,
    /// What its code does with names.
    pub(super) units: Vec<Unit>,
}

/// Code that runs together, and what it does with names.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The function or class that must be mentioned for it to run; `None`: it runs with the file.
    pub(super) woken_by: Option<String>,
    /// Below `if __name__ == "__main__"`.
    pub(super) only_as_script: bool,
    /// All that it mentions, attributes too.
    pub(super) names: HashSet<String>,
    /// What it hands on, so that somebody else may change it; where first.
    pub(super) kept: HashMap<String, Span>,
    /// Of what it only hands on what is inside.
    pub(super) inside: HashSet<String>,
    /// Attributes that it sets.
    pub(super) stored: Vec<Stored>,
    /// Two names for the same; `true`: the first holds the second.
    pub(super) links: Vec<(String, String, bool)>,
    /// Calls that can change anything: `exec`.
    pub(super) powers: Vec<(String, Span)>,
}

/// `of.name = …`.
#[derive(Debug)]
pub(super) struct Stored {
    /// Empty if that is not a plain name.
    pub(super) of: Vec<String>,
    pub(super) name: String,
    pub(super) at: Span,
}

/// A name that is called for its effect.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) name: String,
    pub(super) at: Span,
    /// The function in which it stands: it only happens if that is called.
    pub(super) in_function: Option<String>,
}

/// A name gets a meaning.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) at: usize,
    /// It stands in an `if`, `try`, loop or the like.
    pub(super) perhaps: bool,
    pub(super) meaning: Meaning,
}

#[derive(Debug)]
pub(super) enum Meaning {
    /// Index into [`Module::imports`], and which of its names; `None`: the module itself.
    Import(usize, Option<usize>),
    Class(usize),
    Function(usize),
    Value(usize),
    /// `from module import *`, index into [`Module::imports`]; the name is `*`.
    Star(usize),
    /// What it holds is changed in place, or set in a way that is not followed.
    Changed,
}

#[derive(Debug)]
pub(super) struct Import {
    /// Dotted; empty for `from . import x`.
    pub(super) module: String,
    /// How many dots are before it.
    pub(super) level: u32,
    pub(super) at: Span,
    /// `None`: `import module`.
    pub(super) names: Option<Vec<ImportedName>>,
    /// `import module as alias`: the name is the module itself, not its first part.
    pub(super) aliased: bool,
}

#[derive(Debug)]
pub(super) struct ImportedName {
    /// `*` for all.
    pub(super) name: String,
    pub(super) alias: String,
}

#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) name_at: Span,
    /// From `class` on.
    pub(super) start: usize,
    pub(super) bases: Vec<Expr>,
    pub(super) decorators: Vec<Expr>,
    pub(super) doc: Option<String>,
    pub(super) members: Vec<Member>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) at: Span,
    /// It stands in an `if` or the like.
    pub(super) perhaps: bool,
    pub(super) kind: MemberKind,
}

#[derive(Debug)]
pub(super) enum MemberKind {
    Function(Function),
    Value(Expr),
    /// As [`Meaning::Import`].
    Import(usize, Option<usize>),
    /// It is set in a way that is not followed, from what is mentioned here.
    Other(Vec<Expr>),
    Deleted,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) name_at: Span,
    pub(super) decorators: Vec<Expr>,
    /// Plain positional parameters, `self` included.
    pub(super) arguments: usize,
    /// The names in its body; none of a step.
    pub(super) mentions: Vec<Expr>,
    /// It gives back what it was given: `return function`.
    pub(super) returns_argument: bool,
    /// The last statement, if it is an expression.
    pub(super) tail: Option<Expr>,
    /// Where `self.next(…)` stands as a statement, the tail included.
    pub(super) nexts: Vec<Span>,
}

#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) at: Span,
    pub(super) kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(super) enum ExprKind {
    None,
    Bool(bool),
    /// `None`: larger than 64 bits.
    Int(Option<i64>),
    Float(f64),
    Str(String),
    Name(String),
    Attribute(Box<Expr>, String),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    /// A key that is `None` stands for `**value`.
    Dict(Vec<(Option<Expr>, Expr)>),
    Call(Box<Call>),
    Add(Box<Expr>, Box<Expr>),
    Multiply(Box<Expr>, Box<Expr>),
    Negative(Box<Expr>),
    /// An f-string.
    Format(Vec<Piece>),
    Subscript(Box<Expr>, Box<Expr>),
    Lambda(Vec<Expr>),
    /// Anything else, in words (`a comparison`), and the names in it.
    Other(&'static str, Vec<Expr>),
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) function: Expr,
    pub(super) arguments: Vec<Expr>,
    pub(super) keywords: Vec<Keyword>,
}

#[derive(Debug, Clone)]
pub(super) struct Keyword {
    /// `None` for `**value`.
    pub(super) name: Option<String>,
    pub(super) at: Span,
    pub(super) value: Expr,
}

#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    /// `{value}` without a format of its own.
    Value(Expr),
    /// `{value:>10}`, `{value!r}`, `{value=}`.
    Formatted,
}

impl Expr {
    /// `a.b.c` as its names; `None` for anything else.
    pub(super) fn dotted(&self) -> Option<Vec<&str>> {
        match &self.kind {
            ExprKind::Name(name) => Some(vec![name]),
            ExprKind::Attribute(of, name) => {
                let mut names = of.dotted()?;
                names.push(name);
                Some(names)
            }
            _ => None,
        }
    }
    pub(super) fn string(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Str(text) => Some(text),
            _ => None,
        }
    }
    pub(super) fn call(&self) -> Option<&Call> {
        match &self.kind {
            ExprKind::Call(call) => Some(call),
            _ => None,
        }
    }
}
