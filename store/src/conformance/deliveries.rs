//! Alerts on their way to people.

use super::sample::NOW;
use crate::deliveries::{
    AttemptLog, ChannelStop, DeliveryFilter, DeliveryOutcome, DeliveryRow, DeliveryState, Recovered,
};
use crate::store::Store;
use dalsegno_scheduler::{Span, Timestamp};

/// A delivery that is due.
pub(crate) fn row(alert: u64, channel: &str, matter: &str, due_at: Timestamp) -> DeliveryRow {
    DeliveryRow {
        id: format!("msg_{alert}_{channel}"),
        alert,
        channel: channel.into(),
        matter: matter.into(),
        batch: "flow:etl".into(),
        kind: "run.failed".into(),
        flow: "etl".into(),
        summary: "it's \u{1f4a5}".into(),
        is_recovery: false,
        alerts: format!("[{{\"id\":{alert}}}]"),
        state: DeliveryState::Waiting,
        due_at,
        tries: 0,
        attempts: 0,
        told_with: String::new(),
        reason: String::new(),
        created_at: NOW,
        updated_at: NOW,
    }
}

fn held(alert: u64, matter: &str) -> DeliveryRow {
    DeliveryRow {
        state: DeliveryState::Held,
        ..row(alert, "ops", matter, NOW + Span::from_mins(2))
    }
}

async fn add(store: &dyn Store, rows: &[DeliveryRow]) {
    let added = store.add_deliveries(rows, &[], "alerts/cursor", "9", NOW);
    added.await.expect("written");
}

async fn add_recovered(store: &dyn Store, row: DeliveryRow, over: Recovered) {
    let (rows, recovered) = ([row], [over]);
    let added = store.add_deliveries(&rows, &recovered, "alerts/cursor", "9", NOW);
    added.await.expect("written");
}

async fn due(store: &dyn Store, at: Timestamp) -> Vec<u64> {
    let rows = store.due_deliveries("ops", at, 10).await.expect("answers");
    rows.iter().map(|it| it.alert).collect()
}

async fn state(store: &dyn Store, id: &str) -> DeliveryState {
    let row = store.delivery(id).await.expect("answers");
    row.expect("it is there").state
}

fn outcome(id: &str, number: u32, state: DeliveryState) -> DeliveryOutcome {
    DeliveryOutcome {
        attempt: AttemptLog {
            delivery: id.into(),
            number,
            at: NOW,
            took: Span::from_millis(3),
            status: Some(500).filter(|_| state != DeliveryState::Delivered),
            message: "it answers 500".into(),
        },
        state,
        due_at: NOW + Span::from_secs(5),
        tries: number,
        reason: "it answers 500".into(),
    }
}

pub async fn a_delivery_is_made_once_and_comes_back_as_it_was_written(store: &dyn Store) {
    let first = row(1, "ops", "run/etl", NOW);
    add(store, std::slice::from_ref(&first)).await;
    let again = DeliveryRow {
        summary: "another".into(),
        ..first.clone()
    };
    add(store, &[again, row(2, "ops", "run/etl", NOW)]).await;
    let read = store.delivery(&first.id).await.expect("answers");
    assert_eq!(read, Some(first));
    let cursor = store.position("alerts/cursor").await.expect("answers");
    assert_eq!(cursor.as_deref(), Some("9"));
}

pub async fn of_one_matter_only_the_first_is_due(store: &dyn Store) {
    let later = NOW + Span::from_secs(9);
    add(
        store,
        &[
            row(1, "ops", "a", later),
            row(2, "ops", "a", NOW),
            row(3, "ops", "b", NOW),
            row(3, "chat", "b", NOW),
        ],
    )
    .await;
    assert_eq!(due(store, NOW).await, [3]);
    let next = store.next_delivery("ops", NOW).await.expect("answers");
    assert_eq!(next, Some(later));
    assert_eq!(due(store, later).await, [3, 1]);
    let done = outcome("msg_1_ops", 1, DeliveryState::Delivered);
    store.record_attempts(&[done]).await.expect("written");
    assert_eq!(due(store, later).await, [2, 3]);
}

