//! `dalsegno events`

use super::{by, lists, moment, names};
use crate::cli::{
    DryRunArgs, EmitArgs, EventArgs, EventsArgs, RefusedArgs, ReplayArgs, WaitingArgs,
};
use crate::client::{Client, Event, Exit, Failure, Listing, Result, path, typed};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::{Value, json};

/// What Dalsegno sends itself whenever a run has ended, so that flows can wait for flows.
const RUN_ENDED: &str = dalsegno_scheduler::RUN_ENDED;
/// Events that are read at once, and at most, to find those of others between Dalsegno's own.
const PAGE: usize = 500;
const EVENTS_MAX: usize = 10_000;

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
    let since = moment::given("--since", args.since.as_deref())?;
    let until = moment::given("--until", args.until.as_deref())?;
    let query = lists::given(&[
        ("type", args.kind.as_deref()),
        ("source", args.source.as_deref()),
        ("subject", args.subject.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("flow", args.flow.as_deref()),
        ("outcome", args.outcome.as_deref()),
    ]);
    let limit = args.limit.count as usize;
    if args.json.json || args.all || !query.is_empty() {
        let list = client.list("/api/v1/events", &query, limit)?;
        if args.json.json {
            return lists::json(&list);
        }
        print(&output::events(&Screen::of_stdout(), &list.typed()?))?;
        lists::more(&list);
        return Ok(Exit::Done);
    }
    let (list, hidden) = of_others(client, limit)?;
    print(&output::events(&Screen::of_stdout(), &list.typed()?))?;
    lists::more(&list);
    if hidden > 0 {
        say(&format!(
            "{hidden} {} of Dalsegno's own ({RUN_ENDED}) not listed; --all lists them, too",
            if hidden == 1 { "event" } else { "events" }
        ));
    }
    Ok(Exit::Done)
}

/// `dalsegno events show`
pub(super) fn show(client: &Client, args: &EventArgs) -> Result<Exit> {
    let answer = client.get(&path(&["events", &args.event.to_string()]), &[])?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    print(&output::event(&Screen::of_stdout(), &typed(answer)?))?;
    Ok(Exit::Done)
}

/// `dalsegno events waiting`
pub(super) fn waiting(client: &Client, args: &WaitingArgs) -> Result<Exit> {
    let mut answer = names::full(client, &args.flow, |name| {
        client.get(&path(&["flows", name, "sets"]), &[])
    })?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let sets: Vec<_> = typed(answer["items"].take())?;
    print(&output::sets(&Screen::of_stdout(), &sets))?;
    Ok(Exit::Done)
}

/// `dalsegno events replay`
pub(super) fn replay(client: &Client, args: &ReplayArgs) -> Result<Exit> {
    let place = path(&["events", &args.event.to_string(), "replay"]);
    let key = args.key.as_deref().map(|it| ("idempotency-key", it));
    let headers: Vec<_> = [("content-type", "application/json")]
        .into_iter()
        .chain(key)
        .collect();
    let body = json!({ "flow": args.flow, "by": by() });
    let answer = client.post_with(&place, &headers, &body)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let duplicate = answer["duplicate"].as_bool().unwrap_or(false);
    let event: Event = client.get_as(&path(&["events", &answer["seq"].to_string()]))?;
    print(&output::emitted(&event, duplicate))?;
    Ok(Exit::Done)
}

/// `dalsegno events dry-run`
pub(super) fn dry_run(client: &Client, args: &DryRunArgs) -> Result<Exit> {
    let file = args.file.display().to_string();
    let source = std::fs::read_to_string(&args.file).map_err(|error| {
        let text = format!("cannot read {file}: {error}");
        Failure::new(Exit::Usage, text).help("name a flow file in YAML")
    })?;
    let since = moment::one("--since", &args.since)?;
    let until = moment::given("--until", args.until.as_deref())?;
    let body = json!({ "source": source, "file": file, "since": since, "until": until });
    let answer = client.post("/api/v1/dry-run", &body)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    print(&output::dry_run(&Screen::of_stdout(), &typed(answer)?))?;
    Ok(Exit::Done)
}

/// `dalsegno events refused`
pub(super) fn refused(client: &Client, args: &RefusedArgs) -> Result<Exit> {
    let list = client.list("/api/v1/refused", &[], args.limit.count as usize)?;
    if args.json.json {
        return lists::json(&list);
    }
    print(&output::refusals(&Screen::of_stdout(), &list.typed()?))?;
    lists::more(&list);
    Ok(Exit::Done)
}

/// The newest events that Dalsegno did not send itself, and how many of its own lie between them.
fn of_others(client: &Client, limit: usize) -> Result<(Listing, usize)> {
    let mut all = client.list("/api/v1/events", &[], limit)?;
    let mut read = all.items.len();
    loop {
        all.items.retain(|it| it["type"] != RUN_ENDED);
        let cursor = all
            .next
            .take_if(|_| all.items.len() < limit && read < EVENTS_MAX);
        let Some(cursor) = cursor else {
            break;
        };
        let page = client.list("/api/v1/events", &[("cursor", &cursor)], PAGE)?;
        read += page.items.len();
        all.items.extend(page.items);
        all.next = page.next;
    }
    let hidden = read - all.items.len();
    // What was read beyond the limit is still to come.
    if all.items.len() > limit {
        all.items.truncate(limit);
        all.next.get_or_insert_default();
    }
    Ok((all, hidden))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{answer, server};

    #[test]
    fn dalsegnos_own_events_are_left_out_and_the_list_is_filled_up() {
        let (client, server) = server(vec![
            answer(
                "200 OK",
                r#"{"items":[{"type":"dalsegno.run.ended"},{"type":"a"}],"next":"5"}"#,
            ),
            answer(
                "200 OK",
                r#"{"items":[{"type":"b"},{"type":"dalsegno.run.ended"},{"type":"c"}],"next":null}"#,
            ),
        ]);
        let (list, hidden) = of_others(&client, 2).expect("two pages");
        let kinds: Vec<&Value> = list.items.iter().map(|it| &it["type"]).collect();
        assert_eq!(kinds, ["a", "b"]);
        assert_eq!(hidden, 2);
        assert!(list.next.is_some(), "`c` is still to come");
        let asked = server.join().expect("the server ends");
        assert!(asked[1].contains("cursor=5&limit="), "{asked:?}");
    }
}
