//! What a flow waits for: sets of events that are not complete, or held.

use super::lines::starter;
use crate::html::{ArrivedLine, Html, SetPanel, told};
use crate::text::shorten;
use dalsegno_scheduler::row::EventRow;
use dalsegno_scheduler::{FlowName, Scheduler, Timestamp, WaitingLeaf, WaitingSet};
use std::sync::Arc;

/// How many sets the page shows.
const SETS: usize = 20;

/// How many events of a leaf it names.
const EVENTS: usize = 5;

/// The sets, and how many there are beyond those.
pub(super) fn sets(view: &Scheduler, flow: &FlowName, now: Timestamp) -> (Vec<SetPanel>, usize) {
    let sets = view.sets(flow.as_str(), now);
    let shown = sets.iter().take(SETS);
    let shown: Vec<SetPanel> = shown.map(|it| panel(view, flow, it, now)).collect();
    let more = view.set_count(flow.as_str()).saturating_sub(shown.len());
    (shown, more)
}

fn panel(view: &Scheduler, flow: &FlowName, it: &WaitingSet, now: Timestamp) -> SetPanel {
    SetPanel {
        trigger: starter(view, flow, &it.trigger),
        about: it.join_key.clone(),
        since: told(it.since, now),
        arrived: it.arrived.iter().map(|it| arrived(it, now)).collect(),
        missing: it.missing.clone(),
        fires: it.fires_at.map(|it| told(it, now)),
        expires: it.expires_at.map(|it| told(it, now)),
        held: it.held.as_ref().map(ToString::to_string),
    }
}

fn arrived(it: &WaitingLeaf, now: Timestamp) -> ArrivedLine {
    let link = |it: &Arc<EventRow>| {
        let text = match &it.subject {
            Some(subject) => format!("event {} {}", it.seq, shorten(subject, 40)),
            None => format!("event {}", it.seq),
        };
        let link = Html::link(&format!("/events/{}", it.seq), text);
        let at = told(it.received_at, now);
        link.then(&Html(format!(r#" <span class="soft small">{at}</span>"#)))
    };
    let rest = it.events.len().saturating_sub(EVENTS) + it.more;
    ArrivedLine {
        label: it.label.clone(),
        events: it.events.iter().take(EVENTS).map(link).collect(),
        more: rest,
    }
}
