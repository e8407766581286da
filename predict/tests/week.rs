//! Days of the real core, in virtual time.

use dalsegno_predict::week::{
    Deployed, Options, Past, Start, Success, Verdict, Week, compare, simulate,
};
use dalsegno_predict::{Histories, StepTime};
use dalsegno_scheduler::{Config, Limit, RunId, Span, Timestamp};
use serde_json::json;
use std::sync::Arc;

const INGEST: &str = "
flow: ingest
schedule: { cron: '0 5 * * *', timezone: Europe/Berlin }
steps:
  load: { run: 'true', pools: { db: 1 } }
";
const TRAIN: &str = "
flow: train
triggers: { flow: ingest }
steps:
  fit: { run: 'true', pools: { db: 1 } }
  tell: { after: fit, run: 'true' }
";
const OTHER: &str = "
flow: other
schedule: { cron: '5 5 * * *', timezone: Europe/Berlin }
steps:
  scan: { run: 'true', pools: { db: 1 } }
";

/// Monday before the clocks of Berlin are put back on Sunday the 25th of October.
fn monday() -> Timestamp {
    Timestamp::parse_rfc3339("2026-10-19T00:00:00Z").expect("a time")
}

fn deployed(text: &str) -> Deployed {
    let file = dalsegno_flowfile::parse("test.yaml", text);
    let file = file.unwrap_or_else(|found| panic!("{}", found.render(false)));
    Deployed {
        file: format!("{}.yaml", file.flow.name()),
        flow: file.flow,
        version: file.version,
    }
}

fn start(files: &[&str], slots: u32) -> Start {
    Start {
        config: Config {
            pools: [("db".into(), slots)].into(),
            ..Config::default()
        },
        rows: Default::default(),
        flows: files.iter().map(|it| deployed(it)).collect(),
        removed: Vec::new(),
    }
}

/// Each of these steps took so many minutes, every day for a month.
fn past(steps: &[(&str, &str, i64)]) -> Past {
    let mut times = Vec::new();
    for (flow, step, minutes) in steps {
        for day in 1..=30 {
            let from = monday() - Span::from_mins(day * 24 * 60);
            let took = Span::from_mins(*minutes);
            times.push(StepTime {
                flow: (*flow).into(),
                run: RunId(day as u64),
                started_at: from,
                finished_at: from + took,
                step: (*step).into(),
                tasks: 1,
                from,
                to: from + took,
                of_one: took,
            });
        }
    }
    Past {
        histories: Histories::new(&times),
        ..Past::default()
    }
}

fn usual() -> Past {
    past(&[
        ("ingest", "load", 30),
        ("train", "fit", 60),
        ("train", "tell", 1),
        ("other", "scan", 20),
    ])
}

fn week(files: &[&str], slots: u32, past: &Past, seed: u64) -> Week {
    let options = Options {
        from: monday(),
        until: monday() + Span::from_mins(7 * 24 * 60),
        seed,
        assumed: Span::from_mins(1),
    };
    simulate(start(files, slots), past, &options)
}

fn minutes(us: i64) -> i64 {
    us / 60_000_000
}

