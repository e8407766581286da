//! What people see, as they see it: from the API's JSON to text, without colours.

use super::*;
use crate::client::{Entry, Failure, Flow, Run, Task, typed};
use dalsegno_scheduler::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn is<T: DeserializeOwned>(value: Value) -> T {
    typed(value).expect("as the API writes it")
}

/// Nobody's terminal.
fn paper() -> Screen {
    Screen {
        width: 10_000,
        is_terminal: false,
        now: Timestamp::parse_rfc3339("2026-11-22T06:02:00Z").expect("valid"),
    }
}

fn terminal(width: usize) -> Screen {
    Screen {
        width,
        is_terminal: true,
        ..paper()
    }
}

fn plain(text: String) -> String {
    anstream::adapter::strip_str(&text).to_string()
}

fn failed_run() -> Value {
    json!({
        "id": "42", "flow": "report", "version": "0123456789abcdef", "state": "failed", "generation": 2,
        "params": {"day": "2026-11-21", "regions": ["alps", "coast"]}, "trigger": "daily",
        "occurrence": "cron:daily:2026-11-22T06:00:00Z", "priority": 0, "events": [],
        "interval": {"start": "2026-11-21T06:00:00Z", "end": "2026-11-22T06:00:00Z"},
        "reason": {"code": "tasks_failed", "tasks": 1, "first": "region[1]", "text": "region[1] failed"},
        "queued_at": "2026-11-22T06:00:00Z", "created_at": "2026-11-22T06:00:00Z",
        "started_at": "2026-11-22T06:00:05Z", "finished_at": "2026-11-22T06:01:05Z",
    })
}

fn flow() -> Flow {
    is(json!({
        "name": "report", "state": "active", "file": "flows/report.yaml", "active_version": "0123456789abcdef",
        "description": "What each region sold.", "starts": "every day at 06:00, Europe/Berlin",
        "next_at": "2026-11-23T06:00:00Z", "unfinished_runs": 0, "removed": false,
        "steps": [
            {"name": "load", "after": [], "foreach": null, "when": null, "retries": 2},
            {"name": "region", "after": ["load"], "foreach": "region", "when": null, "retries": 0},
            {"name": "clean", "after": ["load"], "foreach": "shops", "when": null, "retries": 0},
            {"name": "draw", "after": ["region"], "foreach": null, "when": "params.draw", "retries": 0},
            {"name": "send", "after": ["draw"], "foreach": null, "when": null, "retries": 0},
        ],
        "edges": [["load", "region"], ["load", "clean"], ["region", "draw"], ["draw", "send"]],
        "params": [{"name": "day", "type": "date", "default": "${{ interval.start }}"},
            {"name": "regions", "type": "json", "description": "Which ones"}],
    }))
}

fn task(
    name: &str,
    state: &str,
    ready: &str,
    started: Option<&str>,
    finished: Option<&str>,
) -> Value {
    let at = |time: &str| format!("2026-11-22T06:0{time}Z");
    json!({
        "run": "42", "task": name, "state": state, "attempt": u32::from(started.is_some()),
        "retries": {"user": 0, "infrastructure": 0}, "ready_at": at(ready),
        "started_at": started.map(at), "finished_at": finished.map(at),
    })
}

fn tasks() -> Vec<Task> {
    let mut failed = task("region[1]", "failed", "0:20", Some("0:30"), Some("1:05"));
    failed["attempt"] = json!(3);
    failed["reason"] = json!({"code": "exit", "status": 7, "text": "exit code 7"});
    let mut skipped = task("draw", "skipped", "1:05", None, Some("1:05"));
    let text = "region, which it needs, failed";
    skipped["reason"] = json!({"code": "upstream_failed", "step": "region", "text": text});
    is(json!([
        skipped,
        task("load", "succeeded", "0:05", Some("0:05"), Some("0:20")),
        task("region[0]", "succeeded", "0:20", Some("0:20"), Some("0:45")),
        failed,
    ]))
}

#[test]
fn a_run_on_a_terminal_has_bars() {
    let text = show(&terminal(110), &is(failed_run()), Some(&flow()), &tasks());
    insta::assert_snapshot!(plain(text));
}

#[test]
fn a_run_on_paper_has_none() {
    let text = show(&paper(), &is(failed_run()), None, &tasks());
    insta::assert_snapshot!(plain(text));
}

#[test]
fn a_run_on_a_narrow_terminal_has_its_reasons_on_lines_of_their_own() {
    let text = show(&terminal(44), &is(failed_run()), Some(&flow()), &tasks());
    insta::assert_snapshot!(plain(text));
}

