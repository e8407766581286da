//! Jobs that carry our name and that nobody wants.

use crate::batch::{Batch, Inner};
use crate::config::OrphanPolicy;
use crate::guard::{Api, CallError};
use crate::job::{Job, JobState};
use crate::{names, tags};
use aws_sdk_batch::types::JobStatus;
use dalsegno_scheduler::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A job that runs, or will, for nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    pub job_id: String,
    pub name: String,
    pub queue: String,
    pub status: JobState,
    pub created_at: Option<Timestamp>,
    /// As its tags say; empty: they do not.
    pub flow: String,
    pub run: String,
    pub task: String,
    pub attempt: String,
    pub why: String,
}

/// Why something was not done with an orphan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrphanError {
    #[error("there is no unfinished job {0} of this installation")]
    Unknown(String),
    #[error("job {job} cannot be adopted: {because}")]
    NotAdopted { job: String, because: String },
    #[error(
        "job {job} is no orphan: attempt {attempt} is alive and wants it; cancel its run instead"
    )]
    NotCancelled { job: String, attempt: String },
    #[error("{api}: {error}")]
    Call { api: Api, error: CallError },
}

impl From<(Api, CallError)> for OrphanError {
    fn from((api, error): (Api, CallError)) -> Self {
        Self::Call { api, error }
    }
}

const UNFINISHED: [JobStatus; 5] = [
    JobStatus::Submitted,
    JobStatus::Pending,
    JobStatus::Runnable,
    JobStatus::Starting,
    JobStatus::Running,
];

/// Looks for orphans now and then.
pub struct Orphans {
    batch: Arc<Batch>,
    /// When each was first seen.
    seen: Mutex<BTreeMap<String, Timestamp>>,
    found: Mutex<Vec<Orphan>>,
    /// Whether `found` tells of now: it was looked twice since this daemon began to decide.
    is_known: AtomicBool,
    /// One sweep at a time.
    sweeping: tokio::sync::Mutex<()>,
}