#[test]
fn flows_wait_for_each_other_and_for_slots() {
    let it = week(&[INGEST, TRAIN, OTHER], 1, &usual(), 1);
    let names: Vec<&str> = it.flows.iter().map(|it| it.flow.as_str()).collect();
    assert_eq!(names, ["ingest", "other", "train"]);
    for flow in &it.flows {
        // Seven mornings, the one after the clock change an hour later in UTC.
        assert_eq!(
            (flow.runs, flow.succeeded, flow.failed),
            (7, 7, 0),
            "{flow:?}"
        );
    }
    let [ingest, other, train] = &it.flows[..] else {
        panic!("three flows")
    };
    // Nobody is before it; the scan waits for its slot, and the training for both.
    assert!(
        (28..40).contains(&minutes(ingest.finish_us.p50)),
        "{ingest:?}"
    );
    assert!(
        (45..60).contains(&minutes(other.finish_us.p50)),
        "{other:?}"
    );
    assert!(
        (75..110).contains(&minutes(train.finish_us.p50)),
        "{train:?}"
    );
    let pool = it
        .limits
        .iter()
        .find(|it| it.limit == Limit::Pool("db".into()));
    let pool = pool.expect("the pool is told of");
    assert_eq!((pool.capacity, pool.peak), (1, 1));
    // 110 minutes a day, and nearly 25 + 20 of waiting.
    assert!((65..95).contains(&pool.used_permille), "{pool:?}");
    assert!(minutes(pool.waited_us) > 7 * 35, "{pool:?}");
    assert!(it.breaches.is_empty() && it.failures.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let text = |seed| serde_json::to_string(&week(&[INGEST, TRAIN, OTHER], 1, &usual(), seed));
    let (one, other) = (text(1).expect("JSON"), text(1).expect("JSON"));
    assert_eq!(one, other);
    assert_ne!(one, text(2).expect("JSON"));
}

#[test]
fn what_another_flow_costs_is_told() {
    let before = week(&[INGEST, TRAIN], 1, &usual(), 1);
    let after = week(&[INGEST, TRAIN, OTHER], 1, &usual(), 1);
    let diff = compare(&before, &after);
    assert_eq!(diff.new_flows, ["other".into()]);
    let worse: Vec<(&str, &str)> = diff
        .changes
        .iter()
        .filter(|it| it.verdict == Verdict::Worse)
        .map(|it| (it.of.as_str(), it.what))
        .collect();
    assert!(worse.contains(&("train", "finish")), "{worse:?}");
    assert!(!worse.iter().any(|it| it.0 == "ingest"), "{worse:?}");
    let back = compare(&after, &before);
    assert!(
        back.changes
            .iter()
            .any(|it| it.of == "train" && it.verdict == Verdict::Better)
    );
    assert!(compare(&after, &after).changes.is_empty());
}

#[test]
fn what_cannot_be_known_is_said() {
    let files = [
        "flow: arrivals\ntriggers: { s3: 's3://arrivals/*.csv' }\nsteps: { a: { run: 'true' } }",
        "flow: by_hand\nsteps: { a: { run: 'true' } }",
        "flow: new\nschedule: { cron: '0 1 * * *' }\nsteps: { a: { run: 'true' } }",
    ];
    let it = week(&files, 1, &Past::default(), 1);
    let facts = it.facts.join("\n");
    for part in [
        "objects s3://arrivals/*.csv come from outside and do not come here: arrivals waits for them",
        "started by hand only, so never here: by_hand",
        "no step of these ever succeeded, so each task takes 1m (or its timeout, if that is less): new/a",
        "every task succeeds",
    ] {
        assert!(facts.contains(part), "{part}\n{facts}");
    }
    let new = it.flows.iter().find(|it| it.flow.as_str() == "new");
    assert_eq!(
        new.map(|it| (it.runs, minutes(it.finish_us.p50))),
        Some((7, 1))
    );
}

#[test]
fn outputs_of_the_past_decide_which_way_runs_go() {
    let file = "
flow: ways
schedule: { cron: '0 1 * * *' }
steps:
  count: { run: 'true', outputs: [n] }
  many: { after: count, when: 'steps.count.outputs.n > 3', run: 'true' }
";
    let mut past = past(&[("ways", "count", 1), ("ways", "many", 50)]);
    for (n, finish) in [(2, 1), (7, 50)] {
        let outputs = json!({ "n": n }).as_object().cloned().unwrap_or_default();
        let success = Success {
            outputs,
            ..Success::default()
        };
        past.successes
            .insert(("ways".into(), "count".into()), success);
        let it = week(&[file], 1, &past, 1);
        assert!(it.failures.is_empty(), "{:?}", it.failures);
        assert_eq!(
            minutes(it.flows[0].finish_us.p50) / 50,
            finish / 50,
            "{it:?}"
        );
    }
}

#[test]
fn what_runs_out_of_time_fails() {
    let file = "
flow: slow
schedule: { cron: '0 1 * * *' }
steps:
  a: { run: 'true', timeout: 10m }
";
    let it = week(&[file], 1, &past(&[("slow", "a", 30)]), 1);
    assert_eq!((it.flows[0].runs, it.flows[0].failed), (7, 7));
    assert_eq!(it.failures.len(), 1, "{:?}", it.failures);
}

#[test]
fn a_run_that_is_under_way_goes_on() {
    use dalsegno_scheduler::{Input, Report, Scheduler};
    // Half an hour ago the core began a run, and its rows are all that is left of it.
    let config = start(&[], 1).config;
    let mut core = Scheduler::recover(config, Default::default());
    let mut rows = dalsegno_scheduler::row::Recovered::default();
    let began = monday() - Span::from_mins(20);
    let flow = deployed(INGEST);
    let deploy = Input::Deploy {
        flow: flow.flow.clone(),
        version: flow.version.clone(),
        source: Arc::from(""),
        file: flow.file.clone(),
    };
    let begin = Input::Start(dalsegno_scheduler::StartRequest {
        flow: "ingest".into(),
        params: Default::default(),
        key: None,
        by: "ada".to_owned(),
    });
    for input in [deploy, begin] {
        let (decision, _) = core.decide(began, input).expect("it applies");
        core.install(decision);
    }
    let attempt = core.live_attempts().pop_first().expect("it runs");
    let report = Report::Started {
        external_id: "1".into(),
        at: began,
    };
    let (decision, _) = core
        .decide(began, Input::Report { attempt, report })
        .expect("live");
    core.install(decision);
    let run = core.runs().next().expect("one run").clone();
    rows.tasks = core.tasks(run.id).cloned().collect();
    rows.runs = vec![run];
    rows.flows = core.flows().map(|it| it.row.clone()).collect();
    rows.versions = vec![dalsegno_scheduler::row::FlowVersionRow {
        flow: "ingest".into(),
        version: flow.version,
        source: String::new(),
        definition: serde_json::to_string(flow.flow.spec()).expect("JSON"),
        created_at: began,
    }];
    rows.last_run = 1;
    let options = Options {
        from: monday(),
        until: monday() + Span::from_mins(60),
        seed: 1,
        assumed: Span::from_mins(1),
    };
    let start = Start {
        rows,
        flows: Vec::new(),
        ..start(&[], 1)
    };
    let it = simulate(start, &usual(), &options);
    let ingest = &it.flows[0];
    assert_eq!((ingest.runs, ingest.succeeded), (1, 1), "{it:?}");
    assert!(
        (29..45).contains(&minutes(ingest.finish_us.p50)),
        "{ingest:?}"
    );
}

/// Measured by `cargo xtask bench --only r` on the release build.
#[test]
fn a_week_of_many_flows_ends() {
    let flows = (0..60).map(|number| {
        format!(
            "flow: f{number}\nschedule: {{ cron: '{} {} * * *' }}\nsteps:\n  a: {{ run: 'true' }}\n  b: {{ after: a, run: 'true' }}\n",
            number % 60,
            number % 24
        )
    });
    let flows: Vec<String> = flows.collect();
    let files: Vec<&str> = flows.iter().map(String::as_str).collect();
    let it = week(&files, 1, &Past::default(), 1);
    // The last one begins a minute before the end.
    assert_eq!(
        (it.runs, it.tasks, it.stopped_at),
        (60 * 7, 60 * 14 - 2, None)
    );
}

const PROMISED: &str = "
flow: train
triggers: { flow: ingest }
steps:
  fit: { run: 'true', pools: { db: 1 } }
  tell: { after: fit, run: 'true' }
sla:
  - { finish_by: '06:45', timezone: Europe/Berlin }
  - { max_queue_wait: 10m }
";

#[test]
fn promises_that_will_be_broken_are_named_with_their_days() {
    // 05:00, half an hour of ingest, an hour and a minute of train: 06:31.
    let kept = week(&[INGEST, PROMISED], 1, &usual(), 1);
    assert_eq!(kept.breaches, []);
    // With a scan of 20 minutes on the same slot, it is 06:51.
    let late = week(&[INGEST, PROMISED, OTHER], 1, &usual(), 1);
    let told: Vec<String> = late
        .breaches
        .iter()
        .map(|it| {
            let met = it.met_at.map(|it| it.to_string()).unwrap_or_default();
            format!("{} {} {} {met}", it.promise, it.period, it.due_at)
        })
        .collect();
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(
        told[0],
        "finish_by day:2026-10-19 2026-10-19T04:45:00Z 2026-10-19T04:51:00Z"
    );
    // The night in which clocks are put back: the same hour of the wall clock.
    assert_eq!(
        told[6],
        "finish_by day:2026-10-25 2026-10-25T05:45:00Z 2026-10-25T05:51:00Z"
    );
    let diff = compare(&kept, &late);
    assert_eq!(diff.new_breaches.len(), 7);
    assert_eq!(compare(&late, &late).new_breaches, []);
}

#[test]
fn the_same_breach_of_a_run_is_the_same_though_runs_have_other_numbers() {
    let slow = "
flow: report
schedule: { cron: '0 7 * * *' }
steps: { a: { run: 'true' } }
sla: [{ max_duration: 5m }]
";
    let past = past(&[("report", "a", 9)]);
    let before = week(&[slow], 1, &past, 1);
    let after = week(&[INGEST, slow], 1, &past, 1);
    assert_eq!((before.breaches.len(), after.breaches.len()), (7, 7));
    let diff = compare(&before, &after);
    assert_eq!((diff.new_breaches, diff.gone_breaches), (vec![], vec![]));
}

#[test]
fn what_waits_for_the_outside_is_not_judged() {
    let waits = "
flow: landing
triggers: { event: orders.landed }
steps: { a: { run: 'true' } }
sla: [{ finish_by: '08:00', timezone: UTC }]
";
    let after = "
flow: mart
triggers: { flow: landing }
steps: { a: { run: 'true' } }
sla: [{ finish_by: '09:00', timezone: UTC }]
";
    let it = week(&[waits, after], 1, &Past::default(), 1);
    assert_eq!(it.breaches, []);
    let told: Vec<&String> = it.facts.iter().filter(|it| it.starts_with("not")).collect();
    assert_eq!(told.len(), 2, "{:?}", it.facts);
}
