//! Whether there is a job already: asked by name, and believed after two looks.

use super::Inner;
use super::book::{Entry, Phase};
use super::fair::Unit;
use super::stop::AGAIN_MAX;
use super::submit::Going;
use super::waits;
use crate::container;
use crate::guard::{Api, CallError};
use crate::job::Job;
use crate::{names, tags};
use aws_sdk_batch::types::{JobSummary, KeyValuesPair};
use dalsegno_scheduler::{AttemptId, Outcome, Reason, Submission, SubmissionWait};
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::warn;

/// DescribeJobs takes so many.
pub(crate) const DESCRIBED_MAX: usize = 100;

/// Listing is given up after so many pages: what is on the others is not known then.
const PAGES_MAX: usize = 1_000;

/// What Batch says of jobs.
#[derive(Default)]
pub(crate) struct Described {
    pub(crate) jobs: Vec<Job>,
    /// They are there, and how they stand is not understood.
    pub(crate) unclear: Vec<String>,
}

impl Inner {
    /// Finds out whether a unit was submitted. Then it is watched, or it is submitted. What was seen in an earlier term
    /// says nothing: somebody else may have submitted it since.
    pub(crate) async fn look_for(self: Arc<Self>, unit: Unit, term: u64) {
        let Some(going) = self.going(&unit) else {
            return;
        };
        let wait = self.aws.config.timings.look_again;
        let mut retry = self.retry();
        let mut looks = 0;
        let found = loop {
            let found = Box::pin(self.find_unit(&unit, &going)).await;
            if self.book().term != term {
                return;
            }
            match found {
                Ok(found) if !found.is_empty() => break found,
                Ok(_) => {
                    looks += 1;
                    if looks == 2 {
                        break Vec::new();
                    }
                    tokio::time::sleep(wait).await;
                }
                Err((api, error)) => {
                    let wait = retry.wait(&error);
                    let until = super::after(self.aws.now(), wait);
                    let mut reason = waits(api, &error, until);
                    if let Reason::SubmissionWaits { cause, .. } = &mut reason
                        && *cause == SubmissionWait::Unreachable
                    {
                        *cause = SubmissionWait::UnknownOutcome;
                    }
                    self.tell_waiting(&unit.members, &reason);
                    tokio::time::sleep(wait).await;
                }
            }
        };
        match found.first() {
            Some(job) => {
                self.end_doubles(&found);
                self.adopt(&unit, job).await;
            }
            None => self.not_found(unit, term).await,
        }
    }

    /// The unit's jobs in all queues in which they may be.
    async fn find_unit(&self, unit: &Unit, going: &Going) -> Result<Vec<Job>, (Api, CallError)> {
        let (name, mark) = (going.name(self), going.mark());
        let mut queues = going.all_queues(self);
        let found = self.find(&name, &mark, &queues).await?;
        let is_from_before = {
            let book = self.book();
            let mut entries = unit.members.iter().filter_map(|it| book.entries.get(it));
            entries.any(|it| it.is_from_before)
        };
        if !found.is_empty() || !is_from_before {
            return Ok(found);
        }
        let looked = std::mem::replace(&mut queues, self.queues_then().await?);
        queues.retain(|it| !looked.contains(it));
        self.find(&name, &mark, &queues).await
    }

    /// All queues that there were when this daemon took over.
    async fn queues_then(&self) -> Result<BTreeSet<String>, (Api, CallError)> {
        let (known, term) = {
            let book = self.book();
            (book.queues.clone(), book.term)
        };
        if let Some(queues) = known {
            return Ok(queues);
        }
        let queues = self.every_queue().await?;
        let mut book = self.book();
        if book.term == term {
            book.queues = Some(queues.clone());
        }
        Ok(queues)
    }

    async fn not_found(self: &Arc<Self>, mut unit: Unit, term: u64) {
        let mut lost = Vec::new();
        let mut stopped = Vec::new();
        {
            let mut book = self.book();
            if book.term != term {
                return;
            }
            unit.members.retain(|attempt| {
                let Some(entry) = book.entries.get_mut(attempt) else {
                    return false;
                };
                if entry.phase != Phase::Looking {
                    return false;
                }
                entry.is_doubtful = false;
                entry.is_from_before = false;
                entry.phase = Phase::Queued;
                if entry.is_to_stop {
                    stopped.push(attempt.clone());
                } else if entry.has_run {
                    lost.push(attempt.clone());
                } else {
                    return true;
                }
                false
            });
            if !unit.members.is_empty() {
                book.fair.push_front(unit);
            }
        }
        for attempt in lost {
            let message = "Batch knows no job of that name any more".to_owned();
            self.tell_end(&attempt, Outcome::Lost(message), None, None);
        }
        for attempt in stopped {
            self.tell_end(&attempt, Outcome::Stopped, None, None);
        }
        self.changed.notify_waiters();
    }

