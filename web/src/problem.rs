//! Problems as HTTP responses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::{AskError, Code, Problem};

/// What API handlers fail with.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}
impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self(error.into())
    }
}
impl From<dalsegno_store::Error> for Failure {
    fn from(error: dalsegno_store::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        respond(&self.0)
    }
}

/// `application/problem+json` with status and, where it helps, `Retry-After` and `WWW-Authenticate`.
/// The problem itself rides along as an extension, for pages to show it in their own way.
pub(crate) fn respond(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status(problem), body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(seconds) = problem.retry_after_s() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if problem.code == Code::Unauthorized {
        let value = HeaderValue::from_static("Bearer realm=\"dalsegno\"");
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    response.extensions_mut().insert(problem.clone());
    response
}

pub(crate) fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
