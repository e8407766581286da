//! Reading the tree: each value knows its name and place, and says what is wrong with it.

use crate::calendars::Calendars;
use crate::diagnostic::Diagnostic;
use crate::expression::{Use, Where};
use crate::neighbours::Mention;
use crate::source::Source;
use crate::yaml::{Data, Entry, Node};
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// After so many findings the rest would not be read.
pub(crate) const FINDINGS_MAX: usize = 100;

/// What is gathered while a file is read.
pub(crate) struct Cx<'a> {
    pub(crate) source: &'a Arc<Source>,
    found: RefCell<Vec<Diagnostic>>,
    /// Expressions, checked once all names are known.
    pub(crate) uses: RefCell<Vec<Use>>,
    /// Other flows that the file names.
    pub(crate) mentions: RefCell<Vec<Mention>>,
    pub(crate) calendars: &'a Calendars,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(
        source: &'a Arc<Source>,
        found: Vec<Diagnostic>,
        calendars: &'a Calendars,
    ) -> Self {
        Self {
            source,
            found: RefCell::new(found),
            uses: RefCell::default(),
            mentions: RefCell::default(),
            calendars,
        }
    }

    pub(crate) fn at(
        &self,
        at: &Range<usize>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(self.source, at.clone(), code, message)
    }

    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < FINDINGS_MAX {
            found.push(diagnostic);
        }
    }

    pub(crate) fn found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A value under its name.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) cx: &'a Cx<'a>,
    pub(crate) name: &'a str,
    pub(crate) node: &'a Node,
}

impl<'a> Value<'a> {
    /// Another node under the same name, such as an item of a list.
    pub(crate) const fn with(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    pub(crate) const fn span(&self) -> &'a Range<usize> {
        &self.node.span
    }

    pub(crate) fn bad(&self, message: impl Into<String>) -> Diagnostic {
        self.cx.at(self.span(), "flow.bad_value", message)
    }

    /// Reports that this is of another type.
    pub(crate) fn wrong(&self, expected: &str, help: &str) {
        let found = self.node.describe();
        let message = format!("`{}` must be {expected}", self.name);
        let wrong = self.cx.at(self.span(), "flow.wrong_type", message);
        self.cx
            .push(wrong.label(format!("found {found}")).help(help));
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.wrong("a text", "put quotes around it");
        }
        text
    }

    /// Free text: numbers and the like count as they are written.
    pub(crate) fn written(&self) -> Option<String> {
        match &self.node.data {
            Data::Text(text) => Some(text.clone()),
            Data::Bool(_) | Data::Int(_) | Data::Float(_) => {
                Some(self.cx.source.slice(self.span().clone()).to_owned())
            }
            Data::Null | Data::List(_) | Data::Map(_) => None,
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.node.data {
            Data::Bool(it) => Some(it),
            _ => {
                self.wrong("true or false", "write `true` or `false`, without quotes");
                None
            }
        }
    }

    pub(crate) fn integer(&self, within: RangeInclusive<i64>) -> Option<i64> {
        let (min, max) = (*within.start(), *within.end());
        match self.node.data {
            Data::Int(it) if within.contains(&it) => Some(it),
            Data::Int(it) => {
                let message = format!(
                    "`{}` must be from {min} to {max}, and it is {it}",
                    self.name
                );
                let nearest = it.clamp(min, max);
                self.cx.push(
                    self.bad(message)
                        .help(format!("write a number in that range, such as {nearest}")),
                );
                None
            }
            _ => {
                self.wrong(
                    "a whole number",
                    &format!("write a number from {min} to {max}, without quotes or unit"),
                );
                None
            }
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self.node.data {
            Data::Int(it) => Some(it as f64),
            Data::Float(it) if it.is_finite() => Some(it),
            _ => {
                self.wrong("a number", "write a number without quotes, such as 0.5");
                None
            }
        }
    }

    pub(crate) fn list(&self) -> Vec<Self> {
        match &self.node.data {
            Data::List(items) => items.iter().map(|it| self.with(it)).collect(),
            _ => {
                self.wrong(
                    "a list",
                    "write `[a, b]`, or one item per line, each after `- `",
                );
                Vec::new()
            }
        }
    }

    /// A list, or one item alone.
    pub(crate) fn one_or_list(&self) -> Vec<Self> {
        match &self.node.data {
            Data::List(items) => items.iter().map(|it| self.with(it)).collect(),
            _ => vec![*self],
        }
    }

    /// The entries of a mapping whose keys are free.
    pub(crate) fn entries(&self, help: &str) -> &'a [Entry] {
        match &self.node.data {
            Data::Map(entries) => entries,
            _ => {
                self.wrong("a mapping", help);
                &[]
            }
        }
    }

    /// The entries of a mapping whose keys are known; others are reported.
    pub(crate) fn fields(&self, keys: &'static [&'static str], help: &str) -> Option<Fields<'a>> {
        let Data::Map(entries) = &self.node.data else {
            self.wrong("a mapping", help);
            return None;
        };
        let fields = Fields {
            value: *self,
            keys,
            entries,
        };
        for entry in entries.iter().filter(|it| !keys.contains(&it.key.as_str())) {
            let message = match self.name {
                "" => format!("unknown key `{}`", crate::yaml::shorten(&entry.key)),
                name => format!(
                    "unknown key `{}` in `{name}`",
                    crate::yaml::shorten(&entry.key)
                ),
            };
            let unknown = self.cx.at(&entry.key_span, "flow.unknown_key", message);
            self.cx.push(unknown.help(did_you_mean(&entry.key, keys)));
        }
        Some(fields)
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Some(text) = self.node.text() else {
            self.wrong(
                &format!("one of {}", ticked(&words)),
                "write one of these words",
            );
            return None;
        };
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let message = format!("`{}` cannot be `{}`", self.name, crate::yaml::shorten(text));
            self.cx
                .push(self.bad(message).help(did_you_mean(text, &words)));
        }
        found.map(|(_, it)| *it)
    }

    pub(crate) fn expr(&self, place: Where) -> Option<dalsegno_scheduler::expr::Expr> {
        crate::expression::expr(self, place)
    }

    pub(crate) fn template(&self, place: Where) -> Option<dalsegno_scheduler::expr::Template> {
        crate::expression::template(self, place)
    }
}

