//! Stories of the engine: the real loop on the memory store, with an executor that plays along.

use dalsegno_engine::{AskError, EngineConfig, EngineHandle, Executor, Reporter, Role};
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::{
    BackfillItemState, BackfillMode, BackfillState, Changes, Claim, RefusedRow, RunState,
};
use dalsegno_scheduler::schedule::When;
use dalsegno_scheduler::spec::{
    Command, FlowSpec, OnFailure, Retry, RunPolicy, ScheduleSpec, ScopeIndex, StepSpec,
    default_grace,
};
use dalsegno_scheduler::{
    Answer, AttemptId, Config, Flow, FlowName, Input, NewEvent, Outcome, Rejected, Report,
    ResumeWith, RunId, Span, StartRequest, Submission, Success, Timestamp, Version,
};
use dalsegno_store::{Fault, MemoryStore, Store};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Answers every submission with success, or keeps it until told.
struct Player {
    reporter: Reporter,
    hold: bool,
    asked: Mutex<Vec<AttemptId>>,
    watched: mpsc::UnboundedSender<AttemptId>,
}

impl Executor for Player {
    fn reconcile(&self, _: BTreeSet<AttemptId>) {}
    fn submit(&self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.asked
                .lock()
                .expect("not poisoned")
                .push(submission.attempt.clone());
            let _ = self.watched.send(submission.attempt.clone());
            if !self.hold {
                let (reporter, attempt) = (self.reporter.clone(), submission.attempt);
                tokio::spawn(async move { reporter.report(attempt, success()).await });
            }
        }
    }
    fn watch(&self, submission: Submission) {
        self.submit(vec![submission]);
    }
    fn stop(&self, attempt: AttemptId, _: Span) {
        let reporter = self.reporter.clone();
        tokio::spawn(async move { reporter.report(attempt, ended(Outcome::Stopped)).await });
    }
    fn forget(&self, _: Vec<AttemptId>) {}
}

fn success() -> Report {
    ended(Outcome::Succeeded(Success::default()))
}

fn ended(outcome: Outcome) -> Report {
    Report::Ended {
        outcome,
        started_at: None,
        at: Timestamp(1),
    }
}

struct Stage {
    engine: EngineHandle,
    store: Arc<MemoryStore>,
    player: Arc<Player>,
    asked: mpsc::UnboundedReceiver<AttemptId>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn stage(store: Arc<MemoryStore>, hold: bool) -> Stage {
    store
        .migrate()
        .await
        .expect("the memory store needs no migration");
    let (reporter, reports) = Reporter::channel();
    let (watched, asked) = mpsc::unbounded_channel();
    let player = Arc::new(Player {
        reporter,
        hold,
        asked: Mutex::default(),
        watched,
    });
    let stop = CancellationToken::new();
    let config = EngineConfig {
        instance: "test".into(),
        lease_ttl: Span::from_secs(10),
        core: Config::default(),
    };
    let (engine, task) =
        dalsegno_engine::start(store.clone(), config, player.clone(), reports, stop.clone());
    assert_eq!(engine.settled().await, Role::Leader);
    Stage {
        engine,
        store,
        player,
        asked,
        stop,
        task,
    }
}

impl Stage {
    async fn deploy(&self, name: &str, steps: &[(&str, &[&str])]) {
        let flow = Arc::new(chain(name, steps));
        let input = Input::Deploy {
            flow,
            version: Version::new("v1"),
            source: "".into(),
            file: format!("{name}.yaml"),
        };
        self.engine.ask(input).await.expect("a valid flow");
    }

    /// A flow that is due at every full hour.
    async fn deploy_hourly(&self, name: &str) {
        let mut spec = chain(name, &[("a", &[])]).spec().clone();
        spec.schedules.push(ScheduleSpec {
            name: "hourly".into(),
            when: When::Every {
                period: Span::from_mins(60),
            },
            timezone: "UTC".into(),
            gap: Default::default(),
            overlap: None,
            jitter: Span::ZERO,
            misfire: Default::default(),
            params: BTreeMap::new(),
            start: None,
            end: None,
            calendar: None,
        });
        let input = Input::Deploy {
            flow: Arc::new(Flow::new(spec).expect("a valid flow")),
            version: Version::new("v1"),
            source: "".into(),
            file: format!("{name}.yaml"),
        };
        self.engine.ask(input).await.expect("a valid flow");
    }

