//! An executor that runs nothing.

use dalsegno_engine::{Executor, Reporter, clock};
use dalsegno_scheduler::{AttemptId, Outcome, Report, Span, Submission, Success};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// Reports success at once, with `null` for every declared output. For benchmarks and tests of what is around an
/// executor.
#[derive(Clone, Debug)]
pub struct InstantExecutor {
    /// Unbounded because the engine asks for no more than its own limits allow.
    reports: mpsc::UnboundedSender<(AttemptId, Outcome)>,
}

impl InstantExecutor {
    /// Must be called within a runtime. Works until it is dropped.
    pub fn start(reporter: Reporter) -> Self {
        let (reports, mut pending) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some((attempt, outcome)) = pending.recv().await {
                let at = clock::now();
                let report = Report::Ended {
                    outcome,
                    started_at: Some(at),
                    at,
                };
                reporter.report(attempt, report).await;
            }
        });
        Self { reports }
    }

    fn report(&self, attempt: AttemptId, outcome: Outcome) {
        let _ = self.reports.send((attempt, outcome));
    }

    fn succeed(&self, submission: Submission) {
        let outputs = submission
            .outputs
            .into_iter()
            .map(|name| (name, serde_json::Value::Null));
        let success = Success {
            outputs: outputs.collect(),
            ..Success::default()
        };
        self.report(submission.attempt, Outcome::Succeeded(success));
    }
}

impl Executor for InstantExecutor {
    fn reconcile(&self, _live: BTreeSet<AttemptId>) {}

    fn submit(&self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.succeed(submission);
        }
    }

    /// What ran before ended at once, too.
    fn watch(&self, submission: Submission) {
        self.succeed(submission);
    }

    fn stop(&self, attempt: AttemptId, _grace: Span) {
        self.report(attempt, Outcome::Stopped);
    }

    fn forget(&self, _attempts: Vec<AttemptId>) {}
}
