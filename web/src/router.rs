//! All routes behind one guard.

use crate::problem::respond;
use crate::routes::Routes;
use crate::state::{App, WebState};
use crate::{api, assets, guard, pages};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use dalsegno_engine::{Code, Problem};
use futures_util::StreamExt;
use std::any::Any;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// The daemon's whole HTTP side: API, pages, assets, and `others` (routes of crates beside this one), all behind
/// the same guard against strangers, panics and bodies that are too large.
pub fn router(state: WebState, others: Router) -> Router {
    let app = App::new(state);
    let routes = pages::routes(api::routes(Routes::new()));
    let router = routes
        .router
        .route("/assets/{name}", get(assets::serve))
        .route("/login", post(guard::login))
        .with_state(app.clone());
    // Streams must not wait for a compressor's buffer; small answers are not worth the work.
    let compressed = SizeAbove::new(1024)
        .and(NotForContentType::new("text/event-stream"))
        .and(NotForContentType::new("text/plain"));
    router
        .merge(others)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(crate::input::BODY_BYTES_MAX))
        .layer(from_fn(refuse_oversize))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(from_fn(finish))
        .layer(from_fn_with_state(app, pages::show_problems))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new().compress_when(compressed))
}

/// How much of a body that is too large is read and thrown away, and for how long: a client that is cut
/// off while it still sends sees a broken pipe and never the answer.
const SWALLOWED_BYTES_MAX: u64 = 64 << 20;
const SWALLOW_TIME_MAX: Duration = Duration::from_secs(10);

/// Where other tools send what they cannot make smaller; their routes read no more than the limit either.
const EVENTS_FROM_TOOLS: [&str; 2] = ["/api/v1/lineage", "/api/v1/webhooks/"];
const TOOL_BYTES_MAX: usize = 8 << 20;

/// Refuses a body that says it is too large before any handler looks at it.
async fn refuse_oversize(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    let limit = match request.uri().path() {
        api::metaflow::DEPLOYMENTS => api::metaflow::DEPLOYMENT_BYTES_MAX,
        path if EVENTS_FROM_TOOLS.iter().any(|it| path.starts_with(it)) => TOOL_BYTES_MAX,
        _ => crate::input::BODY_BYTES_MAX,
    };
    match length {
        Some(length) if length > limit as u64 => {
            let waits_for_leave = request.headers().contains_key(header::EXPECT);
            if length <= SWALLOWED_BYTES_MAX && !waits_for_leave {
                let mut pieces = request.into_body().into_data_stream();
                let swallow = async { while let Some(Ok(_)) = pieces.next().await {} };
                let _ = tokio::time::timeout(SWALLOW_TIME_MAX, swallow).await;
            }
            respond(&crate::input::too_large(limit))
        }
        _ => next.run(request).await,
    }
}

async fn unknown(uri: Uri) -> Response {
    let detail = format!("there is nothing at {}", uri.path());
    respond(&Problem::new(Code::UnknownRoute, detail))
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} does not take {method}");
    respond(&Problem::new(Code::MethodNotAllowed, detail))
}

fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(
        "a request handler panicked: {}",
        text.unwrap_or("no message")
    );
    let detail = "a handler broke off; the daemon's log has the details";
    respond(&Problem::new(Code::Panic, detail))
}

/// Every error is a problem, also those that the web framework makes in plain text; every answer tells
/// browsers not to guess and not to be framed.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let plain = kind.is_none_or(|it| it.as_bytes().starts_with(b"text/plain"));
    if plain && (status.is_client_error() || status.is_server_error()) {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = respond(&named(response).await);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let policy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    let headers = response.headers_mut();
    // A card brings a stricter one of its own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(policy));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn named(response: Response) -> Problem {
    let code = match response.status() {
        StatusCode::NOT_FOUND => Code::UnknownRoute,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_server_error() => Code::Panic,
        _ => Code::BadRequest,
    };
    let bytes = to_bytes(response.into_body(), 64 * 1024)
        .await
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    match text.trim() {
        "" => Problem::new(code, code.about().1),
        text => Problem::new(code, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn the_openapi_document_knows_every_state() {
        use dalsegno_scheduler::row::{
            BackfillItemState, BackfillState, MatchOutcome, OccurrenceState, RunState, SlaState,
            TaskState,
        };
        let document: Value = serde_json::from_str(crate::api::DOCUMENT).expect("JSON");
        let states = |name: &str| {
            let schema = &document["components"]["schemas"][name];
            schema["properties"]["state"]["enum"].clone()
        };
        assert_eq!(states("Run"), serde_json::json!(RunState::ALL));
        assert_eq!(states("Task"), serde_json::json!(TaskState::ALL));
        assert_eq!(
            states("Occurrence"),
            serde_json::json!(OccurrenceState::ALL)
        );
        assert_eq!(states("Backfill"), serde_json::json!(BackfillState::ALL));
        assert_eq!(
            states("BackfillItem"),
            serde_json::json!(BackfillItemState::ALL)
        );
        assert_eq!(states("Sla"), serde_json::json!(SlaState::ALL));
        let schemas = &document["components"]["schemas"];
        let outcomes = &schemas["Event"]["properties"]["matches"]["items"]["properties"]["outcome"];
        assert_eq!(outcomes["enum"], serde_json::json!(MatchOutcome::ALL));
    }

    #[test]
    fn the_openapi_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(crate::api::DOCUMENT).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let written: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routes = api::routes(Routes::new());
        let served = routes
            .names
            .iter()
            .map(|(method, path)| format!("{method} {path}"));
        // Events come in through a crate beside this one.
        let events = [
            "POST /api/v1/events",
            "POST /api/v1/metaflow/events",
            "POST /api/v1/lineage",
            "POST /api/v1/lineage/batch",
            "POST /api/v1/webhooks/{name}",
        ];
        let served: BTreeSet<String> = served.chain(events.map(str::to_owned)).collect();
        assert_eq!(written, served);
    }
}
