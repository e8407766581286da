//! What is wrong with a flow file: where, what was expected, and the cure.

use crate::source::Source;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Lines longer than this are no help as an excerpt, and slow to lay out.
const EXCERPT_LINE_MAX: usize = 600;

/// Whether a file with this finding can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The flow works, but probably not as meant.
    Warning,
    /// The flow is refused.
    Error,
}

/// One finding about a flow file.
///
/// Serialized as `file, line, column, severity, code, message, help`. Codes are stable, and
/// `docs/flow-files.md` lists them.
#[derive(Clone, Serialize)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub severity: Severity,
    /// What kind of finding it is, such as `flow.unknown_key`.
    pub code: &'static str,
    pub message: String,
    /// The cure.
    pub help: Option<String>,
    #[serde(skip)]
    labels: Vec<(Range<usize>, String)>,
    #[serde(skip)]
    source: Arc<Source>,
}

impl Diagnostic {
    pub(crate) fn new(
        source: &Arc<Source>,
        at: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let at = source.first_line(at);
        let (line, column) = source.position(at.start);
        Self {
            file: source.name.clone(),
            line,
            column,
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            labels: vec![(at, String::new())],
            source: source.clone(),
        }
    }

    /// About a file as a whole: no excerpt.
    pub(crate) fn of_file(
        name: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let mut diagnostic = Self::new(&Source::new(name, ""), 0..0, code, message);
        diagnostic.labels.clear();
        diagnostic.help(help)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is said under the place itself.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        if let Some((_, label)) = self.labels.first_mut() {
            *label = text.into();
        }
        self
    }

    /// Another place that has to do with it.
    pub(crate) fn also(mut self, at: Range<usize>, text: impl Into<String>) -> Self {
        let at = self.source.first_line(at);
        if self.labels.iter().all(|(other, _)| *other != at) {
            self.labels.push((at, text.into()));
        }
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(crate) fn offset(&self) -> usize {
        self.labels.first().map_or(0, |(at, _)| at.start)
    }

    /// The finding as a person reads it: an excerpt with the place marked, and the cure.
    pub fn render(&self, color: bool) -> String {
        let theme = match color {
            true => GraphicalTheme::unicode(),
            false => GraphicalTheme::unicode_nocolor(),
        };
        let mut text = String::new();
        GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_context_lines(1)
            .render_report(&mut text, self)
            .expect("a string takes all that is written to it");
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            code,
            message,
            ..
        } = self;
        write!(f, "{file}:{line}:{column} {code}: {message}")
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    // Without an excerpt the place is named here.
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(match (self.source_code(), self.labels.is_empty()) {
            (Some(_), _) => Box::new(self.code),
            (None, true) => Box::new(format!("{} in {}", self.code, self.file)),
            (None, false) => Box::new(format!(
                "{} in {}:{}:{}",
                self.code, self.file, self.line, self.column
            )),
        })
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|it| Box::new(it) as Box<_>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        let short = |at: &Range<usize>| self.source.line_around(at.start).len() <= EXCERPT_LINE_MAX;
        let shown = !self.labels.is_empty() && self.labels.iter().all(|(at, _)| short(at));
        shown.then_some(&*self.source as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().map(|(at, text)| {
            let text = (!text.is_empty()).then(|| text.clone());
            LabeledSpan::new(text, at.start, at.len())
        });
        Some(Box::new(labels))
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let found = self.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            *found.span(),
            found.line(),
            found.column(),
            found.line_count(),
        )))
    }
}

/// All findings about one file, in the order of their places.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn has_errors(&self) -> bool {
        self.iter().any(|it| it.severity == Severity::Error)
    }
    /// Every finding as [`Diagnostic::render`] shows it.
    pub fn render(&self, color: bool) -> String {
        let rendered: Vec<String> = self.iter().map(|it| it.render(color)).collect();
        rendered.join("\n")
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(mut found: Vec<Diagnostic>) -> Self {
        found.sort_by_key(Diagnostic::offset);
        Self(found)
    }
}
impl From<Diagnostic> for Diagnostics {
    fn from(found: Diagnostic) -> Self {
        Self(vec![found])
    }
}
impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
/// One line per finding: `file:line:column: message`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, it) in self.iter().enumerate() {
            let end = if place == 0 { "" } else { "\n" };
            write!(
                f,
                "{end}{}:{}:{}: {}",
                it.file, it.line, it.column, it.message
            )?;
        }
        Ok(())
    }
}
impl std::error::Error for Diagnostics {}
