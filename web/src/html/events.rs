//! The page of events.

use super::{Fact, Frame, Html};
use askama::Template;

#[derive(Template)]
#[template(path = "events.html", blocks = ["live"])]
pub(crate) struct EventsPage {
    pub(crate) frame: Frame,
    pub(crate) event: Option<EventPanel>,
    pub(crate) events: Vec<EventLine>,
    pub(crate) next: Option<String>,
}

pub(crate) struct EventLine {
    pub(crate) seq: u64,
    pub(crate) href: String,
    pub(crate) here: bool,
    pub(crate) kind: String,
    /// Dalsegno's own: a flow ended.
    pub(crate) own: bool,
    pub(crate) source: String,
    pub(crate) subject: String,
    pub(crate) id: String,
    /// The beginning, as JSON on one line; of Dalsegno's own which run it was and how it ended.
    pub(crate) data: Html,
    pub(crate) received: Html,
}

/// One event opened.
pub(crate) struct EventPanel {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) close: String,
    pub(crate) facts: Vec<Fact>,
    pub(crate) matches: Vec<MatchLine>,
    pub(crate) data: String,
}

pub(crate) struct MatchLine {
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) trigger: Html,
    pub(crate) outcome: Html,
    pub(crate) why: Html,
}
