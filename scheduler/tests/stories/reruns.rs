//! Reruns: a new run begins where a finished one was.

use crate::metaflow::{foreach, metaflow, mf};
use crate::world::{World, flow, step};
use dalsegno_scheduler::metaflow::MetaflowTask;
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Answer, Input, Rejected, RerunRequest, ResumeWith, RunId};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn line(more: Value) -> Value {
    let steps = [
        step("load", &[], json!({"outputs": ["rows"]})),
        step(
            "fit",
            &["load"],
            json!({"env": {"ROWS": "${{ steps.load.outputs.rows }}"}}),
        ),
        step("tell", &["fit"], json!({})),
    ];
    let mut all = json!({"params": [
        {"name": "alpha", "type": "float", "default": 0.5},
        {"name": "day", "type": "string", "default": "${{ interval.end }}"},
    ]});
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    flow("f", &steps, all)
}

fn finished() -> World {
    let mut w = World::new().flow(&line(json!({})));
    w.start("f");
    w.ok_with("1/load", json!({"rows": 7}));
    w.ok("1/fit");
    w.ok("1/tell");
    w.quiet();
    w
}

#[test]
fn a_new_run_goes_on_from_a_step_with_other_parameters() {
    let mut w = finished();
    let old = w.run_row(RunId(1)).clone();
    w.now = w.now + dalsegno_scheduler::Span::from_secs(60);
    w.rerun(RunId(1), Some("fit"), json!({"alpha": "0.9"}), None)
        .expect("taken");
    assert_snapshot!(w.journal(), @r"
    +60s run.running 2
    +60s task.succeeded 2/load
    +60s occurrence.ran f rerun:#11
    +60s task.submitting 2/fit
    +60s > submit 2/fit/1
    ");
    let env = w.submission("2/fit").env;
    assert_eq!((&*env["ALPHA"], &*env["ROWS"]), ("0.9", "7"));
    let row = w.run_row(RunId(2));
    assert_eq!(row.params["day"], old.params["day"], "what was given stays");
    assert_eq!((row.origin, row.interval), (Some(RunId(1)), old.interval));
    w.restart();
    w.ok("2/fit");
    w.ok("2/tell");
    assert_eq!(
        w.tasks(RunId(2)),
        "fit succeeded, load succeeded, tell succeeded"
    );
    assert_eq!(w.run_state(RunId(2)), RunState::Succeeded);
    assert_eq!(
        w.tasks(RunId(1)),
        "fit succeeded, load succeeded, tell succeeded"
    );
}

#[test]
fn a_failed_run_needs_no_step_to_go_on_from() {
    let mut w = World::new().flow(&line(json!({})));
    w.start("f");
    w.ok_with("1/load", json!({"rows": 7}));
    w.fail("1/fit");
    w.rerun(RunId(1), None, json!({}), None).expect("taken");
    w.ok("2/fit");
    w.ok("2/tell");
    assert_eq!(w.run_state(RunId(2)), RunState::Succeeded);
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
}

#[test]
fn what_cannot_be_made_is_refused_with_the_reason() {
    let mut w = finished();
    let mut refused = |from, params| {
        let refused = w.rerun(RunId(1), from, params, None);
        refused.expect_err("refused").to_string()
    };
    let all = [
        refused(None, json!({})),
        refused(Some("fitt"), json!({})),
        refused(Some("fit"), json!({"alpha": "much", "beta": 1})),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    run 1 succeeded, so there is nothing to resume; name a step to repeat it and what follows
    flow `f` has no step `fitt`
    parameter `beta`: does not exist; the flow has alpha, day; parameter `alpha`: a number is expected, and it is "much"
    "#);
    w.start("f");
    let unfinished = w.rerun(RunId(2), None, json!({}), None);
    assert_eq!(unfinished, Err(Rejected::NotFinished(RunId(2))));
    w.decide(Input::Remove { flow: "f".into() }).expect("there");
    let removed = w.rerun(RunId(1), Some("fit"), json!({}), None);
    assert_eq!(removed, Err(Rejected::FlowRemoved("f".into())));
}

#[test]
fn a_key_is_claimed_once() {
    let mut w = finished();
    w.rerun(RunId(1), Some("fit"), json!({}), Some("again"))
        .expect("taken");
    let claim = &w.changes.claims[0];
    assert_eq!((&*claim.key, &*claim.result), ("rerun:f again", "run:2"));
    assert_eq!(w.run_row(RunId(2)).occurrence, "rerun:again");
    let long = "x".repeat(2_000);
    let refused = w.rerun(RunId(1), Some("fit"), json!({}), Some(&long));
    assert!(
        matches!(refused, Err(Rejected::TooLarge(..))),
        "{refused:?}"
    );
}

#[test]
fn a_rerun_is_a_run_like_any_other_for_the_strategy() {
    let mut w = World::new().flow(&line(json!({"run": {"strategy": "first_only"}})));
    w.start("f");
    w.fail("1/load");
    w.start("f");
    let answer = w
        .rerun(RunId(1), None, json!({}), Some("k"))
        .expect("on record");
    assert!(matches!(answer, Answer::NotStarted { .. }), "{answer:?}");
    assert_snapshot!(w.occurrences(), @r"
    f manual:#2 ran run 1
    f manual:#9 ran run 2
    f rerun:k skipped (run 2 is unfinished and the strategy is first_only)
    ");
}

#[test]
fn it_goes_on_with_the_version_that_was_asked_for() {
    let mut w = finished();
    let mut repaired = line(json!({}));
    repaired["steps"][1]["run"] = json!({"shell": "fit --better"});
    repaired["params"] = json!([{"name": "gamma", "type": "int", "default": 1}]);
    w.deploy(&repaired).expect("valid");
    w.rerun(RunId(1), Some("fit"), json!({}), None)
        .expect("taken");
    let command = |w: &World, task: &str| format!("{:?}", w.submission(task).command);
    assert!(command(&w, "2/fit").contains("--better"));
    let params: Vec<&String> = w.run_row(RunId(2)).params.keys().collect();
    assert_eq!(
        params,
        ["gamma"],
        "the flow has no use for the others any more"
    );
    w.cancel(RunId(2));
    w.fail("2/fit");
    let request = RerunRequest {
        snapshot: w.snapshot(RunId(1)),
        from: Some("fit".into()),
        params: Default::default(),
        with: ResumeWith::Same,
        key: None,
        by: "ada".into(),
    };
    w.decide(Input::Rerun(Box::new(request))).expect("taken");
    assert!(!command(&w, "3/fit").contains("--better"));
    assert_eq!(w.run_row(RunId(3)).params["alpha"], 0.5);
}

fn fan() -> Value {
    let steps = [
        mf("start", &[], &["work"], json!({})),
        mf("work", &[], &["more"], json!({"scope": 1})),
        mf("more", &["work"], &["join"], json!({"scope": 1})),
        mf("join", &["start-foreach"], &["end"], json!({})),
        mf("end", &["join"], &[], json!({})),
        mf(
            "bye",
            &[],
            &[],
            json!({"hook": "success", "metaflow": {"hook": "goodbye"}}),
        ),
    ];
    let params = json!([{"name": "alpha", "type": "float", "default": 0.5}]);
    metaflow(
        &steps,
        json!({"scopes": [foreach("start", 0)], "params": params}),
    )
}

fn task(w: &World, task: &str) -> MetaflowTask {
    *w.submission(task).metaflow.expect("a Metaflow task")
}

#[test]
fn metaflows_clones_keep_their_ids_and_new_tasks_never_take_one() {
    let mut w = World::new().flow(&fan());
    w.start("F");
    w.split("1/start", 2, json!({}));
    w.ok("1/work[0]");
    w.fail("1/work[1]");
    w.ok("1/more[0]");
    // Repeated in place, so that its id is not the first.
    w.resume(RunId(1), None).expect("it failed");
    w.ok("1/work[1]");
    w.fail("1/more[1]");
    assert_eq!(w.run_state(RunId(1)), RunState::Failed);
    let first = w.run_row(RunId(1)).clone();

    w.now = w.now + dalsegno_scheduler::Span::from_secs(60);
    w.rerun(RunId(1), None, json!({"alpha": 2}), None)
        .expect("it failed");
    let more = task(&w, "2/more[1]");
    let origin = more.origin.clone().expect("it was made from another");
    assert_eq!(origin.run_id, dalsegno_scheduler::metaflow::run_id(&first));
    assert_ne!(more.run_id, origin.run_id);
    assert_eq!(
        origin.tasks.join(" "),
        "start/t work/t-0 work/t-1-a2 more/t-0"
    );
    assert_eq!(origin.params["alpha"], 2.0);
    assert_eq!((&*more.task_id, more.retry_count), ("t-1", 0));
    assert_eq!(more.inputs, ["work/t-1-a2"]);
    assert_eq!(more.split_index, None);
    assert!(
        more.params.is_some(),
        "it may be the first, and then does `init`"
    );
    w.restart();
    assert_eq!(task(&w, "2/more[1]"), more);
    w.ok("2/more[1]");
    let join = task(&w, "2/join");
    assert_eq!(join.inputs.join(" "), "more/t-0 more/t-1");
    assert_eq!(join.params, None, "it reads from one that ran here");
    w.ok("2/join");
    // In place, from a step that was cloned: its new id is not that of the clone.
    w.fail("2/end");
    w.resume(RunId(2), Some("work")).expect("it failed");
    let again = task(&w, "2/work[1]");
    assert_eq!(again.task_id, "t-1-a3");
    assert_eq!(again.earlier_task_id.as_deref(), Some("t-1-a2"));
    assert_eq!(again.origin.expect("still").tasks.join(" "), "start/t");
    for task in ["work[0]", "work[1]", "more[0]", "more[1]", "join", "end"] {
        w.ok(&format!("2/{task}"));
    }
    assert_eq!(task(&w, "2/bye").name.as_str(), "goodbye");
    w.ok("2/bye");
    assert_eq!(w.run_state(RunId(2)), RunState::Succeeded);
}

#[test]
fn a_rerun_of_a_rerun_finds_what_it_needs_where_it_lies() {
    let mut w = World::new().flow(&fan());
    w.start("F");
    w.split("1/start", 1, json!({}));
    w.ok("1/work[0]");
    w.fail("1/more[0]");
    w.rerun(RunId(1), None, json!({}), None).expect("it failed");
    // Nothing was ever done in the second run, so nobody can tell that its clones were made.
    w.fail("2/more[0]");
    w.rerun(RunId(2), None, json!({}), None).expect("it failed");
    assert_eq!(w.run_row(RunId(3)).origin, Some(RunId(1)));
    w.ok("3/more[0]");
    w.fail("3/join");
    w.rerun(RunId(3), None, json!({}), None).expect("it failed");
    let join = task(&w, "4/join");
    assert_eq!(w.run_row(RunId(4)).origin, Some(RunId(3)));
    assert_eq!(join.inputs, ["more/t-0"]);
    assert_eq!(
        join.origin.expect("set").tasks.join(" "),
        "start/t work/t-0 more/t-0"
    );
}
