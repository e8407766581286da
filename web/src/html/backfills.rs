//! The pages of backfills.

use super::{Choice, Fact, Filter, Frame, Html, Notice};
use askama::Template;

#[derive(Template)]
#[template(path = "backfills.html", blocks = ["live"])]
pub(crate) struct BackfillsPage {
    pub(crate) frame: Frame,
    pub(crate) backfills: Vec<BackfillLine>,
    pub(crate) next: Option<String>,
}

pub(crate) struct BackfillLine {
    pub(crate) id: u64,
    pub(crate) href: String,
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) state: Html,
    pub(crate) span: Html,
    pub(crate) mode: String,
    pub(crate) bar: Html,
    /// `12 of 40`.
    pub(crate) done: String,
    pub(crate) created: Html,
}

/// One backfill: how far it is, and what can be done with it.
#[derive(Template)]
#[template(path = "backfill.html", blocks = ["live"])]
pub(crate) struct BackfillPage {
    pub(crate) frame: Frame,
    pub(crate) notice: Option<Notice>,
    pub(crate) id: u64,
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) state: Html,
    pub(crate) can_pause: bool,
    pub(crate) can_resume: bool,
    pub(crate) can_cancel: bool,
    pub(crate) facts: Vec<Fact>,
    pub(crate) bar: Html,
    pub(crate) counts: Vec<Html>,
    /// Why it ended as it did.
    pub(crate) reason: Option<String>,
    pub(crate) failed: Vec<ItemLine>,
    pub(crate) running: Vec<ItemLine>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) items: Vec<ItemLine>,
    pub(crate) next: Option<String>,
}

pub(crate) struct ItemLine {
    pub(crate) number: u32,
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) interval: Html,
    pub(crate) state: Html,
    pub(crate) run: Html,
    pub(crate) why: Html,
}

/// The form of a new backfill, with its plan once one was asked for.
#[derive(Template)]
#[template(path = "plan.html")]
pub(crate) struct PlanPage {
    pub(crate) frame: Frame,
    pub(crate) notice: Option<Notice>,
    pub(crate) flows: Vec<Choice>,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) modes: Vec<Choice>,
    pub(crate) downstream: bool,
    pub(crate) parallel: u32,
    pub(crate) plan: Option<PlanPanel>,
    /// An order that is sent twice makes one backfill.
    pub(crate) form_key: String,
}

pub(crate) struct PlanPanel {
    pub(crate) flow: String,
    pub(crate) told: String,
    pub(crate) mode: &'static str,
    pub(crate) conflicts: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) runs: usize,
    /// One for each interval, the first ones.
    pub(crate) intervals: Vec<PlanInterval>,
    /// How many intervals are not shown.
    pub(crate) more: usize,
    pub(crate) token: String,
    /// It may be applied.
    pub(crate) ready: bool,
}

pub(crate) struct PlanInterval {
    pub(crate) told: Html,
    pub(crate) items: Vec<PlanLine>,
}

pub(crate) struct PlanLine {
    /// How far below the first flow it stands.
    pub(crate) depth: usize,
    pub(crate) flow: String,
    pub(crate) verdict: Html,
    pub(crate) there: Vec<Html>,
}
