//! The search for the interpreter of a flow file.

use super::inspect::{Inspected, inspect};
use super::managed::{Made, Managed, Wanted};
use crate::metaflow::MetaflowConfig;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::broadcast;

/// Lines of progress that nobody has read yet; older ones go.
const LINES_MAX: usize = 256;

/// From this an environment is made for flows that have none.
const REQUIREMENTS: &str = "requirements.txt";

/// A Python that has Metaflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// As it was found: the `bin/python` of an environment, not what that links to.
    pub python: PathBuf,
    pub origin: Origin,
    /// `3.11`.
    pub python_version: String,
    pub metaflow_version: String,
    /// Changes when another Metaflow is installed.
    pub stamp: String,
    /// It is the last good one, and this is why it is not the one that `requirements.txt` asks for now.
    pub warning: Option<String>,
}

/// Why whoever only looks finds none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// An environment was not made yet.
    NotMade(String),
    /// None can be had as things are: flows that want it fail.
    Failed(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NotMade(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

/// Why it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration, or a deployment, names it.
    Configured,
    /// `.venv` or `venv` in the flow's folder or above.
    Beside,
    /// `VIRTUAL_ENV`, `CONDA_PREFIX` or `PATH` of the daemon.
    InUse,
    /// We made it from `requirements.txt`.
    Made,
}

/// Finds interpreters, and makes those that are missing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Interpreters {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: MetaflowConfig,
    managed: Managed,
    lines: broadcast::Sender<Arc<str>>,
    found: Mutex<HashMap<PathBuf, Found>>,
    /// Many attempts want the same one at the same time: one of them looks.
    turns: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

/// A result, and the files by which it was found: it holds while they are as they were.
#[derive(Clone, Debug)]
struct Found {
    interpreter: Interpreter,
    by: Vec<Sight>,
    /// One that stands in for another is asked for again then.
    until: Option<Instant>,
}

/// Whether an environment is made that is missing.
#[derive(Clone, Copy, Debug)]
enum Ways {
    Make,
    Look,
}

#[derive(Clone, Debug, PartialEq)]
struct Sight {
    path: PathBuf,
    /// `None`: it is not there.
    modified: Option<SystemTime>,
}

impl Sight {
    fn of(path: &Path) -> Self {
        let modified = std::fs::metadata(path).and_then(|it| it.modified()).ok();
        Self {
            path: path.to_owned(),
            modified,
        }
    }
}

impl Interpreters {
    /// Environments that have to be made are made in `environments`.
    pub fn new(config: MetaflowConfig, environments: PathBuf) -> Self {
        let (lines, _) = broadcast::channel(LINES_MAX);
        Self {
            inner: Arc::new(Inner {
                config,
                managed: Managed::new(environments, lines.clone()),
                lines,
                found: Mutex::default(),
                turns: Mutex::default(),
            }),
        }
    }

    /// What is being installed, line by line, for people who wait.
    pub fn progress(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.lines.subscribe()
    }

    /// Environments that could not be made are tried again at once, and not only after a while.
    pub fn try_again(&self) {
        self.inner.managed.try_again();
        self.found().retain(|_, it| it.until.is_none());
    }

    /// The interpreter of a flow file. This may take minutes, when an environment is made.
    ///
    /// `named`: a deployment asked for this one.
    ///
    /// # Errors
    /// Why there is none, and the cure.
    pub async fn resolve(&self, file: &Path, named: Option<&str>) -> Result<Interpreter, String> {
        let absolute = std::path::absolute(file);
        let file = absolute.as_deref().unwrap_or(file);
        if let Some(known) = self.known(file, named) {
            return Ok(known);
        }
        let turn = {
            let mut turns = self
                .inner
                .turns
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            turns.entry(key(file, named)).or_default().clone()
        };
        let _turn = turn.lock().await;
        if let Some(known) = self.known(file, named) {
            return Ok(known);
        }
        let mut by = Vec::new();
        let searched = self.search(file, named, &mut by, Ways::Make).await;
        let (interpreter, until) = searched.map_err(|missing| missing.to_string())?;
        let found = Found {
            interpreter: interpreter.clone(),
            by,
            until,
        };
        self.found().insert(key(file, named), found);
        Ok(interpreter)
    }

    /// The same without making an environment, for whoever only looks.
    ///
    /// # Errors
    /// Why there is none yet.
    pub async fn look(&self, file: &Path, named: Option<&str>) -> Result<Interpreter, Missing> {
        let absolute = std::path::absolute(file);
        let file = absolute.as_deref().unwrap_or(file);
        let found = self.search(file, named, &mut Vec::new(), Ways::Look).await;
        found.map(|(interpreter, _)| interpreter)
    }

    /// The same, when it was found before and nothing it depends on has changed; never waits.
    pub fn known(&self, file: &Path, named: Option<&str>) -> Option<Interpreter> {
        let found = self.found().get(&key(file, named)).cloned()?;
        let holds = found.until.is_none_or(|it| it > Instant::now())
            && found.by.iter().all(|it| Sight::of(&it.path) == *it);
        holds.then_some(found.interpreter)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Found>> {
        let found = &self.inner.found;
        found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn search(
        &self,
        file: &Path,
        named: Option<&str>,
        by: &mut Vec<Sight>,
        ways: Ways,
    ) -> Result<(Interpreter, Option<Instant>), Missing> {
        let folder = file.parent().unwrap_or(file);
        let found = self.find(file, folder, named, by).await;
        if let Some(found) = found.map_err(Missing::Failed)? {
            return Ok((found, None));
        }
        let requirements = requirements(folder, &self.inner.config.flows_dir, by);
        let base = on_path("python3").or_else(|| on_path("python"));
        let wanted = Wanted {
            folder,
            requirements: &requirements,
            base: base.as_deref(),
        };
        let managed = &self.inner.managed;
        let Made {
            python,
            instead,
            until,
        } = match ways {
            Ways::Make => managed.make(wanted).await.map_err(Missing::Failed)?,
            Ways::Look => managed.look(wanted).await?,
        };
        let cure = "remove that environment, so that it is made anew";
        let found = must(&python, Origin::Made, by, cure).await;
        let found = found.map_err(Missing::Failed)?;
        let warning = instead;
        Ok((Interpreter { warning, ..found }, until))
    }

    /// One that nobody has to make.
    async fn find(
        &self,
        file: &Path,
        folder: &Path,
        named: Option<&str>,
        by: &mut Vec<Sight>,
    ) -> Result<Option<Interpreter>, String> {
        let config = &self.inner.config;
        if let Some(named) = named {
            let cure = "deploy the flow again with an interpreter that is on this machine";
            let found = must(Path::new(named), Origin::Configured, by, cure).await;
            return found.map(Some);
        }
        if let Some(python) = configured(config, file) {
            let cure = "name another one in [metaflow.environments] of dalsegno.toml";
            let found = must(&python, Origin::Configured, by, cure).await;
            return found.map(Some);
        }
        for place in up_to(folder, &config.flows_dir) {
            for name in [".venv", "venv"] {
                let python = place.join(name).join("bin/python");
                by.push(Sight::of(&python));
                if python.exists() {
                    let cure = "install metaflow there, or name another interpreter in [metaflow.environments] of \
                                dalsegno.toml";
                    return must(&python, Origin::Beside, by, cure).await.map(Some);
                }
            }
        }
        if let Some(python) = &config.python {
            let cure = "name another one as `python` in [metaflow] of dalsegno.toml";
            let found = must(&in_environment(python), Origin::Configured, by, cure).await;
            return found.map(Some);
        }
        for python in in_use() {
            if let Ok(Ok(found)) = look(&python, Origin::InUse, by).await {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The nearest `requirements.txt`, in the flow's folder or above it; where there is none, that of the folder, which is missing.
fn requirements(folder: &Path, root: &Path, by: &mut Vec<Sight>) -> PathBuf {
    for place in up_to(folder, root) {
        let file = place.join(REQUIREMENTS);
        by.push(Sight::of(&file));
        if file.is_file() {
            return file;
        }
    }
    folder.join(REQUIREMENTS)
}

fn key(file: &Path, named: Option<&str>) -> PathBuf {
    match named {
        Some(named) => named.into(),
        None => file.to_owned(),
    }
}

/// An interpreter that somebody asked for: nothing else takes its place.
async fn must(
    python: &Path,
    origin: Origin,
    by: &mut Vec<Sight>,
    cure: &str,
) -> Result<Interpreter, String> {
    match look(python, origin, by).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(version)) => Err(format!(
            "the interpreter {} (Python {version}) has no Metaflow; run `{0} -m pip install metaflow`, or {cure}",
            python.display()
        )),
        Err(message) => Err(format!("{message}; {cure}")),
    }
}

/// An interpreter with Metaflow, or its version if it has none.
async fn look(
    python: &Path,
    origin: Origin,
    by: &mut Vec<Sight>,
) -> Result<Result<Interpreter, String>, String> {
    by.push(Sight::of(python));
    let Inspected {
        python: python_version,
        metaflow,
        place,
    } = inspect(python).await?;
    let (Some(metaflow_version), Some(place)) = (metaflow, place) else {
        return Ok(Err(python_version));
    };
    let sight = Sight::of(&place);
    let stamp = format!(
        "{metaflow_version} {:?} {:?}",
        Sight::of(python).modified,
        sight.modified
    );
    by.push(sight);
    Ok(Ok(Interpreter {
        python: python.to_owned(),
        origin,
        python_version,
        metaflow_version,
        stamp,
        warning: None,
    }))
}

/// The deepest folder that is configured, or the file itself.
fn configured(config: &MetaflowConfig, file: &Path) -> Option<PathBuf> {
    let places = config.environments.iter();
    let found = places
        .map(|(place, python)| (config.flows_dir.join(place), python))
        .filter(|(place, _)| file.starts_with(place))
        .max_by_key(|(place, _)| place.components().count())?;
    Some(in_environment(&config.flows_dir.join(found.1)))
}

/// An environment's folder stands for its interpreter.
fn in_environment(python: &Path) -> PathBuf {
    match python.is_dir() {
        true => python.join("bin/python"),
        false => python.to_owned(),
    }
}

/// A folder and those above it, up to and with the root; only the folder where it is not below the root.
fn up_to<'a>(folder: &'a Path, root: &'a Path) -> impl Iterator<Item = &'a Path> {
    let inside = folder.starts_with(root) && !root.as_os_str().is_empty();
    folder
        .ancestors()
        .take_while(move |it| *it == folder || (inside && it.starts_with(root)))
}

fn in_use() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|it| Path::new(&it).join("bin/python"));
    let mut all: Vec<_> = active.filter(|it| it.exists()).collect();
    all.extend(on_path("python3"));
    all
}

/// A program as a shell finds it.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|it| it.join(name))
        .find(|it| {
            std::fs::metadata(it)
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_configured_place_counts() {
        let config = MetaflowConfig {
            flows_dir: "/flows".into(),
            environments: vec![
                (".".into(), "/all/bin/python".into()),
                ("ml".into(), "ml/env/bin/python".into()),
                ("ml/special.py".into(), "/special/bin/python".into()),
            ],
            ..MetaflowConfig::default()
        };
        let python = |file: &str| {
            let found = configured(&config, Path::new(file));
            found.map(|it| it.display().to_string())
        };
        assert_eq!(
            python("/flows/ml/train.py").as_deref(),
            Some("/flows/ml/env/bin/python")
        );
        assert_eq!(
            python("/flows/ml/special.py").as_deref(),
            Some("/special/bin/python")
        );
        assert_eq!(python("/elsewhere/x.py"), None);
    }

    #[test]
    fn the_nearest_requirements_count_up_to_the_flows_folder() {
        let dir = tempfile::tempdir().expect("a directory");
        let flows = dir.path().join("flows");
        std::fs::create_dir_all(flows.join("team/deep")).expect("made");
        let write = |place: &str| {
            std::fs::write(dir.path().join(place).join(REQUIREMENTS), "").expect("written");
        };
        let found = |folder: &str| {
            let found = requirements(&dir.path().join(folder), &flows, &mut Vec::new());
            let found = found.strip_prefix(dir.path()).expect("below it");
            found.display().to_string()
        };
        write("");
        assert_eq!(found("flows/team"), "flows/team/requirements.txt");
        write("flows");
        assert_eq!(found("flows/team/deep"), "flows/requirements.txt");
        write("flows/team");
        assert_eq!(found("flows/team/deep"), "flows/team/requirements.txt");
        assert_eq!(found("flows"), "flows/requirements.txt");
    }

    #[test]
    fn environments_are_looked_for_up_to_the_flows_folder() {
        let places = |folder: &str| {
            let all: Vec<_> = up_to(Path::new(folder), Path::new("/a/flows"))
                .map(|it| it.display().to_string())
                .collect();
            all.join(" ")
        };
        assert_eq!(places("/a/flows/b/c"), "/a/flows/b/c /a/flows/b /a/flows");
        assert_eq!(places("/a/flows"), "/a/flows");
        assert_eq!(places("/other/b"), "/other/b");
    }
}
