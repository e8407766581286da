//! Promises about time: what counts now, and how they were kept.

use super::{Filter, Frame, Html};
use askama::Template;

/// The board of promises.
#[derive(Template)]
#[template(path = "slas.html", blocks = ["live"])]
pub(crate) struct SlasPage {
    pub(crate) frame: Frame,
    pub(crate) filters: Vec<Filter>,
    pub(crate) open: Vec<PromiseLine>,
    /// How many more count than are shown.
    pub(crate) more: usize,
    /// The weeks' first days, oldest first.
    pub(crate) weeks: Vec<String>,
    pub(crate) kept: Vec<KeptLine>,
    pub(crate) missed: Vec<MissedLine>,
    pub(crate) silences: Vec<SilenceLine>,
}

/// A period of a promise that counts.
pub(crate) struct PromiseLine {
    pub(crate) flow: String,
    pub(crate) promise: String,
    pub(crate) period: String,
    pub(crate) what: String,
    pub(crate) run: Option<Html>,
    pub(crate) state: Html,
    pub(crate) due: Html,
    pub(crate) outlook: Option<Html>,
    /// `12 %`.
    pub(crate) chance: String,
    pub(crate) because: Option<String>,
    /// Who has seen it, and what they say.
    pub(crate) seen: Option<String>,
    pub(crate) silenced: Option<Html>,
    pub(crate) may_acknowledge: bool,
}

/// How one promise was kept, week by week.
pub(crate) struct KeptLine {
    pub(crate) flow: String,
    pub(crate) promise: String,
    pub(crate) cells: Vec<KeptCell>,
    pub(crate) all: KeptCell,
}

pub(crate) struct KeptCell {
    /// `100 %`; empty when nothing was due.
    pub(crate) text: String,
    pub(crate) title: String,
    /// `ok`, `warn`, `bad` or empty.
    pub(crate) sign: &'static str,
}

pub(crate) struct MissedLine {
    pub(crate) flow: String,
    pub(crate) what: String,
    pub(crate) run: Option<Html>,
    pub(crate) due: Html,
    /// `met 12 min late`.
    pub(crate) late: Html,
    pub(crate) because: Option<String>,
}

pub(crate) struct SilenceLine {
    pub(crate) of: String,
    pub(crate) until: Html,
    pub(crate) by: String,
    pub(crate) note: String,
}
