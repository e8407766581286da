//! Foreach: scopes, joins in index order, nesting.

use crate::world::{World, flow, step};
use dalsegno_scheduler::row::RunState;
use dalsegno_scheduler::{Outcome, RunId, Success};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// A foreach block in the root scope.
fn block(name: &str, after: &[&str], items: Value) -> Value {
    json!({"name": name, "parent": 0, "after": after, "items": {"template": items}})
}

fn inside(scope: u16, mut step: Value) -> Value {
    step["scope"] = scope.into();
    step
}

fn fan(items: Value) -> Value {
    let steps = [
        step("list", &[], json!({})),
        inside(
            1,
            step(
                "work",
                &[],
                json!({"env": {"REGION": "${{ item }}"}, "outputs": ["n"]}),
            ),
        ),
        step(
            "join",
            &["work"],
            json!({"env": {"ALL": "${{ steps.work.outputs.n }}"}}),
        ),
    ];
    let scopes = json!({"scopes": [block("work", &["list"], items)]});
    flow("fan", &steps, scopes)
}

#[test]
fn a_foreach_opens_one_task_an_item_and_the_join_sees_outputs_in_index_order() {
    let mut w = World::new().flow(&fan(json!(["north", "south", "west"])));
    w.start("fan");
    w.quiet();
    w.ok("1/list");
    w.ok_with("1/work[2]", json!({"n": 30}));
    w.ok_with("1/work[0]", json!({"n": 10}));
    w.ok_with("1/work[1]", json!({"n": 20}));
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/list
    +0s scope.open 1/work
    +0s task.submitting 1/work[0]
    +0s task.submitting 1/work[1]
    +0s task.submitting 1/work[2]
    +0s > forget 1/list/1
    +0s > submit 1/work[0]/1
    +0s > submit 1/work[1]/1
    +0s > submit 1/work[2]/1
    +0s task.succeeded 1/work[2]
    +0s > forget 1/work[2]/1
    +0s task.succeeded 1/work[0]
    +0s > forget 1/work[0]/1
    +0s task.succeeded 1/work[1]
    +0s scope.closed 1/work
    +0s task.submitting 1/join
    +0s > forget 1/work[1]/1
    +0s > submit 1/join/1
    ");
    let env = w.submission("1/join").env;
    assert_eq!(env["ALL"], "[10,20,30]");
}

