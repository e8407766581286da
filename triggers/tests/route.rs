//! Events through the route into the real engine.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use dalsegno_engine::{EngineConfig, EngineHandle, Executor, Reporter, Role};
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{AttemptId, Config, Flow, Input, Span, Submission, Version};
use dalsegno_store::{MemoryStore, Store};
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
    let request = Request::post("/api/v1/events").header("content-type", kind);
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
