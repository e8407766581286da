//! The page of one event, and its form: to be seen once more.

use super::events::runs_of;
use super::forms::{BY, refused, see};
use super::lines::{flow_href, starter};
use super::{Page, frame, is_fragment, shown};
use crate::html::{
    EventPage, Html, MatchLine, Notice, exact_and_told, fact, run_link, signed, state, told,
};
use crate::input::{Form, Query};
use crate::problem::{Failure, Outcome, status};
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use crate::words;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{EventRow, MatchRow};
use dalsegno_scheduler::{Answer, FlowName, Scheduler, Timestamp};
use dalsegno_store::EventFilter;
use std::sync::Arc;

/// Replays are looked for among so many of the newest events of the same type and source.
const REPLAYS_AMONG: usize = 500;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/events/{seq}", event)
        .post("/events/{seq}/replay", replay)
}

async fn event(State(app): State<Arc<App>>, Path(seq): Path<String>, query: Query) -> Page {
    let page = build(&app, &seq, None).await?;
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

fn number(seq: &str) -> Outcome<u64> {
    let unknown = |_| Failure::new(Code::UnknownEvent, format!("there is no event {seq}"));
    seq.parse().map_err(unknown)
}

async fn build(app: &App, seq: &str, notice: Option<Notice>) -> Outcome<EventPage> {
    let now = app.engine().now();
    let view = app.engine().view();
    let store = app.engine().store();
    let seq = number(seq)?;
    let unknown = || Failure::new(Code::UnknownEvent, format!("there is no event {seq}"));
    let event = store.event(seq).await?.ok_or_else(unknown)?;
    let matches = store.matches(seq).await?;
    let mut runs = Vec::new();
    for run in runs_of(&matches) {
        let link = run_link(run);
        runs.push(match store.run(run).await? {
            Some(row) => link.then(&Html::text(" ")).then(&state(row.state.as_str())),
            None => link,
        });
    }
    // Flows that it concerned first: those are meant, most of the time.
    let mut flows: Vec<String> = matches.iter().map(|it| it.flow.to_string()).collect();
    flows.dedup();
    for it in view.flows().filter(|it| !it.row.removed) {
        let listens = it
            .flow
            .as_ref()
            .is_some_and(|it| !it.spec().triggers.is_empty());
        if listens && !flows.iter().any(|name| name == it.row.name.as_str()) {
            flows.push(it.row.name.to_string());
        }
    }
    Ok(EventPage {
        frame: frame(app, "events", ""),
        notice,
        seq,
        kind: event.kind.clone(),
        facts: facts(&event, now),
        matches: matches.iter().map(|it| line(&view, it, now)).collect(),
        runs,
        replays: replays(app, &event, now).await?,
        data: serde_json::to_string_pretty(&event.data).unwrap_or_default(),
        flows,
        form_key: uuid::Uuid::new_v4().to_string(),
    })
}

fn facts(event: &EventRow, now: Timestamp) -> Vec<crate::html::Fact> {
    let mut facts = vec![
        fact("Source", Html::text(&event.source)),
        fact("Id", Html::text(&event.id)),
    ];
    if let Some(subject) = &event.subject {
        facts.push(fact("Subject", Html::text(subject)));
    }
    facts.push(fact("Time", exact_and_told(event.time, now)));
    facts.push(fact("Received", exact_and_told(event.received_at, now)));
    if let Some(first) = event.replay_of {
        let link = Html::link(&format!("/events/{first}"), format_args!("event {first}"));
        facts.push(fact("Replay of", link));
    }
    facts
}

/// Later events that repeat this one.
async fn replays(app: &App, event: &EventRow, now: Timestamp) -> Outcome<Vec<Html>> {
    let filter = EventFilter {
        source: Some(event.source.clone()),
        kind: Some(event.kind.clone()),
        subject: event.subject.clone(),
        since: Some(event.received_at),
        ..EventFilter::default()
    };
    let store = app.engine().store();
    let found = store.events(&filter, None, REPLAYS_AMONG).await?;
    let later = found.items.iter();
    let later = later.filter(|it| it.replay_of == Some(event.seq));
    let link = |it: &Arc<EventRow>| {
        let href = format!("/events/{}", it.seq);
        let told = told(it.received_at, now);
        let link = Html::link(&href, format_args!("event {}", it.seq));
        link.then(&Html(format!(r#" <span class="soft">{told}</span>"#)))
    };
    Ok(later.map(link).collect())
}

fn line(view: &Scheduler, it: &MatchRow, now: Timestamp) -> MatchLine {
    let flow = view.flow(it.flow.as_str());
    let flow = flow.and_then(|it| it.flow.as_deref());
    let trigger = flow.and_then(|flow| {
        let mut triggers = flow.spec().triggers.iter();
        triggers.find(|spec| spec.name == it.trigger)
    });
    let leaf = trigger.and_then(|it_is| {
        let leaves = it_is.on.leaves();
        leaves.get(usize::from(it.leaf)).map(|it| words::leaf(it))
    });
    let word = match it.outcome.as_str() {
        "waiting" => signed("waiting", "waiting for others"),
        word => state(word),
    };
    let run = it.run.map(run_link).unwrap_or_default();
    let reason = it.reason.as_ref().map(Html::text).unwrap_or_default();
    let between = match (it.run, &it.reason) {
        (Some(_), Some(_)) => Html::text(" · "),
        _ => Html::default(),
    };
    MatchLine {
        flow: it.flow.to_string(),
        flow_href: flow_href(&it.flow),
        trigger: starter(view, &it.flow, &it.trigger),
        leaf: leaf.unwrap_or_default(),
        outcome: word,
        why: run.then(&between).then(&reason),
        at: told(it.updated_at, now),
    }
}

async fn replay(
    State(app): State<Arc<App>>,
    Path(seq): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let flow = form.get("flow").map(FlowName::new);
    let key = form.get("key");
    let asked = app.engine().replay(number(&seq)?, flow, key, BY.into());
    match asked.await.map_err(Failure::from) {
        Ok(Answer::Event { seq, .. }) => Ok(see(&format!("/events/{seq}"))),
        Ok(_) => Ok(see(&format!("/events/{}", url_encode(&seq)))),
        Err(Failure(problem)) => {
            let page = build(&app, &seq, Some(refused(&problem))).await?;
            Ok((status(&problem), shown(page.render())?).into_response())
        }
    }
}
