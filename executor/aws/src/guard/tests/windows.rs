//! No 60 seconds see more submissions than are allowed: whoever submits, and whoever dies.

use super::clock::{Virtual, guard_over, run};
use super::isolation::most_in;
use crate::guard::clock::Clock;
use crate::guard::{Api, Guard};
use dalsegno_store::{MemoryStore, Store};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Sent = Arc<Mutex<Vec<i64>>>;

/// Submits as fast as it is let, for ever.
fn submit(guard: &Arc<Guard>, clock: &Arc<Virtual>, sent: &Sent) -> tokio::task::JoinSet<()> {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (guard, clock, sent) = (Arc::clone(guard), Arc::clone(clock), Arc::clone(sent));
        all.spawn(async move {
            loop {
                let call = async {
                    sent.lock().expect("not poisoned").push(clock.now());
                    Ok(())
                };
                guard.ask(Api::SubmitJob, call).await.expect("it goes out");
            }
        });
    }
    all
}

#[test]
fn a_new_leader_counts_what_the_one_before_it_submitted_also_if_that_was_killed() {
    run(async |clock| {
        let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
        let sent = Sent::default();
        // Each lives for a while, then is gone in the middle of what it does.
        for seconds in [3, 20, 1, 45, 2, 70, 15, 100] {
            let guard = guard_over(&clock, &store);
            let mut all = submit(&guard, &clock, &sent);
            clock.sleep(Duration::from_secs(seconds)).await;
            all.shutdown().await;
        }
        let sent = sent.lock().expect("not poisoned");
        assert!(most_in(&sent, 60_000_000) <= 1_000);
        // 256 s: deaths cost little of what is allowed.
        assert!(sent.len() > 3_500, "only {} went out", sent.len());
    });
}

#[test]
fn two_that_both_take_themselves_for_the_leader_share_one_limit() {
    run(async |clock| {
        let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
        let sent = Sent::default();
        let guards = [guard_over(&clock, &store), guard_over(&clock, &store)];
        let _all = guards.each_ref().map(|it| submit(it, &clock, &sent));
        clock.sleep(Duration::from_secs(200)).await;
        let sent = sent.lock().expect("not poisoned");
        assert!(most_in(&sent, 60_000_000) <= 1_000);
        assert!(sent.len() > 2_000, "only {} went out", sent.len());
    });
}

#[test]
fn whoever_asks_is_told_how_long_the_limit_is_used_up() {
    run(async |clock| {
        let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
        let guard = guard_over(&clock, &store);
        assert_eq!(guard.submissions_in(), None);
        let _all = submit(&guard, &clock, &Sent::default());
        clock.sleep(Duration::from_secs(30)).await;
        let wait = guard.submissions_in().expect("all 1,000 are out");
        assert!(wait > Duration::from_secs(20), "{wait:?}");
        guard.submissions(1).await;
        assert!(clock.now() >= 59_000_000, "{}", clock.now());
    });
}
