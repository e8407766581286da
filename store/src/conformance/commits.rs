//! All or nothing, once, and by the lease's holder only.

use super::sample::{
    NOW, after, alert, attempt, backfill, backfill_item, claim, event, event_match, flow,
    half_match, half_match_key, journal, lead, occurrence, parent, refused, run, runs, scope,
    silence, sla, task, task_id, tasks, version,
};
use crate::error::{CommitError, Error};
use crate::page::{BackfillFilter, JournalFilter, RunFilter, SlaFilter};
use crate::store::Store;
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::failure::FailureClass;
use dalsegno_scheduler::row::{
    AttemptState, BackfillItemState, BackfillMode, BackfillState, Changes, Interval, MatchOutcome,
    OccurrenceState, Paused, Retries, RunState, ScopeState, SlaRow, SlaState, TaskState,
};
use dalsegno_scheduler::sla::{Acknowledged, Culprit, Prediction};
use dalsegno_scheduler::{ArrayPlace, Path, Reason, RunId, Span};
use serde_json::json;
use std::sync::Arc;

/// One row of each kind with every field set.
fn full() -> Changes {
    let cancelled = || {
        Some(Reason::CancelledBy {
            by: "anna".into(),
            reason: Some("a \"test\"\n".into()),
        })
    };
    let mut event = crate::conformance::sample::event(7);
    (event.subject, event.replay_of) = (Some("a/b.csv".into()), Some(3));
    let event = Arc::new(event);
    let mut paused = flow("report");
    paused.paused = Some(Paused {
        by: "anna".into(),
        reason: Some("maintenance".into()),
        at: after(3),
    });
    paused.invalid = Some("line 3: no such step".into());
    paused.removed = true;
    (paused.blocked_by, paused.failing) = (Some(RunId(4)), Some(RunId(3)));
    let mut ran = occurrence("report", after(60));
    (ran.state, ran.run, ran.reason) = (OccurrenceState::Ran, Some(RunId(5)), cancelled());
    let mut fired = event_match(7, "report", 2);
    (fired.outcome, fired.run, fired.reason) = (MatchOutcome::Fired, Some(RunId(5)), cancelled());
    let mut cancelling = run(5, "report", RunState::Cancelling);
    cancelling.generation = 3;
    cancelling.params = Arc::new(
        json!({"day": "2026-11-22", "deep": {"list": [1, null, true, 2.5]}})
            .as_object()
            .cloned()
            .expect("an object"),
    );
    cancelling.interval = Interval {
        start: after(-60),
        end: NOW,
    };
    cancelling.priority = -7;
    cancelling.events = vec![1, 7];
    cancelling.event_data = Arc::new(vec![json!({"rows": 3}), json!(null)]);
    cancelling.reason = cancelled();
    cancelling.ending = Some(RunState::TimedOut);
    cancelling.started_at = Some(after(1));
    cancelling.finished_at = Some(after(2));
    cancelling.deadline = Some(after(3));
    (cancelling.origin, cancelling.origin_created_at) = (Some(RunId(2)), Some(after(-9)));
    (cancelling.parent, cancelling.backfill) = (Some(parent(2, "call[3]@2", 4)), Some(6));
    let mut ordered = backfill(6, "report", BackfillState::Cancelling);
    (ordered.mode, ordered.downstream, ordered.reason) = (BackfillMode::Failed, true, cancelled());
    ordered.finished_at = Some(after(8));
    let mut item = backfill_item(6, 70_000, BackfillItemState::Failed);
    (item.after, item.run, item.reason) = (vec![0, 69_999], Some(RunId(5)), cancelled());
    item.events = vec![Arc::clone(&event)];
    let mut stopping = task(5, "fit[3.12]@2", TaskState::Stopping);
    stopping.attempt = 4;
    (stopping.attempts_before, stopping.attempts_before_that) = (3, 1);
    stopping.retries = Retries {
        user: 2,
        infrastructure: 1,
        network: 3,
        throttled: 4,
        capacity: 5,
        oom: 6,
    };
    stopping.log = Some("jobs/default/ab12".into());
    stopping.memory_bytes = Some(16 << 30);
    stopping.array = Some(ArrayPlace {
        first: attempt(5, "fit[3.7]@2", 4).id,
        index: 5,
        size: 10_000,
    });
    stopping.reason = cancelled();
    stopping.submitted_at = Some(after(1));
    stopping.started_at = Some(after(2));
    stopping.finished_at = Some(after(3));
    stopping.retry_at = Some(after(4));
    stopping.deadline = Some(after(5));
    stopping.external_id = Some("pid 4711".into());
    stopping.outputs = Some(Arc::new(
        json!({"rows": 12}).as_object().cloned().expect("an object"),
    ));
    stopping.chosen = Some(["left".into(), "right".into()].into());
    stopping.splits = Some(100_000);
    let mut failed = scope(5, "each", Path::ROOT.child(3));
    (failed.state, failed.reason, failed.closed_at) =
        (ScopeState::Failed, cancelled(), Some(after(9)));
    let mut lost = attempt(5, "fit[3.12]@2", 3);
    (lost.state, lost.reason) = (
        AttemptState::Lost,
        Some(Reason::Lost {
            message: "the keeper died".into(),
        }),
    );
    (lost.class, lost.rule) = (Some(FailureClass::Capacity), Some("no machine".into()));
    (lost.log, lost.memory_bytes) = (Some("jobs/default/cd34".into()), Some(8 << 30));
    let mut told = alert(4, AlertKind::RunRecovered);
    (told.flow, told.owner) = (Some("report".into()), Some("data-eng".into()));
    (told.run, told.step) = (Some(RunId(5)), Some("fit".into()));
    let mut promised = sla("report", "slot:2026-11-22T06:00:00Z", after(5));
    (promised.state, promised.told) = (SlaState::Missed, Some(SlaState::AtRisk));
    (promised.run, promised.step) = (Some(RunId(5)), Some("fit".into()));
    (promised.at_risk_since, promised.missed_at) = (Some(after(1)), Some(after(5)));
    (promised.met_at, promised.silenced_until) = (Some(after(6)), Some(after(7)));
    promised.withdrawn = cancelled();
    promised.acknowledged = Some(Acknowledged {
        by: "ada".into(),
        at: after(6),
        note: Some("seen".into()),
    });
    promised.prediction = Some(Box::new(Prediction {
        at: after(1),
        chance_permille: 850,
        finish_p50: after(8),
        finish_p90: after(9),
        culprit: Some(Culprit {
            flow: "ingest".into(),
            step: None,
            run: Some(RunId(3)),
            factor_permille: 2_100,
            limit: None,
            owner: None,
            late_by: Span::from_secs(60),
        }),
    }));
    let mut quiet = silence(2);
    (quiet.flow, quiet.promise) = (Some("report".into()), Some("finish_by".into()));
    quiet.note = Some("maintenance".into());
    Changes {
        slas: vec![Arc::new(promised)],
        silences: vec![quiet],
        alerts: vec![told],
        claims: vec![claim("event:/orders e7", "event:7")],
        versions: vec![version("report", "v1")],
        flows: vec![paused],
        events: vec![Arc::clone(&event)],
        occurrences: vec![ran],
        matches: vec![fired],
        half_matches: vec![half_match(&event, "report", 2)],
        runs: vec![Arc::new(cancelling)],
        tasks: vec![Arc::new(stopping)],
        scopes: vec![Arc::new(failed)],
        attempts: vec![lost],
        refused: vec![refused("queue:arrivals", "m 1", 4)],
        backfills: vec![ordered],
        backfill_items: vec![item],
        journal: vec![journal(1, "report", Some(5)), journal(2, "report", None)],
        ..Changes::default()
    }
}

