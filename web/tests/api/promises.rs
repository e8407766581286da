//! Promises about time over the API: listed, seen, silenced.

use super::common::{Stage, read, stage};
use axum::http::{Request, StatusCode};
use dalsegno_scheduler::Input;
use serde_json::{Value, json};

/// Promises to succeed within a microsecond and never has: missed as soon as somebody looks.
fn stale(name: &str) -> Value {
    json!({
        "name": name, "owner": "growth",
        "steps": [{ "name": "a", "run": { "shell": "true" } }],
        "slas": [{ "kind": { "fresh_within": 1 } }],
        "alerts": [{ "on": ["sla.missed"], "to": ["webhook:x"] }],
    })
}

async fn missed(stage: &Stage, name: &str) -> Value {
    stage.deploy(stale(name)).await;
    stage.engine.ask(Input::Tick).await.expect("time may pass");
    let place = format!("/api/v1/slas?flow={name}&state=missed&open=true");
    stage.get(&place).await.json()["items"][0].take()
}

fn address(it: &Value) -> String {
    let text = |name: &str| it[name].as_str().expect("text").replace(':', "%3A");
    let (flow, promise, period) = (text("flow"), text("promise"), text("period"));
    format!("/api/v1/slas/{flow}/{promise}/{period}/acknowledge")
}

#[tokio::test]
async fn a_missed_promise_is_listed_and_somebody_sees_it() {
    let stage = stage().await;
    let it = missed(&stage, "report").await;
    super::triggers::documented(&stage, "Sla", &it).await;
    assert_eq!(it["promised"], "succeed at least every 1us");
    assert_eq!(it["owner"], "growth");
    assert!(it["acknowledged"].is_null() && it["open"] == true);
    let body = r#"{"by": "ada", "note": "the source is late"}"#;
    let seen = stage.post(&address(&it), body).await;
    assert_eq!(seen.status, StatusCode::OK);
    let seen = seen.json();
    assert_eq!(seen["acknowledged"]["by"], "ada");
    assert_eq!(seen["acknowledged"]["note"], "the source is late");
    let again = stage.post(&address(&it), body).await.json();
    assert_eq!(again, seen, "the first time counts");
    let listed = stage.get("/api/v1/slas?open=true").await.json();
    assert_eq!(listed["items"], json!([seen]));
    assert_eq!(
        stage.get("/api/v1/alerts").await.json()["items"][0]["kind"],
        "sla.missed"
    );
    let none = stage
        .get("/api/v1/slas?open=false&state=met,met_late")
        .await;
    assert_eq!(none.json()["items"], json!([]));
}

#[tokio::test]
async fn promises_come_in_pages() {
    let stage = stage().await;
    for name in ["a", "b", "c"] {
        missed(&stage, name).await;
    }
    let mut names = Vec::new();
    let mut place = "/api/v1/slas?limit=2".to_owned();
    loop {
        let page = stage.get(&place).await.json();
        let items = page["items"].as_array().expect("a list").clone();
        names.extend(
            items
                .iter()
                .map(|it| it["flow"].as_str().expect("text").to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        place = format!("/api/v1/slas?limit=2&cursor={}", next.replace(' ', "%20"));
    }
    assert_eq!(names, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_silence_is_made_once_and_ended_early() {
    let stage = stage().await;
    stage.deploy(stale("report")).await;
    let ask = async || {
        let body = json!({ "flow": "rep*", "for_s": 3600, "by": "ada", "note": "migration" });
        let request = Request::post("/api/v1/silences")
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(body.to_string().into())
            .expect("a request");
        read(stage.send(request).await).await
    };
    let first = ask().await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.json()["silence"], 1);
    assert_eq!(first.json()["flows"], 1);
    let again = ask().await;
    assert_eq!(again.json()["duplicate"], true);
    let listed = stage.get("/api/v1/silences?open=true").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    super::triggers::documented(&stage, "Silence", &listed["items"][0]).await;
    let ended = stage.post("/api/v1/silences/1/end", "{}").await;
    assert_eq!(ended.status, StatusCode::OK);
    let listed = stage.get("/api/v1/silences?open=true").await.json();
    assert_eq!(listed["items"], json!([]));
    let all = stage.get("/api/v1/silences").await.json();
    assert!(all["items"][0]["ended_at"].is_string(), "{all}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let stage = stage().await;
    let it = missed(&stage, "report").await;
    let gone = address(&it).replace("since", "slot");
    for (place, body, code, text) in [
        (
            "/api/v1/silences",
            r#"{"flow": "report"}"#,
            "bad_request",
            "either `until`",
        ),
        (
            "/api/v1/silences",
            r#"{"for_s": 0}"#,
            "bad_request",
            "1 to 31622400 is expected",
        ),
        (
            "/api/v1/silences",
            r#"{"for_s": 9, "until": "2030-01-01T00:00:00Z"}"#,
            "bad_request",
            "either",
        ),
        (
            "/api/v1/silences",
            r#"{"until": "2020-01-01T00:00:00Z"}"#,
            "bad_request",
            "let it end later",
        ),
        (
            "/api/v1/silences",
            r#"{"flow": "reprot", "for_s": 9}"#,
            "unknown_flow",
            "reprot",
        ),
        (
            "/api/v1/silences/7/end",
            "{}",
            "unknown_sla",
            "no silence 7",
        ),
        (
            "/api/v1/silences/x/end",
            "{}",
            "unknown_sla",
            "no silence x",
        ),
        (&gone, "{}", "unknown_sla", "no open promise"),
        (
            "/api/v1/slas/nobody/a/b/acknowledge",
            "{}",
            "unknown_flow",
            "nobody",
        ),
    ] {
        let answer = stage.post(place, body).await.json();
        assert_eq!(answer["code"], code, "{place} {body}: {answer}");
        let detail = answer["detail"].as_str().expect("text");
        assert!(detail.contains(text), "{place} {body}: {detail}");
    }
    for (place, text) in [
        ("/api/v1/slas?state=late", "does not know `late`"),
        ("/api/v1/slas?open=maybe", "true or false"),
        ("/api/v1/slas?cursor=x", "cursor"),
        ("/api/v1/silences?flow=x", "there is no query parameter"),
    ] {
        let answer = stage.get(place).await.json();
        let detail = answer["detail"].as_str().expect("text");
        assert!(detail.contains(text), "{place}: {detail}");
    }
}
