//! Pages: what they read, and the forms on them.

mod alerts;
mod backfills;
mod cards;
mod event;
mod events;
mod flow;
mod flows;
mod forms;
mod ledger;
mod lines;
mod metaflow;
mod problem;
mod run;
mod slas;
mod sums;
mod task;
mod tasks;
mod unpause;
mod waiting;

use crate::html::Frame;
use crate::input::Query;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::response::Html;
use dalsegno_engine::Code;

pub(crate) use problem::show_problems;

/// All pages and the routes of their forms.
pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = flows::routes(routes);
    let routes = flow::routes(routes);
    let routes = unpause::routes(routes);
    let routes = run::routes(routes);
    let routes = cards::routes(routes);
    let routes = events::routes(routes);
    let routes = event::routes(routes);
    let routes = backfills::routes(routes);
    let routes = slas::routes(routes);
    let routes = alerts::routes(routes);
    let routes = forms::routes(routes);
    problem::routes(routes)
}

type Page = Outcome<Html<String>>;

/// The frame of a page that shows this part of the daemon; `live` is the query of the live stream.
fn frame(app: &App, nav: &'static str, live: &str) -> Frame {
    Frame {
        nav,
        live: format!("/api/v1/live{live}"),
        version: app.web.version.clone(),
    }
}

/// Whether only the parts that change are wanted.
fn is_fragment(query: &Query) -> bool {
    query.get("fragment").is_some()
}

/// A rendered template.
fn shown(rendered: askama::Result<String>) -> Page {
    let failed = |error: askama::Error| Failure::new(Code::Panic, error.to_string());
    rendered.map(Html).map_err(failed)
}
