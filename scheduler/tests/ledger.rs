//! The ledger is complete: over any history of schedules, edits, pauses, outages, calendars and blackouts every slot
//! that came due has one row, and every row in the past tells what became of it.

use dalsegno_scheduler::row::{FlowVersionRow, OccurrenceRow, OccurrenceState, Recovered};
use dalsegno_scheduler::schedule::{Schedule, Slot};
use dalsegno_scheduler::{
    CatchUp, Config, Flow, FlowName, Input, NewEvent, Reason, Scheduler, Span, Timestamp, Version,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    /// The daemon is up and sees every moment at which something is due.
    Live(u16),
    /// The daemon is down; whatever comes next is the first that it hears.
    Down(u16),
    Restart,
    Pause,
    Unpause(CatchUp),
    Deploy(u8),
    Remove,
    Event,
}

fn step() -> impl Strategy<Value = Step> {
    let catch_up = prop::sample::select(vec![
        CatchUp::Declared,
        CatchUp::None,
        CatchUp::Latest,
        CatchUp::All,
    ]);
    prop_oneof![
        4 => (1..1_500_u16).prop_map(Step::Live),
        3 => (1..3_000_u16).prop_map(Step::Down),
        2 => Just(Step::Restart),
        1 => Just(Step::Pause),
        2 => catch_up.prop_map(Step::Unpause),
        4 => (0..FLOWS).prop_map(Step::Deploy),
        1 => Just(Step::Remove),
        1 => Just(Step::Event),
    ]
}

const FLOWS: u8 = 12;

/// Flows of one name with schedules that share names and differ in all that time knows.
fn spec(number: u8) -> Value {
    let office = |roll: &str| {
        let rules = json!([{"rrule": "FREQ=MONTHLY;BYDAY=2TU", "start": "2026-01-01", "note": "second Tuesday"}]);
        let calendar = json!({"name": "office", "weekdays": ["Sat", "Sun"], "rules": rules});
        json!({"calendar": calendar, "roll": roll})
    };
    let misfire = |down: &str, paused: &str| json!({"down": down, "paused": paused, "max": 3, "window": 86_400_000_000_u64});
    let daily = |from: &str, to: &str, action: &str| {
        let window = json!({"daily": {"from": from, "to": to}});
        json!({"name": from, "timezone": "Europe/Berlin", "window": window, "action": action})
    };
    let (cron, calendar, misfire, blackouts) = match number {
        0 => (
            "0 * * * *",
            Value::Null,
            misfire("latest", "skip"),
            json!([]),
        ),
        1 => ("*/7 * * * *", Value::Null, misfire("all", "all"), json!([])),
        2 => (
            "0 6 * * *",
            office("next"),
            misfire("all", "latest"),
            json!([]),
        ),
        3 => (
            "30 2 * * *",
            office("previous"),
            misfire("latest", "all"),
            json!([]),
        ),
        4 => (
            "0 */5 * * *",
            office("skip"),
            misfire("skip", "skip"),
            json!([]),
        ),
        5 => (
            "0 * * * *",
            Value::Null,
            misfire("latest", "all"),
            json!([daily("22:00", "06:00", "defer")]),
        ),
        6 => (
            "20 * * * *",
            Value::Null,
            misfire("all", "latest"),
            json!([daily("01:00", "04:00", "skip")]),
        ),
        7 => (
            "0 6 * * *",
            office("next"),
            misfire("all", "all"),
            json!([
                daily("05:00", "07:00", "defer"),
                daily("06:30", "08:00", "skip")
            ]),
        ),
        8 => (
            "* * * * *",
            Value::Null,
            misfire("latest", "skip"),
            json!([]),
        ),
        9 => (
            "0 7 * * *",
            office("next"),
            misfire("skip", "all"),
            json!([]),
        ),
        10 => (
            "30 2 * * *",
            Value::Null,
            misfire("latest", "latest"),
            json!([daily("02:00", "03:00", "defer")]),
        ),
        _ => (
            "0 6 1 * *",
            office("previous"),
            misfire("latest", "skip"),
            json!([]),
        ),
    };
    let mut schedule = json!({
        "name": "s", "when": {"cron": {"text": cron}}, "timezone": "Europe/Berlin", "misfire": misfire,
    });
    if !calendar.is_null() {
        schedule["calendar"] = calendar;
    }
    if number == 4 {
        schedule["end"] = at("2026-10-27T12:00:00Z").0.into();
    }
    let strategy = match number % 3 {
        0 => json!("first_only"),
        1 => json!({"parallel": 1_000}),
        _ => json!("serial_latest_only"),
    };
    let leaf = json!({"leaf": {"source": {"event": {"kind": "ready"}}}});
    let hour = format!("{:02}:00", number % 5);
    let action = ["run", "skip", "alert"][usize::from(number % 3)];
    json!({
        "name": "f", "schedules": [schedule], "blackouts": blackouts,
        "triggers": [{"name": "t", "on": leaf, "timezone": "Europe/Berlin",
            "on_deadline": {"at": hour, "action": action}}],
        "run": {"strategy": strategy, "priority": 0},
        "steps": [{"name": "a", "run": {"shell": "true"}}],
    })
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

/// A timetable while it was in force.
struct Term {
    flow: Arc<Flow>,
    from: Timestamp,
    to: Option<Timestamp>,
    deadline: bool,
}

impl Term {
    fn schedule(&self) -> &Schedule {
        match self.deadline {
            true => self.flow.deadline(0).expect("it has one"),
            false => self.flow.schedules().next().expect("it has one").1,
        }
    }

    fn end(&self) -> Option<Timestamp> {
        self.flow.spec().schedules[0].end.filter(|_| !self.deadline)
    }

    fn key(&self, slot: Slot) -> String {
        let prefix = if self.deadline {
            "deadline:t:"
        } else {
            "cron:s:"
        };
        format!("{prefix}{}", slot.at)
    }

    /// All slots that came due while it was in force.
    fn slots(&self, now: Timestamp) -> impl Iterator<Item = Slot> + '_ {
        let to = self.to.unwrap_or(now);
        let schedule = self.schedule();
        std::iter::successors(schedule.first_due_after(self.from), |slot| {
            schedule.slot_after(slot.at)
        })
        .take_while(move |slot| slot.due_at <= to && self.end().is_none_or(|end| slot.due_at < end))
    }
}

