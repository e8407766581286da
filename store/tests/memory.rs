//! Every behaviour, on the model; and its faults.

use dalsegno_scheduler::row::{Changes, Claim};
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{CommitError, Fault, MemoryStore, Store};
use std::sync::Arc;

dalsegno_store::behaviours! { with }

async fn with<F: Future<Output = ()>>(behaviour: impl FnOnce(Arc<dyn Store>) -> F) {
    behaviour(Arc::new(MemoryStore::new())).await;
}

fn a_claim(key: &str) -> Changes {
    Changes {
        claims: vec![Claim {
            key: key.into(),
            result: "run:1".into(),
        }],
        ..Changes::default()
    }
}

#[test]
fn faults_come_in_the_order_given_and_do_what_they_say() {
    let store = MemoryStore::new();
    let lease = || {
        store
            .take_lease_sync("anna", Timestamp(0), Span::from_secs(10))
            .expect("free")
    };
    let held = lease();
    for fault in [Fault::Refused, Fault::DiskFull, Fault::LostBefore] {
        store.fail_next(fault);
    }
    let refused = store.commit_sync(&held, &a_claim("a"));
    assert!(matches!(refused, Err(CommitError::Db(_))), "{refused:?}");
    let full = store.commit_sync(&held, &a_claim("a"));
    assert!(matches!(full, Err(CommitError::Full(_))), "{full:?}");
    let lost = store.commit_sync(&held, &a_claim("a"));
    assert!(matches!(lost, Err(CommitError::Unknown(_))), "{lost:?}");
    store
        .commit_sync(&held, &a_claim("a"))
        .expect("nothing was written so far");

    store.fail_next(Fault::LostAfter);
    let lost = store.commit_sync(&held, &a_claim("b"));
    assert!(matches!(lost, Err(CommitError::Unknown(_))), "{lost:?}");
    let twice = store.commit_sync(&held, &a_claim("b"));
    assert!(
        matches!(twice, Err(CommitError::Duplicate(_))),
        "it was written: {twice:?}"
    );

    store.fail_next(Fault::LeaseTaken);
    let fenced = store.commit_sync(&held, &a_claim("c"));
    assert!(matches!(fenced, Err(CommitError::LostLease)), "{fenced:?}");
    store
        .commit_sync(&lease(), &a_claim("c"))
        .expect("the new term writes");
}
