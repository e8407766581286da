//! The container of a Metaflow step, run as a process of this machine with S3 of the emulator.

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use dalsegno_executor::metaflow::MetaflowJobs;
use dalsegno_executor::{Layout, MetaflowConfig, Snapshots};
use dalsegno_executor_aws::metaflow::{Keys, MetaflowContainer, container, outcome};
use dalsegno_scheduler::metaflow::{MetaflowTask, Storage};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{Outcome, Reason, Span, Submission, Success};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const FLOW: &str = r#"
from metaflow import FlowSpec, Parameter, batch, step
import helper


class Mill(FlowSpec):
    grain = Parameter("grain", default="rye")

    @batch(image="mill:1", memory=2000)
    @step
    def start(self):
        print("milling", self.grain)
        if self.grain == "stone":
            raise ValueError("too hard")
        if self.grain == "chaff":
            raise SystemExit(0)
        self.bags = helper.bags(self.grain)
        self.next(self.fill, foreach="bags")

    @batch
    @step
    def fill(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Mill()
"#;

/// A flow with its code on this machine, and a bucket.
struct Mill {
    dir: tempfile::TempDir,
    url: String,
    bucket: String,
    s3: aws_sdk_s3::Client,
    jobs: MetaflowJobs,
    task: MetaflowTask,
}

impl Mill {
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = variable("DALSEGNO_TEST_AWS_URL");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .region(Region::new("us-east-1"))
            .endpoint_url(&url)
            .force_path_style(true)
            .build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("mill-{}-{number}", std::process::id());
        let made = s3.create_bucket().bucket(&bucket).send().await;
        made.expect("the emulator makes a bucket");
        let dir = tempfile::tempdir().expect("a directory");
        let flows = dir.path().join("flows");
        std::fs::create_dir(&flows).expect("made");
        std::fs::write(flows.join("mill.py"), FLOW).expect("written");
        // Not copied at registration, and taken along all the same.
        let helper = "def bags(grain):\n    return [grain[0], grain[1:]]\n";
        std::fs::write(flows.join("helper.py"), helper).expect("written");
        let layout = Layout::new(dir.path().join("data"));
        let code = Snapshots::new(layout.code_dir())
            .snapshot(&flows.join("mill.py"), &[])
            .expect("a snapshot");
        let config = MetaflowConfig {
            flows_dir: flows,
            storage: Some(Storage {
                datastore: "s3".into(),
                root: format!("s3://{bucket}/metaflow"),
                metadata: "local".into(),
            }),
            user: Some("tester".into()),
            ..MetaflowConfig::default()
        };
        let flow = json!({"class": "Mill", "start": "start", "end": "end", "code": code});
        let task = MetaflowTask {
            flow: Arc::new(serde_json::from_value(flow).expect("a flow")),
            step: serde_json::from_value(json!({"next": ["fill"]})).expect("a step"),
            name: "start".into(),
            run_id: "dalsegno-1-x".into(),
            task_id: "t".into(),
            earlier_task_id: None,
            retry_count: 0,
            max_user_code_retries: 0,
            inputs: vec!["_parameters/params".into()],
            split_index: None,
            num_parallel: None,
            params: Some(Map::new()),
            events: Vec::new().into(),
            origin: None,
            run_failed: false,
        };
        Self {
            jobs: MetaflowJobs::new(&config, &layout, None).expect("our Python is written"),
            dir,
            url,
            bucket,
            s3,
            task,
        }
    }

    fn with(mut self, grain: &str) -> Self {
        let params = json!({"grain": grain});
        self.task.params = params.as_object().cloned();
        self
    }

    fn submission(&self) -> Submission {
        Submission {
            attempt: "1/start/1".parse().expect("an attempt"),
            flow: "Mill".into(),
            command: Command::Metaflow(self.task.step.clone()),
            file: self.dir.path().join("flows/mill.py").display().to_string(),
            env: BTreeMap::from([("DALSEGNO_RUN".into(), "1".into())]),
            outputs: Vec::new(),
            memory_bytes: None,
            grace: Span::from_secs(1),
            event: None,
            metaflow: Some(Box::new(self.task.clone())),
            remote: None,
        }
    }

    fn container(&self) -> Result<MetaflowContainer, String> {
        let keys = Keys {
            bucket: &self.bucket,
            code: &|sha256: &str| format!("code/{sha256}.tgz"),
            order: "1/order",
            answer: "1/output",
            cloned: "cloned",
        };
        container(&self.jobs, &self.submission(), keys)
    }

    async fn put(&self, container: &MetaflowContainer) {
        for (key, content) in &container.objects {
            let put = self.s3.put_object().bucket(&self.bucket).key(key);
            let put = put.body(ByteStream::from(content.clone())).send().await;
            put.expect("it is put");
        }
    }

    async fn run(&self, container: &MetaflowContainer) -> Output {
        let python = PathBuf::from(variable("DALSEGNO_TEST_METAFLOW_PYTHON"));
        let bin = python.parent().expect("a folder").display();
        let mut command = tokio::process::Command::new(&container.command[0]);
        command
            .args(&container.command[1..])
            .env_clear()
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env("AWS_BATCH_JOB_ID", "job-1")
            .envs(self.credentials())
            .envs(&container.environment)
            .current_dir(self.dir.path());
        command.output().await.expect("it runs")
    }

    fn credentials(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            // By default 64 processes write together.
            ("METAFLOW_S3_WORKER_COUNT", "2"),
        ]
    }

    async fn answer(&self) -> Option<Vec<u8>> {
        let get = self.s3.get_object().bucket(&self.bucket).key("1/output");
        let body = get.send().await.ok()?.body.collect().await.ok()?;
        Some(body.to_vec())
    }

    /// Puts what is to be put, runs the container, and reads what it left.
    async fn outcome(&self) -> (Outcome, Output) {
        let container = self.container().expect("a container");
        self.put(&container).await;
        let output = self.run(&container).await;
        let status = output.status.code().expect("an exit code");
        let answer = self.answer().await;
        (outcome(status, answer.as_deref()), output)
    }

    /// What Metaflow's client prints.
    fn client(&self, code: &str) -> String {
        let mut command = std::process::Command::new(variable("DALSEGNO_TEST_METAFLOW_PYTHON"));
        let said = command
            .args(["-c", code])
            .current_dir(self.dir.path().join("flows"))
            .env("METAFLOW_USER", "tester")
            .env("METAFLOW_HOME", self.dir.path())
            .env("METAFLOW_DEFAULT_METADATA", "local")
            .env("METAFLOW_DEFAULT_DATASTORE", "s3")
            .env(
                "METAFLOW_DATASTORE_SYSROOT_S3",
                format!("s3://{}/metaflow", self.bucket),
            )
            .env("METAFLOW_S3_ENDPOINT_URL", &self.url)
            .envs(self.credentials())
            .output()
            .expect("the client runs");
        assert!(said.status.success(), "{}", text(&said.stderr));
        text(&said.stdout)
    }
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_step_runs_in_a_container_and_is_found_by_metaflows_client() {
    let mill = Mill::new().await;
    let (outcome, output) = mill.outcome().await;
    let said = text(&output.stderr);
    let Outcome::Succeeded(Success { splits, chosen, .. }) = outcome else {
        panic!("{outcome:?}\n{said}");
    };
    assert_eq!(splits, Some(2));
    assert_eq!(chosen, Some(vec!["fill".into()]));
    assert_eq!(text(&output.stdout), "milling rye\n");

    let answer = mill.answer().await.expect("an answer");
    let kept = mill.jobs.keep_metadata(&mill.submission(), &answer);
    kept.expect("it is kept");
    let told = mill.client(
        "from metaflow import Task, namespace; namespace(None); task = Task('Mill/dalsegno-1-x/start/t'); \
         print(task.successful, task.data.bags, task.stdout.strip(), task.metadata_dict['aws-batch-job-id'])",
    );
    assert_eq!(told, "True ['r', 'ye'] milling rye job-1\n");

    // The host went away when all was done: the same job again does nothing.
    let (again, output) = mill.outcome().await;
    assert!(matches!(again, Outcome::Succeeded(_)), "{again:?}");
    assert_eq!(text(&output.stdout), "");
}

