//! Tasks as jobs of AWS Batch.
//!
//! The engine's rows are the intent. A job's name can be that of one attempt only, so whether an attempt was submitted
//! can be asked for by its name: that is done whenever it is not known, and nothing is submitted before the answer.

mod book;
mod container;
mod definition;
mod fair;
pub(crate) mod judge;
mod lookup;
mod stop;
mod submit;
mod wanted;
mod watch;

use crate::cx::Aws;
use crate::guard::{Api, CallError};
use crate::job::Job;
use crate::storage::Storage;
use book::{Book, Entry, Gathering, Phase};
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::metaflow::MetaflowJobs;
use dalsegno_scheduler::{
    AttemptId, LiveAttempt, News, Outcome, Reason, Report, Span, Submission, SubmissionWait,
    Timestamp,
};
use fair::{Fair, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many submissions are on their way at the same time, and so many requests to stop.
const SUBMISSIONS_AT_ONCE: usize = 16;
const STOPS_AT_ONCE: usize = 8;

/// For so long the daemon's lease counts without being read again. A successor looks twice before it submits, which
/// takes longer.
const LEASE_TRUST: Duration = Duration::from_millis(500);

/// Runs attempts as jobs. Dropping it leaves them alone.
pub struct Batch {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) aws: Aws,
    pub(crate) storage: Option<Storage>,
    metaflow: Option<Arc<MetaflowJobs>>,
    reporter: Reporter,
    book: Mutex<Book>,
    /// Something in the book changed that somebody waits for.
    changed: Notify,
    stop: CancellationToken,
    /// ARNs by name; each is held while it is being found out.
    definitions: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<String>>>>>,
    /// Packages of code that are in S3.
    brought: Mutex<BTreeSet<String>>,
    leads: tokio::sync::Mutex<Option<(Instant, bool)>>,
    /// When an event told of a job of ours.
    heard: Mutex<Option<Instant>>,
    stops: Semaphore,
}

impl Batch {
    /// Must be called within a runtime. Works until it is dropped or `stop` is cancelled.
    pub fn start(
        aws: Aws,
        reporter: Reporter,
        metaflow: Option<Arc<MetaflowJobs>>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let book = Book {
            fair: Fair::new(aws.config.submissions_per_minute),
            ..Book::default()
        };
        let inner = Arc::new(Inner {
            storage: Storage::new(&aws.config),
            aws,
            metaflow,
            reporter,
            book: Mutex::new(book),
            changed: Notify::new(),
            stop: stop.child_token(),
            definitions: Mutex::default(),
            brought: Mutex::default(),
            leads: Default::default(),
            heard: Mutex::default(),
            stops: Semaphore::new(STOPS_AT_ONCE),
        });
        inner.spawn(inner.clone().dispatch());
        inner.spawn(inner.clone().watch());
        Arc::new(Self { inner })
    }

