//! Runs as executions: attempts are asked for by the core as always, and what is told of them is what their execution
//! and its jobs show. The first attempt of a run's generation starts the execution; what is learned before it is asked
//! for is kept until then.

mod begin;
mod look;
mod metadata;
mod tell;

use super::compiled::Compiled;
use super::machine::{NotYet, later};
use super::resume::ResumePlan;
use super::start::{Prepared, prepare};
use crate::cx::Aws;
use crate::guard::{Api, CallError, Place};
use crate::storage::Storage;
use begin::known_arn;
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::metaflow::Machines;
use dalsegno_scheduler::{
    AttemptId, Execution, LiveAttempt, News, Outcome, Reason, Report, RunId, Span, Submission,
    SubmissionWait, Timestamp,
};
use look::View;
pub(super) use look::{read_history, time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tell::Told;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An execution that is over and of which nobody asks is forgotten after so long. It can be read again.
const IDLE: Duration = Duration::from_secs(600);

/// Runs whole runs at Step Functions. Dropping it leaves them alone.
pub struct StepFunctions {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) aws: Aws,
    /// Who has Metaflow flows deployed.
    pub(super) machines: Option<Arc<Machines>>,
    storage: Option<Storage>,
    reporter: Reporter,
    book: Mutex<Book>,
    stop: CancellationToken,
}

/// A run and its generation.
type Key = (RunId, u32);

#[derive(Default)]
struct Book {
    mirrors: BTreeMap<Key, Shared>,
    of: BTreeMap<AttemptId, Key>,
    /// As they were when we took over.
    live: BTreeMap<AttemptId, LiveAttempt>,
}

/// What is asked of one execution.
#[derive(Default)]
struct Shared {
    wanted: BTreeMap<AttemptId, Wanted>,
    wake: Arc<Notify>,
}

#[derive(Clone)]
struct Wanted {
    submission: Submission,
    is_stopping: bool,
    /// How often it was asked for: each time it is told anew how it stands.
    asked: u64,
}

impl StepFunctions {
    /// Must be called within a runtime. Works until it is dropped or `stop` is cancelled.
    pub fn start(aws: Aws, reporter: Reporter, stop: &CancellationToken) -> Arc<Self> {
        Self::with(aws, reporter, None, stop)
    }

    /// The same, also for Metaflow flows.
    pub fn with(
        aws: Aws,
        reporter: Reporter,
        machines: Option<Arc<Machines>>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let inner = Inner {
            machines,
            storage: Storage::new(&aws.config),
            aws,
            reporter,
            book: Mutex::default(),
            stop: stop.child_token(),
        };
        Arc::new(Self {
            inner: Arc::new(inner),
        })
    }

    /// Something happened at an execution or at a job of this name: it is looked at now and not later. Too often is
    /// harmless.
    pub fn heard(&self, name: &str) {
        let book = self.inner.book();
        let rest = name.strip_prefix(&crate::names::prefix(&self.inner.aws.config.installation));
        let run = rest
            .and_then(|it| it.split('-').next())
            .and_then(|it| it.parse().ok());
        let Some(run) = run else {
            return;
        };
        for (_, shared) in book.mirrors.range((RunId(run), 0)..=(RunId(run), u32::MAX)) {
            shared.wake.notify_one();
        }
    }

    /// How a generation after the first would go on, for showing it before it is done; `execution` is that of the
    /// generation to come.
    ///
    /// # Errors
    /// Why that is not known now.
    pub async fn resume_plan(
        &self,
        execution: &Execution,
        run: RunId,
        created: Timestamp,
    ) -> Result<ResumePlan, String> {
        let aws = &self.inner.aws;
        let name =
            crate::names::execution(&aws.config.installation, run, created, execution.generation);
        let plan = match execution.flow.spec().metaflow {
            Some(_) => Compiled::plan(&self.inner, execution, run, created)
                .await
                .map(|it| it.0),
            None => look::plan(aws, run, created, execution, &name)
                .await
                .map(|it| it.0),
        };
        match plan {
            Ok(plan) => Ok(plan),
            Err(NotYet::Never(message)) => Err(message),
            Err(NotYet::Later(api, error)) => Err(format!("{api}: {error}")),
        }
    }

