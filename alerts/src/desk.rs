//! What all who deliver share, and what pages and the command line ask of them.

use crate::alert::Alert;
use crate::breaker::Breaker;
use crate::channel::{Attempted, Channel, Letter, Sender};
use crate::config::AlertsConfig;
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{ChannelStop, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The time, never going back.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything that delivering needs, shared by the parts that do it.
pub struct Desk {
    pub(crate) config: AlertsConfig,
    pub(crate) sender: Sender,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    /// Routing and settling take turns: what a message tells does not change between being looked at and being settled.
    pub(crate) turn: tokio::sync::Mutex<()>,
    wakes: BTreeMap<String, Notify>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    health: BTreeMap<String, Health>,
    stops: BTreeMap<String, ChannelStop>,
    /// Counts what was stopped and enabled here: what was read before is old.
    changes: u64,
}

/// How a channel is doing since the daemon began to deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) breaker: Breaker,
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

/// A channel as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    pub name: String,
    /// `webhook`, `slack` …
    pub kind: &'static str,
    /// Without anything secret.
    pub target: String,
    /// `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// When it is tried again, if it is left alone now.
    pub retry_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    pub stopped: Option<ChannelStop>,
    pub delivered_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// What came of a test message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    pub id: String,
    pub attempted: Attempted,
    pub took: Span,
}

impl Desk {
    pub fn new(
        config: AlertsConfig,
        sender: Sender,
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Arc<Self> {
        let names = config.channels.keys().cloned();
        Arc::new(Self {
            wakes: names.map(|it| (it, Notify::new())).collect(),
            config,
            sender,
            store,
            clock,
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        })
    }

    pub fn config(&self) -> &AlertsConfig {
        &self.config
    }

    /// All channels that are configured, by name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, dalsegno_store::Error> {
        self.read_stops().await?;
        let now = self.now();
        let known = self.known();
        let view = |it: &Channel| {
            let health = known.health.get(&it.name).cloned().unwrap_or_default();
            ChannelView {
                name: it.name.clone(),
                kind: it.kind.as_str(),
                target: it.target(),
                breaker: health.breaker.state(now).as_str(),
                retry_at: health.breaker.retry_at(now),
                failures: health.breaker.failures(),
                stopped: known.stops.get(&it.name).cloned(),
                delivered_at: health.delivered_at,
                failed_at: health.failed_at,
                last_error: health.last_error,
            }
        };
        Ok(self.config.channels.values().map(view).collect())
    }

    /// Sends a test message, once, and says what came of it; also to a channel that is stopped. `None`: there is no such
    /// channel.
    pub async fn test(&self, channel: &str) -> Option<Tested> {
        let channel = self.config.channels.get(channel)?;
        let at = self.now();
        let id = format!("msg_test{}_{}", at.0, channel.name);
        let alert = Alert::test(&channel.name, at);
        let letter = Letter {
            id: &id,
            alerts: std::slice::from_ref(&alert),
            at,
        };
        let attempted = self.sender.send(channel, letter).await;
        Some(Tested {
            attempted,
            took: (self.now() - at).max(Span::ZERO),
            id,
        })
    }

    /// Lets a stopped channel go on; false if it was not stopped.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn enable(&self, channel: &str) -> Result<bool, dalsegno_store::Error> {
        let was_stopped = self.store.start_channel(channel).await?;
        let mut known = self.known();
        known.stops.remove(channel);
        known.changes += 1;
        drop(known);
        self.wake(channel);
        Ok(was_stopped)
    }

    /// A delivery as it stands.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn delivery(
        &self,
        id: &str,
    ) -> Result<Option<dalsegno_store::DeliveryRow>, dalsegno_store::Error> {
        self.store.delivery(id).await
    }

    /// Has a delivery sent again under its own id; false if it is not ended, or not there.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn replay(&self, id: &str) -> Result<bool, dalsegno_store::Error> {
        let is_replayed = self.store.replay_delivery(id, self.now()).await?;
        self.wakes.values().for_each(Notify::notify_one);
        Ok(is_replayed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn wake(&self, channel: &str) {
        if let Some(wake) = self.wakes.get(channel) {
            wake.notify_one();
        }
    }

    pub(crate) fn wake_of(&self, channel: &str) -> &Notify {
        &self.wakes[channel]
    }

    pub(crate) fn is_stopped(&self, channel: &str) -> bool {
        self.known().stops.contains_key(channel)
    }

    /// Whoever delivers may not be who was asked to stop or enable a channel.
    pub(crate) async fn read_stops(&self) -> Result<(), dalsegno_store::Error> {
        let old = loop {
            let before = self.known().changes;
            let stops = self.store.channel_stops().await?.into_iter();
            let stops = stops.map(|it| (it.channel.clone(), it)).collect();
            let mut known = self.known();
            if known.changes == before {
                break std::mem::replace(&mut known.stops, stops);
            }
        };
        for channel in old.keys().filter(|it| !self.is_stopped(it)) {
            self.wake(channel);
        }
        Ok(())
    }

    pub(crate) fn stopped(&self, stop: ChannelStop) {
        let mut known = self.known();
        known.stops.insert(stop.channel.clone(), stop);
        known.changes += 1;
    }

    pub(crate) fn set_health(&self, channel: &str, health: Health) {
        self.known().health.insert(channel.to_owned(), health);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
