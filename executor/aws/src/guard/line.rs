//! A line of those who must get through: whoever was refused keeps its place.
//!
//! As long as calls succeed, a few are made at a time. After a refusal only the first of the line tries, after a pause;
//! when it gets through, the line moves on one by one in the order in which places were taken, until nobody waits.

use super::backoff::{Backoff, LONGEST};
use super::clock::{Clock, Micros, micros};
use super::error::CallError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// So many at a time while all is well.
const WIDTH: usize = 16;
/// The longest pause unless the service asks for a longer one: only one call tries for all that wait.
const PAUSE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Line {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// The last refusal, for all who stand in the line.
    refusal: watch::Sender<Option<Refusal>>,
}

/// Why nobody gets through, and until when nobody tries.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) error: CallError,
    pub(crate) until: Micros,
}

#[derive(Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<u64>>,
    active: usize,
    /// How often the line was refused: who set out before a refusal says nothing about what comes after it.
    refusals: u64,
    is_refused: bool,
    backoff: Backoff,
    resume_at: Micros,
}

impl Line {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let inner = Inner {
            resume_at: i64::MIN,
            ..Inner::default()
        };
        Arc::new(Self {
            clock,
            inner: Mutex::new(inner),
            refusal: watch::Sender::new(None),
        })
    }

    pub(crate) fn join(self: &Arc<Self>) -> Place {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        Place {
            line: Arc::clone(self),
            number,
            called: None,
            active: None,
        }
    }

    /// Lets go on who may.
    fn move_on(&self, inner: &mut Inner) {
        if inner.resume_at > self.clock.now() {
            return;
        }
        let width = if inner.is_refused { 1 } else { WIDTH };
        while inner.active < width {
            let Some((_, first)) = inner.waiting.pop_first() else {
                return;
            };
            // Whoever does not wait any more takes no place.
            if first.send(inner.refusals).is_ok() {
                inner.active += 1;
            }
        }
    }

    /// Ends the pause when it is over, whoever has left the line by then.
    fn resume_later(self: &Arc<Self>, at: Micros) {
        let line = Arc::clone(self);
        tokio::spawn(async move {
            line.clock.sleep_until(at).await;
            line.move_on(&mut line.lock());
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, until it is dropped.
pub(crate) struct Place {
    line: Arc<Line>,
    number: u64,
    called: Option<oneshot::Receiver<u64>>,
    /// It is under way since there were so many refusals.
    active: Option<u64>,
}

impl Place {
    /// Waits until it is this one's turn.
    pub(crate) async fn turn(&mut self) {
        let (sender, receiver) = oneshot::channel();
        let called = self.called.insert(receiver);
        {
            let mut inner = self.line.lock();
            inner.waiting.insert(self.number, sender);
            self.line.move_on(&mut inner);
        }
        self.active = called.await.ok();
        self.called = None;
    }

    /// What the line is refused for, from the last time on.
    pub(crate) fn refusals(&self) -> watch::Receiver<Option<Refusal>> {
        let mut refusals = self.line.refusal.subscribe();
        refusals.mark_changed();
        refusals
    }

    /// It did not get through: the line stands still for a while.
    pub(crate) fn refused(&mut self, error: CallError) {
        let asked = match &error {
            CallError::BreakerOpen { retry_in } => Some(*retry_in),
            CallError::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        };
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        if !self.leave(&mut inner) {
            return;
        }
        inner.is_refused = true;
        inner.refusals += 1;
        let wait = match asked {
            Some(asked) => asked.min(LONGEST),
            None => inner.backoff.next(None).min(PAUSE_MAX),
        };
        let until = line.clock.now() + micros(wait);
        inner.resume_at = until;
        line.refusal.send_replace(Some(Refusal { error, until }));
        line.resume_later(until);
    }

    /// It got through, or the answer was about it alone.
    pub(crate) fn through(&mut self) {
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        if self.leave(&mut inner) {
            // One after the other as long as there are some who had to wait: else they would overtake each other.
            inner.is_refused = !inner.waiting.is_empty();
            inner.backoff.reset();
            inner.resume_at = i64::MIN;
            line.refusal.send_replace(None);
        }
        line.move_on(&mut inner);
    }

    /// Whether it set out after the last refusal.
    fn leave(&mut self, inner: &mut Inner) -> bool {
        let Some(since) = self.active.take() else {
            return false;
        };
        inner.active -= 1;
        since == inner.refusals
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        inner.waiting.remove(&self.number);
        // It may have been called without having noticed.
        let called = self.called.as_mut().and_then(|it| it.try_recv().ok());
        self.active = self.active.take().or(called);
        self.leave(&mut inner);
        line.move_on(&mut inner);
    }
}
