//! A data directory, a keeper of its own, and the daemon's side of it.

use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::{LocalConfig, LocalExecutor, Stream};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{AttemptId, Outcome, Report, Span, Submission};
use rustix::process::{Pid, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    dir: TempDir,
    data: PathBuf,
    daemon: Option<Daemon>,
}

struct Daemon {
    local: Arc<LocalExecutor>,
    reports: mpsc::Receiver<(AttemptId, Report)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::below("data").await
    }

    /// With the data directory at this place.
    pub(crate) async fn below(path: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("flows")).expect("a folder");
        let data = dir.path().join(path);
        let mut world = Self {
            dir,
            data,
            daemon: None,
        };
        world.start_daemon(&[]).await;
        world
    }

    /// A daemon begins, knowing that these attempts may be alive.
    pub(crate) async fn start_daemon(&mut self, live: &[&str]) {
        let (reporter, reports) = Reporter::channel();
        let local = LocalExecutor::start(self.config(), reporter)
            .await
            .expect("an executor");
        local.reconcile(live.iter().map(|it| id(it)).collect::<BTreeSet<_>>());
        self.daemon = Some(Daemon { local, reports });
    }

    /// The daemon is gone from one moment to the next, as by SIGKILL.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    pub(crate) fn config(&self) -> LocalConfig {
        LocalConfig {
            data_dir: self.data.clone(),
            program: keeper_program(),
            args: Vec::new(),
            api_url: Some("http://127.0.0.1:7878/api/v1".into()),
            metaflow: Default::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn local(&self) -> &LocalExecutor {
        &self.daemon.as_ref().expect("a daemon runs").local
    }

    /// A shell line as an attempt.
    pub(crate) fn shell(&self, attempt: &str, line: &str) -> Submission {
        Submission {
            metaflow: None,
            remote: None,
            attempt: id(attempt),
            flow: "flow".into(),
            command: Command::Shell(line.into()),
            file: self.path("flows/flow.yaml").display().to_string(),
            env: BTreeMap::from([("DIR".into(), self.dir.path().display().to_string())]),
            outputs: Vec::new(),
            memory_bytes: None,
            grace: Span::from_secs(10),
            event: None,
        }
    }

    pub(crate) fn submit(&self, attempt: &str, line: &str) {
        self.local().submit(vec![self.shell(attempt, line)]);
    }

    pub(crate) fn watch(&self, attempt: &str) {
        self.local().watch(self.shell(attempt, "not run again"));
    }

    pub(crate) async fn report(&mut self) -> (AttemptId, Report) {
        let reports = &mut self.daemon.as_mut().expect("a daemon runs").reports;
        let report = tokio::time::timeout(PATIENCE, reports.recv()).await;
        report
            .expect("a report in time")
            .expect("the executor lives")
    }

    /// The next end that is reported, as `attempt: how`.
    pub(crate) async fn ended(&mut self) -> String {
        loop {
            if let (attempt, Report::Ended { outcome, .. }) = self.report().await {
                let how = match outcome {
                    Outcome::Succeeded(success) if success.outputs.is_empty() => "succeeded".into(),
                    Outcome::Succeeded(success) => {
                        serde_json::Value::from(success.outputs).to_string()
                    }
                    Outcome::Failed(reason) => format!("{}: {reason}", reason.code()),
                    Outcome::Lost(message) | Outcome::HostsLost { message, .. } => {
                        format!("lost: {message}")
                    }
                    Outcome::Stopped => "stopped".into(),
                };
                return format!("{attempt}: {how}");
            }
        }
    }

    /// Runs a shell line to its end, and says how it ended and what it printed.
    pub(crate) async fn play(&mut self, attempt: &str, line: &str) -> (String, String) {
        self.submit(attempt, line);
        let ended = self.ended().await;
        (ended, self.log(attempt, Stream::Out))
    }

    pub(crate) fn log(&self, attempt: &str, stream: Stream) -> String {
        let path = self.local().layout().log_path(&id(attempt), stream);
        std::fs::read_to_string(path).expect("a log")
    }

    /// A pipe with a name, through which tasks tell that they have come so far: `echo … > $DIR/name`.
    pub(crate) fn pipe(&self, name: &str) -> Pipe {
        let path = self.make_pipe(name);
        Pipe(aside(move || std::fs::read_to_string(path)))
    }

    /// A pipe at which tasks wait: `read _ < $DIR/name`.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        Gate(self.make_pipe(name))
    }

    fn make_pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        path
    }

    pub(crate) fn keeper(&self) -> Pid {
        pid(&std::fs::read_to_string(self.data.join("keeper/lock")).expect("a keeper's lock"))
    }

    /// Kills the keeper, and waits until it is gone.
    pub(crate) fn kill_keeper(&self) {
        let keeper = self.keeper();
        let lock = std::fs::File::open(self.data.join("keeper/lock")).expect("a lock");
        let _ = rustix::process::kill_process(keeper, Signal::KILL);
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("released");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.daemon = None;
        let _ = rustix::process::kill_process(self.keeper(), Signal::KILL);
    }
}

pub(crate) struct Pipe(oneshot::Receiver<std::io::Result<String>>);

impl Pipe {
    /// What was written, when all writers are done.
    pub(crate) async fn said(self) -> String {
        let said = tokio::time::timeout(PATIENCE, self.0).await;
        let text = said.expect("somebody writes in time").expect("a thread");
        text.expect("read").trim().to_owned()
    }
}

/// On a thread that a failing test leaves behind: opening a pipe blocks until somebody opens the other end.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || done.send(work()));
    result
}

pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Lets the one through that waits, or will.
    pub(crate) async fn open(self) {
        let opened = aside(move || std::fs::write(self.0, "\n"));
        let opened = tokio::time::timeout(PATIENCE, opened).await;
        opened
            .expect("somebody waits")
            .expect("ran")
            .expect("written");
    }
}

pub(crate) fn id(attempt: &str) -> AttemptId {
    attempt.parse().expect("an attempt")
}

pub(crate) fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().expect("a number")).expect("not zero")
}

/// Whether a process exists and is not just waiting to be waited for.
pub(crate) fn is_alive(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim().starts_with('Z'))
    })
}

/// `examples/keeper.rs`, which cargo builds for tests.
pub(crate) fn keeper_program() -> PathBuf {
    let me = std::env::current_exe().expect("a program");
    let folder = me
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps");
    let program = folder.join("examples/keeper");
    assert!(
        program.exists(),
        "{} is missing: run `cargo test -p dalsegno-executor` without choosing targets",
        program.display()
    );
    program
}
