//! A stage for tests: the real engine on the memory store, an executor that plays a part for each step,
//! and the router, called without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use dalsegno_engine::{Code, EngineConfig, EngineHandle, Executor, Problem, Reporter, Role};
use dalsegno_scheduler::metaflow::{MetaflowFlow, Storage};
use dalsegno_scheduler::row::{FlowRow, TaskState};
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{
    AttemptId, Config, Flow, FlowName, Input, Outcome, Reason, Report, RunId, Span, Submission,
    Success, Timestamp, Version,
};
use dalsegno_store::{MemoryStore, Store};
use dalsegno_web::{
    About, Artifact, Artifacts, BreakerView, Breakers, ByHand, CardFile, Deployed, Deployment,
    KeptTask, Later, LogFiles, MetaflowFlows, Remote, SourceState, Sources, Stream, TaskData,
    WebState,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Plays by the step's name: `hold…` runs until it is stopped, `bad…` fails, all others succeed.
struct Player {
    reporter: Reporter,
}

impl Executor for Player {
    fn reconcile(&self, _: BTreeSet<AttemptId>) {}
    fn submit(&self, submissions: Vec<Submission>) {
        for it in submissions {
            let reporter = self.reporter.clone();
            tokio::spawn(async move {
                let at = dalsegno_engine::clock::now();
                let external_id = "process 1".into();
                reporter
                    .report(it.attempt.clone(), Report::Started { external_id, at })
                    .await;
                let step = it.attempt.task.step.as_str().to_owned();
                let outcome = match step {
                    step if step.starts_with("hold") => return,
                    step if step.starts_with("bad") => Outcome::Failed(Reason::Exit { status: 3 }),
                    step if it.metaflow.is_some() => {
                        Outcome::Succeeded(trained(&step, it.attempt.task.iteration))
                    }
                    _ => Outcome::Succeeded(Success {
                        outputs: json!({"regions": ["eu", "us", "asia"], "rows": 12})
                            .as_object()
                            .expect("an object")
                            .clone(),
                        ..Success::default()
                    }),
                };
                reporter.report(it.attempt, ended(outcome)).await;
            });
        }
    }
    fn watch(&self, _: Submission) {}
    fn stop(&self, attempt: AttemptId, _: Span) {
        let reporter = self.reporter.clone();
        tokio::spawn(async move { reporter.report(attempt, ended(Outcome::Stopped)).await });
    }
    fn forget(&self, _: Vec<AttemptId>) {}
}

/// What the steps of [`train`] report: three items, three rounds, a gang of four.
fn trained(step: &str, iteration: u32) -> Success {
    let outputs = match step {
        "start" => json!({"labels": ["alpha=0.1", "alpha=0.5", "alpha=0.9"]}),
        "good" => json!({"num_parallel": 4}),
        "gang" => json!({"mapper_tasks": ["r/gang/t-0", "r/gang/t-0_node_1"]}),
        _ => json!({}),
    };
    let chosen = (step == "tune").then(|| match iteration {
        0 | 1 => vec!["tune".into()],
        _ => vec!["good".into()],
    });
    let splits = match step {
        "start" => Some(3),
        "good" => Some(1),
        _ => None,
    };
    Success {
        outputs: outputs.as_object().expect("an object").clone(),
        chosen,
        splits,
    }
}

fn ended(outcome: Outcome) -> Report {
    Report::Ended {
        outcome,
        started_at: None,
        at: dalsegno_engine::clock::now(),
    }
}

/// Logs in one folder, a file each.
struct Logs(PathBuf);

impl LogFiles for Logs {
    fn path(&self, attempt: &AttemptId, stream: Stream) -> PathBuf {
        let name = attempt.to_string().replace('/', "-");
        self.0.join(format!("{name}.{}", stream.as_str()))
    }
}

/// Takes a deployment whose dump is the flow itself.
struct Deployer(EngineHandle);

impl MetaflowFlows for Deployer {
    fn deploy(&self, deployment: Deployment) -> Later<Deployed> {
        let engine = self.0.clone();
        Box::pin(async move {
            let bad = |text: String| Problem::new(Code::BadDeployment, text);
            let spec: FlowSpec =
                serde_json::from_value(deployment.dump).map_err(|it| bad(it.to_string()))?;
            let flow = Arc::new(Flow::new(spec).map_err(|it| bad(format!("{it:?}")))?);
            let (name, version) = (flow.name().clone(), Version::new("dededededededede"));
            let input = Input::Deploy {
                flow,
                version: version.clone(),
                source: "class Train(FlowSpec): ...\n".into(),
                file: deployment.file,
            };
            match engine.ask(input).await? {
                dalsegno_scheduler::Answer::Deployed { created, .. } => Ok(Deployed {
                    flow: name,
                    version,
                    created,
                    warnings: vec!["read twice, told once".into()],
                }),
                other => panic!("{other:?}"),
            }
        })
    }
    fn remove(&self, flow: FlowName) -> Later<()> {
        let engine = self.0.clone();
        Box::pin(async move {
            if flow.as_str() == "shop" {
                let problem = Problem::new(Code::FlowInFolder, "flow shop lies in shop.yaml");
                return Err(problem.with("file", "shop.yaml"));
            }
            engine.ask(Input::Remove { flow }).await?;
            Ok(())
        })
    }
    fn read(&self, file: &str, text: &str) -> Result<Arc<Flow>, Problem> {
        let bad = |text: String| {
            let errors = json!([{"line": 1, "message": text, "help": null, "code": "flow.test"}]);
            Problem::new(Code::BadDeployment, format!("{file}: {text}")).with("errors", errors)
        };
        let spec: FlowSpec = serde_json::from_str(text).map_err(|it| bad(it.to_string()))?;
        let flow = Flow::new(spec).map_err(|it| bad(format!("{it:?}")))?;
        Ok(Arc::new(flow))
    }
    fn about(&self, _: &FlowRow, flow: &MetaflowFlow) -> About {
        About {
            python: flow
                .python
                .clone()
                .or_else(|| Some("/srv/venv/bin/python".into())),
            storage: Some(Storage {
                datastore: "local".into(),
                root: "/srv/flows/.metaflow".into(),
                metadata: "local".into(),
            }),
            // Nothing is there.
            progress: flow
                .python
                .as_deref()
                .filter(|it| it.starts_with("/gone"))
                .map(|it| format!("Its interpreter {it} is gone.")),
            held: None,
            warnings: Vec::new(),
            deployed_from: None,
        }
    }
}

/// A queue that is well, and one that does not let us in.
struct Places;

/// Batch, of which one call is throttled, and S3, which somebody has closed.
pub(crate) struct Services(Mutex<Vec<BreakerView>>);

impl Services {
    fn new() -> Self {
        let now = dalsegno_engine::clock::now();
        let well = |name: &str| BreakerView {
            name: name.to_owned(),
            state: "closed",
            by_hand: None,
            failures: 0,
            opened_at: None,
            retry_at: None,
            last_error: None,
            calls: 412,
            errors: 0,
        };
        let throttled = BreakerView {
            state: "open",
            failures: 5,
            opened_at: Some(now),
            retry_at: Some(now + Span::from_secs(60)),
            last_error: Some("throttled: Rate exceeded".into()),
            errors: 5,
            ..well("batch:SubmitJob")
        };
        let by_hand = BreakerView {
            by_hand: Some("closed"),
            ..well("s3")
        };
        let all = vec![well("batch"), well("batch:ListJobs"), throttled, by_hand];
        Self(Mutex::new(all))
    }
}

impl Breakers for Services {
    fn all(&self) -> Vec<BreakerView> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn set(&self, name: String, to: ByHand) -> Later<()> {
        let mut all = self.0.lock().expect("not poisoned");
        let set = match all.iter_mut().find(|it| it.name == name) {
            None => Err(Problem::new(
                Code::UnknownBreaker,
                format!("there is no `{name}`"),
            )),
            Some(it) => {
                (it.state, it.by_hand) = match to {
                    ByHand::Open => ("open", Some("open")),
                    ByHand::Close => ("closed", Some("closed")),
                    ByHand::Auto => ("closed", None),
                };
                Ok(())
            }
        };
        Box::pin(std::future::ready(set))
    }
}

impl Sources for Places {
    fn all(&self) -> Vec<SourceState> {
        let at = Timestamp::from_secs;
        let well = SourceState {
            kind: "queue",
            name: "arrivals".into(),
            target: "https://sqs.eu-central-1.amazonaws.com/1/arrivals".into(),
            state: "ok",
            is_trouble: false,
            message: None,
            cure: None,
            notes: vec!["its clock is 2 min ahead".into()],
            since: at(1_000),
            last_event_at: Some(at(2_000)),
            received: 9,
            refused: 2,
            counts: BTreeMap::from([("events", 7), ("errors", 0)]),
        };
        let denied = SourceState {
            name: "orders".into(),
            state: "denied",
            is_trouble: true,
            message: Some("AccessDenied: sqs:ReceiveMessage is not allowed".into()),
            cure: Some("allow sqs:ReceiveMessage on the queue".into()),
            notes: Vec::new(),
            last_event_at: None,
            received: 0,
            refused: 0,
            ..well.clone()
        };
        vec![well, denied]
    }
}

/// Every attempt stored the same; its one card is a file in a folder.
struct Kept(PathBuf);

impl TaskData for Kept {
    fn artifacts(&self, task: &KeptTask) -> Artifacts {
        let artifact = |name: &str, kind: &str, size| Artifact {
            name: name.into(),
            kind: kind.into(),
            size: Some(size),
        };
        match task.step.as_str() {
            "start" => Artifacts::Elsewhere(format!("s3://bucket/{}/start", task.class)),
            _ => Artifacts::Listed(vec![
                artifact("alpha", "float", 21),
                artifact("model", "sklearn.svm.SVC", 2_760),
            ]),
        }
    }
    fn cards(&self, _: &KeptTask) -> Vec<CardFile> {
        let path = self.0.join("default-0a.html");
        let (name, title) = ("default-0a.html".into(), "default".into());
        let card = path.exists().then_some(CardFile { name, title, path });
        card.into_iter().collect()
    }
}

pub(crate) struct Stage {
    pub(crate) engine: EngineHandle,
    pub(crate) router: Router,
    pub(crate) logs: tempfile::TempDir,
    stopping: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        self.stop.cancel();
    }
}

