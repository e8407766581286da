//! Flow files of Metaflow that are wrong, and flows that go wrong: each ends in a clear message, and nothing stays behind.

use dalsegno_tests::{Daemon, HEAD, House, Metaflow, PATIENCE, flow_file};
use serde_json::{Value, json};

#[test]
fn a_file_that_is_not_python_is_refused_with_its_line() {
    let good = flow_file("Good", "", "", "pass");
    let house = Metaflow::house(&[
        (
            "bad.py",
            "from metaflow import FlowSpec, step\n\nclass Bad(FlowSpec:\n    pass\n",
        ),
        ("good.py", &good),
    ]);
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["bad.py", "3"]);
    let daemon = house.up();
    daemon.succeeds("Good", &json!({}));
}

#[test]
fn graphs_that_metaflow_refuses_are_refused_with_the_step() {
    let nowhere = flow_file("Story", "", "", "pass")
        .replace("self.next(self.end)", "self.next(self.nowhere)");
    let no_end = "from metaflow import FlowSpec, step\n\nclass Story(FlowSpec):\n    @step\n    def start(self):\n        self.next(self.start)\n";
    for (text, words) in [
        (nowhere.as_str(), ["start", "nowhere"]),
        (no_end, ["Story", "end"]),
    ] {
        let house = Metaflow::house(&[("flow.py", text)]);
        let mut all = vec!["flow.py"];
        all.extend(words);
        house.dalsegno(&["check", "flows"]).failed(1, &all);
    }
}

#[test]
fn python_files_without_a_flow_are_nobodys_business() {
    let good = flow_file("Good", "import helper\n", "", "say(helper.WORD)");
    let house = Metaflow::house(&[
        ("helper.py", "WORD = 'helped'\nprint('imported')\n"),
        ("good.py", &good),
    ]);
    house.dalsegno(&["check", "flows"]).succeeded();
    let daemon = house.up();
    daemon.succeeds("Good", &json!({}));
    assert_eq!(house.read("journal"), "helped\nend\n");
}

#[test]
fn a_package_that_is_missing_is_named() {
    let text = flow_file("Story", "import no_such_package\n", "", "pass");
    let daemon_says = fails(&text, &json!({}));
    assert!(
        daemon_says.contains("No module named 'no_such_package'"),
        "{daemon_says}"
    );
}

#[test]
fn a_file_that_exits_when_it_is_loaded_fails_with_its_words() {
    let text = flow_file("Story", "sys.exit('not on a Sunday')\n", "", "pass");
    let daemon_says = fails(&text, &json!({}));
    assert!(daemon_says.contains("not on a Sunday"), "{daemon_says}");
    let text = flow_file("Story", "sys.exit(0)\n", "", "pass");
    fails(&text, &json!({}));
}

#[test]
fn a_file_that_prints_what_looks_like_an_outcome_is_not_believed() {
    let above = "print('{\"ok\": true, \"next\": [\"nowhere\"], \"foreach\": \"xs\", \"num_splits\": 5}')\n";
    let text = flow_file("Story", above, "", "print('{\"ok\": false}')\nsay('ran')");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("Story", &json!({}));
    assert_eq!(house.read("journal"), "ran\nend\n");
    assert!(
        house
            .metaflow()
            .of_run(&run)
            .stdout("start")
            .contains("{\"ok\": false}")
    );
}

#[test]
fn of_two_flows_in_a_file_the_one_that_is_started_counts() {
    let text = flow_file(
        "Second",
        "class First(FlowSpec):\n    @step\n    def start(self):\n        self.next(self.end)\n\n    @step\n    def end(self):\n        pass\n\n",
        "",
        "say('second')",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.succeeds("Second", &json!({}));
    assert_eq!(house.read("journal"), "second\nend\n");
    let flows = daemon.api().list("/api/v1/flows");
    assert_eq!(flows.len(), 1, "{flows:?}");
}

#[test]
fn two_files_with_the_same_flow_are_told_of() {
    let text = flow_file("Story", "", "", "pass");
    let house = Metaflow::house(&[("one.py", &text), ("two.py", &text)]);
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["Story", "one.py", "two.py"]);
}

#[test]
fn exit_code_0_without_a_word_to_metaflow_is_no_success() {
    for body in ["sys.exit(0)", "os._exit(0)", "return"] {
        let text = flow_file(
            "Story",
            "",
            "",
            &format!("say('ran')\nif self.name:\n    {body}"),
        );
        let said = fails(&text, &json!({}));
        assert!(said.contains("start"), "{body}: {said}");
    }
}

