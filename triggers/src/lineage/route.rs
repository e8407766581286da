//! `POST /api/v1/lineage` and `/api/v1/lineage/batch`.

use super::read::{Told, read};
use crate::attributes::BadEvent;
use crate::cloud_event::{json, media_type};
use crate::route::{ask_all, read_body, respond};
use crate::status::{Condition, Source, SourceKind, SourceState, Sources};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dalsegno_engine::{Code, EngineHandle, Problem};
use dalsegno_scheduler::NewEvent;
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use std::io::Read as _;

/// Where OpenLineage clients post events one by one; their default is this path.
pub const LINEAGE: &str = "/api/v1/lineage";

/// Where they post lists of events.
pub const LINEAGE_BATCH: &str = "/api/v1/lineage/batch";

/// The largest body in bytes, also after it was unpacked. Spark's events carry the plans of its queries.
pub const LINEAGE_BYTES_MAX: usize = 8 << 20;

#[derive(Clone)]
struct Shared {
    engine: EngineHandle,
    source: Source,
}

/// The routes through which lineage arrives; how they are doing is told to `sources`. The daemon puts them behind the
/// same guard as all others.
pub fn router(engine: EngineHandle, sources: &Sources) -> Router {
    let source = sources.register(SourceKind::Lineage, "openlineage", LINEAGE, engine.now());
    Router::new()
        .route(LINEAGE, post(one))
        .route(LINEAGE_BATCH, post(many))
        .with_state(Shared { engine, source })
}

async fn one(State(shared): State<Shared>, request: Request) -> Response {
    shared.answer(request, false).await
}

async fn many(State(shared): State<Shared>, request: Request) -> Response {
    shared.answer(request, true).await
}

impl Shared {
    async fn answer(&self, request: Request, is_batch: bool) -> Response {
        let now = self.engine.now();
        match self.taken(request, is_batch).await {
            // The specification names 200.
            Ok(body) => {
                self.source.set(Condition::new(SourceState::Ok), now);
                (StatusCode::OK, axum::Json(body)).into_response()
            }
            Err(problem) => {
                self.source.count(|it| match problem.status {
                    500.. => it.errors += 1,
                    _ => it.refused += 1,
                });
                respond(&problem)
            }
        }
    }

    /// Answers once all that the events tell is durable.
    async fn taken(&self, request: Request, is_batch: bool) -> Result<Value, Problem> {
        let (parts, body) = request.into_parts();
        let kind = media_type(&parts.headers);
        if kind != "application/json" && !kind.is_empty() {
            let detail = format!("content type `{kind}` is not taken here; send application/json");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let cure = "leave facets out that nobody reads";
        let body = read_body(body, LINEAGE_BYTES_MAX, cure).await?;
        let value = json(&unpacked(&parts.headers, body.into())?)?;
        let (received, events) = match (value, is_batch) {
            (Value::Array(items), true) => (items.len(), all(&items)?),
            (_, true) => {
                return Err(BadEvent {
                    index: None,
                    attribute: None,
                    message: format!(
                        "a batch is a JSON array of events; send one event to {LINEAGE}"
                    ),
                }
                .into());
            }
            (value, false) => (1, vec![events(&value)?]),
        };
        let nothing = events.iter().filter(|it| it.is_empty()).count() as u64;
        self.source.count(|it| {
            it.deliveries += received as u64;
            it.passed_over += nothing;
        });
        let items = ask_all(&self.engine, &events.concat()).await?;
        let now = self.engine.now();
        for item in &items {
            self.source.accepted(item["duplicate"] == true, now);
        }
        Ok(json!({ "status": "success", "received": received, "items": items }))
    }
}

fn all(items: &[Value]) -> Result<Vec<Vec<NewEvent>>, BadEvent> {
    let numbered = items.iter().enumerate();
    numbered
        .map(|(index, it)| events(it).map_err(|error| error.at(index)))
        .collect()
}

fn events(event: &Value) -> Result<Vec<NewEvent>, BadEvent> {
    match read(event)? {
        Told::Run(events) => Ok(events),
        Told::Dataset | Told::Job => Ok(Vec::new()),
    }
}

/// The body as it was before the client packed it.
fn unpacked(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    let encoding = encoding.map(|it| it.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some("" | "identity") => Ok(body),
        Some("gzip") => {
            let mut plain = Vec::new();
            let limit = LINEAGE_BYTES_MAX as u64 + 1;
            let unpacked = MultiGzDecoder::new(&body[..])
                .take(limit)
                .read_to_end(&mut plain);
            match unpacked {
                Ok(length) if length > LINEAGE_BYTES_MAX => {
                    let detail =
                        format!("unpacked, the body is larger than {LINEAGE_BYTES_MAX} bytes");
                    let problem = Problem::new(Code::BodyTooLarge, detail);
                    Err(problem.with("limit_bytes", LINEAGE_BYTES_MAX))
                }
                Ok(_) => Ok(plain),
                Err(error) => {
                    let detail = format!("the body is not gzip, as content-encoding says: {error}");
                    Err(Problem::new(Code::BadRequest, detail))
                }
            }
        }
        Some(other) => {
            let detail = format!("content encoding `{other}` is not taken; send gzip or none");
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
    }
}
