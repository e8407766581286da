//! The queues and folders that bring events, from the start of the daemon to its end.

use crate::config::SourcesConfig;
use crate::metadata;
use dalsegno_engine::EngineHandle;
use dalsegno_triggers::status::{SourceCounts, SourceKind, SourceStatus, Sources};
use dalsegno_triggers::{directory, sqs};
use dalsegno_web::SourceState;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::PoisonError;
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

/// The sources as pages and the API ask for them.
pub(crate) struct Told {
    pub(crate) sources: Sources,
    /// What waits for Metaflow's metadata service, if there is one.
    pub(crate) metadata: Option<metadata::Seen>,
}

impl dalsegno_web::Sources for Told {
    fn all(&self) -> Vec<SourceState> {
        let mut all: Vec<SourceState> = self.sources.list().into_iter().map(told).collect();
        let service = all
            .iter_mut()
            .find(|it| it.kind == SourceKind::MetadataService.as_str());
        if let (Some(service), Some(seen)) = (service, &self.metadata) {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            service.counts.insert("waiting", seen.updates());
        }
        all
    }

    fn waits_of_metaflow(&self, run: &str) -> Option<String> {
        metadata::of_run(self.metadata.as_ref()?, run)
    }
}

fn told(it: SourceStatus) -> SourceState {
    let SourceCounts {
        deliveries,
        events,
        duplicates,
        passed_over,
        refused,
        errors,
    } = it.counts;
    SourceState {
        kind: it.kind.as_str(),
        name: it.name,
        target: it.target,
        state: it.state.as_str(),
        is_trouble: it.state.is_trouble(),
        message: Some(it.message).filter(|it| !it.is_empty()),
        cure: it.cure,
        notes: it.notes,
        since: it.since,
        last_event_at: it.last_event_at,
        received: deliveries,
        refused,
        counts: BTreeMap::from([
            ("deliveries", deliveries),
            ("events", events),
            ("duplicates", duplicates),
            ("passed_over", passed_over),
            ("refused", refused),
            ("errors", errors),
        ]),
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
