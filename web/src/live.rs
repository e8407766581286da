//! Waiting for what changes.

use crate::state::WebState;
use dalsegno_engine::Topic;
use dalsegno_scheduler::RunId;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// A subscription to changes that ends when the daemon stops.
pub(crate) struct Watch {
    notices: Receiver<Arc<[Topic]>>,
    stopping: watch::Receiver<bool>,
}

/// What a [`Watch`] saw.
pub(crate) enum Seen {
    Changed(Arc<[Topic]>),
    /// Too much at once: everything may have changed.
    Everything,
    Stopping,
}

impl Watch {
    pub(crate) fn new(web: &WebState) -> Self {
        Self {
            notices: web.engine.subscribe(),
            stopping: web.stopping.clone(),
        }
    }

    /// Waits for the next change.
    pub(crate) async fn next(&mut self) -> Seen {
        let received = tokio::select! {
            received = self.notices.recv() => received,
            () = stopped(&mut self.stopping) => return Seen::Stopping,
        };
        match received {
            Ok(topics) => Seen::Changed(topics),
            Err(RecvError::Lagged(_)) => Seen::Everything,
            Err(RecvError::Closed) => Seen::Stopping,
        }
    }

    /// Waits until the run may have changed; false when the daemon stops.
    pub(crate) async fn run_changed(&mut self, run: RunId) -> bool {
        loop {
            match self.next().await {
                Seen::Stopping => return false,
                Seen::Everything => return true,
                Seen::Changed(topics) => {
                    if topics
                        .iter()
                        .any(|it| matches!(it, Topic::Run(id, _) if *id == run))
                    {
                        return true;
                    }
                }
            }
        }
    }
}

/// Waits until the daemon stops; for ever when nobody will say so.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|it| *it).await.is_err() {
        std::future::pending::<()>().await;
    }
}
