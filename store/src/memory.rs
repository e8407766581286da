//! The model of a store: what the databases must do, in plain maps, with faults on demand.
//!
//! Everything happens at once and under one lock, so the seeded world can use it without a runtime:
//! see [`MemoryStore::commit_sync`].

mod answers;
mod deliveries;
mod state;

use crate::encode::check_claims;
use crate::error::{CommitError, Error, Full};
use crate::lease::Lease;
use dalsegno_scheduler::row::{Changes, Recovered};
use dalsegno_scheduler::{Span, Timestamp};
use state::State;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Durable state in memory: it lives as long as the value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    sent: deliveries::Sent,
    faults: VecDeque<Fault>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The database refuses; nothing is written.
    Refused,
    /// The disk is full; nothing is written.
    DiskFull,
    /// The connection breaks before the commit arrives; the outcome is unknown.
    LostBefore,
    /// The connection breaks after the commit has happened; the outcome is unknown.
    LostAfter,
    /// Another instance has taken the lease and let it go again.
    LeaseTaken,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next commit that has no fault yet fail like this.
    pub fn fail_next(&self, fault: Fault) {
        self.inner().faults.push_back(fault);
    }

    /// [`crate::Store::take_lease`] without a runtime.
    pub fn take_lease_sync(&self, holder: &str, now: Timestamp, ttl: Span) -> Option<Lease> {
        self.inner().state.take_lease(holder, now, ttl)
    }

    /// [`crate::Store::renew_lease`] without a runtime.
    pub fn renew_lease_sync(&self, lease: &Lease, now: Timestamp, ttl: Span) -> Option<Lease> {
        self.inner().state.renew_lease(lease, now, ttl)
    }

    /// [`crate::Store::load`] without a runtime.
    pub fn load_sync(&self) -> Recovered {
        self.inner().state.load()
    }

    /// [`crate::Store::commit`] without a runtime.
    ///
    /// # Errors
    /// As there, and as [`MemoryStore::fail_next`] demands.
    pub fn commit_sync(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        let mut inner = self.inner();
        let fault = inner.faults.pop_front();
        match fault {
            Some(Fault::Refused) => return Err(Error::Db("a fault was injected".to_owned()).into()),
            Some(Fault::DiskFull) => return Err(Full::Disk("memory".to_owned()).into()),
            Some(Fault::LostBefore) => {
                return Err(CommitError::Unknown("the connection broke".to_owned()));
            }
            Some(Fault::LeaseTaken) => inner.state.lose_lease(),
            Some(Fault::LostAfter) | None => {}
        }
        check_claims(changes)?;
        inner.state.commit(lease, changes)?;
        match fault {
            Some(Fault::LostAfter) => Err(CommitError::Unknown("the connection broke".to_owned())),
            _ => Ok(()),
        }
    }

    /// The state after a panic elsewhere is still whole: each change is checked before any is made.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
