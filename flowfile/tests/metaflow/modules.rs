//! Modules beside a flow.

use crate::text::{NAMES, options};
use dalsegno_flowfile::metaflow::read;
use std::path::PathBuf;
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn flow(head: &str, decorator: &str) -> String {
    format!(
        "{NAMES}{head}\n{decorator}\nclass Flow(FlowSpec):\n    @step\n    def start(self):\n        self.next(self.end)\n    @step\n    def end(self):\n        pass\n\nFlow()\n"
    )
}

#[test]
fn a_change_of_an_imported_module_is_a_new_version() {
    let text = flow("import a\n", "");
    let folder = folder(&[
        ("flow.py", &text),
        ("a.py", "from pkg.b import X\n"),
        ("pkg/__init__.py", ""),
        ("pkg/b.py", "X = 1\n"),
        ("other.py", ""),
    ]);
    let path = folder.path().join("flow.py");
    let first = read(&path, &options()).expect("valid");
    let closure: Vec<PathBuf> = ["a.py", "pkg/__init__.py", "pkg/b.py"]
        .map(|it| folder.path().join(it))
        .into();
    assert_eq!(first.metaflow.as_ref().expect("Metaflow").closure, closure);
    std::fs::write(folder.path().join("other.py"), "Y = 2\n").expect("written");
    assert_eq!(
        read(&path, &options()).expect("valid").version,
        first.version
    );
    std::fs::write(folder.path().join("pkg/b.py"), "X = 2\n").expect("written");
    assert_ne!(
        read(&path, &options()).expect("valid").version,
        first.version
    );
}

#[test]
fn files_that_configs_have_by_default_are_told() {
    let names = "from metaflow import Config\nFILE = 'a' + '.json'\n";
    let configs = "    a = Config('a', default=FILE)\n    b = Config('b', '../b.toml')\n    \
                   c = Config('c', default_value={})\n    d = Config('d', default=print)\n    @step\n    def start";
    let text = flow(names, "").replacen("    @step\n    def start", configs, 1);
    let folder = folder(&[("flow.py", &text)]);
    let file = read(&folder.path().join("flow.py"), &options()).expect("valid");
    let found = file.metaflow.expect("Metaflow").config_files;
    assert_eq!(found, ["a.json", "../b.toml"].map(PathBuf::from));
}

#[test]
fn modules_that_import_each_other_are_read_once() {
    let text = flow("from a import A\n", "@schedule(cron=A)");
    let folder = folder(&[
        ("flow.py", &text),
        ("a.py", "from b import A\n"),
        ("b.py", "from a import A\n"),
    ]);
    let file = read(&folder.path().join("flow.py"), &options()).expect("valid");
    assert!(file.metaflow.expect("Metaflow").needs_probe);
}

#[test]
fn missing_modules_are_no_fault_but_their_values_are_unknown() {
    let text = flow(
        "import pandas\nfrom settings import CRON\n",
        "@schedule(cron=CRON)",
    );
    let folder = folder(&[("flow.py", &text)]);
    let file = read(&folder.path().join("flow.py"), &options()).expect("valid");
    assert!(file.warnings.is_empty());
    let about = file.metaflow.expect("Metaflow");
    assert_eq!(
        about.dynamic[0].reason,
        "`CRON` comes from a module that is not beside the file"
    );
}

#[test]
fn a_base_class_from_elsewhere_leaves_the_steps_to_a_probe() {
    let text = "from company import CompanyFlow\nfrom metaflow import step\n\nclass Flow(CompanyFlow):\n    @step\n    def middle(self):\n        self.next(self.end)\n\nFlow()\n";
    let folder = folder(&[("flow.py", text)]);
    let file = read(&folder.path().join("flow.py"), &options()).expect("valid");
    let about = file.metaflow.expect("Metaflow");
    assert!(about.needs_probe && !about.complete);
    assert_eq!(file.flow.spec().steps.len(), 1);
}

#[test]
fn faults_of_a_base_class_are_told_in_its_own_file() {
    let base = format!(
        "{NAMES}\n@schedule(cron='x')\nclass Base(FlowSpec):\n    @step\n    def start(self):\n        self.next(self.end)\n    @step\n    def end(self):\n        pass\n"
    );
    let folder = folder(&[
        (
            "flow.py",
            "from base import Base\n\nclass Flow(Base):\n    pass\n\nFlow()\n",
        ),
        ("base.py", &base),
    ]);
    let found = read(&folder.path().join("flow.py"), &options()).expect_err("refused");
    let first = found.iter().next().expect("one");
    assert!(first.file.ends_with("base.py"), "{}", first.file);
    assert_eq!(first.line, 3);
}
