//! What flows of one folder have to do with each other.

use dalsegno_flowfile::{FlowFile, parse, read_dir};
use dalsegno_scheduler::spec::Command;
use std::fmt::Write;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

/// `file:line:column severity code: message (help)` of all findings.
fn told(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let mut text = String::new();
    for (path, file) in read_dir(folder.path()) {
        let name = path.strip_prefix(folder.path()).expect("below").display();
        let found = match &file {
            Ok(FlowFile { warnings, .. }) => warnings,
            Err(found) => found,
        };
        for it in found {
            let help = it.help.as_deref().expect("a cure");
            writeln!(
                text,
                "{name}:{}:{} {:?} {}: {} ({help})",
                it.line, it.column, it.severity, it.code, it.message
            )
            .expect("a string");
        }
    }
    text
}

const LOAD: (&str, &str) = (
    "load.yaml",
    "flow: load\nparams: { day: { type: date }, rows: { type: int, default: 5, max: 10 } }\nsteps: { a: { run: x } }\n",
);

#[test]
fn a_step_runs_another_flow_with_parameters() {
    let text = "flow: parent\nparams: { day: { type: date, default: 2026-01-01 } }\nsteps:\n  go:\n    foreach: [1, 2]\n    flow: load\n    params: { day: '${{ params.day }}', rows: '${{ item }}' }\n    wait: false\n    retry: 2\n    timeout: 1h\n    pools: { warehouse: 1 }\n    on_failure: continue\n  tell: { run: x, after: go, when: size(steps.go.outputs.run) > 0 }\n";
    assert_eq!(told(&[LOAD, ("parent.yaml", text)]), "");
    let file = parse("parent.yaml", text).unwrap_or_else(|it| panic!("{}", it.render(false)));
    assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
    let step = file.flow.step("go").expect("there");
    let Command::Flow(it) = &step.run else {
        panic!("{step:?}")
    };
    assert_eq!(
        (it.flow.as_str(), it.params.len(), it.wait),
        ("load", 2, false)
    );
    assert!(step.outputs.is_empty() && step.retry.times == 2 && step.timeout.is_some());
}

#[test]
fn parameters_are_compared_with_those_of_the_flow_in_the_same_folder() {
    insta::assert_snapshot!(told(&[
        LOAD,
        ("one.yaml", "flow: one\nsteps:\n  a: { flow: load, params: { dya: x } }\n"),
        ("two.yaml", "flow: two\nsteps:\n  a: { flow: load, params: { day: noon, rows: 11 } }\n"),
    ]), @r#"
    one.yaml:3:14 Error flow.missing_param: the flow `load` needs the parameter `day`, and the step does not give it (write `params: { day: … }`)
    one.yaml:3:30 Error flow.unknown_param: the flow `load` has no parameter `dya` (did you mean `day`?)
    two.yaml:3:30 Error flow.wrong_type: `day` does not fit the flow `load`: a date such as 2026-11-22 is expected, and it is "noon" (see `params` of `load` for what it takes)
    two.yaml:3:41 Error flow.wrong_type: `rows` does not fit the flow `load`: 11 is more than 10 (see `params` of `load` for what it takes)
    "#);
}

#[test]
fn a_flow_that_nobody_has_is_a_warning() {
    let parent = (
        "p.yaml",
        "flow: p\ntriggers: { flow: laod }\nsteps: { a: { flow: dashboards } }\n",
    );
    insta::assert_snapshot!(told(&[LOAD, parent]), @"
    p.yaml:2:19 Warning flow.unknown_flow: no flow of this folder is named `laod` (did you mean `load`?)
    p.yaml:3:21 Warning flow.unknown_flow: no flow of this folder is named `dashboards` (if it is deployed from elsewhere, this is fine)
    ");
    // The flow may be in the file that cannot be read.
    let broken = ("broken.yaml", "flow: dashboards\n");
    assert!(!told(&[LOAD, parent, broken]).contains("unknown_flow"));
}

#[test]
fn flows_that_would_run_each_other_for_ever_are_refused_with_the_way() {
    insta::assert_snapshot!(told(&[
        ("a.yaml", "flow: a\nsteps: { go: { flow: b, when: params.x } }\nparams: { x: { type: bool, default: true } }\n"),
        ("b.yaml", "flow: b\nsteps: { go: { flow: c } }\n"),
        ("c.yaml", "flow: c\nsteps: { go: { flow: a } }\n"),
        ("d.yaml", "flow: d\nsteps: { go: { flow: a } }\n"),
    ]), @"
    a.yaml:2:22 Error flow.flow_cycle: these flows would run each other for ever: a runs b (step go), which runs c (step go), which runs a (step go) (take one of these steps out: a flow cannot be inside of itself)
    b.yaml:2:22 Error flow.flow_cycle: these flows would run each other for ever: b runs c (step go), which runs a (step go), which runs b (step go) (take one of these steps out: a flow cannot be inside of itself)
    c.yaml:2:22 Error flow.flow_cycle: these flows would run each other for ever: c runs a (step go), which runs b (step go), which runs c (step go) (take one of these steps out: a flow cannot be inside of itself)
    ");
    insta::assert_snapshot!(told(&[
        ("a.yaml", "flow: a\ntriggers: { flow: c }\nsteps: { go: { run: x } }\n"),
        ("b.yaml", "flow: b\ntriggers: { any_of: [{ flow: a, on: failed }, { event: x }] }\nsteps: { go: { flow: c } }\n"),
        ("c.yaml", "flow: c\nsteps: { go: { run: x } }\n"),
    ]), @"
    a.yaml:2:19 Error flow.flow_cycle: these flows would run each other for ever: a, its end starts b (trigger any_of(flow a failed, event x)), which runs c (step go), whose end starts a (trigger flow c) (take one of these ways out; a `when` at a step, or a `where` at a trigger, can also end it)
    b.yaml:3:22 Error flow.flow_cycle: these flows would run each other for ever: b runs c (step go), whose end starts a (trigger flow c), whose end starts b (trigger any_of(flow a failed, event x)) (take one of these ways out; a `when` at a step, or a `where` at a trigger, can also end it)
    c.yaml:1:7 Error flow.flow_cycle: these flows would run each other for ever: c, its end starts a (trigger flow c), whose end starts b (trigger any_of(flow a failed, event x)), which runs c (step go) (take one of these ways out; a `when` at a step, or a `where` at a trigger, can also end it)
    ");
}

#[test]
fn a_loop_that_a_condition_or_another_event_can_end_is_fine() {
    let other = (
        "b.yaml",
        "flow: b\ntriggers: { flow: a }\nsteps: { go: { run: x } }\n",
    );
    for triggers in [
        "{ flow: b, where: event.data.params.more }",
        "{ all_of: [{ flow: b }, { event: more }], join_on: none }",
    ] {
        let text = format!("flow: a\ntriggers: {triggers}\nsteps: {{ go: {{ run: x }} }}\n");
        assert_eq!(told(&[("a.yaml", &text), other]), "");
    }
}
