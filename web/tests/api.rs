//! Stories of the API: the real engine behind the real router.

#[path = "common/mod.rs"]
mod common;
#[path = "api/promises.rs"]
mod promises;
#[path = "api/triggers.rs"]
mod triggers;

use axum::http::{StatusCode, header};
use common::{read, request, shop, stage, stage_with};
use dalsegno_scheduler::row::TaskState;
use dalsegno_scheduler::{Input, NewEvent};
use serde_json::{Value, json};

fn one_step(name: &str, step: &str) -> Value {
    json!({"name": name, "steps": [{"name": step, "run": {"shell": "true"}}]})
}

#[tokio::test]
async fn a_run_is_started_waited_for_and_read() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let answer = stage
        .post(
            "/api/v1/flows/shop/runs",
            r#"{"params": {"rows": 7}, "by": "ada"}"#,
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header(header::LOCATION), "/api/v1/runs/1");
    let run = stage.get("/api/v1/runs/1/wait").await.json();
    assert_eq!(
        (&run["id"], &run["state"], &run["params"]["rows"]),
        (&json!("1"), &json!("succeeded"), &json!(7))
    );
    for name in [
        "flow",
        "created_at",
        "started_at",
        "finished_at",
        "interval",
        "priority",
        "occurrence",
        "version",
    ] {
        assert!(!run[name].is_null(), "{name}: {run}");
    }
    let tasks = stage.get("/api/v1/runs/1/tasks?step=fit").await.json();
    let names: Vec<&Value> = tasks["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["task"])
        .collect();
    assert_eq!(names, ["fit[0]", "fit[1]", "fit[2]"]);
    let attempts = stage
        .get("/api/v1/runs/1/attempts?task=fit%5B1%5D")
        .await
        .json();
    assert_eq!(attempts["items"][0]["id"], "1/fit[1]/1");
    assert_eq!(attempts["items"].as_array().map(Vec::len), Some(1));
    let journal = stage.get("/api/v1/runs/1/journal?limit=2").await.json();
    let next = journal["next"].as_str().expect("more of it");
    let rest = stage
        .get(&format!("/api/v1/runs/1/journal?cursor={next}"))
        .await
        .json();
    assert_eq!(rest["next"], Value::Null);
    assert!(
        rest["items"][0]["at"]
            .as_str()
            .is_some_and(|it| it.ends_with('Z')),
        "{rest}"
    );
    let why = stage.get("/api/v1/runs/1/why").await.json();
    assert!(why["items"].is_array());
}

#[tokio::test]
async fn the_same_key_starts_one_run() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let start = || {
        request(
            "POST",
            "/api/v1/flows/shop/runs",
            &[("idempotency-key", "a")],
            "{}",
        )
    };
    let first = read(stage.send(start()).await).await;
    let second = read(stage.send(start()).await).await;
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert!(first.headers.get("idempotent-replayed").is_none());
    assert_eq!(
        second
            .headers
            .get("idempotent-replayed")
            .map(|it| it.as_bytes()),
        Some(&b"true"[..])
    );
}