#[test]
fn a_task_of_a_foreach_knows_its_item() {
    let mut w = World::new().flow(&fan(json!(["north", {"name": "south"}])));
    w.start("fan");
    w.ok("1/list");
    let env = |w: &World, task| w.submission(task).env;
    let (first, second) = (env(&w, "1/work[0]"), env(&w, "1/work[1]"));
    assert_eq!(
        (&*first["ITEM"], &*first["ITEM_INDEX"], &*first["REGION"]),
        ("north", "0", "north")
    );
    assert_eq!(second["ITEM"], r#"{"name":"south"}"#);
}

#[test]
fn a_foreach_over_nothing_goes_straight_to_its_join() {
    let mut w = World::new().flow(&fan(json!([])));
    w.start("fan");
    w.quiet();
    w.ok("1/list");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/list
    +0s scope.closed 1/work
    +0s task.submitting 1/join
    +0s > forget 1/list/1
    +0s > submit 1/join/1
    ");
    assert_eq!(w.submission("1/join").env["ALL"], "[]");
}

#[test]
fn the_items_come_from_an_output() {
    let mut w = World::new().flow(&fan(json!("${{ steps.list.outputs.regions }}")));
    w.start("fan");
    w.quiet();
    w.ok_with("1/list", json!({"regions": ["a", "b"]}));
    assert_snapshot!(w.journal_of(&["scope", ">"]), @r"
    +0s scope.open 1/work
    +0s > forget 1/list/1
    +0s > submit 1/work[0]/1
    +0s > submit 1/work[1]/1
    ");
}

#[test]
fn items_that_are_no_list_fail_the_foreach_and_the_run() {
    let mut w = World::new().flow(&fan(json!("${{ steps.list.outputs.regions }}")));
    w.start("fan");
    w.quiet();
    w.ok_with("1/list", json!({"regions": "north"}));
    assert_snapshot!(w.journal(), @r#"
    +0s task.succeeded 1/list
    +0s scope.failed 1/work (expression failed: foreach: a list is expected, and it is "north")
    +0s task.skipped 1/join (work, which it needs, failed)
    +0s run.failed 1 (work failed)
    +0s > forget 1/list/1
    "#);
}

#[test]
fn a_failed_item_skips_the_join_while_the_others_go_on() {
    let mut w = World::new().flow(&fan(json!([1, 2])));
    w.start("fan");
    w.ok("1/list");
    w.quiet();
    w.fail("1/work[0]");
    w.ok("1/work[1]");
    assert_snapshot!(w.journal(), @r"
    +0s task.failed 1/work[0] (exit code 1)
    +0s > forget 1/work[0]/1
    +0s task.succeeded 1/work[1]
    +0s scope.closed 1/work (work, which it needs, failed)
    +0s task.skipped 1/join (work, which it needs, failed)
    +0s run.failed 1 (work[0] failed)
    +0s > forget 1/work[1]/1
    ");
}

#[test]
fn the_executor_reports_how_many_items_there_are() {
    let mut spec = fan(json!([]));
    spec["scopes"][0]["items"] = json!("reported");
    let mut w = World::new().flow(&spec);
    w.start("fan");
    w.quiet();
    let splits = Some(2);
    w.ended(
        "1/list",
        Outcome::Succeeded(Success {
            splits,
            ..Success::default()
        }),
    );
    assert_snapshot!(w.journal_of(&["scope", ">"]), @r"
    +0s scope.open 1/work
    +0s > forget 1/list/1
    +0s > submit 1/work[0]/1
    +0s > submit 1/work[1]/1
    ");
}

fn nested() -> Value {
    let steps = [
        inside(1, step("prepare", &[], json!({}))),
        inside(
            2,
            step(
                "fit",
                &[],
                json!({"env": {"AT": "${{ string(items[0]) + '/' + string(item) }}"}}),
            ),
        ),
        inside(
            1,
            step(
                "best",
                &["models"],
                json!({"env": {"ALL": "${{ steps.fit.outputs.auc }}"}}),
            ),
        ),
        step(
            "report",
            &["regions"],
            json!({"env": {
                "BEST": "${{ steps.best.outputs.auc }}", "ALL": "${{ steps.fit.outputs.auc }}",
            }}),
        ),
    ];
    let inner = json!({
        "name": "models", "parent": 1, "after": ["prepare"],
        "items": {"template": "${{ item == 'n' ? ['lin', 'tree'] : ['lin'] }}"},
    });
    let scopes = json!({"scopes": [block("regions", &[], json!(["n", "s"])), inner]});
    flow("nested", &steps, scopes)
}

#[test]
fn blocks_nest_and_each_join_closes_its_own() {
    let mut w = World::new().flow(&nested());
    w.start("nested");
    w.ok("1/prepare[0]");
    w.ok("1/prepare[1]");
    w.quiet();
    let env = |w: &World, task: &str| w.submission(task).env;
    assert_eq!(env(&w, "1/fit[0.1]")["AT"], "n/tree");
    w.ok_with("1/fit[1.0]", json!({"auc": 5}));
    assert_eq!(env(&w, "1/best[1]")["ALL"], "[5]", "only its own region");
    w.ok_with("1/best[1]", json!({"auc": 5}));
    w.ok_with("1/fit[0.1]", json!({"auc": 7}));
    w.ok_with("1/fit[0.0]", json!({"auc": 6}));
    w.ok_with("1/best[0]", json!({"auc": 7}));
    assert_snapshot!(w.journal_of(&["scope", ">"]), @r"
    +0s scope.closed 1/models[1]
    +0s > forget 1/fit[1.0]/1
    +0s > submit 1/best[1]/1
    +0s > forget 1/best[1]/1
    +0s > forget 1/fit[0.1]/1
    +0s scope.closed 1/models[0]
    +0s > forget 1/fit[0.0]/1
    +0s > submit 1/best[0]/1
    +0s scope.closed 1/regions
    +0s > forget 1/best[0]/1
    +0s > submit 1/report/1
    ");
    let report = env(&w, "1/report");
    assert_eq!(
        (&*report["BEST"], &*report["ALL"]),
        ("[7,5]", "[[6,7],[5]]")
    );
    w.ok("1/report");
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn nested_blocks_survive_a_restart_at_every_step() {
    let mut w = World::new().flow(&nested());
    w.start("nested");
    let order = [
        "prepare[1]",
        "fit[1.0]",
        "prepare[0]",
        "fit[0.1]",
        "best[1]",
        "fit[0.0]",
        "best[0]",
        "report",
    ];
    for task in order {
        w.restart();
        w.ok(&format!("1/{task}"));
    }
    assert_eq!(w.run_state(RunId(1)), RunState::Succeeded);
}

#[test]
fn when_false_skips_the_whole_foreach() {
    let mut spec = fan(json!([1, 2]));
    spec["scopes"][0]["when"] = "params.go".into();
    spec["params"] = json!([{"name": "go", "type": "bool", "default": false}]);
    let mut w = World::new().flow(&spec);
    w.start("fan");
    w.quiet();
    w.ok("1/list");
    assert_snapshot!(w.journal(), @r"
    +0s task.succeeded 1/list
    +0s scope.skipped 1/work (`when` was false: params.go)
    +0s task.skipped 1/join (work, which it needs, was skipped)
    +0s run.succeeded 1
    +0s > forget 1/list/1
    ");
}
