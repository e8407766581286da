//! Metaflow flows: what their tasks are given.

use crate::world::{World, flow, step};
use dalsegno_scheduler::metaflow::MetaflowTask;
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{ITEMS_MAX, Outcome, RunId};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// A step of a Metaflow flow; `more` adds or replaces fields of the step.
pub(crate) fn mf(name: &str, after: &[&str], next: &[&str], more: Value) -> Value {
    let mut step = step(name, after, json!({"run": {"metaflow": {"next": next}}}));
    if after.len() > 1 {
        step["join"] = "any_live".into();
    }
    let Value::Object(more) = more else {
        panic!("an object");
    };
    for (name, value) in more {
        match (name.as_str(), value) {
            ("metaflow", Value::Object(value)) => step["run"]["metaflow"]
                .as_object_mut()
                .expect("an object")
                .extend(value),
            (_, value) => step[&name] = value,
        }
    }
    step
}

pub(crate) fn metaflow(steps: &[Value], more: Value) -> Value {
    let mut spec = flow("F", steps, more);
    spec["metaflow"] = json!({"class": "F", "start": "start", "end": "end"});
    spec
}

/// The foreach that a step opens.
pub(crate) fn foreach(split: &str, parent: u16) -> Value {
    json!({"name": format!("{split}-foreach"), "parent": parent, "after": [split], "items": "reported"})
}

fn task(w: &World, task: &str) -> MetaflowTask {
    *w.submission(task).metaflow.expect("a Metaflow task")
}

fn inputs(w: &World, of: &str) -> String {
    task(w, of).inputs.join(" ")
}

#[test]
fn a_line_of_steps_is_run_one_by_one() {
    let steps = [
        mf("start", &[], &["end"], json!({})),
        mf(
            "end",
            &["start"],
            &[],
            json!({"env": {"MODE": "${{ run.flow }}"}}),
        ),
    ];
    let params = json!({"env": {"X": "1"}, "params": [
        {"name": "alpha", "type": "float", "default": 0.5},
        {"name": "path", "type": "string", "optional": true},
        {"name": "tag", "type": "string", "optional": true},
    ]});
    let mut w = World::new().flow(&metaflow(&steps, params));
    w.try_start("F", json!({"tag": "a", "path": null}))
        .expect("valid");
    let first = task(&w, "1/start");
    assert_eq!(first.run_id, "dalsegno-1-hoe1xgwlc0");
    assert_eq!((&*first.task_id, first.retry_count), ("t", 0));
    assert_eq!(first.inputs, ["_parameters/params"]);
    assert_eq!(
        first.params.map(Value::Object),
        Some(json!({"alpha": 0.5, "tag": "a"}))
    );
    w.ok("1/start");
    let last = task(&w, "1/end");
    assert_eq!(
        (last.inputs, last.params),
        (vec!["start/t".to_owned()], None)
    );
    assert_eq!((last.split_index, last.origin), (None, None));
    let env: Vec<String> = w.submission("1/end").env.into_keys().collect();
    let own = |it: &&String| !it.starts_with("DALSEGNO_") && *it != "TRACEPARENT";
    assert_eq!(env.iter().filter(own).collect::<Vec<_>>(), ["MODE", "X"]);
}

#[test]
fn text_for_a_json_parameter_is_its_json_or_a_value_that_is_text() {
    let steps = [
        mf("start", &[], &["end"], json!({})),
        mf("end", &["start"], &[], json!({})),
    ];
    let names = ["text", "json", "quoted", "object", "several", "plain"];
    let params = names.map(|it| match it {
        "plain" => json!({"name": it, "type": "string"}),
        _ => json!({"name": it, "type": "json"}),
    });
    let mut spec = metaflow(&steps, json!({"params": params}));
    spec["metaflow"]["multiple"] = json!(["several"]);
    let mut w = World::new().flow(&spec);
    let given = json!({
        "text": "it's \"text\"", "json": "{\"a\": 1}", "quoted": "\"b\"", "object": {"c": 2},
        "several": "d", "plain": "e",
    });
    let mut said = given.clone();
    said["text"] = "\"it's \\\"text\\\"\"".into();
    w.try_start("F", given).expect("valid");
    let params = task(&w, "1/start").params.expect("parameters");
    assert_eq!(Value::from(params), said);
}

