//! Metaflow's metadata service: calls through the guard, what waits for it, and how that is told.

use dalsegno_engine::clock;
use dalsegno_executor::metaflow::{
    Answer, Asked, Drain, MetadataService, MetadataSpool, Method, NotNow, Waiting,
};
use dalsegno_executor_aws::guard::{Api, CallError, Guard};
use dalsegno_triggers::status::{Condition, Source, SourceKind, SourceState, Sources};
use serde_json::Value;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The breaker of metadata services.
pub(crate) const BREAKER: &str = "metadata";

/// The guard gives up long before; this ends the thread.
const THREAD_ENDS_AFTER: Duration = Duration::from_secs(150);

/// More of an answer is no answer of a metadata service.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What waits for the service, as last seen.
pub(crate) type Seen = Arc<Mutex<Waiting>>;

/// Begins to send what waits, and tells `sources`.
pub(crate) fn start(
    spool: MetadataSpool,
    guard: Arc<Guard>,
    sources: &Sources,
    stop: CancellationToken,
) -> Seen {
    let source = sources.register(
        SourceKind::MetadataService,
        "metaflow",
        spool.url(),
        clock::now(),
    );
    let seen = Seen::default();
    let told = seen.clone();
    let folder = spool.folder().display().to_string();
    let service = Http::new(&spool, guard);
    let drain = Drain::new(spool, Arc::new(service));
    tokio::spawn(async move {
        let mut before = Waiting::default();
        let drain = drain.run(|waiting| {
            tell(&source, &before, waiting, &folder);
            before = waiting.clone();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = waiting.clone();
        });
        stop.run_until_cancelled(drain).await;
    });
    seen
}

fn tell(source: &Source, before: &Waiting, now: &Waiting, folder: &str) {
    source.set(condition(now), clock::now());
    let refused = now.refused.as_ref().map(|(count, reason)| {
        format!(
            "{count} updates were not taken by the service and are put aside, the last because: {reason}; look at \
             {folder}/*.refused, and remove what is done with"
        )
    });
    source.note("refused", refused);
    source.count(|counts| {
        counts.deliveries += now.sent - before.sent;
        counts.refused = now.refused.as_ref().map_or(0, |(count, _)| *count as u64);
    });
}

fn condition(now: &Waiting) -> Condition {
    let (updates, runs) = (now.updates(), now.runs.len());
    let waits = now.since.map(|since| {
        format!(
            "{updates} updates of {runs} runs wait on disk since {since}, and are sent in order"
        )
    });
    let waits = waits.unwrap_or_default();
    if let Some(full) = &now.full {
        let text =
            format!("no room is left for more: {full}; tasks that have more to tell fail. {waits}");
        return Condition::with(SourceState::Broken, text)
            .cure("bring the service back, or raise metadata_spool_mb or metadata_spool_entries under [metaflow]");
    }
    let with = |state, why: String| match waits.as_str() {
        "" => Condition::with(state, why),
        waits => Condition::with(state, format!("{why}; {waits}")),
    };
    match &now.trouble {
        Some(NotNow::Denied { message }) => with(SourceState::Denied, message.clone())
            .cure("set METAFLOW_SERVICE_AUTH_KEY where the daemon runs, and restart it"),
        Some(error @ NotNow::Throttled { .. }) => with(SourceState::Throttled, error.to_string()),
        Some(error) => with(SourceState::Unreachable, error.to_string())
            .cure("bring the service back; tasks go on meanwhile"),
        None => match now.stuck.iter().next() {
            Some((run, why)) => with(
                SourceState::Held,
                format!("it does not take the next update of run {run}: {why}"),
            ),
            None => Condition::with(SourceState::Ok, waits),
        },
    }
}

/// What `why` says of a run of Metaflow.
pub(crate) fn of_run(seen: &Seen, run: &str) -> Option<String> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let count = seen.runs.get(run)?;
    let since = seen
        .since
        .map(|it| format!(" since {it}"))
        .unwrap_or_default();
    let why = match (&seen.trouble, seen.stuck.get(run)) {
        (Some(error), _) => error.to_string(),
        (None, Some(why)) => why.clone(),
        (None, None) => "they are being sent".into(),
    };
    Some(format!(
        "{count} updates of it wait on disk for Metaflow's metadata service{since}: {why}"
    ))
}

/// The service over HTTP. Each call is a thread: none holds up anything else, not even the end of the process.
struct Http {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    guard: Arc<Guard>,
}

