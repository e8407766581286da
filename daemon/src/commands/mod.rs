//! The commands: each asks, each prints; what it prints is made in [`crate::output`].

mod act;
mod alerts;
mod backfill;
mod breakers;
mod check;
mod doctor;
mod events;
mod follow;
mod lists;
mod logs;
mod migrate;
mod moment;
mod names;
mod orphans;
mod pools;
mod probe;
mod python;
mod resume;
mod run;
mod show;
mod simulate;
mod slas;
mod sources;
mod starter;
mod watch;
mod why;

use crate::cli::{Cli, Command, CompletionsArgs, EventsCommand, KeeperArgs, UpArgs};
use crate::client::{Client, Exit, Failure, Flow, Result, Run, path, typed};
use crate::output::{choose_color, complain, print, say};
use clap::CommandFactory;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Does what the command line asks for.
pub(crate) fn run(mut cli: Cli) -> ExitCode {
    // What Metaflow's side calls it, for those who have set only that.
    let url = || {
        std::env::var("DALSEGNO_URL")
            .ok()
            .filter(|it| !it.trim().is_empty())
    };
    cli.global.server = cli.global.server.or_else(url);
    choose_color(cli.global.color);
    let done = match cli.command {
        Command::Up(args) => {
            let token = cli.global.token;
            return up(&UpArgs { token, ..args });
        }
        Command::Keeper(args) => keeper(&args),
        Command::Sandbox(args) => {
            let error = dalsegno_executor::sandbox::run(args.words);
            Err(Failure::new(Exit::Broken, error.to_string()))
        }
        Command::Check(args) => check::check(&args),
        Command::Completions(args) => completions(&args),
        Command::Migrate(args) => migrate::migrate(&args),
        Command::Python(args) => python::python(&args),
        Command::Doctor(args) => doctor::doctor(&args, &cli.global),
        Command::Simulate(args) => simulate::simulate(&args),
        command => Client::new(&cli.global).and_then(|client| ask(&client, &command)),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

/// Commands that a daemon answers.
fn ask(client: &Client, command: &Command) -> Result<Exit> {
    match command {
        Command::Run(args) => run::run(client, args),
        Command::Runs(args) => lists::runs(client, args),
        Command::Show(args) => show::show(client, args),
        Command::Logs(args) => logs::logs(client, args),
        Command::Flows(args) => lists::flows(client, args),
        Command::Next(args) => lists::next(client, args),
        Command::Why(args) => why::why(client, args),
        Command::Occurrences(args) => lists::occurrences(client, args),
        Command::Cancel(args) => act::cancel(client, args),
        Command::Resume(args) => resume::resume(client, args),
        Command::Pause(args) => act::pause(client, args),
        Command::Unpause(args) => act::unpause(client, args),
        Command::Events(EventsCommand::Emit(args)) => events::emit(client, args),
        Command::Events(EventsCommand::List(args)) => events::list(client, args),
        Command::Events(EventsCommand::Show(args)) => events::show(client, args),
        Command::Events(EventsCommand::Waiting(args)) => events::waiting(client, args),
        Command::Events(EventsCommand::Replay(args)) => events::replay(client, args),
        Command::Events(EventsCommand::DryRun(args)) => events::dry_run(client, args),
        Command::Events(EventsCommand::Refused(args)) => events::refused(client, args),
        Command::Backfill(command) => backfill::backfill(client, command),
        Command::Slas(args) => slas::slas(client, args),
        Command::Ack(args) => slas::ack(client, args),
        Command::Silence(args) => slas::silence(client, args),
        Command::Silences(args) => slas::silences(client, args),
        Command::Alerts(args) => alerts::alerts(client, args),
        Command::Breakers(args) => breakers::breakers(client, args),
        Command::Orphans(command) => orphans::orphans(client, command),
        Command::Sources(args) => sources::sources(client, args),
        Command::Up(_)
        | Command::Keeper(_)
        | Command::Sandbox(_)
        | Command::Check(_)
        | Command::Completions(_)
        | Command::Migrate(_)
        | Command::Python(_)
        | Command::Simulate(_)
        | Command::Doctor(_) => unreachable!("commands without a daemon are done before"),
    }
}

fn up(args: &UpArgs) -> ExitCode {
    crate::up::up(args).unwrap_or_else(|error| {
        complain(&Failure::new(Exit::Broken, format!("{error:#}")));
        Exit::Broken.into()
    })
}

fn keeper(args: &KeeperArgs) -> Result<Exit> {
    match dalsegno_executor::keeper::run(&args.dir) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Broken, error.to_string())),
    }
}

