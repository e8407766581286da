//! Tasks as jobs of the AWS emulator, in which jobs really run: what is submitted, what is told of it, and that there is
//! one job for one attempt, whatever dies when.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_batch::config::{Credentials, SharedCredentialsProvider, retry::RetryConfig};
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor_aws::{
    Aws, AwsConfig, Batch, Logs, OrphanPolicy, Orphans, S3Place, Timings, names, status,
};
use dalsegno_scheduler::spec::{Command, Remote};
use dalsegno_scheduler::{
    ArrayPlace, AttemptId, ExecutorKind, LiveAttempt, News, Outcome, Reason, RemoteTask, Report,
    Span, Submission, SubmissionWait, Timestamp,
};
use dalsegno_store::MemoryStore;
use dalsegno_tests::{Aws as Emulator, JobQueue, Queue, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const CREATED: Timestamp = Timestamp(1_795_000_000_000_000);

/// A house with its database, its two queues and its bucket.
struct House {
    aws: Emulator,
    cpu: JobQueue,
    other: JobQueue,
    bucket: String,
    installation: String,
    config: AwsConfig,
}

/// A daemon's executor. Dropping it is `kill -9`: nothing of it runs on.
struct Daemon {
    runtime: Option<Runtime>,
    batch: Option<Arc<Batch>>,
    aws: Aws,
    reports: Arc<Mutex<Vec<(AttemptId, Report)>>>,
    stop: CancellationToken,
}

impl House {
    fn new() -> Self {
        let aws = Emulator::emulator();
        let (cpu, other) = (aws.batch_queue("cpu"), aws.batch_queue("other"));
        let bucket = aws.bucket();
        let digits = aws
            .name("")
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>();
        let installation = format!("{digits:0>8}");
        let installation = installation[installation.len() - 8..].to_owned();
        let config = AwsConfig {
            installation: installation.clone(),
            s3: Some(S3Place {
                bucket: bucket.clone(),
                prefix: "jobs".into(),
            }),
            queues: vec![cpu.name.clone(), other.name.clone()],
            image: Some("busybox".into()),
            submissions_per_minute: 60_000,
            metadata_calls: 50,
            artifact_calls: 100,
            timings: Timings {
                look_again: Duration::from_millis(400),
                poll_first: Duration::from_millis(100),
                poll_max: Duration::from_millis(500),
                waiting_after: Duration::ZERO,
                retry_first: Duration::from_millis(50),
                retry_max: Duration::from_millis(500),
                orphans_every: Duration::from_secs(3_600),
                orphan_after: Duration::from_millis(50),
                gather: Duration::from_millis(300),
                breaker_reset: Duration::from_secs(1),
            },
            ..AwsConfig::default()
        };
        Self {
            aws,
            cpu,
            other,
            bucket,
            installation,
            config,
        }
    }

    /// A daemon that takes over these.
    fn daemon(&self, live: Vec<LiveAttempt>) -> Daemon {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let keys = Credentials::new("test", "test", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(
                self.config
                    .region
                    .clone()
                    .unwrap_or_else(|| self.aws.region().to_owned()),
            ))
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .endpoint_url(std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator"))
            .retry_config(RetryConfig::disabled())
            .build();
        let config = AwsConfig {
            endpoint: sdk.endpoint_url().map(str::to_owned),
            ..self.config.clone()
        };
        let aws = Aws::with(config, sdk, Arc::new(MemoryStore::new()));
        let (reporter, mut receiver) = Reporter::channel();
        let reports: Arc<Mutex<Vec<_>>> = Arc::default();
        let stop = CancellationToken::new();
        let batch = {
            let _inside = runtime.enter();
            let batch = Batch::start(aws.clone(), reporter, None, &stop);
            let kept = reports.clone();
            tokio::spawn(async move {
                while let Some(report) = receiver.recv().await {
                    kept.lock().expect("reports").push(report);
                }
            });
            status::start(aws.clone(), Some(batch.clone()), None, stop.clone());
            batch.take_over(live);
            batch
        };
        Daemon {
            runtime: Some(runtime),
            batch: Some(batch),
            aws,
            reports,
            stop,
        }
    }

    fn task(&self, attempt: &str, script: &str) -> Submission {
        let attempt = id(attempt);
        Submission {
            env: BTreeMap::from([("DALSEGNO_TASK".to_owned(), attempt.task.to_string())]),
            flow: "sales".into(),
            command: Command::Shell(script.into()),
            file: "/flows/sales.yaml".into(),
            outputs: Vec::new(),
            memory_bytes: Some(64 << 20),
            grace: Span::from_secs(1),
            event: None,
            metaflow: None,
            remote: Some(Box::new(RemoteTask {
                spec: Remote {
                    executor: ExecutorKind::Batch,
                    ..Remote::default()
                },
                timeout: None,
                capacity_retries: 0,
                lost_retries: 0,
                external_id: None,
                array: None,
                run_created_at: CREATED,
                attempts_before: 0,
                execution: None,
            })),
            attempt,
        }
    }

    fn array(&self, run: u32, size: u32, script: &str) -> Vec<Submission> {
        let first = id(&format!("{run}/fit[0]/1"));
        let items = (0..size).map(|index| {
            let mut task = self.task(&format!("{run}/fit[{index}]/1"), script);
            task.env.insert("ITEM".into(), format!("item {index}"));
            remote(&mut task).array = Some(ArrayPlace {
                first: first.clone(),
                index,
                size,
            });
            task
        });
        items.collect()
    }

    /// All jobs that this house ever had.
    fn jobs(&self) -> Vec<Value> {
        self.aws.jobs(&names::prefix(&self.installation))
    }

    #[track_caller]
    fn only_job(&self) -> Value {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:#?}");
        jobs.into_iter().next().expect("a job")
    }

    /// Faults for this house's jobs only: their names are in the request.
    fn fault(&self, op: &str, kind: &str, times: u32, ms: u32) {
        let with = names::prefix(&self.installation);
        let rule = json!({"service": "batch", "op": op, "with": with, "kind": kind, "times": times, "ms": ms});
        self.aws.fault(&rule);
    }

    fn submitting(&self, task: &Submission) -> LiveAttempt {
        LiveAttempt {
            attempt: task.attempt.clone(),
            executor: ExecutorKind::Batch,
            external_id: None,
            array: task.remote.as_ref().and_then(|it| it.array.clone()),
            stopping: false,
        }
    }
}

fn remote(task: &mut Submission) -> &mut RemoteTask {
    task.remote.as_mut().expect("it runs elsewhere")
}

fn id(text: &str) -> AttemptId {
    text.parse().expect("an attempt")
}

impl Daemon {
    fn batch(&self) -> &Arc<Batch> {
        self.batch.as_ref().expect("it lives")
    }

    fn submit(&self, tasks: Vec<Submission>) {
        let _inside = self.runtime.as_ref().expect("it lives").enter();
        self.batch().submit(tasks);
    }

    fn stop(&self, attempt: &AttemptId) {
        let _inside = self.runtime.as_ref().expect("it lives").enter();
        self.batch().stop(attempt.clone(), Span::from_secs(1));
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it lives").block_on(work)
    }

    fn reports(&self, attempt: &AttemptId) -> Vec<Report> {
        let all = self.reports.lock().expect("reports");
        let own = all.iter().filter(|(it, _)| it == attempt);
        own.map(|(_, it)| it.clone()).collect()
    }

    #[track_caller]
    fn ends(&self, attempt: &str) -> Outcome {
        let attempt = id(attempt);
        let ends = || {
            let mut ends = self
                .reports(&attempt)
                .into_iter()
                .filter_map(|it| match it {
                    Report::Ended { outcome, .. } => Some(outcome),
                    _ => None,
                });
            ends.next()
        };
        eventually(&format!("the end of {attempt}"), ends)
    }

    #[track_caller]
    fn fails(&self, attempt: &str) -> Reason {
        match self.ends(attempt) {
            Outcome::Failed(reason) => reason,
            other => panic!("{attempt} should fail, and is {other:?}"),
        }
    }

    #[track_caller]
    fn succeeds(&self, attempt: &str) {
        let end = self.ends(attempt);
        assert!(matches!(end, Outcome::Succeeded(_)), "{attempt}: {end:?}");
    }

    /// News of which this is something.
    #[track_caller]
    fn news<T>(&self, attempt: &str, what: impl Fn(&News) -> Option<T>) -> T {
        let attempt = id(attempt);
        eventually(&format!("news of {attempt}"), || {
            self.reports(&attempt).iter().find_map(|it| match it {
                Report::News(news) => what(news),
                _ => None,
            })
        })
    }

    #[track_caller]
    fn waits_for(&self, attempt: &str) -> SubmissionWait {
        self.news(attempt, |it| match &it.waiting {
            Some(Reason::SubmissionWaits { cause, .. }) => Some(*cause),
            _ => None,
        })
    }

    fn die(self) {}
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Without a word: the executor is still there when its runtime goes.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.batch = None;
        self.stop.cancel();
    }
}

#[test]
fn a_task_is_one_job_under_its_name_and_its_outputs_come_back() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let mut task = house.task(
        "7/Count[2]/1",
        "echo counted; echo 'rows=41' >>\"$DALSEGNO_OUTPUT\"",
    );
    task.outputs = vec!["rows".into()];
    daemon.submit(vec![task.clone()]);
    match daemon.ends("7/Count[2]/1") {
        Outcome::Succeeded(done) => assert_eq!(done.outputs["rows"], 41),
        other => panic!("{other:?}"),
    }
    let job = house.only_job();
    assert_eq!(
        job["name"],
        names::job(&house.installation, &task.attempt, CREATED)
    );
    let tags = &job["tags"];
    assert_eq!(
        (
            &tags["dalsegno:flow"],
            &tags["dalsegno:run"],
            &tags["dalsegno:attempt"]
        ),
        (&json!("sales"), &json!("7"), &json!("7/Count:2/1"))
    );
    let external = daemon.news("7/Count[2]/1", |it| it.external_id.clone());
    assert_eq!(job["id"], *external);
    let stream = daemon.news("7/Count[2]/1", |it| it.log.clone());
    assert_eq!(job["container"]["logStreamName"], *stream);
    let dir = tempfile::tempdir().expect("a folder");
    let mut aws = daemon.aws.clone();
    let mut config = (*aws.config).clone();
    config.data_dir = dir.path().into();
    aws.config = Arc::new(config);
    let logs = Logs::new(aws);
    let path = eventually("the log", || {
        let path = daemon
            .block_on(logs.ensure(&task.attempt, &stream))
            .expect("a log");
        path.exists().then_some(path)
    });
    daemon
        .block_on(logs.ensure(&task.attempt, &stream))
        .expect("a log");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "counted\n");
    // CloudWatch forgets after a day where somebody had read to: then it is read from the beginning.
    let place = path.with_added_extension("from");
    let text = std::fs::read_to_string(&place).expect("text");
    let token = text.lines().nth(2).expect("a token");
    std::fs::write(&place, text.replace(token, "f/of-the-day-before")).expect("written");
    daemon
        .block_on(logs.ensure(&task.attempt, &stream))
        .expect("a log");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "counted\n");
    assert!(
        !std::fs::read_to_string(&place)
            .expect("text")
            .contains("before")
    );
    // Asked for once more, as after a commit whose outcome was unknown: the same answer, and no other job.
    daemon.submit(vec![task.clone()]);
    eventually("the end again", || {
        let all = daemon.reports(&task.attempt);
        let ends = all.iter().filter(|it| matches!(it, Report::Ended { .. }));
        (ends.count() == 2).then_some(())
    });
    house.only_job();
}

