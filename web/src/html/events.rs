//! The pages of events.

use super::{Fact, Filter, Frame, Html, Notice};
use askama::Template;

#[derive(Template)]
#[template(path = "events.html", blocks = ["live"])]
pub(crate) struct EventsPage {
    pub(crate) frame: Frame,
    pub(crate) tabs: Vec<Filter>,
    pub(crate) asked: EventsAsked,
    /// Something in the filters says nothing, or nobody can look for it.
    pub(crate) hint: Option<&'static str>,
    pub(crate) events: Vec<EventLine>,
    pub(crate) next: Option<String>,
}

/// What the filters hold.
pub(crate) struct EventsAsked {
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) subject: String,
    pub(crate) since: String,
    pub(crate) flows: Vec<Choice>,
    pub(crate) outcomes: Vec<Choice>,
    /// Whether any of them narrows the list.
    pub(crate) any: bool,
}

/// One choice of several.
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) here: bool,
}

pub(crate) struct EventLine {
    pub(crate) seq: u64,
    pub(crate) href: String,
    pub(crate) kind: String,
    /// Dalsegno's own: a flow ended.
    pub(crate) own: bool,
    pub(crate) replay_of: Option<u64>,
    pub(crate) source: String,
    pub(crate) subject: String,
    /// The beginning, as JSON on one line; of Dalsegno's own which run it was and how it ended.
    pub(crate) data: Html,
    /// How many triggers did what with it, and the runs it started.
    pub(crate) became: Html,
    pub(crate) received: Html,
}

/// One event with all that is known of it.
#[derive(Template)]
#[template(path = "event.html", blocks = ["live"])]
pub(crate) struct EventPage {
    pub(crate) frame: Frame,
    pub(crate) notice: Option<Notice>,
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) facts: Vec<Fact>,
    pub(crate) matches: Vec<MatchLine>,
    pub(crate) runs: Vec<Html>,
    pub(crate) replays: Vec<Html>,
    pub(crate) data: String,
    /// Flows that may see it once more alone.
    pub(crate) flows: Vec<String>,
    /// A replay that is sent twice is done once.
    pub(crate) form_key: String,
}

pub(crate) struct MatchLine {
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) trigger: Html,
    /// What of the trigger listened.
    pub(crate) leaf: String,
    pub(crate) outcome: Html,
    pub(crate) why: Html,
    pub(crate) at: Html,
}

/// Deliveries that were no events.
#[derive(Template)]
#[template(path = "refused.html", blocks = ["live"])]
pub(crate) struct RefusedPage {
    pub(crate) frame: Frame,
    pub(crate) tabs: Vec<Filter>,
    pub(crate) refused: Vec<RefusedLine>,
    pub(crate) next: Option<String>,
}

pub(crate) struct RefusedLine {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) excerpt: String,
    pub(crate) received: Html,
}

/// Where events come from and go to.
#[derive(Template)]
#[template(path = "sources.html", blocks = ["live"])]
pub(crate) struct SourcesPage {
    pub(crate) frame: Frame,
    pub(crate) tabs: Vec<Filter>,
    pub(crate) sources: Vec<SourceLine>,
    pub(crate) services: Vec<ServiceLine>,
}

/// A service that is asked, and its circuit breaker.
pub(crate) struct ServiceLine {
    pub(crate) name: String,
    pub(crate) state: Html,
    pub(crate) by_hand: bool,
    /// It is open since then.
    pub(crate) since: Option<Html>,
    /// One call may try then.
    pub(crate) retry: Option<Html>,
    pub(crate) counts: String,
    /// Failures.
    pub(crate) in_a_row: u32,
    /// What its state means for who waits.
    pub(crate) effect: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) can_open: bool,
    pub(crate) can_close: bool,
}

pub(crate) struct SourceLine {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) state: Html,
    pub(crate) since: Html,
    pub(crate) last: Html,
    pub(crate) counts: String,
    pub(crate) message: Option<String>,
    pub(crate) cure: Option<String>,
    pub(crate) notes: Vec<String>,
}
