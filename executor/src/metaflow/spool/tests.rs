//! Sending to a service that answers by a script.

use super::drain::Drain;
use super::file::RunFile;
use super::send::{Answer, Asked, MetadataService, Method, NotNow};
use super::{MetadataSpool, SpoolLimits};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TASK: &str = "/flows/F/runs/R/steps/s/tasks/t";

/// Answers in this order, then 200 to everything; remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<(u16, Value), NotNow>>>,
    asked: Mutex<Vec<String>>,
}

impl MetadataService for Script {
    fn ask(&self, method: Method, path: String, body: Option<Value>) -> Asked {
        let size = body.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
        let line = format!("{method:?} {path} {size}");
        self.asked.lock().expect("no panic").push(line);
        let next = self.answers.lock().expect("no panic").pop_front();
        let next = next.unwrap_or(Ok((200, Value::Null)));
        Box::pin(async move { next.map(|(status, body)| Answer { status, body }) })
    }
}

struct House {
    folder: tempfile::TempDir,
    script: Arc<Script>,
    drain: Drain,
}

fn house(answers: impl IntoIterator<Item = Result<(u16, Value), NotNow>>) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [(
        "METAFLOW_SERVICE_URL".to_owned(),
        "http://service/".to_owned(),
    )]
    .into();
    let spool = MetadataSpool::of(&variables, folder.path(), SpoolLimits::default());
    let spool = spool.expect("a service");
    std::fs::create_dir_all(spool.folder()).expect("made");
    let script = Arc::new(Script::default());
    script.answers.lock().expect("no panic").extend(answers);
    House {
        drain: Drain::new(spool, script.clone()),
        folder,
        script,
    }
}

impl House {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("metaflow/spool").join(name)
    }

    /// Keeps updates as tasks do.
    fn keep(&self, run: &str, updates: &[(&str, Value, bool)]) {
        let lines = updates.iter().zip(1..).map(|((path, body, doubt), number)| {
            let update = json!({ "at": 1.0, "method": "POST", "path": path, "body": body, "doubt": doubt });
            format!("{update} {number}\n")
        });
        let text: String = lines.collect();
        std::fs::write(self.path(&format!("{run}.spool")), text).expect("written");
    }

    async fn pass(&mut self) -> Duration {
        self.drain.is_impatient();
        self.drain.pass().await.expect("files can be read")
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.asked.lock().expect("no panic"))
    }
}

fn value(name: &str) -> Value {
    json!({ "field_name": name, "type": "t", "value": "v", "tags": ["b", "a"] })
}

fn down() -> NotNow {
    NotNow::Unreachable {
        message: "it refuses connections".into(),
        status: None,
    }
}

#[tokio::test]
async fn updates_go_out_in_order_and_what_is_there_already_counts_as_arrived() {
    let mut house = house([Ok((409, Value::Null)), Ok((200, Value::Null))]);
    house.keep(
        "R",
        &[
            ("/flows/F", json!({}), false),
            ("/flows/F/run", json!({}), false),
        ],
    );
    house.pass().await;
    assert_eq!(house.asked(), ["Post /flows/F 0", "Post /flows/F/run 0"]);
    assert!(!house.path("R.spool").exists() && !house.path("R.sent").exists());
}

#[tokio::test]
async fn of_metadata_in_doubt_only_what_the_service_lacks_is_sent() {
    let here =
        json!([{ "field_name": "one", "type": "t", "value": "v", "tags": ["a", "b"], "id": 7 }]);
    let mut house = house([Ok((200, here)), Ok((200, json!({ "metadata_created": 1 })))]);
    let path = format!("{TASK}/metadata");
    let body = json!([value("one"), value("two")]);
    house.keep("R", &[(&path, body, true)]);
    house.pass().await;
    assert_eq!(
        house.asked(),
        [format!("Get {path} 0"), format!("Post {path} 1")]
    );
    assert!(!house.path("R.spool").exists());
}

