//! The real binary on flow files of its own.

use crate::http::Client;
use crate::place::{self, Database};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with flow files, and where the daemon keeps its state.
pub(crate) struct House {
    folder: TempDir,
    database: Option<String>,
}

/// A running daemon. It and what it started end with this value.
pub(crate) struct Daemon {
    pub(crate) url: String,
    /// From the start of its process to the first `200` of `/readyz`.
    pub(crate) ready_after: Duration,
    child: Child,
    folder: PathBuf,
}

impl House {
    /// With these flow files, by name and text.
    pub(crate) fn with(flows: &[(String, String)], database: &Database) -> Result<Self> {
        let folder = place::folder()?;
        std::fs::create_dir(folder.path().join("flows"))?;
        for (name, text) in flows {
            let file = folder.path().join("flows").join(format!("{name}.yaml"));
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        let database = match database {
            // Its own default: a file in the data folder.
            Database::Sqlite(_) => None,
            Database::Postgres(url) => Some(url.clone()),
        };
        Ok(Self { folder, database })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below the folder of flows.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.path().join("flows").join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())
    }

    pub(crate) fn up(&self) -> Result<Daemon> {
        self.up_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn up_with(&self, arguments: &[&str]) -> Result<Daemon> {
        let mut command = Command::new(binary()?);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if ["DALSEGNO_", "METAFLOW_"]
                .iter()
                .any(|it| name.starts_with(it))
            {
                command.env_remove(key);
            }
        }
        command
            .args(["up", "--port", "0", "--data"])
            .arg(self.path().join("data"));
        if let Some(url) = &self.database {
            command.args(["--database", url]);
        }
        command
            .args(arguments)
            .arg(self.path().join("flows"))
            .current_dir(self.path());
        // Its log would be part of what is measured; without a reader it must not be a pipe.
        let log = self.path().join("log");
        command.env("RUST_LOG", "warn").env("NO_COLOR", "1");
        command
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        let lines = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut daemon = Daemon {
            url: String::new(),
            ready_after: Duration::ZERO,
            child,
            folder: self.path().to_owned(),
        };
        let (send, found) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(url) = url_in(&line) {
                    // After the first one nobody listens any more; the rest is read so that it never blocks.
                    let _ = send.send(url);
                }
            }
        });
        let Ok(url) = found.recv_timeout(Duration::from_secs(60)) else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the daemon does not say where it listens: {said}");
        };
        daemon.url = url;
        let client = daemon.client();
        while client.get("/readyz").is_err() {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("the daemon is not ready after a minute");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.ready_after = begun.elapsed();
        Ok(daemon)
    }
}

impl Daemon {
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// The daemon and everything that it started and that still lives: its keeper.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        pids.extend(
            others(&self.folder)
                .into_iter()
                .filter(|it| *it != self.child.id()),
        );
        pids
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::TERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(15) {
                signal(self.child.id(), Signal::KILL);
                // Its pid is ours until it is waited for.
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in others(&self.folder) {
            signal(pid, Signal::KILL);
        }
    }
}

/// Where the release binary is: beside this one, if not said otherwise.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("DALSEGNO_BENCH_BINARY") {
        Some(path) => PathBuf::from(path),
        None => place::target()?.join("release").join("dalsegno"),
    };
    if !path.is_file() {
        bail!(
            "there is no daemon at {}; run `cargo xtask bench`",
            path.display()
        );
    }
    Ok(path)
}

/// Processes whose command line names the folder.
fn others(folder: &Path) -> Vec<u32> {
    let needle = folder.to_string_lossy();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&*needle)
        })
        .collect()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended a moment ago, which is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

/// The first `http://127.0.0.1:PORT` in a line.
fn url_in(line: &str) -> Option<String> {
    const START: &str = "http://127.0.0.1:";
    let rest = &line[line.find(START)? + START.len()..];
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{START}{port}"))
}
