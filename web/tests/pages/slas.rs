//! The board of promises.

use crate::common::stage;
use crate::send_form;
use axum::http::StatusCode;
use dalsegno_scheduler::row::TaskState;
use dalsegno_scheduler::sla::{Culprit, NewPrediction};
use dalsegno_scheduler::{Input, Span};
use serde_json::json;

#[tokio::test]
async fn the_board_shows_what_counts_who_is_late_and_who_has_seen_it() {
    let stage = stage().await;
    assert!(stage.get("/slas").await.body.contains("Nothing counts now"));
    stage
        .deploy(json!({
            "name": "report",
            "steps": [{ "name": "hold", "run": { "shell": "sleep" }, "after": [] }],
            "slas": [{ "kind": { "max_duration": 3_600_000_000_i64 } }],
        }))
        .await;
    let run = stage.started_run("report").await;
    stage.until(run, TaskState::Running).await;
    let page = stage.get("/slas").await.body;
    assert!(
        page.contains("take at most 1h") && page.contains("on time"),
        "{page}"
    );
    assert!(!page.contains("Acknowledge"), "there is nothing to see");

    let engine = &stage.engine;
    let row = engine.view().slas().next().expect("it counts").clone();
    let prediction = NewPrediction {
        flow: row.flow.clone(),
        promise: row.promise.clone(),
        period: row.period.clone(),
        chance_permille: 930,
        finish_p50: row.due_at + Span::from_mins(12),
        finish_p90: row.due_at + Span::from_mins(30),
        culprit: Some(Culprit {
            flow: "ingest".into(),
            step: None,
            run: None,
            factor_permille: 2_100,
            limit: None,
            owner: Some("data-eng".to_owned()),
            late_by: Span::from_mins(12),
        }),
    };
    let asked = engine.ask(Input::Prediction(Box::new(prediction))).await;
    asked.expect("taken");
    let page = stage.get("/slas?show=late").await.body;
    for text in [
        "at risk",
        "93 %",
        "ingest runs 2.1x longer than usual, owner data-eng",
        "Acknowledge",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }

    let form = format!(
        "flow=report&promise=max_duration&period={}&note=on+it",
        row.period.replace(':', "%3A")
    );
    let answer = send_form(&stage, "/slas/acknowledge", &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let page = stage.get("/slas").await.body;
    assert!(page.contains("seen by page: on it") && !page.contains("Acknowledge"));
    let unknown = "flow=report&promise=max_duration&period=run%3A999";
    let answer = send_form(&stage, "/slas/acknowledge", unknown).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
