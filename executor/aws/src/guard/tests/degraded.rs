//! What happens while a service is throttled, slow or gone.

use super::clock::{Virtual, guard, guard_over, run, throttled};
use crate::guard::clock::Clock;
use crate::guard::{Api, CallError, Manual, State};
use dalsegno_store::{MemoryStore, Store};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Ten minutes in which a service throttles everything.
const THROTTLED: i64 = 600_000_000;

async fn ten_minutes_of_throttling(clock: Arc<Virtual>, api: Api) {
    let guard = guard(&clock);
    let done = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..2_000_u32 {
        let (guard, clock) = (Arc::clone(&guard), Arc::clone(&clock));
        let (done, told) = (Arc::clone(&done), Arc::clone(&told));
        let place = guard.place(api);
        all.spawn(async move {
            let call = || {
                guard.ask(api, async {
                    if clock.now() < THROTTLED {
                        return Err(throttled());
                    }
                    done.lock().expect("not poisoned").push(number);
                    Ok(())
                })
            };
            let waiting = |error: &CallError, wait| {
                let told = &mut told.lock().expect("not poisoned");
                told.push((number, error.kind(), wait));
            };
            guard.in_order(place, call, waiting).await.1
        });
    }
    let results = all.join_all().await;
    assert!(results.iter().all(Result::is_ok));
    let done = done.lock().expect("not poisoned");
    let in_order: Vec<u32> = (0..2_000).collect();
    assert_eq!(*done, in_order, "each once, in the order of asking");
    // The service is not battered meanwhile, and whoever waits knows why.
    let throttled = guard.errors().iter().map(|it| it.2).sum::<u64>();
    assert!(throttled <= 40, "{throttled} calls for nothing");
    let told = told.lock().expect("not poisoned");
    for (kind, least) in [("throttled", 2_000), ("breaker_open", 2_000)] {
        let who: BTreeSet<u32> = told
            .iter()
            .filter(|it| it.1 == kind)
            .map(|it| it.0)
            .collect();
        assert!(who.len() >= least, "only {} know of {kind}", who.len());
    }
    // Back at once: half a minute of pause at most, and 2,000 take a little more than a minute.
    assert!(clock.now() < THROTTLED + 200_000_000, "{}", clock.now());
}

#[test]
fn step_functions_throttled_for_ten_minutes_every_execution_starts_once_in_fair_order() {
    run(async |clock| ten_minutes_of_throttling(clock, Api::StartExecution).await);
}

#[test]
fn batch_throttled_for_ten_minutes_every_job_is_submitted_once_in_fair_order() {
    run(async |clock| ten_minutes_of_throttling(clock, Api::SubmitJob).await);
}

#[test]
fn submissions_that_are_throttled_stop_no_other_call_to_batch() {
    run(async |clock| {
        let guard = guard(&clock);
        for _ in 0..5 {
            let error = guard.ask(Api::SubmitJob, async { Err::<(), _>(throttled()) });
            error.await.expect_err("throttled");
        }
        let open: Vec<String> = guard
            .breakers()
            .into_iter()
            .filter(|it| it.state == State::Open)
            .map(|it| it.name)
            .collect();
        assert_eq!(open, ["batch:SubmitJob"]);
        guard
            .ask(Api::DescribeJobs, async { Ok(()) })
            .await
            .expect("it is let through");
    });
}

#[test]
fn a_service_that_is_gone_is_asked_by_one_call_a_minute_until_it_answers() {
    run(async |clock| {
        let guard = guard(&clock);
        let ask = async |api, is_up: bool| {
            let call = async {
                match is_up {
                    true => Ok(()),
                    false => Err(CallError::Unreachable {
                        message: "connection refused".to_owned(),
                    }),
                }
            };
            guard.ask(api, call).await
        };
        for api in [Api::SubmitJob, Api::DescribeJobs, Api::ListJobs] {
            for _ in 0..2 {
                ask(api, false).await.expect_err("it is gone");
            }
        }
        let state = |name: &str| guard.breakers().into_iter().find(|it| it.name == name);
        let batch = state("batch").expect("there is one");
        assert_eq!((batch.state, batch.failures), (State::Open, 5));
        assert_eq!(batch.last_error.as_deref(), Some("connection refused"));
        assert!(batch.retry_at > batch.opened_at);
        // The sixth was not sent, and other services are.
        assert_eq!(guard.calls().iter().map(|it| it.1).sum::<u64>(), 5);
        ask(Api::S3Get, true).await.expect("S3 is not Batch");

        clock.sleep(Duration::from_secs(61)).await;
        ask(Api::TerminateJob, true).await.expect("the probe");
        let batch = state("batch").expect("there is one");
        assert_eq!(batch.state, State::Closed);
    });
}

#[test]
fn a_pause_that_the_service_asks_for_is_kept() {
    run(async |clock| {
        let guard = guard(&clock);
        let error = guard.ask(Api::ListJobs, async {
            Err::<(), _>(CallError::Throttled {
                message: "Rate exceeded".to_owned(),
                retry_after: Some(Duration::from_secs(20)),
            })
        });
        error.await.expect_err("throttled");
        clock.sleep(Duration::from_secs(15)).await;
        let error = guard.ask(Api::ListJobs, async { Ok(()) }).await;
        let left = Some(Duration::from_secs(5));
        assert!(
            matches!(error, Err(CallError::Throttled { retry_after, .. }) if retry_after == left),
            "{error:?}"
        );
        clock.sleep(Duration::from_secs(5)).await;
        let again = guard.ask(Api::ListJobs, async { Ok(()) });
        again.await.expect("the pause is over");
        assert_eq!(guard.calls(), [(Api::ListJobs, 2)]);
    });
}

#[test]
fn s3_that_becomes_slow_is_given_more_time_instead_of_being_given_up() {
    run(async |clock| {
        let guard = guard(&clock);
        let mut given_up = 0;
        for seconds in [10, 30, 50, 90, 150, 250, 400] {
            for _ in 0..20 {
                let slow = async {
                    clock.sleep(Duration::from_secs(seconds)).await;
                    Ok(())
                };
                match guard.ask(Api::S3Get, slow).await {
                    Ok(()) => {}
                    Err(CallError::Unreachable { .. }) => given_up += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert_eq!(given_up, 0);
        assert_eq!(guard.limit(Api::S3Get), Duration::from_secs(900));
    });
}

#[test]
fn what_a_person_set_holds_after_a_restart() {
    run(async |clock| {
        let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
        let before = guard_over(&clock, &store);
        before.set("batch", Manual::Open).await.expect("it exists");
        let error = before
            .set("btach", Manual::Open)
            .await
            .expect_err("no such");
        assert!(
            error
                .to_string()
                .starts_with("there is no `btach`: there are batch, batch:")
        );

        let after = guard_over(&clock, &store);
        let error = after.ask(Api::SubmitJob, async { Ok(()) }).await;
        assert!(
            matches!(error, Err(CallError::BreakerOpen { .. })),
            "{error:?}"
        );
        after.set("batch", Manual::Auto).await.expect("it exists");
        let call = after.ask(Api::SubmitJob, async { Ok(()) });
        call.await.expect("let through again");
    });
}
