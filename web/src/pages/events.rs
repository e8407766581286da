//! The page of events: what arrived, and what became of it.

use super::lines::{flow_href, starter};
use super::{Page, frame, is_fragment, shown};
use crate::html::{
    EventLine, EventPanel, EventsPage, Html, MatchLine, exact_and_told, fact, run_link, state, told,
};
use crate::input::{PAGE_DEFAULT, Query};
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use crate::text::{shorten, url_encode};
use askama::Template;
use axum::extract::State;
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{EventRow, MatchRow};
use dalsegno_scheduler::{Scheduler, Timestamp};
use dalsegno_store::{Cursor, EventFilter};
use serde_json::Value;
use std::sync::Arc;

/// How much of an event's data its line shows.
const DATA_MAX: usize = 80;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/events", events)
}

async fn events(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let cursor = query.get("cursor").map(Cursor::from);
    let filter = EventFilter::default();
    let store = app.engine().store();
    let found = store.events(&filter, cursor.as_ref(), PAGE_DEFAULT).await?;
    let here: Option<u64> = query.parse("event", "an event's number")?;
    let event = match here {
        Some(seq) => Some(panel(&app, seq, now).await?),
        None => None,
    };
    let line = |it: &Arc<EventRow>| EventLine {
        seq: it.seq,
        href: format!("/events?event={}", it.seq),
        here: here == Some(it.seq),
        own: is_own(it),
        kind: it.kind.clone(),
        source: it.source.clone(),
        subject: it.subject.clone().unwrap_or_default(),
        id: shorten(&it.id, 40),
        data: data_told(it),
        received: told(it.received_at, now),
    };
    let page = EventsPage {
        frame: frame(&app, "events", ""),
        event,
        events: found.items.iter().map(line).collect(),
        next: found
            .next
            .map(|it| format!("/events?cursor={}", url_encode(&it.0))),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

/// What an event says, on one line.
fn data_told(event: &EventRow) -> Html {
    let text = |name: &str| event.data.get(name).and_then(Value::as_str);
    if let (true, Some(run), Some(state)) = (is_own(event), text("run"), text("state")) {
        let href = format!("/runs/{}", url_encode(run));
        let link = Html::link(&href, format_args!("run {run}"));
        return link.then(&Html::text(format_args!(" {}", state.replace('_', " "))));
    }
    match &*event.data {
        Value::Null => Html::default(),
        data => Html::text(shorten(&data.to_string(), DATA_MAX)),
    }
}

/// Made by Dalsegno itself, when a run ended.
fn is_own(event: &EventRow) -> bool {
    event.kind.starts_with("dalsegno.")
}

async fn panel(app: &App, seq: u64, now: Timestamp) -> Outcome<EventPanel> {
    let view = app.engine().view();
    let store = app.engine().store();
    let unknown = || Failure::new(Code::UnknownEvent, format!("there is no event {seq}"));
    let event = store.event(seq).await?.ok_or_else(unknown)?;
    let matches = store.matches(seq).await?;
    let mut facts = vec![
        fact("Source", Html::text(&event.source)),
        fact("Id", Html::text(&event.id)),
        fact("Time", exact_and_told(event.time, now)),
        fact("Received", exact_and_told(event.received_at, now)),
    ];
    if let Some(subject) = &event.subject {
        facts.push(fact("Subject", Html::text(subject)));
    }
    Ok(EventPanel {
        seq,
        kind: event.kind.clone(),
        close: "/events".into(),
        facts,
        matches: matches.iter().map(|it| match_line(&view, it)).collect(),
        data: serde_json::to_string_pretty(&event.data).unwrap_or_default(),
    })
}

fn match_line(view: &Scheduler, it: &MatchRow) -> MatchLine {
    MatchLine {
        flow: it.flow.to_string(),
        flow_href: flow_href(&it.flow),
        trigger: starter(view, &it.flow, &it.trigger),
        outcome: state(it.outcome.as_str()),
        why: match (it.run, &it.reason) {
            (Some(run), _) => run_link(run),
            (None, Some(reason)) => Html::text(reason),
            (None, None) => Html::default(),
        },
    }
}
