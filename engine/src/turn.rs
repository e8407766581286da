//! One turn of the loop: gather, decide, commit, install, answer, dispatch.
//!
//! Only waiting is cancellable. While a commit is on its way the next inputs gather in their
//! queues, so the batches grow with the load and the number of commits does not.

use crate::engine::Engine;
use crate::handle::{Ask, AskError, Request, Role, Topic};
use dalsegno_scheduler::alert::AlertId;
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::{BackfillRow, Changes, Claim, EventRow, RunSnapshot};
use dalsegno_scheduler::{
    Answer, AttemptId, BackfillRequest, Command, Executions, Input, Outcome, Reason, Rejected,
    ReplayRequest, Report, RerunRequest, ResumeRequest, RunId, Scheduler, Timestamp,
};
use dalsegno_store::{CommitError, Lease};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// Inputs that one commit carries at most: about 10 ms of deciding, so callers are not kept waiting
/// by a long queue.
const BATCH_MAX: usize = 1_024;

/// How long a report that an attempt has started, or news of it, may wait for company: it needs no commit of its own.
const STARTED_WAIT: Duration = Duration::from_millis(50);

/// However far the next deadline is, the wall clock is looked at this often: it may be set, and
/// machines sleep.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// After a commit that failed: the wait before it is tried again, at first and at most.
const COMMIT_RETRY_FIRST: Duration = Duration::from_millis(20);
const COMMIT_RETRY_MAX: Duration = Duration::from_secs(5);

/// After a renewal of the lease that failed.
const RENEW_RETRY: Duration = Duration::from_millis(500);

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Next,
    /// It is unknown what the disk holds: read it again, as after a restart.
    Reload,
    LostLease,
    Stopped,
}

/// Something to decide, and who waits for it.
enum Item {
    Request(Input, oneshot::Sender<Result<Answer, AskError>>),
    Report(AttemptId, Report),
}

/// Why a request becomes no input.
enum Turned {
    Away(AskError),
    /// Its key was used before.
    Before(Answer),
}

impl From<AskError> for Turned {
    fn from(error: AskError) -> Self {
        Self::Away(error)
    }
}

type Waiting = (
    oneshot::Sender<Result<Answer, AskError>>,
    Result<Answer, Rejected>,
);

/// A term of leading.
pub(crate) struct Lead<'a> {
    engine: &'a mut Engine,
    core: Scheduler,
    lease: Lease,
    /// When the last renewal that succeeded was asked for, and when the next is due.
    renewed: Instant,
    renew_at: Instant,
    /// What the next turn begins with: reports of a failed commit, second uses of a dedupe key.
    again: VecDeque<Item>,
    /// Reports of starts and news that wait for company, and since when.
    started: Vec<(AttemptId, Report)>,
    started_since: Option<Instant>,
    commit_retry: Option<Duration>,
}

impl<'a> Lead<'a> {
    pub(crate) fn new(
        engine: &'a mut Engine,
        core: Scheduler,
        lease: Lease,
        renewed: Instant,
    ) -> Self {
        let renew_at = renewed + lease_ttl(engine) / 3;
        Self {
            engine,
            core,
            lease,
            renewed,
            renew_at,
            again: VecDeque::new(),
            started: Vec::new(),
            started_since: None,
            commit_retry: None,
        }
    }

    pub(crate) fn into_lease(self) -> Lease {
        self.lease
    }

    pub(crate) fn announce(&self) {
        self.engine.role.send_replace(Role::Leader);
    }

    pub(crate) async fn go(&mut self) -> Step {
        loop {
            let first = self.wait().await;
            if self.engine.stop.is_cancelled() {
                return self.finish(first).await;
            }
            match self.keep_lease().await {
                Step::Next => {}
                end => {
                    self.give_up(first);
                    return end;
                }
            }
            let batch = self.gather(first).await;
            match self.turn(batch).await {
                Step::Next => {}
                end => return end,
            }
        }
    }

