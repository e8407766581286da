//! Alerts on their way to people: deliveries, what came of each attempt, and channels that are stopped.
//!
//! These rows are written beside the commits of the core, by whoever delivers. Every change names the state that it
//! changes, so that two who deliver for a moment (an old leader and a new one) send a thing twice at worst.

use crate::backend::Backend;
use crate::decode::{Columns, Fields};
use crate::error::Error;
use crate::page::{Cursor, Page, page_limit};
use crate::select::{Arg, Select};
use async_trait::async_trait;
use dalsegno_scheduler::{Span, Timestamp};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryState {
    /// Not before its time: what is over by then is not told.
    Held,
    /// For its time, its endpoint, or an earlier one of the same matter.
    Waiting,
    Delivered,
    /// Another delivery tells of it.
    Grouped,
    /// There was nothing to tell any more.
    Dropped,
    /// It was given up, until somebody sends it again.
    Dead,
}

impl DeliveryState {
    pub const ALL: &[Self] = &[
        Self::Held,
        Self::Waiting,
        Self::Delivered,
        Self::Grouped,
        Self::Dropped,
        Self::Dead,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Grouped => "grouped",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.as_str() == text)
    }

    /// It will be sent, or be told with another.
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Held | Self::Waiting)
    }

    /// A person may have it sent (again).
    pub const fn is_replayable(self) -> bool {
        matches!(self, Self::Delivered | Self::Dropped | Self::Dead)
    }
}

/// One alert on its way to one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// `msg_<alert>_<channel>`: stable over retries, restarts and replays.
    pub id: String,
    pub alert: u64,
    pub channel: String,
    /// What it is about; deliveries of one matter go out one after the other.
    pub matter: String,
    /// Deliveries with the same may be told in one message; empty: none.
    pub batch: String,
    pub kind: String,
    /// Empty: of none.
    pub flow: String,
    pub summary: String,
    pub is_recovery: bool,
    /// JSON: the alerts that the message tells.
    pub alerts: String,
    pub state: DeliveryState,
    pub due_at: Timestamp,
    /// Since it was made or last replayed.
    pub tries: u32,
    /// In all.
    pub attempts: u32,
    /// The delivery that tells of it too; empty: none.
    pub told_with: String,
    /// Why it stands as it does; may be empty.
    pub reason: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A recovery of which the alert was held back until now: neither is told, if that is still so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Ids of the deliveries that are held.
    pub held: Vec<String>,
    pub held_reason: String,
    /// The recovery's own.
    pub recovery: String,
    pub recovery_reason: String,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptLog {
    pub delivery: String,
    /// From 1.
    pub number: u32,
    pub at: Timestamp,
    pub took: Span,
    /// Of HTTP or SMTP.
    pub status: Option<u16>,
    pub message: String,
}

/// An attempt, and how its delivery stands after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOutcome {
    pub attempt: AttemptLog,
    pub state: DeliveryState,
    pub due_at: Timestamp,
    pub tries: u32,
    pub reason: String,
}

/// A channel to which nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStop {
    pub channel: String,
    pub reason: String,
    pub stopped_at: Timestamp,
}

/// How many deliveries of a channel are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryCount {
    pub channel: String,
    pub state: DeliveryState,
    pub count: u64,
}

/// Which deliveries. Everything left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub channel: Option<String>,
    pub alert: Option<u64>,
    pub state: Option<DeliveryState>,
}

