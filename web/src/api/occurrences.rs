//! The ledger: what ought to have run, what came of it, and whether anything is missing.

use super::flows::upcoming;
use crate::input::Query;
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{OccurrenceState, RunState};
use dalsegno_scheduler::{FlowName, RunId, Span, Timestamp, TriggerName};
use dalsegno_store::{Cursor, OccurrenceFilter, Page, RunFilter};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/flows/{name}/occurrences", of_flow)
        .get("/api/v1/flows/{name}/completeness", completeness)
        .get("/api/v1/occurrences", of_all)
        .get("/api/v1/next", next)
}

async fn of_flow(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[
        "since", "until", "state", "trigger", "from", "to", "limit", "cursor",
    ])?;
    read::flow(&app.engine().view(), &name)?;
    let filter = filter(&query)?;
    let cursor = query.get("cursor").map(Cursor::from);
    let limit = query.limit()?;
    let store = app.engine().store();
    let flow = FlowName::new(&name);
    let page = store
        .occurrences(&flow, &filter, cursor.as_ref(), limit)
        .await?;
    let items = page.items.iter().map(json::occurrence).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

/// Occurrences of all flows in a span of time, latest due first.
async fn of_all(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["since", "until", "state", "trigger", "from", "to", "limit"])?;
    let limit = query.limit()?;
    let filter = filter(&query)?;
    let names: Vec<FlowName> = app
        .engine()
        .view()
        .flows()
        .map(|it| it.row.name.clone())
        .collect();
    let mut found = Vec::new();
    for name in names {
        let page = app
            .engine()
            .store()
            .occurrences(&name, &filter, None, limit)
            .await?;
        found.extend(page.items);
    }
    found.sort_by(|a, b| (b.due_at, &b.flow, &b.key).cmp(&(a.due_at, &a.flow, &a.key)));
    found.truncate(limit);
    Ok(axum::Json(json::list(
        found.iter().map(json::occurrence).collect(),
        None,
    )))
}

/// `from` and `to` are what `since` and `until` were called before.
fn filter(query: &Query) -> Outcome<OccurrenceFilter> {
    let one_of = |name: &'static str, before: &'static str| match query.get(name) {
        Some(_) if query.get(before).is_some() => {
            let detail = format!(
                "query parameters `{name}` and `{before}` say the same; leave `{before}` out"
            );
            Err(Failure::new(Code::BadRequest, detail))
        }
        Some(_) => query.time(name),
        None => query.time(before),
    };
    Ok(OccurrenceFilter {
        from: one_of("since", "from")?,
        to: one_of("until", "to")?,
        states: query.words("state", OccurrenceState::ALL, |it| it.as_str())?,
        trigger: query.get("trigger").map(TriggerName::new),
    })
}

/// What runs next, over all flows that are on.
async fn next(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["limit"])?;
    let limit = query.limit()?;
    let view = app.engine().view();
    let items = upcoming(&view).take(limit).map(json::occurrence).collect();
    Ok(axum::Json(json::list(items, None)))
}

/// A week.
const COMPLETENESS_DAYS: i64 = 7;

async fn completeness(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&["since", "until"])?;
    let (view, now) = (app.engine().view(), app.engine().now());
    let (row, _) = read::flow(&view, &name)?;
    let until = query.time("until")?.unwrap_or(now);
    let week = Span::from_secs(COMPLETENESS_DAYS * 86_400);
    let since = query.time("since")?.unwrap_or(until - week);
    query.in_order(since, until)?;
    let counts = Counts::of(&app, &row.name, since, until).await?;
    let overdue = match until > now {
        true => Counts::of(&app, &row.name, since, now.max(since)).await?,
        false => counts.clone(),
    };
    let succeeded = succeeded(&app, &row.name, since, until).await?;
    let alarms = view.without_future(now).into_iter();
    let alarms: Vec<Value> = alarms
        .filter(|(flow, ..)| *flow == row.name)
        .map(|(_, trigger, reason)| json!({"trigger": trigger, "reason": json::row(&reason)}))
        .collect();
    let by_trigger: Vec<Value> = counts
        .0
        .iter()
        .map(|(trigger, states)| {
            let succeeded = succeeded
                .as_ref()
                .map(|it| it.get(trigger).copied().unwrap_or(0));
            let mut value = told(states);
            value["trigger"] = trigger.to_string().into();
            value["succeeded"] = succeeded.into();
            value
        })
        .collect();
    let mut value = told(&counts.sum());
    value["flow"] = row.name.to_string().into();
    value["since"] = since.to_string().into();
    value["until"] = until.to_string().into();
    value["succeeded"] = succeeded.map(|it| it.values().sum::<u64>()).into();
    value["complete"] = overdue.is_complete().into();
    value["by_trigger"] = by_trigger.into();
    value["alarms"] = alarms.into();
    Ok(axum::Json(value))
}