#[test]
fn one_definition_serves_all_with_the_same_content_and_one_that_is_gone_is_registered_again() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![
        house.task("1/a/1", "true"),
        house.task("2/a/1", "true"),
    ]);
    daemon.succeeds("1/a/1");
    daemon.succeeds("2/a/1");
    let jobs = house.jobs();
    assert_eq!(jobs[0]["jobDefinition"], jobs[1]["jobDefinition"]);
    let definition = jobs[0]["jobDefinition"].as_str().expect("an ARN");
    house.aws.deregister(definition);
    daemon.submit(vec![house.task("3/a/1", "true")]);
    daemon.succeeds("3/a/1");
    assert_eq!(house.jobs().len(), 3);
}

#[test]
fn ends_have_their_reasons() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let wait = "while :; do sleep 0.1; done";
    let mut pulls = house.task("5/a/1", "true");
    remote(&mut pulls).spec.image = Some("missing/image".into());
    let mut outputs = house.task("6/a/1", "true");
    outputs.outputs = vec!["rows".into()];
    daemon.submit(vec![
        house.task("1/a/1", "exit 3"),
        house.task("2/a/1", "exit 202"),
        house.task("3/a/1", wait),
        house.task("4/a/1", wait),
        pulls,
        outputs,
    ]);
    assert_eq!(daemon.fails("1/a/1"), Reason::Exit { status: 3 });
    assert_eq!(daemon.fails("2/a/1"), Reason::DoNotRetry { status: 202 });
    let running = |run: u32| {
        let prefix = format!("{}{run}-", names::prefix(&house.installation));
        let job = house.aws.job_is(&prefix, "RUNNING");
        job["id"].as_str().expect("an id").to_owned()
    };
    house.aws.reclaim(&running(3));
    house.aws.end_job(
        &running(4),
        &json!({"exit": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}),
    );
    let lost = daemon.ends("3/a/1");
    assert!(matches!(lost, Outcome::Lost(_)), "{lost:?}");
    let limit_bytes = Some(64 << 20);
    assert_eq!(daemon.fails("4/a/1"), Reason::OutOfMemory { limit_bytes });
    assert!(matches!(
        daemon.fails("5/a/1"),
        Reason::Configuration { .. }
    ));
    assert!(matches!(daemon.fails("6/a/1"), Reason::BadOutput { .. }));
}

