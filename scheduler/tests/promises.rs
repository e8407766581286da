//! Promises about time over any history: one alert for each breach, at most one for its end, and what rows bring back is
//! what was there. A small book of our own, kept by hand, says which occurrences were finished in time.

use dalsegno_scheduler::alert::{AlertKind, AlertRow};
use dalsegno_scheduler::row::{
    Changes, FlowVersionRow, OccurrenceRow, OccurrenceState, Recovered, RunRow, RunState,
    SilenceRow, SlaRow, SlaState, TaskRow,
};
use dalsegno_scheduler::{
    Config, Flow, FlowName, Input, NewSilence, Outcome, Reason, Report, RunId, Scheduler, Span,
    Success, TaskId, Timestamp, Version,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    /// Minutes in which the daemon sees every moment at which something is due.
    Live(u16),
    /// Minutes in which it is down; then it starts from its rows.
    Down(u16),
    /// The clock is set back by so many minutes.
    Back(u8),
    Restart,
    /// The oldest live attempt begins, succeeds or fails.
    Begin,
    Succeed,
    Fail,
    Cancel,
    Pause(bool),
    Start,
    Silence(u8, u16),
    Deploy(u8),
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..200_u16).prop_map(Step::Live),
        2 => (1..2_000_u16).prop_map(Step::Down),
        1 => (1..90_u8).prop_map(Step::Back),
        2 => Just(Step::Restart),
        3 => Just(Step::Begin),
        5 => Just(Step::Succeed),
        2 => Just(Step::Fail),
        1 => Just(Step::Cancel),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => Just(Step::Start),
        1 => (0..3_u8, 1..600_u16).prop_map(|(flow, long)| Step::Silence(flow, long)),
        2 => (0..FLOWS).prop_map(Step::Deploy),
        1 => Just(Step::Remove),
    ]
}

const FLOWS: u8 = 6;

fn spec(number: u8) -> Value {
    let minutes = |it: i64| Span::from_mins(it).as_micros();
    let by = |time: &str| json!({ "at": { "time": time, "timezone": "Europe/Berlin" } });
    let after = |it: i64| json!({ "after": minutes(it) });
    let finish = |time: Value| json!({ "kind": { "finish_by": time } });
    let start = |time: Value| json!({ "kind": { "start_by": time } });
    let most = json!({ "kind": { "max_duration": minutes(20) } });
    let wait = json!({ "kind": { "max_queue_wait": minutes(10) } });
    let fresh = json!({ "kind": { "fresh_within": minutes(150) } });
    let (cron, slas, of_step) = match number {
        0 => (
            "0 * * * *",
            json!([finish(after(30)), start(after(10))]),
            json!([]),
        ),
        1 => (
            "*/30 * * * *",
            json!([finish(by("02:30")), most, wait]),
            json!([finish(after(25))]),
        ),
        2 => (
            "",
            json!([finish(by("02:30")), start(by("02:00")), fresh]),
            json!([most]),
        ),
        3 => (
            "0 */2 * * *",
            json!([finish(after(400)), fresh]),
            json!([start(after(15)), wait]),
        ),
        4 => ("", json!([finish(after(45)), most, wait]), json!([fresh])),
        _ => ("0 * * * *", json!([]), json!([])),
    };
    let mut schedules = json!([{
        "name": "s", "when": { "cron": { "text": cron } }, "timezone": "Europe/Berlin",
        "misfire": { "down": "all", "paused": "latest", "max": 3, "window": 86_400_000_000_u64 },
    }]);
    if cron.is_empty() {
        schedules = json!([]);
    }
    json!({
        "name": "f", "schedules": schedules, "slas": slas,
        "steps": [{ "name": "a", "run": { "shell": "true" }, "slas": of_step }],
        "alerts": [{ "on": ["sla.at_risk", "sla.missed", "sla.met"], "to": ["webhook:x"] }],
    })
}

type Key = (Arc<str>, Arc<str>);

