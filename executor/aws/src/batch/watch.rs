//! How jobs stand: what events say, and what is asked for where none come.

use super::book::{Book, Phase, parent};
use super::fair::Unit;
use super::judge::{self, Asked, End};
use super::lookup::DESCRIBED_MAX;
use super::stop::{GIVEN_UP, STOPPED, why_given_up};
use super::{Inner, waits};
use crate::guard::{Api, CallError};
use crate::job::{Job, JobState};
use crate::{metaflow, names, tags};
use dalsegno_executor::parse_output;
use dalsegno_scheduler::{
    AttemptId, News, Outcome, Reason, Report, Submission, Success, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// So long after the last event about a job of ours they are taken to flow.
const EVENTS_FLOW: Duration = Duration::from_secs(300);

/// So long what has changed is left alone, before all that is known is looked over: that is dear when it is much.
const TOGETHER: Duration = Duration::from_millis(50);

/// Of how many children of an array their parent is asked first.
const FAMILY: usize = 4;

/// A job is gone when AWS does not know it at so many looks.
const LOOKS_UNTIL_GONE: u32 = 2;

/// What is asked for in one round.
#[derive(Default)]
struct Round {
    single: Vec<String>,
    /// Children by the id of their parent.
    families: BTreeMap<String, Vec<String>>,
}

impl Inner {
    /// Asks for the state of jobs that have not been heard of for a while.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut retry = self.retry();
        let mut failing: Option<Instant> = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (round, next) = self.due();
            if round.single.is_empty() && round.families.is_empty() {
                let until = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    // Much changes at the same time: it is looked over once.
                    () = changed => tokio::time::sleep(TOGETHER).await,
                }
                continue;
            }
            match Box::pin(self.look_at(round)).await {
                Ok(()) => {
                    retry.reset();
                    failing = None;
                }
                Err((api, error)) => {
                    let wait = retry.wait(&error);
                    let until = super::after(self.aws.now(), wait);
                    warn!("how jobs stand is not known: {api}: {error}");
                    // Of what runs it is told when it is no matter of moments.
                    let since = *failing.get_or_insert_with(Instant::now);
                    let is_long = since.elapsed() >= self.aws.config.timings.waiting_after;
                    let waiting: Vec<_> = {
                        let book = self.book();
                        let known = book.entries.iter();
                        known
                            .filter(|(_, it)| it.phase == Phase::Known)
                            .filter(|(_, it)| is_long || !it.is_started)
                            .map(|(attempt, _)| attempt.clone())
                            .collect()
                    };
                    self.tell_waiting(&waiting, &waits(api, &error, until));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Whose turn it is, and when the next one's turn is. Where a request has room, those go along that would be next.
    fn due(&self) -> (Round, Option<Instant>) {
        let now = Instant::now();
        let book = self.book();
        let known = book.entries.values();
        let mut known: Vec<_> = known
            .filter(|it| it.phase == Phase::Known && !it.is_concluding)
            .filter_map(|it| it.job.clone().map(|job| (it.look_at, job, it.look_wait)))
            .collect();
        let mut round = Round::default();
        let next = known.iter().map(|(at, _, _)| *at).min();
        if next.is_none_or(|it| it > now) {
            return (round, next);
        }
        known.sort();
        let due = known.partition_point(|(at, _, _)| *at <= now);
        let full = due.div_ceil(DESCRIBED_MAX) * DESCRIBED_MAX;
        for (place, (at, job, wait)) in known.into_iter().enumerate().take(full) {
            // Not long before its turn, else nothing would be gained.
            if place >= due && at > now + wait / 2 {
                break;
            }
            match parent(&job) {
                it if it.len() == job.len() => round.single.push(job.to_string()),
                it => round
                    .families
                    .entry(it.to_owned())
                    .or_default()
                    .push(job.to_string()),
            }
        }
        (round, None)
    }

    async fn look_at(self: &Arc<Self>, round: Round) -> Result<(), (Api, CallError)> {
        let Round {
            single: mut ids,
            mut families,
        } = round;
        families.retain(|_, children| {
            let is_large = children.len() >= FAMILY;
            if !is_large {
                ids.append(children);
            }
            is_large
        });
        ids.extend(families.keys().cloned());
        let known = self.describe(&ids).await?;
        let mut children = Vec::new();
        let mut found: BTreeSet<String> = known.jobs.iter().map(|it| it.id.clone()).collect();
        let mut unclear = known.unclear;
        let mut summaries: BTreeMap<String, Arc<BTreeMap<String, i32>>> = BTreeMap::new();
        // Whether they are still at work, as far as it is known.
        let mut parents: BTreeMap<String, bool> = BTreeMap::new();
        for job in known.jobs {
            let Some(family) = families.remove(&job.id) else {
                self.hear(&job);
                continue;
            };
            parents.insert(job.id.clone(), !job.state.is_end());
            // Children only move forward, so none has moved since it was described at the same summary.
            let (same, moved) = match job.state.is_end() {
                true => (Vec::new(), family),
                false => self.split(family, &job.summary),
            };
            found.extend(same.iter().cloned());
            self.looked_at(&same);
            summaries.insert(job.id, Arc::new(job.summary));
            children.extend(moved.iter().cloned());
            ids.extend(moved);
        }
        // The parent is gone, and with it all of them.
        for family in families.into_values() {
            children.extend(family.iter().cloned());
            ids.extend(family);
        }
        let known = self.describe(&children).await?;
        for job in known.jobs {
            found.insert(job.id.clone());
            self.hear(&job);
            if let Some(summary) = summaries.get(parent(&job.id)) {
                self.described_at(&job.id, summary.clone());
            }
        }
        unclear.extend(known.unclear);
        self.looked_at(&unclear);
        found.extend(unclear);
        let missing: Vec<_> = ids.iter().filter(|it| !found.contains(*it)).collect();
        // Children come after their array: while that is at work they are not missing.
        let unknown: BTreeSet<_> = missing
            .iter()
            .filter(|it| it.contains(':') && !parents.contains_key(parent(it)))
            .map(|it| parent(it).to_owned())
            .collect();
        let known = self
            .describe(&unknown.into_iter().collect::<Vec<_>>())
            .await?;
        let at_work = known.jobs.into_iter().map(|it| (it.id, !it.state.is_end()));
        parents.extend(at_work.chain(known.unclear.into_iter().map(|it| (it, true))));
        let (later, gone) = missing.into_iter().cloned().partition::<Vec<_>, _>(|it| {
            it.contains(':') && parents.get(parent(it)) == Some(&true)
        });
        self.looked_at(&later);
        self.missing(gone.iter());
        Ok(())
    }

    /// Children that were described when their array was as it is now, and the others.
    fn split(
        &self,
        family: Vec<String>,
        summary: &BTreeMap<String, i32>,
    ) -> (Vec<String>, Vec<String>) {
        let book = self.book();
        family.into_iter().partition(|child| {
            let attempt = book.jobs.get(child.as_str());
            let entry = attempt.and_then(|it| book.entries.get(it));
            entry.is_some_and(|it| it.summary.as_deref() == Some(summary))
        })
    }

    fn described_at(&self, child: &str, summary: Arc<BTreeMap<String, i32>>) {
        let mut book = self.book();
        let attempt = book.jobs.get(child).cloned();
        if let Some(entry) = attempt.and_then(|it| book.entries.get_mut(&it)) {
            entry.summary = Some(summary);
        }
    }

    /// Nothing is new of these.
    fn looked_at(&self, jobs: &[String]) {
        let mut book = self.book();
        for job in jobs {
            let attempt = book.jobs.get(job.as_str()).cloned();
            let Some((attempt, entry)) =
                attempt.and_then(|it| book.entries.get_mut(&it).map(|entry| (it, entry)))
            else {
                continue;
            };
            (entry.look_at, entry.look_wait) = self.next_look(entry.look_wait);
            if Book::is_wait_over(entry) {
                let news = News {
                    is_wait_over: true,
                    ..News::default()
                };
                self.tell(attempt, Report::News(news));
            }
        }
    }

    /// AWS does not know these.
    fn missing<'a>(self: &Arc<Self>, jobs: impl Iterator<Item = &'a String>) {
        let mut gone = Vec::new();
        {
            let mut guard = self.book();
            let book = &mut *guard;
            let term = book.term;
            for job in jobs {
                let Some(attempt) = book.jobs.get(job.as_str()).cloned() else {
                    continue;
                };
                let Some(entry) = book.entries.get_mut(&attempt) else {
                    continue;
                };
                entry.missing += 1;
                entry.look_at = Instant::now() + self.aws.config.timings.look_again;
                if entry.missing < LOOKS_UNTIL_GONE || entry.phase != Phase::Known {
                    continue;
                }
                if entry.submission.is_none() || entry.is_sought {
                    gone.push((attempt, entry.is_to_stop));
                    continue;
                }
                // By its name it may be found once more.
                entry.is_sought = true;
                entry.missing = 0;
                entry.has_run = true;
                entry.is_doubtful = true;
                entry.is_from_before = true;
                entry.phase = Phase::Looking;
                entry.job = None;
                book.jobs.remove(job.as_str());
                let unit = Unit {
                    members: vec![attempt],
                    array: entry.place.clone().filter(|_| job.contains(':')),
                };
                let inner = self.clone();
                self.spawn(async move { Box::pin(inner.look_for(unit, term)).await });
            }
        }
        for (attempt, is_to_stop) in gone {
            let outcome = match is_to_stop {
                true => Outcome::Stopped,
                false => Outcome::Lost("Batch does not know its job any more".into()),
            };
            self.tell_end(&attempt, outcome, None, None);
        }
    }

    /// Longer each time, up to a limit; when events tell of jobs, at the limit at once.
    pub(super) fn next_look(&self, wait: Duration) -> (Instant, Duration) {
        let timings = &self.aws.config.timings;
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_flowing = heard.is_some_and(|it| it.elapsed() < EVENTS_FLOW);
        let wait = match (is_flowing, wait) {
            (true, _) => timings.poll_max,
            (false, Duration::ZERO) => timings.poll_first,
            // A job that has run for an hour does not end in the next seconds.
            (false, wait) => (wait * 5 / 4).min(timings.poll_max),
        };
        (Instant::now() + wait, wait)
    }

    pub(crate) fn hear_event(self: &Arc<Self>, job: &Job) {
        let is_ours = job.tag(tags::INSTALLATION) == self.aws.config.installation
            || job
                .name
                .starts_with(&names::prefix(&self.aws.config.installation));
        if !is_ours {
            return;
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.hear(job);
    }

    /// What is said of a job, by whomever. It may be late, or said before.
    fn hear(self: &Arc<Self>, job: &Job) {
        let mut news = News::default();
        let mut started = None;
        let attempt = {
            let mut guard = self.book();
            let book = &mut *guard;
            let Some(attempt) = book.jobs.get(job.id.as_str()).cloned() else {
                return debug!("job {} is none that is waited for", job.id);
            };
            let Some(entry) = book.entries.get_mut(&attempt) else {
                return;
            };
            entry.missing = 0;
            entry.is_sought = false;
            (entry.look_at, entry.look_wait) = self.next_look(entry.look_wait);
            if entry.is_to_stop || entry.giving_up.is_some() {
                let soon = self.aws.config.timings.retry_first;
                entry.look_at = entry.look_at.min(Instant::now() + soon);
            }
            if entry.phase != Phase::Known || entry.is_concluding {
                return;
            }
            if let Some(log) = &job.log
                && entry.log.as_deref() != Some(log)
            {
                entry.log = Some(log.as_str().into());
                news.log = entry.log.clone();
            }
            let is_late = entry.state.is_some_and(|it| job.state < it);
            if !is_late {
                entry.state = Some(job.state);
            }
            news.is_wait_over = Book::is_wait_over(entry);
            if job.state.is_end() {
                entry.is_concluding = true;
                self.spawn(self.clone().conclude(attempt.clone(), job.clone()));
            } else if entry.is_started && job.tries > entry.tries {
                // Its host went away, and it begins anew: so does its time.
                started = job.runs_since();
            } else if job.state == JobState::Running && !entry.is_started {
                entry.giving_up = None;
                entry.is_started = true;
                // What was said of it before this daemon is over, too.
                news.is_wait_over |= entry.has_run;
                // When one began that ran before is known already.
                let now = (!entry.has_run).then(|| self.aws.now());
                started = job.runs_since().or(now);
            } else if !entry.is_started && !is_late {
                let since = job.created_at.unwrap_or_else(|| self.aws.now());
                let reason = Reason::JobWaits {
                    queue: job.queue.clone(),
                    state: job.state.as_str().to_owned(),
                    since,
                    message: job.status_reason.clone(),
                };
                let waited = since_then(since, self.aws.now());
                let is_long = waited >= self.aws.config.timings.waiting_after;
                if (is_long || !job.status_reason.is_empty())
                    && entry.said.as_ref() != Some(&reason)
                {
                    entry.said = Some(reason.clone());
                    news.waiting = Some(reason);
                }
                if job.state == JobState::Runnable && entry.giving_up.is_none() {
                    let why = entry
                        .submission
                        .as_ref()
                        .and_then(|it| self.is_to_give_up(it, job, waited));
                    if let (Some(why), Some(id)) = (why, entry.job.clone()) {
                        info!("{attempt} waits too long: {why}");
                        entry.giving_up = Some(why);
                        self.spawn(self.clone().give_up(attempt.clone(), id));
                    }
                }
            }
            entry.tries = entry.tries.max(job.tries);
            attempt
        };
        let started = started.map(|at| Report::Started {
            external_id: job.id.as_str().into(),
            at,
        });
        let reporter = self.reporter.clone();
        let has_news = news != News::default();
        if has_news || started.is_some() {
            // In this order.
            tokio::spawn(async move {
                if has_news {
                    reporter.report(attempt.clone(), Report::News(news)).await;
                }
                if let Some(started) = started {
                    reporter.report(attempt, started).await;
                }
            });
        }
    }

    /// Why a job is not left in its queue any longer.
    fn is_to_give_up(
        &self,
        submission: &Submission,
        job: &Job,
        waited: Duration,
    ) -> Option<Reason> {
        let limit = self.aws.config.queue_wait?;
        if waited < limit {
            return None;
        }
        let config = &self.aws.config;
        let spec = &submission.remote.as_ref()?.spec;
        let queues = match (&spec.queue, spec.gpus.is_some_and(|it| it > 0)) {
            (Some(_), _) => 1,
            (None, true) => config.gpu_queues.len(),
            (None, false) => config.queues.len(),
        };
        let said = match job.status_reason.as_str() {
            "" => String::new(),
            said => format!(": {said}"),
        };
        let message = format!(
            "it waited in queue {} for more than {} s{said}",
            job.queue,
            limit.as_secs()
        );
        if job.status_reason.contains("MISCONFIGURATION:") {
            Some(Reason::Configuration { message })
        } else if queues > 1 {
            Some(Reason::Capacity { message })
        } else {
            None
        }
    }

    /// What the end of a job means; told when it is known.
    async fn conclude(self: Arc<Self>, attempt: AttemptId, job: Job) {
        let (submission, is_to_stop, giving_up) = {
            let book = self.book();
            let Some(entry) = book.entries.get(&attempt) else {
                return;
            };
            (
                entry.submission.clone(),
                entry.is_to_stop,
                entry.giving_up.clone(),
            )
        };
        let ended_by_us = job.is_terminated
            || job.status_reason.contains(STOPPED)
            || job.status_reason.contains(GIVEN_UP);
        let giving_up = giving_up.or_else(|| why_given_up(&job.status_reason));
        let outcome = match giving_up {
            _ if job.state == JobState::Succeeded => {
                self.outcome(submission.as_deref(), &job).await
            }
            Some(reason) if ended_by_us && !is_to_stop => Outcome::Failed(reason),
            _ if ended_by_us && is_to_stop => Outcome::Stopped,
            _ if ended_by_us => Outcome::Failed(Reason::Job {
                message: format!("the job was ended at AWS: {}", job.status_reason),
                exit: job.exit,
            }),
            _ => self.outcome(submission.as_deref(), &job).await,
        };
        self.tell_end(&attempt, outcome, job.started_at, job.stopped_at);
    }

    async fn outcome(&self, submission: Option<&Submission>, job: &Job) -> Outcome {
        let asked = Asked {
            memory_bytes: submission.and_then(|it| it.memory_bytes),
            timeout: submission
                .and_then(|it| it.remote.as_ref())
                .and_then(|it| it.timeout),
        };
        let status = match judge::judge(job, asked) {
            End::Other(outcome) => return outcome,
            End::Exit(status) => status,
        };
        // Of one that is only to be stopped it is not known what it should leave.
        let Some(submission) = submission else {
            return match status {
                0 => Outcome::Stopped,
                status => Outcome::Failed(judge::exit(status, false)),
            };
        };
        if submission.metaflow.is_some() {
            let answer = match self.left(submission, "answer").await {
                Ok(answer) => answer,
                Err(outcome) => return outcome,
            };
            self.keep_metadata(submission, answer.as_deref()).await;
            return metaflow::outcome(status, answer.as_deref());
        }
        if status != 0 {
            let is_wrapped = !submission.outputs.is_empty()
                || submission.event.is_some()
                || job.id.contains(':');
            return Outcome::Failed(judge::exit(status, is_wrapped));
        }
        if submission.outputs.is_empty() {
            return Outcome::Succeeded(Success::default());
        }
        let left = match self.left(submission, "output").await {
            Ok(left) => left,
            Err(outcome) => return outcome,
        };
        match parse_output(&left.unwrap_or_default(), &submission.outputs) {
            Ok(outputs) => Outcome::Succeeded(Success {
                outputs,
                ..Success::default()
            }),
            Err(message) => Outcome::Failed(Reason::BadOutput { message }),
        }
    }

    /// Metaflow's client on this machine finds the task, whatever became of it.
    async fn keep_metadata(&self, submission: &Submission, answer: Option<&[u8]>) {
        let (Some(jobs), Some(answer)) = (self.metaflow.clone(), answer.map(<[u8]>::to_vec)) else {
            return;
        };
        let task = submission.clone();
        let kept = tokio::task::spawn_blocking(move || jobs.keep_metadata(&task, &answer)).await;
        if let Ok(Err(error)) = kept {
            warn!(
                "Metaflow's client will not find {}: its metadata cannot be written: {error}",
                submission.attempt
            );
        }
    }

    /// What an attempt left in S3. Waits for S3 as long as needed.
    ///
    /// # Errors
    /// How it ends because that cannot be read.
    async fn left(&self, submission: &Submission, what: &str) -> Result<Option<Vec<u8>>, Outcome> {
        let (Some(storage), Some(remote)) = (&self.storage, &submission.remote) else {
            return Ok(None);
        };
        let created = remote.run_created_at;
        let key = storage.of_attempt(&submission.attempt, created, what);
        let mut retry = self.retry();
        loop {
            match storage.get(&self.aws, &key).await {
                Ok(found) => return Ok(found),
                Err(error @ CallError::Invalid { .. }) => {
                    let place = storage.uri(&key);
                    let message = format!("what it left in {place} cannot be read: {error}");
                    return Err(Outcome::Failed(Reason::Configuration { message }));
                }
                Err(error) => {
                    let is_to_stop = {
                        let book = self.book();
                        let entry = book.entries.get(&submission.attempt);
                        entry.is_none_or(|it| it.is_to_stop)
                    };
                    if is_to_stop {
                        return Err(Outcome::Stopped);
                    }
                    let wait = retry.wait(&error);
                    warn!(
                        "the {what} of {} cannot be read yet: {error}",
                        submission.attempt
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

fn since_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(then.0)).unwrap_or(0))
}