/// The rows of deliveries. Limits as in [`crate::Store`].
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Makes deliveries and moves the position `name` on to `cursor`, all or none. Those that are there already stay as
    /// they are.
    async fn add_deliveries(
        &self,
        rows: &[DeliveryRow],
        recovered: &[Recovered],
        name: &str,
        cursor: &str,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Those that may be sent now: due, and the first of their matter. The longest due first.
    async fn due_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error>;

    /// When the next one of a channel falls due after `now`.
    async fn next_delivery(
        &self,
        channel: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// Those that may be told together with this one: due, of its batch, never tried, and with nothing of their matter
    /// before them that is not told too. Oldest first.
    async fn companions(
        &self,
        leader: &DeliveryRow,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error>;

    /// Settles what a message tells, before it is sent for the first time: from then on it is never changed. False: the
    /// delivery is not to be sent any more, and nothing was written.
    async fn settle_delivery(
        &self,
        id: &str,
        alerts: &str,
        companions: &[String],
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Writes down attempts and what follows from them, all or none.
    async fn record_attempts(&self, outcomes: &[DeliveryOutcome]) -> Result<(), Error>;

    /// Deliveries of a matter of a channel that are older than this alert, newest first.
    async fn matter_deliveries(
        &self,
        channel: &str,
        matter: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error>;

    /// Has a delivery sent again; false if there is none of this name that was ended.
    async fn replay_delivery(&self, id: &str, now: Timestamp) -> Result<bool, Error>;

    async fn delivery(&self, id: &str) -> Result<Option<DeliveryRow>, Error>;
    /// Of the newest alert first.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryRow>, Error>;
    /// By number.
    async fn delivery_attempts(&self, id: &str) -> Result<Vec<AttemptLog>, Error>;
    /// How many are on their way or given up, by channel and state.
    async fn delivery_counts(&self) -> Result<Vec<DeliveryCount>, Error>;

    /// By channel.
    async fn channel_stops(&self) -> Result<Vec<ChannelStop>, Error>;
    /// Stops a channel; one that is stopped stays so for its first reason.
    async fn stop_channel(&self, stop: &ChannelStop) -> Result<(), Error>;
    /// Lets a channel go on; false if it was not stopped.
    async fn start_channel(&self, channel: &str) -> Result<bool, Error>;
}

const PENDING: &str = "state IN ('held', 'waiting')";

const COLUMNS: &str = "id, alert, channel, matter, batch, kind, flow, summary, recovery, alerts, state, due_at, tries, \
    attempts, told_with, reason, created_at, updated_at";

#[async_trait]
impl<B: Backend> Deliveries for B {
    async fn add_deliveries(
        &self,
        rows: &[DeliveryRow],
        recovered: &[Recovered],
        name: &str,
        cursor: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut all: Vec<Select> = rows.iter().map(insert).collect();
        for it in recovered {
            for id in &it.held {
                all.push(Select::new(
                    "UPDATE delivery SET state = 'dropped', reason = ?, updated_at = ? WHERE id = ? AND state = 'held'",
                    [it.held_reason.as_str().into(), now.0.into(), id.as_str().into()],
                ));
            }
            all.push(drop_recovery(it, now));
        }
        let args = [name.into(), cursor.into(), now.0.into()];
        all.push(Select::new(crate::queries::PUT_POSITION, args));
        self.write(all).await.map(drop)
    }

    async fn due_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        list(self, due(channel, now, page_limit(limit)), delivery).await
    }

    async fn next_delivery(
        &self,
        channel: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let rows = list(self, next(channel, now), |row| {
            Columns::new(row, "a delivery").maybe_int()
        });
        Ok(rows.await?.into_iter().flatten().next().map(Timestamp))
    }

    async fn companions(
        &self,
        leader: &DeliveryRow,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        list(self, companions(leader, now, page_limit(limit)), delivery).await
    }

    async fn settle_delivery(
        &self,
        id: &str,
        alerts: &str,
        companions: &[String],
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut all: Vec<Select> = Vec::new();
        for companion in companions {
            all.push(Select::new(
                &format!(
                    "UPDATE delivery SET state = 'grouped', told_with = ?, reason = '', updated_at = ? \
                     WHERE id = ? AND {PENDING} AND attempts = 0 \
                     AND EXISTS (SELECT 1 FROM delivery AS leader WHERE leader.id = ? AND leader.{PENDING})"
                ),
                [id.into(), now.0.into(), companion.as_str().into(), id.into()],
            ));
        }
        all.push(Select::new(
            &format!(
                "UPDATE delivery SET state = 'waiting', alerts = ?, updated_at = ? WHERE id = ? AND {PENDING} RETURNING id"
            ),
            [alerts.into(), now.0.into(), id.into()],
        ));
        Ok(!self.write(all).await?.is_empty())
    }

    async fn record_attempts(&self, outcomes: &[DeliveryOutcome]) -> Result<(), Error> {
        let mut all = Vec::new();
        for it in outcomes {
            let log = &it.attempt;
            all.push(Select::new(
                "INSERT INTO delivery_attempt (delivery, number, at, took_us, status, message) VALUES (?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (delivery, number) DO NOTHING",
                [
                    log.delivery.as_str().into(),
                    Arg::Int(log.number.into()),
                    log.at.0.into(),
                    log.took.0.into(),
                    Arg::Int(log.status.unwrap_or(0).into()),
                    log.message.as_str().into(),
                ],
            ));
            all.push(Select::new(
                "UPDATE delivery SET state = ?, due_at = ?, tries = ?, attempts = ?, reason = ?, updated_at = ? \
                 WHERE id = ? AND state = 'waiting' AND attempts < ?",
                [
                    it.state.as_str().into(),
                    it.due_at.0.into(),
                    Arg::Int(it.tries.into()),
                    Arg::Int(log.number.into()),
                    it.reason.as_str().into(),
                    (log.at + log.took).0.into(),
                    log.delivery.as_str().into(),
                    Arg::Int(log.number.into()),
                ],
            ));
        }
        self.write(all).await.map(drop)
    }

    async fn matter_deliveries(
        &self,
        channel: &str,
        matter: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let select = matter_of(channel, matter, before, page_limit(limit));
        list(self, select, delivery).await
    }

    async fn replay_delivery(&self, id: &str, now: Timestamp) -> Result<bool, Error> {
        let rows = self.write(vec![replay(id, now)]).await?;
        Ok(!rows.is_empty())
    }

    async fn delivery(&self, id: &str) -> Result<Option<DeliveryRow>, Error> {
        let rows = list(self, by_id(id), delivery).await?;
        Ok(rows.into_iter().next())
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, page(filter, cursor, limit)?, delivery).await?;
        Ok(Page::cut(rows, limit, cursor_of))
    }

    async fn delivery_attempts(&self, id: &str) -> Result<Vec<AttemptLog>, Error> {
        list(self, attempts(id), attempt).await
    }

    async fn delivery_counts(&self) -> Result<Vec<DeliveryCount>, Error> {
        list(self, counts(), |row| {
            let c = &mut Columns::new(row, "a count of deliveries");
            Ok(DeliveryCount {
                channel: c.text()?,
                state: c.word(DeliveryState::parse)?,
                count: c.number()?,
            })
        })
        .await
    }

    async fn channel_stops(&self) -> Result<Vec<ChannelStop>, Error> {
        list(self, stops(), |row| {
            let c = &mut Columns::new(row, "a stopped channel");
            Ok(ChannelStop {
                channel: c.text()?,
                reason: c.text()?,
                stopped_at: c.at()?,
            })
        })
        .await
    }

    async fn stop_channel(&self, stop: &ChannelStop) -> Result<(), Error> {
        let insert = Select::new(
            "INSERT INTO channel_stop (channel, reason, stopped_at) VALUES (?, ?, ?) ON CONFLICT (channel) DO NOTHING",
            [
                stop.channel.as_str().into(),
                stop.reason.as_str().into(),
                stop.stopped_at.0.into(),
            ],
        );
        self.write(vec![insert]).await.map(drop)
    }

    async fn start_channel(&self, channel: &str) -> Result<bool, Error> {
        let delete = Select::new(
            "DELETE FROM channel_stop WHERE channel = ? RETURNING channel",
            [channel.into()],
        );
        Ok(!self.write(vec![delete]).await?.is_empty())
    }
}

async fn list<B: Backend, T>(
    store: &B,
    select: Select,
    decode: impl Fn(&B::Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let answers = store.read(vec![select]).await?;
    answers.iter().flatten().map(decode).collect()
}

pub(crate) fn cursor_of(row: &DeliveryRow) -> String {
    format!("{} {}", row.alert, row.channel)
}

fn insert(it: &DeliveryRow) -> Select {
    Select::new(
        &format!(
            "INSERT INTO delivery ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO NOTHING"
        ),
        [
            it.id.as_str().into(),
            Arg::Int(it.alert as i64),
            it.channel.as_str().into(),
            it.matter.as_str().into(),
            it.batch.as_str().into(),
            it.kind.as_str().into(),
            it.flow.as_str().into(),
            it.summary.as_str().into(),
            Arg::Int(it.is_recovery.into()),
            it.alerts.as_str().into(),
            it.state.as_str().into(),
            it.due_at.0.into(),
            Arg::Int(it.tries.into()),
            Arg::Int(it.attempts.into()),
            it.told_with.as_str().into(),
            it.reason.as_str().into(),
            it.created_at.0.into(),
            it.updated_at.0.into(),
        ],
    )
}

fn drop_recovery(it: &Recovered, now: Timestamp) -> Select {
    let places = vec!["?"; it.held.len()].join(", ");
    let mut args: Vec<Arg> = vec![
        it.recovery_reason.as_str().into(),
        now.0.into(),
        it.recovery.as_str().into(),
    ];
    args.extend(it.held.iter().map(|id| Arg::from(id.as_str())));
    Select::new(
        &format!(
            "UPDATE delivery SET state = 'dropped', reason = ?, updated_at = ? WHERE id = ? AND {PENDING} AND attempts = 0 \
             AND NOT EXISTS (SELECT 1 FROM delivery AS held WHERE held.id IN ({places}) AND held.state <> 'dropped')"
        ),
        args,
    )
}

/// Nothing earlier of the same matter is still to be told.
const IS_FIRST: &str = "NOT EXISTS (SELECT 1 FROM delivery AS earlier WHERE earlier.channel = delivery.channel \
    AND earlier.matter = delivery.matter AND earlier.alert < delivery.alert AND earlier.state IN ('held', 'waiting')";

/// Nothing earlier of the same matter travels in the message of another that is still to be told. The newest such one
/// speaks for those before it.
const IS_NOT_AHEAD: &str = "NOT EXISTS (SELECT 1 FROM delivery AS teller WHERE teller.state IN ('held', 'waiting') \
    AND teller.id = (SELECT told.told_with FROM delivery AS told WHERE told.channel = delivery.channel \
    AND told.matter = delivery.matter AND told.alert < delivery.alert AND told.state = 'grouped' \
    ORDER BY told.alert DESC LIMIT 1)";

fn due(channel: &str, now: Timestamp, limit: usize) -> Select {
    Select::new(
        &format!(
            "SELECT {COLUMNS} FROM delivery WHERE channel = ? AND due_at <= ? AND {PENDING} AND {IS_FIRST}) \
             AND {IS_NOT_AHEAD}) ORDER BY due_at, alert LIMIT ?"
        ),
        [channel.into(), now.0.into(), Arg::Int(limit as i64)],
    )
}

fn next(channel: &str, now: Timestamp) -> Select {
    Select::new(
        &format!("SELECT MIN(due_at) FROM delivery WHERE channel = ? AND due_at > ? AND {PENDING}"),
        [channel.into(), now.0.into()],
    )
}

fn companions(leader: &DeliveryRow, now: Timestamp, limit: usize) -> Select {
    let (channel, batch) = (leader.channel.as_str(), leader.batch.as_str());
    Select::new(
        &format!(
            "SELECT {COLUMNS} FROM delivery WHERE channel = ? AND batch = ? AND id <> ? AND due_at <= ? AND {PENDING} \
             AND attempts = 0 AND {IS_FIRST} \
             AND NOT (earlier.id = ? OR (earlier.batch = ? AND earlier.due_at <= ? AND earlier.attempts = 0))) \
             AND {IS_NOT_AHEAD} AND teller.id <> ?) ORDER BY alert LIMIT ?"
        ),
        [
            channel.into(),
            batch.into(),
            leader.id.as_str().into(),
            now.0.into(),
            leader.id.as_str().into(),
            batch.into(),
            now.0.into(),
            leader.id.as_str().into(),
            Arg::Int(limit as i64),
        ],
    )
}

fn matter_of(channel: &str, matter: &str, before: u64, limit: usize) -> Select {
    Select::new(
        &format!(
            "SELECT {COLUMNS} FROM delivery WHERE channel = ? AND matter = ? AND alert < ? ORDER BY alert DESC LIMIT ?"
        ),
        [
            channel.into(),
            matter.into(),
            Arg::Int(before as i64),
            Arg::Int(limit as i64),
        ],
    )
}

fn replay(id: &str, now: Timestamp) -> Select {
    Select::new(
        "UPDATE delivery SET state = 'waiting', due_at = ?, tries = 0, reason = 'sent again by hand', updated_at = ? \
         WHERE id = ? AND state IN ('delivered', 'dropped', 'dead') RETURNING id",
        [now.0.into(), now.0.into(), id.into()],
    )
}

fn by_id(id: &str) -> Select {
    Select::new(
        &format!("SELECT {COLUMNS} FROM delivery WHERE id = ?"),
        [id.into()],
    )
}

fn page(filter: &DeliveryFilter, cursor: Option<&Cursor>, limit: usize) -> Result<Select, Error> {
    let mut select = Select::new(&format!("SELECT {COLUMNS} FROM delivery WHERE 1 = 1"), []);
    if let Some(state) = filter.state {
        select.push("AND state = ?", [state.as_str().into()]);
    }
    if let Some(channel) = &filter.channel {
        select.push("AND channel = ?", [channel.as_str().into()]);
    }
    if let Some(alert) = filter.alert {
        select.push("AND alert = ?", [Arg::Int(alert as i64)]);
    }
    if let Some(cursor) = cursor {
        let (alert, channel) = cursor.number_and_text()?;
        select.push(
            "AND (alert, channel) < (?, ?)",
            [alert.into(), channel.into()],
        );
    }
    select.push(
        "ORDER BY alert DESC, channel DESC LIMIT ?",
        [Arg::Int(limit as i64 + 1)],
    );
    Ok(select)
}

fn attempts(id: &str) -> Select {
    Select::new(
        "SELECT delivery, number, at, took_us, status, message FROM delivery_attempt WHERE delivery = ? ORDER BY number",
        [id.into()],
    )
}

fn counts() -> Select {
    Select::new(
        "SELECT channel, state, COUNT(*) FROM delivery WHERE state IN ('held', 'waiting', 'dead') \
         GROUP BY channel, state ORDER BY channel, state",
        [],
    )
}

fn stops() -> Select {
    Select::new(
        "SELECT channel, reason, stopped_at FROM channel_stop ORDER BY channel",
        [],
    )
}

fn delivery<R: Fields>(row: &R) -> Result<DeliveryRow, Error> {
    let c = &mut Columns::new(row, "a delivery");
    Ok(DeliveryRow {
        id: c.text()?,
        alert: c.number()?,
        channel: c.text()?,
        matter: c.text()?,
        batch: c.text()?,
        kind: c.text()?,
        flow: c.text()?,
        summary: c.text()?,
        is_recovery: c.int()? != 0,
        alerts: c.text()?,
        state: c.word(DeliveryState::parse)?,
        due_at: c.at()?,
        tries: c.number()?,
        attempts: c.number()?,
        told_with: c.text()?,
        reason: c.text()?,
        created_at: c.at()?,
        updated_at: c.at()?,
    })
}

fn attempt<R: Fields>(row: &R) -> Result<AttemptLog, Error> {
    let c = &mut Columns::new(row, "an attempt of a delivery");
    Ok(AttemptLog {
        delivery: c.text()?,
        number: c.number()?,
        at: c.at()?,
        took: Span(c.int()?),
        status: Some(c.number()?).filter(|it| *it != 0),
        message: c.text()?,
    })
}

/// One of each statement that reads.
pub(crate) fn statements() -> Vec<Select> {
    let row = crate::conformance::deliveries::row(1, "a", "m", Timestamp(0));
    let filter = DeliveryFilter {
        channel: Some("a".into()),
        alert: Some(1),
        state: Some(DeliveryState::Dead),
    };
    let all = DeliveryFilter::default();
    let mut statements = vec![
        due("a", Timestamp(0), 1),
        next("a", Timestamp(0)),
        companions(&row, Timestamp(0), 1),
        matter_of("a", "m", 1, 1),
        by_id("a"),
        attempts("a"),
        counts(),
        stops(),
    ];
    for filter in [all, filter] {
        statements.extend(page(&filter, Some(&"1 a".into()), 1));
    }
    statements
}
