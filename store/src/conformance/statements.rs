//! Every statement the stores can send, so that a test can have both databases check it.

use crate::page::{
    AlertFilter, BackfillFilter, EventFilter, JournalFilter, MatchFilter, OccurrenceFilter,
    RunFilter, SlaFilter, TaskFilter,
};
use crate::queries;
use crate::select::Select;
use crate::table::{self, Table, Write};
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::row::{
    BackfillItemState, BackfillState, MatchOutcome, OccurrenceState, RunState, SlaState, TaskState,
};
use dalsegno_scheduler::{RunId, Timestamp};

/// Statements as SQLite gets them.
pub fn sqlite() -> Vec<String> {
    written(|table, write, n| table::sqlite::statement(table, write, n + 2))
}

/// Statements as PostgreSQL gets them.
pub fn postgres() -> Vec<String> {
    written(|table, write, n| {
        let held = crate::postgres::HELD;
        format!(
            "{held}, w AS ({}) SELECT 1 FROM held",
            table::postgres::statement(table, write, n + 2)
        )
    })
}

fn written(statement: impl Fn(&'static Table, Write, usize) -> String) -> Vec<String> {
    let upserts = table::ALL.iter().map(|it| statement(it, Write::Upsert, 1));
    let deletes = [statement(&table::HALF_MATCH, Write::Delete, 1)];
    upserts
        .chain(deletes)
        .chain(read().into_iter().map(|it| it.text))
        .collect()
}

fn read() -> Vec<Select> {
    let texts = |count: usize| (0..count).map(|_| "".into());
    let cursor = Some(&"1".into());
    let due = Some(&"1 x".into());
    let task = Some(&"a[1]@2".into());
    let flow = Some("a".into());
    let runs = |filter: RunFilter| queries::runs(&filter, cursor, 10).expect("a good cursor");
    let mut all = vec![
        Select::new(queries::LOCK_LEASE, []),
        Select::new(queries::RECORD_OUTAGE, texts(3)),
        Select::new(queries::TAKE_LEASE, texts(4)),
        Select::new(queries::RENEW_LEASE, texts(4)),
        Select::new(queries::RELEASE_LEASE, texts(3)),
        Select::new(queries::PUT_POSITION, texts(3)),
        Select::new(queries::LEASE, []),
        queries::claim("x"),
        runs(RunFilter::default()),
        runs(RunFilter {
            flow: flow.clone(),
            trigger: Some("t".into()),
            states: vec![RunState::Failed],
        }),
        runs(RunFilter {
            states: vec![RunState::Failed],
            ..RunFilter::default()
        }),
        runs(RunFilter {
            states: vec![RunState::Queued, RunState::Running],
            ..RunFilter::default()
        }),
        queries::recent_runs(5),
        queries::attempts(RunId(1), Some(&"a".parse().expect("a task"))),
        queries::journal(&JournalFilter::All, 1, 10),
        queries::journal(&JournalFilter::Run(RunId(1)), 1, 10),
        queries::journal(&JournalFilter::Flow("a".into()), 1, 10),
    ];
    let some = TaskFilter {
        step: Some("a".into()),
        states: vec![TaskState::Ready],
    };
    all.push(queries::tasks(RunId(1), &some, task, 10).expect("a good cursor"));
    all.push(queries::tasks(RunId(1), &TaskFilter::default(), task, 10).expect("a good cursor"));
    let some = EventFilter {
        source: Some("s".into()),
        kind: Some("k".into()),
        ..EventFilter::default()
    };
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    let some = EventFilter {
        source: Some("s".into()),
        subject: Some("k".into()),
        ..EventFilter::default()
    };
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    let some = EventFilter {
        source: Some("s".into()),
        subject_prefix: Some("k".into()),
        ..EventFilter::default()
    };
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    let some = EventFilter {
        since: Some(Timestamp(0)),
        until: Some(Timestamp(1)),
        ..EventFilter::default()
    };
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    let mut some = EventFilter {
        flow: flow.clone(),
        ..EventFilter::default()
    };
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    some.outcome = Some(MatchOutcome::Fired);
    all.push(queries::events(&some, cursor, 10).expect("a good cursor"));
    all.push(queries::events_range(Timestamp(0), Timestamp(1), 3, 10));
    let (a, here) = (&"a".into(), Some(&"1 2 a".into()));
    let mut some = MatchFilter::default();
    all.push(queries::matches_of(a, &some, here, 10).expect("a good cursor"));
    some.outcomes = vec![MatchOutcome::Fired];
    some.trigger = Some("t".into());
    all.push(queries::matches_of(a, &some, here, 10).expect("a good cursor"));
    all.push(queries::children(RunId(1)));
    all.push(queries::version_of(RunId(1)));
    all.push(queries::runs_in(a, Timestamp(0), Timestamp(1)));
    all.push(queries::durations(a));
    all.push(queries::step_times(a, 60));
    all.extend(queries::occurrences_near(a, Timestamp(0), 10));
    all.push(queries::occurrence_counts(a, Timestamp(0), Timestamp(1)));
    all.push(queries::refused(Some(&"1 1 ab".into()), 10).expect("a good cursor"));
    let some = BackfillFilter {
        flow: flow.clone(),
        states: vec![BackfillState::Running],
    };
    all.push(queries::backfills(&some, cursor, 10).expect("a good cursor"));
    let failed = Some(BackfillItemState::Failed);
    all.push(queries::backfill_items(1, failed, cursor, 10).expect("a good cursor"));
    all.push(queries::backfill_counts(1));
    all.push(queries::attainment(Timestamp(0), Timestamp(1)));
    let here = Some(&"1 a b c".into());
    let mut some = SlaFilter::default();
    all.push(queries::slas(&some, here, 10).expect("a good cursor"));
    (some.flow, some.open, some.to) = (flow.clone(), Some(true), Some(Timestamp(1)));
    all.push(queries::slas(&some, None, 10).expect("no cursor"));
    (some.open, some.states) = (Some(false), vec![SlaState::Missed]);
    all.push(queries::slas(&some, here, 10).expect("a good cursor"));
    all.push(queries::alerts_after(1, 10));
    let mut some = AlertFilter::default();
    all.push(queries::alerts_page(&some, cursor, 10).expect("a good cursor"));
    some.flow = flow.clone();
    some.kinds = vec![AlertKind::SlaMissed];
    all.push(queries::alerts_page(&some, cursor, 10).expect("a good cursor"));
    (some.flow, some.key) = (None, Some("x".into()));
    all.push(queries::alerts_page(&some, cursor, 10).expect("a good cursor"));
    all.push(queries::outages(Timestamp(0)));
    all.push(queries::position("x"));
    let some = OccurrenceFilter {
        states: vec![OccurrenceState::Missed],
        trigger: Some("t".into()),
        ..OccurrenceFilter::default()
    };
    all.push(queries::occurrences(a, &some, due, 10).expect("a good cursor"));
    let some = OccurrenceFilter {
        from: Some(Timestamp(0)),
        to: Some(Timestamp(1)),
        ..OccurrenceFilter::default()
    };
    all.push(queries::occurrences(&"a".into(), &some, due, 10).expect("a good cursor"));
    all.push(queries::occurrences(&"a".into(), &some, None, 10).expect("no cursor"));
    all.extend(crate::deliveries::statements());
    all.extend(queries::load());
    all
}