pub async fn every_row_comes_back_as_it_was_written(store: &dyn Store) {
    let lease = lead(store).await;
    let all = full();
    store.commit(&lease, &all).await.expect("commits");

    let (report, run) = ("report".into(), RunId(5));
    assert_eq!(
        store
            .claim("event:/orders e7")
            .await
            .expect("answers")
            .as_ref(),
        all.claims.first()
    );
    assert_eq!(
        store.versions(&report).await.expect("answers"),
        all.versions
    );
    assert_eq!(
        store
            .version(&report, &"v1".into())
            .await
            .expect("answers")
            .as_ref(),
        all.versions.first()
    );
    assert_eq!(store.flows().await.expect("answers"), all.flows);
    assert_eq!(
        store.flow(&report).await.expect("answers").as_ref(),
        all.flows.first()
    );
    assert_eq!(
        store.event(7).await.expect("answers").as_ref(),
        all.events.first()
    );
    let key = &all.occurrences[0].key;
    assert_eq!(
        store
            .occurrence(&report, key)
            .await
            .expect("answers")
            .as_ref(),
        all.occurrences.first()
    );
    assert_eq!(store.matches(7).await.expect("answers"), all.matches);
    assert_eq!(
        store.half_matches(&report).await.expect("answers"),
        all.half_matches
    );
    assert_eq!(
        store.run(run).await.expect("answers").as_ref(),
        all.runs.first()
    );
    let task = task_id("fit[3.12]@2");
    assert_eq!(
        store.task(run, &task).await.expect("answers").as_ref(),
        all.tasks.first()
    );
    assert_eq!(store.scopes(run).await.expect("answers"), all.scopes);
    assert_eq!(
        store.attempts(run, None).await.expect("answers"),
        all.attempts
    );
    assert_eq!(
        store
            .journal(&JournalFilter::All, 0, 10)
            .await
            .expect("answers"),
        all.journal
    );
    let refused = store.refused(None, 10).await.expect("answers");
    assert_eq!(refused.items, all.refused);
    let backfill = store.backfill(6).await.expect("answers");
    assert_eq!(backfill.as_ref(), all.backfills.first());
    let items = store.backfill_items(6, None, None, 10).await;
    assert_eq!(items.expect("answers").items, all.backfill_items);
    let recovered = store.load().await.expect("loads");
    assert_eq!(recovered.backfills, all.backfills);
    assert_eq!(recovered.backfill_items, all.backfill_items);
    assert_eq!(recovered.last_backfill, 6);
    let slas = store.slas(&SlaFilter::default(), None, 10).await;
    assert_eq!(slas.expect("answers").items, [SlaRow::clone(&all.slas[0])]);
    let silences = store.silences(10).await.expect("answers");
    assert_eq!(
        (silences, recovered.last_silence),
        (all.silences.clone(), 2)
    );
    assert_eq!(recovered.slas, [SlaRow::clone(&all.slas[0])]);
    assert_eq!(recovered.silences, all.silences);
    let alerts = store.alerts_after(3, 10).await.expect("answers");
    assert_eq!((alerts, recovered.last_alert), (all.alerts, 4));
    assert_eq!(recovered.flows, all.flows);
    assert_eq!(recovered.half_matches, all.half_matches);
    assert_eq!(
        (
            recovered.last_run,
            recovered.last_event,
            recovered.last_journal
        ),
        (5, 7, 2)
    );
}

