//! The three claims of isolation, each with its number.

use super::clock::{Virtual, guard, run};
use crate::guard::clock::Clock;
use crate::guard::{Api, CallError, Guard};
use std::sync::Arc;
use std::time::Duration;

/// Other calls start within this, in milliseconds, whatever hangs in a compartment that is not theirs.
const WITHIN_MS: i64 = 10;

/// So many calls that never answer.
fn hang(guard: &Arc<Guard>, api: Api, count: usize) {
    for _ in 0..count {
        let guard = Arc::clone(guard);
        tokio::spawn(async move {
            let never = std::future::pending::<Result<(), CallError>>();
            guard.ask(api, never).await
        });
    }
}

/// After how many milliseconds a call goes out.
async fn starts_after(guard: &Arc<Guard>, clock: &Arc<Virtual>, api: Api) -> i64 {
    let asked = clock.now();
    let sent = async { Ok(clock.now()) };
    let sent = guard.ask(api, sent).await.expect("it is let through");
    (sent - asked) / 1_000
}

#[test]
fn an_overloaded_metadata_service_delays_no_artifact_and_no_submission() {
    run(async |clock| {
        let guard = guard(&clock);
        hang(&guard, Api::Metadata, 5_000);
        clock.sleep(Duration::from_secs(1)).await;
        for api in [Api::S3Put, Api::S3Get, Api::SubmitJob, Api::StartExecution] {
            let ms = starts_after(&guard, &clock, api).await;
            assert!(ms <= WITHIN_MS, "{api} started after {ms} ms");
        }
        assert_eq!(sent(&guard, Api::Metadata), 50, "at a time");
    });
}

#[test]
fn heavy_artifact_traffic_leaves_metadata_its_places() {
    run(async |clock| {
        let guard = guard(&clock);
        hang(&guard, Api::S3Put, 5_000);
        hang(&guard, Api::S3Get, 5_000);
        clock.sleep(Duration::from_secs(1)).await;
        for api in [Api::Metadata, Api::SubmitJob, Api::DescribeJobs] {
            let ms = starts_after(&guard, &clock, api).await;
            assert!(ms <= WITHIN_MS, "{api} started after {ms} ms");
        }
        assert_eq!(sent(&guard, Api::S3Put) + sent(&guard, Api::S3Get), 100);
    });
}

#[test]
fn a_burst_of_5000_submissions_reaches_batch_as_50_a_second_and_1000_a_minute_and_delays_no_other_call()
 {
    run(async |clock| {
        let guard = guard(&clock);
        let mut burst = tokio::task::JoinSet::new();
        for _ in 0..5_000 {
            let (guard, clock) = (Arc::clone(&guard), Arc::clone(&clock));
            burst.spawn(async move {
                let sent = async { Ok(clock.now()) };
                guard.ask(Api::SubmitJob, sent).await.expect("it goes out")
            });
        }
        clock.sleep(Duration::from_secs(5)).await;
        for api in [Api::DescribeJobs, Api::S3Put, Api::Metadata, Api::Sqs] {
            let ms = starts_after(&guard, &clock, api).await;
            assert!(ms <= WITHIN_MS, "{api} started after {ms} ms");
        }
        let mut sent = burst.join_all().await;
        sent.sort_unstable();
        assert_eq!(sent.len(), 5_000);
        assert!(most_in(&sent, 60_000_000) <= 1_000);
        // The bucket is full at the beginning, so a second may see its 50 and another 50.
        assert!(most_in(&sent, 1_000_000) <= 100);
        let minutes = sent.last().expect("some") / 60_000_000;
        assert!((4..=5).contains(&minutes), "it took {minutes} minutes");
    });
}

#[test]
fn what_waits_too_long_for_a_place_is_told_so_and_was_not_sent() {
    run(async |clock| {
        let guard = guard(&clock);
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let (guard, clock) = (Arc::clone(&guard), Arc::clone(&clock));
            all.spawn(async move {
                let slow = async {
                    clock.sleep(Duration::from_secs(50)).await;
                    Ok(())
                };
                guard.ask(Api::S3Get, slow).await
            });
        }
        let results = all.join_all().await;
        let refused: Vec<&CallError> = results.iter().filter_map(|it| it.as_ref().err()).collect();
        let told = "all 100 calls at a time to S3 are taken, for too long; none was sent";
        assert!(refused.iter().all(|it| it.to_string().contains(told)));
        // In five minutes six rounds of a hundred go out.
        assert_eq!((refused.len(), sent(&guard, Api::S3Get)), (400, 600));
    });
}

fn sent(guard: &Guard, api: Api) -> u64 {
    let calls = guard.calls();
    calls.iter().find(|it| it.0 == api).map_or(0, |it| it.1)
}

/// The most in any span of that length.
pub(super) fn most_in(sorted: &[i64], span: i64) -> usize {
    let until = |from: i64| sorted.partition_point(|it| *it < from + span);
    let counts = sorted.iter().enumerate().map(|(i, at)| until(*at) - i);
    counts.max().unwrap_or(0)
}
