//! Deliveries in plain maps.

use super::MemoryStore;
use crate::deliveries::{
    AttemptLog, ChannelStop, Deliveries, DeliveryCount, DeliveryFilter, DeliveryOutcome,
    DeliveryRow, DeliveryState, Recovered, cursor_of,
};
use crate::error::Error;
use crate::page::{Cursor, Page, page_limit};
use async_trait::async_trait;
use dalsegno_scheduler::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Sent {
    rows: BTreeMap<String, DeliveryRow>,
    attempts: BTreeMap<(String, u32), AttemptLog>,
    stops: BTreeMap<String, ChannelStop>,
}

impl Sent {
    /// Earlier ones of the same matter that are still to be told.
    fn before<'a>(&'a self, row: &'a DeliveryRow) -> impl Iterator<Item = &'a DeliveryRow> {
        self.rows.values().filter(move |it| {
            it.channel == row.channel
                && it.matter == row.matter
                && it.alert < row.alert
                && it.state.is_pending()
        })
    }

    /// The delivery, still to be told, in whose message an earlier one of the same matter travels.
    fn teller(&self, row: &DeliveryRow) -> Option<&DeliveryRow> {
        let of_matter = self.rows.values().filter(|it| {
            it.channel == row.channel
                && it.matter == row.matter
                && it.alert < row.alert
                && it.state == DeliveryState::Grouped
        });
        let newest = of_matter.max_by_key(|it| it.alert)?;
        let teller = self.rows.get(&newest.told_with)?;
        teller.state.is_pending().then_some(teller)
    }
}

#[async_trait]
impl Deliveries for MemoryStore {
    async fn add_deliveries(
        &self,
        rows: &[DeliveryRow],
        recovered: &[Recovered],
        name: &str,
        cursor: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut inner = self.inner();
        let sent = &mut inner.sent;
        for row in rows {
            sent.rows
                .entry(row.id.clone())
                .or_insert_with(|| row.clone());
        }
        for it in recovered {
            for id in &it.held {
                if let Some(row) = sent.rows.get_mut(id)
                    && row.state == DeliveryState::Held
                {
                    row.state = DeliveryState::Dropped;
                    row.reason = it.held_reason.clone();
                    row.updated_at = now;
                }
            }
            let states = it.held.iter().filter_map(|id| sent.rows.get(id));
            let is_told = states
                .map(|it| it.state)
                .any(|it| it != DeliveryState::Dropped);
            if let Some(row) = sent.rows.get_mut(&it.recovery)
                && row.state.is_pending()
                && row.attempts == 0
                && !is_told
            {
                row.state = DeliveryState::Dropped;
                row.reason = it.recovery_reason.clone();
                row.updated_at = now;
            }
        }
        inner.state.positions.insert(name.into(), cursor.into());
        Ok(())
    }