struct World {
    core: Scheduler,
    now: Timestamp,
    rows: BTreeMap<String, OccurrenceRow>,
    versions: Vec<FlowVersionRow>,
    terms: Vec<Term>,
    events: u64,
    /// The highest numbers of runs, events and journal entries.
    last: [u64; 3],
}

impl World {
    fn decide(&mut self, input: Input) {
        let Ok((decision, _)) = self.core.decide(self.now, input) else {
            return;
        };
        let changes = &decision.changes;
        let highest = [
            changes.runs.iter().map(|it| it.id.0).max(),
            changes.events.iter().map(|it| it.seq).max(),
            changes.journal.iter().map(|it| it.seq).max(),
        ];
        for (last, highest) in self.last.iter_mut().zip(highest) {
            *last = (*last).max(highest.unwrap_or(0));
        }
        for row in &decision.changes.occurrences {
            let old = self.rows.insert(row.key.clone(), row.clone());
            // What ran stays on record as such; a run that waits may still be replaced.
            let ran = |it: &OccurrenceRow| {
                it.state == OccurrenceState::Ran && it.key.starts_with("cron:")
            };
            if let Some(old) = old.filter(ran) {
                assert_ne!(
                    row.state,
                    OccurrenceState::Expected,
                    "planned again: {old:?}"
                );
            }
        }
        self.versions
            .extend(decision.changes.versions.iter().cloned());
        self.core.install(decision);
        let found = self.core.disorder();
        assert!(found.is_empty(), "{found:?}");
    }

    fn tick(&mut self) {
        self.decide(Input::Tick);
        while self.core.next_deadline().is_some_and(|at| at <= self.now) {
            self.decide(Input::Tick);
        }
    }

