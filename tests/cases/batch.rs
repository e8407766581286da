//! Steps that are jobs of AWS Batch, under a daemon that is killed with SIGKILL between the intent and what comes of it:
//! there is one job for every attempt, and every run ends as it should.

use dalsegno_tests::{Aws, Daemon, House, JobQueue, Queue, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FLOW: &str = r#"
flow: mill
executor: batch
steps:
  open:
    run: 'echo "sacks=[1, 2, 3]" >>"$DALSEGNO_OUTPUT"'
    outputs: [sacks]
  each:
    after: open
    foreach: "${{ steps.open.outputs.sacks }}"
    steps:
      grind:
        run: 'sleep 0.2; echo "sack $ITEM"'
  close:
    after: each
    run: sleep 0.2
"#;

struct Mill {
    house: House,
    aws: Aws,
    queue: JobQueue,
    events: Queue,
}

impl Mill {
    fn new() -> Self {
        let aws = Aws::emulator();
        let house = House::with(&[("mill.yaml", FLOW)]);
        let (queue, events, bucket) = (aws.batch_queue("mill"), aws.queue(), aws.bucket());
        let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator has a URL");
        house.configure(&format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint = \"{url}\"\ns3 = \"s3://{bucket}/dalsegno\"\n\
             queues = [\"{}\"]\nimage = \"busybox\"\nstatus_queue = \"{}\"\n",
            queue.name, events.url
        ));
        Self {
            house,
            aws,
            queue,
            events,
        }
    }

    fn up(&self) -> Daemon {
        self.house.up_in(&Aws::variables())
    }

    /// All jobs that ever were in the queue.
    fn jobs(&self) -> Vec<Value> {
        let mut jobs = self.aws.jobs("ds-");
        jobs.retain(|it| it["queue"] == self.queue.name.as_str());
        jobs
    }

    /// No attempt had two.
    fn check(&self, jobs: usize) {
        let all = self.jobs();
        let names: BTreeSet<_> = all.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!((all.len(), names.len()), (jobs, jobs), "{all:#?}");
        assert!(all.iter().all(|it| it["status"] == "SUCCEEDED"), "{all:#?}");
    }
}

#[test]
fn a_flow_runs_as_jobs_and_a_foreach_as_one() {
    let mill = Mill::new();
    let daemon = mill.up();
    let run = daemon.succeeds("mill", &json!({}));
    mill.check(3);
    let arrays = mill.jobs();
    let arrays = arrays
        .iter()
        .filter(|it| it["arrayProperties"]["size"] == 3);
    assert_eq!(arrays.count(), 1);
    let id = run["id"].as_str().expect("an id");
    let said = daemon.cli(&["logs", id, "grind[1]"]).succeeded().all();
    assert!(said.contains("sack 2"), "{said}");
    assert_eq!(daemon.stop(), 0);
}

/// Each of the three submissions: killed before its request is answered, with the answer lost or late, and when its job
/// runs; every event comes twice.
#[test]
fn kills_between_intent_and_confirmation_make_no_second_job() {
    let mill = Mill::new();
    mill.aws.state_change_rule(&mill.events, "ds-");
    mill.aws
        .events_control(&mill.events, &json!({"double": 100_000}));
    let mut runs = Vec::new();
    let mut daemon = mill.up();
    let mut jobs = 0;
    for answer in ["none", "lost_reply", "delay"] {
        for submission in 0..3 {
            let with = &mill.queue.name;
            let run = daemon.api().start("mill", &json!({}));
            for number in 0..3 {
                let is_it = number == submission;
                if is_it && answer != "none" {
                    let rule = json!({"service": "batch", "op": "SubmitJob", "with": with, "kind": answer, "times": 1, "ms": 500});
                    mill.aws.fault(&rule);
                }
                eventually("the next job", || (mill.jobs().len() > jobs).then_some(()));
                jobs += 1;
                if is_it {
                    daemon.kill_nine();
                    daemon = mill.up();
                }
            }
            let ended = daemon.api().wait_for_run(&run);
            assert_eq!(
                ended["state"],
                "succeeded",
                "{}",
                daemon.cli(&["why", &run])
            );
            mill.check(jobs);
            runs.push(run);
        }
    }
    assert_eq!(
        daemon.api().list("/api/v1/runs?flow=mill").len(),
        runs.len()
    );
    assert_eq!(daemon.stop(), 0);
}
