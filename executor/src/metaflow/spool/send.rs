//! One update on its way to the service: what makes a second try harmless, and what an answer means.
//!
//! Flows, runs, steps and tasks are registered under names of ours: a second time is 409. Artifacts have a key at the
//! service. Metadata has none, so what may have arrived is looked for before it is sent again.

use super::file::Update;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// Whoever makes the calls.
pub trait MetadataService: Send + Sync + 'static {
    /// One call, never repeated.
    fn ask(&self, method: Method, path: String, body: Option<Value>) -> Asked;
}

pub type Asked = Pin<Box<dyn Future<Output = Result<Answer, NotNow>> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Patch,
}

impl Method {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "POST" => Some(Self::Post),
            "PATCH" => Some(Self::Patch),
            _ => None,
        }
    }
}

/// An answer of a service that works.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// `Null` where it is no JSON.
    pub body: Value,
}

/// No such answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// Nothing was sent: the circuit breaker is open.
    Refused {
        wait: Duration,
    },
    Throttled {
        message: String,
        wait: Duration,
    },
    /// It does not take our key.
    Denied {
        message: String,
    },
    /// Whether anything was done is not known. `status`: what it answered, if it did.
    Unreachable {
        message: String,
        status: Option<u16>,
    },
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { .. } => {
                f.write_str("it failed several times in a row, and is not asked for a while")
            }
            Self::Throttled { message, .. } => {
                write!(f, "it asks to be called less often: {message}")
            }
            Self::Denied { message } => write!(f, "it does not let us in: {message}"),
            Self::Unreachable { message, .. } => f.write_str(message),
        }
    }
}

/// What became of an update.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is there, by this try or an earlier one.
    Arrived,
    /// It is not there now, and the service works.
    NotYet(String),
    /// The service will never take it.
    Refused(String),
}

/// Sends it. `in_doubt`: an earlier try may have arrived.
///
/// # Errors
/// The service gave no answer.
pub(super) async fn send(
    service: &dyn MetadataService,
    update: &Update,
    in_doubt: bool,
) -> Result<Sent, NotNow> {
    let Some(method) = Method::parse(&update.method) else {
        return Ok(Sent::Refused(format!(
            "{} is no method of an update",
            update.method
        )));
    };
    let kind = update.path.rsplit('/').next().unwrap_or_default();
    let mut body = update.body.clone();
    if kind == "metadata" && in_doubt {
        match missing(service, &update.path, &body).await? {
            Ok(rest) if rest.is_empty() => return Ok(Sent::Arrived),
            Ok(rest) => body = Value::Array(rest),
            Err(sent) => return Ok(sent),
        }
    }
    let told = body.as_array().map_or(0, Vec::len);
    let answer = match service.ask(method, update.path.clone(), Some(body)).await {
        // An error of the service's own may be one about this update alone: does it work otherwise?
        Err(
            error @ NotNow::Unreachable {
                status: Some(500), ..
            },
        ) => {
            let works = service.ask(Method::Get, flow_of(&update.path), None).await;
            return works.map(|_| Sent::NotYet(error.to_string()));
        }
        answer => answer?,
    };
    let said = || format!("HTTP {}: {}", answer.status, short(&answer.body));
    Ok(match answer.status {
        200..300 => {
            let name = match kind {
                "metadata" => "metadata_created",
                _ => "artifacts_created",
            };
            match (kind, answer.body[name].as_u64()) {
                ("metadata", Some(count)) if count < told as u64 => {
                    Sent::NotYet(format!("it kept {count} of {told} values"))
                }
                ("artifact", Some(count)) if count < told as u64 => {
                    all_there(service, &update.path, &update.body).await?
                }
                _ => Sent::Arrived,
            }
        }
        409 if method == Method::Post => Sent::Arrived,
        408 | 409 | 425 => Sent::NotYet(said()),
        // Said also while its database is away; what it needs was registered before.
        400 if short(&answer.body).contains("need to register") => Sent::NotYet(said()),
        _ => Sent::Refused(said()),
    })
}

/// The values of a task that the service has not, each as often as it is told.
async fn missing(
    service: &dyn MetadataService,
    path: &str,
    body: &Value,
) -> Result<Result<Vec<Value>, Sent>, NotNow> {
    let answer = service.ask(Method::Get, path.to_owned(), None).await?;
    let known = match (answer.status, &answer.body) {
        (200..300, Value::Array(known)) => known.as_slice(),
        // It knows no such task: nothing has arrived.
        (404, _) => &[],
        (status, body) => {
            let said = format!(
                "asked for what it has, it answers HTTP {status}: {}",
                short(body)
            );
            return Ok(Err(Sent::NotYet(said)));
        }
    };
    let key = |it: &Value| {
        let mut tags: Vec<String> = it["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        tags.sort();
        json!([it["field_name"], it["type"], it["value"], tags]).to_string()
    };
    let mut has: BTreeMap<String, usize> = BTreeMap::new();
    for it in known {
        *has.entry(key(it)).or_default() += 1;
    }
    let told = body.as_array().into_iter().flatten();
    let rest = told.filter(|it| match has.get_mut(&key(it)) {
        Some(count @ 1..) => {
            *count -= 1;
            false
        }
        _ => true,
    });
    Ok(Ok(rest.cloned().collect()))
}

/// After an answer that fewer artifacts are new than were told: the others are there already, or were not taken.
async fn all_there(
    service: &dyn MetadataService,
    path: &str,
    body: &Value,
) -> Result<Sent, NotNow> {
    let told: Vec<&Value> = body.as_array().into_iter().flatten().collect();
    let attempt = told
        .first()
        .map_or(0, |it| it["attempt_id"].as_u64().unwrap_or(0));
    let task = path.trim_end_matches("/artifact");
    let path = format!("{task}/attempt/{attempt}/artifacts");
    let answer = service.ask(Method::Get, path, None).await?;
    let Value::Array(known) = answer.body else {
        // A service that is too old to be asked.
        return Ok(Sent::Arrived);
    };
    let lacks = told
        .iter()
        .filter(|it| !known.iter().any(|known| known["name"] == it["name"]));
    let lacks: Vec<&str> = lacks.filter_map(|it| it["name"].as_str()).collect();
    Ok(match lacks.is_empty() {
        true => Sent::Arrived,
        false => Sent::NotYet(format!(
            "it did not keep the artifacts {}",
            lacks.join(", ")
        )),
    })
}

/// `/flows/F` of any path below it.
fn flow_of(path: &str) -> String {
    let parts: Vec<&str> = path.splitn(4, '/').take(3).collect();
    parts.join("/")
}

/// A body in a message.
fn short(body: &Value) -> String {
    let text = match body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(300).collect()
}