#[tokio::test]
async fn every_problem_names_what_is_wrong() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    stage.deploy(one_step("held", "hold")).await;
    stage.finished_run("shop").await;
    let held = stage.started_run("held").await;
    let large = format!(r#"{{"params": {{"day": "{}"}}}}"#, "x".repeat(1 << 20));
    let asked = [
        ("GET", "/api/v1/flows/shopp", ""),
        ("GET", "/api/v1/runs/99", ""),
        ("GET", "/api/v1/runs/abc", ""),
        ("GET", "/api/v1/runs?state=runing", ""),
        ("GET", "/api/v1/runs?flw=shop", ""),
        ("GET", "/api/v1/runs?limit=0", ""),
        ("GET", "/api/v1/runs?cursor=x", ""),
        ("GET", "/api/v1/flows/shop/why?at=yesterday", ""),
        ("GET", "/api/v1/runs/1/tasks/nothing/logs", ""),
        ("GET", "/api/v1/runs/1/tasks/extract/logs?attempt=9", ""),
        ("GET", "/api/v1/runs/1/tasks/extract/logs", ""),
        ("GET", "/api/v1/events/9", ""),
        ("GET", "/api/v1/nothing", ""),
        ("GET", "/api/v1/breaks", ""),
        ("DELETE", "/api/v1/flows", ""),
        ("POST", "/api/v1/flows/shop/runs", "{\n  \"params\": ]"),
        ("POST", "/api/v1/flows/shop/runs", r#"{"parms": {}}"#),
        (
            "POST",
            "/api/v1/flows/shop/runs",
            r#"{"params": {"rows": "many", "mode": "slow", "dya": 1}}"#,
        ),
        ("POST", "/api/v1/flows/shop/runs", large.as_str()),
        ("POST", "/api/v1/runs/1/cancel", ""),
        ("POST", "/api/v1/runs/1/resume", ""),
        ("POST", &format!("/api/v1/runs/{held}/resume"), ""),
    ];
    let mut told = Vec::new();
    for (method, path, body) in asked {
        let answer = read(stage.send(request(method, path, &[], body)).await).await;
        assert_eq!(
            answer.header(header::CONTENT_TYPE),
            "application/problem+json",
            "{path}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status.as_u16(), "{path}");
        told.push(format!(
            "{method} {path}\n{}",
            serde_json::to_string_pretty(&problem).expect("JSON")
        ));
    }
    insta::assert_snapshot!(told.join("\n\n"));
}

#[tokio::test]
async fn a_flow_is_paused_and_unpaused() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let paused = stage
        .post(
            "/api/v1/flows/shop/pause",
            r#"{"reason": "moving house", "by": "ada"}"#,
        )
        .await
        .json();
    assert_eq!(
        (&paused["state"], &paused["paused"]["reason"]),
        (&json!("paused"), &json!("moving house"))
    );
    assert_eq!(stage.get("/api/v1/next").await.json()["items"], json!([]));
    let on = stage.post("/api/v1/flows/shop/unpause", "").await.json();
    assert_eq!(on["state"], "active");
    let next = stage.get("/api/v1/next").await.json();
    assert_eq!(next["items"][0]["flow"], "shop");
    let flow = stage.get("/api/v1/flows/shop").await.json();
    assert_eq!(flow["next_at"], next["items"][0]["due_at"]);
    assert_eq!(flow["edges"][0], json!(["clean", "fit"]));
}

/// What is told of a flow, a line each.
async fn why(stage: &common::Stage, flow: &str) -> Vec<String> {
    let answer = stage.get(&format!("/api/v1/flows/{flow}/why")).await.json();
    let items = answer["items"].as_array().expect("a list").clone();
    let text = |it: &Value| {
        format!(
            "{}: {}",
            it["subject"].as_str().expect("a subject"),
            it["text"].as_str().expect("a text")
        )
    };
    items.iter().map(text).collect()
}

#[tokio::test]
async fn events_that_started_nothing_are_told_newest_first() {
    let stage = stage().await;
    let mut flow = one_step("late", "go");
    flow["params"] = json!([{"name": "rows", "type": "int"}]);
    flow["triggers"] = json!([{"name": "arrived", "on": {"leaf": {
        "source": {"event": {"kind": "orders"}}, "where": "event.data.size > 1",
    }}}]);
    stage.deploy(flow).await;
    for (id, data) in [
        ("a", json!({"size": 1})),
        ("b", json!({"size": 2})),
        ("c", json!({"size": 0})),
    ] {
        let event = NewEvent {
            source: "test".into(),
            id: id.into(),
            kind: "orders".into(),
            subject: None,
            time: None,
            data,
        };
        let accepted = stage.engine.ask(Input::Event(event)).await;
        accepted.expect("accepted");
    }
    let told = why(&stage, "late").await;
    let told: Vec<&String> = told.iter().filter(|it| it.contains(" UTC was ")).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("arrived: event 3 (orders)"), "{told:?}");
    assert!(told[0].contains("was filtered"), "{told:?}");
    assert!(
        told[1].contains("event 2 (orders)") && told[1].contains("was refused"),
        "{told:?}"
    );
    assert!(told[1].contains("rows"), "the parameter it lacks: {told:?}");
}

#[tokio::test]
async fn what_a_metaflow_flow_lacks_is_told() {
    let stage = stage().await;
    stage.deploy(common::train()).await;
    let gone = "Its interpreter /gone/bin/python is gone.";
    let told = why(&stage, "ml.user.ada.Train").await.join("\n");
    assert!(!told.contains("is gone"), "{told}");
    let mut flow = common::train();
    flow["metaflow"]["python"] = "/gone/bin/python".into();
    stage.deploy_as("fedcba9876543210", flow).await;
    let told = why(&stage, "ml.user.ada.Train").await.join("\n");
    assert!(told.contains(gone), "{told}");
    let page = stage.get("/flows/ml.user.ada.Train").await.body;
    assert!(page.contains(gone), "{page}");
}

