//! Circuit breakers in the API and on the page.

mod common;

use common::stage;
use serde_json::json;

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
