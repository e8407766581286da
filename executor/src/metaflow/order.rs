//! From a submission of a Metaflow task to an order for the keeper, with the files it needs.

use super::config::{MetaflowConfig, settings};
use super::files::Files;
use super::request::{self, Place, Request};
use super::spool::MetadataSpool;
use crate::keeper::protocol::{Order, Warm};
use crate::local::order::{check_size, make_dir, text};
use crate::local::{Layout, Stream};
use crate::private;
use dalsegno_scheduler::metaflow::{MetaflowFlow, MetaflowTask, Storage};
use dalsegno_scheduler::{AttemptId, Submission};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Input paths longer than this are handed over in a file: Linux takes 128 KiB as one argument.
const INPUT_PATHS_BYTES_MAX: usize = 100_000;

/// Variables that an interpreter reads when it starts or Metaflow when it is imported: a copy of a process that has
/// done so would not see them.
const READ_AT_START: [&str; 3] = ["METAFLOW_", "PYTHON", "LD_"];

/// Names the decorators that our extension replaces by ones that do nothing.
pub(crate) const IGNORED_DECORATORS: &str = "DALSEGNO_IGNORED_DECORATORS";

/// What all Metaflow tasks of this daemon have in common.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) config: MetaflowConfig,
    pub(crate) files: Files,
    storage: Storage,
    user: String,
    api_url: Option<String>,
    /// Where tasks of this machine keep what a metadata service cannot be told.
    spool: Option<MetadataSpool>,
}

/// The interpreter of one task.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    /// Changes when something is installed: a process that has Metaflow loaded is not used beyond that.
    pub(crate) stamp: String,
}

impl Prepared {
    pub(crate) fn new(
        config: &MetaflowConfig,
        layout: &Layout,
        api_url: Option<&str>,
    ) -> io::Result<Self> {
        let spool = MetadataSpool::configured(layout.data_dir(), config.spool);
        if let Some(spool) = &spool {
            private::make_dir(spool.folder())?;
        }
        Ok(Self {
            spool,
            files: Files::write(&layout.metaflow_dir())?,
            storage: config.storage(),
            user: config.user(),
            config: config.clone(),
            api_url: api_url.map(str::to_owned),
        })
    }

    /// Where the data of flows is kept that name no other place.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Which metadata service tasks of this machine tell, and where they leave what it cannot be told.
    fn spooled(&self, storage: &Storage) -> BTreeMap<String, String> {
        let spool = self.spool.iter().filter(|_| storage.metadata == "service");
        let variables = spool.flat_map(|it| {
            [
                ("METAFLOW_SERVICE_URL".to_owned(), it.url().to_owned()),
                ("DALSEGNO_METADATA_SPOOL".to_owned(), it.variable()),
            ]
        });
        variables.collect()
    }

    /// Decorators that name a place to run do nothing: tasks run here.
    fn ignored(&self) -> &'static str {
        match self.config.ignore_environments {
            true => "batch,kubernetes,conda,pypi",
            false => "batch,kubernetes",
        }
    }

    /// The same for flows whose jobs Metaflow submits.
    pub(super) fn ignored_elsewhere(&self) -> &'static str {
        match self.config.ignore_environments {
            true => "kubernetes,conda,pypi",
            false => "kubernetes",
        }
    }

    fn environment<'a>(&self, flow: &'a MetaflowFlow) -> &'a str {
        match &flow.environment {
            Some(environment) if !self.config.ignore_environments => environment,
            _ => "local",
        }
    }

    /// What Metaflow reads when it is imported, the same for many tasks.
    pub(super) fn settings(&self, user: &str, storage: &Storage) -> BTreeMap<String, String> {
        let mut env = settings(user, storage);
        env.extend([
            ("METAFLOW_RUNTIME_NAME".into(), "dalsegno".into()),
            ("PYTHONUNBUFFERED".into(), "x".into()),
            (IGNORED_DECORATORS.into(), self.ignored().into()),
        ]);
        let by_api = || Some(format!("{}/metaflow/events", self.api_url.as_deref()?));
        if let Some(url) = self.config.events_url.clone().or_else(by_api) {
            env.insert("METAFLOW_ARGO_EVENTS_WEBHOOK_URL".into(), url);
        }
        if let (Some(key), "local") = (&self.config.events_key, storage.metadata.as_str()) {
            env.insert("METAFLOW_ARGO_EVENTS_WEBHOOK_AUTH".into(), "service".into());
            env.insert("METAFLOW_SERVICE_AUTH_KEY".into(), key.clone());
        }
        env
    }
}

