//! One channel's own place: its deliveries in their order, its breaker, its few messages on their way. Whatever it does,
//! others do not wait for it.

use super::Outbox;
use super::record::Records;
use crate::alert::Alert;
use crate::channel::{Attempted, Channel, Letter, Verdict};
use crate::desk::{Desk, Health};
use crate::schedule::{jitter, wait_after};
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{AttemptLog, ChannelStop, DeliveryOutcome, DeliveryRow, DeliveryState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How many messages to one channel are on their way at the same time; of different matters.
const PLACES: usize = 4;

/// How many deliveries are read at once.
const AHEAD: usize = 64;

/// How many others one message takes along.
const COMPANIONS_MAX: usize = 200;

/// Somebody else may have changed something, on another machine.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// While the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// What all endpoints share.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) desk: Arc<Desk>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) records: Records,
}

/// Delivers to one channel until it is told to stop; then waits for what is on its way.
pub(super) async fn run(office: Office, channel: Channel, stop: CancellationToken) {
    let mut endpoint = Endpoint {
        health: Health::default(),
        flights: JoinSet::new(),
        in_flight: BTreeMap::new(),
        queue: VecDeque::new(),
        channel: Arc::new(channel),
        desk: office.desk.clone(),
        office,
    };
    while !stop.is_cancelled() {
        let pause = endpoint.begin().await;
        let Endpoint {
            desk,
            channel,
            flights,
            ..
        } = &mut endpoint;
        tokio::select! {
            () = stop.cancelled() => {}
            () = desk.wake_of(&channel.name).notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(landed) = flights.join_next_with_id() => endpoint.landed(landed),
        }
    }
    while let Some(landed) = endpoint.flights.join_next_with_id().await {
        endpoint.landed(landed);
    }
}

struct Endpoint {
    desk: Arc<Desk>,
    channel: Arc<Channel>,
    office: Office,
    health: Health,
    flights: JoinSet<Landed>,
    in_flight: BTreeMap<Id, DeliveryRow>,
    /// Read before, not begun yet.
    queue: VecDeque<DeliveryRow>,
}

/// What a flight brings back.
struct Landed {
    /// `None`: nothing was sent, for there was nothing to send any more.
    attempted: Option<Attempted>,
    /// What it told of besides.
    companions: Vec<String>,
    /// When it ended.
    at: Timestamp,
}

impl Endpoint {
    /// Begins what can be begun; gives how long to wait for more.
    async fn begin(&mut self) -> Duration {
        loop {
            let now = self.desk.now();
            if self.desk.is_stopped(&self.channel.name) {
                self.queue.clear();
                return LOOK_AGAIN;
            }
            let places = PLACES - self.in_flight.len();
            let room = match self.health.breaker.room(now, places) {
                Ok(room) => room,
                Err(Some(until)) => return between(now, until),
                Err(None) => return LOOK_AGAIN,
            };
            if room == 0 {
                return LOOK_AGAIN;
            }
            if let Some(next) = self.next_of_queue() {
                self.take_off(next);
                continue;
            }
            match self.read(now).await {
                Ok(true) => {}
                Ok(false) => return self.until_next(now).await,
                Err(error) => {
                    tracing::debug!(
                        "deliveries of {} cannot be read: {error}",
                        self.channel.name
                    );
                    return PAUSE;
                }
            }
        }
    }

    /// The next that no flight is in the way of.
    fn next_of_queue(&mut self) -> Option<DeliveryRow> {
        let is_free = |it: &DeliveryRow| {
            !self.in_flight.values().any(|other| {
                other.id == it.id
                    || other.matter == it.matter
                    || (!it.batch.is_empty() && other.batch == it.batch)
            })
        };
        let place = self.queue.iter().position(is_free)?;
        self.queue.remove(place)
    }

