//! The executor of local processes, as the engine sees it.

use super::config::{LocalConfig, StartError};
use super::layout::Layout;
use super::link::{self, Link, Receiver, Sender};
use super::order;
use super::tracked::Tracked;
use crate::keeper::protocol::{Key, Request};
use dalsegno_engine::{Executor, Reporter, clock};
use dalsegno_scheduler::{AttemptId, Outcome, Reason, Report, Span, Submission};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// How many calls are turned into one message to the keeper.
const CALLS_MAX: usize = 256;

/// So many orders are sent before the next one is prepared, so that the keeper starts the first attempts of a
/// wide step while folders are made for the others.
const REQUESTS_MAX: usize = 16;

/// How long good-bye may take when the keeper cannot be reached. Whatever was not said is asked for again after
/// the next start.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Runs attempts as processes under the keeper of a data directory.
///
/// A process finds its flow file's folder as working directory, `/dev/null` as input, the daemon's environment
/// as it was when this executor was started (without variables that begin with `DALSEGNO_`, which may be
/// secrets, and without values that are not UTF-8), on top of it the submission's, and
/// `DALSEGNO_OUTPUT`, `DALSEGNO_CHECKPOINT_DIR`, `DALSEGNO_EVENT` (where an event started the run) and
/// `DALSEGNO_API_URL` (where there is one). It leads a process group; what is left of the group when it ends is
/// killed before the end is reported, and so are processes that left the group but still carry the
/// attempt's mark ([`MARK`](crate::keeper::protocol::MARK)).
///
/// Dropping the executor leaves processes alone: they run on under the keeper, and the next executor on
/// the same data directory learns how they stand.
#[derive(Debug)]
pub struct LocalExecutor {
    layout: Layout,
    /// Unbounded because calls must return at once; the engine's limits on live attempts bound it.
    calls: mpsc::UnboundedSender<Call>,
    is_leaving: watch::Sender<bool>,
}

enum Call {
    Reconcile(BTreeSet<AttemptId>),
    Submit(Vec<Submission>),
    Watch(Submission),
    Stop(AttemptId, Span),
    Forget(Vec<AttemptId>),
    Leave(oneshot::Sender<()>),
}

impl LocalExecutor {
    /// Connects to the keeper of the data directory, or starts one.
    ///
    /// # Errors
    /// When the directory cannot be used or no keeper can be started. When a keeper goes away later, that is
    /// logged and tried again.
    pub async fn start(config: LocalConfig, reporter: Reporter) -> Result<Arc<Self>, StartError> {
        let data =
            std::path::absolute(&config.data_dir).map_err(|source| StartError::Directory {
                dir: config.data_dir.clone(),
                source,
            })?;
        if data.to_str().is_none() {
            return Err(StartError::NotUtf8(data));
        }
        let layout = Layout::new(data);
        let Link {
            sender,
            receiver,
            keeper_pid,
            known,
        } = link::connect(&config, &layout).await?;
        info!(
            keeper.pid = keeper_pid,
            "keeper {keeper_pid} knows {} attempts",
            known.len()
        );
        let (calls, pending) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            tracked: Mutex::default(),
            layout: layout.clone(),
            reporter,
        });
        let worker = Worker {
            listener: tokio::spawn(listen(receiver, shared.clone())),
            config,
            shared,
            sender,
            is_broken: false,
            known,
            keeper_pid,
        };
        let (is_leaving, leaving) = watch::channel(false);
        tokio::spawn(worker.run(pending, leaving));
        Ok(Arc::new(Self {
            layout,
            calls,
            is_leaving,
        }))
    }

    /// Where its files lie.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Says good-bye to the keeper, for an orderly end of the daemon: running attempts go on, and the keeper
    /// leaves when there are none. Later calls do nothing. Takes two seconds at most, which are needed only
    /// when the keeper cannot be reached.
    pub async fn leave(&self) {
        let (done, is_done) = oneshot::channel();
        self.call(Call::Leave(done));
        self.is_leaving.send_replace(true);
        let _ = is_done.await;
    }

    fn call(&self, call: Call) {
        let _ = self.calls.send(call);
    }
}

impl Executor for LocalExecutor {
    fn reconcile(&self, live: BTreeSet<AttemptId>) {
        self.call(Call::Reconcile(live));
    }
    fn submit(&self, submissions: Vec<Submission>) {
        self.call(Call::Submit(submissions));
    }
    fn watch(&self, submission: Submission) {
        self.call(Call::Watch(submission));
    }
    fn stop(&self, attempt: AttemptId, grace: Span) {
        self.call(Call::Stop(attempt, grace));
    }
    fn forget(&self, attempts: Vec<AttemptId>) {
        self.call(Call::Forget(attempts));
    }
}

/// What the two directions of the connection share.
struct Shared {
    tracked: Mutex<Tracked>,
    layout: Layout,
    reporter: Reporter,
}

