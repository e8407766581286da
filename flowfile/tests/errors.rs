//! Every kind of error, as the person who made it sees it.

use dalsegno_flowfile::parse;
use std::fmt::Write;

/// Renders the findings of each text, one after the other.
fn shown<const N: usize>(texts: [&str; N]) -> String {
    let mut all = String::new();
    for text in texts {
        let found = match parse("flow.yaml", text) {
            Ok(file) if file.warnings.is_empty() => panic!("nothing is wrong with\n{text}"),
            Ok(file) => file.warnings,
            Err(found) => found,
        };
        for it in &found {
            assert!(it.help.is_some(), "no cure: {it:?}");
        }
        writeln!(all, "{}\n────────", found.render(false).trim_end()).expect("a string");
    }
    all
}

macro_rules! assert_shown {
    ($texts:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown($texts)) })
    };
}

/// Puts lines below the name of a flow that has one step.
macro_rules! with_step {
    ($($line:literal),+ $(,)?) => {
        concat!("flow: shop\n", $($line, "\n",)+ "steps:\n  only:\n    run: ./only.sh\n")
    };
}

macro_rules! steps {
    ($($line:literal),+ $(,)?) => {
        concat!("flow: shop\nsteps:\n", $("  ", $line, "\n",)+)
    };
}

#[test]
fn unknown_keys_suggest_the_right_one() {
    assert_shown!([
        with_step!["shedule:", "  - cron: '0 6 * * *'"],
        steps!["a: { run: x, retries: 3, tiemout: 5m, needs: b }"],
        with_step!["colour: blue"],
        with_step!["schedule: { cron: '@daily', timezon: UTC, dst: { gab: skip } }"],
    ]);
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    assert_shown!([
        with_step!["description: [a, b]"],
        steps!["a: { run: x, timeout: 30 }"],
        steps!["a: { run: x, timeout: { minutes: 3 } }"],
        steps!["a: { run: x, retry: often }"],
        steps!["a: ./run.sh"],
        "flow: shop\nsteps:\n  - run: x\n",
        with_step!["run: { priority: high, max_parallel_tasks: 0 }"],
        with_step!["env: [A, B]"],
        steps!["a: { run: { python: x } }"],
        steps!["a: { run: x, foreach: 5 }"],
        steps!["a: { run: x, foreach: params.regions }"],
        steps!["a: { run: x, resources: { memory: 30 } }"],
        steps!["a: { run: x, on_failure: ignore }"],
        with_step!["run: { strategy: sequentiel }"],
        with_step!["run: { strategy: parallel }"],
    ]);
}

#[test]
fn what_is_missing_is_named() {
    assert_shown!([
        "",
        "# only a comment\n",
        "description: no name\nsteps: { a: { run: x } }\n",
        "flow: shop\n",
        "flow: shop\nsteps:\n",
        "flow: shop\nsteps: {}\n",
        "name: something else\n",
        steps!["a: { after: [] }"],
        steps!["a: { run: '' }"],
        steps!["a: { foreach: [1], steps: {} }"],
        steps!["a: { steps: { b: { run: x } } }"],
        with_step!["schedule: { timezone: UTC }"],
        with_step!["triggers: [{ where: 'true' }]"],
        with_step!["defaults: { retry: { minutes_between_retries: 2 } }"],
        with_step!["params: { n: { default: 3 } }"],
    ]);
}

#[test]
fn cycles_are_shown_with_their_path() {
    assert_shown!([
        steps![
            "a:",
            "  after: c",
            "  run: x",
            "b:",
            "  after: a",
            "  run: x",
            "c:",
            "  after: [b]",
            "  run: x"
        ],
        steps!["a: { run: x, after: a }"],
        steps![
            "a: { run: x, after: b, foreach: [1] }",
            "b: { run: x, after: a }"
        ],
    ]);
}

#[test]
fn steps_must_exist_and_be_in_reach() {
    assert_shown!([
        steps!["extract: { run: x }", "load: { run: x, after: extrct }"],
        steps![
            "grid: { foreach: [1], steps: { fit: { run: x } } }",
            "best: { run: x, after: fit }"
        ],
        steps![
            "start: { run: x }",
            "grid: { foreach: [1], steps: { fit: { run: x, after: start } } }"
        ],
        steps!["a: { run: x }", "b: { run: x, after: [a, a] }"],
    ]);
}

