//! YAML text to a tree in which every node knows its place.
#![expect(
    clippy::result_large_err,
    reason = "made once for a file, when it is no YAML"
)]

use crate::diagnostic::Diagnostic;
use crate::reader::FINDINGS_MAX;
use crate::scalar;
use crate::source::Source;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The deepest nesting that is read; it bounds all recursion over the tree.
const DEPTH_MAX: usize = 48;
/// The most nodes a file may hold once its aliases are expanded: ten times the largest flow.
const NODES_MAX: usize = 200_000;
/// The most bytes of text after expansion: four times the largest file.
const TEXT_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, for "found …".
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing".into(),
            Data::Bool(it) => format!("`{it}`"),
            Data::Int(it) => format!("the number {it}"),
            Data::Float(it) => format!("the number {it}"),
            Data::Text(it) if it.is_empty() => "an empty text".into(),
            Data::Text(it) => format!("the text `{}`", shorten(it)),
            Data::List(_) => "a list".into(),
            Data::Map(_) => "a mapping".into(),
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(it) => Some(it),
            _ => None,
        }
    }

    /// The same as JSON; `None` for numbers that JSON does not have.
    pub(crate) fn to_json(&self) -> Option<Value> {
        Some(match &self.data {
            Data::Null => Value::Null,
            Data::Bool(it) => Value::Bool(*it),
            Data::Int(it) => Value::from(*it),
            Data::Float(it) => Value::Number(serde_json::Number::from_f64(*it)?),
            Data::Text(it) => Value::String(it.clone()),
            Data::List(items) => {
                Value::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Data::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|it| Some((it.key.clone(), it.value.to_json()?)));
                Value::Object(pairs.collect::<Option<_>>()?)
            }
        })
    }
}

/// The first words of a text, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(40).collect();
    match cut.len() < text.trim_end().len() {
        true => format!("{cut}…"),
        false => cut,
    }
}

/// Reads the one document of a file. Duplicate keys are reported to `found`, and the first counts.
pub(crate) fn read(source: &Arc<Source>, found: &mut Vec<Diagnostic>) -> Result<Node, Diagnostic> {
    Builder {
        source,
        parser: Parser::new_from_str(&source.text),
        anchors: HashMap::new(),
        nodes: 0,
        text_bytes: 0,
        found,
    }
    .document()
}

struct Builder<'a, 'f> {
    source: &'a Arc<Source>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    text_bytes: usize,
    found: &'f mut Vec<Diagnostic>,
}

/// A node that aliases may repeat, and what each repetition costs.
struct Anchored {
    node: Node,
    nodes: usize,
    text_bytes: usize,
    height: usize,
}

