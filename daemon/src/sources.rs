//! The queues and folders that bring events, from the start of the daemon to its end.

use crate::config::SourcesConfig;
use dalsegno_engine::EngineHandle;
use dalsegno_triggers::status::Sources;
use dalsegno_triggers::{directory, sqs};
use std::fmt::Write as _;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Everything that receives.
pub(crate) struct Receivers {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Receivers {
    pub(crate) fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Begins to receive. Flows are loaded by now, so that no event comes before those that wait for it.
    pub(crate) fn start(&self, config: &SourcesConfig, engine: &EngineHandle, sources: &Sources) {
        for queue in config.queues.iter().cloned() {
            let (engine, sources, stop) = (engine.clone(), sources.clone(), self.stop.clone());
            self.tasks.spawn(sqs::run(queue, engine, sources, stop));
        }
        for folder in config.directories.iter().cloned() {
            let (engine, sources, stop) = (engine.clone(), sources.clone(), self.stop.clone());
            self.tasks
                .spawn(directory::run(folder, engine, sources, stop));
        }
    }

    /// Receives nothing more, and waits until what is in hand is decided. The engine must still run.
    pub(crate) async fn stop(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait())
            .await
            .is_err()
        {
            warn!("some arrivals are not decided; they are received again, and recognised");
        }
    }
}

/// A line for each source, for people who look at the start.
pub(crate) fn lines(config: &SourcesConfig) -> String {
    let mut said = String::new();
    for queue in &config.queues {
        let _ = writeln!(said, "  queue  {}, {}", queue.name, queue.url);
    }
    for folder in &config.directories {
        let path = folder.path.display();
        let _ = writeln!(said, "  folder {path} as s3://{}", folder.bucket);
    }
    said
}
