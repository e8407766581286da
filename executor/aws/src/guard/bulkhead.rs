//! Calls in compartments: what hangs or floods in one takes no place in another.

use super::api::{Api, Pool};
use super::clock::{Clock, micros};
use super::error::CallError;
use crate::config::AwsConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Submissions on the way at a time; at 50 a second each may take a second.
const SUBMISSIONS: u32 = 50;
/// Other calls to Batch, Step Functions, SQS and CloudWatch Logs at a time.
const COMPUTE: u32 = 50;

/// One compartment.
struct Room {
    what: &'static str,
    places: Semaphore,
    size: u32,
    /// So many may wait for a place, and so long (`None`: as long as it takes).
    queue_max: u32,
    patience: Option<Duration>,
    waiting: AtomicU32,
}

pub(crate) struct Bulkheads {
    clock: Arc<dyn Clock>,
    metadata: Room,
    artifact: Room,
    submissions: Room,
    compute: Room,
}

impl Bulkheads {
    pub(crate) fn new(config: &AwsConfig, clock: Arc<dyn Clock>) -> Self {
        let room = |what, size: u32, patience: Option<u64>| Room {
            what,
            places: Semaphore::new(size.max(1) as usize),
            size: size.max(1),
            queue_max: 20_000,
            patience: patience.map(Duration::from_secs),
            waiting: AtomicU32::new(0),
        };
        Self {
            clock,
            metadata: room("to metadata services", config.metadata_calls, Some(30)),
            artifact: room("to S3", config.artifact_calls, Some(300)),
            // A submission has a row that waits with it.
            submissions: Room {
                queue_max: u32::MAX,
                ..room("that submit", SUBMISSIONS, None)
            },
            compute: room("to AWS", COMPUTE, Some(60)),
        }
    }

    const fn room(&self, api: Api) -> &Room {
        match api.pool() {
            Pool::Metadata => &self.metadata,
            Pool::Artifact => &self.artifact,
            Pool::Compute if api.is_submission() => &self.submissions,
            Pool::Compute => &self.compute,
        }
    }

    /// A place, in the order in which they were asked for. Nothing was sent if there is none.
    pub(crate) async fn enter(&self, api: Api) -> Result<SemaphorePermit<'_>, CallError> {
        let room = self.room(api);
        if let Ok(place) = room.places.try_acquire() {
            return Ok(place);
        }
        if room.waiting.load(Ordering::Relaxed) >= room.queue_max {
            return Err(room.full("and too many wait"));
        }
        let _one = Waiting::one(&room.waiting);
        let place = room.places.acquire();
        let place = match room.patience {
            None => place.await,
            Some(patience) => {
                let patience = self.clock.now() + micros(patience);
                tokio::select! {
                    biased;
                    place = place => place,
                    () = self.clock.sleep_until(patience) => return Err(room.full("for too long")),
                }
            }
        };
        Ok(place.expect("never closed"))
    }
}

impl Room {
    fn full(&self, how: &str) -> CallError {
        CallError::Throttled {
            message: format!(
                "all {} calls at a time {} are taken, {how}; none was sent",
                self.size, self.what
            ),
            retry_after: None,
        }
    }
}

/// Counts who waits, also if the waiting is given up.
pub(super) struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    pub(super) fn one(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