/// A mapping with known keys.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) value: Value<'a>,
    keys: &'static [&'static str],
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        debug_assert!(self.keys.contains(&key), "{key} is not a known key");
        self.entries.iter().find(|it| it.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        let entry = self.entry(key)?;
        Some(Value {
            cx: self.value.cx,
            name: &entry.key,
            node: &entry.value,
        })
    }

    /// A mapping or list; one without content counts as absent, so that all of it can be commented out.
    pub(crate) fn section(&self, key: &str) -> Option<Value<'a>> {
        self.get(key).filter(|it| !it.node.is_null())
    }

    pub(crate) fn required(&self, key: &'static str, help: &str) -> Option<Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            let at = self.value.span().start..self.value.span().start + 1;
            self.missing(&at, key, help);
        }
        found
    }

    pub(crate) fn missing(&self, at: &Range<usize>, key: &str, help: &str) {
        let message = match self.value.name {
            "" => format!("the key `{key}` is missing"),
            name => format!("`{name}` lacks the key `{key}`"),
        };
        let cx = self.value.cx;
        cx.push(cx.at(at, "flow.missing_key", message).help(help));
    }
}

/// "did you mean …?", or what there is.
pub(crate) fn did_you_mean(name: &str, candidates: &[&str]) -> String {
    let same = SAME.iter().find(|(theirs, _)| *theirs == name);
    let same = same
        .map(|(_, ours)| *ours)
        .filter(|it| candidates.contains(it));
    match same.or_else(|| closest(name, candidates)) {
        Some(it) => format!("did you mean `{it}`?"),
        None if candidates.is_empty() => "there is none".into(),
        None => format!("expected one of {}", ticked(candidates)),
    }
}

/// What other formats call it, and what we do.
const SAME: [(&str, &str); 20] = [
    ("needs", "after"),
    ("depends_on", "after"),
    ("dependencies", "after"),
    ("upstream", "after"),
    ("if", "when"),
    ("condition", "when"),
    ("command", "run"),
    ("cmd", "run"),
    ("script", "run"),
    ("args", "run"),
    ("matrix", "foreach"),
    ("for_each", "foreach"),
    ("environment", "env"),
    ("parameters", "params"),
    ("inputs", "params"),
    ("retries", "retry"),
    ("memory", "resources"),
    ("name", "flow"),
    ("on", "triggers"),
    ("jobs", "steps"),
];

pub(crate) fn closest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if name.len() > 100 {
        return None;
    }
    let lower = name.to_lowercase().replace('-', "_");
    let nearest = candidates
        .iter()
        .map(|it| (strsim::damerau_levenshtein(&lower, &it.to_lowercase()), *it))
        .filter(|(wrong, it)| *wrong <= (it.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, it)| it);
    // Another ending of the same word.
    nearest.or_else(|| {
        let stem = lower.get(..4)?;
        candidates.iter().find(|it| it.starts_with(stem)).copied()
    })
}

/// "`a`, `b` and `c`".
pub(crate) fn ticked(words: &[&str]) -> String {
    const SHOWN: usize = 24;
    let ticked: Vec<String> = words
        .iter()
        .take(SHOWN)
        .map(|it| format!("`{it}`"))
        .collect();
    match ticked.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        _ if words.len() > SHOWN => format!("{}, …", ticked.join(", ")),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