struct World {
    core: Scheduler,
    now: Timestamp,
    slas: BTreeMap<Key, SlaRow>,
    silences: BTreeMap<u64, SilenceRow>,
    occurrences: BTreeMap<String, OccurrenceRow>,
    runs: BTreeMap<RunId, Arc<RunRow>>,
    tasks: BTreeMap<(RunId, TaskId), Arc<TaskRow>>,
    versions: BTreeMap<Version, FlowVersionRow>,
    alerts: Vec<AlertRow>,
    /// The latest instant that was ever seen.
    latest: Timestamp,
    last_journal: u64,
    last_event: u64,
}

impl World {
    fn decide(&mut self, input: Input) -> bool {
        let Ok((decision, _)) = self.core.decide(self.now, input) else {
            return false;
        };
        self.keep(&decision.changes);
        self.core.install(decision);
        true
    }

    fn keep(&mut self, it: &Changes) {
        for row in &it.slas {
            let key = (row.promise.clone(), row.period.clone());
            if let Some(old) = self.slas.get(&key) {
                self.no_way_back(old, row);
            }
            self.slas.insert(key, SlaRow::clone(row));
        }
        self.silences
            .extend(it.silences.iter().map(|it| (it.id, it.clone())));
        let occurrences = it.occurrences.iter();
        self.occurrences
            .extend(occurrences.map(|it| (it.key.clone(), it.clone())));
        self.runs
            .extend(it.runs.iter().map(|it| (it.id, it.clone())));
        let tasks = it.tasks.iter();
        self.tasks
            .extend(tasks.map(|it| ((it.run, it.task.clone()), it.clone())));
        let versions = it.versions.iter();
        self.versions
            .extend(versions.map(|it| (it.version.clone(), it.clone())));
        self.alerts.extend(it.alerts.iter().cloned());
        self.last_journal += it.journal.len() as u64;
        self.last_event += it.events.len() as u64;
    }

    /// A breach stays one, whatever comes after; what is due stays due.
    fn no_way_back(&self, old: &SlaRow, new: &SlaRow) {
        assert!(
            old.missed_at.is_none() || new.missed_at == old.missed_at,
            "{old:?}\n{new:?}"
        );
        assert!(
            old.withdrawn.is_some() || new.due_at == old.due_at,
            "{old:?}\n{new:?}"
        );
        assert!(
            new.told >= old.told || old.withdrawn.is_some(),
            "{old:?}\n{new:?}"
        );
    }

    fn rows(&self) -> Recovered {
        let open = |it: &RunId| !self.runs[it].state.is_terminal();
        let runs = self.runs.values().filter(|it| open(&it.id));
        Recovered {
            flows: self.core.flows().map(|it| it.row.clone()).collect(),
            versions: self.versions.values().cloned().collect(),
            occurrences: self
                .occurrences
                .values()
                .filter(|it| it.state == OccurrenceState::Expected)
                .cloned()
                .collect(),
            left: self
                .occurrences
                .values()
                .filter(|it| it.reason == Some(Reason::FlowRemoved))
                .cloned()
                .collect(),
            runs: runs.cloned().collect(),
            tasks: self
                .tasks
                .values()
                .filter(|it| open(&it.run))
                .cloned()
                .collect(),
            slas: self.slas.values().filter(|it| it.open).cloned().collect(),
            silences: self
                .silences
                .values()
                .filter(|it| it.ended_at.is_none())
                .cloned()
                .collect(),
            last_run: self.runs.keys().map(|it| it.0).max().unwrap_or(0),
            last_alert: self.alerts.len() as u64,
            last_silence: self.silences.len() as u64,
            last_journal: self.last_journal,
            last_event: self.last_event,
            ..Recovered::default()
        }
    }

    fn restart(&mut self) {
        let again = Scheduler::recover(Config::default(), self.rows());
        let lost = again.differences(&self.core);
        assert!(lost.is_empty(), "{lost:#?}");
        self.core = again;
    }

    fn tick(&mut self) {
        self.decide(Input::Tick);
        self.latest = self.latest.max(self.now);
    }

