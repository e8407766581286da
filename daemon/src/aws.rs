//! Executors for AWS, as the configuration wants them, and what pages and API ask of AWS.

use crate::config::Settings;
use anyhow::Context;
use dalsegno_engine::{Code, Executor, Problem, Reporter};
use dalsegno_executor::metaflow::{Machines, MetaflowJobs};
use dalsegno_executor::{Layout, MetaflowConfig};
use dalsegno_executor_aws::guard::Guard;
use dalsegno_executor_aws::sfn::StepFunctions;
use dalsegno_executor_aws::{Aws, AwsConfig, Batch, Logs, Orphan, OrphanError, Orphans, status};
use dalsegno_executor_aws::{names, tags};
use dalsegno_scheduler::{AttemptId, Execution, ExecutorKind, RunId, Timestamp};
use dalsegno_store::Store;
use dalsegno_web::{Following, Later, OrphanJob, Remote, ResumedExecution};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where the name of this database's house is remembered.
const INSTALLATION: &str = "installation";

/// So many changes of executions may wait to be looked at; more wait in their queue.
const CHANGES_MAX: usize = 256;

/// Everything for AWS that a running daemon has.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    pub(crate) executors: BTreeMap<ExecutorKind, Arc<dyn Executor>>,
    step_functions: Arc<StepFunctions>,
    /// What all names of executions begin with.
    pub(crate) executions: String,
    orphans: Arc<Orphans>,
    logs: Arc<Logs>,
    pub(crate) guard: Arc<Guard>,
}

/// What the parts for AWS need of the daemon.
pub(crate) struct Needs<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    pub(crate) instance: &'a str,
    pub(crate) metaflow: &'a MetaflowConfig,
    pub(crate) reporter: &'a Reporter,
    pub(crate) stop: &'a CancellationToken,
}

/// `None` without `[aws]`.
pub(crate) async fn start(needs: Needs<'_>) -> anyhow::Result<Option<Elsewhere>> {
    let Needs {
        settings,
        store,
        address,
        instance,
        metaflow,
        reporter,
        stop,
    } = needs;
    let Some(config) = settings.aws.clone() else {
        return Ok(None);
    };
    let config = AwsConfig {
        installation: installation(store.as_ref()).await?,
        instance: instance.to_owned(),
        lost_retries: settings.core.lost_retries,
        data_dir: settings.data.clone(),
        // From another machine loopback is somewhere else.
        api_url: (!address.ip().is_loopback() && !address.ip().is_unspecified())
            .then(|| format!("http://{address}/api/v1")),
        ..config
    };
    let layout = Layout::new(&settings.data);
    let jobs = MetaflowJobs::new(metaflow, &layout, config.api_url.as_deref())
        .context("cannot prepare Metaflow's tasks for other machines")?;
    let aws = Aws::connect(config, store.clone()).await;
    let jobs = Arc::new(jobs);
    let batch = Batch::start(aws.clone(), reporter.clone(), Some(jobs.clone()), stop);
    let installation = aws.config.installation.clone();
    let tags = BTreeMap::from([(tags::INSTALLATION.to_owned(), installation)]);
    let machines = Machines::new(jobs, &layout, of_metaflow(&aws.config, settings), tags);
    let machines = Some(Arc::new(machines));
    let executions = StepFunctions::with(aws.clone(), reporter.clone(), machines, stop);
    let (changes, told) = mpsc::channel(CHANGES_MAX);
    executions.listen(told);
    status::start(
        aws.clone(),
        Some(batch.clone()),
        Some(changes),
        stop.clone(),
    );
    let executors: BTreeMap<ExecutorKind, Arc<dyn Executor>> = [
        (ExecutorKind::Batch, batch.clone() as Arc<dyn Executor>),
        (ExecutorKind::StepFunctions, executions.clone()),
    ]
    .into();
    Ok(Some(Elsewhere {
        executors,
        step_functions: executions,
        executions: names::prefix(&aws.config.installation),
        orphans: Orphans::start(batch, stop.clone()),
        guard: aws.guard.clone(),
        logs: Logs::new(aws),
    }))
}

/// What Metaflow's compiler reads of this configuration.
fn of_metaflow(aws: &AwsConfig, settings: &Settings) -> BTreeMap<String, String> {
    let yes = "1".to_owned();
    let all = [
        ("METAFLOW_BATCH_JOB_QUEUE", aws.queues.first()),
        ("METAFLOW_BATCH_CONTAINER_IMAGE", aws.image.as_ref()),
        ("METAFLOW_ECS_S3_ACCESS_IAM_ROLE", aws.job_role.as_ref()),
        (
            "METAFLOW_ECS_FARGATE_EXECUTION_ROLE",
            aws.execution_role.as_ref(),
        ),
        ("METAFLOW_SFN_IAM_ROLE", aws.state_machine_role.as_ref()),
        (
            "METAFLOW_SFN_DYNAMO_DB_TABLE",
            settings.metaflow.dynamo_table.as_ref(),
        ),
        ("AWS_DEFAULT_REGION", aws.region.as_ref()),
        ("AWS_ENDPOINT_URL", aws.endpoint.as_ref()),
        // Without this its jobs have no tags at all.
        ("METAFLOW_BATCH_EMIT_TAGS", Some(&yes)),
    ];
    let set = all
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
    set.collect()
}

