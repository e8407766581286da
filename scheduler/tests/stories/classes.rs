//! Classes of failures: each is told apart, paid by its own budget, and waited for in its own way.

use crate::world::{World, flow, retry, step};
use dalsegno_scheduler::failure::{Budgets, FailureClass, Rule, Wait, classify};
use dalsegno_scheduler::row::{RunState, TaskRow};
use dalsegno_scheduler::spec::Backoff;
use dalsegno_scheduler::{
    AttemptId, Config, ExecutorKind, Outcome, Reason, RunId, Span, TaskId, delay,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn one(more: Value) -> Value {
    flow("one", &[step("a", &[], more)], json!({}))
}

fn row(w: &World) -> TaskRow {
    let task: TaskId = "a".parse().expect("a task");
    TaskRow::clone(w.core.task(RunId(1), &task).expect("it is unfinished"))
}

fn message(text: &str) -> String {
    text.to_owned()
}

fn network() -> Reason {
    Reason::Network {
        message: message("connection reset by peer"),
    }
}

fn throttled() -> Reason {
    Reason::Throttled {
        message: message("ThrottlingException: Rate exceeded"),
    }
}

fn capacity() -> Reason {
    Reason::Capacity {
        message: message("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"),
    }
}

fn oom(limit_bytes: u64) -> Reason {
    Reason::OutOfMemory {
        limit_bytes: Some(limit_bytes),
    }
}

/// The live attempt fails; gives the wait until the next one, in seconds, or nothing if none follows.
fn fails(w: &mut World, reason: Reason) -> Option<f64> {
    w.ended("1/a", Outcome::Failed(reason));
    if w.run_state(RunId(1)) != RunState::Running {
        return None;
    }
    let before = w.now;
    if !w.core.live_attempts().is_empty() {
        return Some(0.);
    }
    w.until_due();
    Some((w.now - before).as_secs_f64())
}

fn waits(w: &mut World, reason: &Reason) -> Vec<f64> {
    w.start("one");
    std::iter::from_fn(|| fails(w, reason.clone())).collect()
}

/// The same budgets, and waits without jitter.
fn exact() -> Config {
    let backoff = Backoff {
        jitter_percent: 0,
        ..Backoff::default()
    };
    let mut budgets = Budgets::default();
    budgets.network.wait = Wait::Exponential(backoff);
    budgets.throttled.wait = Wait::Exponential(backoff);
    Config {
        budgets,
        ..Config::default()
    }
}

#[test]
fn each_class_has_its_own_sequence_of_waits() {
    let sequence = |reason| waits(&mut World::with(exact()).flow(&one(json!({}))), &reason);
    assert_eq!(sequence(network()), [1., 2., 4., 8., 16.]);
    assert_eq!(
        sequence(throttled()),
        [1., 2., 4., 8., 16., 32., 64., 128., 256., 300.]
    );
    assert_eq!(sequence(capacity()), [300., 600., 900.]);
    for reason in [
        Reason::Configuration {
            message: message("no such role"),
        },
        Reason::BadParams {
            message: message("no such parameter"),
        },
        Reason::DoNotRetry { status: 202 },
        oom(512 * MIB),
        Reason::Exit { status: 1 },
    ] {
        assert!(sequence(reason.clone()).is_empty(), "{reason}");
    }
}

#[test]
fn waits_are_spread_over_a_tenth_either_way_and_stay_in_it() {
    let attempt = |number| AttemptId {
        run: RunId(7),
        task: "fit[3]".parse().expect("a task"),
        number,
    };
    let (base, backoff) = (Span::from_secs(100), Backoff::default());
    let backoff = Backoff {
        initial: base,
        ..backoff
    };
    let mut tenths = [0; 10];
    for number in 0..2_000 {
        let wait = delay(&backoff, 1, &attempt(number));
        let off = wait.0 - base.0;
        assert!(off.abs() <= base.0 / 10, "{wait}");
        let tenth = (off + base.0 / 10) * 10 / (base.0 / 5 + 1);
        tenths[usize::try_from(tenth).expect("in the swing")] += 1;
    }
    assert!(
        tenths.iter().all(|it| *it > 100),
        "spread evenly: {tenths:?}"
    );
}

#[test]
fn a_service_that_says_when_to_come_again_is_believed() {
    let mut w = World::with(exact()).flow(&one(json!({})));
    w.start("one");
    let asks = |text: &str| Reason::Throttled {
        message: message(text),
    };
    assert_eq!(fails(&mut w, asks("429, Retry-After: 30")), Some(30.));
    assert_eq!(
        fails(&mut w, asks("429, retry-after=1")),
        Some(2.),
        "ours is longer"
    );
    assert_eq!(
        fails(&mut w, asks("Retry-After: soon")),
        Some(4.),
        "no number of seconds"
    );
    assert_eq!(
        fails(&mut w, asks("Retry-After: 86400")),
        Some(3600.),
        "an hour at most"
    );
}

#[test]
fn no_class_eats_the_retries_of_another() {
    let grows = json!({
        "on_oom": {"multiplier_percent": 200, "max_bytes": 4096 * MIB},
        "memory_bytes": 512 * MIB,
    });
    let mut more = retry(2);
    more.as_object_mut()
        .expect("an object")
        .extend(grows.as_object().expect("an object").clone());
    let mut w = World::with(exact()).flow(&one(more));
    w.start("one");
    let all: [(fn() -> Outcome, u32); 6] = [
        (|| Outcome::Failed(network()), 5),
        (|| Outcome::Failed(throttled()), 10),
        (|| Outcome::Failed(capacity()), 3),
        (|| Outcome::Failed(oom(512 * MIB)), 2),
        (|| Outcome::Lost(message("its host went away")), 5),
        (|| Outcome::Failed(Reason::Exit { status: 1 }), 2),
    ];
    // One of each in turn, as long as its budget lasts.
    for round in 0..10 {
        for (outcome, budget) in &all {
            if round < *budget {
                w.ended("1/a", outcome());
                if w.core.live_attempts().is_empty() {
                    w.until_due();
                }
                w.restart();
            }
        }
    }
    let used = serde_json::to_value(row(&w).retries).expect("plain data");
    assert_eq!(
        used,
        json!({"user": 2, "infrastructure": 5, "network": 5, "throttled": 10, "capacity": 3, "oom": 2})
    );
    assert_eq!(w.attempt("1/a").number, 28);
    w.ended("1/a", Outcome::Failed(network()));
    assert_eq!(w.run_state(RunId(1)), RunState::Failed, "past its budget");
}

#[test]
fn the_class_and_the_rule_are_stored_on_the_attempt() {
    let mut w = World::new().flow(&one(retry(9)));
    w.start("one");
    let mut told = Vec::new();
    for reason in [
        Reason::Exit { status: 1 },
        network(),
        Reason::UserError {
            message: message("ClientError: An error occurred (ThrottlingException)"),
        },
        Reason::Job {
            message: message("OutOfMemoryError: container killed"),
            exit: Some(137),
        },
        Reason::Exit { status: 137 },
        Reason::Execution {
            error: message("States.TaskFailed"),
            cause: message("Connection refused"),
        },
        Reason::DoNotRetry { status: 202 },
    ] {
        let text = reason.to_string();
        w.ended("1/a", Outcome::Failed(reason));
        let it = &w.changes.attempts[0];
        let class = it.class.expect("it failed");
        told.push(format!(
            "{class} by `{}`: {text}",
            it.rule.as_deref().unwrap_or_default()
        ));
        if w.core.next_deadline().is_some() {
            w.until_due();
        }
    }
    assert_snapshot!(told.join("\n"), @r"
    user by `user`: exit code 1
    network by `network`: the network or a service failed: connection reset by peer
    throttled by `says throttled`: ClientError: An error occurred (ThrottlingException)
    oom by `killed for memory`: OutOfMemoryError: container killed (exit code 137)
    user by `user`: exit code 137
    network by `says network`: the execution ended with States.TaskFailed: Connection refused
    invalid by `invalid`: exit code 202, which means: do not retry
    ");
}

#[test]
fn the_operators_rules_come_first_and_look_at_all_they_name() {
    let rule = |json: Value| serde_json::from_value::<Rule>(json).expect("a rule");
    let rules = [
        rule(
            json!({"name": "license server", "class": "capacity", "executor": "local", "exit": [77, 78]}),
        ),
        rule(
            json!({"name": "flaky", "class": "network", "code": ["user_error"], "text": ["*Flaky*upstream*", "exactly this"]}),
        ),
    ];
    let name = |reason: Reason, executor| classify(&rules, &reason, executor).1;
    use ExecutorKind::{Batch, Local};
    let error = |text: &str| Reason::UserError {
        message: message(text),
    };
    assert_eq!(name(Reason::Exit { status: 78 }, Local), "license server");
    assert_eq!(name(Reason::Exit { status: 79 }, Local), "user");
    assert_eq!(name(Reason::Exit { status: 78 }, Batch), "user");
    assert_eq!(
        name(error("a FLAKY thing: upstream said no"), Batch),
        "flaky"
    );
    assert_eq!(
        name(error("upstream is flaky"), Batch),
        "user",
        "in that order"
    );
    assert_eq!(name(error("Exactly this"), Local), "flaky");
    assert_eq!(name(error("not exactly this"), Local), "user");
    assert_eq!(rules[0].check(), Ok(()));
    let typo = rule(json!({"name": "typo", "class": "user", "code": ["exit", "user_eror"]}));
    assert_eq!(
        typo.check().expect_err("no such code"),
        "rule `typo`: `user_eror` is no code of a reason; docs/why.md lists them"
    );
}

#[test]
fn an_operators_rule_decides_the_budget() {
    let rules = vec![Rule {
        name: message("license server"),
        class: FailureClass::Capacity,
        executor: None,
        code: Vec::new(),
        exit: vec![77],
        text: Vec::new(),
    }];
    let mut w = World::with(Config {
        rules,
        ..Config::default()
    })
    .flow(&one(json!({})));
    let reason = Reason::Exit { status: 77 };
    assert_eq!(waits(&mut w, &reason), [300., 600., 900.]);
}

#[test]
fn an_error_that_only_looks_like_the_network_is_the_users_in_the_end() {
    let mut w = World::with(exact()).flow(&one(retry(1)));
    let reason = Reason::UserError {
        message: message("ConnectionError: Connection refused"),
    };
    assert_eq!(waits(&mut w, &reason), [1., 2., 4., 8., 16., 1.]);
}

#[test]
fn what_ran_out_of_memory_is_repeated_at_once_with_more() {
    let grows = json!({
        "memory_bytes": 512 * MIB,
        "on_oom": {"multiplier_percent": 200, "max_bytes": 1536 * MIB},
    });
    let mut w = World::new().flow(&one(grows));
    w.start("one");
    w.quiet();
    let mut given = vec![w.submission("1/a").memory_bytes];
    for _ in 0..2 {
        let limit = w.submission("1/a").memory_bytes.expect("limited");
        assert_eq!(fails(&mut w, oom(limit)), Some(0.));
        assert_eq!(w.changes.attempts[0].memory_bytes, Some(limit));
        w.restart();
        given.push(w.submission("1/a").memory_bytes);
    }
    assert_eq!(given, [512, 1024, 1536].map(|it| Some(it * MIB)));
    // Another failure keeps what it grew to.
    w.ended("1/a", Outcome::Lost(message("gone")));
    w.until_due();
    assert_eq!(w.submission("1/a").memory_bytes, Some(1536 * MIB));
    assert_eq!(
        fails(&mut w, oom(1536 * MIB)),
        None,
        "it may not grow further"
    );
    // Whoever resumes it gets what was found out.
    w.advance(Span::from_secs(1));
    w.resume(RunId(1), None).expect("it failed");
    assert_eq!(w.submission("1/a").memory_bytes, Some(1536 * MIB));
}

#[test]
fn memory_elsewhere_grows_no_further_than_a_machine_has() {
    let grows = json!({
        "remote": {"executor": "batch"},
        "memory_bytes": 40_000 * MIB,
        "on_oom": {"multiplier_percent": 200, "max_bytes": 1_000_000 * MIB},
    });
    let mut w = World::new().flow(&one(grows));
    w.start("one");
    assert_eq!(fails(&mut w, oom(40_000 * MIB)), Some(0.));
    let given = w.submission("1/a").memory_bytes.expect("limited");
    assert!(
        (60_000 * MIB..64_000 * MIB).contains(&given),
        "{} MiB",
        given / MIB
    );
    assert_eq!(fails(&mut w, oom(given)), None);
}

#[test]
fn what_may_not_grow_is_the_users_and_the_next_size_is_named() {
    let mut w = World::new().flow(&one(retry(1)));
    w.start("one");
    assert_eq!(fails(&mut w, oom(8192 * MIB)), Some(1.));
    assert_eq!((row(&w).retries.user, row(&w).retries.oom), (1, 0));
    assert_eq!(fails(&mut w, oom(8192 * MIB)), None);
    assert_eq!(w.changes.attempts[0].class, Some(FailureClass::Oom));
    let rows = w.snapshot(RunId(1));
    let told = dalsegno_scheduler::explain_run(&rows.run, &rows.tasks);
    assert_snapshot!(crate::world::explained(&told), @r"
    run 1: a failed -> dalsegno resume 1
    run 1, task a: failed: out of memory: the limit is 8192 MiB -> raise resources.memory of the step to 16 GiB: c6i.4xlarge, or let it grow by itself (on_oom), and resume the run
    ");
}

#[test]
fn a_cancelled_run_repeats_nothing_of_any_class() {
    for reason in [network(), throttled(), capacity(), oom(MIB)] {
        let mut w = World::new().flow(&one(
            json!({"on_oom": {"multiplier_percent": 200, "max_bytes": 64 * MIB}}),
        ));
        w.start("one");
        w.cancel(RunId(1));
        w.ended("1/a", Outcome::Failed(reason));
        assert_eq!(w.run_state(RunId(1)), RunState::Cancelled);
    }
}

#[test]
fn the_next_queue_is_chosen_by_how_often_there_was_no_machine() {
    let mut w = World::new().flow(&one(json!({"remote": {"executor": "batch"}})));
    w.start("one");
    let told = |w: &World| {
        let remote = w.submission("1/a").remote.expect("it runs elsewhere");
        (remote.capacity_retries, remote.lost_retries)
    };
    assert_eq!(told(&w), (0, 5));
    fails(&mut w, capacity());
    assert_eq!(told(&w), (1, 5));
    w.ended("1/a", Outcome::Lost(message("its host went away")));
    w.until_due();
    assert_eq!(told(&w), (1, 4));
}
