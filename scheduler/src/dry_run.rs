//! Which runs would have started? The real core, in virtual time, with one flow and events of the past.

use crate::flow::Flow;
use crate::id::{FlowName, PoolName, TriggerName, Version};
use crate::input::{Input, ReplayRequest};
use crate::reason::Reason;
use crate::row::{EventRow, OccurrenceState, RunRow};
use crate::state::{Config, Scheduler};
use crate::time::{Span, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most runs that a dry run tells of; then it ends.
pub const DRY_RUNS_MAX: usize = 10_000;

/// The most moments that a dry run looks at.
const MOMENTS_MAX: usize = 200_000;

/// A run that would have started, or been refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WouldRun {
    pub at: Timestamp,
    /// The schedule or trigger.
    pub trigger: TriggerName,
    /// Numbers of the events, as stored.
    pub events: Vec<u64>,
    pub params: Map<String, Value>,
    /// Why it would not have started.
    pub refused: Option<Reason>,
    /// The key of its occurrence; numbers in it are those of this dry run.
    pub key: String,
}

/// The runs of a flow, had it been there from `from` on and these events arrived as they did, until `to`; in order, at
/// most the first [`DRY_RUNS_MAX`]. Events that arrived at another time are left out. Each run is over as soon as it has
/// started, so no run strategy makes one wait for another; events that say that runs of this flow ended count only if
/// they are among those given.
pub fn dry_run(
    flow: &Flow,
    events: &[Arc<EventRow>],
    from: Timestamp,
    to: Timestamp,
) -> Vec<WouldRun> {
    let mut spec = flow.spec().clone();
    // What runs elsewhere would need no slot of ours, and so would start.
    spec.steps.iter_mut().for_each(|step| step.remote = None);
    let Ok(again) = Flow::new(spec) else {
        return Vec::new();
    };
    let mut world = World {
        core: Scheduler::recover(config(flow), Default::default()),
        flow: flow.name().clone(),
        seqs: BTreeMap::new(),
        found: Vec::new(),
    };
    world.decide(
        from,
        Input::Deploy {
            flow: Arc::new(again),
            version: Version::new("dry-run"),
            source: "".into(),
            file: String::new(),
        },
    );
    let mut events: Vec<&Arc<EventRow>> = events
        .iter()
        .filter(|it| from <= it.received_at && it.received_at < to)
        .collect();
    events.sort_by_key(|it| (it.received_at, it.seq));
    for event in events {
        world.pass(event.received_at);
        let request = ReplayRequest {
            event: event.clone(),
            flow: None,
            key: None,
            by: String::new(),
        };
        world.decide(event.received_at, Input::Replay(request));
    }
    world.pass(to);
    world.found.truncate(DRY_RUNS_MAX);
    world.found
}

/// Every pool is as large as the flow wants it. No task ever starts: runs end before.
fn config(flow: &Flow) -> Config {
    let spec = flow.spec();
    let of_steps = spec.steps.iter().flat_map(|it| &it.pools);
    let pools: BTreeMap<PoolName, u32> = spec
        .run
        .pools
        .iter()
        .chain(of_steps)
        .map(|(pool, _)| (pool.clone(), u32::MAX / 2))
        .collect();
    Config {
        max_tasks: 0,
        pools,
        // Nobody is ever late here.
        misfire_after: Span(i64::MAX),
        ..Config::default()
    }
}

struct World {
    core: Scheduler,
    flow: FlowName,
    /// Numbers of this dry run, and what the events are really called.
    seqs: BTreeMap<u64, u64>,
    found: Vec<WouldRun>,
}

impl World {
    /// Lets everything happen that is due before or at an instant.
    fn pass(&mut self, until: Timestamp) {
        for _ in 0..MOMENTS_MAX {
            let due = self.core.next_deadline().filter(|it| *it <= until);
            let Some(at) = due.filter(|_| self.found.len() < DRY_RUNS_MAX) else {
                return;
            };
            self.decide(at, Input::Tick);
        }
    }

    fn decide(&mut self, now: Timestamp, input: Input) {
        let mut draft = self.core.draft(now);
        // What does not apply starts nothing.
        let _ = draft.decide(input);
        let decision = draft.finish();
        for event in &decision.changes.events {
            let original = event.replay_of.unwrap_or(event.seq);
            self.seqs.insert(event.seq, original);
        }
        let runs: BTreeMap<_, Arc<RunRow>> = decision
            .changes
            .runs
            .iter()
            .map(|row| (row.id, row.clone()))
            .collect();
        let mut found = Vec::new();
        for row in &decision.changes.occurrences {
            if row.state == OccurrenceState::Expected || row.flow != self.flow {
                continue;
            }
            let run = row.run.and_then(|it| runs.get(&it));
            let events = run.map(|it| it.events.as_slice()).unwrap_or_default();
            let real = |it: &u64| self.seqs.get(it).copied().unwrap_or(*it);
            let would = WouldRun {
                at: now,
                trigger: row.trigger.clone(),
                events: events.iter().map(real).collect(),
                params: run.map(|it| Map::clone(&it.params)).unwrap_or_default(),
                refused: row.reason.clone(),
                key: row.key.clone(),
            };
            found.push((row.run, would));
        }
        // Those of one moment in the order in which they started; refused ones come last.
        found.sort_by_key(|(run, _)| (run.is_none(), *run));
        self.found.extend(found.into_iter().map(|(_, it)| it));
        self.core.install(decision);
        let unfinished: Vec<_> = self.core.runs().map(|it| it.id).collect();
        for run in unfinished {
            let (by, reason) = (String::new(), None);
            let mut draft = self.core.draft(now);
            let _ = draft.decide(Input::Cancel { run, by, reason });
            self.core.install(draft.finish());
        }
    }
}
