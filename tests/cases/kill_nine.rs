//! SIGKILL at twenty random moments of a busy run: no task runs twice to success, none is lost, all runs finish, no
//! process is left.

use dalsegno_tests::{Daemon, House, Witness, run_id};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const KILLS: u32 = 20;
const ITEMS: usize = 6;

/// Each run: one task, then a foreach of chains of two, then a join. Every attempt writes a line when it starts and one
/// when it ends, in one write each, into a file (what is checked) and into a pipe (what the test waits on).
const BUSY: &str = r#"
flow: busy
run: { strategy: { parallel: 4 }, max_parallel_tasks: 4 }
env:
  SAY: |
    say() { echo "$1 $DALSEGNO_RUN_ID $DALSEGNO_TASK $DALSEGNO_ATTEMPT" | tee -a '{house}/journal' > '{house}/witness'; }
steps:
  open:
    run: eval "$SAY"; say start; say end
  each:
    after: open
    foreach: [1, 2, 3, 4, 5, 6]
    steps:
      one: { run: 'eval "$SAY"; say start; sleep 0.02; say end' }
      two: { after: one, run: 'eval "$SAY"; say start; sleep 0.05; say end' }
  close:
    after: each
    run: eval "$SAY"; say start; say end
"#;

#[test]
fn twenty_kills_of_a_busy_daemon_lose_nothing_and_double_nothing() {
    kill_again_and_again(&House::with(&[("busy.yaml", BUSY)]), KILLS);
}

#[test]
fn kills_on_postgresql_lose_nothing_and_double_nothing() {
    let house = House::with(&[("busy.yaml", BUSY)]);
    house.use_postgres();
    kill_again_and_again(&house, KILLS / 4);
}

#[test]
fn a_step_that_ends_while_the_daemon_is_dead_is_not_run_again() {
    let flow = r#"
flow: patient
steps:
  wait:
    run: |
      echo started > '{house}/witness'
      cat '{house}/gate'
      echo once >> '{house}/said'
      echo ended > '{house}/witness'
"#;
    let house = House::with(&[("patient.yaml", flow)]);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = house.up();
    let id = daemon.api().start("patient", &json!({}));
    witness.wait_for("started");
    daemon.kill_nine();
    gate.open();
    witness.wait_for("ended");

    let daemon = house.up();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(house.read("said"), "once\n");
}

#[test]
fn a_step_that_runs_on_while_the_daemon_restarts_is_adopted() {
    let flow = r#"
flow: patient
steps:
  wait:
    run: |
      echo started >> '{house}/said'
      echo started > '{house}/witness'
      cat '{house}/gate'
"#;
    let house = House::with(&[("patient.yaml", flow)]);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = house.up();
    let id = daemon.api().start("patient", &json!({}));
    witness.wait_for("started");
    daemon.kill_nine();
    let daemon = house.up();
    assert_eq!(daemon.api().run(&id)["state"], "running");
    gate.open();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(house.read("said"), "started\n");
}

/// Starts a run before each kill, and checks in the end what became of all of them.
fn kill_again_and_again(house: &House, kills: u32) {
    let seed = seed();
    println!("seed {seed}; repeat with DALSEGNO_TEST_SEED={seed}");
    let mut witness = house.witness("witness");
    let mut dice = Dice(seed);
    let mut runs = Vec::new();

    let mut daemon = house.up();
    for kill in 0..kills {
        let key = format!("kill-{kill}");
        // Sometimes it dies while the question is on its way: then nobody knows the answer, and asks again.
        let asking = std::thread::spawn({
            let (api, key) = (daemon.api(), key.clone());
            move || api.try_start("busy", &json!({}), Some(&key))
        });
        let known = if dice.below(2) == 0 {
            Some(asking.join().expect("asking does not panic"))
        } else {
            None
        };
        let events = dice.below(12);
        let seen = watch(&mut witness, events);
        println!("kill {kill}: after {seen} of {events} events");
        daemon.kill_nine();

        daemon = house.up();
        let run = run_id(&daemon.api().try_start("busy", &json!({}), Some(&key)));
        if let Some(known) = known {
            assert_eq!(run, run_id(&known), "an answered request is not forgotten");
        }
        runs.push(run);
    }

    for run in &runs {
        let ended = daemon.api().wait_for_run(run);
        assert_eq!(ended["state"], "succeeded", "{}", daemon.cli(&["why", run]));
    }
    let all = daemon.api().list("/api/v1/runs?flow=busy");
    assert_eq!(all.len(), runs.len(), "one run for each key");
    for run in &runs {
        check_run(&daemon, house, run);
    }
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

/// Every task of the run succeeded, and its journal has one start and one end of the attempt that did it.
fn check_run(daemon: &Daemon, house: &House, run: &str) {
    let tasks = daemon.api().list(&format!("/api/v1/runs/{run}/tasks"));
    assert_eq!(tasks.len(), 2 + 2 * ITEMS, "no task is lost: {tasks:?}");
    let mut lines: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for line in house.read("journal").lines() {
        let words: Vec<_> = line.split(' ').collect();
        if let [what, of, task, attempt] = words[..]
            && of == run
        {
            lines
                .entry((task.to_owned(), what.to_owned()))
                .or_default()
                .push(attempt.to_owned());
        }
    }
    for task in &tasks {
        assert_eq!(task["state"], "succeeded", "{task}");
        let name = text(&task["task"]);
        for what in ["start", "end"] {
            let of_task = lines
                .get(&(name.clone(), what.to_owned()))
                .cloned()
                .unwrap_or_default();
            assert_eq!(
                of_task.len(),
                1,
                "run {run}, task {name}: `{what}` by attempts {of_task:?}; {task}"
            );
        }
    }
}

/// Waits for so many lines of steps; gives how many came. Fewer when the daemon has nothing to do.
fn watch(witness: &mut Witness, events: u64) -> u64 {
    let mut seen = 0;
    while seen < events && witness.line_within(Duration::from_secs(3)).is_some() {
        seen += 1;
    }
    seen
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn seed() -> u64 {
    let given = std::env::var("DALSEGNO_TEST_SEED").ok();
    given.map_or_else(
        || std::process::id().into(),
        |text| text.parse().expect("DALSEGNO_TEST_SEED is a number"),
    )
}

/// Repeatable chance (a 64-bit mixer over a counter).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
