//! Events through the route into the real engine.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use dalsegno_engine::{EngineConfig, EngineHandle, Executor, Reporter, Role};
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{AttemptId, Config, Flow, Input, Span, Submission, Version};
use dalsegno_store::{MemoryStore, Store};
use dalsegno_triggers::METAFLOW_EVENTS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
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

/// An engine with one flow that starts on `orders.corrected`; it ends when the token is dropped.
async fn engine() -> (EngineHandle, tokio_util::sync::DropGuard) {
    let store = Arc::new(MemoryStore::new());
    store
        .migrate()
        .await
        .expect("the memory store needs no migration");
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
        "triggers": [{"name": "corrected", "on": {"leaf": {"source": {"event": {"kind": "orders.corrected"}}}}}],
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

async fn post(engine: &EngineHandle, kind: &str, body: String) -> (StatusCode, Value) {
    post_to(engine, "/api/v1/events", kind, body).await
}

async fn post_to(
    engine: &EngineHandle,
    path: &str,
    kind: &str,
    body: String,
) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", kind);
    let request = request.body(Body::from(body)).expect("a request");
    let router = dalsegno_triggers::router(engine.clone());
    let response = router.oneshot(request).await.expect("a router answers");
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "orders.corrected"})
}

#[tokio::test]
async fn an_accepted_event_starts_its_run_once_however_often_it_is_sent() {
    let (engine, _stop) = engine().await;
    let kind = "application/cloudevents+json";
    let (status, first) = post(&engine, kind, event("a").to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        first,
        json!({"items": [{"seq": 1, "id": "a", "source": "/shop", "duplicate": false, "runs": ["1"]}]})
    );
    let (_, second) = post(&engine, kind, event("a").to_string()).await;
    let item = &second["items"][0];
    assert_eq!(
        (&item["seq"], &item["duplicate"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(engine.view().runs().count(), 1);
    assert!(
        engine.store().event(1).await.expect("a read").is_some(),
        "durable"
    );
}

#[tokio::test]
async fn a_batch_is_answered_in_its_own_order() {
    let (engine, _stop) = engine().await;
    let events: Vec<Value> = (0..50).map(|it| event(&format!("e{it}"))).collect();
    let kind = "application/cloudevents-batch+json";
    let (status, answer) = post(&engine, kind, Value::from(events).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let items = answer["items"].as_array().expect("a list");
    let seqs: Vec<u64> = items.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let (engine, _stop) = engine().await;
    let body = "x".repeat(dalsegno_triggers::BODY_BYTES_MAX + 1);
    let (status, problem) = post(&engine, "application/cloudevents+json", body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        (&problem["code"], &problem["limit_bytes"]),
        (&json!("body_too_large"), &json!(1 << 20))
    );
}

/// As `ArgoEvent(NAME).publish(payload)` of Metaflow 2.19 posts it.
fn published(id: Value, more: Value) -> Value {
    let mut payload = json!({
        "name": "orders.corrected", "id": id, "timestamp": 1_795_342_446, "utc_date": "20261122",
        "generated-by-metaflow": true,
    });
    let more = more.as_object().expect("an object").clone();
    payload.as_object_mut().expect("an object").extend(more);
    json!({"name": "orders.corrected", "payload": payload})
}

async fn publish(engine: &EngineHandle, body: &Value) -> (StatusCode, Value) {
    post_to(
        engine,
        METAFLOW_EVENTS,
        "application/json",
        body.to_string(),
    )
    .await
}

#[tokio::test]
async fn what_metaflow_publishes_starts_flows_and_a_second_delivery_does_not() {
    let (engine, _stop) = engine().await;
    let body = published(
        json!("3f0e7b52-7a35-4b52-9c5e-0a1b2c3d4e5f"),
        json!({"file": "a.csv"}),
    );
    let (status, first) = publish(&engine, &body).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!(
        (&first["runs"], &first["duplicate"], &first["source"]),
        (&json!(["1"]), &json!(false), &json!("metaflow"))
    );
    assert_eq!(first["id"], "3f0e7b52-7a35-4b52-9c5e-0a1b2c3d4e5f");
    let (_, second) = publish(&engine, &body).await;
    assert_eq!(
        (&second["seq"], &second["duplicate"]),
        (&first["seq"], &json!(true))
    );
    let row = engine
        .store()
        .event(1)
        .await
        .expect("readable")
        .expect("stored");
    assert_eq!(row.kind, "orders.corrected");
    assert_eq!(row.data["file"], "a.csv");
    assert_eq!(row.time.to_string(), "2026-11-22T10:14:06Z");
}

#[tokio::test]
async fn two_events_about_one_order_are_two() {
    let (engine, _stop) = engine().await;
    let id = json!(17);
    let (_, first) = publish(&engine, &published(id.clone(), json!({"state": "new"}))).await;
    let (_, other) = publish(&engine, &published(id.clone(), json!({"state": "paid"}))).await;
    let (_, again) = publish(&engine, &published(id, json!({"state": "paid"}))).await;
    assert_ne!(first["seq"], other["seq"], "the sender's own id");
    assert_eq!((&first["id"], &other["id"]), (&json!("17"), &json!("17")));
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&other["seq"], &json!(true))
    );
}

#[tokio::test]
async fn what_is_no_event_of_metaflow_is_told_what_is_wrong() {
    let (engine, _stop) = engine().await;
    let cases = [
        (
            json!([]),
            "the body is a JSON object with `name` and `payload`",
        ),
        (json!({"payload": {"id": "a"}}), "`name` is missing"),
        (
            json!({"name": 5, "payload": {"id": "a"}}),
            "`name` is a number, and a text is expected",
        ),
        (json!({"name": "x"}), "`payload` is missing"),
        (
            json!({"name": "x", "payload": "y"}),
            "`payload` is a text, and an object is expected",
        ),
        (
            json!({"name": "x", "payload": {}}),
            "`payload.id` is missing; it must be unique",
        ),
        (
            json!({"name": "x", "payload": {"id": "a"}, "data": 1}),
            "`data` is not known here",
        ),
        (
            json!({"name": "dalsegno.run.ended", "payload": {"id": "a"}}),
            "Dalsegno's own",
        ),
    ];
    for (body, expected) in cases {
        let (status, problem) = publish(&engine, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(expected), "{detail}");
    }
    let large = published(json!("a"), json!({"text": "x".repeat(300 << 10)}));
    let (status, problem) = publish(&engine, &large).await;
    assert_eq!(
        (status, &problem["limit_bytes"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!(262_144))
    );
    let (status, _) = post_to(&engine, METAFLOW_EVENTS, "text/plain", "{}".into()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