    /// The last turns: requests that were accepted are committed and answered. Reports that still come are
    /// left to the executor, which remembers them until the next start.
    async fn finish(&mut self, first: Option<Item>) -> Step {
        self.engine.requests.close();
        let mut batch: Vec<Item> = first.into_iter().chain(self.again.drain(..)).collect();
        loop {
            while let Ok(request) = self.engine.requests.try_recv() {
                batch.extend(self.read(request).await);
            }
            let started = std::mem::take(&mut self.started);
            batch.extend(started.into_iter().map(|(id, it)| Item::Report(id, it)));
            if batch.is_empty() {
                return Step::Stopped;
            }
            let now = self.engine.now();
            match self
                .decide_and_commit(now, std::mem::take(&mut batch))
                .await
            {
                Step::Next if self.commit_retry.is_some() => return Step::Stopped,
                Step::Next => batch.extend(self.again.drain(..)),
                end => return end,
            }
        }
    }

    /// The term is over: who waits is told so.
    fn give_up(&mut self, first: Option<Item>) {
        let mut left: Vec<Item> = first.into_iter().chain(self.again.drain(..)).collect();
        refuse_requests(&mut left, || AskError::NotLeader);
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Option<Item> {
        if let Some(item) = self.again.pop_front() {
            match self.commit_retry {
                None => return Some(item),
                Some(wait) => {
                    self.again.push_front(item);
                    self.engine_pause(wait).await;
                    return None;
                }
            }
        }
        if let Some(wait) = self.commit_retry {
            self.engine_pause(wait).await;
            return None;
        }
        let until = self.wake_at();
        let engine = &mut *self.engine;
        let request = tokio::select! {
            biased;
            () = engine.stop.cancelled() => return None,
            report = engine.reports.recv() => {
                return report.map(|(attempt, report)| Item::Report(attempt, report));
            }
            request = engine.requests.recv() => request,
            () = tokio::time::sleep_until(until) => return None,
        };
        match request {
            Some(request) => self.read(request).await,
            None => None,
        }
    }

    async fn engine_pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.engine.stop.cancelled() => {}
        }
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let deadline = match self.core.next_deadline() {
            Some(at) => {
                let left = (at - self.engine.now()).0.max(0);
                Duration::from_micros(left as u64).min(CLOCK_CHECK)
            }
            None => CLOCK_CHECK,
        };
        let mut until = (now + deadline).min(self.renew_at);
        if let Some(since) = self.started_since {
            until = until.min(since + STARTED_WAIT);
        }
        until
    }

    /// Renews the lease when a third of it has passed. Beyond its end nothing is handed out any more.
    async fn keep_lease(&mut self) -> Step {
        let ttl = lease_ttl(self.engine);
        if Instant::now() < self.renew_at {
            return Step::Next;
        }
        let asked = Instant::now();
        let store = &self.engine.shared.store;
        match store
            .renew_lease(&self.lease, self.engine.now(), self.engine.config.lease_ttl)
            .await
        {
            Ok(Some(lease)) => {
                self.lease = lease;
                self.renewed = asked;
                self.renew_at = asked + ttl / 3;
                Step::Next
            }
            Ok(None) => Step::LostLease,
            Err(error) if self.renewed.elapsed() < ttl => {
                warn!("the lease could not be renewed yet: {error}");
                self.renew_at = Instant::now() + RENEW_RETRY;
                Step::Next
            }
            Err(error) => {
                error!("the lease has run out while the database did not answer: {error}");
                Step::LostLease
            }
        }
    }

    async fn gather(&mut self, first: Option<Item>) -> Vec<Item> {
        let mut batch: Vec<Item> = first.into_iter().collect();
        batch.extend(self.again.drain(..));
        // Whoever is about to hand something in gets the chance: one commit for two is cheaper than two.
        tokio::task::yield_now().await;
        while batch.len() < BATCH_MAX
            && let Ok((attempt, report)) = self.engine.reports.try_recv()
        {
            batch.push(Item::Report(attempt, report));
        }
        while batch.len() < BATCH_MAX
            && let Ok(request) = self.engine.requests.try_recv()
        {
            batch.extend(self.read(request).await);
        }
        batch
    }

    /// A resume and a rerun need the run's rows, a replay the event, a backfill past runs: they are not in memory.
    async fn read(&mut self, request: Request) -> Option<Item> {
        let input: Result<Input, Turned> = match request.ask {
            Ask::Input(input) => Ok(input),
            Ask::Resume {
                run,
                from,
                with,
                by,
            } => self
                .snapshot(run)
                .await
                .map_err(Turned::from)
                .map(|snapshot| {
                    Input::Resume(Box::new(ResumeRequest {
                        snapshot,
                        from,
                        with,
                        by,
                    }))
                }),
            Ask::Rerun {
                run,
                from,
                params,
                with,
                key,
                by,
            } => self
                .snapshot(run)
                .await
                .map_err(Turned::from)
                .map(|snapshot| {
                    Input::Rerun(Box::new(RerunRequest {
                        snapshot,
                        from,
                        params,
                        with,
                        key,
                        by,
                    }))
                }),
            Ask::Backfill {
                request,
                token,
                key,
                by,
            } => self.planned(request, &token, key, by).await,
            Ask::Replay { seq, flow, key, by } => {
                self.event(seq).await.map_err(Turned::from).map(|event| {
                    Input::Replay(ReplayRequest {
                        event,
                        flow,
                        key,
                        by,
                    })
                })
            }
        };
        match input {
            Ok(input) => Some(Item::Request(input, request.answer)),
            Err(Turned::Before(answer)) => {
                let _ = request.answer.send(Ok(answer));
                None
            }
            Err(Turned::Away(refusal)) => {
                let _ = request.answer.send(Err(refusal));
                None
            }
        }
    }

    /// A finished run as stored.
    async fn snapshot(&self, run: RunId) -> Result<RunSnapshot, AskError> {
        if self.core.run(run).is_some() {
            return Err(AskError::Rejected(Rejected::NotFinished(run)));
        }
        match self.engine.shared.store.snapshot(run).await {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err(AskError::Rejected(Rejected::UnknownRun(run))),
            Err(error) => Err(AskError::Store(error.to_string())),
        }
    }

    /// The backfill of a plan, if it would be the same plan today.
    async fn planned(
        &self,
        request: PlanRequest,
        token: &str,
        key: Option<String>,
        by: String,
    ) -> Result<Input, Turned> {
        // The order itself changes the world: the second use of its key is answered all the same.
        if let Some(key) = &key
            && let Some(answer) = self
                .claimed(&BackfillRequest::claim_of(&request.flow, key))
                .await
        {
            return Err(Turned::Before(answer));
        }
        let store = &*self.engine.shared.store;
        let now = self.engine.now();
        let parallel = request.parallel;
        let plan = crate::backfill::plan(&self.core, store, &request, now).await?;
        if plan.token != token {
            return Err(Turned::Away(AskError::Rejected(Rejected::PlanChanged(
                "flows, runs or intervals have changed since".to_owned(),
            ))));
        }
        Ok(Input::Backfill(Box::new(BackfillRequest {
            plan,
            parallel,
            key,
            by,
        })))
    }

    /// What an input that made this claim was answered, if there was one.
    async fn claimed(&self, claim: &str) -> Option<Answer> {
        let claim = self.engine.shared.store.claim(claim).await.ok()??;
        self.first_answer(&claim).await.ok()
    }

    /// What an input with the same key was answered, if there was one.
    async fn answered_before(&self, input: &Input) -> Option<Answer> {
        self.claimed(&input.claim()?).await
    }

    /// An event as stored.
    async fn event(&self, seq: u64) -> Result<Arc<EventRow>, AskError> {
        match self.engine.shared.store.event(seq).await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(AskError::UnknownEvent(seq)),
            Err(error) => Err(AskError::Store(error.to_string())),
        }
    }

    /// Decides a batch and makes it durable. Started reports and news alone are held back for a moment.
    async fn turn(&mut self, batch: Vec<Item>) -> Step {
        let mut items = Vec::with_capacity(batch.len() + self.started.len());
        for item in batch {
            match item {
                Item::Report(attempt, report @ (Report::Started { .. } | Report::News(_))) => {
                    self.started_since.get_or_insert_with(Instant::now);
                    self.started.push((attempt, report));
                }
                item => items.push(item),
            }
        }
        let now = self.engine.now();
        let due = self.core.next_deadline().is_some_and(|at| at <= now) || self.core.has_ready();
        let waited = self
            .started_since
            .is_some_and(|since| since.elapsed() >= STARTED_WAIT);
        if items.is_empty() && !due && !waited {
            return Step::Next;
        }
        self.started_since = None;
        let started = std::mem::take(&mut self.started);
        let reports = started.into_iter().map(|(id, it)| Item::Report(id, it));
        let items: Vec<Item> = reports.chain(items).collect();
        self.decide_and_commit(now, items).await
    }

    async fn decide_and_commit(&mut self, now: Timestamp, items: Vec<Item>) -> Step {
        let mut items = items;
        loop {
            let mut draft = self.core.draft(now);
            let mut waiting: Vec<Waiting> = Vec::new();
            // What must be decided again if this commit fails.
            let mut kept: Vec<(Input, Option<usize>)> = Vec::new();
            // Ends that are not wanted: forgotten once that is durable too, for "stale" may rest on this draft.
            let mut stale: Vec<AttemptId> = Vec::new();
            let mut claimed: BTreeSet<String> = BTreeSet::new();
            for item in items {
                let (input, caller) = match item {
                    Item::Request(input, caller) => (input, Some(caller)),
                    Item::Report(attempt, report) => (Input::Report { attempt, report }, None),
                };
                // The second use of a key within one batch is answered by the next one.
                if let Some(claim) = input.claim()
                    && !claimed.insert(claim)
                {
                    if let Some(caller) = caller {
                        self.again.push_back(Item::Request(input, caller));
                    }
                    continue;
                }
                let counters = &self.engine.shared.counters;
                counters.inputs.fetch_add(1, Ordering::Relaxed);
                let result = draft.decide(input.clone());
                // What was right once may be so no more, but a key's second use gets the first one's answer.
                if result.is_err()
                    && caller.is_some()
                    && let Some(answer) = self.answered_before(&input).await
                {
                    if let Some(caller) = caller {
                        let _ = caller.send(Ok(answer));
                    }
                    continue;
                }
                if let Err(rejected) = &result {
                    counters.rejected.fetch_add(1, Ordering::Relaxed);
                    if let Input::Report { attempt, report } = &input {
                        counters.stale_reports.fetch_add(1, Ordering::Relaxed);
                        debug!("report refused: {rejected}");
                        if matches!(report, Report::Ended { .. }) {
                            stale.push(attempt.clone());
                            kept.push((input, None));
                        }
                        continue;
                    }
                }
                let place = caller.map(|caller| {
                    waiting.push((caller, result));
                    waiting.len() - 1
                });
                kept.push((input, place));
            }
            // Refused inputs fire no timers, and there may have been no other.
            let _ = draft.decide(Input::Tick);
            let decision = draft.finish();
            if decision.changes.is_empty() {
                let commands = decision.commands.clone();
                self.core.install(decision);
                self.forget(stale);
                answer_all(waiting);
                self.dispatch(commands);
                return Step::Next;
            }
            let begun = Instant::now();
            let committed = self
                .engine
                .shared
                .store
                .commit(&self.lease, &decision.changes)
                .await;
            let counters = &self.engine.shared.counters;
            counters
                .commit_us
                .fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
            let error = match committed {
                Ok(()) => {
                    self.commit_retry = None;
                    counters.commits.fetch_add(1, Ordering::Relaxed);
                    self.count(&decision.changes);
                    let topics = topics(&decision.changes);
                    let commands = decision.commands.clone();
                    self.core.install(decision);
                    self.engine.view.send_replace(self.core.clone());
                    // Processes first, then people.
                    self.dispatch(commands);
                    self.forget(stale);
                    answer_all(waiting);
                    let _ = self.engine.shared.notices.send(topics);
                    return Step::Next;
                }
                Err(error) => error,
            };
            counters.commit_errors.fetch_add(1, Ordering::Relaxed);
            let mut callers: Vec<Option<Waiting>> = waiting.into_iter().map(Some).collect();
            let mut retry: Vec<Item> = kept
                .into_iter()
                .filter_map(|(input, place)| match (input, place) {
                    (Input::Report { attempt, report }, _) => Some(Item::Report(attempt, report)),
                    (input, Some(place)) => {
                        let (caller, _) = callers[place].take()?;
                        Some(Item::Request(input, caller))
                    }
                    _ => None,
                })
                .collect();
            match error {
                CommitError::Duplicate(claims) => {
                    items = self.answer_duplicates(retry, &claims).await;
                    if items.is_empty() {
                        return Step::Next;
                    }
                }
                CommitError::LostLease => {
                    self.again.extend(retry);
                    self.give_up(None);
                    return Step::LostLease;
                }
                CommitError::Unknown(message) => {
                    warn!("{message}");
                    {
                        let text = format!(
                            "it is unknown whether the change was made: {message}; look before you try again"
                        );
                        retry.extend(self.again.drain(..));
                        refuse_requests(&mut retry, || AskError::Store(text.clone()));
                    }
                    // The executors are asked again after the reload and report again.
                    return Step::Reload;
                }
                CommitError::Full(_) | CommitError::Db(_) => {
                    let message = error.to_string();
                    let wait = self
                        .commit_retry
                        .map_or(COMMIT_RETRY_FIRST, |wait| (wait * 2).min(COMMIT_RETRY_MAX));
                    error!("a commit failed and is tried again in {wait:?}: {message}");
                    self.commit_retry = Some(wait);
                    refuse_requests(&mut retry, || AskError::Store(message.clone()));
                    self.again.extend(retry);
                    return Step::Next;
                }
            }
        }
    }

    /// Answers second uses of a key with the first one's result; gives back what is left.
    async fn answer_duplicates(&self, items: Vec<Item>, claims: &[Claim]) -> Vec<Item> {
        let mut left = Vec::new();
        for item in items {
            let result = match &item {
                Item::Request(input, _) => input
                    .claim()
                    .and_then(|key| claims.iter().find(|it| it.key == key)),
                Item::Report(..) => None,
            };
            match (item, result) {
                (Item::Request(_, caller), Some(claim)) => {
                    let _ = caller.send(self.first_answer(claim).await);
                }
                (item, _) => left.push(item),
            }
        }
        left
    }

    async fn first_answer(&self, claim: &Claim) -> Result<Answer, AskError> {
        let store = &self.engine.shared.store;
        let failed = |error: dalsegno_store::Error| AskError::Store(error.to_string());
        let odd = || {
            AskError::Store(format!(
                "the stored result of {} is not readable",
                claim.key
            ))
        };
        let (kind, rest) = claim.result.split_once(':').ok_or_else(odd)?;
        match kind {
            "run" => Ok(Answer::Run {
                run: rest.parse().map_err(|_| odd())?,
                duplicate: true,
            }),
            "event" => {
                let seq = rest.parse().map_err(|_| odd())?;
                let matches = store.matches(seq).await.map_err(failed)?;
                let runs: BTreeSet<RunId> = matches.iter().filter_map(|it| it.run).collect();
                Ok(Answer::Event {
                    seq,
                    runs: runs.into_iter().collect(),
                    duplicate: true,
                })
            }
            "occurrence" => {
                let (flow, key) = rest.split_once(' ').ok_or_else(odd)?;
                let row = store.occurrence(&flow.into(), key).await.map_err(failed)?;
                let reason = row.and_then(|it| it.reason).ok_or_else(odd)?;
                Ok(Answer::NotStarted {
                    occurrence: key.to_owned(),
                    reason,
                })
            }
            "backfill" => Ok(Answer::Backfill {
                backfill: rest.parse().map_err(|_| odd())?,
                duplicate: true,
            }),
            "alert" => Ok(Answer::Alert {
                alert: Some(AlertId(rest.parse().map_err(|_| odd())?)),
                duplicate: true,
            }),
            "silence" => Ok(Answer::Silence {
                silence: rest.parse().map_err(|_| odd())?,
                duplicate: true,
            }),
            // On record already, which is all that was wanted.
            "refused" => Ok(Answer::Done),
            _ => Err(odd()),
        }
    }

    /// Hands out what a durable decision asks for.
    pub(crate) fn dispatch(&mut self, commands: Vec<Command>) {
        let executor = self.engine.executor.clone();
        let (mut submissions, mut stops, mut forget) = (Vec::new(), Vec::new(), Vec::new());
        let mut executions = Executions::default();
        for command in commands {
            match command {
                Command::Submit(attempt) => {
                    match self.core.submission_of(&attempt, &mut executions) {
                        Some(Ok(submission)) => submissions.push(submission),
                        Some(Err(error)) => self.fail(attempt, error.to_string()),
                        None => {}
                    }
                }
                Command::Watch(attempt) => match self.core.submission_of(&attempt, &mut executions)
                {
                    Some(Ok(submission)) => executor.watch(submission),
                    Some(Err(error)) => self.fail(attempt, error.to_string()),
                    None => {}
                },
                Command::Stop(attempt) => stops.push(attempt),
                Command::Forget(attempt) => forget.push(attempt),
            }
        }
        if !submissions.is_empty() {
            let counters = &self.engine.shared.counters;
            counters
                .attempts_submitted
                .fetch_add(submissions.len() as u64, Ordering::Relaxed);
            executor.submit(submissions);
        }
        // After the submissions: one batch may ask for an attempt and take it back.
        for attempt in stops {
            let grace = self.core.grace(&attempt);
            executor.stop(attempt, grace);
        }
        if !forget.is_empty() {
            executor.forget(forget);
        }
    }

    fn forget(&self, stale: Vec<AttemptId>) {
        if !stale.is_empty() {
            self.engine.executor.forget(stale);
        }
    }

    /// An attempt that cannot be described cannot be run.
    fn fail(&mut self, attempt: AttemptId, message: String) {
        let at = self.engine.now();
        let report = Report::Ended {
            outcome: Outcome::Failed(Reason::Expression { message }),
            started_at: None,
            at,
        };
        self.again.push_back(Item::Report(attempt, report));
    }

    fn count(&self, changes: &Changes) {
        let counters = &self.engine.shared.counters;
        let add = |counter: &std::sync::atomic::AtomicU64, count: usize| {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        };
        add(
            &counters.runs_finished,
            changes
                .runs
                .iter()
                .filter(|it| it.state.is_terminal())
                .count(),
        );
        let created = |it: &&dalsegno_scheduler::row::JournalEntry| it.kind == "run.running";
        add(
            &counters.runs_started,
            changes.journal.iter().filter(created).count(),
        );
        add(&counters.events, changes.events.len());
        add(&counters.refused, changes.refused.len());
        let ordered = |it: &&BackfillRow| it.created_at == it.updated_at;
        add(
            &counters.backfills,
            changes.backfills.iter().filter(ordered).count(),
        );
        add(
            &counters.tasks_finished,
            changes
                .tasks
                .iter()
                .filter(|it| it.state.is_terminal())
                .count(),
        );
    }
}

