//! Folders with flows of both formats.

use crate::text::{NAMES, options};
use dalsegno_flowfile::{FlowFile, read_dir_with};
use std::collections::BTreeMap;
use tempfile::TempDir;

fn read(files: &[(&str, &str)]) -> BTreeMap<String, Result<FlowFile, Vec<&'static str>>> {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    read_dir_with(folder.path(), |_| options())
        .into_iter()
        .map(|(path, file)| {
            let name = path
                .strip_prefix(folder.path())
                .expect("within")
                .display()
                .to_string();
            (
                name,
                file.map_err(|it| it.iter().map(|it| it.code).collect()),
            )
        })
        .collect()
}

fn flow(class: &str, base: &str, decorator: &str, end: &str) -> String {
    format!(
        "{NAMES}\n{decorator}\nclass {class}({base}):\n    @step\n    def start(self):\n        self.next(self.end)\n    @step\n    def end(self):\n        pass\n\n{end}\n"
    )
}

#[test]
fn python_files_without_a_flow_are_left_out() {
    let files = read(&[
        ("flow.py", &flow("Flow", "FlowSpec", "", "Flow()")),
        ("plain.yaml", "flow: plain\nsteps: { a: { run: 'true' } }\n"),
        ("helper.py", "def helper():\n    return 1\n"),
        ("old.py", "print 'python 2'\n"),
        ("_hidden.py", &flow("Hidden", "FlowSpec", "", "Hidden()")),
        ("venv/pyvenv.cfg", ""),
        (
            "venv/lib/flow.py",
            &flow("Installed", "FlowSpec", "", "Installed()"),
        ),
    ]);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["flow.py", "plain.yaml"]);
    assert!(files.values().all(Result::is_ok));
}

#[test]
fn a_module_with_a_base_class_is_not_a_flow_of_its_own() {
    let child = "from base import Base\n\nclass Child(Base):\n    pass\n\nChild()\n";
    let files = read(&[
        ("base.py", &flow("Base", "FlowSpec", "", "")),
        ("child.py", child),
    ]);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["child.py"]);
}

#[test]
fn two_files_with_one_flow_are_refused_across_formats() {
    let files = read(&[
        ("flow.py", &flow("Same", "FlowSpec", "", "Same()")),
        ("same.yaml", "flow: Same\nsteps: { a: { run: 'true' } }\n"),
    ]);
    for file in files.into_values() {
        assert_eq!(file.expect_err("refused"), ["flow.same_flow"]);
    }
}

#[test]
fn flows_that_start_each_other_for_ever_are_refused() {
    let start = |flow: &str| format!("@trigger_on_finish(flow='{flow}')");
    let files = read(&[
        ("a.py", &flow("A", "FlowSpec", &start("C"), "A()")),
        ("b.py", &flow("B", "FlowSpec", &start("A"), "B()")),
        ("c.py", &flow("C", "FlowSpec", &start("B"), "C()")),
        ("d.py", &flow("D", "FlowSpec", &start("C"), "D()")),
    ]);
    for name in ["a.py", "b.py", "c.py"] {
        assert_eq!(
            files[name].as_ref().expect_err("refused"),
            &["metaflow.flow_cycle"]
        );
    }
    assert!(files["d.py"].is_ok());
}