/// The flow file that a task runs, and the folder it runs in.
pub(crate) fn places(
    flow: &MetaflowFlow,
    file: &str,
    layout: &Layout,
) -> io::Result<(PathBuf, PathBuf)> {
    match &flow.code {
        Some(code) => {
            let snapshot = layout.code_dir().join(&code.hash);
            let file = snapshot.join(&code.entry);
            let folder = PathBuf::from(&code.folder);
            let folder = if folder.is_dir() { folder } else { snapshot };
            Ok((file, folder))
        }
        None => {
            let file = std::path::absolute(file)?;
            let folder = file.parent().unwrap_or(&file).to_owned();
            Ok((file, folder))
        }
    }
}

/// Writes the request file, and makes the order that runs it.
///
/// # Errors
/// Why it cannot be run, as a sentence for the person who wrote the flow.
pub(crate) fn prepare(
    submission: Submission,
    task: &MetaflowTask,
    python: &Python,
    prepared: &Prepared,
    layout: &Layout,
) -> Result<Order, String> {
    let attempt = submission.attempt.clone();
    let flow = &*task.flow;
    let storage = flow.storage.as_ref().unwrap_or(&prepared.storage);
    let user = prepared.user_of(flow);
    let (file, cwd) = places(flow, &submission.file, layout)
        .map_err(|error| format!("cannot find the flow file {}: {error}", submission.file))?;
    if !file.is_file() {
        return Err(match &flow.code {
            Some(code) => format!(
                "the code of the flow is not on this machine: {} is missing (snapshot {}); register the flow again",
                file.display(),
                code.hash
            ),
            None => format!("the flow file {} does not exist", file.display()),
        });
    }
    let request_path = layout.request_path(&attempt);
    if let Some(folder) = request_path.parent() {
        make_dir(folder)?;
    }
    remove_earlier(task, layout, &attempt);
    let inputs_file = write_inputs(task, layout, &attempt)?;
    let python_path = text(python.path.clone())?;
    let place = Place {
        flow_file: text(file)?,
        python: python_path.clone(),
        storage,
        user,
        environment: prepared.environment(flow),
        outcome: text(layout.outcome_path(&attempt))?,
        cloned: match layout.cloned_path(attempt.run, &task.run_id) {
            done if done.exists() => None,
            done => Some(text(done)?),
        },
    };
    let request = Request::new(task, place, inputs_file.as_deref());
    check_arguments(&request)?;
    let json = serde_json::to_vec(&request).expect("requests have text keys only");
    write_atomically(&request_path, &json)
        .map_err(|error| format!("cannot write {}: {error}", request_path.display()))?;
    let request_path = text(request_path)?;

    let mut settings = prepared.settings(user, storage);
    settings.extend(prepared.spooled(storage));
    let mut warm_env = settings.clone();
    let mut env = settings;
    env.extend(of_task(task, &submission.flow.to_string()));
    let is_warm = !prepared.config.cold && !submission.env.keys().any(|it| is_read_at_start(it));
    env.extend(submission.env);
    env.insert("DALSEGNO_REQUEST".into(), request_path.clone());
    if let Some(url) = &prepared.api_url {
        env.insert("DALSEGNO_API_URL".into(), url.clone());
    }
    let extension = text(prepared.files.path().to_owned())?;
    for env in [&mut env, &mut warm_env] {
        put_first(env, "PYTHONPATH", &extension);
        if let Some(folder) = python.path.parent() {
            put_first(env, "PATH", &folder.display().to_string());
        }
    }
    // It needs no packages itself, and becomes an interpreter that has them.
    let cold = ["-u", "-S", "-E"].map(str::to_owned);
    let mut argv = vec![python_path.clone()];
    argv.extend(cold);
    argv.extend([text(prepared.files.run())?, request_path]);
    check_size(&argv, &env)?;
    let warm = match is_warm {
        true => Some(Warm {
            argv: vec![python_path, "-u".into(), text(prepared.files.warm())?],
            env: warm_env,
            stamp: python.stamp.clone(),
        }),
        false => None,
    };
    Ok(Order {
        argv,
        cwd: text(cwd)?,
        env,
        stdout: text(layout.log_path(&attempt, Stream::Out))?,
        stderr: text(layout.log_path(&attempt, Stream::Err))?,
        memory_bytes: submission.memory_bytes,
        outputs: submission.outputs,
        attempt: attempt.to_string().into(),
        warm,
    })
}

