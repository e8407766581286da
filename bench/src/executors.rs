//! Executors that run nothing, beside the instant one.

use dalsegno_engine::{Executor, Reporter, clock};
use dalsegno_scheduler::{AttemptId, Report, Span, Submission, Timestamp};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Its tasks start and never end.
pub(crate) struct Endless {
    started: mpsc::UnboundedSender<AttemptId>,
}

impl Endless {
    pub(crate) fn start(reporter: Reporter) -> Self {
        let (started, mut pending) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(attempt) = pending.recv().await {
                let report = Report::Started {
                    external_id: Arc::from("4711"),
                    at: clock::now(),
                };
                reporter.report(attempt, report).await;
            }
        });
        Self { started }
    }
}

impl Executor for Endless {
    fn reconcile(&self, _live: BTreeSet<AttemptId>) {}
    fn submit(&self, submissions: Vec<Submission>) {
        for submission in submissions {
            // The other end goes away only when the runtime does.
            let _ = self.started.send(submission.attempt);
        }
    }
    fn watch(&self, _submission: Submission) {}
    fn stop(&self, _attempt: AttemptId, _grace: Span) {}
    fn forget(&self, _attempts: Vec<AttemptId>) {}
}

/// Remembers when each attempt was handed over, and hands it on.
pub(crate) struct Witness<E> {
    pub(crate) inner: E,
    pub(crate) seen: Arc<Mutex<Vec<Timestamp>>>,
}

impl<E: Executor> Executor for Witness<E> {
    fn reconcile(&self, live: BTreeSet<AttemptId>) {
        self.inner.reconcile(live);
    }
    fn submit(&self, submissions: Vec<Submission>) {
        let now = clock::now();
        let mut seen = self.seen.lock().expect("no holder panics");
        seen.extend(submissions.iter().map(|_| now));
        drop(seen);
        self.inner.submit(submissions);
    }
    fn watch(&self, submission: Submission) {
        self.inner.watch(submission);
    }
    fn stop(&self, attempt: AttemptId, grace: Span) {
        self.inner.stop(attempt, grace);
    }
    fn forget(&self, attempts: Vec<AttemptId>) {
        self.inner.forget(attempts);
    }
}