    async fn due_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let sent = &self.inner().sent;
        let is_due =
            |it: &&DeliveryRow| it.channel == channel && it.due_at <= now && it.state.is_pending();
        let rows = sent.rows.values().filter(is_due);
        let first = rows.filter(|it| sent.before(it).next().is_none() && sent.teller(it).is_none());
        let mut rows: Vec<DeliveryRow> = first.cloned().collect();
        rows.sort_by_key(|it| (it.due_at, it.alert));
        rows.truncate(page_limit(limit));
        Ok(rows)
    }

    async fn next_delivery(
        &self,
        channel: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let inner = self.inner();
        let rows = inner.sent.rows.values();
        let rows = rows.filter(|it| it.channel == channel && it.state.is_pending());
        Ok(rows.map(|it| it.due_at).filter(|it| *it > now).min())
    }

    async fn companions(
        &self,
        leader: &DeliveryRow,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let sent = &self.inner().sent;
        let is_fresh =
            |it: &DeliveryRow| it.batch == leader.batch && it.due_at <= now && it.attempts == 0;
        let rows = sent.rows.values().filter(|it| {
            it.channel == leader.channel
                && it.id != leader.id
                && it.state.is_pending()
                && is_fresh(it)
                && sent.before(it).all(|it| it.id == leader.id || is_fresh(it))
                && sent.teller(it).is_none_or(|it| it.id == leader.id)
        });
        let mut rows: Vec<DeliveryRow> = rows.cloned().collect();
        rows.sort_by_key(|it| it.alert);
        rows.truncate(page_limit(limit));
        Ok(rows)
    }

    async fn settle_delivery(
        &self,
        id: &str,
        alerts: &str,
        companions: &[String],
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut inner = self.inner();
        let rows = &mut inner.sent.rows;
        let Some(leader) = rows.get_mut(id).filter(|it| it.state.is_pending()) else {
            return Ok(false);
        };
        leader.state = DeliveryState::Waiting;
        leader.alerts = alerts.to_owned();
        leader.updated_at = now;
        for companion in companions {
            let row = rows.get_mut(companion);
            if let Some(row) = row.filter(|it| it.state.is_pending() && it.attempts == 0) {
                row.state = DeliveryState::Grouped;
                row.told_with = id.to_owned();
                row.reason = String::new();
                row.updated_at = now;
            }
        }
        Ok(true)
    }

    async fn record_attempts(&self, outcomes: &[DeliveryOutcome]) -> Result<(), Error> {
        let sent = &mut self.inner().sent;
        for it in outcomes {
            let log = &it.attempt;
            let key = (log.delivery.clone(), log.number);
            sent.attempts.entry(key).or_insert_with(|| log.clone());
            let row = sent.rows.get_mut(&log.delivery);
            let row =
                row.filter(|row| row.state == DeliveryState::Waiting && row.attempts < log.number);
            if let Some(row) = row {
                row.state = it.state;
                row.due_at = it.due_at;
                row.tries = it.tries;
                row.attempts = log.number;
                row.reason = it.reason.clone();
                row.updated_at = log.at + log.took;
            }
        }
        Ok(())
    }

    async fn matter_deliveries(
        &self,
        channel: &str,
        matter: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let inner = self.inner();
        let rows = inner
            .sent
            .rows
            .values()
            .filter(|it| it.channel == channel && it.matter == matter && it.alert < before);
        let mut rows: Vec<DeliveryRow> = rows.cloned().collect();
        rows.sort_by_key(|it| Reverse(it.alert));
        rows.truncate(page_limit(limit));
        Ok(rows)
    }

    async fn replay_delivery(&self, id: &str, now: Timestamp) -> Result<bool, Error> {
        let mut inner = self.inner();
        let row = inner.sent.rows.get_mut(id);
        let Some(row) = row.filter(|it| it.state.is_replayable()) else {
            return Ok(false);
        };
        row.state = DeliveryState::Waiting;
        row.due_at = now;
        row.tries = 0;
        row.reason = "sent again by hand".to_owned();
        row.updated_at = now;
        Ok(true)
    }

    async fn delivery(&self, id: &str) -> Result<Option<DeliveryRow>, Error> {
        Ok(self.inner().sent.rows.get(id).cloned())
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryRow>, Error> {
        let before = cursor.map(Cursor::number_and_text).transpose()?;
        let limit = page_limit(limit);
        let inner = self.inner();
        let rows = inner.sent.rows.values().filter(|it| {
            filter.state.is_none_or(|state| state == it.state)
                && filter.alert.is_none_or(|alert| alert == it.alert)
                && filter
                    .channel
                    .as_ref()
                    .is_none_or(|channel| *channel == it.channel)
                && before.is_none_or(|before| (it.alert as i64, it.channel.as_str()) < before)
        });
        let mut rows: Vec<DeliveryRow> = rows.cloned().collect();
        rows.sort_by(|a, b| (b.alert, &b.channel).cmp(&(a.alert, &a.channel)));
        rows.truncate(limit + 1);
        Ok(Page::cut(rows, limit, cursor_of))
    }

    async fn delivery_attempts(&self, id: &str) -> Result<Vec<AttemptLog>, Error> {
        let inner = self.inner();
        let of = inner.sent.attempts.values().filter(|it| it.delivery == id);
        Ok(of.cloned().collect())
    }

    async fn delivery_counts(&self) -> Result<Vec<DeliveryCount>, Error> {
        let mut counts: BTreeMap<(String, &str), DeliveryCount> = BTreeMap::new();
        for row in self.inner().sent.rows.values() {
            if !row.state.is_pending() && row.state != DeliveryState::Dead {
                continue;
            }
            let key = (row.channel.clone(), row.state.as_str());
            let count = counts.entry(key).or_insert_with(|| DeliveryCount {
                channel: row.channel.clone(),
                state: row.state,
                count: 0,
            });
            count.count += 1;
        }
        Ok(counts.into_values().collect())
    }

    async fn channel_stops(&self) -> Result<Vec<ChannelStop>, Error> {
        Ok(self.inner().sent.stops.values().cloned().collect())
    }

    async fn stop_channel(&self, stop: &ChannelStop) -> Result<(), Error> {
        let mut inner = self.inner();
        let stops = &mut inner.sent.stops;
        stops
            .entry(stop.channel.clone())
            .or_insert_with(|| stop.clone());
        Ok(())
    }

    async fn start_channel(&self, channel: &str) -> Result<bool, Error> {
        Ok(self.inner().sent.stops.remove(channel).is_some())
    }
}
