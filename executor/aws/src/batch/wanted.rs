//! Whether somebody wants a job.

use super::Inner;
use super::book::{Book, Phase, parent};
use super::fair::Unit;
use crate::job::Job;
use crate::tags;
use dalsegno_scheduler::AttemptId;
use std::sync::Arc;

impl Inner {
    /// Whether it is the job of a live attempt, or may be.
    pub(crate) fn is_wanted(&self, job: &Job) -> bool {
        let book = self.book();
        if job.size.is_some() {
            // An array is wanted as long as one of its children is.
            let children = book.jobs.range(Arc::<str>::from(job.id.as_str())..);
            let mut children = children.take_while(|(it, _)| it.starts_with(&job.id));
            if children.any(|(it, _)| parent(it) == job.id) {
                return true;
            }
        } else if let Some(attempt) = book.jobs.get(job.id.as_str()) {
            return book
                .entries
                .get(attempt)
                .is_some_and(|it| it.phase != Phase::Ended);
        }
        let mark = job.tag(tags::ATTEMPT);
        let is_before = book
            .before
            .values()
            .any(|it| is_of(mark, &it.attempt, it.array.as_ref().map(|it| &it.first)));
        // It is on its way: the job may be the one that is being submitted or looked for.
        is_before
            || book.entries.iter().any(|(attempt, it)| {
                it.job.is_none()
                    && it.phase != Phase::Ended
                    && is_of(mark, attempt, it.place.as_ref().map(|it| &it.first))
            })
    }

    pub(crate) fn why_unwanted(&self, job: &Job) -> String {
        let book = self.book();
        match live(&book, job.tag(tags::ATTEMPT)) {
            Some((attempt, other)) => format!("attempt {attempt} is job {other}"),
            None => format!(
                "attempt {} has ended or was never started by this installation",
                job.tag(tags::ATTEMPT)
            ),
        }
    }

    /// # Errors
    /// Why the job cannot be its attempt's.
    pub(crate) fn adopt_orphan(self: &Arc<Self>, job: &Job) -> Result<(), String> {
        let mark = job.tag(tags::ATTEMPT);
        if job.size.is_some() {
            return Err("it is an array; its attempts look for it by themselves".into());
        }
        let attempt = {
            let mut book = self.book();
            if let Some((attempt, other)) = live(&book, mark) {
                return Err(format!("attempt {attempt} has job {other}"));
            }
            let free = book.entries.iter().find(|(attempt, it)| {
                it.job.is_none() && it.phase == Phase::Queued && tags::attempt(attempt) == mark
            });
            let Some(attempt) = free.map(|(attempt, _)| attempt.clone()) else {
                return Err(format!("attempt {mark} is not waiting for a job"));
            };
            book.fair.remove(&attempt);
            attempt
        };
        self.submitted(&Unit::single(attempt), &job.id, &[true]);
        Ok(())
    }
}

/// The live attempt of that tag, and its job.
fn live(book: &Book, mark: &str) -> Option<(AttemptId, Arc<str>)> {
    let mut entries = book.entries.iter();
    let (attempt, entry) = entries.find(|(attempt, it)| {
        it.job.is_some() && it.phase != Phase::Ended && tags::attempt(attempt) == mark
    })?;
    Some((attempt.clone(), entry.job.clone()?))
}

fn is_of(mark: &str, attempt: &AttemptId, first: Option<&AttemptId>) -> bool {
    tags::attempt(attempt) == mark || first.is_some_and(|it| tags::attempt(it) == mark)
}
