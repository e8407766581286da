//! The dependency tracker against a model that keeps lists and looks at everything every second.

use dalsegno_scheduler::row::{Changes, FlowVersionRow, HalfMatchRow, Recovered};
use dalsegno_scheduler::spec::{TriggerExpr, TriggerLeaf};
use dalsegno_scheduler::{
    Answer, CatchUp, Config, Flow, Input, NewEvent, RunId, Scheduler, Timestamp, Version,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAWN: i64 = 1_795_327_200; // 2026-11-22T06:00:00Z

// The real core.

struct World {
    core: Scheduler,
    now: i64,
    flow: Arc<Flow>,
    versions: Vec<FlowVersionRow>,
    waiting: BTreeMap<(String, u16, u64), HalfMatchRow>,
    last: (u64, u64),
    /// Ids of the events of each run, by number.
    runs: Vec<Vec<String>>,
}

impl World {
    fn new(trigger: &Value) -> Self {
        let spec = json!({
            "name": "f",
            "steps": [{"name": "a", "run": {"shell": "a"}}],
            "triggers": [trigger],
            "run": {"strategy": {"parallel": 1_000_000}, "priority": 0},
        });
        let spec = serde_json::from_value(spec).expect("a flow");
        let mut world = Self {
            core: Scheduler::recover(config(), Recovered::default()),
            now: DAWN,
            flow: Arc::new(Flow::new(spec).expect("valid")),
            versions: Vec::new(),
            waiting: BTreeMap::new(),
            last: (0, 0),
            runs: Vec::new(),
        };
        let flow = world.flow.clone();
        let (version, source, file) = (Version::new("1"), "".into(), String::new());
        world.decide(Input::Deploy {
            flow,
            version,
            source,
            file,
        });
        world
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    fn decide(&mut self, input: Input) -> Answer {
        let (decision, answer) = self.core.decide(self.at(), input).expect("accepted");
        self.keep(&decision.changes);
        self.core.install(decision);
        // No task ever starts, so what is cancelled is over.
        let started: Vec<RunId> = self.core.runs().map(|it| it.id).collect();
        for run in started {
            let row = self.core.run(run).expect("unfinished").clone();
            self.runs.push(row.event_data.iter().map(id_of).collect());
            let (by, reason) = (String::new(), None);
            let cancel = Input::Cancel { run, by, reason };
            let (decision, _) = self.core.decide(self.at(), cancel).expect("unfinished");
            self.keep(&decision.changes);
            self.core.install(decision);
        }
        assert_eq!(self.core.disorder(), Vec::<String>::new());
        answer
    }

    fn keep(&mut self, changes: &Changes) {
        self.versions.extend(changes.versions.iter().cloned());
        for (_, _, key, leaf, event) in &changes.half_matches_deleted {
            let gone = self.waiting.remove(&(key.clone(), *leaf, *event));
            assert!(gone.is_some(), "only what was written is deleted");
        }
        for it in &changes.half_matches {
            let key = (it.join_key.clone(), it.leaf, it.event.seq);
            self.waiting.insert(key, it.clone());
        }
        for it in &changes.events {
            self.last.1 = it.seq;
        }
        for it in &changes.runs {
            self.last.0 = self.last.0.max(it.id.0);
        }
    }

    fn event(&mut self, kind: char, id: &str, key: u8) {
        self.decide(Input::Event(NewEvent {
            source: "model".into(),
            id: id.into(),
            kind: kind.to_string(),
            subject: None,
            time: None,
            data: json!({ "k": key }),
        }));
    }

    fn pass(&mut self, seconds: i64) {
        let until = self.now + seconds;
        while let Some(due) = self.core.next_deadline() {
            if due > Timestamp::from_secs(until) {
                break;
            }
            self.now = self.now.max(due.0 / 1_000_000);
            self.decide(Input::Tick);
        }
        self.now = until;
    }

    fn restart(&mut self) {
        let rows = Recovered {
            flows: self.core.flows().map(|it| it.row.clone()).collect(),
            versions: self.versions.clone(),
            half_matches: self.waiting.values().cloned().collect(),
            last_run: self.last.0,
            last_event: self.last.1,
            ..Recovered::default()
        };
        let recovered = Scheduler::recover(config(), rows);
        assert_eq!(self.core.differences(&recovered), Vec::<String>::new());
        self.core = recovered;
    }
}

fn config() -> Config {
    Config {
        max_tasks: 0,
        ..Config::default()
    }
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

// The model.

#[derive(Clone, Debug)]
struct Waits {
    leaf: usize,
    number: usize,
    id: String,
    at: i64,
}

struct Model {
    expr: TriggerExpr,
    consume: Consume,
    debounce: Option<(i64, Option<i64>)>,
    within: Option<i64>,
    now: i64,
    paused: bool,
    sets: BTreeMap<u8, Vec<Waits>>,
    runs: Vec<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Consume {
    Each,
    Latest,
    Batch(usize, i64),
}

/// A part that holds: since when, the number of the event that completed it, and the leaves used.
type Part = (i64, Option<usize>, Vec<usize>);

impl Model {
    /// The part may hold in the future only, by the time of day.
    fn part(&self, expr: &TriggerExpr, leaf: &mut usize, set: &[Waits]) -> Option<Part> {
        match expr {
            TriggerExpr::Leaf(it) => {
                *leaf += 1;
                let here = *leaf - 1;
                let head = set.iter().find(|it| it.leaf == here);
                match kind_of(it) {
                    Some(_) => head.map(|it| (it.at, Some(it.number), vec![here])),
                    // Of the day (in UTC) of the first event.
                    None => {
                        let day = self.heads(set).into_iter().min_by_key(|it| it.number)?.at;
                        Some((day - day.rem_euclid(86_400) + NOON_SECS, None, vec![]))
                    }
                }
            }
            TriggerExpr::AllOf(parts) => {
                let parts: Vec<_> = parts.iter().map(|it| self.part(it, leaf, set)).collect();
                let parts: Option<Vec<Part>> = parts.into_iter().collect();
                let parts = parts?;
                let since = parts.iter().map(|it| it.0).max()?;
                let last = parts.iter().filter_map(|it| it.1).max();
                Some((since, last, parts.into_iter().flat_map(|it| it.2).collect()))
            }
            TriggerExpr::AnyOf(parts) => {
                let parts: Vec<_> = parts.iter().map(|it| self.part(it, leaf, set)).collect();
                let parts: Vec<Part> = parts.into_iter().flatten().collect();
                let since = parts.iter().map(|it| it.0).min()?;
                let now = parts.into_iter().filter(|it| it.0 <= self.now.max(since));
                let first = now.min_by_key(|it| (it.1.is_none(), it.1))?;
                Some((since, first.1, first.2))
            }
        }
    }

    fn heads<'a>(&self, set: &'a [Waits]) -> Vec<&'a Waits> {
        let leaves = 0..self.expr.leaves().len();
        leaves
            .filter_map(|leaf| set.iter().find(|it| it.leaf == leaf))
            .collect()
    }

    fn fires_at(&self, since: i64, set: &[Waits]) -> i64 {
        let newest = set.iter().map(|it| it.at).max().expect("not empty");
        let quiet = self.debounce.map(|it| newest + it.0);
        let longest = self.debounce.and_then(|it| it.1).map(|it| since + it);
        match self.consume {
            Consume::Batch(max, _) if set.len() >= max => since,
            Consume::Batch(_, window) => [Some(since + window), quiet, longest]
                .into_iter()
                .flatten()
                .min()
                .expect("a window")
                .max(since),
            _ => match quiet {
                None => since,
                Some(quiet) => quiet.min(longest.unwrap_or(quiet)).max(since),
            },
        }
    }

    /// What a set gives to one run now, if it fires; events whose time is over are gone.
    fn next(&mut self, key: u8) -> Option<Vec<Waits>> {
        loop {
            let set = self.sets.get(&key)?.clone();
            let part = self.part(&self.expr, &mut 0, &set);
            let over = |it: &Waits| self.within.map(|within| it.at + within);
            let first = self.heads(&set).into_iter().filter_map(over).min();
            if let Some(first) = first
                && first <= self.now
                && part.as_ref().is_none_or(|it| first < it.0)
            {
                let now = self.now;
                let left = set.iter().filter(|it| over(it).is_some_and(|at| at > now));
                let left = left.cloned().collect();
                self.sets.insert(key, left);
                continue;
            }
            let (since, _, leaves) = part?;
            if self.fires_at(since, &set) > self.now {
                return None;
            }
            let heads: Vec<Waits> = self
                .heads(&set)
                .into_iter()
                .filter(|it| leaves.contains(&it.leaf))
                .cloned()
                .collect();
            return Some(match (self.consume, self.debounce) {
                (Consume::Each, None) => heads,
                (Consume::Batch(max, _), _) => {
                    let mut all: Vec<usize> = heads.iter().map(|it| it.number).collect();
                    let mut rest: Vec<&Waits> = set.iter().collect();
                    rest.sort_by_key(|it| it.number);
                    all.sort_unstable();
                    all.dedup();
                    for it in rest {
                        if all.len() < max && !all.contains(&it.number) {
                            all.push(it.number);
                        }
                    }
                    let taken = set.iter().filter(|it| all.contains(&it.number));
                    taken.cloned().collect()
                }
                _ => set,
            });
        }
    }

    fn take(&mut self, key: u8, taken: &[Waits]) -> Vec<String> {
        let set = self.sets.get_mut(&key).expect("a set");
        set.retain(|it| taken.iter().all(|taken| taken.number != it.number));
        let mut by_number: Vec<(usize, String)> =
            taken.iter().map(|it| (it.number, it.id.clone())).collect();
        by_number.sort();
        by_number.dedup();
        by_number.into_iter().map(|it| it.1).collect()
    }

    fn look(&mut self) {
        if self.paused {
            // Those that are not complete lose events all the same.
            let keys: Vec<u8> = self.sets.keys().copied().collect();
            keys.into_iter().for_each(|key| drop(self.next(key)));
            return;
        }
        for key in 0..KEYS {
            while let Some(taken) = self.next(key) {
                let run = self.take(key, &taken);
                self.runs.push(run);
            }
        }
    }

    fn event(&mut self, kind: char, number: usize, id: &str, key: u8) {
        self.look();
        let leaves = self.expr.leaves();
        let meant: Vec<usize> = (0..leaves.len())
            .filter(|leaf| kind_of(leaves[*leaf]) == Some(kind))
            .collect();
        for leaf in meant {
            let set = self.sets.entry(key).or_default();
            if self.consume == Consume::Latest {
                set.retain(|it| it.leaf != leaf);
            }
            let (id, at) = (id.to_owned(), self.now);
            set.push(Waits {
                leaf,
                number,
                id,
                at,
            });
        }
        self.look();
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            self.look();
        }
    }

    fn unpause(&mut self, catch_up: CatchUp) {
        self.look();
        let mut held = Vec::new();
        for key in 0..KEYS {
            while let Some(taken) = self.next(key) {
                let newest = taken.iter().map(|it| it.number).max();
                held.push((newest, self.take(key, &taken)));
            }
        }
        held.sort();
        match catch_up {
            CatchUp::All => self.runs.extend(held.into_iter().map(|it| it.1)),
            CatchUp::Latest => self.runs.extend(held.pop().map(|it| it.1)),
            CatchUp::None | CatchUp::Declared => {}
        }
        self.paused = false;
        self.look();
    }
}

/// `None`: the time of day.
fn kind_of(leaf: &TriggerLeaf) -> Option<char> {
    match &leaf.source {
        dalsegno_scheduler::spec::EventSource::Event { kind } => kind.chars().next(),
        _ => None,
    }
}

const KEYS: u8 = 2;
/// Two minutes after dawn, so that stories get there.
const NOON_SECS: i64 = 6 * 3600 + 120;

// What is tried.

fn leaf(kind: char) -> Value {
    json!({"leaf": {"source": {"event": {"kind": kind}}, "join": "event.data.k"}})
}

fn expression() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof!["[abcd]".prop_map(|it| leaf(it.chars().next().expect("a kind")))];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let parts = prop::collection::vec(inner, 1..4);
        (any::<bool>(), parts).prop_map(|(all, parts)| match all {
            true => json!({ "all_of": parts }),
            false => json!({ "any_of": parts }),
        })
    })
}

