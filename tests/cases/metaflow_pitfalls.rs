//! What orchestrators of Metaflow are known to get wrong, each as a test. The numbers are those of the list of pitfalls in
//! metaflow-orchestrator-kit.

use dalsegno_tests::{HEAD, House, Metaflow, MetaflowRun, flow_file};
use serde_json::{Value, json};

/// Two steps in a row and a foreach, of which each remembers what it is told.
const TELLS: &str = r#"
@project(name="kit")
class Tells(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.seen = [(current.branch_name, current.retry_count)]
        self.items = [1, 2]
        self.next(self.work, foreach="items")

    @retry(times=1, minutes_between_retries=0)
    @environment(vars={"ONLY_HERE": "yes"})
    @step
    def work(self):
        if self.input == 2 and current.retry_count == 0:
            raise ValueError("once")
        self.only_here = os.environ.get("ONLY_HERE")
        self.seen = self.seen + [(current.branch_name, current.retry_count)]
        self.next(self.join)

    @step
    def join(self, inputs):
        self.seen = [each.seen for each in inputs]
        self.only_here = [each.only_here for each in inputs] + [os.environ.get("ONLY_HERE")]
        self.next(self.end)

    @step
    def end(self):
        self.branch = current.branch_name


if __name__ == "__main__":
    Tells()
"#;

#[test]
fn kit_2_every_step_is_told_the_branch() {
    let (_, run) = tells();
    let data = run.data("end");
    assert_eq!(data["branch"], "user.tester");
    for seen in data["seen"].as_array().expect("a list") {
        assert_eq!(
            (&seen[0][0], &seen[1][0]),
            (&json!("user.tester"), &json!("user.tester"))
        );
    }
}

#[test]
fn kit_19_the_branch_is_handed_on_as_given_and_not_formatted_twice() {
    let text = format!("{HEAD}{TELLS}");
    let house = Metaflow::house(&[("flow.py", &text)]);
    Metaflow::configure(&house, "branch = \"blue\"");
    let daemon = house.up();
    let run = daemon.succeeds("kit.test.blue.Tells", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert_eq!(run.data("end")["branch"], "test.blue");
    assert!(
        run.0["tags"]
            .to_string()
            .contains("\"project_branch:test.blue\""),
        "{run:?}"
    );
}

#[test]
fn kit_4_and_27_the_first_attempt_is_number_0() {
    let (_, run) = tells();
    let data = run.data("end");
    assert_eq!(
        data["seen"][0],
        json!([["user.tester", 0], ["user.tester", 0]])
    );
    assert_eq!(
        data["seen"][1],
        json!([["user.tester", 0], ["user.tester", 1]])
    );
}

#[test]
fn kit_35_the_variables_of_environment_are_set_for_their_step_alone() {
    let (_, run) = tells();
    assert_eq!(run.data("join")["only_here"], json!(["yes", "yes", null]));
}

#[test]
fn kit_37_the_data_of_a_retried_task_is_that_of_its_last_attempt() {
    let (house, run) = tells();
    let id = run.0["id"].as_str().expect("an id");
    let work = run.tasks("work");
    let task = work[1]["id"].as_str().expect("an id");
    let folder = house.metaflow().stored(&format!("Tells/{id}/work/{task}"));
    for file in ["0.data.json", "1.data.json", "1.DONE.lock"] {
        assert!(
            folder.join(file).is_file(),
            "{file} in {}",
            folder.display()
        );
    }
    assert_eq!(work[1]["attempt"], 1);
    assert_eq!(work[1]["data"]["seen"][1], json!(["user.tester", 1]));
}

#[test]
fn kit_10_data_lies_in_one_folder_of_metaflow_and_not_in_one_within_another() {
    let (house, _) = tells();
    let root = house.metaflow().stored("");
    assert!(root.join("Tells").is_dir());
    assert!(!root.join(".metaflow").exists());
    assert!(!house.path(".metaflow").exists());
}

#[test]
fn kit_11_the_start_step_reads_the_parameters_of_its_run() {
    let text = format!("{HEAD}{TELLS}");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    for alpha in [1.5, 2.5] {
        let run = daemon.succeeds("kit.user.tester.Tells", &json!({"alpha": alpha}));
        let run = house.metaflow().of_run(&run);
        assert_eq!(run.data("end")["alpha"], alpha);
        assert_eq!(run.task("start")["parents"], json!([]));
    }
}

/// A config, which is none of the options of `init`.
#[test]
fn kit_3_and_20_every_step_has_the_config_and_init_is_not_asked_for_it() {
    let above = "HELPER = None\n";
    let decorators = "config = Config('config', default_value={'times': 1, 'word': 'hello'})\n\
                      alpha = Parameter('alpha', default=1)\n\
                      @retry(times=config.times, minutes_between_retries=0)";
    let body = "say(f'{self.config.word} {current.retry_count}')\nif current.retry_count == 0:\n    raise ValueError('once')";
    let text = flow_file("Story", above, decorators, body)
        .replace("say(\"end\")", "say(f'{self.config.word} in the end')");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.has_asked_metaflow_about("Story");
    let id = daemon.api().start("Story", &json!({}));
    assert_eq!(
        daemon.api().wait_for_run(&id)["state"],
        "succeeded",
        "{}",
        daemon.cli(&["logs", &id])
    );
    assert_eq!(
        house.read("journal"),
        "hello 0\nhello 1\nhello in the end\n"
    );
}

#[test]
fn kit_28_no_process_stays_behind_a_run() {
    let body = "subprocess.Popen(['sleep', '1000'])\nsubprocess.Popen('sleep 1000 & sleep 1000', shell=True)";
    let text = flow_file("Story", "", "", body);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

#[test]
fn ids_are_never_numbers_so_that_the_client_finds_what_it_is_told() {
    let (_, run) = tells();
    let steps = run.0["steps"].as_object().expect("steps");
    let ids = steps
        .values()
        .flat_map(|it| it.as_array().into_iter().flatten());
    for id in ids.map(|it| &it["id"]).chain([&run.0["id"]]) {
        let id = id.as_str().expect("text");
        assert!(id.parse::<u64>().is_err(), "{id}");
        assert!(!id.contains([',', ':', '!', '/']), "{id}");
    }
}

fn tells() -> (House, MetaflowRun) {
    let text = format!("{HEAD}{TELLS}");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds(
        "kit.user.tester.Tells",
        &Value::Object(serde_json::Map::new()),
    );
    let run = house.metaflow().of_run(&run);
    assert!(run.is_successful(), "{run:?}");
    (house, run)
}
