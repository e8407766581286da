//! `POST /api/v1/events`.

use crate::cloud_event::parse;
use axum::Router;
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

/// The route through which events arrive. The daemon puts it behind the same guard as all others.
pub fn router(engine: EngineHandle) -> Router {
    Router::new()
        .route("/api/v1/events", post(accept))
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
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| {
            let detail =
                format!("the body is larger than {BODY_BYTES_MAX} bytes; send the batch in parts");
            Problem::new(Code::BodyTooLarge, detail).with("limit_bytes", BODY_BYTES_MAX)
        })?;
    let events = parse(&parts.headers, &body)?;
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

fn respond(problem: &Problem) -> Response {
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