    async fn run(&self, flow: &str, key: Option<&str>) -> Result<Answer, AskError> {
        let request = StartRequest {
            flow: flow.into(),
            params: Map::new(),
            key: key.map(str::to_owned),
            by: "test".into(),
        };
        self.engine.ask(Input::Start(request)).await
    }

    /// Waits until the run is in this state on disk.
    async fn reaches(&self, run: RunId, state: RunState) {
        let mut notices = self.engine.subscribe();
        loop {
            let row = self.store.run(run).await.expect("memory reads");
            if row.is_some_and(|it| it.state == state) {
                return;
            }
            let _ = notices.recv().await;
        }
    }

    async fn end(self) -> Arc<MemoryStore> {
        self.stop.cancel();
        self.task.await.expect("the engine ends in order");
        self.store
    }
}

fn chain(name: &str, steps: &[(&str, &[&str])]) -> Flow {
    let step = |(name, after): &(&str, &[&str])| StepSpec {
        slas: Vec::new(),
        hook: None,
        name: (*name).into(),
        scope: ScopeIndex::ROOT,
        after: after.iter().map(|it| (*it).into()).collect(),
        join: Default::default(),
        route: Default::default(),
        when: None,
        run: Command::Argv(vec!["true".into()]),
        env: BTreeMap::new(),
        outputs: Vec::new(),
        retry: Retry::default(),
        timeout: None,
        pools: BTreeMap::new(),
        on_failure: OnFailure::Fail,
        memory_bytes: None,
        on_oom: None,
        remote: None,
        grace: default_grace(),
    };
    Flow::new(FlowSpec {
        alerts: Vec::new(),
        slas: Vec::new(),
        blackouts: Vec::new(),
        metaflow: None,
        name: FlowName::new(name),
        description: None,
        owner: None,
        tags: Vec::new(),
        params: Vec::new(),
        schedules: Vec::new(),
        triggers: Vec::new(),
        run: RunPolicy::default(),
        env: BTreeMap::new(),
        scopes: Vec::new(),
        steps: steps.iter().map(step).collect(),
    })
    .expect("a valid flow")
}

fn run_of(answer: Result<Answer, AskError>) -> (RunId, bool) {
    match answer {
        Ok(Answer::Run { run, duplicate }) => (run, duplicate),
        other => panic!("a run is expected, and it is {other:?}"),
    }
}

#[tokio::test]
async fn a_chain_runs_to_its_end() {
    let stage = stage(Arc::default(), false).await;
    stage
        .deploy("etl", &[("a", &[]), ("b", &["a"]), ("c", &["b"])])
        .await;
    let (run, _) = run_of(stage.run("etl", None).await);
    stage.reaches(run, RunState::Succeeded).await;
    let asked = stage.player.asked.lock().expect("not poisoned").clone();
    let texts: Vec<String> = asked.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["1/a/1", "1/b/1", "1/c/1"]);
    stage.end().await;
}

#[tokio::test]
async fn the_same_key_gives_the_same_run() {
    let stage = stage(Arc::default(), true).await;
    stage.deploy("etl", &[("a", &[])]).await;
    let first = run_of(stage.run("etl", Some("k")).await);
    let (second, third) = tokio::join!(stage.run("etl", Some("k")), stage.run("etl", Some("k")));
    assert_eq!(first, (RunId(1), false));
    assert_eq!(run_of(second), (RunId(1), true));
    assert_eq!(run_of(third), (RunId(1), true));
    stage.end().await;
}

