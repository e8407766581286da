//! HTTP requests, blocking, with errors in words.

use super::beside::beside;
use super::failure::{Exit, Failure, Result};
use crate::cli::Global;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the daemon may take to begin its answer, unless it was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The most items the API gives at once.
const PAGE_MAX: usize = 1_000;
/// The largest answer that is read whole, in bytes: a page of a thousand runs with large parameters.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A client of one daemon.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    server: String,
    token: Option<String>,
    agent: Agent,
}

/// Items of a list, and where the rest begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) items: Vec<Value>,
    pub(crate) next: Option<String>,
}

impl Listing {
    /// As the API prints it.
    pub(crate) fn json(&self) -> Value {
        json!({ "items": self.items, "next": self.next })
    }

    /// The items as what they are.
    pub(crate) fn typed<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        self.items.iter().cloned().map(typed).collect()
    }
}

/// A value of the API as a type of ours.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        let text = format!("the daemon's answer is not understood: {error}");
        Failure::new(Exit::Broken, text).help(
            "is the daemon of another version than this program? `dalsegno doctor` compares them",
        )
    })
}

impl Client {
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let (given, token) = match &global.server {
            Some(server) => (server.trim().to_owned(), global.token.clone()),
            None => beside(None, global.token.as_deref())?,
        };
        let given = given.as_str();
        let (scheme, rest) = given.split_once("://").unwrap_or(("http", given));
        let host = rest.trim_end_matches('/');
        if !matches!(scheme, "http" | "https") || host.is_empty() {
            let text = format!("`{given}` is not the address of a daemon");
            return Err(Failure::new(Exit::Usage, text)
                .help("--server takes an address such as http://127.0.0.1:8320"));
        }
        let server = format!("{scheme}://{host}");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            // A stream that is compressed comes late.
            .accept_encoding("identity")
            .user_agent(concat!("dalsegno/", env!("CARGO_PKG_VERSION")));
        if ["127.", "localhost", "[::1]"]
            .iter()
            .any(|it| host.starts_with(it))
        {
            // The daemon on this machine is never behind a proxy.
            config = config.proxy(None);
        }
        let agent = config.build().into();
        Ok(Self {
            server,
            token,
            agent,
        })
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Reads JSON.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let text = self.text(path, query)?;
        serde_json::from_str(&text).map_err(|_| self.no_json())
    }

    /// Reads JSON as a type of ours.
    pub(crate) fn get_as<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        typed(self.get(path, &[])?)
    }

    /// Reads text.
    pub(crate) fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let response = self.send_get(path, query, Some(ANSWER_TIMEOUT))?;
        self.read(response)
    }

    /// The beginning of an answer that may go on for ever.
    pub(crate) fn stream(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Body>> {
        self.send_get(path, query, None)
    }

    /// A list, over as many pages as it takes to have `limit` items.
    pub(crate) fn list(&self, path: &str, query: &[(&str, &str)], limit: usize) -> Result<Listing> {
        let mut all = Listing::default();
        loop {
            let page = (limit - all.items.len()).min(PAGE_MAX).to_string();
            let cursor = all.next.take();
            let mut query = query.to_vec();
            query.push(("limit", &page));
            query.extend(cursor.as_deref().map(|it| ("cursor", it)));
            let mut answer = self.get(path, &query)?;
            let Value::Array(items) = answer["items"].take() else {
                return Err(self.no_json());
            };
            all.items.extend(items);
            all.next = answer["next"].as_str().map(str::to_owned);
            if all.next.is_none() || all.items.len() >= limit {
                return Ok(all);
            }
        }
    }

    /// Posts JSON and reads JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.post_with(path, &[("content-type", "application/json")], body)
    }

    /// Posts JSON under other headers.
    pub(crate) fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value> {
        let mut request = self.agent.post(format!("{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .config()
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        let response = request.send(body.to_string());
        let text = self.read(self.answered(response)?)?;
        serde_json::from_str(&text).map_err(|_| self.no_json())
    }

    fn send_get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        timeout: Option<Duration>,
    ) -> Result<Response<Body>> {
        let mut url = format!("{}{path}", self.server);
        for (place, (name, value)) in query.iter().enumerate() {
            url.push(if place == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encode(value));
        }
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_recv_response(timeout).build();
        self.answered(request.call())
    }

    /// An answer of 2xx, or what went wrong.
    fn answered(
        &self,
        result: std::result::Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>> {
        let response = result.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let body = self.read(response)?;
        Err(Failure::of_answer(status, &body, &self.server))
    }

    fn read(&self, mut response: Response<Body>) -> Result<String> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.lossy_utf8(true)
            .read_to_string()
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let server = &self.server;
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                let text = format!("`{server}` is not the address of a daemon: {error}");
                Failure::new(Exit::Usage, text)
                    .help("--server takes an address such as http://127.0.0.1:8320")
            }
            ureq::Error::Timeout(ureq::Timeout::RecvResponse) => {
                let text = format!("the daemon at {server} does not answer: {error}");
                Failure::new(Exit::Broken, text).help("`dalsegno doctor` looks for the cause")
            }
            error => {
                let text = match error {
                    ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        format!("no daemon answers at {server}")
                    }
                    ureq::Error::Io(error) => format!("no daemon answers at {server} ({error})"),
                    error => format!("no daemon answers at {server} ({error})"),
                };
                Failure::new(Exit::NoDaemon, text)
                    .help("start one with `dalsegno up`, or name another with --server")
            }
        }
    }

    fn no_json(&self) -> Failure {
        let text = format!("{} does not answer as Dalsegno does", self.server);
        Failure::new(Exit::Broken, text)
            .help("is that the right address? name another one with --server")
    }
}

/// Text as a part of an address.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut all, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    all.push(byte.into())
                }
                _ => {
                    let _ = write!(all, "%{byte:02X}");
                }
            }
            all
        })
}

/// A path of the API; each part is encoded.
pub(crate) fn path(parts: &[&str]) -> String {
    let mut path = String::from("/api/v1");
    for part in parts {
        path.push('/');
        // A browser's rules would take `..` for the folder above.
        match *part {
            "." => path.push_str("%2E"),
            ".." => path.push_str("%2E%2E"),
            part => path.push_str(&encode(part)),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_whatever_a_person_types() {
        let parts = path(&["runs", "7", "tasks", "fit[3.0]@2", "logs"]);
        assert_eq!(parts, "/api/v1/runs/7/tasks/fit%5B3.0%5D%402/logs");
        assert_eq!(path(&["flows", "../é?"]), "/api/v1/flows/..%2F%C3%A9%3F");
        assert_eq!(path(&["flows", ".."]), "/api/v1/flows/%2E%2E");
    }
}
