//! Every form of a Metaflow graph, run by the daemon and by Metaflow itself: the client must tell the same of both.

use dalsegno_tests::{Daemon, House, Metaflow, MetaflowRun};
use serde_json::{Value, json};

#[test]
fn linear() {
    let flow = Flow::new("LinearFlow", include_str!("../flows/linear_flow.py"));
    let house = flow.house();
    let run = flow.is_the_same_both_ways(&house, COLD, &[]);
    assert_eq!(run.data("end")["seen"][0], 0.5);
    assert_eq!(run.data("end")["where"], json!(["LinearFlow", "middle", 0]));
}

#[test]
fn linear_with_parameters_that_are_not_the_defaults() {
    let flow = Flow::new("LinearFlow", include_str!("../flows/linear_flow.py"));
    let house = flow.house();
    let given = [
        ("alpha", json!(1.25), "1.25"),
        ("count", json!(-7), "-7"),
        ("loud", json!(true), "true"),
        ("tag-name", json!("--loud $(id) \n ü"), "--loud $(id) \n ü"),
        ("names", json!({"a": [1, null]}), r#"{"a": [1, null]}"#),
    ];
    let run = flow.is_the_same_both_ways(&house, WARM, &given);
    assert_eq!(
        run.data("end")["seen"],
        json!([1.25, -7, true, "--loud $(id) \n ü", {"a": [1, null]}])
    );
}

#[test]
fn split_and_split_in_a_branch() {
    let flow = Flow::new("SplitFlow", include_str!("../flows/split_flow.py"));
    let run = flow.is_the_same_both_ways(&flow.house(), WARM, &[]);
    assert_eq!(run.data("end")["all"], json!([1, 22, ["left", "right"]]));
}

#[test]
fn foreach_in_foreach_in_foreach() {
    let flow = Flow::new("ForeachFlow", include_str!("../flows/foreach_flow.py"));
    let run = flow.is_the_same_both_ways(&flow.house(), WARM, &[]);
    assert_eq!(
        run.data("end")["texts"],
        json!([[["a0", "a0a0"]], [["b0", "b0b0"], ["c1", "c1c1"]]])
    );
    assert_eq!(run.tasks("copy").len(), 6);
}

#[test]
fn a_switch_takes_the_way_that_the_data_says() {
    let flow = Flow::new("SwitchFlow", include_str!("../flows/switch_flow.py"));
    let house = flow.house();
    let run = flow.is_the_same_both_ways(&house, WARM, &[]);
    assert_eq!(run.stdout("end"), "mountain > summit\n");
    assert!(run.tasks("sea").is_empty(), "the other ways are not run");
    let daemon = house.up();
    for way in ["sea", "town"] {
        let run = succeeds(&daemon, &house, "SwitchFlow", &json!({"way": way}));
        assert_eq!(run.stdout("end"), format!("{way}\n"));
    }
}

#[test]
fn a_step_comes_back_to_itself_as_often_as_it_says() {
    let text = include_str!("../flows/recursion_flow.py");
    let flow = Flow::new("RecursionFlow", text);
    let run = flow.is_the_same_both_ways(&flow.house(), WARM, &[]);
    assert_eq!(run.data("end")["all"], json!([1, 4, 7]));
    assert_eq!(run.tasks("spin").len(), 12);
}

#[test]
fn a_gang_of_parallel_tasks() {
    let flow = Flow::new("ParallelFlow", include_str!("../flows/parallel_flow.py"));
    let house = flow.house();
    let run = flow.run_by_daemon(&house, COLD, &json!({}));
    assert_eq!(run.data("end")["places"], json!([[0, 3], [1, 3], [2, 3]]));
    assert_eq!(run.tasks("gang").len(), 3);
    let warm = flow.run_by_daemon(&house, WARM, &json!({}));
    assert_eq!(warm.data("end"), run.data("end"));
    house.is_empty_soon();
}

#[test]
fn ends_by_other_names() {
    let flow = Flow::new("EndsFlow", include_str!("../flows/ends_flow.py"));
    let run = flow.is_the_same_both_ways(&flow.house(), WARM, &[]);
    assert_eq!(run.data("sleep")["cups"], 2);
}

#[test]
fn a_flow_of_one_step() {
    let flow = Flow::new("OneStepFlow", include_str!("../flows/one_step_flow.py"));
    let run = flow.is_the_same_both_ways(&flow.house(), WARM, &[]);
    assert_eq!(run.data("everything")["said"], "only");
}

#[test]
fn switch_loop_split_and_nested_foreach_one_after_another() {
    let flow = Flow::new("MixedFlow", include_str!("../flows/mixed_flow.py"));
    let house = flow.house();
    flow.is_the_same_both_ways(&house, WARM, &[]);
    let slow = flow.run_by_daemon(&house, WARM, &json!({"mode": "slow"}));
    assert_eq!(
        slow.stdout("end"),
        "route slow counter 3 vs [1, 2] total 96\n"
    );
}

#[test]
fn everything_inside_everything() {
    let text = include_str!("../flows/everything_flow.py");
    let flow = Flow::new("EverythingFlow", text);
    let house = flow.house();
    let warm = flow.is_the_same_both_ways(&house, WARM, &[]);
    let cold = flow.run_by_daemon(&house, COLD, &json!({}));
    assert_eq!(cold.essence(), warm.essence(), "warm and cold are the same");
    assert!(warm.tasks("narrow").is_empty());
}

/// One interpreter for each task.
const COLD: &[&str] = &["--cold"];
/// Tasks are forked from an interpreter that has imported Metaflow: the default.
const WARM: &[&str] = &[];

struct Flow {
    class: &'static str,
    text: &'static str,
}

impl Flow {
    fn new(class: &'static str, text: &'static str) -> Self {
        Self { class, text }
    }

    fn house(&self) -> House {
        Metaflow::house(&[("flow.py", self.text)])
    }

    fn run_by_daemon(&self, house: &House, how: &[&str], params: &Value) -> MetaflowRun {
        let daemon = house.up_with(how);
        let run = succeeds(&daemon, house, self.class, params);
        assert_eq!(daemon.stop(), 0);
        run
    }

    /// Runs it by the daemon and by Metaflow, compares the two, and gives the daemon's. Of each parameter there is its
    /// name, its value, and how Metaflow's command line wants it.
    fn is_the_same_both_ways(
        &self,
        house: &House,
        how: &[&str],
        params: &[(&str, Value, &str)],
    ) -> MetaflowRun {
        let values = params
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), value.clone()));
        let ours = self.run_by_daemon(house, how, &Value::Object(values.collect()));

        let metaflow = house.metaflow();
        let options: Vec<_> = params
            .iter()
            .flat_map(|(name, _, text)| [format!("--{name}"), (*text).to_owned()])
            .collect();
        let id_file = house.path("run-id").to_string_lossy().into_owned();
        let mut arguments = vec!["flow.py", "--no-pylint", "run", "--run-id-file", &id_file];
        arguments.extend(options.iter().map(String::as_str));
        metaflow.python(&arguments).succeeded();
        let theirs = metaflow.run(&format!("{}/{}", self.class, house.read("run-id").trim()));

        assert!(ours.is_successful(), "{ours:?}");
        assert_eq!(
            ours.essence(),
            theirs.essence(),
            "ours is left, Metaflow's right"
        );
        ours
    }
}

/// Runs a flow to success; gives what Metaflow's client says of it.
#[track_caller]
fn succeeds(daemon: &Daemon, house: &House, flow: &str, params: &Value) -> MetaflowRun {
    let run = daemon.succeeds(flow, params);
    let run = house.metaflow().of_run(&run);
    assert!(run.is_successful(), "{run:?}");
    run
}
