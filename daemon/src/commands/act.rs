//! Commands that change something at once: cancel, pause, unpause.

use super::{agreed, by, name_run};
use crate::cli::{CancelArgs, CatchUp, PauseArgs, UnpauseArgs};
use crate::client::{Client, Exit, Failure, Flow, Result, Run, Unpausing, path, typed};
use crate::output::{self, Screen, print, print_json, say};
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
    let place = path(&["flows", &args.flow, "unpause"]);
    let preview = client.get(&place, &[])?;
    if args.preview && args.json.json {
        print_json(&preview)?;
        return Ok(Exit::Done);
    }
    let held: Unpausing = typed(preview)?;
    let choice = args.catch_up.map_or("declared", CatchUp::as_str);
    let screen = Screen::of_stdout();
    if args.preview {
        print(&output::unpausing(&screen, &held))?;
        return Ok(Exit::Done);
    }
    if held.choices.iter().any(|it| it.starts > 0) && !args.yes {
        say(output::unpausing(&screen, &held).trim_end());
        say(&format!("chosen: {choice}"));
        if !agreed()? {
            return Err(Failure::new(Exit::Refused, "nothing was changed"));
        }
    }
    let answer = client.post(&place, &json!({ "by": by(), "catch_up": choice }))?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let flow: Flow = typed(answer)?;
    let starts = held.choices.iter().find(|it| it.choice == choice);
    let starts = match starts.map_or(0, |it| it.starts) {
        0 => String::new(),
        1 => "; 1 run of what was held starts now".to_owned(),
        runs => format!("; {runs} runs of what was held start now"),
    };
    let next = flow
        .next_at
        .map(|it| format!("; it runs next {}", output::when(it, screen.now)));
    print(&format!(
        "flow {} is on again{starts}{}\n",
        flow.name,
        next.unwrap_or_default()
    ))?;
    Ok(Exit::Done)
}
