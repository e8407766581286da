//! What we read from the text of a flow is what Metaflow itself says of it.
//!
//! Needs a Python with Metaflow, named by `DALSEGNO_TEST_METAFLOW_PYTHON`; `cargo xtask test` makes one.

use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::{Dump, Options, flow_from_dump, read, with_dump};
use dalsegno_scheduler::spec::{FlowSpec, ScopeIndex};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flows of which only running them tells all that matters.
const NEED_A_PROBE: [&str; 14] = [
    "alias_changed",
    "changed_constant",
    "config_flow",
    "config_switch",
    "dynamic_values",
    "finish_function",
    "flow_mutator",
    "own_decorators",
    "own_parameters",
    "param_function_scheduled",
    "step_mutator",
    "trigger_function",
    "unknown_wrapper",
    "user_step",
];
/// Flows of which running tells more, but nothing that decides when or how they run: a default that a function
/// gives, a card that `@checkpoint` adds.
const TELL_MORE: [&str; 2] = ["checkpoints", "param_function"];
/// Beside the flows, for their imports.
const NOT_FLOWS: [&str; 2] = ["base_shared", "shared"];

#[test]
fn reading_a_flow_gives_what_metaflow_says_of_it() {
    let paths = files("flows");
    let dumps = dumps(&paths);
    let mut flows = 0;
    let mut wrong = Vec::new();
    for path in paths.iter().filter(|it| !NOT_FLOWS.contains(&name(it))) {
        let dump = match &dumps[path] {
            Ok(text) => text,
            Err(log) => panic!("{} does not run:\n{log}", path.display()),
        };
        let file = match read(path, &options()) {
            Ok(file) => file,
            Err(found) => {
                wrong.push(found.render(false));
                continue;
            }
        };
        flows += 1;
        wrong.extend(
            compare(path, &file, dump)
                .map_err(|it| format!("{}: {it}", path.display()))
                .err(),
        );
    }
    assert!(
        wrong.is_empty(),
        "{} flows differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(flows >= 90, "only {flows} flows");
}

fn compare(path: &Path, file: &FlowFile, text: &str) -> Result<(), String> {
    let dump: &Dump = &serde_json::from_str(text).expect("a dump");
    let about = file.metaflow.as_ref().expect("a Metaflow file");
    let (merged, differences) = with_dump(file, dump, &options()).map_err(|it| it.render(false))?;
    let alone = flow_from_dump(path, None, "", dump, &options()).map_err(|it| it.render(false))?;
    let (read, merged, alone) = (bare(file), bare(&merged), bare(&alone));
    same(
        "the dump alone",
        &unordered(&alone),
        "with the text",
        &unordered(&merged),
    )?;
    let probe = NEED_A_PROBE.contains(&name(path));
    if about.needs_probe != probe {
        return Err(format!(
            "needs probe: {}, {:?}",
            about.needs_probe, about.dynamic
        ));
    }
    match probe || TELL_MORE.contains(&name(path)) {
        true => same("read", &shape(&read), "run", &shape(&merged))?,
        false => {
            same("read", &json(&read), "run", &json(&merged))?;
            if let Some(first) = differences.first() {
                return Err(first.to_string());
            }
        }
    }
    for (step, told) in &dump.steps {
        let at = about.line_of(step);
        if at.is_some_and(|line| line != told.line) {
            return Err(format!(
                "the step {step} is in line {at:?} and in line {}",
                told.line
            ));
        }
    }
    scopes(&merged, text)
}

/// The scopes that we make are the foreach that Metaflow sees, from the split to its join.
fn scopes(spec: &FlowSpec, dump: &str) -> Result<(), String> {
    let dump: serde_json::Value = serde_json::from_str(dump).expect("JSON");
    for step in spec.steps.iter().filter(|it| it.hook.is_none()) {
        let told = &dump["steps"][step.name.as_str()];
        let opens = matches!(
            told["type"].as_str(),
            Some("split-foreach" | "split-parallel")
        );
        let scope = format!("{}-foreach", step.name);
        let joins = spec
            .steps
            .iter()
            .find(|it| it.after.iter().any(|it| it.as_str() == scope));
        let expected = opens.then(|| told["matching_join"].as_str().unwrap_or_default());
        if joins.map(|it| it.name.as_str()) != expected {
            return Err(format!("{scope} is joined by {joins:?}, Metaflow: {told}"));
        }
        if (step.scope != ScopeIndex::ROOT) != (told["inside_foreach"] == true) {
            return Err(format!(
                "{} is in {:?}, Metaflow: {told}",
                step.name, step.scope
            ));
        }
        if step.scope == ScopeIndex::ROOT
            && step.after.is_empty()
            && dump["start"] != step.name.as_str()
        {
            return Err(format!("{} follows nothing", step.name));
        }
    }
    Ok(())
}

#[test]
fn what_metaflow_refuses_is_refused_with_a_cure() {
    let paths = files("refused");
    let dumps = dumps(&paths);
    let mut wrong = Vec::new();
    for path in &paths {
        if dumps[path].is_ok() {
            wrong.push(format!("{}: Metaflow takes it", path.display()));
        }
        let text = std::fs::read_to_string(path).expect("readable");
        let code = text
            .lines()
            .next()
            .and_then(|it| it.strip_prefix("# "))
            .expect("a code");
        match read(path, &options()) {
            Ok(_) => wrong.push(format!("{}: it is taken", path.display())),
            Err(found) => {
                let errors = found
                    .iter()
                    .filter(|it| it.severity == dalsegno_flowfile::Severity::Error);
                let codes: Vec<&str> = errors.map(|it| it.code).collect();
                if !codes.contains(&code) {
                    wrong.push(format!("{}: {codes:?} and not {code}", path.display()));
                }
                if found
                    .iter()
                    .any(|it| it.line == 0 || it.help.as_deref().unwrap_or_default().is_empty())
                {
                    wrong.push(format!("{}: no line or no cure", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(paths.len() >= 60);
}

#[test]
fn random_graphs_are_taken_and_refused_as_metaflow_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metaflow/random_flows.py"))
        .arg(folder.path())
        .args(["120", "7"])
        .status()
        .expect("Python starts");
    assert!(written.success());
    let paths = python_files(folder.path());
    let dumps = dumps(&paths);
    let (mut taken, mut refused) = (0, 0);
    for path in &paths {
        let text = || std::fs::read_to_string(path).expect("readable");
        match (read(path, &options()), &dumps[path]) {
            (Ok(file), Ok(dump)) => {
                taken += 1;
                if let Err(wrong) = compare(path, &file, dump) {
                    panic!("{wrong}\n{}", text());
                }
            }
            (Err(_), Err(_)) => refused += 1,
            (Ok(_), Err(log)) => panic!("Metaflow refuses it:\n{log}\n{}", text()),
            (Err(found), Ok(_)) => panic!("Metaflow takes it:\n{}", found.render(false)),
        }
    }
    assert!(
        taken > 30 && refused > 30,
        "{taken} taken, {refused} refused"
    );
}

fn options() -> Options {
    Options {
        owner: Some("tester".to_owned()),
        ..Options::default()
    }
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|it| it.to_str()).expect("a name")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metaflow");
    python_files(&tests.join(folder))
}

fn python_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries
        .map(|it| it.expect("an entry").path())
        .filter(|it| it.extension().is_some_and(|it| it == "py"))
        .collect();
    files.sort();
    files
}

fn python() -> OsString {
    std::env::var_os("DALSEGNO_TEST_METAFLOW_PYTHON").expect(
        "DALSEGNO_TEST_METAFLOW_PYTHON names a Python with Metaflow; run `cargo xtask test`, which makes one",
    )
}

/// Metaflow's own words of each flow, or why it says nothing.
fn dumps(paths: &[PathBuf]) -> BTreeMap<PathBuf, Result<String, String>> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a temporary folder");
    let ran = Command::new(python())
        .arg(crate_folder.join("tests/metaflow/dump_all.py"))
        .arg(out.path())
        .args(paths)
        .env("PYTHONPATH", crate_folder.join("../python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("METAFLOW_USER", "tester")
        .env("METAFLOW_HOME", out.path())
        .env_remove("METAFLOW_OWNER")
        .env_remove("METAFLOW_DEFAULT_DECOSPECS")
        .env("DALSEGNO_IGNORED_DECORATORS", "batch,kubernetes,conda,pypi")
        .output()
        .expect("Python starts");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let ended: BTreeMap<PathBuf, i32> =
        serde_json::from_slice(&ran.stdout).expect("one JSON object");
    ended
        .into_iter()
        .map(|(path, code)| {
            let file = |ending: &str| out.path().join(format!("{}.{ending}", name(&path)));
            let told = match code {
                0 => std::fs::read_to_string(file("json")).map_err(|it| it.to_string()),
                _ => Err(std::fs::read_to_string(file("log")).unwrap_or_default()),
            };
            (path, told)
        })
        .collect()
}

/// Without what reading cannot know by its nature.
fn bare(file: &FlowFile) -> FlowSpec {
    let mut spec = file.flow.spec().clone();
    if let Some(metaflow) = &mut spec.metaflow {
        metaflow.metaflow_version = None;
    }
    spec
}

fn json(spec: &FlowSpec) -> serde_json::Value {
    serde_json::to_value(spec).expect("plain data")
}

/// A dump alone does not know the order of the file nor its words.
fn unordered(spec: &FlowSpec) -> serde_json::Value {
    let mut spec = spec.clone();
    spec.params.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(it) = &mut spec.metaflow {
        it.multiple.sort();
    }
    let mut json = json(&spec);
    for step in json["steps"].as_array_mut().expect("steps") {
        if let Some(step) = step["run"]["metaflow"].as_object_mut() {
            step.remove("decorators");
        }
    }
    json
}

/// The graph alone.
fn shape(spec: &FlowSpec) -> serde_json::Value {
    let steps: Vec<_> = spec
        .steps
        .iter()
        .map(|it| serde_json::json!([it.name, it.scope, it.after, it.route, it.join]))
        .collect();
    serde_json::json!([steps, spec.scopes])
}

fn same(
    one: &str,
    left: &serde_json::Value,
    other: &str,
    right: &serde_json::Value,
) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    let text = |it| serde_json::to_string_pretty(it).expect("plain data");
    let (left, right) = (text(left), text(right));
    let differs = left
        .lines()
        .zip(right.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(0);
    let part = |it: &str| -> String {
        let lines: Vec<&str> = it
            .lines()
            .skip(differs.saturating_sub(4))
            .take(12)
            .collect();
        lines.join("\n")
    };
    Err(format!(
        "{one}:\n{}\n{other}:\n{}",
        part(&left),
        part(&right)
    ))
}