/// Removes what [`prepare`] and the task wrote for an attempt.
pub(crate) fn remove(layout: &Layout, attempt: &AttemptId) {
    let request = layout.request_path(attempt);
    if std::fs::remove_file(request).is_ok() {
        let _ = std::fs::remove_file(layout.outcome_path(attempt));
        let _ = std::fs::remove_file(layout.inputs_path(attempt));
    }
}

/// Removes what an attempt of the same name left that another database knew. It may also be this very attempt, which
/// runs already or has run: nothing of that is touched.
fn remove_earlier(task: &MetaflowTask, layout: &Layout, attempt: &AttemptId) {
    let before = Request::read(&layout.request_path(attempt));
    if before.is_some_and(|it| it.run_id == task.run_id) {
        return;
    }
    let left = [
        layout.outcome_path(attempt),
        layout.inputs_path(attempt),
        layout.log_path(attempt, Stream::Out),
        layout.log_path(attempt, Stream::Err),
    ];
    for path in left {
        let _ = std::fs::remove_file(path);
    }
}

pub(super) fn of_task(task: &MetaflowTask, flow_name: &str) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("METAFLOW_RUN_ID".into(), task.run_id.clone()),
        // `ArgoEvent(…).safe_publish()` does nothing without it.
        ("ARGO_WORKFLOW_TEMPLATE".into(), flow_name.to_owned()),
    ]);
    env.extend(of_flow(&task.flow));
    env
}

/// Owner and configs as they were when the flow was registered.
pub(super) fn of_flow(flow: &MetaflowFlow) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if let Some(project) = &flow.project {
        // Metaflow's branch of a user is that of the owner, whoever runs the task.
        if let Some(owner) = project.branch.strip_prefix("user.") {
            env.insert("METAFLOW_OWNER".into(), owner.to_owned());
        }
    }
    if !flow.configs.is_empty() {
        let configs = serde_json::to_string(&flow.configs).expect("text keys");
        env.insert("METAFLOW_FLOW_CONFIG_VALUE".into(), configs);
    }
    env
}

fn is_read_at_start(name: &str) -> bool {
    READ_AT_START.iter().any(|it| name.starts_with(it))
}

/// In front of what the variable is, for the task or for the daemon.
pub(super) fn put_first(env: &mut BTreeMap<String, String>, name: &str, folder: &str) {
    let rest = env.get(name).cloned().or_else(|| std::env::var(name).ok());
    let value = match rest.filter(|it| !it.is_empty()) {
        Some(rest) => format!("{folder}:{rest}"),
        None => folder.to_owned(),
    };
    env.insert(name.into(), value);
}

/// `None`: they are short enough for an argument.
fn write_inputs(
    task: &MetaflowTask,
    layout: &Layout,
    attempt: &AttemptId,
) -> Result<Option<String>, String> {
    let inputs = request::input_paths(task);
    if inputs.len() <= INPUT_PATHS_BYTES_MAX || task.step.hook.is_some() {
        return Ok(None);
    }
    let path = layout.inputs_path(attempt);
    write_atomically(&path, inputs.as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    text(path).map(Some)
}

/// Parameters are arguments of `init`; the system's own message would not say which is too large.
fn check_arguments(request: &Request) -> Result<(), String> {
    let init = request.init.iter().flatten();
    let Some(longest) = init.max_by_key(|it| it.len()) else {
        return Ok(());
    };
    check_size(std::slice::from_ref(longest), &BTreeMap::new()).map_err(|_| {
        let name = longest.split('=').next().unwrap_or(longest);
        format!(
            "the value of the parameter {} is too large: {} KiB, and the system takes 128 KiB; hand it over in a \
             file (IncludeFile)",
            name.trim_start_matches('-'),
            longest.len().div_ceil(1 << 10)
        )
    })
}

/// All or nothing: a daemon that dies meanwhile leaves no half of a file.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, content)?;
    std::fs::rename(&new, path)
}
