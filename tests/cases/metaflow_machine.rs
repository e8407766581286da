//! Metaflow flows that Metaflow's own compiler deploys to Step Functions, and that we start, follow and resume there.

use dalsegno_tests::{Aws, Daemon, HEAD, House, JobQueue, Metaflow, MetaflowRun, PATIENCE};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Each job is half a dozen processes of Python, one after the other.
const LONG: Duration = PATIENCE.saturating_mul(6);

const MILL: &str = r#"
from metaflow import schedule


@schedule(cron="0 3 * * ? *")
class Mill(FlowSpec):
    grist = Parameter("grist", default=2)

    @step
    def start(self):
        say("start")
        self.sacks = ["rye", "wheat"]
        self.next(self.grind, foreach="sacks")

    @retry(times=1, minutes_between_retries=0)
    @step
    def grind(self):
        say(f"grind {self.input} {current.retry_count}")
        if self.input == "wheat" and current.retry_count == 0:
            raise ValueError("the stone slipped")
        self.flour = self.grist * len(self.input)
        self.next(self.sift)

    @step
    def sift(self):
        self.fine = self.flour - 1
        self.next(self.weigh)

    @step
    def weigh(self, inputs):
        say("weigh")
        self.weight = sum(each.fine for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.weight}")


if __name__ == "__main__":
    Mill()
"#;

/// Begins when there is a harvest; the daemon keeps that from Metaflow's compiler, which refuses it.
const FORK: &str = r#"
@trigger(event="harvest-Fork")
class Fork(FlowSpec):
    plot = Parameter("plot", default=1)

    @step
    def start(self):
        say(f"start {self.plot}")
        self.next(self.left, self.right)

    @step
    def left(self):
        self.sum = self.plot + 1
        self.next(self.join)

    @timeout(seconds=60)
    @step
    def right(self):
        say("right")
        self.sum = self.plot + 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.sum = inputs.left.sum + inputs.right.sum
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.sum}")


if __name__ == "__main__":
    Fork()
"#;

/// A house whose flows are deployed to Step Functions, with all that this needs at AWS.
struct Works {
    house: House,
    aws: Aws,
    queue: JobQueue,
    url: String,
    root: String,
    /// Metaflow names the machine after the flow, and the emulator is everybody's.
    class: String,
}

