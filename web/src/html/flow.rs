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
    pub(crate) whys: Vec<Why>,
    pub(crate) graph: Option<Html>,
    pub(crate) graph_note: String,
    pub(crate) schedules: Vec<ScheduleLine>,
    pub(crate) triggers: Vec<TriggerLine>,
    pub(crate) next: Vec<NextLine>,
    pub(crate) occurrences: Vec<OccurrenceLine>,
    pub(crate) occurrences_next: Option<String>,
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
    /// Half-matched sets: what arrived, what is missing.
    pub(crate) sets: Vec<Html>,
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
