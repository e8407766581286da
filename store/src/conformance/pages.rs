//! Lists as people read them.

use super::sample::{
    after, attempt, event, flow, journal, lead, occurrence, run, runs, task, task_id, tasks,
};
use crate::error::Error;
use crate::page::{Cursor, EventFilter, JournalFilter, OccurrenceFilter, RunFilter, TaskFilter};
use crate::store::Store;
use dalsegno_scheduler::RunId;
use dalsegno_scheduler::row::{Changes, RunState, TaskState};
use std::sync::Arc;

pub async fn runs_come_newest_first_page_by_page(store: &dyn Store) {
    let lease = lead(store).await;
    store
        .commit(
            &lease,
            &runs((1..=5).map(|id| run(id, "report", RunState::Queued))),
        )
        .await
        .expect("commits");
    let mut pages = vec![];
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = store
            .runs(&RunFilter::default(), cursor.as_ref(), 2)
            .await
            .expect("answers");
        pages.push(page.items.iter().map(|it| it.id.0).collect::<Vec<_>>());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![5, 4], vec![3, 2], vec![1]]);
    let all = store
        .runs(&RunFilter::default(), None, 5)
        .await
        .expect("answers");
    assert_eq!(all.next, None, "a page that ends with the list is the last");
    assert_eq!(
        store
            .runs(&RunFilter::default(), None, 0)
            .await
            .expect("answers")
            .items
            .len(),
        1
    );
}

pub async fn runs_are_filtered(store: &dyn Store) {
    let lease = lead(store).await;
    let states = RunState::ALL;
    let mut rows: Vec<_> = states
        .iter()
        .enumerate()
        .map(|(place, state)| run(place as u64 + 1, "report", *state))
        .collect();
    let mut nightly = run(20, "ingest", RunState::Failed);
    nightly.trigger = "nightly".into();
    rows.push(nightly);
    store.commit(&lease, &runs(rows)).await.expect("commits");
    let ids = async |filter: RunFilter| -> Vec<u64> {
        let page = store.runs(&filter, None, 50).await.expect("answers");
        page.items.iter().map(|it| it.id.0).collect()
    };
    let (queued, running, succeeded, failed, timed_out) = (
        RunState::Queued,
        RunState::Running,
        RunState::Succeeded,
        RunState::Failed,
        RunState::TimedOut,
    );
    let with = |states: &[RunState]| RunFilter {
        states: states.to_vec(),
        ..RunFilter::default()
    };
    assert_eq!(ids(with(&[queued, running])).await, [2, 1]);
    assert_eq!(ids(with(&[failed, timed_out])).await, [20, 7, 5]);
    assert_eq!(ids(with(&[succeeded, failed, queued])).await, [20, 5, 4, 1]);
    let report = Some("report".into());
    assert_eq!(
        ids(RunFilter {
            flow: report.clone(),
            ..with(&[failed])
        })
        .await,
        [5]
    );
    assert_eq!(
        ids(RunFilter {
            flow: report,
            ..with(&[])
        })
        .await,
        [7, 6, 5, 4, 3, 2, 1]
    );
    assert_eq!(
        ids(RunFilter {
            trigger: Some("nightly".into()),
            ..with(&[])
        })
        .await,
        [20]
    );
    assert_eq!(
        ids(RunFilter {
            flow: Some("unknown".into()),
            ..with(&[])
        })
        .await,
        [0; 0]
    );
}

pub async fn recent_runs_are_the_newest_of_each_flow(store: &dyn Store) {
    let lease = lead(store).await;
    let flow_of = |id: u64| {
        if id.is_multiple_of(3) {
            "ingest"
        } else {
            "report"
        }
    };
    let changes = Changes {
        flows: ["ingest", "report", "unused"].map(flow).to_vec(),
        ..runs((1..=10).map(|id| run(id, flow_of(id), RunState::Succeeded)))
    };
    store.commit(&lease, &changes).await.expect("commits");
    let recent = store.recent_runs(4).await.expect("answers");
    let ids: Vec<u64> = recent.iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [9, 6, 3, 10, 8, 7, 5]);
}

