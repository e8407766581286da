//! Runs from their start to their end.

use crate::stage::{Stage, none};
use dalsegno_scheduler::row::{RunState, TaskState};
use dalsegno_scheduler::{Reason, RunId, SubmissionWait};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_one_after_the_other_as_one_execution() {
    let stage = Stage::new(
        r#"
params: { who: { type: string, default: world } }
env: { GREETING: "hello ${{ params.who }}" }
steps:
  a: { run: 'echo "$GREETING $DALSEGNO_TASK $DALSEGNO_ATTEMPT" >> $DIR/log' }
  b: { after: [a], run: 'echo "b $WHO" >> $DIR/log' }
"#,
    )
    .await;
    let run = stage.run(json!({"who": "moon"})).await;
    stage.succeeds(run).await;
    assert_eq!(
        stage.file("log").expect("it ran"),
        "hello moon a 1\nb moon\n"
    );
    assert_eq!(stage.executions().await.len(), 1);
    stage.execution_ends("SUCCEEDED").await;
    let row = &stage.rows(run).await[0];
    let name = row.external_id.clone().expect("it has a name");
    assert!(name.contains(":execution:") && name.contains('#'), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_branch_does_not_stop_the_other_and_what_needs_it_is_skipped() {
    let stage = Stage::new(
        r#"
steps:
  bad: { run: exit 3 }
  good: { run: 'true' }
  after_bad: { after: [bad], run: 'true' }
  after_good: { after: [good], run: 'echo ran > $DIR/good' }
  both: { after: [after_bad, after_good], run: 'true' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    assert_eq!(
        stage.tasks(run).await,
        [
            "after_bad skipped",
            "after_good succeeded",
            "bad failed",
            "both skipped",
            "good succeeded"
        ]
    );
    let rows = stage.rows(run).await;
    let bad = rows
        .iter()
        .find(|it| it.task.step.as_str() == "bad")
        .expect("it ran");
    assert_eq!(bad.reason, Some(Reason::Exit { status: 3 }));
    assert_eq!(stage.file("good").as_deref(), Some("ran\n"));
    stage.execution_ends("FAILED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreach_runs_each_item_and_what_follows_waits_for_all() {
    let stage = Stage::new(
        r#"
params: { regions: { type: json, default: [north, south, east] } }
steps:
  fit:
    foreach: "${{ params.regions }}"
    env: { LOUD: "${{ item }}!" }
    run: 'echo "$ITEM $ITEM_INDEX $LOUD $ITEMS $DALSEGNO_TASK" > $DIR/fit.$ITEM_INDEX'
  grid:
    foreach: [1, 2]
    steps:
      inner: { foreach: [x, y], run: 'echo "$ITEMS $DALSEGNO_TASK" > $DIR/grid.$DALSEGNO_TASK' }
  last: { after: [fit, grid], run: 'ls $DIR | grep -c -e fit -e grid > $DIR/last' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    stage.succeeds(run).await;
    assert_eq!(
        stage.file("fit.1").as_deref(),
        Some("south 1 south! [\"south\"] fit[1]\n")
    );
    assert_eq!(
        stage.file("grid.inner[1.0]").as_deref(),
        Some("[2,\"x\"] inner[1.0]\n")
    );
    assert_eq!(
        stage.file("last").map(|it| it.trim().to_owned()).as_deref(),
        Some("7")
    );
    stage.execution_ends("SUCCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_decide_what_is_taken_and_how_many_items_there_are() {
    let stage = Stage::new(
        r#"
params: { least: { type: float, default: 0.5 } }
steps:
  fit: { run: 'echo auc=0.75 >> $DALSEGNO_OUTPUT; echo parts="[\"a\", \"b\"]" | tr -d "\r" >> $DALSEGNO_OUTPUT', outputs: [auc, parts] }
  good: { after: [fit], when: "steps.fit.outputs.auc >= params.least", run: 'echo good $AUC > $DIR/good', env: { AUC: "auc ${{ steps.fit.outputs.auc }}" } }
  bad: { after: [fit], when: "steps.fit.outputs.auc < params.least || steps.fit.outputs.auc == 2", run: 'touch $DIR/bad' }
  part: { after: [fit], foreach: "${{ steps.fit.outputs.parts }}", run: 'echo $ITEM > $DIR/part.$ITEM_INDEX' }
  end: { after: [good, part], run: 'true' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    stage.succeeds(run).await;
    assert_eq!(stage.file("good").as_deref(), Some("good auc 0.75\n"));
    assert_eq!(stage.file("part.1").as_deref(), Some("b\n"));
    assert!(stage.file("bad").is_none());
    let rows = stage.rows(run).await;
    let bad = rows
        .iter()
        .find(|it| it.task.step.as_str() == "bad")
        .expect("it was decided");
    assert_eq!(bad.state, TaskState::Skipped);
    stage.execution_ends("SUCCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_repeated_and_both_are_known_here() {
    let stage = Stage::new(
        r#"
steps:
  flaky:
    run: 'test $DALSEGNO_ATTEMPT = 2'
    retry: { times: 2, backoff: { initial: 1s } }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    stage.succeeds(run).await;
    let attempts = stage.attempts(run).await;
    assert_eq!(
        attempts,
        ["1/flaky/1 failed", "1/flaky/2 succeeded"].map(|it| it.replacen('1', &run.to_string(), 1))
    );
    assert_eq!(stage.jobs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_aborted_and_its_job_is_dead() {
    let stage = Stage::new("steps: { long: { run: 'touch $DIR/began; exec sleep 600' } }").await;
    let run = stage.run(none()).await;
    stage.until(|it| async { it.file("began") }).await;
    stage.cancel(run).await;
    assert_eq!(stage.ended(run).await.state, RunState::Cancelled);
    let (executions, jobs) = (stage.executions().await, stage.jobs().await);
    assert_eq!(executions[0].1, "ABORTED");
    assert_eq!(
        jobs.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(),
        ["FAILED"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_is_lost_is_one_execution() {
    let stage = Stage::new("steps: { a: { run: 'echo ran >> $DIR/log' } }").await;
    stage
        .fault("states", "StartExecution", "lost_reply", 2)
        .await;
    let run = stage.run(none()).await;
    stage.succeeds(run).await;
    assert_eq!(stage.executions().await.len(), 1);
    assert_eq!(stage.file("log").as_deref(), Some("ran\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_throttled_wait_and_each_starts_once() {
    let stage = Stage::new(
        "run: { strategy: { parallel: 4 } }\nsteps: { a: { run: 'echo $DALSEGNO_RUN_ID >> $DIR/log' } }",
    )
    .await;
    stage.fault("states", "StartExecution", "throttle", 6).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(stage.run(none()).await);
    }
    for run in &runs {
        stage.succeeds(*run).await;
    }
    let mut ran: Vec<String> = stage
        .file("log")
        .expect("they ran")
        .lines()
        .map(str::to_owned)
        .collect();
    ran.sort();
    assert_eq!(
        ran,
        runs.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
    assert_eq!(stage.executions().await.len(), 4);
}

/// Nobody of them has started, and each knows why.
async fn all_wait(stage: &Stage, runs: &[RunId]) {
    for run in runs {
        let waits = async |it: &Stage| {
            let rows = it.rows(*run).await;
            let reason = rows.first().and_then(|it| it.reason.clone());
            let Some(Reason::SubmissionWaits { api, cause, .. }) = reason else {
                return None;
            };
            let is_known = matches!(
                cause,
                SubmissionWait::Throttled | SubmissionWait::BreakerOpen
            );
            (api == "states:StartExecution" && is_known).then_some(())
        };
        stage.until(waits).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_first_is_started_first_once_throttling_ends() {
    let stage =
        Stage::new("run: { strategy: { parallel: 20 } }\nsteps: { a: { run: 'true' } }").await;
    stage
        .fault("states", "StartExecution", "throttle", 1_000_000)
        .await;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(stage.run(none()).await);
    }
    all_wait(&stage, &runs).await;
    assert!(stage.executions().await.is_empty());
    stage.no_faults().await;
    for run in &runs {
        stage.succeeds(*run).await;
    }
    assert_eq!(stage.started().await, runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_while_it_waits_for_its_turn_leaves_the_line_and_is_never_started() {
    let stage =
        Stage::new("run: { strategy: { parallel: 4 } }\nsteps: { a: { run: 'true' } }").await;
    stage
        .fault("states", "StartExecution", "throttle", 1_000_000)
        .await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(stage.run(none()).await);
    }
    all_wait(&stage, &runs).await;
    // The first of the line, and one behind it.
    for place in [0, 2] {
        stage.cancel(runs[place]).await;
        assert_eq!(stage.ended(runs[place]).await.state, RunState::Cancelled);
    }
    stage.no_faults().await;
    for place in [1, 3] {
        stage.succeeds(runs[place]).await;
    }
    assert_eq!(stage.started().await, [runs[1], runs[3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_execution_is_found_and_not_started_again() {
    let mut stage = Stage::new(
        "steps: { a: { run: 'echo a >> $DIR/log; until [ -e $DIR/go ]; do sleep 0.1; done' }, b: { after: [a], run: 'echo b >> $DIR/log' } }",
    )
    .await;
    let run = stage.run(none()).await;
    stage.until(|it| async { it.file("log") }).await;
    stage.restart().await;
    std::fs::write(stage.folder.path().join("go"), "").expect("a file");
    stage.succeeds(run).await;
    assert_eq!(stage.file("log").as_deref(), Some("a\nb\n"));
    assert_eq!(stage.executions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_over_what_is_left_is_a_new_execution() {
    let stage = Stage::new(
        r#"
steps:
  good: { run: 'echo good >> $DIR/log; echo n=5 >> $DALSEGNO_OUTPUT', outputs: [n] }
  flaky: { run: 'echo flaky >> $DIR/log; test -e $DIR/repaired' }
  after: { after: [good, flaky], when: "steps.good.outputs.n == 5", run: 'echo after >> $DIR/log' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    stage.execution_ends("FAILED").await;
    std::fs::write(stage.folder.path().join("repaired"), "").expect("a file");
    stage.resume(run).await;
    stage.succeeds(run).await;
    let mut log: Vec<String> = stage
        .file("log")
        .expect("they ran")
        .lines()
        .map(str::to_owned)
        .collect();
    log.sort();
    assert_eq!(log, ["after", "flaky", "flaky", "good"]);
    let names: Vec<String> = stage
        .executions()
        .await
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[1].ends_with("-g2"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_which_nothing_else_goes_on_is_redriven() {
    let stage = Stage::new(
        r#"
steps:
  a: { run: 'echo a >> $DIR/log' }
  b: { after: [a], run: 'echo b >> $DIR/log; test -e $DIR/repaired' }
  c: { after: [b], run: 'echo c >> $DIR/log' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    stage.execution_ends("FAILED").await;
    std::fs::write(stage.folder.path().join("repaired"), "").expect("a file");
    stage.resume(run).await;
    stage.succeeds(run).await;
    assert_eq!(stage.file("log").as_deref(), Some("a\nb\nb\nc\n"));
    let executions = stage.executions().await;
    assert_eq!(executions.len(), 1, "{executions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_foreach_is_a_distributed_map_whose_tasks_are_known_one_by_one() {
    let items: Vec<String> = (0..45).map(|it| it.to_string()).collect();
    let stage = Stage::new(&format!(
        "steps:\n  each: {{ foreach: [{}], max_parallel: 10, run: 'test $ITEM != 7' }}\n  other: {{ run: 'true' }}\n",
        items.join(", ")
    ))
    .await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    let tasks = stage.tasks(run).await;
    assert_eq!(tasks.len(), 46);
    let failed: Vec<_> = tasks.iter().filter(|it| it.ends_with("failed")).collect();
    assert_eq!(failed, ["each[7] failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_do_not_fit_the_input_are_read_from_s3() {
    let items: Vec<String> = (0..60)
        .map(|it| format!("i{it}{}", "x".repeat(2_500)))
        .collect();
    let stage = Stage::new(&format!(
        "steps:\n  each: {{ foreach: [{}], max_parallel: 10, run: 'echo $ITEM_INDEX ${{#ITEM}} >> $DIR/log' }}\n",
        items.join(", ")
    ))
    .await;
    let run = stage.run(none()).await;
    stage.succeeds(run).await;
    let log = stage.file("log").expect("they ran");
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..60)
        .map(|it| format!("{it} {}", items[it].len()))
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let input = stage.input(run).await;
    assert!(input.len() < 10_000, "{} bytes of input", input.len());
    assert!(input.contains("items-s1-g1.json"), "{input}");
}

/// A graph of a few steps, some of which fail, and some (of an odd number) go on when one of those before them was
/// taken: which ones is drawn from the number.
fn drawn(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |most: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % most
    };
    let mut text = "steps:\n".to_owned();
    for step in 0..3 + draw(5) {
        let after: Vec<String> = (0..step)
            .filter(|_| draw(3) == 0)
            .map(|it| format!("s{it}"))
            .collect();
        let mut fields = vec![format!("run: 'exit {}'", u8::from(draw(4) == 0))];
        if !after.is_empty() {
            fields.push(format!("after: [{}]", after.join(", ")));
        }
        if draw(5) == 0 {
            fields.push("on_failure: continue".into());
        }
        if draw(5) == 0 {
            fields.push("when: '1 == 2'".into());
        }
        if draw(5) == 0 {
            fields.push("foreach: [x, y]".into());
        }
        text.push_str(&format!("  s{step}: {{ {} }}\n", fields.join(", ")));
    }
    text
}

/// The machine and the core move tokens by the same rules: what the core asks for is what the machine ran, no more and no
/// less, and both end alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_machine_runs_what_the_core_would_run() {
    let first: u64 = std::env::var("DALSEGNO_SFN_DRAWN")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(1);
    for numbers in (first..first + 24).collect::<Vec<_>>().chunks(8) {
        let all = numbers.iter().map(|number| tokio::spawn(agrees(*number)));
        for one in all.collect::<Vec<_>>() {
            one.await.expect("they agree");
        }
    }
}

async fn agrees(number: u64) {
    let text = drawn(number);
    let stage = Stage::new_with(&text, &["s1", "s3", "s5", "s7"]).await;
    let run = stage.run(none()).await;
    let row = stage.ended(run).await;
    let rows = stage.rows(run).await;
    let ours = |it: &TaskState| {
        matches!(
            it,
            TaskState::Succeeded | TaskState::Failed | TaskState::Caught
        )
    };
    for it in rows.iter().filter(|it| it.state == TaskState::Failed) {
        assert_eq!(
            it.reason,
            Some(Reason::Exit { status: 1 }),
            "{number}: {} of\n{text}",
            it.task
        );
    }
    let status = if row.state == RunState::Succeeded {
        "SUCCEEDED"
    } else {
        "FAILED"
    };
    let ran = rows.iter().filter(|it| ours(&it.state)).count();
    if ran > 0 {
        stage.execution_ends(status).await;
    }
    let jobs = stage.jobs().await;
    assert_eq!(
        jobs.len(),
        ran,
        "{number}: {jobs:?} and {:?} of\n{text}",
        stage.tasks(run).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_are_no_json_fail_the_job_itself() {
    let stage = Stage::new(
        r#"
steps:
  say: { run: 'echo n=5 >> $DALSEGNO_OUTPUT; echo place=the moon >> $DALSEGNO_OUTPUT', outputs: [n] }
  hear: { after: [say], when: "steps.say.outputs.n == 5", run: 'touch $DIR/heard' }
"#,
    )
    .await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    stage.execution_ends("FAILED").await;
    assert_eq!(stage.jobs().await[0].1, "FAILED");
    let rows = stage.rows(run).await;
    let say = rows.iter().find(|it| it.task.step.as_str() == "say");
    let reason = &say.expect("it ran").reason;
    assert!(
        matches!(reason, Some(Reason::BadOutput { message }) if message.contains("NAME=JSON")),
        "{reason:?}"
    );
    assert!(stage.file("heard").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_the_same_failure_as_for_jobs_of_our_own() {
    let stage =
        Stage::new("steps: { a: { run: 'true' }, b: { image: 'missing/a:1', run: 'true' } }").await;
    let run = stage.run(none()).await;
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    let rows = stage.rows(run).await;
    let bad = rows.iter().find(|it| it.task.step.as_str() == "b");
    let reason = &bad.expect("it was tried").reason;
    assert!(
        matches!(reason, Some(Reason::Configuration { message }) if message.contains("CannotPull")),
        "{reason:?}"
    );
}

/// Its machine is not asked any more; what runs is followed to its end, and it is not started a second time.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_was_deleted_fails_the_run_and_is_not_started_again() {
    let mut stage = Stage::new(
        "steps: { a: { run: 'echo a >> $DIR/log; until [ -e $DIR/go ]; do sleep 0.1; done' }, b: { after: [a], run: 'echo never' } }",
    )
    .await;
    let run = stage.run(none()).await;
    stage.until(|it| async { it.file("log") }).await;
    stage
        .until(|it| async { it.rows(run).await[0].external_id.clone() })
        .await;
    // The emulator's goes on all the same, and is not to come to its next step.
    stage.deregister("echo never").await;
    stage.delete_execution(run).await;
    stage.restart().await;
    std::fs::write(stage.folder.path().join("go"), "").expect("a file");
    assert_eq!(stage.ended(run).await.state, RunState::Failed);
    let rows = stage.rows(run).await;
    let [a, b] = &rows[..] else {
        panic!("two tasks: {rows:?}")
    };
    assert_eq!(a.state, TaskState::Succeeded, "{:?}", a.reason);
    assert!(
        matches!(&b.reason, Some(Reason::Execution { error, .. }) if error == "ExecutionDoesNotExist"),
        "{:?}",
        b.reason
    );
    assert_eq!(stage.file("log").as_deref(), Some("a\n"));
    assert!(stage.executions().await.is_empty());
}
