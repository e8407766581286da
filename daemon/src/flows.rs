//! The folder of flow files: read at start, and again when it changes.

use crate::metaflow::{Registry, is_deployed};
use anyhow::Context;
use dalsegno_engine::{AskError, EngineHandle, Role};
use dalsegno_flowfile::{Diagnostics, FlowFile, preflight};
use dalsegno_scheduler::instances::INSTANCES;
use dalsegno_scheduler::row::FlowRow;
use dalsegno_scheduler::{Answer, FlowName, Input};
use notify::event::CreateKind;
use notify::{EventKind, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
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
pub(crate) async fn sync(
    engine: &EngineHandle,
    registry: &Registry,
    folder: &Path,
) -> anyhow::Result<Synced> {
    let (folder, reader) = (folder.to_owned(), registry.clone());
    let files: Read = tokio::task::spawn_blocking(move || {
        std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read the flows folder {}", folder.display()))?;
        let files = dalsegno_flowfile::read_dir_with(&folder, |_| reader.options());
        let own = |(path, file): (PathBuf, Result<FlowFile, Diagnostics>)| {
            let file = file.map(|it| reader.own(&path, it)).and_then(|mut it| {
                preflight(&path.display().to_string(), &mut it, &INSTANCES).map(|()| it)
            });
            (path, file)
        };
        anyhow::Ok(files.into_iter().map(own).collect())
    })
    .await
    .context("reading flow files panicked")??;

    let mut synced = Synced::default();
    // All at once: the engine commits them together.
    let asked: Vec<_> = files
        .into_iter()
        .map(|(path, file)| {
            let (engine, registry) = (engine.clone(), registry.clone());
            tokio::spawn(async move {
                let result = deploy(&engine, &registry, &path, file).await;
                (path, result)
            })
        })
        .collect();
    let (mut seen, mut unread) = (BTreeMap::new(), Vec::new());
    for answer in asked {
        let (path, result) = answer.await.context("deploying a flow panicked")?;
        let holds = result.as_ref().ok().map(|(flow, _)| flow.clone());
        seen.insert(path.display().to_string(), holds);
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
        .filter(|it| !it.row.removed && !is_deployed(&it.row))
        // The file is gone, or it holds another flow now.
        .filter(|it| match seen.get(&it.row.file) {
            None => true,
            Some(Some(flow)) => *flow != it.row.name,
            Some(None) => false,
        })
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
    registry: &Registry,
    path: &Path,
    file: Result<FlowFile, Diagnostics>,
) -> Result<(FlowName, bool), String> {
    let name = path.display().to_string();
    let (flow, message) = match file {
        Ok(file) if file.metaflow.is_some() => {
            let flow = file.flow.name().clone();
            match registry.register(path, file).await {
                Ok(registered) => return Ok(registered),
                // Neither a broken copy nor a name that is taken may pass for the flow that has it.
                Err(message) if is_held_elsewhere(engine, &flow, &name) => {
                    (name_of(engine, path), message)
                }
                Err(message) => (flow, message),
            }
        }
        Ok(file) => {
            let flow = file.flow.name().clone();
            if let Some(message) = registry.obstacle(&file.flow) {
                return refuse(engine, flow, name, message).await;
            }
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
    refuse(engine, flow, name, message).await
}

/// The file is no valid version of its flow, for this reason.
async fn refuse(
    engine: &EngineHandle,
    flow: FlowName,
    file: String,
    message: String,
) -> Result<(FlowName, bool), String> {
    let input = Input::Invalid {
        flow,
        file,
        message: message.clone(),
    };
    if let Err(error) = engine.ask(input).await {
        warn!("{error}");
    }
    Err(message)
}

fn is_held_elsewhere(engine: &EngineHandle, flow: &FlowName, file: &str) -> bool {
    let view = engine.view();
    view.flow(flow.as_str())
        .is_some_and(|it| !it.row.removed && it.row.file != file)
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
    let is_python = path.extension().is_some_and(|it| it == "py");
    let said = text.lines().take(2_000).find_map(|line| {
        let name = match is_python {
            true => {
                let (class, bases) = line.strip_prefix("class ")?.split_once('(')?;
                class
                    .trim()
                    .get(..)
                    .filter(|_| bases.contains("FlowSpec"))?
            }
            false => line.strip_prefix("flow:")?.split('#').next()?.trim(),
        };
        let plain = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
        (!name.is_empty() && name.len() <= 128 && name.chars().all(plain)).then(|| name.to_owned())
    });
    // A broken copy must not pass for the flow that another file holds.
    let view = engine.view();
    let is_free = |name: &String| {
        let holds = |it: &FlowRow| !it.removed && (is_deployed(it) || Path::new(&it.file).exists());
        view.flow(name).is_none_or(|it| !holds(&it.row))
    };
    let name = said.into_iter().chain([stem()]).find(is_free);
    FlowName::new(name.unwrap_or_else(|| format!("{}.broken", stem())))
}

/// Reads the folder again whenever a flow file in it changes, and when this instance comes to lead,
/// until stopped. What changes from now on is not missed.
pub(crate) fn watch(
    engine: EngineHandle,
    registry: Registry,
    folder: PathBuf,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (changed, mut changes) = mpsc::channel(1);
    let known = registry.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns_flows(&event, |path| known.concerns(path))) {
            // One wake-up stands for all changes so far.
            let _ = changed.try_send(());
        }
    })
    .context("cannot watch the flows folder")?;
    let mut watched = Watched {
        watcher,
        folders: BTreeSet::new(),
    };
    watched.extend(&folder, BTreeSet::new())?;
    let mut role = engine.role_changes();
    role.mark_unchanged();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => if change.is_none() { return },
                // They may have changed before they were watched.
                () = registry.more_beside() => {}
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
            // Watched before it is read, so that no edit falls in between.
            if let Err(error) = watched.extend(&folder, registry.folders_beside()) {
                warn!("{error:#}; restart the daemon after you change flow files there");
            }
            registry.try_again();
            match sync(&engine, &registry, &folder).await {
                Ok(synced) => tell(&synced),
                Err(error) => warn!("{error:#}; the flows stay as they are"),
            }
        }
    });
    Ok(())
}

