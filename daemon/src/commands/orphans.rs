//! `dalsegno orphans list|adopt|cancel`

use crate::cli::{OrphanArgs, OrphansCommand};
use crate::client::{Client, Exit, OrphanJob, Result, path, typed};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::json;

pub(super) fn orphans(client: &Client, command: &OrphansCommand) -> Result<Exit> {
    match command {
        OrphansCommand::List(args) => {
            let mut answer = client.get("/api/v1/orphans", &[])?;
            if args.json.json {
                print_json(&answer)?;
                return Ok(Exit::Done);
            }
            let all: Vec<OrphanJob> = typed(answer["items"].take())?;
            print(&output::orphans(&Screen::of_stdout(), &all))?;
            Ok(Exit::Done)
        }
        OrphansCommand::Adopt(args) => act(client, args, "adopt", "belongs to its task now"),
        OrphansCommand::Cancel(args) => act(client, args, "cancel", "is told to end"),
    }
}

fn act(client: &Client, args: &OrphanArgs, verb: &str, now: &str) -> Result<Exit> {
    client.post(&path(&["orphans", &args.job, verb]), &json!({}))?;
    say(&format!("job {} {now}", args.job));
    Ok(Exit::Done)
}
