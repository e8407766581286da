//! `dalsegno breakers [open|close|auto NAME]`

use crate::cli::{BreakerArgs, BreakerCommand, BreakersArgs};
use crate::client::{Client, Exit, Result, path, typed};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::json;

pub(super) fn breakers(client: &Client, args: &BreakersArgs) -> Result<Exit> {
    match &args.command {
        None => {
            let mut answer = client.get("/api/v1/breakers", &[])?;
            if args.json.json {
                print_json(&answer)?;
                return Ok(Exit::Done);
            }
            let all: Vec<_> = typed(answer["items"].take())?;
            print(&output::breakers(&Screen::of_stdout(), &all))?;
            Ok(Exit::Done)
        }
        Some(BreakerCommand::Open(it)) => set(client, it, "open", "open: nothing is sent"),
        Some(BreakerCommand::Close(it)) => set(client, it, "close", "closed, whatever fails"),
        Some(BreakerCommand::Auto(it)) => set(client, it, "auto", "going by what fails again"),
    }
}

fn set(client: &Client, args: &BreakerArgs, verb: &str, now: &str) -> Result<Exit> {
    client.post(&path(&["breakers", &args.name, verb]), &json!({}))?;
    say(&format!("the circuit breaker of {} is {now}", args.name));
    Ok(Exit::Done)
}
