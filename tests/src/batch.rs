//! Job queues, jobs and executions of the AWS emulator, and what a test can do to them behind everybody's back.

use crate::aws::{Aws, Queue, REGION, authorization};
use crate::patience::eventually;
use serde_json::{Value, json};

/// A job queue with a compute environment of its own.
#[derive(Clone, Debug)]
pub struct JobQueue {
    pub name: String,
    pub arn: String,
    /// Its compute environment, of type `MANAGED`, of EC2.
    pub environment: String,
}

/// The kinds of events that tell of jobs and executions.
const STATE_CHANGES: [(&str, &str, &str); 3] = [
    ("aws.batch", "Batch Job State Change", "jobName"),
    ("aws.batch", "Batch Job Queue Blocked", "jobName"),
    (
        "aws.states",
        "Step Functions Execution Status Change",
        "name",
    ),
];

impl Aws {
    /// Calls Batch as its clients do.
    #[track_caller]
    pub fn batch(&self, op: &str, body: &Value) -> Value {
        let path = format!("/v1/{}", op.to_lowercase());
        let authorization = authorization("batch");
        self.ask("POST", &path, Some(&authorization), &body.to_string())
    }

    /// Calls Step Functions as its clients do.
    #[track_caller]
    pub fn states(&self, op: &str, body: &Value) -> Value {
        self.json("states", &format!("AWSStepFunctions.{op}"), body)
    }

    /// Calls IAM, whose answers are XML.
    fn role(&self, name: &str) -> String {
        let form = format!(
            "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument=%7B%7D"
        );
        self.form("iam", &form);
        format!("arn:aws:iam::123456789012:role/{name}")
    }

    /// A job queue of any size. `what` only makes its name easier to read.
    #[track_caller]
    pub fn batch_queue(&self, what: &str) -> JobQueue {
        let name = self.name(what);
        let environment = format!("{name}-machines");
        self.batch(
            "CreateComputeEnvironment",
            &json!({
                "computeEnvironmentName": environment, "type": "MANAGED", "computeResources": { "type": "EC2" },
                "serviceRole": self.role(&format!("{name}-service")),
            }),
        );
        let made = self.batch(
            "CreateJobQueue",
            &json!({
                "jobQueueName": name, "state": "ENABLED", "priority": 1,
                "computeEnvironmentOrder": [{ "order": 1, "computeEnvironment": environment }],
            }),
        );
        let arn = made["jobQueueArn"].as_str().expect("an ARN").to_owned();
        JobQueue {
            name,
            arn,
            environment,
        }
    }

    /// A role that executions can have.
    #[track_caller]
    pub fn states_role(&self) -> String {
        self.role(&self.name("states"))
    }

    /// Changes of state of jobs and executions whose names begin so go to this queue.
    #[track_caller]
    pub fn state_change_rule(&self, queue: &Queue, prefix: &str) {
        for (source, kind, name) in STATE_CHANGES {
            let pattern = json!({
                "source": [source], "detail-type": [kind], "detail": { name: [{ "prefix": prefix }] },
            });
            self.rule_to(queue, &pattern);
        }
    }

    /// Every job that ever had a name with this beginning, as `DescribeJobs` tells it, with more: `id`, `name`,
    /// `queue` (its name), `gone`, and `environment` as an object. In the order of names, then of submission.
    #[track_caller]
    pub fn jobs(&self, prefix: &str) -> Vec<Value> {
        let answer = self.ask("GET", &format!("/_batch/jobs?name={prefix}"), None, "");
        answer.as_array().expect("a list").clone()
    }

    /// Waits for the only job with this beginning of its name to be in this state.
    #[track_caller]
    pub fn job_is(&self, prefix: &str, state: &str) -> Value {
        eventually(&format!("a job {prefix}… that is {state}"), || {
            let mut jobs = self.jobs(prefix);
            assert!(jobs.len() <= 1, "one job, not {}: {jobs:#?}", jobs.len());
            jobs.pop().filter(|it| it["status"] == state)
        })
    }

    /// The host of a running job goes away.
    #[track_caller]
    pub fn reclaim(&self, job: &str) {
        self.ask("POST", &format!("/_batch/jobs/{job}/reclaim"), None, "");
    }

    /// A running job's container ends now, as said: `exit`, `reason`, `status_reason`, each of which may be absent.
    #[track_caller]
    pub fn end_job(&self, job: &str, how: &Value) {
        let path = format!("/_batch/jobs/{job}/end");
        self.ask("POST", &path, None, &how.to_string());
    }

    /// Batch knows nothing of the job any more.
    #[track_caller]
    pub fn delete_job(&self, job: &str) {
        self.ask("DELETE", &format!("/_batch/jobs/{job}"), None, "");
    }

    #[track_caller]
    pub fn deregister(&self, definition: &str) {
        self.batch(
            "DeregisterJobDefinition",
            &json!({ "jobDefinition": definition }),
        );
    }

    /// How a job queue behaves from now on; see `tests/emulator/batch.py`.
    #[track_caller]
    pub fn queue_control(&self, queue: &JobQueue, how: &Value) {
        let path = format!("/_batch/queues/{}", queue.name);
        self.ask("PUT", &path, None, &how.to_string());
    }

    /// What happens to the next changes of state that go to a queue; see `tests/emulator/events.py`.
    #[track_caller]
    pub fn events_control(&self, queue: &Queue, how: &Value) {
        let path = format!("/_events/{}", queue.name);
        self.ask("PUT", &path, None, &how.to_string());
    }

    /// Every execution that ever had a name with this beginning, as `DescribeExecution` tells it.
    #[track_caller]
    pub fn executions(&self, prefix: &str) -> Vec<Value> {
        let path = format!("/_states/executions?name={prefix}");
        let answer = self.ask("GET", &path, None, "");
        answer.as_array().expect("a list").clone()
    }

    /// Whether all faults that were asked for with this part have happened.
    #[track_caller]
    pub fn has_struck(&self, with: &str) -> bool {
        let answer = self.ask("GET", "/_fault?with=no-request", None, "");
        let rules = answer["rules"].as_array().expect("a list").iter();
        let mut ours = rules.filter(|it| it["with"] == with);
        ours.all(|it| it["times"] == 0)
    }

    /// Step Functions know nothing of the execution any more.
    #[track_caller]
    pub fn delete_execution(&self, arn: &str) {
        self.ask("DELETE", &format!("/_states/executions/{arn}"), None, "");
    }

    /// How long a second of waits, retries and timeouts lasts in state machines whose names begin so.
    #[track_caller]
    pub fn states_second(&self, prefix: &str, milliseconds: u32) {
        let path = format!("/_states/machines/{prefix}");
        let body = json!({ "second_ms": milliseconds });
        self.ask("PUT", &path, None, &body.to_string());
    }

    /// The lines of a stream of CloudWatch's logs.
    #[track_caller]
    pub fn log_lines(&self, group: &str, stream: &str) -> Vec<String> {
        let answer = self.json(
            "logs",
            "Logs_20140328.GetLogEvents",
            &json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true }),
        );
        let lines = answer["events"].as_array().expect("a list").iter();
        let message = |it: &Value| it["message"].as_str().unwrap_or_default().to_owned();
        lines.map(message).collect()
    }

    /// The name of the region that everything is in.
    pub fn region(&self) -> &'static str {
        REGION
    }
}
