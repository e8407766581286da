//! All breakers: one for each service of this account and region, and one for each of its calls.
//!
//! What is throttled is the call, so it opens the breaker of that call alone; no answer, and errors of the service's own,
//! count on both.

use super::api::Api;
use super::breaker::{Breaker, Manual, Pass, State, THRESHOLD, Verdict};
use super::clock::{Clock, wall_at};
use super::error::CallError;
use dalsegno_scheduler::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// One of them, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerState {
    /// `batch`, `batch:SubmitJob` …
    pub name: String,
    pub state: State,
    /// In a row.
    pub failures: u32,
    pub opened_at: Option<Timestamp>,
    /// When the next call may try.
    pub retry_at: Option<Timestamp>,
    /// The last that counted, also if it is long over.
    pub last_error: Option<String>,
    pub manual: Manual,
}

pub(crate) struct Breakers {
    clock: Arc<dyn Clock>,
    reset: Duration,
    all: Mutex<BTreeMap<String, One>>,
}

struct One {
    breaker: Breaker,
    last_error: Option<String>,
}

/// After so long whoever found a breaker opened by hand asks again.
const BY_HAND: Duration = Duration::from_secs(60);

impl Breakers {
    pub(crate) fn new(clock: Arc<dyn Clock>, reset: Duration) -> Self {
        let one = || One {
            breaker: Breaker::new(reset),
            last_error: None,
        };
        let all = names().into_iter().map(|it| (it, one())).collect();
        Self {
            clock,
            reset,
            all: Mutex::new(all),
        }
    }

    pub(crate) fn refuses(&self, api: Api) -> Result<(), CallError> {
        let now = self.clock.now();
        let all = self.lock();
        for name in names_of(api) {
            if let Some(retry_in) = all.get(&name).and_then(|it| it.breaker.refuses(now)) {
                let retry_in = retry_in.unwrap_or(BY_HAND);
                return Err(CallError::BreakerOpen { retry_in });
            }
        }
        Ok(())
    }

    /// Through both, or through none.
    pub(crate) fn admit(&self, api: Api) -> Result<Passes<'_>, CallError> {
        self.refuses(api)?;
        let now = self.clock.now();
        let mut all = self.lock();
        let mut held = Vec::new();
        for name in names_of(api) {
            let one = all.get_mut(&name).expect("every name has a breaker");
            let before = one.breaker.state();
            match one.breaker.admit(now) {
                Ok(pass) => held.push((name.clone(), pass)),
                Err(retry_in) => {
                    for (name, pass) in held {
                        all.entry(name).and_modify(|it| it.breaker.gave_up(pass));
                    }
                    let retry_in = retry_in.unwrap_or(BY_HAND);
                    return Err(CallError::BreakerOpen { retry_in });
                }
            }
            one.tell(&name, before, self.reset);
        }
        Ok(Passes {
            breakers: self,
            api,
            held,
        })
    }

    pub(crate) fn set(&self, name: &str, manual: Manual) {
        if let Some(one) = self.lock().get_mut(name)
            && one.breaker.manual() != manual
        {
            one.breaker.set(manual);
            info!(
                "the circuit breaker of {name} was set to {} by hand",
                manual.as_str()
            );
        }
    }

    pub(crate) fn manuals(&self) -> BTreeMap<String, Manual> {
        let all = self.lock();
        let all = all
            .iter()
            .map(|(name, it)| (name.clone(), it.breaker.manual()));
        all.filter(|(_, it)| *it != Manual::Auto).collect()
    }

    pub(crate) fn states(&self) -> Vec<BreakerState> {
        let wall = |at| wall_at(&*self.clock, at);
        let all = self.lock();
        let all = all.iter().map(|(name, it)| BreakerState {
            name: name.clone(),
            state: it.breaker.state(),
            failures: it.breaker.failures(),
            opened_at: it.breaker.opened_at().map(wall),
            retry_at: it.breaker.retry_at().map(wall),
            last_error: it.last_error.clone(),
            manual: it.breaker.manual(),
        });
        all.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, One>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl One {
    /// A line for each change.
    fn tell(&self, name: &str, before: State, reset: Duration) {
        let seconds = reset.as_secs();
        let last = self.last_error.as_deref().unwrap_or("nothing");
        match (before, self.breaker.state()) {
            (State::Closed, State::Open) => warn!(
                "the circuit breaker of {name} is open: {THRESHOLD} calls in a row failed, the last with: {last}; \
                 it is asked again in {seconds} s"
            ),
            (State::HalfOpen, State::Open) => warn!(
                "the circuit breaker of {name} stays open: the call that tried failed with: {last}; it is asked again \
                 in {seconds} s"
            ),
            (State::Open, State::HalfOpen) => {
                info!("the circuit breaker of {name} is half open: one call tries");
            }
            (State::HalfOpen, State::Closed) => {
                info!("the circuit breaker of {name} is closed: {name} answers again");
            }
            _ => {}
        }
    }
}

/// Leave to make one call. Dropped without a word, it counts for nothing.
pub(crate) struct Passes<'a> {
    breakers: &'a Breakers,
    api: Api,
    held: Vec<(String, Pass)>,
}

impl Passes<'_> {
    pub(crate) fn done(mut self, result: Result<(), &CallError>) {
        let now = self.breakers.clock.now();
        let mut all = self.breakers.lock();
        for (name, pass) in std::mem::take(&mut self.held) {
            let one = all.get_mut(&name).expect("every name has a breaker");
            let before = one.breaker.state();
            let verdict = match result {
                Err(CallError::Unreachable { .. }) => Verdict::Failed,
                Err(CallError::Throttled { .. }) if name == self.api.to_string() => Verdict::Failed,
                _ => Verdict::Answered,
            };
            if let (Verdict::Failed, Err(error)) = (verdict, result) {
                one.last_error = Some(error.to_string());
            }
            one.breaker.done(pass, now, verdict);
            one.tell(&name, before, self.breakers.reset);
        }
    }
}

impl Drop for Passes<'_> {
    fn drop(&mut self) {
        let mut all = self.breakers.lock();
        for (name, pass) in self.held.drain(..) {
            all.entry(name).and_modify(|it| it.breaker.gave_up(pass));
        }
    }
}

/// The service's and the call's own; one for a service of which only one call is made.
fn names_of(api: Api) -> Vec<String> {
    let mut names = vec![api.service().to_owned(), api.to_string()];
    names.dedup();
    names
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = Api::ALL.into_iter().flat_map(names_of).collect();
    names.sort();
    names.dedup();
    names
}
