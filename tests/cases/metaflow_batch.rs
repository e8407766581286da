//! `@batch` steps of Metaflow flows as jobs of AWS Batch, which the emulator runs as processes of this machine.

use dalsegno_tests::{Aws, Daemon, HEAD, House, JobQueue, Metaflow, PATIENCE};
use serde_json::{Value, json};
use std::path::Path;

/// A place with a queue whose jobs find Metaflow, a bucket, and a flow that is registered there.
struct Works {
    house: House,
    aws: Aws,
    url: String,
    queue: JobQueue,
    root: String,
}

impl Works {
    fn new(flow: &str) -> Self {
        let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{flow}"))]);
        let aws = Aws::emulator();
        let bucket = aws.bucket();
        let queue = aws.batch_queue("works");
        let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator has a URL");
        let python =
            std::env::var("DALSEGNO_TEST_METAFLOW_PYTHON").expect("a Python with Metaflow");
        let bin = Path::new(&python).parent().expect("a folder").display();
        let image = json!({"environment": {"PATH": format!("{bin}:/usr/bin:/bin")}});
        aws.queue_control(&queue, &image);
        let root = format!("s3://{bucket}/metaflow");
        Metaflow::configure(
            &house,
            &format!(
                "datastore = \"s3\"\ndatastore_root = \"{root}\"\n\n[aws]\nregion = \"us-east-1\"\nendpoint = \
                 \"{url}\"\ns3 = \"s3://{bucket}/dalsegno\"\nqueues = [\"{}\"]\nimage = \"python:3.11\"\n",
                queue.name
            ),
        );
        Self {
            house,
            aws,
            url,
            queue,
            root,
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = Aws::variables()
            .map(|(name, value)| (name, value.to_owned()))
            .into();
        let url = self.url.clone();
        all.push(("METAFLOW_S3_ENDPOINT_URL", url.clone()));
        all.push(("AWS_ENDPOINT_URL_S3", url));
        all.push(("AWS_DEFAULT_REGION", "us-east-1".into()));
        // By default 64 processes write together.
        all.push(("METAFLOW_S3_WORKER_COUNT", "2".into()));
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

    /// What Metaflow's client prints, with the run's pathspec as `sys.argv[1]`.
    fn client(&self, run: &Value, code: &str) -> String {
        let code = format!(
            "import sys; from metaflow import Run, namespace; namespace(None); run = Run(sys.argv[1]); {code}"
        );
        let pathspec = run["metaflow"]["pathspec"].as_str().expect("text");
        let mut client = self.house.metaflow().command(&["-c", &code, pathspec]);
        client
            .env("METAFLOW_DEFAULT_DATASTORE", "s3")
            .env("METAFLOW_DATASTORE_SYSROOT_S3", &self.root)
            .envs(self.variables());
        self.house.run(&client).succeeded().stdout
    }

    /// Names of the steps of all jobs that there ever were in the queue.
    fn steps_of_jobs(&self) -> Vec<String> {
        let jobs = self.aws.jobs("ds-");
        let mut steps: Vec<_> = jobs
            .iter()
            .filter(|it| it["queue"] == self.queue.name.as_str())
            .filter_map(|it| {
                let attempt = it["tags"]["dalsegno:attempt"].as_str()?;
                let (_, task) = attempt.split_once('/')?;
                Some(task.split([':', '/']).next()?.to_owned())
            })
            .collect();
        steps.sort();
        steps
    }
}

const BAKERY: &str = r#"
from metaflow import batch


class Bakery(FlowSpec):
    flour = Parameter("flour", default=2)

    @step
    def start(self):
        say("start")
        self.loaves = ["rye", "wheat", "spelt"]
        self.next(self.bake, foreach="loaves")

    @retry(times=2, minutes_between_retries=0)
    @resources(memory=2000)
    @batch(cpu=2)
    @step
    def bake(self):
        say(f"bake {self.input} {current.retry_count}")
        print(f"baking {self.input}")
        if self.input == "wheat" and current.retry_count == 0:
            raise ValueError("the oven was cold")
        self.weight = self.flour * len(self.input)
        self.next(self.weigh)

    @batch
    @step
    def weigh(self, inputs):
        if os.path.exists("{house}/no-scales"):
            raise ValueError("no scales")
        self.weight = sum(each.weight for each in inputs)
        say(f"weigh {self.weight}")
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.weight}")


if __name__ == "__main__":
    Bakery()
"#;

#[test]
fn steps_with_batch_are_jobs_among_steps_of_this_machine() {
    let works = Works::new(BAKERY);
    let daemon = works.up();
    let id = daemon.api().start("Bakery", &json!({"flour": 3}));
    let run = daemon.api().wait_for_run_within(PATIENCE * 6, &id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    let journal = works.house.read("journal");
    assert!(journal.ends_with("weigh 39\nend 39\n"), "{journal}");
    assert_eq!(journal.matches("bake wheat 0\n").count(), 1, "{journal}");
    assert_eq!(journal.matches("bake wheat 1\n").count(), 1, "{journal}");
    assert_eq!(journal.matches("bake rye").count(), 1, "{journal}");
    // Two attempts of one item.
    let steps = works.steps_of_jobs();
    assert_eq!(steps, ["bake", "bake", "bake", "bake", "weigh"]);
    let told = works.client(
        &run,
        "print(run.successful, run.data.weight, sorted(task.stdout.strip() for task in run['bake']), \
         all('aws-batch-job-id' in task.metadata_dict for task in run['bake']), \
         'aws-batch-job-id' in run['end'].task.metadata_dict)",
    );
    assert_eq!(
        told,
        "True 39 ['baking rye', 'baking spelt', 'baking wheat'] True False\n"
    );
}

#[test]
fn a_job_that_failed_is_resumed_and_what_was_done_is_kept() {
    let works = Works::new(BAKERY);
    std::fs::write(works.house.path("no-scales"), "").expect("the house can be written to");
    let daemon = works.up();
    let id = daemon.api().start("Bakery", &json!({}));
    let failed = daemon.api().wait_for_run_within(PATIENCE * 6, &id);
    assert_eq!(failed["state"], "failed", "{}", daemon.why(&failed));
    assert!(daemon.why(&failed).contains("ValueError: no scales"));
    std::fs::remove_file(works.house.path("no-scales")).expect("it is there");
    let id = failed["id"].as_str().expect("an id");
    let resumed = daemon.cli(&["resume", "--yes", "--wait", id]);
    assert_eq!(resumed.code, 0, "{resumed}\n{}", daemon.cli(&["logs", id]));
    let journal = works.house.read("journal");
    assert_eq!(journal.matches("start\n").count(), 1, "{journal}");
    assert_eq!(journal.matches("bake rye").count(), 1, "{journal}");
    assert!(journal.ends_with("weigh 26\nend 26\n"), "{journal}");

    // A new run, with clones of what does not change.
    let again = daemon.cli(&["resume", "--yes", "--wait", "--from", "weigh", id]);
    assert_eq!(again.code, 0, "{again}");
    let journal = works.house.read("journal");
    assert_eq!(journal.matches("bake rye").count(), 1, "{journal}");
    assert_eq!(journal.matches("weigh 26\n").count(), 2, "{journal}");
}
