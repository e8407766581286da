//! Stories of the API about what starts runs: events and their sets, replays, dry runs, the ledger, backfills, sub-flows.

use crate::common::{self, Stage, read, request, shop, stage};
use axum::http::{StatusCode, header};
use dalsegno_scheduler::row::{RefusedRow, TaskState};
use dalsegno_scheduler::{Answer, Input, NewEvent, Span, Timestamp};
use serde_json::{Value, json};

/// Starts when `orders.a` with at least one row has come, or both of `orders.b` and `orders.c`.
fn listener() -> Value {
    let event = |kind: &str| json!({"leaf": {"source": {"event": {"kind": kind}}}});
    let filtered = json!({"leaf": {"source": {"event": {"kind": "orders.a"}}, "where": "event.data.rows > 0"}});
    json!({
        "name": "listener",
        "triggers": [
            {"name": "single", "on": filtered},
            {"name": "pair", "join_on": "none", "on": {"all_of": [event("orders.b"), event("orders.c")]}},
        ],
        "steps": [{"name": "good", "run": {"shell": "true"}}],
    })
}

/// Due every day at midnight, UTC.
fn daily(name: &str, step: &str) -> Value {
    json!({
        "name": name,
        "schedules": [{"name": "daily", "when": {"cron": {"text": "0 0 * * *"}}, "timezone": "UTC"}],
        "steps": [{"name": step, "run": {"shell": "true"}}],
    })
}

async fn arrive(stage: &Stage, id: &str, kind: &str, data: Value) -> u64 {
    let event = NewEvent {
        source: "test".into(),
        id: id.into(),
        kind: kind.into(),
        subject: Some(format!("day/{id}")),
        time: None,
        data,
    };
    match stage.engine.ask(Input::Event(event)).await {
        Ok(Answer::Event { seq, .. }) => seq,
        other => panic!("{other:?}"),
    }
}

async fn keyed(stage: &Stage, path: &str, key: &str, body: &Value) -> common::Answer {
    let request = request("POST", path, &[("idempotency-key", key)], &body.to_string());
    read(stage.send(request).await).await
}

/// Every one of these is refused with this code, and the text says why.
async fn refused(stage: &Stage, asked: &[(&str, &str, Value, &str, &str)]) {
    for (method, path, body, code, text) in asked {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = read(stage.send(request(method, path, &[], &body)).await).await;
        let problem = answer.json();
        assert_eq!(problem["code"], *code, "{method} {path}: {problem}");
        assert_eq!(
            answer.header(header::CONTENT_TYPE),
            "application/problem+json"
        );
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(text), "{method} {path}: {detail}");
    }
}

/// The OpenAPI document has a schema of this name, and the answer has all that it requires and nothing else than it names.
pub(crate) async fn documented(stage: &Stage, schema: &str, answer: &Value) {
    let document = stage.get("/api/v1/openapi.json").await.json();
    let schema = &document["components"]["schemas"][schema];
    let known = schema["properties"].as_object().expect("a schema");
    let members = answer.as_object().expect("an object");
    for name in members.keys() {
        assert!(
            known.contains_key(name),
            "{name} is not documented: {answer}"
        );
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(members.contains_key(name), "{name} is missing: {answer}");
    }
}