    fn attempt(&mut self, report: impl Fn(Timestamp) -> Report) {
        if let Some(it) = self.core.live_attempts().first() {
            let (attempt, at) = (it.clone(), self.now);
            let report = report(at);
            self.decide(Input::Report { attempt, report });
        }
    }

    fn step(&mut self, step: &Step) {
        let by = || "ada".to_owned();
        let name = FlowName::new("f");
        let ended = |outcome: Outcome| {
            move |at| Report::Ended {
                outcome: outcome.clone(),
                started_at: Some(at),
                at,
            }
        };
        match step {
            Step::Live(minutes) => {
                let until = self.now + Span::from_mins((*minutes).into());
                while let Some(at) = self.core.next_deadline().filter(|at| *at <= until) {
                    self.now = self.now.max(at);
                    self.tick();
                }
                self.now = until;
                self.tick();
            }
            Step::Down(minutes) => {
                self.restart();
                self.now = self.now + Span::from_mins((*minutes).into());
                self.tick();
            }
            Step::Back(minutes) => {
                self.now = self.now - Span::from_mins((*minutes).into());
                self.tick();
            }
            Step::Restart => {
                self.restart();
                self.tick();
            }
            Step::Begin => self.attempt(|at| Report::Started {
                external_id: "pid".into(),
                at,
            }),
            Step::Succeed => self.attempt(ended(Outcome::Succeeded(Success::default()))),
            Step::Fail => self.attempt(ended(Outcome::Failed(Reason::Exit { status: 1 }))),
            Step::Cancel => {
                let last = self.runs.keys().last().copied();
                if let Some(run) = last {
                    let (by, reason) = (by(), None);
                    self.decide(Input::Cancel { run, by, reason });
                }
            }
            Step::Pause(true) => {
                let (flow, by, reason) = (name, by(), None);
                self.decide(Input::Pause { flow, by, reason });
            }
            Step::Pause(false) => {
                let (flow, by, catch_up) = (name, by(), Default::default());
                self.decide(Input::Unpause { flow, by, catch_up });
            }
            Step::Start => {
                self.decide(Input::Start(dalsegno_scheduler::StartRequest {
                    flow: name,
                    params: Default::default(),
                    key: None,
                    by: by(),
                }));
            }
            Step::Silence(which, minutes) => {
                let flow = [None, Some("f*"), Some("g*")][usize::from(*which)];
                self.decide(Input::Silence(Box::new(NewSilence {
                    flow: flow.map(str::to_owned),
                    promise: None,
                    from: None,
                    until: self.now + Span::from_mins((*minutes).into()),
                    by: by(),
                    note: None,
                    key: None,
                })));
            }
            Step::Deploy(number) => self.deploy(*number),
            Step::Remove => {
                self.decide(Input::Remove { flow: name });
            }
        }
        self.check();
    }

    fn deploy(&mut self, number: u8) {
        let spec = serde_json::from_value(spec(number)).expect("it reads");
        let flow = Arc::new(Flow::new(spec).expect("it is valid"));
        let source = serde_json::to_string(flow.spec()).expect("plain data");
        let done = self.decide(Input::Deploy {
            flow,
            version: Version::new(format!("v{number}")),
            source: source.into(),
            file: "flows/f.yaml".into(),
        });
        assert!(done, "it is accepted");
    }

