//! Asking Metaflow itself what a flow file declares, in the background.

use super::beside::{self, Sight};
use super::registry::{Inner, Registry, options_of};
use dalsegno_executor::ProbeOptions;
use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::{Dump, Options, with_dump};
use dalsegno_scheduler::{FlowName, Input, Version};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};

/// Whoever writes a config all the time gets the one of the last try.
const ROUNDS_MAX: u32 = 3;

/// What came of a probe, or that it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    /// What the file was as text, with its options.
    version: Version,
    /// Saving the file again, its configs or the text its environment is made from, asks anew.
    seen: Sight,
    goes_on: bool,
    failed: Option<Failed>,
}

impl Tried {
    fn is_of(&self, version: &Version, seen: &Sight) -> bool {
        self.version == *version && self.seen == *seen
    }
}

#[derive(Clone, Debug)]
struct Failed {
    reason: String,
    /// The file was not run at all.
    no_interpreter: bool,
}

impl Failed {
    fn by_file(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            no_interpreter: false,
        }
    }
}

/// The file with what an earlier probe of the same text and the same configs said.
pub(super) fn known(inner: &Inner, path: &Path, file: &FlowFile) -> Option<FlowFile> {
    let place = place(inner, path, file);
    let text = std::fs::read_to_string(&place).ok()?;
    let dump: Value = serde_json::from_str(&text).ok()?;
    let files = beside::read_by(&dump)?;
    inner.beside.add(path, files.keys().cloned());
    if !beside::is_current(&files) {
        return None;
    }
    inner.kept().insert(place);
    let dump: Dump = serde_json::from_value(dump).ok()?;
    let options = options_of(&inner.settings, &inner.config, file);
    with_dump(file, &dump, &options)
        .ok()
        .map(|(merged, _)| merged)
}

/// Why an earlier probe of the same text failed, where nothing was saved since; and whether it is worth another try.
pub(super) fn failed(inner: &Inner, path: &Path, file: &FlowFile) -> Option<(String, bool)> {
    let seen = inner.beside.sight(path);
    let tried = inner.tried();
    let it = tried
        .get(path)
        .filter(|it| it.is_of(&file.version, &seen))?;
    let failed = it.failed.as_ref()?;
    Some((failed.reason.clone(), failed.no_interpreter))
}

/// Begins to ask, unless that goes on already. When the answer is there, the flow is registered again.
pub(super) fn begin(registry: &Registry, path: &Path, file: FlowFile) {
    let inner = &registry.0;
    let mut tried = Tried {
        version: file.version.clone(),
        seen: inner.beside.sight(path),
        goes_on: true,
        failed: None,
    };
    {
        let mut all = inner.tried();
        let same = all
            .get(path)
            .filter(|it| it.is_of(&tried.version, &tried.seen));
        if same.is_some_and(|it| it.goes_on) {
            return;
        }
        // What is tried again has failed until it has not.
        tried.failed = same.and_then(|it| it.failed.clone());
        all.insert(path.to_owned(), tried.clone());
    }
    let (registry, path) = (registry.clone(), path.to_owned());
    tokio::spawn(async move { run(&registry, &path, file, tried).await });
}

async fn run(registry: &Registry, path: &Path, file: FlowFile, tried: Tried) {
    let inner = &registry.0;
    let flow = file.flow.name().clone();
    let asked = ask(inner, path, &file).await;
    // The file may have changed meanwhile; then a newer probe has the word.
    let is_newest = inner
        .tried()
        .get(path)
        .is_some_and(|it| it.goes_on && it.is_of(&tried.version, &tried.seen));
    if !is_newest {
        return;
    }
    let done = match &asked {
        Ok(merged) => {
            inner.tried().remove(path);
            register(inner, path, &flow, merged, None).await
        }
        Err(failed) => {
            let now = Tried {
                goes_on: false,
                failed: Some(failed.clone()),
                ..tried
            };
            inner.tried().insert(path.to_owned(), now);
            register(inner, path, &flow, &file, Some(&failed.reason)).await
        }
    };
    inner.notes.change(&flow, |it| it.doing = None);
    let place = path.display();
    match (done, asked) {
        (Err(message), _) => warn!("{message}"),
        (Ok(()), Ok(merged)) => {
            for it in &merged.warnings {
                info!("{place}:{}: {}", it.line, it.message);
            }
            let warnings = told(&merged);
            inner
                .notes
                .change(merged.flow.name(), |it| it.warnings = warnings);
            info!("flow {} is as Metaflow sees it now", merged.flow.name());
        }
        // Why that is was told.
        (
            Ok(()),
            Err(Failed {
                no_interpreter: true,
                ..
            }),
        ) => {
            info!(
                "{place}: Metaflow is asked when there is an interpreter; until then only people start flow {flow}"
            );
        }
        (Ok(()), Err(Failed { reason, .. })) => {
            warn!(
                "{place}: Metaflow could not be asked, so only people start flow {flow}: {reason}"
            );
        }
    }
}

