//! A folder with a flow file, a data directory with a keeper, and a daemon's side that runs tasks of the flow.

use crate::flow::FLOW;
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::{LocalConfig, LocalExecutor, MetaflowConfig, Stream};
use dalsegno_scheduler::metaflow::{MetaflowFlow, MetaflowStep, MetaflowTask};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{AttemptId, Outcome, Report, Span, Submission};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The Metaflow run of all tasks.
pub(crate) const RUN: &str = "dalsegno-1-test";

pub(crate) struct World {
    pub(crate) dir: TempDir,
    is_cold: bool,
    daemon: Option<Daemon>,
}

struct Daemon {
    local: Arc<LocalExecutor>,
    reports: mpsc::Receiver<(AttemptId, Report)>,
}

impl World {
    pub(crate) async fn cold() -> Self {
        Self::new(true).await
    }

    pub(crate) async fn new(is_cold: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("flows")).expect("a folder");
        std::fs::write(dir.path().join("flows/flow.py"), FLOW).expect("written");
        let mut world = Self {
            dir,
            is_cold,
            daemon: None,
        };
        world.start_daemon(&[]).await;
        world
    }

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

    fn config(&self) -> LocalConfig {
        LocalConfig {
            data_dir: self.path("data"),
            program: keeper_program(),
            args: Vec::new(),
            api_url: None,
            metaflow: MetaflowConfig {
                flows_dir: self.path("flows"),
                cold: self.is_cold,
                python: Some(python()),
                user: Some("ann".into()),
                sandbox: vec!["sandbox".into()],
                ..MetaflowConfig::default()
            },
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn local(&self) -> &LocalExecutor {
        &self.daemon.as_ref().expect("a daemon runs").local
    }

    /// The first attempt of a task of the flow, which reads from these.
    pub(crate) fn task(&self, step: &str, inputs: &[&str], next: &[&str]) -> Submission {
        let step_spec = json!({"next": next});
        let task = MetaflowTask {
            flow: flow().into(),
            step: serde_json::from_value::<MetaflowStep>(step_spec).expect("a step"),
            name: step.into(),
            run_id: RUN.into(),
            task_id: "t-a0".into(),
            earlier_task_id: None,
            retry_count: 0,
            max_user_code_retries: 0,
            inputs: inputs.iter().map(|it| (*it).to_owned()).collect(),
            split_index: None,
            num_parallel: None,
            params: None,
            events: Vec::new().into(),
            origin: None,
            run_failed: false,
        };
        Submission {
            attempt: id(&format!("1/{step}/1")),
            flow: "Story".into(),
            command: Command::Metaflow(task.step.clone()),
            file: self.path("flows/flow.py").display().to_string(),
            env: BTreeMap::from([("DIR".into(), self.dir.path().display().to_string())]),
            outputs: Vec::new(),
            memory_bytes: None,
            grace: Span::from_secs(10),
            event: None,
            metaflow: Some(Box::new(task)),
            remote: None,
        }
    }

    pub(crate) fn start(&self, params: Value) -> Submission {
        let Value::Object(params) = params else {
            panic!("parameters are an object")
        };
        let mut start = self.task("start", &["_parameters/params"], &["each"]);
        if let Some(task) = &mut start.metaflow {
            task.params = Some(params);
        }
        start
    }

    pub(crate) fn submit(&self, submission: Submission) {
        self.local().submit(vec![submission]);
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
                    Outcome::Succeeded(success) => {
                        let chosen = success.chosen.unwrap_or_default();
                        let chosen: Vec<_> = chosen.iter().map(ToString::to_string).collect();
                        let splits = success.splits.map(|it| format!(" x{it}"));
                        let outputs = Value::from(success.outputs);
                        format!(
                            "-> {}{} {outputs}",
                            chosen.join(","),
                            splits.unwrap_or_default()
                        )
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

    /// Runs a task to its end.
    pub(crate) async fn play(&mut self, submission: Submission) -> String {
        self.submit(submission);
        self.ended().await
    }

    pub(crate) fn log(&self, attempt: &str, stream: Stream) -> String {
        let path = self.local().layout().log_path(&id(attempt), stream);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    pub(crate) fn keeper(&self) -> Pid {
        pid(&std::fs::read_to_string(self.path("data/keeper/lock")).expect("a keeper's lock"))
    }

    /// Kills the keeper, and waits until it is gone.
    pub(crate) fn kill_keeper(&self) {
        let keeper = self.keeper();
        let lock = std::fs::File::open(self.path("data/keeper/lock")).expect("a lock");
        let _ = rustix::process::kill_process(keeper, Signal::KILL);
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("released");
    }

    /// What Metaflow's own client says to a line of Python; `run` is the run.
    pub(crate) fn client(&self, line: &str) -> String {
        let code = format!(
            "from metaflow import Run, Task, namespace\nnamespace(None)\nrun = Run('Story/{RUN}')\n{line}"
        );
        let output = std::process::Command::new(python())
            .args(["-c", &code])
            .env("METAFLOW_DATASTORE_SYSROOT_LOCAL", self.path("flows"))
            .env("METAFLOW_DEFAULT_METADATA", "local")
            .env("METAFLOW_USER", "ann")
            .current_dir(self.path("flows"))
            .output()
            .expect("a Python");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until a file has content, and gives it.
    pub(crate) async fn said(&self, name: &str) -> String {
        let path = self.path(name);
        until(|| {
            let text = std::fs::read_to_string(&path).ok()?;
            text.ends_with('\n').then(|| text.trim().to_owned())
        })
        .await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.daemon = None;
        let _ = rustix::process::kill_process(self.keeper(), Signal::KILL);
    }
}

/// Looks until there is something.
pub(crate) async fn until<T>(look: impl Fn() -> Option<T>) -> T {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let found = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.expect("it is there in time")
}

fn flow() -> MetaflowFlow {
    let flow = json!({"class": "Story", "start": "start", "end": "end", "tags": ["nightly"]});
    serde_json::from_value(flow).expect("a flow")
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

/// An interpreter with Metaflow.
pub(crate) fn python() -> PathBuf {
    const VARIABLE: &str = "DALSEGNO_TEST_METAFLOW_PYTHON";
    let path = std::env::var_os(VARIABLE).unwrap_or_else(|| {
        panic!("{VARIABLE} is not set: name a Python that has Metaflow, as `cargo xtask test` does")
    });
    assert!(
        Path::new(&path).exists(),
        "{VARIABLE} names {}, which does not exist",
        path.display()
    );
    path.into()
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
