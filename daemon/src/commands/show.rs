//! `dalsegno show`

use super::{find_run, flow_of, lists};
use crate::cli::ShowArgs;
use crate::client::{Client, Exit, Listing, Result, Run, path, typed};
use crate::output::{self, Screen, print, print_json};

/// Tasks that are read for a tree; a person reads no more.
const TASKS_MAX: usize = 10_000;

pub(super) fn show(client: &Client, args: &ShowArgs) -> Result<Exit> {
    let value = find_run(client, &args.run)?;
    if args.json.json && !args.tasks {
        print_json(&value)?;
        return Ok(Exit::Done);
    }
    let run: Run = typed(value)?;
    let list = tasks(client, &run)?;
    if args.json.json {
        return lists::json(&list);
    }
    let screen = Screen::of_stdout();
    let text = match args.tasks {
        true => output::tasks(&screen, &list.typed()?),
        false => output::show(
            &screen,
            &run,
            flow_of(client, &run).as_ref(),
            &list.typed()?,
        ),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The tasks of a run.
pub(super) fn tasks(client: &Client, run: &Run) -> Result<Listing> {
    client.list(&path(&["runs", &run.id, "tasks"]), &[], TASKS_MAX)
}
