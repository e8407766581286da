//! What is found while a flow is read: faults, and what cannot be known.

use crate::diagnostic::Diagnostic;
use crate::source::Source;
use dalsegno_scheduler::metaflow::Dynamic;
use std::ops::Range;
use std::sync::Arc;

/// A place in one of a flow's files. For a flow without readable text: its file as a whole.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    pub(super) at: Range<usize>,
}

impl Place {
    pub(super) fn new(source: &Arc<Source>, at: Range<usize>) -> Self {
        Self {
            source: Arc::clone(source),
            at,
        }
    }

    /// From 1; 0 for a file without text.
    pub(super) fn line(&self) -> u32 {
        match self.source.text.is_empty() {
            true => 0,
            false => u32::try_from(self.source.position(self.at.start).0).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn text(&self) -> &str {
        self.source.slice(self.at.clone())
    }

    pub(super) fn diagnostic(&self, code: &'static str, message: String) -> Diagnostic {
        match self.source.text.is_empty() {
            true => Diagnostic::of_file(&self.source.name, code, message, ""),
            false => Diagnostic::new(&self.source, self.at.clone(), code, message),
        }
    }
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) dynamic: Vec<Dynamic>,
    /// Files that configs are read from, as they are written.
    pub(super) config_files: Vec<String>,
}

impl Found {
    pub(super) fn error(
        &mut self,
        place: &Place,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics
            .push(place.diagnostic(code, message.into()).help(help));
    }

    /// With a second place in the same file.
    pub(super) fn error_also(
        &mut self,
        place: &Place,
        code: &'static str,
        message: impl Into<String>,
        (also, label): (&Place, &str),
        help: impl Into<String>,
    ) {
        let mut it = place.diagnostic(code, message.into()).help(help);
        if Arc::ptr_eq(&place.source, &also.source) && !place.source.text.is_empty() {
            it = it.also(also.at.clone(), label);
        }
        self.diagnostics.push(it);
    }

    pub(super) fn warning(
        &mut self,
        place: &Place,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics
            .push(place.diagnostic(code, message.into()).help(help).warning());
    }

    /// Only running the file can tell.
    pub(super) fn unknown(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        reason: impl Into<String>,
    ) {
        let it = Dynamic {
            what: what.into(),
            reason: reason.into(),
            line: place.line(),
        };
        if !self.dynamic.contains(&it) {
            self.dynamic.push(it);
        }
    }
}
