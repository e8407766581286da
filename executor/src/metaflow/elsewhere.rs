//! Metaflow tasks on other machines: what such a machine is to be given, and what the answer means that it leaves.
//!
//! The machine needs Python and a place in S3. `python/runtime/job.py` is what it runs there: it does what the local
//! path does around Metaflow's own `init` and `step`, and leaves one [answer](Answer).

use super::config::MetaflowConfig;
use super::files::Files;
use super::judge::{self, Left};
use super::order::{self, Prepared};
use super::request::{self, Place, Request};
use super::{packed, variables};
use crate::code::below;
use crate::local::Layout;
use dalsegno_scheduler::metaflow::{MetaflowFlow, MetaflowTask};
use dalsegno_scheduler::{Outcome, Reason, Submission, Success};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Input paths longer than this are no argument but a file.
const INPUT_PATHS_BYTES_MAX: usize = 100_000;

/// How job.py says that the machine cannot run it: no Metaflow and no way to get it, or code that cannot be fetched.
const UNFIT: i32 = 212;

/// How it says that S3 did not give what it needs.
const NOT_FETCHED: i32 = 213;

/// How it says that the step is over and that its answer could not be brought back.
const NOT_BROUGHT_BACK: i32 = 214;

/// Packages kept for later tasks of the same flows. One is a few MB at most, mostly a few KB.
const PACKAGES_MAX: usize = 64;

/// Turns submissions of Metaflow tasks into jobs for other machines.
#[derive(Debug)]
pub struct MetaflowJobs {
    pub(super) prepared: Prepared,
    pub(super) layout: Layout,
    packages: Mutex<BTreeMap<PathBuf, Arc<Package>>>,
    /// Held while metadata are written.
    keeping: Mutex<()>,
}

/// Code for another machine: a `.tar.gz` with the flow's files in `code/` and ours in `ext/`.
#[derive(Debug)]
pub struct Package {
    /// Of the content, in hexadecimal digits: names it.
    pub sha256: String,
    pub content: Vec<u8>,
}

/// What another machine is given to run one attempt.
#[derive(Debug)]
pub struct MetaflowJob {
    pub package: Arc<Package>,
    /// JSON for job.py, from a few hundred bytes to a few MB.
    pub order: String,
    /// Variables that count before job.py runs, too.
    pub env: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Order<'a> {
    version: u32,
    /// With paths relative to where the package is unpacked.
    request: Request,
    env: BTreeMap<String, String>,
    /// Content of `inputs`, where the input paths are too many for an argument.
    inputs: Option<String>,
    /// What Python must be able to import, and what is to be installed where it cannot.
    packages: &'a [(&'static str, String)],
    /// The metadata are files, which have to come back.
    brings_metadata: bool,
}

/// What job.py leaves.
#[derive(Debug, Deserialize)]
struct Answer {
    version: u32,
    request: Request,
    /// What the task itself left; `None`: nothing.
    left: Option<Left>,
    /// The last lines of its errors.
    #[serde(default)]
    last_words: Vec<String>,
    /// Content by path below `.metaflow`.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl MetaflowJobs {
    /// `api_url`: where other machines reach the daemon, if they do.
    ///
    /// # Errors
    /// When our Python cannot be written to the data directory.
    pub fn new(
        config: &MetaflowConfig,
        layout: &Layout,
        api_url: Option<&str>,
    ) -> io::Result<Self> {
        Ok(Self {
            prepared: Prepared::new(config, layout, api_url)?,
            layout: layout.clone(),
            packages: Mutex::default(),
            keeping: Mutex::default(),
        })
    }