#[test]
fn a_host_that_goes_away_is_not_the_users_retry() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let go = std::path::PathBuf::from(format!("/tmp/dalsegno-go-{}", house.installation));
    let mut task = house.task(
        "1/a/1",
        "until [ $AWS_BATCH_JOB_ATTEMPT = 2 ] && [ -e $DALSEGNO_GO ]; do sleep 0.1; done",
    );
    task.env
        .insert("DALSEGNO_GO".into(), go.display().to_string());
    remote(&mut task).lost_retries = 2;
    daemon.submit(vec![task]);
    let begins = |count: usize| {
        eventually("it begins", || {
            let reports = daemon.reports(&id("1/a/1")).into_iter();
            let begins = reports.filter_map(|it| match it {
                Report::Started { at, .. } => Some(at),
                _ => None,
            });
            Some(begins.collect::<Vec<_>>()).filter(|it| it.len() >= count)
        })
    };
    begins(1);
    let job = house.only_job();
    house.aws.reclaim(job["id"].as_str().expect("an id"));
    // Its time begins anew with its second host.
    let begins = begins(2);
    std::fs::write(&go, "").expect("a file");
    daemon.succeeds("1/a/1");
    std::fs::remove_file(go).expect("ours");
    assert!(begins.len() == 2 && begins[0] < begins[1], "{begins:?}");
    assert_eq!(
        house.only_job()["attempts"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn hosts_that_go_away_are_counted_for_the_budget_that_is_ours() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let mut task = house.task("1/a/1", "while :; do sleep 0.1; done");
    remote(&mut task).lost_retries = 1;
    daemon.submit(vec![task]);
    for tries in 0..2 {
        let job = eventually("a job that runs", || {
            let job = house.jobs().pop()?;
            let tried = job["attempts"].as_array().map(Vec::len);
            (job["status"] == "RUNNING" && tried == Some(tries)).then_some(job)
        });
        house.aws.reclaim(job["id"].as_str().expect("an id"));
    }
    let end = daemon.ends("1/a/1");
    assert!(
        matches!(end, Outcome::HostsLost { times: 2, .. }),
        "{end:?}"
    );
}

#[test]
fn a_job_that_runs_while_nobody_can_be_asked_says_so_until_it_is_over() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![house.task("1/a/1", "sleep 60")]);
    let job = house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    let attempt = id("1/a/1");
    let is_started = |it: &Report| matches!(it, Report::Started { .. });
    eventually("its start", || {
        daemon
            .reports(&attempt)
            .iter()
            .any(is_started)
            .then_some(())
    });
    let id = job["id"].as_str().expect("an id");
    let rule =
        json!({"service": "batch", "op": "DescribeJobs", "with": id, "kind": "500", "times": 2});
    house.aws.fault(&rule);
    assert_eq!(daemon.waits_for("1/a/1"), SubmissionWait::Unreachable);
    daemon.news("1/a/1", |it| it.is_wait_over.then_some(()));
}

