//! The same random work on several stores: every answer and every dump must agree with the first's.

use super::sample::{
    after, alert, attempt, backfill, backfill_item, claim, event, event_match, flow, half_match,
    half_match_key, journal, occurrence, parent, refused, run, scope, silence, sla, task, version,
};
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{
    AlertFilter, BackfillFilter, EventFilter, JournalFilter, MatchFilter, OccurrenceFilter,
    RunFilter, SlaFilter, TaskFilter,
};
use crate::store::Store;
use dalsegno_scheduler::alert::AlertKind;
use dalsegno_scheduler::row::{
    AttemptState, BackfillItemState, BackfillMode, BackfillState, Changes, MatchOutcome,
    OccurrenceState, Paused, RunState, ScopeState, SlaState, TaskState,
};
use dalsegno_scheduler::{Path, Reason, RunId, Span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const FLOWS: [&str; 3] = ["ingest", "report", "a.b-c_D"];
const HOLDERS: [&str; 3] = ["anna", "bert", "anna"];
const TTL: Span = Span::from_secs(10);

/// Feeds all stores the same until each kind of outcome has been seen, and at least `steps` times.
/// The first is the model.
pub async fn stores_agree(stores: &[Arc<dyn Store>], seed: u64, steps: usize) {
    let mut world = World {
        random: Random(seed),
        ..World::default()
    };
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    let kinds = [
        "taken",
        "held",
        "renewed",
        "ended",
        "released",
        "committed",
        "duplicate",
        "lost",
        "refused",
    ];
    for step in 0.. {
        assert!(
            step < steps * 20,
            "seed {seed}: some outcomes never came: {seen:?}"
        );
        let work = world.work();
        let mut model = None;
        for (place, store) in stores.iter().enumerate() {
            let outcome = perform(&**store, &work).await;
            match &model {
                None => model = Some(outcome),
                Some(expected) => {
                    assert_eq!(
                        &outcome, expected,
                        "seed {seed}, step {step}, store {place}: {work:?}"
                    );
                }
            }
        }
        let outcome = model.expect("there is a model");
        *seen.entry(outcome.kind).or_default() += 1;
        world.learn(&work, outcome);
        if step % 32 == 31 {
            compare(stores, &world, seed, step).await;
        }
        if step >= steps && kinds.iter().all(|kind| seen.contains_key(kind)) {
            compare(stores, &world, seed, step).await;
            return;
        }
    }
}

async fn compare(stores: &[Arc<dyn Store>], world: &World, seed: u64, step: usize) {
    let mut model = None;
    for (place, store) in stores.iter().enumerate() {
        let dump = dump(&**store, world).await.expect("reads");
        match &model {
            None => model = Some(dump),
            Some(expected) => assert!(
                dump == *expected,
                "seed {seed}, step {step}: store {place} differs from the model\n{}",
                first_difference(expected, &dump)
            ),
        }
    }
}

fn first_difference(expected: &str, dump: &str) -> String {
    let pair = expected.lines().zip(dump.lines()).find(|(a, b)| a != b);
    pair.map_or_else(
        || "one is longer".to_owned(),
        |(a, b)| format!("model: {a}\nstore: {b}"),
    )
}

#[derive(Debug)]
enum Work {
    Take { holder: &'static str, at: i64 },
    Renew { lease: Lease, at: i64 },
    Release { lease: Lease, at: i64 },
    Commit { lease: Lease, changes: Box<Changes> },
}

#[derive(Debug, PartialEq)]
struct Outcome {
    kind: &'static str,
    lease: Option<Lease>,
    text: String,
}

async fn perform(store: &dyn Store, work: &Work) -> Outcome {
    let outcome = |kind, lease: Option<Lease>| Outcome {
        kind,
        lease,
        text: String::new(),
    };
    match work {
        Work::Take { holder, at } => {
            let lease = store
                .take_lease(holder, after(*at), TTL)
                .await
                .expect("answers");
            outcome(if lease.is_some() { "taken" } else { "held" }, lease)
        }
        Work::Renew { lease, at } => {
            let lease = store
                .renew_lease(lease, after(*at), TTL)
                .await
                .expect("answers");
            outcome(if lease.is_some() { "renewed" } else { "ended" }, lease)
        }
        Work::Release { lease, at } => {
            store
                .release_lease(lease, after(*at))
                .await
                .expect("answers");
            outcome("released", None)
        }
        Work::Commit { lease, changes } => match store.commit(lease, changes).await {
            Ok(()) => outcome("committed", None),
            Err(CommitError::LostLease) => outcome("lost", None),
            Err(CommitError::Duplicate(claims)) => Outcome {
                kind: "duplicate",
                lease: None,
                text: format!("{claims:?}"),
            },
            Err(CommitError::Db(_)) => outcome("refused", None),
            Err(error) => panic!("{error}"),
        },
    }
}

/// All that can be read, line by line.
async fn dump(store: &dyn Store, world: &World) -> Result<String, Error> {
    let mut text = String::new();
    let mut line = |title: &str, rows: &dyn std::fmt::Debug| {
        let _ = writeln!(text, "{title} {rows:#?}");
    };
    line("lease", &store.lease().await?);
    line("load", &store.load().await?);
    line("flows", &store.flows().await?);
    line("recent", &store.recent_runs(2).await?);
    for name in FLOWS {
        let flow = name.into();
        line("flow", &store.flow(&flow).await?);
        line("versions", &store.versions(&flow).await?);
        line("half", &store.half_matches(&flow).await?);
        let filter = RunFilter {
            flow: Some(flow.clone()),
            ..RunFilter::default()
        };
        line("runs", &store.runs(&filter, None, 7).await?);
        line(
            "journal",
            &store
                .journal(&JournalFilter::Flow(flow.clone()), 3, 9)
                .await?,
        );
        let mut cursor = None;
        loop {
            let page = store
                .occurrences(&flow, &OccurrenceFilter::default(), cursor.as_ref(), 3)
                .await?;
            line("occurrences", &page);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    for state in RunState::ALL {
        let filter = RunFilter {
            states: vec![*state],
            ..RunFilter::default()
        };
        line("runs", &store.runs(&filter, None, 5).await?);
    }
    for id in 1..=world.last_run {
        let run = RunId(id);
        line("run", &store.run(run).await?);
        line("snapshot", &store.snapshot(run).await?);
        line("counts", &store.task_counts(run).await?);
        line("attempts", &store.attempts(run, None).await?);
        line(
            "journal",
            &store.journal(&JournalFilter::Run(run), 0, 50).await?,
        );
        let mut cursor = None;
        loop {
            let page = store
                .tasks(run, &TaskFilter::default(), cursor.as_ref(), 3)
                .await?;
            line("tasks", &page);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    let filter = EventFilter {
        kind: Some("order.paid".into()),
        ..EventFilter::default()
    };
    line("events", &store.events(&filter, None, 5).await?);
    for seq in 1..=world.last_event {
        line("event", &store.event(seq).await?);
        line("matches", &store.matches(seq).await?);
    }
    line("outages", &store.outages(after(0)).await?);
    line("silences", &store.silences(5).await?);
    for open in [None, Some(true), Some(false)] {
        let filter = SlaFilter {
            open,
            from: Some(after(-9)),
            ..SlaFilter::default()
        };
        let mut cursor = None;
        loop {
            let page = store.slas(&filter, cursor.as_ref(), 7).await?;
            line("slas", &page);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    line("alerts", &store.alerts_after(2, 100).await?);
    let all = AlertFilter::default();
    line("alerts", &store.alerts_page(&all, None, 7).await?);
    let flows = FLOWS.map(Into::into);
    let (early, late) = (after(-9_000_000_000), after(9_000_000_000));
    line("runs in", &store.runs_in(&flows, early, late).await?);
    line("durations", &store.typical_durations(&flows).await?);
    line("step times", &store.step_times(&flows, 3).await?);
    line("range", &store.events_range(early, late, 0, 100).await?);
    for prefix in ["", "a", "\u{e4}", "😀"] {
        let filter = EventFilter {
            subject_prefix: Some(prefix.into()),
            ..EventFilter::default()
        };
        line("events", &store.events(&filter, None, 50).await?);
    }
    for flow in &flows {
        let counts = store.occurrence_counts(flow, early, late).await?;
        line("occurrence counts", &counts);
        let near = store.occurrences_near(flow, after(36_000), 3).await?;
        line("near", &near);
        let mut cursor = None;
        loop {
            let all = MatchFilter::default();
            let page = store.matches_of(flow, &all, cursor.as_ref(), 7).await?;
            line("matches", &page);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    let mut cursor = None;
    loop {
        let page = store.refused(cursor.as_ref(), 3).await?;
        line("refused", &page);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let all = BackfillFilter::default();
    line("backfills", &store.backfills(&all, None, 100).await?);
    for id in 0..5 {
        line("items", &store.backfill_items(id, None, None, 4).await?);
        line("item counts", &store.backfill_counts(id).await?);
    }
    let weeks = store.attainment(after(-15), after(9)).await?;
    line("attainment", &weeks);
    line(
        "journal",
        &store.journal(&JournalFilter::All, 0, 10_000).await?,
    );
    for key in 0..KEYS {
        line("claim", &store.claim(&format!("key {key}")).await?);
    }
    Ok(text)
}

/// Dedupe keys in play; few, so that some are used again.
const KEYS: u64 = 400;

/// What the maker of work knows.
#[derive(Default)]
struct World {
    random: Random,
    now: i64,
    leases: Vec<Lease>,
    last_run: u64,
    last_event: u64,
    last_journal: u64,
    last_alert: u64,
}

impl World {
    fn work(&mut self) -> Work {
        self.now += self.random.below(3) as i64;
        let lease = match self.random.below(8) {
            0 if !self.leases.is_empty() => {
                Some(self.leases[self.random.below(self.leases.len() as u64) as usize].clone())
            }
            _ => self.leases.last().cloned(),
        };
        let Some(lease) = lease else {
            return Work::Take {
                holder: "anna",
                at: self.now,
            };
        };
        match self.random.below(20) {
            0 | 1 => Work::Take {
                holder: HOLDERS[self.random.below(3) as usize],
                at: self.now + self.random.below(15) as i64,
            },
            2 | 3 => Work::Renew {
                lease,
                at: self.now,
            },
            4 => Work::Release {
                lease,
                at: self.now,
            },
            _ => Work::Commit {
                lease,
                changes: Box::new(self.changes()),
            },
        }
    }

    fn learn(&mut self, work: &Work, outcome: Outcome) {
        self.leases.extend(outcome.lease);
        if let (Work::Commit { changes, .. }, "committed") = (work, outcome.kind) {
            self.last_run = self.last_run.max(
                changes
                    .runs
                    .iter()
                    .map(|it| it.id.0)
                    .max()
                    .unwrap_or_default(),
            );
            self.last_event = self.last_event.max(
                changes
                    .events
                    .iter()
                    .map(|it| it.seq)
                    .max()
                    .unwrap_or_default(),
            );
            self.last_journal += changes.journal.len() as u64;
            self.last_alert += changes.alerts.len() as u64;
        }
    }

    fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for _ in 0..1 + self.random.below(6) {
            self.change(&mut changes);
        }
        changes.journal = (1..=self.random.below(4))
            .map(|more| {
                let run = self.random.maybe(|random| 1 + random.below(9));
                journal(self.last_journal + more, self.random.flow(), run)
            })
            .collect();
        if self.random.below(40) == 0 && self.last_journal > 0 {
            changes
                .journal
                .push(journal(self.last_journal, "report", None));
        }
        changes
    }

    fn change(&mut self, changes: &mut Changes) {
        let (random, name) = (&mut self.random, FLOWS[(self.now % 3) as usize]);
        let id = 1 + random.below(self.last_run + 2);
        let at = after(self.now);
        match random.below(16) {
            15 => {
                let period = format!("run:{}", random.below(5));
                let mut row = sla(name, &period, after(random.below(20) as i64 - 15));
                row.state = random.one_of(SlaState::ALL);
                row.open = random.below(2) == 0;
                row.told = random.maybe(|random| random.one_of(SlaState::ALL));
                row.withdrawn = random.reason();
                (row.met_at, row.updated_at) = (random.maybe(|_| at), at);
                changes.slas.push(Arc::new(row));
                let mut row = silence(1 + random.below(4));
                (row.note, row.ended_at) = (random.maybe(Random::text), random.maybe(|_| at));
                changes.silences.push(row);
            }
            14 => {
                let next = changes.alerts.last().map_or(self.last_alert, |it| it.id.0) + 1;
                let mut row = alert(next, random.one_of(AlertKind::ALL));
                (row.flow, row.owner) = (random.maybe(|_| name.into()), random.maybe(Random::text));
                (row.run, row.step) =
                    (random.maybe(|_| RunId(id)), random.maybe(|_| "load".into()));
                (row.summary, row.data) = (random.text(), random.value(2));
                changes.alerts.push(row);
            }
            0 => {
                let key = format!("key {}", random.below(KEYS));
                changes.claims.push(claim(&key, &format!("run:{id}")));
            }
            1 => {
                let mut row = version(name, ["v1", "v2", "v3"][random.below(3) as usize]);
                (row.source, row.created_at) = (random.text(), at);
                changes.versions.push(row);
            }
            2 => {
                let mut row = flow(name);
                row.active_version =
                    random.maybe(|random| ["v1", "v2"][random.below(2) as usize].into());
                row.invalid = random.maybe(Random::text);
                row.removed = random.below(2) == 0;
                row.blocked_by = random.maybe(|random| RunId(random.below(9)));
                row.paused = random.maybe(|random| Paused {
                    by: random.text(),
                    reason: random.maybe(Random::text),
                    at,
                });
                changes.flows.push(row);
            }
            3 => {
                let next = changes.events.last().map_or(self.last_event, |it| it.seq) + 1;
                let mut row = event(next);
                row.kind = ["order.paid", "order.created"][random.below(2) as usize].into();
                row.subject = random.maybe(Random::text);
                row.data = Arc::new(random.value(3));
                let row = Arc::new(row);
                let mut place = event_match(next, name, random.below(3) as u16);
                place.outcome =
                    MatchOutcome::ALL[random.below(MatchOutcome::ALL.len() as u64) as usize];
                place.reason = random.reason();
                changes.matches.push(place);
                changes
                    .half_matches
                    .push(half_match(&row, name, random.below(3) as u16));
                changes.events.push(row);
            }
            4 => {
                let row = half_match(&Arc::new(event(1)), name, random.below(3) as u16);
                changes.half_matches_deleted.push(half_match_key(&row));
                changes
                    .half_matches
                    .retain(|it| half_match_key(it) != half_match_key(&row));
            }
            5 => {
                let mut row = occurrence(name, after(3_600 * random.below(20) as i64));
                row.state =
                    OccurrenceState::ALL[random.below(OccurrenceState::ALL.len() as u64) as usize];
                (row.reason, row.updated_at) = (random.reason(), at);
                changes.occurrences.push(row);
            }
            6 | 7 => {
                let mut row = run(
                    id,
                    name,
                    RunState::ALL[random.below(RunState::ALL.len() as u64) as usize],
                );
                row.version = ["v1", "v2", "v3"][random.below(3) as usize].into();
                row.reason = random.reason();
                row.priority = random.below(9) as i32 - 4;
                row.params = Arc::new([(random.text(), random.value(2))].into_iter().collect());
                row.deadline = random.maybe(|_| at);
                row.started_at = random.maybe(|_| after(0));
                row.interval.start = after(3_600 * random.below(9) as i64);
                row.backfill = random.maybe(|random| random.below(5));
                // A run is younger than the one that started it.
                if id > 1 {
                    row.parent =
                        random.maybe(|random| parent(1 + random.below(id - 1), &random.task(), 1));
                }
                changes.runs.push(Arc::new(row));
            }
            11 => {
                let source = ["queue:a", "queue:a b", "webhook:hub"][random.below(3) as usize];
                let mut row = refused(source, &random.text(), self.now);
                row.excerpt = random.text();
                changes.refused.push(row);
            }
            12 => {
                let state = random.one_of(BackfillState::ALL);
                let mut row = backfill(1 + random.below(4), name, state);
                row.mode = random.one_of(BackfillMode::ALL);
                (row.reason, row.downstream) = (random.reason(), random.below(2) == 0);
                row.finished_at = random.maybe(|_| at);
                changes.backfills.push(row);
            }
            13 => {
                let state = random.one_of(BackfillItemState::ALL);
                let number = random.below(12) as u32;
                let mut row = backfill_item(1 + random.below(4), number, state);
                (row.reason, row.run) = (random.reason(), random.maybe(|_| RunId(id)));
                row.after = (0..number).collect();
                changes.backfill_items.push(row);
            }
            8 | 9 => {
                let name = random.task();
                let mut row = task(
                    id,
                    &name,
                    TaskState::ALL[random.below(TaskState::ALL.len() as u64) as usize],
                );
                row.reason = random.reason();
                row.outputs = random.maybe(|random| {
                    Arc::new([(random.text(), random.value(2))].into_iter().collect())
                });
                row.external_id = random.maybe(|random| random.text().into());
                row.retry_at = random.maybe(|_| at);
                changes.tasks.push(Arc::new(row));
                let mut ended = attempt(id, &name, 1 + random.below(3) as u32);
                ended.state =
                    AttemptState::ALL[random.below(AttemptState::ALL.len() as u64) as usize];
                changes.attempts.push(ended);
            }
            _ => {
                let path = random
                    .maybe(|random| Path::ROOT.child(random.below(12) as u32))
                    .unwrap_or_default();
                let mut row = scope(id, "each", path);
                row.state = ScopeState::ALL[random.below(ScopeState::ALL.len() as u64) as usize];
                row.items = Arc::new((0..random.below(4)).map(|_| random.value(2)).collect());
                changes.scopes.push(Arc::new(row));
            }
        }
    }
}

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn flow(&mut self) -> &'static str {
        FLOWS[self.below(3) as usize]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 10] = ["a", "Z", "'", "\"", "\\", "\n", "ä", "😀", "$1", "~"];
        (0..self.below(6))
            .map(|_| PIECES[self.below(10) as usize])
            .collect()
    }

    fn task(&mut self) -> String {
        match self.below(4) {
            0 => "load".to_owned(),
            1 => format!("fit[{}]", self.below(15)),
            2 => format!("fit[{}.{}]", self.below(3), self.below(15)),
            _ => format!("loop@{}", self.below(12)),
        }
    }

    fn reason(&mut self) -> Option<Reason> {
        match self.below(4) {
            0 => Some(Reason::NoTrigger),
            1 => Some(Reason::CancelledBy {
                by: self.text(),
                reason: self.maybe(Self::text),
            }),
            2 => Some(Reason::AttemptTimeout {
                timeout: Span(self.next() as i64 >> 8),
            }),
            _ => None,
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.next()),
            3 => json!(self.next() as i64),
            4 => json!(self.next() as i64 as f64 / 1e9),
            5 => json!(self.text()),
            6 => (0..self.below(3)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(
                (0..self.below(3))
                    .map(|_| (self.text(), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }
}