#[tokio::test]
async fn a_step_that_fails_says_why_and_one_that_is_not_done_is_no_success() {
    let (failed, output) = Mill::new().await.with("stone").outcome().await;
    assert_eq!(output.status.code(), Some(1));
    let because = Reason::UserError {
        message: "ValueError: too hard".into(),
    };
    assert_eq!(failed, Outcome::Failed(because));
    let (failed, output) = Mill::new().await.with("chaff").outcome().await;
    assert_eq!(output.status.code(), Some(0));
    let Outcome::Failed(Reason::BadOutput { message }) = failed else {
        panic!("{failed:?}");
    };
    assert!(message.contains("but is not done"), "{message}");
}

#[tokio::test]
async fn what_is_too_large_for_a_request_goes_through_s3() {
    let mut mill = Mill::new().await.with(&"wheat ".repeat(2_000));
    let container = mill.container().expect("a container");
    let keys: Vec<_> = container.objects.iter().map(|it| it.0.as_str()).collect();
    assert!(
        matches!(keys[..], [_, order] if order.ends_with("/order")),
        "{keys:?}"
    );
    let (outcome, output) = mill.outcome().await;
    let said = text(&output.stderr);
    assert!(
        matches!(outcome, Outcome::Succeeded(_)),
        "{outcome:?}\n{said}"
    );

    // One argument holds no more than 128 KiB.
    mill.task.inputs = (0..9_000).map(|it| format!("fill/task-{it}")).collect();
    let container = mill.container().expect("a container");
    let order = text(&container.objects[1].1);
    assert!(order.contains(r#""--input-paths-filename","../inputs""#));
    assert!(order.contains("dalsegno-1-x/fill/task-8999"));
}

#[tokio::test]
async fn what_cannot_run_elsewhere_says_why_and_the_cure() {
    let mut mill = Mill::new().await;
    mill.task.num_parallel = Some(4);
    let error = mill.container().expect_err("a gang");
    assert!(
        error.contains("is a gang") && error.contains("take @batch away"),
        "{error}"
    );
    mill.task.num_parallel = None;
    let mut flow = (*mill.task.flow).clone();
    flow.storage = Some(Storage {
        datastore: "local".into(),
        root: "/here/.metaflow".into(),
        metadata: "local".into(),
    });
    mill.task.flow = flow.into();
    let error = mill.container().expect_err("a local datastore");
    assert!(error.contains("`datastore = \"s3\"`"), "{error}");
}

#[tokio::test]
async fn a_job_that_cannot_get_its_code_is_misconfigured_and_says_so() {
    let mill = Mill::new().await;
    let container = mill.container().expect("a container");
    let output = mill.run(&container).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(212), "{said}");
    assert!(said.contains("cannot be fetched from s3://"), "{said}");
    let outcome = outcome(212, None);
    assert!(
        matches!(outcome, Outcome::Failed(Reason::Configuration { .. })),
        "{outcome:?}"
    );
}