impl<'a> Builder<'a, '_> {
    fn document(mut self) -> Result<Node, Diagnostic> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return Err(self
                        .fault(&span, "flow.yaml", "the file holds a second document")
                        .help(
                            "one file holds one flow: move what follows `---` to a file of its own",
                        ));
                }
                event => root = Some(self.node(event, &span, 0)?.0),
            }
        }
        let end = self.source.text.len();
        Ok(root.unwrap_or(Node {
            span: end..end,
            data: Data::Null,
        }))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => {
                let end = self.source.text.len();
                Ok((
                    Event::StreamEnd,
                    Span::empty(granit_parser::Marker::new(end, 1, 0)),
                ))
            }
        }
    }

    /// Builds the node that begins with `event`, and its height.
    fn node(
        &mut self,
        event: Event<'a>,
        span: &Span,
        depth: usize,
    ) -> Result<(Node, usize), Diagnostic> {
        if depth > DEPTH_MAX {
            return Err(self
                .fault(
                    span,
                    "flow.yaml",
                    format!("the file nests deeper than {DEPTH_MAX} levels"),
                )
                .help("no flow needs this; is a bracket or an indentation too much?"));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.text_bytes);
        self.spend(span, 1, 0)?;
        let start = range(span);
        let (anchor, node, height) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(span, 0, text.len())?;
                let data = self.scalar(&text, style, tag.as_deref(), span)?;
                (anchor, Node { span: start, data }, 0)
            }
            Event::Alias(id) => {
                let Some(it) = self.anchors.get(&id) else {
                    return Err(self
                        .fault(
                            span,
                            "flow.yaml",
                            "this alias stands inside of what it repeats",
                        )
                        .help("write the part out"));
                };
                let (nodes, bytes, height) = (it.nodes, it.text_bytes, it.height);
                self.spend(span, nodes, bytes)?;
                if depth + height > DEPTH_MAX {
                    return Err(self
                        .fault(span, "flow.yaml", "aliases nest too deep")
                        .help("write the part out"));
                }
                return Ok((self.anchors[&id].node.clone(), height));
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_tag(tag.as_deref(), span)?;
                let (items, end, height) = self.items(depth)?;
                let data = Data::List(items);
                (
                    anchor,
                    Node {
                        span: start.start..end,
                        data,
                    },
                    height,
                )
            }
            Event::MappingStart(_, anchor, tag) => {
                self.no_tag(tag.as_deref(), span)?;
                let (entries, end, height) = self.entries(depth)?;
                let data = Data::Map(entries);
                (
                    anchor,
                    Node {
                        span: start.start..end,
                        data,
                    },
                    height,
                )
            }
            _ => {
                return Err(self
                    .fault(span, "flow.yaml", "a value is expected here")
                    .help("write a text, a number, a list or a mapping"));
            }
        };
        if anchor > 0 {
            let anchored = Anchored {
                node: node.clone(),
                nodes: self.nodes - nodes_before,
                text_bytes: self.text_bytes - bytes_before,
                height,
            };
            self.anchors.insert(anchor, anchored);
        }
        Ok((node, height))
    }

    fn items(&mut self, depth: usize) -> Result<(Vec<Node>, usize, usize), Diagnostic> {
        let (mut items, mut height) = (Vec::new(), 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, range(&span).end, height));
            }
            let (item, below) = self.node(event, &span, depth + 1)?;
            height = height.max(below + 1);
            items.push(item);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<(Vec<Entry>, usize, usize), Diagnostic> {
        let (mut entries, mut height) = (Vec::<Entry>::new(), 0);
        let mut places = HashMap::<String, usize>::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                for (key, value) in merged {
                    self.merge(&mut entries, &key, value)?;
                }
                return Ok((entries, range(&span).end, height));
            }
            let key_span = range(&span);
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = match event {
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(self
                        .fault(&span, "flow.yaml", "a key must be a plain name")
                        .label("this is not a name")
                        .help("if this is an expression, put quotes around it: \"${{ … }}\""));
                }
            };
            self.spend(&span, 1, key.len())?;
            let (event, value_span) = self.next()?;
            let (value, below) = self.node(event, &value_span, depth + 1)?;
            height = height.max(below + 1);
            if key == "<<" && plain {
                merged.push((key_span, value));
                continue;
            }
            match places.get(&key) {
                Some(&first) => {
                    let message = format!("the key `{}` is there twice", shorten(&key));
                    let twice =
                        Diagnostic::new(self.source, key_span, "flow.duplicate_key", message)
                            .label("again here")
                            .also(entries[first].key_span.clone(), "first here")
                            .help("remove one of the two, or rename it");
                    if self.found.len() < FINDINGS_MAX {
                        self.found.push(twice);
                    }
                }
                None => {
                    places.insert(key.clone(), entries.len());
                    entries.push(Entry {
                        key,
                        key_span,
                        value,
                    });
                }
            }
        }
    }

    /// `<<: *name`: what the mapping does not say itself is taken from the other one.
    fn merge(
        &self,
        entries: &mut Vec<Entry>,
        key: &Range<usize>,
        value: Node,
    ) -> Result<(), Diagnostic> {
        let others = match value.data {
            Data::Map(other) => vec![other],
            Data::List(items) if items.iter().all(|it| matches!(it.data, Data::Map(_))) => items
                .into_iter()
                .filter_map(|it| match it.data {
                    Data::Map(other) => Some(other),
                    _ => None,
                })
                .collect(),
            _ => {
                let message = "`<<` takes over the keys of a mapping";
                return Err(
                    Diagnostic::new(self.source, key.clone(), "flow.yaml", message)
                        .help("name one by its anchor: `<<: *name`"),
                );
            }
        };
        for entry in others.into_iter().flatten() {
            if entries.iter().all(|it| it.key != entry.key) {
                entries.push(entry);
            }
        }
        Ok(())
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<Data, Diagnostic> {
        if let Some(tag) = tag {
            if tag.core_suffix() == Some("str") {
                return Ok(Data::Text(text.to_owned()));
            }
            self.no_tag(Some(tag), span)?;
        }
        Ok(match style {
            ScalarStyle::Plain => scalar::resolve(text),
            _ => Data::Text(text.to_owned()),
        })
    }

    fn no_tag(&self, tag: Option<&Tag>, span: &Span) -> Result<(), Diagnostic> {
        match tag {
            None => Ok(()),
            Some(tag) if ["seq", "map"].map(Some).contains(&tag.core_suffix()) => Ok(()),
            Some(tag) => Err(self
                .fault(
                    span,
                    "flow.yaml",
                    format!(
                        "the tag `{}` has no meaning in a flow file",
                        shorten(&tag.original())
                    ),
                )
                .help("remove it; put quotes around a text that begins with `!`")),
        }
    }

    fn spend(&mut self, span: &Span, nodes: usize, bytes: usize) -> Result<(), Diagnostic> {
        self.nodes += nodes;
        self.text_bytes += bytes;
        if self.nodes > NODES_MAX || self.text_bytes > TEXT_BYTES_MAX {
            return Err(self
                .fault(
                    span,
                    "flow.too_large",
                    "the file is too large once its aliases are expanded",
                )
                .help(format!(
                    "at most {NODES_MAX} values and {} MiB of text are read",
                    TEXT_BYTES_MAX >> 20
                )));
        }
        Ok(())
    }

    fn fault(&self, span: &Span, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, range(span), code, message)
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let at = error
            .marker()
            .byte_offset()
            .unwrap_or(0)
            .min(self.source.text.len());
        let line = self.source.line_around(at);
        let indent = line.len() - line.trim_start().len();
        let (message, help) = explain(error.kind(), line, line[..indent].contains('\t'));
        let message = message.map_or_else(
            || format!("this is not YAML: {}", error.kind()),
            str::to_owned,
        );
        Diagnostic::new(self.source, at..at + 1, "flow.yaml", message).help(help)
    }
}

