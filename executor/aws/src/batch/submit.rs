//! One request after the other: whose turn it is, what is asked for, and what the answer means.

use super::book::{Book, Phase};
use super::container::Unready;
use super::definition;
use super::fair::{Next, Unit};
use super::{Inner, SUBMISSIONS_AT_ONCE, after, waits};
use crate::container::{Container, Object};
use crate::guard::{Api, CallError};
use crate::{names, tags};
use aws_sdk_batch::operation::submit_job::builders::SubmitJobFluentBuilder;
use aws_sdk_batch::types::{
    ArrayProperties, ContainerOverrides, EvaluateOnExit, JobTimeout, KeyValuePair,
    ResourceRequirement, ResourceType, RetryAction, RetryStrategy,
};
use dalsegno_scheduler::{
    ArrayPlace, AttemptId, News, Outcome, Reason, RemoteTask, Report, Submission, SubmissionWait,
    Timestamp,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

/// What a job gets that asks for none.
const MEMORY_MIB: u64 = 2_048;

/// Batch takes no shorter timeout than this, and ours comes first.
const TIMEOUT_MIN_S: i64 = 60;
const OURS_FIRST_S: i64 = 60;

/// Attempts of one job at most.
const ATTEMPTS_MAX: u32 = 10;

/// A unit on its way.
pub(crate) struct Going {
    pub(crate) array: Option<ArrayPlace>,
    /// Of an array: any member, for they have the same step.
    pub(crate) first: Arc<Submission>,
}

impl Going {
    fn remote(&self) -> Option<&RemoteTask> {
        self.first.remote.as_deref()
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.remote()
            .map(|it| it.run_created_at)
            .unwrap_or_default()
    }

    /// Which attempt stands for all of it.
    fn attempt(&self) -> &AttemptId {
        match &self.array {
            Some(place) => &place.first,
            None => &self.first.attempt,
        }
    }

    pub(crate) fn name(&self, inner: &Inner) -> String {
        let installation = &inner.aws.config.installation;
        match &self.array {
            Some(place) => names::array(installation, place, self.created()),
            None => names::job(installation, &self.first.attempt, self.created()),
        }
    }

    /// The tag of its attempt.
    pub(crate) fn mark(&self) -> String {
        tags::attempt(self.attempt())
    }

    /// The queues that it may go to, in their order.
    pub(crate) fn queues(&self, inner: &Inner) -> Vec<String> {
        let config = &inner.aws.config;
        let Some(remote) = self.remote() else {
            return Vec::new();
        };
        match &remote.spec.queue {
            Some(queue) => vec![queue.clone()],
            None if remote.spec.gpus.is_some_and(|it| it > 0) => config.gpu_queues.clone(),
            None => config.queues.clone(),
        }
    }

    /// All queues in which it may be.
    pub(crate) fn all_queues(&self, inner: &Inner) -> BTreeSet<String> {
        let config = &inner.aws.config;
        let own = self.queues(inner).into_iter();
        own.chain(config.queues.iter().cloned())
            .chain(config.gpu_queues.iter().cloned())
            .map(|it| it.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// Why nothing came of a submission.
enum Stuck {
    Unusable(Reason),
    /// Nothing was done; it is tried again.
    Later(Api, CallError),
    /// Nobody knows whether anything was done.
    Unknown(CallError),
}

impl From<(Api, CallError)> for Stuck {
    fn from((api, error): (Api, CallError)) -> Self {
        match error {
            CallError::Invalid { code, message } => Self::Unusable(Reason::Configuration {
                message: format!("{api}: {code}: {message}"),
            }),
            error => Self::Later(api, error),
        }
    }
}

impl Inner {
    /// Submits whatever is next, for ever.
    pub(crate) async fn dispatch(self: Arc<Self>) {
        let permits = Arc::new(Semaphore::new(SUBMISSIONS_AT_ONCE));
        let pause = Arc::new(tokio::sync::Mutex::new((self.retry(), Instant::now())));
        loop {
            self.something_waits().await;
            let until = pause.lock().await.1;
            tokio::time::sleep_until(until).await;
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            self.aws.guard.submissions(1).await;
            let unit = self.next_unit().await;
            if pause.lock().await.1 > Instant::now() {
                // While this one waited for its turn, another one was refused.
                self.book().fair.push_front(unit);
                continue;
            }
            let (inner, pause) = (self.clone(), pause.clone());
            self.spawn(async move {
                let ended = inner.submit_unit(&unit).await;
                let mut pause = pause.lock().await;
                match ended {
                    None => pause.0.reset(),
                    // That says nothing of the others.
                    Some((api, error @ CallError::Denied { .. })) => {
                        drop(pause);
                        inner.again_alone(unit, api, &error);
                    }
                    Some((api, error)) => {
                        let wait = pause.0.wait(&error);
                        pause.1 = pause.1.max(Instant::now() + wait);
                        let until = after(inner.aws.now(), wait);
                        inner.again(unit, api, &error, until);
                    }
                }
                drop(permit);
            });
        }
    }

    async fn something_waits(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.book().fair.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Chosen as late as can be, so that who comes late does not wait for who came early.
    async fn next_unit(&self) -> Unit {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = self.book().fair.pop(Instant::now());
            match next {
                Next::Unit(unit) => return unit,
                Next::At(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                Next::Nothing => changed.await,
            }
        }
    }

    /// It is tried again later, and whoever waits behind it is told why, too.
    fn again(self: &Arc<Self>, unit: Unit, api: Api, error: &CallError, until: Timestamp) {
        let reason = waits(api, error, until);
        let waiting = {
            let mut book = self.book();
            for attempt in &unit.members {
                if let Some(entry) = book.entries.get_mut(attempt)
                    && entry.phase == Phase::Submitting
                {
                    entry.phase = Phase::Queued;
                }
            }
            book.fair.push_front(unit);
            let waiting: Vec<_> = book.fair.attempts().cloned().collect();
            waiting
        };
        self.tell_waiting(&waiting, &reason);
        self.changed.notify_waiters();
    }

    /// It is tried again later, and nobody else waits for that.
    fn again_alone(self: &Arc<Self>, mut unit: Unit, api: Api, error: &CallError) {
        let wait = self.aws.config.timings.retry_max;
        let until = Instant::now() + wait;
        let term = {
            let mut book = self.book();
            unit.members.retain(|attempt| {
                let Some(entry) = book.entries.get_mut(attempt) else {
                    return false;
                };
                if entry.phase == Phase::Submitting {
                    entry.phase = Phase::Queued;
                }
                entry.phase == Phase::Queued
            });
            book.term
        };
        let reason = waits(api, error, after(self.aws.now(), wait));
        self.tell_waiting(&unit.members, &reason);
        let inner = self.clone();
        self.spawn(async move {
            loop {
                let changed = inner.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                {
                    let mut book = inner.book();
                    if book.term != term {
                        return;
                    }
                    let is_to_stop = |it| book.entries.get(it).is_some_and(|it| it.is_to_stop);
                    // Whoever is to stop is told that at its turn.
                    if Instant::now() >= until || unit.members.iter().any(is_to_stop) {
                        book.fair.push_front(unit);
                        break;
                    }
                }
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = changed => {}
                }
            }
            inner.changed.notify_waiters();
        });
    }

    /// `Some`: nothing was done, and it is to be tried again.
    async fn submit_unit(self: &Arc<Self>, unit: &Unit) -> Option<(Api, CallError)> {
        let (members, term) = self.begin(unit);
        let unit = Unit {
            members,
            array: unit.array.clone(),
        };
        if unit.members.is_empty() {
            return None;
        }
        let going = self.going(&unit)?;
        match Box::pin(self.try_submit(&unit, &going, term)).await {
            Ok(()) => None,
            Err(Stuck::Later(api, error)) => Some((api, error)),
            // It is asked for again, and looked for, in the term of now.
            Err(_) if self.book().term != term => None,
            Err(Stuck::Unusable(reason)) => {
                for attempt in &unit.members {
                    self.tell_end(attempt, Outcome::Failed(reason.clone()), None, None);
                }
                None
            }
            Err(Stuck::Unknown(error)) => {
                let reason = Reason::SubmissionWaits {
                    api: Api::SubmitJob.to_string(),
                    cause: SubmissionWait::UnknownOutcome,
                    until: None,
                    message: error.to_string(),
                };
                self.tell_waiting(&unit.members, &reason);
                self.enter(&mut self.book(), unit, true);
                None
            }
        }
    }

    /// Those members that are still wanted, and since when this daemon is in charge; the others are over.
    fn begin(&self, unit: &Unit) -> (Vec<AttemptId>, u64) {
        let (mut members, mut stopped) = (Vec::new(), Vec::new());
        let term;
        {
            let mut book = self.book();
            term = book.term;
            for attempt in &unit.members {
                let Some(entry) = book.entries.get_mut(attempt) else {
                    continue;
                };
                if entry.phase != Phase::Queued {
                    continue;
                }
                if entry.is_to_stop {
                    stopped.push(attempt.clone());
                } else {
                    entry.phase = Phase::Submitting;
                    members.push(attempt.clone());
                }
            }
        }
        for attempt in stopped {
            self.tell_end(&attempt, Outcome::Stopped, None, None);
        }
        (members, term)
    }

    async fn try_submit(
        self: &Arc<Self>,
        unit: &Unit,
        going: &Going,
        term: u64,
    ) -> Result<(), Stuck> {
        let configuration = |message: &str| {
            Stuck::Unusable(Reason::Configuration {
                message: message.to_owned(),
            })
        };
        let remote = going
            .remote()
            .ok_or_else(|| configuration("it is no task for Batch"))?;
        let queues = going.queues(self);
        let turn = remote.capacity_retries as usize % queues.len().max(1);
        let queue = queues.get(turn).ok_or_else(|| {
            configuration(match remote.spec.gpus.is_some_and(|it| it > 0) {
                true => "it asks for GPUs, and there is no queue for such jobs; set `gpu_queues` in [aws] of dalsegno.toml, or `queue` in the step",
                false => "there is no job queue; set `queues` in [aws] of dalsegno.toml, or `queue` in the step",
            })
        })?;
        let (container, wanted) = Box::pin(self.prepare(unit, going)).await?;
        let objects: Vec<Object> = container.objects.clone();
        self.bring(objects)
            .await
            .map_err(|it| Stuck::from((Api::S3Put, it)))?;
        let command = (!container.is_command_own).then_some(container.command.as_slice());
        let content = definition::content(self, &going.first, &remote.spec, command);
        let content = content.map_err(Stuck::Unusable)?;
        let mut registered = false;
        loop {
            let (name, arn) = self.definition(&content).await?;
            let request = self.request(going, remote, &container, queue, &arn);
            // Asked after all waits. Who takes over looks for jobs anew, and submits by itself.
            let submit = async {
                let is_ours = self.leads().await && self.book().term == term;
                match is_ours {
                    true => request.send().await.map(Some),
                    false => Ok(None),
                }
            };
            match Box::pin(self.aws.guard.call(Api::SubmitJob, submit)).await {
                Ok(None) => {
                    return Err(Stuck::Later(
                        Api::SubmitJob,
                        CallError::Throttled {
                            message: "another instance is in charge".into(),
                            retry_after: None,
                        },
                    ));
                }
                Ok(Some(made)) => {
                    let Some(id) = made.job_id() else {
                        return Err(Stuck::Unknown(CallError::Unreachable {
                            message: "the answer names no job".into(),
                        }));
                    };
                    info!("{} is job {id} in queue {queue}", going.mark());
                    self.submitted(unit, id, &wanted);
                    return Ok(());
                }
                Err(error @ CallError::Unreachable { .. }) => return Err(Stuck::Unknown(error)),
                Err(CallError::Invalid { message, .. })
                    if is_definition(&message) && !registered =>
                {
                    warn!("job definition {arn} is no more; it is registered again: {message}");
                    self.forget_definition(&name);
                    registered = true;
                }
                // The right to hand over that role is missing, not the daemon's own.
                Err(CallError::Denied { message }) if message.contains("PassRole") => {
                    return Err(configuration(&message));
                }
                Err(error) => return Err((Api::SubmitJob, error).into()),
            }
        }
    }

    async fn prepare(&self, unit: &Unit, going: &Going) -> Result<(Container, Vec<bool>), Stuck> {
        let Some(place) = &going.array else {
            let made = self
                .container(&going.first)
                .await
                .map_err(Stuck::Unusable)?;
            return Ok((made, vec![true]));
        };
        let mut items = vec![None; place.size as usize];
        {
            let book = self.book();
            for attempt in &unit.members {
                let entry = book.entries.get(attempt);
                let index = entry
                    .and_then(|it| it.place.as_ref())
                    .map(|it| it.index as usize);
                if let Some(slot) = index.and_then(|it| items.get_mut(it)) {
                    *slot = entry.and_then(|it| it.submission.clone());
                }
            }
        }
        // Another daemon may have begun with it: what is there is asked for in any case, for it costs one call for all.
        let made = self.array_container(place, &items, true).await;
        made.map_err(|error| match error {
            Unready::Unusable(reason) => Stuck::Unusable(reason),
            Unready::Later(api, error) => (api, error).into(),
        })
    }

    fn request(
        &self,
        going: &Going,
        remote: &RemoteTask,
        container: &Container,
        queue: &str,
        definition: &str,
    ) -> SubmitJobFluentBuilder {
        let submission = &going.first;
        let mut tags = tags::of_attempt(&self.aws.config, &submission.flow, going.attempt());
        for (name, value) in &remote.spec.tags {
            tags.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let attempts = (1 + remote.lost_retries).min(ATTEMPTS_MAX);
        let mut retry = RetryStrategy::builder().attempts(i32::try_from(attempts).unwrap_or(1));
        if attempts > 1 {
            let rule = EvaluateOnExit::builder;
            let lost = rule()
                .on_status_reason("Host EC2*")
                .action(RetryAction::Retry);
            let other = rule().on_reason("*").action(RetryAction::Exit);
            retry = retry
                .evaluate_on_exit(lost.build())
                .evaluate_on_exit(other.build());
        }
        let mut request = self
            .aws
            .batch
            .submit_job()
            .job_name(going.name(self))
            .job_queue(queue)
            .job_definition(definition)
            .propagate_tags(true)
            .set_tags(Some(tags.into_iter().collect()))
            .retry_strategy(retry.build())
            .container_overrides(overrides(submission, remote, container));
        if let Some(place) = &going.array {
            let size = i32::try_from(place.size).unwrap_or(i32::MAX);
            request = request.array_properties(ArrayProperties::builder().size(size).build());
        }
        if let Some(timeout) = remote.timeout {
            let seconds = timeout.as_micros().max(0).saturating_add(999_999) / 1_000_000;
            let seconds = seconds.saturating_add(OURS_FIRST_S).max(TIMEOUT_MIN_S);
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            let timeout = JobTimeout::builder().attempt_duration_seconds(seconds);
            request = request.timeout(timeout.build());
        }
        request
    }

    /// The unit is this job. What of it is not in the job goes on by itself; what nobody wants is ended.
    pub(crate) fn submitted(self: &Arc<Self>, unit: &Unit, id: &str, wanted: &[bool]) {
        let mut told = Vec::new();
        {
            let mut book = self.book();
            for attempt in &unit.members {
                let Some(entry) = book.entries.get_mut(attempt) else {
                    continue;
                };
                if entry.job.is_some() || entry.phase == Phase::Ended {
                    continue;
                }
                entry.is_from_before = false;
                let index = entry.place.as_ref().map_or(0, |it| it.index as usize);
                let job: Arc<str> = match &unit.array {
                    None => id.into(),
                    Some(_) if wanted.get(index) == Some(&true) => format!("{id}:{index}").into(),
                    Some(_) => {
                        // It came too late for the array.
                        let is_doubtful = entry.is_doubtful;
                        self.enter(&mut book, Unit::single(attempt.clone()), is_doubtful);
                        continue;
                    }
                };
                book.know(attempt, job.clone());
                // A new job is not looked at right away, and later still while events tell of jobs.
                let mut is_wait_over = false;
                if let Some(entry) = book.entries.get_mut(attempt) {
                    (entry.look_at, entry.look_wait) = self.next_look(Duration::ZERO);
                    is_wait_over = Book::is_wait_over(entry);
                }
                let news = News {
                    external_id: Some(job),
                    is_wait_over,
                    ..News::default()
                };
                told.push((attempt.clone(), news));
            }
        }
        let inner = self.clone();
        // One after another: many at once would only wait for each other.
        self.spawn(async move {
            for (attempt, news) in told {
                inner.reporter.report(attempt, Report::News(news)).await;
            }
        });
        if let Some(place) = &unit.array {
            let items = (0..place.size).filter(|it| wanted.get(*it as usize) == Some(&true));
            let items: Vec<_> = items.collect();
            let (inner, first, job) = (self.clone(), place.first.clone(), id.to_owned());
            // Made where it runs: it is large, and here the stack is deep.
            self.spawn(async move { Box::pin(inner.end_unwanted(first, job, items)).await });
        }
        self.changed.notify_waiters();
    }
}

fn overrides(
    submission: &Submission,
    remote: &RemoteTask,
    container: &Container,
) -> ContainerOverrides {
    let mib = submission.memory_bytes.map(|it| it.div_ceil(1 << 20));
    let mib = mib.unwrap_or(MEMORY_MIB).max(4);
    let millis = remote.spec.cpu_millis.unwrap_or(1_000);
    let mut needs = vec![
        (ResourceType::Vcpu, cpus(millis)),
        (ResourceType::Memory, mib.to_string()),
    ];
    if let Some(gpus) = remote.spec.gpus.filter(|it| *it > 0) {
        needs.push((ResourceType::Gpu, gpus.to_string()));
    }
    let needs = needs.into_iter().filter_map(|(kind, value)| {
        let need = ResourceRequirement::builder().r#type(kind).value(value);
        need.build().into()
    });
    let environment = container.environment.iter().map(|(name, value)| {
        let pair = KeyValuePair::builder().name(name).value(value);
        pair.build()
    });
    let mut overrides = ContainerOverrides::builder()
        .set_resource_requirements(Some(needs.collect()))
        .set_environment(Some(environment.collect()));
    if container.is_command_own {
        overrides = overrides.set_command(Some(container.command.clone()));
    }
    overrides.build()
}

/// `1`, `0.25`, `2.5`.
fn cpus(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The job definition is not there any more.
fn is_definition(message: &str) -> bool {
    let low = message.to_lowercase();
    (low.contains("jobdefinition") || low.contains("job definition"))
        && [
            "not active",
            "inactive",
            "deregister",
            "not found",
            "does not exist",
        ]
        .iter()
        .any(|it| low.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_written_as_batch_reads_them() {
        assert_eq!(
            [250, 500, 1_000, 2_500, 96_000].map(cpus),
            ["0.25", "0.5", "1", "2.5", "96"]
        );
    }
}
