//! One call, with all that stands before it.

use super::api::{Api, Rate};
use super::backoff::LONGEST;
use super::breaker::{Manual, State};
use super::breakers::{BreakerState, Breakers};
use super::bucket::Bucket;
use super::bulkhead::Bulkheads;
use super::clock::{Clock, RealClock, micros, span};
use super::error::CallError;
use super::limits::Patience;
use super::line::{self, Line};
use super::window::Window;
use crate::config::AwsConfig;
use aws_sdk_batch::config::http::HttpResponse;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use dalsegno_store::Store;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tracing::warn;

/// The position under which lies what people have set breakers to.
const MANUAL: &str = "aws/breakers";

pub struct Guard {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    place: Place,
    breakers: Breakers,
    bulkheads: Bulkheads,
    buckets: BTreeMap<Api, Bucket>,
    lines: BTreeMap<Api, Arc<Line>>,
    window: Window,
    /// Submissions pass bucket and window one after the other, so that none grows old between them.
    submitting: tokio::sync::Mutex<()>,
    tally: Mutex<Tally>,
    /// What people set was read.
    manual: OnceCell<()>,
}

/// Who is asked, for messages.
struct Place {
    region: Option<String>,
    endpoint: Option<String>,
}

#[derive(Default)]
struct Tally {
    calls: BTreeMap<Api, u64>,
    errors: BTreeMap<(Api, &'static str), u64>,
    patience: BTreeMap<Api, Patience>,
}

/// There is no breaker of that name, or no call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no `{name}`: there are {}", .known.join(", "))]
pub struct UnknownName {
    pub name: String,
    pub known: Vec<String>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Guard {
    pub fn new(config: &AwsConfig, store: Arc<dyn Store>) -> Self {
        Self::with(config, store, Arc::new(RealClock::new()))
    }

    pub(crate) fn with(config: &AwsConfig, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let bucket = |api: Api| (api, Bucket::new(Arc::clone(&clock), api.rate()));
        let line = |api: Api| (api, Line::new(Arc::clone(&clock)));
        Self {
            place: Place {
                region: config.region.clone(),
                endpoint: config.endpoint.clone(),
            },
            breakers: Breakers::new(Arc::clone(&clock), config.timings.breaker_reset),
            bulkheads: Bulkheads::new(config, Arc::clone(&clock)),
            buckets: Api::ALL.into_iter().map(bucket).collect(),
            lines: Api::ALL.into_iter().map(line).collect(),
            window: Window::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                config.submissions_per_minute,
            ),
            submitting: tokio::sync::Mutex::default(),
            tally: Mutex::default(),
            manual: OnceCell::new(),
            clock,
            store,
        }
    }

    /// One call, never repeated here. It waits for its place, for the limit of its API, and if it submits something for
    /// the limit of submissions, in the order of asking; what is dropped while it waits was not sent.
    ///
    /// # Errors
    /// What the answer means, or why the service was not asked at all. A call that takes too long is given up: what became
    /// of it is unknown ([`CallError::Unreachable`]).
    pub fn call<T, E: ProvideErrorMetadata>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> impl Future<Output = Result<T, CallError>> {
        // A call of a client is 20 KiB large, and lies in every future around it: on the heap it costs one allocation,
        // without it the stack of a thread.
        let call = Box::pin(call);
        let host = self.place.of(api);
        self.ask(api, async move {
            call.await
                .map_err(|error| CallError::from_host(&error, &host))
        })
    }

    /// The same for what is no call of an AWS client: a metadata service.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ask<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.read_manual().await;
        // Before waiting, and once more after it.
        self.may(api)?;
        let _place = self.bulkheads.enter(api).await?;
        if api.is_submission() {
            let _turn = self.submitting.lock().await;
            self.may(api)?;
            self.bucket(api).take().await;
            self.window.take().await;
        } else {
            self.bucket(api).take().await;
        }
        let passes = self.breakers.admit(api)?;
        let (begun, limit) = (self.clock.now(), self.limit(api));
        *self.tally().calls.entry(api).or_default() += 1;
        let result = tokio::select! {
            biased;
            result = call => result,
            () = self.clock.sleep_until(begun + micros(limit)) => Err(CallError::Unreachable {
                message: format!("{}: no answer in {} s", self.place.of(api), limit.as_secs()),
            }),
        };
        let took = span(self.clock.now() - begun);
        self.note(api, took.min(limit), limit, result.as_ref().err());
        passes.done(result.as_ref().map(|_| ()));
        result
    }

    /// A place in the line of this call. Whoever drops it has left the line.
    pub(crate) fn place(&self, api: Api) -> line::Place {
        self.lines[&api].join()
    }

    /// Repeats a call that was refused before anything was done (throttled, breaker open) until it gets through, in the
    /// order in which the places were taken: whoever is refused keeps its place in the line, and after a refusal only
    /// the first of the line tries. All who stand in the line are told through `waiting` each time why, and how long.
    /// The place is given back, for whoever has to come again for another reason.
    ///
    /// # Errors
    /// All others: the outcome is unknown, or the request cannot work.
    pub(crate) async fn in_order<T, C: Future<Output = Result<T, CallError>>>(
        &self,
        mut place: line::Place,
        mut call: impl FnMut() -> C,
        mut waiting: impl FnMut(&CallError, Duration),
    ) -> (line::Place, Result<T, CallError>) {
        let mut refusals = place.refusals();
        loop {
            {
                let mut turn = std::pin::pin!(place.turn());
                loop {
                    tokio::select! {
                        biased;
                        () = &mut turn => break,
                        Ok(()) = refusals.changed() => {}
                    }
                    if let Some(it) = &*refusals.borrow_and_update() {
                        waiting(&it.error, span(it.until - self.clock.now()));
                    }
                }
            }
            match call().await {
                Err(error @ (CallError::BreakerOpen { .. } | CallError::Throttled { .. })) => {
                    place.refused(error);
                }
                result => {
                    place.through();
                    return (place, result);
                }
            }
        }
    }