pub async fn tasks_come_in_order_of_their_paths(store: &dyn Store) {
    let lease = lead(store).await;
    let rows = (0..12).map(|item| {
        let state = if item % 2 == 0 {
            TaskState::Failed
        } else {
            TaskState::Running
        };
        task(1, &format!("fit[{item}]"), state)
    });
    let others = [
        task(1, "end", TaskState::Ready),
        task(1, "loop@10", TaskState::Ready),
        task(1, "loop@9", TaskState::Ready),
    ];
    store
        .commit(&lease, &tasks(rows.chain(others)))
        .await
        .expect("commits");

    let mut names: Vec<String> = vec![];
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = store
            .tasks(RunId(1), &TaskFilter::default(), cursor.as_ref(), 4)
            .await
            .expect("answers");
        names.extend(page.items.iter().map(|it| it.task.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let fits = (0..12).map(|item| format!("fit[{item}]"));
    let expected: Vec<String> = ["end".to_owned()]
        .into_iter()
        .chain(fits)
        .chain(["loop@9".into(), "loop@10".into()])
        .collect();
    assert_eq!(names, expected);

    let failed = TaskFilter {
        step: Some("fit".into()),
        states: vec![TaskState::Failed],
    };
    let page = store
        .tasks(RunId(1), &failed, None, 50)
        .await
        .expect("answers");
    assert_eq!(page.items.len(), 6);
    let first = store
        .tasks(RunId(1), &failed, None, 4)
        .await
        .expect("answers");
    let rest = store
        .tasks(RunId(1), &failed, first.next.as_ref(), 4)
        .await
        .expect("answers");
    let rest: Vec<String> = rest.items.iter().map(|it| it.task.to_string()).collect();
    assert_eq!(rest, ["fit[8]", "fit[10]"]);
    let counts = store.task_counts(RunId(1)).await.expect("answers");
    let counts: Vec<String> = counts
        .iter()
        .map(|it| format!("{} {} {}", it.step, it.state, it.tasks))
        .collect();
    assert_eq!(
        counts,
        [
            "end ready 1",
            "fit failed 6",
            "fit running 6",
            "loop ready 2"
        ]
    );
}

pub async fn attempts_of_one_task_or_all(store: &dyn Store) {
    let lease = lead(store).await;
    let attempts = vec![
        attempt(1, "a", 1),
        attempt(1, "a", 2),
        attempt(1, "a", 10),
        attempt(1, "b[3]", 1),
        attempt(2, "a", 1),
    ];
    store
        .commit(
            &lease,
            &Changes {
                attempts: attempts.clone(),
                ..Changes::default()
            },
        )
        .await
        .expect("commits");
    assert_eq!(
        store.attempts(RunId(1), None).await.expect("answers"),
        attempts[..4]
    );
    assert_eq!(
        store
            .attempts(RunId(1), Some(&task_id("a")))
            .await
            .expect("answers"),
        attempts[..3]
    );
    assert_eq!(
        store
            .attempts(RunId(1), Some(&task_id("b")))
            .await
            .expect("answers"),
        []
    );
}

pub async fn the_journal_is_read_on_from_a_number(store: &dyn Store) {
    let lease = lead(store).await;
    let entries = [Some(1), None, Some(2), Some(1), None, Some(1)];
    let journal: Vec<_> = entries
        .into_iter()
        .zip(1..)
        .map(|(run, seq)| journal(seq, if seq < 5 { "a" } else { "b" }, run))
        .collect();
    store
        .commit(
            &lease,
            &Changes {
                journal,
                ..Changes::default()
            },
        )
        .await
        .expect("commits");
    let numbers = async |filter: JournalFilter, after: u64, limit: usize| -> Vec<u64> {
        let entries = store.journal(&filter, after, limit).await.expect("answers");
        entries.iter().map(|it| it.seq).collect()
    };
    assert_eq!(numbers(JournalFilter::All, 0, 3).await, [1, 2, 3]);
    assert_eq!(numbers(JournalFilter::All, 3, 100).await, [4, 5, 6]);
    assert_eq!(numbers(JournalFilter::Run(RunId(1)), 1, 100).await, [4, 6]);
    assert_eq!(numbers(JournalFilter::Flow("a".into()), 0, 100).await, [2]);
    assert_eq!(numbers(JournalFilter::All, 6, 100).await, [0; 0]);
}

pub async fn events_are_filtered_and_paged(store: &dyn Store) {
    let lease = lead(store).await;
    let events = (1..=6).map(|seq| {
        let mut row = event(seq);
        if seq > 4 {
            row.source = "/billing".into();
        }
        if seq % 2 == 0 {
            row.kind = "order.paid".into();
        }
        Arc::new(row)
    });
    store
        .commit(
            &lease,
            &Changes {
                events: events.collect(),
                ..Changes::default()
            },
        )
        .await
        .expect("commits");
    let all = EventFilter::default();
    let first = store.events(&all, None, 4).await.expect("answers");
    let second = store
        .events(&all, first.next.as_ref(), 4)
        .await
        .expect("answers");
    let numbers = |page: &crate::Page<Arc<_>>| {
        page.items
            .iter()
            .map(|it: &Arc<dalsegno_scheduler::row::EventRow>| it.seq)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (numbers(&first), numbers(&second)),
        (vec![6, 5, 4, 3], vec![2, 1])
    );
    assert_eq!(second.next, None);
    let paid = EventFilter {
        kind: Some("order.paid".into()),
        source: Some("/orders".into()),
        ..all.clone()
    };
    assert_eq!(
        numbers(&store.events(&paid, None, 10).await.expect("answers")),
        [4, 2]
    );
    let billing = EventFilter {
        source: Some("/billing".into()),
        ..all
    };
    assert_eq!(
        numbers(&store.events(&billing, None, 10).await.expect("answers")),
        [6, 5]
    );
}

pub async fn occurrences_come_latest_first(store: &dyn Store) {
    let lease = lead(store).await;
    let mut rows: Vec<_> = (1..=4)
        .map(|hour| occurrence("report", after(hour * 3_600)))
        .collect();
    let mut twin = rows[1].clone();
    twin.key = "cron:another".into();
    rows.push(twin);
    rows.push(occurrence("ingest", after(60)));
    store
        .commit(
            &lease,
            &Changes {
                occurrences: rows,
                ..Changes::default()
            },
        )
        .await
        .expect("commits");
    let hours = |page: &crate::Page<dalsegno_scheduler::row::OccurrenceRow>| -> Vec<i64> {
        page.items
            .iter()
            .map(|it| (it.due_at - after(0)).as_micros() / 3_600_000_000)
            .collect()
    };
    let report = "report".into();
    let all = OccurrenceFilter::default();
    let first = store
        .occurrences(&report, &all, None, 3)
        .await
        .expect("answers");
    let second = store
        .occurrences(&report, &all, first.next.as_ref(), 3)
        .await
        .expect("answers");
    assert_eq!((hours(&first), hours(&second)), (vec![4, 3, 2], vec![2, 1]));
    assert_eq!(second.next, None);
    let middle = OccurrenceFilter {
        from: Some(after(7_200)),
        to: Some(after(14_400)),
        ..all
    };
    assert_eq!(
        hours(
            &store
                .occurrences(&report, &middle, None, 10)
                .await
                .expect("answers")
        ),
        [3, 2, 2]
    );
}

pub async fn a_cursor_of_another_list_is_refused(store: &dyn Store) {
    let wrong = Cursor::from("not a cursor!");
    let cursor = Some(&wrong);
    let errors = [
        store
            .runs(&RunFilter::default(), cursor, 10)
            .await
            .map(|_| ()),
        store
            .events(&EventFilter::default(), cursor, 10)
            .await
            .map(|_| ()),
        store
            .occurrences(&"a".into(), &OccurrenceFilter::default(), cursor, 10)
            .await
            .map(|_| ()),
        store
            .tasks(RunId(1), &TaskFilter::default(), Some(&"a[x]".into()), 10)
            .await
            .map(|_| ()),
    ];
    for error in errors {
        assert!(matches!(error, Err(Error::BadCursor(_))), "{error:?}");
    }
}

pub async fn what_is_not_there_is_none(store: &dyn Store) {
    store.ping().await.expect("answers");
    assert_eq!(
        store.schema_version().await.expect("answers"),
        crate::SCHEMA_VERSION
    );
    let none = "none".into();
    assert_eq!(store.run(RunId(1)).await.expect("answers"), None);
    assert_eq!(
        store.task(RunId(1), &task_id("a")).await.expect("answers"),
        None
    );
    assert_eq!(store.flow(&none).await.expect("answers"), None);
    assert_eq!(
        store.version(&none, &"v1".into()).await.expect("answers"),
        None
    );
    assert_eq!(store.versions(&none).await.expect("answers"), []);
    assert_eq!(store.event(1).await.expect("answers"), None);
    assert_eq!(store.matches(1).await.expect("answers"), []);
    assert_eq!(store.occurrence(&none, "x").await.expect("answers"), None);
    assert_eq!(store.claim("x").await.expect("answers"), None);
    assert_eq!(store.task_counts(RunId(1)).await.expect("answers"), []);
}