#[test]
fn names_have_a_grammar_and_are_unique() {
    assert_shown!([
        "flow: my shop\nsteps: { a: { run: x } }\n",
        steps!["1st step: { run: x }"],
        steps![
            "a: { run: x }",
            "b: { foreach: [1], steps: { a: { run: x } } }"
        ],
        steps!["a: { run: x }", "a: { run: y }"],
        with_step!["params: { path: { type: string, default: a } }"],
        with_step![
            "params: { day: { type: string, default: a }, DAY: { type: string, default: b } }"
        ],
        with_step!["env: { DALSEGNO_TOKEN: secret }"],
        steps!["a: { run: x, outputs: [best-one] }"],
        steps!["a: { run: x, pools: { 'gpu pool': 1, cpu: 0 } }"],
    ]);
}

#[test]
fn schedules_are_checked_field_by_field() {
    assert_shown!([
        with_step!["schedule:", "  - cron: '61 6 * * *'"],
        with_step!["schedule:", "  - cron: '0 6 * *'"],
        with_step!["schedule: { cron: '@dayly' }"],
        with_step!["schedule: { cron: '0 6 * * *', timezone: Europe/Berln }"],
        with_step!["schedule: { every: 0s }"],
        with_step!["schedule: { every: 15 minutos }"],
        with_step!["schedule: { every: 15m, cron: '@daily' }"],
        with_step!["schedule: { every: 15m, jitter: 20m, dst: { gap: skip } }"],
        with_step!["schedule: { every: 15m, start: 2026-02-30, end: tomorrow }"],
        with_step!["schedule: { every: 15m, start: 2026-03-01, end: 2026-02-01 }"],
        with_step!["schedule: [{ every: 15m, name: a }, { every: 20m, name: a }]"],
        with_step!["schedule: { every: 15m, misfire: { down: newest, max: 0 } }"],
    ]);
}

#[test]
fn triggers_are_checked() {
    assert_shown!([
        with_step!["triggers: [{ flow: a, event: b }]"],
        with_step!["triggers: [{ event: a, on: failed, within: 5m, join_on: none }]"],
        with_step!["triggers: [{ flow: a, on: success }]"],
        with_step!["triggers: [{ all_of: [], where: 'true' }]"],
        with_step!["triggers: [{ all_of: [{ flow: a, join: event.x }, { flow: b }] }]"],
        with_step!["triggers: [{ flow: shop }]"],
        with_step!["triggers: [{ event: 'two words' }]"],
        with_step!["triggers: [{ flow: a, params: { day: x } }]"],
    ]);
}

#[test]
fn objects_are_checked() {
    assert_shown!([
        with_step!["triggers: { s3: s3://shop-data }"],
        with_step!["triggers: { s3: s3://shop-data/ }"],
        with_step!["triggers: { s3: s3://shop-data/orders/ }"],
        with_step!["triggers: { s3: shop-data/orders/*.csv }"],
        with_step!["triggers: { s3: arn:aws:s3:::shop-data/orders/*.csv }"],
        with_step!["triggers: { s3: s3://shop-*/orders/*.csv }"],
        with_step!["triggers: { s3: s3://Shop_Data/orders/*.csv }"],
        with_step!["triggers: { s3: s3://ab/orders/*.csv }"],
        with_step!["triggers: { s3: s3://shop-data/***/x }"],
        with_step!["triggers: { s3: 's3://shop-data/dt%3D*/{a,b}.csv' }"],
        with_step!["triggers: { s3: s3://shop-data//orders/*.csv }"],
        with_step!["triggers: { s3: 's3://shop-data/${{ params.x }}/*' }"],
        with_step!["triggers: { s3: [s3://shop-data/a, s3://shop-data/b] }"],
    ]);
}