    /// Reads what is due; true if something of it can be begun.
    async fn read(&mut self, now: Timestamp) -> Result<bool, dalsegno_store::Error> {
        let limit = AHEAD + self.in_flight.len();
        let rows = self
            .desk
            .store
            .due_deliveries(&self.channel.name, now, limit);
        // What is on its way stands there as it was before.
        let is_here = |it: &DeliveryRow| self.in_flight.values().all(|other| other.id != it.id);
        self.queue = rows.await?.into_iter().filter(is_here).collect();
        match self.next_of_queue() {
            Some(next) => {
                self.queue.push_front(next);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn until_next(&self, now: Timestamp) -> Duration {
        match self.desk.store.next_delivery(&self.channel.name, now).await {
            Ok(Some(at)) => between(now, at),
            Ok(None) => LOOK_AGAIN,
            Err(_) => PAUSE,
        }
    }

    fn take_off(&mut self, row: DeliveryRow) {
        self.health.breaker.begin();
        let flight = fly(self.office.clone(), self.channel.clone(), row.clone());
        let id = self.flights.spawn(flight).id();
        self.in_flight.insert(id, row);
    }

    fn landed(&mut self, landed: Result<(Id, Landed), JoinError>) {
        let (id, landed) = match landed {
            Ok((id, landed)) => (id, landed),
            Err(error) => {
                tracing::error!("a delivery to {} broke off: {error}", self.channel.name);
                let attempted = Some(Attempted::ill(None, "it broke off"));
                let companions = Vec::new();
                (
                    error.id(),
                    Landed {
                        attempted,
                        companions,
                        at: self.desk.now(),
                    },
                )
            }
        };
        self.in_flight.remove(&id);
        let now = landed.at;
        self.queue.retain(|it| !landed.companions.contains(&it.id));
        let breaker = &mut self.health.breaker;
        let Some(attempted) = landed.attempted else {
            breaker.gave_up();
            // Whether its companions are settled is not known: the database is asked again.
            self.queue.clear();
            return;
        };
        match attempted.verdict {
            Verdict::Delivered => {
                breaker.answered();
                self.health.delivered_at = Some(now);
            }
            Verdict::Later { asked, is_ill } => {
                match is_ill {
                    true => breaker.failed(now),
                    false => breaker.answered(),
                }
                if let Some(asked) = asked.filter(|_| is_ill) {
                    breaker.rest(now + asked.min(crate::schedule::RETRY_AFTER_MAX));
                }
            }
            Verdict::Never | Verdict::Gone => breaker.answered(),
        }
        if attempted.verdict != Verdict::Delivered {
            self.health.failed_at = Some(now);
            self.health.last_error = Some(attempted.message);
        }
        self.desk
            .set_health(&self.channel.name, self.health.clone());
    }
}

const fn nothing(at: Timestamp) -> Landed {
    Landed {
        attempted: None,
        companions: Vec::new(),
        at,
    }
}

fn between(now: Timestamp, at: Timestamp) -> Duration {
    let wait = Duration::from_micros((at - now).0.max(1_000) as u64);
    wait.min(LOOK_AGAIN)
}

/// One attempt from its settling to its record. Dropped at any place it is made again.
async fn fly(office: Office, channel: Arc<Channel>, mut row: DeliveryRow) -> Landed {
    let Office {
        desk,
        outbox,
        records,
    } = office;
    let companions = match settle(&desk, &mut row).await {
        Ok(Some(companions)) => companions,
        Ok(None) => {
            return nothing(desk.now());
        }
        Err(error) => {
            tracing::debug!("{} waits for the database: {error}", row.id);
            tokio::time::sleep(PAUSE).await;
            return nothing(desk.now());
        }
    };
    let at = desk.now();
    let attempted = match serde_json::from_str::<Vec<Alert>>(&row.alerts) {
        Ok(alerts) if !alerts.is_empty() => {
            let letter = Letter {
                id: &row.id,
                alerts: &alerts,
                at,
            };
            desk.sender.send(&channel, letter).await
        }
        _ => Attempted::never(None, "the database holds no alert for it"),
    };
    let now = desk.now();
    if attempted.verdict == Verdict::Gone {
        let stop = ChannelStop {
            channel: channel.name.clone(),
            reason: format!("{}: the endpoint says that it is gone", attempted.message),
            stopped_at: now,
        };
        match desk.store.stop_channel(&stop).await {
            Ok(()) => desk.stopped(stop),
            Err(error) => tracing::warn!("channel {} is not stopped yet: {error}", channel.name),
        }
    }
    let outcome = outcome(&row, &attempted, at, now, jitter());
    if outcome.state == DeliveryState::Dead {
        tracing::warn!("delivery {} is given up: {}", row.id, outcome.reason);
        outbox.dead(&row, &outcome.reason).await;
    }
    records.write(outcome).await;
    Landed {
        attempted: Some(attempted),
        companions,
        at: now,
    }
}

/// Settles what the message tells, before its first attempt; `None`: it is not to be sent any more.
async fn settle(
    desk: &Desk,
    row: &mut DeliveryRow,
) -> Result<Option<Vec<String>>, dalsegno_store::Error> {
    let is_held = row.state == DeliveryState::Held;
    let may_group = !row.batch.is_empty() && row.attempts == 0;
    if !is_held && !may_group {
        return Ok(Some(Vec::new()));
    }
    let _turn = desk.turn.lock().await;
    let now = desk.now();
    let companions = match may_group {
        true => desk.store.companions(row, now, COMPANIONS_MAX).await?,
        false => Vec::new(),
    };
    if companions.is_empty() && !is_held {
        return Ok(Some(Vec::new()));
    }
    let mut alerts: Vec<serde_json::Value> = Vec::new();
    for it in std::iter::once(&*row).chain(&companions) {
        alerts.extend(serde_json::from_str::<Vec<_>>(&it.alerts).unwrap_or_default());
    }
    alerts.sort_by_key(|it| it["id"].as_u64());
    row.alerts = serde_json::Value::Array(alerts).to_string();
    let ids: Vec<String> = companions.into_iter().map(|it| it.id).collect();
    let settled = desk.store.settle_delivery(&row.id, &row.alerts, &ids, now);
    Ok(settled.await?.then_some(ids))
}

/// How a delivery stands after an attempt.
fn outcome(
    row: &DeliveryRow,
    attempted: &Attempted,
    at: Timestamp,
    now: Timestamp,
    jitter: u16,
) -> DeliveryOutcome {
    let said = attempted.message.clone();
    let tries = row.tries + 1;
    let (state, due_at, tries, reason) = match attempted.verdict {
        Verdict::Delivered => (DeliveryState::Delivered, now, tries, String::new()),
        Verdict::Never => (DeliveryState::Dead, now, tries, said),
        // It goes out first thing when the channel goes on.
        Verdict::Gone => (
            DeliveryState::Waiting,
            now,
            row.tries,
            "its channel is stopped: the endpoint says that it is gone".to_owned(),
        ),
        Verdict::Later { asked, .. } => match wait_after(tries, asked, jitter) {
            Some(wait) => (DeliveryState::Waiting, now + wait, tries, said),
            None => {
                let reason = format!("given up after {tries} tries: {said}");
                (DeliveryState::Dead, now, tries, reason)
            }
        },
    };
    DeliveryOutcome {
        attempt: AttemptLog {
            delivery: row.id.clone(),
            number: row.attempts + 1,
            at,
            took: (now - at).max(Span::ZERO),
            status: attempted.status,
            message: attempted.message.clone(),
        },
        state,
        due_at,
        tries,
        reason,
    }
}
