//! The HTTP interface, as a program would use it.

use crate::patience::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

/// A client of one daemon.
#[derive(Clone)]
pub struct Api {
    url: String,
    agent: ureq::Agent,
}

/// What the daemon answered; status 0 when there was no answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// # Panics
    /// When the status is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that this is problem+json with this status, a code and a text for people.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(
            self.content_type.starts_with("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], json!(status), "{problem}");
        for field in ["title", "code"] {
            assert!(
                problem[field].as_str().is_some_and(|it| !it.is_empty()),
                "no `{field}`: {problem}"
            );
        }
        problem
    }
}

impl Api {
    pub(crate) fn at(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self {
            url: url.to_owned(),
            agent,
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        Self::answer(self.agent.get(self.at_path(path)).call())
    }

    /// Asks for a page as a browser does.
    pub fn get_page(&self, path: &str) -> Answer {
        Self::answer(
            self.agent
                .get(self.at_path(path))
                .header("accept", "text/html")
                .call(),
        )
    }

    pub fn delete(&self, path: &str) -> Answer {
        Self::answer(self.agent.delete(self.at_path(path)).call())
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// Posts anything.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = self.agent.post(self.at_path(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request.send(body))
    }

    /// Starts a run; gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn start(&self, flow: &str, params: &Value) -> String {
        run_id(&self.try_start(flow, params, None))
    }

    /// Asks for a run, if wanted with an `Idempotency-Key`.
    pub fn try_start(&self, flow: &str, params: &Value, key: Option<&str>) -> Answer {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = json!({ "params": params }).to_string();
        self.post_with(
            &format!("/api/v1/flows/{flow}/runs"),
            &headers,
            body.as_bytes(),
        )
    }

    /// A run as it stands.
    #[track_caller]
    pub fn run(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/runs/{id}")).expect(200).json()
    }

    /// The items of a list, all pages of it.
    ///
    /// # Panics
    /// When it is not a list as documented.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let page = if next.is_empty() {
                path.to_owned()
            } else {
                format!("{path}{join}cursor={next}")
            };
            let answer = self.get(&page).expect(200).json();
            items.extend(
                answer["items"]
                    .as_array()
                    .unwrap_or_else(|| panic!("no `items`: {answer}"))
                    .clone(),
            );
            match &answer["next"] {
                Value::Null => return items,
                Value::String(cursor) => next.clone_from(cursor),
                other => panic!("`next` is a cursor or null, not {other}"),
            }
        }
    }

    /// Waits until a run has ended; gives it. The daemon answers when it has.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait_for_run(&self, id: &str) -> Value {
        self.wait_for_run_within(PATIENCE, id)
    }

    /// The same for a run that has more to do than [`PATIENCE`] allows for.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait_for_run_within(&self, limit: Duration, id: &str) -> Value {
        let start = Instant::now();
        while start.elapsed() < limit {
            let run = self
                .get(&format!("/api/v1/runs/{id}/wait?timeout=20"))
                .expect(200)
                .json();
            if !run["finished_at"].is_null() {
                return run;
            }
        }
        panic!(
            "run {id} does not end: {}",
            self.get(&format!("/api/v1/runs/{id}/why")).text
        );
    }

    /// Looks whenever the live stream says that something has changed, until there is an answer.
    ///
    /// # Panics
    /// When it does not come; `what` says what.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            // First listen, then look: a change between the two is not missed.
            let live = self
                .agent
                .get(self.at_path("/api/v1/live"))
                .header("accept", "text/event-stream");
            let stream = live
                .call()
                .unwrap_or_else(|error| panic!("no live stream: {error}"));
            assert_eq!(stream.status(), 200, "no live stream");
            let mut lines = BufReader::new(stream.into_body().into_reader()).lines();
            loop {
                if let Some(answer) = look() {
                    return answer;
                }
                if start.elapsed() > PATIENCE || !matches!(lines.next(), Some(Ok(_))) {
                    break;
                }
            }
        }
        panic!("{what}: did not come within {PATIENCE:?}");
    }

    fn at_path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        match result {
            Ok(mut response) => Answer {
                status: response.status().as_u16(),
                content_type: header(&response, "content-type"),
                text: response.body_mut().read_to_string().unwrap_or_default(),
            },
            Err(error) => Answer {
                status: 0,
                content_type: String::new(),
                text: error.to_string(),
            },
        }
    }
}

/// The id of the run that an answer tells of.
///
/// # Panics
/// When it tells of none.
#[track_caller]
pub fn run_id(answer: &Answer) -> String {
    let run = answer.json();
    assert!(
        (200..300).contains(&answer.status),
        "no run was started: {answer:?}"
    );
    match &run["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => panic!("the answer names no run: {run}"),
    }
}

fn header(response: &ureq::http::Response<ureq::Body>, name: &str) -> String {
    let value = response.headers().get(name).and_then(|it| it.to_str().ok());
    value.unwrap_or_default().to_owned()
}