    /// Waits until the limit of submissions leaves room, if it is used up now. Nothing is taken: the call itself takes what it needs, at the
    /// moment at which it goes out, so that the limit is one of what AWS sees.
    pub async fn submissions(&self, _count: u32) {
        if let Some(until) = self.window.full_until() {
            self.clock.sleep_until(until).await;
        }
    }

    /// How long a submission would wait for the limit of submissions, if it would.
    pub fn submissions_in(&self) -> Option<Duration> {
        let until = self.window.full_until()?;
        Some(span(until - self.clock.now()))
    }

    /// All breakers, by name.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.breakers.states()
    }

    /// What a person says of a breaker. It is kept, also beyond a restart.
    ///
    /// # Errors
    /// There is none of that name. When it cannot be kept, it holds until a restart, and a line of the log says so.
    pub async fn set(&self, name: &str, manual: Manual) -> Result<(), UnknownName> {
        self.read_manual().await;
        let known: Vec<String> = self.breakers().into_iter().map(|it| it.name).collect();
        if !known.iter().any(|it| it == name) {
            let name = name.to_owned();
            return Err(UnknownName { name, known });
        }
        self.breakers.set(name, manual);
        let all = self.breakers.manuals();
        let all: BTreeMap<&str, &str> = all
            .iter()
            .map(|(name, it)| (name.as_str(), it.as_str()))
            .collect();
        let text = serde_json::json!(all).to_string();
        let put = self.store.put_position(MANUAL, &text, self.clock.wall());
        if let Err(error) = put.await {
            warn!("what breakers are set to by hand is forgotten at a restart: {error}");
        }
        Ok(())
    }

    /// Another rate than AWS's default, of a call by name: `batch:SubmitJob`.
    ///
    /// # Errors
    /// There is no such call.
    pub fn set_rate(&self, name: &str, rate: Rate) -> Result<(), UnknownName> {
        match Api::ALL.into_iter().find(|it| it.to_string() == name) {
            Some(api) => {
                self.bucket(api).set_rate(rate);
                Ok(())
            }
            None => Err(UnknownName {
                name: name.to_owned(),
                known: Api::ALL.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// How often each call was made since the start.
    pub fn calls(&self) -> Vec<(Api, u64)> {
        let tally = self.tally();
        tally.calls.iter().map(|(api, n)| (*api, *n)).collect()
    }

    /// How often a call failed since the start, by kind: `throttled`, `unreachable` …
    pub fn errors(&self) -> Vec<(Api, &'static str, u64)> {
        let tally = self.tally();
        let all = tally.errors.iter();
        all.map(|((api, kind), n)| (*api, *kind, *n)).collect()
    }

    /// How long an answer is waited for now.
    pub fn limit(&self, api: Api) -> Duration {
        let mut tally = self.tally();
        tally.patience.entry(api).or_default().limit(api)
    }

    fn may(&self, api: Api) -> Result<(), CallError> {
        self.breakers.refuses(api)?;
        match self.bucket(api).paused_until() {
            None => Ok(()),
            Some(until) => Err(CallError::Throttled {
                message: format!("{api} asked for a pause"),
                retry_after: Some(span(until - self.clock.now())),
            }),
        }
    }

    fn note(&self, api: Api, took: Duration, limit: Duration, error: Option<&CallError>) {
        let mut tally = self.tally();
        // What failed at once says nothing about how long an answer takes.
        if error.is_none() || took >= limit {
            tally.patience.entry(api).or_default().note(took);
        }
        if let Some(error) = error {
            *tally.errors.entry((api, error.kind())).or_default() += 1;
        }
        if let Some(CallError::Throttled {
            retry_after: Some(wait),
            ..
        }) = error
        {
            let until = self.clock.now() + micros((*wait).min(LONGEST));
            self.bucket(api).pause_until(until);
        }
    }

    /// Once, and again as long as it does not work.
    async fn read_manual(&self) {
        let read = self.manual.get_or_try_init(async || {
            let text = self.store.position(MANUAL).await?.unwrap_or_default();
            let set: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
            for (name, manual) in set {
                if let Some(manual) = Manual::parse(&manual) {
                    self.breakers.set(&name, manual);
                }
            }
            Ok::<(), dalsegno_store::Error>(())
        });
        if let Err(error) = read.await {
            warn!("what breakers are set to by hand cannot be read: {error}");
        }
    }

    fn bucket(&self, api: Api) -> &Bucket {
        &self.buckets[&api]
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// `batch.eu-west-1.amazonaws.com`, or what is set instead.
    fn of(&self, api: Api) -> String {
        match (&self.endpoint, &self.region) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(region)) => format!("{}.{region}.amazonaws.com", api.service()),
            (None, None) => api.service().to_owned(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
