//! Machines as they are compiled, and what they take of the service's limits.

use crate::stage::{Stage, none};
use dalsegno_executor_aws::sfn::asl::Severity;
use dalsegno_executor_aws::sfn::{preflight, prepare};
use dalsegno_executor_aws::{AwsConfig, S3Place};
use dalsegno_scheduler::row::Interval;
use dalsegno_scheduler::{Execution, Flow, RunId, Timestamp, TriggerName, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

fn config() -> AwsConfig {
    AwsConfig {
        installation: "abcd1234".into(),
        s3: Some(S3Place {
            bucket: "jobs".into(),
            prefix: String::new(),
        }),
        queues: vec!["cpu".into()],
        image: Some("busybox".into()),
        state_machine_role: Some("arn:aws:iam::123456789012:role/machines".into()),
        ..AwsConfig::default()
    }
}

fn flow(text: &str) -> Arc<Flow> {
    let text = format!("flow: f\nexecutor: step_functions\n{text}");
    match dalsegno_flowfile::parse("f.yaml", &text) {
        Ok(file) => file.flow,
        Err(found) => panic!("{}", found.render(false)),
    }
}

fn execution(flow: Arc<Flow>) -> Execution {
    Execution {
        params: Arc::default(),
        flow,
        version: Version::new("v1"),
        generation: 1,
        interval: Interval {
            start: Timestamp(0),
            end: Timestamp(0),
        },
        trigger: TriggerName::new("manual"),
        events: Arc::default(),
        done: Vec::new(),
    }
}

/// The states of a machine, one line each: what it is, what it looks at, what comes next.
fn outline(machine: &serde_json::Value, depth: usize, lines: &mut Vec<String>) {
    let pad = "  ".repeat(depth);
    lines.push(format!(
        "{pad}start {}",
        machine["StartAt"].as_str().unwrap_or_default()
    ));
    for (name, state) in machine["States"].as_object().expect("states") {
        let kind = state["Type"].as_str().unwrap_or_default();
        let next = state["Next"]
            .as_str()
            .or_else(|| state["Default"].as_str())
            .unwrap_or("(end)");
        let mut line = format!("{pad}{kind} {name} -> {next}");
        for choice in state["Choices"].as_array().into_iter().flatten() {
            line.push_str(&format!("\n{pad}  {choice}"));
        }
        for (field, what) in [
            ("Catch", "caught by"),
            ("Retry", "repeated"),
            ("Result", "says"),
        ] {
            if state[field].is_array() || state[field].is_string() || state[field].is_object() {
                line.push_str(&format!("\n{pad}  {what} {}", state[field]));
            }
        }
        lines.push(line);
        for branch in state["Branches"].as_array().into_iter().flatten() {
            outline(branch, depth + 1, lines);
        }
        if state["ItemProcessor"].is_object() {
            outline(&state["ItemProcessor"], depth + 1, lines);
        }
    }
}

#[test]
fn flows_compile_to_these_machines() {
    let flows = [
        ("one", "steps: { a: { run: 'true' } }"),
        (
            "chain",
            "steps: { a: { run: 'true' }, b: { after: [a], run: 'true', retry: { times: 3 } } }",
        ),
        (
            "fork",
            "steps: { a: { run: 'true' }, b: { after: [a], run: 'true' }, c: { after: [a], run: 'true' }, d: { after: [b, c], run: 'true' } }",
        ),
        (
            "n_graph",
            "steps: { a: { run: 'true' }, b: { run: 'true' }, c: { after: [a], run: 'true' }, d: { after: [a, b], run: 'true' } }",
        ),
        (
            "apart",
            "steps: { a: { run: 'true' }, b: { after: [a], run: 'true' }, x: { run: 'true' } }",
        ),
        (
            "when",
            "params: { n: { type: int, default: 1 } }\nsteps: { a: { run: 'true', when: 'params.n > 0' }, b: { after: [a], run: 'true' } }",
        ),
        (
            "outputs",
            "steps: { a: { run: 'true', outputs: [x] }, b: { after: [a], run: 'true', when: 'steps.a.outputs.x == 1 && !(steps.a.outputs.x < 0)' } }",
        ),
        (
            "continue",
            "steps: { a: { run: 'true', on_failure: continue }, b: { after: [a], run: 'true' } }",
        ),
        (
            "fail_fast",
            "steps: { a: { run: 'true', on_failure: fail_fast }, b: { run: 'true' } }",
        ),
        (
            "foreach",
            "steps: { a: { run: 'true', foreach: [1, 2] }, b: { after: [a], run: 'true' } }",
        ),
        (
            "nested",
            "steps: { g: { foreach: [1, 2], steps: { h: { foreach: [x], run: 'true' } } } }",
        ),
    ];
    let mut all = Vec::new();
    for (name, text) in flows {
        let prepared = prepare(&config(), &execution(flow(text)), RunId(1), Timestamp(1));
        let prepared = prepared.expect(name);
        let mut lines = vec![format!("== {name}")];
        outline(&prepared.machine.definition, 0, &mut lines);
        all.push(lines.join("\n"));
    }
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn what_has_no_form_is_refused_with_the_cure() {
    let found = preflight(
        &flow(
            "steps: { a: { run: 'true', outputs: [x] }, b: { after: [a], run: 'true', when: 'steps.a.outputs.x.exists(it, it > 1)' } }",
        ),
        &config(),
        &BTreeMap::new(),
    );
    let texts: Vec<String> = found
        .iter()
        .map(|it| format!("{}; {}", it.message, it.cure))
        .collect();
    assert_eq!(
        texts,
        [
            "b: when `steps.a.outputs.x.exists(it, it > 1)`: macros such as `all`, `exists` or `map` over outputs have no form as a choice rule; with `executor: batch` this is decided here"
        ]
    );
    assert_eq!(found[0].severity, Severity::Error);
}

#[test]
fn a_history_that_grows_too_long_is_refused_and_near_it_warned_of() {
    let chain = |steps: usize| {
        let mut text = "steps:\n  s0: { run: 'true' }\n".to_owned();
        for step in 1..steps {
            text.push_str(&format!(
                "  s{step}: {{ run: 'true', after: [s{}] }}\n",
                step - 1
            ));
        }
        flow(&text)
    };
    let worst = |steps: usize| {
        let found = preflight(&chain(steps), &config(), &BTreeMap::new());
        found.into_iter().map(|it| it.severity).max()
    };
    assert_eq!(worst(50), None);
    // A definition of 1 MiB is full before 25,000 events are, for each step takes about 2 KiB of it and 6 events.
    assert_eq!(worst(1_900), Some(Severity::Error));
}

/// All that is found in a flow of this text, worst first: how bad it is, and a part of what is said.
fn found(text: &str) -> Vec<(Severity, String)> {
    let found = preflight(&flow(text), &config(), &BTreeMap::new());
    let mut all: Vec<_> = found
        .into_iter()
        .map(|it| (it.severity, it.message))
        .collect();
    all.sort_by(|a, b| b.cmp(a));
    all
}

/// A foreach of 40 items, which run in the execution's own history, with a chain of so many steps for each.
fn forty_chains(steps: usize) -> String {
    let items: Vec<String> = (0..40).map(|it| it.to_string()).collect();
    let mut text = format!(
        "steps:\n  each:\n    foreach: [{}]\n    steps:\n",
        items.join(", ")
    );
    text.push_str("      s0: { run: 'true' }\n");
    for step in 1..steps {
        let before = step - 1;
        text.push_str(&format!(
            "      s{step}: {{ run: 'true', after: [s{before}] }}\n"
        ));
    }
    text
}

#[test]
fn events_of_a_history_are_warned_of_from_20_000_and_refused_above_25_000() {
    let says = |steps: usize| {
        let found = found(&forty_chains(steps));
        found
            .into_iter()
            .find(|it| it.1.starts_with("an execution would") && it.1.contains("events"))
    };
    // Each step more is a job and the choice before it, 8 events, for each of 40 items.
    assert_eq!(says(61), None, "19,690");
    let (severity, text) = says(62).expect("a warning");
    assert_eq!(severity, Severity::Warning, "{text}");
    assert!(
        text.contains("20010 events") && text.contains("25000"),
        "{text}"
    );
    assert_eq!(says(77).expect("a warning").0, Severity::Warning, "24,810");
    let (severity, text) = says(78).expect("an error");
    assert_eq!(severity, Severity::Error, "{text}");
    assert!(text.contains("25130 events"), "{text}");
}

/// A foreach over 30 texts of so many characters: both the text and the JSON of all items around it are in the input.
fn thirty_texts(length: usize) -> String {
    let items = vec!["x".repeat(length); 30];
    format!(
        "steps: {{ each: {{ foreach: [{}], run: 'true' }} }}",
        items.join(", ")
    )
}

#[test]
fn an_input_is_warned_of_from_80_percent_of_256_kib_and_refused_above_them() {
    let says = |length: usize| {
        let found = found(&thirty_texts(length));
        found.into_iter().find(|it| it.1.contains("KiB of input"))
    };
    assert_eq!(says(3_000), None);
    let (severity, text) = says(3_700).expect("a warning");
    assert_eq!(severity, Severity::Warning, "{text}");
    let (severity, text) = says(4_600).expect("an error");
    assert_eq!(severity, Severity::Error, "{text}");
    assert!(text.contains("at most 256"), "{text}");
}

#[test]
fn what_is_too_much_with_defaults_is_only_warned_of_where_parameters_must_be_given() {
    let text = format!("params: {{ n: {{ type: int }} }}\n{}", thirty_texts(4_600));
    let found = found(&text);
    let input = found.iter().find(|it| it.1.contains("KiB of input"));
    assert_eq!(input.expect("a warning").0, Severity::Warning);
}

#[test]
fn long_names_are_warned_of_and_shortened_so_that_none_is_another() {
    let long = |end: &str| format!("{}{end}", "n".repeat(90));
    let text = format!(
        "steps:\n  {}: {{ run: 'true' }}\n  {}: {{ run: 'true' }}\n  {}: {{ run: 'true' }}\n",
        long("a"),
        long("b"),
        "m".repeat(64)
    );
    let said = found(&text);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter()
            .all(|it| it.0 == Severity::Warning && it.1.contains("91 characters"))
    );
    let prepared = prepare(&config(), &execution(flow(&text)), RunId(1), Timestamp(1));
    let machine = prepared.expect("it compiles").machine;
    assert!(machine.estimate.name_chars <= 80, "{:?}", machine.estimate);
    let jobs = machine.text().matches("batch:submitJob.sync").count();
    assert_eq!(jobs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_estimate_is_what_the_history_turns_out_to_be() {
    for text in [
        "steps: { a: { run: 'true' }, b: { after: [a], run: 'true' }, c: { after: [a], run: 'true' }, d: { after: [b, c], run: 'true' } }",
        "steps: { a: { run: 'true', foreach: [1, 2, 3] }, b: { after: [a], run: 'true', when: '1 == 1' }, x: { run: 'true' } }",
    ] {
        let stage = Stage::new(text).await;
        let run = stage.run(none()).await;
        stage.succeeds(run).await;
        stage.execution_ends("SUCCEEDED").await;
        let prepared = prepare(
            &stage.aws.config,
            &execution(flow(text)),
            RunId(1),
            Timestamp(1),
        )
        .expect("it compiles");
        assert_eq!(
            stage.events().await,
            prepared.machine.estimate.events,
            "{text}"
        );
    }
}