#[test]
fn of_a_thousand_tasks_those_that_need_a_look_are_listed() {
    let all = (0..1_000).map(|at| {
        let state = if at % 100 == 7 { "failed" } else { "succeeded" };
        task(
            &format!("region[{at}]"),
            state,
            "0:20",
            Some("0:20"),
            Some("0:45"),
        )
    });
    let all: Vec<Task> = is(all.collect());
    insta::assert_snapshot!(plain(show(&paper(), &is(failed_run()), None, &all)));
}

fn some_runs() -> Vec<Run> {
    let mut running = failed_run();
    running["id"] = "43".into();
    running["state"] = "running".into();
    running["reason"] = Value::Null;
    running["finished_at"] = Value::Null;
    let mut queued = running.clone();
    queued["id"] = "44".into();
    queued["state"] = "queued".into();
    queued["started_at"] = Value::Null;
    queued["reason"] =
        json!({"code": "behind_run", "run": "43", "text": "waits for run 43 to end"});
    is(json!([queued, running, failed_run()]))
}

#[test]
fn runs_are_a_table_that_gives_up_columns_before_words() {
    let runs_at = |screen: Screen| plain(runs(&screen, &some_runs()));
    insta::assert_snapshot!(
        [
            runs_at(paper()),
            runs_at(terminal(70)),
            runs_at(terminal(48))
        ]
        .join("\n")
    );
}