    /// What must be so at every moment.
    fn check(&self) {
        let disorder = self.core.disorder();
        assert!(disorder.is_empty(), "{disorder:#?}");
        let mut told: BTreeMap<&str, Vec<AlertKind>> = BTreeMap::new();
        for it in &self.alerts {
            told.entry(&it.key).or_default().push(it.kind);
        }
        for (key, kinds) in &told {
            let count = |kind| kinds.iter().filter(|it| **it == kind).count();
            assert!(count(AlertKind::SlaMissed) <= 1, "{key}: {kinds:?}");
            assert!(count(AlertKind::SlaMet) <= 1, "{key}: {kinds:?}");
            assert_ne!(kinds[0], AlertKind::SlaMet, "{key}: {kinds:?}");
        }
        for row in self.slas.values() {
            let key = format!("sla:f:{}:{}", row.promise, row.period);
            let kinds = told.remove(key.as_str()).unwrap_or_default();
            let was_missed = matches!(row.state, SlaState::Missed | SlaState::MetLate);
            // A clock that was set back, or an end that was told late: it was in time after all.
            let was_right = row.state == SlaState::Met && row.missed_at.is_some();
            assert!(
                was_right || row.missed_at.is_some() == was_missed,
                "{row:?}"
            );
            let is_told = kinds.contains(&AlertKind::SlaMissed);
            assert!(!is_told || was_missed || was_right, "{row:?}");
            // Only a silence keeps a breach from being told.
            if was_missed && !is_told {
                assert!(!self.silences.is_empty(), "{row:?}");
                assert!(row.silenced_until.is_some() || !row.open, "{row:?}");
            }
            let is_due = row.due_at < self.now && row.open;
            assert!(
                !is_due || row.missed_at.is_some(),
                "at {}: {row:?}",
                self.now
            );
            assert!(
                row.open || row.state != SlaState::OnTime || row.withdrawn.is_some(),
                "{row:?}"
            );
        }
        assert!(told.is_empty(), "alerts of no row: {told:?}");
    }

    /// The book kept by hand: each hour of flow 0 was finished in 30 minutes or has its breach.
    fn check_by_hand(&self) {
        let hour = Span::from_mins(60);
        let end = |slot: Timestamp| slot + Span::from_mins(30);
        let slots = std::iter::successors(Some(DAWN + hour), |it| Some(*it + hour));
        for slot in slots.take_while(|it| end(*it) < self.latest) {
            let name = format!("cron:s:{slot}");
            let is_run = |it: &&Arc<RunRow>| *it.occurrence == *name;
            let run = self.runs.values().find(is_run);
            let done = run.filter(|it| it.state == RunState::Succeeded);
            let done = done.and_then(|it| it.finished_at);
            let in_time = done.is_some_and(|at| at <= end(slot));
            let key: Key = ("finish_by".into(), format!("slot:{slot}").into());
            let row = self.slas.get(&key);
            let row = row.unwrap_or_else(|| panic!("nobody counted {slot}"));
            let replaced = self.occurrences[&name].state == OccurrenceState::Coalesced;
            match row.state {
                SlaState::Met => assert!(in_time, "{row:?}"),
                SlaState::MetLate => assert!(done.is_some() && !in_time, "{row:?}"),
                SlaState::Missed => assert!(done.is_none(), "{row:?}"),
                SlaState::OnTime | SlaState::AtRisk => assert!(replaced, "{row:?}"),
            }
        }
    }
}

/// A full hour: when every history begins, on the day before the clock goes back.
const DAWN: Timestamp = Timestamp::from_secs(1_792_857_600);

fn world() -> World {
    let now = DAWN;
    World {
        core: Scheduler::recover(Config::default(), Recovered::default()),
        now,
        slas: BTreeMap::new(),
        silences: BTreeMap::new(),
        occurrences: BTreeMap::new(),
        runs: BTreeMap::new(),
        tasks: BTreeMap::new(),
        versions: BTreeMap::new(),
        alerts: Vec::new(),
        latest: now,
        last_journal: 0,
        last_event: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_breach_is_told_once_over_any_history(first in 0..FLOWS, steps in prop::collection::vec(step(), 1..60)) {
        let mut world = world();
        world.deploy(first);
        // What an edit takes back and another makes again, under a clock that was set back over its moment, counts anew.
        let edits = |it: &Step| matches!(it, Step::Deploy(_) | Step::Remove);
        let is_edited = steps.iter().any(edits);
        let steps = steps.iter();
        for step in steps.filter(|it| !is_edited || !matches!(it, Step::Back(_))) {
            world.step(step);
        }
        world.restart();
    }

    #[test]
    fn the_book_by_hand_agrees(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = world();
        world.deploy(0);
        let other = |it: &&Step| matches!(it, Step::Deploy(_) | Step::Remove | Step::Back(_));
        for step in steps.iter().filter(|it| !other(it)) {
            world.step(step);
            world.check_by_hand();
        }
    }
}
