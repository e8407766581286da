//! What a new term starts from.

use super::sample::{
    after, event, flow, half_match, journal, lead, occurrence, run, runs, scope, task, version,
};
use crate::store::Store;
use dalsegno_scheduler::row::{Changes, OccurrenceState, Recovered, RunState, TaskState};
use dalsegno_scheduler::{Path, Reason, RunId, Span};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub async fn an_empty_store_recovers_to_nothing(store: &dyn Store) {
    assert_eq!(store.load().await.expect("loads"), Recovered::default());
}

pub async fn recovery_sees_what_is_unfinished_and_nothing_else(store: &dyn Store) {
    let lease = lead(store).await;
    let mut old = run(3, "report", RunState::Running);
    old.version = "v0".into();
    (old.origin, old.origin_created_at) = (Some(RunId(1)), Some(after(3)));
    let mut decided = occurrence("report", after(1));
    decided.state = OccurrenceState::Skipped;
    // A calendar moved the second one to an earlier day; the first one's own time is long past.
    let ahead = [-3, 3].map(|days| {
        let mut row = occurrence("report", after(1));
        row.interval.end = after(1) + Span::from_mins(24 * 60 * days);
        row.due_at = row.interval.end - Span::from_mins(60);
        row.key = format!("cron:s:{}", row.interval.end);
        row.state = OccurrenceState::Ran;
        row
    });
    // What the removal of a flow ended before its time, which is past for the first one.
    let left = [-3, 3].map(|days| {
        let mut row = occurrence("gone", after(1) + Span::from_mins(24 * 60 * days));
        row.state = OccurrenceState::Skipped;
        row.reason = Some(Reason::FlowRemoved);
        row.updated_at = row.due_at - Span::from_mins(60);
        row
    });
    let mut gone = flow("gone");
    gone.removed = true;
    let mut changed = left[1].clone();
    changed.flow = "report".into();
    let waiting = Arc::new(event(1));
    let mut never_valid = flow("broken");
    never_valid.active_version = None;
    let changes = Changes {
        flows: vec![flow("report"), never_valid.clone(), gone.clone()],
        versions: ["v0", "v1", "v9"].map(|it| version("report", it)).to_vec(),
        events: vec![Arc::clone(&waiting), Arc::new(event(2))],
        occurrences: vec![
            occurrence("report", after(2)),
            decided,
            ahead[0].clone(),
            ahead[1].clone(),
            left[0].clone(),
            left[1].clone(),
            changed,
        ],
        half_matches: vec![half_match(&waiting, "report", 0)],
        journal: vec![journal(1, "report", None)],
        tasks: vec![
            Arc::new(task(1, "done", TaskState::Succeeded)),
            Arc::new(task(3, "b[10]", TaskState::Running)),
            Arc::new(task(3, "b[9]", TaskState::Running)),
            Arc::new(task(3, "a", TaskState::Succeeded)),
        ],
        scopes: vec![
            Arc::new(scope(1, "each", Path::ROOT)),
            Arc::new(scope(3, "each", Path::ROOT)),
        ],
        ..runs([
            run(1, "report", RunState::Succeeded),
            run(2, "report", RunState::Queued),
            old.clone(),
            run(4, "report", RunState::Cancelling),
            run(5, "report", RunState::Failed),
        ])
    };
    store.commit(&lease, &changes).await.expect("commits");

    let recovered = store.load().await.expect("loads");
    assert_eq!(recovered.flows, [never_valid, gone, flow("report")]);
    assert_eq!(
        recovered.versions,
        [version("report", "v0"), version("report", "v1")]
    );
    assert_eq!(recovered.occurrences, [occurrence("report", after(2))]);
    assert_eq!(recovered.ahead, [ahead[1].clone()]);
    assert_eq!(recovered.left, [left[1].clone()]);
    assert_eq!(recovered.half_matches, changes.half_matches);
    let ids: Vec<u64> = recovered.runs.iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [2, 3, 4]);
    let tasks: Vec<String> = recovered
        .tasks
        .iter()
        .map(|it| it.task.to_string())
        .collect();
    assert_eq!(tasks, ["a", "b[9]", "b[10]"]);
    assert_eq!(recovered.scopes, [Arc::new(scope(3, "each", Path::ROOT))]);
    assert_eq!(
        (
            recovered.last_run,
            recovered.last_event,
            recovered.last_journal
        ),
        (5, 2, 1)
    );

    store
        .commit(&lease, &runs([run(2, "report", RunState::Succeeded)]))
        .await
        .expect("commits");
    store
        .commit(&lease, &runs([run(5, "report", RunState::Running)]))
        .await
        .expect("a resume commits");
    let recovered = store.load().await.expect("loads");
    let ids: Vec<u64> = recovered.runs.iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [3, 4, 5]);
}

pub async fn a_snapshot_has_all_of_one_run(store: &dyn Store) {
    let lease = lead(store).await;
    let changes = Changes {
        versions: vec![version("report", "v1")],
        tasks: ["a", "b[2]", "b[11]"]
            .map(|it| Arc::new(task(1, it, TaskState::Failed)))
            .to_vec(),
        scopes: vec![Arc::new(scope(1, "each", Path::ROOT))],
        ..runs([
            run(1, "report", RunState::Failed),
            run(2, "report", RunState::Failed),
        ])
    };
    store.commit(&lease, &changes).await.expect("commits");
    let snapshot = store
        .snapshot(RunId(1))
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(snapshot.run, changes.runs[0]);
    assert_eq!(snapshot.tasks, changes.tasks);
    assert_eq!(snapshot.scopes, changes.scopes);
    assert_eq!(snapshot.version, version("report", "v1"));
    let other = store
        .snapshot(RunId(2))
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(other.tasks, []);
    assert!(store.snapshot(RunId(3)).await.expect("answers").is_none());
}

pub async fn ten_thousand_live_runs_are_loaded_quickly(store: &dyn Store) {
    let lease = lead(store).await;
    for hundred in 0..110_u64 {
        let ids = || (hundred * 100 + 1)..=(hundred * 100 + 100);
        let state = if hundred < 10 {
            RunState::Succeeded
        } else {
            RunState::Running
        };
        let changes = Changes {
            tasks: ids()
                .flat_map(|id| ["a", "b"].map(|it| Arc::new(task(id, it, TaskState::Running))))
                .collect(),
            ..runs(ids().map(|id| run(id, "report", state)))
        };
        store.commit(&lease, &changes).await.expect("commits");
    }
    let begun = Instant::now();
    let recovered = store.load().await.expect("loads");
    assert_eq!(
        (recovered.runs.len(), recovered.tasks.len()),
        (10_000, 20_000)
    );
    // In a debug build on two busy cores; a release build needs a tenth.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "took {:?}",
        begun.elapsed()
    );
}
