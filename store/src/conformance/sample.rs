//! Rows to store, plain ones by default; tests change what matters to them.

use crate::lease::Lease;
use crate::store::Store;
use dalsegno_scheduler::alert::{AlertId, AlertKind, AlertRow};
use dalsegno_scheduler::row::{
    AttemptRow, AttemptState, BackfillItemRow, BackfillItemState, BackfillMode, BackfillRow,
    BackfillState, Changes, Claim, EventRow, FlowRow, FlowVersionRow, HalfMatchRow, Interval,
    JournalEntry, MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState, ParentTask, RefusedRow,
    Retries, RunRow, RunState, ScopeRow, ScopeState, SilenceRow, SlaRow, SlaState, TaskRow,
    TaskState,
};
use dalsegno_scheduler::{
    AttemptId, FlowName, Path, RunId, Span, TaskId, Timestamp, TriggerName, Version,
};
use std::sync::Arc;

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn after(secs: i64) -> Timestamp {
    NOW + Span::from_secs(secs)
}

/// A lease that outlasts the test.
pub(super) async fn lead(store: &dyn Store) -> Lease {
    store
        .take_lease("leader", NOW, Span::from_secs(3_600))
        .await
        .expect("answers")
        .expect("free")
}

pub(super) fn flow(name: &str) -> FlowRow {
    FlowRow {
        name: name.into(),
        active_version: Some("v1".into()),
        file: format!("{name}.yaml"),
        invalid: None,
        removed: false,
        paused: None,
        blocked_by: None,
        failing: None,
        updated_at: NOW,
    }
}

pub(super) fn version(flow: &str, version: &str) -> FlowVersionRow {
    FlowVersionRow {
        flow: flow.into(),
        version: version.into(),
        source: format!("flow: {flow}\n"),
        definition: "{}".into(),
        created_at: NOW,
    }
}

pub(super) fn event(seq: u64) -> EventRow {
    EventRow {
        replay_of: None,
        seq,
        source: "/orders".into(),
        id: format!("e{seq}"),
        kind: "order.created".into(),
        subject: None,
        time: NOW,
        data: Arc::new(serde_json::json!({"amount": seq})),
        received_at: after(seq as i64),
    }
}

pub(super) fn event_match(event: u64, flow: &str, leaf: u16) -> MatchRow {
    MatchRow {
        event,
        flow: flow.into(),
        trigger: "orders".into(),
        leaf,
        outcome: MatchOutcome::Waiting,
        reason: None,
        run: None,
        updated_at: NOW,
    }
}

pub(super) fn half_match(event: &Arc<EventRow>, flow: &str, leaf: u16) -> HalfMatchRow {
    HalfMatchRow {
        flow: flow.into(),
        trigger: "orders".into(),
        join_key: "2026-11-22".into(),
        leaf,
        event: Arc::clone(event),
        expires_at: Some(after(600)),
    }
}

pub(super) fn half_match_key(row: &HalfMatchRow) -> (FlowName, TriggerName, String, u16, u64) {
    (
        row.flow.clone(),
        row.trigger.clone(),
        row.join_key.clone(),
        row.leaf,
        row.event.seq,
    )
}

pub(super) fn occurrence(flow: &str, due_at: Timestamp) -> OccurrenceRow {
    OccurrenceRow {
        flow: flow.into(),
        key: format!("cron:daily:{due_at}"),
        trigger: "daily".into(),
        due_at,
        interval: Interval {
            start: due_at - Span::from_secs(60),
            end: due_at,
        },
        state: OccurrenceState::Expected,
        reason: None,
        run: None,
        updated_at: NOW,
        since: due_at - Span::from_secs(59),
    }
}

pub(super) fn run(id: u64, flow: &str, state: RunState) -> RunRow {
    RunRow {
        parent: None,
        backfill: None,
        id: RunId(id),
        flow: flow.into(),
        version: Version::new("v1"),
        state,
        generation: 1,
        params: Arc::default(),
        occurrence: format!("manual:{id}"),
        trigger: "manual".into(),
        interval: Interval::default(),
        priority: 0,
        events: vec![],
        event_data: Arc::default(),
        reason: None,
        ending: None,
        queued_at: NOW,
        created_at: NOW,
        started_at: None,
        finished_at: state.is_terminal().then_some(after(9)),
        deadline: None,
        origin: None,
        origin_created_at: None,
    }
}

pub(super) fn task_id(text: &str) -> TaskId {
    text.parse().expect("a task id")
}