#[test]
fn a_join_reads_from_its_branches_in_the_order_of_their_split() {
    // `zero` is the first branch, and longer than the other.
    let steps = [
        mf("start", &[], &["zero", "apple"], json!({})),
        mf("apple", &["start"], &["join"], json!({})),
        mf("join", &["apple", "zero_more"], &["end"], json!({})),
        mf("zero", &["start"], &["zero_more"], json!({})),
        mf("zero_more", &["zero"], &["join"], json!({})),
        mf("end", &["join"], &[], json!({})),
    ];
    let mut w = World::new().flow(&metaflow(&steps, json!({})));
    w.start("F");
    for task in ["start", "apple", "zero", "zero_more"] {
        w.ok(&format!("1/{task}"));
    }
    assert_eq!(inputs(&w, "1/join"), "zero_more/t apple/t");
}

fn nested() -> Value {
    let steps = [
        mf("start", &[], &["pick"], json!({})),
        mf(
            "pick",
            &[],
            &["even", "odd"],
            json!({"scope": 1, "route": "switch"}),
        ),
        mf("even", &["pick"], &["fan"], json!({"scope": 1})),
        mf("odd", &["pick"], &["fan"], json!({"scope": 1})),
        mf("fan", &["even", "odd"], &["leaf"], json!({"scope": 1})),
        mf("leaf", &[], &["inner"], json!({"scope": 2})),
        mf("inner", &["fan-foreach"], &["outer"], json!({"scope": 1})),
        mf("outer", &["start-foreach"], &["end"], json!({})),
        mf("end", &["outer"], &[], json!({})),
    ];
    let scopes = json!({"scopes": [foreach("start", 0), foreach("fan", 1)]});
    metaflow(&steps, scopes)
}

#[test]
fn foreaches_nest_and_joins_read_from_all_items_in_order() {
    let mut w = World::new().flow(&nested());
    w.start("F");
    w.split("1/start", 2, json!({"labels": ["north", "south"]}));
    assert_eq!(task(&w, "1/pick[1]").split_index, Some(1));
    assert_eq!(inputs(&w, "1/pick[1]"), "start/t");
    let items: Vec<Value> = w
        .core
        .scopes(RunId(1))
        .flat_map(|it| it.items.to_vec())
        .collect();
    assert_eq!(items, ["north", "south"]);
    w.chose("1/pick[1]", &["odd"]);
    w.chose("1/pick[0]", &["even"]);
    assert_eq!(inputs(&w, "1/odd[1]"), "pick/t-1");
    assert_eq!(task(&w, "1/odd[1]").split_index, None, "no direct child");
    w.ok("1/odd[1]");
    w.ok("1/even[0]");
    assert_eq!(inputs(&w, "1/fan[1]"), "odd/t-1", "the branch that ran");
    // More labels than items: they do not say which is whose.
    w.split("1/fan[1]", 1, json!({"labels": ["a", "b"]}));
    w.split("1/fan[0]", 2, json!({}));
    assert_eq!(inputs(&w, "1/leaf[0.1]"), "fan/t-0");
    assert_eq!(task(&w, "1/leaf[0.1]").split_index, Some(1));
    assert_eq!(task(&w, "1/leaf[0.1]").task_id, "t-0-1");
    for leaf in ["leaf[0.1]", "leaf[1.0]", "leaf[0.0]"] {
        w.ok(&format!("1/{leaf}"));
    }
    assert_eq!(inputs(&w, "1/inner[0]"), "leaf/t-0-0 leaf/t-0-1");
    w.ok("1/inner[1]");
    w.restart();
    w.ok("1/inner[0]");
    assert_eq!(inputs(&w, "1/outer"), "inner/t-0 inner/t-1");
}

