//! How the rest of the daemon speaks to the engine.

use dalsegno_scheduler::backfill::{Plan, PlanRequest};
use dalsegno_scheduler::{
    Answer, FlowName, Input, Rejected, ResumeWith, RunId, Scheduler, StepName, Timestamp,
};
use dalsegno_store::Store;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// How many requests may wait for the engine; more are answered with [`AskError::Busy`].
pub const REQUESTS_MAX: usize = 8_192;

/// How many change notices a slow subscriber may fall behind before it is told to reload everything.
pub const NOTICES_MAX: usize = 1_024;

/// The name of something that changed. Carries no data: whoever shows it reads it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Flow(FlowName),
    Run(RunId, FlowName),
    Events,
    /// A delivery that was no event.
    Refused,
    Backfill(u64),
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("there is no event {0}")]
    UnknownEvent(u64),
    #[error("the engine has too much to do; try again")]
    Busy,
    #[error("the engine has stopped")]
    Stopped,
    #[error("another instance is in charge; this one only reads")]
    NotLeader,
    /// The change could not be made durable; nothing was changed. The text says what to do.
    #[error("{0}")]
    Store(String),
}

/// Figures of the engine since it started, for `/metrics`.
#[derive(Debug, Default)]
pub struct Counters {
    pub commits: AtomicU64,
    pub commit_errors: AtomicU64,
    /// Inputs decided, refused ones included.
    pub inputs: AtomicU64,
    pub rejected: AtomicU64,
    /// Reports of attempts that were not the live one.
    pub stale_reports: AtomicU64,
    pub runs_started: AtomicU64,
    pub runs_finished: AtomicU64,
    pub tasks_finished: AtomicU64,
    /// Events accepted, those of Dalsegno's own included.
    pub events: AtomicU64,
    /// Deliveries that were no events.
    pub refused: AtomicU64,
    pub backfills: AtomicU64,
    pub attempts_submitted: AtomicU64,
    /// Microseconds spent in commits, in all.
    pub commit_us: AtomicU64,
}

/// Whether this instance decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reading what is there; not ready yet.
    Starting,
    Leader,
    /// Another instance holds the lease.
    Follower {
        leader: String,
    },
    /// Cannot go on until someone helps: the message says what is wrong.
    Broken {
        message: String,
    },
    Stopped,
}

pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Result<Answer, AskError>>,
}

pub(crate) enum Ask {
    Input(Input),
    Resume {
        run: RunId,
        from: Option<StepName>,
        with: ResumeWith,
        by: String,
    },
    Rerun {
        run: RunId,
        from: Option<StepName>,
        params: Map<String, Value>,
        with: ResumeWith,
        key: Option<String>,
        by: String,
    },
    Backfill {
        request: PlanRequest,
        token: String,
        key: Option<String>,
        by: String,
    },
    Replay {
        seq: u64,
        flow: Option<FlowName>,
        key: Option<String>,
        by: String,
    },
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) counters: Counters,
    pub(crate) notices: broadcast::Sender<Arc<[Topic]>>,
    pub(crate) clock: crate::clock::Clock,
}

/// A handle to the engine. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) view: watch::Receiver<Scheduler>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) shared: Arc<Shared>,
}

impl EngineHandle {
    /// Gives the core one input and waits until its consequences are durable.
    ///
    /// # Errors
    /// When the core refuses it, when the queue is full, or when it could not be committed. In each case
    /// nothing was changed.
    pub async fn ask(&self, input: Input) -> Result<Answer, AskError> {
        self.send(Ask::Input(input)).await
    }

    /// Resumes a finished run; reads it from the store first.
    ///
    /// # Errors
    /// As [`EngineHandle::ask`].
    pub async fn resume(
        &self,
        run: RunId,
        from: Option<StepName>,
        with: ResumeWith,
        by: String,
    ) -> Result<Answer, AskError> {
        self.send(Ask::Resume {
            run,
            from,
            with,
            by,
        })
        .await
    }

    /// Makes a new run from a finished one, see [`RerunRequest`](dalsegno_scheduler::RerunRequest); reads that from
    /// the store first.
    ///
    /// # Errors
    /// As [`EngineHandle::ask`].
    pub async fn rerun(
        &self,
        run: RunId,
        from: Option<StepName>,
        params: Map<String, Value>,
        with: ResumeWith,
        key: Option<String>,
        by: String,
    ) -> Result<Answer, AskError> {
        self.send(Ask::Rerun {
            run,
            from,
            params,
            with,
            key,
            by,
        })
        .await
    }

    /// Lets an event be seen once more, as a new event with the same content; by one flow, or by all. Reads it from
    /// the store first.
    ///
    /// # Errors
    /// As [`EngineHandle::ask`], and when there is no such event.
    pub async fn replay(
        &self,
        seq: u64,
        flow: Option<FlowName>,
        key: Option<String>,
        by: String,
    ) -> Result<Answer, AskError> {
        self.send(Ask::Replay { seq, flow, key, by }).await
    }

    /// What a backfill would run, what stands in its way, and the token with which it can be ordered. Reads only;
    /// whoever follows may ask too.
    ///
    /// # Errors
    /// When there is no such flow, nothing can be planned for it, or the store does not answer.
    pub async fn plan_backfill(&self, request: &PlanRequest) -> Result<Plan, AskError> {
        let store = &*self.shared.store;
        crate::backfill::plan(&self.view(), store, request, self.now()).await
    }

    /// Orders the backfill that [`EngineHandle::plan_backfill`] showed: plans anew, and `token` must be that plan's.
    ///
    /// # Errors
    /// As [`EngineHandle::ask`]; [`Rejected::PlanChanged`] when the world is not as it was.
    pub async fn backfill(
        &self,
        request: PlanRequest,
        token: String,
        key: Option<String>,
        by: String,
    ) -> Result<Answer, AskError> {
        self.send(Ask::Backfill {
            request,
            token,
            key,
            by,
        })
        .await
    }

    async fn send(&self, ask: Ask) -> Result<Answer, AskError> {
        match &*self.role.borrow() {
            Role::Leader | Role::Starting => {}
            Role::Follower { .. } => return Err(AskError::NotLeader),
            Role::Broken { message } => return Err(AskError::Store(message.clone())),
            Role::Stopped => return Err(AskError::Stopped),
        }
        let (answer, answered) = oneshot::channel();
        self.requests
            .try_send(Request { ask, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AskError::Busy,
                mpsc::error::TrySendError::Closed(_) => AskError::Stopped,
            })?;
        answered.await.unwrap_or(Err(AskError::Stopped))
    }

    /// The state as of the last commit: an O(1) clone that stays as it is.
    pub fn view(&self) -> Scheduler {
        self.view.borrow().clone()
    }

    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The role as it changes.
    pub fn role_changes(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Waits until this instance decides, or cannot.
    pub async fn settled(&self) -> Role {
        let mut role = self.role.clone();
        let settled = role.wait_for(|it| *it != Role::Starting).await;
        settled.map_or(Role::Stopped, |it| it.clone())
    }

    /// For reads of history: all that is finished is only there.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Names of what changes, after each commit. A receiver that lags gets an error and must reload
    /// all that it shows.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<[Topic]>> {
        self.shared.notices.subscribe()
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The engine's clock: never goes back.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}