#[test]
fn an_answer_that_is_lost_makes_no_second_job() {
    for kind in ["lost_reply", "reset", "500"] {
        let house = House::new();
        house
            .aws
            .queue_control(&house.cpu, &json!({"visible_after_ms": 200}));
        house.fault("SubmitJob", kind, 1, 0);
        let daemon = house.daemon(Vec::new());
        daemon.submit(vec![house.task("1/a/1", "true")]);
        assert_eq!(
            daemon.waits_for("1/a/1"),
            SubmissionWait::UnknownOutcome,
            "{kind}"
        );
        daemon.succeeds("1/a/1");
        house.only_job();
    }
}

#[test]
fn what_is_refused_for_now_waits_with_its_reason() {
    for (kind, cause) in [
        ("throttle", SubmissionWait::Throttled),
        ("denied", SubmissionWait::Denied),
    ] {
        let house = House::new();
        house.fault("SubmitJob", kind, 2, 0);
        let daemon = house.daemon(Vec::new());
        daemon.submit(vec![
            house.task("1/a/1", "true"),
            house.task("2/a/1", "true"),
        ]);
        assert_eq!(daemon.waits_for("1/a/1"), cause);
        daemon.succeeds("1/a/1");
        daemon.succeeds("2/a/1");
        assert_eq!(house.jobs().len(), 2);
    }
}

#[test]
fn a_queue_that_is_not_there_is_said_at_once() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let mut task = house.task("1/a/1", "true");
    remote(&mut task).spec.queue = Some("nowhere".into());
    let mut gpu = house.task("2/a/1", "true");
    remote(&mut gpu).spec.gpus = Some(1);
    daemon.submit(vec![task, gpu]);
    let said = daemon.fails("1/a/1").to_string();
    assert!(
        said.contains("nowhere") && said.contains("does not exist"),
        "{said}"
    );
    let said = daemon.fails("2/a/1").to_string();
    assert!(said.contains("gpu_queues"), "{said}");
}

#[test]
fn items_are_children_of_one_array_and_each_ends_by_itself() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let mut items = house.array(
        1,
        6,
        "echo \"what=\\\"$ITEM\\\"\" >>$DALSEGNO_OUTPUT; [ \"$ITEM\" != 'item 3' ]",
    );
    for item in &mut items {
        item.outputs = vec!["what".into()];
    }
    daemon.submit(items);
    for index in [0, 1, 2, 4, 5] {
        match daemon.ends(&format!("1/fit[{index}]/1")) {
            Outcome::Succeeded(done) => assert_eq!(done.outputs["what"], format!("item {index}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(daemon.fails("1/fit[3]/1"), Reason::Exit { status: 1 });
    let array = house.only_job();
    let child = daemon.news("1/fit[3]/1", |it| it.external_id.clone());
    assert_eq!(
        *child,
        *format!("{}:3", array["id"].as_str().expect("an id"))
    );
    assert_eq!(array["arrayProperties"]["size"], 6);
}

#[test]
fn a_stopped_job_is_dead_before_that_is_told() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    let task = house.task("1/a/1", "while :; do sleep 0.1; done");
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    house.aws.fault(&json!({"service": "batch", "op": "TerminateJob", "with": house.only_job()["id"], "kind": "500", "times": 2}));
    daemon.stop(&task.attempt);
    daemon.stop(&task.attempt);
    assert_eq!(daemon.ends("1/a/1"), Outcome::Stopped);
    assert_eq!(house.only_job()["status"], "FAILED");
}

#[test]
fn an_attempt_of_which_only_the_number_is_known_can_be_stopped() {
    let house = House::new();
    let task = house.task("1/a/1", "while :; do sleep 0.1; done");
    let never = house.task("2/a/1", "true");
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    daemon.die();
    let daemon = house.daemon(vec![house.submitting(&task), house.submitting(&never)]);
    daemon.stop(&task.attempt);
    daemon.stop(&never.attempt);
    assert_eq!(daemon.ends("2/a/1"), Outcome::Stopped);
    assert_eq!(daemon.ends("1/a/1"), Outcome::Stopped);
    assert_eq!(house.only_job()["status"], "FAILED");
}

#[test]
fn a_job_that_nobody_knows_any_more_is_lost() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![house.task("1/a/1", "while :; do sleep 0.1; done")]);
    let job = house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    house.aws.delete_job(job["id"].as_str().expect("an id"));
    let end = daemon.ends("1/a/1");
    assert!(matches!(end, Outcome::Lost(_)), "{end:?}");
}

