//! Why a flow did or did not run at some moment: the facts come from the store, the words from the core.

use super::flows::explanation;
use crate::problem::Outcome;
use crate::state::App;
use dalsegno_engine::Role;
use dalsegno_scheduler::row::JournalEntry;
use dalsegno_scheduler::{
    Explanation, FlowName, NEAR, PastFacts, PastOutage, Timestamp, explain_at,
};
use dalsegno_store::{EventFilter, JournalFilter, OutageReason};
use serde_json::{Value, json};

/// How many occurrences on each side of the moment, and events about it, are looked at.
const OCCURRENCES: usize = 3;
const EVENTS: usize = 50;

/// How many of the flow's journal entries are read at once, and how often.
const ENTRIES: usize = 5_000;
const PAGES: usize = 40;

/// Why this flow did or did not run at that moment.
pub(super) async fn at(app: &App, flow: &FlowName, at: Timestamp) -> Outcome<Vec<Value>> {
    let whys = explained(app, flow, at).await?;
    Ok(whys.iter().map(explanation).collect())
}

/// The same for pages.
pub(crate) async fn explained(
    app: &App,
    flow: &FlowName,
    at: Timestamp,
) -> Outcome<Vec<Explanation>> {
    let now = app.engine().now();
    let facts = facts(app, flow, at).await?;
    let mut whys = explain_at(flow.as_str(), at, now, &facts);
    // What still waits knows more of itself than its row.
    let view = app.engine().view();
    if at > now {
        let expected = view.why_flow(flow.as_str(), now).unwrap_or_default();
        whys.extend(expected.into_iter().filter(|it| it.code != "only_people"));
    }
    Ok(whys)
}

async fn facts(app: &App, flow: &FlowName, at: Timestamp) -> Outcome<PastFacts> {
    let store = app.engine().store();
    let occurrences = store.occurrences_near(flow, at, OCCURRENCES).await?;
    let outages = store.outages(at - NEAR).await?.into_iter();
    let outages = outages.map(|it| PastOutage {
        from: it.from,
        to: it.to,
        holder: it.holder,
        stopped: it.reason == OutageReason::Stopped,
    });
    let filter = EventFilter {
        since: Some(at - NEAR),
        until: Some(at + NEAR),
        flow: Some(flow.clone()),
        ..EventFilter::default()
    };
    let mut matches = Vec::new();
    for event in store.events(&filter, None, EVENTS).await?.items {
        let of_event = store.matches(event.seq).await?.into_iter();
        let ours = of_event.filter(|it| it.flow == *flow);
        matches.extend(ours.map(|it| (event.clone(), it)));
    }
    Ok(PastFacts {
        occurrences,
        outages: outages.collect(),
        journal: journal(app, flow, at).await?,
        matches,
    })
}

/// The flow's own entries up to the moment, and the first after it.
async fn journal(app: &App, flow: &FlowName, at: Timestamp) -> Outcome<Vec<JournalEntry>> {
    let filter = JournalFilter::Flow(flow.clone());
    let (mut all, mut after): (Vec<JournalEntry>, u64) = (Vec::new(), 0);
    for _ in 0..PAGES {
        let page = app
            .engine()
            .store()
            .journal(&filter, after, ENTRIES)
            .await?;
        let is_last = page.len() < ENTRIES || page.last().is_some_and(|it| it.at > at);
        after = page.last().map_or(after, |it| it.seq);
        all.extend(page.into_iter().filter(|it| it.kind.starts_with("flow.")));
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// What keeps this instance from deciding anything, if something does.
pub(super) fn not_deciding(app: &App) -> Option<Value> {
    let (code, text, cure) = match app.engine().role() {
        Role::Leader => return None,
        Role::Starting => (
            "starting",
            "the daemon is still reading what is there".to_owned(),
            "wait a moment",
        ),
        Role::Follower { leader } => (
            "lease_elsewhere",
            format!("instance {leader} decides; this one shows what it last knew"),
            "ask that instance",
        ),
        Role::Broken { message } => (
            "storage",
            format!("nothing is decided: {message}"),
            "`dalsegno doctor` looks for the cause",
        ),
        Role::Stopped => (
            "stopped",
            "the engine has stopped".to_owned(),
            "start the daemon again; nothing is lost",
        ),
    };
    Some(json!({
        "subject": "daemon", "code": code, "text": text, "reason": null, "until": null, "cure": cure,
    }))
}
