//! Commands that change something at once: cancel, pause, unpause.

use super::{by, name_run};
use crate::cli::{CancelArgs, PauseArgs, UnpauseArgs};
use crate::client::{Client, Exit, Flow, Result, Run, path, typed};
use crate::output::{self, Screen, print};
use serde_json::json;

/// `dalsegno cancel`
pub(super) fn cancel(client: &Client, args: &CancelArgs) -> Result<Exit> {
    let run = name_run(client, &args.run)?;
    let body = json!({ "reason": args.reason, "by": by() });
    let answer = client.post(&path(&["runs", &run.id, "cancel"]), &body)?;
    let run: Run = typed(answer)?;
    print(&format!(
        "{}\n",
        output::verdict(&run, &Screen::of_stdout())
    ))?;
    Ok(Exit::Done)
}

/// `dalsegno pause`
pub(super) fn pause(client: &Client, args: &PauseArgs) -> Result<Exit> {
    let body = json!({ "reason": args.reason, "by": by() });
    let answer = client.post(&path(&["flows", &args.flow, "pause"]), &body)?;
    let flow: Flow = typed(answer)?;
    let runs = match flow.unfinished_runs {
        0 => String::new(),
        1 => "; its unfinished run goes on".to_owned(),
        runs => format!("; its {runs} unfinished runs go on"),
    };
    print(&format!(
        "flow {} is paused: no schedule and no trigger starts it{runs}\n",
        flow.name
    ))?;
    Ok(Exit::Done)
}

/// `dalsegno unpause`
pub(super) fn unpause(client: &Client, args: &UnpauseArgs) -> Result<Exit> {
    let answer = client.post(
        &path(&["flows", &args.flow, "unpause"]),
        &json!({ "by": by() }),
    )?;
    let flow: Flow = typed(answer)?;
    let next = flow.next_at.map(|it| {
        format!(
            "; it runs next {}",
            output::when(it, Screen::of_stdout().now)
        )
    });
    print(&format!(
        "flow {} is on again{}\n",
        flow.name,
        next.unwrap_or_default()
    ))?;
    Ok(Exit::Done)
}