#[test]
fn captures_are_there_for_each_wildcard_and_no_more() {
    const DAY: &str = "params: { day: { type: string, default: x } }";
    let with = |trigger: &str| {
        format!("flow: shop\n{DAY}\ntriggers:\n{trigger}\nsteps:\n  only: {{ run: x }}\n")
    };
    let texts = [
        "  s3: s3://shop-data/orders/dt=*/_SUCCESS\n  params: { day: '${{ event.match[1] }}' }",
        "  s3: s3://shop-data/*/**/a-?.csv\n  where: event.match[3] == 'x'",
        "  s3: s3://shop-data/orders/all.csv\n  where: event.match[0] == 'x'",
        "  event: orders.ready\n  params: { day: '${{ event.match[0] }}' }",
        "  all_of: [{ s3: s3://shop-data/* }, { s3: s3://shop-data/a/*/* }]\n  join_on: event.match[1]",
        "  all_of: [{ s3: s3://shop-data/* }, { flow: load }]\n  join_on: event.match[0]",
    ]
    .map(with);
    assert_shown!([0, 1, 2, 3, 4, 5].map(|it| texts[it].as_str()));
    let good = with(
        "  s3: s3://shop-data/*/**/a-?.csv\n  where: event.match[2] == 'x' && event['match'][0] != ''",
    );
    let file = parse("flow.yaml", &good).unwrap_or_else(|it| panic!("{}", it.render(false)));
    assert!(file.warnings.is_empty());
}

#[test]
fn data_sets_and_times_are_checked() {
    assert_shown!([
        with_step!["triggers: { dataset: warehouse.customers }"],
        with_step!["triggers: { dataset: { namespace: warehouse } }"],
        with_step!["triggers: { dataset: { namespace: '', name: customers, tabel: x } }"],
        with_step!["triggers: { dataset: { namespace: warehouse, name: sales.* } }"],
        with_step!["triggers: { after: '06:00' }"],
        with_step!["triggers: { any_of: [{ flow: a }, { after: '06:00' }] }"],
        with_step!["triggers: { all_of: [{ after: '06:00' }, { after: '07:00' }] }"],
        with_step!["triggers: { all_of: [{ flow: a }, { after: '6:00' }] }"],
        with_step!["triggers: { all_of: [{ flow: a }, { after: 6 }] }"],
        with_step!["triggers: { all_of: [{ flow: a }, { after: '24:00' }] }"],
        with_step![
            "triggers: { all_of: [{ flow: a }, { after: '06:00', where: 'true' }], timezone: Europe/Berln }"
        ],
    ]);
}

#[test]
fn what_is_done_with_events_is_checked() {
    assert_shown!([
        with_step!["triggers: { flow: a, consume: newest }"],
        with_step!["triggers: { flow: a, consume: batch }"],
        with_step!["triggers: { flow: a, consume: { batch: { max: 0 } } }"],
        with_step!["triggers: { flow: a, consume: { batch: { max: 20000, window: 5 } } }"],
        with_step!["triggers: { flow: a, consume: latest }"],
        with_step!["triggers: { flow: a, debounce: 60s }"],
        with_step!["triggers: { flow: a, debounce: { max_wait: 10m } }"],
        with_step!["triggers: { flow: a, debounce: { quiet: 10m, max_wait: 60s } }"],
        with_step![
            "triggers: { flow: a, debounce: { quiet: 1m }, consume: { batch: { max: 5, window: 5m } } }"
        ],
        with_step!["triggers: { flow: a, on_deadline: { do: alert } }"],
        with_step!["triggers: { flow: a, on_deadline: { at: 9am, do: wait } }"],
        with_step!["triggers: { flow: a, timezone: Europe/Berlin }"],
        with_step![
            "params: { day: { type: date } }",
            "triggers: { event: a, params: { day: '${{ event.data.day }}' }, on_deadline: { at: '09:00', do: run } }"
        ],
    ]);
}

#[test]
fn what_can_rarely_meet_by_interval_is_told() {
    assert_shown!([
        with_step!["triggers: { all_of: [{ flow: a }, { event: b }] }"],
        with_step!["triggers: { all_of: [{ flow: a }, { s3: s3://shop-data/* }] }"],
        with_step![
            "triggers: { join_on: interval, all_of: [{ flow: a }, { s3: s3://shop-data/* }] }"
        ],
        with_step!["triggers: { all_of: [{ flow: a }, { dataset: { namespace: n, name: d } }] }"],
    ]);
}

