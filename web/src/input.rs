//! What comes in with a request: query, JSON body, form; each error names what is wrong.

use crate::problem::{Failure, Outcome};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::Timestamp;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// The largest body that is read, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// How many items a list gives when the request does not say, and at most.
pub(crate) const PAGE_DEFAULT: usize = 50;
pub(crate) const PAGE_MAX: usize = 1_000;

/// The query of an address.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Outcome<Self> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map_err(|error| Failure::new(Code::BadRequest, error.body_text()))?;
        Ok(Self(pairs.0))
    }
}

impl Query {
    /// Refuses names that are not among these, so that a typing error is not silently ignored.
    pub(crate) fn only(&self, names: &[&str]) -> Outcome<()> {
        for (name, _) in &self.0 {
            if !names.contains(&name.as_str()) {
                let near = closest(name, names.iter().copied());
                let near = near
                    .map(|it| format!("; did you mean `{it}`?"))
                    .unwrap_or_default();
                let known = match names {
                    [] => "this address takes none".to_owned(),
                    names => format!("known ones are {}", names.join(", ")),
                };
                let detail = format!("there is no query parameter `{name}`{near} ({known})");
                return Err(Failure::new(Code::BadRequest, detail));
            }
        }
        Ok(())
    }

    /// A value; an empty one counts as left out.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|it| !it.is_empty())
    }

    /// A value of some type; `expected` says in words what it should be.
    pub(crate) fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Outcome<Option<T>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let detail =
                format!("query parameter `{name}` is `{text}`, and {expected} is expected");
            Failure::new(Code::BadRequest, detail)
        })
    }

    pub(crate) fn time(&self, name: &str) -> Outcome<Option<Timestamp>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let at = Timestamp::parse_rfc3339(text).ok_or_else(|| {
            let detail = format!(
                "query parameter `{name}` is `{text}`, and an instant such as 2026-11-22T06:00:00Z is expected (encode `+` as %2B)"
            );
            Failure::new(Code::BadRequest, detail)
        })?;
        Ok(Some(at))
    }

    /// Words of a list, separated by commas; none when left out.
    pub(crate) fn words<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        text: impl Fn(T) -> &'static str,
    ) -> Outcome<Vec<T>> {
        let words = self.get(name).into_iter().flat_map(|it| it.split(','));
        words
            .map(|word| {
                let found = all.iter().copied().find(|it| text(*it) == word);
                found.ok_or_else(|| {
                    let known: Vec<&str> = all.iter().map(|it| text(*it)).collect();
                    let near = closest(word, known.iter().copied());
                    let near = near
                        .map(|it| format!("; did you mean `{it}`?"))
                        .unwrap_or_default();
                    let detail = format!(
                        "query parameter `{name}` does not know `{word}`{near} (known are {})",
                        known.join(", ")
                    );
                    Failure::new(Code::BadRequest, detail)
                })
            })
            .collect()
    }

    /// One word of a list.
    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        text: impl Fn(T) -> &'static str,
    ) -> Outcome<Option<T>> {
        match self.words(name, all, text)?.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => {
                let detail = format!("query parameter `{name}` takes one word, not several");
                Err(Failure::new(Code::BadRequest, detail))
            }
        }
    }

    /// Refuses a span of time that ends before it begins.
    pub(crate) fn in_order(&self, since: Timestamp, until: Timestamp) -> Outcome<()> {
        if since <= until {
            return Ok(());
        }
        let detail = format!("`since` is {since}, which is after `until`, {until}");
        Err(Failure::new(Code::BadRequest, detail))
    }

    /// How many items are wanted: 1 to [`PAGE_MAX`].
    pub(crate) fn limit(&self) -> Outcome<usize> {
        let expected = "a whole number from 1 to 1000";
        match self.parse::<usize>("limit", expected)? {
            None => Ok(PAGE_DEFAULT),
            Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            Some(limit) => Err(Failure::new(
                Code::BadRequest,
                format!("query parameter `limit` is {limit}, and {expected} is expected"),
            )),
        }
    }
}

/// An instant in a JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl<'de> serde::Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no instant; one such as 2026-11-22T06:00:00Z is expected"
            ))
        })
    }
}

/// A JSON body; an empty one counts as `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        read_json(request, BODY_BYTES_MAX).await.map(Self)
    }
}

/// A JSON body of at most so many bytes, other than [`BODY_BYTES_MAX`].
pub(crate) struct Sized<T, const BYTES_MAX: usize>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const BYTES_MAX: usize> FromRequest<S>
    for Sized<T, BYTES_MAX>
{
    type Rejection = Failure;
    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        read_json(request, BYTES_MAX).await.map(Self)
    }
}

async fn read_json<T: DeserializeOwned>(request: Request, bytes_max: usize) -> Outcome<T> {
    let bytes = axum::body::to_bytes(request.into_body(), bytes_max)
        .await
        .map_err(|_| too_large(bytes_max))?;
    let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let mut text = error.to_string();
        if let Some(at) = text.rfind(" at line ") {
            text.truncate(at);
        }
        // Well-formed, but not what is expected here.
        let code = match error.is_data() {
            true => Code::BadRequest,
            false => Code::InvalidJson,
        };
        let problem = Problem::new(code, text);
        let problem = problem
            .with("line", error.line())
            .with("column", error.column());
        problem.into()
    })
}

/// The fields of a form.
pub(crate) struct Form(pub(crate) Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Outcome<Self> {
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, state).await;
        let form = form.map_err(|error| match error.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(BODY_BYTES_MAX),
            _ => Problem::new(
                Code::BadRequest,
                "a form is expected: application/x-www-form-urlencoded",
            ),
        })?;
        Ok(Self(form.0))
    }
}

impl Form {
    /// A field; blank counts as left out.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found
            .map(|(_, value)| value.trim().to_owned())
            .filter(|it| !it.is_empty())
    }
}

pub(crate) fn too_large(limit_bytes: usize) -> Problem {
    let detail = format!("the body is larger than {limit_bytes} bytes");
    Problem::new(Code::BodyTooLarge, detail).with("limit_bytes", limit_bytes)
}

/// The known name that is meant by a misspelt one.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|it| (strsim::osa_distance(name, it), it))
        .filter(|(distance, it)| *distance <= (it.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, it)| it)
}