pub(crate) async fn stage() -> Stage {
    stage_with(None).await
}

pub(crate) async fn stage_with(token: Option<&str>) -> Stage {
    stage_of(token, None).await
}

pub(crate) async fn stage_of(token: Option<&str>, remote: Option<Arc<dyn Remote>>) -> Stage {
    let store = Arc::new(MemoryStore::new());
    store
        .migrate()
        .await
        .expect("the memory store needs no migration");
    let (reporter, reports) = Reporter::channel();
    let stop = CancellationToken::new();
    let config = EngineConfig {
        instance: "test".into(),
        lease_ttl: Span::from_secs(60),
        core: Config::default(),
    };
    let player = Arc::new(Player { reporter });
    let (engine, _) = dalsegno_engine::start(store, config, player, reports, stop.clone());
    assert_eq!(engine.settled().await, Role::Leader);
    let logs = tempfile::tempdir().expect("a folder for logs");
    let (stopping, stopped) = watch::channel(false);
    let state = WebState {
        engine: engine.clone(),
        logs: Arc::new(Logs(logs.path().to_owned())),
        metaflow: Arc::new(Deployer(engine.clone())),
        task_data: Arc::new(Kept(logs.path().to_owned())),
        sources: Arc::new(Places),
        remote,
        breakers: Some(Arc::new(Services::new())),
        channels: None,
        token: token.map(str::to_owned),
        loopback: true,
        version: "0.0.0".into(),
        stopping: stopped,
    };
    let breaks = async || -> String { panic!("a handler that breaks") };
    let others = Router::new().route("/api/v1/breaks", axum::routing::get(breaks));
    let router = dalsegno_web::router(state, others);
    Stage {
        engine,
        router,
        logs,
        stopping,
        stop,
    }
}

