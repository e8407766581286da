//! Commands that print a list.

use super::{moment, names, starter};
use crate::cli::{FlowsArgs, NextArgs, OccurrencesArgs, RunsArgs};
use crate::client::{Client, Exit, Flow, Listing, Result, Run, path, typed};
use crate::output::{self, Screen, print, print_json, say};

/// `dalsegno runs`
pub(super) fn runs(client: &Client, args: &RunsArgs) -> Result<Exit> {
    let ask = |flow: Option<&str>| {
        let flow = flow.map(|it| ("flow", it));
        let state = args.state.as_deref().map(|it| ("state", it));
        let query: Vec<_> = flow.into_iter().chain(state).collect();
        client.list("/api/v1/runs", &query, args.limit.count as usize)
    };
    let list = match &args.flow {
        Some(name) => names::full(client, name, |name| ask(Some(name)))?,
        None => ask(None)?,
    };
    if args.json.json {
        return json(&list);
    }
    let mut runs: Vec<Run> = list.typed()?;
    starter::tell(client, &mut runs);
    print(&output::runs(&Screen::of_stdout(), &runs))?;
    more(&list);
    Ok(Exit::Done)
}

/// `dalsegno flows`
pub(super) fn flows(client: &Client, args: &FlowsArgs) -> Result<Exit> {
    let screen = Screen::of_stdout();
    if let Some(name) = &args.flow {
        let flow = names::full(client, name, |name| {
            client.get(&path(&["flows", name]), &[])
        })?;
        match args.json.json {
            true => print_json(&flow)?,
            false => print(&output::flow(&screen, &typed(flow)?))?,
        }
        return Ok(Exit::Done);
    }
    let mut answer = client.get("/api/v1/flows", &[])?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let mut flows: Vec<Flow> = typed(answer["items"].take())?;
    let all = flows.len();
    flows.retain(|it| args.all || !it.never_was());
    print(&output::flows(&screen, &flows))?;
    match all - flows.len() {
        0 => {}
        1 => say("1 flow whose file is gone and never was valid is not listed; it is with --all"),
        hidden => say(&format!(
            "{hidden} flows whose files are gone and never were valid are not listed; they are with --all"
        )),
    }
    Ok(Exit::Done)
}

/// `dalsegno next`
pub(super) fn next(client: &Client, args: &NextArgs) -> Result<Exit> {
    let limit = args.limit.count.min(1_000).to_string();
    let mut answer = client.get("/api/v1/next", &[("limit", &limit)])?;
    match args.json.json {
        true => print_json(&answer)?,
        false => {
            let items: Vec<_> = typed(answer["items"].take())?;
            print(&output::next(&Screen::of_stdout(), &items))?;
        }
    }
    Ok(Exit::Done)
}

/// `dalsegno occurrences`
pub(super) fn occurrences(client: &Client, args: &OccurrencesArgs) -> Result<Exit> {
    let since = moment::given("--since", args.since.as_deref())?;
    let until = moment::given("--until", args.until.as_deref())?;
    let query = given(&[
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("state", args.state.as_deref()),
        ("trigger", args.trigger.as_deref()),
    ]);
    let list = names::full(client, &args.flow, |name| {
        let place = path(&["flows", name, "occurrences"]);
        client.list(&place, &query, args.limit.count as usize)
    })?;
    if args.json.json {
        return json(&list);
    }
    print(&output::occurrences(&Screen::of_stdout(), &list.typed()?))?;
    more(&list);
    Ok(Exit::Done)
}

/// What of a query was given.
pub(super) fn given<'a>(all: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let some = all.iter().filter_map(|(name, it)| Some((*name, (*it)?)));
    some.collect()
}

pub(super) fn json(list: &Listing) -> Result<Exit> {
    print_json(&list.json())?;
    Ok(Exit::Done)
}

/// Says that the list goes on.
pub(super) fn more(list: &Listing) {
    if list.next.is_some() {
        say("there are more; ask for them with --limit");
    }
}
