//! Steps that run elsewhere: what is told of them before they run, what they count against, arrays, executions.

use crate::world::{World, flow, step};
use dalsegno_scheduler::row::TaskRow;
use dalsegno_scheduler::{
    AttemptId, Config, Executions, ExecutorKind, Input, Limit, News, Outcome, Reason, Rejected,
    Report, RunId, Span, SubmissionWait, Timestamp,
};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::sync::Arc;

fn batch() -> Value {
    json!({"remote": {"executor": "batch", "queue": "spot"}, "timeout": 60_000_000})
}

fn one(more: Value) -> Value {
    flow("one", &[step("a", &[], more)], json!({}))
}

/// `b` for each of so many items.
fn many(items: usize, more: Value, run: Value) -> Value {
    let mut b = step("b", &[], json!({"scope": 1}));
    b.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    let items: Vec<usize> = (0..items).collect();
    let block = json!({"name": "each", "parent": 0, "items": {"template": items}});
    flow("many", &[b], json!({"scopes": [block], "run": run}))
}

fn task(w: &World, name: &str) -> TaskRow {
    let id = name.parse().expect("a task");
    let row = w.core.task(RunId(1), &id).expect("a task of run 1");
    TaskRow::clone(row)
}

fn waits(state: &str, since: Timestamp, message: &str) -> News {
    News {
        waiting: Some(Reason::JobWaits {
            queue: "spot".into(),
            state: state.into(),
            since,
            message: message.into(),
        }),
        ..News::default()
    }
}

#[test]
fn the_name_of_a_job_is_durable_before_it_runs() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    w.quiet();
    let job = News {
        external_id: Some("job-1".into()),
        ..News::default()
    };
    w.report("1/a", Report::News(job.clone()));
    assert_snapshot!(w.journal(), @"+0s task.submitting 1/a");
    w.report("1/a", Report::News(job));
    assert!(w.changes.is_empty(), "what is known is not written again");
    w.restart();
    let remote = w.submission("1/a").remote.expect("it runs elsewhere");
    assert_eq!(remote.external_id.as_deref(), Some("job-1"));
    assert_eq!(w.core.live()[0].external_id.as_deref(), Some("job-1"));
    let log = News {
        log: Some("jobs/default/1".into()),
        ..News::default()
    };
    w.report("1/a", Report::News(log));
    w.report(
        "1/a",
        Report::Started {
            external_id: "job-1".into(),
            at: w.now,
        },
    );
    let row = task(&w, "a");
    assert_eq!(row.external_id.as_deref(), Some("job-1"));
    assert_eq!(row.log.as_deref(), Some("jobs/default/1"));
    assert_eq!(row.deadline, Some(w.now + Span::from_secs(60)));
    w.ok("1/a");
    let ended = &w.changes.attempts[0];
    assert_eq!(ended.log.as_deref(), Some("jobs/default/1"));
    assert_eq!((ended.class, &ended.rule), (None, &None));
}

#[test]
fn why_tells_what_a_submission_and_a_job_wait_for() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    w.quiet();
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task a: the executor is asked to start it");
    let breaker = News {
        waiting: Some(Reason::SubmissionWaits {
            api: "batch:SubmitJob".into(),
            cause: SubmissionWait::BreakerOpen,
            until: Some(w.now + Span::from_secs(60)),
            message: String::new(),
        }),
        ..News::default()
    };
    w.report("1/a", Report::News(breaker));
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task a: batch:SubmitJob waits for its circuit breaker, which is open; next at 2026-11-22T06:01:00Z until 2026-11-22T06:01:00Z -> it is tried again by itself; dalsegno breakers tells which service fails");
    let since = w.now;
    w.report("1/a", Report::News(waits("RUNNABLE", since, "")));
    w.advance(Span::from_mins(5));
    w.quiet();
    // Told again with another time: nothing new.
    w.report("1/a", Report::News(waits("RUNNABLE", w.now, "")));
    assert!(w.changes.is_empty(), "{:?}", w.changes);
    let because = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY";
    w.report("1/a", Report::News(waits("RUNNABLE", w.now, because)));
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task a: RUNNABLE in queue spot since 2026-11-22T06:00:00Z: CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY -> look at the queue and its compute environments; dalsegno cancel ends the wait");
    w.restart();
    w.began("1/a");
    assert_eq!(task(&w, "a").reason, None);
    w.report("1/a", Report::News(waits("RUNNABLE", w.now, because)));
    assert!(
        w.changes.is_empty(),
        "it runs: whatever it waited for is past"
    );
}

