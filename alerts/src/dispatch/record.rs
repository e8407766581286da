//! What came of attempts is written down, many at once: each write of the database takes its time, and endpoints wait for
//! none of each other.

use crate::desk::Desk;
use dalsegno_store::DeliveryOutcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many outcomes are written in one transaction.
const AT_ONCE: usize = 256;

/// While the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Hands outcomes over.
#[derive(Clone)]
pub(super) struct Records(mpsc::Sender<(DeliveryOutcome, oneshot::Sender<()>)>);

impl Records {
    /// Waits until it is durable.
    pub(super) async fn write(&self, outcome: DeliveryOutcome) {
        let (done, written) = oneshot::channel();
        if self.0.send((outcome, done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

/// Writes until nobody hands anything over any more.
pub(super) fn start(desk: Arc<Desk>) -> (Records, JoinHandle<()>) {
    let (send, mut outcomes) = mpsc::channel(AT_ONCE);
    let task = tokio::spawn(async move {
        let mut batch = Vec::new();
        while outcomes.recv_many(&mut batch, AT_ONCE).await > 0 {
            let (all, done): (Vec<DeliveryOutcome>, Vec<oneshot::Sender<()>>) =
                batch.drain(..).unzip();
            let mut is_away = false;
            while let Err(error) = desk.store.record_attempts(&all).await {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(
                        "the outcome of {} deliveries is not written yet: {error}",
                        all.len()
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
            for done in done {
                let _ = done.send(());
            }
        }
    });
    (Records(send), task)
}
