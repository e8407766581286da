//! How many jobs and executions are submitted in any 60 seconds, by all instances together and across a change of leader.
//!
//! What may go out is reserved in blocks. A block is written to the store before any of it is given out, and until it is
//! known better counts as if all of it went out at its end. So whoever takes over, and whenever this one dies, reads at
//! least as much as went out; and there is no more than one write a second.
//! Writing is a swap: of two instances that both take themselves for the leader, one reads what the other has reserved.
//! Between instances it is exact up to the difference of their clocks.

use super::bulkhead::Waiting;
use super::clock::{Clock, Micros};
use dalsegno_store::Store;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tokio::sync::Mutex;
use tracing::{info, warn};

/// The position under which the blocks lie in the store.
pub(crate) const POSITION: &str = "aws/submissions";

const WINDOW: Micros = 60_000_000;
/// How long a block may be given out; longer than a slow database needs to take it.
const BLOCK: Micros = 5_000_000;
/// The least time between two blocks, and so between two writes.
const EVERY: Micros = 1_000_000;
/// After so long a store that did not take a block is tried again.
const STORE_RETRY: Micros = 1_000_000;

/// So many went out, at this moment or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    until: Micros,
    count: u32,
}

/// What is being given out.
#[derive(Clone, Copy, Debug)]
struct Block {
    from: Micros,
    until: Micros,
    size: u32,
    given: u32,
    last: Micros,
}

/// The account of the last 60 seconds. Pure: time comes in.
#[derive(Clone, Debug)]
struct Ledger {
    limit: u32,
    spent: VecDeque<Spent>,
    block: Option<Block>,
}

impl Ledger {
    const fn new(limit: u32) -> Self {
        Self {
            limit,
            spent: VecDeque::new(),
            block: None,
        }
    }

    fn give(&mut self, now: Micros) -> bool {
        match &mut self.block {
            Some(it) if now < it.until && it.given < it.size => {
                it.given += 1;
                it.last = now;
                true
            }
            _ => false,
        }
    }

    /// Reserves up to `want`, at least one. Else: when there may be room.
    fn reserve(&mut self, now: Micros, want: u32) -> Result<(), Micros> {
        if let Some(it) = self.block
            && now < it.from + EVERY
        {
            return Err(it.from + EVERY);
        }
        if let Some(it) = self.block.take()
            && it.given > 0
        {
            self.spent.push_back(Spent {
                until: it.last,
                count: it.given,
            });
        }
        self.spent.retain(|it| it.until > now - WINDOW);
        let used: u32 = self.spent.iter().map(|it| it.count).sum();
        let size = self.limit.saturating_sub(used).min(want);
        if size == 0 {
            let oldest = self.spent.iter().map(|it| it.until).min();
            return Err(oldest.map_or(now + EVERY, |it| it + WINDOW));
        }
        self.block = Some(Block {
            from: now,
            until: now + BLOCK,
            size,
            given: 0,
            last: now,
        });
        Ok(())
    }

    /// The block as if all of it went out at its end; times of day.
    fn write(&self, wall_minus_now: Micros) -> String {
        let block = self.block.map(|it| (it.until, it.size));
        let spent = self.spent.iter().map(|it| (it.until, it.count));
        let all: Vec<(Micros, u32)> = spent
            .chain(block)
            .map(|(until, count)| (until + wall_minus_now, count))
            .collect();
        serde_json::json!(all).to_string()
    }

    /// Nothing that another wrote can be later than the end of a block that begins now, whatever its clock says.
    fn read(limit: u32, text: &str, wall_minus_now: Micros, now: Micros) -> Option<Self> {
        let all: Vec<(Micros, u32)> = serde_json::from_str(text).ok()?;
        let spent = all.into_iter().map(|(until, count)| Spent {
            until: until.saturating_sub(wall_minus_now).min(now + BLOCK),
            count,
        });
        Some(Self {
            limit,
            spent: spent.collect(),
            block: None,
        })
    }
}

/// The ledger and where it is kept.
pub(crate) struct Window {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    limit: u32,
    /// Whoever waits holds it, so they are served in the order in which they came.
    inner: Mutex<Inner>,
    /// How many wait: the next block is as large.
    waiting: AtomicU32,
    /// Nothing is given out before this.
    full_until: AtomicI64,
}

struct Inner {
    ledger: Ledger,
    kept: Kept,
}

/// What lies in the store.
enum Kept {
    Unread,
    Nothing,
    Text(String),
}

impl Window {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limit: u32) -> Self {
        let limit = limit.max(1);
        Self {
            store,
            clock,
            limit,
            inner: Mutex::new(Inner {
                ledger: Ledger::new(limit),
                kept: Kept::Unread,
            }),
            waiting: AtomicU32::new(0),
            full_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Until when nothing is given out, if that is later than now.
    pub(crate) fn full_until(&self) -> Option<Micros> {
        let until = self.full_until.load(Ordering::Relaxed);
        (until > self.clock.now()).then_some(until)
    }

    /// Waits until one more may go out. Then it must go out at once, or not at all.
    pub(crate) async fn take(&self) {
        let _one = Waiting::one(&self.waiting);
        let mut inner = self.inner.lock().await;
        loop {
            if inner.ledger.give(self.clock.now()) {
                return;
            }
            if let Err(until) = self.reserve(&mut inner).await {
                self.full_until.store(until, Ordering::Relaxed);
                self.clock.sleep_until(until).await;
            }
        }
    }

    /// One more block, on disk. Else: when to try again.
    async fn reserve(&self, inner: &mut Inner) -> Result<(), Micros> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            warn!("what may be submitted cannot be {what}, so nothing is submitted: {error}");
            self.clock.now() + STORE_RETRY
        };
        if matches!(inner.kept, Kept::Unread) {
            let kept = self.store.position(POSITION).await;
            let now = self.clock.now();
            let shift = self.clock.wall().0 - now;
            match kept.map_err(|error| failed("read", &error))? {
                None => {
                    inner.ledger = Ledger::new(self.limit);
                    inner.kept = Kept::Nothing;
                }
                Some(text) => {
                    inner.ledger =
                        Ledger::read(self.limit, &text, shift, now).unwrap_or_else(|| {
                            warn!(
                                "position `{POSITION}` is not readable, and taken for a full minute"
                            );
                            full(self.limit, now)
                        });
                    inner.kept = Kept::Text(text);
                }
            }
        }
        let now = self.clock.now();
        let at_once = (self.limit / 20).max(1);
        let want = self.waiting.load(Ordering::Relaxed).max(at_once);
        // What is not written is not given out: the draft is kept only afterwards.
        let mut draft = inner.ledger.clone();
        draft.reserve(now, want)?;
        let text = draft.write(self.clock.wall().0 - now);
        let old = match &inner.kept {
            Kept::Unread | Kept::Nothing => None,
            Kept::Text(text) => Some(text.as_str()),
        };
        let swapped = self
            .store
            .swap_position(POSITION, old, &text, self.clock.wall());
        match swapped.await {
            Ok(true) => {
                inner.ledger = draft;
                inner.kept = Kept::Text(text);
                Ok(())
            }
            Ok(false) => {
                info!("another instance has submitted too: what it reserved is counted");
                inner.kept = Kept::Unread;
                Err(now)
            }
            Err(error) => {
                // It may have been written all the same.
                inner.kept = Kept::Unread;
                Err(failed("written", &error))
            }
        }
    }
}

fn full(limit: u32, now: Micros) -> Ledger {
    let mut ledger = Ledger::new(limit);
    ledger.spent.push_back(Spent {
        until: now,
        count: limit,
    });
    ledger
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