    /// What an event says of a job. Foreign jobs and what is known already change nothing.
    pub fn hear(&self, job: &Job) {
        self.inner.hear_event(job);
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Executor for Batch {
    fn reconcile(&self, live: BTreeSet<AttemptId>) {
        let live = live.into_iter().map(|attempt| LiveAttempt {
            attempt,
            executor: dalsegno_scheduler::ExecutorKind::Batch,
            external_id: None,
            array: None,
            stopping: false,
        });
        self.take_over(live.collect());
    }

    fn take_over(&self, live: Vec<LiveAttempt>) {
        self.inner.book().take_over(live);
    }

    fn submit(&self, submissions: Vec<Submission>) {
        for it in submissions {
            self.inner.want(it, false);
        }
        self.inner.changed.notify_waiters();
    }

    fn watch(&self, submission: Submission) {
        self.inner.want(submission, true);
        self.inner.changed.notify_waiters();
    }

    fn stop(&self, attempt: AttemptId, _grace: Span) {
        self.inner.want_stopped(attempt);
    }

    fn forget(&self, attempts: Vec<AttemptId>) {
        self.inner.book().forget(&attempts);
    }
}

impl Inner {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until it is done or the executor is gone.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// An attempt is to run; `has_run`: it did when it was last looked at.
    fn want(self: &Arc<Self>, submission: Submission, has_run: bool) {
        let attempt = submission.attempt.clone();
        let remote = submission.remote.as_deref();
        let mut book = self.book();
        let before = book.before.remove(&attempt);
        if let Some(entry) = book.entries.get_mut(&attempt) {
            entry.submission = Some(Arc::new(submission));
            entry.look_at = Instant::now();
            let known = entry.job.clone();
            let end = entry.end.clone();
            drop(book);
            // It is asked for again, so what was answered may be lost.
            if let Some(job) = known {
                self.tell_id(&attempt, job);
            }
            if let Some(end) = end {
                self.tell(attempt, end);
            }
            return;
        }
        let named = remote.and_then(|it| it.external_id.clone());
        let named = named.or_else(|| before.as_ref().and_then(|it| it.external_id.clone()));
        let mut entry = Entry::new(Phase::Queued);
        entry.place = remote.and_then(|it| it.array.clone());
        entry.submission = Some(Arc::new(submission));
        entry.has_run = has_run;
        entry.is_doubtful = before.is_some() || has_run;
        entry.is_from_before = entry.is_doubtful;
        if let Some(job) = named {
            self.look_over_array(&mut book, entry.place.as_ref(), &job);
            book.entries.insert(attempt.clone(), entry);
            book.know(&attempt, job);
            return;
        }
        let place = entry.place.clone().filter(|_| self.storage.is_some());
        let is_doubtful = entry.is_doubtful;
        book.entries.insert(attempt.clone(), entry);
        match place {
            Some(place) => self.gather(&mut book, attempt, place),
            None => self.enter(&mut book, Unit::single(attempt), is_doubtful),
        }
    }

    /// Waits for the other members of an array, which come with it unless they are not wanted any more.
    fn gather(
        self: &Arc<Self>,
        book: &mut Book,
        attempt: AttemptId,
        place: dalsegno_scheduler::ArrayPlace,
    ) {
        let first = place.first.clone();
        let size = place.size as usize;
        let gathering = book.gathering.entry(first.clone()).or_insert_with(|| {
            let (inner, first) = (self.clone(), first.clone());
            self.spawn(async move { inner.gathered(first).await });
            Gathering {
                unit: Unit {
                    members: Vec::new(),
                    array: Some(place),
                },
                last: Instant::now(),
            }
        });
        gathering.unit.members.push(attempt);
        gathering.last = Instant::now();
        if gathering.unit.members.len() >= size {
            self.end_gathering(book, &first);
        }
    }

    async fn gathered(self: Arc<Self>, first: AttemptId) {
        loop {
            let wait = self.aws.config.timings.gather;
            let until = match self.book().gathering.get(&first) {
                Some(it) => it.last + wait,
                None => return,
            };
            if Instant::now() >= until {
                self.end_gathering(&mut self.book(), &first);
                self.changed.notify_waiters();
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn end_gathering(self: &Arc<Self>, book: &mut Book, first: &AttemptId) {
        if let Some(it) = book.gathering.remove(first) {
            let is_doubtful = it.unit.members.iter().any(|it| {
                let entry = book.entries.get(it);
                entry.is_some_and(|it| it.is_doubtful)
            });
            self.enter(book, it.unit, is_doubtful);
        }
    }

    /// On the way: to be submitted, or first to be looked for.
    fn enter(self: &Arc<Self>, book: &mut Book, unit: Unit, is_doubtful: bool) {
        let phase = match is_doubtful {
            true => Phase::Looking,
            false => Phase::Queued,
        };
        for attempt in &unit.members {
            if let Some(entry) = book.entries.get_mut(attempt) {
                entry.phase = phase;
                entry.is_doubtful = is_doubtful;
            }
        }
        if is_doubtful {
            self.spawn(self.clone().look_for(unit, book.term));
        } else {
            book.fair.push(unit);
        }
    }

    /// Hands in a report; nobody waits for that.
    pub(crate) fn tell(&self, attempt: AttemptId, report: Report) {
        let reporter = self.reporter.clone();
        tokio::spawn(async move { reporter.report(attempt, report).await });
    }

    fn tell_id(&self, attempt: &AttemptId, job: Arc<str>) {
        let news = News {
            external_id: Some(job),
            ..News::default()
        };
        self.tell(attempt.clone(), Report::News(news));
    }

    /// The attempt has ended, and that is told once.
    pub(crate) fn tell_end(
        &self,
        attempt: &AttemptId,
        outcome: Outcome,
        started_at: Option<Timestamp>,
        at: Option<Timestamp>,
    ) {
        let report = Report::Ended {
            outcome,
            started_at,
            at: at.unwrap_or_else(|| self.aws.now()),
        };
        {
            let mut book = self.book();
            let Some(entry) = book.entries.get_mut(attempt) else {
                return;
            };
            if entry.phase == Phase::Ended {
                return;
            }
            entry.phase = Phase::Ended;
            entry.end = Some(report.clone());
        }
        self.tell(attempt.clone(), report);
        self.changed.notify_waiters();
    }

    /// Why these wait. What was said before is not said again.
    pub(crate) fn tell_waiting(&self, attempts: &[AttemptId], reason: &Reason) {
        for attempt in attempts {
            {
                let mut book = self.book();
                let Some(entry) = book.entries.get_mut(attempt) else {
                    continue;
                };
                if entry.phase == Phase::Ended
                    || entry.said.as_ref().is_some_and(|it| is_same(it, reason))
                {
                    continue;
                }
                entry.said = Some(reason.clone());
            }
            let news = News {
                waiting: Some(reason.clone()),
                ..News::default()
            };
            self.tell(attempt.clone(), Report::News(news));
        }
    }

    /// Whether this daemon is in charge. Without a name of its own it is alone.
    pub(crate) async fn leads(&self) -> bool {
        if self.aws.config.instance.is_empty() {
            return true;
        }
        let mut known = self.leads.lock().await;
        if let Some((at, leads)) = *known
            && at.elapsed() < LEASE_TRUST
        {
            return leads;
        }
        let asked = Instant::now();
        let leads = self.aws.leads().await;
        *known = Some((asked, leads));
        leads
    }

    pub(crate) fn retry(&self) -> Backoff {
        Backoff::new(
            self.aws.config.timings.retry_first,
            self.aws.config.timings.retry_max,
        )
    }
}

/// The same but for the moment of the next try.
fn is_same(one: &Reason, other: &Reason) -> bool {
    match (one, other) {
        (
            Reason::SubmissionWaits {
                api,
                cause,
                message,
                ..
            },
            Reason::SubmissionWaits {
                api: api_2,
                cause: cause_2,
                message: message_2,
                ..
            },
        ) => (api, cause, message) == (api_2, cause_2, message_2),
        (one, other) => one == other,
    }
}

/// Why a submission waits after this answer.
pub(crate) fn waits(api: Api, error: &CallError, until: Timestamp) -> Reason {
    let (cause, message) = match error {
        CallError::BreakerOpen { .. } => (SubmissionWait::BreakerOpen, String::new()),
        CallError::Throttled { message, .. } => (SubmissionWait::Throttled, message.clone()),
        CallError::Unreachable { message } => (SubmissionWait::Unreachable, message.clone()),
        CallError::Denied { message } => (SubmissionWait::Denied, message.clone()),
        CallError::Invalid { code, message } => {
            (SubmissionWait::Unreachable, format!("{code}: {message}"))
        }
    };
    Reason::SubmissionWaits {
        api: api.to_string(),
        cause,
        until: Some(until),
        message,
    }
}

/// How long to wait after each failure: twice as long each time, a tenth more or less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            next: first,
            most,
        }
    }

    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait, no shorter than what the service asked for.
    pub(crate) fn wait(&mut self, error: &CallError) -> Duration {
        let asked = match error {
            CallError::BreakerOpen { retry_in } => *retry_in,
            CallError::Throttled {
                retry_after: Some(it),
                ..
            } => *it,
            _ => Duration::ZERO,
        };
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        let percent =
            90 + u32::try_from(dalsegno_engine::clock::now().0.rem_euclid(21)).unwrap_or(0);
        (wait * percent / 100).max(asked)
    }
}

pub(crate) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_add(micros))
}
