//! Asking Metaflow itself what a flow file declares, in the background.

use super::registry::{Inner, Registry, options_of};
use dalsegno_executor::ProbeOptions;
use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::{Dump, Options, with_dump};
use dalsegno_scheduler::{FlowName, Input, Version};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tracing::{info, warn};

/// What came of a probe, or that it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    /// What the file was as text, with its options.
    version: Version,
    /// Saving the file again, or the interpreter's environment, asks anew.
    saved_at: Option<SystemTime>,
    /// `None`: it goes on.
    failed: Option<String>,
}

/// The file with what an earlier probe of the same text said.
pub(super) fn known(inner: &Inner, path: &Path, file: &FlowFile) -> Option<FlowFile> {
    let text = std::fs::read_to_string(place(inner, path, file)).ok()?;
    let dump: Dump = serde_json::from_str(&text).ok()?;
    let options = options_of(&inner.settings, &inner.config, file);
    with_dump(file, &dump, &options)
        .ok()
        .map(|(merged, _)| merged)
}

/// Why an earlier probe of the same text failed; the file was not saved since.
pub(super) fn failed(inner: &Inner, path: &Path, file: &FlowFile) -> Option<String> {
    let tried = inner.tried();
    let it = tried.get(path)?;
    let same = it.version == file.version && it.saved_at == saved_at(path);
    it.failed.clone().filter(|_| same)
}

/// Begins to ask, unless that goes on already. When the answer is there, the flow is registered again.
pub(super) fn begin(registry: &Registry, path: &Path, file: FlowFile) {
    let inner = &registry.0;
    let tried = Tried {
        version: file.version.clone(),
        saved_at: saved_at(path),
        failed: None,
    };
    let before = inner.tried().insert(path.to_owned(), tried.clone());
    let goes_on = |it: &Tried| {
        it.failed.is_none() && it.version == tried.version && it.saved_at == tried.saved_at
    };
    if before.is_some_and(|it| goes_on(&it)) {
        return;
    }
    let (registry, path) = (registry.clone(), path.to_owned());
    tokio::spawn(async move { run(&registry, &path, file, tried).await });
}

async fn run(registry: &Registry, path: &Path, file: FlowFile, tried: Tried) {
    let inner = &registry.0;
    let flow = file.flow.name().clone();
    let asked = ask(inner, path, &file).await;
    // The file may have changed meanwhile; then a newer probe has the word.
    let is_newest = inner.tried().get(path).is_some_and(|it| {
        it.version == tried.version && it.saved_at == tried.saved_at && it.failed.is_none()
    });
    if !is_newest {
        return;
    }
    let done = match &asked {
        Ok(merged) => {
            inner.tried().remove(path);
            register(inner, path, &flow, merged, None).await
        }
        Err(reason) => {
            let failed = Some(reason.clone());
            inner
                .tried()
                .insert(path.to_owned(), Tried { failed, ..tried });
            register(inner, path, &flow, &file, Some(reason)).await
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
        (Ok(()), Err(reason)) => {
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
async fn ask(inner: &Inner, path: &Path, file: &FlowFile) -> Result<FlowFile, String> {
    let spec = file.flow.spec();
    let metaflow = spec.metaflow.as_ref().ok_or("it is no Metaflow flow")?;
    let interpreter = inner.interpreter(file.flow.name(), path, metaflow.python.as_deref());
    let interpreter = interpreter.await?;
    let options = options_of(&inner.settings, &inner.config, file);
    let options = probe_options(&options, inner.settings.probe_time);
    let probed = inner
        .executor
        .prober()
        .probe(path, &interpreter, &options)
        .await;
    let dump = probed.map_err(|error| error.to_string())?.dump;
    let merged = merge(inner, file, &dump)?;
    let place = place(inner, path, file);
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
    let folder = inner.executor.layout().data_dir().join("probes");
    folder.join(format!("{name}.{}.json", file.version))
}

fn saved_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|it| it.modified()).ok()
}
