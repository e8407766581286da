//! Runs of Metaflow flows that go on: in place, from a step, with other parameters, and from a checkpoint.

use dalsegno_tests::{Daemon, HEAD, House, Metaflow, run_id};
use serde_json::{Value, json};

/// One of three tasks fails until the file `mended` is there.
const HALVES: &str = r#"

class Halves(FlowSpec):
    factor = Parameter("factor", default=10)

    @step
    def start(self):
        say("start")
        self.base = self.factor + 1
        self.items = [0, 1, 2]
        self.next(self.body, foreach="items")

    @step
    def body(self):
        say(f"body {self.input}")
        if self.input == 1 and not os.path.exists("{house}/mended"):
            raise ValueError("not mended")
        self.made = self.input * self.factor
        self.next(self.join)

    @step
    def join(self, inputs):
        say("join")
        self.all = [each.made for each in inputs]
        self.merge_artifacts(inputs, include=["base"])
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.factor}")
        self.origin = current.origin_run_id


if __name__ == "__main__":
    Halves()
"#;

#[test]
fn a_resume_repeats_what_failed_and_keeps_the_rest() {
    let (house, daemon, failed) = halves_that_failed();
    let before = house.metaflow().of_run(&failed);
    assert!(!before.is_successful());
    mend(&house);
    let run = resumed(&daemon, &failed, &[]);
    assert_eq!(run["metaflow"], failed["metaflow"], "it is the same run");
    assert_eq!(said(&house), ["body 1", "end 10", "join"]);

    let after = house.metaflow().of_run(&run);
    assert!(after.is_successful(), "{after:?}");
    assert_eq!(after.data("end")["all"], json!([0, 10, 20]));
    assert_eq!(after.data("end")["base"], 11);
    assert_eq!(
        after.task("start")["id"],
        before.task("start")["id"],
        "finished tasks keep their names"
    );
    assert_eq!(
        after.tasks("body").len(),
        4,
        "the failed one stays to be seen beside its successor"
    );
}

#[test]
fn a_resume_from_a_step_repeats_it_and_all_that_follows() {
    let (house, daemon, failed) = halves_that_failed();
    mend(&house);
    let run = resumed(&daemon, &failed, &[]);
    said(&house);
    let run = resumed(&daemon, &run, &["--from", "join"]);
    assert_eq!(said(&house), ["end 10", "join"]);
    let run = resumed(&daemon, &run, &["--from", "body"]);
    assert_eq!(
        said(&house),
        ["body 0", "body 1", "body 2", "end 10", "join"]
    );
    let run = resumed(&daemon, &run, &["--from", "start"]);
    assert_eq!(
        said(&house),
        ["body 0", "body 1", "body 2", "end 10", "join", "start"]
    );
    let run = house.metaflow().of_run(&run);
    assert!(run.is_successful(), "{run:?}");
}

#[test]
fn a_resume_with_other_parameters_is_a_new_run_that_keeps_finished_tasks() {
    let (house, daemon, failed) = halves_that_failed();
    mend(&house);
    let path = format!("/api/v1/runs/{}/resume", id_of(&failed));
    let answer = daemon
        .api()
        .post(&path, &json!({"params": {"factor": 100}, "by": "a test"}));
    let run = daemon.api().wait_for_run(&run_id(&answer));
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    assert_ne!(run["id"], failed["id"]);
    assert_ne!(run["metaflow"]["pathspec"], failed["metaflow"]["pathspec"]);
    assert_eq!(
        said(&house),
        ["body 1", "end 100", "join"],
        "only what had not succeeded is run"
    );

    let after = house.metaflow().of_run(&run);
    assert!(after.is_successful(), "{after:?}");
    let end = after.data("end");
    assert_eq!(end["factor"], 100, "later steps see the new value");
    assert_eq!(end["base"], 11, "what was made with the old one is kept");
    assert_eq!(end["all"], json!([0, 100, 20]));
    assert_eq!(end["origin"], failed["metaflow"]["run_id"]);
    let metadata = &after.task("start")["metadata"];
    assert_eq!(
        metadata["origin-run-id"], failed["metaflow"]["run_id"],
        "{metadata}"
    );

    let origin = house.metaflow().of_run(&failed);
    assert!(
        !origin.is_successful(),
        "the run it came from stays as it was"
    );
    let again = resumed(&daemon, &failed, &[]);
    assert_eq!(again["state"], "succeeded", "and can still go on by itself");
}

#[test]
fn a_resume_goes_on_with_the_repaired_file() {
    let (house, daemon, failed) = halves_that_failed();
    let text = format!("{HEAD}{HALVES}");
    let repaired = text.replace("raise ValueError(\"not mended\")", "say(\"repaired\")");
    house.write_flow("flow.py", &repaired);
    let version = failed["version"].clone();
    daemon.api().wait_until("the repaired file", || {
        let flow = daemon.api().get("/api/v1/flows/Halves").json();
        (flow["active_version"] != version).then_some(())
    });
    resumed(&daemon, &failed, &[]);
    assert_eq!(said(&house), ["body 1", "end 10", "join", "repaired"]);
}

