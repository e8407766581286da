//! `dalsegno slas`, `ack`, `silence` and `silences`

use super::{by, moment};
use crate::cli::{AckArgs, SilenceArgs, SilencesArgs, SilencesCommand, SlasArgs};
use crate::client::{Client, Exit, Failure, Result, path};
use crate::output::{self, Screen, print, print_json, say};
use serde_json::{Value, json};

/// How many promises of a flow `ack` looks at.
const OPEN_MAX: usize = 10_000;

/// `dalsegno slas`
pub(super) fn slas(client: &Client, args: &SlasArgs) -> Result<Exit> {
    let mut query = Vec::new();
    query.extend(args.flow.as_deref().map(|it| ("flow", it)));
    query.extend(args.state.as_deref().map(|it| ("state", it)));
    query.extend((!args.all && args.state.is_none()).then_some(("open", "true")));
    let found = client.list("/api/v1/slas", &query, args.limit.count as usize)?;
    if args.json.json {
        print_json(&found.json())?;
        return Ok(Exit::Done);
    }
    print(&output::slas(&Screen::of_stdout(), &found.items))?;
    Ok(Exit::Done)
}

/// `dalsegno ack`
pub(super) fn ack(client: &Client, args: &AckArgs) -> Result<Exit> {
    let flow = &args.flow;
    let query = [
        ("flow", flow.as_str()),
        ("open", "true"),
        ("state", "at_risk,missed"),
    ];
    let found = client.list("/api/v1/slas", &query, OPEN_MAX)?.items;
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let is_meant = |it: &&Value| {
        let is = |wanted: &Option<String>, name| {
            wanted
                .as_ref()
                .is_none_or(|wanted| *wanted == text(it, name))
        };
        is(&args.promise, "promise") && is(&args.period, "period")
    };
    let meant: Vec<&Value> = found.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let text = format!("no open promise of {flow} that is meant is at risk or missed");
        let help = format!("`dalsegno slas --flow {flow}` lists its promises");
        return Err(Failure::new(Exit::Refused, text).help(help));
    }
    for it in meant {
        let (promise, period) = (text(it, "promise"), text(it, "period"));
        let place = path(&["slas", flow, &promise, &period, "acknowledge"]);
        client.post(&place, &json!({ "note": args.note, "by": by() }))?;
        say(&format!("{flow} {promise} {period}: seen"));
    }
    Ok(Exit::Done)
}

/// `dalsegno silence`
pub(super) fn silence(client: &Client, args: &SilenceArgs) -> Result<Exit> {
    let length = args.length.as_deref().map(|it| moment::length("--for", it));
    let length = length.transpose()?;
    let until = moment::given("--until", args.until.as_deref())?;
    if length.is_none() && until.is_none() {
        let failure = Failure::new(Exit::Usage, "a silence needs its end");
        return Err(failure.help("write --for 2h, or --until 2026-11-22T06:00:00Z"));
    }
    let body = json!({
        "flow": args.flow, "promise": args.promise, "note": args.note, "by": by(),
        "from": moment::given("--from", args.from.as_deref())?, "until": until, "for_s": length,
    });
    let key = args.key.as_deref().map(|it| ("idempotency-key", it));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key);
    let answer = client.post_with("/api/v1/silences", &headers, &body)?;
    let until = answer["until"].as_str().unwrap_or("its end");
    let about = match answer["flows"].as_u64() {
        Some(0) => "about no flow yet".to_owned(),
        Some(1) => "about 1 flow".to_owned(),
        flows => format!("about {} flows", flows.unwrap_or_default()),
    };
    say(&format!(
        "silence {} until {until}, {about}",
        answer["silence"]
    ));
    Ok(Exit::Done)
}

/// `dalsegno silences`
pub(super) fn silences(client: &Client, args: &SilencesArgs) -> Result<Exit> {
    if let Some(SilencesCommand::End(it)) = &args.command {
        client.post(&path(&["silences", &it.silence, "end"]), &json!({}))?;
        say(&format!(
            "silence {} is over; what is still at risk or missed is told",
            it.silence
        ));
        return Ok(Exit::Done);
    }
    let limit = args.limit.count.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend((!args.all).then_some(("open", "true")));
    let answer = client.get("/api/v1/silences", &query)?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    print(&output::silences(&Screen::of_stdout(), items))?;
    Ok(Exit::Done)
}
