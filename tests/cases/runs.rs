//! Starting runs by hand: parameters, answers, exit codes.

use dalsegno_tests::{House, run_id};
use serde_json::json;

const GREET: &str = r#"
flow: greet
params:
  name: { type: string, default: nobody }
  times: { type: int, default: 1, min: 1, max: 3 }
steps:
  say:
    run: echo "$NAME $TIMES" >> '{house}/said'
"#;

const FAILS: &str = "flow: fails\nsteps:\n  no: { run: 'echo the reason is here; exit 7' }\n";

#[test]
fn run_wait_gives_the_parameters_to_the_steps_and_ends_with_0() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    let said = daemon
        .cli(&[
            "run",
            "greet",
            "--wait",
            "-p",
            "name=Clara",
            "-p",
            "times=2",
        ])
        .succeeded();
    assert_eq!(house.read("said"), "Clara 2\n");
    assert!(said.all().contains("succeeded"), "{said}");
}

#[test]
fn run_wait_on_a_run_that_fails_ends_with_1_and_says_which_step() {
    let house = House::with(&[("fails.yaml", FAILS)]);
    let daemon = house.up();
    let said = daemon.cli(&["run", "fails", "--wait"]);
    said.failed(1, &["failed", "no"]);
}

#[test]
fn values_stay_values_whatever_they_look_like() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    let nasty = "$(touch '{house}/owned'); `id` \"quoted\" && é";
    daemon
        .cli(&["run", "greet", "--wait", "-p", &format!("name={nasty}")])
        .succeeded();
    assert_eq!(house.read("said"), format!("{nasty} 1\n"));
}

#[test]
fn a_wrong_parameter_is_refused_by_name() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    daemon
        .cli(&["run", "greet", "-p", "times=many"])
        .failed(4, &["times"]);
    daemon
        .cli(&["run", "greet", "-p", "times=4"])
        .failed(4, &["times", "3"]);
    daemon
        .cli(&["run", "greet", "-p", "nmae=x"])
        .failed(4, &["nmae"]);
    let problem = daemon
        .api()
        .try_start("greet", &json!({"times": "many"}), None)
        .problem(422);
    assert!(problem.to_string().contains("times"), "{problem}");
    assert_eq!(
        daemon.api().list("/api/v1/runs").len(),
        0,
        "nothing was started"
    );
}

#[test]
fn an_unknown_flow_is_refused_with_a_suggestion() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    daemon.cli(&["run", "gret"]).failed(3, &["gret", "greet"]);
    daemon
        .api()
        .try_start("gret", &json!({}), None)
        .problem(404);
    daemon.api().get("/api/v1/flows/gret").problem(404);
}

#[test]
fn an_unknown_run_is_refused() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    for command in ["show", "logs", "why", "cancel", "resume"] {
        daemon.cli(&[command, "4711"]).failed(3, &["4711"]);
    }
    daemon.api().get("/api/v1/runs/4711").problem(404);
}

#[test]
fn the_same_idempotency_key_twice_is_one_run() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    let first = daemon.api().try_start("greet", &json!({}), Some("monday"));
    let second = daemon.api().try_start("greet", &json!({}), Some("monday"));
    let other = daemon.api().try_start("greet", &json!({}), Some("tuesday"));
    assert_eq!(run_id(&first), run_id(&second));
    assert_ne!(run_id(&first), run_id(&other));
    daemon.api().wait_for_run(&run_id(&first));
    daemon.api().wait_for_run(&run_id(&other));
    assert_eq!(house.read("said").lines().count(), 2);
}

#[test]
fn a_run_in_json_has_the_promised_fields() {
    let house = House::with(&[("greet.yaml", GREET)]);
    let daemon = house.up();
    let id = daemon.api().start("greet", &json!({}));
    daemon.api().wait_for_run(&id);
    for run in [
        daemon.api().run(&id),
        daemon.api().list("/api/v1/runs")[0].clone(),
        daemon.cli(&["runs", "--json"]).succeeded().json()["items"][0].clone(),
        daemon.cli(&["show", &id, "--json"]).succeeded().json(),
    ] {
        for field in [
            "id",
            "flow",
            "state",
            "created_at",
            "started_at",
            "finished_at",
        ] {
            assert!(!run[field].is_null(), "no `{field}`: {run}");
        }
        assert_eq!(
            (&run["flow"], &run["state"]),
            (&json!("greet"), &json!("succeeded"))
        );
    }
}

#[test]
fn lists_come_in_pages() {
    let house = House::with(&[(
        "greet.yaml",
        &GREET.replace("steps:", "run: { strategy: { parallel: 5 } }\nsteps:"),
    )]);
    let daemon = house.up();
    let started: Vec<_> = (0..5)
        .map(|_| daemon.api().start("greet", &json!({})))
        .collect();
    let listed = daemon.api().list("/api/v1/runs?limit=2");
    let mut ids: Vec<_> = listed.iter().map(|it| it["id"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), started.len(), "each run once: {listed:?}");
}

#[test]
fn why_tells_of_a_failed_and_of_a_paused_flow() {
    let house = House::with(&[("fails.yaml", FAILS)]);
    let daemon = house.up();
    let id = daemon.api().start("fails", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "failed");
    let why = daemon.cli(&["why", &id]).succeeded();
    assert!(why.stdout.contains("exit code 7"), "{why}");

    daemon
        .cli(&["pause", "fails", "--reason", "it fails"])
        .succeeded();
    let why = daemon.cli(&["why", "fails"]).succeeded();
    assert!(why.stdout.contains("it fails"), "{why}");
    daemon.cli(&["unpause", "fails"]).succeeded();
}
