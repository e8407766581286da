//! The folder of flow files: read at start, and again when it changes.

use anyhow::Context;
use dalsegno_engine::{AskError, EngineHandle, Role};
use dalsegno_flowfile::{Diagnostics, FlowFile};
use dalsegno_scheduler::row::FlowRow;
use dalsegno_scheduler::{Answer, FlowName, Input};
use notify::event::CreateKind;
use notify::{EventKind, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Editors write a file in several steps; the folder is read when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(150);

/// What came of reading the folder once.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    pub(crate) valid: usize,
    /// File and message of each file that is not active as it stands.
    pub(crate) invalid: Vec<(PathBuf, String)>,
    pub(crate) changed: Vec<FlowName>,
    pub(crate) removed: Vec<FlowName>,
}

type Read = Vec<(PathBuf, Result<FlowFile, Diagnostics>)>;

/// Brings the engine in line with the folder. Files are independent: one that is broken keeps its last
/// good version and disturbs no other.
pub(crate) async fn sync(engine: &EngineHandle, folder: &Path) -> anyhow::Result<Synced> {
    let folder = folder.to_owned();
    let files: Read = tokio::task::spawn_blocking(move || {
        std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read the flows folder {}", folder.display()))?;
        anyhow::Ok(dalsegno_flowfile::read_dir(&folder))
    })
    .await
    .context("reading flow files panicked")??;

    let mut synced = Synced::default();
    // All at once: the engine commits them together.
    let asked: Vec<_> = files
        .into_iter()
        .map(|(path, file)| {
            let engine = engine.clone();
            tokio::spawn(async move { (path.clone(), deploy(&engine, &path, file).await) })
        })
        .collect();
    let (mut seen, mut unread) = (BTreeSet::new(), Vec::new());
    for answer in asked {
        let (path, result) = answer.await.context("deploying a flow panicked")?;
        seen.insert(path.display().to_string());
        if path.is_dir() {
            unread.push(path.clone());
        }
        match result {
            Ok((flow, changed)) => {
                synced.valid += 1;
                synced.changed.extend(changed.then_some(flow));
            }
            Err(message) => synced.invalid.push((path, message)),
        }
    }
    let gone: Vec<FlowName> = engine
        .view()
        .flows()
        .filter(|it| !it.row.removed && !seen.contains(&it.row.file))
        // Nobody knows what is in a folder that cannot be read.
        .filter(|it| {
            !unread
                .iter()
                .any(|folder| Path::new(&it.row.file).starts_with(folder))
        })
        .map(|it| it.row.name.clone())
        .collect();
    for flow in gone {
        match engine.ask(Input::Remove { flow: flow.clone() }).await {
            Ok(_) => synced.removed.push(flow),
            Err(error) => warn!("flow {flow} could not be taken off: {error}"),
        }
    }
    Ok(synced)
}

/// Gives one file to the engine; the error is what stands in its way, for people.
async fn deploy(
    engine: &EngineHandle,
    path: &Path,
    file: Result<FlowFile, Diagnostics>,
) -> Result<(FlowName, bool), String> {
    let name = path.display().to_string();
    let (flow, message) = match file {
        Ok(file) => {
            let flow = file.flow.name().clone();
            let input = Input::Deploy {
                flow: file.flow,
                version: file.version,
                source: file.source.into(),
                file: name.clone(),
            };
            match engine.ask(input).await {
                Ok(Answer::Deployed { created, .. }) => return Ok((flow, created)),
                Ok(_) => return Ok((flow, false)),
                Err(AskError::Rejected(rejected)) => (flow, rejected.to_string()),
                Err(error) => return Err(error.to_string()),
            }
        }
        // A folder that cannot be read stands for no flow.
        Err(findings) if path.is_dir() => return Err(findings.render(false)),
        Err(findings) => (name_of(engine, path), findings.render(false)),
    };
    let input = Input::Invalid {
        flow,
        file: name,
        message: message.clone(),
    };
    if let Err(error) = engine.ask(input).await {
        warn!("{error}");
    }
    Err(message)
}

/// The flow that a broken file stands for: the one it held before, else what its text or name says.
fn name_of(engine: &EngineHandle, path: &Path) -> FlowName {
    let file = path.display().to_string();
    if let Some(known) = engine.view().flows().find(|it| it.row.file == file) {
        return known.row.name.clone();
    }
    let stem = || {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let said = text.lines().take(200).find_map(|line| {
        let name = line.strip_prefix("flow:")?.split('#').next()?.trim();
        let plain = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
        (!name.is_empty() && name.len() <= 128 && name.chars().all(plain)).then(|| name.to_owned())
    });
    // A broken copy must not pass for the flow that another file holds.
    let view = engine.view();
    let is_free = |name: &String| {
        let holds = |it: &FlowRow| !it.removed && Path::new(&it.file).exists();
        view.flow(name).is_none_or(|it| !holds(&it.row))
    };
    let name = said.into_iter().chain([stem()]).find(is_free);
    FlowName::new(name.unwrap_or_else(|| format!("{}.broken", stem())))
}

/// Reads the folder again whenever a flow file in it changes, and when this instance comes to lead,
/// until stopped. What changes from now on is not missed.
pub(crate) fn watch(
    engine: EngineHandle,
    folder: PathBuf,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns_flows(&event)) {
            // One wake-up stands for all changes so far.
            let _ = changed.try_send(());
        }
    })
    .context("cannot watch the flows folder")?;
    watcher
        .watch(&folder, RecursiveMode::Recursive)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    let mut role = engine.role_changes();
    role.mark_unchanged();
    tokio::spawn(async move {
        let _watcher = watcher;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => if change.is_none() { return },
                change = role.changed() => match change {
                    Ok(()) if *role.borrow_and_update() == Role::Leader => {}
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
            if engine.role() != Role::Leader {
                continue;
            }
            while tokio::time::timeout(QUIET, changes.recv())
                .await
                .is_ok_and(|it| it.is_some())
            {}
            match sync(&engine, &folder).await {
                Ok(synced) => tell(&synced),
                Err(error) => warn!("{error:#}; the flows stay as they are"),
            }
        }
    });
    Ok(())
}

fn concerns_flows(event: &notify::Event) -> bool {
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    // Too many changes to name them, or a folder that came with its files.
    if event.need_rescan() || matches!(event.kind, EventKind::Create(CreateKind::Folder)) {
        return true;
    }
    let is_flow_file = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default();
        ending == "yaml" || ending == "yml"
    };
    // A folder that is moved away takes its files along without naming them.
    let folder_gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))
    ) && event.paths.iter().any(|path| path.extension().is_none());
    folder_gone || event.paths.iter().any(is_flow_file)
}

fn tell(synced: &Synced) {
    for flow in &synced.changed {
        info!("flow {flow} is active as it stands in its file now");
    }
    for flow in &synced.removed {
        info!("flow {flow} is off: its file is gone");
    }
    for (file, message) in &synced.invalid {
        warn!(
            "{} is not valid as it stands; its last good version, if it had one, stays active\n{message}",
            file.display()
        );
    }
}
