//! Logs of attempts, as text.

use crate::input::Query;
use crate::logs;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::{App, Stream};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::{Code, EngineHandle};
use dalsegno_scheduler::AttemptId;
use dalsegno_scheduler::row::TaskRow;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/api/v1/runs/{id}/tasks/{task}/logs", log)
}

async fn log(
    State(app): State<Arc<App>>,
    Path((id, task)): Path<(String, String)>,
    query: Query,
) -> Outcome<Response> {
    query.only(&["attempt", "stream", "follow", "offset", "tail"])?;
    let run = read::run(app.engine(), &id).await?;
    let task = read::task(app.engine(), &run, &task).await?;
    let number = query.parse("attempt", "an attempt's number, from 1")?;
    let number: u32 = number.unwrap_or_else(|| task.attempt.max(1));
    let stream: Option<Stream> = query.parse("stream", "stdout or stderr")?;
    let follow = query.parse("follow", "true or false")?.unwrap_or(false);
    let offset: Option<u64> = query.parse("offset", "a number of bytes")?;
    let tail: Option<u64> = query.parse("tail", "a number of bytes")?;

    let newest = task.attempt.max(1);
    if number == 0 || number > newest {
        let detail = format!(
            "task {} of run {} has attempts 1 to {newest}",
            task.task, run.id
        );
        return Err(Failure::new(Code::UnknownAttempt, detail));
    }
    let attempt = AttemptId {
        run: run.id,
        task: task.task.clone(),
        number,
    };
    let path = app
        .web
        .logs
        .path(&attempt, stream.unwrap_or(Stream::Stdout));
    let fetched = logs::fetch(&app, &task, number, follow).await;
    let length = match (tokio::fs::metadata(&path).await, &fetched) {
        (Ok(metadata), _) => metadata.len(),
        (Err(_), Err(problem)) => return Err(problem.clone().into()),
        (Err(_), _) if may_grow(app.engine(), &attempt) => 0,
        (Err(error), _) => {
            let detail = format!("attempt {attempt} left no log: {error}");
            return Err(Failure::new(Code::NoLog, detail));
        }
    };
    let start = offset.unwrap_or_else(|| length.saturating_sub(tail.unwrap_or(length)));
    let engine = app.engine().clone();
    let stopping = app.web.stopping.clone();
    let alive = move || {
        // As long as somebody reads, it is brought here.
        let _following = &fetched;
        follow && !*stopping.borrow() && may_grow(&engine, &attempt)
    };
    let body = Body::from_stream(logs::read(path, start, alive));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let no_sniff = HeaderValue::from_static("nosniff");
    let headers = [
        (header::CONTENT_TYPE, text),
        (header::X_CONTENT_TYPE_OPTIONS, no_sniff),
    ];
    Ok((headers, body).into_response())
}

/// The attempt has not ended, or has not even begun.
fn may_grow(engine: &EngineHandle, attempt: &AttemptId) -> bool {
    let view = engine.view();
    let task = view.task(attempt.run, &attempt.task);
    task.is_some_and(|it| is_open(it, attempt.number))
}

/// Whether this attempt of the task may still write.
pub(crate) fn is_open(task: &TaskRow, number: u32) -> bool {
    use dalsegno_scheduler::row::TaskState::{BackingOff, Ready};
    let newest = number == task.attempt;
    match task.state {
        Ready => task.attempt == 0,
        BackingOff => false,
        state => newest && state.is_live(),
    }
}
