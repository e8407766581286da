//! What Metaflow flows need: an interpreter with Metaflow, and a place for their data.

use crate::config::Settings;
use crate::metaflow::{options, own};
use crate::output::{Finding, Health};
use crate::up::metaflow_config;
use dalsegno_executor::{Interpreters, Missing};
use dalsegno_flowfile::FlowFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Findings where there are Metaflow flows; else nothing.
pub(super) fn look(folder: &Path, settings: &Settings, data: Option<&Path>) -> Vec<Finding> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let config = metaflow_config(settings, &folder);
    let read = dalsegno_flowfile::read_dir_with(&folder, |_| options(&settings.metaflow, &config));
    let files: Vec<(PathBuf, FlowFile)> = read
        .into_iter()
        .filter_map(|(path, file)| Some((path, file.ok()?)))
        .filter(|(_, file)| file.metaflow.is_some())
        .map(|(path, file)| {
            let file = own(&settings.metaflow, &config, &path, file);
            (path, file)
        })
        .collect();
    if files.is_empty() {
        return Vec::new();
    }
    let environments = data.unwrap_or(&settings.data).join("environments");
    let environments = std::path::absolute(&environments).unwrap_or(environments);
    let interpreters = Interpreters::new(config.clone(), environments);
    let mut findings = found(&interpreters, &files);
    findings.push(storage(&config.storage()));
    let start = match config.cold {
        true => "configured off (`cold`): each task starts an interpreter of its own",
        false => {
            "configured: tasks are copies of a process that has Metaflow loaded; not tried here"
        }
    };
    findings.push(Finding::new("warm start", Health::Ok, start));
    findings
}

/// The interpreter of each flow; flows with the same one together.
fn found(interpreters: &Interpreters, files: &[(PathBuf, FlowFile)]) -> Vec<Finding> {
    const ABOUT: &str = "metaflow";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::new(ABOUT, Health::Fail, error.to_string())],
    };
    let mut by_answer: BTreeMap<Answer, Vec<String>> = BTreeMap::new();
    for (path, file) in files {
        let named = file.flow.spec().metaflow.as_ref();
        let named = named.and_then(|it| it.python.clone());
        let answer = runtime.block_on(interpreters.look(path, named.as_deref()));
        let answer = answer.map(|it| {
            let (python, metaflow) = (it.python_version, it.metaflow_version);
            let text = format!(
                "{} has Metaflow {metaflow}, Python {python}",
                it.python.display()
            );
            (text, it.warning)
        });
        let flows = by_answer.entry(answer).or_default();
        flows.push(file.flow.name().to_string());
    }
    let finding = |(answer, flows): (Answer, Vec<String>)| {
        let of = names(&flows);
        match answer {
            Ok((text, None)) => Finding::new(ABOUT, Health::Ok, format!("{text} ({of})")),
            Ok((text, Some(warning))) => {
                Finding::new(ABOUT, Health::Warn, format!("{text} ({of}), but {warning}"))
                    .cure("repair requirements.txt or what it needs; when it is saved, `up` tries again at once")
            }
            Err(Missing::NotMade(text)) => Finding::new(ABOUT, Health::Warn, format!("{of}: {text}"))
                .cure("name an interpreter as `python` in [metaflow] of dalsegno.toml, or let `up` make one"),
            Err(Missing::Failed(text)) => Finding::new(ABOUT, Health::Fail, format!("{of}: {text}"))
                .cure("after the repair save the flow file or requirements.txt; `up` then tries again at once"),
        }
    };
    by_answer.into_iter().map(finding).collect()
}

/// An interpreter as text, with what is amiss with it, or why there is none.
type Answer = Result<(String, Option<String>), Missing>;

fn names(flows: &[String]) -> String {
    const NAMED_MAX: usize = 8;
    let named = flows[..flows.len().min(NAMED_MAX)].join(", ");
    match flows.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn storage(storage: &dalsegno_scheduler::metaflow::Storage) -> Finding {
    const ABOUT: &str = "datastore";
    let (datastore, root) = (&storage.datastore, &storage.root);
    if datastore != "local" {
        let root = if root.is_empty() {
            "where Metaflow's own configuration says"
        } else {
            root
        };
        return Finding::new(
            ABOUT,
            Health::Ok,
            format!("{datastore}, {root}; not looked into"),
        );
    }
    match super::storage::probe(Path::new(root)) {
        Err(error) => Finding::new(ABOUT, Health::Fail, format!("{root} cannot be written: {error}"))
            .cure("make it writable for this user, or set `datastore_root` in [metaflow] of dalsegno.toml"),
        Ok(()) => Finding::new(ABOUT, Health::Ok, format!("{root} can be written")),
    }
}
