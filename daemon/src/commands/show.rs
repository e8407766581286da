//! `dalsegno show`

use super::{find_run, flow_of, lists, starter, watch};
use crate::cli::ShowArgs;
use crate::client::{Attempt, Client, Exit, Listing, Result, Run, Task, path, typed};
use crate::output::{self, Screen, print, print_json};
use std::collections::BTreeMap;

/// Tasks that are read for a tree; a person reads no more.
const TASKS_MAX: usize = 10_000;

pub(super) fn show(client: &Client, args: &ShowArgs) -> Result<Exit> {
    let value = find_run(client, &args.run)?;
    if args.json.json && !args.tasks {
        print_json(&value)?;
        return Ok(Exit::Done);
    }
    let mut run: Run = typed(value)?;
    let list = tasks(client, &run)?;
    if args.json.json {
        return lists::json(&list);
    }
    let screen = Screen::of_stdout();
    let mut list: Vec<Task> = list.typed()?;
    tell_failures(client, &run, &mut list)?;
    let flow = flow_of(client, &run);
    starter::tell(client, std::slice::from_mut(&mut run));
    let text = match args.tasks {
        true => output::tasks(&screen, flow.as_ref(), &list),
        false => output::show(&screen, &run, flow.as_ref(), &list),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// Adds to tasks that were tried several times why they failed.
fn tell_failures(client: &Client, run: &Run, tasks: &mut [Task]) -> Result<()> {
    if !tasks.iter().any(|it| it.attempt > 1) {
        return Ok(());
    }
    let mut failed: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
    for attempt in watch::attempts(client, &run.id, None)? {
        if attempt.state == "failed" {
            failed
                .entry(attempt.task.clone())
                .or_default()
                .push(attempt);
        }
    }
    for task in tasks {
        task.failures = failed.remove(&task.task).unwrap_or_default();
    }
    Ok(())
}

/// The tasks of a run.
pub(super) fn tasks(client: &Client, run: &Run) -> Result<Listing> {
    client.list(&path(&["runs", &run.id, "tasks"]), &[], TASKS_MAX)
}