#[test]
fn steps_that_run_flows_are_checked() {
    assert_shown!([
        steps!["a: { flow: shop }"],
        steps!["a: { flow: load all, wait: maybe }"],
        steps!["a: { flow: load, run: x }"],
        steps!["a: { run: x, wait: false, params: { n: 1 } }"],
        steps![
            "a: { flow: load, env: { A: 1 }, outputs: [n], resources: { memory: 1GiB }, grace: 5s }"
        ],
        steps!["a: { flow: load, params: [n] }"],
        steps!["a: { flow: load, params: { n: 1, day: '${{ params.dya }}' } }"],
        steps![
            "a: { flow: load }",
            "b: { run: x, after: a, when: steps.a.outputs.rows > 0 }"
        ],
        steps!["a: { foreach: [1], flow: load, steps: { b: { run: x } } }"],
    ]);
}

#[test]
fn expressions_are_checked_with_their_column() {
    assert_shown!([
        steps!["a: { run: x, when: 'params.n >' }"],
        steps![
            "a:",
            "  run: x",
            "  env:",
            "    TEXT: \"n is ${{ params.n + }} today\""
        ],
        steps!["a: { run: x, env: { N: '${{ params.n' } }"],
        steps![
            "a:",
            "  run: x",
            "  when: >",
            "    1 == 1",
            "    && prams.n > 1"
        ],
        steps!["a: { run: x, when: '' }"],
        steps!["a: { run: 'echo ${{ params.n }}' }"],
        steps!["a: { run: x, foreach: ['${{ params.n }}', 2] }"],
        steps!["a: { run: x, foreach: 'x ${{ params.n }}' }"],
        steps!["a: { run: x, when: '1 = 1' }"],
        steps!["a: { run: x, when: 1 == 1 and 2 == 2 }"],
        steps!["a: { run: x, when: size(1 }"],
    ]);
}

#[test]
fn names_in_expressions_must_be_known() {
    assert_shown!([
        with_step![
            "params: { threshold: { type: float, default: 1 } }",
            "env: { T: '${{ params.treshold }}' }"
        ],
        steps!["a: { run: x, when: params.n > 1 }"],
        concat!(
            "flow: shop\nparams: { n: { type: int, default: 1 } }\n",
            "steps: { a: { run: x, when: n > 1 } }"
        ),
        steps!["a: { run: x, when: event.data.x && item == 1 }"],
        with_step!["triggers: [{ event: a, where: params.n > 1 }]"],
        with_step!["env: { A: '${{ steps.only.outputs.x }}' }"],
        steps![
            "extract: { run: x, outputs: [day] }",
            "load: { run: x, after: extract, when: steps.extrct.outputs.day == '' }"
        ],
        steps![
            "extract: { run: x, outputs: [day] }",
            "load: { run: x, after: extract, when: steps.extract.outputs.dya == '' }"
        ],
        steps![
            "extract: { run: x, outputs: [day] }",
            "load: { run: x, after: extract, when: steps.extract.day == '' }"
        ],
        steps![
            "extract: { run: x, outputs: [day] }",
            "load: { run: x, when: steps.extract.outputs.day == '' }"
        ],
        steps![
            "extract: { run: x, after: load, outputs: [day] }",
            "load: { run: x, when: steps.extract.outputs.day == '' }"
        ],
        steps![
            "grid: { foreach: [1], steps: { fit: { run: x, outputs: [auc] } } }",
            "best: { run: x, env: { AUC: '${{ steps.fit.outputs.auc }}' } }"
        ],
        steps![
            "grid: { foreach: [1], steps: { fit: { run: x } } }",
            "best: { run: x, after: grid, env: { AUC: '${{ steps.grid.outputs.auc }}' } }"
        ],
        steps![
            "a: { run: x }",
            "b: { run: x, after: a, when: steps.a.outputs.found }"
        ],
    ]);
}

