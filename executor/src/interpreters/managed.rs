//! Environments of our own: made once for each version of Python and text of `requirements.txt`.

use super::inspect::{command, inspect};
use super::past::Past;
use super::said::Said;
use super::search::{Missing, on_path};
use crate::metaflow::hex;
use crate::private;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::broadcast;
use tracing::info;

/// What is installed where `requirements.txt` does not name Metaflow.
const METAFLOW: &str = "metaflow>=2.15,<3";

/// Written last: an environment without it was not finished. Environments hold their own path in their
/// scripts, so they are made where they stay.
const READY: &str = ".dalsegno-ready";

/// One that could not be made is tried again after this, or when somebody asks for it.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Large packages over a slow line; only what hangs takes longer.
const MADE_WITHIN: Duration = Duration::from_secs(3_600);

/// Where another one can be used meanwhile, tries do not take much of the time.
const REST_PER_TRY: u32 = 10;

/// Below an environment's folder.
const PYTHON: &str = "bin/python";

const CURE: &str = "repair that, or name an interpreter that has Metaflow as `python` in [metaflow] of dalsegno.toml";

#[derive(Debug)]
pub(crate) struct Managed {
    folder: PathBuf,
    past: Past,
    lines: broadcast::Sender<Arc<str>>,
    /// By name; each is made by one at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Why, by name, and until when that is believed.
    failed: Mutex<HashMap<String, (Instant, String)>>,
}

/// Whose environment is wanted, and what it is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The folder of the flow.
    pub(crate) folder: &'a Path,
    /// A file that need not exist.
    pub(crate) requirements: &'a Path,
    pub(crate) base: Option<&'a Path>,
}

/// An environment that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) python: PathBuf,
    /// Why it is not the one that was wanted, but the last good one of the folder; a sentence for people.
    pub(crate) instead: Option<String>,
    /// When the wanted one is worth another try.
    pub(crate) until: Option<Instant>,
}

/// What an environment is made from, and the name that it has by that.
struct Recipe {
    name: String,
    /// `None`: there is no such file.
    text: Option<String>,
}

/// One that was not made.
struct Failure {
    reason: String,
    until: Instant,
}