#[tokio::test]
async fn a_running_run_is_cancelled_and_resumed() {
    let stage = stage().await;
    stage.deploy(one_step("held", "hold")).await;
    let run = stage.started_run("held").await;
    stage.until(run, TaskState::Running).await;
    let unfinished = stage
        .get(&format!("/api/v1/runs/{run}/wait?timeout=0"))
        .await
        .json();
    for name in ["finished_at", "reason", "deadline"] {
        assert_eq!(unfinished.get(name), Some(&Value::Null), "there, and null");
    }
    let live = stage
        .get(&format!("/api/v1/runs/{run}/attempts"))
        .await
        .json();
    assert_eq!(
        (&live["items"][0]["state"], &live["items"][0]["number"]),
        (&json!("running"), &json!(1))
    );
    stage
        .post(
            &format!("/api/v1/runs/{run}/cancel"),
            r#"{"reason": "enough", "by": "ada"}"#,
        )
        .await;
    let ended = stage.get(&format!("/api/v1/runs/{run}/wait")).await.json();
    assert_eq!(
        (&ended["state"], &ended["reason"]["text"]),
        (&json!("cancelled"), &json!("cancelled by ada: enough"))
    );
    let resumed = stage
        .post(&format!("/api/v1/runs/{run}/resume"), "")
        .await
        .json();
    assert_eq!(
        (&resumed["generation"], &resumed["finished_at"]),
        (&json!(2), &Value::Null)
    );
}

#[tokio::test]
async fn logs_are_read_whole_by_their_end_and_as_they_grow() {
    let stage = stage().await;
    stage.deploy(one_step("held", "hold")).await;
    let run = stage.started_run("held").await;
    stage.until(run, TaskState::Running).await;
    let file = stage.logs.path().join(format!("{run}-hold-1.stdout"));
    std::fs::write(&file, "one\ntwo\n").expect("written");
    let path = format!("/api/v1/runs/{run}/tasks/hold/logs");
    let whole = stage.get(&path).await;
    assert_eq!(
        (whole.body.as_str(), whole.header(header::CONTENT_TYPE)),
        ("one\ntwo\n", "text/plain; charset=utf-8")
    );
    assert_eq!(stage.get(&format!("{path}?tail=4")).await.body, "two\n");
    assert_eq!(
        stage.get(&format!("{path}?stream=stderr")).await.body,
        "",
        "nothing yet, but it may come"
    );

    let followed = stage
        .send(request("GET", &format!("{path}?follow=true"), &[], ""))
        .await;
    std::fs::write(&file, "one\ntwo\nthree\n").expect("written");
    stage.post(&format!("/api/v1/runs/{run}/cancel"), "").await;
    assert_eq!(
        read(followed).await.body,
        "one\ntwo\nthree\n",
        "ends with the attempt"
    );
}

#[tokio::test]
async fn changes_are_told_as_they_happen() {
    use tokio_stream::StreamExt;
    let stage = stage().await;
    stage.deploy(one_step("quick", "go")).await;
    let live = stage
        .send(request("GET", "/api/v1/live?flow=quick", &[], ""))
        .await;
    assert_eq!(live.headers()[header::CONTENT_TYPE], "text/event-stream");
    stage.finished_run("quick").await;
    let mut stream = live.into_body().into_data_stream();
    let first = stream.next().await.expect("a message").expect("bytes");
    let text = String::from_utf8_lossy(&first);
    assert!(
        text.starts_with("event: change\n") && text.contains("run 1"),
        "{text}"
    );
}

#[tokio::test]
async fn metrics_are_well_formed() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    stage.finished_run("shop").await;
    let page = stage.get("/metrics").await.body;
    let mut known = std::collections::BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and type");
            assert!(
                matches!(kind, "counter" | "gauge") && known.insert(name.to_owned()),
                "{line}"
            );
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("series and value");
            let name = series.split('{').next().expect("a name");
            assert!(
                known.contains(name) && value.parse::<f64>().is_ok(),
                "{line}"
            );
        }
    }
    assert!(page.contains("dalsegno_runs_finished_total 1\n"), "{page}");
    assert!(page.contains("dalsegno_leader 1\n"));
}