    /// Hears what EventBridge tells: details of "Step Functions Execution Status Change".
    pub fn listen(self: &Arc<Self>, mut changes: tokio::sync::mpsc::Receiver<serde_json::Value>) {
        let (it, stop) = (Arc::downgrade(self), self.inner.stop.clone());
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = stop.cancelled() => None,
                };
                let (Some(change), Some(it)) = (change, it.upgrade()) else {
                    return;
                };
                it.heard(change["name"].as_str().unwrap_or_default());
            }
        });
    }

    fn want(&self, submission: Submission) {
        let Some(remote) = &submission.remote else {
            return;
        };
        let Some(execution) = remote.execution.clone() else {
            return;
        };
        let created = remote.run_created_at;
        let compiled = Compiled::of(&submission);
        let key = (submission.attempt.run, execution.generation);
        let mut book = self.inner.book();
        book.of.insert(submission.attempt.clone(), key);
        let is_stopping = book
            .live
            .get(&submission.attempt)
            .is_some_and(|it| it.stopping);
        let is_new = !book.mirrors.contains_key(&key);
        let shared = book.mirrors.entry(key).or_default();
        let wanted = shared.wanted.entry(submission.attempt.clone());
        let wanted = wanted.or_insert_with(|| Wanted {
            submission: submission.clone(),
            is_stopping,
            asked: 0,
        });
        wanted.asked += 1;
        let attempt = submission.attempt.clone();
        wanted.submission = submission;
        shared.wake.notify_one();
        if is_new {
            let wake = shared.wake.clone();
            let is_doubtful = book.live.contains_key(&attempt);
            drop(book);
            // Now, and not when all else is ready: whoever asks first is to start first.
            let place = self.inner.aws.guard.place(Api::StartExecution);
            let mirror = Mirror {
                inner: self.inner.clone(),
                key,
                execution,
                compiled,
                created,
                wake,
                arn: None,
                prepared: None,
                ensured: None,
                since: 0,
                view: View::default(),
                told: BTreeMap::new(),
                kept: metadata::Kept::default(),
                has_stopped: false,
                place: Some(place),
                doubt: is_doubtful.then(Instant::now),
            };
            tokio::spawn(mirror.run());
        }
    }
}

impl Drop for StepFunctions {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Executor for StepFunctions {
    fn reconcile(&self, live: BTreeSet<AttemptId>) {
        let mut book = self.inner.book();
        book.live.retain(|attempt, _| live.contains(attempt));
        book.keep(&live);
    }

    fn take_over(&self, live: Vec<LiveAttempt>) {
        let mut book = self.inner.book();
        book.keep(&live.iter().map(|it| it.attempt.clone()).collect());
        let all = live.into_iter().map(|it| (it.attempt.clone(), it));
        book.live = all.collect();
    }

    fn submit(&self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.want(submission);
        }
    }

    fn watch(&self, submission: Submission) {
        self.want(submission);
    }

    fn stop(&self, attempt: AttemptId, _grace: Span) {
        let mut book = self.inner.book();
        let key = book.of.get(&attempt).copied();
        let wanted = key.and_then(|key| book.mirrors.get_mut(&key));
        if let Some(shared) = wanted
            && let Some(wanted) = shared.wanted.get_mut(&attempt)
        {
            wanted.is_stopping = true;
            wanted.asked += 1;
            shared.wake.notify_one();
            return;
        }
        let live = book.live.get(&attempt).cloned();
        drop(book);
        tokio::spawn(stop_unknown(self.inner.clone(), attempt, live));
    }