#[test]
fn a_job_that_waits_too_long_goes_to_the_next_queue() {
    let mut house = House::new();
    house.config.queue_wait = Some(Duration::from_millis(500));
    let reason = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - no machines";
    house
        .aws
        .queue_control(&house.cpu, &json!({"hold": true, "reason": reason}));
    let daemon = house.daemon(Vec::new());
    let mut task = house.task("1/a/1", "true");
    daemon.submit(vec![task.clone()]);
    daemon.news("1/a/1", |it| match &it.waiting {
        Some(Reason::JobWaits { state, message, .. })
            if state == "RUNNABLE" && message == reason =>
        {
            Some(())
        }
        _ => None,
    });
    let why = daemon.fails("1/a/1");
    assert!(
        matches!(&why, Reason::Capacity { message } if message.contains(reason)),
        "{why}"
    );
    assert_eq!(house.only_job()["status"], "FAILED");
    task.attempt = id("1/a/2");
    remote(&mut task).capacity_retries = 1;
    daemon.submit(vec![task]);
    daemon.succeeds("1/a/2");
    assert_eq!(house.jobs()[1]["queue"], house.other.name);
}

#[test]
fn a_job_that_no_machine_of_its_queue_can_take_is_not_tried_again() {
    let mut house = House::new();
    house.config.queue_wait = Some(Duration::from_millis(500));
    let reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - more memory than any machine has";
    house
        .aws
        .queue_control(&house.cpu, &json!({"hold": true, "reason": reason}));
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![house.task("1/a/1", "true")]);
    let why = daemon.fails("1/a/1");
    assert!(
        matches!(&why, Reason::Configuration { message } if message.contains(reason)),
        "{why}"
    );
    assert_eq!(house.only_job()["status"], "FAILED");
}

#[test]
fn in_another_region_there_are_no_queues_and_the_message_says_where_was_looked() {
    let mut house = House::new();
    house.config.region = Some("eu-north-1".into());
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![house.task("1/a/1", "true")]);
    let said = daemon.fails("1/a/1").to_string();
    assert!(
        said.contains(&house.cpu.name) && said.contains("does not exist"),
        "{said}"
    );
    assert_eq!(house.jobs(), Vec::<Value>::new());
}

/// Events that are lost, doubled, late or in another order.
#[test]
fn events_tell_of_jobs_and_what_they_miss_is_asked_for() {
    let mut house = House::new();
    let queue: Queue = house.aws.queue();
    house
        .aws
        .state_change_rule(&queue, &names::prefix(&house.installation));
    house.config.status_queue = Some(queue.url.clone());
    house.config.timings.poll_max = Duration::from_secs(2);
    house.config.timings.poll_first = Duration::from_secs(2);
    house
        .aws
        .events_control(&queue, &json!({"double": 3, "reorder": 4, "drop": 2}));
    let daemon = house.daemon(Vec::new());
    let tasks = (1..=6).map(|run| house.task(&format!("{run}/a/1"), "true"));
    daemon.submit(tasks.collect());
    for run in 1..=6 {
        daemon.succeeds(&format!("{run}/a/1"));
        let all = daemon.reports(&id(&format!("{run}/a/1")));
        let ends = all.iter().filter(|it| matches!(it, Report::Ended { .. }));
        assert_eq!(ends.count(), 1);
    }
    house.aws.is_empty_soon(&queue);
    assert_eq!(house.jobs().len(), 6);
}

