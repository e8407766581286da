//! What flows of one folder have to do with each other: who runs whom, and with which parameters.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::FlowFile;
use crate::loops;
use crate::reader::{closest, did_you_mean};
use crate::source::Source;
use dalsegno_scheduler::Flow;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::params::check;
use dalsegno_scheduler::spec::{Command, FlowSpec, ParamSpec, SubFlow};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a flow file names another flow.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) flow: String,
    pub(crate) at: Range<usize>,
    pub(crate) how: How,
}

#[derive(Clone, Debug)]
pub(crate) enum How {
    /// A trigger waits for its runs.
    Waits,
    /// A step runs it, with these parameters.
    Runs { given: Vec<(String, Range<usize>)> },
}

type Read = Vec<(PathBuf, Result<FlowFile, Diagnostics>)>;

/// Checks what needs all files of a folder. Flows of other folders may be deployed beside them, so a name that nobody
/// has is only a warning.
pub(crate) fn check_all(files: &mut Read) {
    let flows: BTreeMap<String, Arc<Flow>> = files
        .iter()
        .filter_map(|(_, file)| file.as_ref().ok())
        .map(|it| (it.flow.name().to_string(), it.flow.clone()))
        .collect();
    // A file that cannot be read may hold the flow that is missed.
    let all_known = files.iter().all(|(_, file)| file.is_ok());
    for (path, file) in files.iter_mut() {
        let Ok(read) = file else { continue };
        let source = Source::new(&path.display().to_string(), &read.source);
        let mut found = Vec::new();
        for mention in &read.mentions {
            match flows.get(&mention.flow) {
                Some(flow) => found.extend(bad_params(&source, read, mention, flow.spec())),
                None if all_known => found.push(unknown(&source, mention, &flows)),
                None => {}
            }
        }
        found.extend(loops::find(&flows, &read.flow).map(|it| it.diagnostic(&source, read)));
        if found.is_empty() {
            continue;
        }
        let all: Vec<Diagnostic> = std::mem::take(&mut read.warnings)
            .into_iter()
            .chain(found)
            .collect();
        let all = Diagnostics::from(all);
        match all.has_errors() {
            true => *file = Err(all),
            false => read.warnings = all,
        }
    }
}

fn unknown(
    source: &Arc<Source>,
    mention: &Mention,
    flows: &BTreeMap<String, Arc<Flow>>,
) -> Diagnostic {
    let names: Vec<&str> = flows.keys().map(String::as_str).collect();
    let message = format!("no flow of this folder is named `{}`", mention.flow);
    let help = match closest(&mention.flow, &names) {
        Some(it) => format!("did you mean `{it}`?"),
        None => "if it is deployed from elsewhere, this is fine".into(),
    };
    Diagnostic::new(source, mention.at.clone(), "flow.unknown_flow", message)
        .warning()
        .help(help)
}

/// What is wrong with the parameters that a step gives to a flow.
fn bad_params(
    source: &Arc<Source>,
    file: &FlowFile,
    mention: &Mention,
    flow: &FlowSpec,
) -> Vec<Diagnostic> {
    let How::Runs { given } = &mention.how else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, at) in given {
        let at = || at.clone();
        let Some(param) = flow.params.iter().find(|it| it.name == *name) else {
            let known: Vec<&str> = flow.params.iter().map(|it| it.name.as_str()).collect();
            let message = format!("the flow `{}` has no parameter `{name}`", flow.name);
            let help = match known.as_slice() {
                [] => "it has no parameters at all; remove this one, or declare it there".into(),
                known => did_you_mean(name, known),
            };
            found.push(Diagnostic::new(source, at(), "flow.unknown_param", message).help(help));
            continue;
        };
        if let Some(problem) = misfit(file, mention, param) {
            let message = format!("`{name}` does not fit the flow `{}`: {problem}", flow.name);
            let help = format!("see `params` of `{}` for what it takes", flow.name);
            found.push(Diagnostic::new(source, at(), "flow.wrong_type", message).help(help));
        }
    }
    let is_missing = |it: &&ParamSpec| {
        it.default.is_none() && !it.optional && given.iter().all(|(name, _)| *name != it.name)
    };
    for param in flow.params.iter().filter(is_missing) {
        let message = format!(
            "the flow `{}` needs the parameter `{}`, and the step does not give it",
            flow.name, param.name
        );
        let help = format!("write `params: {{ {}: … }}`", param.name);
        let missing = Diagnostic::new(source, mention.at.clone(), "flow.missing_param", message);
        found.push(missing.help(help));
    }
    found
}

/// What the flow would say of a fixed value; expressions are known only in a run.
fn misfit(file: &FlowFile, mention: &Mention, param: &ParamSpec) -> Option<String> {
    let runs = |it: &&SubFlow| it.flow.as_str() == mention.flow;
    let steps = file.flow.spec().steps.iter();
    let sub_flows = steps.filter_map(|it| match &it.run {
        Command::Flow(sub_flow) => Some(sub_flow),
        _ => None,
    });
    let mut problems = sub_flows.filter(runs).filter_map(|it| {
        let Some(Template::Literal(value)) = it.params.get(&param.name) else {
            return None;
        };
        check(param, value.clone()).err()
    });
    problems.next()
}