/// Folders that are watched one by one: what lies in hidden ones (Metaflow's data, environments) is none of our
/// business, changes all the time, and would use up what the system can watch.
struct Watched {
    watcher: notify::RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches what is new below the folder, and `others` by themselves.
    fn extend(&mut self, root: &Path, others: BTreeSet<PathBuf>) -> anyhow::Result<()> {
        let mut now = folders_below(root);
        now.extend(others.into_iter().filter(|it| it.is_dir()));
        self.folders.retain(|it| now.contains(it));
        for folder in now {
            if !self.folders.contains(&folder) {
                self.watcher
                    .watch(&folder, RecursiveMode::NonRecursive)
                    .with_context(|| format!("cannot watch {}", folder.display()))?;
                self.folders.insert(folder);
            }
        }
        Ok(())
    }
}

/// A folder and those below it that can hold flow files.
fn folders_below(root: &Path) -> BTreeSet<PathBuf> {
    const DEPTH_MAX: usize = 16;
    let mut found = BTreeSet::from([root.to_owned()]);
    let mut todo = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = todo.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".")
                || entry.file_name().as_encoded_bytes().starts_with(b"_");
            if !is_hidden && depth < DEPTH_MAX && entry.file_type().is_ok_and(|it| it.is_dir()) {
                found.insert(entry.path());
                todo.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// `beside`: whether a file that is no flow file is known to matter.
fn concerns_flows(event: &notify::Event, beside: impl Fn(&Path) -> bool) -> bool {
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    if event.paths.iter().any(|it| beside(it)) {
        return true;
    }
    // Too many changes to name them, or a folder that came with its files.
    let is_hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    if event.need_rescan() {
        return true;
    }
    if event.paths.iter().all(is_hidden) {
        return false;
    }
    if matches!(event.kind, EventKind::Create(CreateKind::Folder)) {
        return true;
    }
    let is_flow_file = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default();
        // Modules that flows import and calendars that they name are part of their versions.
        ["yaml", "yml", "py", "ics"].iter().any(|it| ending == *it)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendars_matter_as_flow_files_do() {
        let changed = |path: &str| {
            let kind = EventKind::Modify(notify::event::ModifyKind::Any);
            let event = notify::Event::new(kind).add_path(PathBuf::from(path));
            concerns_flows(&event, |_| false)
        };
        for path in [
            "flows/calendars/holidays.ics",
            "flows/calendars/holidays.yaml",
            "flows/a.yml",
        ] {
            assert!(changed(path), "{path}");
        }
        assert!(!changed("flows/results/orders.csv") && !changed("flows/calendars/.holidays.ics"));
        let folder = tempfile::tempdir().expect("a folder for the test");
        let calendars = folder.path().join("calendars");
        std::fs::create_dir(&calendars).expect("the folder can be written to");
        assert!(
            folders_below(folder.path()).contains(&calendars),
            "and is watched"
        );
    }

    #[test]
    fn hidden_folders_are_not_watched() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        for inner in [
            "teams/ml",
            ".metaflow/Train",
            ".venv/bin",
            "__pycache__",
            "teams/_old",
        ] {
            std::fs::create_dir_all(folder.path().join(inner))
                .expect("the folder can be written to");
        }
        let root = folder.path();
        let found = folders_below(root);
        let expected = [root.to_owned(), root.join("teams"), root.join("teams/ml")];
        assert_eq!(found, BTreeSet::from(expected));
    }
}