/// A flow with steps, a foreach block, a parameter, a schedule and a trigger; `broken` fails in it.
pub(crate) fn shop() -> Value {
    let sh = |text: &str| json!({ "shell": text });
    json!({
        "name": "shop",
        "description": "Reads orders <daily>.",
        "owner": "sales",
        "tags": ["example"],
        "params": [
            {"name": "day", "type": "date", "default": "2026-11-22"},
            {"name": "rows", "type": "int", "default": 5, "min": 1},
            {"name": "mode", "type": "string", "default": "full", "choices": ["full", "quick"]},
        ],
        "schedules": [{"name": "daily", "when": {"cron": {"text": "0 6 * * *"}}, "timezone": "Europe/Berlin"}],
        "triggers": [{"name": "late", "on": {"all_of": [
            {"leaf": {"source": {"event": {"kind": "orders.a"}}}},
            {"leaf": {"source": {"event": {"kind": "orders.b"}}}},
        ]}}],
        "scopes": [{"name": "region", "parent": 0, "after": ["extract"],
            "items": {"template": "${{ steps.extract.outputs.regions }}"}}],
        "steps": [
            {"name": "extract", "run": sh("python extract.py")},
            {"name": "clean", "scope": 1, "run": sh("clean")},
            {"name": "fit", "scope": 1, "after": ["clean"], "run": sh("fit")},
            {"name": "report", "after": ["region"], "run": sh("report")},
        ],
    })
}