pub async fn an_attempt_counts_once(store: &dyn Store) {
    add(store, &[row(1, "ops", "a", NOW)]).await;
    let failed = outcome("msg_1_ops", 1, DeliveryState::Waiting);
    for _ in 0..2 {
        let written = store.record_attempts(std::slice::from_ref(&failed));
        written.await.expect("written");
    }
    let log = store.delivery_attempts("msg_1_ops").await.expect("answers");
    assert_eq!(log, [failed.attempt]);
    let read = store.delivery("msg_1_ops").await.expect("answers");
    let read = read.expect("it is there");
    assert_eq!((read.tries, read.attempts), (1, 1));
    assert_eq!(
        (read.due_at, read.state),
        (failed.due_at, DeliveryState::Waiting)
    );
}

pub async fn what_recovers_while_it_is_held_is_not_told(store: &dyn Store) {
    let recovery = |alert| DeliveryRow {
        is_recovery: true,
        ..row(alert, "ops", "a", NOW)
    };
    let recovered = |held: &str, recovery: &str| Recovered {
        held: vec![held.into()],
        held_reason: "over".into(),
        recovery: recovery.into(),
        recovery_reason: "never told".into(),
    };
    add(store, &[held(1, "a")]).await;
    let over = recovered("msg_1_ops", "msg_2_ops");
    add_recovered(store, recovery(2), over).await;
    assert_eq!(state(store, "msg_1_ops").await, DeliveryState::Dropped);
    assert_eq!(state(store, "msg_2_ops").await, DeliveryState::Dropped);

    // One that is on its way already is told, and so is its end.
    add(store, &[held(3, "a")]).await;
    let settled = store.settle_delivery("msg_3_ops", "[3]", &[], NOW);
    assert!(settled.await.expect("written"));
    let over = recovered("msg_3_ops", "msg_4_ops");
    add_recovered(store, recovery(4), over).await;
    assert_eq!(state(store, "msg_3_ops").await, DeliveryState::Waiting);
    assert_eq!(state(store, "msg_4_ops").await, DeliveryState::Waiting);
    let companions = ["msg_4_ops".to_owned()];
    let settled = store.settle_delivery("msg_1_ops", "[1]", &companions, NOW);
    assert!(!settled.await.expect("answers"), "it was dropped");
    assert_eq!(state(store, "msg_4_ops").await, DeliveryState::Waiting);
    let older = store
        .matter_deliveries("ops", "a", 3, 10)
        .await
        .expect("answers");
    assert_eq!(older.iter().map(|it| it.alert).collect::<Vec<_>>(), [2, 1]);
}

pub async fn what_waits_together_is_told_together(store: &dyn Store) {
    let other = DeliveryRow {
        batch: "flow:other".into(),
        ..row(4, "ops", "c", NOW)
    };
    let mut rows = vec![
        row(1, "ops", "a", NOW),
        row(2, "ops", "a", NOW),
        row(3, "ops", "b", NOW),
        other,
        // Behind one of another batch.
        row(5, "ops", "c", NOW),
        held(6, "d"),
        // Behind one that is held.
        row(7, "ops", "d", NOW),
    ];
    add(store, &rows).await;
    let leader = rows.remove(0);
    let found = store.companions(&leader, NOW, 10).await.expect("answers");
    assert_eq!(found.iter().map(|it| it.alert).collect::<Vec<_>>(), [2, 3]);
    let ids: Vec<String> = found.iter().map(|it| it.id.clone()).collect();
    let settled = store.settle_delivery(&leader.id, "[1,2,3]", &ids, NOW);
    assert!(settled.await.expect("written"));
    let read = store
        .delivery("msg_3_ops")
        .await
        .expect("answers")
        .expect("it is there");
    assert_eq!(
        (read.state, read.told_with.as_str()),
        (DeliveryState::Grouped, "msg_1_ops")
    );
    let read = store
        .delivery("msg_1_ops")
        .await
        .expect("answers")
        .expect("it is there");
    assert_eq!(read.alerts, "[1,2,3]");

    // What ends matter b must not arrive before what 3 tells, which travels with 1: that one was not taken yet.
    let recovery = DeliveryRow {
        is_recovery: true,
        ..row(8, "ops", "b", NOW)
    };
    add(store, &[recovery]).await;
    assert_eq!(due(store, NOW).await, [1, 4]);
    let found = store.companions(&read, NOW, 10).await.expect("answers");
    assert_eq!(found.iter().map(|it| it.alert).collect::<Vec<_>>(), [8]);
    let taken = outcome("msg_1_ops", 1, DeliveryState::Delivered);
    store.record_attempts(&[taken]).await.expect("written");
    assert_eq!(due(store, NOW).await, [4, 8]);
}