impl Works {
    fn new(flow: &str, name: &str) -> Self {
        let aws = Aws::emulator();
        let own = aws.name("m").replace('-', "");
        let class = format!("{name}{own}");
        let flow = flow.replace(name, &class);
        let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{flow}"))]);
        let bucket = aws.bucket();
        let queue: JobQueue = aws.batch_queue("mill");
        let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator has a URL");
        let python =
            std::env::var("DALSEGNO_TEST_METAFLOW_PYTHON").expect("a Python with Metaflow");
        let bin = Path::new(&python).parent().expect("a folder").display();
        let image = json!({
            "PATH": format!("{bin}:/usr/bin:/bin"), "METAFLOW_S3_WORKER_COUNT": "2",
            // They are there.
            "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1",
        });
        aws.queue_control(&queue, &json!({ "environment": image }));
        let table = aws.table("for_each");
        let role = aws.states_role();
        let root = format!("s3://{bucket}/metaflow");
        Metaflow::configure(
            &house,
            &format!(
                "datastore = \"s3\"\ndatastore_root = \"{root}\"\nexecutor = \"step_functions\"\ndynamo_table = \
                 \"{table}\"\n\n[aws]\nregion = \"us-east-1\"\nendpoint = \"{url}\"\ns3 = \
                 \"s3://{bucket}/dalsegno\"\nqueues = [\"{}\"]\nimage = \"python:3.11\"\nstate_machine_role = \
                 \"{role}\"\njob_role = \"{role}\"\n",
                queue.name
            ),
        );
        aws.states_second(&class, 100);
        Self {
            house,
            aws,
            queue,
            url,
            root,
            class,
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = Aws::variables()
            .map(|(name, value)| (name, value.to_owned()))
            .into();
        all.push(("METAFLOW_S3_ENDPOINT_URL", self.url.clone()));
        all.push(("AWS_ENDPOINT_URL_S3", self.url.clone()));
        all.push(("AWS_DEFAULT_REGION", "us-east-1".into()));
        // By default 64 processes write together.
        all.push(("METAFLOW_S3_WORKER_COUNT", "2".into()));
        // Where it would keep the token of the deployment.
        let home = self.house.path("metaflow-home").display().to_string();
        all.push(("METAFLOW_HOME", home));
        all
    }

    fn up(&self) -> Daemon {
        let variables = self.variables();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.house.up_in(&variables)
    }

    /// What Metaflow's client says of a run.
    fn client(&self, run: &Value) -> MetaflowRun {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client/run.py");
        let pathspec = run["metaflow"]["pathspec"].as_str().expect("text");
        let mut client = self.house.metaflow().command(&[script, pathspec]);
        client
            .env("METAFLOW_DEFAULT_DATASTORE", "s3")
            .env("METAFLOW_DATASTORE_SYSROOT_S3", &self.root)
            .envs(self.variables());
        MetaflowRun(self.house.run(&client).succeeded().json())
    }

    fn queue(&self, how: &Value) {
        self.aws.queue_control(&self.queue, how);
    }

    fn executions(&self, run: &Value) -> Vec<Value> {
        self.aws.executions(execution(run))
    }
}

/// The execution's name, by Metaflow's name of the run.
fn execution(run: &Value) -> &str {
    let id = run["metaflow"]["run_id"].as_str().expect("a run id");
    id.strip_prefix("sfn-").expect("one of Step Functions")
}

/// Tasks of a run as we tell them: `grind[0] succeeded`.
fn tasks(daemon: &Daemon, id: &str) -> Vec<String> {
    let tasks = daemon.api().list(&format!("/api/v1/runs/{id}/tasks"));
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let told = tasks
        .iter()
        .map(|it| format!("{} {}", text(it, "task"), text(it, "state")));
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

#[test]
fn a_flow_that_metaflow_compiles_is_started_by_us_and_told_task_by_task() {
    let works = Works::new(MILL, "Mill");
    let daemon = works.up();
    let class = &works.class;
    let id = daemon.api().start(class, &json!({"grist": 3}));
    let early = daemon.api().run(&id);
    let run = daemon.api().wait_for_run_within(LONG, &id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    assert_eq!(
        early["metaflow"], run["metaflow"],
        "its name is known before it runs"
    );

    // One execution, under our name, of a version of the machine that is called like the class.
    let executions = works.executions(&run);
    let [one] = &executions[..] else {
        panic!("one execution: {executions:#?}")
    };
    assert_eq!(one["status"], "SUCCEEDED");
    let machine = one["stateMachineArn"].as_str().expect("an ARN");
    assert!(machine.contains(&format!(":stateMachine:{class}")), "{one}");
    assert_eq!(one["input"], r#"{"Parameters":"{\"grist\":3}"}"#);
    // The schedule is ours.
    assert_eq!(works.aws.rules(class), Vec::<String>::new());
    let flow = daemon.api().get(&format!("/api/v1/flows/{class}")).json();
    assert!(flow.to_string().contains("0 3 * * ? *"), "{flow}");

    // Each task, and not one opaque box; a repetition within a job is Batch's.
    let expected = [
        "end succeeded",
        "grind[0] succeeded",
        "grind[1] succeeded",
        "sift[0] succeeded",
        "sift[1] succeeded",
        "start succeeded",
        "weigh succeeded",
    ];
    assert_eq!(tasks(&daemon, &id), expected);
    let journal = works.house.read("journal");
    assert_eq!(journal.matches("grind wheat").count(), 2, "{journal}");
    assert_eq!(journal.matches("grind rye").count(), 1, "{journal}");
    assert!(journal.ends_with("weigh\nend 22\n"), "{journal}");
    let page = daemon.api().get_page(&format!("/runs/{id}")).expect(200);
    let pathspec = run["metaflow"]["pathspec"].as_str().expect("text");
    assert!(page.text.contains(pathspec), "{}", page.text);

    // Metaflow's client sees the run and its tasks, by the names that we tell, items in the order of the foreach.
    let seen = works.client(&run);
    assert!(seen.is_successful(), "{seen:?}");
    assert_eq!(seen.task("end")["data"]["weight"], 22, "{seen:?}");
    let told = daemon.api().list(&format!("/api/v1/runs/{id}/tasks"));
    let job = |name: &str| {
        let found = told.iter().find(|it| it["task"] == name).expect("a task");
        let id = found["external_id"].as_str().expect("an id");
        let (_, job) = id.split_once('#').expect("a job");
        job.to_owned()
    };
    let grinds = seen.tasks("grind");
    let flour = |name: &str| {
        let job = job(name);
        let found = grinds.iter().find(|it| it["id"] == job.as_str());
        found.unwrap_or_else(|| panic!("{job} of {name} in {seen:?}"))["data"]["flour"].clone()
    };
    assert_eq!(
        (flour("grind[0]"), flour("grind[1]")),
        (json!(9), json!(15))
    );

    // Jobs are known to be ours, though Metaflow names them.
    let jobs = works.aws.jobs(&format!("SFN-{class}"));
    assert_eq!(jobs.len(), 7);
    for it in &jobs {
        assert!(it["tags"]["dalsegno:installation"].is_string(), "{it}");
    }

    // The same version is deployed once. This run is cancelled, and its job is dead.
    let id = daemon.api().start(class, &json!({}));
    daemon.api().wait_until("a job that runs", || {
        let jobs = works.aws.jobs(&format!("SFN-{class}"));
        jobs.iter()
            .any(|it| it["status"] == "RUNNING")
            .then_some(())
    });
    daemon.cli(&["cancel", &id]).succeeded();
    let again = daemon.api().wait_for_run_within(LONG, &id);
    assert_eq!(again["state"], "cancelled", "{}", daemon.why(&again));
    let executions = works.executions(&again);
    assert_eq!(executions.len(), 1, "{executions:#?}");
    assert_eq!(executions[0]["status"], "ABORTED");
    assert_eq!(
        executions[0]["stateMachineVersionArn"],
        one["stateMachineVersionArn"]
    );
    let jobs = works.aws.jobs(&format!("SFN-{class}"));
    let states: Vec<_> = jobs
        .iter()
        .map(|it| it["status"].as_str().unwrap_or_default())
        .collect();
    // One, or both items of the foreach when the cancel came that late.
    let dead = states.iter().filter(|it| **it == "FAILED").count();
    assert!((1..=2).contains(&dead), "{states:?}");
    // Those of the first run, and what came before the cancel; nothing is at work any more.
    let done = states.iter().filter(|it| **it == "SUCCEEDED").count();
    assert!(done >= 7 && done + dead == states.len(), "{states:?}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_run_that_an_event_starts_and_a_time_limit_ends_goes_on_where_it_failed() {
    let works = Works::new(FORK, "Fork");
    let class = &works.class;
    // A time limit of a minute is over before Python has begun.
    works.queue(&json!({"second_ms": 1}));
    let daemon = works.up();
    let name = format!("harvest-{class}");
    let payload = json!({"name": name, "id": "one", "timestamp": 1_700_000_000, "plot": 20});
    let event = json!({"name": name, "payload": payload});
    daemon
        .api()
        .post("/api/v1/metaflow/events", &event)
        .expect(200);
    let run = daemon.api().wait_until("a run", || {
        let runs = daemon.api().list(&format!("/api/v1/runs?flow={class}"));
        runs.first().cloned()
    });
    let id = run["id"]
        .as_str()
        .map_or_else(|| run["id"].to_string(), str::to_owned);
    let failed = daemon.api().wait_for_run_within(LONG, &id);
    assert_eq!(failed["state"], "failed", "{}", daemon.why(&failed));
    let told = tasks(&daemon, &id);
    assert!(told.contains(&"start succeeded".to_owned()), "{told:?}");
    assert!(told.contains(&"right failed".to_owned()), "{told:?}");
    let why = daemon.cli(&["why", &id]).stdout;
    assert!(
        why.contains("Job attempt duration exceeded timeout"),
        "{why}"
    );
    assert!(
        !works.house.read("journal").contains("right"),
        "it was too late"
    );

    works.queue(&json!({"second_ms": 1000}));
    daemon.cli(&["resume", "--yes", &id]).succeeded();
    let done = daemon.api().wait_for_run_within(LONG, &id);
    assert_eq!(done["state"], "succeeded", "{}", daemon.why(&done));
    let journal = works.house.read("journal");
    assert_eq!(journal.matches("start 20\n").count(), 1, "{journal}");
    assert!(journal.ends_with("end 43\n"), "{journal}");
    let executions = works.executions(&failed);
    assert_eq!(executions.len(), 1, "{executions:#?}");
    assert_eq!(executions[0]["redriveCount"], 1);
    assert_eq!(done["metaflow"], failed["metaflow"]);
    assert_eq!(works.client(&done).task("end")["data"]["sum"], 43);

    // Another beginning than where it failed is not there.
    let other = daemon.cli(&["resume", "--yes", "--wait", "--from", "join", &id]);
    assert_ne!(other.code, 0, "{other}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_metaflow_does_not_compile_is_refused_at_check_with_the_cure() {
    let flow = MILL.replace(
        "self.next(self.sift)",
        "self.way = \"sift\"\n        self.next({\"sift\": self.sift, \"pass\": self.sift}, condition=\"way\")",
    );
    let works = Works::new(&flow, "Mill");
    let said = works.house.dalsegno(&["check", "flows"]);
    said.failed(1, &["metaflow.step_functions", "executor = \"batch\""]);
}