#[test]
fn a_job_that_nobody_wants_is_an_orphan_at_the_second_look() {
    let house = House::new();
    let task = house.task("1/a/1", "while :; do sleep 0.1; done");
    let wanted = house.task("2/a/1", "while :; do sleep 0.1; done");
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task, wanted.clone()]);
    eventually("two jobs that run", || {
        let jobs = house.jobs();
        (jobs.len() == 2 && jobs.iter().all(|it| it["status"] == "RUNNING")).then_some(())
    });
    daemon.die();
    let daemon = house.daemon(vec![house.submitting(&wanted)]);
    daemon.submit(vec![wanted.clone()]);
    let orphans = {
        let _inside = daemon.runtime.as_ref().expect("it lives").enter();
        Orphans::start(daemon.batch().clone(), daemon.stop.clone())
    };
    let first = daemon.block_on(orphans.sweep()).expect("a sweep");
    assert_eq!(first, []);
    // Perhaps one that was known before a restart, perhaps none.
    assert_eq!(orphans.known(), None);
    let found = eventually("an orphan", || {
        let found = daemon.block_on(orphans.sweep()).expect("a sweep");
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(found.len(), 1);
    assert_eq!(orphans.known().map(|it| it.len()), Some(1));
    assert_eq!(
        (found[0].attempt.as_str(), found[0].flow.as_str()),
        ("1/a/1", "sales")
    );
    let job = found[0].job_id.clone();
    let why = daemon
        .block_on(orphans.adopt(&job))
        .expect_err("nobody wants it");
    assert!(why.to_string().contains("not waiting for a job"), "{why}");
    assert!(daemon.block_on(orphans.cancel(&job)).expect("cancelled"));
    assert_eq!(orphans.orphans(), []);
    let mine = daemon.news("2/a/1", |it| it.external_id.clone());
    daemon
        .block_on(orphans.cancel(&mine))
        .expect_err("it is wanted");
}

#[test]
fn an_orphan_is_ended_without_being_asked_for_where_that_is_configured() {
    let mut house = House::new();
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![house.task("1/a/1", "while :; do sleep 0.1; done")]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    daemon.die();
    house.config.orphans = OrphanPolicy::Cancel;
    let daemon = house.daemon(Vec::new());
    let orphans = {
        let _inside = daemon.runtime.as_ref().expect("it lives").enter();
        Orphans::start(daemon.batch().clone(), daemon.stop.clone())
    };
    // Whoever may only be late is not ended at the first look.
    let first = daemon.block_on(orphans.sweep()).expect("a sweep");
    assert_eq!(first, []);
    assert_eq!(house.only_job()["status"], "RUNNING");
    eventually("its end", || {
        daemon.block_on(orphans.sweep()).expect("a sweep");
        (house.only_job()["status"] == "FAILED").then_some(())
    });
    let left = daemon.block_on(orphans.sweep()).expect("a sweep");
    assert_eq!(left, []);
}

#[test]
fn an_orphan_is_given_to_its_attempt_when_that_waits_for_a_job() {
    let mut house = House::new();
    let task = house.task(
        "1/a/1",
        "until [ -e /tmp/$DALSEGNO_GO ]; do sleep 0.1; done",
    );
    let go = format!("dalsegno-go-{}", house.installation);
    let with_go = |mut task: Submission| {
        task.env.insert("DALSEGNO_GO".into(), go.clone());
        task
    };
    let task = with_go(task);
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    let job = house.only_job()["id"].as_str().expect("an id").to_owned();
    daemon.die();
    // Whoever asks for it anew is not let through for a while.
    house.config.timings.retry_first = Duration::from_secs(60);
    house.config.timings.retry_max = Duration::from_secs(60);
    house.fault("SubmitJob", "throttle", 1, 0);
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task]);
    assert_eq!(daemon.waits_for("1/a/1"), SubmissionWait::Throttled);
    let orphans = {
        let _inside = daemon.runtime.as_ref().expect("it lives").enter();
        Orphans::start(daemon.batch().clone(), daemon.stop.clone())
    };
    daemon.block_on(orphans.adopt(&job)).expect("it is wanted");
    let go = std::path::Path::new("/tmp").join(go);
    std::fs::write(&go, "").expect("a file");
    daemon.succeeds("1/a/1");
    std::fs::remove_file(go).expect("ours");
    assert_eq!(house.jobs().len(), 1);
}

/// The daemon dies at every point between intent and confirmation, with the answer lost, late or never sent; events come
/// twice. Afterwards there was one job.
#[test]
fn whenever_the_daemon_dies_there_is_one_job_for_an_attempt() {
    #[derive(Clone, Copy, Debug)]
    enum Death {
        BeforeAnything,
        WhileTheRequestIsOnItsWay,
        WhenTheJobIsThere,
        WhenItRuns,
        WhenItHasEnded,
    }
    let deaths = [
        Death::BeforeAnything,
        Death::WhileTheRequestIsOnItsWay,
        Death::WhenTheJobIsThere,
        Death::WhenItRuns,
        Death::WhenItHasEnded,
    ];
    for death in deaths {
        for answer in ["", "lost_reply", "delay"] {
            for is_array in [false, true] {
                let mut house = House::new();
                let queue = house.aws.queue();
                house
                    .aws
                    .state_change_rule(&queue, &names::prefix(&house.installation));
                house.config.status_queue = Some(queue.url.clone());
                house.aws.events_control(&queue, &json!({"double": 1_000}));
                let script = "sleep 0.3";
                let tasks = match is_array {
                    false => vec![house.task("1/a/1", script)],
                    true => house.array(1, 3, script),
                };
                match death {
                    Death::WhileTheRequestIsOnItsWay => house.fault("SubmitJob", "delay", 1, 250),
                    _ if !answer.is_empty() => house.fault("SubmitJob", answer, 1, 150),
                    _ => {}
                }
                let daemon = house.daemon(Vec::new());
                let is_there = |state: &str| {
                    let states: &[&str] = match state {
                        "" => &[],
                        "RUNNING" => &["RUNNING", "PENDING", "SUCCEEDED"],
                        _ => &["SUCCEEDED"],
                    };
                    eventually("a job", || {
                        let jobs = house.jobs();
                        let job = jobs.first()?;
                        (states.is_empty() || states.iter().any(|it| job["status"] == *it))
                            .then_some(())
                    });
                };
                daemon.submit(tasks.clone());
                match death {
                    Death::BeforeAnything => {}
                    Death::WhileTheRequestIsOnItsWay => {
                        eventually("a request", || {
                            // Of a long request only the beginning is kept, in which its place in S3 is.
                            (house.aws.seen("SubmitJob", &house.bucket) > 0).then_some(())
                        });
                    }
                    Death::WhenTheJobIsThere => is_there(""),
                    Death::WhenItRuns => is_there("RUNNING"),
                    Death::WhenItHasEnded => is_there("SUCCEEDED"),
                }
                daemon.die();
                let live = tasks.iter().map(|it| house.submitting(it)).collect();
                let daemon = house.daemon(live);
                daemon.submit(tasks.clone());
                for task in &tasks {
                    daemon.succeeds(&task.attempt.to_string());
                }
                let jobs = house.jobs();
                assert_eq!(jobs.len(), 1, "{death:?} {answer} {is_array}: {jobs:#?}");
            }
        }
    }
}