fn lease_ttl(engine: &Engine) -> Duration {
    Duration::from_micros(engine.config.lease_ttl.0.max(1) as u64)
}

fn answer_all(waiting: Vec<Waiting>) {
    for (caller, result) in waiting {
        // A caller that went away still had its input decided.
        let _ = caller.send(result.map_err(AskError::from));
    }
}

/// Answers all requests with an error; reports stay.
fn refuse_requests(items: &mut Vec<Item>, error: impl Fn() -> AskError) {
    let mut reports = Vec::new();
    for item in items.drain(..) {
        match item {
            Item::Request(_, caller) => {
                let _ = caller.send(Err(error()));
            }
            report @ Item::Report(..) => reports.push(report),
        }
    }
    *items = reports;
}

fn topics(changes: &Changes) -> Arc<[Topic]> {
    let mut topics = BTreeSet::new();
    for row in &changes.runs {
        topics.insert(Topic::Run(row.id, row.flow.clone()));
    }
    for entry in &changes.journal {
        topics.insert(match entry.run {
            Some(run) => Topic::Run(run, entry.flow.clone()),
            None => Topic::Flow(entry.flow.clone()),
        });
    }
    let promises = changes.slas.iter();
    topics.extend(promises.map(|it| Topic::Flow(it.flow.clone())));
    if !changes.events.is_empty() {
        topics.insert(Topic::Events);
    }
    if !changes.refused.is_empty() {
        topics.insert(Topic::Refused);
    }
    topics.extend(changes.backfills.iter().map(|it| Topic::Backfill(it.id)));
    topics.extend(
        changes
            .backfill_items
            .iter()
            .map(|it| Topic::Backfill(it.backfill)),
    );
    topics.into_iter().collect()
}
