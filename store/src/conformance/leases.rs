//! Who may decide.

use super::sample::{NOW, after, run, runs};
use crate::error::CommitError;
use crate::store::Store;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::row::{Changes, RunState};

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
    store.release_lease(&old).await.expect("answers");
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
        .release_lease(&old)
        .await
        .expect("an ended term is released in vain");
    assert_eq!(store.lease().await.expect("answers"), Some(new));
}
