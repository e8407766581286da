//! A house with one flow, and AWS as a person with the console would have made it.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_batch::config::{Credentials, SharedCredentialsProvider, retry::RetryConfig};
use aws_sdk_batch::types::{CeState, CeType, ComputeEnvironmentOrder, JqState};
use dalsegno_engine::{EngineConfig, EngineHandle, Reporter, Role};
use dalsegno_executor_aws::sfn::StepFunctions;
use dalsegno_executor_aws::{Aws, AwsConfig, S3Place, Timings};
use dalsegno_scheduler::row::{RunRow, RunState, TaskRow};
use dalsegno_scheduler::spec::JoinRule;
use dalsegno_scheduler::{
    Answer, Config, Flow, FlowName, Input, ResumeWith, RunId, Span, StartRequest, Version,
};
use dalsegno_store::{MemoryStore, Store};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Stage {
    pub(crate) aws: Aws,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) engine: EngineHandle,
    pub(crate) executor: Arc<StepFunctions>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) flow: FlowName,
    text: String,
    /// Steps that go on when one of those before them was taken.
    any_live: Vec<String>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Eight letters and digits that nobody else has, in this process or another.
fn installation() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:05x}{number:03}", std::process::id() % 0xfffff)
}

pub(crate) async fn aws(store: Arc<MemoryStore>, folder: &tempfile::TempDir) -> Aws {
    let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect(
        "DALSEGNO_TEST_AWS_URL names an emulator of AWS; run `cargo xtask test`, which starts one",
    );
    let name = installation();
    let config = AwsConfig {
        installation: name.clone(),
        region: Some("us-east-1".into()),
        endpoint: Some(url),
        s3: Some(S3Place {
            bucket: format!("sfn-{name}"),
            prefix: "all".into(),
        }),
        queues: vec![format!("q-{name}")],
        image: Some("busybox".into()),
        state_machine_role: Some("arn:aws:iam::123456789012:role/machines".into()),
        data_dir: folder.path().to_owned(),
        timings: Timings {
            poll_first: Duration::from_millis(100),
            poll_max: Duration::from_millis(400),
            retry_first: Duration::from_millis(100),
            look_again: Duration::from_millis(100),
            breaker_reset: Duration::from_secs(1),
            ..Timings::default()
        },
        ..AwsConfig::default()
    };
    let keys = Credentials::new("test", "test", None, None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(config.endpoint.clone().expect("the emulator's address"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .retry_config(RetryConfig::disabled())
        .build();
    let aws = Aws::with(config, sdk, store);
    aws.s3
        .create_bucket()
        .bucket(format!("sfn-{name}"))
        .send()
        .await
        .expect("a bucket");
    let environment = format!("ce-{name}");
    let made = aws.batch.create_compute_environment();
    let made = made
        .compute_environment_name(&environment)
        .r#type(CeType::Unmanaged);
    made.state(CeState::Enabled)
        .send()
        .await
        .expect("a compute environment");
    let order = ComputeEnvironmentOrder::builder()
        .order(1)
        .compute_environment(environment)
        .build();
    let queue = aws
        .batch
        .create_job_queue()
        .job_queue_name(format!("q-{name}"))
        .priority(1);
    let queue = queue
        .state(JqState::Enabled)
        .compute_environment_order(order);
    queue.send().await.expect("a queue");
    aws
}

impl Stage {
    /// `text`: a flow file, its name and `executor` left out.
    pub(crate) async fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(MemoryStore::new());
        store
            .migrate()
            .await
            .expect("the memory store needs no migration");
        let aws = aws(store.clone(), &folder).await;
        let flow = FlowName::new(format!("f{}", aws.config.installation));
        let text = text.replace("$DIR", &folder.path().display().to_string());
        let text = format!("flow: {flow}\nexecutor: step_functions\n{text}");
        let (executor, engine, stop, task) = open(&aws, &store).await;
        let it = Self {
            aws,
            store,
            engine,
            executor,
            folder,
            flow,
            text,
            any_live: Vec::new(),
            stop,
            task,
        };
        it.deploy().await;
        it
    }

    /// YAML has no word for it.
    pub(crate) async fn new_with(text: &str, any_live: &[&str]) -> Self {
        let mut it = Self::new(text).await;
        it.any_live = any_live.iter().map(|it| (*it).to_owned()).collect();
        it.deploy().await;
        it
    }

    async fn deploy(&self) {
        let name = format!("{}.yaml", self.flow);
        let file = match dalsegno_flowfile::parse(&name, &self.text) {
            Ok(file) => file,
            Err(found) => panic!("{}\n{}", found.render(false), self.text),
        };
        let mut spec = file.flow.spec().clone();
        for step in &mut spec.steps {
            if self.any_live.iter().any(|it| it == step.name.as_str()) {
                step.join = JoinRule::AnyLive;
            }
        }
        let version = format!("{}{}", file.version, self.any_live.len());
        let input = Input::Deploy {
            flow: Arc::new(Flow::new(spec).expect("a valid flow")),
            version: Version::new(version),
            source: file.source.into(),
            file: name,
        };
        self.engine.ask(input).await.expect("a valid flow");
    }

    /// The daemon dies and comes again.
    pub(crate) async fn restart(&mut self) {
        self.stop.cancel();
        let (executor, engine, stop, task) = {
            let task = std::mem::replace(&mut self.task, tokio::spawn(async {}));
            task.await.expect("the engine ends");
            open(&self.aws, &self.store).await
        };
        (self.executor, self.engine, self.stop, self.task) = (executor, engine, stop, task);
    }

    pub(crate) async fn run(&self, params: Value) -> RunId {
        let Value::Object(params) = params else {
            panic!("parameters are an object")
        };
        let request = StartRequest {
            flow: self.flow.clone(),
            params,
            key: None,
            by: "test".into(),
        };
        match self.engine.ask(Input::Start(request)).await.expect("a run") {
            Answer::Run { run, .. } => run,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn resume(&self, run: RunId) {
        let with = ResumeWith::Same;
        self.engine
            .resume(run, None, with, "test".into())
            .await
            .expect("it goes on");
    }

    pub(crate) async fn cancel(&self, run: RunId) {
        let cancel = Input::Cancel {
            run,
            by: "test".into(),
            reason: None,
        };
        self.engine.ask(cancel).await.expect("it is to end");
    }

    pub(crate) async fn ended(&self, run: RunId) -> Arc<RunRow> {
        let row = self.until(|it| async move {
            let row = it.store.run(run).await.expect("the store answers")?;
            row.state.is_terminal().then_some(row)
        });
        row.await
    }

    /// The rows that tell of the tasks: `a succeeded`, by name.
    pub(crate) async fn tasks(&self, run: RunId) -> Vec<String> {
        let mut all: Vec<String> = self
            .rows(run)
            .await
            .iter()
            .map(|it| format!("{} {}", it.task, it.state.as_str()))
            .collect();
        all.sort();
        all
    }

    pub(crate) async fn rows(&self, run: RunId) -> Vec<Arc<TaskRow>> {
        let snapshot = self.store.snapshot(run).await.expect("the store answers");
        snapshot.expect("the run is there").tasks
    }

    /// `1/a/1 failed`, in the order of their numbers.
    pub(crate) async fn attempts(&self, run: RunId) -> Vec<String> {
        let all = self
            .store
            .attempts(run, None)
            .await
            .expect("the store answers");
        let mut all: Vec<String> = all
            .iter()
            .map(|it| format!("{} {}", it.id, it.state.as_str()))
            .collect();
        all.sort();
        all
    }

    pub(crate) async fn until<'a, T, F>(&'a self, mut look: impl FnMut(&'a Self) -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            if start.elapsed() >= PATIENCE {
                let executions = self.executions().await;
                let tasks = self.tasks(dalsegno_scheduler::RunId(1)).await;
                panic!(
                    "it does not happen: {executions:?}, {tasks:?}
{}",
                    self.text
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All executions there ever were: name and status, oldest first.
    pub(crate) async fn executions(&self) -> Vec<(String, String)> {
        let prefix = format!("ds-{}-", self.aws.config.installation);
        let machines = self
            .aws
            .sfn
            .list_state_machines()
            .into_paginator()
            .items()
            .send();
        let machines = machines
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("machines");
        let mut all = Vec::new();
        for machine in machines.iter().filter(|it| it.name().starts_with(&prefix)) {
            let list = self
                .aws
                .sfn
                .list_executions()
                .state_machine_arn(machine.state_machine_arn());
            let list = list.send().await.expect("executions");
            let found = list.executions().iter();
            all.extend(found.map(|it| (it.name().to_owned(), it.status().as_str().to_owned())));
        }
        all.sort();
        all
    }

    /// The runs whose executions were started, in the order in which they were.
    pub(crate) async fn started(&self) -> Vec<RunId> {
        let endpoint = self.aws.config.endpoint.clone().expect("an emulator");
        let prefix = format!("ds-{}-", self.aws.config.installation);
        let url = format!("{endpoint}/_states/executions?name={prefix}");
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = ureq::get(url).call().expect("the emulator answers");
            answer.body_mut().read_to_string().expect("text")
        });
        let all: Value =
            serde_json::from_str(&answer.await.expect("it does not panic")).expect("JSON");
        let all = all.as_array().expect("a list");
        let mut all: Vec<(f64, RunId)> = all
            .iter()
            .map(|it| {
                let name = it["name"].as_str().and_then(|it| it.strip_prefix(&prefix));
                let run = name.and_then(|it| it.split('-').next());
                let run = run
                    .and_then(|it| it.parse().ok())
                    .expect("a run's execution");
                (it["startDate"].as_f64().expect("a time"), RunId(run))
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().map(|it| it.1).collect()
    }

    /// The input of a run's execution.
    pub(crate) async fn input(&self, run: RunId) -> String {
        let name = self.rows(run).await[0].external_id.clone().expect("a name");
        let arn = name.split('#').next().unwrap_or_default();
        let found = self.aws.sfn.describe_execution().execution_arn(arn).send();
        let found = found.await.expect("it is there");
        found.input().unwrap_or_default().to_owned()
    }

    /// How many events the history of the one execution has.
    pub(crate) async fn events(&self) -> u64 {
        let row = &self
            .store
            .snapshot(dalsegno_scheduler::RunId(1))
            .await
            .expect("the store answers");
        let name = row
            .as_ref()
            .and_then(|it| it.tasks[0].external_id.clone())
            .expect("it has a name");
        let arn = name.split('#').next().unwrap_or_default();
        let history = self
            .aws
            .sfn
            .get_execution_history()
            .execution_arn(arn)
            .max_results(1000);
        history.send().await.expect("a history").events().len() as u64
    }

    /// Every job there ever was: name and status.
    pub(crate) async fn jobs(&self) -> Vec<(String, String)> {
        let filter = aws_sdk_batch::types::KeyValuesPair::builder()
            .name("JOB_NAME")
            .values("ds-*")
            .build();
        let list = self
            .aws
            .batch
            .list_jobs()
            .job_queue(&self.aws.config.queues[0])
            .filters(filter);
        let found = list.send().await.expect("jobs");
        let mut all: Vec<(String, String)> = found
            .job_summary_list()
            .iter()
            .map(|it| {
                let status = it.status().map(|it| it.as_str()).unwrap_or_default();
                (
                    it.job_name().unwrap_or_default().to_owned(),
                    status.to_owned(),
                )
            })
            .collect();
        all.sort();
        all
    }

    /// `kind` of calls to this API that speak of this house.
    pub(crate) async fn fault(&self, service: &str, op: &str, kind: &str, times: u32) {
        let rule = json!({"service": service, "op": op, "kind": kind, "times": times, "with": self.aws.config.installation});
        let url = format!(
            "{}/_fault",
            self.aws.config.endpoint.clone().expect("an emulator")
        );
        let answer = tokio::task::spawn_blocking(move || ureq::post(url).send(rule.to_string()));
        answer
            .await
            .expect("it does not panic")
            .expect("the emulator answers");
    }

    /// All calls that speak of this house do again what they are to do.
    pub(crate) async fn no_faults(&self) {
        let endpoint = self.aws.config.endpoint.clone().expect("an emulator");
        let url = format!("{endpoint}/_fault?with={}", self.aws.config.installation);
        let answer = tokio::task::spawn_blocking(move || ureq::delete(url).call());
        answer
            .await
            .expect("it does not panic")
            .expect("the emulator answers");
    }

    /// There is no definition any more of jobs that run this.
    pub(crate) async fn deregister(&self, command: &str) {
        let prefix = format!("ds-{}-", self.aws.config.installation);
        let all = self.aws.batch.describe_job_definitions().status("ACTIVE");
        let all = all
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>();
        for it in all.await.expect("definitions") {
            let name = it.job_definition_name().unwrap_or_default();
            let runs = it.container_properties().map_or(&[][..], |it| it.command());
            if name.starts_with(&prefix) && runs.iter().any(|it| it == command) {
                let arn = it.job_definition_arn().unwrap_or_default();
                let deregister = self.aws.batch.deregister_job_definition();
                deregister.job_definition(arn).send().await.expect("gone");
            }
        }
    }

    /// Nobody knows any more of the execution that the run's first task names.
    pub(crate) async fn delete_execution(&self, run: RunId) {
        let name = self.rows(run).await[0].external_id.clone().expect("a name");
        let arn = name.split('#').next().unwrap_or_default();
        let endpoint = self.aws.config.endpoint.clone().expect("an emulator");
        let url = format!("{endpoint}/_states/executions/{arn}");
        let answer = tokio::task::spawn_blocking(move || ureq::delete(url).call());
        answer
            .await
            .expect("it does not panic")
            .expect("the emulator answers");
    }

    pub(crate) fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    pub(crate) async fn succeeds(&self, run: RunId) {
        let row = self.ended(run).await;
        let why: Vec<_> = self
            .rows(run)
            .await
            .iter()
            .map(|it| format!("{}: {:?} {:?}", it.task, it.state, it.reason))
            .collect();
        assert_eq!(
            row.state,
            RunState::Succeeded,
            "{:?} {why:#?} {:#?}",
            row.reason,
            self.executions().await
        );
    }

    pub(crate) async fn execution_ends(&self, status: &str) {
        self.until(|it| async move {
            let all = it.executions().await;
            all.iter().any(|(_, it)| it == status).then_some(())
        })
        .await;
    }
}

async fn open(
    aws: &Aws,
    store: &Arc<MemoryStore>,
) -> (
    Arc<StepFunctions>,
    EngineHandle,
    CancellationToken,
    JoinHandle<()>,
) {
    let (reporter, reports) = Reporter::channel();
    let stop = CancellationToken::new();
    let executor = StepFunctions::start(aws.clone(), reporter, &stop);
    let config = EngineConfig {
        instance: "test".into(),
        lease_ttl: Span::from_secs(10),
        core: Config::default(),
    };
    let (engine, task) = dalsegno_engine::start(
        store.clone(),
        config,
        executor.clone(),
        reports,
        stop.clone(),
    );
    assert_eq!(engine.settled().await, Role::Leader);
    (executor, engine, stop, task)
}

pub(crate) fn none() -> Value {
    Value::Object(Map::new())
}
