//! The port to executors: what the engine asks of them, and how they answer.

use dalsegno_scheduler::{AttemptId, LiveAttempt, Report, Span, Submission};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// Runs attempts. Every call returns at once and may come again after a restart, so everything goes
/// by the attempt's id: asking twice for the same attempt must not run it twice.
pub trait Executor: Send + Sync + 'static {
    /// Called once, before anything else, with every attempt that may be alive: whatever else this
    /// executor still runs or remembers is not wanted (it is stopped and forgotten).
    fn reconcile(&self, live: BTreeSet<AttemptId>);

    /// The same with all that the rows know of those attempts: what is called instead of
    /// [`reconcile`](Self::reconcile), which it is unless an executor wants to know more.
    fn take_over(&self, live: Vec<LiveAttempt>) {
        self.reconcile(live.into_iter().map(|it| it.attempt).collect());
    }

    /// Run this attempt. If it was submitted before, report how it stands instead.
    fn submit(&self, submissions: Vec<Submission>);

    /// The attempt was running when the daemon last looked: report how it stands, [`Outcome::Lost`] if
    /// it cannot be found.
    ///
    /// [`Outcome::Lost`]: dalsegno_scheduler::Outcome::Lost
    fn watch(&self, submission: Submission);

    /// Stop the attempt: politely, after `grace` by force. When it is dead report its end:
    /// [`Outcome::Stopped`], or what it was if it had ended before. An unknown attempt is reported
    /// as stopped at once.
    ///
    /// [`Outcome::Stopped`]: dalsegno_scheduler::Outcome::Stopped
    fn stop(&self, attempt: AttemptId, grace: Span);

    /// The ends of these attempts are durable: their records may go.
    fn forget(&self, attempts: Vec<AttemptId>);
}

/// How many reports may wait for the engine before executors have to wait themselves. Each is about
/// 200 bytes; one commit takes up to 1,024 of them.
pub const REPORTS_MAX: usize = 8_192;

/// Where executors hand in their reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    sender: mpsc::Sender<(AttemptId, Report)>,
}

impl Reporter {
    /// A reporter and the engine's end of it.
    pub fn channel() -> (Self, mpsc::Receiver<(AttemptId, Report)>) {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        (Self { sender }, receiver)
    }

    /// Hands in a report; waits while too many are pending. After the engine has stopped the report
    /// is dropped: the next start asks again.
    pub async fn report(&self, attempt: AttemptId, report: Report) {
        let _ = self.sender.send((attempt, report)).await;
    }
}
