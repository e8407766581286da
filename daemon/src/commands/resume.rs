//! `dalsegno resume`

use super::run::params;
use super::{agreed, by, name_run, names, show, watch};
use crate::cli::ResumeArgs;
use crate::client::{Client, Exit, Failure, Flow, Result, Run, path, typed};
use crate::output::{self, print, say};
use serde_json::{Value, json};

pub(super) fn resume(client: &Client, args: &ResumeArgs) -> Result<Exit> {
    let run = name_run(client, &args.run)?;
    // What the daemon would refuse is refused there, in its words.
    let params = params(client, &run.flow, &args.set, "--set")?;
    check(client, &run, args)?;
    if run.is_finished() && (!run.succeeded() || args.from.is_some()) {
        tell_plan(client, &run, args)?;
        if args.dry_run {
            return Ok(Exit::Done);
        }
        if !args.yes && !agreed()? {
            return Err(Failure::new(Exit::Refused, "nothing was changed"));
        }
    }
    if args.dry_run {
        let text = format!(
            "run {} is {}: there is nothing to resume",
            run.id, run.state
        );
        return Err(Failure::new(Exit::Refused, text));
    }
    let seen = if args.wait {
        watch::last_entry(client, &run.id)?
    } else {
        0
    };
    let version = if args.same_version { "same" } else { "latest" };
    let mut body = json!({ "from": args.from, "version": version, "by": by() });
    if !params.is_empty() {
        body["params"] = params.into();
        return rerun(client, &run, &body, args.wait);
    }
    let run: Run = typed(client.post(&path(&["runs", &run.id, "resume"]), &body)?)?;
    if args.wait {
        return watch::to_the_end(client, &run.id, seen, false);
    }
    print(&format!("{}\n", output::begun(&run, "goes on")))?;
    Ok(Exit::Done)
}

/// Names that do not exist are told before the plan is. What cannot be known here the daemon refuses.
fn check(client: &Client, run: &Run, args: &ResumeArgs) -> Result<()> {
    if args.from.is_none() && args.set.is_empty() {
        return Ok(());
    }
    let Ok(flow) = client.get_as::<Flow>(&path(&["flows", &run.flow])) else {
        return Ok(());
    };
    let newest = flow.active_version.as_deref();
    if newest.is_none() || args.same_version && newest != Some(&run.version) {
        return Ok(());
    }
    let steps = flow.steps.iter().map(|it| it.name.as_str());
    if let Some(from) = &args.from
        && !steps.clone().any(|it| it == from)
        && !flow
            .steps
            .iter()
            .any(|it| it.foreach.as_ref() == Some(from))
    {
        let text = format!("flow {} has no step `{from}`", run.flow);
        return Err(names::unknown(Exit::NotFound, text, from, steps));
    }
    let params = flow.params.iter().map(|it| it.name.as_str());
    for (name, _) in &args.set {
        if !params.clone().any(|it| it == name) {
            let text = format!("flow {} has no parameter `{name}`", run.flow);
            return Err(names::unknown(Exit::Refused, text, name, params));
        }
    }
    Ok(())
}

/// A new run, which begins with what the old one has finished.
fn rerun(client: &Client, old: &Run, body: &Value, wait: bool) -> Result<Exit> {
    let answer = client.post(&path(&["runs", &old.id, "resume"]), body)?;
    if answer["started"] == Value::Bool(false) {
        let reason = answer["reason"]["text"].as_str().unwrap_or("refused");
        say(&format!("{} was not started: {reason}", old.flow));
        return Ok(Exit::Refused);
    }
    let new: Run = typed(answer)?;
    if wait {
        return watch::to_the_end(client, &new.id, 0, false);
    }
    let began = format!("started from run {}", old.id);
    print(&format!("{}\n", output::begun(&new, &began)))?;
    Ok(Exit::Done)
}

/// What is kept and what is repeated, and in which version.
fn tell_plan(client: &Client, run: &Run, args: &ResumeArgs) -> Result<()> {
    let flow: Option<Flow> = client.get_as(&path(&["flows", &run.flow])).ok();
    let newest = flow.as_ref().and_then(|it| it.active_version.clone());
    let is_same = newest.as_ref().is_none_or(|it| *it == run.version);
    // Only the newest version's steps are told by the flow.
    let steps = flow
        .as_ref()
        .filter(|_| newest.is_some() && (is_same || !args.same_version));
    let tasks = show::tasks(client, run)?.typed()?;
    let plan = output::plan(run, steps, &tasks, args.from.as_deref());
    let version = output::goes_on_with(run, newest.as_deref(), args.same_version);
    let new_run = !args.set.is_empty();
    say(&format!("{}  {version}", plan.render(run, new_run)));
    if new_run {
        let set = args
            .set
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        say(&format!("  with {}", set.collect::<Vec<_>>().join("  ")));
    }
    if let Some(how) = at_step_functions(client, run, args) {
        say(&format!("  {how}"));
    }
    if steps.is_none() && args.from.is_some() {
        say(
            "  the flow has changed since; what follows that step in the run's own version is repeated, too",
        );
    }
    Ok(())
}

/// What Step Functions does for it, if the flow is executed there. A new run is a new execution in any case.
fn at_step_functions(client: &Client, run: &Run, args: &ResumeArgs) -> Option<String> {
    if !args.set.is_empty() {
        return None;
    }
    let version = if args.same_version { "same" } else { "latest" };
    let mut query = vec![("version", version)];
    query.extend(args.from.as_deref().map(|it| ("from", it)));
    match client.get(&path(&["runs", &run.id, "resume-plan"]), &query) {
        Ok(answer) => {
            let text = answer["step_functions"]["text"].as_str()?;
            Some(format!("at Step Functions {text}"))
        }
        Err(failure) => Some(format!(
            "how Step Functions goes on cannot be told now: {}",
            failure.text
        )),
    }
}
