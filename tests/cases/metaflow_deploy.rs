//! Flows that are deployed from Metaflow's own command line and Deployer to a running daemon.

use dalsegno_tests::{Daemon, HEAD, House, Metaflow, Said, flow_file};
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn a_flow_is_deployed_started_looked_at_and_removed_by_metaflows_command_line() {
    let text = flow_file(
        "Story",
        "import helper\n",
        "alpha = Parameter('alpha', default=1.0)",
        "say(f'{helper.WORD} {self.alpha}')",
    );
    let (house, daemon) = with_work(&text);
    write(&house, "helper.py", "WORD = 'packed'\n");
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    flow(&house, &daemon, &["dalsegno", "trigger", "--alpha", "2.5"]).succeeded();
    let run = only_run(&daemon, "Story");
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    assert_eq!(house.read("journal"), "packed 2.5\nend\n");

    let name = run["metaflow"]["run_id"].as_str().expect("an id");
    let said = flow(&house, &daemon, &["dalsegno", "list-runs"]).succeeded();
    assert!(said.all().contains(name), "{said}");
    let said = flow(&house, &daemon, &["dalsegno", "status", name]).succeeded();
    assert!(said.all().contains("SUCCEEDED"), "{said}");

    flow(&house, &daemon, &["dalsegno", "delete"]).succeeded();
    let refused = flow(&house, &daemon, &["dalsegno", "trigger"]);
    assert_ne!(refused.code, 0, "{refused}");
}

#[test]
fn a_deployment_is_pinned_and_edits_count_with_the_next_one() {
    let text = flow_file("Story", "WORD = 'old'\n", "", "say(WORD)");
    let (house, daemon) = with_work(&text);
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    write(&house, "flow.py", &text.replace("'old'", "'new'"));
    flow(&house, &daemon, &["dalsegno", "trigger"]).succeeded();
    only_run(&daemon, "Story");
    assert_eq!(house.read("journal"), "old\nend\n");
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    daemon.succeeds("Story", &json!({}));
    assert_eq!(house.read("journal"), "old\nend\nnew\nend\n");
}

#[test]
fn promises_beside_the_file_are_deployed_with_it() {
    let (house, daemon) = with_work(&flow_file("Story", "", "", "pass"));
    write(
        &house,
        "flow.dalsegno.yaml",
        "steps: { strat: { sla: [{ max_duration: 1h }] } }\n",
    );
    let refused = flow(&house, &daemon, &["dalsegno", "create"]);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.all().contains("has no step `strat`"), "{refused}");
    write(
        &house,
        "flow.dalsegno.yaml",
        "steps: { start: { sla: [{ max_duration: 1h }] } }\n",
    );
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    daemon.succeeds("Story", &json!({}));
    let met = daemon.api().list("/api/v1/slas?flow=Story&state=met");
    assert_eq!(met[0]["promise"], "max_duration@start", "{met:?}");
}

#[test]
fn branches_of_a_project_are_deployed_side_by_side() {
    let text = flow_file(
        "Story",
        "@project(name='coda')",
        "",
        "say(current.branch_name)",
    );
    let (house, daemon) = with_work(&text);
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    flow(&house, &daemon, &["--branch", "blue", "dalsegno", "create"]).succeeded();
    flow(&house, &daemon, &["--production", "dalsegno", "create"]).succeeded();
    for branch in ["user.tester", "test.blue", "prod"] {
        daemon.succeeds(&format!("coda.{branch}.Story"), &json!({}));
        assert!(
            house.read("journal").ends_with(&format!("{branch}\nend\n")),
            "{}",
            house.read("journal")
        );
    }
}