impl Managed {
    pub(crate) fn new(folder: PathBuf, lines: broadcast::Sender<Arc<str>>) -> Self {
        Self {
            past: Past::new(folder.clone()),
            folder,
            lines,
            turns: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    pub(crate) fn try_again(&self) {
        lock(&self.failed).clear();
    }

    /// The interpreter of the wanted environment, made if it is missing. When that cannot be, the last good one of the
    /// same folder.
    pub(crate) async fn make(&self, wanted: Wanted<'_>) -> Result<Made, String> {
        let Failure { reason, until } = match self.wanted(wanted).await {
            Ok(name) => {
                self.past.succeeded(wanted.folder, &name);
                return Ok(self.made(&name));
            }
            Err(failure) => failure,
        };
        match self.last_good(wanted.folder) {
            Some(place) => Ok(Made {
                python: place.join(PYTHON),
                instead: Some(told_instead(&reason, &place)),
                until: Some(until),
            }),
            None => Err(format!("{reason}; {CURE}")),
        }
    }

    /// The same as it is now, without making anything.
    pub(crate) async fn look(&self, wanted: Wanted<'_>) -> Result<Made, Missing> {
        let name = match Recipe::of(wanted).await {
            Ok(recipe) => recipe.name,
            Err(reason) => return Err(Missing::Failed(format!("{reason}; {CURE}"))),
        };
        if self.is_ready(&name) {
            return Ok(self.made(&name));
        }
        let failure = self.past.failure(&name);
        let instead = |place: PathBuf| Made {
            python: place.join(PYTHON),
            instead: Some(match &failure {
                Some(reason) => told_instead(reason, &place),
                None => format!(
                    "what {} asks for now is not installed yet, `up` does that; until then the last environment of this \
                     folder is used, {}",
                    wanted.requirements.display(),
                    place.display()
                ),
            }),
            until: None,
        };
        match (self.last_good(wanted.folder), &failure) {
            (Some(place), _) => Ok(instead(place)),
            (None, Some(reason)) => Err(Missing::Failed(format!("{reason}; {CURE}"))),
            (None, None) => Err(Missing::NotMade(
                "no interpreter here has Metaflow; `up` makes an environment that has".into(),
            )),
        }
    }

    fn made(&self, name: &str) -> Made {
        Made {
            python: self.folder.join(name).join(PYTHON),
            instead: None,
            until: None,
        }
    }

    fn is_ready(&self, name: &str) -> bool {
        self.folder.join(name).join(READY).exists()
    }

    fn last_good(&self, folder: &Path) -> Option<PathBuf> {
        let name = self.past.good(folder)?;
        self.is_ready(&name).then(|| self.folder.join(name))
    }

    /// The name of the wanted environment, when it is there or could be made.
    async fn wanted(&self, wanted: Wanted<'_>) -> Result<String, Failure> {
        let recipe = Recipe::of(wanted).await.map_err(|reason| Failure {
            reason,
            until: Instant::now() + TRY_AGAIN_AFTER,
        })?;
        let name = recipe.name.clone();
        let turn = lock(&self.turns).entry(name.clone()).or_default().clone();
        let _turn = turn.lock().await;
        if self.is_ready(&name) {
            return Ok(name);
        }
        if let Some((until, reason)) = lock(&self.failed).get(&name)
            && *until > Instant::now()
        {
            return Err(Failure {
                reason: reason.clone(),
                until: *until,
            });
        }
        let place = self.folder.join(&name);
        let log = self.folder.join(format!("{name}.log"));
        let begun = Instant::now();
        let made = tokio::time::timeout(MADE_WITHIN, self.build(&place, &log, wanted, &recipe));
        let made = made.await.unwrap_or_else(|_| {
            let minutes = MADE_WITHIN.as_secs() / 60;
            Err(format!("it was not finished within {minutes} minutes"))
        });
        let Err(reason) = made else {
            self.say(&format!("the environment {} is ready", place.display()));
            return Ok(name);
        };
        let _ = std::fs::remove_dir_all(&place);
        let what = match recipe.text {
            Some(_) => format!("for {}", wanted.requirements.display()),
            None => "with Metaflow".into(),
        };
        let all = match log.exists() {
            true => format!("; {} has all that was said", log.display()),
            false => String::new(),
        };
        let reason = format!("no environment {what} could be made: {reason}{all}");
        // Whoever asked tells it; here it is for those who wait.
        let _ = self.lines.send(reason.as_str().into());
        self.past.failed(&name, &reason);
        let until = Instant::now() + TRY_AGAIN_AFTER.max(begun.elapsed() * REST_PER_TRY);
        lock(&self.failed).insert(name, (until, reason.clone()));
        Err(Failure { reason, until })
    }

    async fn build(
        &self,
        place: &Path,
        log: &Path,
        wanted: Wanted<'_>,
        recipe: &Recipe,
    ) -> Result<(), String> {
        let base = wanted.base;
        let requirements = recipe.text.as_ref().map(|_| wanted.requirements);
        let needs_metaflow = !recipe.text.as_deref().is_some_and(names_metaflow);
        let failed = |error: std::io::Error| format!("{}: {error}", place.display());
        if place.exists() {
            std::fs::remove_dir_all(place).map_err(failed)?;
        }
        private::make_dir(&self.folder).map_err(failed)?;
        let log = &Mutex::new(File::create(log).map_err(failed)?);
        let what = match requirements {
            Some(file) => format!("what {} names", file.display()),
            None => METAFLOW.into(),
        };
        self.say(&format!("installs {what} in {}", place.display()));
        let uv = on_path("uv");
        let python = place.join(PYTHON);
        let mut make;
        let mut install;
        match (&uv, base) {
            (Some(uv), base) => {
                make = command(uv);
                make.arg("venv");
                if let Some(base) = base {
                    make.arg("--python").arg(base);
                }
                install = command(uv);
                install.args(["pip", "install", "--python"]).arg(&python);
            }
            (None, Some(base)) => {
                make = command(base);
                make.args(["-m", "venv"]);
                install = command(&python);
                install.args(["-m", "pip", "install", "--no-input"]);
                install.args(["--disable-pip-version-check", "--progress-bar=off"]);
            }
            (None, None) => {
                return Err(
                    "there is neither `uv` nor `python3` in PATH; install Python 3.8 or later"
                        .into(),
                );
            }
        }
        make.arg(place);
        self.run(make, log).await?;
        if let Some(requirements) = requirements {
            install.arg("-r").arg(requirements);
            // What it names beside itself is found.
            if let Some(folder) = requirements.parent() {
                install.current_dir(folder);
            }
        }
        if needs_metaflow {
            install.arg(METAFLOW);
        }
        self.run(install, log).await?;
        std::fs::write(place.join(READY), "").map_err(failed)
    }

    async fn run(&self, mut command: Command, log: &Mutex<File>) -> Result<(), String> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        let said = Mutex::new(Said::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (_, _, status) = tokio::join!(
            self.listen(out, &said, log),
            self.listen(err, &said, log),
            child.wait()
        );
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => match lock(&said).reason() {
                reason if reason.is_empty() => {
                    Err(format!("{program} ended with {status} and said nothing"))
                }
                reason => Err(reason),
            },
            Err(error) => Err(format!("cannot wait for {program}: {error}")),
        }
    }

    async fn listen(
        &self,
        stream: Option<impl AsyncRead + Unpin>,
        said: &Mutex<Said>,
        log: &Mutex<File>,
    ) {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // The disk may be full; what is told does not depend on it.
            let _ = writeln!(lock(log), "{line}");
            lock(said).hear(&line);
            let line = line.trim();
            if !line.is_empty() {
                let _ = self.lines.send(line.into());
            }
        }
    }