impl Shared {
    fn tracked(&self) -> std::sync::MutexGuard<'_, Tracked> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns the keeper's events into reports until the connection breaks. Reading an output file blocks for
/// as long as the page cache takes, which is less than a hop to another thread.
async fn listen(mut receiver: Receiver, shared: Arc<Shared>) {
    loop {
        match receiver.receive().await {
            Ok(Some(events)) => {
                for event in events {
                    let heard = shared.tracked().hear(event);
                    if let Some((attempt, news)) = heard {
                        let report = news.into_report(&shared.layout.output_path(&attempt));
                        shared.reporter.report(attempt, report).await;
                    }
                }
            }
            Ok(None) => return,
            Err(error) => return warn!("the connection to the keeper broke: {error}"),
        }
    }
}

/// Owns the writing end of the connection.
struct Worker {
    config: LocalConfig,
    shared: Arc<Shared>,
    sender: Sender,
    is_broken: bool,
    listener: JoinHandle<()>,
    /// What the keeper knew when it was connected to, until it turns out to be unwanted.
    known: Vec<Key>,
    keeper_pid: i32,
}

impl Worker {
    async fn run(
        mut self,
        pending: mpsc::UnboundedReceiver<Call>,
        mut leaving: watch::Receiver<bool>,
    ) {
        let too_late = async {
            // An error means that the executor was dropped.
            let _ = leaving.wait_for(|it| *it).await;
            tokio::time::sleep(LEAVE_WITHIN).await;
        };
        tokio::select! {
            () = self.work(pending) => {}
            () = too_late => warn!("left without a good-bye: the keeper does not answer"),
        }
        self.listener.abort();
    }

    /// Until good-bye is said or nobody can call any more.
    async fn work(&mut self, mut pending: mpsc::UnboundedReceiver<Call>) {
        let mut calls = Vec::new();
        loop {
            tokio::select! {
                count = pending.recv_many(&mut calls, CALLS_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
                _ = &mut self.listener => {}
            }
            let mut requests = Vec::new();
            let mut leaving = None;
            for call in calls.drain(..) {
                self.handle(call, &mut requests, &mut leaving).await;
            }
            if let Some(done) = leaving {
                requests.push(Request::Exit);
                self.send(&mut requests).await;
                let _ = done.send(());
                break;
            }
            self.send(&mut requests).await;
            if self.is_broken || self.listener.is_finished() {
                self.reconnect().await;
            }
        }
    }

    async fn handle(
        &mut self,
        call: Call,
        requests: &mut Vec<Request>,
        leaving: &mut Option<oneshot::Sender<()>>,
    ) {
        match call {
            Call::Reconcile(live) => {
                let said = self.shared.tracked().reconcile(live, &mut self.known);
                for request in &said {
                    if let Request::Forget { attempts } = request {
                        let ids = attempts.iter().filter_map(|it| it.parse().ok());
                        ids.for_each(|it| self.remove_output(&it));
                    }
                }
                requests.extend(said);
            }
            Call::Submit(submissions) => {
                for submission in submissions {
                    requests.extend(self.submit(submission).await);
                    if requests.len() >= REQUESTS_MAX {
                        self.send(requests).await;
                    }
                }
            }
            Call::Watch(Submission {
                attempt,
                memory_bytes,
                ..
            }) => requests.push(self.shared.tracked().watch(attempt, memory_bytes)),
            Call::Stop(attempt, grace) => requests.push(self.shared.tracked().stop(attempt, grace)),
            Call::Forget(attempts) => {
                requests.push(self.shared.tracked().forget(&attempts));
                for attempt in &attempts {
                    self.remove_output(attempt);
                }
            }
            Call::Leave(done) => *leaving = Some(done),
        }
    }

    /// What is not sent because the connection broke is asked again on the next one.
    async fn send(&mut self, requests: &mut Vec<Request>) {
        self.is_broken |= self.sender.send(requests).await.is_err();
        requests.clear();
    }

    fn remove_output(&self, attempt: &AttemptId) {
        // Most tasks write none.
        let _ = std::fs::remove_file(self.shared.layout.output_path(attempt));
    }

    async fn submit(&self, submission: Submission) -> Option<Request> {
        let attempt = submission.attempt.clone();
        let stop = self.shared.tracked().stop_again(&attempt);
        if stop.is_some() {
            return stop;
        }
        match order::prepare(
            submission,
            &self.shared.layout,
            self.config.api_url.as_deref(),
        ) {
            Ok(order) => Some(self.shared.tracked().submit(attempt, order)),
            Err(message) => {
                let report = Report::Ended {
                    outcome: Outcome::Failed(Reason::NotStarted { message }),
                    started_at: None,
                    at: clock::now(),
                };
                self.shared.reporter.report(attempt, report).await;
                None
            }
        }
    }

    async fn reconnect(&mut self) {
        warn!(
            keeper.pid = self.keeper_pid,
            "keeper {} is gone", self.keeper_pid
        );
        self.listener.abort();
        loop {
            let link = link::reconnect(&self.config, &self.shared.layout).await;
            info!(
                keeper.pid = link.keeper_pid,
                "keeper {} has taken its place", link.keeper_pid
            );
            self.keeper_pid = link.keeper_pid;
            self.sender = link.sender;
            self.is_broken = false;
            self.known = link.known;
            self.listener = tokio::spawn(listen(link.receiver, self.shared.clone()));
            let requests = self.shared.tracked().ask_again(&self.known);
            if self.sender.send(&requests).await.is_ok() {
                return;
            }
            self.listener.abort();
        }
    }
}
