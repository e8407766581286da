//! `dalsegno run`

use super::{by, names, watch};
use crate::cli::RunArgs;
use crate::client::{Client, Exit, Failure, Flow, Result, Run, path, typed};
use crate::output::{self, print, print_json, say};
use serde_json::{Map, Value, json};

pub(super) fn run(client: &Client, args: &RunArgs) -> Result<Exit> {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(args.key.as_deref().map(|it| ("idempotency-key", it)));
    let answer = names::full(client, &args.flow, |flow| {
        let params = params(client, flow, &args.params, "-p")?;
        let body = json!({ "params": params, "by": by() });
        client.post_with(&path(&["flows", flow, "runs"]), &headers, &body)
    });
    let answer = answer.map_err(maybe_soon)?;
    if answer["started"] == Value::Bool(false) {
        return not_started(args, &answer);
    }
    warn_of_invalid(client, answer["flow"].as_str().unwrap_or(&args.flow));
    if !args.wait {
        match args.json.json {
            true => print_json(&answer)?,
            false => print(&format!("{}\n", output::begun(&typed(answer)?, "started")))?,
        }
        return Ok(Exit::Done);
    }
    let run: Run = typed(answer)?;
    watch::to_the_end(client, &run.id, 0, args.json.json)
}

/// Whoever has just saved a file may be faster than the daemon.
fn maybe_soon(failure: Failure) -> Failure {
    match failure.code.as_deref() {
        Some("unknown_flow") => failure.help("saved just now? the daemon reads it within a second"),
        _ => failure,
    }
}

/// A file that is not valid now has not kept the run from starting, but it is not what runs.
fn warn_of_invalid(client: &Client, flow: &str) {
    // The run has started, whatever the answer to this is.
    let Ok(flow) = client.get_as::<Flow>(&path(&["flows", flow])) else {
        return;
    };
    if let Some(text) = output::invalid_now(&flow) {
        say(&text);
    }
}

/// Command lines know text only, and the daemon reads it as the parameter's type. What is declared as
/// JSON is read here, because there text is a value of its own.
pub(super) fn params(
    client: &Client,
    flow: &str,
    given: &[(String, String)],
    option: &str,
) -> Result<Map<String, Value>> {
    if given.is_empty() {
        return Ok(Map::new());
    }
    let flow: Flow = client.get_as(&path(&["flows", flow]))?;
    let mut params = Map::new();
    for (name, text) in given {
        let is_json = flow
            .params
            .iter()
            .any(|it| it.name == *name && it.kind == "json");
        let value = match is_json {
            false => Value::String(text.clone()),
            true => serde_json::from_str(text).map_err(|error| {
                let text = format!("parameter {name} is not JSON: {error}");
                Failure::new(Exit::Refused, text).help(format!(
                    "text needs quotes of its own: {option} '{name}=\"text\"'"
                ))
            })?,
        };
        if params.insert(name.clone(), value).is_some() {
            return Err(Failure::new(
                Exit::Usage,
                format!("parameter {name} is given twice"),
            ));
        }
    }
    Ok(params)
}

/// The wish is on record, but no run came of it.
fn not_started(args: &RunArgs, answer: &Value) -> Result<Exit> {
    if args.json.json {
        print_json(answer)?;
    }
    let reason = answer["reason"]["text"].as_str().unwrap_or("refused");
    say(&format!("{} was not started: {reason}", args.flow));
    Ok(Exit::Refused)
}