/// A crowd of one run does not keep another run's task waiting.
#[test]
fn who_comes_late_does_not_wait_for_a_crowd() {
    let mut house = House::new();
    house.config.submissions_per_minute = 600;
    house
        .aws
        .queue_control(&house.cpu, &json!({"instant": true}));
    let daemon = house.daemon(Vec::new());
    let crowd = (0..300).map(|item| house.task(&format!("1/a[{item}]/1"), "true"));
    daemon.submit(crowd.collect());
    daemon.succeeds("1/a[3]/1");
    let start = std::time::Instant::now();
    daemon.submit(vec![house.task("2/a/1", "true")]);
    daemon.news("2/a/1", |it| it.external_id.clone());
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert!(house.jobs().len() < 200, "the crowd is still there");
}

/// It was in charge, somebody else was, and it is again: what waited here was submitted there.
#[test]
fn who_is_in_charge_again_submits_nothing_that_another_one_did() {
    let mut house = House::new();
    // Long enough that the other one is at work before it is over, however busy the machine is.
    house.config.timings.retry_first = Duration::from_secs(10);
    house.config.timings.retry_max = Duration::from_secs(10);
    house.fault("SubmitJob", "throttle", 1, 0);
    let one = house.daemon(Vec::new());
    let task = house.task("1/a/1", "sleep 30");
    one.submit(vec![task.clone()]);
    assert_eq!(one.waits_for("1/a/1"), SubmissionWait::Throttled);
    house.config.timings.retry_first = Duration::from_millis(50);
    let two = house.daemon(vec![house.submitting(&task)]);
    two.submit(vec![task.clone()]);
    let job = two.news("1/a/1", |it| it.external_id.clone());
    two.die();
    {
        let _inside = one.runtime.as_ref().expect("it lives").enter();
        let live = LiveAttempt {
            external_id: Some(job.clone()),
            ..house.submitting(&task)
        };
        one.batch().take_over(vec![live]);
    }
    let mut again = task;
    remote(&mut again).external_id = Some(job);
    one.submit(vec![again, house.task("2/a/1", "true")]);
    // What waited comes before this one.
    one.succeeds("2/a/1");
    assert_eq!(house.jobs().len(), 2);
}

#[test]
fn a_job_is_found_in_a_queue_that_is_not_configured_any_more() {
    let mut house = House::new();
    house.config.queues = vec![house.cpu.name.clone()];
    let task = house.task("1/a/1", "sleep 20");
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "RUNNING");
    daemon.die();
    house.config.queues = vec![house.other.name.clone()];
    let daemon = house.daemon(vec![house.submitting(&task)]);
    daemon.submit(vec![task]);
    daemon.news("1/a/1", |it| it.external_id.clone());
    house.only_job();
}

