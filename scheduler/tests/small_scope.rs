//! Every DAG of up to four tasks, in every order of reports, with every mix of success and failure.

use dalsegno_scheduler::row::{Recovered, RunState, TaskState};
use dalsegno_scheduler::{
    Answer, AttemptId, Command, Config, Flow, Input, Outcome, Reason, Report, Scheduler,
    StartRequest, Timestamp, Version,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// `edges` has one bit for each pair `(from, to)` with `from < to`.
fn dag(tasks: u32, edges: u32) -> BTreeMap<u32, BTreeSet<u32>> {
    let pairs = (0..tasks).flat_map(|to| (0..to).map(move |from| (from, to)));
    let mut parents: BTreeMap<u32, BTreeSet<u32>> =
        (0..tasks).map(|it| (it, BTreeSet::new())).collect();
    for (bit, (from, to)) in pairs.enumerate() {
        if edges & (1 << bit) != 0 {
            parents.entry(to).or_default().insert(from);
        }
    }
    parents
}

fn started(parents: &BTreeMap<u32, BTreeSet<u32>>) -> (Scheduler, Vec<AttemptId>) {
    let name = |it: &u32| format!("t{it}");
    let steps: Vec<Value> = parents
        .iter()
        .map(|(task, parents)| {
            let after: Vec<String> = parents.iter().map(name).collect();
            json!({"name": name(task), "after": after, "run": {"shell": "true"}})
        })
        .collect();
    let spec = serde_json::from_value(json!({"name": "dag", "steps": steps})).expect("it reads");
    let flow = Arc::new(Flow::new(spec).expect("it is valid"));
    let mut core = Scheduler::recover(Config::default(), Recovered::default());
    let deploy = Input::Deploy {
        flow,
        version: Version::new("1"),
        source: "".into(),
        file: "dag.yaml".into(),
    };
    let (decision, _) = core.decide(NOW, deploy).expect("it deploys");
    core.install(decision);
    let start = Input::Start(StartRequest {
        flow: "dag".into(),
        params: Default::default(),
        key: None,
        by: "ada".into(),
    });
    let (decision, answer) = core.decide(NOW, start).expect("it starts");
    assert!(matches!(answer, Answer::Run { .. }));
    let asked = submitted(&decision.commands);
    core.install(decision);
    (core, asked)
}

fn submitted(commands: &[Command]) -> Vec<AttemptId> {
    let attempts = commands.iter().filter_map(|it| match it {
        Command::Submit(attempt) => Some(attempt.clone()),
        _ => None,
    });
    attempts.collect()
}

/// What should have become of each task, by the plainest reading.
fn expected(
    parents: &BTreeMap<u32, BTreeSet<u32>>,
    told: &BTreeMap<u32, bool>,
) -> BTreeMap<u32, TaskState> {
    let mut states = BTreeMap::new();
    for (task, parents) in parents {
        let done = parents.iter().all(|it| states[it] == TaskState::Succeeded);
        let state = match (done, told.get(task)) {
            (true, Some(true)) => TaskState::Succeeded,
            (true, Some(false)) => TaskState::Failed,
            (true, None) => panic!("t{task} never ran"),
            (false, told) => {
                assert_eq!(told, None, "t{task} ran without what it needs");
                TaskState::Skipped
            }
        };
        states.insert(*task, state);
    }
    states
}

struct Walk<'a> {
    parents: &'a BTreeMap<u32, BTreeSet<u32>>,
    ends: u64,
}

impl Walk<'_> {
    /// Lets each live attempt report next, with either outcome.
    fn on(&mut self, core: &Scheduler, live: &[AttemptId], told: &BTreeMap<u32, bool>) {
        let asked: BTreeSet<AttemptId> = live.iter().cloned().collect();
        assert_eq!(asked, core.live_attempts());
        for (place, attempt) in live.iter().enumerate() {
            let task: u32 = attempt.task.step.as_str()[1..].parse().expect("t<number>");
            for success in [true, false] {
                let outcome = match success {
                    true => Outcome::Succeeded(Default::default()),
                    false => Outcome::Failed(Reason::Exit { status: 1 }),
                };
                let report = Report::Ended {
                    outcome,
                    started_at: None,
                    at: NOW,
                };
                let attempt = attempt.clone();
                let (decision, _) = core
                    .decide(NOW, Input::Report { attempt, report })
                    .expect("a report of a live attempt");
                let mut told = told.clone();
                told.insert(task, success);
                let mut live = live.to_vec();
                live.remove(place);
                live.extend(submitted(&decision.commands));
                let ended = decision.changes.runs.last().map(|it| it.state);
                let mut core = core.clone();
                core.install(decision);
                match ended {
                    Some(state) if state.is_terminal() => self.end(state, &live, &told),
                    _ => self.on(&core, &live, &told),
                }
            }
        }
        assert!(!live.is_empty(), "the run is not over, and nothing lives");
    }

    fn end(&mut self, state: RunState, live: &[AttemptId], told: &BTreeMap<u32, bool>) {
        assert_eq!(live, [], "the run is over, and something lives");
        let states = expected(self.parents, told);
        let failed = states.values().any(|it| *it == TaskState::Failed);
        let wanted = match failed {
            true => RunState::Failed,
            false => RunState::Succeeded,
        };
        assert_eq!(state, wanted, "{states:?}");
        self.ends += 1;
    }
}

#[test]
fn every_small_dag_ends_rightly_in_every_order() {
    let mut ends = 0;
    for tasks in 1..=4 {
        for edges in 0..1_u32 << (tasks * (tasks - 1) / 2) {
            let parents = dag(tasks, edges);
            let (core, live) = started(&parents);
            let mut walk = Walk {
                parents: &parents,
                ends: 0,
            };
            walk.on(&core, &live, &BTreeMap::new());
            ends += walk.ends;
        }
    }
    assert_eq!(ends, 2_747, "so many ways to end");
}
