//! `POST /api/v1/events`, and where Metaflow's `ArgoEvent` publishes.

use crate::argo_event::parse_argo;
use crate::cloud_event::{media_type, parse};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dalsegno_engine::{AskError, Code, EngineHandle, Problem};
use dalsegno_scheduler::{Answer, Input, NewEvent};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// The largest body that is read, in bytes; batches too.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How many events of a batch are with the engine at once: well under its queue, so that one batch does
/// not turn others away.
const AT_ONCE: usize = 1_000;

/// Where `METAFLOW_ARGO_EVENTS_WEBHOOK_URL` of tasks points.
pub const METAFLOW_EVENTS: &str = "/api/v1/metaflow/events";

/// The routes through which events arrive. The daemon puts them behind the same guard as all others.
pub fn router(engine: EngineHandle) -> Router {
    Router::new()
        .route("/api/v1/events", post(accept))
        .route(METAFLOW_EVENTS, post(accept_argo))
        .with_state(engine)
}

async fn accept(State(engine): State<EngineHandle>, request: Request) -> Response {
    match taken(&engine, request).await {
        Ok(items) => {
            let body = axum::Json(json!({ "items": items }));
            (StatusCode::ACCEPTED, body).into_response()
        }
        Err(problem) => respond(&problem),
    }
}

/// Answers once every event is durable.
async fn taken(engine: &EngineHandle, request: Request) -> Result<Vec<Value>, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX, "send the batch in parts").await?;
    ask_all(engine, &parse(&parts.headers, &body)?).await
}

/// Gives events to the engine; what it answers, in their order, once all are durable.
pub(crate) async fn ask_all(
    engine: &EngineHandle,
    events: &[NewEvent],
) -> Result<Vec<Value>, Problem> {
    let is_batch = events.len() > 1;
    let mut items = Vec::new();
    for part in events.chunks(AT_ONCE) {
        let asked = part.iter().map(|it| ask(engine, it));
        for answered in join_all(asked).await {
            items.push(answered.map_err(|error| told(error, is_batch))?);
        }
    }
    Ok(items)
}

async fn accept_argo(State(engine): State<EngineHandle>, request: Request) -> Response {
    match taken_argo(&engine, request).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(problem) => respond(&problem),
    }
}

/// Answers once the event is durable.
async fn taken_argo(engine: &EngineHandle, request: Request) -> Result<Value, Problem> {
    let (parts, body) = request.into_parts();
    let kind = media_type(&parts.headers);
    if kind != "application/json" {
        let detail = format!(
            "content type `{kind}` is not taken here; send application/json, as ArgoEvent.publish does, or a CloudEvent \
             to /api/v1/events"
        );
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let body = read_body(body, BODY_BYTES_MAX, "send a reference to large data").await?;
    let event = parse_argo(&body)?;
    ask(engine, &event)
        .await
        .map_err(|error| told(error, false))
}

pub(crate) async fn read_body(body: Body, limit: usize, cure: &str) -> Result<Bytes, Problem> {
    let too_large = |_| {
        let detail = format!("the body is larger than {limit} bytes; {cure}");
        Problem::new(Code::BodyTooLarge, detail).with("limit_bytes", limit)
    };
    axum::body::to_bytes(body, limit).await.map_err(too_large)
}

async fn ask(engine: &EngineHandle, event: &NewEvent) -> Result<Value, AskError> {
    match engine.ask(Input::Event(event.clone())).await? {
        Answer::Event {
            seq,
            runs,
            duplicate,
        } => {
            let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
            Ok(json!({
                "seq": seq, "id": event.id, "source": event.source, "duplicate": duplicate, "runs": runs,
            }))
        }
        other => unreachable!("an event is answered with its number, not {other:?}"),
    }
}

fn told(error: AskError, is_batch: bool) -> Problem {
    let mut problem = Problem::from(error);
    if is_batch {
        problem.detail += "; part of the batch may be accepted: send all of it again, events that were accepted \
                           before are recognised";
    }
    problem
}

pub(crate) fn respond(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let kind = HeaderValue::from_static("application/problem+json");
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    if let Some(seconds) = problem.retry_after_s() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