impl Orphans {
    /// Sweeps until `stop`.
    pub fn start(batch: Arc<Batch>, stop: CancellationToken) -> Arc<Self> {
        let orphans = Arc::new(Self {
            batch,
            seen: Mutex::default(),
            found: Mutex::default(),
            is_known: AtomicBool::new(false),
            sweeping: tokio::sync::Mutex::default(),
        });
        let sweeper = orphans.clone();
        tokio::spawn(async move {
            let timings = sweeper.inner().aws.config.timings;
            loop {
                let soon = !sweeper.seen().is_empty() && sweeper.found().is_empty();
                let wait = match soon {
                    // What was seen once is to be seen again.
                    true => timings.orphan_after.max(Duration::from_millis(10)),
                    false => timings.orphans_every,
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                if let Err(error) = sweeper.sweep().await {
                    warn!("orphans could not be looked for: {error}");
                }
            }
        });
        orphans
    }

    fn inner(&self) -> &Arc<Inner> {
        self.batch.inner()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the last sweep found them.
    fn found(&self) -> std::sync::MutexGuard<'_, Vec<Orphan>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that were found at two looks.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.found().clone()
    }

    /// The same, once it has been looked often enough to know; `None` before, and where another daemon decides.
    pub fn known(&self) -> Option<Vec<Orphan>> {
        let is_known = self.is_known.load(Ordering::Acquire);
        is_known.then(|| self.orphans())
    }

    /// Looks now. What was seen at a look before, long enough ago, is an orphan; with [`OrphanPolicy::Cancel`] it is
    /// ended, and stays in the list until it is dead.
    ///
    /// # Errors
    /// Why it is not known what there is.
    pub async fn sweep(&self) -> Result<Vec<Orphan>, OrphanError> {
        let _alone = self.sweeping.lock().await;
        let inner = self.inner();
        if !inner.leads().await {
            // Another instance knows who is wanted.
            self.is_known.store(false, Ordering::Release);
            self.seen().clear();
            self.found().clear();
            return Ok(Vec::new());
        }
        let jobs = self.unwanted().await?;
        let now = inner.aws.now();
        let patience = inner.aws.config.timings.orphan_after;
        let mut orphans = Vec::new();
        {
            let mut seen = self.seen();
            let ids: BTreeSet<&str> = jobs.iter().map(|it| it.id.as_str()).collect();
            seen.retain(|id, _| ids.contains(id.as_str()));
            for job in &jobs {
                let Some(first) = seen.get(&job.id) else {
                    seen.insert(job.id.clone(), now);
                    continue;
                };
                let known_for = now.0.saturating_sub(first.0);
                if u128::try_from(known_for).unwrap_or(0) >= patience.as_micros() {
                    orphans.push(orphan(job, inner.why_unwanted(job)));
                }
            }
        }
        let before: BTreeSet<_> = self.found().iter().map(|it| it.job_id.clone()).collect();
        for orphan in orphans.iter().filter(|it| !before.contains(&it.job_id)) {
            warn!(
                "job {} ({}) is an orphan: {}",
                orphan.job_id, orphan.name, orphan.why
            );
        }
        // What is seen and no orphan yet may be one of those that were known before.
        let is_known = self.seen().len() == orphans.len();
        *self.found() = orphans.clone();
        self.is_known.fetch_or(is_known, Ordering::AcqRel);
        if inner.aws.config.orphans == OrphanPolicy::Cancel {
            for orphan in &orphans {
                if let Err(error) = inner.terminate(&orphan.job_id, "nobody wants it").await {
                    warn!("orphan {} could not be ended yet: {error}", orphan.job_id);
                }
            }
        }
        Ok(orphans)
    }

    /// Ends a job of ours that nobody wants, and waits for a while until it is dead. `false`: it is not dead yet.
    ///
    /// # Errors
    /// When there is none, or somebody wants it.
    pub async fn cancel(&self, job_id: &str) -> Result<bool, OrphanError> {
        let inner = self.inner();
        let job = self.job(job_id).await?;
        if inner.is_wanted(&job) {
            return Err(OrphanError::NotCancelled {
                job: job_id.to_owned(),
                attempt: job.tag(tags::ATTEMPT).to_owned(),
            });
        }
        inner
            .terminate(job_id, "cancelled as an orphan")
            .await
            .map_err(|error| (Api::TerminateJob, error))?;
        for _ in 0..20 {
            let now = inner.describe(&[job_id.to_owned()]).await?;
            if now.unclear.is_empty() && now.jobs.iter().all(|it| it.state.is_end()) {
                info!("orphan {job_id} is dead");
                self.found().retain(|it| it.job_id != job_id);
                return Ok(true);
            }
            tokio::time::sleep(inner.aws.config.timings.retry_first).await;
        }
        Ok(false)
    }

    /// Gives the job to its attempt, if that is wanted and has none.
    ///
    /// # Errors
    /// Why not.
    pub async fn adopt(&self, job_id: &str) -> Result<(), OrphanError> {
        let job = self.job(job_id).await?;
        let adopted = self.inner().adopt_orphan(&job);
        adopted.map_err(|because| OrphanError::NotAdopted {
            job: job_id.to_owned(),
            because,
        })?;
        self.found().retain(|it| it.job_id != job_id);
        Ok(())
    }

    async fn job(&self, job_id: &str) -> Result<Job, OrphanError> {
        let inner = self.inner();
        let found = inner.describe(&[job_id.to_owned()]).await?.jobs;
        let job = found.into_iter().find(|it| {
            it.tag(tags::INSTALLATION) == inner.aws.config.installation && !it.state.is_end()
        });
        job.ok_or_else(|| OrphanError::Unknown(job_id.to_owned()))
    }

    /// All unfinished jobs of ours that no live attempt wants.
    async fn unwanted(&self) -> Result<Vec<Job>, OrphanError> {
        let inner = self.inner();
        let prefix = names::prefix(&inner.aws.config.installation);
        let mut ids = Vec::new();
        for queue in inner.every_queue().await? {
            // By state, for a list by name has all jobs of the last days, too.
            for status in UNFINISHED {
                let listed = inner.pages(|token| {
                    let list = inner.aws.batch.list_jobs().job_queue(&queue);
                    list.job_status(status.clone()).set_next_token(token)
                });
                let listed = listed.await?;
                let ours = listed
                    .into_iter()
                    .filter(|it| it.job_name().is_some_and(|it| it.starts_with(&prefix)));
                ids.extend(ours.filter_map(|it| it.job_id));
            }
        }
        let ids: BTreeSet<_> = ids.into_iter().collect();
        let jobs = inner.describe(&ids.into_iter().collect::<Vec<_>>()).await?;
        let jobs = jobs.jobs.into_iter().filter(|it| {
            it.tag(tags::INSTALLATION) == inner.aws.config.installation
                && !it.state.is_end()
                && !it.is_of_execution
                && !inner.is_wanted(it)
        });
        Ok(jobs.collect())
    }
}

fn orphan(job: &Job, why: String) -> Orphan {
    Orphan {
        job_id: job.id.clone(),
        name: job.name.clone(),
        queue: job.queue.clone(),
        status: job.state,
        created_at: job.created_at,
        flow: job.tag(tags::FLOW).to_owned(),
        run: job.tag(tags::RUN).to_owned(),
        task: job.tag(tags::TASK).to_owned(),
        attempt: job.tag(tags::ATTEMPT).to_owned(),
        why,
    }
}
