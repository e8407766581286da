//! Stories of the pages: what they show without any script.

#[path = "common/mod.rs"]
mod common;
#[path = "pages/slas.rs"]
mod slas;

use axum::http::{StatusCode, header};
use common::{Stage, read, request, shop, stage, stage_of};
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::row::TaskState;
use dalsegno_scheduler::{AttemptId, Execution, Flow, Input, RunId, Timestamp, Version};
use dalsegno_web::{Following, Later, OrphanJob, Remote, ResumedExecution};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn an_empty_daemon_shows_what_to_do_first() {
    let stage = stage().await;
    for (path, text) in [
        ("/", "No flows yet"),
        ("/runs", "No runs here"),
        ("/events", "No events yet"),
        ("/docs/errors", "unknown_flow"),
    ] {
        let page = stage.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains(text), "{path}");
        assert!(
            page.header(header::CONTENT_SECURITY_POLICY)
                .contains("default-src 'self'")
        );
    }
}

#[tokio::test]
async fn the_flows_page_shows_each_flow_with_its_next_and_last_runs() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    stage.finished_run("shop").await;
    let page = stage.get("/").await.body;
    assert!(page.contains("Reads orders &#60;daily&#62;."), "escaped");
    assert!(
        page.contains(r#"<a href="/runs/1"><title>run 1: succeeded"#),
        "a bar per run"
    );
    assert!(page.contains("data-rel"), "the next run, told from now");
    let fragment = stage.get("/?fragment=live").await.body;
    assert!(fragment.contains("id=\"flows\"") && !fragment.contains("<html"));
}

#[tokio::test]
async fn the_flow_page_shows_graph_schedule_trigger_and_form() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    stage.finished_run("shop").await;
    let page = stage.get("/flows/shop").await.body;
    for text in [
        "data-step=\"extract\"",
        "class=\"frame",
        "Europe/Berlin",
        "event orders.a and event orders.b",
        "name=\"param.rows\" type=\"number\"",
        "<option value=\"quick\">quick</option>",
        "0123456789abcdef",
        "/runs/1",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[tokio::test]
async fn the_form_starts_a_run_with_typed_parameters() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let post = async |body: &str| {
        read(
            stage
                .send(request("POST", "/flows/shop/runs", &form, body))
                .await,
        )
        .await
    };
    let started = post("key=k&param.rows=9&param.mode=&param.day=2026-01-02").await;
    assert_eq!(
        (started.status, started.header(header::LOCATION)),
        (StatusCode::SEE_OTHER, "/runs/1")
    );
    let run = stage.get("/api/v1/runs/1").await.json();
    assert_eq!(
        run["params"],
        json!({"rows": 9, "mode": "full", "day": "2026-01-02"})
    );
    let again = post("key=k&param.rows=9&param.day=2026-01-02").await;
    assert_eq!(
        again.header(header::LOCATION),
        "/runs/1",
        "a form sent twice starts once"
    );
    let refused = post("param.rows=nine").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.body.contains("role=\"alert\"") && refused.body.contains("value=\"nine\""));
}

#[tokio::test]
async fn the_run_page_shows_graph_time_line_and_tasks() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let run = stage.finished_run("shop").await;
    std::fs::write(stage.logs.path().join("1-fit[1]-1.stdout"), "fitted <eu>\n").expect("written");
    let page = stage
        .get(&format!("/runs/{run}?task=fit%5B1%5D"))
        .await
        .body;
    for text in [
        "class=\"state big s-succeeded\"",
        "3 of 3",
        "3 items",
        "class=\"gantt\"",
        "fit[2]",
        "fitted &#60;eu&#62;",
        "/runs/1/resume",
        "rows",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("/runs/1/cancel"), "nothing to cancel");
    let early = stage.get(&format!("/runs/{run}?task=later")).await;
    assert_eq!(early.status, StatusCode::OK, "a task may come later");
}

#[tokio::test]
async fn a_failed_run_opens_what_failed_and_a_running_one_can_be_cancelled() {
    let stage = stage().await;
    let steps = json!([{"name": "bad", "run": {"shell": "x"}}, {"name": "after", "after": ["bad"], "run": {"shell": "x"}}]);
    stage
        .deploy(json!({"name": "failing", "steps": steps}))
        .await;
    stage
        .deploy(json!({"name": "held", "steps": [{"name": "hold", "run": {"shell": "x"}}]}))
        .await;
    let failed = stage.finished_run("failing").await;
    let page = stage.get(&format!("/runs/{failed}")).await.body;
    assert!(
        page.contains("Why it ended so") && page.contains("exit code 3"),
        "why"
    );
    assert!(
        page.contains("<h2 class=\"mono\">bad</h2>"),
        "the failed task is open"
    );
    assert!(page.contains("s-skipped"), "what needed it was skipped");

    let held = stage.started_run("held").await;
    stage.until(held, TaskState::Running).await;
    let page = stage.get(&format!("/runs/{held}?task=hold")).await.body;
    assert!(
        page.contains("data-aging") && page.contains("data-follow"),
        "it grows"
    );
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = format!("/runs/{held}/cancel");
    let sent = read(
        stage
            .send(request("POST", &path, &form, "reason=done"))
            .await,
    )
    .await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let ended = stage.get(&format!("/api/v1/runs/{held}/wait")).await.json();
    assert_eq!(ended["reason"]["text"], "cancelled by page: done");
}