fn completions(args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dalsegno", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// A run by its number or its name in Metaflow, or the newest run of a flow by the flow's name.
fn find_run(client: &Client, name: &str) -> Result<serde_json::Value> {
    if is_number(name) {
        return client.get(&path(&["runs", name]), &[]);
    }
    // A run as Metaflow names it, with its class or without; a task's pathspec leads to its run.
    let mut parts = name.split('/');
    let of_metaflow = parts.find(|it| is_of_metaflow(it));
    if let Some(id) = of_metaflow {
        return client.get(&path(&["runs", "by-metaflow", id]), &[]);
    }
    let not_one = |flow: Failure| {
        // Several flows might be meant.
        if flow.text.contains("several flows") {
            return flow;
        }
        let text = format!("`{name}` is neither a run's number nor a flow's name");
        let failure = Failure::new(Exit::NotFound, text);
        let similar = flow.help.into_iter().find(|it| it.starts_with("did you"));
        failure.help(similar.unwrap_or_else(|| {
            "`dalsegno runs` lists runs, `dalsegno flows` lists flows".to_owned()
        }))
    };
    if name.is_empty() {
        return Err(not_one(Failure::new(Exit::NotFound, "")));
    }
    // The daemon knows best what can be a flow's name.
    let name = &match names::of_flow(client, name) {
        Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::Refused) => {
            return match failure.code.as_deref() {
                Some("unknown_flow" | "unknown_route") => Err(not_one(failure)),
                _ => Err(failure),
            };
        }
        name => name?,
    };
    let mut newest = client.list("/api/v1/runs", &[("flow", name)], 1)?;
    newest.items.pop().ok_or_else(|| {
        let text = format!("flow {name} has not run yet");
        Failure::new(Exit::NotFound, text).help(format!("start it with `dalsegno run {name}`"))
    })
}

/// As [`find_run`], and where a flow was named it is said which run that is.
fn name_run(client: &Client, name: &str) -> Result<Run> {
    let run: Run = typed(find_run(client, name)?)?;
    if !is_number(name) && !name.split('/').any(is_of_metaflow) {
        say(&format!("the newest run of {} is run {}", run.flow, run.id));
    }
    Ok(run)
}

/// Of a run that Dalsegno started, here or at Step Functions.
fn is_of_metaflow(run_id: &str) -> bool {
    run_id.starts_with("dalsegno-") || run_id.starts_with("sfn-ds-")
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit())
}

/// The flow of a run, if its active version is still the run's.
fn flow_of(client: &Client, run: &Run) -> Option<Flow> {
    let flow: Flow = client.get_as(&path(&["flows", &run.flow])).ok()?;
    (flow.active_version.as_deref() == Some(&run.version)).then_some(flow)
}

/// Who asks, for the journal.
fn by() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    user.ok()
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "cli".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{answer, server};

    const RUN: &str =
        r#"{"id":"7","flow":"etl","state":"failed","created_at":"2026-11-22T06:00:00Z"}"#;

    #[test]
    fn a_flows_name_stands_for_its_newest_run() {
        let (client, server) = server(vec![
            answer("200 OK", r#"{"name":"etl","state":"active"}"#),
            answer("200 OK", &format!(r#"{{"items":[{RUN}],"next":null}}"#)),
        ]);
        assert_eq!(name_run(&client, "etl").expect("a run").id, "7");
        let asked = server.join().expect("the server ends");
        assert!(
            asked[1].starts_with("GET /api/v1/runs?flow=etl&limit=1 "),
            "{asked:?}"
        );
    }

    #[test]
    fn a_pathspec_of_metaflow_leads_to_its_run() {
        let (client, server) = server(vec![answer("200 OK", RUN)]);
        let run = name_run(&client, "Train/dalsegno-7-abc/start/t").expect("a run");
        assert_eq!(run.id, "7");
        let asked = server.join().expect("the server ends");
        let expected = "GET /api/v1/runs/by-metaflow/dalsegno-7-abc ";
        assert!(asked[0].starts_with(expected), "{asked:?}");
    }

    #[test]
    fn what_is_neither_a_run_nor_a_flow_is_not_found() {
        let body =
            r#"{"code":"unknown_flow","detail":"there is no flow `12x`","did_you_mean":"12a"}"#;
        let (client, server) = server(vec![answer("404 Not Found", body)]);
        for (name, help) in [
            ("12x", "did you mean `12a`?"),
            (
                "",
                "`dalsegno runs` lists runs, `dalsegno flows` lists flows",
            ),
        ] {
            let failure = find_run(&client, name).expect_err("nothing of that name");
            assert_eq!(failure.exit, Exit::NotFound);
            assert_eq!(
                failure.text,
                format!("`{name}` is neither a run's number nor a flow's name")
            );
            assert_eq!(failure.help, [help]);
        }
        server.join().expect("the server ends");
    }

    #[test]
    fn a_flow_without_runs_is_told_how_to_start_one() {
        let (client, server) = server(vec![
            answer("200 OK", r#"{"name":"etl","state":"active"}"#),
            answer("200 OK", r#"{"items":[],"next":null}"#),
        ]);
        let failure = find_run(&client, "etl").expect_err("it has not run");
        assert_eq!(
            (failure.exit, failure.text.as_str()),
            (Exit::NotFound, "flow etl has not run yet")
        );
        server.join().expect("the server ends");
    }
}