    fn forget(&self, attempts: Vec<AttemptId>) {
        let mut book = self.inner.book();
        for attempt in attempts {
            book.live.remove(&attempt);
            if let Some(key) = book.of.remove(&attempt)
                && let Some(shared) = book.mirrors.get_mut(&key)
            {
                shared.wanted.remove(&attempt);
                if shared.wanted.is_empty() {
                    shared.wake.notify_one();
                }
            }
        }
    }
}

impl Book {
    /// Whoever is in charge again may know of attempts that ended meanwhile.
    fn keep(&mut self, live: &BTreeSet<AttemptId>) {
        self.of.retain(|attempt, _| live.contains(attempt));
        for shared in self.mirrors.values_mut() {
            shared.wanted.retain(|attempt, _| live.contains(attempt));
            shared.wake.notify_one();
        }
    }

    fn wanted(&self, key: Key) -> BTreeMap<AttemptId, Wanted> {
        let shared = self.mirrors.get(&key);
        shared.map(|it| it.wanted.clone()).unwrap_or_default()
    }

    /// Whether anybody wants this execution to be started.
    fn is_wanted(&self, key: Key) -> bool {
        let shared = self.mirrors.get(&key);
        shared.is_some_and(|it| it.wanted.values().any(|it| !it.is_stopping))
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ended(
        &self,
        attempt: AttemptId,
        outcome: Outcome,
        started_at: Option<Timestamp>,
        at: Option<Timestamp>,
    ) {
        let at = at.unwrap_or_else(|| self.aws.now());
        let report = Report::Ended {
            outcome,
            started_at,
            at,
        };
        self.reporter.report(attempt, report).await;
    }
}

/// One execution, looked at until it is over and nobody asks any more.
struct Mirror {
    inner: Arc<Inner>,
    key: Key,
    execution: Arc<Execution>,
    /// It is a Metaflow flow, and Metaflow compiles it.
    compiled: Option<Compiled>,
    created: Timestamp,
    wake: Arc<Notify>,
    /// Once it is known to exist.
    arn: Option<String>,
    prepared: Option<Prepared>,
    /// The ARNs of the machine and of its version, once all that an execution needs is there.
    ensured: Option<(String, String)>,
    /// Only what came after so many redrives belongs to this generation.
    since: u32,
    view: View,
    told: BTreeMap<AttemptId, Told>,
    kept: metadata::Kept,
    /// It was us who stopped it.
    has_stopped: bool,
    /// In the line of those who want to start one, until it is started.
    place: Option<Place>,
    /// Since then it may have been started without our knowing.
    doubt: Option<Instant>,
}

impl Mirror {
    async fn run(mut self) {
        let timings = self.inner.aws.config.timings;
        let stop = self.inner.stop.clone();
        let (mut poll, mut retry) = (timings.poll_first, timings.retry_first);
        loop {
            let wanted = self.wanted();
            let is_done = wanted.is_empty() && (self.arn.is_none() || self.view.is_over());
            let work = async {
                match is_done {
                    true => Ok(false),
                    false => self.turn(&wanted).await,
                }
            };
            let done = tokio::select! {
                done = work => done,
                () = stop.cancelled() => return,
            };
            let wait = match done {
                _ if is_done => IDLE,
                Ok(has_changed) => {
                    retry = timings.retry_first;
                    poll = match has_changed {
                        true => timings.poll_first,
                        false => (poll * 3 / 2).min(timings.poll_max),
                    };
                    poll
                }
                Err(NotYet::Never(message)) => {
                    let reason = Reason::Configuration { message };
                    self.refuse(&wanted, &reason).await;
                    IDLE
                }
                Err(NotYet::Later(api, error)) => {
                    let pause = match &error {
                        CallError::BreakerOpen { retry_in } => *retry_in,
                        CallError::Throttled {
                            retry_after: Some(after),
                            ..
                        } => (*after).max(retry),
                        _ => retry,
                    };
                    // A breaker that is open says itself when to ask again: that is no failure of ours.
                    if !matches!(error, CallError::BreakerOpen { .. }) {
                        retry = (retry * 2).min(timings.retry_max);
                    }
                    self.waits(&wanted, api, &error, pause).await;
                    pause
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {
                    if is_done && self.leave() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }

    fn wanted(&self) -> BTreeMap<AttemptId, Wanted> {
        self.inner.book().wanted(self.key)
    }

    /// Unless somebody asked meanwhile.
    fn leave(&self) -> bool {
        let mut book = self.inner.book();
        let is_idle = book
            .mirrors
            .get(&self.key)
            .is_none_or(|it| it.wanted.is_empty());
        if is_idle {
            book.mirrors.remove(&self.key);
        }
        is_idle
    }

    /// One look, and what it tells; whether anything changed.
    async fn turn(&mut self, wanted: &BTreeMap<AttemptId, Wanted>) -> Result<bool, NotYet> {
        if self.prepared.is_none() {
            let config = self.inner.aws.config.clone();
            let (execution, run, created) = (&self.execution, self.key.0, self.created);
            let prepared = match self.compiled {
                Some(_) => Compiled::prepare(&config.installation, execution, run, created),
                None => prepare(&config, execution, run, created),
            };
            match prepared {
                Ok(prepared) => self.prepared = Some(prepared),
                Err(reason) => {
                    self.refuse(wanted, &reason).await;
                    return Ok(false);
                }
            }
        }
        if self.arn.is_none() {
            let is_stopping = !wanted.is_empty() && wanted.values().all(|it| it.is_stopping);
            match is_stopping {
                true if !self.is_there().await? && known_arn(wanted).is_none() => {
                    let timings = &self.inner.aws.config.timings;
                    if self
                        .doubt
                        .is_some_and(|it| it.elapsed() < timings.look_again)
                    {
                        return Ok(true);
                    }
                    for attempt in wanted.keys() {
                        self.inner
                            .ended(attempt.clone(), Outcome::Stopped, None, None)
                            .await;
                    }
                    return Ok(false);
                }
                true => self.arn = self.arn.take().or_else(|| known_arn(wanted)),
                false => self.begin(wanted).await?,
            }
        }
        let Some(arn) = self.arn.clone() else {
            return Ok(false);
        };
        let mut has_changed = self.look(&arn).await?;
        if wanted.values().any(|it| it.is_stopping) {
            self.stop(&arn).await?;
        }
        if let Some(compiled) = self.compiled.clone() {
            self.keep_metadata(&compiled, wanted).await?;
        }
        has_changed |= self.tell(&arn, wanted).await?;
        Ok(has_changed)
    }

    async fn stop(&mut self, arn: &str) -> Result<(), NotYet> {
        if !self.view.is_over() {
            let aws = &self.inner.aws;
            let api = Api::StopExecution;
            let stop = aws.sfn.stop_execution().execution_arn(arn);
            let stop = stop
                .error("Dalsegno.Cancelled")
                .cause("the run is stopped")
                .send();
            match aws.guard.call(api, stop).await {
                Err(CallError::Invalid { code, .. }) if code == "ExecutionDoesNotExist" => {
                    self.view.is_gone = true;
                }
                done => {
                    done.map_err(later(api))?;
                }
            }
            self.has_stopped = true;
            self.look(arn).await?;
        }
        if !self.view.is_over() {
            return Ok(());
        }
        // The service terminates its jobs as well as it can; what is left is terminated by name.
        let prepared = self
            .prepared
            .as_ref()
            .expect("it was prepared before it was looked at");
        let queues = self.queues();
        let mut left =
            look::list(&self.inner.aws, &queues, &look::prefix_of(arn, prepared)).await?;
        if self.compiled.is_some() {
            // Metaflow gives jobs names of its own.
            let living = self.view.jobs.values().filter(|it| !it.state.is_end());
            left.extend(living.map(|it| (it.id.clone(), String::new())));
        }
        for (id, status) in left {
            if matches!(status.as_str(), "SUCCEEDED" | "FAILED") {
                continue;
            }
            self.view.expect(&id);
            let api = Api::TerminateJob;
            let terminate = self.inner.aws.batch.terminate_job().job_id(&id);
            let terminate = terminate.reason("Dalsegno: the run is stopped").send();
            self.inner
                .aws
                .guard
                .call(api, terminate)
                .await
                .map_err(later(api))?;
        }
        self.look(arn).await.map(|_| ())
    }

    fn queues(&self) -> BTreeSet<String> {
        let config = &self.inner.aws.config;
        let steps = self.execution.flow.spec().steps.iter();
        let shapes =
            steps.filter_map(|it| super::jobs::shape(&self.execution.flow, it, config).ok());
        shapes.map(|it| it.0.queue).collect()
    }

    async fn refuse(&self, wanted: &BTreeMap<AttemptId, Wanted>, reason: &Reason) {
        for (attempt, it) in wanted {
            let outcome = match it.is_stopping {
                true => Outcome::Stopped,
                false => Outcome::Failed(reason.clone()),
            };
            self.inner.ended(attempt.clone(), outcome, None, None).await;
        }
    }

    async fn waits(
        &mut self,
        wanted: &BTreeMap<AttemptId, Wanted>,
        api: Api,
        error: &CallError,
        pause: Duration,
    ) {
        let cause = match error {
            CallError::BreakerOpen { .. } => SubmissionWait::BreakerOpen,
            CallError::Throttled { .. } => SubmissionWait::Throttled,
            CallError::Denied { .. } => SubmissionWait::Denied,
            CallError::Unreachable { .. } if self.arn.is_none() && api == Api::StartExecution => {
                SubmissionWait::UnknownOutcome
            }
            CallError::Unreachable { .. } | CallError::Invalid { .. } => {
                SubmissionWait::Unreachable
            }
        };
        let now = self.inner.aws.now();
        let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        let reason = Reason::SubmissionWaits {
            api: api.to_string(),
            cause,
            until: Some(Timestamp(now.0.saturating_add(pause))),
            message: error.to_string(),
        };
        for (attempt, it) in wanted {
            let told = self.told.entry(attempt.clone()).or_default();
            if told.is_started || it.is_stopping || !told.is_news(&reason) {
                continue;
            }
            let news = News {
                waiting: Some(reason.clone()),
                ..News::default()
            };
            self.inner
                .reporter
                .report(attempt.clone(), Report::News(news))
                .await;
        }
    }
}

/// An attempt that is to be stopped and of which only its row is known.
async fn stop_unknown(inner: Arc<Inner>, attempt: AttemptId, live: Option<LiveAttempt>) {
    let timings = inner.aws.config.timings;
    let mut retry = timings.retry_first;
    let arn = live
        .and_then(|it| it.external_id)
        .map(|it| it.split('#').next().unwrap_or_default().to_owned());
    loop {
        let done = match &arn {
            Some(arn) => look::end(&inner.aws, arn).await,
            None => {
                let has_others = inner.machines.is_some();
                look::end_of_run(&inner.aws, attempt.run, has_others).await
            }
        };
        match done {
            Ok(true) => return inner.ended(attempt, Outcome::Stopped, None, None).await,
            Ok(false) => retry = timings.retry_first,
            Err(NotYet::Never(message)) => {
                tracing::warn!(%attempt, "attempt {attempt} counts as stopped: {message}");
                return inner.ended(attempt, Outcome::Stopped, None, None).await;
            }
            Err(NotYet::Later(api, error)) => {
                tracing::warn!(%attempt, "attempt {attempt} cannot be stopped yet: {api}: {error}");
                retry = (retry * 2).min(timings.retry_max);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = inner.stop.cancelled() => return,
        }
    }
}
