//! SIGKILL of the daemon, of the keeper and of the warm server in the middle of Metaflow runs: nothing is lost, nothing is
//! done twice.

use dalsegno_tests::{Daemon, HEAD, House, Metaflow, PATIENCE, kill, run_id};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A step, a foreach of six with two steps each, a switch, a join; every task says when it begins and when it ends.
const BUSY: &str = r#"

def tell(word, index=""):
    line = f"{word} {current.run_id} {current.step_name}{index}\n"
    for name in ("journal", "witness"):
        with open("{house}/" + name, "a") as file:
            file.write(line)


class Busy(FlowSpec):
    @step
    def start(self):
        tell("start")
        self.items = list(range(6))
        tell("end")
        self.next(self.one, foreach="items")

    @step
    def one(self):
        tell("start", self.index)
        self.square = self.input ** 2
        time.sleep(0.03)
        tell("end", self.index)
        self.next(self.two)

    @step
    def two(self):
        tell("start", self.index)
        self.parity = "odd" if self.index % 2 else "even"
        time.sleep(0.03)
        tell("end", self.index)
        self.next({"odd": self.odd, "even": self.even}, condition="parity")

    @step
    def odd(self):
        tell("start", self.index)
        tell("end", self.index)
        self.next(self.three)

    @step
    def even(self):
        tell("start", self.index)
        tell("end", self.index)
        self.next(self.three)

    @step
    def three(self):
        tell("start", self.index)
        tell("end", self.index)
        self.next(self.join)

    @step
    def join(self, inputs):
        tell("start")
        self.squares = [each.square for each in inputs]
        tell("end")
        self.next(self.end)

    @step
    def end(self):
        tell("start")
        tell("end")


if __name__ == "__main__":
    Busy()
"#;

const TASKS: usize = 2 + 1 + 4 * 6;

#[test]
fn kills_of_the_daemon_lose_nothing_and_double_nothing() {
    kill_again_and_again(&busy(), &[], 6);
}

#[test]
fn kills_of_the_daemon_with_cold_tasks_lose_nothing_and_double_nothing() {
    kill_again_and_again(&busy(), &["--cold"], 2);
}

#[test]
fn kills_of_the_daemon_on_postgresql_lose_nothing_and_double_nothing() {
    let house = busy();
    house.use_postgres();
    kill_again_and_again(&house, &[], 3);
}

#[test]
fn a_kill_of_the_warm_server_is_no_loss() {
    let house = busy();
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let id = daemon.api().start("Busy", &json!({}));
    for _ in 0..2 {
        witness.wait_for("end");
        let servers: Vec<_> = house
            .processes()
            .into_iter()
            .filter(|it| it.command.contains("warm.py"))
            .collect();
        assert!(!servers.is_empty(), "{:?}", house.processes());
        // The server, and not a task that was forked from it, is the oldest of them.
        let server = servers
            .iter()
            .min_by_key(|it| it.pid)
            .expect("there is one");
        kill(server.pid);
    }
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    check(&daemon, &house, &run, true);
}

#[test]
fn a_kill_of_the_keeper_loses_attempts_but_no_work() {
    let house = busy();
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let id = daemon.api().start("Busy", &json!({}));
    witness.wait_for("end");
    let keepers = house
        .processes()
        .into_iter()
        .filter(|it| it.command.contains("keeper"));
    for keeper in keepers {
        kill(keeper.pid);
    }
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    check(&daemon, &house, &run, false);
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

#[test]
fn a_step_that_ends_while_the_daemon_is_dead_is_not_run_again() {
    for how in [&[][..], &["--cold"]] {
        let text = dalsegno_tests::flow_file(
            "Story",
            "",
            "",
            "say('once')\nwait()\nself.x = 5\nsay('done')",
        );
        let house = Metaflow::house(&[("flow.py", &text)]);
        let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
        let daemon = house.up_with(how);
        let id = daemon.api().start("Story", &json!({}));
        witness.wait_for("waits");
        daemon.kill_nine();
        gate.open();
        dalsegno_tests::eventually("the end of the step", || {
            let id_folders = std::fs::read_dir(house.metaflow().stored("Story")).ok()?;
            let mut starts = id_folders.flatten().flat_map(|it| {
                std::fs::read_dir(it.path().join("start"))
                    .into_iter()
                    .flatten()
                    .flatten()
            });
            starts
                .any(|it| it.path().join("0.DONE.lock").exists())
                .then_some(())
        });
        let daemon = house.up_with(how);
        let run = daemon.api().wait_for_run(&id);
        assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
        assert_eq!(house.read("journal"), "once\ndone\nend\n");
        let run = house.metaflow().of_run(&run);
        assert!(run.is_successful(), "{run:?}");
        assert_eq!(run.data("end")["x"], 5);
    }
}

fn busy() -> House {
    Metaflow::house(&[("flow.py", &format!("{HEAD}{BUSY}"))])
}

/// Kills the daemon after ever more words of its steps, and starts it again; in the end all runs are whole.
fn kill_again_and_again(house: &House, how: &[&str], kills: usize) {
    let mut witness = house.witness("witness");
    let mut daemon = house.up_with(how);
    let mut runs = Vec::new();
    for number in 0..kills {
        let key = format!("kill-{number}");
        // Every other time nobody waits for the answer, and asks again.
        let asking = std::thread::spawn({
            let (api, key) = (daemon.api(), key.clone());
            move || api.try_start("Busy", &json!({}), Some(&key))
        });
        if number % 2 == 0 {
            run_id(&asking.join().expect("asking does not panic"));
        }
        for _ in 0..number * 7 {
            if witness.line_within(Duration::from_secs(5)).is_none() {
                break;
            }
        }
        daemon.kill_nine();
        daemon = house.up_with(how);
        runs.push(run_id(&daemon.api().try_start(
            "Busy",
            &json!({}),
            Some(&key),
        )));
    }
    for id in &runs {
        let run = daemon.api().wait_for_run_within(PATIENCE * 3, id);
        assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
        check(&daemon, house, &run, true);
    }
    assert_eq!(daemon.api().list("/api/v1/runs?flow=Busy").len(), kills);
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

/// Every task of the run succeeded and is there for Metaflow's client; `once`: each was run one time.
#[track_caller]
fn check(daemon: &Daemon, house: &House, run: &Value, once: bool) {
    let id = run["id"].as_str().expect("an id");
    let tasks = daemon.api().list(&format!("/api/v1/runs/{id}/tasks"));
    let done = tasks.iter().filter(|it| it["state"] == "succeeded").count();
    assert_eq!(done, TASKS, "{tasks:?}");
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let journal = house.read("journal");
    let name = run["metaflow"]["run_id"]
        .as_str()
        .expect("an id of Metaflow");
    for line in journal.lines().filter(|it| it.contains(name)) {
        *count.entry(line).or_default() += 1;
    }
    let ends = count.keys().filter(|it| it.starts_with("end")).count();
    assert_eq!(ends, TASKS, "{count:?}");
    if once {
        assert!(count.values().all(|it| *it == 1), "run {id}: {count:?}");
    }
    let told = house.metaflow().of_run(run);
    assert!(told.is_successful(), "{told:?}");
    assert_eq!(told.data("end")["squares"], json!([0, 1, 4, 9, 16, 25]));
    assert_eq!(told.tasks("three").len(), 6);
}
