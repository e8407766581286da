//! Forms: what a button does. Each answers with the page that shows what came of it.

use super::flow;
use super::run;
use super::shown;
use super::unpause;
use crate::act::{self, Started};
use crate::html::{Notice, field_name};
use crate::input::{Form, Query};
use crate::problem::{Failure, Outcome, status};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::spec::{ParamKind, ParamSpec};
use dalsegno_scheduler::{CatchUp, ResumeWith, StepName};
use serde_json::{Map, Value};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post("/flows/{name}/runs", start)
        .post("/flows/{name}/pause", pause)
        .post("/flows/{name}/unpause", end_pause)
        .post("/runs/{id}/cancel", cancel)
        .post("/runs/{id}/resume", resume)
}

/// Who acts when a button is pressed.
pub(super) const BY: &str = "page";

async fn start(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let started = match params(&app, &name, &form) {
        Ok(params) => act::start(&app, &name, params, form.get("key"), BY.into()).await,
        Err(failure) => Err(failure),
    };
    let (status, notice) = match started {
        Ok(Started::Run { run, .. }) => return Ok(see(&format!("/runs/{run}"))),
        Ok(Started::Not { reason, .. }) => (
            StatusCode::CONFLICT,
            notice("No run was started", reason.to_string()),
        ),
        Err(failure) => (status(&failure.0), refused(&failure.0)),
    };
    flow_again(&app, &name, status, notice, &form).await
}

/// The form's fields as typed values; what is left blank takes its default.
fn params(app: &App, name: &str, form: &Form) -> Outcome<Map<String, Value>> {
    let (_, flow) = read::flow(&app.engine().view(), name)?;
    let mut params = Map::new();
    for param in flow.iter().flat_map(|it| &it.spec().params) {
        if let Some(text) = form.get(&field_name(&param.name)) {
            params.insert(param.name.clone(), typed(param, text)?);
        }
    }
    Ok(params)
}

fn typed(param: &ParamSpec, text: String) -> Outcome<Value> {
    let parsed = match param.kind {
        ParamKind::String | ParamKind::Date | ParamKind::Datetime => return Ok(text.into()),
        ParamKind::Json => serde_json::from_str(&text).ok(),
        ParamKind::Bool => text.parse().ok().map(Value::Bool),
        ParamKind::Int => text.parse::<i64>().ok().map(Value::from),
        ParamKind::Float => text.parse::<f64>().ok().map(Value::from),
    };
    parsed.ok_or_else(|| {
        let name = &param.name;
        Failure::new(
            Code::BadParams,
            format!("parameter `{name}`: `{text}` does not fit its type"),
        )
    })
}

async fn pause(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let done = act::pause(&app, &name, BY.into(), form.get("reason")).await;
    flow_after(&app, &name, done, &form).await
}

async fn end_pause(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let done = match catch_up(&form) {
        Ok(catch_up) => act::unpause(&app, &name, BY.into(), catch_up).await,
        Err(failure) => Err(failure),
    };
    flow_after(&app, &name, done, &form).await
}

/// What becomes of all that was held; what the flow says when nobody chose.
fn catch_up(form: &Form) -> Outcome<CatchUp> {
    let Some(text) = form.get("catch_up") else {
        return Ok(CatchUp::default());
    };
    unpause::parse(&text).ok_or_else(|| {
        let detail = format!("`catch_up` is `{text}`: declared, none, latest or all is expected");
        Failure::new(Code::BadRequest, detail)
    })
}

async fn flow_after(app: &App, name: &str, done: Outcome<()>, form: &Form) -> Outcome<Response> {
    match done {
        Ok(()) => Ok(see(&format!("/flows/{}", url_encode(name)))),
        Err(Failure(problem)) => {
            flow_again(app, name, status(&problem), refused(&problem), form).await
        }
    }
}

async fn flow_again(
    app: &App,
    name: &str,
    status: StatusCode,
    notice: Notice,
    form: &Form,
) -> Outcome<Response> {
    let page = flow::build(app, name, &Query::default(), Some(notice), &form.0).await?;
    Ok((status, shown(page.render())?).into_response())
}

async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let done = act::cancel(&app, &id, BY.into(), form.get("reason")).await;
    run_after(&app, &id, done.map(|_| ())).await
}

async fn resume(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: Form,
) -> Outcome<Response> {
    let from = form.get("from").map(StepName::new);
    let with = match form.get("version").as_deref() {
        Some("same") => ResumeWith::Same,
        _ => ResumeWith::Latest,
    };
    let params = match other_params(&app, &id, &form).await {
        Ok(params) => params,
        Err(failure) => return run_after(&app, &id, Err(failure)).await,
    };
    if params.is_empty() {
        let done = act::resume(&app, &id, from, with, BY.into()).await;
        return run_after(&app, &id, done.map(|_| ())).await;
    }
    match act::rerun(&app, &id, from, params, with, form.get("key"), BY.into()).await {
        Ok(Started::Run { run, .. }) => Ok(see(&format!("/runs/{run}"))),
        Ok(Started::Not { reason, .. }) => {
            let notice = Some(notice("No run was started", reason.to_string()));
            let page = run::build(&app, &id, &Query::default(), notice).await?;
            Ok((StatusCode::CONFLICT, shown(page.render())?).into_response())
        }
        Err(failure) => run_after(&app, &id, Err(failure)).await,
    }
}

/// Parameters that were filled in and differ from the run's own.
async fn other_params(app: &App, id: &str, form: &Form) -> Outcome<Map<String, Value>> {
    if !form
        .0
        .iter()
        .any(|(name, value)| name.starts_with("param.") && !value.trim().is_empty())
    {
        return Ok(Map::new());
    }
    let run = read::run(app.engine(), id).await?;
    let mut params = params(app, run.flow.as_str(), form)?;
    params.retain(|name, value| run.params.get(name) != Some(value));
    Ok(params)
}

async fn run_after(app: &App, id: &str, done: Outcome<()>) -> Outcome<Response> {
    match done {
        Ok(()) => Ok(see(&format!("/runs/{}", url_encode(id)))),
        Err(Failure(problem)) => {
            let notice = Some(refused(&problem));
            let page = run::build(app, id, &Query::default(), notice).await?;
            Ok((status(&problem), shown(page.render())?).into_response())
        }
    }
}

pub(super) fn refused(problem: &Problem) -> Notice {
    notice(problem.title, problem.detail.clone())
}

fn notice(title: &str, text: String) -> Notice {
    let title = title.to_owned();
    Notice { title, text }
}

/// 303: the browser asks for the page anew, and reloading it does not send the form again.
pub(super) fn see(href: &str) -> Response {
    Redirect::to(href).into_response()
}
