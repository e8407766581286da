//! Environments of our own: made once for each version of Python and text of `requirements.txt`.

use super::inspect::{command, inspect};
use super::search::on_path;
use crate::metaflow::hex;
use crate::private;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
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

/// How many of the last lines a failure quotes.
const LINES_QUOTED: usize = 6;

#[derive(Debug)]
pub(crate) struct Managed {
    folder: PathBuf,
    lines: broadcast::Sender<Arc<str>>,
    /// By name; each is made by one at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    failed: Mutex<HashMap<String, (Instant, String)>>,
}

impl Managed {
    pub(crate) fn new(folder: PathBuf, lines: broadcast::Sender<Arc<str>>) -> Self {
        Self {
            folder,
            lines,
            turns: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    pub(crate) fn try_again(&self) {
        lock(&self.failed).clear();
    }

    /// The interpreter of the environment for this file, made if it is missing. The file need not exist.
    pub(crate) async fn make(
        &self,
        requirements: &Path,
        base: Option<&Path>,
    ) -> Result<PathBuf, String> {
        let text = std::fs::read_to_string(requirements).ok();
        let version = match base {
            Some(base) => inspect(base).await?.python,
            None => "any".into(),
        };
        let mut hash = Sha256::new();
        hash.update(format!("{version}\n{METAFLOW}\n"));
        hash.update(text.as_deref().unwrap_or_default());
        let name = hex(&hash.finalize());
        let place = self.folder.join(&name);
        let python = place.join("bin/python");

        let turn = lock(&self.turns).entry(name.clone()).or_default().clone();
        let _turn = turn.lock().await;
        if place.join(READY).exists() {
            return Ok(python);
        }
        if let Some((at, message)) = lock(&self.failed).get(&name)
            && at.elapsed() < TRY_AGAIN_AFTER
        {
            return Err(message.clone());
        }
        let file = text.as_ref().map(|_| requirements);
        let needs_metaflow = !text.as_deref().is_some_and(names_metaflow);
        let made =
            tokio::time::timeout(MADE_WITHIN, self.build(&place, base, file, needs_metaflow));
        let made = made.await.unwrap_or_else(|_| {
            let minutes = MADE_WITHIN.as_secs() / 60;
            Err(format!("it was not finished within {minutes} minutes"))
        });
        match made {
            Ok(()) => {
                self.say(&format!("the environment {} is ready", place.display()));
                Ok(python)
            }
            Err(reason) => {
                let _ = std::fs::remove_dir_all(&place);
                let what = match file {
                    Some(file) => format!("for {}", file.display()),
                    None => "with Metaflow".into(),
                };
                let message = format!(
                    "no environment {what} could be made: {reason}; repair that, or name an interpreter that has \
                     Metaflow as `python` in [metaflow] of dalsegno.toml"
                );
                self.say(&message);
                lock(&self.failed).insert(name, (Instant::now(), message.clone()));
                Err(message)
            }
        }
    }

    async fn build(
        &self,
        place: &Path,
        base: Option<&Path>,
        requirements: Option<&Path>,
        needs_metaflow: bool,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", place.display());
        if place.exists() {
            std::fs::remove_dir_all(place).map_err(failed)?;
        }
        private::make_dir(&self.folder).map_err(failed)?;
        let what = match requirements {
            Some(file) => format!("what {} names", file.display()),
            None => METAFLOW.into(),
        };
        self.say(&format!("installs {what} in {}", place.display()));
        let uv = on_path("uv");
        let python = place.join("bin/python");
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
        self.run(make).await?;
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
        self.run(install).await?;
        std::fs::write(place.join(READY), "").map_err(failed)
    }

    async fn run(&self, mut command: Command) -> Result<(), String> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        let last = Mutex::new(VecDeque::new());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (_, _, status) = tokio::join!(
            self.listen(out, &last),
            self.listen(err, &last),
            child.wait()
        );
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let lines: Vec<String> = lock(&last).drain(..).collect();
                Err(format!(
                    "{program} ended with {status}: {}",
                    lines.join(" / ")
                ))
            }
            Err(error) => Err(format!("cannot wait for {program}: {error}")),
        }
    }

    async fn listen(&self, stream: Option<impl AsyncRead + Unpin>, last: &Mutex<VecDeque<String>>) {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = line.trim().to_owned();
            if line.is_empty() {
                continue;
            }
            let _ = self.lines.send(line.as_str().into());
            let mut last = lock(last);
            last.push_back(line);
            if last.len() > LINES_QUOTED {
                last.pop_front();
            }
        }
    }

    fn say(&self, line: &str) {
        info!("{line}");
        let _ = self.lines.send(line.into());
    }
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
            self.managed.make(&self.requirements(), Some(&base())).await
        }

        /// How often something was installed since the last time.
        fn installed(&mut self) -> usize {
            let lines = std::iter::from_fn(|| self.lines.try_recv().ok());
            lines.filter(|it| it.starts_with("installs what ")).count()
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
        let left = std::fs::read_dir(world.dir.path().join("environments")).expect("a folder");
        assert_eq!(left.count(), 0);
    }
}
