//! The emulator of AWS of the tests, in a process of its own, with job queues whose jobs succeed at once.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const REGION: &str = "us-east-1";

/// What the SDK of AWS wants to know before it speaks to anybody.
pub(crate) const VARIABLES: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", REGION),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// Answers are as large as all jobs together.
const ANSWER_MAX: u64 = 1 << 30;

/// A running emulator; it ends with this value, and with this process.
pub(crate) struct Emulator {
    url: String,
    child: Child,
}

impl Emulator {
    pub(crate) fn start() -> Result<Self> {
        let python = std::env::var_os("DALSEGNO_BENCH_AWS_PYTHON").context(
            "DALSEGNO_BENCH_AWS_PYTHON names no Python with moto; run `cargo xtask bench`",
        )?;
        for (name, _) in VARIABLES {
            ensure!(
                std::env::var_os(name).is_some(),
                "{name} is not set; leave `--alone` away, or set it"
            );
        }
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/emulator/aws.py");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(&python)
            .arg(&program)
            .args(["--leash", "--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", python.display()))?;
        let mut emulator = Self {
            url: format!("http://127.0.0.1:{port}"),
            child,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = emulator.child.try_wait()? {
                bail!("{} ends by itself: {status}", program.display());
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "{} does not listen",
                program.display()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(emulator)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A job queue whose jobs succeed without a process.
    pub(crate) fn job_queue(&self, name: &str) -> Result<()> {
        let client = self.client();
        let role = format!("arn:aws:iam::123456789012:role/{name}");
        let environment = json!({
            "computeEnvironmentName": name, "type": "UNMANAGED", "serviceRole": role,
        });
        client.batch("CreateComputeEnvironment", &environment)?;
        let queue = json!({
            "jobQueueName": name, "state": "ENABLED", "priority": 1,
            "computeEnvironmentOrder": [{ "order": 1, "computeEnvironment": name }],
        });
        client.batch("CreateJobQueue", &queue)?;
        let path = format!("/_batch/queues/{name}");
        client.ask("PUT", &path, &[], &json!({ "instant": true }).to_string())?;
        Ok(())
    }

    /// An SQS queue that is told of all jobs whose names begin so; its address.
    pub(crate) fn status_queue(&self, name: &str, prefix: &str) -> Result<String> {
        let client = self.client();
        let made = client.json(
            "sqs",
            "AmazonSQS.CreateQueue",
            &json!({ "QueueName": name }),
        )?;
        let url = made["QueueUrl"].as_str().context("a queue has a URL")?;
        let path = url.splitn(4, '/').nth(3).context("with a path")?;
        let pattern = json!({
            "source": ["aws.batch"], "detail-type": ["Batch Job State Change"],
            "detail": { "jobName": [{ "prefix": prefix }], "status": ["RUNNING", "SUCCEEDED", "FAILED"] },
        });
        let rule = json!({ "Name": name, "EventPattern": pattern.to_string() });
        client.json("events", "AWSEvents.PutRule", &rule)?;
        let arn = format!("arn:aws:sqs:{REGION}:123456789012:{name}");
        let targets = json!({ "Rule": name, "Targets": [{ "Id": "queue", "Arn": arn }] });
        client.json("events", "AWSEvents.PutTargets", &targets)?;
        Ok(format!("{}/{path}", self.url))
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<()> {
        let path = format!("/{name}");
        self.client().ask("PUT", &path, &[], "").map(|_| ())
    }

    /// How often each operation was asked for so far, by `service operation`.
    pub(crate) fn calls(&self) -> Result<BTreeMap<String, f64>> {
        // Only the counts are wanted; no request has this in it.
        let seen = self.client().ask("GET", "/_fault?with=%00", &[], "")?;
        let counts = seen["counts"].as_object().context("it counts")?.iter();
        Ok(counts
            .map(|(name, count)| (name.clone(), count.as_f64().unwrap_or_default()))
            .collect())
    }

    /// When each job whose name begins so was submitted, in seconds, in order. An array is one job.
    pub(crate) fn submitted(&self, prefix: &str) -> Result<Vec<f64>> {
        let path = format!("/_batch/jobs?name={prefix}");
        let jobs = self.client().ask("GET", &path, &[], "")?;
        let jobs = jobs.as_array().context("a list of jobs")?.iter();
        let mut times: Vec<f64> = jobs
            .filter_map(|it| it["createdAt"].as_f64().map(|at| at / 1e3))
            .collect();
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// A definition for jobs that nobody of us submits.
    pub(crate) fn bare_definition(&self) -> Result<()> {
        let needs = json!([{ "type": "VCPU", "value": "1" }, { "type": "MEMORY", "value": "64" }]);
        let definition = json!({
            "jobDefinitionName": "bare", "type": "container",
            "containerProperties": { "image": "busybox", "command": ["true"], "resourceRequirements": needs },
        });
        let client = self.client();
        client
            .batch("RegisterJobDefinition", &definition)
            .map(|_| ())
    }

    /// Jobs per second that clients submit who do nothing else.
    pub(crate) fn submit_rate(
        &self,
        queue: &str,
        prefix: &str,
        jobs: usize,
        connections: usize,
    ) -> Result<f64> {
        let next = AtomicUsize::new(0);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let sender = || {
                let client = self.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return anyhow::Ok(());
                    }
                    client.submit(queue, &format!("{prefix}{number}"), None)?;
                }
            };
            let all: Vec<_> = (0..connections).map(|_| scope.spawn(sender)).collect();
            all.into_iter()
                .try_for_each(|it| it.join().expect("a sender does not panic"))
        })?;
        Ok(jobs as f64 / begun.elapsed().as_secs_f64())
    }

    /// Seconds from the submission of an array until the emulator has no child left that has not ended.
    pub(crate) fn array_seconds(&self, queue: &str, name: &str, size: usize) -> Result<f64> {
        let client = self.client();
        let begun = Instant::now();
        let made = client.submit(queue, name, Some(size))?;
        let asked = json!({ "jobs": [made["jobId"]] });
        loop {
            let found = client.batch("DescribeJobs", &asked)?;
            if found["jobs"][0]["status"] == "SUCCEEDED" {
                return Ok(begun.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection of its own.
    pub(crate) fn client(&self) -> Client {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        Client {
            url: self.url.clone(),
            agent: agent.into(),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It holds nothing that anyone wants.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("warning: the emulator of AWS cannot be ended: {error}");
        }
    }
}

pub(crate) struct Client {
    url: String,
    agent: ureq::Agent,
}

impl Client {
    /// Submits a job without us; `size`: an array.
    pub(crate) fn submit(&self, queue: &str, name: &str, size: Option<usize>) -> Result<Value> {
        let mut job = json!({ "jobName": name, "jobQueue": queue, "jobDefinition": "bare" });
        if let Some(size) = size {
            job["arrayProperties"] = json!({ "size": size });
        }
        self.batch("SubmitJob", &job)
    }

    fn batch(&self, op: &str, body: &Value) -> Result<Value> {
        let path = format!("/v1/{}", op.to_lowercase());
        let signed = [("authorization", signed("batch"))];
        self.ask("POST", &path, &signed, &body.to_string())
    }

    fn json(&self, service: &str, target: &str, body: &Value) -> Result<Value> {
        let headers = [
            ("authorization", signed(service)),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", target.to_owned()),
        ];
        self.ask("POST", "/", &headers, &body.to_string())
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<Value> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut answer = self.agent.run(request.body(body.to_owned())?)?;
        let text = answer.body_mut().with_config().limit(ANSWER_MAX);
        let text = text.read_to_string()?;
        ensure!(
            answer.status() == 200,
            "{method} {path}: {} {text}",
            answer.status()
        );
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// The emulator goes by the service's name and checks nothing else.
fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}
