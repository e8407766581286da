//! The page of events: what arrived, what became of it, what was refused, and how the sources are doing.

use super::forms::see;
use super::lines::{choice, instant};
use super::{Page, frame, is_fragment, shown};
use crate::breakers::{BreakerView, ByHand};
use crate::html::{
    EventLine, EventsAsked, EventsPage, Filter, Html, RefusedLine, RefusedPage, ServiceLine,
    SourceLine, SourcesPage, exact_and_told, run_link, signed, state, told,
};
use crate::input::{PAGE_DEFAULT, Query};
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::{App, SourceState};
use crate::text::{shorten, url_encode};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{EventRow, MatchOutcome, MatchRow, RefusedRow};
use dalsegno_scheduler::{FlowName, RunId, Timestamp};
use dalsegno_store::{Cursor, EventFilter};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How much of an event's data its line shows.
const DATA_MAX: usize = 80;

/// How many of the runs that an event started its line names.
const RUNS_MAX: usize = 3;

/// How much of a refused delivery its line shows.
const EXCERPT_MAX: usize = 600;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/events", events)
        .get("/events/refused", refused)
        .get("/events/sources", sources)
        .post("/breakers/{name}/{verb}", set_breaker)
}

async fn events(State(app): State<Arc<App>>, query: Query) -> Outcome<Response> {
    // Addresses of one event were so before it had a page of its own.
    if let Some(seq) = query.parse::<u64>("event", "an event's number")? {
        return Ok(Redirect::permanent(&format!("/events/{seq}")).into_response());
    }
    Ok(list(&app, &query).await?.into_response())
}