    /// This job is the unit's.
    pub(crate) async fn adopt(self: &Arc<Self>, unit: &Unit, job: &Job) {
        let wanted = match &unit.array {
            None => Vec::new(),
            Some(place) => match self.wanted(unit, place).await {
                Some(wanted) => wanted,
                None => return,
            },
        };
        self.submitted(unit, &job.id, &wanted);
    }

    /// Which items the array job runs. `None`: the unit is looked for anew.
    async fn wanted(
        self: &Arc<Self>,
        unit: &Unit,
        place: &dalsegno_scheduler::ArrayPlace,
    ) -> Option<Vec<bool>> {
        let created = self.going(unit)?.created();
        let storage = self.storage.as_ref()?;
        let name = names::array(&self.aws.config.installation, place, created);
        let key = storage.array(place.first.run, created, &name);
        let mut retry = self.retry();
        loop {
            match storage.get_all(&self.aws, &key).await {
                Ok(Some(manifest)) => return Some(container::wanted(&manifest)),
                // Somebody removed it after the job was submitted: its children fail by themselves.
                Ok(None) => return Some(vec![true; place.size as usize]),
                Err(error) => {
                    let wait = retry.wait(&error);
                    let until = super::after(self.aws.now(), wait);
                    self.tell_waiting(&unit.members, &waits(Api::S3Get, &error, until));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// The unit's jobs, oldest first: there should be one at most.
    pub(crate) async fn find(
        &self,
        name: &str,
        mark: &str,
        queues: &BTreeSet<String>,
    ) -> Result<Vec<Job>, (Api, CallError)> {
        let mut ids = Vec::new();
        for queue in queues {
            let listed = self.list(queue, name).await?;
            let exact = listed
                .into_iter()
                .filter(|it| match name.strip_suffix('*') {
                    Some(prefix) => it.job_name().is_some_and(|it| it.starts_with(prefix)),
                    None => it.job_name() == Some(name),
                });
            ids.extend(exact.filter_map(|it| it.job_id().map(str::to_owned)));
        }
        let mut found = self.describe(&ids).await?.jobs;
        if let Some(id) = ids.iter().find(|id| found.iter().all(|it| it.id != **id)) {
            // It may be the one.
            let message = format!("job {id} is listed, and how it stands is not known yet");
            return Err((Api::DescribeJobs, CallError::Unreachable { message }));
        }
        found.retain(|it| {
            it.tag(tags::INSTALLATION) == self.aws.config.installation
                && it.tag(tags::ATTEMPT) == mark
        });
        found.sort_by_key(|it| (it.created_at, it.id.clone()));
        Ok(found)
    }

    /// All jobs of a queue with that name; with `*` at its end, all whose names begin so.
    pub(crate) async fn list(
        &self,
        queue: &str,
        name: &str,
    ) -> Result<Vec<JobSummary>, (Api, CallError)> {
        let filter = KeyValuesPair::builder()
            .name("JOB_NAME")
            .values(name)
            .build();
        self.pages(|token| {
            let list = self.aws.batch.list_jobs().job_queue(queue);
            list.filters(filter.clone()).set_next_token(token)
        })
        .await
    }

    /// All pages of a list. A queue that is not there has no jobs.
    pub(crate) async fn pages(
        &self,
        ask: impl Fn(
            Option<String>,
        ) -> aws_sdk_batch::operation::list_jobs::builders::ListJobsFluentBuilder,
    ) -> Result<Vec<JobSummary>, (Api, CallError)> {
        let (mut all, mut token) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.aws.guard.call(Api::ListJobs, ask(token).send()).await;
            let page = match page {
                Ok(page) => page,
                Err(CallError::Invalid { message, .. }) if message.contains("does not exist") => {
                    return Ok(all);
                }
                Err(error) => return Err((Api::ListJobs, error)),
            };
            token = page.next_token().map(str::to_owned);
            all.extend(page.job_summary_list.unwrap_or_default());
            if token.is_none() {
                return Ok(all);
            }
        }
        let message = format!("a list of jobs has more than {PAGES_MAX} pages");
        Err((Api::ListJobs, CallError::Unreachable { message }))
    }

    /// What Batch knows of these; jobs that it does not know are left out.
    pub(crate) async fn describe(&self, ids: &[String]) -> Result<Described, (Api, CallError)> {
        let mut known = Described::default();
        for ids in ids.chunks(DESCRIBED_MAX) {
            let describe = self.aws.batch.describe_jobs();
            let describe = describe.set_jobs(Some(ids.to_vec())).send();
            let found = self.aws.guard.call(Api::DescribeJobs, describe).await;
            let found = found.map_err(|it| (Api::DescribeJobs, it))?;
            for detail in found.jobs() {
                match Job::of_detail(detail) {
                    Ok(job) => known.jobs.push(job),
                    Err(what) => {
                        warn!("Batch says what is not understood: {what}");
                        known.unclear.extend(detail.job_id().map(str::to_owned));
                    }
                }
            }
        }
        Ok(known)
    }

    /// There should never be two. The oldest stands; the others are ended.
    fn end_doubles(self: &Arc<Self>, found: &[Job]) {
        let Some((first, others)) = found.split_first() else {
            return;
        };
        for job in others.iter().filter(|it| !it.state.is_end()) {
            warn!(
                "job {} is a second one of attempt {}, which is job {}: it is ended",
                job.id,
                first.tag(tags::ATTEMPT),
                first.id
            );
            self.spawn(self.clone().end_double(job.id.clone()));
        }
    }

    /// Until it is dead. If we die before, it is an orphan.
    async fn end_double(self: Arc<Self>, job: String) {
        let mut wait = self.aws.config.timings.retry_first;
        loop {
            if self.leads().await {
                let ended = self
                    .terminate(&job, "a second job of the same attempt")
                    .await;
                if let Err(error) = ended {
                    warn!("job {job} could not be ended yet: {error}");
                }
            }
            match self.describe(std::slice::from_ref(&job)).await {
                Ok(known)
                    if known.unclear.is_empty()
                        && known.jobs.iter().all(|it| it.state.is_end()) =>
                {
                    return;
                }
                Ok(_) => {}
                Err((api, error)) => {
                    warn!("job {job} is to be ended, and {api} does not work: {error}");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }

    /// All queues of the account: the configuration may have been another one when a job was submitted.
    pub(crate) async fn every_queue(&self) -> Result<BTreeSet<String>, (Api, CallError)> {
        let (mut queues, mut token) = (BTreeSet::new(), None);
        loop {
            let ask = self.aws.batch.describe_job_queues().set_next_token(token);
            let page = self
                .aws
                .guard
                .call(Api::DescribeJobQueues, ask.send())
                .await;
            let page = page.map_err(|it| (Api::DescribeJobQueues, it))?;
            let names = page
                .job_queues()
                .iter()
                .filter_map(|it| it.job_queue_name());
            queues.extend(names.map(str::to_owned));
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(queues);
            }
        }
    }

    /// For an attempt of which nothing is known but that it is to be stopped: whether there is a job.
    pub(crate) async fn look_to_stop(self: Arc<Self>, attempt: AttemptId, term: u64) {
        let installation = &self.aws.config.installation;
        let name = format!("{}{}-*", names::prefix(installation), attempt.run);
        let place = self
            .book()
            .entries
            .get(&attempt)
            .and_then(|it| it.place.clone());
        let mut retry = self.retry();
        let mut looks = 0;
        loop {
            let found = match self.queues_then().await {
                Ok(queues) => {
                    let own = self.find(&name, &tags::attempt(&attempt), &queues).await;
                    match (own, &place) {
                        (Ok(own), Some(place)) if own.iter().all(|it| it.size.is_some()) => {
                            let mark = tags::attempt(&place.first);
                            let all = self.find(&name, &mark, &queues).await;
                            all.map(|mut all| {
                                all.retain(|it| it.size == Some(place.size));
                                all.iter_mut()
                                    .for_each(|it| it.id = format!("{}:{}", it.id, place.index));
                                all
                            })
                        }
                        (own, _) => own,
                    }
                }
                Err(error) => Err(error),
            };
            if self.book().term != term {
                return;
            }
            match found {
                // Of an old database there may be others, which ended long ago.
                Ok(found) if !found.is_empty() => {
                    let newest = &found[found.len() - 1];
                    self.book().know(&attempt, newest.id.as_str().into());
                    return self.changed.notify_waiters();
                }
                Ok(_) => {
                    looks += 1;
                    if looks == 2 {
                        return self.tell_end(&attempt, Outcome::Stopped, None, None);
                    }
                    tokio::time::sleep(self.aws.config.timings.look_again).await;
                }
                Err((api, error)) => {
                    let wait = retry.wait(&error);
                    warn!("{attempt} is to be stopped, and {api} does not work: {error}");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// What of a unit is still to be submitted. `None`: nobody wants any of it.
    pub(crate) fn going(&self, unit: &Unit) -> Option<Going> {
        let book = self.book();
        let of = |attempt: &AttemptId| -> Option<Arc<Submission>> {
            let entry: &Entry = book.entries.get(attempt)?;
            entry.submission.clone()
        };
        let first = unit.members.iter().find_map(of)?;
        Some(Going {
            array: unit.array.clone(),
            first,
        })
    }
}
