//! Who may decide.

use super::sample::{NOW, after, run, runs};
use crate::error::CommitError;
use crate::page::{Outage, OutageReason};
use crate::store::Store;
use dalsegno_scheduler::row::{Changes, RunState};
use dalsegno_scheduler::{Span, Timestamp};

const TTL: Span = Span::from_secs(10);

pub async fn a_free_lease_is_taken_and_a_held_one_is_not(store: &dyn Store) {
    assert_eq!(store.lease().await.expect("answers"), None);
    let lease = store
        .take_lease("anna", NOW, TTL)
        .await
        .expect("answers")
        .expect("free");
    assert_eq!(
        (lease.holder.as_str(), lease.term, lease.expires_at),
        ("anna", 1, after(10))
    );
    assert_eq!(
        store
            .take_lease("bert", after(9), TTL)
            .await
            .expect("answers"),
        None
    );
    assert_eq!(store.lease().await.expect("answers"), Some(lease));
}

pub async fn an_expired_lease_passes_to_another_in_a_new_term(store: &dyn Store) {
    let old = store
        .take_lease("anna", NOW, TTL)
        .await
        .expect("answers")
        .expect("free");
    let new = store
        .take_lease("bert", after(10), TTL)
        .await
        .expect("answers")
        .expect("expired");
    assert_eq!((new.holder.as_str(), new.term), ("bert", old.term + 1));
    assert_eq!(
        store
            .renew_lease(&old, after(10), TTL)
            .await
            .expect("answers"),
        None
    );
    let late = store
        .commit(&old, &runs([run(1, "a", RunState::Queued)]))
        .await;
    assert!(matches!(late, Err(CommitError::LostLease)), "{late:?}");
    store
        .commit(&new, &runs([run(1, "b", RunState::Queued)]))
        .await
        .expect("the new term writes");
}

pub async fn the_same_holder_begins_a_new_term_after_a_crash(store: &dyn Store) {
    let old = store
        .take_lease("anna", NOW, TTL)
        .await
        .expect("answers")
        .expect("free");
    let new = store
        .take_lease("anna", after(1), TTL)
        .await
        .expect("answers")
        .expect("its own");
    assert_eq!(new.term, old.term + 1);
    let late = store.commit(&old, &Changes::default()).await;
    assert!(matches!(late, Err(CommitError::LostLease)), "{late:?}");
}

pub async fn a_lease_is_renewed_by_its_term_alone(store: &dyn Store) {
    let lease = store
        .take_lease("anna", NOW, TTL)
        .await
        .expect("answers")
        .expect("free");
    let renewed = store
        .renew_lease(&lease, after(5), TTL)
        .await
        .expect("answers")
        .expect("held");
    assert_eq!((renewed.term, renewed.expires_at), (lease.term, after(15)));
    assert_eq!(
        store
            .take_lease("bert", after(14), TTL)
            .await
            .expect("answers"),
        None
    );
    let stranger = crate::Lease {
        holder: "bert".into(),
        ..lease
    };
    assert_eq!(
        store
            .renew_lease(&stranger, after(5), TTL)
            .await
            .expect("answers"),
        None
    );
}

pub async fn a_released_lease_is_free_and_its_term_cannot_commit(store: &dyn Store) {
    let old = store
        .take_lease("anna", NOW, TTL)
        .await
        .expect("answers")
        .expect("free");
    store.release_lease(&old, NOW).await.expect("answers");
    assert_eq!(store.lease().await.expect("answers"), None);
    let late = store.commit(&old, &Changes::default()).await;
    assert!(matches!(late, Err(CommitError::LostLease)), "{late:?}");
    let new = store
        .take_lease("bert", after(1), TTL)
        .await
        .expect("answers")
        .expect("free");
    assert_eq!(new.term, old.term + 1);
    store
        .release_lease(&old, after(1))
        .await
        .expect("an ended term is released in vain");
    assert_eq!(store.lease().await.expect("answers"), Some(new));
}

async fn take(store: &dyn Store, holder: &str, secs: i64) -> crate::Lease {
    store
        .take_lease(holder, after(secs), TTL)
        .await
        .expect("answers")
        .expect("free")
}

/// Each outage as `holder reason from-to`, in seconds.
async fn outages(store: &dyn Store, since: i64) -> Vec<String> {
    let told = |it: Outage| {
        let secs = |at: Timestamp| (at - NOW).as_micros() / 1_000_000;
        let (from, to) = (secs(it.from), secs(it.to));
        format!("{} {} {from}-{to}", it.holder, it.reason.as_str())
    };
    let rows = store.outages(after(since)).await.expect("answers");
    rows.into_iter().map(told).collect()
}

pub async fn a_killed_instance_leaves_an_outage_from_its_last_renewal(store: &dyn Store) {
    let lease = take(store, "anna", 0).await;
    assert_eq!(outages(store, 0).await, [""; 0], "the first start is none");
    store
        .renew_lease(&lease, after(5), TTL)
        .await
        .expect("answers")
        .expect("held");
    take(store, "anna", 3_600).await;
    assert_eq!(outages(store, 0).await, ["anna vanished 5-3600"]);
    take(store, "anna", 3_605).await;
    assert_eq!(
        outages(store, 0).await.len(),
        1,
        "a term that has not expired is none"
    );
}

pub async fn a_clean_stop_leaves_an_outage_from_its_end(store: &dyn Store) {
    let lease = take(store, "anna", 0).await;
    store
        .release_lease(&lease, after(7))
        .await
        .expect("answers");
    let lease = take(store, "anna", 60).await;
    assert_eq!(outages(store, 0).await, ["anna stopped 7-60"]);
    store
        .release_lease(&lease, after(100))
        .await
        .expect("answers");
    let handed_over = after(100) + Span::from_millis(300);
    store
        .take_lease("bert", handed_over, TTL)
        .await
        .expect("answers")
        .expect("free");
    assert_eq!(
        outages(store, 0).await.len(),
        1,
        "a moment between two terms is none"
    );
}

pub async fn a_takeover_by_another_tells_who_fell_silent(store: &dyn Store) {
    take(store, "anna", 0).await;
    let early = store.take_lease("bert", after(9), TTL).await;
    assert_eq!(early.expect("answers"), None);
    assert_eq!(
        outages(store, 0).await,
        [""; 0],
        "who does not lead writes nothing"
    );
    let lease = take(store, "bert", 12).await;
    store
        .release_lease(&lease, after(20))
        .await
        .expect("answers");
    let lease = take(store, "carl", 50).await;
    assert_eq!(
        outages(store, 0).await,
        ["bert stopped 20-50", "anna vanished 0-12"]
    );
    assert_eq!(outages(store, 13).await, ["bert stopped 20-50"]);
    let newest = &store.outages(NOW).await.expect("answers")[0];
    assert_eq!(
        (newest.term, newest.reason),
        (lease.term, OutageReason::Stopped)
    );
}