    fn live(&mut self, minutes: u16) {
        let to = self.now + Span::from_mins(minutes.into());
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= to) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = to;
        self.tick();
    }

    fn restart(&mut self) {
        let flow: FlowName = "f".into();
        let runs: Vec<_> = self.core.runs().cloned().collect();
        let tasks = runs.iter().flat_map(|it| self.core.tasks(it.id).cloned());
        let rows = self.rows.values();
        let decided_ahead = rows.clone().filter(|it| {
            it.is_ahead() && it.state != OccurrenceState::Expected && it.interval.end > self.now
        });
        let left = rows
            .clone()
            .filter(|it| it.is_left() && it.due_at > self.now);
        let recovered = Recovered {
            flows: self.core.flows().map(|it| it.row.clone()).collect(),
            versions: self.versions.clone(),
            occurrences: rows
                .filter(|it| it.state == OccurrenceState::Expected)
                .cloned()
                .collect(),
            ahead: decided_ahead.cloned().collect(),
            left: left.cloned().collect(),
            half_matches: self.core.half_matches(flow.as_str()).cloned().collect(),
            tasks: tasks.collect(),
            last_run: self.last[0],
            last_event: self.last[1],
            last_journal: self.last[2],
            runs,
            ..Recovered::default()
        };
        self.core = Scheduler::recover(Config::default(), recovered);
    }

    fn deploy(&mut self, number: u8) {
        let spec = serde_json::from_value(spec(number)).expect("a flow");
        let flow = Arc::new(Flow::new(spec).expect("a valid flow"));
        let text = serde_json::to_string(flow.spec()).expect("plain data");
        self.decide(Input::Deploy {
            flow: flow.clone(),
            version: Version::new(format!("v{number}")),
            source: text.into(),
            file: "f.yaml".into(),
        });
        for deadline in [false, true] {
            let open = self
                .terms
                .iter_mut()
                .find(|it| it.deadline == deadline && it.to.is_none());
            let new = Term {
                flow: flow.clone(),
                from: self.now,
                to: None,
                deadline,
            };
            if let Some(open) = open {
                if open.schedule() == new.schedule() && open.end() == new.end() {
                    continue;
                }
                open.to = Some(self.now);
            }
            self.terms.push(new);
        }
    }

    fn step(&mut self, step: &Step) {
        let (flow, by) = (FlowName::from("f"), "ada".to_owned());
        match step {
            Step::Live(minutes) => self.live(*minutes),
            Step::Down(minutes) => self.now = self.now + Span::from_mins((*minutes).into()),
            Step::Restart => self.restart(),
            Step::Pause => self.decide(Input::Pause {
                flow,
                by,
                reason: None,
            }),
            Step::Unpause(catch_up) => {
                let catch_up = *catch_up;
                self.decide(Input::Unpause { flow, by, catch_up });
            }
            Step::Deploy(number) => self.deploy(*number),
            Step::Remove => {
                self.decide(Input::Remove { flow });
                for term in self.terms.iter_mut().filter(|it| it.to.is_none()) {
                    term.to = Some(self.now);
                }
            }
            Step::Event => {
                self.events += 1;
                self.decide(Input::Event(NewEvent {
                    source: "test".into(),
                    id: self.events.to_string(),
                    kind: "ready".into(),
                    subject: None,
                    time: None,
                    data: Value::Null,
                }));
            }
        }
    }

    fn check(&mut self) {
        self.tick();
        let mut known = BTreeSet::new();
        let mut without_row = 0;
        for term in &self.terms {
            for slot in term.slots(self.now) {
                known.insert(term.key(slot));
                // What an earlier timetable had before its end is that one's.
                if slot.at > term.from && !self.rows.contains_key(&term.key(slot)) {
                    without_row += 1;
                }
            }
        }
        let counted = |row: &OccurrenceRow| match row.reason {
            Some(Reason::MissedTooMany { dropped, .. }) => dropped,
            _ => 0,
        };
        let dropped: u64 = self.rows.values().map(counted).sum();
        assert!(
            without_row <= dropped,
            "{without_row} slots have no row, {dropped} are counted"
        );
        let paused = self
            .core
            .flow("f")
            .is_some_and(|it| it.row.paused.is_some());
        let mut ahead = BTreeMap::new();
        for row in self
            .rows
            .values()
            .filter(|it| !it.key.starts_with("event:"))
        {
            match (row.state, &row.reason) {
                (OccurrenceState::Expected, None) => {
                    assert!(row.due_at > self.now, "undecided: {row:?}");
                    *ahead.entry(row.key[..5].to_owned()).or_insert(0) += 1;
                }
                (OccurrenceState::Expected, Some(Reason::FlowPaused { .. })) => {
                    assert!(paused, "{row:?}")
                }
                (OccurrenceState::Expected, Some(Reason::Blackout { until, .. })) => {
                    assert!(until.expect("an end") > self.now, "{row:?}");
                }
                (OccurrenceState::Ran, None) => assert!(row.run.is_some(), "{row:?}"),
                (OccurrenceState::Expected | OccurrenceState::Ran, _) => panic!("{row:?}"),
                (_, reason) => assert!(reason.is_some(), "no reason: {row:?}"),
            }
            let met = row.key.starts_with("deadline:") && row.state == OccurrenceState::Ran;
            let ended_early = met
                || matches!(
                    row.reason,
                    Some(Reason::ScheduleChanged | Reason::FlowRemoved)
                );
            let expected = row.state == OccurrenceState::Expected;
            let due = row.due_at <= self.now && !ended_early && !expected;
            assert!(!due || known.contains(&row.key), "nobody asked for {row:?}");
        }
        for term in self.terms.iter().filter(|it| it.to.is_none()) {
            let next = term.schedule().first_due_after(self.now);
            let next = next.filter(|it| term.end().is_none_or(|end| it.due_at < end));
            let prefix = &term.key(Slot {
                at: self.now,
                due_at: self.now,
            })[..5];
            let planned = ahead.get(prefix).copied().unwrap_or(0);
            assert_eq!(planned, u32::from(next.is_some()), "planned of {prefix}");
        }
    }
}