pub async fn a_row_is_replaced_and_the_last_of_several_stands(store: &dyn Store) {
    let lease = lead(store).await;
    let states = [TaskState::Ready, TaskState::Submitting, TaskState::Running];
    store
        .commit(&lease, &tasks(states.map(|state| task(1, "load", state))))
        .await
        .expect("commits");
    let stored = store
        .task(RunId(1), &task_id("load"))
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(stored.state, TaskState::Running);

    let mut done = task(1, "load", TaskState::Succeeded);
    done.finished_at = Some(after(5));
    store
        .commit(
            &lease,
            &tasks([done.clone(), task(1, "other", TaskState::Ready)]),
        )
        .await
        .expect("commits");
    let stored = store
        .task(RunId(1), &task_id("load"))
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(*stored, done);
}

pub async fn a_used_claim_is_answered_and_nothing_is_written(store: &dyn Store) {
    let lease = lead(store).await;
    let claims = vec![
        claim("start:report k1", "run:1"),
        claim("start:report k2", "run:2"),
    ];
    store
        .commit(
            &lease,
            &Changes {
                claims: claims.clone(),
                ..Changes::default()
            },
        )
        .await
        .expect("commits");

    let second = Changes {
        claims: vec![
            claim("start:report k3", "run:3"),
            claim("start:report k2", "run:3"),
        ],
        ..runs([run(3, "report", RunState::Queued)])
    };
    match store.commit(&lease, &second).await {
        Err(CommitError::Duplicate(used)) => assert_eq!(used, claims[1..]),
        other => panic!("expected a duplicate, got {other:?}"),
    }
    assert_eq!(store.run(RunId(3)).await.expect("answers"), None);
    assert_eq!(store.claim("start:report k3").await.expect("answers"), None);
    let without = Changes {
        claims: vec![claim("start:report k3", "run:3")],
        ..second
    };
    store
        .commit(&lease, &without)
        .await
        .expect("the rest commits without the used claim");
}