#[test]
fn what_succeeded_before_it_was_stopped_has_its_outputs() {
    let mut house = House::new();
    house.config.timings.poll_first = Duration::from_secs(10);
    house.config.timings.poll_max = Duration::from_secs(10);
    let daemon = house.daemon(Vec::new());
    let mut task = house.task("1/a/1", "echo 'rows=41' >>\"$DALSEGNO_OUTPUT\"");
    task.outputs = vec!["rows".into()];
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "SUCCEEDED");
    daemon.stop(&task.attempt);
    match daemon.ends("1/a/1") {
        Outcome::Succeeded(done) => assert_eq!(done.outputs.get("rows"), Some(&json!(41))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_item_that_was_stopped_before_its_array_was_submitted_does_not_run_on() {
    let mut house = House::new();
    house.config.timings.retry_first = Duration::from_secs(2);
    house.fault("SubmitJob", "throttle", 1, 0);
    let daemon = house.daemon(Vec::new());
    let items = house.array(1, 3, "sleep 60");
    daemon.submit(items.clone());
    assert_eq!(daemon.waits_for("1/fit[0]/1"), SubmissionWait::Throttled);
    daemon.stop(&items[1].attempt);
    assert_eq!(daemon.ends("1/fit[1]/1"), Outcome::Stopped);
    let child = daemon.news("1/fit[0]/1", |it| it.external_id.clone());
    let (parent, _) = child.split_once(':').expect("a child");
    let state = |index: u32| {
        let jobs = daemon.aws.batch.describe_jobs();
        let jobs = daemon.block_on(jobs.jobs(format!("{parent}:{index}")).send());
        let jobs = jobs.expect("jobs");
        jobs.jobs()
            .first()
            .and_then(|it| it.status().map(|it| it.as_str().to_owned()))
    };
    eventually("the end of the item", || {
        (state(1).as_deref() == Some("FAILED")).then_some(())
    });
    for index in [0, 2] {
        assert_ne!(state(index).as_deref(), Some("FAILED"));
    }
}

/// The daemon died while it ended an item that was stopped before its array was submitted.
#[test]
fn an_item_that_nobody_wants_is_ended_by_the_next_daemon() {
    let house = House::new();
    let mut items = house.array(1, 3, "sleep 60");
    let daemon = house.daemon(Vec::new());
    daemon.submit(items.clone());
    for item in &mut items {
        let attempt = item.attempt.to_string();
        remote(item).external_id = Some(daemon.news(&attempt, |it| it.external_id.clone()));
    }
    let job = remote(&mut items[1]).external_id.clone().expect("a job");
    let (parent, _) = job.split_once(':').expect("a child");
    daemon.die();
    // Its end is durable: nobody asks for it any more.
    items.remove(1);
    let live = items.iter().map(|it| LiveAttempt {
        external_id: it.remote.as_ref().and_then(|it| it.external_id.clone()),
        ..house.submitting(it)
    });
    let daemon = house.daemon(live.collect());
    daemon.submit(items);
    let state = |index: u32| {
        let jobs = daemon.aws.batch.describe_jobs();
        let jobs = daemon.block_on(jobs.jobs(format!("{parent}:{index}")).send());
        let state = jobs.expect("jobs").jobs()[0].status().cloned();
        state.expect("a state").as_str().to_owned()
    };
    eventually("the end of the item", || {
        (state(1) == "FAILED").then_some(())
    });
    for index in [0, 2] {
        assert_ne!(state(index), "FAILED");
    }
}

/// What is refused to one task for want of a right says nothing of the others.
#[test]
fn a_task_that_is_denied_waits_alone() {
    let mut house = House::new();
    house.config.timings.retry_first = Duration::from_secs(60);
    house.config.timings.retry_max = Duration::from_secs(60);
    let daemon = house.daemon(Vec::new());
    let denied = house.task("1/a/1", "true");
    let name = names::job(&house.installation, &denied.attempt, CREATED);
    let rule =
        json!({"service": "batch", "op": "SubmitJob", "with": name, "kind": "denied", "times": 1});
    house.aws.fault(&rule);
    daemon.submit(vec![denied]);
    assert_eq!(daemon.waits_for("1/a/1"), SubmissionWait::Denied);
    daemon.submit(vec![house.task("2/a/1", "true")]);
    daemon.succeeds("2/a/1");
    // It waits for its time, and can be stopped before.
    daemon.stop(&id("1/a/1"));
    assert_eq!(daemon.ends("1/a/1"), Outcome::Stopped);
    house.only_job();
}

/// It was in charge, and looked once; what it sees in the next term is another look.
#[test]
fn what_was_looked_for_in_an_earlier_term_is_not_submitted_for_that() {
    let mut house = House::new();
    house.config.timings.look_again = Duration::from_secs(8);
    let task = house.task("1/a/1", "true");
    let name = names::job(&house.installation, &task.attempt, CREATED);
    let daemon = house.daemon(vec![house.submitting(&task)]);
    daemon.submit(vec![task.clone(), house.task("2/a/1", "sleep 2")]);
    eventually("the first look", || {
        (house.aws.seen("ListJobs", &name) > 0).then_some(())
    });
    daemon.succeeds("2/a/1");
    let again = daemon.aws.now();
    {
        let _inside = daemon.runtime.as_ref().expect("it lives").enter();
        daemon.batch().take_over(vec![house.submitting(&task)]);
    }
    daemon.submit(vec![task]);
    daemon.succeeds("1/a/1");
    let jobs = house.jobs();
    let job = jobs.iter().find(|it| it["name"] == name.as_str());
    let created = job.and_then(|it| it["createdAt"].as_i64()).expect("a job");
    assert!(created * 1_000 - again.0 >= 8_000_000, "{jobs:#?}");
}

#[test]
fn a_job_that_was_given_up_is_so_for_the_next_daemon_too() {
    let mut house = House::new();
    house.config.queue_wait = Some(Duration::from_millis(500));
    let control = json!({"hold": true, "reason": "CAPACITY:X - no machines"});
    house.aws.queue_control(&house.cpu, &control);
    let task = house.task("1/a/1", "true");
    let daemon = house.daemon(Vec::new());
    daemon.submit(vec![task.clone()]);
    house
        .aws
        .job_is(&names::prefix(&house.installation), "FAILED");
    daemon.die();
    let daemon = house.daemon(vec![house.submitting(&task)]);
    daemon.submit(vec![task]);
    let why = daemon.fails("1/a/1");
    assert!(
        matches!(&why, Reason::Capacity { message } if message.contains("no machines")),
        "{why:?}"
    );
}
