//! Real files: the example flows of the repository, the guide, and one file with every key.

use dalsegno_flowfile::{Diagnostics, FlowFile, json_schema, parse, parse_in, read_dir};
use dalsegno_scheduler::spec::{Command, EventSource, Items, Strategy, TriggerExpr};
use dalsegno_scheduler::{ExecutorKind, Span};
use std::path::Path;

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Reads a text that names a calendar.
fn complete(text: &str) -> Result<FlowFile, Diagnostics> {
    let folder = tempfile::tempdir().expect("a folder");
    let calendars = folder.path().join("calendars");
    std::fs::create_dir(&calendars).expect("a folder");
    std::fs::write(
        calendars.join("german_holidays.yaml"),
        "dates: { 2026-12-24: x }",
    )
    .expect("a file");
    parse_in(folder.path(), "complete.yaml", text)
}

#[test]
fn the_example_flows_are_accepted_without_a_word() {
    let files = read_dir(&repository("flows"));
    assert!(files.len() >= 5, "{}", files.len());
    for (path, file) in files {
        let file = file.unwrap_or_else(|it| panic!("{}\n{}", path.display(), it.render(false)));
        assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
        assert_eq!(file.version.as_str().len(), 16);
    }
}

#[test]
fn a_file_with_every_key_is_a_flow() {
    let file = complete(include_str!("complete.yaml"));
    let file = file.unwrap_or_else(|it| panic!("{}", it.render(false)));
    let warnings = file.warnings.iter();
    let lines: Vec<String> = warnings
        .map(|it| format!("{}: {}", it.line, it.message))
        .collect();
    insta::assert_snapshot!("warnings_of_every_key", lines.join("\n"));
    let spec = file.flow.spec();
    let promises: Vec<String> = file
        .flow
        .promises()
        .iter()
        .map(|it| format!("{} {} {}", it.key, it.text(), it.at_risk))
        .collect();
    assert_eq!(
        promises,
        [
            "finish_by finish by 08:00 (Europe/Berlin) 800",
            "start_by start within 10m of when it is due 800",
            "max_duration take at most 1h 30m 800",
            "max_queue_wait wait at most 15m for its start 800",
            "fresh_within succeed at least every 1d 2h 800",
        ]
    );
    assert_eq!(spec.alerts[0].to, ["webhook:growth-oncall"]);
    assert_eq!(spec.alerts[0].hold, Some(Span::from_mins(2)));
    assert_eq!(spec.alerts[0].on.len(), 4);
    assert_eq!(spec.run.strategy, Strategy::Sequential);
    assert_eq!(spec.run.timeout, Some(Span::from_mins(240)));
    assert_eq!(
        spec.schedules[0].name.as_str(),
        "0 6 * * MON-FRI Europe/Berlin"
    );
    let TriggerExpr::AllOf(parts) = &spec.triggers[0].on else {
        panic!("{:?}", spec.triggers[0]);
    };
    assert_eq!(parts.len(), 4);
    assert!(
        matches!(&spec.triggers[1].on, TriggerExpr::Leaf(it) if matches!(&it.source, EventSource::Event { kind } if kind == "orders.corrected"))
    );
    let names: Vec<&str> = spec.scopes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["train", "per_region", "fit"]);
    let train = file.flow.step("train").expect("there");
    assert_eq!(train.memory_bytes, Some(30 << 30));
    assert_eq!(train.retry.times, 3);
    assert_eq!(train.retry.backoff.initial, Span::from_mins(2));
    let oom = train.on_oom.expect("there");
    assert_eq!((oom.multiplier_percent, oom.max_bytes), (200, 120 << 30));
    let remote = train.remote.as_ref().expect("it runs elsewhere");
    assert_eq!(remote.executor, ExecutorKind::Batch);
    assert_eq!((remote.cpu_millis, remote.gpus), (Some(8_000), Some(1)));
    assert_eq!(remote.shared_memory_mib, Some(2_048));
    assert_eq!(remote.tags["cost-center"], "4711");
    assert_eq!(remote.container["readonlyRootFilesystem"], true);
    let extract = file.flow.step("extract").expect("there");
    assert_eq!(extract.remote, None);
    assert_eq!(
        (extract.retry.times, extract.retry.backoff.max),
        (5, Span::from_secs(300))
    );
    assert!(matches!(&extract.run, Command::Shell(it) if it.starts_with("python extract.py")));
    assert!(matches!(&spec.scopes[2].items, Items::Template(_)));
    let refresh = file.flow.step("refresh").expect("there");
    assert!(
        matches!(&refresh.run, Command::Flow(it) if it.flow.as_str() == "dashboards" && it.wait && it.params.len() == 1)
    );
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let schema = json_schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let valid = |name: &str, text: &str| {
        let file: serde_json::Value = to_json(text);
        let wrong: Vec<String> = validator
            .iter_errors(&file)
            .map(|it| format!("{}: {it}", it.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{name}\n{}", wrong.join("\n"));
    };
    for (path, file) in read_dir(&repository("flows")) {
        let file = file.expect("valid");
        if file.metaflow.is_none() {
            valid(&path.display().to_string(), &file.source);
        }
    }
    valid("complete.yaml", include_str!("complete.yaml"));
    for (line, text) in guide() {
        valid(&format!("docs/flow-files.md:{line}"), &text);
    }
    let typo = to_json("flow: a\nsteps: { b: { run: x, atfer: c } }");
    assert!(!validator.is_valid(&typo), "an unknown key is refused");
}

#[test]
fn every_example_of_the_guide_is_a_flow() {
    let examples = guide();
    assert!(examples.len() > 10, "{}", examples.len());
    for (line, text) in examples {
        let name = format!("docs/flow-files.md:{line}");
        let file = parse(&name, &text).unwrap_or_else(|it| panic!("{text}\n{}", it.render(false)));
        assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
    }
}

/// The YAML examples of the guide with their lines; parts of a file are completed to a whole one.
fn guide() -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(repository("docs/flow-files.md")).expect("the guide");
    let (mut examples, mut current) = (Vec::new(), None::<(usize, String)>);
    for (place, line) in text.lines().enumerate() {
        match (&mut current, line) {
            (None, "```yaml") => current = Some((place + 2, String::new())),
            (Some(_), "```") => examples.extend(current.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    for (_, text) in &mut examples {
        for (key, rest) in [
            ("flow", "flow: example\n"),
            ("steps", "steps: { hello: { run: echo hello } }\n"),
        ] {
            if !text.lines().any(|it| it.starts_with(&format!("{key}:"))) {
                text.push_str(rest);
            }
        }
    }
    examples
}

/// YAML as JSON, by way of a parameter's default: the reader takes any value there without expressions.
fn to_json(text: &str) -> serde_json::Value {
    let indented: String = text
        .replace("${{", "<<<")
        .lines()
        .map(|it| format!("      {it}\n"))
        .collect();
    let file = format!(
        "flow: a\nparams:\n  it:\n    type: json\n    default:\n{indented}\nsteps: {{ b: {{ run: x }} }}\n"
    );
    let file = parse("wrapped", &file).unwrap_or_else(|it| panic!("{}", it.render(false)));
    let default = file.flow.spec().params[0].default.clone();
    let json = serde_json::to_string(&default).expect("a value");
    serde_json::from_str(&json.replace("<<<", "${{")).expect("the same value")
}
