//! Starting and stopping the engine, and the terms it leads.

use crate::clock;
use crate::handle::{
    AskError, Counters, EngineHandle, NOTICES_MAX, REQUESTS_MAX, Request, Role, Shared,
};
use crate::port::Executor;
use crate::turn::{Lead, Step};
use dalsegno_scheduler::{AttemptId, Config, Report, Scheduler, Span, Timestamp};
use dalsegno_store::{Lease, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The name under which this instance holds the lease: the same after every restart, and no other's.
    pub instance: String,
    /// How long the lease lasts without renewal. Another instance takes over after that long;
    /// shorter means more renewals. It is renewed after a third.
    pub lease_ttl: Span,
    pub core: Config,
}

/// After a failure of the database: how long to wait before the next try, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The engine's side of everything.
pub(crate) struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) reports: mpsc::Receiver<(AttemptId, Report)>,
    pub(crate) view: watch::Sender<Scheduler>,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) stop: CancellationToken,
}

/// Starts the engine on this runtime. It ends when `stop` is cancelled: what was accepted is committed,
/// running attempts go on without it.
pub fn start(
    store: Arc<dyn Store>,
    config: EngineConfig,
    executor: Arc<dyn Executor>,
    reports: mpsc::Receiver<(AttemptId, Report)>,
    stop: CancellationToken,
) -> (EngineHandle, JoinHandle<()>) {
    let (requests_in, requests) = mpsc::channel(REQUESTS_MAX);
    let (view, view_out) = watch::channel(Scheduler::default());
    let (role, role_out) = watch::channel(Role::Starting);
    let shared = Arc::new(Shared {
        store,
        counters: Counters::default(),
        notices: broadcast::channel(NOTICES_MAX).0,
        clock: clock::Clock::default(),
    });
    let handle = EngineHandle {
        requests: requests_in,
        view: view_out,
        role: role_out,
        shared: shared.clone(),
    };
    let engine = Engine {
        config,
        shared,
        executor,
        requests,
        reports,
        view,
        role,
        stop,
    };
    (handle, tokio::spawn(engine.run()))
}

impl Engine {
    async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        while !self.stop.is_cancelled() {
            match self.begin_term().await {
                Ok(Some((lease, asked))) => {
                    wait = RETRY_FIRST;
                    self.lead(lease, asked).await;
                }
                Ok(None) => {
                    self.refuse_waiting(|| AskError::NotLeader);
                    self.pause(Duration::from_micros(self.third_of_ttl())).await;
                }
                Err(message) => {
                    error!("the database is not usable: {message}");
                    self.refuse_waiting(|| AskError::Store(message.clone()));
                    self.role.send_replace(Role::Broken { message });
                    self.pause(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
        self.role.send_replace(Role::Stopped);
        self.requests.close();
    }

    /// Requests that came while this instance led, or was about to.
    fn refuse_waiting(&mut self, error: impl Fn() -> AskError) {
        while let Ok(request) = self.requests.try_recv() {
            let _ = request.answer.send(Err(error()));
        }
    }

    fn third_of_ttl(&self) -> u64 {
        (self.config.lease_ttl.0 / 3).max(1_000) as u64
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// The wall clock, never going back.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Takes the lease, if it can be had. The instant is from before asking: trust is counted from
    /// there, so that a slow answer cannot stretch it.
    async fn begin_term(&self) -> Result<Option<(Lease, Instant)>, String> {
        let (store, asked) = (&self.shared.store, Instant::now());
        let name = &self.config.instance;
        let lease = store
            .take_lease(name, self.now(), self.config.lease_ttl)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(lease) = lease {
            return Ok(Some((lease, asked)));
        }
        let leader = store.lease().await.ok().flatten();
        let leader = leader.map_or_else(|| "another instance".to_owned(), |it| it.holder);
        let role = Role::Follower { leader };
        if *self.role.borrow() != role {
            info!("another instance is in charge: {role:?}");
            self.role.send_replace(role);
        }
        // Readers see what is committed: a follower's view is read from the rows now and then.
        match store.load().await {
            Ok(rows) => {
                let core = Scheduler::recover(self.config.core.clone(), rows);
                self.view.send_replace(core);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(None)
    }

    /// Leads until the term ends.
    async fn lead(&mut self, lease: Lease, asked: Instant) {
        let started = Instant::now();
        let rows = match self.shared.store.load().await {
            Ok(rows) => rows,
            Err(error) => {
                let message = error.to_string();
                error!("reading the state failed: {message}");
                self.role.send_replace(Role::Broken { message });
                return self.pause(RETRY_FIRST).await;
            }
        };
        let stored: Vec<_> = rows.runs.iter().map(|run| run.id).collect();
        let core = Scheduler::recover(self.config.core.clone(), rows);
        for run in stored.iter().filter(|run| core.run(**run).is_none()) {
            error!("run {run} cannot go on: the stored version of its flow is not readable");
        }
        self.executor.take_over(core.live());
        let commands = core.commands();
        self.view.send_replace(core.clone());
        info!(
            term = lease.term,
            "leading: {} unfinished runs, {} tasks, read in {:?}",
            core.runs().count(),
            core.task_count(),
            started.elapsed()
        );
        let mut lead = Lead::new(self, core, lease, asked);
        lead.dispatch(commands);
        lead.announce();
        let end = lead.go().await;
        let lease = lead.into_lease();
        match end {
            Step::Stopped => {
                if let Err(error) = self.shared.store.release_lease(&lease, self.now()).await {
                    warn!("the lease could not be given back: {error}");
                }
            }
            Step::LostLease => warn!(term = lease.term, "the lease was lost; following now"),
            Step::Reload => info!("reading the state again"),
            Step::Next => {}
        }
    }
}
