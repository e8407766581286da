//! How often one API is called. The `governor` crate was looked at: it wakes whoever comes first and goes by a clock of
//! its own; here those who wait are served in order, and a test's clock moves them.

use super::api::Rate;
use super::clock::{Clock, Micros};
use std::sync::{Arc, Mutex, PoisonError};

/// A token bucket, as the moment at which it is full again.
pub(crate) struct Bucket {
    clock: Arc<dyn Clock>,
    /// Those who wait stand here in order.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    rate: Rate,
    full_at: Micros,
    /// The service asked to be left alone until then.
    paused_until: Micros,
}

impl Bucket {
    pub(crate) fn new(clock: Arc<dyn Clock>, rate: Rate) -> Self {
        Self {
            clock,
            queue: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                rate,
                full_at: i64::MIN,
                paused_until: i64::MIN,
            }),
        }
    }

    pub(crate) fn set_rate(&self, rate: Rate) {
        self.state().rate = rate;
    }

    /// Waits for one token and takes it.
    pub(crate) async fn take(&self) {
        let _turn = self.queue.lock().await;
        while let Err(at) = self.try_take() {
            self.clock.sleep_until(at).await;
        }
    }

    fn try_take(&self) -> Result<(), Micros> {
        let now = self.clock.now();
        let mut state = self.state();
        // Rounded up: rather a little less than is allowed.
        let one = 1_000_000_i64.div_euclid(i64::from(state.rate.per_second.max(1))) + 1;
        let others = one * i64::from(state.rate.burst.max(1) - 1);
        let full_at = state.full_at.max(now);
        if full_at - others > now {
            return Err(full_at - others);
        }
        state.full_at = full_at + one;
        Ok(())
    }

    pub(crate) fn pause_until(&self, at: Micros) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(at);
    }

    pub(crate) fn paused_until(&self) -> Option<Micros> {
        let until = self.state().paused_until;
        (until > self.clock.now()).then_some(until)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
