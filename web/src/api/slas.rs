//! Promises about time as they stand, who has seen that they are in danger, and times in which nobody is told.

use super::flows::idempotency_key;
use crate::input::{Instant, Json, Query};
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::row::{SilenceRow, SlaRow, SlaState};
use dalsegno_scheduler::sla::Prediction;
use dalsegno_scheduler::{Answer, FlowName, Input, NewSilence, Scheduler, Span, Timestamp};
use dalsegno_store::{Cursor, SlaFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/slas", slas)
        .post(
            "/api/v1/slas/{flow}/{promise}/{period}/acknowledge",
            acknowledge,
        )
        .get("/api/v1/silences", silences)
        .post("/api/v1/silences", silence)
        .post("/api/v1/silences/{id}/end", end)
}

async fn slas(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["flow", "state", "open", "since", "until", "limit", "cursor"])?;
    let view = app.engine().view();
    if let Some(name) = query.get("flow") {
        read::flow(&view, name)?;
    }
    let filter = SlaFilter {
        flow: query.get("flow").map(FlowName::new),
        states: query.words("state", SlaState::ALL, |it| it.as_str())?,
        open: query.parse("open", "true or false")?,
        from: query.time("since")?,
        to: query.time("until")?,
    };
    if let Some((from, to)) = filter.from.zip(filter.to) {
        query.in_order(from, to)?;
    }
    let cursor = query.get("cursor").map(Cursor::from);
    let store = app.engine().store();
    let page = store.slas(&filter, cursor.as_ref(), query.limit()?).await?;
    let items = page.items.iter().map(|it| sla(&view, it)).collect();
    Ok(axum::Json(json::list(items, page.next.map(|it| it.0))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcknowledgeBody {
    note: Option<String>,
    by: Option<String>,
}

async fn acknowledge(
    State(app): State<Arc<App>>,
    Path((flow, promise, period)): Path<(String, String, String)>,
    Json(body): Json<AcknowledgeBody>,
) -> Outcome<axum::Json<Value>> {
    read::flow(&app.engine().view(), &flow)?;
    let input = Input::Acknowledge {
        flow: FlowName::new(&flow),
        promise: promise.as_str().into(),
        period: period.as_str().into(),
        by: body.by.unwrap_or_else(|| "api".into()),
        note: body.note,
    };
    app.engine().ask(input).await?;
    let view = app.engine().view();
    let is_it = |it: &&Arc<SlaRow>| {
        (it.flow.as_str(), &*it.promise, &*it.period) == (&*flow, &*promise, &*period)
    };
    // It may have come to its end since.
    let row = view.slas().find(is_it);
    Ok(axum::Json(row.map_or(Value::Null, |it| sla(&view, it))))
}

async fn silences(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&["open", "limit"])?;
    let (open, limit) = (query.parse("open", "true or false")?, query.limit()?);
    let rows = match open {
        // Those that are not over are few, and in memory.
        Some(true) => {
            let view = app.engine().view();
            let mut rows: Vec<SilenceRow> =
                view.silences().map(|it| SilenceRow::clone(it)).collect();
            rows.sort_by_key(|it| std::cmp::Reverse(it.id));
            rows.truncate(limit);
            rows
        }
        _ => app.engine().store().silences(limit).await?,
    };
    let rows = rows.iter();
    let rows = rows.filter(|it| open != Some(false) || it.ended_at.is_some());
    Ok(axum::Json(json::list(rows.map(silenced).collect(), None)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceBody {
    /// A flow's name, in which `*` stands for any text.
    flow: Option<String>,
    promise: Option<String>,
    from: Option<Instant>,
    until: Option<Instant>,
    /// Instead of `until`: how long, in seconds.
    for_s: Option<i64>,
    note: Option<String>,
    by: Option<String>,
}

/// The longest silence that may be given as a length: a year.
const FOR_S_MAX: i64 = 366 * 24 * 60 * 60;

async fn silence(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(body): Json<SilenceBody>,
) -> Outcome<Response> {
    let key = idempotency_key(&headers)?;
    let now = Timestamp::from_chrono(std::time::SystemTime::now().into());
    let from = body.from.map(|it| it.0);
    let bad = |detail: String| Failure::from(Problem::new(Code::BadRequest, detail));
    let until = match (body.until, body.for_s) {
        (Some(until), None) => until.0,
        (None, Some(seconds)) if (1..=FOR_S_MAX).contains(&seconds) => {
            from.unwrap_or(now) + Span::from_secs(seconds)
        }
        (None, Some(seconds)) => {
            let detail = format!("`for_s` is {seconds}, and 1 to {FOR_S_MAX} is expected");
            return Err(bad(detail));
        }
        _ => {
            let detail = "a silence needs its end: either `until`, an instant, or `for_s`, seconds";
            return Err(bad(detail.to_owned()));
        }
    };
    let input = Input::Silence(Box::new(NewSilence {
        flow: body.flow.filter(|it| !it.is_empty()),
        promise: body.promise.filter(|it| !it.is_empty()),
        from,
        until,
        by: body.by.unwrap_or_else(|| "api".into()),
        note: body.note,
        key,
    }));
    let Answer::Silence { silence, duplicate } = app.engine().ask(input).await? else {
        let detail = "the engine gave another answer than to a silence";
        return Err(Failure::new(Code::Panic, detail));
    };
    let view = app.engine().view();
    let row = view.silences().find(|it| it.id == silence);
    let about = |row: &SilenceRow| {
        let flows = view.flows().filter(|it| !it.row.removed);
        flows.filter(|it| row.is_about_flow(&it.row.name)).count()
    };
    let body = json!({
        "silence": silence, "duplicate": duplicate, "flows": row.map(|it| about(it)),
        "until": row.map(|it| it.until.to_string()),
    });
    let mut response = (StatusCode::CREATED, axum::Json(body)).into_response();
    if duplicate {
        let replayed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotent-replayed", replayed);
    }
    Ok(response)
}

async fn end(State(app): State<Arc<App>>, Path(id): Path<String>) -> Outcome<axum::Json<Value>> {
    let silence: u64 = id.parse().map_err(|_| {
        let detail = format!("there is no silence {id} that is not over");
        Failure::new(Code::UnknownSla, detail)
    })?;
    app.engine().ask(Input::EndSilence { silence }).await?;
    Ok(axum::Json(json!({ "silence": silence })))
}

/// A promise in one period.
pub(crate) fn sla(view: &Scheduler, it: &SlaRow) -> Value {
    let flow = view.flow(it.flow.as_str()).and_then(|it| it.flow.clone());
    let promise = flow.as_ref().and_then(|flow| flow.promise(&it.promise));
    let owner = flow.as_ref().and_then(|it| it.spec().owner.clone());
    let text = |at: Option<Timestamp>| at.map(|it| it.to_string());
    json!({
        "flow": it.flow, "promise": it.promise, "period": it.period, "owner": owner,
        "promised": promise.map(|it| it.text()), "due_at": it.due_at.to_string(),
        "state": it.state, "open": it.open, "run": it.run.map(|it| it.to_string()), "step": it.step,
        "at_risk_since": text(it.at_risk_since), "missed_at": text(it.missed_at), "met_at": text(it.met_at),
        "prediction": it.prediction.as_deref().map(|told| prediction(told, &it.flow)),
        "acknowledged": it.acknowledged.as_ref().map(|it| json!({
            "by": it.by, "at": it.at.to_string(), "note": it.note,
        })),
        "silenced_until": text(it.silenced_until),
        "withdrawn": it.withdrawn.as_ref().map(json::row), "more": it.more,
        "created_at": it.created_at.to_string(), "updated_at": it.updated_at.to_string(),
    })
}

fn prediction(it: &Prediction, flow: &FlowName) -> Value {
    json!({
        "at": it.at.to_string(), "chance": f64::from(it.chance_permille) / 1000.0,
        "finish_p50": it.finish_p50.to_string(), "finish_p90": it.finish_p90.to_string(),
        "culprit": it.culprit.as_ref().map(|it| json!({
            "flow": it.flow, "step": it.step, "run": it.run.map(|it| it.to_string()),
            "factor": it.limit.is_none().then(|| f64::from(it.factor_permille) / 1000.0),
            "waits_for": it.limit.as_ref().map(ToString::to_string), "owner": it.owner,
            "late_by_us": it.late_by.0, "text": it.text(flow),
        })),
    })
}

fn silenced(it: &SilenceRow) -> Value {
    json!({
        "id": it.id, "flow": it.flow, "promise": it.promise, "from": it.from.to_string(),
        "until": it.until.to_string(), "by": it.by, "note": it.note,
        "created_at": it.created_at.to_string(), "ended_at": it.ended_at.map(|it| it.to_string()),
    })
}