#[tokio::test]
async fn an_invalid_file_is_shown_and_the_last_good_version_stays() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let input = Input::Invalid {
        flow: "shop".into(),
        file: "shop.yaml".into(),
        message: "line 3: `afer` is not a key".into(),
    };
    stage.engine.ask(input).await.expect("told");
    let page = stage.get("/flows/shop").await.body;
    assert!(
        page.contains("the last good version stays active") && page.contains("`afer` is not a key")
    );
    assert!(page.contains("class=\"dag\""), "its graph too");
}

#[tokio::test]
async fn whoever_asks_for_a_page_gets_errors_as_a_page() {
    let stage = stage().await;
    let html = [("accept", "text/html,*/*")];
    let page = read(stage.send(request("GET", "/runs/99", &html, "")).await).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.body.contains("there is no run 99") && page.body.contains("<html"));
    let nothing = read(stage.send(request("GET", "/nothing", &html, "")).await).await;
    assert!(nothing.body.contains("There is nothing at this address"));
    assert!(
        !nothing.body.contains("openapi.json`"),
        "no words of the API: {}",
        nothing.body
    );

    stage.deploy(shop()).await;
    let near = read(stage.send(request("GET", "/flows/shopp", &html, "")).await).await;
    assert_eq!(near.status, StatusCode::NOT_FOUND);
    assert!(
        near.body
            .contains(r#"Did you mean <a href="/flows/shop">shop</a>?"#),
        "{}",
        near.body
    );
    let list = stage.get("/flows").await;
    assert_eq!(list.header(header::LOCATION), "/");
}

#[tokio::test]
async fn assets_are_kept_by_browsers_for_ever() {
    let stage = stage().await;
    let page = stage.get("/").await.body;
    let style = page
        .split('"')
        .find(|it| it.starts_with("/assets/style."))
        .expect("a stylesheet");
    let answer = stage.get(style).await;
    assert!(answer.header(header::CACHE_CONTROL).contains("immutable"));
    assert!(answer.body.contains("color-scheme"));
}

#[tokio::test]
async fn a_resumed_run_says_how_often_and_with_which_version_it_goes_on() {
    let stage = stage().await;
    let steps = json!([{"name": "bad", "run": {"shell": "x"}}]);
    stage
        .deploy(json!({"name": "failing", "steps": steps}))
        .await;
    let run = stage.finished_run("failing").await;
    let path = format!("/runs/{run}");
    let page = stage.get(&path).await.body;
    assert!(!page.contains("keep the version"), "there is but one");

    let repaired = json!([{"name": "bad", "run": {"shell": "y"}}]);
    stage
        .deploy_as(
            "fedcba9876543210",
            json!({"name": "failing", "steps": repaired}),
        )
        .await;
    let page = stage.get(&path).await.body;
    assert!(page.contains("fedcba9876543210") && page.contains("keep the version"));

    let resume = async |body: &str| {
        let done = stage
            .post(&format!("/api/v1/runs/{run}/resume"), body)
            .await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.body);
        let run = stage.get(&format!("/api/v1/runs/{run}/wait")).await.json();
        run["version"].as_str().expect("a version").to_owned()
    };
    assert_eq!(resume(r#"{"version": "same"}"#).await, "0123456789abcdef");
    let page = stage.get(&path).await.body;
    assert!(page.contains("<dd>once <span"), "{page}");
    assert_eq!(resume("{}").await, "fedcba9876543210");
    let page = stage.get(&path).await.body;
    assert!(page.contains("<dd>twice <span") && page.contains("Ran since then"));
    assert!(!page.contains("<dd>-"), "no time is negative");
    let refused = stage
        .post(
            &format!("/api/v1/runs/{run}/resume"),
            r#"{"version": "newest"}"#,
        )
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("latest"), "{}", refused.body);
}

#[tokio::test]
async fn a_file_that_never_was_a_flow_cannot_be_started_and_is_forgotten_when_it_goes() {
    let stage = stage().await;
    let invalid = Input::Invalid {
        flow: "draft".into(),
        file: "draft.yaml".into(),
        message: "line 1: a key is missing".into(),
    };
    stage.engine.ask(invalid).await.expect("told");
    let page = stage.get("/flows/draft").await.body;
    assert!(!page.contains("Start a run"), "nothing to start");
    assert!(stage.get("/").await.body.contains("/flows/draft"));
    let remove = Input::Remove {
        flow: "draft".into(),
    };
    stage.engine.ask(remove).await.expect("removed");
    assert!(!stage.get("/").await.body.contains("/flows/draft"));
    assert!(stage.get("/?all=1").await.body.contains("/flows/draft"));
}