#[derive(Clone, Debug)]
enum Step {
    Event(char, u8),
    Pass(i64),
    Pause,
    Unpause(CatchUp),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let catch_up = prop_oneof![
        Just(CatchUp::None),
        Just(CatchUp::Latest),
        Just(CatchUp::All)
    ];
    prop_oneof![
        12 => ("[abcd]", 0..KEYS).prop_map(|(it, key)| Step::Event(it.chars().next().expect("a kind"), key)),
        6 => (0i64..40).prop_map(Step::Pass),
        1 => Just(Step::Pause),
        2 => catch_up.prop_map(Step::Unpause),
        2 => Just(Step::Restart),
    ]
}

fn consume() -> impl Strategy<Value = Consume> {
    prop_oneof![
        2 => Just(Consume::Each),
        1 => Just(Consume::Latest),
        2 => (1usize..5, 0i64..60).prop_map(|(max, window)| Consume::Batch(max, window)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_tracker_does_what_the_model_does(
        expr in expression(),
        noon in any::<bool>(),
        consume in consume(),
        debounce in prop::option::weighted(0.3, (1i64..20, prop::option::of(1i64..40))),
        within in prop::option::weighted(0.4, 1i64..60),
        joined in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let expr = match noon {
            true => json!({"all_of": [expr, {"leaf": {"source": {"after": {"time": "06:02"}}}}]}),
            false => expr,
        };
        let mut trigger = json!({
            "name": "t",
            "on": expr,
            "join_on": if joined { "expr" } else { "none" },
            "consume": match consume {
                Consume::Each => json!("each"),
                Consume::Latest => json!("latest"),
                Consume::Batch(max, window) => json!({"batch": {"max": max, "window": window * 1_000_000}}),
            },
        });
        if let Some((quiet, longest)) = debounce {
            trigger["debounce"] = json!({"quiet": quiet * 1_000_000});
            if let Some(longest) = longest {
                trigger["debounce"]["max_wait"] = json!(longest * 1_000_000);
            }
        }
        if let Some(within) = within {
            trigger["within"] = json!(within * 1_000_000);
        }
        let mut world = World::new(&trigger);
        let mut model = Model {
            expr: serde_json::from_value(expr).expect("an expression"),
            consume,
            debounce,
            within,
            now: DAWN,
            paused: false,
            sets: BTreeMap::new(),
            runs: Vec::new(),
        };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Event(kind, key) => {
                    let id = format!("{kind}{number}");
                    world.event(kind, &id, key);
                    model.event(kind, number, &id, if joined { key } else { 0 });
                }
                Step::Pass(seconds) => {
                    world.pass(seconds);
                    model.pass(seconds);
                }
                Step::Pause => {
                    world.decide(Input::Pause { flow: "f".into(), by: "ada".into(), reason: None });
                    model.paused = true;
                }
                Step::Unpause(catch_up) => {
                    let (flow, by) = ("f".into(), "ada".into());
                    world.decide(Input::Unpause { flow, by, catch_up });
                    if model.paused {
                        model.unpause(catch_up);
                    }
                }
                Step::Restart => world.restart(),
            }
            let (mut real, mut wanted) = (world.runs.clone(), model.runs.clone());
            real.sort();
            wanted.sort();
            prop_assert_eq!(real, wanted);
            let waiting: usize = model.sets.values().map(Vec::len).sum();
            prop_assert_eq!(world.waiting.len(), waiting);
        }
    }

    /// The sources of an expression are its leaves and its outermost `any_of` groups. However their events are mixed,
    /// as long as each source keeps its order, the same runs start.
    #[test]
    fn each_gives_the_same_runs_in_every_order_that_keeps_the_order_of_each_source(
        groups in prop::collection::vec(1usize..4, 1..4),
        nested in any::<bool>(),
        events in prop::collection::vec((any::<Index>(), any::<Index>(), 0..KEYS), 1..40),
        mixes in prop::collection::vec(prop::collection::vec(any::<Index>(), 40), 2),
    ) {
        // Each group has kinds of its own.
        let mut kinds = ('a'..='z').collect::<Vec<_>>().into_iter();
        let groups: Vec<Vec<char>> =
            groups.into_iter().map(|size| kinds.by_ref().take(size).collect()).collect();
        let part = |group: &Vec<char>| match group.as_slice() {
            [one] => leaf(*one),
            [first, rest @ ..] if nested && !rest.is_empty() => {
                let all: Vec<Value> = rest.iter().map(|it| leaf(*it)).collect();
                json!({"any_of": [leaf(*first), {"all_of": all}]})
            }
            all => json!({"any_of": all.iter().map(|it| leaf(*it)).collect::<Vec<_>>()}),
        };
        let parts: Vec<Value> = groups.iter().map(part).collect();
        let trigger = json!({"name": "t", "on": {"all_of": parts}, "join_on": "expr"});
        let mut sources: Vec<Vec<(char, String, u8)>> = vec![Vec::new(); groups.len()];
        for (number, (group, kind, key)) in events.into_iter().enumerate() {
            let group = group.index(groups.len());
            let kind = groups[group][kind.index(groups[group].len())];
            sources[group].push((kind, format!("{kind}{number}"), key));
        }
        let mut outcomes = Vec::new();
        for mix in mixes {
            let mut world = World::new(&trigger);
            let mut left: Vec<std::collections::VecDeque<_>> =
                sources.iter().map(|it| it.iter().cloned().collect()).collect();
            for choice in mix {
                left.retain(|it| !it.is_empty());
                if left.is_empty() {
                    break;
                }
                let source = choice.index(left.len());
                let (kind, id, key) = left[source].pop_front().expect("not empty");
                world.event(kind, &id, key);
            }
            let mut runs = world.runs;
            for run in &mut runs {
                run.sort();
            }
            runs.sort();
            outcomes.push(runs);
        }
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }
}