async fn list(app: &App, query: &Query) -> Page {
    let now = app.engine().now();
    let view = app.engine().view();
    let flow = query.get("flow");
    if let Some(name) = flow {
        read::flow(&view, name)?;
    }
    let outcome = query.word("outcome", MatchOutcome::ALL, |it| it.as_str())?;
    let (subject, subject_prefix) = match query.get("subject") {
        Some(text) => match text.strip_suffix('*') {
            Some(prefix) => (None, Some(prefix.to_owned())),
            None => (Some(text.to_owned()), None),
        },
        None => (None, None),
    };
    let filter = EventFilter {
        source: query.get("source").map(str::to_owned),
        kind: query.get("type").map(str::to_owned),
        subject,
        subject_prefix,
        since: instant(query, "since")?,
        until: None,
        flow: flow.map(FlowName::new),
        outcome: outcome.filter(|_| flow.is_some()),
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let found = store.events(&filter, cursor.as_ref(), PAGE_DEFAULT).await?;
    let mut lines = Vec::with_capacity(found.items.len());
    for event in &found.items {
        lines.push(line(event, &store.matches(event.seq).await?, now));
    }
    let flows = view.flows().map(|it| it.row.name.to_string());
    let asked = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let page = EventsPage {
        frame: frame(app, "events", ""),
        tabs: tabs(app, "/events"),
        hint: (outcome.is_some() && flow.is_none()).then_some(
            "An outcome is one flow's: choose the flow too. Until then all events are shown.",
        ),
        asked: EventsAsked {
            kind: asked("type"),
            source: asked("source"),
            subject: asked("subject"),
            since: asked("since"),
            flows: flows.map(|it| choice(&it, &it, flow)).collect(),
            outcomes: MatchOutcome::ALL
                .iter()
                .map(|it| choice(it.as_str(), it.as_str(), outcome.map(MatchOutcome::as_str)))
                .collect(),
            any: filter != EventFilter::default(),
        },
        events: lines,
        next: found.next.map(|it| older(query, &it)),
    };
    shown(match is_fragment(query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

/// The next part of the same list.
fn older(query: &Query, cursor: &Cursor) -> String {
    let names = ["type", "source", "subject", "flow", "outcome", "since"];
    let kept = names
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}&", url_encode(query.get(name)?))));
    let kept: String = kept.collect();
    format!("/events?{kept}cursor={}", url_encode(&cursor.0))
}

/// The parts of the page, with how many sources are in trouble.
fn tabs(app: &App, here: &str) -> Vec<Filter> {
    let troubles = app
        .web
        .sources
        .all()
        .iter()
        .filter(|it| it.is_trouble)
        .count();
    let sources = match troubles {
        0 => "sources".to_owned(),
        troubles => format!("sources ({troubles} in trouble)"),
    };
    let tabs = [
        ("/events", "events".to_owned()),
        ("/events/refused", "refused".to_owned()),
        ("/events/sources", sources),
    ];
    let tab = |(href, label): (&str, String)| Filter {
        label,
        href: href.to_owned(),
        here: href == here,
    };
    tabs.into_iter().map(tab).collect()
}

fn line(it: &EventRow, matches: &[MatchRow], now: Timestamp) -> EventLine {
    EventLine {
        seq: it.seq,
        href: format!("/events/{}", it.seq),
        own: is_own(it),
        replay_of: it.replay_of,
        kind: it.kind.clone(),
        source: it.source.clone(),
        subject: it.subject.clone().unwrap_or_default(),
        data: data_told(it),
        became: became(matches),
        received: told(it.received_at, now),
    }
}

/// The runs that came of an event, each once.
pub(super) fn runs_of(matches: &[MatchRow]) -> BTreeSet<RunId> {
    let fired = matches
        .iter()
        .filter(|it| it.outcome == MatchOutcome::Fired);
    fired.filter_map(|it| it.run).collect()
}

/// What became of an event, by outcome; then the runs.
fn became(matches: &[MatchRow]) -> Html {
    if matches.is_empty() {
        return Html(r#"<span class="soft small">no trigger</span>"#.into());
    }
    let mut counts: BTreeMap<MatchOutcome, usize> = BTreeMap::new();
    for it in matches {
        *counts.entry(it.outcome).or_default() += 1;
    }
    let mut html = Html::default();
    for (outcome, count) in counts {
        let word = outcome.as_str();
        let word = match count {
            1 => state(word),
            count => signed(word, &format!("{count} {word}")),
        };
        html = html.then(&word).then(&Html::text(" "));
    }
    let runs = runs_of(matches);
    for run in runs.iter().take(RUNS_MAX) {
        html = html.then(&run_link(*run)).then(&Html::text(" "));
    }
    match runs.len().checked_sub(RUNS_MAX) {
        None | Some(0) => html,
        Some(more) => html.then(&Html::text(format_args!("and {more} more"))),
    }
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

async fn refused(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let found = store.refused(cursor.as_ref(), PAGE_DEFAULT).await?;
    let line = |it: &RefusedRow| RefusedLine {
        source: it.source.clone(),
        id: shorten(&it.id, 60),
        reason: it.reason.clone(),
        excerpt: shorten(&it.excerpt, EXCERPT_MAX),
        received: told(it.received_at, now),
    };
    let page = RefusedPage {
        frame: frame(&app, "events", ""),
        tabs: tabs(&app, "/events/refused"),
        refused: found.items.iter().map(line).collect(),
        next: found
            .next
            .map(|it| format!("/events/refused?cursor={}", url_encode(&it.0))),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

async fn sources(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let mut all = app.web.sources.all();
    // What needs a look comes first; the order is the daemon's otherwise.
    all.sort_by_key(|it| !it.is_trouble);
    let page = SourcesPage {
        frame: frame(&app, "events", ""),
        tabs: tabs(&app, "/events/sources"),
        sources: all.iter().map(|it| source_line(it, now)).collect(),
        services: services(&app, now),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

/// Services, and those of their calls that are worth a line of their own.
fn services(app: &App, now: Timestamp) -> Vec<ServiceLine> {
    let all = app.web.breakers.as_ref().map(|it| it.all());
    let mut all = all.unwrap_or_default();
    all.retain(|it| !it.name.contains(':') || it.is_notable() || it.failures > 0);
    all.sort_by_key(|it| !it.is_notable());
    all.iter().map(|it| service_line(it, now)).collect()
}

fn service_line(it: &BreakerView, now: Timestamp) -> ServiceLine {
    let (sign, word) = match it.state {
        "closed" => ("succeeded", "closed"),
        "half_open" => ("submitting", "half open"),
        _ => ("failed", "open"),
    };
    let count = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let mut counts = count(it.calls, "call", "calls");
    if it.errors > 0 {
        counts += &format!(", {} failed", it.errors);
    }
    let effect = match (it.by_hand, it.state) {
        (Some("open"), _) => "Nothing is sent until somebody closes it or gives it back.",
        (Some(_), _) => "Everything is sent, whatever fails, until somebody gives it back.",
        (None, "open") => "Nothing is sent for now; submissions wait in their order.",
        (None, "half_open") => "One call is on its way; it decides.",
        (None, _) => "",
    };
    ServiceLine {
        name: it.name.clone(),
        state: signed(sign, word),
        by_hand: it.by_hand.is_some(),
        since: it.opened_at.map(|at| told(at, now)),
        retry: it.retry_at.map(|at| told(at, now)),
        counts,
        in_a_row: it.failures,
        effect,
        error: it.last_error.clone().filter(|_| it.failures > 0),
        can_open: it.by_hand != Some("open"),
        can_close: it.by_hand != Some("closed"),
    }
}

async fn set_breaker(
    State(app): State<Arc<App>>,
    Path((name, verb)): Path<(String, String)>,
) -> Outcome<Response> {
    let Some(to) = ByHand::parse(&verb) else {
        let detail = format!("a breaker can be told to `open`, `close` or `auto`, not to `{verb}`");
        return Err(Failure::new(Code::UnknownBreaker, detail));
    };
    crate::api::breakers::of(&app)?.set(name, to).await?;
    Ok(see("/events/sources"))
}

fn source_line(it: &SourceState, now: Timestamp) -> SourceLine {
    let sign = match (it.state, it.is_trouble) {
        ("ok", _) => "succeeded",
        ("starting", _) => "submitting",
        (_, true) => "failed",
        _ => "caught",
    };
    // Those two have fields of their own.
    let is_other = |name: &str| !matches!(name, "received" | "refused");
    let others = it
        .counts
        .iter()
        .filter(|(name, count)| **count > 0 && is_other(name));
    let others = others.map(|(name, count)| format!("{count} {}", name.replace('_', " ")));
    let counts = [
        Some(format!("{} received", it.received)),
        (it.refused > 0).then(|| format!("{} refused", it.refused)),
    ];
    let counts: Vec<String> = counts.into_iter().flatten().chain(others).collect();
    SourceLine {
        kind: it.kind.to_owned(),
        name: it.name.clone(),
        target: it.target.clone(),
        state: signed(sign, &it.state.replace('_', " ")),
        since: told(it.since, now),
        last: match it.last_event_at {
            Some(at) => exact_and_told(at, now),
            None => Html::text("none yet"),
        },
        counts: counts.join(", "),
        message: it.message.clone(),
        cure: it.cure.clone(),
        notes: it.notes.clone(),
    }
}