#[test]
fn a_run_keeps_the_code_it_began_with() {
    let above = "import helper\n";
    let body = "say(helper.WORD)\nwait()";
    let text = dalsegno_tests::flow_file("Story", above, "", body)
        .replace("say(\"end\")", "say('end ' + helper.WORD)");
    let house = Metaflow::house(&[("helper.py", "WORD = 'old'\n"), ("flow.py", &text)]);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = house.up();
    let id = daemon.api().start("Story", &json!({}));
    witness.wait_for("waits");
    house.write_flow("helper.py", "WORD = 'new'\n");
    let version = daemon.api().run(&id)["version"].clone();
    daemon.api().wait_until("a new version", || {
        let flow = daemon.api().get("/api/v1/flows/Story").json();
        (flow["active_version"] != version).then_some(())
    });
    gate.open();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(said(&house), ["end old", "old"]);
}

/// Six epochs, of which each is saved; it fails after the second and the fourth until the file `mended` is there.
const CLIMBS: &str = r#"
from metaflow import checkpoint


class Climbs(FlowSpec):
    height = Parameter("height", default=6)

    @retry(times=RETRIES, minutes_between_retries=0)
    @checkpoint
    @step
    def start(self):
        first = 0
        if current.checkpoint.is_loaded:
            with open(os.path.join(current.checkpoint.directory, "epoch")) as file:
                first = int(file.read()) + 1
        say(f"from {first}")
        for epoch in range(first, self.height):
            with open(os.path.join(current.checkpoint.directory, "epoch"), "w") as file:
                file.write(str(epoch))
            current.checkpoint.save(name="epoch", metadata={"epoch": epoch})
            if epoch in (1, 3):
                raise RuntimeError(f"the lights went out after {epoch}")
        self.first = first
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Climbs()
"#;

#[test]
fn a_retry_goes_on_from_its_checkpoint() {
    let house = climbs(2);
    let daemon = house.up();
    let run = daemon.succeeds("Climbs", &json!({}));
    assert_eq!(house.read("journal"), "from 0\nfrom 2\nfrom 4\n");
    assert_eq!(house.metaflow().of_run(&run).data("end")["first"], 4);
}

#[test]
fn a_resume_goes_on_from_the_checkpoint_of_the_attempt_before() {
    let house = climbs(0);
    let daemon = house.up();
    let run = daemon.fails("Climbs", &json!({}));
    let id = id_of(&run);
    daemon
        .cli(&["resume", "--yes", "--wait", id])
        .failed(1, &[]);
    resumed(&daemon, &run, &[]);
    assert_eq!(house.read("journal"), "from 0\nfrom 2\nfrom 4\n");
}

#[test]
fn a_new_run_with_other_parameters_goes_on_from_the_checkpoint() {
    let house = climbs(1);
    let daemon = house.up();
    let failed = daemon.fails("Climbs", &json!({}));
    assert_eq!(house.read("journal"), "from 0\nfrom 2\n");
    let path = format!("/api/v1/runs/{}/resume", id_of(&failed));
    let answer = daemon.api().post(&path, &json!({"params": {"height": 7}}));
    let run = daemon.api().wait_for_run(&run_id(&answer));
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    assert_eq!(house.read("journal"), "from 0\nfrom 2\nfrom 4\n");
}

#[test]
fn a_step_that_is_repeated_after_its_success_begins_anew() {
    let house = climbs(2);
    let daemon = house.up();
    let run = daemon.succeeds("Climbs", &json!({}));
    assert_eq!(house.read("journal"), "from 0\nfrom 2\nfrom 4\n");
    // It fails again at its first hurdle, and once more goes on from there.
    resumed(&daemon, &run, &["--from", "start"]);
    let again = "from 0\nfrom 2\nfrom 4\n".repeat(2);
    assert_eq!(house.read("journal"), again);
}

fn climbs(retries: u32) -> House {
    let text = format!("{HEAD}{CLIMBS}").replace("RETRIES", &retries.to_string());
    Metaflow::house(&[("flow.py", &text)])
}

/// A run of which two tasks of three have succeeded; what it said is forgotten.
fn halves_that_failed() -> (House, Daemon, Value) {
    let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{HALVES}"))]);
    let daemon = house.up();
    let failed = daemon.fails("Halves", &json!({}));
    assert_eq!(said(&house), ["body 0", "body 1", "body 2", "start"]);
    (house, daemon, failed)
}

fn mend(house: &House) {
    std::fs::write(house.path("mended"), "").expect("the house can be written to");
}

/// What steps have said since the last time, in the order of the alphabet.
fn said(house: &House) -> Vec<String> {
    let mut lines: Vec<_> = house.read("journal").lines().map(str::to_owned).collect();
    lines.sort();
    std::fs::write(house.path("journal"), "").expect("the house can be written to");
    lines
}

/// Lets a run go on, by the command line, to success.
#[track_caller]
fn resumed(daemon: &Daemon, run: &Value, more: &[&str]) -> Value {
    let mut arguments = vec!["resume", "--yes", "--wait", id_of(run)];
    arguments.extend(more);
    let resumed = daemon.cli(&arguments);
    assert_eq!(
        resumed.code,
        0,
        "{resumed}\n{}",
        daemon.cli(&["logs", id_of(run)])
    );
    daemon.api().run(id_of(run))
}

fn id_of(run: &Value) -> &str {
    run["id"].as_str().expect("a run has an id")
}
