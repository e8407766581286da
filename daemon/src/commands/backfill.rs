//! `dalsegno backfill`

use super::{agreed, by, lists, moment, names};
use crate::cli::{ApplyArgs, BackfillArgs, BackfillCommand, BackfillsArgs, PlanArgs, PlanOf};
use crate::client::{Backfill, BackfillPlan, Client, Exit, Failure, Result, path, typed};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::{Value, json};

/// How many items of a plan are shown before it is asked whether to apply it.
const SHOWN: usize = 20;

pub(super) fn backfill(client: &Client, command: &BackfillCommand) -> Result<Exit> {
    match command {
        BackfillCommand::Plan(args) => plan(client, args),
        BackfillCommand::Apply(args) => apply(client, args),
        BackfillCommand::List(args) => list(client, args),
        BackfillCommand::Show(args) => show(client, args),
        BackfillCommand::Pause(args) => change(client, args, "pause"),
        BackfillCommand::Resume(args) => change(client, args, "resume"),
        BackfillCommand::Cancel(args) => change(client, args, "cancel"),
    }
}

fn plan(client: &Client, args: &PlanArgs) -> Result<Exit> {
    let answer = client.post("/api/v1/backfills/plan", &body(client, &args.of)?)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let plan: BackfillPlan = typed(answer)?;
    let shown = output::backfill_plan(&Screen::of_stdout(), &plan, args.limit as usize);
    print(&shown)?;
    Ok(Exit::Done)
}

fn apply(client: &Client, args: &ApplyArgs) -> Result<Exit> {
    let mut body = body(client, &args.of)?;
    let token = match &args.token {
        Some(token) => token.clone(),
        None => {
            let plan: BackfillPlan = typed(client.post("/api/v1/backfills/plan", &body)?)?;
            say(output::backfill_plan(&Screen::of_stdout(), &plan, SHOWN).trim_end());
            if plan.counts.run == 0 {
                return Err(Failure::new(Exit::Refused, "there is nothing to run"));
            }
            if !args.yes && !agreed()? {
                return Err(Failure::new(Exit::Refused, "nothing was started"));
            }
            plan.token
        }
    };
    body["token"] = token.into();
    body["parallel"] = args.parallel.into();
    body["by"] = by().into();
    let key = args.key.as_deref().map(|it| ("idempotency-key", it));
    let headers: Vec<_> = [("content-type", "application/json")]
        .into_iter()
        .chain(key)
        .collect();
    let answer = client.post_with("/api/v1/backfills", &headers, &body)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let number = number(&answer["backfill"]);
    let again = match answer["duplicate"].as_bool() {
        Some(true) => "was applied before",
        _ => "begins",
    };
    print(&format!(
        "backfill {number} {again}; follow it with `dalsegno backfill show {number}`\n"
    ))?;
    Ok(Exit::Done)
}

fn list(client: &Client, args: &BackfillsArgs) -> Result<Exit> {
    let query = lists::given(&[("flow", args.flow.as_deref())]);
    let list = client.list("/api/v1/backfills", &query, args.limit.count as usize)?;
    if args.json.json {
        return lists::json(&list);
    }
    print(&output::backfills(&Screen::of_stdout(), &list.typed()?))?;
    lists::more(&list);
    Ok(Exit::Done)
}

fn show(client: &Client, args: &BackfillArgs) -> Result<Exit> {
    let number = args.backfill.to_string();
    let answer = client.get(&path(&["backfills", &number]), &[])?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let backfill: Backfill = typed(answer)?;
    let place = path(&["backfills", &number, "items"]);
    let failed = client.list(&place, &[("state", "failed")], SHOWN)?;
    let shown = output::backfill(&Screen::of_stdout(), &backfill, &failed.typed()?);
    print(&shown)?;
    Ok(Exit::Done)
}

fn change(client: &Client, args: &BackfillArgs, change: &str) -> Result<Exit> {
    let place = path(&["backfills", &args.backfill.to_string(), change]);
    let answer = client.post(&place, &json!({ "by": by() }))?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let backfill: Backfill = typed(answer)?;
    let shown = output::backfill(&Screen::of_stdout(), &backfill, &[]);
    print(&shown)?;
    Ok(Exit::Done)
}

/// What a plan is asked for with.
fn body(client: &Client, of: &PlanOf) -> Result<Value> {
    let from = moment::one("--from", &of.from)?;
    let to = moment::one("--to", of.to.as_deref().unwrap_or("0s"))?;
    let mode = match (of.failed, of.all) {
        (true, _) => "failed",
        (_, true) => "all",
        _ => "missing",
    };
    let flow = names::of_flow(client, &of.flow)?;
    Ok(json!({
        "flow": flow, "from": from, "to": to, "mode": mode, "downstream": of.downstream,
    }))
}

fn number(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
