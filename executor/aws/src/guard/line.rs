//! A line of those who must get through: whoever was refused keeps its place.
//!
//! As long as calls succeed, a few are made at a time. After a refusal only the first of the line tries, after a pause;
//! when it gets through, the line moves on in the order in which it was joined.

use super::backoff::{Backoff, LONGEST};
use super::clock::{Clock, Micros, micros, span};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// So many at a time while all is well.
const WIDTH: usize = 16;
/// The longest pause unless the service asks for a longer one: only one call tries for all that wait.
const PAUSE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Line {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
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

    /// It did not get through: the line stands still for a while. How long is told.
    pub(crate) fn refused(&mut self, asked: Option<Duration>) -> Duration {
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        let now = line.clock.now();
        if self.leave(&mut inner) {
            inner.is_refused = true;
            inner.refusals += 1;
            let wait = match asked {
                Some(asked) => asked.min(LONGEST),
                None => inner.backoff.next(None).min(PAUSE_MAX),
            };
            inner.resume_at = now + micros(wait);
            line.resume_later(inner.resume_at);
        }
        span(inner.resume_at - now)
    }

    /// It got through, or the answer was about it alone.
    pub(crate) fn through(&mut self) {
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        if self.leave(&mut inner) {
            inner.is_refused = false;
            inner.backoff.reset();
            inner.resume_at = i64::MIN;
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