fn world() -> World {
    World {
        core: Scheduler::recover(Config::default(), Recovered::default()),
        // Friday before the clock goes back.
        now: at("2026-10-23T16:00:00Z"),
        rows: BTreeMap::new(),
        versions: Vec::new(),
        terms: Vec::new(),
        events: 0,
        last: [0; 3],
    }
}

/// A history, looked at after each time that passes.
fn live_through(steps: &[Step]) {
    let mut world = world();
    for step in steps {
        world.step(step);
        if matches!(step, Step::Live(_)) {
            world.check();
        }
    }
    world.check();
}

/// From Friday 16:00 UTC until after 06:00 UTC on the next Friday: the slots of the weekend behind it were moved to the
/// Friday and are decided.
const A_WEEK: [Step; 7] = [const { Step::Live(1_354) }; 7];

#[test]
fn a_slot_that_was_moved_before_its_schedule_came_is_the_next_versions() {
    // The first version would have run Saturday's slot on Friday morning, when it was not there yet.
    live_through(&[Step::Deploy(3), Step::Deploy(10), Step::Live(510)]);
}

#[test]
fn a_slot_that_was_ahead_is_not_planned_again_by_the_second_version_after() {
    for between in [0, 1, 5, 8] {
        for last in [10, 8, 2] {
            let steps = [Step::Deploy(3)].into_iter().chain(A_WEEK).chain([
                Step::Deploy(between),
                Step::Deploy(last),
                Step::Live(1_400),
            ]);
            live_through(&steps.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_schedule_that_is_due_each_minute_leaves_out_what_was_ahead() {
    for after in [
        vec![Step::Live(1_400)],
        vec![Step::Restart, Step::Live(1_400)],
        vec![Step::Down(1_400), Step::Restart],
        vec![
            Step::Remove,
            Step::Restart,
            Step::Deploy(8),
            Step::Live(1_400),
        ],
    ] {
        let before = [Step::Deploy(3)].into_iter().chain(A_WEEK);
        let steps = before.chain([Step::Deploy(8)]).chain(after);
        live_through(&steps.collect::<Vec<_>>());
    }
}

#[test]
fn a_slot_that_ran_is_not_moved_to_monday_by_the_second_version_after() {
    // The one between moves 07:00 of Saturday; the last moves 06:00, which the first one ran.
    let steps = [1, 9, 2].map(Step::Deploy);
    let [first, between, last] = steps;
    live_through(&[first, Step::Live(720), between, last, Step::Live(1_400)]);
}

#[test]
fn a_slot_that_ran_is_not_moved_to_monday_by_the_version_after_a_removal() {
    live_through(&[
        Step::Deploy(1),
        Step::Live(720),
        Step::Remove,
        Step::Deploy(7),
    ]);
    // The version that is removed knew that this slot had run, which its calendar does not tell.
    for restart in [Step::Live(1), Step::Restart] {
        let edited = [Step::Deploy(1), Step::Live(720), Step::Deploy(7)];
        let removed = [Step::Remove, restart, Step::Deploy(7), Step::Live(1_400)];
        live_through(&edited.into_iter().chain(removed).collect::<Vec<_>>());
    }
}

#[test]
fn a_slot_that_waits_for_monday_waits_on_when_its_flow_comes_back_before() {
    for back in [
        vec![],
        vec![Step::Restart],
        vec![Step::Deploy(8), Step::Live(1), Step::Remove],
    ] {
        let kept = !matches!(back.first(), Some(Step::Deploy(_)));
        let mut world = world();
        let saturday = [Step::Deploy(2), Step::Live(1_000), Step::Remove];
        let monday = [Step::Deploy(2), Step::Live(1_400), Step::Live(1_400)];
        for step in saturday.into_iter().chain(back).chain(monday) {
            world.step(&step);
        }
        world.check();
        let row = &world.rows["cron:s:2026-10-24T04:00:00Z"];
        let ran = (OccurrenceState::Ran, at("2026-10-26T05:00:00Z"));
        assert_eq!((row.state, row.due_at) == ran, kept, "{row:?}");
    }
}

#[test]
fn a_slot_that_ran_does_not_come_back_with_the_third_calendar() {
    // Sunday 08:00 of version 9 is planned late, and knows of nothing that ran on its day.
    let to_saturday_noon = [
        Step::Deploy(1),
        Step::Live(720),
        Step::Deploy(9),
        Step::Live(300),
    ];
    let again = [
        Step::Deploy(7),
        Step::Live(60),
        Step::Deploy(9),
        Step::Restart,
        Step::Deploy(2),
        Step::Live(1_400),
    ];
    live_through(
        &to_saturday_noon
            .into_iter()
            .chain(again)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_schedule_that_has_ended_plans_nothing_again_when_another_follows() {
    // Number 4 has no slot after Tuesday; Saturday's at 06:00 ran before it came.
    let to_saturday = [Step::Deploy(1)]
        .into_iter()
        .chain(A_WEEK)
        .chain([Step::Live(1_400), Step::Live(100)]);
    let ended = to_saturday.chain([Step::Deploy(4), Step::Deploy(7), Step::Live(1_400)]);
    live_through(&ended.collect::<Vec<_>>());
}

#[test]
fn a_slot_that_a_pause_holds_ahead_of_its_time_stays_held() {
    let paused = [Step::Deploy(3), Step::Pause].into_iter().chain(A_WEEK);
    let edited = paused.chain([Step::Deploy(10), Step::Restart, Step::Live(60)]);
    let ended = edited.chain([Step::Unpause(CatchUp::All), Step::Live(1_400)]);
    live_through(&ended.collect::<Vec<_>>());
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let more = std::env::var("PROPTEST_CASES").ok();
    more.and_then(|it| it.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_slot_has_one_row_that_tells_what_became_of_it(steps in prop::collection::vec(step(), 1..25)) {
        live_through(&steps);
    }
}