#[test]
fn an_exit_code_of_202_is_not_retried() {
    let text = flow_file(
        "Story",
        "",
        "@retry(times=3, minutes_between_retries=0)",
        "say('tried')\nos._exit(202)",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.fails("Story", &json!({}));
    assert_eq!(house.read("journal"), "tried\n");
}

#[test]
fn parameters_of_the_wrong_type_are_refused_before_anything_runs() {
    let declared =
        "count = Parameter('count', type=int, default=1)\nmust = Parameter('must', required=True)";
    let text = flow_file("Story", "", declared, "say('ran')");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    for (params, word) in [
        (json!({"count": "many", "must": "x"}), "count"),
        (json!({}), "must"),
        (json!({"must": "x", "colour": "blue"}), "colour"),
    ] {
        let problem = daemon.api().try_start("Story", &params, None);
        assert!((400..500).contains(&problem.status), "{problem:?}");
        assert!(problem.text.contains(word), "{problem:?}");
    }
    daemon
        .cli(&["run", "Story", "-p", "must=x", "-p", "count=1.5"])
        .failed(4, &["count"]);
    assert_eq!(house.read("journal"), "");
    assert!(daemon.api().list("/api/v1/runs").is_empty());
}

#[test]
fn an_artifact_that_cannot_be_kept_fails_the_step_with_its_name() {
    let text = flow_file(
        "Story",
        "",
        "",
        "self.lock = __import__('threading').Lock()",
    );
    let said = fails(&text, &json!({}));
    assert!(said.contains("lock"), "{said}");
}

#[test]
fn a_foreach_over_nothing_fails_as_metaflow_says() {
    let said = fails(&foreach("[]"), &json!({}));
    assert!(
        said.contains("zero splits") || said.contains("no items"),
        "{said}"
    );
}

#[test]
fn a_foreach_over_no_list_fails_with_the_words_of_metaflow() {
    let said = fails(&foreach("42"), &json!({}));
    assert!(said.contains("not iterable"), "{said}");
}

#[test]
fn a_foreach_of_fifty_thousand_can_be_cancelled_and_leaves_nothing() {
    let house = Metaflow::house(&[("flow.py", &foreach("range(50_000)"))]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    let id = daemon.api().start("Story", &json!({}));
    for _ in 0..3 {
        witness.wait_for("work");
    }
    daemon.cli(&["cancel", &id]).succeeded();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "cancelled");
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

#[test]
fn a_join_of_very_many_reads_all_of_them() {
    // With a name of this length they are more than a command line may hold.
    const MANY: usize = 650;
    let name = "work_and_".repeat(16) + "work";
    let text = foreach(&format!("range({MANY})")).replace("def work(", &format!("def {name}("));
    let text = text.replace("self.work", &format!("self.{name}"));
    let house = Metaflow::house(&[("flow.py", &text)]);
    let _witness = house.witness("witness");
    let daemon = house.up();
    let run = daemon.api().start("Story", &json!({}));
    let ended = daemon.api().wait_for_run_within(PATIENCE * 4, &run);
    assert_eq!(
        ended["state"],
        "succeeded",
        "{}",
        daemon.cli(&["why", &run])
    );
    let sum: usize = (0..MANY).sum();
    assert_eq!(house.read("journal"), format!("{MANY} {sum}\n"));
}

#[test]
fn a_datastore_that_cannot_be_written_is_named() {
    let text = flow_file("Story", "", "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    // Where the datastore ought to be lies a file: not even root can write below it.
    std::fs::write(house.path("occupied"), "").expect("the house can be written to");
    Metaflow::configure(
        &house,
        &format!("datastore_root = \"{}\"", house.path("occupied").display()),
    );
    let daemon = house.up();
    let run = daemon.fails("Story", &json!({}));
    let said = everything_about(&daemon, &run);
    assert!(said.contains("occupied"), "{said}");
}

#[test]
fn an_interpreter_without_metaflow_is_named() {
    let text = flow_file("Story", "", "", "pass");
    let house = House::with(&[("flow.py", &text)]);
    let python = house.path("python");
    std::fs::write(&python, "#!/bin/sh\nexec python3 -I \"$@\"\n")
        .expect("the house can be written to");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).expect("ours");
    Metaflow::configure(
        &house,
        &format!("[metaflow]\npython = \"{}\"", python.display()),
    );
    let daemon = house.up();
    let run = daemon.fails("Story", &json!({}));
    let said = everything_about(&daemon, &run);
    assert!(said.contains("metaflow"), "{said}");
}

/// A foreach over these items whose steps speak to the witness, if there is one, and whose join writes to the journal.
fn foreach(items: &str) -> String {
    format!(
        r#"{HEAD}

class Story(FlowSpec):
    @step
    def start(self):
        self.items = {items}
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.x = self.input
        with open("{{house}}/witness", "w") as witness:
            witness.write("work\n")
        self.next(self.join)

    @step
    def join(self, inputs):
        found = [each.x for each in inputs]
        assert found == sorted(found), "in the order of the items"
        say(f"{{len(found)}} {{sum(found)}}")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Story()
"#
    )
}

/// Runs it to failure; gives all that a person can find out about it.
#[track_caller]
fn fails(text: &str, params: &Value) -> String {
    let house = Metaflow::house(&[("flow.py", text)]);
    let daemon = house.up();
    let run = daemon.fails("Story", params);
    let said = everything_about(&daemon, &run);
    assert!(
        !house.read("journal").contains("end"),
        "the end is not reached: {said}"
    );
    said
}

fn everything_about(daemon: &Daemon, run: &Value) -> String {
    let logs = daemon.cli(&["logs", run["id"].as_str().expect("an id")]);
    format!("{}{}", daemon.why(run), logs.all())
}