#[tokio::test]
async fn while_it_is_down_one_run_asks_and_then_all_go_on_where_they_were() {
    let mut house = house([Ok((200, Value::Null)), Err(down()), Err(down())]);
    std::fs::write(house.path("down"), "").expect("written");
    house.keep(
        "A",
        &[
            ("/flows/A", json!({}), false),
            ("/flows/A/run", json!({}), false),
        ],
    );
    house.pass().await;
    house.asked();
    for run in ["B", "C"] {
        house.keep(run, &[(&format!("/flows/{run}"), json!({}), false)]);
    }
    let wait = house.pass().await;
    assert_eq!(house.asked(), ["Post /flows/A/run 0"], "one");
    assert_eq!(wait, Duration::from_secs(2));
    let wait = house.pass().await;
    let mut asked = house.asked();
    asked.sort();
    assert_eq!(
        asked,
        ["Post /flows/A/run 0", "Post /flows/B 0", "Post /flows/C 0"]
    );
    assert_eq!(wait, Duration::from_secs(1));
    assert!(
        !house.path("down").exists(),
        "tasks are told that it is back"
    );
}

#[tokio::test]
async fn an_update_that_a_working_service_does_not_take_is_put_aside_and_told_of() {
    let mine = || {
        [
            Err(NotNow::Unreachable {
                message: "HTTP 500: too long".into(),
                status: Some(500),
            }),
            Ok((200, Value::Null)),
        ]
    };
    let mut house = house(std::iter::repeat_with(mine).take(6).flatten());
    house.keep(
        "R",
        &[
            ("/flows/F/run", json!({}), false),
            (&format!("{TASK}/artifact"), json!([]), false),
        ],
    );
    for _ in 0..6 {
        assert!(house.path("R.spool").exists());
        house.pass().await;
    }
    let asked = house.asked();
    assert_eq!(
        asked[..2],
        ["Post /flows/F/run 0", "Get /flows/F 0"],
        "does it work?"
    );
    assert_eq!(
        asked.last().expect("one"),
        &format!("Post {TASK}/artifact 0")
    );
    let text = std::fs::read_to_string(house.path("R.refused")).expect("kept");
    assert!(
        text.contains("too long") && text.contains("/flows/F/run"),
        "{text}"
    );
    assert!(!house.path("R.spool").exists(), "the others went on");
}

#[tokio::test]
async fn artifacts_that_are_there_already_are_no_loss_and_others_are_tried_again() {
    let few = || Ok((200, json!({ "artifacts_created": 0 })));
    let here = |names: &[&str]| {
        let rows = names.iter().map(|it| json!({ "name": it }));
        Ok((200, Value::Array(rows.collect())))
    };
    let mut house = house([few(), here(&["x"]), few(), here(&["x", "y"])]);
    let path = format!("{TASK}/artifact");
    let artifact = |name: &str| json!({ "name": name, "attempt_id": 1 });
    house.keep(
        "R",
        &[(&path, json!([artifact("x"), artifact("y")]), false)],
    );
    house.pass().await;
    assert_eq!(
        house.asked()[1],
        format!("Get {TASK}/attempt/1/artifacts 0")
    );
    assert_eq!(RunFile::all(&house.path("")).expect("a folder").len(), 1);
    house.pass().await;
    assert!(!house.path("R.spool").exists());
}

#[tokio::test]
async fn what_it_refuses_is_put_aside_at_once() {
    let mut house = house([Ok((422, json!("system tags stay")))]);
    house.keep("R", &[("/flows/F/run", json!({}), false)]);
    house.pass().await;
    let text = std::fs::read_to_string(house.path("R.refused")).expect("kept");
    assert!(text.contains("HTTP 422: system tags stay"), "{text}");
}

#[test]
fn who_has_no_service_or_wants_nothing_to_wait_has_no_spool() {
    let of = |url: &str, bytes| {
        let variables = [
            ("METAFLOW_SERVICE_URL".to_owned(), url.to_owned()),
            (
                "METAFLOW_SERVICE_HEADERS".to_owned(),
                r#"{"x-a": "b"}"#.to_owned(),
            ),
            ("METAFLOW_SERVICE_AUTH_KEY".to_owned(), "k".to_owned()),
        ];
        let limits = SpoolLimits {
            bytes,
            ..SpoolLimits::default()
        };
        MetadataSpool::of(&variables.into(), "/data".as_ref(), limits)
    };
    assert!(of("", 1).is_none() && of("http://s", 0).is_none());
    let spool = of("http://s/", 1).expect("a spool");
    assert_eq!(spool.url(), "http://s");
    let headers = serde_json::to_string(spool.headers()).expect("text");
    assert_eq!(headers, r#"{"x-a":"b","x-api-key":"k"}"#);
}
