//! `dalsegno why`

use super::names;
use crate::cli::WhyArgs;
use crate::client::{Client, Exit, Result, path, typed};
use crate::output::{self, Screen, print, print_json};
use serde_json::Value;

pub(super) fn why(client: &Client, args: &WhyArgs) -> Result<Exit> {
    let mut answer = ask(client, args)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let whys: Vec<_> = typed(answer["items"].take())?;
    print(&output::why(&Screen::of_stdout(), &whys))?;
    Ok(Exit::Done)
}

/// A number is a run's, unless there is only a flow of that name.
fn ask(client: &Client, args: &WhyArgs) -> Result<Value> {
    let is_number = args.subject.bytes().all(|it| it.is_ascii_digit());
    let at = args.at.as_deref().map(|it| ("at", it));
    let query: Vec<_> = at.into_iter().collect();
    let of_flow = || {
        names::full(client, &args.subject, |name| {
            client.get(&path(&["flows", name, "why"]), &query)
        })
    };
    if !is_number || args.at.is_some() {
        return of_flow();
    }
    match client.get(&path(&["runs", &args.subject, "why"]), &[]) {
        Err(failure) if failure.code.as_deref() == Some("unknown_run") => {
            of_flow().map_err(|_| failure)
        }
        answer => answer,
    }
}