    /// What the other machine is to be given. Reads the flow's code, at the first time.
    ///
    /// # Errors
    /// Why it cannot run elsewhere, and the cure.
    pub fn job(&self, submission: &Submission) -> Result<MetaflowJob, String> {
        let task = submission
            .metaflow
            .as_deref()
            .ok_or("a Metaflow step without its task")?;
        let flow = &*task.flow;
        let storage = flow
            .storage
            .as_ref()
            .unwrap_or_else(|| self.prepared.storage());
        self.check(task, &storage.datastore)?;
        let (file, _) = order::places(flow, &submission.file, &self.layout)
            .map_err(|error| format!("cannot find the flow file {}: {error}", submission.file))?;
        let (root, entry) = split(flow, &file)?;
        let package = self.package(&root, &file, flow.code.is_some())?;

        let configured = variables::configured();
        let mut storage = storage.clone();
        if storage.root.is_empty() {
            let root = configured.get("METAFLOW_DATASTORE_SYSROOT_S3");
            storage.root = root.cloned().ok_or(
                "there is no place for Metaflow's data in S3; set `datastore_root = \"s3://…\"` under [metaflow] in \
                 dalsegno.toml",
            )?;
        }
        let inputs = request::input_paths(task);
        let is_long = inputs.len() > INPUT_PATHS_BYTES_MAX;
        let user = self.prepared.user_of(flow);
        let place = Place {
            flow_file: entry,
            python: String::new(),
            storage: &storage,
            user,
            environment: "local",
            outcome: "outcome.json".into(),
            cloned: Some("cloned".into()),
        };
        let request = Request::new(task, place, is_long.then_some("../inputs"));

        let mut env = variables::elsewhere(configured);
        env.extend(self.prepared.settings(user, &storage));
        env.insert("METAFLOW_RUNTIME_ENVIRONMENT".into(), "aws-batch".into());
        env.extend(order::of_task(task, &submission.flow.to_string()));
        env.extend(submission.env.clone());
        let endpoint = env.get("METAFLOW_S3_ENDPOINT_URL");
        let early = endpoint.map(|it| ("METAFLOW_S3_ENDPOINT_URL".to_owned(), it.clone()));
        let metaflow = match &flow.metaflow_version {
            Some(version) => format!("metaflow=={version}"),
            None => "metaflow".into(),
        };
        let order = Order {
            version: 1,
            request,
            env,
            inputs: is_long.then_some(inputs),
            packages: &[
                ("metaflow", metaflow),
                ("boto3", "boto3".into()),
                ("requests", "requests".into()),
            ],
            brings_metadata: storage.metadata == "local",
        };
        Ok(MetaflowJob {
            package,
            order: serde_json::to_string(&order).expect("orders have text keys only"),
            env: early.into_iter().collect(),
        })
    }

    fn check(&self, task: &MetaflowTask, datastore: &str) -> Result<(), String> {
        let name = &task.name;
        if datastore != "s3" {
            return Err(format!(
                "step {name} runs as a job of AWS Batch, where the datastore `{datastore}` of this machine is not; set \
                 `datastore = \"s3\"` and `datastore_root = \"s3://…\"` under [metaflow] in dalsegno.toml, or take \
                 @batch away"
            ));
        }
        if task.num_parallel.is_some() || task.step.parallel {
            return Err(format!(
                "step {name} is a gang (num_parallel), and gangs run on this machine only; take @batch away from it, \
                 or use foreach"
            ));
        }
        match &task.flow.environment {
            Some(environment) if !self.prepared.config.ignore_environments => Err(format!(
                "step {name} asks for an environment (--environment={environment}), which is not made for jobs of AWS \
                 Batch; use an image that has the packages, `@batch(image=…)`, and set `ignore_environments = true` \
                 under [metaflow] in dalsegno.toml"
            )),
            _ => Ok(()),
        }
    }

    /// Made once for each snapshot of code.
    fn package(&self, root: &Path, file: &Path, is_snapshot: bool) -> Result<Arc<Package>, String> {
        let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(package) = packages.get(root) {
            return Ok(package.clone());
        }
        let content = packed::pack(root, file, is_snapshot)?;
        let package = Arc::new(Package {
            sha256: packed::sha256(&content),
            content,
        });
        if packages.len() >= PACKAGES_MAX {
            packages.pop_first();
        }
        packages.insert(root.to_owned(), package.clone());
        Ok(package)
    }

    /// Puts what the job told Metaflow's metadata where its client on this machine looks for it. Again is harmless.
    ///
    /// # Errors
    /// What could not be written.
    pub fn keep_metadata(&self, submission: &Submission, answer: &[u8]) -> io::Result<()> {
        let (Some(task), Ok(answer)) = (
            submission.metaflow.as_deref(),
            serde_json::from_slice::<Answer>(answer),
        ) else {
            return Ok(());
        };
        let (flow, run) = (&task.flow, task.run_id.as_str());
        self.keep(flow, &submission.file, run, &answer.metadata)
    }