pub async fn a_claim_that_stands_twice_is_refused(store: &dyn Store) {
    let lease = lead(store).await;
    let claims = vec![
        claim("start:report k1", "run:1"),
        claim("start:report k1", "run:2"),
    ];
    let refused = store
        .commit(
            &lease,
            &Changes {
                claims,
                ..Changes::default()
            },
        )
        .await;
    assert!(
        matches!(refused, Err(CommitError::Db(Error::ClaimedTwice(_)))),
        "{refused:?}"
    );
}

pub async fn an_old_term_cannot_write(store: &dyn Store) {
    let old = store
        .take_lease("anna", NOW, Span::from_secs(1))
        .await
        .expect("answers")
        .expect("free");
    let new = store
        .take_lease("bert", after(2), Span::from_secs(1))
        .await
        .expect("answers")
        .expect("expired");
    let late = store.commit(&old, &full()).await;
    assert!(matches!(late, Err(CommitError::LostLease)), "{late:?}");
    let runs = store
        .runs(&RunFilter::default(), None, 10)
        .await
        .expect("answers");
    assert_eq!(runs.items, []);
    assert_eq!(
        store.claim("event:/orders e7").await.expect("answers"),
        None
    );
    store
        .commit(&new, &full())
        .await
        .expect("the new term writes");
}

pub async fn a_number_is_never_used_twice(store: &dyn Store) {
    let lease = lead(store).await;
    let first = Changes {
        journal: vec![journal(1, "a", None)],
        events: vec![Arc::new(event(1))],
        ..Changes::default()
    };
    store.commit(&lease, &first).await.expect("commits");
    for again in [
        Changes {
            journal: first.journal.clone(),
            ..runs([run(1, "a", RunState::Queued)])
        },
        Changes {
            events: first.events.clone(),
            ..runs([run(1, "a", RunState::Queued)])
        },
    ] {
        let refused = store.commit(&lease, &again).await;
        assert!(matches!(refused, Err(CommitError::Db(_))), "{refused:?}");
    }
    assert_eq!(store.run(RunId(1)).await.expect("answers"), None);
    store
        .commit(&lease, &runs([run(1, "a", RunState::Queued)]))
        .await
        .expect("the store goes on");
}

