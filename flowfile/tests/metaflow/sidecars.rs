//! Promises and alerts of a Metaflow flow, from the YAML file beside it.

use crate::text::{NAMES, options};
use dalsegno_flowfile::metaflow::{Dump, flow_from_dump, with_dump};
use dalsegno_flowfile::{Diagnostics, FlowFile, lint, read_dir_with, read_with};
use dalsegno_scheduler::sla::{SlaKind, SlaTime};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// A foreach of one step, `train`.
fn fan(decorator: &str) -> String {
    format!(
        "import os\n{NAMES}\n{decorator}\nclass Fan(FlowSpec):\n    @step\n    def start(self):\n        self.parts = [1, 2]\n        \
         self.next(self.train, foreach='parts')\n    @step\n    def train(self):\n        self.next(self.join)\n    \
         @step\n    def join(self, inputs):\n        self.next(self.end)\n    @step\n    def end(self):\n        pass\n\nFan()\n"
    )
}

const BERLIN: &str = "@schedule(cron='0 6 * * ? *', timezone='Europe/Berlin')";

fn house(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn read(files: &[(&str, &str)]) -> BTreeMap<String, Result<FlowFile, Diagnostics>> {
    let folder = house(files);
    let name = |path: &Path| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let files = read_dir_with(folder.path(), |_| options()).into_iter();
    files.map(|(path, file)| (name(&path), file)).collect()
}

fn fan_with(decorator: &str, sidecar: &str) -> Result<FlowFile, Diagnostics> {
    let files = [
        ("fan.py", fan(decorator)),
        ("fan.dalsegno.yaml", sidecar.into()),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let mut read = read(&files);
    assert_eq!(read.len(), 1, "the file beside it is no flow of its own");
    read.remove("fan.py").expect("it is read")
}

/// Each finding as `file:line code`.
fn places(found: &Diagnostics) -> Vec<String> {
    let place = |it: &dalsegno_flowfile::Diagnostic| {
        let file = Path::new(&it.file)
            .file_name()
            .expect("a name")
            .to_string_lossy();
        assert!(
            it.help.as_ref().is_some_and(|it| !it.is_empty()),
            "{it:?} has no cure"
        );
        format!("{file}:{} {}", it.line, it.code)
    };
    found.iter().map(place).collect()
}

#[test]
fn a_metaflow_flow_promises_what_the_file_beside_it_says() {
    let file = fan_with(
        BERLIN,
        "owner: growth\nsla:\n  - finish_by: '08:00'\nsteps:\n  train: { sla: [{ max_duration: 30m }] }\n  join:\nalerts:\n  \
         - { on: [sla.missed], to: owner }\n",
    )
    .expect("valid");
    let spec = file.flow.spec();
    assert_eq!(spec.owner.as_deref(), Some("growth"));
    assert_eq!(spec.alerts[0].to, ["owner"]);
    let SlaKind::FinishBy(SlaTime::At { timezone, .. }) = &spec.slas[0].kind else {
        panic!("a time of day: {:?}", spec.slas);
    };
    assert_eq!(timezone, "Europe/Berlin", "that of @schedule");
    let keys: Vec<String> = file
        .flow
        .promises()
        .iter()
        .map(|it| it.key.to_string())
        .collect();
    assert_eq!(keys, ["finish_by", "max_duration@train"]);
}

#[test]
fn every_edit_of_it_is_a_new_version_and_without_it_the_version_is_what_it_was() {
    let version = |text: &str| fan_with("", text).expect("valid").version;
    let one = version("sla: [{ max_duration: 1h }]\n");
    assert_eq!(one, version("sla: [{ max_duration: 1h }]\n"));
    assert_ne!(
        one,
        version("sla: [{ max_duration: 1h }] # so says the boss\n")
    );
    let alone = read(&[("fan.py", &fan(""))])
        .remove("fan.py")
        .expect("read")
        .expect("valid");
    assert_ne!(one, alone.version);
    let about = fan_with("", "sla: [{ max_duration: 1h }]\n")
        .expect("valid")
        .metaflow;
    assert_eq!(about.expect("Metaflow").version_of_code, alone.version);
}

#[test]
fn what_is_wrong_with_it_is_told_at_its_own_place() {
    for (text, expected) in [
        ("", "1 flow.empty"),
        ("- sla\n", "1 flow.wrong_type"),
        ("sla: [\n", "1 flow.yaml"),
        (
            "owner: growth\nschedule: { every: 1h }\n",
            "2 flow.unknown_key",
        ),
        ("steps:\n  train: { retry: 3 }\n", "2 flow.unknown_key"),
        (
            "steps:\n  trane: { sla: [{ max_duration: 1h }] }\n",
            "2 flow.unknown_step",
        ),
        ("sla:\n  - { finish_by: never }\n", "2 flow.bad_value"),
        ("sla:\n  - { finish_by: '05:00' }\n", "2 flow.sla"),
        (
            "steps:\n  train: { sla: [{ max_queue_wait: 1m }] }\n",
            "2 flow.sla",
        ),
        (
            "alerts:\n  - { on: run.failed, to: owner }\n",
            "2 flow.bad_value",
        ),
    ] {
        let found = fan_with(BERLIN, text).expect_err(text);
        assert_eq!(
            places(&found),
            [format!("fan.dalsegno.yaml:{expected}")],
            "{text}{found}"
        );
    }
    let found = fan_with("", "steps: { trains: { sla: [] } }\n").expect_err("refused");
    let help = found.iter().next().and_then(|it| it.help.clone());
    assert_eq!(help.as_deref(), Some("did you mean `train`?"));
}

#[test]
fn one_without_a_flow_is_told_and_never_taken_for_a_flow_file() {
    let text = "sla: [{ max_duration: 1h }]\n";
    let own = "flow: own\nsteps: { a: { run: 'true' } }\n";
    let files = read(&[
        ("gone.dalsegno.yaml", text),
        ("own.dalsegno.yaml", own),
        ("helper.py", "def helper():\n    return 1\n"),
        ("helper.dalsegno.yaml", text),
        ("fan.py", &fan("")),
        ("fan.dalsegno.yml", text),
    ]);
    let mut told = Vec::new();
    for (name, file) in &files {
        match file {
            Ok(_) => assert_eq!(name, "fan.py"),
            Err(found) => told.extend(places(found)),
        }
    }
    let expected = [
        "fan.dalsegno.yml",
        "gone.dalsegno.yaml",
        "helper.dalsegno.yaml",
        "own.dalsegno.yaml",
    ];
    assert_eq!(told, expected.map(|it| format!("{it}:1 metaflow.sidecar")));
}

#[test]
fn a_sidecar_that_is_named_stands_for_its_flow() {
    let folder = house(&[
        ("fan.py", &fan("")),
        ("fan.dalsegno.yaml", "owner: growth\n"),
    ]);
    let at = |name: &str| read_with(&folder.path().join(name), &options());
    assert_eq!(
        at("fan.dalsegno.yaml").expect("valid").version,
        at("fan.py").expect("valid").version
    );
    assert!(at("other.dalsegno.yaml").is_err());
}

#[test]
fn promises_wait_for_what_only_metaflow_knows() {
    let folder = house(&[
        ("fan.py", &fan("@schedule(cron=os.getenv('CRON'))")),
        ("fan.dalsegno.yaml", "sla: [{ finish_by: '08:00 +1d' }]\n"),
    ]);
    let path = folder.path().join("fan.py");
    let file = read_with(&path, &options()).expect("valid");
    assert!(file.flow.promises().is_empty());
    let dynamic = &file
        .flow
        .spec()
        .metaflow
        .as_ref()
        .expect("Metaflow")
        .dynamic;
    assert!(
        dynamic.iter().any(|it| it.what.contains("promises")),
        "{dynamic:?}"
    );
    let step = |kind: &str, next: &[&str]| json!({"type": kind, "next": next, "line": 1, "decorators": [], "user_code_retries": 0, "error_retries": 0});
    let dump: Dump = serde_json::from_value(json!({
        "version": 1, "flow": "Fan", "start": "start", "end": "end",
        "decorators": [{"name": "schedule", "attributes": {"cron": "0 5 ? * MON *", "weekly": false, "daily": true, "hourly": false, "timezone": null}}],
        "steps": {
            "start": step("foreach", &["train"]), "train": step("linear", &["join"]),
            "join": step("join", &["end"]), "end": step("end", &[]),
        },
    }))
    .expect("a dump");
    let (merged, _) = with_dump(&file, &dump, &options()).expect("valid");
    assert_eq!(merged.flow.promises().len(), 1);
    assert_eq!(
        merged.metaflow.expect("Metaflow").sidecar(),
        Some("sla: [{ finish_by: '08:00 +1d' }]\n")
    );
    let alone = flow_from_dump(Path::new("fan.py"), Some(&path), "", &dump, &options());
    assert_eq!(
        alone.expect("valid").flow.promises().len(),
        1,
        "without a text too"
    );
}

#[test]
fn a_promise_that_another_makes_empty_is_told_where_it_stands() {
    let text = "sla:\n  - finish_by: 1h\n  - max_duration: 2h\n";
    let mut file = fan_with("", text).expect("valid");
    lint(
        "fan.py",
        &mut file,
        dalsegno_scheduler::Timestamp::from_secs(1_800_000_000),
    );
    assert_eq!(
        places(&file.warnings),
        ["fan.dalsegno.yaml:3 flow.loose_sla"]
    );
}
