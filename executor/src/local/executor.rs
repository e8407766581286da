//! The executor of local processes, as the engine sees it.

use super::config::{LocalConfig, StartError};
use super::layout::Layout;
use super::link::{self, Link, Receiver, Sender};
use super::order;
use super::tracked::Tracked;
use crate::interpreters::{Interpreter, Interpreters};
use crate::keeper::protocol::{Key, Order, Request};
use crate::metaflow::{self, Prepared};
use crate::probe::Prober;
use dalsegno_engine::{Executor, Reporter, clock};
use dalsegno_scheduler::metaflow::MetaflowFlow;
use dalsegno_scheduler::{AttemptId, Outcome, Reason, Report, Span, Submission};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    interpreters: Interpreters,
    prober: Prober,
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
    /// The interpreter of an attempt was found, or was not.
    Found(Box<Submission>, Result<Interpreter, String>),
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
        let metaflow = Prepared::new(&config.metaflow, &layout, config.api_url.as_deref());
        let metaflow = metaflow.map_err(|source| StartError::Directory {
            dir: layout.metaflow_dir(),
            source,
        })?;
        if known.is_empty() {
            metaflow.files.remove_others();
        }
        let mut sandbox = config.metaflow.sandbox.clone();
        if !sandbox.is_empty() {
            sandbox.insert(0, config.program.clone().into());
        }
        let prober = Prober::new(layout.metaflow_dir(), metaflow.files.clone(), sandbox)
            .hiding(layout.data_dir());
        prober.tidy().await;
        let interpreters = Interpreters::new(config.metaflow.clone(), layout.environments_dir());
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
            metaflow,
            interpreters: interpreters.clone(),
            searching: BTreeSet::new(),
            calls: calls.downgrade(),
        };
        let (is_leaving, leaving) = watch::channel(false);
        tokio::spawn(worker.run(pending, leaving));
        Ok(Arc::new(Self {
            layout,
            interpreters,
            prober,
            calls,
            is_leaving,
        }))
    }

    /// Where its files lie.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What finds, and makes, the interpreters of Metaflow's flows.
    pub const fn interpreters(&self) -> &Interpreters {
        &self.interpreters
    }

    /// What asks flow files.
    pub const fn prober(&self) -> &Prober {
        &self.prober
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
                        let report = news.into_report(&attempt, &shared.layout);
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
    metaflow: Prepared,
    interpreters: Interpreters,
    /// Attempts whose interpreter is being looked for, or made.
    searching: BTreeSet<AttemptId>,
    /// Our own end, for what comes back from those searches.
    calls: mpsc::WeakUnboundedSender<Call>,
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
                self.searching.retain(|it| live.contains(it));
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
            Call::Stop(attempt, grace) => {
                self.searching.remove(&attempt);
                requests.push(self.shared.tracked().stop(attempt, grace));
            }
            Call::Forget(attempts) => {
                self.searching.retain(|it| !attempts.contains(it));
                requests.push(self.shared.tracked().forget(&attempts));
                for attempt in &attempts {
                    self.remove_output(attempt);
                }
            }
            Call::Leave(done) => *leaving = Some(done),
            Call::Found(submission, found) => {
                if self.searching.remove(&submission.attempt) {
                    let prepared = match found {
                        Ok(interpreter) => self.prepare(*submission.clone(), Some(&interpreter)),
                        Err(message) => Err(Reason::Configuration { message }),
                    };
                    requests.extend(self.hand_over(submission.attempt, prepared).await);
                }
            }
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
        metaflow::remove(&self.shared.layout, attempt);
    }

    async fn submit(&mut self, submission: Submission) -> Option<Request> {
        let attempt = submission.attempt.clone();
        let stop = self.shared.tracked().stop_again(&attempt);
        if stop.is_some() {
            return stop;
        }
        let interpreter = match &submission.metaflow {
            None => None,
            Some(task) => {
                let file = home(&submission.file, &task.flow);
                let named = task.flow.python.clone();
                match self.interpreters.known(&file, named.as_deref()) {
                    Some(known) => Some(known),
                    None => {
                        self.search(submission, file, named);
                        return None;
                    }
                }
            }
        };
        let prepared = self.prepare(submission, interpreter.as_ref());
        self.hand_over(attempt, prepared).await
    }

    /// Goes on with the attempt when its interpreter is found. That may take minutes, and others do not wait.
    fn search(&mut self, submission: Submission, file: PathBuf, named: Option<String>) {
        if !self.searching.insert(submission.attempt.clone()) {
            return;
        }
        let (interpreters, calls) = (self.interpreters.clone(), self.calls.clone());
        tokio::spawn(async move {
            let found = interpreters.resolve(&file, named.as_deref()).await;
            if let Some(calls) = calls.upgrade() {
                let _ = calls.send(Call::Found(Box::new(submission), found));
            }
        });
    }

    fn prepare(
        &self,
        submission: Submission,
        interpreter: Option<&Interpreter>,
    ) -> Result<Order, Reason> {
        let layout = &self.shared.layout;
        let prepared = match (submission.metaflow.clone(), interpreter) {
            (Some(task), Some(found)) => {
                let python = metaflow::Python {
                    path: found.python.clone(),
                    stamp: found.stamp.clone(),
                };
                metaflow::prepare(submission, &task, &python, &self.metaflow, layout)
            }
            _ => order::prepare(submission, layout, self.config.api_url.as_deref()),
        };
        prepared.map_err(|message| Reason::NotStarted { message })
    }

    async fn hand_over(
        &self,
        attempt: AttemptId,
        prepared: Result<Order, Reason>,
    ) -> Option<Request> {
        match prepared {
            Ok(order) => Some(self.shared.tracked().submit(attempt, order)),
            Err(reason) => {
                let report = Report::Ended {
                    outcome: Outcome::Failed(reason),
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

/// The flow file where its author has it: what lies beside it there decides about its interpreter.
fn home(file: &str, flow: &MetaflowFlow) -> PathBuf {
    let name = Path::new(file).file_name();
    match (&flow.code, name) {
        (Some(code), Some(name)) if !Path::new(file).exists() => Path::new(&code.folder).join(name),
        _ => std::path::absolute(file).unwrap_or_else(|_| file.into()),
    }
}
