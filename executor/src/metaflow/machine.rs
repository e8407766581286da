//! Flows as state machines of Step Functions: Metaflow's own compiler makes and deploys them, from the code of the
//! version that is to run.

use super::config::settings;
use super::elsewhere::MetaflowJobs;
use super::order::{self, IGNORED_DECORATORS, put_first};
use super::request::{self, Place};
use crate::interpreters::Interpreters;
use crate::local::Layout;
use crate::local::order::{inherited, text};
use dalsegno_scheduler::metaflow::MetaflowFlow;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::Command;

/// Importing the flow, packing its code and a handful of calls of AWS: seconds. Whatever takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// So much of what the compiler said last is told.
const WORDS_MAX: usize = 2_000;

/// Their names are arguments.
const TASKS_AT_ONCE: usize = 500;

/// Has flows deployed by Metaflow's own compiler, `step-functions create`, without what would start them there.
#[derive(Debug)]
pub struct Machines {
    jobs: Arc<MetaflowJobs>,
    interpreters: Interpreters,
    /// What Metaflow reads of queues, roles and tables: `METAFLOW_BATCH_JOB_QUEUE`. What the environment says counts
    /// more.
    settings: BTreeMap<String, String>,
    /// What every job is tagged with.
    job_tags: BTreeMap<String, String>,
    /// What comes after `create` belongs to the same deployment.
    turn: tokio::sync::Mutex<()>,
}

/// A deployed state machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Machine {
    pub name: String,
    pub arn: String,
    /// Decorators that would have started it: we start it by them.
    #[serde(default)]
    pub left_out: Vec<String>,
}