#[tokio::test]
async fn two_events_with_one_id_in_one_batch_are_one_event() {
    let stage = stage(Arc::default(), true).await;
    let event = || {
        stage.engine.ask(Input::Event(NewEvent {
            source: "shop".into(),
            id: "1".into(),
            kind: "order".into(),
            subject: None,
            time: None,
            data: Value::Null,
        }))
    };
    let (a, b) = tokio::join!(event(), event());
    let mut seen: Vec<bool> = [a, b]
        .into_iter()
        .map(|answer| match answer {
            Ok(Answer::Event {
                seq: 1, duplicate, ..
            }) => duplicate,
            other => panic!("event 1 is expected, and it is {other:?}"),
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [false, true]);
    stage.end().await;
}

#[tokio::test]
async fn a_restart_asks_again_for_what_was_asked_before() {
    let mut first = stage(Arc::default(), true).await;
    first.deploy("etl", &[("a", &[])]).await;
    let (run, _) = run_of(first.run("etl", None).await);
    let asked = first.asked.recv().await.expect("a submission");
    let store = first.end().await;

    let mut second = stage(store, false).await;
    assert_eq!(second.asked.recv().await, Some(asked));
    second.reaches(run, RunState::Succeeded).await;
    second.end().await;
}

#[tokio::test]
async fn a_commit_that_fails_loses_no_report() {
    for fault in [
        Fault::Refused,
        Fault::DiskFull,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::LeaseTaken,
    ] {
        let mut stage = stage(Arc::default(), true).await;
        stage.deploy("etl", &[("a", &[]), ("b", &["a"])]).await;
        let (run, _) = run_of(stage.run("etl", None).await);
        let attempt = stage.asked.recv().await.expect("a submission");
        stage.store.fail_next(fault);
        stage.player.reporter.report(attempt, success()).await;
        // An executor answers whenever it is asked; after a reload it is asked again for what is open.
        loop {
            let attempt = stage.asked.recv().await.expect("a submission");
            stage
                .player
                .reporter
                .report(attempt.clone(), success())
                .await;
            if attempt.task.step.as_str() == "b" {
                break;
            }
        }
        stage.reaches(run, RunState::Succeeded).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_new_run_is_made_from_a_finished_one_and_once_for_a_key() {
    let stage = stage(Arc::default(), false).await;
    stage
        .deploy("etl", &[("a", &[]), ("b", &["a"]), ("c", &["b"])])
        .await;
    let (old, _) = run_of(stage.run("etl", None).await);
    stage.reaches(old, RunState::Succeeded).await;
    let rerun = |run| {
        stage.engine.rerun(
            run,
            Some("b".into()),
            Map::new(),
            ResumeWith::Latest,
            Some("again".into()),
            "test".into(),
        )
    };
    let (made, duplicate) = run_of(rerun(old).await);
    assert_eq!((made, duplicate), (RunId(2), false));
    stage.reaches(made, RunState::Succeeded).await;
    assert_eq!(run_of(rerun(old).await), (RunId(2), true));
    let asked = stage.player.asked.lock().expect("not poisoned").clone();
    let texts: Vec<String> = asked.iter().map(ToString::to_string).collect();
    assert_eq!(texts[3..], ["2/b/1", "2/c/1"]);
    let unknown = rerun(RunId(9)).await;
    assert!(
        matches!(
            unknown,
            Err(AskError::Rejected(Rejected::UnknownRun(RunId(9))))
        ),
        "{unknown:?}"
    );
    stage.end().await;
}

fn an_event(id: &str) -> Input {
    Input::Event(NewEvent {
        source: "shop".into(),
        id: id.into(),
        kind: "order".into(),
        subject: None,
        time: None,
        data: Value::Null,
    })
}

#[tokio::test]
async fn only_an_event_that_is_there_is_replayed() {
    let stage = stage(Arc::default(), true).await;
    stage.engine.ask(an_event("1")).await.expect("accepted");
    let replay = |seq| {
        stage
            .engine
            .replay(seq, None, Some("k".into()), "ada".into())
    };
    let unknown = replay(7).await;
    assert!(
        matches!(unknown, Err(AskError::UnknownEvent(7))),
        "{unknown:?}"
    );
    let problem = dalsegno_engine::Problem::from(unknown.expect_err("unknown"));
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (404, "unknown_event")
    );
    let replayed = |duplicate| Answer::Event {
        seq: 2,
        runs: vec![],
        duplicate,
    };
    assert_eq!(replay(1).await.expect("there"), replayed(false));
    assert_eq!(replay(1).await.expect("there"), replayed(true));
    let copy = stage.store.event(2).await.expect("memory reads");
    assert_eq!(copy.expect("on record").replay_of, Some(1));
    stage.end().await;
}

#[tokio::test]
async fn the_second_use_of_a_key_is_answered_from_what_the_first_one_left() {
    let store: Arc<MemoryStore> = Arc::default();
    let delivery = || RefusedRow {
        source: "queue:arrivals".into(),
        id: "m1".into(),
        reason: "not JSON".into(),
        excerpt: "{".into(),
        received_at: Timestamp(1),
    };
    let refuse = Input::Refuse(delivery());
    let key = refuse.claim().expect("a key");
    let lease = store
        .take_lease_sync("before", Timestamp(0), Span::from_secs(1))
        .expect("free");
    let changes = Changes {
        claims: vec![Claim {
            key,
            result: "refused:queue:arrivals m1".into(),
        }],
        refused: vec![delivery()],
        ..Changes::default()
    };
    store.commit_sync(&lease, &changes).expect("commits");
    let stage = stage(store, true).await;
    let again = stage.engine.ask(refuse).await;
    assert_eq!(again.expect("on record already"), Answer::Done);
    let told = stage.store.refused(None, 10).await.expect("memory reads");
    assert_eq!(told.items, [delivery()]);
    stage.end().await;
}

#[tokio::test]
async fn a_backfill_is_ordered_by_the_token_of_its_plan_and_once_for_a_key() {
    let stage = stage(Arc::default(), false).await;
    stage.deploy_hourly("etl").await;
    let from = Timestamp::from_secs(1_780_000_000 / 3_600 * 3_600);
    let request = PlanRequest {
        flow: "etl".into(),
        from,
        to: from + Span::from_mins(180),
        mode: BackfillMode::Missing,
        downstream: false,
        parallel: 2,
    };
    let plan = stage.engine.plan_backfill(&request).await.expect("a plan");
    assert_eq!(plan.runs(), 3);
    let order = |token: &str, key: &str| {
        stage.engine.backfill(
            request.clone(),
            token.to_owned(),
            Some(key.to_owned()),
            "ada".into(),
        )
    };
    let other = order("another token", "k").await;
    assert!(
        matches!(other, Err(AskError::Rejected(Rejected::PlanChanged(_)))),
        "{other:?}"
    );
    let ordered = |duplicate| Answer::Backfill {
        backfill: 1,
        duplicate,
    };
    let (first, twin) = tokio::join!(order(&plan.token, "k"), order(&plan.token, "k"));
    assert_eq!(first.expect("ordered"), ordered(false));
    assert_eq!(twin.expect("in the same batch"), ordered(true));
    assert_eq!(
        order(&plan.token, "k").await.expect("later"),
        ordered(true),
        "what it has made does not stand in its way"
    );
    let late = order(&plan.token, "another key").await;
    assert!(
        matches!(late, Err(AskError::Rejected(Rejected::PlanChanged(_)))),
        "{late:?}"
    );

    // To its end: three runs, in the order of their intervals.
    let mut notices = stage.engine.subscribe();
    while stage
        .store
        .backfill(1)
        .await
        .expect("memory reads")
        .is_none_or(|it| it.state != BackfillState::Finished)
    {
        let _ = notices.recv().await;
    }
    let counts = stage.store.backfill_counts(1).await.expect("memory reads");
    let counts: Vec<_> = counts.iter().map(|it| (it.state, it.items)).collect();
    assert_eq!(counts, [(BackfillItemState::Succeeded, 3)]);
    let again = stage.engine.plan_backfill(&request).await.expect("a plan");
    assert_eq!(again.runs(), 0, "nothing is missing any more");
    stage.end().await;
}