impl Stage {
    pub(crate) async fn deploy(&self, spec: Value) {
        self.deploy_as("0123456789abcdef", spec).await;
    }

    pub(crate) async fn deploy_as(&self, version: &str, spec: Value) {
        let spec: FlowSpec = serde_json::from_value(spec).expect("a flow");
        let flow = Arc::new(Flow::new(spec).expect("a valid flow"));
        let file = format!("{}.yaml", flow.name());
        let input = Input::Deploy {
            flow,
            version: Version::new(version),
            source: "flow: shop".into(),
            file,
        };
        self.engine.ask(input).await.expect("deployed");
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let answered = self.router.clone().oneshot(request).await;
        answered.expect("a router answers")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        read(self.send(request("GET", path, &[], "")).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        read(self.send(request("POST", path, &[], body)).await).await
    }

    /// Starts a run and waits until it is finished.
    pub(crate) async fn finished_run(&self, flow: &str) -> RunId {
        let id = self.started_run(flow).await;
        let path = format!("/api/v1/runs/{id}/wait?timeout=30");
        let run = self.get(&path).await.json();
        assert!(run["finished_at"].is_string(), "{run}");
        id
    }

    pub(crate) async fn started_run(&self, flow: &str) -> RunId {
        let answer = self.post(&format!("/api/v1/flows/{flow}/runs"), "{}").await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let id = answer.json()["id"].as_str().expect("a text id").to_owned();
        id.parse().expect("a run id")
    }

    /// Waits until some task of the run is in this state.
    pub(crate) async fn until(&self, run: RunId, state: TaskState) {
        let mut changes = self.engine.subscribe();
        while !self.engine.view().tasks(run).any(|it| it.state == state) {
            let _ = changes.recv().await;
        }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |it| it.to_str().expect("text"))
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a whole body");
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    }
}

/// A Metaflow flow with everything a graph of it can have: a switch that may go round, a foreach, a gang, a hook.
pub(crate) fn train() -> Value {
    let step = |next: &[&str], decorators: &[&str]| json!({"metaflow": {"next": next, "decorators": decorators}});
    let gang = json!({"metaflow": {"next": ["join"], "parallel": true, "decorators": ["@parallel", "@retry(times=2)"]}});
    json!({
        "name": "ml.user.ada.Train",
        "description": "Trains until it is good enough.",
        "params": [
            {"name": "alpha", "type": "float", "default": 0.5, "description": "Learning rate"},
            {"name": "tag-name", "type": "string", "optional": true},
        ],
        "run": {"strategy": {"parallel": 16}, "priority": 0},
        "metaflow": {
            "class": "Train",
            "project": {"name": "ml", "branch": "user.ada"},
            "start": "start", "end": "end",
            "code": {"hash": "abcd", "entry": "train.py", "folder": "/home/ada"},
            "configs": {"cfg": {"password": "s3cr3t"}},
            "with": ["retry:times=2"],
            "user": "ada",
            "metaflow_version": "2.19.39",
            "dynamic": [{"what": "@schedule(cron=…)", "reason": "os.getenv(…) is called", "line": 7}],
        },
        "scopes": [
            {"name": "start-foreach", "parent": 0, "after": ["start"], "items": "reported"},
            {"name": "choose-foreach", "parent": 0, "after": ["good"], "items": "reported"},
        ],
        "steps": [
            {"name": "start", "run": step(&["fit"], &["@retry(times=3)", "@timeout(minutes=5)", "@environment(vars={'A': '1'})"])},
            {"name": "fit", "scope": 1, "run": step(&["pick"], &["@catch(var='error')", "@resources(cpu=4, memory=16000)"])},
            {"name": "pick", "after": ["start-foreach"], "join": "any_live", "run": step(&["tune"], &[])},
            {"name": "tune", "after": ["pick", "tune"], "join": "any_live", "route": "switch",
             "run": step(&["good", "bad_luck", "tune"], &[])},
            {"name": "good", "after": ["tune"], "run": step(&["gang"], &[])},
            {"name": "bad_luck", "after": ["tune"], "run": step(&["end"], &[])},
            {"name": "gang", "scope": 2, "run": gang},
            {"name": "join", "after": ["choose-foreach"], "join": "any_live", "run": step(&["end"], &["@card"])},
            {"name": "end", "after": ["join", "bad_luck"], "join": "any_live", "run": step(&[], &[])},
            {"name": "exit-hook-notify", "hook": "failure", "on_failure": "continue",
             "run": {"metaflow": {"hook": "notify"}}},
        ],
    })
}
