//! Giving the engine what a source brought, and holding it while the engine cannot decide.

use crate::backoff::Backoff;
use dalsegno_engine::{AskError, EngineHandle, Role};
use dalsegno_scheduler::alert::{AlertKind, NewAlert};
use dalsegno_scheduler::row::{EXCERPT_BYTES_MAX, RefusedRow};
use dalsegno_scheduler::{Answer, Input};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between tries while the engine has too much to do or its database is away.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why an input got no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It will never be accepted.
    Rejected(String),
    /// This instance does not decide any more.
    NotHere,
}

/// Asks until there is an answer. `held` is told why it takes longer, and again with `None` when it is over.
pub(crate) async fn ask(
    engine: &EngineHandle,
    stop: &CancellationToken,
    input: Input,
    held: impl Fn(Option<&str>),
) -> Result<Answer, Unanswered> {
    let mut pause = Backoff::new(PAUSE, PAUSE_MAX);
    let mut was_held = false;
    let result = loop {
        let why = match engine.ask(input.clone()).await {
            Ok(answer) => break Ok(answer),
            Err(AskError::Rejected(rejected)) => {
                break Err(Unanswered::Rejected(rejected.to_string()));
            }
            Err(unknown @ AskError::UnknownEvent(_)) => {
                break Err(Unanswered::Rejected(unknown.to_string()));
            }
            Err(AskError::NotLeader | AskError::Stopped) => break Err(Unanswered::NotHere),
            Err(busy @ (AskError::Busy | AskError::Store(_))) => busy.to_string(),
        };
        if !std::mem::replace(&mut was_held, true) {
            held(Some(&why));
        }
        tokio::select! {
            () = tokio::time::sleep(pause.next()) => {}
            () = stop.cancelled() => break Err(Unanswered::NotHere),
            () = leads_no_more(engine) => break Err(Unanswered::NotHere),
        }
    };
    if was_held {
        held(None);
    }
    result
}

/// Waits until this instance decides; false when it is to stop.
pub(crate) async fn leads(engine: &EngineHandle, stop: &CancellationToken) -> bool {
    let mut role = engine.role_changes();
    let leads = role.wait_for(|it| *it == Role::Leader);
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        leads = leads => leads.is_ok(),
    }
}

/// Waits until this instance does not decide any more.
pub(crate) async fn leads_no_more(engine: &EngineHandle) {
    let mut role = engine.role_changes();
    // An engine that is gone does not decide either.
    let _ = role.wait_for(|it| *it != Role::Leader).await;
}

/// What people are told of a message that is given up, once however often it comes again.
pub(crate) fn dead_letter(source: &str, id: &str, reason: &str) -> Input {
    Input::Alert(Box::new(NewAlert {
        kind: AlertKind::DeadLetter,
        flow: None,
        run: None,
        step: None,
        key: source.to_owned(),
        is_recovery: false,
        summary: format!("message {id} of {source} is no event: {reason}"),
        data: json!({ "source": source, "message": id, "reason": reason }),
        dedupe: format!("dead:{source}:{id}"),
    }))
}

/// What goes on record of a delivery that is no event.
pub(crate) fn refusal(
    engine: &EngineHandle,
    source: String,
    id: String,
    reason: &str,
    body: &str,
) -> Input {
    let mut excerpt = body.replace('\0', "\u{fffd}");
    excerpt.truncate(excerpt.floor_char_boundary(EXCERPT_BYTES_MAX));
    Input::Refuse(RefusedRow {
        source,
        id,
        reason: reason.replace('\0', "\u{fffd}"),
        excerpt,
        received_at: engine.now(),
    })
}
