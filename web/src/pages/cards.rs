//! What Metaflow keeps of a task, as its panel shows it, and its cards as pages of their own.

use super::metaflow::kept_task;
use crate::html::{ArtifactLine, Html, Kept};
use crate::metaflow::{Artifacts, CardFile, KeptTask, TaskData};
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::text::{bytes, escape, url_encode};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::row::TaskRow;
use std::sync::Arc;

/// So many artifacts are listed.
const ARTIFACTS_MAX: usize = 200;

/// A card is somebody's code: it may run, or it would show nothing, but as a stranger. It has no origin, so it cannot
/// read or send anything here, sees no cookie, loads nothing from anywhere, and leads its window nowhere.
const CARD_POLICY: &str = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; \
     style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; media-src data: blob:; connect-src data: blob:; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/runs/{id}/tasks/{task}/cards/{name}", card)
}

/// Artifacts and cards of one attempt.
pub(super) async fn kept(app: &App, task: &TaskRow, place: KeptTask) -> Kept {
    let data = Arc::clone(&app.web.task_data);
    let found = asked(data, move |data| {
        (data.artifacts(&place), data.cards(&place))
    });
    let Some((artifacts, cards)) = found.await else {
        return Kept::default();
    };
    let mut kept = Kept::default();
    match artifacts {
        Artifacts::Listed(all) => {
            let more = all.len().saturating_sub(ARTIFACTS_MAX);
            kept.note = match (all.len(), more) {
                (0, _) => Some(Html::text("None besides Metaflow\u{2019}s own.")),
                (_, 0) => None,
                (_, more) => Some(Html::text(format_args!("and {more} more"))),
            };
            let shown = all.into_iter().take(ARTIFACTS_MAX).map(|it| ArtifactLine {
                name: it.name,
                kind: it.kind,
                size: it.size.map(bytes).unwrap_or_default(),
            });
            kept.artifacts = shown.collect();
        }
        Artifacts::None if task.state.is_terminal() => {
            kept.note = Some(Html::text("This attempt stored none."));
        }
        Artifacts::None => kept.note = Some(Html::text("None yet.")),
        Artifacts::Elsewhere(place) => {
            let place = escape(&place);
            kept.note = Some(Html(format!(r#"in S3: <span class="mono">{place}</span>"#)));
        }
        Artifacts::Unreadable(why) => kept.note = Some(Html::text(why)),
    }
    kept.cards = cards.iter().map(|it| card_link(task, it)).collect();
    kept
}

fn card_link(task: &TaskRow, card: &CardFile) -> Html {
    let name = url_encode(&task.task.to_string());
    let href = format!(
        "/runs/{}/tasks/{name}/cards/{}",
        task.run,
        url_encode(&card.name)
    );
    Html(format!(
        r#"<a class="button" href="{}" target="_blank" rel="noopener noreferrer">{}</a>"#,
        escape(&href),
        escape(&card.title)
    ))
}

/// Reads files away from the threads that serve.
async fn asked<T: Send + 'static>(
    data: Arc<dyn TaskData>,
    question: impl FnOnce(&dyn TaskData) -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(move || question(data.as_ref()))
        .await
        .ok()
}

/// A card's file, only if it is among those of its task.
async fn card(
    State(app): State<Arc<App>>,
    Path((id, task, name)): Path<(String, String, String)>,
) -> Outcome<Response> {
    let run = read::run(app.engine(), &id).await?;
    let task = read::task(app.engine(), &run, &task).await?;
    let graph = read::graph_of_run(&app, &run).await?;
    let flow = graph.as_ref().map(|it| it.flow.as_ref());
    let unknown = || {
        let detail = format!("task {} of run {} has no card `{name}`", task.task, run.id);
        Failure::new(Code::UnknownRoute, detail)
    };
    let place = kept_task(&app, flow, &run, &task, task.attempt).ok_or_else(unknown)?;
    let data = Arc::clone(&app.web.task_data);
    let cards = asked(data, move |data| data.cards(&place))
        .await
        .unwrap_or_default();
    let card = cards
        .into_iter()
        .find(|it| it.name == name)
        .ok_or_else(unknown)?;
    // Read as it is sent: a card may be as large as the pictures in it.
    tokio::fs::metadata(&card.path)
        .await
        .map_err(|_| unknown())?;
    let body = Body::from_stream(crate::logs::read(card.path, 0, || false));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, CARD_POLICY),
    ];
    Ok((headers, body).into_response())
}