#[test]
fn decorators_tags_and_configs_of_the_command_line_belong_to_the_deployment() {
    let text = flow_file(
        "Story",
        "",
        "config = Config('config', default_value={'word': 'none'})",
        "say(f'{self.config.word} {current.retry_count}')\nif current.retry_count == 0:\n    raise ValueError('once')",
    );
    let (house, daemon) = with_work(&text);
    write(&house, "other.json", r#"{"word": "given"}"#);
    let arguments = [
        "--with",
        "retry:times=1,minutes_between_retries=0",
        "--config",
        "config",
        "other.json",
        "dalsegno",
        "create",
        "--tag",
        "spring",
    ];
    flow(&house, &daemon, &arguments).succeeded();
    let run = daemon.succeeds("Story", &json!({}));
    assert_eq!(house.read("journal"), "given 0\ngiven 1\nend\n");
    let told = house.metaflow().of_run(&run);
    assert_eq!(told.0["user_tags"], json!(["spring"]));
}

#[test]
fn the_deployer_deploys_triggers_and_waits() {
    let text = flow_file(
        "Story",
        "",
        "alpha = Parameter('alpha', default=1)",
        "self.x = self.alpha * 2",
    );
    let (house, daemon) = with_work(&text);
    let code = "from metaflow import Deployer, namespace\nnamespace(None)\n\
                deployed = Deployer('flow.py').dalsegno().create()\n\
                run = deployed.trigger(alpha=21)\nrun.wait_for_completion(timeout=60)\n\
                print(run.status, run.run.successful, run.run.data.x)";
    let said = metaflow(&house, &daemon, &["-c", code]).succeeded();
    assert_eq!(
        said.stdout.lines().last(),
        Some("SUCCEEDED True 42"),
        "{said}"
    );
}

#[test]
fn a_run_is_resumed_with_other_parameters_from_metaflows_command_line() {
    let body = "say('start')\nself.made = self.alpha";
    let text = flow_file("Story", "", "alpha = Parameter('alpha', default=1)", body).replace(
        "say(\"end\")",
        "say(f'end {self.made} {self.alpha}')\n        assert self.alpha > 1",
    );
    let (house, daemon) = with_work(&text);
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    daemon.fails("Story", &json!({}));
    flow(&house, &daemon, &["dalsegno", "resume", "--alpha", "5"]).succeeded();
    daemon.api().wait_until("the resumed run", || {
        let runs = daemon.api().list("/api/v1/runs?flow=Story");
        (runs.len() == 2 && runs.iter().any(|it| it["state"] == "succeeded")).then_some(())
    });
    assert_eq!(house.read("journal"), "start\nend 1 1\nend 1 5\n");
}

#[test]
fn what_lies_in_the_flows_folder_is_not_removed_over_http() {
    let house = Metaflow::house(&[("flow.py", &flow_file("Story", "", "", "pass"))]);
    let daemon = house.up();
    daemon.api().delete("/api/v1/flows/Story").problem(409);
    daemon.succeeds("Story", &json!({}));
}

#[test]
fn deployments_survive_the_daemon() {
    let text = flow_file("Story", "@schedule", "", "say('ran')");
    let (house, daemon) = with_work(&text);
    flow(&house, &daemon, &["dalsegno", "create"]).succeeded();
    daemon.kill_nine();
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    let row = daemon.api().get("/api/v1/flows/Story").expect(200).json();
    assert!(row["next_at"].is_string(), "{row}");
}

#[test]
fn bad_deployments_are_refused_in_words() {
    let (_house, daemon) = with_work(&format!("{HEAD}\n"));
    for body in [
        json!({}),
        json!({"class": "X", "file": "/x.py", "folder": "/", "package": "!", "entry": "x.py", "dump": {}}),
    ] {
        let problem = daemon.api().post("/api/v1/metaflow/deployments", &body);
        assert!((400..500).contains(&problem.status), "{problem:?}");
        problem.problem(problem.status);
    }
    // A name that would pass for a file of the flows folder, which goes with its file.
    let body = json!({"class": "X", "file": "/x.py", "folder": "/", "package": "!", "entry": "x.py", "dump": {"flow": "X"}, "host": "/h"});
    let problem = daemon.api().post("/api/v1/metaflow/deployments", &body);
    let told = problem.problem(422)["detail"].to_string();
    assert!(told.contains("`host`"), "{told}");
}

/// A daemon without flow files, and a working folder beside it with one flow.
fn with_work(text: &str) -> (House, Daemon) {
    let house = Metaflow::house(&[]);
    std::fs::create_dir(house.path("work")).expect("the house can be written to");
    write(&house, "flow.py", text);
    let daemon = house.up();
    (house, daemon)
}

fn write(house: &House, name: &str, text: &str) {
    let text = text.replace("{house}", &house.folder().to_string_lossy());
    std::fs::write(house.path("work").join(name), text).expect("the house can be written to");
}

/// `python flow.py …` in the working folder, with our extension.
fn flow(house: &House, daemon: &Daemon, arguments: &[&str]) -> Said {
    let mut all = vec!["flow.py", "--no-pylint"];
    all.extend(arguments);
    metaflow(house, daemon, &all)
}

fn metaflow(house: &House, daemon: &Daemon, arguments: &[&str]) -> Said {
    let extension = concat!(env!("CARGO_MANIFEST_DIR"), "/../python");
    let mut command: Command = house.metaflow().command(arguments);
    command
        .current_dir(house.path("work"))
        .env("PYTHONPATH", extension)
        .env("DALSEGNO_URL", daemon.url());
    house.run(&command)
}

/// Waits for the end of the only run of a flow; gives it.
#[track_caller]
fn only_run(daemon: &Daemon, flow: &str) -> Value {
    let runs = daemon.api().list(&format!("/api/v1/runs?flow={flow}"));
    assert_eq!(runs.len(), 1, "{runs:?}");
    daemon
        .api()
        .wait_for_run(runs[0]["id"].as_str().expect("an id"))
}