#[test]
fn each_iteration_reads_from_the_one_before_and_what_follows_from_the_last() {
    let steps = [
        mf("start", &[], &["again"], json!({})),
        mf(
            "again",
            &["start", "again"],
            &["again", "end"],
            json!({"route": "switch"}),
        ),
        mf("end", &["again"], &[], json!({})),
    ];
    let mut w = World::new().flow(&metaflow(&steps, json!({})));
    w.start("F");
    w.ok("1/start");
    assert_eq!(inputs(&w, "1/again"), "start/t");
    w.chose("1/again", &["again"]);
    assert_eq!(inputs(&w, "1/again@1"), "again/t");
    assert_eq!(task(&w, "1/again@1").task_id, "t-i1");
    w.chose("1/again@1", &["again"]);
    w.chose("1/again@2", &["end"]);
    assert_eq!(inputs(&w, "1/end"), "again/t-i2");
}

#[test]
fn a_gang_is_one_task_for_us_and_many_for_its_join() {
    let steps = [
        mf("start", &[], &["train"], json!({})),
        mf(
            "train",
            &[],
            &["join"],
            json!({"scope": 1, "metaflow": {"parallel": true}}),
        ),
        mf("join", &["start-foreach"], &["end"], json!({})),
        mf("end", &["join"], &[], json!({})),
    ];
    let mut w = World::new().flow(&metaflow(&steps, json!({"scopes": [foreach("start", 0)]})));
    w.start("F");
    w.split("1/start", 1, json!({"num_parallel": 3}));
    let control = task(&w, "1/train[0]");
    assert_eq!(
        (control.num_parallel, control.split_index),
        (Some(3), Some(0))
    );
    let members = json!(["R/train/t-0", "R/train/t-0_node_1", "R/train/t-0_node_2"]);
    w.ok_with("1/train[0]", json!({"mapper_tasks": members}));
    assert_eq!(
        inputs(&w, "1/join"),
        "train/t-0 train/t-0_node_1 train/t-0_node_2"
    );
}

#[test]
fn retries_count_for_metaflow_and_a_resume_gives_a_new_id() {
    let retry = json!({"retry": {"times": 5, "backoff": {
        "initial": 1, "max": 1, "multiplier_percent": 100, "jitter_percent": 0,
    }}, "metaflow": {"user_retries": 2}});
    let steps = [
        mf("start", &[], &["end"], json!({})),
        mf("end", &["start"], &[], retry),
    ];
    let mut w = World::new().flow(&metaflow(&steps, json!({})));
    w.start("F");
    w.ok("1/start");
    let told = |w: &World| {
        let it = task(w, "1/end");
        format!(
            "{} {} of {}",
            it.task_id, it.retry_count, it.max_user_code_retries
        )
    };
    assert_eq!(told(&w), "t 0 of 2");
    w.ended("1/end", Outcome::Lost("its host went away".into()));
    w.until_due();
    assert_eq!(told(&w), "t 1 of 3");
    let mut all = Vec::new();
    for _ in 0..6 {
        w.fail("1/end");
        if w.run_state(RunId(1)) == RunState::Running {
            w.until_due();
            all.push(told(&w));
        }
    }
    // Three tries of user code, then @catch alone; the seventh attempt needs a new id.
    assert_eq!(
        all,
        [
            "t 2 of 3",
            "t 3 of 3",
            "t 4 of 3",
            "t 5 of 3",
            "t-a7 1 of 0"
        ]
    );
    w.resume(RunId(1), None).expect("it failed");
    assert_eq!(told(&w), "t-a8 0 of 2");
    assert_eq!(task(&w, "1/end").earlier_task_id.as_deref(), Some("t-a7"));
    assert_eq!(
        inputs(&w, "1/end"),
        "start/t",
        "what was finished keeps its id"
    );
}

#[test]
fn a_number_of_items_beyond_all_measure_is_refused_with_the_reason() {
    let mut w = World::new().flow(&nested());
    w.start("F");
    w.split("1/start", ITEMS_MAX as u32 + 1, json!({}));
    assert_snapshot!(w.journal_of(&["scope.failed", "run.failed"]), @"
    +0s scope.failed 1/start-foreach (outputs are not usable: start reported 1000001 items, and 1000000 is the most that a foreach may have)
    +0s run.failed 1 (start-foreach failed)
    ");
}
