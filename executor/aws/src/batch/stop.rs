//! Ending jobs: asked for again until they are dead, and only then told of.

use super::Inner;
use super::book::{Entry, Phase};
use crate::guard::{Api, CallError};
use dalsegno_scheduler::{AttemptId, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// What jobs that we end say of their end.
pub(crate) const STOPPED: &str = "stopped by Dalsegno";

/// What jobs say that we take out of their queue.
pub(crate) const GIVEN_UP: &str = "taken out of its queue by Dalsegno";

/// Between two requests to end the same job at most.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// How long nothing may change before it is looked whether something did.
const LOOK: Duration = Duration::from_secs(1);

enum Doing {
    Nothing,
    Waiting,
    Terminate(Arc<str>),
}

impl Inner {
    pub(crate) fn want_stopped(self: &Arc<Self>, attempt: AttemptId) {
        let mut stopped = false;
        {
            let mut guard = self.book();
            let book = &mut *guard;
            let before = book.before.remove(&attempt);
            if !book.entries.contains_key(&attempt) {
                let mut entry = Entry::new(Phase::Looking);
                entry.is_doubtful = true;
                entry.place = before.as_ref().and_then(|it| it.array.clone());
                book.entries.insert(attempt.clone(), entry);
                match before.and_then(|it| it.external_id) {
                    Some(job) => book.know(&attempt, job),
                    None => self.spawn(self.clone().look_to_stop(attempt.clone())),
                }
            }
            let Some(entry) = book.entries.get_mut(&attempt) else {
                return;
            };
            if let Some(end) = entry.end.clone() {
                drop(guard);
                return self.tell(attempt, end);
            }
            entry.is_to_stop = true;
            if entry.phase == Phase::Queued && !entry.is_doubtful && book.fair.remove(&attempt) {
                stopped = true;
            } else if !entry.is_stopping {
                entry.is_stopping = true;
                self.spawn(self.clone().see_to_end(attempt.clone()));
            }
        }
        if stopped {
            self.tell_end(&attempt, Outcome::Stopped, None, None);
        }
        self.changed.notify_waiters();
    }

    /// Until the attempt's job is dead.
    async fn see_to_end(self: Arc<Self>, attempt: AttemptId) {
        let first = self.aws.config.timings.retry_first;
        let mut wait = first;
        loop {
            let doing = {
                let mut book = self.book();
                match book.entries.get_mut(&attempt) {
                    None => Doing::Nothing,
                    Some(entry) if entry.phase == Phase::Ended || entry.is_concluding => {
                        Doing::Nothing
                    }
                    Some(entry) => match entry.job.clone() {
                        Some(job) => Doing::Terminate(job),
                        None => Doing::Waiting,
                    },
                }
            };
            match doing {
                Doing::Nothing => return,
                Doing::Waiting => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Doing::Terminate(job) => {
                    let answer = {
                        let Ok(_permit) = self.stops.acquire().await else {
                            return;
                        };
                        self.terminate(&job, STOPPED).await
                    };
                    if let Err(error) = answer {
                        warn!("job {job} of {attempt} could not be ended yet: {error}");
                    }
                    if let Some(entry) = self.book().entries.get_mut(&attempt) {
                        entry.look_at = Instant::now() + first.min(wait);
                        entry.look_wait = first;
                    }
                    self.changed.notify_waiters();
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    pub(crate) async fn terminate(&self, job: &str, reason: &str) -> Result<(), CallError> {
        let terminate = self.aws.batch.terminate_job().job_id(job).reason(reason);
        let call = self.aws.guard.call(Api::TerminateJob, terminate.send());
        call.await.map(|_| ())
    }

    /// Takes a job out of its queue. One that got a machine in the meantime goes on.
    pub(crate) async fn give_up(self: Arc<Self>, attempt: AttemptId, job: Arc<str>) {
        let mut wait = self.aws.config.timings.retry_first;
        loop {
            {
                let book = self.book();
                let entry = book.entries.get(&attempt);
                let goes_on = entry.is_some_and(|it| {
                    it.giving_up.is_some() && it.phase == Phase::Known && !it.is_concluding
                });
                if !goes_on {
                    return;
                }
            }
            let cancel = self.aws.batch.cancel_job().job_id(&*job).reason(GIVEN_UP);
            let answer = self.aws.guard.call(Api::TerminateJob, cancel.send()).await;
            if let Err(error) = answer {
                warn!("job {job} of {attempt} could not be taken out of its queue yet: {error}");
            }
            if let Some(entry) = self.book().entries.get_mut(&attempt) {
                entry.look_at = Instant::now();
            }
            self.changed.notify_waiters();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }
}
