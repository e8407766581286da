//! What happens to the processes of a run.

use dalsegno_tests::{Daemon, House};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn cancel_ends_the_whole_process_group() {
    let flow = r#"
flow: long
steps:
  work:
    run: |
      sleep 1000 &
      (sleep 1000; true) &
      echo started > '{house}/witness'
      wait
"#;
    let house = House::with(&[("long.yaml", flow)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let id = daemon.api().start("long", &json!({}));
    witness.wait_for("started");
    daemon.cli(&["cancel", &id]).succeeded();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "cancelled");
    let sleepers: Vec<_> = house
        .processes()
        .into_iter()
        .filter(|it| it.command.contains("sleep"))
        .collect();
    assert_eq!(
        sleepers,
        [],
        "a cancelled run is reported only when its processes are dead"
    );
}

#[test]
fn a_step_that_ignores_sigterm_is_killed_after_its_grace() {
    let flow = r#"
flow: stubborn
steps:
  work:
    grace: 200ms
    run: |
      trap '' TERM
      echo started > '{house}/witness'
      while :; do sleep 1000; done
"#;
    let house = House::with(&[("stubborn.yaml", flow)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let id = daemon.api().start("stubborn", &json!({}));
    witness.wait_for("started");
    daemon.cli(&["cancel", &id]).succeeded();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "cancelled");
}

#[test]
fn an_attempt_past_its_timeout_is_killed_and_the_run_fails() {
    let flow = "flow: slow\nsteps:\n  work: { timeout: 300ms, run: sleep 1000 }\n";
    let house = House::with(&[("slow.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("slow", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "failed");
    let why = daemon.cli(&["why", &id]).succeeded();
    assert!(why.stdout.contains("timed out"), "{why}");
    let sleepers: Vec<_> = house
        .processes()
        .into_iter()
        .filter(|it| it.command.contains("sleep"))
        .collect();
    assert_eq!(sleepers, []);
}

#[test]
fn a_run_past_its_timeout_is_timed_out() {
    let flow = "flow: slow\nrun: { timeout: 300ms }\nsteps:\n  work: { run: sleep 1000 }\n";
    let house = House::with(&[("slow.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("slow", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "timed_out");
}

#[test]
fn a_retry_goes_on_from_its_checkpoint() {
    let flow = r#"
flow: climbs
steps:
  work:
    retry: { times: 2, backoff: { initial: 10ms } }
    outputs: [height]
    run: |
      echo x >> "$DALSEGNO_CHECKPOINT_DIR/steps"
      height=$(wc -l < "$DALSEGNO_CHECKPOINT_DIR/steps")
      echo "attempt $DALSEGNO_ATTEMPT at $height" >> '{house}/said'
      [ "$height" -eq 3 ] || exit 1
      echo "height=$height" >> "$DALSEGNO_OUTPUT"
  after:
    after: work
    env: { HEIGHT: "${{ steps.work.outputs.height }}" }
    run: echo "after $HEIGHT" >> '{house}/said'
"#;
    let house = House::with(&[("climbs.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("climbs", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(
        house.read("said"),
        "attempt 1 at 1\nattempt 2 at 2\nattempt 3 at 3\nafter 3\n"
    );
}

#[test]
fn resume_repeats_what_failed_and_keeps_what_succeeded() {
    let flow = r#"
flow: halves
steps:
  first: { run: "echo first >> '{house}/said'" }
  second:
    after: first
    run: |
      echo second >> '{house}/said'
      test -e '{house}/mended'
"#;
    let house = House::with(&[("halves.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("halves", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "failed");
    std::fs::write(house.path("mended"), "").expect("the house can be written to");
    daemon.cli(&["resume", "--yes", &id]).succeeded();
    daemon.api().wait_until("the resumed run", || {
        (daemon.api().run(&id)["state"] == "succeeded").then_some(())
    });
    assert_eq!(house.read("said"), "first\nsecond\nsecond\n");
}

#[test]
fn an_exit_code_of_202_is_not_retried() {
    let flow = r#"
flow: final
steps:
  work:
    retry: { times: 3, backoff: { initial: 10ms } }
    run: echo tried >> '{house}/said'; exit 202
"#;
    let house = House::with(&[("final.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("final", &json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "failed");
    assert_eq!(house.read("said"), "tried\n");
}

#[test]
fn logs_f_shows_lines_while_the_step_runs_and_ends_with_it() {
    let flow = r#"
flow: talks
steps:
  work:
    run: |
      echo first line
      echo beside >&2
      cat '{house}/gate'
      echo last line
"#;
    let house = House::with(&[("talks.yaml", flow)]);
    let gate = house.gate("gate");
    let daemon = house.up();
    let id = daemon.api().start("talks", &json!({}));
    let mut logs = daemon.command(&["logs", "-f", &id]);
    let mut logs = logs
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(logs.stdout.take().expect("stdout is piped")).lines();
    let mut until = |text: &str| {
        lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(text))
            .unwrap_or_else(|| {
                panic!("the log ended without `{text}`");
            })
    };
    until("first line");
    gate.open();
    until("last line");
    assert!(logs.wait().expect("our child").success());

    let all = daemon.cli(&["logs", &id]).succeeded();
    for text in ["first line", "beside", "last line"] {
        assert!(all.stdout.contains(text), "{all}");
    }
}

#[test]
fn a_foreach_runs_once_for_each_item_and_is_joined_in_order() {
    let flow = r#"
flow: fans
steps:
  each:
    foreach: [c, a, b]
    max_parallel: 2
    outputs: [name]
    run: echo "name=\"$ITEM$ITEM_INDEX\"" >> "$DALSEGNO_OUTPUT"
  join:
    after: each
    env: { NAMES: "${{ steps.each.outputs.name }}" }
    run: echo "$NAMES" > '{house}/said'
"#;
    let house = House::with(&[("fans.yaml", flow)]);
    let daemon = house.up();
    let id = daemon.api().start("fans", &json!({}));
    assert_eq!(
        daemon.api().wait_for_run(&id)["state"],
        "succeeded",
        "{}",
        reasons(&daemon, &id)
    );
    let names: Value = serde_json::from_str(&house.read("said")).expect("a list is given as JSON");
    assert_eq!(names, json!(["c0", "a1", "b2"]));
}

fn reasons(daemon: &Daemon, id: &str) -> String {
    daemon.cli(&["why", id]).all()
}
