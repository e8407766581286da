//! The attempts that the engine wants to know about, and how each stands.

use super::fair::{Fair, Unit};
use crate::job::JobState;
use dalsegno_scheduler::{ArrayPlace, AttemptId, LiveAttempt, Reason, Report, RunId, Submission};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where an attempt is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits to be submitted.
    Queued,
    /// The request is on its way.
    Submitting,
    /// It is being found out whether there is a job.
    Looking,
    /// Its job is known.
    Known,
    /// Its end is reported.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) phase: Phase,
    /// `None`: it is only to be stopped.
    pub(crate) submission: Option<Arc<Submission>>,
    pub(crate) place: Option<ArrayPlace>,
    pub(crate) job: Option<Arc<str>>,
    /// There may be a job.
    pub(crate) is_doubtful: bool,
    /// Of before this daemon took over: the queues may have been others then.
    pub(crate) is_from_before: bool,
    /// It ran: without a job it is lost.
    pub(crate) has_run: bool,
    pub(crate) is_to_stop: bool,
    /// Somebody sees to its end.
    pub(crate) is_stopping: bool,
    /// Why it is taken out of its queue.
    pub(crate) giving_up: Option<Reason>,
    pub(crate) state: Option<JobState>,
    pub(crate) said: Option<Reason>,
    pub(crate) log: Option<Arc<str>>,
    pub(crate) is_started: bool,
    /// How often it ran before, when it was last heard of.
    pub(crate) tries: u32,
    /// Looks at which AWS did not know its job.
    pub(crate) missing: u32,
    /// It was missing, and is looked for by its name.
    pub(crate) is_sought: bool,
    /// Of a child: how many of its array were in which state when it was described.
    pub(crate) summary: Option<Arc<BTreeMap<String, i32>>>,
    pub(crate) look_at: Instant,
    pub(crate) look_wait: Duration,
    /// What its end means is being found out.
    pub(crate) is_concluding: bool,
    pub(crate) end: Option<Report>,
}

impl Entry {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            submission: None,
            place: None,
            job: None,
            is_doubtful: false,
            is_from_before: false,
            has_run: false,
            is_to_stop: false,
            is_stopping: false,
            giving_up: None,
            state: None,
            said: None,
            log: None,
            is_started: false,
            tries: 0,
            missing: 0,
            is_sought: false,
            summary: None,
            look_at: Instant::now(),
            look_wait: Duration::ZERO,
            is_concluding: false,
            end: None,
        }
    }
}

/// Members of an array that come one after the other.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) unit: Unit,
    pub(crate) last: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) entries: BTreeMap<AttemptId, Entry>,
    /// By the id of the job, or of the child of an array.
    pub(crate) jobs: BTreeMap<Arc<str>, AttemptId>,
    /// What was alive when this daemon took over, until it is asked for.
    pub(crate) before: BTreeMap<AttemptId, LiveAttempt>,
    pub(crate) fair: Fair,
    pub(crate) gathering: BTreeMap<AttemptId, Gathering>,
    /// All queues of the account, if they were asked for since this daemon took over.
    pub(crate) queues: Option<BTreeSet<String>>,
    /// Arrays of before of which it was seen to that no item runs that nobody wants.
    pub(crate) looked_over: BTreeSet<Arc<str>>,
    /// How often this daemon took over: what was begun before is not submitted any more.
    pub(crate) term: u64,
}

impl Book {
    pub(crate) fn take_over(&mut self, live: Vec<LiveAttempt>) {
        self.before = live
            .into_iter()
            .map(|it| (it.attempt.clone(), it))
            .collect();
        self.term += 1;
        self.queues = None;
        self.looked_over.clear();
        // Somebody else may have been in charge, and have submitted what waits here: only what both know stays. The
        // others are looked for when they are asked for.
        let before = &self.before;
        self.entries.retain(|attempt, entry| {
            let live = before.get(attempt).and_then(|it| it.external_id.as_ref());
            live.is_some() && live == entry.job.as_ref()
        });
        let entries = &self.entries;
        self.jobs.retain(|_, attempt| entries.contains_key(attempt));
        self.fair.clear();
        self.gathering.clear();
        // It is asked for all of them again, and answered again.
        for entry in self.entries.values_mut() {
            entry.said = None;
            entry.log = None;
            entry.summary = None;
            entry.is_started = false;
            entry.tries = 0;
            entry.look_at = Instant::now();
        }
    }

    /// AWS was asked and answered: whether something else was said of it before.
    pub(crate) fn is_wait_over(entry: &mut Entry) -> bool {
        let is_over = matches!(entry.said, Some(Reason::SubmissionWaits { .. }));
        if is_over {
            entry.said = None;
        }
        is_over
    }

    /// The attempt's job is this one.
    pub(crate) fn know(&mut self, attempt: &AttemptId, job: Arc<str>) {
        let Some(entry) = self.entries.get_mut(attempt) else {
            return;
        };
        entry.phase = Phase::Known;
        entry.is_doubtful = false;
        entry.look_at = Instant::now();
        entry.job = Some(job.clone());
        self.jobs.insert(job, attempt.clone());
    }

    /// Whether something of a run was alive when this daemon took over, and has not been asked for yet.
    pub(crate) fn is_to_be_asked_for(&self, run: RunId) -> bool {
        self.before.keys().any(|it| it.run == run)
    }

    pub(crate) fn forget(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            self.before.remove(attempt);
            let entry = self.entries.remove(attempt);
            // Only such a one waits there, and looking for it among thousands is dear.
            if entry.as_ref().is_none_or(|it| it.phase == Phase::Queued) {
                self.fair.remove(attempt);
            }
            if let Some(job) = entry.and_then(|it| it.job) {
                self.jobs.remove(&job);
            }
        }
    }
}

/// The id of the array of which this is a child; else the job itself.
pub(crate) fn parent(job: &str) -> &str {
    job.split_once(':').map_or(job, |(parent, _)| parent)
}
