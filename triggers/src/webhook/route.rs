//! `POST /api/v1/webhooks/{name}`.

use super::body::scope;
use super::config::{Scheme, Webhook};
use super::verify::{Proven, is_signed, verify};
use crate::asking::refusal;
use crate::attributes::BadEvent;
use crate::mapping::Defaults;
use crate::route::{ask_all, read_body, respond};
use crate::status::{Condition, Source, SourceKind, SourceState, Sources};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dalsegno_engine::{Code, EngineHandle, Problem};
use dalsegno_scheduler::row::EXCERPT_BYTES_MAX;
use dalsegno_scheduler::{KEY_BYTES_MAX, NewEvent, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The largest body in bytes.
pub const WEBHOOK_BYTES_MAX: usize = 8 << 20;

/// How many bodies of one webhook are read at the same time: anybody may send one, and is known only when it is there.
const AT_ONCE: usize = 32;

/// How long a delivery waits for its turn to be read; senders give up after about ten seconds.
const TURN_WAIT: Duration = Duration::from_secs(8);

/// How long a sender may take to send its body.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// All webhooks of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Webhooks(Vec<Webhook>);

impl Webhooks {
    /// # Errors
    /// When two have the same name.
    pub fn new(all: Vec<Webhook>) -> Result<Self, String> {
        let mut names: Vec<_> = all.iter().map(Webhook::name).collect();
        names.sort_unstable();
        match names.windows(2).find(|it| it[0] == it[1]) {
            None => Ok(Self(all)),
            Some(twice) => Err(format!(
                "there are two webhooks `{}`; a name is an address, so each has its own",
                twice[0]
            )),
        }
    }
}

struct Shared {
    engine: EngineHandle,
    webhooks: BTreeMap<String, Entry>,
}

struct Entry {
    webhook: Webhook,
    source: Source,
    readers: Semaphore,
    /// Deliveries that were not signed as they must be.
    unsigned: AtomicU64,
}

/// The route of all webhooks; how they are doing is told to `sources`. It needs no token in front of it.
pub fn router(engine: EngineHandle, webhooks: Webhooks, sources: &Sources) -> Router {
    let now = engine.now();
    let entry = |webhook: Webhook| {
        let address = format!("/api/v1/webhooks/{}", webhook.name);
        let source = sources.register(SourceKind::Webhook, &webhook.name, address, now);
        let entry = Entry {
            webhook,
            source,
            readers: Semaphore::new(AT_ONCE),
            unsigned: AtomicU64::new(0),
        };
        (entry.webhook.name.clone(), entry)
    };
    let shared = Shared {
        webhooks: webhooks.0.into_iter().map(entry).collect(),
        engine,
    };
    Router::new()
        .route("/api/v1/webhooks/{name}", post(deliver))
        .with_state(Arc::new(shared))
}

async fn deliver(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let Some(entry) = shared.webhooks.get(&name) else {
        let detail = format!("no webhook `{name}` is configured");
        return respond(&Problem::new(Code::UnknownWebhook, detail));
    };
    match shared.taken(entry, request).await {
        Ok(answer) => (StatusCode::ACCEPTED, axum::Json(answer)).into_response(),
        Err(problem) => respond(&problem),
    }
}

impl Entry {
    /// Counts a delivery that is not signed as it must be, and answers it.
    fn refused(&self, wrong: String, now: Timestamp) -> Problem {
        let count = self.unsigned.fetch_add(1, Ordering::Relaxed) + 1;
        self.source.count(|it| it.errors += 1);
        let note = format!(
            "deliveries that are not signed as they must be: {count}; the last one at {now}: {wrong}"
        );
        self.source.note("signature", Some(note));
        Problem::new(Code::BadSignature, wrong)
    }
}

impl Shared {
    /// Answers once the event is durable, or what the delivery was refused for is.
    async fn taken(&self, entry: &Entry, request: Request) -> Result<Value, Problem> {
        let (webhook, source) = (&entry.webhook, &entry.source);
        source.count(|it| it.deliveries += 1);
        let (parts, body) = request.into_parts();
        // Who has not even tried to sign is not read.
        if let Err(wrong) = is_signed(webhook.scheme, &parts.headers) {
            return Err(entry.refused(wrong, self.engine.now()));
        }
        let turn = tokio::time::timeout(TURN_WAIT, entry.readers.acquire()).await;
        let Ok(Ok(_permit)) = turn else {
            let detail = format!("{AT_ONCE} deliveries are being read already; send it again");
            return Err(Problem::new(Code::Busy, detail));
        };
        let read = read_body(body, WEBHOOK_BYTES_MAX, "send a reference to large data");
        let Ok(body) = tokio::time::timeout(BODY_TIME_MAX, read).await else {
            let detail = format!("the body did not come within {} s", BODY_TIME_MAX.as_secs());
            return Err(Problem::new(Code::BadRequest, detail));
        };
        let body = body?;
        let now = self.engine.now();
        let proven = verify(webhook.scheme, &webhook.keys, &parts.headers, &body, now);
        let proven = match proven {
            Ok(proven) => proven,
            Err(wrong) => return Err(entry.refused(wrong, now)),
        };
        source.set(Condition::new(SourceState::Ok), now);
        if let Some(ignored) = ping(webhook.scheme, &parts) {
            source.count(|it| it.passed_over += 1);
            return Ok(json!({ "items": [], "ignored": ignored }));
        }
        match event(webhook, source, &parts, &body, &proven) {
            Ok(Some(event)) => {
                let asked = ask_all(&self.engine, std::slice::from_ref(&event)).await;
                let items = match asked {
                    // Too large, or a type that is ours: it is so for ever.
                    Err(problem) if problem.status < 500 => {
                        self.refuse(source, &proven, &problem.detail, &body).await?;
                        return Err(problem);
                    }
                    asked => asked?,
                };
                let duplicate = items.iter().any(|it| it["duplicate"] == true);
                source.accepted(duplicate, now);
                Ok(json!({ "items": items }))
            }
            Ok(None) => {
                source.count(|it| it.passed_over += 1);
                let ignored = "`where` is false for this delivery";
                Ok(json!({ "items": [], "ignored": ignored }))
            }
            Err(error) => {
                self.refuse(source, &proven, &error.to_string(), &body)
                    .await?;
                Err(error.into())
            }
        }
    }

    /// Puts on record what a delivery could not become, so that it is seen although its sender may never tell.
    async fn refuse(
        &self,
        source: &Source,
        proven: &Proven,
        reason: &str,
        body: &[u8],
    ) -> Result<(), Problem> {
        source.count(|it| it.refused += 1);
        let start = &body[..body.len().min(EXCERPT_BYTES_MAX)];
        let excerpt = String::from_utf8_lossy(start);
        let (source, id) = (source.label(), cut(&proven.id));
        let refusal = refusal(&self.engine, source, id, reason, &excerpt);
        self.engine.ask(refusal).await?;
        Ok(())
    }
}

/// GitHub asks whether anybody is there.
fn ping(scheme: Scheme, parts: &Parts) -> Option<&'static str> {
    let kind = parts.headers.get("x-github-event");
    let is_ping = scheme == Scheme::Github && kind.is_some_and(|it| it == "ping");
    is_ping.then_some("it is a ping, and the signature is good")
}