#[test]
fn what_was_waited_for_is_not_told_when_it_is_over_and_what_runs_unseen_is_told() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    let unreachable = || News {
        waiting: Some(Reason::SubmissionWaits {
            api: "batch:DescribeJobs".into(),
            cause: SubmissionWait::Unreachable,
            until: None,
            message: "connection refused".into(),
        }),
        ..News::default()
    };
    let over = || News {
        external_id: Some("job-1".into()),
        is_wait_over: true,
        ..News::default()
    };
    w.report("1/a", Report::News(unreachable()));
    w.report("1/a", Report::News(over()));
    assert_eq!(task(&w, "a").reason, None);
    w.began("1/a");
    w.advance(Span::from_secs(10));
    w.report("1/a", Report::News(unreachable()));
    assert_snapshot!(w.why_run(RunId(1)), @"run 1, task a: attempt 1 runs for 10s, and how it stands is not known: batch:DescribeJobs waits for the service, which does not answer: connection refused until 2026-11-22T06:01:00Z");
    w.restart();
    w.report("1/a", Report::News(over()));
    assert_eq!(task(&w, "a").reason, None);
    w.report("1/a", Report::News(over()));
    assert!(w.changes.is_empty(), "what is known is not written again");
}

#[test]
fn a_host_that_goes_away_takes_none_of_the_time_of_the_attempt() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    w.began("1/a");
    w.advance(Span::from_secs(50));
    w.began("1/a");
    assert_eq!(task(&w, "a").deadline, Some(w.now + Span::from_secs(60)));
    assert_eq!(task(&w, "a").started_at, Some(w.now - Span::from_secs(50)));
    let attempt = w.attempt("1/a");
    let late = w.decide(Input::Report {
        attempt: attempt.clone(),
        report: Report::Started {
            external_id: "pid".into(),
            at: w.now - Span::from_secs(50),
        },
    });
    assert_eq!(late, Err(Rejected::Stale(attempt)));
    w.until_due();
    assert!(matches!(
        task(&w, "a").reason,
        Some(Reason::AttemptTimeout { .. })
    ));
}

#[test]
fn hosts_that_went_away_while_batch_repeated_a_job_are_of_the_same_budget() {
    for (times, is_repeated) in [(2, true), (3, false)] {
        let mut w = World::with(Config {
            lost_retries: 2,
            ..Config::default()
        })
        .flow(&one(batch()));
        w.start("one");
        let message = "Host EC2 (instance i-1) terminated.".to_owned();
        w.ended("1/a", Outcome::HostsLost { message, times });
        let expected = if is_repeated {
            "a backing_off"
        } else {
            "a failed"
        };
        assert_eq!(w.tasks(RunId(1)), expected);
        if is_repeated {
            w.until_due();
            let remote = w.submission("1/a").remote.expect("it runs elsewhere");
            assert_eq!(remote.lost_retries, 0);
        }
    }
}

#[test]
fn news_of_an_old_attempt_is_stale() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    let attempt = w.attempt("1/a");
    w.ok("1/a");
    let report = Report::News(waits("RUNNABLE", w.now, ""));
    let stale = w.decide(Input::Report {
        attempt: attempt.clone(),
        report,
    });
    assert_eq!(stale, Err(Rejected::Stale(attempt)));
}

#[test]
fn a_job_that_is_stopped_before_it_runs_still_gets_its_name() {
    let mut w = World::new().flow(&one(batch()));
    w.start("one");
    w.cancel(RunId(1));
    let job = News {
        external_id: Some("job-1".into()),
        waiting: waits("RUNNABLE", w.now, "").waiting,
        ..News::default()
    };
    w.report("1/a", Report::News(job));
    let row = task(&w, "a");
    assert_eq!(row.external_id.as_deref(), Some("job-1"));
    assert!(matches!(row.reason, Some(Reason::CancelledBy { .. })));
    let live = w.core.live();
    assert!(live[0].stopping && live[0].executor == ExecutorKind::Batch);
}

