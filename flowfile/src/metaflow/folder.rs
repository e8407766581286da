//! The Metaflow files of a folder, and what is wrong among them.

use super::module::Cache;
use super::options::Options;
use super::read::{Outcome, read_with};
use super::sidecar;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::FlowFile;
use crate::source::Source;
use dalsegno_scheduler::spec::EventSource;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Read = Vec<(PathBuf, Result<FlowFile, Diagnostics>)>;

/// Reads Python files. Those without a flow are left out, and so are modules with a base class that other
/// flows of the folder inherit from. Of `sidecars` those are told that belong to no flow.
pub(crate) fn read_all(
    paths: Vec<PathBuf>,
    sidecars: Vec<PathBuf>,
    options: impl Fn(&Path) -> Options,
) -> Read {
    let cache = Cache::default();
    let mut files: Vec<(PathBuf, Outcome)> = paths
        .into_iter()
        .map(|path| {
            let outcome = read_with(&path, &options(&path), &cache);
            (path, outcome)
        })
        .collect();
    let imported: BTreeSet<PathBuf> = files
        .iter()
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Flow(file) => file.metaflow.as_ref(),
            _ => None,
        })
        .flat_map(|it| it.closure.iter().cloned())
        .collect();
    files.retain(|(path, outcome)| {
        let runs = match outcome {
            Outcome::Flow(file) => file.metaflow.as_ref().is_none_or(|it| it.instantiated),
            Outcome::Refused(_, runs) => *runs,
            Outcome::NotAFlow => return false,
        };
        runs || !imported.contains(path)
    });
    let mut read: Read = files
        .into_iter()
        .filter_map(|(path, outcome)| match outcome {
            Outcome::Flow(file) => Some((path, Ok(*file))),
            Outcome::Refused(found, _) => Some((path, Err(found))),
            Outcome::NotAFlow => None,
        })
        .collect();
    refuse_circles(&mut read);
    let flows: BTreeSet<PathBuf> = read.iter().map(|(path, _)| path.clone()).collect();
    let is_alone = |it: &PathBuf| !sidecar::belongs(it, &flows);
    let alone = sidecars.into_iter().filter(is_alone);
    read.extend(alone.map(|it| {
        let found = sidecar::alone(&it);
        (it, Err(found))
    }));
    read
}

/// Flows that start each other when they finish would never stop.
fn refuse_circles(files: &mut Read) {
    let mut starts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, file) in files.iter() {
        let Ok(file) = file else { continue };
        let spec = file.flow.spec();
        for leaf in spec.triggers.iter().flat_map(|it| it.on.leaves()) {
            if let EventSource::Flow { flow, .. } = &leaf.source {
                starts
                    .entry(spec.name.to_string())
                    .or_default()
                    .insert(flow.to_string());
            }
        }
    }
    for (path, file) in files.iter_mut() {
        let Ok(read) = file else { continue };
        let name = read.flow.name().to_string();
        let Some(circle) = circle(&starts, &name) else {
            continue;
        };
        let source = Source::new(&path.display().to_string(), &read.source);
        let at = read
            .metaflow
            .as_ref()
            .and_then(|it| {
                it.declared
                    .decorators
                    .iter()
                    .find(|it| it.name == "trigger_on_finish")
            })
            .filter(|it| it.place.source.name == source.name)
            .map_or_else(|| read.name_at.clone(), |it| it.place.at.clone());
        let message = format!(
            "the flows start each other for ever: {}",
            circle.join(" -> ")
        );
        let help = "remove one of the `@trigger_on_finish`";
        let found = Diagnostic::new(&source, at, "metaflow.flow_cycle", message).help(help);
        *file = Err(found.into());
    }
}

/// The way from a flow back to itself, along what it waits for.
fn circle(starts: &BTreeMap<String, BTreeSet<String>>, name: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut todo = vec![name];
    while let Some(flow) = todo.pop() {
        for next in starts.get(flow).into_iter().flatten() {
            if next == name {
                // What it waits for comes before it, so the way is told backwards.
                let mut way = vec![name.to_owned()];
                let mut at = flow;
                while at != name {
                    way.push(at.to_owned());
                    at = came_from[at];
                }
                way.push(name.to_owned());
                return Some(way);
            }
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, flow);
                todo.push(next);
            }
        }
    }
    None
}
