//! From alerts in the outbox to messages that were taken.
//!
//! ```text
//! outbox ──expand──► deliveries (rows) ──endpoint: one task for each channel──► channel
//!                        ▲                                     │
//!                        └──────────── record ◄────────────────┘
//! ```
//!
//! Each arrow is one transaction or one request. Dying between any two of them repeats a request at worst, under the same
//! id.

mod endpoint;
mod expand;
mod record;

use crate::alert::Alert;
use crate::desk::Desk;
use crate::rule::Rule;
use async_trait::async_trait;
use dalsegno_engine::{EngineHandle, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Where alerts come from.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Alerts with a number above `id`, oldest first, each with the rules of its flow.
    async fn after(
        &self,
        id: u64,
        limit: usize,
    ) -> Result<Vec<(Alert, Vec<Rule>)>, dalsegno_store::Error>;

    /// Waits until there may be more.
    async fn changed(&self);

    /// A delivery is about to be given up. Said again if we die over it.
    async fn dead(&self, row: &dalsegno_store::DeliveryRow, reason: &str);
}

/// When everything stops, messages that are on their way get so long to arrive.
const DRAIN: Duration = Duration::from_secs(3);

/// While the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Delivers whenever this instance leads, until it is told to stop.
pub fn start(
    engine: EngineHandle,
    desk: Arc<Desk>,
    outbox: Arc<dyn Outbox>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let mut role = engine.role_changes();
            let leads = role.wait_for(|it| *it == Role::Leader);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                leads = leads => if leads.is_err() { return },
            }
            let term = stop.child_token();
            let delivering = deliver(desk.clone(), outbox.clone(), term.clone());
            let ended = async {
                // An engine that is gone does not lead either.
                let _ = role.wait_for(|it| *it != Role::Leader).await;
                term.cancel();
            };
            tokio::join!(delivering, ended_or(ended, &stop));
        }
    })
}

async fn ended_or(ended: impl Future<Output = ()>, stop: &CancellationToken) {
    tokio::select! {
        () = ended => {}
        () = stop.cancelled() => {}
    }
}

/// Delivers until it is told to stop.
pub async fn deliver(desk: Arc<Desk>, outbox: Arc<dyn Outbox>, stop: CancellationToken) {
    // A channel that is stopped hears nothing, also at a start.
    while desk.read_stops().await.is_err() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    let (records, recording) = record::start(desk.clone());
    let mut tasks = JoinSet::new();
    for channel in desk.config.channels.values() {
        let office = endpoint::Office {
            desk: desk.clone(),
            outbox: outbox.clone(),
            records: records.clone(),
        };
        let endpoint = endpoint::run(office, channel.clone(), stop.clone());
        tasks.spawn(endpoint);
    }
    drop(records);
    tokio::select! {
        () = expand::run(&desk, outbox.as_ref()) => {}
        () = stop.cancelled() => {}
    }
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, ended).await;
    tasks.shutdown().await;
    // All that was to be written has been handed over by now.
    if tokio::time::timeout(DRAIN, recording).await.is_err() {
        tracing::warn!("the outcome of some deliveries was not written; they are sent once more");
    }
}
