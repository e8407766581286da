//! Ending jobs: asked for again until they are dead, and only then told of.

use super::Inner;
use super::book::{Book, Entry, Phase, parent};
use crate::guard::{Api, CallError};
use dalsegno_scheduler::{ArrayPlace, AttemptId, Outcome, Reason};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// What jobs that we end say of their end.
pub(crate) const STOPPED: &str = "stopped by Dalsegno";

/// What jobs say that we take out of their queue; behind it stands for which of two reasons, and its message.
pub(crate) const GIVEN_UP: &str = "taken out of its queue by Dalsegno";
const MISCONFIGURED: &str = "it cannot be placed as it is: ";
const NO_CAPACITY: &str = "there is no capacity: ";

/// Of what a job says of its end, in characters: Batch takes no more than 1,024.
const SAID_MAX: usize = 1_000;

/// Between two requests to end the same job at most.
pub(crate) const AGAIN_MAX: Duration = Duration::from_secs(30);

/// How long nothing may change before it is looked whether something did.
const LOOK: Duration = Duration::from_secs(1);

/// What a job says that is taken out of its queue for this.
fn given_up(reason: &Reason) -> String {
    let said = match reason {
        Reason::Configuration { message } => format!("{GIVEN_UP}: {MISCONFIGURED}{message}"),
        Reason::Capacity { message } => format!("{GIVEN_UP}: {NO_CAPACITY}{message}"),
        other => format!("{GIVEN_UP}: {NO_CAPACITY}{other}"),
    };
    said.chars().take(SAID_MAX).collect()
}

/// Why it was, whoever of us did it.
pub(crate) fn why_given_up(said: &str) -> Option<Reason> {
    let (_, why) = said.split_once(GIVEN_UP)?;
    let why = why.trim_start_matches(": ");
    Some(match why.strip_prefix(MISCONFIGURED) {
        Some(message) => Reason::Configuration {
            message: message.to_owned(),
        },
        None => Reason::Capacity {
            message: why.strip_prefix(NO_CAPACITY).unwrap_or(said).to_owned(),
        },
    })
}

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
                let place = before.as_ref().and_then(|it| it.array.clone());
                match before.and_then(|it| it.external_id) {
                    Some(job) => {
                        self.look_over_array(book, place.as_ref(), &job);
                        book.know(&attempt, job);
                    }
                    None => {
                        let look = self.clone().look_to_stop(attempt.clone(), book.term);
                        self.spawn(look);
                    }
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
                    // Of another time in charge it is not known that it was to be stopped.
                    Some(entry)
                        if entry.phase == Phase::Ended
                            || entry.is_concluding
                            || !entry.is_to_stop =>
                    {
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

    /// A daemon before this one may have died while it ended the items of this array that nobody wants.
    pub(crate) fn look_over_array(
        self: &Arc<Self>,
        book: &mut Book,
        place: Option<&ArrayPlace>,
        child: &str,
    ) {
        let array = parent(child);
        let Some(place) = place.filter(|_| array.len() < child.len()) else {
            return;
        };
        if !book.looked_over.insert(array.into()) {
            return;
        }
        let (inner, job) = (self.clone(), array.to_owned());
        let (first, items) = (place.first.clone(), (0..place.size).collect());
        self.spawn(async move {
            // Until all of the run were asked for, it is not known which items are wanted.
            while inner.book().is_to_be_asked_for(first.run) {
                tokio::time::sleep(inner.aws.config.timings.gather).await;
            }
            Box::pin(inner.end_unwanted(first, job, items)).await;
        });
    }

    /// Ends those items of an array that no attempt wants: it was stopped before the array was submitted, which runs
    /// all that was written down for it.
    pub(crate) async fn end_unwanted(
        self: Arc<Self>,
        first: AttemptId,
        job: String,
        mut items: Vec<u32>,
    ) {
        let mut wait = self.aws.config.timings.retry_first;
        loop {
            let wanted = wanted_items(&self.book(), &first);
            items.retain(|index| !wanted.contains(index));
            if items.is_empty() {
                return;
            }
            let children = items.iter().map(|it| format!("{job}:{it}"));
            let ids: Vec<_> = children.chain([job.clone()]).collect();
            match self.describe(&ids).await {
                Err((api, error)) => {
                    warn!("items of job {job} are to be ended, and {api} does not work: {error}");
                }
                Ok(known) => {
                    let state =
                        |id: &str| known.jobs.iter().find(|it| it.id == id).map(|it| it.state);
                    let is_over = state(&job).is_some_and(|it| it.is_end());
                    items.retain(|index| match state(&format!("{job}:{index}")) {
                        Some(state) => !state.is_end(),
                        None => !is_over,
                    });
                    for index in &items {
                        let child = format!("{job}:{index}");
                        if state(&child).is_none() || !self.leads().await {
                            continue;
                        }
                        let Ok(_permit) = self.stops.acquire().await else {
                            return;
                        };
                        if let Err(error) = self.terminate(&child, STOPPED).await {
                            warn!(
                                "job {child}, which nobody wants, could not be ended yet: {error}"
                            );
                        }
                    }
                }
            }
            if items.is_empty() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }

    /// Takes a job out of its queue. One that got a machine in the meantime goes on.
    pub(crate) async fn give_up(self: Arc<Self>, attempt: AttemptId, job: Arc<str>) {
        let mut wait = self.aws.config.timings.retry_first;
        loop {
            let reason = {
                let book = self.book();
                let entry = book.entries.get(&attempt);
                let entry = entry.filter(|it| it.phase == Phase::Known && !it.is_concluding);
                match entry.and_then(|it| it.giving_up.as_ref()) {
                    Some(reason) => given_up(reason),
                    None => return,
                }
            };
            if !self.leads().await {
                tokio::time::sleep(wait).await;
                continue;
            }
            let cancel = self.aws.batch.cancel_job().job_id(&*job).reason(reason);
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

/// The items of an array that are attempts which have not ended, or may be.
fn wanted_items(book: &Book, first: &AttemptId) -> BTreeSet<u32> {
    let entries = book.entries.values();
    let entries = entries.filter(|it| it.phase != Phase::Ended);
    let places = entries.filter_map(|it| it.place.as_ref());
    let before = book.before.values().filter_map(|it| it.array.as_ref());
    let own = places.chain(before).filter(|it| it.first == *first);
    own.map(|it| it.index).collect()
}