#[test]
fn jobs_elsewhere_take_no_slot_of_this_machine() {
    let mut w = World::with(Config {
        max_tasks: 1,
        max_remote_tasks: 2,
        ..Config::default()
    })
    .flow(&many(
        3,
        json!({"remote": {"executor": "batch"}}),
        json!({}),
    ))
    .flow(&one(json!({})));
    w.start("many");
    w.quiet();
    assert_snapshot!(w.why_run(RunId(1)), @r"
    run 1, task b[0]: the executor is asked to start it
    run 1, task b[1]: the executor is asked to start it
    run 1, task b[2]: waits for the limit of live tasks elsewhere (max_remote_tasks): 2 of 2 in use; held by b[0] of run 1, b[1] of run 1 -> raise max_remote_tasks in dalsegno.toml
    ");
    w.start("one");
    assert_eq!(w.attempt("2/a").number, 1, "a process has its own limit");
    w.check();
    w.restart();
    w.ok("1/b[0]");
    assert_eq!(w.attempt("1/b[2]").number, 1);
    let used = |w: &World, limit| {
        let limits = w.core.limits();
        limits.iter().find(|it| it.limit == limit).map(|it| it.used)
    };
    assert_eq!(used(&w, Limit::Remote), Some(2));
    assert_eq!(used(&w, Limit::Tasks), Some(1));
}

#[test]
fn states_of_an_execution_hold_no_slots_and_have_no_timeout_here() {
    let sfn = json!({"remote": {"executor": "step_functions"}, "timeout": 60_000_000});
    let mut w = World::with(Config {
        max_tasks: 1,
        max_remote_tasks: 1,
        ..Config::default()
    })
    .flow(&many(5, sfn, json!({})));
    w.start("many");
    assert_eq!(w.core.live_attempts().len(), 5);
    w.began("1/b[0]");
    assert_eq!(task(&w, "b[0]").deadline, None);
    let remote = w.submission("1/b[0]").remote.expect("it runs elsewhere");
    assert_eq!(remote.timeout, Some(Span::from_secs(60)));
    assert_eq!(remote.array, None);
}

#[test]
fn pools_and_max_parallel_count_jobs_too() {
    let pooled = json!({"remote": {"executor": "batch"}, "pools": {"db": 1}});
    let mut w = World::new().flow(&many(5, pooled, json!({"max_parallel_tasks": 3})));
    w.start("many");
    assert_eq!(w.core.live_attempts().len(), 2, "pool db has two slots");
}

#[test]
fn a_foreach_is_placed_as_one_array() {
    let mut w = World::with(Config {
        max_remote_tasks: 4,
        ..Config::default()
    })
    .flow(&many(
        7,
        json!({"remote": {"executor": "batch"}}),
        json!({}),
    ));
    w.start("many");
    let places = |w: &World| {
        let tasks: Vec<_> = w.core.tasks(RunId(1)).cloned().collect();
        let told = tasks.iter().map(|it| match &it.array {
            Some(at) => format!("{} {} of {} of {}", it.task, at.index, at.size, at.first),
            None => format!("{} alone", it.task),
        });
        told.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(places(&w), @r"
    b[0] 0 of 4 of 1/b[0]/1
    b[1] 1 of 4 of 1/b[0]/1
    b[2] 2 of 4 of 1/b[0]/1
    b[3] 3 of 4 of 1/b[0]/1
    b[4] alone
    b[5] alone
    b[6] alone
    ");
    let told = w
        .changes
        .journal
        .iter()
        .filter(|it| it.body.contains("\"array\""));
    assert_eq!(told.count(), 4, "the journal tells the places");
    w.restart();
    let live = w.core.live();
    assert_eq!(
        live[3].array.as_ref().map(|it| (it.index, it.size)),
        Some((3, 4))
    );
    let remote = w.submission("1/b[3]").remote.expect("it runs elsewhere");
    assert_eq!(remote.array, live[3].array);
    // Two that end in one commit make room for two at once, though they are two inputs.
    let at = w.now;
    let ended = |attempt: AttemptId, outcome| Input::Report {
        attempt,
        report: Report::Ended {
            outcome,
            started_at: Some(at),
            at,
        },
    };
    let (b0, b1) = (w.attempt("1/b[0]"), w.attempt("1/b[1]"));
    let done = Outcome::Succeeded(Default::default());
    w.batch([ended(b0, done.clone()), ended(b1, done)]);
    assert_snapshot!(places(&w).lines().skip(4).collect::<Vec<_>>().join("\n"), @r"
    b[4] 0 of 2 of 1/b[4]/1
    b[5] 1 of 2 of 1/b[4]/1
    b[6] alone
    ");
    // One that is repeated goes alone.
    w.ended("1/b[2]", Outcome::Lost("its host went away".into()));
    w.until_due();
    w.ok("1/b[3]");
    assert_eq!(task(&w, "b[2]").attempt, 2);
    assert_eq!(task(&w, "b[2]").array, None);
    w.check();
}

#[test]
fn ten_thousand_and_one_items_are_an_array_and_one_alone() {
    let mut w = World::with(Config {
        max_remote_tasks: 20_000,
        ..Config::default()
    })
    .flow(&many(
        10_001,
        json!({"remote": {"executor": "batch"}}),
        json!({}),
    ));
    w.start("many");
    let arrays = w
        .core
        .tasks(RunId(1))
        .filter(|it| it.array.is_some())
        .count();
    assert_eq!(arrays, 10_000);
    let last = task(&w, "b[10000]");
    assert_eq!((last.attempt, last.array), (1, None));
}

#[test]
fn what_is_stopped_in_the_commit_that_placed_it_is_in_no_array() {
    let mut w = World::new().flow(&many(
        3,
        json!({"remote": {"executor": "batch"}}),
        json!({}),
    ));
    let start = Input::Start(dalsegno_scheduler::StartRequest {
        flow: "many".into(),
        params: Default::default(),
        key: None,
        by: "ada".into(),
    });
    let cancel = Input::Cancel {
        run: RunId(1),
        by: "ada".into(),
        reason: None,
    };
    w.batch([start, cancel]);
    assert!(w.core.tasks(RunId(1)).all(|it| it.array.is_none()));
    assert_eq!(w.core.live().iter().filter(|it| it.stopping).count(), 3);
}

#[test]
fn tasks_of_one_execution_share_what_is_known_of_it() {
    let sfn = json!({"remote": {"executor": "step_functions"}});
    let steps = [
        step("a", &[], sfn.clone()),
        step("b", &["a"], sfn.clone()),
        step("c", &["a"], sfn),
    ];
    let mut w = World::new().flow(&flow("f", &steps, json!({})));
    w.start("f");
    w.advance(Span::from_secs(1));
    w.ok_with("1/a", json!({"rows": 3}));
    let execution = |w: &World, task: &str, shared: &mut Executions| {
        let submission = w.core.submission_of(&w.attempt(task), shared);
        let remote = submission.expect("live").expect("no expressions").remote;
        remote
            .expect("it runs elsewhere")
            .execution
            .expect("under Step Functions")
    };
    let mut shared = Executions::default();
    let (b, c) = (
        execution(&w, "1/b", &mut shared),
        execution(&w, "1/c", &mut shared),
    );
    assert!(Arc::ptr_eq(&b, &c));
    assert_eq!(
        (b.generation, b.done.len()),
        (1, 0),
        "a was done in this generation"
    );
    w.fail("1/b");
    w.ok("1/c");
    w.advance(Span::from_secs(1));
    w.resume(RunId(1), None).expect("it failed");
    let again = execution(&w, "1/b", &mut Executions::default());
    assert_eq!(again.generation, 2);
    let done: Vec<String> = again.done.iter().map(|(it, _)| it.to_string()).collect();
    assert_eq!(done, ["a", "c"]);
    assert_eq!(
        again.done[0].1.as_ref().map(|it| it["rows"].clone()),
        Some(json!(3))
    );
    w.restart();
    assert_eq!(execution(&w, "1/b", &mut Executions::default()), again);
}
