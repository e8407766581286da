//! Runs that are executions of Step Functions, under a daemon that may be killed with SIGKILL at any time: there is one
//! execution for every run and one job for every attempt, and every run ends as it should.

use dalsegno_tests::{Aws, Daemon, House, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Closes the books of two shops, in which somebody must have left the key; `{house}/wait` keeps them open.
const FLOW: &str = r#"
flow: books
executor: step_functions
steps:
  open:
    run: 'echo open >>{house}/journal; echo "shops=[\"north\", \"south\"]" >>"$DALSEGNO_OUTPUT"'
    outputs: [shops]
  close:
    after: open
    foreach: "${{ steps.open.outputs.shops }}"
    run: 'echo "closing $ITEM"; while [ -e {house}/wait ]; do sleep 0.1; done; echo "close $ITEM" >>{house}/journal'
  report:
    after: close
    run: 'echo report >>{house}/journal; test ! -e {house}/locked || { echo "it is locked"; exit 3; }'
"#;

struct Shops {
    house: House,
    aws: Aws,
    /// Whatever is started here says its name.
    bucket: String,
    queue: String,
}

impl Shops {
    fn new(flow: &str) -> Self {
        let aws = Aws::emulator();
        let house = House::with(&[("books.yaml", flow)]);
        let (queue, events, bucket) = (aws.batch_queue("shops"), aws.queue(), aws.bucket());
        let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator has a URL");
        house.configure(&format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint = \"{url}\"\ns3 = \"s3://{bucket}/dalsegno\"\n\
             queues = [\"{}\"]\nimage = \"busybox\"\nstatus_queue = \"{}\"\nstate_machine_role = \"{}\"\n",
            queue.name,
            events.url,
            aws.states_role(),
        ));
        aws.state_change_rule(&events, "ds-");
        Self {
            house,
            aws,
            bucket,
            queue: queue.name,
        }
    }

    fn up(&self) -> Daemon {
        self.house.up_in(&Aws::variables())
    }

    fn put(&self, name: &str) {
        std::fs::write(self.house.path(name), "").expect("the house can be written to");
    }

    fn take(&self, name: &str) {
        std::fs::remove_file(self.house.path(name)).expect("it is there");
    }

    /// What the steps wrote, sorted.
    fn journal(&self) -> Vec<String> {
        let text = self.house.read("journal");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// All executions that were ever started here, but for those that are the items of a Distributed Map.
    fn executions(&self) -> Vec<Value> {
        let mut all = self.aws.executions("ds-");
        all.retain(|it| {
            it["mapRunArn"].is_null() && it["input"].to_string().contains(&self.bucket)
        });
        all
    }

    /// The state of the only one.
    fn status(&self) -> String {
        let all = self.executions();
        assert!(all.len() <= 1, "{all:#?}");
        let status = all.first().and_then(|it| it["status"].as_str());
        status.unwrap_or_default().to_owned()
    }

    /// All jobs that ever were in the queue.
    fn jobs(&self) -> Vec<Value> {
        let mut jobs = self.aws.jobs("ds-");
        jobs.retain(|it| it["queue"] == self.queue.as_str());
        jobs
    }

    /// No attempt had two.
    #[track_caller]
    fn has_jobs(&self, count: usize) {
        let all = self.jobs();
        let names: BTreeSet<_> = all.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!((all.len(), names.len()), (count, count), "{all:#?}");
    }

    fn begun(&self, count: usize) {
        eventually("jobs that run", || {
            let jobs = self.jobs();
            let running = jobs.iter().filter(|it| it["status"] == "RUNNING");
            (running.count() == count).then_some(())
        });
    }
}

#[track_caller]
fn ends(daemon: &Daemon, run: &str, state: &str) {
    let ended = daemon.api().wait_for_run(run);
    assert_eq!(
        ended["state"],
        state,
        "{}\n{}",
        daemon.cli(&["why", run]),
        daemon.cli(&["show", run])
    );
}

#[test]
fn a_run_that_fails_shows_its_tasks_and_goes_on_where_it_failed() {
    let shops = Shops::new(FLOW);
    shops.put("locked");
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    ends(&daemon, &run, "failed");
    let tasks = daemon.api().list(&format!("/api/v1/runs/{run}/tasks"));
    let mut states: Vec<_> = tasks
        .iter()
        .map(|it| format!("{} {}", it["task"], it["state"]).replace('"', ""))
        .collect();
    states.sort();
    assert_eq!(
        states,
        [
            "close[0] succeeded",
            "close[1] succeeded",
            "open succeeded",
            "report failed"
        ],
        "{tasks:#?}"
    );
    let said = daemon.cli(&["logs", &run, "close[1]"]).succeeded().all();
    assert!(said.contains("closing south"), "{said}");
    let why = daemon.cli(&["why", &run]).succeeded().all();
    assert!(why.contains("report") && why.contains('3'), "{why}");
    shops.take("locked");
    let plan = daemon.api().get(&format!("/api/v1/runs/{run}/resume-plan"));
    let plan = plan.expect(200).json()["step_functions"].clone();
    // How the items of a Distributed Map ended is not in the history that a redrive goes by.
    assert_eq!(plan["redrive"], false, "{plan}");
    assert_eq!(plan["steps"], json!(["report"]), "{plan}");
    assert_eq!(plan["takes_over"], json!(["open"]), "{plan}");
    let text = plan["text"].as_str().expect("a sentence");
    let said = daemon.cli(&["resume", "--dry-run", &run]).succeeded().all();
    assert!(
        said.contains(text) && text.contains("does report with the outputs of open"),
        "{said}"
    );
    let said = daemon.cli(&["resume", "--dry-run", "--from", "close", &run]);
    let said = said.succeeded().all();
    assert!(
        said.contains("does close, report with the outputs of open"),
        "{said}"
    );
    let page = daemon.api().get_page(&format!("/runs/{run}/resume-plan"));
    assert!(page.text.contains("does report with the outputs of open"));
    assert_eq!(shops.status(), "FAILED", "nothing was done yet");
    let resumed = daemon.cli(&["resume", "--yes", "--wait", &run]);
    assert_eq!(resumed.code, 0, "{resumed}\n{}", daemon.cli(&["why", &run]));
    assert_eq!(
        shops.journal(),
        ["close north", "close south", "open", "report", "report"]
    );
    shops.has_jobs(5);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_resume_tells_that_the_execution_will_be_redriven_and_then_it_is() {
    let flow = FLOW.replace("    foreach: \"${{ steps.open.outputs.shops }}\"\n", "");
    let shops = Shops::new(&flow);
    shops.put("locked");
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    ends(&daemon, &run, "failed");
    shops.take("locked");
    let name = shops.executions()[0]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let plan = format!(
        "at Step Functions execution {name} is redriven: it begins again where it failed, and does report"
    );
    let said = daemon.cli(&["resume", "--dry-run", &run]).succeeded().all();
    assert!(said.contains(&plan), "{said}");
    let resumed = daemon.cli(&["resume", "--yes", "--wait", &run]);
    assert_eq!(resumed.code, 0, "{resumed}\n{}", daemon.cli(&["why", &run]));
    assert!(resumed.all().contains(&plan), "{resumed}");
    assert_eq!(shops.status(), "SUCCEEDED");
    let said = daemon.cli(&["resume", "--dry-run", &run]);
    said.failed(4, &["nothing to resume"]);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_execution_goes_on_while_no_daemon_is_there_and_is_found_again() {
    let shops = Shops::new(FLOW);
    shops.put("wait");
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    shops.begun(2);
    daemon.kill_nine();
    // One that only sees how it goes on.
    let daemon = shops.up();
    eventually("both shops known again", || {
        let tasks = daemon.api().list(&format!("/api/v1/runs/{run}/tasks"));
        let running = tasks.iter().filter(|it| it["state"] == "running");
        (running.count() == 2).then_some(())
    });
    daemon.kill_nine();
    shops.take("wait");
    eventually("the end without us", || {
        (shops.status() == "SUCCEEDED").then_some(())
    });
    let daemon = shops.up();
    ends(&daemon, &run, "succeeded");
    assert_eq!(shops.executions().len(), 1);
    shops.has_jobs(4);
    assert_eq!(
        shops.journal(),
        ["close north", "close south", "open", "report"]
    );
    assert_eq!(daemon.stop(), 0);
}

/// Killed when the request is on its way: it is answered late, it is answered and the answer is lost, or it never arrives.
#[test]
fn a_kill_while_the_execution_is_started_makes_no_second_one() {
    let shops = Shops::new(FLOW);
    let mut daemon = shops.up();
    for (count, kind) in ["delay", "lost_reply", "reset", "hang"]
        .into_iter()
        .enumerate()
    {
        shops.aws.fault(&json!({
            "service": "states", "op": "StartExecution", "with": shops.bucket, "kind": kind, "times": 1, "ms": 1500,
        }));
        let run = daemon.api().start("books", &json!({}));
        eventually("a request to start it", || {
            shops.aws.has_struck(&shops.bucket).then_some(())
        });
        daemon.kill_nine();
        daemon = shops.up();
        ends(&daemon, &run, "succeeded");
        let all = shops.executions();
        assert_eq!(all.len(), count + 1, "{kind}: {all:#?}");
        shops.has_jobs(4 * (count + 1));
        shops.aws.no_faults(&shops.bucket);
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_run_is_cancelled_when_its_execution_is_aborted_and_its_jobs_are_dead() {
    let shops = Shops::new(FLOW);
    shops.put("wait");
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    shops.begun(2);
    daemon.cli(&["cancel", &run]).succeeded();
    ends(&daemon, &run, "cancelled");
    assert_eq!(shops.status(), "ABORTED");
    let states: Vec<_> = shops
        .jobs()
        .iter()
        .map(|it| it["status"].to_string())
        .collect();
    assert!(!states.iter().any(|it| it == "\"RUNNING\""), "{states:?}");
    assert_eq!(shops.journal(), ["open"]);
    shops.has_jobs(3);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_cannot_be_a_state_machine_is_refused_at_check_with_the_cure() {
    let flow = FLOW.replace(
        "    after: close\n",
        "    after: close\n    when: size(steps.open.outputs.shops) > 1\n",
    );
    let shops = Shops::new(&flow);
    let said = shops.house.dalsegno(&["check", "flows"]);
    said.failed(1, &["report", "executor: batch"]);
}

/// A foreach of 40 items with a chain of so many steps for each.
fn forty_chains(steps: usize) -> String {
    let items: Vec<String> = (0..40).map(|it| it.to_string()).collect();
    let mut text = format!(
        "flow: books\nexecutor: step_functions\nsteps:\n  each:\n    foreach: [{}]\n    steps:\n      s0: {{ run: 'true' }}\n",
        items.join(", ")
    );
    for step in 1..steps {
        let before = step - 1;
        text.push_str(&format!(
            "      s{step}: {{ run: 'true', after: s{before} }}\n"
        ));
    }
    text
}

#[test]
fn check_warns_from_80_percent_of_the_history_on_and_refuses_what_does_not_fit() {
    let shops = Shops::new(&forty_chains(62));
    let said = shops.house.dalsegno(&["check", "flows"]).succeeded().all();
    assert!(said.contains("20010 events in its history"), "{said}");
    let shops = Shops::new(&forty_chains(78));
    let said = shops.house.dalsegno(&["check", "flows"]);
    said.failed(1, &["25130 events in its history", "executor: batch"]);
}

#[test]
fn outputs_that_are_no_json_fail_the_job_and_the_run_says_so() {
    let flow = FLOW.replace(r#"shops=[\"north\", \"south\"]"#, "shops=north and south");
    let shops = Shops::new(&flow);
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    ends(&daemon, &run, "failed");
    let why = daemon.cli(&["why", &run]).succeeded().all();
    assert!(why.contains("NAME=JSON"), "{why}");
    assert_eq!(shops.jobs()[0]["status"], "FAILED");
    shops.has_jobs(1);
    assert_eq!(daemon.stop(), 0);
}

/// As somebody does who stops it and deletes its machine: nothing is started a second time, and nothing hangs.
#[test]
fn an_execution_that_is_deleted_behind_our_back_fails_the_run_with_a_reason() {
    let shops = Shops::new(FLOW);
    shops.put("wait");
    let daemon = shops.up();
    let run = daemon.api().start("books", &json!({}));
    shops.begun(2);
    eventually("both shops known", || {
        let tasks = daemon.api().list(&format!("/api/v1/runs/{run}/tasks"));
        let running = tasks.iter().filter(|it| it["state"] == "running");
        (running.count() == 2).then_some(())
    });
    daemon.kill_nine();
    let arn = shops.executions()[0]["executionArn"]
        .as_str()
        .expect("an ARN")
        .to_owned();
    shops
        .aws
        .states("StopExecution", &json!({ "executionArn": arn }));
    shops.aws.delete_execution(&arn);
    let daemon = shops.up();
    ends(&daemon, &run, "failed");
    let jobs = shops.jobs();
    assert!(jobs.iter().all(|it| it["status"] != "RUNNING"), "{jobs:#?}");
    shops.has_jobs(3);
    assert_eq!(shops.journal(), ["open"]);
    assert_eq!(daemon.stop(), 0);
}
