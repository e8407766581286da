//! What other tools tell comes in, and our runs are told to others: through the routes and the real engine.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use dalsegno_engine::{EngineConfig, EngineHandle, Executor, Reporter, Role};
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{
    Answer, AttemptId, Config, Flow, FlowName, Input, Outcome, Reason, Report, RunId, Span,
    StartRequest, Submission, Success, Version,
};
use dalsegno_store::{MemoryStore, Store};
use dalsegno_triggers::lineage::{self, Emission};
use dalsegno_triggers::status::{SourceState, Sources};
use dalsegno_triggers::webhook::{self, Webhook, Webhooks};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// Takes every attempt and never says a word of it.
struct Silent;

impl Executor for Silent {
    fn reconcile(&self, _: BTreeSet<AttemptId>) {}
    fn submit(&self, _: Vec<Submission>) {}
    fn watch(&self, _: Submission) {}
    fn stop(&self, _: AttemptId, _: Span) {}
    fn forget(&self, _: Vec<AttemptId>) {}
}

/// An engine on a store with one flow that listens to this; it ends when the guard is dropped.
async fn engine(store: Arc<MemoryStore>, source: Value) -> (EngineHandle, DropGuard) {
    store.migrate().await.expect("memory needs no migration");
    let (_, reports) = Reporter::channel();
    let stop = CancellationToken::new();
    let config = EngineConfig {
        instance: "test".into(),
        lease_ttl: Span::from_secs(60),
        core: Config::default(),
    };
    let (engine, _) =
        dalsegno_engine::start(store, config, Arc::new(Silent), reports, stop.clone());
    assert_eq!(engine.settled().await, Role::Leader);
    let spec: FlowSpec = serde_json::from_value(json!({
        "name": "fix",
        "triggers": [{"name": "t", "on": {"leaf": {"source": source}}}],
        "run": {"strategy": {"parallel": 10}, "priority": 0},
        "steps": [{"name": "go", "run": {"shell": "true"}}],
    }))
    .expect("a flow");
    let input = Input::Deploy {
        flow: Arc::new(Flow::new(spec).expect("a valid flow")),
        version: Version::new("v1"),
        source: "".into(),
        file: "fix.yaml".into(),
    };
    engine.ask(input).await.expect("deployed");
    (engine, stop.drop_guard())
}

async fn send(router: &Router, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let bytes = bytes.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

fn complete(run: u32) -> Value {
    json!({
        "eventType": "COMPLETE", "eventTime": "2026-11-22T06:00:00Z",
        "producer": "https://example.com/dbt",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": format!("0199f000-0000-7000-8000-{run:012}")},
        "job": {"namespace": "dbt", "name": "orders"},
        "outputs": [{"namespace": "pg", "name": "shop.orders"}],
    })
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn a_complete_run_elsewhere_starts_a_flow_once_however_often_it_is_told() {
    let dataset = json!({"dataset": {"namespace": "pg", "name": "shop.orders"}});
    let (engine, _stop) = engine(Arc::default(), dataset).await;
    let sources = Sources::default();
    let router = lineage::router(engine.clone(), &sources);
    let mut start = complete(1);
    start["eventType"] = json!("START");
    let (status, answer) = send(
        &router,
        "/api/v1/lineage",
        &JSON,
        start.to_string().as_bytes(),
    )
    .await;
    assert_eq!((status, &answer["items"]), (200, &json!([])));
    for duplicate in [false, true] {
        let body = complete(1).to_string();
        let (status, answer) = send(&router, "/api/v1/lineage", &JSON, body.as_bytes()).await;
        assert_eq!(
            (status, &answer["status"]),
            (200, &json!("success")),
            "{answer}"
        );
        assert_eq!(answer["items"][0]["duplicate"], duplicate);
    }
    assert_eq!(engine.view().runs().count(), 1);
    let batch = json!([complete(2), start, complete(3)]).to_string();
    let (status, answer) = send(&router, "/api/v1/lineage/batch", &JSON, batch.as_bytes()).await;
    assert_eq!((status, &answer["received"]), (200, &json!(3)));
    assert_eq!(engine.view().runs().count(), 3);
    let status = sources.list().remove(0);
    assert_eq!(
        (
            status.counts.deliveries,
            status.counts.passed_over,
            status.counts.duplicates
        ),
        (6, 2, 1)
    );
}

#[tokio::test]
async fn lineage_may_come_packed_but_not_without_end_and_what_is_wrong_is_named() {
    let dataset = json!({"dataset": {"namespace": "pg", "name": "shop.orders"}});
    let (engine, _stop) = engine(Arc::default(), dataset).await;
    let router = lineage::router(engine.clone(), &Sources::default());
    let packed = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, text).expect("memory");
        encoder.finish().expect("memory")
    };
    let gzip = [JSON[0], ("content-encoding", "gzip")];
    let path = "/api/v1/lineage";
    let body = packed(complete(1).to_string().as_bytes());
    assert_eq!(send(&router, path, &gzip, &body).await.0, 200);
    let bomb = packed(&vec![b' '; lineage::LINEAGE_BYTES_MAX + 1]);
    let (status, problem) = send(&router, path, &gzip, &bomb).await;
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    assert_eq!(send(&router, path, &gzip, b"{}").await.0, 400, "not gzip");
    let mut bad = complete(2);
    bad["outputs"][0]["namespace"] = json!(7);
    let batch = json!([complete(3), bad]).to_string();
    let (status, problem) = send(&router, "/api/v1/lineage/batch", &JSON, batch.as_bytes()).await;
    assert_eq!(
        (
            status,
            &problem["code"],
            &problem["attribute"],
            &problem["index"]
        ),
        (
            400,
            &json!("bad_event"),
            &json!("outputs[0].namespace"),
            &json!(1)
        )
    );
    assert_eq!(
        engine.view().runs().count(),
        1,
        "of a bad batch nothing is taken"
    );
}