#[tokio::test]
async fn with_a_token_nothing_is_told_to_strangers() {
    let stage = stage_with(Some("secret")).await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        read(stage.send(request("GET", path, headers, "")).await).await
    };
    assert_eq!(
        get("/api/v1/flows", &[]).await.json()["code"],
        "unauthorized"
    );
    assert_eq!(get("/metrics", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        get("/api/v1/flows", &[("authorization", "Bearer wrong")])
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        get("/api/v1/flows", &[("authorization", "Bearer secret")])
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(get("/readyz", &[]).await.status, StatusCode::OK);
    let page = get("/runs", &[]).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(
        page.body
            .contains("<form method=\"post\" action=\"/login\">")
    );
    let login = get("/runs?token=secret&state=failed", &[]).await;
    assert_eq!(
        (login.status, login.header(header::LOCATION)),
        (StatusCode::SEE_OTHER, "/runs?state=failed")
    );
    let cookie = login.header(header::SET_COOKIE);
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict")
            && !cookie.contains("secret"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("name=value");
    assert_eq!(
        get("/runs", &[("cookie", cookie)]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn other_sites_and_other_names_are_kept_out() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let post = async |headers: &[(&str, &str)]| {
        let request = request("POST", "/flows/shop/pause", headers, "reason=x");
        read(stage.send(request).await).await
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    let crossed = post(&[form, ("sec-fetch-site", "cross-site")]).await;
    assert_eq!(crossed.json()["code"], "cross_site");
    let renamed = post(&[form, ("host", "evil.example")]).await;
    assert_eq!(renamed.json()["code"], "forbidden_host");
    let own = post(&[
        form,
        ("host", "localhost:1"),
        ("sec-fetch-site", "same-origin"),
    ])
    .await;
    assert_eq!(own.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_flow_that_comes_over_http_is_deployed_run_found_by_its_pathspec_and_removed() {
    let stage = stage().await;
    stage.deploy(shop()).await;
    let deployment = json!({
        "class": "Train", "file": "/home/ada/train.py", "folder": "/home/ada", "host": "desk", "package": "",
        "entry": "train.py", "dump": common::train(),
    });
    let deploy = async || {
        stage
            .post("/api/v1/metaflow/deployments", &deployment.to_string())
            .await
    };
    let first = deploy().await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert_eq!(
        first.header(header::LOCATION),
        "/api/v1/flows/ml.user.ada.Train"
    );
    assert_eq!(first.json()["warnings"], json!(["read twice, told once"]));
    let again = deploy().await;
    assert_eq!(
        (again.status, &again.json()["created"]),
        (StatusCode::OK, &json!(false))
    );

    let flow = stage.get("/api/v1/flows/ml.user.ada.Train").await.json();
    assert_eq!(flow["metaflow"]["class"], "Train");
    assert_eq!(flow["metaflow"]["interpreter"], "/srv/venv/bin/python");
    assert_eq!(flow["metaflow"].get("configs"), None, "they may be secret");
    let run = stage.finished_run("ml.user.ada.Train").await;
    let row = stage.get(&format!("/api/v1/runs/{run}")).await.json();
    let pathspec = row["metaflow"]["pathspec"].as_str().expect("a pathspec");
    let (class, id) = pathspec.split_once('/').expect("two parts");
    assert_eq!(
        (class, id.starts_with(&format!("dalsegno-{run}-"))),
        ("Train", true)
    );
    let found = stage.get(&format!("/api/v1/runs/by-metaflow/{id}")).await;
    assert_eq!(found.json()["id"], json!(run.to_string()));
    for wrong in [
        "17",
        "dalsegno-99-abc",
        &format!("dalsegno-{run}-abc"),
        &format!("{id}-x"),
    ] {
        let answer = stage
            .get(&format!("/api/v1/runs/by-metaflow/{wrong}"))
            .await;
        assert_eq!(answer.json()["code"], "unknown_run", "{wrong}");
    }
    let shop_run = stage.finished_run("shop").await;
    let row = stage.get(&format!("/api/v1/runs/{shop_run}")).await.json();
    assert_eq!(row["metaflow"], Value::Null);

    let delete = async |name: &str| {
        let path = format!("/api/v1/flows/{name}");
        read(stage.send(request("DELETE", &path, &[], "")).await).await
    };
    assert_eq!(delete("shop").await.json()["code"], "flow_in_folder");
    assert_eq!(delete("none").await.json()["code"], "unknown_flow");
    let removed = delete("ml.user.ada.Train").await;
    assert_eq!(
        (removed.status, &removed.json()["state"]),
        (StatusCode::OK, &json!("removed"))
    );
}

#[tokio::test]
async fn a_deployment_may_be_larger_than_other_bodies_and_says_what_it_lacks() {
    let stage = stage().await;
    let large = json!({"class": "Train", "package": "x".repeat(2 << 20)});
    let answer = stage
        .post("/api/v1/metaflow/deployments", &large.to_string())
        .await;
    let problem = answer.json();
    assert_eq!(
        (&problem["code"], &problem["detail"]),
        (&json!("bad_request"), &json!("missing field `file`"))
    );
}

#[tokio::test]
async fn the_token_of_tasks_is_good_for_events_and_nothing_else() {
    let stage = stage_with(Some("secret")).await;
    let key = dalsegno_web::events_token("secret");
    let send = async |method: &str, path: &str, key: &str| {
        let headers = [("x-api-key", key)];
        read(stage.send(request(method, path, &headers, "{}")).await).await
    };
    let events = "/api/v1/metaflow/events";
    // The route itself is of a crate beside this one; the guard lets the request through to where it would be.
    assert_eq!(
        send("POST", events, &key).await.json()["code"],
        "unknown_route"
    );
    assert_eq!(
        send("POST", events, "secret").await.json()["code"],
        "unauthorized"
    );
    for (method, path) in [
        ("POST", "/api/v1/events"),
        ("GET", "/api/v1/flows"),
        ("GET", "/"),
    ] {
        assert_eq!(
            send(method, path, &key).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    assert!(key.len() == 64 && !key.contains("secret"));
}
