//! Problems as pages, and the list of all codes.

use super::{Page, frame, shown};
use crate::html::{ErrorLine, ErrorPage, ErrorsPage, Html as Markup};
use crate::problem::status;
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use askama::Template;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use dalsegno_engine::{Code, Problem};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/docs/errors", errors)
}

async fn errors(State(app): State<Arc<App>>) -> Page {
    let line = |code: &Code| {
        let (status, title, cure) = code.about();
        let code = code.as_str();
        ErrorLine {
            code,
            status,
            title,
            cure,
        }
    };
    let errors = Code::ALL.iter().map(line).collect();
    let frame = frame(&app, "", "");
    shown(ErrorsPage { frame, errors }.render())
}

/// Whoever asks for a page gets a page, also when something is wrong.
pub(crate) async fn show_problems(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let accepts = request.headers().get(header::ACCEPT);
    let browser = accepts.is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("text/html")));
    let is_page = browser && !request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if is_page => {
            let status = status(problem);
            let page = ErrorPage {
                frame: frame(&app, "", ""),
                cure: cure(problem),
                problem: problem.clone(),
            };
            (status, Html(page.render().unwrap_or_default())).into_response()
        }
        _ => response,
    }
}

/// What a person can do who looks at pages; of most problems the API's own words say that well enough.
fn cure(problem: &Problem) -> Markup {
    let near = problem.more.get("did_you_mean").and_then(|it| it.as_str());
    match (problem.code, near) {
        (Code::UnknownFlow, Some(near)) => {
            let href = format!("/flows/{}", url_encode(near));
            Markup::text("Did you mean ")
                .then(&Markup::link(&href, near))
                .then(&Markup::text("?"))
        }
        (Code::UnknownFlow, None) => Markup::text(
            "A new file must lie in the flows folder, and `dalsegno check` tells what is wrong with one.",
        ),
        (Code::UnknownRoute, _) => {
            Markup::text("The address may be mistyped, or what was here is gone.")
        }
        (Code::UnknownRun, _) => Markup::link("/runs", "All runs"),
        (Code::UnknownTask, _) => {
            Markup::text("The page of its run shows the tasks that exist so far.")
        }
        (code, _) => Markup::text(code.about().2),
    }
}
