//! Who may come in: the token, and protection of browsers' users against other sites.

use crate::html::{Frame, LoginPage};
use crate::input::Form;
use crate::problem::respond;
use crate::state::App;
use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dalsegno_engine::{Code, Problem};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

const COOKIE: &str = "dalsegno_token";

/// The only address that takes the token of [`events_token`].
const METAFLOW_EVENTS: &str = "/api/v1/metaflow/events";

/// What tasks are given instead of the daemon's token: it lets them publish events at `/api/v1/metaflow/events` (header
/// `x-api-key`, as Metaflow sends it) and nothing else, and the token cannot be worked out from it.
pub fn events_token(token: &str) -> String {
    let mut hash = Sha256::new();
    // A domain of its own, so that no other hash of the token is ever the same.
    hash.update(b"dalsegno metaflow events v1\0");
    hash.update(token.as_bytes());
    hex(&hash.finalize())
}

/// Open without a token: probes, the login itself, and files without secrets.
fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/login") || path.starts_with("/assets/")
}

/// A delivery to a webhook: `POST /api/v1/webhooks/NAME` and nothing else. Its signature, which no browser can make, is
/// its authentication, and whoever sends it calls us by whatever name a proxy or tunnel in front of us has.
fn is_delivery(method: &Method, path: &str) -> bool {
    let name = path.strip_prefix("/api/v1/webhooks/");
    method == Method::POST && name.is_some_and(|it| !it.is_empty() && !it.contains('/'))
}

/// Lets a request pass, or answers it.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let path = request.uri().path().to_owned();
    if is_delivery(request.method(), &path) {
        return next.run(request).await;
    }
    if app.web.loopback
        && let Some(problem) = foreign_host(headers)
    {
        return respond(&problem);
    }
    let by_bearer = match &app.web.token {
        None => false,
        Some(token) => {
            let bearer = bearer(headers).is_some_and(|it| same(it, token));
            let known =
                bearer || cookie(headers).is_some_and(|it| same(&it, &hex(token.as_bytes())));
            // Only programs send this header.
            let publishes = path == METAFLOW_EVENTS
                && api_key(headers).is_some_and(|it| same(it, &events_token(token)));
            if !known && !publishes && !is_open(&path) {
                return refuse(&app, &request, token);
            }
            bearer || publishes
        }
    };
    // A bearer token is never sent by a browser on its own, so such a request is meant.
    if !request.method().is_safe()
        && !by_bearer
        && let Some(problem) = foreign_site(headers)
    {
        return respond(&problem);
    }
    next.run(request).await
}

/// Answers a request without the token: API with a problem, pages with a form; `?token=` is turned
/// into a cookie once, so that it does not stay in the address.
fn refuse(app: &App, request: &Request, token: &str) -> Response {
    let uri = request.uri();
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let mut pairs = query.map(|it| it.0).unwrap_or_default();
    let given = pairs.iter().position(|(name, _)| name == "token");
    let given = given.map(|place| pairs.remove(place).1);
    let is_page = !uri.path().starts_with("/api/") && uri.path() != "/metrics";
    if is_page && request.method() == Method::GET {
        if given.as_deref().is_some_and(|it| same(it, token)) {
            let rest: Vec<_> = pairs
                .iter()
                .map(|(name, value)| {
                    format!(
                        "{}={}",
                        crate::text::url_encode(name),
                        crate::text::url_encode(value)
                    )
                })
                .collect();
            let to = match rest.is_empty() {
                true => uri.path().to_owned(),
                false => format!("{}?{}", uri.path(), rest.join("&")),
            };
            return ([(header::SET_COOKIE, set_cookie(token))], Redirect::to(&to)).into_response();
        }
        let to = uri.path_and_query().map_or("/", |it| it.as_str());
        return login_page(app, to, given.is_some());
    }
    let detail = match bearer(request.headers()) {
        Some(_) => "the bearer token is not the right one",
        None => "this daemon was started with a token, and the request has none",
    };
    respond(&Problem::new(Code::Unauthorized, detail))
}

/// The form of the login page.
pub(crate) async fn login(State(app): State<Arc<App>>, form: Form) -> Response {
    let to = form
        .get("to")
        .filter(|it| is_local(it))
        .unwrap_or_else(|| "/".into());
    match (&app.web.token, form.get("token")) {
        (None, _) => Redirect::to(&to).into_response(),
        (Some(token), Some(given)) if same(&given, token) => {
            ([(header::SET_COOKIE, set_cookie(token))], Redirect::to(&to)).into_response()
        }
        _ => login_page(&app, &to, true),
    }
}