/// The event of a delivery; `None` when `where` is false for it.
fn event(
    webhook: &Webhook,
    source: &Source,
    parts: &Parts,
    body: &[u8],
    proven: &Proven,
) -> Result<Option<NewEvent>, BadEvent> {
    let bad = |message: String| BadEvent {
        index: None,
        attribute: None,
        message,
    };
    let scope = scope(webhook.scheme, &parts.headers, &parts.uri, body).map_err(bad)?;
    if let Some(filter) = &webhook.filter
        && !filter
            .eval_bool(&scope)
            .map_err(|error| BadEvent::of("where", format!("of the webhook: {error}")))?
    {
        return Ok(None);
    }
    let defaults = Defaults {
        source: source.label(),
        id: proven.id.clone(),
        time: proven.time,
        data: scope["body"].clone(),
    };
    let event = webhook.mapping.event(&scope, defaults).map_err(bad)?;
    for (name, text) in [
        ("type", &event.kind),
        ("source", &event.source),
        ("id", &event.id),
    ] {
        let wrong = match text.as_str() {
            it if it.trim().is_empty() => "is empty",
            it if it.contains(char::is_control) => "holds a control character",
            it if it.len() > KEY_BYTES_MAX => "is longer than 1024 bytes",
            it if name == "source" && it.contains(char::is_whitespace) => "holds white space",
            _ => continue,
        };
        return Err(BadEvent::of(
            name,
            format!("of the webhook's mapping {wrong}"),
        ));
    }
    Ok(Some(event))
}

/// As much of a sender's id as a key may hold.
fn cut(id: &str) -> String {
    let mut end = id.len().min(KEY_BYTES_MAX / 2);
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    id[..end].to_owned()
}