pub(super) fn task(run: u64, task: &str, state: TaskState) -> TaskRow {
    TaskRow {
        run: RunId(run),
        task: task_id(task),
        state,
        attempt: 1,
        attempts_before: 0,
        attempts_before_that: 0,
        retries: Retries::default(),
        reason: None,
        ready_at: NOW,
        submitted_at: None,
        started_at: None,
        finished_at: None,
        retry_at: None,
        deadline: None,
        external_id: None,
        log: None,
        array: None,
        memory_bytes: None,
        outputs: None,
        chosen: None,
        splits: None,
    }
}

pub(super) fn scope(run: u64, scope: &str, path: Path) -> ScopeRow {
    ScopeRow {
        run: RunId(run),
        scope: scope.into(),
        path,
        state: ScopeState::Open,
        items: Arc::new(vec![1.into(), "two".into()]),
        reason: None,
        opened_at: NOW,
        closed_at: None,
    }
}

pub(super) fn attempt(run: u64, task: &str, number: u32) -> AttemptRow {
    AttemptRow {
        id: AttemptId {
            run: RunId(run),
            task: task_id(task),
            number,
        },
        state: AttemptState::Failed,
        reason: None,
        class: None,
        rule: None,
        external_id: Some("4711".into()),
        log: None,
        memory_bytes: None,
        submitted_at: NOW,
        started_at: Some(after(1)),
        finished_at: after(2),
    }
}

/// The task of a run as the one that started another.
pub(super) fn parent(run: u64, task: &str, number: u32) -> ParentTask {
    ParentTask {
        attempt: attempt(run, task, number).id,
        waits: true,
        depth: 1,
    }
}

pub(super) fn refused(source: &str, id: &str, secs: i64) -> RefusedRow {
    RefusedRow {
        source: source.into(),
        id: id.into(),
        reason: "line 1: not JSON".into(),
        excerpt: "{\"".into(),
        received_at: after(secs),
    }
}

pub(super) fn backfill(id: u64, flow: &str, state: BackfillState) -> BackfillRow {
    BackfillRow {
        id,
        flow: flow.into(),
        from: after(-7_200),
        to: NOW,
        mode: BackfillMode::Missing,
        downstream: false,
        state,
        parallel: 4,
        by: "ada".into(),
        reason: None,
        created_at: NOW,
        updated_at: NOW,
        finished_at: None,
    }
}

pub(super) fn backfill_item(
    backfill: u64,
    number: u32,
    state: BackfillItemState,
) -> BackfillItemRow {
    let start = after(3_600 * i64::from(number) - 7_200);
    BackfillItemRow {
        backfill,
        number,
        flow: "report".into(),
        interval: Interval {
            start,
            end: start + Span::from_secs(3_600),
        },
        trigger: "hourly".into(),
        after: vec![],
        state,
        run: None,
        reason: None,
        events: vec![],
        updated_at: NOW,
    }
}

pub(super) fn sla(flow: &str, period: &str, due_at: Timestamp) -> SlaRow {
    SlaRow {
        flow: flow.into(),
        promise: "finish_by".into(),
        period: period.into(),
        due_at,
        state: SlaState::OnTime,
        open: true,
        run: None,
        step: None,
        at_risk_since: None,
        missed_at: None,
        met_at: None,
        told: None,
        prediction: None,
        acknowledged: None,
        silenced_until: None,
        withdrawn: None,
        more: 0,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(super) fn silence(id: u64) -> SilenceRow {
    SilenceRow {
        id,
        flow: None,
        promise: None,
        from: NOW,
        until: after(60),
        by: "ada".into(),
        note: None,
        created_at: NOW,
        ended_at: None,
    }
}

pub(super) fn alert(id: u64, kind: AlertKind) -> AlertRow {
    AlertRow {
        id: AlertId(id),
        at: NOW,
        kind,
        flow: None,
        owner: None,
        run: None,
        step: None,
        key: format!("matter {}", id % 2),
        is_recovery: kind.is_recovery(),
        summary: "something happened".into(),
        data: serde_json::json!({"n": id}),
    }
}

pub(super) fn journal(seq: u64, flow: &str, run: Option<u64>) -> JournalEntry {
    JournalEntry {
        seq,
        at: NOW,
        flow: flow.into(),
        run: run.map(RunId),
        kind: "run.queued".into(),
        body: format!("{{\"seq\":{seq}}}"),
    }
}

pub(super) fn claim(key: &str, result: &str) -> Claim {
    Claim {
        key: key.into(),
        result: result.into(),
    }
}

/// Changes that write these runs.
pub(super) fn runs(runs: impl IntoIterator<Item = RunRow>) -> Changes {
    Changes {
        runs: runs.into_iter().map(Arc::new).collect(),
        ..Changes::default()
    }
}

/// Changes that write these tasks.
pub(super) fn tasks(tasks: impl IntoIterator<Item = TaskRow>) -> Changes {
    Changes {
        tasks: tasks.into_iter().map(Arc::new).collect(),
        ..Changes::default()
    }
}
