//! Real Metaflow beside the daemon: the interpreter of its flows, and its client, which says what became of a run.

use crate::binary::{self, Said};
use crate::house::House;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Metaflow as a person in the flows folder of a house would use it.
pub struct Metaflow {
    folder: PathBuf,
    home: PathBuf,
}

/// All that Metaflow's client says of one run.
#[derive(Debug)]
pub struct MetaflowRun(pub Value);

impl Metaflow {
    pub(crate) fn of(house: &House) -> Self {
        Self {
            folder: house.flows(),
            home: house.path("home"),
        }
    }

    /// A house with these flow files whose flows run with the Metaflow of `cargo xtask test`.
    ///
    /// # Panics
    /// When there is none.
    pub fn house(flows: &[(&str, &str)]) -> House {
        let house = House::with(flows);
        let folder = interpreter();
        let folder = folder.parent().and_then(std::path::Path::parent);
        let folder = folder.expect("an interpreter lies in bin/ of its environment");
        std::os::unix::fs::symlink(folder, house.path("flows/.venv"))
            .expect("the house can be written to");
        house.configure("[metaflow]\nuser = \"tester\"\n");
        house
    }

    /// Adds lines to `[metaflow]` of the daemon's configuration.
    pub fn configure(house: &House, lines: &str) {
        house.configure(&format!("{}{lines}\n", house.read("dalsegno.toml")));
    }

    /// Where this Metaflow keeps its data: a path below `.metaflow`.
    pub fn stored(&self, path: &str) -> PathBuf {
        self.folder.join(".metaflow").join(path)
    }

    /// `python FILE ARGUMENTS`, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(interpreter());
        binary::clean(&mut command);
        command
            .arg("-B")
            .args(arguments)
            .current_dir(&self.folder)
            .env("METAFLOW_HOME", &self.home)
            .env("METAFLOW_USER", "tester")
            .env("METAFLOW_DEFAULT_METADATA", "local")
            .env("METAFLOW_DEFAULT_DATASTORE", "local")
            .env("METAFLOW_DATASTORE_SYSROOT_LOCAL", &self.folder);
        command
    }

    /// The same, to its end.
    pub fn python(&self, arguments: &[&str]) -> Said {
        binary::run(&self.command(arguments))
    }

    /// All of a run, by `Class/run-id`.
    ///
    /// # Panics
    /// When the client does not know it.
    #[track_caller]
    pub fn run(&self, pathspec: &str) -> MetaflowRun {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client/run.py");
        MetaflowRun(self.python(&[script, pathspec]).succeeded().json())
    }

    /// The run that the API tells of.
    ///
    /// # Panics
    /// When it is none of Metaflow's.
    #[track_caller]
    pub fn of_run(&self, run: &Value) -> MetaflowRun {
        let pathspec = run["metaflow"]["pathspec"].as_str();
        self.run(pathspec.unwrap_or_else(|| panic!("no run of Metaflow: {run}")))
    }
}

/// A flow file: what stands above the class, above its first step and in that; then an end. `say(WORD)` in it writes a line
/// to the house's `journal`, `wait()` speaks to the pipe `witness` and waits at the pipe `gate`.
pub fn flow_file(class: &str, above: &str, decorators: &str, body: &str) -> String {
    let indented = |text: &str, by: &str| -> String {
        text.lines()
            .map(|line| format!("{by}{line}\n"))
            .collect::<String>()
    };
    format!(
        "{HEAD}\n{above}\nclass {class}(FlowSpec):\n{}    @step\n    def start(self):\n{}        self.next(self.end)\n\n    \
         @step\n    def end(self):\n        say(\"end\")\n\n\nif __name__ == \"__main__\":\n    {class}()\n",
        indented(decorators, "    "),
        indented(body, "        "),
    )
}

/// What flow files of tests begin with.
pub const HEAD: &str = r#"
import os, signal, subprocess, sys, time
from metaflow import Config, FlowSpec, JSONType, Parameter, current, step
from metaflow import card, catch, environment, resources, retry, secrets, timeout
from metaflow import exit_hook, project, schedule, trigger, trigger_on_finish


def say(word):
    with open("{house}/journal", "a") as journal:
        journal.write(f"{word}\n")


def wait(word="waits"):
    with open("{house}/witness", "w") as witness:
        witness.write(f"{word}\n")
    with open("{house}/gate") as gate:
        gate.read()
"#;

impl MetaflowRun {
    /// Whether the client calls the run successful.
    pub fn is_successful(&self) -> bool {
        self.0["successful"] == true
    }

    /// The tasks of a step, in the order of a foreach.
    pub fn tasks(&self, step: &str) -> Vec<Value> {
        let tasks = self.0["steps"][step].as_array();
        tasks.cloned().unwrap_or_default()
    }

    /// The only task of a step.
    ///
    /// # Panics
    /// When there are none or several.
    #[track_caller]
    pub fn task(&self, step: &str) -> Value {
        match &self.tasks(step)[..] {
            [task] => task.clone(),
            other => panic!("step {step} has {} tasks: {}", other.len(), self.0),
        }
    }

    /// What the only task of a step has put on `self`.
    #[track_caller]
    pub fn data(&self, step: &str) -> Value {
        self.task(step)["data"].clone()
    }

    /// What the only task of a step has printed.
    #[track_caller]
    pub fn stdout(&self, step: &str) -> String {
        let text = &self.task(step)["stdout"];
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What must be the same however a flow is run: for each step its tasks with their data, what they printed, whether
    /// they are good, and from which steps they come.
    pub fn essence(&self) -> Value {
        let steps = self.0["steps"].as_object().cloned().unwrap_or_default();
        let essence = steps.into_iter().map(|(name, tasks)| {
            let mut tasks: Vec<_> = tasks.as_array().into_iter().flatten().map(core).collect();
            // The numbers of tasks are not the same, so the same data in the same step is the same task.
            tasks.sort_by_key(Value::to_string);
            (name, Value::Array(tasks))
        });
        Value::Object(essence.collect())
    }
}

fn core(task: &Value) -> Value {
    let mut parents: Vec<_> = task["parents"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it.as_str()?.split('/').next())
        .collect();
    parents.sort_unstable();
    serde_json::json!({
        "data": task["data"],
        "stdout": task["stdout"],
        "successful": task["successful"],
        "index": task["index"],
        "attempt": task["attempt"],
        "parents": parents,
    })
}

/// The interpreter of an environment with Metaflow in it.
pub(crate) fn interpreter() -> PathBuf {
    std::env::var_os("DALSEGNO_TEST_METAFLOW_PYTHON")
        .map(PathBuf::from)
        .expect("DALSEGNO_TEST_METAFLOW_PYTHON names a Python with Metaflow; run `cargo xtask test`, which makes one")
}
