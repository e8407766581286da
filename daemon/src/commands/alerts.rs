//! `dalsegno alerts [list|channels|test|deliveries|replay|enable]`

use crate::cli::{AlertsArgs, AlertsCommand, ListAlertsArgs};
use crate::client::{Client, Exit, Result, path};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::{Value, json};

pub(super) fn alerts(client: &Client, args: &AlertsArgs) -> Result<Exit> {
    match &args.command {
        None => list(client, &args.list),
        Some(AlertsCommand::List(args)) => list(client, args),
        Some(AlertsCommand::Channels(args)) => {
            let answer = client.get("/api/v1/channels", &[])?;
            show(&answer, args.json.json, output::channels)
        }
        Some(AlertsCommand::Deliveries(args)) => {
            let limit = args.limit.count.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(args.channel.as_deref().map(|it| ("channel", it)));
            query.extend(args.dead.then_some(("state", "dead")));
            let answer = client.get("/api/v1/deliveries", &query)?;
            show(&answer, args.json.json, output::deliveries)
        }
        Some(AlertsCommand::Test(args)) => {
            let answer = client.post(&path(&["channels", &args.channel, "test"]), &json!({}))?;
            let said = answer["message"].as_str().unwrap_or_default();
            if answer["delivered"] == true {
                say(&format!("{} took it: {said}", args.channel));
                return Ok(Exit::Done);
            }
            say(&format!("{} did not take it: {said}", args.channel));
            Ok(Exit::Failed)
        }
        Some(AlertsCommand::Replay(args)) => {
            client.post(&path(&["deliveries", &args.delivery, "replay"]), &json!({}))?;
            say(&format!("{} is sent again", args.delivery));
            Ok(Exit::Done)
        }
        Some(AlertsCommand::Enable(args)) => {
            let answer = client.post(&path(&["channels", &args.channel, "enable"]), &json!({}))?;
            say(&match answer["was_stopped"] == true {
                true => format!("channel {} goes on; what waits is sent now", args.channel),
                false => format!("channel {} was not stopped", args.channel),
            });
            Ok(Exit::Done)
        }
    }
}

fn list(client: &Client, args: &ListAlertsArgs) -> Result<Exit> {
    let limit = args.limit.count.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(args.flow.as_deref().map(|it| ("flow", it)));
    let answer = client.get("/api/v1/alerts", &query)?;
    show(&answer, args.json.json, output::alerts)
}

fn show(answer: &Value, as_json: bool, text: fn(&Screen, &[Value]) -> String) -> Result<Exit> {
    if as_json {
        print_json(answer)?;
        return Ok(Exit::Done);
    }
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    print(&text(&Screen::of_stdout(), items))?;
    Ok(Exit::Done)
}