pub async fn half_matches_go_away_and_come_back(store: &dyn Store) {
    let lease = lead(store).await;
    let (first, second) = (Arc::new(event(1)), Arc::new(event(2)));
    let waiting = [
        half_match(&first, "report", 0),
        half_match(&first, "report", 1),
    ];
    let changes = Changes {
        events: vec![first],
        half_matches: waiting.to_vec(),
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");

    let newer = half_match(&second, "report", 1);
    let changes = Changes {
        events: vec![second],
        half_matches_deleted: waiting.iter().map(half_match_key).collect(),
        half_matches: vec![newer.clone()],
        ..Changes::default()
    };
    store.commit(&lease, &changes).await.expect("commits");
    assert_eq!(
        store.half_matches(&"report".into()).await.expect("answers"),
        std::slice::from_ref(&newer)
    );

    let unknown = Changes {
        half_matches: vec![half_match(&Arc::new(event(9)), "report", 0)],
        ..Changes::default()
    };
    let refused = store.commit(&lease, &unknown).await;
    assert!(
        matches!(refused, Err(CommitError::Db(_))),
        "an event that is not there: {refused:?}"
    );
    assert_eq!(
        store.half_matches(&"report".into()).await.expect("answers"),
        [newer]
    );
}

pub async fn strange_texts_survive(store: &dyn Store) {
    let lease = lead(store).await;
    let texts = [
        "",
        "'; DROP TABLE run; --",
        "tab\tquote\"back\\slash\n",
        "ä€😀\u{202e}",
        "$1 ? %s {}",
        "\u{1}\u{1f}",
    ];
    for (place, text) in texts.into_iter().enumerate() {
        let seq = place as u64 + 1;
        let mut strange = event(seq);
        (strange.source, strange.id) = (text.into(), format!("{text}{seq}"));
        strange.subject = Some(text.into());
        strange.data = Arc::new(
            json!({text: [text, "\0", "a\0b", 0.1, -0.0, 1e300, u64::MAX, i64::MIN, null]}),
        );
        let changes = Changes {
            claims: vec![claim(&format!("{text}{seq}"), text)],
            events: vec![Arc::new(strange.clone())],
            ..Changes::default()
        };
        store.commit(&lease, &changes).await.expect("commits");
        assert_eq!(
            store.event(seq).await.expect("answers").as_deref(),
            Some(&strange)
        );
        assert_eq!(
            store.claim(&changes.claims[0].key).await.expect("answers"),
            changes.claims.first().cloned()
        );
    }
    for data in [
        json!(null),
        json!("text"),
        json!(3),
        json!([]),
        json!(false),
    ] {
        let seq = store.load().await.expect("loads").last_event + 1;
        let mut scalar = event(seq);
        scalar.data = Arc::new(data);
        let changes = Changes {
            events: vec![Arc::new(scalar.clone())],
            ..Changes::default()
        };
        store.commit(&lease, &changes).await.expect("commits");
        assert_eq!(
            store.event(seq).await.expect("answers").as_deref(),
            Some(&scalar)
        );
    }
    let nul = Changes {
        claims: vec![claim("a\0b", "run:1")],
        ..Changes::default()
    };
    store
        .commit(&lease, &nul)
        .await
        .expect("a NUL does no harm");
    let again = store.commit(&lease, &nul).await;
    assert!(matches!(again, Err(CommitError::Duplicate(_))), "{again:?}");
}

pub async fn an_empty_commit_checks_the_lease(store: &dyn Store) {
    let lease = lead(store).await;
    store
        .commit(&lease, &Changes::default())
        .await
        .expect("commits");
    let stranger = crate::Lease {
        holder: "stranger".into(),
        ..lease
    };
    let refused = store.commit(&stranger, &Changes::default()).await;
    assert!(
        matches!(refused, Err(CommitError::LostLease)),
        "{refused:?}"
    );
}

pub async fn every_state_can_be_stored(store: &dyn Store) {
    let lease = lead(store).await;
    let mut changes = Changes::default();
    for (place, state) in RunState::ALL.iter().enumerate() {
        changes
            .runs
            .push(Arc::new(run(place as u64 + 1, "a", *state)));
    }
    for (place, state) in TaskState::ALL.iter().enumerate() {
        changes
            .tasks
            .push(Arc::new(task(1, &format!("t[{place}]"), *state)));
    }
    for (place, state) in ScopeState::ALL.iter().enumerate() {
        let mut row = scope(1, "each", Path::ROOT.child(place as u32));
        row.state = *state;
        changes.scopes.push(Arc::new(row));
    }
    for (place, state) in AttemptState::ALL.iter().enumerate() {
        let mut row = attempt(1, "t", place as u32 + 1);
        row.state = *state;
        changes.attempts.push(row);
    }
    for (place, state) in OccurrenceState::ALL.iter().enumerate() {
        let mut row = occurrence("a", after(place as i64));
        row.state = *state;
        changes.occurrences.push(row);
    }
    for (place, outcome) in MatchOutcome::ALL.iter().enumerate() {
        let mut row = event_match(1, "a", place as u16);
        row.outcome = *outcome;
        changes.matches.push(row);
    }
    for (place, state) in BackfillState::ALL.iter().enumerate() {
        changes
            .backfills
            .push(backfill(place as u64 + 1, "a", *state));
    }
    for (place, mode) in BackfillMode::ALL.iter().enumerate() {
        changes.backfills[place].mode = *mode;
    }
    for (place, state) in BackfillItemState::ALL.iter().enumerate() {
        changes
            .backfill_items
            .push(backfill_item(1, place as u32, *state));
    }
    store.commit(&lease, &changes).await.expect("commits");
    let backfills = store.backfills(&BackfillFilter::default(), None, 10).await;
    let backfills = backfills.expect("answers").items;
    assert!(backfills.iter().eq(changes.backfills.iter().rev()));
    let items = store.backfill_items(1, None, None, 10).await;
    assert_eq!(items.expect("answers").items, changes.backfill_items);
    assert_eq!(
        store.scopes(RunId(1)).await.expect("answers"),
        changes.scopes
    );
    assert_eq!(
        store.attempts(RunId(1), None).await.expect("answers"),
        changes.attempts
    );
    assert_eq!(store.matches(1).await.expect("answers"), changes.matches);
}
