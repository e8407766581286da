//! `dalsegno events`

use super::lists;
use crate::cli::{EmitArgs, EventsArgs};
use crate::client::{Client, Event, Exit, Failure, Result, path};
use crate::output::{self, Screen, print, print_json};
use serde_json::{Value, json};

/// `dalsegno events emit`
pub(super) fn emit(client: &Client, args: &EmitArgs) -> Result<Exit> {
    let data: Value = serde_json::from_str(&args.data).map_err(|error| {
        let text = format!("--data is not JSON: {error}");
        Failure::new(Exit::Usage, text)
            .help("write it such as --data '{\"day\": \"2026-11-22\"}', in single quotes")
    })?;
    let id = args
        .id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": args.source, "type": args.kind, "data": data,
    });
    if let Some(subject) = &args.subject {
        event["subject"] = subject.as_str().into();
    }
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = client.post_with("/api/v1/events", &headers, &event)?;
    let accepted = &answer["items"][0];
    let duplicate = accepted["duplicate"].as_bool().unwrap_or(false);
    let seq = accepted["seq"].to_string();
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let event: Event = client.get_as(&path(&["events", &seq]))?;
    print(&output::emitted(&event, duplicate))?;
    Ok(Exit::Done)
}

/// `dalsegno events list`
pub(super) fn list(client: &Client, args: &EventsArgs) -> Result<Exit> {
    let kind = args.kind.as_deref().map(|it| ("type", it));
    let source = args.source.as_deref().map(|it| ("source", it));
    let query: Vec<_> = kind.into_iter().chain(source).collect();
    let list = client.list("/api/v1/events", &query, args.limit.count as usize)?;
    if args.json.json {
        return lists::json(&list);
    }
    print(&output::events(&Screen::of_stdout(), &list.typed()?))?;
    lists::more(&list);
    Ok(Exit::Done)
}