fn signed(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body);
    let digits = mac.finalize().into_bytes();
    let digits: String = digits.iter().map(|it| format!("{it:02x}")).collect();
    format!("sha256={digits}")
}

fn webhooks(more: Value) -> Webhooks {
    let mut spec = json!({"name": "hub", "verify": "github", "secret_env": ["NEW", "OLD"]});
    let map = spec.as_object_mut().expect("an object");
    map.extend(more.as_object().expect("an object").clone());
    let spec = serde_json::from_value(spec).expect("a webhook as written");
    let secrets = |name: &str| Some(format!("secret-{name}"));
    let webhook = Webhook::checked(spec, Path::new("."), secrets).expect("a webhook");
    Webhooks::new(vec![webhook]).expect("one name")
}

async fn deliver(
    router: &Router,
    kind: &str,
    id: &str,
    body: &Value,
    secret: &str,
) -> (u16, Value) {
    let body = body.to_string();
    let signature = signed(secret, body.as_bytes());
    let headers = [
        JSON[0],
        ("x-github-event", kind),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    send(router, "/api/v1/webhooks/hub", &headers, body.as_bytes()).await
}

#[tokio::test]
async fn a_signed_delivery_is_an_event_once_and_an_unsigned_one_is_nothing() {
    let (engine, _stop) = engine(Arc::default(), json!({"event": {"kind": "github.push"}})).await;
    let sources = Sources::default();
    let rules = webhooks(json!({
        "type": "github.${{ headers['x-github-event'] }}",
        "subject": "${{ body.ref }}",
        "data": {"branch": "${{ body.ref }}", "fixed": 7},
        "where": "headers['x-github-event'] != 'star'",
    }));
    let router = webhook::router(engine.clone(), rules, &sources);
    let push = json!({"ref": "main"});
    for (secret, duplicate) in [("secret-NEW", false), ("secret-OLD", true)] {
        let (status, answer) = deliver(&router, "push", "d-1", &push, secret).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(
            answer["items"][0]["duplicate"], duplicate,
            "either secret is good"
        );
    }
    let row = engine
        .store()
        .event(1)
        .await
        .expect("readable")
        .expect("stored");
    assert_eq!(
        (
            row.source.as_str(),
            row.id.as_str(),
            row.kind.as_str(),
            row.subject.as_deref()
        ),
        ("webhook:hub", "d-1", "github.push", Some("main"))
    );
    assert_eq!(*row.data, json!({"branch": "main", "fixed": 7}));
    assert_eq!(engine.view().runs().count(), 1);

    let (status, problem) = deliver(&router, "push", "d-2", &push, "guessed").await;
    assert_eq!((status, &problem["code"]), (401, &json!("bad_signature")));
    for (kind, word) in [("ping", "ping"), ("star", "`where` is false")] {
        let (status, answer) = deliver(&router, kind, "d-3", &push, "secret-NEW").await;
        let ignored = answer["ignored"].as_str().expect("a reason");
        assert!(status == 202 && ignored.contains(word), "{answer}");
    }
    assert_eq!(
        send(&router, "/api/v1/webhooks/other", &JSON, b"{}")
            .await
            .0,
        404
    );
    assert_eq!(engine.view().runs().count(), 1);

    let status = sources.list().remove(0);
    assert_eq!(
        (
            status.state,
            status.counts.errors,
            status.counts.passed_over
        ),
        (SourceState::Ok, 1, 2)
    );
    assert!(
        status.notes[0].contains("not signed as they must be: 1"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_delivery_that_a_rule_cannot_read_is_refused_and_on_record() {
    let (engine, _stop) = engine(Arc::default(), json!({"event": {"kind": "x"}})).await;
    let sources = Sources::default();
    let rules = webhooks(json!({"subject": "${{ body.issue.title }}"}));
    let router = webhook::router(engine.clone(), rules, &sources);
    let (status, problem) = deliver(&router, "push", "d-1", &json!({}), "secret-NEW").await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_event")));
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("`subject` of the mapping"), "{detail}");
    let kind = json!({"type": "webhook.${{ body.kind }}"});
    let router = webhook::router(engine.clone(), webhooks(kind), &sources);
    let (status, _) = deliver(
        &router,
        "push",
        "d-2",
        &json!({"kind": "a\nb"}),
        "secret-NEW",
    )
    .await;
    assert_eq!(status, 400);
    let large = json!({"kind": "x", "data": "x".repeat(300_000)});
    let (status, problem) = deliver(&router, "push", "d-3", &large, "secret-NEW").await;
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    assert_eq!(engine.view().runs().count(), 0);
    assert_eq!(sources.list()[0].counts.refused, 2, "of the second router");
}

/// A receiver of lineage that answers with these statuses, then with 200; and what it was sent.
async fn receiver(answers: &[u16]) -> (String, mpsc::UnboundedReceiver<Value>) {
    let (tell, told) = mpsc::unbounded_channel();
    let answers = Arc::new(std::sync::Mutex::new(answers.to_vec()));
    let take = move |Json(event): Json<Value>| async move {
        let mut answers = answers.lock().expect("no holder panics");
        let status = if answers.is_empty() {
            200
        } else {
            answers.remove(0)
        };
        if status == 200 {
            tell.send(event).expect("the test listens");
        }
        StatusCode::from_u16(status).expect("a status")
    };
    let router = Router::new().route("/api/v1/lineage", post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, router).into_future());
    (format!("http://{address}"), told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<Value>) -> Value {
    let event = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
    event.expect("an event comes").expect("the receiver lives")
}

fn emission(url: &str) -> Emission {
    let spec =
        serde_json::from_value(json!({"url": url, "namespace": "shop"})).expect("as written");
    Emission::checked(spec, Path::new("."), |_| None).expect("usable")
}

async fn start(engine: &EngineHandle) -> RunId {
    let request = StartRequest {
        flow: FlowName::new("fix"),
        params: Map::new(),
        key: None,
        by: "test".into(),
    };
    match engine.ask(Input::Start(request)).await {
        Ok(Answer::Run { run, .. }) => run,
        other => panic!("no run: {other:?}"),
    }
}

async fn end(engine: &EngineHandle, run: RunId, outcome: Outcome) {
    let task = engine
        .view()
        .tasks(run)
        .next()
        .expect("a task")
        .task
        .clone();
    let now = engine.now();
    let report = Report::Ended {
        outcome,
        started_at: Some(now),
        at: now,
    };
    let attempt = AttemptId {
        run,
        task,
        number: 1,
    };
    let input = Input::Report { attempt, report };
    engine.ask(input).await.expect("reported");
}

fn what(event: &Value) -> (String, String) {
    let text = |it: &Value| it.as_str().expect("text").to_owned();
    (text(&event["eventType"]), text(&event["run"]["runId"]))
}

#[tokio::test]
async fn runs_are_told_in_order_although_the_receiver_is_away_at_first() {
    let (engine, _stop) = engine(Arc::default(), json!({"event": {"kind": "x"}})).await;
    let before = start(&engine).await;
    end(&engine, before, Outcome::Succeeded(Success::default())).await;
    let (url, mut told) = receiver(&[503]).await;
    let sources = Sources::default();
    let stop = CancellationToken::new();
    let task = lineage::emit(engine.clone(), emission(&url), &sources, stop.clone());
    // It begins at the end of the journal, and says that it is there.
    wait_for(&sources, SourceState::Ok).await;

    let (good, bad) = (start(&engine).await, start(&engine).await);
    end(&engine, good, Outcome::Succeeded(Success::default())).await;
    end(&engine, bad, Outcome::Failed(Reason::Exit { status: 3 })).await;
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(next(&mut told).await);
    }
    let kinds: Vec<_> = events.iter().map(|it| what(it).0).collect();
    assert_eq!(kinds, ["START", "START", "COMPLETE", "FAIL"]);
    assert_eq!(what(&events[0]).1, what(&events[2]).1);
    assert_eq!(what(&events[1]).1, what(&events[3]).1);
    assert_eq!(events[0]["job"]["namespace"], "shop");
    assert_eq!(events[0]["job"]["name"], "fix");
    assert_eq!(
        events[0]["run"]["facets"]["tags"]["tags"][0]["value"],
        good.to_string()
    );
    let message = &events[3]["run"]["facets"]["errorMessage"]["message"];
    assert!(
        message.as_str().is_some_and(|it| it.contains("go")),
        "{message}"
    );
    until(|| sources.list()[0].counts.events == 4).await;
    assert_eq!(sources.list()[0].counts.errors, 1, "one try that failed");
    stop.cancel();
    task.expect("a thread").await.expect("it ends");
}

#[tokio::test]
async fn what_happened_while_nobody_told_it_is_told_later() {
    let store = Arc::new(MemoryStore::new());
    let (url, mut told) = receiver(&[]).await;
    let first = {
        let (engine, _stop) = engine(store.clone(), json!({"event": {"kind": "x"}})).await;
        let sources = Sources::default();
        let stop = CancellationToken::new();
        let task = lineage::emit(engine.clone(), emission(&url), &sources, stop.clone());
        wait_for(&sources, SourceState::Ok).await;
        let run = start(&engine).await;
        let event = next(&mut told).await;
        assert_eq!(what(&event).0, "START");
        stop.cancel();
        task.expect("a thread").await.expect("it ends");
        // Nobody tells this.
        end(&engine, run, Outcome::Succeeded(Success::default())).await;
        what(&event).1
    };
    let (engine, _stop) = engine(store, json!({"event": {"kind": "x"}})).await;
    let _task = lineage::emit(
        engine.clone(),
        emission(&url),
        &Sources::default(),
        CancellationToken::new(),
    );
    let events = [what(&next(&mut told).await), what(&next(&mut told).await)];
    // A beginning that this process does not know of is told again, under the same id.
    assert_eq!(
        events,
        [("START".into(), first.clone()), ("COMPLETE".into(), first)]
    );
}

#[tokio::test]
async fn an_event_that_the_receiver_never_takes_is_on_record_and_the_next_one_follows() {
    let (engine, _stop) = engine(Arc::default(), json!({"event": {"kind": "x"}})).await;
    let (url, mut told) = receiver(&[422]).await;
    let sources = Sources::default();
    let stop = CancellationToken::new();
    let task = lineage::emit(engine.clone(), emission(&url), &sources, stop.clone());
    wait_for(&sources, SourceState::Ok).await;
    let run = start(&engine).await;
    end(&engine, run, Outcome::Succeeded(Success::default())).await;
    assert_eq!(what(&next(&mut told).await).0, "COMPLETE");
    stop.cancel();
    task.expect("a thread").await.expect("it ends");
    assert_eq!(sources.list()[0].counts.refused, 1);
}

/// Waits until the only source is in this state.
async fn wait_for(sources: &Sources, state: SourceState) {
    until(|| sources.list()[0].state == state).await;
}

async fn until(is_so: impl Fn() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    });
    patience.await.expect("it comes to be so");
}