#[test]
fn a_run_in_one_line() {
    let lines = some_runs()
        .iter()
        .map(|it| plain(verdict(it, &paper())))
        .collect::<Vec<_>>();
    insta::assert_snapshot!(lines.join("\n"), @r"
    run 44 of report is queued: waits for run 43 to end
    run 43 of report is running for 1m 55s
    run 42 of report failed after 1m: region[1] failed
    ");
}

#[test]
fn no_sentence_about_a_run_says_a_word_twice() {
    let by_cli = json!({"code": "cancelled_by", "by": "cli", "text": "cancelled by cli: test"});
    let mut runs = [failed_run(), failed_run(), failed_run(), failed_run()];
    for (run, state) in runs
        .iter_mut()
        .zip(["cancelled", "cancelling", "timed_out", "running"])
    {
        run["state"] = state.into();
        run["reason"] = by_cli.clone();
    }
    runs[1]["finished_at"] = Value::Null;
    runs[2]["reason"] = json!({"code": "run_timeout", "text": "the run timed out after 1m"});
    (runs[3]["finished_at"], runs[3]["reason"]) = (Value::Null, Value::Null);
    let mut lines: Vec<String> = runs[..3]
        .iter()
        .map(|it| plain(verdict(&is(it.clone()), &paper())))
        .collect();
    lines.push(begun(&is(runs[3].clone()), "started"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    run 42 of report was cancelled after 1m by cli: test
    run 42 of report is being cancelled by cli: test
    run 42 of report timed out after 1m
    run 42 of report started; follow it: dalsegno logs 42 -f
    ");
    let mut stopped = task("load", "cancelled", "0:05", Some("0:05"), Some("0:20"));
    stopped["reason"] = by_cli;
    let text = plain(show(&paper(), &is(failed_run()), None, &[is(stopped)]));
    assert!(text.contains("  cancelled by cli: test\n"), "{text}");
}

#[test]
fn a_resume_tells_with_which_version_it_goes_on() {
    let run = is(failed_run());
    let lines = [
        goes_on_with(&run, None, false),
        goes_on_with(&run, Some("0123456789abcdef"), false),
        goes_on_with(&run, Some("87408a15deadbeef"), false),
        goes_on_with(&run, Some("87408a15deadbeef"), true),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    goes on with version 01234567
    goes on with version 01234567
    goes on with version 87408a15 (the run began with 01234567; --same-version keeps that)
    goes on with version 01234567, as it began (the flow's newest is 87408a15)
    ");
}

#[test]
fn a_flow_whose_file_is_not_valid_now_is_warned_of_when_an_older_version_runs() {
    let mut flow = flow();
    assert_eq!(invalid_now(&flow), None);
    flow.invalid = Some("unknown key `rn`".to_owned());
    let text = invalid_now(&flow).expect("a warning");
    insta::assert_snapshot!(plain(text), @r"
    warning: flows/report.yaml is not valid now, so its last good version 01234567 runs
      help: `dalsegno check flows/report.yaml` says what to repair
    ");
    flow.active_version = None;
    assert_eq!(invalid_now(&flow), None, "nothing of it can run");
}

#[test]
fn earlier_attempts_are_counted() {
    let texts = [0, 1, 2, 8].map(|it| earlier(it).unwrap_or_default());
    assert_eq!(texts, ["", "", "attempt 1", "attempts 1–7"]);
}

#[test]
fn flows_are_listed_and_one_is_shown_with_all_it_declares() {
    let list = plain(flows(&paper(), &[flow()]));
    insta::assert_snapshot!(format!("{list}\n{}", plain(super::flow(&paper(), &flow()))));
}

#[test]
fn what_runs_next_is_told_from_now_and_by_the_clock() {
    let occurrence = |due: &str, state: &str, run: Option<&str>| {
        json!({
            "flow": "report", "key": "k", "trigger": "daily", "due_at": due, "state": state, "run": run,
            "interval": {"start": due, "end": due}, "updated_at": due,
        })
    };
    let mut skipped = occurrence("2026-11-20T06:00:00Z", "skipped", None);
    skipped["reason"] =
        json!({"code": "flow_paused", "by": "clara", "text": "the flow was paused by clara"});
    let next_text = plain(next(
        &paper(),
        &is::<Vec<_>>(json!([occurrence(
            "2026-11-23T06:00:00Z",
            "expected",
            None
        )])),
    ));
    let past = [
        occurrence("2026-11-22T06:00:00Z", "ran", Some("42")),
        skipped,
    ];
    let past_text = plain(occurrences(&paper(), &is::<Vec<_>>(json!(past))));
    insta::assert_snapshot!(format!("{next_text}\n{past_text}"));
}

#[test]
fn explanations_of_one_thing_stand_together_with_their_cures() {
    let whys = json!([
        {"subject": "report", "text": "the flow was paused by clara", "until": null, "cure": "dalsegno unpause report"},
        {"subject": "report", "text": "next occurrence", "until": "2026-11-23T06:00:00Z", "cure": null},
        {"subject": "both", "text": "waits for load; the first of the set arrived at 2026-11-22T06:01:00Z",
            "reason": {"code": "waiting_for", "missing": ["load"], "text": "waits for load"}, "until": "2026-11-22T18:02:00Z"},
        {"subject": "run 41, task load", "text": "attempt 1 runs for 4s", "until": "2026-11-22T06:03:00Z"},
        {"subject": "run 42", "text": "region[1] failed", "until": null, "cure": "dalsegno resume 42"},
    ]);
    insta::assert_snapshot!(plain(why(&paper(), &is::<Vec<_>>(whys))), @r"
    report
      the flow was paused by clara
      → dalsegno unpause report
      next occurrence · in 23h 58m
    both
      waits for load; the first of the set arrived at 2026-11-22T06:01:00Z · expires in 12h
    run 41, task load
      attempt 1 runs for 4s · times out in 1m
    run 42
      region[1] failed
      → dalsegno resume 42
    ");
}

#[test]
fn an_event_tells_what_it_started_and_what_it_did_not() {
    let event = json!({
        "seq": 7, "type": "orders.corrected", "source": "/shop", "id": "1", "subject": null,
        "time": "2026-11-22T06:00:00Z", "received_at": "2026-11-22T06:01:00Z", "data": {"day": "monday"},
        "matches": [
            {"event": 7, "flow": "report", "trigger": "orders", "leaf": 0, "outcome": "fired", "run": "42",
             "updated_at": "2026-11-22T06:01:00Z"},
            {"event": 7, "flow": "brief", "trigger": "both", "leaf": 0, "outcome": "waiting",
             "reason": {"code": "waiting_for", "missing": ["flow report"], "text": "waits for flow report"},
             "updated_at": "2026-11-22T06:01:00Z"},
        ],
    });
    let list = plain(events(&paper(), &[is(event.clone())]));
    insta::assert_snapshot!(format!("{}\n{list}", plain(emitted(&is(event), false))));
}

#[test]
fn a_resume_keeps_what_succeeded_and_repeats_the_rest() {
    let run = is(failed_run());
    let plan = plan(&run, Some(&flow()), &tasks(), None);
    let as_new = plain(plan.render(&run, true));
    assert!(as_new.starts_with("run 42 of report has failed and stays so; a new run begins with copies:\n  cloned    load"), "{as_new}");
    insta::assert_snapshot!(plain(plan.render(&run, false)), @r"
    run 42 of report, now failed, will go on:
      kept      load, region[0]
      repeated  region[1] (failed), draw (skipped)
      to come   clean, send
    ");
}

#[test]
fn a_resume_from_a_step_repeats_all_that_follows_it() {
    let run = is(failed_run());
    let plan = plan(&run, Some(&flow()), &tasks(), Some("region"));
    assert_eq!(plan.kept, ["load"]);
    assert_eq!(
        plan.repeated,
        [
            "region[1] (failed)",
            "region[0] (succeeded)",
            "draw (skipped)"
        ]
    );
}

#[test]
fn progress_is_told_from_the_journal() {
    let entry = |seq: u64, kind: &str, state: &str, attempt: u32, more: Value| -> Entry {
        let mut body = json!({
            "run": 42, "task": "region[1]", "state": state, "attempt": attempt,
            "retries": {"user": 0, "infrastructure": 0}, "ready_at": 0, "started_at": 1_000_000,
        });
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        is(
            json!({"seq": seq, "at": "2026-11-22T06:00:03Z", "flow": "report", "kind": kind, "body": body.to_string()}),
        )
    };
    let failed = json!({"code": "exit", "status": 7});
    let retry =
        json!({"code": "retry_at", "at": 1_795_327_322_900_000_u64, "attempt": 1, "after": failed});
    let entries = [
        entry(1, "task.submitting", "submitting", 1, json!({})),
        entry(2, "task.running", "running", 1, json!({})),
        entry(3, "task.running", "running", 1, json!({})),
        entry(
            4,
            "task.backing_off",
            "backing_off",
            1,
            json!({"finished_at": 3_500_000, "reason": retry}),
        ),
        entry(5, "task.running", "running", 2, json!({})),
        entry(
            6,
            "task.succeeded",
            "succeeded",
            2,
            json!({"finished_at": 5_000_000}),
        ),
    ];
    let mut tally = Tally::default();
    let mut text = String::new();
    for entry in &entries {
        if let Some(line) = tally.take(entry) {
            let mark = if line.is_news { "*" } else { " " };
            text.push_str(&format!(
                "{mark} {} {}   [{}]\n",
                line.at,
                line.text,
                tally.message()
            ));
        }
    }
    insta::assert_snapshot!(plain(text));
}

#[test]
fn a_failure_that_is_repeated_at_once_or_caught_is_told_too() {
    let entry = |task: &str, state: &str, attempt: u32, outputs: Value| -> Entry {
        let body = json!({
            "run": 42, "task": task, "state": state, "attempt": attempt, "ready_at": 0, "outputs": outputs,
            "retries": {"user": 0, "infrastructure": 0}, "started_at": 1_000_000,
            "finished_at": state.ends_with("ed").then_some(2_000_000),
        });
        is(
            json!({"seq": 1, "at": "2026-11-22T06:00:03Z", "kind": format!("task.{state}"), "body": body.to_string()}),
        )
    };
    let attempts: Vec<crate::client::Attempt> = is(json!([
        {"number": 1, "state": "failed", "finished_at": "2026-11-22T06:00:02Z",
            "reason": {"code": "user_error", "text": "ArithmeticError: one too many"}},
        {"number": 2, "state": "running", "finished_at": null},
    ]));
    let entries = [
        entry("fit[1]", "running", 1, Value::Null),
        entry("fit[1]", "submitting", 2, Value::Null),
        entry("fit[1]", "running", 2, Value::Null),
        entry("fit[1]", "succeeded", 2, json!({"caught": true})),
        entry("fit[0]", "succeeded", 1, json!({"caught": true})),
    ];
    let (mut tally, mut lines) = (Tally::default(), Vec::new());
    for entry in &entries {
        if let Some(task) = tally.asks(entry) {
            lines.extend(tally.failures(&task, &attempts));
        }
        lines.extend(tally.take(entry));
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|it| plain(format!("{} {}", it.at, it.text)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    06:00:03Z ▶ fit[1] running
    06:00:02Z ✗ fit[1] attempt 1: ArithmeticError: one too many; again at once
    06:00:03Z ▶ fit[1] running, attempt 2
    06:00:03Z ✓ fit[1] succeeded after 1s, attempt 2; caught: ArithmeticError: one too many
    06:00:03Z ✓ fit[0] succeeded after 1s; its error was caught
    ");
}

fn grid() -> (Flow, Vec<Task>) {
    let step = |name: &str, foreach: Option<&str>, retries: u32, own: u32| json!({"name": name, "foreach": foreach, "retries": retries, "metaflow": {"user_retries": own}});
    let flow = json!({
        "name": "Grid", "state": "active", "active_version": "0123456789abcdef", "metaflow": {"class": "Grid"},
        "steps": [step("start", None, 0, 0), step("fit", Some("start-foreach"), 4, 1),
            step("judge", Some("start-foreach"), 3, 0), step("end", None, 2, 2)],
        "edges": [["start", "fit"], ["fit", "judge"], ["judge", "end"]],
    });
    let mut start = task("start", "succeeded", "0:05", Some("0:05"), Some("0:20"));
    start["outputs"] = json!({"labels": ["small", "large"]});
    let mut caught = task("fit[1]", "succeeded", "0:20", Some("0:30"), Some("0:50"));
    (caught["attempt"], caught["outputs"]) = (json!(2), json!({"caught": true}));
    let mut again = task("fit[0]", "succeeded", "0:20", Some("0:30"), Some("0:50"));
    again["attempt"] = json!(2);
    let mut tasks: Vec<Task> = is(json!([start, again, caught]));
    for (place, text) in [
        (1, "OSError: no room"),
        (2, "ArithmeticError: one too many"),
    ] {
        tasks[place].failures = is(json!([{"number": 1, "state": "failed",
            "reason": {"code": "user_error", "text": text}}]));
    }
    (is(flow), tasks)
}

#[test]
fn a_metaflow_run_names_its_items_its_starter_and_what_failed_on_the_way() {
    let (flow, all) = grid();
    let mut run = failed_run();
    run["queued_at"] = "2026-11-22T06:00:40Z".into();
    run["params"] = json!({"notes": "long ".repeat(60)});
    let mut run: Run = is(run);
    run.by = Some("when Ingest (run 41) has succeeded".to_owned());
    let shown = plain(show(&paper(), &run, Some(&flow), &all));
    let listed = plain(super::tasks(&paper(), Some(&flow), &all));
    let steps = plain(crate::output::flow(&paper(), &flow));
    let in_list = plain(runs(&paper(), &[run]));
    insta::assert_snapshot!([shown, listed, steps, in_list].join("\n"));
}

#[test]
fn findings_of_the_doctor_come_with_their_cures() {
    let findings = [
        Finding::new("daemon", Health::Ok, "answers at http://127.0.0.1:8320"),
        Finding::new("disk", Health::Warn, "512 MiB free").cure("make room"),
        Finding::new("open files", Health::Fail, "at most 12").cure("ulimit -n 1024"),
    ];
    insta::assert_snapshot!(plain(diagnosis(&findings)));
}

#[test]
fn empty_lists_say_what_to_do() {
    let screen = paper();
    let texts = [
        runs(&screen, &[]),
        flows(&screen, &[]),
        next(&screen, &[]),
        occurrences(&screen, &[]),
        events(&screen, &[]),
        super::tasks(&screen, None, &[]),
        why(&screen, &[]),
    ];
    assert!(
        texts
            .iter()
            .all(|it| it.ends_with('\n') && it.lines().count() == 1),
        "{texts:?}"
    );
}

#[test]
fn an_answer_of_another_shape_is_an_error_in_words() {
    let failure: Failure = typed::<Run>(json!({"id": 7})).expect_err("no run");
    assert!(failure.text.contains("not understood"), "{failure:?}");
}

#[test]
fn a_metaflow_flow_tells_what_only_running_it_tells_and_its_runs_their_pathspecs() {
    let told: Flow = is(json!({
        "name": "ml.user.ada.Train", "state": "active", "file": "flows/train.py",
        "params": [{"name": "tag-name", "type": "string", "optional": true}],
        "steps": [{"name": "start", "retries": 3, "metaflow": {"decorators": ["@retry(times=3)", "@card"]}}],
        "metaflow": {
            "class": "Train", "interpreter": "/venv/bin/python",
            "dynamic": [{"what": "@schedule(cron=…)", "reason": "os.getenv(…) is called", "line": 7}],
            "warnings": ["line 9: Metaflow sees 4 retries"],
        },
    }));
    let screen = paper();
    insta::assert_snapshot!(plain(crate::output::flow(&screen, &told)));
    let run: Run = is(json!({
        "id": "8", "flow": "ml.user.ada.Train", "state": "running", "created_at": "2026-11-22T06:00:00Z",
        "origin": "7", "metaflow": {"pathspec": "Train/dalsegno-8-abc"},
    }));
    insta::assert_snapshot!(plain(crate::output::show(&screen, &run, None, &[])));
}
