//! The engine in this process: no HTTP, no processes.

use anyhow::{Result, bail};
use dalsegno_engine::{EngineConfig, EngineHandle, Executor, Reporter, Role};
use dalsegno_scheduler::{Config, FlowName, Input, Span, StartRequest};
use dalsegno_store::{JournalFilter, Store};
use serde_json::Map;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A running engine.
pub(crate) struct Inside {
    pub(crate) handle: EngineHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Inside {
    /// Starts it and waits until it decides. `max_tasks` is far above what the figure needs: limits are not
    /// what is measured.
    pub(crate) async fn start<E: Executor>(
        store: Arc<dyn Store>,
        executor: impl FnOnce(Reporter) -> E,
    ) -> Result<Self> {
        let core = Config {
            max_tasks: 1_000_000,
            ..Config::default()
        };
        Self::start_with(store, core, |reporter| Arc::new(executor(reporter))).await
    }

    /// The same with limits of the figure's own.
    pub(crate) async fn start_with(
        store: Arc<dyn Store>,
        core: Config,
        executor: impl FnOnce(Reporter) -> Arc<dyn Executor>,
    ) -> Result<Self> {
        let (reporter, reports) = Reporter::channel();
        let config = EngineConfig {
            instance: "bench".to_owned(),
            lease_ttl: Span::from_secs(30),
            core,
        };
        let stop = CancellationToken::new();
        let executor = executor(reporter);
        let (handle, task) = dalsegno_engine::start(store, config, executor, reports, stop.clone());
        match handle.settled().await {
            Role::Leader => Ok(Self { handle, stop, task }),
            other => bail!("the engine does not lead: {other:?}"),
        }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }

    /// Hands in inputs from many callers at once, `callers` at a time, each waiting for its answer.
    pub(crate) async fn ask_all(&self, inputs: Vec<Input>, callers: usize) -> Result<()> {
        let queue = Arc::new(std::sync::Mutex::new(inputs));
        let mut all = JoinSet::new();
        for _ in 0..callers {
            let (handle, queue) = (self.handle.clone(), queue.clone());
            all.spawn(async move {
                loop {
                    let next = queue.lock().expect("no holder panics").pop();
                    let Some(input) = next else {
                        return anyhow::Ok(());
                    };
                    handle.ask(input).await?;
                }
            });
        }
        while let Some(ended) = all.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Waits until so many runs have ended since the engine started.
    pub(crate) async fn finished(&self, runs: u64) {
        while self.handle.counters().runs_finished.load(Ordering::Relaxed) < runs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many entries the journal has: one for each change of a row's state.
    pub(crate) async fn journal_length(&self) -> Result<u64> {
        let filter = JournalFilter::default();
        let store = self.handle.store();
        let (mut low, mut high) = (0, 1);
        while !store.journal(&filter, high, 1).await?.is_empty() {
            (low, high) = (high, high * 2);
        }
        while high - low > 1 {
            let middle = (low + high) / 2;
            match store.journal(&filter, middle, 1).await?.is_empty() {
                true => high = middle,
                false => low = middle,
            }
        }
        Ok(high)
    }
}

/// The input that starts a run.
pub(crate) fn start(flow: &str) -> Input {
    Input::Start(StartRequest {
        flow: FlowName::new(flow),
        params: Map::new(),
        key: None,
        by: "bench".to_owned(),
    })
}