    /// The same for descriptions by their path below `.metaflow`. Whatever describes no part of this run is left out.
    pub(super) fn keep(
        &self,
        flow: &MetaflowFlow,
        file: &str,
        run: &str,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        if metadata.is_empty() {
            return Ok(());
        }
        let (_, folder) = order::places(flow, file, &self.layout)?;
        let root = variables::local_metadata(&folder);
        // Tasks of one step describe their step, too: two that end together would take each other's file away.
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, content) in metadata {
            // Nothing but a description of this flow's run.
            let Some(path) = below(Path::new(path)).filter(|it| {
                it.starts_with(Path::new(&flow.class).join(run))
                    && it.components().any(|it| it.as_os_str() == "_meta")
            }) else {
                continue;
            };
            let path = root.join(path);
            if path.exists() {
                continue;
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            order::write_atomically(&path, content.as_bytes())?;
        }
        Ok(())
    }
}

/// What a job says that ended by itself with this status, and left this answer (`None`: none).
pub fn outcome(status: i32, answer: Option<&[u8]>) -> Outcome {
    let answer = answer.map(serde_json::from_slice::<Answer>);
    let answer = match answer {
        Some(Ok(answer)) if answer.version == 1 => Some(answer),
        Some(_) if status == 0 => {
            return Outcome::Failed(Reason::BadOutput {
                message: "what the job left in S3 as its answer cannot be read".into(),
            });
        }
        _ => None,
    };
    let words = answer.as_ref().map(|it| it.last_words.clone());
    let last_words = |count: usize| {
        let words = words.as_deref().unwrap_or_default();
        let words = &words[words.len().saturating_sub(count)..];
        (!words.is_empty()).then(|| words.join(" / "))
    };
    match (status, answer) {
        (0, Some(answer)) => match succeeded(answer) {
            Ok(success) => Outcome::Succeeded(success),
            Err(message) => Outcome::Failed(Reason::BadOutput { message }),
        },
        (0, None) => Outcome::Failed(Reason::BadOutput {
            message: "the job ended with exit status 0 and left no answer in S3".into(),
        }),
        (UNFIT, _) => Outcome::Failed(Reason::Configuration {
            message: last_words(3).unwrap_or_else(|| {
                "the job's image cannot run Metaflow, or may not read the bucket; its log says what is missing".into()
            }),
        }),
        (NOT_FETCHED, _) => Outcome::Failed(Reason::Network {
            message: "the job could not fetch from S3 what it needs; its log says why".into(),
        }),
        (NOT_BROUGHT_BACK, _) => Outcome::Failed(Reason::Network {
            message: "the step was over, but its answer could not be written to S3; its log says why".into(),
        }),
        (status, answer) => {
            Outcome::Failed(judge::failed(status, answer.and_then(|it| it.left), last_words))
        }
    }
}

fn succeeded(answer: Answer) -> Result<Success, String> {
    let Some(left) = answer.left else {
        return Err(judge::NOT_DONE.into());
    };
    let left = judge::believed(&answer.request, left)?;
    judge::succeeded(&answer.request, left)
}

/// The folder that is packed, and the flow file's path in it.
fn split(flow: &MetaflowFlow, file: &Path) -> Result<(PathBuf, String), String> {
    let missing = || {
        format!(
            "the code of the flow is not on this machine: {} is missing; register the flow again",
            file.display()
        )
    };
    if !file.is_file() {
        return Err(missing());
    }
    let (root, entry) = match &flow.code {
        Some(code) => {
            let depth = Path::new(&code.entry).components().count();
            (file.ancestors().nth(depth), PathBuf::from(&code.entry))
        }
        None => (
            file.parent(),
            file.file_name().map(PathBuf::from).unwrap_or_default(),
        ),
    };
    let root = root.ok_or_else(missing)?.to_owned();
    Ok((root, crate::local::order::text(entry)?))
}

impl Prepared {
    /// `METAFLOW_USER` of a flow's tasks.
    pub(super) fn user_of<'a>(&'a self, flow: &'a MetaflowFlow) -> &'a str {
        let user = flow.user.as_deref();
        user.filter(|it| !it.is_empty() && *it != "root")
            .unwrap_or_else(|| self.user())
    }
}

/// For those who make packages: our files by their path below `ext/`.
impl Files {
    pub(super) fn each() -> impl Iterator<Item = (&'static str, &'static [u8])> {
        super::files::FILES.iter().copied()
    }
}
