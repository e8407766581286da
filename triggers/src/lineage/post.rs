//! Posting to whoever receives lineage, from a thread of its own: no wait for the network holds anything else up, not
//! even the end of the process.

use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How much of an answer that is no success is kept.
const ANSWER_BYTES_MAX: u64 = 1_024;

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    Accepted,
    /// The receiver will never take this event; what it said.
    Refused(String),
    /// It may take it later.
    Later(Later),
}

/// Why an event was not taken for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Later {
    Unreachable(String),
    Denied(String),
    Missing(String),
    Throttled(String),
}

type Letter = (String, oneshot::Sender<Posted>);

/// The thread's address. It ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Poster(mpsc::SyncSender<Letter>);

impl Poster {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(
        url: String,
        key: Option<String>,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let (send, letters) = mpsc::sync_channel::<Letter>(1);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .user_agent(concat!("dalsegno/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let work = move || {
            for (body, answer) in letters {
                // Nobody waits for it any more when the daemon stops.
                let _ = answer.send(post(&agent, &url, key.as_deref(), &body));
            }
        };
        std::thread::Builder::new()
            .name("openlineage".into())
            .spawn(work)?;
        Ok(Self(send))
    }

    pub(super) async fn post(&self, body: String) -> Posted {
        let (answer, answered) = oneshot::channel();
        let gone = || Posted::Later(Later::Unreachable("its thread has ended".into()));
        match self.0.try_send((body, answer)) {
            Ok(()) => answered.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }
}

fn post(agent: &ureq::Agent, url: &str, key: Option<&str>, body: &str) -> Posted {
    let mut request = agent.post(url).content_type("application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let mut response = match request.send(body) {
        Ok(response) => response,
        Err(error) => return Posted::Later(Later::Unreachable(error.to_string())),
    };
    let status = response.status();
    if status.is_success() {
        return Posted::Accepted;
    }
    let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let answer = answer.lossy_utf8(true).read_to_string().unwrap_or_default();
    let said = match answer.trim() {
        "" => format!("it answers {status}"),
        text => format!("it answers {status}: {}", text.escape_debug()),
    };
    match status.as_u16() {
        400 | 413 | 422 => Posted::Refused(said),
        401 | 403 => Posted::Later(Later::Denied(said)),
        404 | 405 | 410 => Posted::Later(Later::Missing(said)),
        429 => Posted::Later(Later::Throttled(said)),
        _ => Posted::Later(Later::Unreachable(said)),
    }
}