fn numbers(items: &Value) -> Vec<u64> {
    let items = items.as_array().expect("a list").iter();
    items
        .map(|it| it["seq"].as_u64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn events_are_found_by_what_they_are_and_what_became_of_them() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let first = arrive(&stage, "1", "orders.a", json!({"rows": 3})).await;
    let second = arrive(&stage, "2", "orders.a", json!({"rows": 0})).await;
    let third = arrive(&stage, "3", "orders.b", json!({})).await;
    let fourth = arrive(&stage, "4", "parcels", json!({})).await;
    let found = async |query: &str| {
        let answer = stage
            .get(&format!("/api/v1/events?source=test&{query}"))
            .await;
        numbers(&answer.json()["items"])
    };
    assert_eq!(found("type=orders.a").await, [second, first]);
    assert_eq!(found("subject=day/3").await, [third]);
    assert_eq!(found("flow=listener").await, [third, second, first]);
    assert_eq!(
        found("flow=listener&outcome=filtered").await,
        [second],
        "{fourth}"
    );
    assert_eq!(found("flow=listener&outcome=fired").await, [first]);
    let long_ago = "since=2001-01-01T00:00:00Z&until=2002-01-01T00:00:00Z";
    assert!(found(long_ago).await.is_empty());
    assert_eq!(found("since=2001-01-01T00:00:00Z").await.len(), 4);

    let list = stage.get("/api/v1/events?type=orders.a").await.json();
    let outcomes: Vec<&Value> = list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["outcomes"])
        .collect();
    assert_eq!(
        outcomes,
        [&json!({"filtered": 1}), &json!({"fired": 1})],
        "what is listed says what became of it"
    );
    let one = stage.get(&format!("/api/v1/events/{second}")).await.json();
    let matched = &one["matches"][0];
    documented(&stage, "Event", &one).await;
    documented(&stage, "Event", &list["items"][0]).await;
    assert_eq!(matched["outcome"], "filtered");
    assert_eq!(matched["reason"]["code"], "filter_false");
    assert_eq!(matched["label"], "event orders.a where event.data.rows > 0");
    assert_eq!(
        (&one["replay_of"], &one["replays"]),
        (&Value::Null, &json!([]))
    );

    refused(
        &stage,
        &[
            (
                "GET",
                "/api/v1/events?outcome=fired",
                Value::Null,
                "bad_request",
                "name the flow with `flow`",
            ),
            (
                "GET",
                "/api/v1/events?flow=listener&outcome=fire",
                Value::Null,
                "bad_request",
                "did you mean `fired`?",
            ),
            (
                "GET",
                "/api/v1/events?flow=listner",
                Value::Null,
                "unknown_flow",
                "listner",
            ),
            (
                "GET",
                "/api/v1/events?since=yesterday",
                Value::Null,
                "bad_request",
                "`since` is `yesterday`",
            ),
            (
                "GET",
                "/api/v1/events?kind=x",
                Value::Null,
                "bad_request",
                "there is no query parameter `kind`",
            ),
            (
                "GET",
                "/api/v1/events/99",
                Value::Null,
                "unknown_event",
                "no event 99",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_event_is_replayed_once_for_a_key_and_seen_by_one_flow_if_wished() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let mut other = listener();
    other["name"] = "other".into();
    stage.deploy(other).await;
    let seq = arrive(&stage, "1", "orders.a", json!({"rows": 3})).await;
    let path = format!("/api/v1/events/{seq}/replay");
    let body = json!({"flow": "listener", "by": "ada"});
    let replayed = keyed(&stage, &path, "again", &body).await;
    assert_eq!(replayed.status, StatusCode::ACCEPTED, "{}", replayed.body);
    let answer = replayed.json();
    assert_eq!(answer["duplicate"], false);
    assert_eq!(answer["runs"].as_array().map(Vec::len), Some(1), "{answer}");
    assert!(answer["runs"][0].is_string(), "run ids are text");
    let twice = keyed(&stage, &path, "again", &body).await;
    assert_eq!(twice.json()["seq"], answer["seq"]);
    assert_eq!(twice.json()["duplicate"], true);
    assert_eq!(twice.headers["idempotent-replayed"], "true");

    let new = stage
        .get(&format!("/api/v1/events/{}", answer["seq"]))
        .await
        .json();
    assert_eq!(new["replay_of"], seq);
    assert_eq!(new["data"], json!({"rows": 3}));
    let flows: Vec<&Value> = new["matches"]
        .as_array()
        .expect("matches")
        .iter()
        .map(|it| &it["flow"])
        .collect();
    assert_eq!(flows, ["listener"]);
    let all = stage.post(&path, "").await.json();
    assert_eq!(all["runs"].as_array().map(Vec::len), Some(2), "{all}");
    let first = stage.get(&format!("/api/v1/events/{seq}")).await.json();
    assert_eq!(first["replays"], json!([all["seq"], answer["seq"]]));

    refused(
        &stage,
        &[
            (
                "POST",
                "/api/v1/events/99/replay",
                json!({}),
                "unknown_event",
                "no event 99",
            ),
            (
                "POST",
                &path,
                json!({"flow": "listner"}),
                "unknown_flow",
                "listner",
            ),
            (
                "POST",
                &path,
                json!({"flows": "listener"}),
                "bad_request",
                "unknown field `flows`",
            ),
        ],
    )
    .await;
    let unkeyed = keyed(&stage, &path, "", &body).await;
    assert_eq!(unkeyed.json()["code"], "bad_request", "{}", unkeyed.body);
}

#[tokio::test]
async fn what_waits_is_told_with_what_is_missing_and_what_holds_it() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    for number in 0..23 {
        arrive(
            &stage,
            &format!("b{number}"),
            "orders.b",
            json!({"n": number}),
        )
        .await;
    }
    let sets = stage.get("/api/v1/flows/listener/sets").await.json();
    assert_eq!(sets["count"], 1);
    let set = &sets["items"][0];
    documented(&stage, "WaitingSet", set).await;
    assert_eq!(
        (&set["trigger"], &set["events"]),
        (&json!("pair"), &json!(23))
    );
    assert_eq!(set["missing"].as_array().map(Vec::len), Some(1), "{set}");
    assert!(
        set["missing"][0]
            .as_str()
            .is_some_and(|it| it.contains("orders.c"))
    );
    assert_eq!(set["held"], Value::Null);
    assert!(set["since"].is_string());
    let arrived = &set["arrived"][0];
    assert_eq!(arrived["events"].as_array().map(Vec::len), Some(20));
    assert_eq!((&arrived["more"], &arrived["leaf"]), (&json!(3), &json!(0)));
    assert_eq!(arrived["events"][0]["type"], "orders.b");
    assert_eq!(
        arrived["events"][0]["data"],
        json!({"n": 0}),
        "oldest first"
    );

    stage
        .post("/api/v1/flows/listener/pause", r#"{"by": "ada"}"#)
        .await;
    arrive(&stage, "c", "orders.c", json!({})).await;
    let sets = stage.get("/api/v1/flows/listener/sets").await.json();
    let held = &sets["items"][0]["held"];
    assert_eq!(held["code"], "flow_paused", "{sets}");
    assert!(held["text"].is_string());

    let preview = stage.get("/api/v1/flows/listener/unpause").await.json();
    documented(&stage, "UnpausePreview", &preview).await;
    assert_eq!(
        (&preview["paused"], &preview["default"]),
        (&json!(true), &json!("declared"))
    );
    let starts = |preview: &Value| -> Vec<(String, u64)> {
        let choices = preview["choices"].as_array().expect("choices").iter();
        choices
            .map(|it| {
                let choice = it["choice"].as_str().expect("a word").to_owned();
                (choice, it["starts"].as_u64().expect("a number"))
            })
            .collect()
    };
    let expected = [("declared", 0), ("none", 0), ("latest", 1), ("all", 1)];
    assert_eq!(starts(&preview), expected.map(|(it, n)| (it.to_owned(), n)));
    let run = &preview["choices"][3]["runs"][0];
    assert_eq!(run["trigger"], "pair");
    assert!(run["due_at"].is_string() && run["interval"]["start"].is_string());

    refused(
        &stage,
        &[
            (
                "POST",
                "/api/v1/flows/listener/unpause",
                json!({"catch_up": "everything"}),
                "bad_request",
                "expected one of",
            ),
            (
                "GET",
                "/api/v1/flows/none/unpause",
                Value::Null,
                "unknown_flow",
                "none",
            ),
            (
                "GET",
                "/api/v1/flows/none/sets",
                Value::Null,
                "unknown_flow",
                "none",
            ),
            (
                "GET",
                "/api/v1/flows/listener/sets?limit=3",
                Value::Null,
                "bad_request",
                "this address takes none",
            ),
        ],
    )
    .await;
    let runs = async || stage.get("/api/v1/runs?flow=listener").await.json()["items"].clone();
    assert_eq!(runs().await, json!([]), "nothing started yet");
    let on = stage
        .post("/api/v1/flows/listener/unpause", r#"{"catch_up": "all"}"#)
        .await;
    assert_eq!(on.json()["state"], "active", "{}", on.body);
    assert_eq!(runs().await.as_array().map(Vec::len), Some(1));
    let preview = stage.get("/api/v1/flows/listener/unpause").await.json();
    assert_eq!(preview["paused"], false);
    assert!(starts(&preview).iter().all(|(_, starts)| *starts == 0));
}

#[tokio::test]
async fn a_flow_file_is_tried_on_the_events_of_the_past() {
    let stage = stage().await;
    let first = arrive(&stage, "1", "orders.a", json!({"rows": 3})).await;
    arrive(&stage, "2", "orders.a", json!({"rows": 0})).await;
    arrive(&stage, "3", "parcels", json!({})).await;
    let source = listener().to_string();
    let body = json!({"source": source, "file": "listener.yaml", "until": "2999-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z"});
    let answer = stage.post("/api/v1/dry-run", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let tried = answer.json();
    documented(&stage, "DryRun", &tried).await;
    assert_eq!(
        (&tried["flow"], &tried["events"], &tried["truncated"]),
        (&json!("listener"), &json!(3), &json!(false))
    );
    assert_eq!(tried["since"], "2026-01-01T00:00:00Z");
    let runs = tried["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 1, "{tried}");
    assert_eq!(runs[0]["events"], json!([first]));
    assert_eq!(
        (&runs[0]["trigger"], &runs[0]["refused"]),
        (&json!("single"), &Value::Null)
    );
    assert!(runs[0]["at"].is_string());
    assert_eq!(
        stage.get("/api/v1/flows").await.json()["items"],
        json!([]),
        "nothing was registered"
    );
    let past =
        json!({"source": source, "since": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z"});
    let past = stage
        .post("/api/v1/dry-run", &past.to_string())
        .await
        .json();
    assert_eq!((&past["events"], &past["runs"]), (&json!(0), &json!([])));

    let bad = stage
        .post(
            "/api/v1/dry-run",
            r#"{"source": "flow: [", "file": "x.yaml"}"#,
        )
        .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(bad.json()["code"], "bad_deployment");
    assert_eq!(bad.json()["errors"][0]["line"], 1, "{}", bad.body);
    let turned =
        json!({"source": source, "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"});
    refused(
        &stage,
        &[
            (
                "POST",
                "/api/v1/dry-run",
                json!({}),
                "bad_request",
                "missing field `source`",
            ),
            (
                "POST",
                "/api/v1/dry-run",
                turned,
                "bad_request",
                "is after `until`",
            ),
            (
                "POST",
                "/api/v1/dry-run",
                json!({"source": "", "since": "today"}),
                "bad_request",
                "`today` is no instant",
            ),
            (
                "POST",
                "/api/v1/dry-run",
                json!({"source": "", "from": "x"}),
                "bad_request",
                "unknown field `from`",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn refused_deliveries_and_sources_are_told_with_what_is_wrong() {
    let stage = stage().await;
    for number in 0..3 {
        let row = RefusedRow {
            source: "queue:arrivals".into(),
            id: format!("m{number}"),
            reason: "the body is not JSON: expected value at line 1 column 1".into(),
            excerpt: "<xml>".into(),
            received_at: Timestamp::from_secs(1_000 + number),
        };
        stage
            .engine
            .ask(Input::Refuse(row))
            .await
            .expect("on record");
    }
    let page = stage.get("/api/v1/refused?limit=2").await.json();
    let items = page["items"].as_array().expect("a list");
    documented(&stage, "Refused", &items[0]).await;
    assert_eq!(items.len(), 2);
    assert_eq!(
        items[0],
        json!({
            "source": "queue:arrivals", "id": "m2", "excerpt": "<xml>",
            "reason": "the body is not JSON: expected value at line 1 column 1",
            "received_at": "1970-01-01T00:16:42Z",
        })
    );
    let cursor = page["next"].as_str().expect("more").replace(' ', "%20");
    let rest = stage.get(&format!("/api/v1/refused?cursor={cursor}")).await;
    assert_eq!(rest.json()["items"][0]["id"], "m0", "{}", rest.body);

    let sources = stage.get("/api/v1/sources").await.json();
    let orders = &sources["items"][1];
    documented(&stage, "Source", orders).await;
    assert_eq!(
        (&orders["name"], &orders["kind"], &orders["state"]),
        (&json!("orders"), &json!("queue"), &json!("denied"))
    );
    assert_eq!(orders["cure"], "allow sqs:ReceiveMessage on the queue");
    assert_eq!(orders["is_trouble"], true);
    let arrivals = &sources["items"][0];
    assert_eq!(
        (
            &arrivals["received"],
            &arrivals["refused"],
            &arrivals["message"]
        ),
        (&json!(9), &json!(2), &Value::Null)
    );
    assert_eq!(arrivals["last_event_at"], "1970-01-01T00:33:20Z");

    let metrics = stage.get("/metrics").await.body;
    for line in [
        "dalsegno_refused_deliveries_total 3",
        r#"dalsegno_sources{kind="queue",state="denied"} 1"#,
        r#"dalsegno_sources{kind="queue",state="ok"} 1"#,
        r#"dalsegno_source_trouble{kind="queue",source="orders"} 1"#,
        r#"dalsegno_source_refused_total{kind="queue",source="arrivals"} 2"#,
        "dalsegno_waiting_sets 0",
        "dalsegno_schedules_without_future 0",
        r#"dalsegno_backfill_items{state="waiting"} 0"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    refused(
        &stage,
        &[
            (
                "GET",
                "/api/v1/refused?source=x",
                Value::Null,
                "bad_request",
                "no query parameter `source`",
            ),
            (
                "GET",
                "/api/v1/refused?cursor=x",
                Value::Null,
                "bad_cursor",
                "x",
            ),
            (
                "GET",
                "/api/v1/sources?name=x",
                Value::Null,
                "bad_request",
                "this address takes none",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_ledger_is_filtered_and_summed_up() {
    let stage = stage().await;
    let mut flow = daily("ledger", "good");
    flow["schedules"]
        .as_array_mut()
        .expect("schedules")
        .push(json!({
            "name": "over", "when": {"cron": {"text": "0 0 * * *"}}, "timezone": "UTC", "end": 0,
        }));
    stage.deploy(flow).await;
    stage.finished_run("ledger").await;
    let path = "/api/v1/flows/ledger/occurrences";
    let found = async |query: &str| {
        let answer = stage.get(&format!("{path}?{query}")).await.json();
        answer["items"].as_array().expect("a list").clone()
    };
    let expected = found("state=expected").await;
    documented(&stage, "Occurrence", &expected[0]).await;
    assert_eq!(expected.len(), 1, "{expected:?}");
    assert_eq!(
        (&expected[0]["trigger"], &expected[0]["moved"]),
        (&json!("daily"), &json!(false))
    );
    assert_eq!(found("state=ran,expected").await.len(), 2);
    let manual = found("trigger=manual").await;
    assert_eq!((manual.len(), &manual[0]["state"]), (1, &json!("ran")));
    assert_eq!(found("until=2001-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(
        found("to=2001-01-01T00:00:00Z").await.len(),
        0,
        "as it was called before"
    );
    assert_eq!(found("since=2001-01-01T00:00:00Z").await.len(), 2);
    let all = stage.get("/api/v1/occurrences?state=ran").await.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));

    let sum = stage
        .get("/api/v1/flows/ledger/completeness?until=2999-01-01T00:00:00Z&since=2001-01-01T00:00:00Z")
        .await
        .json();
    for (name, count) in [("expected", 1), ("ran", 1), ("succeeded", 1), ("missed", 0)] {
        assert_eq!(sum[name], count, "{name}: {sum}");
    }
    assert_eq!(sum["complete"], true, "what is expected is still to come");
    documented(&stage, "Completeness", &sum).await;
    assert_eq!(sum["by_trigger"][1]["trigger"], "manual");
    assert_eq!(sum["by_trigger"][1]["succeeded"], 1);
    let alarms = sum["alarms"].as_array().expect("alarms");
    assert_eq!(alarms.len(), 1, "{sum}");
    assert_eq!(
        (&alarms[0]["trigger"], &alarms[0]["reason"]["code"]),
        (&json!("over"), &json!("schedule_ended"))
    );
    let metrics = stage.get("/metrics").await.body;
    assert!(
        metrics.contains("dalsegno_schedules_without_future 1\n"),
        "{metrics}"
    );
    let week = stage.get("/api/v1/flows/ledger/completeness").await.json();
    assert_eq!((&week["ran"], &week["flow"]), (&json!(1), &json!("ledger")));

    refused(
        &stage,
        &[
            ("GET", "/api/v1/flows/ledger/occurrences?state=rann", Value::Null, "bad_request", "did you mean `ran`?"),
            ("GET", "/api/v1/flows/ledger/occurrences?when=now", Value::Null, "bad_request", "no query parameter `when`"),
            ("GET", "/api/v1/flows/ledger/occurrences?since=2001-01-01T00:00:00Z&from=2001-01-01T00:00:00Z", Value::Null, "bad_request", "say the same"),
            ("GET", "/api/v1/flows/none/completeness", Value::Null, "unknown_flow", "none"),
            ("GET", "/api/v1/flows/ledger/completeness?since=2002-01-01T00:00:00Z&until=2001-01-01T00:00:00Z", Value::Null, "bad_request", "is after `until`"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_occurrence_that_a_calendar_moved_says_so() {
    let stage = stage().await;
    let day = |days: i64| {
        let at = stage.engine.now() + Span::from_secs(days * 86_400);
        at.to_chrono().date_naive().to_string()
    };
    let mut flow = daily("feast", "good");
    flow["schedules"][0]["calendar"] = json!({
        "calendar": {"name": "feasts", "dates": {(day(1)): "Feast", (day(2)): "The day after"}},
        "roll": "next",
    });
    stage.deploy(flow).await;
    for path in [
        "/api/v1/flows/feast/occurrences?state=expected",
        "/api/v1/next",
    ] {
        let list = stage.get(path).await.json();
        let next = &list["items"][0];
        assert_eq!(next["moved"], true, "{path}: {list}");
        assert_eq!(next["due_at"], format!("{}T00:00:00Z", day(3)), "{path}");
    }
}

#[tokio::test]
async fn a_failed_run_is_no_success_in_the_ledger() {
    let stage = stage().await;
    stage.deploy(daily("sorry", "bad")).await;
    stage.finished_run("sorry").await;
    let sum = stage.get("/api/v1/flows/sorry/completeness").await.json();
    assert_eq!((&sum["ran"], &sum["succeeded"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_backfill_is_planned_applied_followed_paused_and_cancelled() {
    let stage = stage().await;
    stage.deploy(daily("etl", "hold")).await;
    let ask = json!({"flow": "etl", "from": "2026-01-01T00:00:00Z", "to": "2026-01-04T00:00:00Z"});
    let plan = stage.post("/api/v1/backfills/plan", &ask.to_string()).await;
    assert_eq!(plan.status, StatusCode::OK, "{}", plan.body);
    let plan = plan.json();
    documented(&stage, "BackfillPlan", &plan).await;
    assert_eq!(plan["counts"], json!({"run": 3, "keep": 0, "conflict": 0}));
    assert_eq!(
        (&plan["mode"], &plan["conflicts"]),
        (&json!("missing"), &json!([]))
    );
    assert_eq!(plan["estimate_us"], Value::Null, "no run has succeeded yet");
    assert_eq!(
        plan["versions"],
        json!([{"flow": "etl", "version": "0123456789abcdef"}])
    );
    let item = &plan["items"][1];
    assert_eq!(
        item["interval"],
        json!({"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z"})
    );
    assert_eq!(
        (&item["verdict"], &item["existing"]),
        (&json!("run"), &json!([]))
    );

    let mut order = ask.clone();
    order["token"] = plan["token"].clone();
    order["by"] = "ada".into();
    let applied = keyed(&stage, "/api/v1/backfills", "once", &order).await;
    assert_eq!(applied.status, StatusCode::ACCEPTED, "{}", applied.body);
    assert_eq!(applied.json(), json!({"backfill": 1, "duplicate": false}));
    assert_eq!(applied.header(header::LOCATION), "/api/v1/backfills/1");
    let twice = keyed(&stage, "/api/v1/backfills", "once", &order).await;
    assert_eq!(twice.json(), json!({"backfill": 1, "duplicate": true}));
    assert_eq!(twice.headers["idempotent-replayed"], "true");

    let one = stage.get("/api/v1/backfills/1").await.json();
    documented(&stage, "Backfill", &one).await;
    assert_eq!(
        (&one["id"], &one["by"], &one["state"]),
        (&json!(1), &json!("ada"), &json!("running"))
    );
    assert_eq!(
        (&one["from"], &one["parallel"]),
        (&json!("2026-01-01T00:00:00Z"), &json!(1))
    );
    assert_eq!(one["counts"]["waiting"], 2, "one run at a time: {one}");
    assert_eq!(one["counts"]["running"], 1);
    let run = one["running"][0].as_str().expect("a run id").to_owned();
    let shown = stage.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(
        (&shown["backfill"], &shown["parent"], &shown["children"]),
        (&json!(1), &Value::Null, &json!([]))
    );
    let items = stage
        .get("/api/v1/backfills/1/items?state=waiting")
        .await
        .json();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(items["items"][0]["number"], 1);
    assert!(items["items"][0].get("events").is_none());
    documented(&stage, "BackfillItem", &items["items"][0]).await;
    documented(&stage, "Run", &shown).await;
    let first = stage.get("/api/v1/backfills/1/items?limit=1").await.json();
    assert_eq!(
        (&first["items"][0]["run"], first["next"].is_string()),
        (&json!(run), true)
    );
    let metrics = stage.get("/metrics").await.body;
    for line in [
        r#"dalsegno_backfill_items{state="waiting"} 2"#,
        r#"dalsegno_backfill_items{state="running"} 1"#,
        r#"dalsegno_backfills{state="running"} 1"#,
        "dalsegno_backfills_total 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }

    // The world is not as it was: two plans cannot run the same days.
    let again = stage.post("/api/v1/backfills", &order.to_string()).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    assert_eq!(again.json()["code"], "plan_changed");

    let change = async |what: &str| {
        let path = format!("/api/v1/backfills/1/{what}");
        stage.post(&path, r#"{"by": "ada"}"#).await.json()["state"].clone()
    };
    assert_eq!(change("pause").await, "paused");
    assert_eq!(change("resume").await, "running");
    let list = stage
        .get("/api/v1/backfills?flow=etl&state=running,paused")
        .await
        .json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        stage.get("/api/v1/backfills?state=finished").await.json()["items"],
        json!([])
    );
    stage
        .until(run.parse().expect("an id"), TaskState::Running)
        .await;
    change("cancel").await;
    let mut changes = stage.engine.subscribe();
    let over = loop {
        let now = stage.get("/api/v1/backfills/1").await.json();
        if now["finished_at"].is_string() {
            break now;
        }
        let _ = changes.recv().await;
    };
    assert_eq!(
        (&over["state"], &over["running"]),
        (&json!("cancelled"), &json!([]))
    );
    assert_eq!(over["counts"]["skipped"], 2, "{over}");

    let turned =
        json!({"flow": "etl", "from": "2026-01-04T00:00:00Z", "to": "2026-01-01T00:00:00Z"});
    let mut odd = ask.clone();
    odd["mode"] = "some".into();
    let mut named = ask.clone();
    named["flow"] = "etll".into();
    refused(
        &stage,
        &[
            (
                "POST",
                "/api/v1/backfills/1/pause",
                json!({}),
                "unknown_backfill",
                "1",
            ),
            (
                "POST",
                "/api/v1/backfills/9/cancel",
                json!({}),
                "unknown_backfill",
                "no backfill 9",
            ),
            (
                "GET",
                "/api/v1/backfills/x",
                Value::Null,
                "unknown_backfill",
                "no backfill x",
            ),
            (
                "GET",
                "/api/v1/backfills/9/items",
                Value::Null,
                "unknown_backfill",
                "no backfill 9",
            ),
            (
                "GET",
                "/api/v1/backfills/1/items?state=broken",
                Value::Null,
                "bad_request",
                "does not know `broken`",
            ),
            (
                "GET",
                "/api/v1/backfills/1/items?state=failed,skipped",
                Value::Null,
                "bad_request",
                "one word",
            ),
            (
                "GET",
                "/api/v1/backfills?state=done",
                Value::Null,
                "bad_request",
                "does not know `done`",
            ),
            ("POST", "/api/v1/backfills/plan", turned, "bad_backfill", ""),
            (
                "POST",
                "/api/v1/backfills/plan",
                odd,
                "bad_request",
                "expected one of",
            ),
            (
                "POST",
                "/api/v1/backfills/plan",
                named,
                "unknown_flow",
                "etll",
            ),
            (
                "POST",
                "/api/v1/backfills/plan",
                json!({"flow": "etl"}),
                "bad_request",
                "missing field `from`",
            ),
            (
                "POST",
                "/api/v1/backfills/plan",
                json!({"flow": "etl", "from": "may"}),
                "bad_request",
                "`may` is no instant",
            ),
            (
                "POST",
                "/api/v1/backfills",
                ask.clone(),
                "bad_request",
                "missing field `token`",
            ),
        ],
    )
    .await;
    let mut more = order.clone();
    more["colour"] = "red".into();
    let more = stage
        .post("/api/v1/backfills", &more.to_string())
        .await
        .json();
    assert!(
        more["detail"]
            .as_str()
            .is_some_and(|it| it.contains("unknown field `colour`")),
        "{more}"
    );
}

#[tokio::test]
async fn a_finished_backfill_counts_what_succeeded_and_plans_know_of_it() {
    let stage = stage().await;
    stage.deploy(daily("etl", "good")).await;
    let ask = json!({"flow": "etl", "from": "2026-01-01T00:00:00Z", "to": "2026-01-04T00:00:00Z", "parallel": 3});
    let plan = stage
        .post("/api/v1/backfills/plan", &ask.to_string())
        .await
        .json();
    let mut order = ask.clone();
    order["token"] = plan["token"].clone();
    stage.post("/api/v1/backfills", &order.to_string()).await;
    let mut changes = stage.engine.subscribe();
    let over = loop {
        let now = stage.get("/api/v1/backfills/1").await.json();
        if now["finished_at"].is_string() {
            break now;
        }
        let _ = changes.recv().await;
    };
    assert_eq!(
        (&over["state"], &over["counts"]["succeeded"]),
        (&json!("finished"), &json!(3))
    );
    let plan = stage
        .post("/api/v1/backfills/plan", &ask.to_string())
        .await
        .json();
    assert_eq!(plan["counts"], json!({"run": 0, "keep": 3, "conflict": 0}));
    let existing = &plan["items"][0]["existing"][0];
    assert_eq!(existing["state"], "succeeded");
    assert!(existing["run"].is_string());
}

#[tokio::test]
async fn a_run_tells_its_parent_and_its_children() {
    let stage = stage().await;
    stage
        .deploy(json!({"name": "inner", "steps": [{"name": "good", "run": {"shell": "true"}}]}))
        .await;
    stage
        .deploy(json!({
            "name": "outer",
            "steps": [{"name": "call", "run": {"flow": {"flow": "inner", "wait": true}}}],
        }))
        .await;
    let outer = stage.finished_run("outer").await;
    let parent = stage.get(&format!("/api/v1/runs/{outer}")).await.json();
    let child = &parent["children"][0];
    assert_eq!(
        (&child["flow"], &child["task"], &child["state"]),
        (&json!("inner"), &json!("call"), &json!("succeeded"))
    );
    let path = format!("/api/v1/runs/{}", child["run"].as_str().expect("an id"));
    let inner = stage.get(&path).await.json();
    assert_eq!(
        inner["parent"],
        json!({"run": outer.to_string(), "task": "call", "attempt": 1, "waits": true, "depth": 1})
    );
    assert_eq!(inner["children"], json!([]));
}

#[tokio::test]
async fn what_tells_why_keeps_telling() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let run = stage.finished_run("shop").await;
    for path in [
        "/api/v1/flows/shop/why".to_owned(),
        "/api/v1/flows/shop/why?at=2026-11-22T06:00:00Z".to_owned(),
        format!("/api/v1/runs/{run}/why"),
    ] {
        assert_eq!(stage.get(&path).await.status, StatusCode::OK, "{path}");
    }
}
