//! Events, backfills and what hangs on them, as people and planners read them.

use super::sample::{
    NOW, after, alert, backfill, backfill_item, event, event_match, lead, occurrence, parent,
    refused, run, runs, task, version,
};
use crate::page::{
    AlertFilter, BackfillFilter, Cursor, EventFilter, MatchFilter, OccurrenceFilter,
};
use crate::store::Store;
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::row::{
    BackfillItemState, BackfillState, Changes, EventRow, Interval, MatchOutcome, OccurrenceState,
    RunRow, RunSnapshot, RunState, TaskState,
};
use dalsegno_scheduler::{RunId, Span, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Objects that arrived, one a second: even ones in `s3://b`, odd ones in `s3://a`.
fn arrivals(subjects: &[&str]) -> Vec<Arc<EventRow>> {
    let arrival = |(subject, seq): (&&str, u64)| {
        let mut row = event(seq);
        row.subject = (!subject.is_empty()).then(|| (*subject).to_owned());
        row.source = if seq % 2 == 0 { "s3://b" } else { "s3://a" }.into();
        Arc::new(row)
    };
    subjects.iter().zip(1..).map(arrival).collect()
}

async fn seqs(store: &dyn Store, filter: EventFilter) -> Vec<u64> {
    let page = store.events(&filter, None, 50).await.expect("answers");
    page.items.iter().map(|it| it.seq).collect()
}

pub async fn events_are_found_by_subject_time_and_what_became_of_them(store: &dyn Store) {
    let lease = lead(store).await;
    let subjects = [
        "in/a.csv",
        "in/a.csv",
        "in/b.csv",
        "in0",
        "",
        "in/\u{10FFFF}x",
        "iN/a",
        "in",
    ];
    let fates = [
        (1, "report", 0, MatchOutcome::Fired),
        (1, "report", 1, MatchOutcome::Fired),
        (2, "report", 0, MatchOutcome::Filtered),
        (3, "ingest", 0, MatchOutcome::Fired),
        (4, "report", 0, MatchOutcome::Fired),
    ];
    let matches = fates.map(|(event, flow, leaf, outcome)| {
        let mut row = event_match(event, flow, leaf);
        row.outcome = outcome;
        row
    });
    let changes = Changes {
        events: arrivals(&subjects),
        matches: matches.to_vec(),
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");

    let all = EventFilter::default;
    let subject = |text: &str| EventFilter {
        subject: Some(text.into()),
        ..all()
    };
    let prefix = |text: &str| EventFilter {
        subject_prefix: Some(text.into()),
        ..all()
    };
    assert_eq!(seqs(store, subject("in/a.csv")).await, [2, 1]);
    assert_eq!(seqs(store, prefix("in/")).await, [6, 3, 2, 1]);
    assert_eq!(seqs(store, prefix("in")).await, [8, 6, 4, 3, 2, 1]);
    assert_eq!(seqs(store, prefix("in/\u{10FFFF}")).await, [6]);
    let of_a = EventFilter {
        source: Some("s3://a".into()),
        ..prefix("in/")
    };
    assert_eq!(seqs(store, of_a).await, [3, 1]);
    let between = EventFilter {
        since: Some(after(3)),
        until: Some(after(6)),
        ..all()
    };
    assert_eq!(seqs(store, between).await, [5, 4, 3]);
    let seen = |outcome| EventFilter {
        flow: Some("report".into()),
        outcome,
        ..all()
    };
    assert_eq!(seqs(store, seen(None)).await, [4, 2, 1]);
    assert_eq!(
        seqs(store, seen(Some(MatchOutcome::Fired))).await,
        [4, 1],
        "an event that fired at two leaves comes once"
    );
}

pub async fn a_range_of_events_is_read_oldest_first_part_by_part(store: &dyn Store) {
    let lease = lead(store).await;
    let mut events = arrivals(&["x"; 6]);
    // Three come in the same instant.
    for it in &mut events[1..4] {
        Arc::make_mut(it).received_at = after(2);
    }
    let changes = Changes {
        events,
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    let (mut from, mut after_seq, mut parts) = (after(1), 0, vec![]);
    loop {
        let part = store
            .events_range(from, after(6), after_seq, 2)
            .await
            .expect("answers");
        let Some(last) = part.last() else { break };
        (from, after_seq) = (last.received_at, last.seq);
        parts.push(part.iter().map(|it| it.seq).collect::<Vec<_>>());
    }
    assert_eq!(parts, [vec![1, 2], vec![3, 4], vec![5]]);
}

pub async fn matches_of_a_flow_come_newest_first_page_by_page(store: &dyn Store) {
    let lease = lead(store).await;
    let outcomes = [
        MatchOutcome::Fired,
        MatchOutcome::Filtered,
        MatchOutcome::Waiting,
    ];
    let mut matches = vec![];
    for event in 1..=4_u64 {
        for leaf in 0..2_u16 {
            let mut row = event_match(event, "report", leaf);
            row.outcome = outcomes[(event as usize + usize::from(leaf)) % 3];
            row.trigger = if event == 3 { "other" } else { "orders" }.into();
            matches.push(row);
        }
    }
    matches.push(event_match(9, "ingest", 0));
    let changes = Changes {
        matches,
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    let report = "report".into();
    let told = async |filter: &MatchFilter, limit| {
        let (mut pages, mut cursor): (Vec<Vec<String>>, Option<Cursor>) = (vec![], None);
        loop {
            let page = store
                .matches_of(&report, filter, cursor.as_ref(), limit)
                .await
                .expect("answers");
            let place =
                |it: &dalsegno_scheduler::row::MatchRow| format!("{}/{}", it.event, it.leaf);
            pages.push(page.items.iter().map(place).collect());
            cursor = page.next;
            if cursor.is_none() {
                return pages;
            }
        }
    };
    let all = MatchFilter::default();
    assert_eq!(
        told(&all, 3).await,
        [
            vec!["4/1", "4/0", "3/1"],
            vec!["3/0", "2/1", "2/0"],
            vec!["1/1", "1/0"]
        ]
    );
    let fired = MatchFilter {
        outcomes: vec![MatchOutcome::Fired],
        ..all.clone()
    };
    assert_eq!(told(&fired, 9).await, [["3/0", "2/1"]]);
    let other = MatchFilter {
        trigger: Some("other".into()),
        ..all
    };
    assert_eq!(told(&other, 1).await, [["3/1"], ["3/0"]]);
}

pub async fn refused_deliveries_come_newest_first(store: &dyn Store) {
    let lease = lead(store).await;
    let rows = [
        refused("queue:a b", "1 2", 5),
        refused("queue:a", "b 1 2", 5),
        refused("webhook:hub", "x", 9),
        refused("queue:a", "c", 1),
    ];
    let changes = Changes {
        refused: rows.to_vec(),
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    store
        .commit(&lease, &changes)
        .await
        .expect("a second delivery is no trouble");
    let (mut seen, mut cursor): (Vec<String>, Option<Cursor>) = (vec![], None);
    loop {
        let page = store.refused(cursor.as_ref(), 1).await.expect("answers");
        seen.extend(
            page.items
                .iter()
                .map(|it| format!("{}|{}", it.source, it.id)),
        );
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        seen,
        [
            "webhook:hub|x",
            "queue:a b|1 2",
            "queue:a|b 1 2",
            "queue:a|c"
        ]
    );
}

pub async fn occurrences_are_filtered_counted_and_found_near(store: &dyn Store) {
    let lease = lead(store).await;
    let states = [
        OccurrenceState::Ran,
        OccurrenceState::Missed,
        OccurrenceState::Ran,
        OccurrenceState::Skipped,
        OccurrenceState::Expected,
    ];
    let mut occurrences: Vec<_> = states
        .into_iter()
        .zip(1..)
        .map(|(state, hour)| {
            let mut row = occurrence("report", after(hour * 3_600));
            row.state = state;
            row
        })
        .collect();
    occurrences[2].trigger = "orders".into();
    occurrences.push(occurrence("ingest", after(3_600)));
    let changes = Changes {
        occurrences,
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    let report = "report".into();
    let hours = |rows: &[dalsegno_scheduler::row::OccurrenceRow]| -> Vec<i64> {
        let hour = |at: Timestamp| (at - NOW).as_micros() / 3_600_000_000;
        rows.iter().map(|it| hour(it.due_at)).collect()
    };
    let of = async |filter: OccurrenceFilter| {
        let page = store.occurrences(&report, &filter, None, 10).await;
        hours(&page.expect("answers").items)
    };
    let all = OccurrenceFilter::default;
    let states = vec![OccurrenceState::Ran, OccurrenceState::Missed];
    assert_eq!(of(OccurrenceFilter { states, ..all() }).await, [3, 2, 1]);
    let trigger = Some("orders".into());
    assert_eq!(of(OccurrenceFilter { trigger, ..all() }).await, [3]);
    let counts = store
        .occurrence_counts(&report, after(0), after(4 * 3_600))
        .await
        .expect("answers");
    let counts: Vec<String> = counts
        .iter()
        .map(|it| format!("{} {} {}", it.trigger, it.state, it.occurrences))
        .collect();
    assert_eq!(counts, ["daily missed 1", "daily ran 1", "orders ran 1"]);
    let near = async |at, limit| {
        let rows = store.occurrences_near(&report, at, limit).await;
        hours(&rows.expect("answers"))
    };
    assert_eq!(near(after(3 * 3_600), 1).await, [4, 3]);
    assert_eq!(near(after(3 * 3_600 - 1), 2).await, [4, 3, 2, 1]);
    assert_eq!(near(after(0), 9).await, [5, 4, 3, 2, 1]);
}

/// A run of a sub-flow that a task of another run has started.
fn child(id: u64, state: RunState, of: u64, task: &str, number: u32) -> RunRow {
    let mut row = run(id, "report", state);
    row.parent = Some(parent(of, task, number));
    row
}

pub async fn a_snapshot_reaches_down_to_what_failed_below(store: &dyn Store) {
    let lease = lead(store).await;
    let (failed, succeeded) = (RunState::Failed, RunState::Succeeded);
    let mut rows = vec![
        run(1, "report", failed),
        // The first try failed, the second did not, and the task is done: nothing is left to resume there.
        child(2, failed, 1, "a", 1),
        child(3, succeeded, 1, "a", 2),
        child(4, failed, 1, "b[1]", 1),
        child(5, RunState::Cancelled, 1, "b[1]", 2),
        child(6, RunState::Running, 1, "c", 1),
        child(7, RunState::TimedOut, 5, "deep", 1),
        run(8, "report", failed),
        // Someone brought it to success after its task had failed: a resume takes its result over.
        child(9, succeeded, 1, "d", 1),
    ];
    // A chain deeper than sub-flows can be.
    rows.extend((21..=32).map(|id| child(id, failed, id - 1, "down", 1)));
    rows.push(run(20, "report", failed));
    let changes = Changes {
        versions: vec![version("report", "v1")],
        tasks: [
            task(7, "t", TaskState::Failed),
            task(1, "a", TaskState::Succeeded),
            task(1, "d", TaskState::Failed),
        ]
        .map(Arc::new)
        .into(),
        ..runs(rows)
    };
    store.commit(&lease, &changes).await.expect("commits");
    let snapshot = async |id| {
        let snapshot = store.snapshot(RunId(id)).await.expect("answers");
        snapshot.expect("there")
    };
    let ids = |it: &RunSnapshot| it.children.iter().map(|it| it.run.id.0).collect::<Vec<_>>();
    let top = snapshot(1).await;
    assert_eq!(ids(&top), [5, 6, 9]);
    assert_eq!(ids(&top.children[0]), [7]);
    assert_eq!(top.children[0].children[0].tasks, changes.tasks[..1]);
    assert_eq!(ids(&snapshot(8).await), [0; 0]);
    let (mut below, mut depth) = (snapshot(20).await, 0);
    while let Some(child) = below.children.pop() {
        (below, depth) = (child, depth + 1);
    }
    assert_eq!(depth, 8);
    let children = store.children(RunId(1)).await.expect("answers");
    let ids: Vec<u64> = children.iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [2, 3, 4, 5, 6, 9]);
}

pub async fn alerts_are_read_on_from_a_number_and_page_by_page(store: &dyn Store) {
    let lease = lead(store).await;
    let kinds = [
        AlertKind::RunFailed,
        AlertKind::SlaMissed,
        AlertKind::SlaMet,
    ];
    let mut alerts: Vec<_> = (1..=6)
        .map(|id| alert(id, kinds[id as usize % 3]))
        .collect();
    alerts[3].flow = Some("report".into());
    let changes = Changes {
        alerts: alerts.clone(),
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    assert!(
        store.commit(&lease, &changes).await.is_err(),
        "no number is used twice"
    );
    let after_2 = store.alerts_after(2, 3).await.expect("answers");
    assert_eq!(after_2, alerts[2..5]);
    let ids = async |filter: AlertFilter, limit| {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.alerts_page(&filter, cursor.as_ref(), limit).await;
            let page = page.expect("answers");
            ids.extend(page.items.iter().map(|it| it.id.0));
            cursor = page.next;
            if cursor.is_none() {
                return ids;
            }
        }
    };
    let all = AlertFilter::default;
    assert_eq!(ids(all(), 4).await, [6, 5, 4, 3, 2, 1]);
    let kinds = vec![AlertKind::SlaMissed, AlertKind::SlaMet];
    assert_eq!(ids(AlertFilter { kinds, ..all() }, 2).await, [5, 4, 2, 1]);
    let flow = Some("report".into());
    assert_eq!(ids(AlertFilter { flow, ..all() }, 2).await, [4]);
    let key = Some("matter 1".into());
    assert_eq!(ids(AlertFilter { key, ..all() }, 2).await, [5, 3, 1]);
    assert_eq!(store.load().await.expect("loads").last_alert, 6);
}

pub async fn backfills_are_filtered_and_their_items_counted(store: &dyn Store) {
    let lease = lead(store).await;
    let (waiting, succeeded) = (BackfillItemState::Waiting, BackfillItemState::Succeeded);
    let mut items: Vec<_> = (0..12)
        .map(|number| backfill_item(2, number, if number < 5 { succeeded } else { waiting }))
        .collect();
    items[11].flow = "ingest".into();
    items.push(backfill_item(1, 0, succeeded));
    let changes = Changes {
        backfills: vec![
            backfill(1, "report", BackfillState::Finished),
            backfill(2, "report", BackfillState::Paused),
            backfill(3, "ingest", BackfillState::Cancelling),
            backfill(4, "ingest", BackfillState::Cancelled),
        ],
        backfill_items: items.clone(),
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    let ids = async |filter: BackfillFilter| -> Vec<u64> {
        let page = store.backfills(&filter, None, 10).await.expect("answers");
        page.items.iter().map(|it| it.id).collect()
    };
    let all = BackfillFilter::default;
    assert_eq!(ids(all()).await, [4, 3, 2, 1]);
    let flow = Some("report".into());
    assert_eq!(ids(BackfillFilter { flow, ..all() }).await, [2, 1]);
    let states = vec![BackfillState::Paused, BackfillState::Cancelled];
    assert_eq!(ids(BackfillFilter { states, ..all() }).await, [4, 2]);
    assert_eq!(store.backfill(9).await.expect("answers"), None);

    let first = store
        .backfill_items(2, None, None, 7)
        .await
        .expect("answers");
    let second = store
        .backfill_items(2, None, first.next.as_ref(), 7)
        .await
        .expect("answers");
    assert_eq!((&first.items[..], second.next), (&items[..7], None));
    assert_eq!(second.items, items[7..12]);
    let done = store
        .backfill_items(2, Some(succeeded), None, 50)
        .await
        .expect("answers");
    assert_eq!(done.items, items[..5]);
    let counts = store.backfill_counts(2).await.expect("answers");
    let counts: Vec<String> = counts
        .iter()
        .map(|it| format!("{} {} {}", it.flow, it.state, it.items))
        .collect();
    assert_eq!(
        counts,
        ["ingest waiting 1", "report succeeded 5", "report waiting 6"]
    );
    let recovered = store.load().await.expect("loads");
    assert_eq!(recovered.backfills, changes.backfills[1..3]);
    assert_eq!(recovered.backfill_items, items[..12]);
    assert_eq!(recovered.last_backfill, 4);
}

pub async fn ten_thousand_runs_of_a_span_are_read_quickly(store: &dyn Store) {
    let lease = lead(store).await;
    let hour = |id: u64| after(3_600 * id as i64);
    let about = |id: u64, flow: &str| {
        let mut row = run(id, flow, RunState::Succeeded);
        row.interval = Interval {
            start: hour(id),
            end: hour(id + 1),
        };
        row.started_at = Some(NOW);
        row.finished_at = Some(NOW + Span::from_secs((id % 10) as i64));
        row
    };
    for thousand in 0..11 {
        let ids = (thousand * 1_000 + 1)..=(thousand * 1_000 + 1_000);
        let flow = if thousand == 10 { "other" } else { "report" };
        store
            .commit(&lease, &runs(ids.map(|id| about(id, flow))))
            .await
            .expect("commits");
    }
    let flows = ["report".into(), "none".into(), "report".into()];
    let begun = Instant::now();
    let found = store
        .runs_in(&flows, hour(1), hour(20_000))
        .await
        .expect("answers");
    // In a debug build on two busy cores.
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "took {:?}",
        begun.elapsed()
    );
    let ids: Vec<u64> = found.iter().map(|it| it.run.0).collect();
    assert!(ids.iter().copied().eq((1..=10_000).rev()));
    assert_eq!(
        (found[0].interval.start, found[0].state),
        (hour(10_000), RunState::Succeeded)
    );
    let few = store
        .runs_in(&flows, hour(5), hour(7))
        .await
        .expect("answers");
    let ids: Vec<u64> = few.iter().map(|it| it.run.0).collect();
    assert_eq!(ids, [6, 5]);
    let durations = store.typical_durations(&flows).await.expect("answers");
    let durations: Vec<String> = durations
        .iter()
        .map(|(flow, span)| format!("{flow} {span}"))
        .collect();
    assert_eq!(durations, ["report 5s"]);
}

pub async fn a_position_is_kept_until_the_next(store: &dyn Store) {
    assert_eq!(store.position("openlineage").await.expect("answers"), None);
    for value in ["17", "{\"seq\": 18}"] {
        store
            .put_position("openlineage", value, NOW)
            .await
            .expect("answers");
        let kept = store.position("openlineage").await.expect("answers");
        assert_eq!(kept.as_deref(), Some(value));
    }
    assert_eq!(store.position("directory:in").await.expect("answers"), None);
}

pub async fn a_position_is_swapped_only_by_who_knows_it(store: &dyn Store) {
    let swap = async |old, value| store.swap_position("blocks", old, value, NOW).await;
    assert!(
        !swap(Some("1"), "2").await.expect("answers"),
        "there is none"
    );
    assert!(swap(None, "1").await.expect("answers"));
    assert!(!swap(None, "2").await.expect("answers"), "there is one");
    assert!(swap(Some("1"), "2").await.expect("answers"));
    assert!(
        !swap(Some("1"), "3").await.expect("answers"),
        "it is another"
    );
    let kept = store.position("blocks").await.expect("answers");
    assert_eq!(kept.as_deref(), Some("2"));
}