/// A path on this daemon, not an address of another one.
fn is_local(to: &str) -> bool {
    to.starts_with('/') && !to.starts_with("//") && !to.contains(['\\', '\n', '\r'])
}

fn login_page(app: &App, to: &str, wrong: bool) -> Response {
    let frame = Frame {
        nav: "",
        live: String::new(),
        version: app.web.version.clone(),
    };
    let to = to.to_owned();
    let page = LoginPage { frame, to, wrong }.render().unwrap_or_default();
    (StatusCode::UNAUTHORIZED, Html(page)).into_response()
}

fn set_cookie(token: &str) -> String {
    format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000",
        hex(token.as_bytes())
    )
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter();
    let mut pairs = all
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'));
    let value = pairs.find_map(|it| it.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    value.map(str::to_owned)
}

fn api_key(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-api-key")?.to_str().ok()
}

/// Cookies cannot hold every character.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &str, b: &str) -> bool {
    let differences = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && differences == 0
}

/// With a listener on loopback: the Host header must name loopback, else some site has bound its name to it.
fn foreign_host(headers: &HeaderMap) -> Option<Problem> {
    let host = headers.get(header::HOST)?.to_str().unwrap_or("");
    let name = without_port(host);
    let loopback = name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|it| it.is_loopback());
    let detail = format!("the daemon listens on loopback, and `{host}` is not a name for it");
    (!loopback).then(|| Problem::new(Code::ForbiddenHost, detail))
}

/// A request that a browser sends because a page of another site told it to.
fn foreign_site(headers: &HeaderMap) -> Option<Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|it: &axum::http::HeaderValue| it.to_str().unwrap_or(""))
    };
    let foreign = match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => {
            let from = origin.split_once("://").map_or("", |(_, it)| it);
            !from.eq_ignore_ascii_case(text("host").unwrap_or(""))
        }
    };
    let detail = "the browser says that another site sent this request";
    foreign.then(|| Problem::new(Code::CrossSite, detail))
}

fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = value.parse().expect("a header value");
            (axum::http::HeaderName::from_static(name), value)
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_names_of_this_machine_reach_a_loopback_listener() {
        let refused = |host: &str| foreign_host(&headers(&[("host", host)])).is_some();
        for host in ["localhost:7878", "127.0.0.1", "[::1]:80", "flows.localhost"] {
            assert!(!refused(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:7878",
            "10.0.0.1",
            "[::2]",
            "",
        ] {
            assert!(refused(host), "{host}");
        }
    }

    #[test]
    fn other_sites_cannot_post() {
        let refused = |pairs: &[(&'static str, &str)]| foreign_site(&headers(pairs)).is_some();
        assert!(!refused(&[]), "a program that is no browser");
        assert!(!refused(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:7878")
        ]));
        assert!(!refused(&[
            ("host", "localhost:7878"),
            ("origin", "http://localhost:7878")
        ]));
        assert!(refused(&[("sec-fetch-site", "cross-site")]));
        assert!(refused(&[("sec-fetch-site", "same-site")]));
        assert!(refused(&[
            ("host", "localhost:7878"),
            ("origin", "http://evil.example")
        ]));
        assert!(refused(&[("host", "localhost:7878"), ("origin", "null")]));
    }

    #[test]
    fn deliveries_to_webhooks_are_let_through_and_nothing_beside_them() {
        assert!(is_delivery(&Method::POST, "/api/v1/webhooks/github"));
        for path in [
            "/api/v1/webhooks",
            "/api/v1/webhooks/",
            "/api/v1/webhooks/a/b",
            "/api/v1/webhooks/../flows",
            "/x/api/v1/webhooks/a",
        ] {
            assert!(!is_delivery(&Method::POST, path), "{path}");
        }
        assert!(!is_delivery(&Method::GET, "/api/v1/webhooks/github"));
    }

    #[test]
    fn after_the_login_only_local_addresses_follow() {
        assert!(is_local("/runs/1?task=a"));
        assert!(
            !is_local("//evil.example")
                && !is_local("https://evil.example")
                && !is_local("/\\evil")
        );
    }
}
