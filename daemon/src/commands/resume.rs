//! `dalsegno resume`

use super::{by, flow_of, show, watch};
use crate::cli::ResumeArgs;
use crate::client::{Client, Exit, Failure, Result, Run, path, typed};
use crate::output::{self, Screen, print, say};
use serde_json::json;
use std::io::{IsTerminal, Write};

pub(super) fn resume(client: &Client, args: &ResumeArgs) -> Result<Exit> {
    let place = path(&["runs", &args.run]);
    let run: Run = client.get_as(&place)?;
    // What the daemon would refuse is refused there, in its words.
    if run.is_finished() && (!run.succeeded() || args.from.is_some()) {
        let flow = flow_of(client, &run);
        let tasks = show::tasks(client, &run)?.typed()?;
        let plan = output::plan(&run, flow.as_ref(), &tasks, args.from.as_deref());
        say(&plan.render(&run));
        if flow.is_none() && args.from.is_some() {
            say(
                "  the flow has changed since; what follows that step in the run's own version is repeated, too",
            );
        }
        if !args.yes && !agreed()? {
            return Err(Failure::new(Exit::Refused, "nothing was changed"));
        }
    }
    let seen = if args.wait {
        watch::last_entry(client, &run.id)?
    } else {
        0
    };
    let body = json!({ "from": args.from, "by": by() });
    let run: Run = typed(client.post(&path(&["runs", &args.run, "resume"]), &body)?)?;
    if args.wait {
        return watch::to_the_end(client, &run.id, seen, false);
    }
    print(&format!(
        "{}\n",
        output::verdict(&run, &Screen::of_stdout())
    ))?;
    Ok(Exit::Done)
}

/// Asks a person; a program has meant it.
fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    let failed = |error: std::io::Error| Failure::new(Exit::Broken, format!("cannot ask: {error}"));
    eprint!("go on? [Y/n] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(answer.ends_with('\n') && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}
