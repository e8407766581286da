//! Circuit breakers of the services that the daemon asks.

use crate::breakers::{BreakerView, Breakers, ByHand};
use crate::input::Query;
use crate::json;
use crate::problem::{Failure, Outcome};
use crate::routes::Routes;
use crate::state::App;
use axum::extract::{Path, State};
use dalsegno_engine::Code;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/v1/breakers", breakers)
        .post("/api/v1/breakers/{name}/open", open)
        .post("/api/v1/breakers/{name}/close", close)
        .post("/api/v1/breakers/{name}/auto", auto)
}

async fn breakers(State(app): State<Arc<App>>, query: Query) -> Outcome<axum::Json<Value>> {
    query.only(&[])?;
    let all = app.web.breakers.as_ref().map(|it| it.all());
    let items = all.iter().flatten().map(breaker).collect();
    Ok(axum::Json(json::list(items, None)))
}

async fn open(State(app): State<Arc<App>>, Path(name): Path<String>) -> Outcome<axum::Json<Value>> {
    set(&app, name, ByHand::Open).await
}

async fn close(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Outcome<axum::Json<Value>> {
    set(&app, name, ByHand::Close).await
}

async fn auto(State(app): State<Arc<App>>, Path(name): Path<String>) -> Outcome<axum::Json<Value>> {
    set(&app, name, ByHand::Auto).await
}

/// The breaker as it stands afterwards.
async fn set(app: &App, name: String, to: ByHand) -> Outcome<axum::Json<Value>> {
    let breakers = of(app)?;
    breakers.set(name.clone(), to).await?;
    let all = breakers.all();
    let one = all.iter().find(|it| it.name == name);
    Ok(axum::Json(one.map_or(Value::Null, breaker)))
}

pub(crate) fn of(app: &App) -> Outcome<Arc<dyn Breakers>> {
    app.web.breakers.clone().ok_or_else(|| {
        let detail = "this daemon is not configured for AWS: dalsegno.toml has no [aws]";
        Failure::new(Code::NoAws, detail)
    })
}

fn breaker(it: &BreakerView) -> Value {
    json!({
        "name": it.name, "state": it.state, "by_hand": it.by_hand, "failures": it.failures,
        "opened_at": it.opened_at.map(|it| it.to_string()),
        "retry_at": it.retry_at.map(|it| it.to_string()),
        "last_error": it.last_error, "calls": it.calls, "errors": it.errors,
    })
}
