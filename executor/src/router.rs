//! Each attempt to the executor that runs its kind.

use dalsegno_engine::{Executor, Reporter};
use dalsegno_scheduler::{
    AttemptId, ExecutorKind, LiveAttempt, News, Outcome, Reason, Report, Span, Submission,
    SubmissionWait, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Stands before the local executor and those for elsewhere. It remembers which live attempt is where; after a restart
/// the rows tell.
pub struct Router {
    local: Arc<dyn Executor>,
    elsewhere: BTreeMap<ExecutorKind, Arc<dyn Executor>>,
    reporter: Reporter,
    now: fn() -> Timestamp,
    places: Mutex<BTreeMap<AttemptId, ExecutorKind>>,
}

impl Router {
    pub fn new(
        local: Arc<dyn Executor>,
        elsewhere: BTreeMap<ExecutorKind, Arc<dyn Executor>>,
        reporter: Reporter,
        now: fn() -> Timestamp,
    ) -> Self {
        Self {
            local,
            elsewhere,
            reporter,
            now,
            places: Mutex::default(),
        }
    }

    fn get(&self, kind: ExecutorKind) -> Option<&Arc<dyn Executor>> {
        match kind {
            ExecutorKind::Local => Some(&self.local),
            kind => self.elsewhere.get(&kind),
        }
    }

    fn remember(&self, attempt: &AttemptId, kind: ExecutorKind) {
        if kind != ExecutorKind::Local {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.insert(attempt.clone(), kind);
        }
    }

    fn place_of(&self, attempt: &AttemptId) -> ExecutorKind {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(attempt).copied().unwrap_or_default()
    }

    /// Nobody here runs that kind.
    fn refuse(&self, attempt: AttemptId, kind: ExecutorKind) {
        let message = format!(
            "its step has `executor: {}`, and this daemon is not configured for AWS; add [aws] to dalsegno.toml \
             (docs/aws.md) and restart",
            kind.as_str()
        );
        self.say(attempt, Outcome::Failed(Reason::Configuration { message }));
    }

    /// It may have been submitted by a daemon that was configured: a second job beside it must not be made possible by
    /// calling it failed.
    fn tell_unknown(&self, attempt: AttemptId) {
        let waiting = Reason::SubmissionWaits {
            api: "aws".into(),
            cause: SubmissionWait::Denied,
            until: None,
            message: "this daemon is not configured for AWS, and the attempt may exist there; put [aws] back into \
                      dalsegno.toml and restart"
                .into(),
        };
        let reporter = self.reporter.clone();
        tokio::spawn(async move {
            let news = News {
                waiting: Some(waiting),
                ..News::default()
            };
            reporter.report(attempt, Report::News(news)).await;
        });
    }

    fn say(&self, attempt: AttemptId, outcome: Outcome) {
        let (reporter, at) = (self.reporter.clone(), (self.now)());
        tokio::spawn(async move {
            let report = Report::Ended {
                outcome,
                started_at: None,
                at,
            };
            reporter.report(attempt, report).await;
        });
    }
}

impl Executor for Router {
    fn reconcile(&self, live: BTreeSet<AttemptId>) {
        self.local.reconcile(live);
    }

    fn take_over(&self, live: Vec<LiveAttempt>) {
        let mut parts: BTreeMap<ExecutorKind, Vec<LiveAttempt>> = BTreeMap::new();
        parts.insert(ExecutorKind::Local, Vec::new());
        for kind in self.elsewhere.keys() {
            parts.insert(*kind, Vec::new());
        }
        for it in live {
            self.remember(&it.attempt, it.executor);
            parts.entry(it.executor).or_default().push(it);
        }
        for (kind, live) in parts {
            if let Some(executor) = self.get(kind) {
                executor.take_over(live);
            }
        }
    }

    fn submit(&self, submissions: Vec<Submission>) {
        let mut parts: BTreeMap<ExecutorKind, Vec<Submission>> = BTreeMap::new();
        for it in submissions {
            let may_exist = self.place_of(&it.attempt) != ExecutorKind::Local;
            if may_exist && self.get(it.executor()).is_none() {
                self.tell_unknown(it.attempt);
                continue;
            }
            self.remember(&it.attempt, it.executor());
            parts.entry(it.executor()).or_default().push(it);
        }
        for (kind, submissions) in parts {
            match self.get(kind) {
                Some(executor) => executor.submit(submissions),
                None => submissions
                    .into_iter()
                    .for_each(|it| self.refuse(it.attempt, kind)),
            }
        }
    }

    fn watch(&self, submission: Submission) {
        let kind = submission.executor();
        self.remember(&submission.attempt, kind);
        match self.get(kind) {
            Some(executor) => executor.watch(submission),
            // It may be alive: what it came to is known when AWS can be asked again.
            None => tracing::warn!(
                "attempt {} runs on AWS, and this daemon is not configured for AWS: it is left alone",
                submission.attempt
            ),
        }
    }

    fn stop(&self, attempt: AttemptId, grace: Span) {
        match self.get(self.place_of(&attempt)) {
            Some(executor) => executor.stop(attempt, grace),
            None => tracing::warn!(
                "attempt {attempt} is to be stopped on AWS, and this daemon is not configured for AWS"
            ),
        }
    }

    fn forget(&self, attempts: Vec<AttemptId>) {
        let mut parts: BTreeMap<ExecutorKind, Vec<AttemptId>> = BTreeMap::new();
        for it in attempts {
            parts.entry(self.place_of(&it)).or_default().push(it);
        }
        for (kind, attempts) in parts {
            {
                let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
                attempts.iter().for_each(|it| {
                    places.remove(it);
                });
            }
            if let Some(executor) = self.get(kind) {
                executor.forget(attempts);
            }
        }
    }
}