#[test]
fn parameters_are_checked() {
    assert_shown!([
        with_step!["params: { n: { type: int, default: three } }"],
        with_step!["params: { n: { type: integer } }"],
        with_step!["params: { n: 5 }"],
        with_step!["params: { n: { type: int, min: 5, max: 1 } }"],
        with_step!["params: { n: { type: int, min: 5, default: 1 } }"],
        with_step!["params: { d: { type: date, default: 2026-02-30 } }"],
        with_step!["params: { d: { type: datetime, default: 2026-02-20 } }"],
        with_step!["params: { s: { type: string, default: 5, min: 1 } }"],
        with_step!["params: { s: { type: string, default: c, choices: [a, b] } }"],
        with_step!["params: { day: { type: date } }", "schedule: { every: 1h }"],
        with_step![
            "params: { day: { type: date } }",
            "triggers: { any_of: [{ event: a, params: { day: 2026-01-01 } }, { event: b }] }"
        ],
        with_step![
            "params: { day: { type: date } }",
            "schedule: { every: 1h, params: { dya: 2026-01-01, day: noon } }"
        ],
    ]);
}

#[test]
fn limits_are_named() {
    assert_shown!([
        steps!["a: { run: x, retry: 101 }"],
        steps!["a: { run: x, timeout: 0s }"],
        steps!["a: { run: x, timeout: -5s }"],
        steps!["a: { run: x, timeout: 99999d }"],
        steps![
            "a: { run: x, retry: { times: 1, backoff: { initial: 5m, max: 1m, multiplier: 0, jitter: 2 } } }"
        ],
        steps![
            "a: { run: x, retry: { times: 1, minutes_between_retries: 2, backoff: { initial: 5m } } }"
        ],
        steps!["a: { run: x, max_parallel: 3 }"],
        steps![
            "a: { foreach: [1], steps: { b: { foreach: [1], steps: { c: { foreach: [1], steps: { d: { foreach: [1], steps: { e: { foreach: [1], run: x } } } } } } } } }",
        ],
    ]);
}

#[test]
fn what_is_not_yaml_is_explained() {
    assert_shown!([
        "flow: shop\nsteps:\n\ta: { run: x }\n",
        "flow: shop\nsteps:\n  a:\n    run: echo key: value\n",
        "flow: shop\nsteps: { a: { run: x }\n",
        "flow: shop\nsteps:\n  a: { run: \"x }\n",
        "flow: shop\nsteps:\n  a: { run: x, env: { DAY: ${{ params.day }} } }\n",
        "flow: shop\nsteps:\n  a:\n   run: x\n  after: b\n    when: c\n",
        "flow: shop\nsteps: *nothing\n",
        "flow: &a [*a]\nsteps: 1\n",
        "flow: !!binary aGVsbG8=\n",
        "flow: a\n---\nflow: b\n",
        "- flow: shop\n",
        "just some words\n",
        "flow: shop\n? [a, b]\n: c\n",
        "flow: shop\nsteps: { a: { run: x, <<: b } }\n",
    ]);
}

#[test]
fn several_errors_are_told_at_once() {
    let found = parse(
        "flow.yaml",
        "flow: my shop\nparams: { n: { type: int, default: x } }\nschedule: { cron: 'x' }\nsteps:\n  a: { run: x, after: b, timout: 3s }\n",
    )
    .expect_err("five errors");
    let lines: Vec<u32> = found.iter().map(|it| it.line as u32).collect();
    assert_eq!(lines, [1, 2, 3, 5, 5], "{found}");
}

#[test]
fn a_finding_is_json_for_programs() {
    let found = parse(
        "flow.yaml",
        "flow: shop\nsteps: { a: { run: x, timout: 5m } }",
    )
    .expect_err("a typo");
    insta::assert_json_snapshot!(found, @r#"
    [
      {
        "file": "flow.yaml",
        "line": 2,
        "column": 23,
        "severity": "error",
        "code": "flow.unknown_key",
        "message": "unknown key `timout` in `a`",
        "help": "did you mean `timeout`?"
      }
    ]
    "#);
}
