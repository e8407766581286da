//! The page of one flow.

use super::{Fact, Filter, Frame, Html, Notice, RunLine, Why};
use askama::Template;

#[derive(Template)]
#[template(path = "flow.html", blocks = ["live"])]
pub(crate) struct FlowPage {
    pub(crate) frame: Frame,
    pub(crate) notice: Option<Notice>,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) description: Option<String>,
    pub(crate) file: String,
    pub(crate) invalid: Option<String>,
    pub(crate) removed: bool,
    pub(crate) paused: Option<String>,
    /// Enabled schedules that will never run again, why, and what a person can do.
    pub(crate) alarms: Vec<(String, String, Option<String>)>,
    pub(crate) whys: Vec<Why>,
    /// What is known about the moment that someone asked for.
    pub(crate) at: String,
    pub(crate) whys_at: Option<Vec<Why>>,
    pub(crate) sets: Vec<SetPanel>,
    /// How many sets are not shown.
    pub(crate) sets_more: usize,
    pub(crate) graph: Option<Html>,
    pub(crate) graph_note: String,
    pub(crate) schedules: Vec<ScheduleLine>,
    pub(crate) triggers: Vec<TriggerLine>,
    pub(crate) next: Vec<NextLine>,
    pub(crate) ledger: LedgerPanel,
    pub(crate) filters: Vec<Filter>,
    pub(crate) runs: Vec<RunLine>,
    pub(crate) runs_next: Option<String>,
    pub(crate) startable: bool,
    /// A start that is sent twice starts once.
    pub(crate) form_key: String,
    pub(crate) fields: Vec<Html>,
    pub(crate) versions: Vec<VersionLine>,
    /// The active version's text, a line each.
    pub(crate) source: Html,
    pub(crate) metaflow: Option<MetaflowPanel>,
}

/// What is told of flows that are Metaflow files.
pub(crate) struct MetaflowPanel {
    pub(crate) facts: Vec<Fact>,
    /// What only running the file can tell; while there is any, only people start the flow.
    pub(crate) dynamic: Vec<DynamicLine>,
    pub(crate) progress: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) steps: Vec<StepLine>,
}

pub(crate) struct DynamicLine {
    pub(crate) line: Option<u32>,
    pub(crate) what: String,
    pub(crate) reason: String,
}

pub(crate) struct StepLine {
    pub(crate) name: String,
    /// What it is in the graph: a foreach, a join, a switch, a gang, a hook.
    pub(crate) kind: String,
    pub(crate) chips: Vec<Html>,
    pub(crate) next: String,
}

pub(crate) struct ScheduleLine {
    pub(crate) name: String,
    pub(crate) words: String,
    pub(crate) detail: String,
}

pub(crate) struct TriggerLine {
    pub(crate) text: String,
    pub(crate) detail: String,
}

/// Events that wait together: what arrived, what is missing, what will become of them.
pub(crate) struct SetPanel {
    pub(crate) trigger: Html,
    pub(crate) about: String,
    pub(crate) since: Html,
    pub(crate) arrived: Vec<ArrivedLine>,
    pub(crate) missing: Vec<String>,
    pub(crate) fires: Option<Html>,
    pub(crate) expires: Option<Html>,
    pub(crate) held: Option<String>,
}

pub(crate) struct ArrivedLine {
    pub(crate) label: String,
    pub(crate) events: Vec<Html>,
    pub(crate) more: usize,
}

/// What ought to have run: the last moments as marks, oldest first, and as lines, newest first.
pub(crate) struct LedgerPanel {
    pub(crate) marks: Vec<Html>,
    /// How many of the last days' ran; `None` when nothing was due.
    pub(crate) complete: Option<Html>,
    pub(crate) lines: Vec<OccurrenceLine>,
    pub(crate) next: Option<String>,
}

/// Before a pause ends: what each way to end it would start.
#[derive(Template)]
#[template(path = "unpause.html")]
pub(crate) struct UnpausePage {
    pub(crate) frame: Frame,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) since: Html,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
    pub(crate) choices: Vec<UnpauseChoice>,
}

pub(crate) struct UnpauseChoice {
    pub(crate) value: &'static str,
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    pub(crate) here: bool,
    pub(crate) starts: usize,
    pub(crate) runs: Vec<Html>,
    pub(crate) more: usize,
}

pub(crate) struct NextLine {
    pub(crate) when: Html,
    pub(crate) what: Html,
}

pub(crate) struct OccurrenceLine {
    pub(crate) due: Html,
    pub(crate) by: Html,
    pub(crate) state: Html,
    pub(crate) why: Html,
}

pub(crate) struct VersionLine {
    pub(crate) hash: String,
    pub(crate) created: Html,
    pub(crate) active: bool,
}