impl Elsewhere {
    /// Jobs of ours that nobody wants; `None`: it was not looked for them yet.
    pub(crate) fn looked_for_orphans(&self) -> Option<Vec<Orphan>> {
        self.orphans.known()
    }
}

impl Remote for Elsewhere {
    fn orphans(&self) -> Later<Vec<OrphanJob>> {
        let orphans = self.orphans.clone();
        Box::pin(async move {
            let found = orphans.sweep().await.map_err(problem)?;
            Ok(found.into_iter().map(orphan).collect())
        })
    }

    fn cancel_orphan(&self, job: String) -> Later<()> {
        let orphans = self.orphans.clone();
        Box::pin(async move { orphans.cancel(&job).await.map(|_| ()).map_err(problem) })
    }

    fn adopt_orphan(&self, job: String) -> Later<()> {
        let orphans = self.orphans.clone();
        Box::pin(async move { orphans.adopt(&job).await.map_err(problem) })
    }

    fn resume_plan(
        &self,
        run: RunId,
        created: Timestamp,
        execution: Execution,
    ) -> Later<ResumedExecution> {
        let executions = self.step_functions.clone();
        Box::pin(async move {
            let plan = executions.resume_plan(&execution, run, created).await;
            let plan = plan.map_err(|message| Problem::new(Code::AwsFailed, message))?;
            Ok(ResumedExecution {
                name: plan.execution().to_owned(),
                new_because: plan.because().map(str::to_owned),
            })
        })
    }

    fn fetch_log(&self, attempt: AttemptId, log: String, follow: bool) -> Later<Following> {
        let logs = self.logs.clone();
        Box::pin(async move {
            let fetched = logs.ensure(&attempt, &log).await;
            fetched
                .map_err(|error| Problem::new(Code::AwsFailed, format!("log {log}: {error}")))?;
            let reading = CancellationToken::new();
            if follow {
                let reading = reading.clone();
                tokio::spawn(async move {
                    let is_read = || !reading.is_cancelled();
                    logs.follow(attempt, &log, is_read).await;
                });
            }
            Ok(Box::new(reading.drop_guard()) as Following)
        })
    }
}

fn orphan(it: Orphan) -> OrphanJob {
    OrphanJob {
        job: it.job_id,
        name: it.name,
        queue: it.queue,
        status: it.status.as_str().to_owned(),
        created_at: it.created_at,
        flow: it.flow,
        run: it.run,
        task: it.task,
        attempt: it.attempt,
        why: it.why,
    }
}

fn problem(error: OrphanError) -> Problem {
    let code = match error {
        OrphanError::Unknown(_) => Code::UnknownOrphan,
        OrphanError::NotAdopted { .. } | OrphanError::NotCancelled { .. } => Code::NotAdopted,
        OrphanError::Call { .. } => Code::AwsFailed,
    };
    Problem::new(code, error.to_string())
}

/// Eight letters and digits, made once for a database: of two daemons that make one at the same time the second takes
/// the first one's.
async fn installation(store: &dyn Store) -> anyhow::Result<String> {
    let read = async || {
        let stored = store.position(INSTALLATION).await;
        stored.context("cannot read the name of this installation")
    };
    if let Some(name) = read().await? {
        return Ok(name);
    }
    let mut name = uuid::Uuid::new_v4().simple().to_string();
    name.truncate(8);
    let now = dalsegno_engine::clock::now();
    let first = store.swap_position(INSTALLATION, None, &name, now).await;
    match first.context("cannot write the name of this installation")? {
        true => Ok(name),
        false => Ok(read().await?.unwrap_or(name)),
    }
}

/// Where steps run elsewhere, for the lines that are printed at start.
pub(crate) fn lines(config: Option<&AwsConfig>) -> String {
    let Some(config) = config else {
        return String::new();
    };
    let mut queues = config.queues.join(", ");
    if !config.gpu_queues.is_empty() {
        queues = format!("{queues}; with GPUs {}", config.gpu_queues.join(", "));
    }
    if queues.is_empty() {
        queues = "only queues that steps name".into();
    }
    let place = config.s3.as_ref().map_or_else(
        || "no bucket".to_owned(),
        |it| format!("s3://{}/{}", it.bucket, it.prefix),
    );
    format!("  aws    {queues}; {place}\n")
}
