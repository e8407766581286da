//! Alerts become deliveries: as rows, in one transaction with how far we have come.

use super::Outbox;
use crate::alert::Alert;
use crate::desk::Desk;
use crate::rule::Planned;
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{DeliveryRow, DeliveryState, Recovered};
use std::collections::BTreeSet;
use std::time::Duration;

/// Under which name the store keeps how far we have come.
pub(crate) const CURSOR: &str = "alerts/cursor";

/// How many alerts are routed at once.
const ALERTS_AT_ONCE: usize = 250;

/// How far back a matter is looked at when it recovers.
const MATTER_MAX: usize = 200;

/// While the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Routes all that comes.
pub(super) async fn run(desk: &Desk, outbox: &dyn Outbox) {
    let mut is_away = false;
    loop {
        let routed = match desk.read_stops().await {
            Ok(()) => once(desk, outbox).await,
            Err(error) => Err(error),
        };
        match routed {
            Ok(0) => outbox.changed().await,
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!("alerts wait, for the database does not answer: {error}");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        is_away = false;
    }
}

/// Routes the next ones; gives how many there were.
pub(super) async fn once(desk: &Desk, outbox: &dyn Outbox) -> Result<usize, dalsegno_store::Error> {
    let known = desk.store.position(CURSOR).await?;
    // A text that is none of ours tells nothing; what is routed twice is made once.
    let after = known.and_then(|it| it.parse().ok()).unwrap_or(0);
    let alerts = outbox.after(after, ALERTS_AT_ONCE).await?;
    let Some((last, _)) = alerts.last() else {
        return Ok(0);
    };
    let cursor = last.id.to_string();
    // What cannot be sent anywhere is told of elsewhere first: if we die in between, it is told under the same key.
    for (alert, own) in &alerts {
        let lost = desk.config.book.route(alert, own).into_iter();
        for planned in lost.filter(|it| it.problem.is_some()) {
            let row = row(alert, planned, desk.now());
            tracing::warn!("delivery {} is given up: {}", row.id, row.reason);
            outbox.dead(&row, &row.reason).await;
        }
    }
    let _turn = desk.turn.lock().await;
    let now = desk.now();
    let (mut rows, mut recovered) = (Vec::new(), Vec::new());
    for (alert, own) in &alerts {
        let mut holders = desk.config.book.holders(alert, own);
        for planned in desk.config.book.route(alert, own) {
            let row = row(alert, planned, now);
            if alert.is_recovery {
                holders.remove(&row.channel);
                let ended = recovery(desk, alert, &row.channel, Some(&row.id), &rows);
                recovered.extend(ended.await?);
            }
            rows.push(row);
        }
        for channel in holders {
            recovered.extend(recovery(desk, alert, &channel, None, &rows).await?);
        }
    }
    let store = &desk.store;
    store
        .add_deliveries(&rows, &recovered, CURSOR, &cursor, now)
        .await?;
    let channels: BTreeSet<&str> = rows.iter().map(|it| it.channel.as_str()).collect();
    channels.into_iter().for_each(|it| desk.wake(it));
    Ok(alerts.len())
}

fn row(alert: &Alert, planned: Planned, now: Timestamp) -> DeliveryRow {
    let (state, reason) = match (planned.problem, planned.hold) {
        (Some(problem), _) => (DeliveryState::Dead, problem),
        (None, Span::ZERO) => (DeliveryState::Waiting, String::new()),
        (None, hold) => (
            DeliveryState::Held,
            format!("its rule holds it for {hold}: if it is over by then, it is not told"),
        ),
    };
    DeliveryRow {
        id: format!("msg_{}_{}", alert.id, planned.channel),
        alert: alert.id,
        channel: planned.channel,
        matter: alert.key.clone(),
        batch: planned.group,
        kind: alert.kind.clone(),
        flow: alert.flow.clone().unwrap_or_default(),
        summary: alert.summary.clone(),
        is_recovery: alert.is_recovery,
        alerts: serde_json::to_string(&[alert]).expect("an alert is JSON"),
        state,
        due_at: alert.at + planned.hold,
        tries: 0,
        attempts: 0,
        told_with: String::new(),
        reason,
        created_at: now,
        updated_at: now,
    }
}

/// What a recovery makes superfluous in a channel: what is still held of its matter; and if nothing of it was told, itself
/// (`told_as`, if it is told there at all).
async fn recovery(
    desk: &Desk,
    alert: &Alert,
    channel: &str,
    told_as: Option<&str>,
    fresh: &[DeliveryRow],
) -> Result<Option<Recovered>, dalsegno_store::Error> {
    let matter = &alert.key;
    let stored = desk
        .store
        .matter_deliveries(channel, matter, alert.id, MATTER_MAX);
    let stored = stored.await?;
    let fresh = fresh.iter().rev();
    let fresh = fresh.filter(|it| it.channel == *channel && it.matter == *matter);
    let since_last = fresh.chain(&stored).take_while(|it| !it.is_recovery);
    let (mut held, mut is_told) = (Vec::new(), false);
    for it in since_last {
        match it.state {
            DeliveryState::Held => held.push(it.id.clone()),
            DeliveryState::Dropped => {}
            _ => is_told = true,
        }
    }
    if held.is_empty() {
        return Ok(None);
    }
    let recovery = match told_as {
        Some(id) if !is_told => id.to_owned(),
        _ => String::new(),
    };
    Ok(Some(Recovered {
        held_reason: "it was over before its rule's hold had passed".to_owned(),
        recovery_reason: format!("what it ends ({}) was held and never told", held.join(", ")),
        recovery,
        held,
    }))
}