pub async fn what_was_ended_can_be_sent_again_under_its_name(store: &dyn Store) {
    add(store, &[row(1, "ops", "a", NOW)]).await;
    let replay = async || {
        store
            .replay_delivery("msg_1_ops", NOW)
            .await
            .expect("answers")
    };
    assert!(!replay().await, "it is on its way");
    let dead = outcome("msg_1_ops", 1, DeliveryState::Dead);
    store.record_attempts(&[dead]).await.expect("written");
    assert!(replay().await);
    let read = store
        .delivery("msg_1_ops")
        .await
        .expect("answers")
        .expect("it is there");
    assert_eq!(
        (read.state, read.tries, read.attempts),
        (DeliveryState::Waiting, 0, 1)
    );
    assert!(
        !store
            .replay_delivery("msg_9_ops", NOW)
            .await
            .expect("answers")
    );
}

pub async fn deliveries_are_filtered_counted_and_paged(store: &dyn Store) {
    let dead = DeliveryRow {
        state: DeliveryState::Dead,
        ..row(2, "ops", "a", NOW)
    };
    add(
        store,
        &[row(1, "ops", "a", NOW), dead, row(2, "chat", "a", NOW)],
    )
    .await;
    let list = async |filter: DeliveryFilter| {
        let (mut cursor, mut ids) = (None, Vec::new());
        loop {
            let page = store
                .deliveries(&filter, cursor.as_ref(), 1)
                .await
                .expect("answers");
            ids.extend(page.items.into_iter().map(|it| it.id));
            cursor = page.next;
            if cursor.is_none() {
                return ids;
            }
        }
    };
    let all = list(DeliveryFilter::default()).await;
    assert_eq!(all, ["msg_2_ops", "msg_2_chat", "msg_1_ops"]);
    let some = DeliveryFilter {
        channel: Some("ops".into()),
        alert: Some(2),
        state: Some(DeliveryState::Dead),
    };
    assert_eq!(list(some).await, ["msg_2_ops"]);
    let counts = store.delivery_counts().await.expect("answers");
    let counts: Vec<_> = counts
        .iter()
        .map(|it| (it.channel.as_str(), it.state, it.count))
        .collect();
    assert_eq!(
        counts,
        [
            ("chat", DeliveryState::Waiting, 1),
            ("ops", DeliveryState::Dead, 1),
            ("ops", DeliveryState::Waiting, 1)
        ]
    );
}

pub async fn a_channel_is_stopped_for_a_reason_and_goes_on(store: &dyn Store) {
    let stop = |reason: &str| ChannelStop {
        channel: "ops".into(),
        reason: reason.into(),
        stopped_at: NOW,
    };
    for reason in ["gone", "again"] {
        store.stop_channel(&stop(reason)).await.expect("written");
    }
    assert_eq!(
        store.channel_stops().await.expect("answers"),
        [stop("gone")]
    );
    assert!(store.start_channel("ops").await.expect("written"));
    assert!(!store.start_channel("ops").await.expect("answers"));
    assert!(store.channel_stops().await.expect("answers").is_empty());
}
