//! What runs on AWS, as pages and API ask for it. The daemon asks AWS.

use crate::metaflow::Later;
use dalsegno_scheduler::{AttemptId, Execution, RunId, Timestamp};

pub trait Remote: Send + Sync + 'static {
    /// Jobs that carry this installation's name and that no task wants. Asks AWS now.
    ///
    /// # Errors
    /// Why AWS could not be asked.
    fn orphans(&self) -> Later<Vec<OrphanJob>>;

    /// Ends one of them, and waits until it is asked to die.
    ///
    /// # Errors
    /// When it is none (any more), or AWS does not take it.
    fn cancel_orphan(&self, job: String) -> Later<()>;

    /// Gives one of them to the task whose name it bears, if that waits for a job.
    ///
    /// # Errors
    /// Why that task has no use for it.
    fn adopt_orphan(&self, job: String) -> Later<()>;

    /// How a run would go on at Step Functions: asks AWS now, and does nothing. `execution` is what it would be asked
    /// for; `created` is when the run was made.
    ///
    /// # Errors
    /// Why that is not known now.
    fn resume_plan(
        &self,
        run: RunId,
        created: Timestamp,
        execution: Execution,
    ) -> Later<ResumedExecution>;

    /// Brings the file that [`LogFiles::path`](crate::LogFiles::path) names up to what the job has printed; `log` is
    /// what the job's log is called. With `follow` the file goes on growing while what is given back lives.
    ///
    /// # Errors
    /// Why the log could not be read. What was read before is in the file.
    fn fetch_log(&self, attempt: AttemptId, log: String, follow: bool) -> Later<Following>;
}

/// The execution in which a resumed run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedExecution {
    pub name: String,
    /// It is a new one, for this reason; `None`: the one before is redriven.
    pub new_because: Option<String>,
}

/// Keeps a log growing as long as it lives.
pub type Following = Box<dyn Send + Sync>;

/// A job that nobody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanJob {
    /// AWS's id of the job.
    pub job: String,
    pub name: String,
    pub queue: String,
    /// In the service's own word: `RUNNING`.
    pub status: String,
    pub created_at: Option<Timestamp>,
    /// From its tags; empty when it has none.
    pub flow: String,
    pub run: String,
    pub task: String,
    pub attempt: String,
    /// Why nobody wants it.
    pub why: String,
}