#[tokio::test]
async fn the_events_page_shows_what_each_event_says() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    stage.finished_run("shop").await;
    let mut event = dalsegno_scheduler::NewEvent {
        source: "/desk".into(),
        id: "1".into(),
        kind: "orders.in".into(),
        subject: None,
        time: None,
        data: json!({"file": "<a>.csv", "note": "x".repeat(200)}),
    };
    stage
        .engine
        .ask(Input::Event(event.clone()))
        .await
        .expect("taken");
    event.id = "2".into();
    event.data = json!(null);
    stage.engine.ask(Input::Event(event)).await.expect("taken");
    let page = stage.get("/events").await.body;
    assert!(
        page.contains("&lt;a&gt;.csv") && page.contains("xxx…"),
        "{page}"
    );
    assert!(page.contains(r#"<a href="/runs/1">run 1</a> succeeded"#));
    assert!(page.contains(r#"class="own""#), "toned down");
}

/// Sends a form as a browser does.
async fn send_form(stage: &Stage, path: &str, body: &str) -> common::Answer {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    read(stage.send(request("POST", path, &form, body)).await).await
}

/// Sends an event, and tells its number.
async fn emit(stage: &Stage, kind: &str, subject: &str) -> u64 {
    let event = dalsegno_scheduler::NewEvent {
        source: "/desk".into(),
        id: uuid::Uuid::new_v4().to_string(),
        kind: kind.into(),
        subject: Some(subject.into()),
        time: None,
        data: json!({"note": "<b>"}),
    };
    match stage.engine.ask(Input::Event(event)).await.expect("taken") {
        dalsegno_scheduler::Answer::Event { seq, .. } => seq,
        other => panic!("{other:?}"),
    }
}

/// A flow that starts with one event, and takes none of subject `no`.
fn listener() -> serde_json::Value {
    json!({
        "name": "listener",
        "triggers": [{"name": "note", "on": {"leaf": {
            "source": {"event": {"kind": "desk.note"}}, "where": "event.subject != 'no'"}}}],
        "steps": [{"name": "read", "run": {"shell": "x"}}],
    })
}

#[tokio::test]
async fn the_list_of_events_is_filtered_and_tells_what_became_of_each() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let fired = emit(&stage, "desk.note", "eu/berlin").await;
    let filtered = emit(&stage, "desk.note", "no").await;
    let other = emit(&stage, "desk.other", "eu/paris").await;
    let link = |seq: u64| format!(r#"<a href="/events/{seq}">{seq}</a>"#);
    let shows = async |query: &str, which: &[u64]| {
        let page = stage.get(&format!("/events?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        for seq in [fired, filtered, other] {
            let is_there = page.body.contains(&link(seq));
            assert_eq!(is_there, which.contains(&seq), "{query}: {seq}");
        }
        page.body
    };
    let page = shows("", &[fired, filtered, other]).await;
    assert!(
        page.contains("#i-fired") && page.contains("#i-filtered"),
        "{page}"
    );
    assert!(
        page.contains(r#"<a href="/runs/1">run 1</a>"#),
        "the run: {page}"
    );
    assert!(page.contains("no trigger"), "{page}");
    let page = shows("type=desk.note", &[fired, filtered]).await;
    assert!(
        page.contains(r#"name="type" value="desk.note""#),
        "kept: {page}"
    );
    shows("subject=eu%2F*", &[fired, other]).await;
    shows("subject=no&source=%2Fdesk", &[filtered]).await;
    shows("flow=listener", &[fired, filtered]).await;
    shows("flow=listener&outcome=filtered", &[filtered]).await;
    let page = shows("outcome=filtered", &[fired, filtered, other]).await;
    assert!(page.contains("choose the flow too"), "{page}");
    shows("since=2000-01-01", &[fired, filtered, other]).await;
    let page = shows("since=2999-01-01+06:00", &[]).await;
    assert!(page.contains("No event fits"), "{page}");
    let bad = stage.get("/events?since=yesterday").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.body.contains("`since` is `yesterday`"), "{}", bad.body);
    let old = stage.get(&format!("/events?event={fired}")).await;
    assert_eq!(old.header(header::LOCATION), format!("/events/{fired}"));
}

#[tokio::test]
async fn the_page_of_an_event_tells_who_saw_it_and_lets_it_be_seen_once_more() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let fired = emit(&stage, "desk.note", "eu").await;
    let page = stage.get(&format!("/events/{fired}")).await.body;
    for part in [
        r#"<a href="/flows/listener">listener</a>"#,
        "event desk.note where",
        "#i-fired",
        r#"<a href="/runs/1">run 1</a>"#,
        "&#60;b&#62;",
        r#"<option value="listener">"#,
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let filtered = emit(&stage, "desk.note", "no").await;
    let page = stage.get(&format!("/events/{filtered}")).await.body;
    assert!(page.contains("#i-filtered"), "{page}");
    let lonely = emit(&stage, "desk.other", "eu").await;
    let page = stage.get(&format!("/events/{lonely}")).await.body;
    assert!(
        page.contains("triggers: - event: desk.other"),
        "what to do: {page}"
    );

    let path = format!("/events/{fired}/replay");
    let sent = send_form(&stage, &path, "flow=listener&key=k").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.body);
    let place = sent.header(header::LOCATION).to_owned();
    assert_ne!(place, format!("/events/{fired}"), "a new event");
    let page = stage.get(&place).await.body;
    assert!(
        page.contains(&format!(r#"<a href="/events/{fired}">event {fired}</a>"#)),
        "{page}"
    );
    assert!(
        page.contains("/runs/2"),
        "it started a run of its own: {page}"
    );
    let page = stage.get(&format!("/events/{fired}")).await.body;
    assert!(
        page.contains(&format!(r#"<a href="{place}">event"#)),
        "{page}"
    );
    let again = send_form(&stage, &path, "flow=listener&key=k").await;
    assert_eq!(
        again.header(header::LOCATION),
        place,
        "sent twice, done once"
    );
    let nobody = send_form(&stage, &path, "flow=nobody").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND, "{}", nobody.body);
    assert_eq!(stage.get("/events/99").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_was_refused_is_shown_with_its_reason_and_sources_with_their_cure() {
    let stage = stage().await;
    let page = stage.get("/events/refused").await.body;
    assert!(page.contains("Nothing was refused"), "{page}");
    let row = dalsegno_scheduler::row::RefusedRow {
        source: "queue:arrivals".into(),
        id: "m-1".into(),
        reason: "no JSON: <eof>".into(),
        excerpt: "{\"a\": <".into(),
        received_at: dalsegno_engine::clock::now(),
    };
    stage
        .engine
        .ask(Input::Refuse(row))
        .await
        .expect("on record");
    let page = stage.get("/events/refused").await.body;
    assert!(
        page.contains("queue:arrivals") && page.contains("no JSON: &#60;eof&#62;"),
        "{page}"
    );

    let page = stage.get("/events/sources").await.body;
    for part in [
        "arrivals",
        "9 received",
        "#i-failed",
        "What to do:",
        "sqs:ReceiveMessage",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("sources (1 in trouble)"), "{page}");
    let (trouble, well) = (page.find("<b>orders</b>"), page.find("<b>arrivals</b>"));
    assert!(trouble.is_some() && trouble < well, "trouble first");
}

/// A flow with a schedule, and one that follows it.
fn daily(step: &str) -> [serde_json::Value; 2] {
    [
        json!({
            "name": "daily",
            "schedules": [{"name": "morning", "when": {"cron": {"text": "0 6 * * *"}}, "timezone": "UTC"}],
            "steps": [{"name": step, "run": {"shell": "x"}}],
        }),
        json!({
            "name": "after_daily",
            "triggers": [{"name": "daily", "on": {"leaf": {"source": {"flow": {"flow": "daily", "on": "succeeded"}}}}, "join": "interval"}],
            "steps": [{"name": "tell", "run": {"shell": "x"}}],
        }),
    ]
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let start = format!(r#"name="{name}" value=""#);
    let (_, rest) = page
        .split_once(&start)
        .unwrap_or_else(|| panic!("{name}: {page}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_backfill_is_planned_seen_applied_and_followed() {
    let stage = stage().await;
    let page = stage.get("/backfills").await.body;
    assert!(page.contains("No backfills yet") && page.contains(r#"href="/backfills/new""#));
    let page = stage.get("/backfills/new").await.body;
    assert!(page.contains("No flow has a schedule"), "{page}");
    for flow in daily("bad") {
        stage.deploy(flow).await;
    }
    let page = stage.get("/backfills/new").await.body;
    assert!(page.contains(r#"<option value="daily">"#) && !page.contains("after_daily"));

    let asked = "flow=daily&from=2026-10-01&to=2026-10-04&mode=missing&parallel=3";
    let page = stage.get(&format!("/backfills/new?{asked}")).await.body;
    assert!(
        page.contains("Apply: 3 runs") && page.contains("2026-10-02 06:00"),
        "{page}"
    );
    let tree = stage
        .get(&format!("/backfills/new?{asked}&downstream=yes"))
        .await
        .body;
    assert!(tree.contains("Apply: 6 runs"), "{tree}");
    assert!(
        tree.contains(r#"class="branch" aria-hidden="true"></span>after_daily"#),
        "{tree}"
    );
    let bad = stage
        .get("/backfills/new?flow=daily&from=soon&to=2026-10-04")
        .await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(
        bad.body.contains("`from` is `soon`") && bad.body.contains("<form"),
        "{}",
        bad.body
    );

    let stale = send_form(&stage, "/backfills", &format!("{asked}&token=old")).await;
    assert_eq!(stale.status, StatusCode::CONFLICT, "{}", stale.body);
    assert!(
        stale.body.contains("Apply: 3 runs"),
        "the plan as it is now: {}",
        stale.body
    );
    let token = hidden(&page, "token");
    let order = format!("{asked}&token={token}&key=k");
    let sent = send_form(&stage, "/backfills", &order).await;
    assert_eq!(
        sent.header(header::LOCATION),
        "/backfills/1",
        "{}",
        sent.body
    );
    let again = send_form(&stage, "/backfills", &order).await;
    assert_eq!(
        again.header(header::LOCATION),
        "/backfills/1",
        "ordered once"
    );

    let mut changes = stage.engine.subscribe();
    while stage.engine.view().backfill(1).is_some() {
        let _ = changes.recv().await;
    }
    let page = stage.get("/backfills/1").await.body;
    for part in [
        "#i-finished",
        "3 failed",
        "<h2>Failed</h2>",
        r#"<a href="/runs/1">run 1</a>"#,
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("/backfills/1/cancel"), "it is over: {page}");
    let page = stage.get("/backfills/1?state=succeeded").await.body;
    assert!(page.contains("No items in this state"), "{page}");
    let page = stage.get("/backfills").await.body;
    assert!(page.contains("3 of 3"), "{page}");
    let page = stage.get("/runs/1").await.body;
    assert!(
        page.contains(r#"<a href="/backfills/1">backfill 1</a>"#),
        "{page}"
    );
    assert_eq!(
        stage.get("/backfills/7").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_backfill_is_paused_resumed_and_cancelled_by_buttons() {
    let stage = stage().await;
    let [flow, _] = daily("hold");
    stage.deploy(flow).await;
    let asked = "flow=daily&from=2026-10-01&to=2026-10-04&parallel=1";
    let page = stage.get(&format!("/backfills/new?{asked}")).await.body;
    let token = hidden(&page, "token");
    send_form(&stage, "/backfills", &format!("{asked}&token={token}")).await;
    let page = stage.get("/backfills/1").await.body;
    assert!(
        page.contains("1 running") && page.contains("2 waiting"),
        "{page}"
    );
    for (word, sign) in [
        ("pause", "#i-paused"),
        ("resume", "#i-running"),
        ("cancel", "#i-cancel"),
    ] {
        let sent = send_form(&stage, &format!("/backfills/1/{word}"), "").await;
        assert_eq!(
            sent.header(header::LOCATION),
            "/backfills/1",
            "{}",
            sent.body
        );
        let page = stage.get("/backfills/1").await.body;
        let (_, head) = page.split_once("<h1>Backfill 1").expect("a head");
        let (head, _) = head
            .split_once("</div>\n<span")
            .unwrap_or((&head[..400], ""));
        assert!(head.contains(sign) || page.contains(sign), "{word}: {head}");
    }
}

/// Deploys the flow with a Python file as its text.
async fn deploy_train(stage: &Stage) {
    let flow = serde_json::from_value(common::train()).expect("a flow");
    let input = Input::Deploy {
        flow: Arc::new(Flow::new(flow).expect("a valid flow")),
        version: Version::new("abcdabcdabcdabcd"),
        source: "@schedule(cron=os.getenv('CRON'))\nclass Train(FlowSpec):\n    pass\n".into(),
        file: "/srv/flows/train.py".into(),
    };
    stage.engine.ask(input).await.expect("deployed");
}

#[tokio::test]
async fn a_metaflow_flow_is_told_with_its_class_its_decorators_and_what_only_running_it_tells() {
    let stage = stage().await;
    deploy_train(&stage).await;
    let page = stage.get("/flows/ml.user.ada.Train").await.body;
    for part in [
        "Only people start it",
        r##"<a href="#L7">line 7</a>"##,
        "os.getenv(…) is called",
        "/srv/venv/bin/python",
        "2.19.39",
        "/srv/flows/.metaflow",
        r#"title="@retry(times=3)">@retry<span>times=3</span>"#,
        "switch, may come again",
        "starts a gang",
        "good or bad_luck or itself",
        "exit hook, on failure",
        "when the run is over",
        r#"<span id="L1"><i class="d">@schedule</i>"#,
        r#"<i class="k">class</i> Train"#,
        r#"name="param.tag-name""#,
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("s3cr3t"), "configs may be secret");
    let optional = page
        .split(r#"name="param.tag-name""#)
        .nth(1)
        .expect("a field");
    let field = optional.split('>').next().expect("its end");
    assert!(!field.contains("required"), "{field}");
}

#[tokio::test]
async fn a_metaflow_run_leads_to_metaflows_own_client() {
    let stage = stage().await;
    deploy_train(&stage).await;
    let run = stage.finished_run("ml.user.ada.Train").await;
    let row = stage.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(row["state"], "succeeded");
    let pathspec = row["metaflow"]["pathspec"].as_str().expect("a pathspec");
    let page = stage
        .get(&format!("/runs/{run}?task=fit%5B1%5D"))
        .await
        .body;
    assert!(
        page.contains(&format!(r#"data-copy="{pathspec}""#)),
        "{page}"
    );
    let python = format!(
        "from metaflow import Run, namespace; namespace(None); run = Run(&quot;{pathspec}&quot;)"
    );
    assert!(page.contains(&format!("<code>{python}</code>")), "{page}");
    let data = format!("/srv/flows/.metaflow/{pathspec}/fit/t-1");
    assert!(page.contains(&data), "where the task's data lies: {page}");
    assert!(page.contains(">task t-1<"), "what the attempt is called");
    assert!(
        page.contains(r#"<span class="tag">alpha=0.5</span>"#),
        "its item"
    );
    assert!(page.contains("tune@2"), "the third time round");
    let gang = stage
        .get(&format!("/runs/{run}?task=gang%5B0%5D"))
        .await
        .body;
    assert!(gang.contains("<dd>2 tasks</dd>"), "{gang}");
    assert!(
        gang.contains("succeeded · gang of 2"),
        "on its card: {gang}"
    );
}

#[tokio::test]
async fn a_metaflow_task_shows_what_it_stored_and_its_card_as_a_stranger() {
    let stage = stage().await;
    deploy_train(&stage).await;
    let run = stage.finished_run("ml.user.ada.Train").await;
    std::fs::write(stage.logs.path().join("default-0a.html"), "<h1>fitted</h1>").expect("written");
    let task = format!("/runs/{run}?task=fit%5B1%5D");
    let page = stage.get(&task).await.body;
    assert!(!page.contains("<h3>Outputs</h3>"), "{page}");
    for part in ["model", "sklearn.svm.SVC", "2.7 KiB", "21 B"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let href = format!("/runs/{run}/tasks/fit%5B1%5D/cards/default-0a.html");
    assert!(page.contains(&format!(r#"href="{href}""#)), "{page}");
    let card = stage.get(&href).await;
    assert_eq!(card.body, "<h1>fitted</h1>");
    let policy = card.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("sandbox allow-scripts;"), "{policy}");
    assert!(
        !policy.contains("'self'") && !policy.contains("allow-same-origin"),
        "{policy}"
    );
    let none = stage
        .get(&href.replace("default-0a.html", "..%2F1-fit%5B1%5D-1.stdout"))
        .await;
    assert_eq!(
        none.status,
        StatusCode::NOT_FOUND,
        "only what is a card of the task"
    );

    let start = stage.get(&format!("/runs/{run}?task=start")).await.body;
    assert!(
        start.contains("in S3: <span class=\"mono\">s3://bucket/Train/start</span>"),
        "{start}"
    );
}

#[tokio::test]
async fn of_many_items_that_succeeded_the_first_are_shown() {
    let stage = stage().await;
    let items: Vec<u32> = (0..30).collect();
    let steps = json!([{"name": "fit", "run": {"shell": "x"}, "scope": 1}, {"name": "pick", "after": ["each"], "run": {"shell": "x"}}]);
    let scopes = json!([{"name": "each", "parent": 0, "items": {"template": items}}]);
    stage
        .deploy(json!({"name": "many", "steps": steps, "scopes": scopes}))
        .await;
    let run = stage.finished_run("many").await;
    let page = stage.get(&format!("/runs/{run}")).await.body;
    let all = format!("/runs/{run}?task=none&#38;step=fit#run-tasks");
    assert!(
        page.contains(&format!(r#"href="{all}">+ 10 more succeeded</a>"#)),
        "{page}"
    );
    assert!(page.contains("fit%5B19%5D#task") && !page.contains("fit%5B20%5D#task"));
    assert!(page.contains("task=pick#task"), "what follows is shown");
    let page = stage
        .get(&format!("/runs/{run}?task=none&step=fit"))
        .await
        .body;
    assert!(page.contains("fit%5B29%5D#task") && !page.contains("more succeeded"));
    let page = stage
        .get(&format!("/runs/{run}?task=fit%5B25%5D"))
        .await
        .body;
    assert!(
        page.contains("+ 9 more succeeded"),
        "the opened one is there: {page}"
    );
}

#[tokio::test]
async fn a_run_goes_on_as_a_new_one_with_other_parameters() {
    let stage = stage().await;
    let steps = json!([{"name": "good", "run": {"shell": "x"}}, {"name": "bad", "after": ["good"], "run": {"shell": "x"}}]);
    let params = json!([{"name": "rows", "type": "int", "default": 5}]);
    stage
        .deploy(json!({"name": "failing", "params": params, "steps": steps}))
        .await;
    let run = stage.finished_run("failing").await;
    let page = stage.get(&format!("/runs/{run}")).await.body;
    assert!(page.contains("with other parameters, as a new run"));

    let path = format!("/api/v1/runs/{run}/resume");
    let new = stage.post(&path, r#"{"params": {"rows": 7}}"#).await;
    assert_eq!(new.status, StatusCode::CREATED, "{}", new.body);
    let id = new.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&new.json()["origin"], &new.json()["params"]["rows"]),
        (&json!(run.to_string()), &json!(7))
    );
    let page = stage.get(&format!("/runs/{id}")).await.body;
    assert!(page.contains("Goes on from"), "{page}");
    let taken_over = format!(r#"taken over from <a href="/runs/{run}">run {run}</a>"#);
    assert!(page.contains(&taken_over), "{page}");
    let task = stage.get(&format!("/runs/{id}?task=good")).await.body;
    assert!(task.contains(&format!("None here: {taken_over}")), "{task}");
    stage
        .get(&format!("/api/v1/runs/{id}/wait?timeout=30"))
        .await;

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = format!("/runs/{run}/resume");
    let sent = async |body: &str| read(stage.send(request("POST", &path, &form, body)).await).await;
    let by_form = sent("param.rows=9").await;
    assert_eq!(by_form.status, StatusCode::SEE_OTHER, "{}", by_form.body);
    let place = by_form.header(header::LOCATION).to_owned();
    assert_ne!(place, format!("/runs/{run}"), "a new run");
    assert_eq!(
        sent("param.rows=many").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let same = sent("param.rows=5").await;
    assert_eq!(
        same.header(header::LOCATION),
        format!("/runs/{run}"),
        "nothing differs: in place"
    );
}

#[tokio::test]
async fn the_flow_page_shows_what_a_set_waits_for_with_its_events() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    assert!(!stage.get("/flows/shop").await.body.contains("Waiting for"));
    let seq = emit(&stage, "orders.a", "<eu>").await;
    let page = stage.get("/flows/shop").await.body;
    let (_, sets) = page.split_once("<h2>Waiting for</h2>").expect("a panel");
    let (sets, _) = sets.split_once("</section>").expect("its end");
    let event = format!(r#"<a href="/events/{seq}">event {seq} &lt;eu&gt;</a>"#);
    assert!(sets.contains(&event), "{sets}");
    let (_, missing) = sets.split_once(r#"class="missing""#).expect("a line");
    assert!(missing.contains("orders.b"), "{sets}");

    stage.post("/api/v1/flows/shop/pause", "{}").await;
    emit(&stage, "orders.b", "x").await;
    let page = stage.get("/flows/shop").await.body;
    assert!(page.contains(r#"class="badge s-paused">held: "#), "{page}");
}

#[tokio::test]
async fn a_pause_is_ended_on_a_page_that_tells_what_would_start() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let nothing = stage.get("/flows/listener/unpause").await;
    assert_eq!(
        nothing.header(header::LOCATION),
        "/flows/listener",
        "not paused"
    );
    stage
        .post("/api/v1/flows/listener/pause", r#"{"reason": "<why>"}"#)
        .await;
    for subject in ["a", "b"] {
        emit(&stage, "desk.note", subject).await;
    }
    let page = stage.get("/flows/listener").await.body;
    assert!(page.contains(r#"href="/flows/listener/unpause""#), "{page}");
    let page = stage.get("/flows/listener/unpause").await.body;
    for part in [
        "&#60;why&#62;",
        r#"value="declared" checked"#,
        "starts 1 run<",
        "starts 2 runs<",
        "starts nothing",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let path = "/flows/listener/unpause";
    let bad = send_form(&stage, path, "catch_up=some").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST, "{}", bad.body);
    assert!(
        bad.body.contains("declared, none, latest or all"),
        "{}",
        bad.body
    );
    let sent = send_form(&stage, path, "catch_up=latest").await;
    assert_eq!(
        sent.header(header::LOCATION),
        "/flows/listener",
        "{}",
        sent.body
    );
    let page = stage.get("/flows/listener").await.body;
    assert!(
        page.contains("/runs/1") && !page.contains("/runs/2"),
        "{page}"
    );
}

#[tokio::test]
async fn the_flow_page_tells_its_occurrences_as_marks_and_figures_and_why_at_a_moment() {
    let stage = stage().await;
    stage.deploy(listener()).await;
    let page = stage.get("/flows/listener").await.body;
    assert!(page.contains("Nothing was due yet"), "{page}");
    let first = emit(&stage, "desk.note", "a").await;
    stage.get("/api/v1/runs/1/wait?timeout=30").await;
    let page = stage.get("/flows/listener").await.body;
    assert!(page.contains("1 of 1 ran"), "{page}");
    assert!(
        page.contains(r#"class="mark s-succeeded o-ran" href="/runs/1""#),
        "{page}"
    );
    assert!(page.contains("run 1 succeeded"), "its title: {page}");
    let at = stage.get(&format!("/api/v1/events/{first}")).await.json();
    let at = at["received_at"].as_str().expect("a time").to_owned();
    let page = stage.get(&format!("/flows/listener?at={at}")).await.body;
    let (_, why) = page
        .split_once("<h2>Why did it run, or not?</h2>")
        .expect("a panel");
    assert!(
        why.contains(r#"<ul class="whys">"#) && why.contains("run 1"),
        "{why}"
    );
    let bad = stage.get("/flows/listener?at=then").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_schedule_that_will_not_run_again_is_an_alarm_and_a_moved_day_is_named() {
    let stage = stage().await;
    let mut over = daily("read")[0].clone();
    over["schedules"][0]["end"] = json!(1_000_000);
    stage.deploy(over).await;
    let page = stage.get("/flows/daily").await.body;
    assert!(page.contains("<b>morning will not run again</b>"), "{page}");
    assert!(page.contains("move or remove `end`"), "what to do: {page}");

    let mut moved = daily("read")[0].clone();
    moved["name"] = json!("moved");
    // Closed today and on the next days, so that the next one moves.
    let mut dates = serde_json::Map::new();
    for ahead in 0..3 {
        let day =
            dalsegno_engine::clock::now() + dalsegno_scheduler::Span::from_secs(ahead * 86_400);
        let day = day.to_string();
        let (day, _) = day.split_once('T').expect("a date");
        dates.insert(day.into(), json!("Holiday <x>"));
    }
    moved["schedules"][0]["calendar"] =
        json!({"calendar": {"name": "off", "dates": dates}, "roll": "next"});
    stage.deploy(moved).await;
    let page = stage.get("/flows/moved").await.body;
    assert!(
        page.contains("moved from ") && page.contains(": Holiday &lt;x&gt;"),
        "{page}"
    );
}

#[tokio::test]
async fn a_run_of_a_sub_flow_and_its_parent_are_linked_both_ways() {
    let stage = stage().await;
    stage
        .deploy(json!({"name": "child", "steps": [{"name": "work", "run": {"shell": "x"}}]}))
        .await;
    let call = json!({"name": "refresh", "run": {"flow": {"flow": "child", "wait": true}}});
    stage
        .deploy(json!({"name": "parent", "steps": [call]}))
        .await;
    let run = stage.finished_run("parent").await;
    let page = stage.get(&format!("/runs/{run}")).await.body;
    assert!(
        page.contains(r#"<a class="child" href="/runs/2">"#),
        "on the card: {page}"
    );
    assert!(
        page.contains(
            r#"<td class="why"><a href="/runs/2">run 2</a> <span class="state s-succeeded">"#
        ),
        "in the row: {page}"
    );
    let child = stage.get("/runs/2").await.body;
    let part_of = format!(
        r#"<a href="/runs/{run}">run {run}</a>, <a href="/runs/{run}?task=refresh#task">step refresh</a>"#
    );
    assert!(child.contains(&part_of), "{child}");
    let task = stage.get(&format!("/runs/{run}?task=refresh")).await.body;
    assert!(
        task.contains(r#"<dt>Started</dt><dd><a href="/runs/2">run 2</a></dd>"#),
        "{task}"
    );
}

#[tokio::test]
async fn a_breaker_is_listed_set_by_hand_and_given_back() {
    let stage = stage().await;
    let all = stage.get("/api/v1/breakers").await.json();
    let names: Vec<_> = all["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(
        json!(names),
        json!(["batch", "batch:ListJobs", "batch:SubmitJob", "s3"])
    );
    assert_eq!(all["items"][2]["state"], "open");
    assert!(all["items"][2]["retry_at"].is_string(), "{all}");

    for (verb, state, by_hand) in [
        ("open", "open", json!("open")),
        ("close", "closed", json!("closed")),
        ("auto", "closed", json!(null)),
    ] {
        let path = format!("/api/v1/breakers/batch:SubmitJob/{verb}");
        let one = stage.post(&path, "{}").await.json();
        assert_eq!(
            (&one["state"], &one["by_hand"]),
            (&json!(state), &by_hand),
            "{verb}"
        );
    }
    let gone = stage.post("/api/v1/breakers/btach/open", "{}").await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()["code"].clone()),
        (404, json!("unknown_breaker"))
    );
}

#[tokio::test]
async fn the_page_shows_services_with_what_is_amiss_first_and_buttons_that_act() {
    let stage = stage().await;
    let page = stage.get("/events/sources").await.body;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place("<b>batch:SubmitJob</b>") < place("<b>batch</b>"));
    assert!(place("throttled: Rate exceeded") < place("submissions wait in their order"));
    assert!(place("by hand") > 0 && place("412 calls, 5 failed, 5 in a row") > 0);
    assert!(!page.contains("batch:ListJobs"), "nothing is amiss with it");
    assert!(place("action=\"/breakers/batch:SubmitJob/close\"") > 0);
}

/// With AWS, which would redrive whatever failed: unless something is to be done again that had succeeded.
async fn stage_with_aws() -> Stage {
    stage_of(None, Some(Arc::new(Cloud))).await
}

struct Cloud;

impl Remote for Cloud {
    fn orphans(&self) -> Later<Vec<OrphanJob>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn cancel_orphan(&self, job: String) -> Later<()> {
        Box::pin(async move { Err(Problem::new(Code::UnknownOrphan, job)) })
    }
    fn adopt_orphan(&self, job: String) -> Later<()> {
        Box::pin(async move { Err(Problem::new(Code::UnknownOrphan, job)) })
    }
    fn fetch_log(&self, _: AttemptId, log: String, _: bool) -> Later<Following> {
        Box::pin(async move { Err(Problem::new(Code::AwsFailed, log)) })
    }
    fn resume_plan(
        &self,
        run: RunId,
        _: Timestamp,
        execution: Execution,
    ) -> Later<ResumedExecution> {
        let is_new = execution.done.is_empty();
        let generation = if is_new { execution.generation } else { 1 };
        let name = format!("ds-{run}-g{generation}");
        let new_because = is_new.then(|| "the flow is another one by now".to_owned());
        Box::pin(async move { Ok(ResumedExecution { name, new_because }) })
    }
}

#[tokio::test]
async fn what_step_functions_will_do_stands_beside_the_resume_and_is_told_before_it() {
    let stage = stage_with_aws().await;
    let there = json!({"executor": "step_functions"});
    let step = |name: &str, after: &[&str]| json!({"name": name, "after": after, "run": {"shell": "x"}, "remote": there});
    stage
        .deploy(json!({"name": "books", "steps": [
            step("open", &[]), step("bad", &["open"]), step("report", &["bad"]),
        ]}))
        .await;
    let run = stage.finished_run("books").await;
    let page = stage.get(&format!("/runs/{run}")).await.body;
    let link = format!("<a href=\"/runs/{run}/resume-plan\">What Step Functions will do</a>");
    assert!(page.contains(&link), "{page}");

    let path = format!("/api/v1/runs/{run}/resume-plan");
    let plan = stage.get(&path).await.json();
    assert_eq!(
        plan["step_functions"],
        json!({
            "redrive": true, "execution": format!("ds-{run}-g1"), "because": null,
            "steps": ["bad", "report"], "takes_over": ["open"],
            "text": format!("execution ds-{run}-g1 is redriven: it begins again where it failed, and does bad, report"),
        })
    );
    let page = stage.get(&format!("/runs/{run}/resume-plan")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.body
            .contains("begins again where it failed, and does bad, report")
    );
    let page = stage
        .get(&format!("/runs/{run}/resume-plan?from=open"))
        .await;
    assert!(
        page.body.contains("a new execution")
            && page
                .body
                .contains("does open, bad, report; no redrive, for the flow is another one"),
        "{}",
        page.body
    );

    for (query, status, code) in [
        ("?from=oven", StatusCode::NOT_FOUND, "unknown_step"),
        ("?version=old", StatusCode::BAD_REQUEST, "bad_request"),
        ("?form=open", StatusCode::BAD_REQUEST, "bad_request"),
    ] {
        let answer = stage.get(&format!("{path}{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert_eq!(answer.json()["code"], code, "{query}");
    }
}

#[tokio::test]
async fn a_run_that_step_functions_do_not_execute_has_no_plan_there() {
    let stage = stage().await;
    stage
        .deploy(json!({"name": "here", "steps": [{"name": "bad", "run": {"shell": "x"}}]}))
        .await;
    let run = stage.finished_run("here").await;
    let page = stage.get(&format!("/runs/{run}")).await.body;
    assert!(!page.contains("What Step Functions will do"));
    let plan = stage.get(&format!("/api/v1/runs/{run}/resume-plan")).await;
    assert_eq!(plan.json()["step_functions"], json!(null));
    assert_eq!(
        stage.get("/api/v1/runs/999/resume-plan").await.json()["code"],
        "unknown_run"
    );
}
