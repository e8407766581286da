//! The end of a pause: what each way to end it would start, before anything does.

use super::lines::{flow_href, starter};
use super::{frame, shown};
use crate::html::{Html, UnpauseChoice, UnpausePage, exact, told};
use crate::problem::Outcome;
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use dalsegno_scheduler::CatchUp;
use std::sync::Arc;

/// How many of the runs that would start are named.
const RUNS: usize = 10;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/flows/{name}/unpause", page)
}

async fn page(State(app): State<Arc<App>>, Path(name): Path<String>) -> Outcome<Response> {
    let (view, now) = (app.engine().view(), app.engine().now());
    let (row, _) = read::flow(&view, &name)?;
    let href = flow_href(&row.name);
    let (Some(paused), Some(preview)) = (&row.paused, view.unpause_preview(&row.name, now)) else {
        return Ok(Redirect::to(&href).into_response());
    };
    let choices = preview.choices.iter().map(|(choice, runs)| {
        let line = |it: &dalsegno_scheduler::WouldStart| {
            let at = exact(it.due_at);
            let by = starter(&view, &row.name, &it.trigger);
            at.then(&Html(format!(r#" <span class="soft">{by}</span>"#)))
        };
        let (title, text) = words(*choice);
        UnpauseChoice {
            value: value(*choice),
            title,
            text,
            here: *choice == preview.default,
            starts: runs.len(),
            runs: runs.iter().take(RUNS).map(line).collect(),
            more: runs.len().saturating_sub(RUNS),
        }
    });
    let page = UnpausePage {
        frame: frame(&app, "flows", ""),
        name: row.name.to_string(),
        since: told(paused.at, now),
        by: paused.by.clone(),
        reason: paused.reason.clone(),
        choices: choices.collect(),
        href,
    };
    Ok(shown(page.render())?.into_response())
}

const fn value(choice: CatchUp) -> &'static str {
    match choice {
        CatchUp::Declared => "declared",
        CatchUp::None => "none",
        CatchUp::Latest => "latest",
        CatchUp::All => "all",
    }
}

/// A choice as the form sends it; `None` for a word that means nothing.
pub(super) fn parse(text: &str) -> Option<CatchUp> {
    let all = [
        CatchUp::Declared,
        CatchUp::None,
        CatchUp::Latest,
        CatchUp::All,
    ];
    all.into_iter().find(|it| value(*it) == text)
}

const fn words(choice: CatchUp) -> (&'static str, &'static str) {
    match choice {
        CatchUp::Declared => (
            "As the flow says",
            "What misfire.paused of each schedule says; of triggers nothing.",
        ),
        CatchUp::None => (
            "Nothing",
            "What was held is skipped, with the reason on record.",
        ),
        CatchUp::Latest => (
            "The latest",
            "The newest of each schedule and trigger; the older ones are skipped.",
        ),
        CatchUp::All => ("Everything", "All that was held, oldest first."),
    }
}