type States = BTreeMap<OccurrenceState, u64>;

/// How many occurrences of each trigger are in each state.
#[derive(Clone, Default)]
struct Counts(BTreeMap<TriggerName, States>);

impl Counts {
    async fn of(app: &App, flow: &FlowName, since: Timestamp, until: Timestamp) -> Outcome<Self> {
        let store = app.engine().store();
        let mut counts = Self::default();
        for it in store.occurrence_counts(flow, since, until).await? {
            let states = counts.0.entry(it.trigger).or_default();
            states.insert(it.state, it.occurrences);
        }
        Ok(counts)
    }

    fn sum(&self) -> States {
        let mut all = States::new();
        for (state, count) in self.0.values().flatten() {
            *all.entry(*state).or_default() += count;
        }
        all
    }

    /// All is decided, and nothing was missed.
    fn is_complete(&self) -> bool {
        let all = self.sum();
        [OccurrenceState::Expected, OccurrenceState::Missed]
            .iter()
            .all(|it| all.get(it).is_none_or(|count| *count == 0))
    }
}

fn told(states: &States) -> Value {
    let mut value = json!({});
    for state in OccurrenceState::ALL {
        value[state.as_str()] = states.get(state).copied().unwrap_or(0).into();
    }
    value
}

/// The most occurrences whose runs are looked at to tell how many succeeded, and the most runs among which they are
/// looked for.
const RAN_MAX: usize = 10_000;
const PAGE: usize = 1_000;

/// How many of the runs that occurrences started have succeeded, by trigger; `None` when there are too many to look.
async fn succeeded(
    app: &App,
    flow: &FlowName,
    since: Timestamp,
    until: Timestamp,
) -> Outcome<Option<BTreeMap<TriggerName, u64>>> {
    let store = app.engine().store();
    let filter = OccurrenceFilter {
        from: Some(since),
        to: Some(until),
        states: vec![OccurrenceState::Ran],
        trigger: None,
    };
    let mut ran: BTreeMap<RunId, TriggerName> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let Page { items, next } = store
            .occurrences(flow, &filter, cursor.as_ref(), PAGE)
            .await?;
        let started = items.into_iter();
        ran.extend(started.filter_map(|it| Some((it.run?, it.trigger))));
        match next {
            None => break,
            Some(_) if ran.len() >= RAN_MAX => return Ok(None),
            next => cursor = next,
        }
    }
    let mut found = BTreeMap::new();
    let Some(first) = ran.keys().next().copied() else {
        return Ok(Some(found));
    };
    let filter = RunFilter {
        flow: Some(flow.clone()),
        states: vec![RunState::Succeeded],
        ..RunFilter::default()
    };
    let (mut cursor, mut read) = (None, 0);
    loop {
        let Page { items, next } = store.runs(&filter, cursor.as_ref(), PAGE).await?;
        read += items.len();
        for trigger in items.iter().filter_map(|it| ran.get(&it.id)) {
            *found.entry(trigger.clone()).or_default() += 1;
        }
        let is_past = items.last().is_none_or(|it| it.id <= first);
        match next {
            None => break,
            Some(_) if is_past => break,
            Some(_) if read >= 2 * RAN_MAX => return Ok(None),
            next => cursor = next,
        }
    }
    Ok(Some(found))
}
