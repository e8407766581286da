//! Small flows as text.

use dalsegno_flowfile::metaflow::{Options, read_text};
use dalsegno_flowfile::{Diagnostics, FlowFile};
use std::path::Path;

pub(crate) const NAMES: &str = "from metaflow import (FlowSpec, IncludeFile, JSONType, Parameter, batch, catch, conda, environment, exit_hook, project, retry, schedule, step, timeout, trigger, trigger_on_finish)\n";

/// A flow of two steps with these decorators and members.
pub(crate) fn small(decorators: &str, members: &str) -> String {
    format!(
        "{NAMES}\n{decorators}\nclass Small(FlowSpec):\n{members}\n    @step\n    def start(self):\n        self.next(self.end)\n\n    @step\n    def end(self):\n        pass\n\nif __name__ == \"__main__\":\n    Small()\n"
    )
}

/// A flow with these steps: `name`, `name: next` or `name(inputs): next`.
pub(crate) fn graph(steps: &[&str]) -> String {
    let mut text = format!("{NAMES}\nclass Small(FlowSpec):\n");
    for it in steps {
        let (name, next) = it.split_once(": ").unwrap_or((it, ""));
        let (name, inputs) = match name.strip_suffix("(inputs)") {
            Some(name) => (name, ", inputs"),
            None => (name, ""),
        };
        let body = if next.is_empty() {
            "pass".to_owned()
        } else {
            format!("self.next({next})")
        };
        text += &format!("    @step\n    def {name}(self{inputs}):\n        {body}\n\n");
    }
    text + "if __name__ == \"__main__\":\n    Small()\n"
}

pub(crate) fn options() -> Options {
    Options {
        owner: Some("alice".to_owned()),
        ..Options::default()
    }
}

pub(crate) fn tried(text: &str) -> Result<FlowFile, Diagnostics> {
    read_text(Path::new("/nowhere/flow.py"), text, &options())
}

pub(crate) fn good(text: &str) -> FlowFile {
    tried(text).unwrap_or_else(|found| panic!("{}\n{text}", found.render(false)))
}

/// All findings as `line code: message`.
pub(crate) fn findings(text: &str) -> Vec<String> {
    let found = match tried(text) {
        Ok(file) => file.warnings,
        Err(found) => found,
    };
    found
        .iter()
        .map(|it| format!("{} {}: {}", it.line, it.code, it.message))
        .collect()
}