/// Our words for what people get wrong most often.
fn explain(kind: &ErrorKind, line: &str, tab_indent: bool) -> (Option<&'static str>, &'static str) {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart => (Some("a tab cannot indent YAML"), "indent with spaces"),
        _ if tab_indent => (Some("a tab cannot indent YAML"), "indent with spaces"),
        _ if line.contains("${{") && !line.contains("\"${{") && !line.contains("'${{") => {
            (None, "put quotes around expressions: \"${{ … }}\"")
        }
        E::UnclosedQuotedScalar => (
            Some("a quote is never closed"),
            "close it with the same quote",
        ),
        E::UnclosedFlowCollection { .. }
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofImplicitFlowMapping => (
            Some("a bracket is never closed"),
            "close every `[` with `]` and every `{` with `}`",
        ),
        E::UnknownAnchor => (
            Some("this alias repeats something that has no name"),
            "name the part with `&name` before repeating it with `*name`; put quotes around a text that begins with `*`",
        ),
        E::RecursionLimitExceeded => (
            Some("the file nests too deep"),
            "no flow needs this; is a bracket too much?",
        ),
        E::UnexpectedCharacter { .. } => (
            None,
            "put quotes around a text that begins with a sign such as `@`, `%` or a backtick",
        ),
        E::UnknownQuotedScalarEscape => (
            None,
            "in double quotes, write `\\\\` for a backslash, or use single quotes",
        ),
        _ if line.matches(": ").count() > 1 => (
            None,
            "put quotes around a value that contains `: `, or write it below `|`",
        ),
        _ => (
            None,
            "check the indentation and the colons of this line and the one before",
        ),
    }
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}