impl Machines {
    pub fn new(
        jobs: Arc<MetaflowJobs>,
        layout: &Layout,
        settings: BTreeMap<String, String>,
        job_tags: BTreeMap<String, String>,
    ) -> Self {
        let interpreters =
            Interpreters::new(jobs.prepared.config.clone(), layout.environments_dir());
        Self {
            jobs,
            interpreters,
            settings,
            job_tags,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Whoever holds it deploys alone: a flow's machine has one newest definition.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What other queues and roles would change.
    pub const fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Makes or updates the machine of a flow. Again is harmless. `is_ours`: it was deployed from here before, so
    /// nobody has to authorize that it is changed.
    ///
    /// # Errors
    /// Why not, in Metaflow's own words where it refuses.
    pub async fn deploy(
        &self,
        flow: &MetaflowFlow,
        file: &str,
        is_ours: bool,
    ) -> Result<Machine, String> {
        let mut args: Vec<OsString> = vec!["step-functions".into()];
        let with = |name: &str, value: &str| [OsString::from(name), value.into()];
        args.extend(is_ours.then(|| "--ours".into()));
        args.extend(flow.tags.iter().flat_map(|it| with("--tag", it)));
        args.extend(flow.namespace.iter().flat_map(|it| with("--namespace", it)));
        for (name, value) in &self.job_tags {
            args.extend(with("--batch-tag", &format!("{name}={value}")));
        }
        let said = self.ask(flow, file, &args).await;
        let said = said.map_err(|error| match error {
            Unasked::Refused(words) => {
                format!("Metaflow does not deploy this flow to Step Functions: {words}")
            }
            Unasked::Other(message) => message,
        })?;
        serde_json::from_slice(&said)
            .map_err(|error| format!("what Metaflow's compiler left is not understood: {error}"))
    }

    /// Whether the metadata of tasks are files, which have to come back from S3.
    pub fn brings_metadata(&self, flow: &MetaflowFlow) -> bool {
        let storage = flow.storage.as_ref();
        storage
            .unwrap_or_else(|| self.jobs.prepared.storage())
            .metadata
            == "local"
    }

    /// Puts what tasks told Metaflow's metadata where its client on this machine looks for it. `tasks`: `step/task`.
    /// Again is harmless, and so is asking for one that told nothing.
    ///
    /// # Errors
    /// Why they cannot be read or written.
    pub async fn keep_metadata(
        &self,
        flow: &Arc<MetaflowFlow>,
        file: &str,
        run: &str,
        tasks: &[String],
    ) -> Result<(), String> {
        for tasks in tasks.chunks(TASKS_AT_ONCE) {
            let mut args: Vec<OsString> = vec!["metadata".into(), "--run-id".into(), run.into()];
            args.extend(tasks.iter().map(OsString::from));
            let said = self.ask(flow, file, &args).await;
            let said = said.map_err(|error| match error {
                Unasked::Refused(message) | Unasked::Other(message) => message,
            })?;
            let metadata: BTreeMap<String, String> =
                serde_json::from_slice(&said).map_err(|error| error.to_string())?;
            let (jobs, flow) = (self.jobs.clone(), flow.clone());
            let (file, run) = (file.to_owned(), run.to_owned());
            let kept =
                tokio::task::spawn_blocking(move || jobs.keep(&flow, &file, &run, &metadata));
            let kept = kept.await.map_err(|error| error.to_string())?;
            kept.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Runs a command of our extension for the flow, in its interpreter, and gives what it left.
    async fn ask(
        &self,
        flow: &MetaflowFlow,
        file: &str,
        args: &[OsString],
    ) -> Result<Vec<u8>, Unasked> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let prepared = &self.jobs.prepared;
        let layout = &self.jobs.layout;
        let (path, _) = order::places(flow, file, layout)
            .map_err(|error| format!("cannot find the flow file {file}: {error}"))?;
        if !path.is_file() {
            return Err(Unasked::Other(format!(
                "the code of the flow is not on this machine: {} is missing; register the flow again",
                path.display()
            )));
        }
        let ignores = prepared.config.ignore_environments;
        if let Some(environment) = flow.environment.as_ref().filter(|_| !ignores) {
            return Err(Unasked::Other(format!(
                "the flow asks for an environment (--environment={environment}), which is not made for Step Functions; \
                 use an image that has the packages, `@batch(image=…)`, and set `ignore_environments = true` under \
                 [metaflow] in dalsegno.toml"
            )));
        }
        let own = flow.python.as_deref();
        let python = self
            .interpreters
            .resolve(Path::new(file), own)
            .await?
            .python;
        let storage = flow.storage.as_ref().unwrap_or_else(|| prepared.storage());
        if storage.datastore != "s3" {
            return Err(Unasked::Other(format!(
                "jobs of Step Functions do not reach the datastore `{}` of this machine; set `datastore = \"s3\"` and \
                 `datastore_root = \"s3://…\"` under [metaflow] in dalsegno.toml",
                storage.datastore
            )));
        }
        let user = prepared.user_of(flow);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("machine-{}-{number}.json", std::process::id());
        let out = layout.metaflow_dir().join(name);
        let place = Place {
            flow_file: text(path.clone())?,
            python: text(python.clone())?,
            storage,
            user,
            environment: "local",
            outcome: String::new(),
            cloned: None,
        };
        let mut env = inherited();
        for (name, value) in &self.settings {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        env.extend(settings(user, storage));
        env.extend(order::of_flow(flow));
        let ignored = prepared.ignored_elsewhere();
        env.insert(IGNORED_DECORATORS.into(), ignored.into());
        let ours = text(prepared.files.path().to_owned())?;
        put_first(&mut env, "PYTHONPATH", &ours);
        if let Some(folder) = python.parent() {
            put_first(&mut env, "PATH", &folder.display().to_string());
        }
        let mut command = Command::new(&python);
        command.arg("-u").arg(&path);
        command.args(request::top(flow, &place));
        command.arg("dalsegno-task").args(&args[..1]);
        command.arg("--out").arg(&out).args(&args[1..]);
        command
            .env_clear()
            .envs(env)
            .current_dir(path.parent().unwrap_or_else(|| Path::new("/")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ended = tokio::time::timeout(TIME_LIMIT, command.output()).await;
        let left = std::fs::read(&out);
        let _ = std::fs::remove_file(&out);
        let limit = TIME_LIMIT.as_secs();
        let ended = ended.map_err(|_| format!("Metaflow did not end within {limit} s"))?;
        let ended =
            ended.map_err(|error| format!("{} cannot be run: {error}", python.display()))?;
        if !ended.status.success() {
            let words = last_words(&ended.stderr, &ended.stdout);
            return Err(Unasked::Refused(words));
        }
        left.map_err(|error| Unasked::Other(format!("Metaflow said nothing of its work: {error}")))
    }
}

/// Why Metaflow gave no answer.
enum Unasked {
    /// In its own words.
    Refused(String),
    Other(String),
}

impl From<String> for Unasked {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

/// The end of what was said, on one line.
fn last_words(stderr: &[u8], stdout: &[u8]) -> String {
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        lines.join(" / ")
    };
    let words = match said(stderr) {
        words if words.is_empty() => said(stdout),
        words => words,
    };
    let skipped = words.chars().count().saturating_sub(WORDS_MAX);
    words.chars().skip(skipped).collect()
}