impl Http {
    fn new(spool: &MetadataSpool, guard: Arc<Guard>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(THREAD_ENDS_AFTER))
            .http_status_as_error(false)
            .user_agent(concat!("dalsegno/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let headers = spool.headers().iter();
        Self {
            agent,
            url: spool.url().to_owned(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            guard,
        }
    }
}

impl MetadataService for Http {
    fn ask(&self, method: Method, path: String, body: Option<Value>) -> Asked {
        let (agent, headers) = (self.agent.clone(), self.headers.clone());
        let (guard, url) = (self.guard.clone(), format!("{}{path}", self.url));
        Box::pin(async move {
            let status = Arc::new(AtomicU16::new(0));
            let seen = status.clone();
            let call = async move {
                let (answer, answered) = oneshot::channel();
                let call = move || {
                    // Nobody waits any more when the guard has given up.
                    let _ = answer.send(call(&agent, &headers, method, &url, body.as_ref(), &seen));
                };
                let unreachable = |message: String| CallError::Unreachable { message };
                std::thread::Builder::new()
                    .name("metadata".into())
                    .spawn(call)
                    .map_err(|error| unreachable(error.to_string()))?;
                answered
                    .await
                    .unwrap_or_else(|_| Err(unreachable("its thread has ended".into())))
            };
            let answer = guard.ask(Api::Metadata, call).await;
            answer.map_err(|error| not_now(error, status.load(Ordering::Relaxed)))
        })
    }
}

fn call(
    agent: &ureq::Agent,
    headers: &[(String, String)],
    method: Method,
    url: &str,
    body: Option<&Value>,
    status: &AtomicU16,
) -> Result<Answer, CallError> {
    let mut request = ureq::http::Request::builder()
        .uri(url)
        .method(match method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
        });
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let content = body.map_or(String::new(), Value::to_string);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let unreachable = |error: &dyn std::fmt::Display| CallError::Unreachable {
        message: format!("it does not answer: {error}"),
    };
    let request = request.body(content).map_err(|error| unreachable(&error))?;
    let mut response = agent.run(request).map_err(|error| unreachable(&error))?;
    let code = response.status().as_u16();
    status.store(code, Ordering::Relaxed);
    let asked = response.headers().get("retry-after");
    let asked = asked.and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let text = read
        .lossy_utf8(true)
        .read_to_string()
        .map_err(|error| unreachable(&error))?;
    let said: String = text.chars().take(300).collect();
    let said = format!("it answers HTTP {code}: {}", said.escape_debug());
    match code {
        429 => Err(CallError::Throttled {
            message: said,
            retry_after: asked.map(Duration::from_secs),
        }),
        401 | 403 => Err(CallError::Denied { message: said }),
        500.. => Err(CallError::Unreachable { message: said }),
        _ => Ok(Answer {
            status: code,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        }),
    }
}

fn not_now(error: CallError, status: u16) -> NotNow {
    match error {
        CallError::BreakerOpen { retry_in } => NotNow::Refused { wait: retry_in },
        CallError::Throttled {
            message,
            retry_after,
        } => NotNow::Throttled {
            message,
            wait: retry_after.unwrap_or_default(),
        },
        CallError::Denied { message } => NotNow::Denied { message },
        CallError::Unreachable { message } | CallError::Invalid { message, .. } => {
            NotNow::Unreachable {
                message,
                status: Some(status).filter(|it| *it != 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::Timestamp;

    fn waiting() -> Waiting {
        Waiting {
            runs: [("R1".to_owned(), 3), ("R2".to_owned(), 4)].into(),
            since: Some(Timestamp::from_secs(60)),
            ..Waiting::default()
        }
    }

    #[test]
    fn how_much_waits_since_when_and_why_is_told_with_the_cure() {
        let down = Waiting {
            trouble: Some(NotNow::Unreachable {
                message: "it does not answer: connection refused".into(),
                status: None,
            }),
            ..waiting()
        };
        let told = condition(&down);
        assert_eq!(told.state, SourceState::Unreachable);
        assert_eq!(
            told.message,
            "it does not answer: connection refused; 7 updates of 2 runs wait on disk since 1970-01-01T00:01:00Z, and \
             are sent in order"
        );
        let full = condition(&Waiting {
            full: Some("100 bytes of updates wait".into()),
            ..down.clone()
        });
        assert_eq!(full.state, SourceState::Broken);
        assert!(full.cure.is_some_and(|it| it.contains("metadata_spool_mb")));
        assert_eq!(condition(&waiting()).state, SourceState::Ok);

        let seen = Arc::new(Mutex::new(down));
        let told = of_run(&seen, "R2").expect("something waits");
        assert!(told.starts_with("4 updates of it wait on disk"), "{told}");
        assert_eq!(of_run(&seen, "R3"), None);
    }
}
