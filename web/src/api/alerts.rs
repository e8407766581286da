//! Alerts, the channels that they go to, and their deliveries.

use crate::alerts::{ChannelView, Channels, TestView, reason};
use crate::input::Query;
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use dalsegno_engine::Code;
use dalsegno_scheduler::FlowName;
use dalsegno_scheduler::alert::{AlertKind, AlertRow};
use dalsegno_store::{
    AlertFilter, AttemptLog, ChannelStop, Cursor, DeliveryFilter, DeliveryRow, DeliveryState, Store,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/alerts", alerts)
        .get("/api/v1/channels", channels)
        .post("/api/v1/channels/{name}/test", test)
        .post("/api/v1/channels/{name}/enable", enable)
        .get("/api/v1/deliveries", deliveries)
        .get("/api/v1/deliveries/{id}", delivery)
        .post("/api/v1/deliveries/{id}/replay", replay)
}

async fn alerts(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["flow", "kind", "key", "limit", "cursor"])?;
    let filter = AlertFilter {
        flow: query.get("flow").map(FlowName::new),
        kinds: query.words("kind", AlertKind::ALL, |it| it.as_str())?,
        key: query.get("key").map(str::to_owned),
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store.alerts_page(&filter, cursor.as_ref(), query.limit()?);
    let page = page.await?;
    let items = page.items.iter().map(alert).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

async fn channels(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let all = match &app.web.channels {
        Some(channels) => channels.channels().await?,
        None => Vec::new(),
    };
    let counts = app.engine().store().delivery_counts().await?;
    let count = |name: &str, pending: bool| -> u64 {
        let of = counts.iter().filter(|it| it.channel == name);
        of.filter(|it| it.state.is_pending() == pending)
            .map(|it| it.count)
            .sum()
    };
    let items = all.iter().map(|it| {
        let mut value = channel(it);
        value["pending"] = count(&it.name, true).into();
        value["dead"] = count(&it.name, false).into();
        value
    });
    Ok(axum::Json(json::list(items.collect(), None)))
}

async fn test(State(app): State<Arc<App>>, Path(name): Path<String>) -> Outcome<axum::Json<Value>> {
    let TestView {
        id,
        delivered,
        status,
        message,
        took_us,
    } = of(&app)?.test(name).await?;
    Ok(axum::Json(json!({
        "id": id, "delivered": delivered, "status": status, "message": message, "took_us": took_us,
    })))
}

async fn enable(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Outcome<axum::Json<Value>> {
    let was_stopped = of(&app)?.enable(name).await?;
    Ok(axum::Json(json!({ "was_stopped": was_stopped })))
}

async fn deliveries(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["channel", "alert", "state", "limit", "cursor"])?;
    let filter = DeliveryFilter {
        channel: query.get("channel").map(str::to_owned),
        alert: query.parse("alert", "an alert's number")?,
        state: query.word("state", DeliveryState::ALL, |it| it.as_str())?,
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store.deliveries(&filter, cursor.as_ref(), query.limit()?);
    let page = page.await?;
    let stops = store.channel_stops().await?;
    let items = page.items.iter().map(|it| shown(it, &stops)).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

async fn delivery(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    one(&**app.engine().store(), &id).await.map(axum::Json)
}

async fn replay(State(app): State<Arc<App>>, Path(id): Path<String>) -> Outcome<axum::Json<Value>> {
    of(&app)?.replay(id.clone()).await?;
    one(&**app.engine().store(), &id).await.map(axum::Json)
}

/// A delivery with its attempts.
async fn one(store: &dyn Store, id: &str) -> Outcome<Value> {
    let row = store.delivery(id).await?.ok_or_else(|| {
        let detail = format!("there is no delivery `{id}`");
        Failure::new(Code::UnknownDelivery, detail)
    })?;
    let attempts = store.delivery_attempts(id).await?;
    let mut value = shown(&row, &store.channel_stops().await?);
    value["alerts"] = serde_json::from_str(&row.alerts).unwrap_or_default();
    for alert in value["alerts"].as_array_mut().into_iter().flatten() {
        if let Some(at) = alert["at"].as_i64() {
            alert["at"] = dalsegno_scheduler::Timestamp(at).to_string().into();
        }
    }
    value["log"] = attempts.iter().map(attempt).collect();
    Ok(value)
}

pub(crate) fn of(app: &App) -> Outcome<Arc<dyn Channels>> {
    app.web.channels.clone().ok_or_else(|| {
        let detail = "no channel is configured: dalsegno.toml has no [channels]";
        Failure::new(Code::UnknownChannel, detail)
    })
}

fn alert(it: &AlertRow) -> Value {
    json!({
        "id": it.id.0, "at": it.at.to_string(), "kind": it.kind.as_str(),
        "flow": it.flow.as_ref().map(|it| it.as_str()), "owner": it.owner,
        "run": it.run.map(|it| it.to_string()), "step": it.step.as_ref().map(|it| it.as_str()),
        "key": it.key, "is_recovery": it.is_recovery, "summary": it.summary, "data": it.data,
    })
}

fn channel(it: &ChannelView) -> Value {
    json!({
        "name": it.name, "type": it.kind, "target": it.target, "breaker": it.breaker,
        "failures": it.failures, "retry_at": it.retry_at.map(|it| it.to_string()),
        "stopped_at": it.stopped.as_ref().map(|it| it.0.to_string()),
        "stopped_reason": it.stopped.as_ref().map(|it| &it.1),
        "delivered_at": it.delivered_at.map(|it| it.to_string()),
        "failed_at": it.failed_at.map(|it| it.to_string()), "last_error": it.last_error,
    })
}

fn shown(it: &DeliveryRow, stops: &[ChannelStop]) -> Value {
    let maybe = |text: &str| Some(text).filter(|it| !it.is_empty()).map(str::to_owned);
    json!({
        "id": it.id, "alert": it.alert, "channel": it.channel, "kind": it.kind, "flow": maybe(&it.flow),
        "key": it.matter, "summary": it.summary, "is_recovery": it.is_recovery, "state": it.state.as_str(),
        "due_at": it.state.is_pending().then(|| it.due_at.to_string()), "attempts": it.attempts,
        "told_with": maybe(&it.told_with), "reason": maybe(&reason(it, stops)),
        "created_at": it.created_at.to_string(), "updated_at": it.updated_at.to_string(),
    })
}

fn attempt(it: &AttemptLog) -> Value {
    json!({
        "number": it.number, "at": it.at.to_string(), "took_us": it.took.0, "status": it.status, "message": it.message,
    })
}