/// What is told while it goes on.
pub(super) const DOING: &str = "Metaflow is being asked what only running the file can tell.";

/// Findings that do not stand in the way, a line each.
pub(super) fn told(file: &FlowFile) -> Vec<String> {
    let warnings = file.warnings.iter();
    warnings
        .map(|it| format!("line {}: {}", it.line, it.message))
        .collect()
}

/// Gives the flow to the engine anew, unless it was taken off meanwhile.
async fn register(
    inner: &Inner,
    path: &Path,
    before: &FlowName,
    file: &FlowFile,
    failed: Option<&str>,
) -> Result<(), String> {
    let row = inner
        .engine
        .view()
        .flow(before.as_str())
        .map(|it| it.row.clone());
    let here = path.display().to_string();
    if row.is_none_or(|it| it.removed || it.file != here) {
        return Ok(());
    }
    let versioned = inner.pinned(path, file, failed).await?;
    inner.deploy(&versioned, here).await?;
    // The branch of a project, which is a part of the name, may be known only now.
    if file.flow.name() != before {
        let remove = Input::Remove {
            flow: before.clone(),
        };
        inner
            .engine
            .ask(remove)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The merged file, or why there is none.
async fn ask(inner: &Inner, path: &Path, file: &FlowFile) -> Result<FlowFile, Failed> {
    let spec = file.flow.spec();
    let Some(metaflow) = &spec.metaflow else {
        return Err(Failed::by_file("it is no Metaflow flow"));
    };
    let interpreter = inner.interpreter(file.flow.name(), path, metaflow.python.as_deref());
    let interpreter = interpreter.await.map_err(|reason| Failed {
        reason,
        no_interpreter: true,
    })?;
    let options = options_of(&inner.settings, &inner.config, file);
    let options = probe_options(&options, inner.settings.probe_time);
    let mut rounds = 0;
    let dump = loop {
        let prober = inner.executor.prober();
        let probed = prober.probe(path, &interpreter, &options).await;
        let dump = probed.map_err(Failed::by_file)?.dump;
        let files = beside::read_by(&dump).unwrap_or_default();
        inner.beside.add(path, files.keys().cloned());
        rounds += 1;
        // A config that was saved meanwhile was perhaps read before that.
        if rounds == ROUNDS_MAX || beside::is_current(&files) {
            break dump;
        }
    };
    let merged = merge(inner, file, &dump).map_err(Failed::by_file)?;
    let place = place(inner, path, file);
    inner.kept().insert(place.clone());
    let kept = place
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&place, dump.to_string()));
    if let Err(error) = kept {
        warn!(
            "{} cannot be written ({error}); the next start asks Metaflow again",
            place.display()
        );
    }
    Ok(merged)
}

/// What a probe has to know of the options with which a file is read.
pub(crate) fn probe_options(options: &Options, time_limit: Duration) -> ProbeOptions {
    let user = options.owner.clone().or_else(|| options.user.clone());
    let default = ProbeOptions::default();
    ProbeOptions {
        branch: options.branch.clone(),
        production: options.production,
        with: options.with.clone(),
        user: user.unwrap_or_else(|| default.user.clone()),
        time_limit,
        ..default
    }
}

fn merge(inner: &Inner, file: &FlowFile, dump: &Value) -> Result<FlowFile, String> {
    let dump: Dump = serde_json::from_value(dump.clone())
        .map_err(|error| format!("what it said is not understood: {error}"))?;
    let options = options_of(&inner.settings, &inner.config, file);
    match with_dump(file, &dump, &options) {
        Ok((merged, _)) => Ok(merged),
        Err(found) => Err(found.to_string()),
    }
}

/// Where the answer for this text is kept.
fn place(inner: &Inner, path: &Path, file: &FlowFile) -> PathBuf {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    // It holds whatever is promised.
    let version = match &file.metaflow {
        Some(it) => &it.version_of_code,
        None => &file.version,
    };
    folder(inner).join(format!("{name}.{version}.json"))
}

fn folder(inner: &Inner) -> PathBuf {
    inner.executor.layout().data_dir().join("probes")
}

/// Removes answers that no flow file has used since the start: texts and options of the past.
pub(super) fn forget(inner: &Inner) {
    let folder = folder(inner);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let is_kept = inner.kept().contains(&path);
        if !is_kept && let Err(error) = std::fs::remove_file(&path) {
            warn!("{} cannot be removed ({error})", path.display());
        }
    }
}