    fn say(&self, line: &str) {
        info!("{line}");
        let _ = self.lines.send(line.into());
    }
}

impl Recipe {
    async fn of(wanted: Wanted<'_>) -> Result<Self, String> {
        let text = std::fs::read_to_string(wanted.requirements).ok();
        let version = match wanted.base {
            Some(base) => inspect(base).await?.python,
            None => "any".into(),
        };
        let mut hash = Sha256::new();
        hash.update(format!("{version}\n{METAFLOW}\n"));
        hash.update(text.as_deref().unwrap_or_default());
        Ok(Self {
            name: hex(&hash.finalize()),
            text,
        })
    }
}

fn told_instead(reason: &str, place: &Path) -> String {
    format!(
        "{reason}; until that is repaired, the last good environment of this folder is used, {}",
        place.display()
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn names_metaflow(requirements: &str) -> bool {
    let names = requirements.lines().map(|line| {
        let line = line.trim();
        let end = line.find(|it: char| !it.is_ascii_alphanumeric() && !"._-".contains(it));
        &line[..end.unwrap_or(line.len())]
    });
    names
        .into_iter()
        .any(|it| it.eq_ignore_ascii_case("metaflow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metaflow_is_named_by_its_own_name_only() {
        assert!(names_metaflow("pandas\n Metaflow == 2.19 # pinned\n"));
        assert!(names_metaflow("metaflow[extra]>=2.15"));
        assert!(!names_metaflow("metaflow-checkpoint\n# metaflow\npandas"));
    }

    /// A folder with a package that calls itself Metaflow, and requirements that need no network.
    struct World {
        dir: tempfile::TempDir,
        lines: broadcast::Receiver<Arc<str>>,
        managed: Managed,
    }

    impl World {
        fn new() -> Self {
            const WHEEL: &str = r"
import sys, zipfile
with zipfile.ZipFile('metaflow-2.19.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('metaflow/__init__.py', '')
    info = 'metaflow-2.19.0.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: metaflow\nVersion: 2.19.0\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr(info + 'RECORD', '')
";
            let dir = tempfile::tempdir().expect("a directory");
            let made = std::process::Command::new(base())
                .args(["-c", WHEEL])
                .current_dir(dir.path())
                .status();
            assert!(made.expect("a Python").success());
            let (sender, lines) = broadcast::channel(256);
            let managed = Managed::new(dir.path().join("environments"), sender);
            let world = Self {
                dir,
                lines,
                managed,
            };
            world.write("--no-index\n--find-links .\nmetaflow\n");
            world
        }

        fn write(&self, requirements: &str) {
            std::fs::write(self.requirements(), requirements).expect("written");
        }

        fn requirements(&self) -> PathBuf {
            self.dir.path().join("requirements.txt")
        }

        async fn make(&self) -> Result<PathBuf, String> {
            self.used().await.map(|it| it.python)
        }

        async fn used(&self) -> Result<Made, String> {
            let (requirements, base) = (self.requirements(), base());
            self.managed
                .make(wanted(self.dir.path(), &requirements, &base))
                .await
        }

        async fn seen(&self) -> Result<Made, Missing> {
            let (requirements, base) = (self.requirements(), base());
            self.managed
                .look(wanted(self.dir.path(), &requirements, &base))
                .await
        }

        /// The daemon starts again.
        fn restart(&mut self) {
            let (sender, lines) = broadcast::channel(256);
            self.managed = Managed::new(self.dir.path().join("environments"), sender);
            self.lines = lines;
        }

        /// How often something was installed since the last time.
        fn installed(&mut self) -> usize {
            let lines = std::iter::from_fn(|| self.lines.try_recv().ok());
            lines.filter(|it| it.starts_with("installs what ")).count()
        }
    }

    fn wanted<'a>(folder: &'a Path, requirements: &'a Path, base: &'a Path) -> Wanted<'a> {
        Wanted {
            folder,
            requirements,
            base: Some(base),
        }
    }

    fn base() -> PathBuf {
        on_path("python3").expect("python3 is in PATH")
    }

    #[tokio::test]
    async fn an_environment_is_made_once_and_again_when_its_making_was_broken_off() {
        let mut world = World::new();
        let (one, other) = tokio::join!(world.make(), world.make());
        let python = one.expect("made");
        assert_eq!(other.expect("found"), python);
        assert_eq!(world.installed(), 1);
        let found = inspect(&python).await.expect("a Python");
        assert_eq!(found.metaflow.as_deref(), Some("2.19.0"));

        let place = python.parent().and_then(Path::parent).expect("a folder");
        std::fs::remove_file(place.join(READY)).expect("there");
        std::fs::remove_file(place.join("pyvenv.cfg")).expect("there");
        assert_eq!(world.make().await.expect("made again"), python);
        assert_eq!(world.installed(), 1);
        assert!(place.join("pyvenv.cfg").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_installed_is_said_and_not_tried_again_at_once() {
        let mut world = World::new();
        world.write("--no-index\nmetaflow\nno-such-package-anywhere\n");
        let error = world.make().await.expect_err("no such package");
        assert!(
            error.contains("requirements.txt") && error.contains("No matching distribution"),
            "{error}"
        );
        assert_eq!(world.make().await, Err(error));
        assert_eq!(world.installed(), 1);
        world.managed.try_again();
        world.make().await.expect_err("still none");
        assert_eq!(world.installed(), 1);
        let environments = world.dir.path().join("environments");
        let entries = std::fs::read_dir(&environments).expect("a folder");
        let mut left = entries.map(|it| it.expect("an entry").path());
        assert!(left.all(|it| it.is_file()), "no half of an environment");

        let error = world.make().await.expect_err("still none");
        let (_, place) = error.split_once("; ").expect("a place");
        let (log, _) = place.split_once(" has all").expect("a place");
        let log = std::fs::read_to_string(log).expect("a log");
        assert!(log.contains("Looking in links"), "all of it: {log}");
        assert!(!error.contains("Looking in links"), "{error}");
    }

    #[tokio::test]
    async fn while_requirements_cannot_be_installed_the_last_good_environment_is_used() {
        let mut world = World::new();
        let good = world.make().await.expect("made");
        world.write("--no-index\n--find-links .\nmetaflow\nno-such-package-anywhere\n");
        let unseen = world.seen().await.expect("the last one");
        assert_eq!(unseen.python, good);
        let told = unseen.instead.expect("a warning");
        assert!(told.contains("not installed yet"), "{told}");

        let used = world.used().await.expect("the last good one");
        assert_eq!(used.python, good);
        assert!(used.until.is_some(), "it is tried again later");
        let told = used.instead.expect("a warning");
        for part in [
            "requirements.txt",
            "No matching distribution found for no-such",
            "last good",
        ] {
            assert!(told.contains(part), "{told}");
        }
        world.restart();
        let seen = world.seen().await.expect("the last good one");
        assert_eq!((seen.python, seen.instead), (good.clone(), Some(told)));

        world.write("--no-index\n--find-links .\n metaflow\n");
        let repaired = world.used().await.expect("made");
        assert_eq!(repaired.instead, None);
        assert_ne!(repaired.python, good);
        assert_eq!(world.seen().await, Ok(repaired));
    }

    #[tokio::test]
    async fn whoever_only_looks_is_told_what_is_not_made_from_what_cannot_be_made() {
        let world = World::new();
        assert!(matches!(world.seen().await, Err(Missing::NotMade(_))));
        world.write("--no-index\nno-such-package-anywhere\n");
        let error = world.make().await.expect_err("no such package");
        assert_eq!(world.seen().await, Err(Missing::Failed(error)));
    }
}
