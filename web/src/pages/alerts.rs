//! The page of alerts: channels, rules, deliveries with the log of their attempts.

use super::forms::see;
use super::lines::flow_href;
use super::{Page, frame, is_fragment, shown};
use crate::alerts::{AlertRuleView, ChannelView, reason};
use crate::api::alerts::of;
use crate::html::{
    AlertsPage, ChannelLine, DeliveryLine, Filter, Html, RuleLine, SendingLine, TestedPage, exact,
    signed, told,
};
use crate::input::Query;
use crate::problem::Outcome;
use crate::routes::Routes;
use crate::state::App;
use crate::text::{escape, url_encode};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use dalsegno_scheduler::alert::{AlertGroup, AlertRuleSpec};
use dalsegno_scheduler::{FlowName, Span, Timestamp};
use dalsegno_store::{
    AttemptLog, ChannelStop, Cursor, DeliveryCount, DeliveryFilter, DeliveryRow, DeliveryState,
};
use std::sync::Arc;

/// How many deliveries one page shows.
const DELIVERIES: usize = 25;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/alerts", alerts)
        .post("/alerts/channels/{name}/test", test)
        .post("/alerts/channels/{name}/enable", enable)
        .post("/alerts/deliveries/{id}/replay", replay)
}

async fn alerts(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let store = app.engine().store();
    let state = query.word("state", DeliveryState::ALL, DeliveryState::as_str)?;
    let filter = DeliveryFilter {
        state,
        ..DeliveryFilter::default()
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let found = store
        .deliveries(&filter, cursor.as_ref(), DELIVERIES)
        .await?;
    let stops = store.channel_stops().await?;
    let mut deliveries = Vec::with_capacity(found.items.len());
    for row in &found.items {
        let log = match row.attempts {
            0 => Vec::new(),
            _ => store.delivery_attempts(&row.id).await?,
        };
        deliveries.push(delivery_line(row, &log, &stops, now));
    }
    let counts = store.delivery_counts().await?;
    let channels = match &app.web.channels {
        Some(it) => it.channels().await?,
        None => Vec::new(),
    };
    let here = |state: Option<DeliveryState>| match state {
        None => "/alerts".to_owned(),
        Some(state) => format!("/alerts?state={}", state.as_str()),
    };
    let tab = |one: Option<DeliveryState>| Filter {
        label: one.map_or("all", word).to_owned(),
        href: here(one),
        here: one == state,
    };
    let states = DeliveryState::ALL.iter().copied().map(Some);
    let page = AlertsPage {
        frame: frame(&app, "alerts", ""),
        channels: channels
            .iter()
            .map(|it| channel_line(it, &counts, now))
            .collect(),
        rules: rules(&app),
        filters: [None].into_iter().chain(states).map(tab).collect(),
        deliveries,
        next: found.next.map(|it| {
            let joint = if state.is_some() { '&' } else { '?' };
            format!("{}{joint}cursor={}", here(state), url_encode(&it.0))
        }),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

async fn test(State(app): State<Arc<App>>, Path(name): Path<String>) -> Page {
    let tested = of(&app)?.test(name.clone()).await?;
    let page = TestedPage {
        frame: frame(&app, "alerts", ""),
        channel: name,
        state: match tested.delivered {
            true => signed("succeeded", "Delivered"),
            false => signed("failed", "Not delivered"),
        },
        message: tested.message,
        id: tested.id,
        took: took(Span(tested.took_us)),
        delivered: tested.delivered,
    };
    shown(page.render())
}

async fn enable(State(app): State<Arc<App>>, Path(name): Path<String>) -> Outcome<Response> {
    of(&app)?.enable(name).await?;
    Ok(see("/alerts"))
}

async fn replay(State(app): State<Arc<App>>, Path(id): Path<String>) -> Outcome<Response> {
    of(&app)?.replay(id).await?;
    Ok(see("/alerts"))
}

fn channel_line(it: &ChannelView, counts: &[DeliveryCount], now: Timestamp) -> ChannelLine {
    let count = |pending: bool| -> u64 {
        let of = counts.iter().filter(|count| count.channel == it.name);
        of.filter(|count| count.state.is_pending() == pending)
            .map(|count| count.count)
            .sum()
    };
    let counts = match (count(true), count(false)) {
        (0, 0) => String::new(),
        (wait, 0) => format!("{wait} on their way"),
        (0, dead) => format!("{dead} given up"),
        (wait, dead) => format!("{wait} on their way, {dead} given up"),
    };
    let error = it.last_error.clone();
    let (state, message, cure) = match (&it.stopped, it.breaker) {
        (Some((_, reason)), _) => (
            signed("failed", "stopped"),
            Some(reason.clone()),
            Some("correct where the channel points, then enable it; what waits is sent then"),
        ),
        (None, "open") => (signed("failed", "left alone"), error, None),
        (None, "half_open") => (signed("submitting", "trying"), error, None),
        (None, _) if it.failures > 0 => (signed("caught", "failing"), error, None),
        (None, _) if it.delivered_at.is_none() => (signed("queued", "not used yet"), error, None),
        (None, _) => (signed("succeeded", "ok"), None, None),
    };
    ChannelLine {
        name: it.name.clone(),
        kind: it.kind,
        target: it.target.clone(),
        state,
        delivered: it.delivered_at.map(|at| told(at, now)),
        retry: it.retry_at.map(|at| told(at, now)),
        counts,
        is_stopped: it.stopped.is_some(),
        message,
        cure,
    }
}

/// Those of the configuration, then those of flows.
fn rules(app: &App) -> Vec<RuleLine> {
    let configured = app.web.channels.iter().flat_map(|it| it.rules());
    let mut rules: Vec<RuleLine> = configured.map(|it| rule_line(&it)).collect();
    for it in app.engine().view().flows().filter(|it| !it.row.removed) {
        let specs = it.flow.iter().flat_map(|flow| &flow.spec().alerts);
        rules.extend(specs.map(|spec| flow_rule_line(&it.row.name, spec)));
    }
    rules
}

fn rule_line(it: &AlertRuleView) -> RuleLine {
    let of = match (&it.flow, &it.owner) {
        (None, None) => "all flows".to_owned(),
        (Some(flow), None) => format!("flows {flow}"),
        (None, Some(owner)) => format!("owner {owner}"),
        (Some(flow), Some(owner)) => format!("flows {flow} of owner {owner}"),
    };
    RuleLine {
        on: on(it.on.join(", "), it.retries),
        to: it.to.join(", "),
        of: Html(escape(&of)),
        hold: hold(Span(it.hold_us)),
        group: it.group,
    }
}

fn flow_rule_line(flow: &FlowName, spec: &AlertRuleSpec) -> RuleLine {
    let kinds: Vec<&str> = spec.on.iter().map(|it| it.as_str()).collect();
    RuleLine {
        on: on(kinds.join(", "), spec.retries),
        to: spec.to.join(", "),
        of: Html(format!(
            r#"flow <a href="{}">{}</a>"#,
            flow_href(flow),
            escape(flow.as_str())
        )),
        hold: hold(spec.hold.unwrap_or(Span::ZERO)),
        group: match spec.group {
            AlertGroup::Flow => "flow",
            AlertGroup::Owner => "owner",
            AlertGroup::None => "none",
        },
    }
}

fn on(kinds: String, retries: Option<u32>) -> String {
    match retries {
        Some(retries) => format!("{kinds} (from {retries} retries on)"),
        None => kinds,
    }
}

fn hold(span: Span) -> String {
    match span {
        Span::ZERO => String::new(),
        span => span.to_string(),
    }
}

fn took(span: Span) -> String {
    match span.0 {
        micros if micros < 1_000_000 => format!("{} ms", micros / 1_000),
        micros => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

const fn word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Dead => "given up",
        other => other.as_str(),
    }
}

fn delivery_line(
    row: &DeliveryRow,
    log: &[AttemptLog],
    stops: &[ChannelStop],
    now: Timestamp,
) -> DeliveryLine {
    let sign = match row.state {
        DeliveryState::Held => "queued",
        DeliveryState::Waiting if row.tries > 0 => "backing_off",
        DeliveryState::Waiting => "waiting",
        DeliveryState::Delivered | DeliveryState::Grouped => "succeeded",
        DeliveryState::Dropped => "skipped",
        DeliveryState::Dead => "failed",
    };
    let flow = Some(row.flow.as_str()).filter(|it| !it.is_empty());
    let link = |it: &str| {
        let href = flow_href(&FlowName::new(it));
        Html(format!(r#"<a href="{href}">{}</a>"#, escape(it)))
    };
    DeliveryLine {
        id: row.id.clone(),
        summary: row.summary.clone(),
        kind: row.kind.clone(),
        flow: flow.map(link),
        channel: row.channel.clone(),
        state: signed(sign, word(row.state)),
        at: told(row.updated_at, now),
        due: row.state.is_pending().then(|| told(row.due_at, now)),
        reason: match row.told_with.as_str() {
            "" => reason(row, stops),
            other => format!("{other} tells of it too"),
        },
        log: log.iter().map(sending_line).collect(),
        may_replay: row.state.is_replayable(),
    }
}

fn sending_line(it: &AttemptLog) -> SendingLine {
    SendingLine {
        number: it.number,
        at: exact(it.at),
        took: took(it.took),
        status: it.status.map(|it| it.to_string()).unwrap_or_default(),
        message: it.message.clone(),
    }
}
