//! All rows that ever became durable, kept beside the store; and what no commit may do.

use dalsegno_scheduler::backfill::History;
use dalsegno_scheduler::row::{
    BackfillItemRow, BackfillItemState, BackfillRow, Changes, FlowRow, FlowVersionRow,
    JournalEntry, MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState, Recovered, RunRow,
    RunSnapshot, RunState, ScopeRow, TaskRow, TaskState,
};
use dalsegno_scheduler::{
    AttemptId, FlowName, Input, Outcome, Path, Report, RunId, StepName, TaskId, TriggerName,
    Version, child_run,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

type ScopeKey = (RunId, StepName, Path);
type MatchKey = (u64, FlowName, TriggerName, u16);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) rows: Rows,
    /// The same, from the journal alone.
    replayed: Rows,
    versions: BTreeMap<(FlowName, Version), FlowVersionRow>,
    matches: BTreeMap<MatchKey, MatchRow>,
    waiting: BTreeSet<MatchKey>,
    half_matches: BTreeMap<(FlowName, TriggerName, String, u16, u64), u64>,
    attempts: BTreeSet<AttemptId>,
    runs_of_occurrences: BTreeMap<(FlowName, String), RunId>,
    last_journal: u64,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) flows: BTreeMap<FlowName, FlowRow>,
    pub(crate) runs: BTreeMap<RunId, Arc<RunRow>>,
    pub(crate) tasks: BTreeMap<(RunId, TaskId), Arc<TaskRow>>,
    pub(crate) scopes: BTreeMap<ScopeKey, Arc<ScopeRow>>,
    pub(crate) occurrences: BTreeMap<(FlowName, String), OccurrenceRow>,
    backfills: BTreeMap<u64, BackfillRow>,
    items: BTreeMap<(u64, u32), BackfillItemRow>,
}

impl Ledger {
    /// Takes a durable commit and the inputs that led to it.
    pub(crate) fn take(&mut self, changes: &Changes, inputs: &[Input]) {
        self.check_runs(changes, inputs);
        self.check_tasks(changes, inputs);
        self.check_occurrences(changes);
        self.check_items(changes);
        for entry in &changes.journal {
            self.last_journal += 1;
            assert_eq!(entry.seq, self.last_journal, "the journal has no gaps");
            self.replayed.replay(entry);
        }
        for it in &changes.versions {
            self.versions
                .insert((it.flow.clone(), it.version.clone()), it.clone());
        }
        let rows = &mut self.rows;
        for it in &changes.flows {
            rows.flows.insert(it.name.clone(), it.clone());
        }
        for it in &changes.runs {
            rows.runs.insert(it.id, it.clone());
        }
        for it in &changes.tasks {
            rows.tasks.insert((it.run, it.task.clone()), it.clone());
        }
        for it in &changes.scopes {
            let key = (it.run, it.scope.clone(), it.path);
            rows.scopes.insert(key, it.clone());
        }
        for it in &changes.occurrences {
            rows.occurrences
                .insert((it.flow.clone(), it.key.clone()), it.clone());
        }
        for it in &changes.backfills {
            rows.backfills.insert(it.id, it.clone());
        }
        for it in &changes.backfill_items {
            let key = (it.backfill, it.number);
            rows.items.insert(key, it.clone());
        }
        for it in &changes.attempts {
            assert!(
                self.attempts.insert(it.id.clone()),
                "attempt {} ended twice",
                it.id
            );
        }
        self.take_matches(changes);
    }

    fn take_matches(&mut self, changes: &Changes) {
        for key in &changes.half_matches_deleted {
            self.half_matches.remove(key);
        }
        for it in &changes.half_matches {
            let key = (
                it.flow.clone(),
                it.trigger.clone(),
                it.join_key.clone(),
                it.leaf,
                it.event.seq,
            );
            self.half_matches.insert(key, it.event.seq);
        }
        for it in &changes.matches {
            let key = (it.event, it.flow.clone(), it.trigger.clone(), it.leaf);
            if let Some(before) = self.matches.get(&key) {
                assert_eq!(
                    before.outcome,
                    MatchOutcome::Waiting,
                    "event {} at {}/{} was decided before",
                    it.event,
                    it.flow,
                    it.trigger
                );
            }
            match it.outcome {
                MatchOutcome::Fired => {
                    let run = it.run.expect("what fired has a run");
                    let row = &self.rows.runs[&run];
                    assert_eq!(row.flow, it.flow, "a trigger starts its own flow");
                    assert!(row.events.contains(&it.event), "run {run} knows its events");
                }
                _ => assert_eq!(it.run, None, "only what fired has a run"),
            }
            if it.outcome == MatchOutcome::Waiting {
                self.waiting.insert(key.clone());
            } else {
                self.waiting.remove(&key);
            }
            self.matches.insert(key, it.clone());
        }
        let half = self.half_matches.iter();
        let half: BTreeSet<MatchKey> = half
            .map(|((flow, trigger, _, leaf, event), _)| {
                (*event, flow.clone(), trigger.clone(), *leaf)
            })
            .collect();
        let astray: Vec<&MatchKey> = self.waiting.symmetric_difference(&half).collect();
        assert!(
            astray.is_empty(),
            "events wait here or stand in a set there, not both: {astray:?}"
        );
    }

    /// Finished runs change by a resume only.
    fn check_runs(&self, changes: &Changes, inputs: &[Input]) {
        for it in &changes.runs {
            let Some(before) = self.rows.runs.get(&it.id) else {
                assert_eq!(it.generation, 1);
                continue;
            };
            if before.state.is_terminal() && before != it {
                assert!(resumed(inputs, it.id), "run {} was finished", it.id);
                assert_eq!(it.generation, before.generation + 1);
            }
        }
    }

    /// Attempts are numbered one by one; success is that of the newest; finished tasks stay.
    fn check_tasks(&self, changes: &Changes, inputs: &[Input]) {
        for it in &changes.tasks {
            let key = (it.run, it.task.clone());
            let before = self.rows.tasks.get(&key);
            let attempt = before.map_or(0, |it| it.attempt);
            // What a rerun takes over keeps its number, and is never submitted.
            let made = |run: &Arc<RunRow>| run.id == it.run && run.origin.is_some();
            let taken_over = before.is_none()
                && changes.runs.iter().any(made)
                && it.submitted_at.is_none()
                && matches!(it.state, TaskState::Succeeded | TaskState::Caught);
            assert!(
                it.attempt == attempt || it.attempt == attempt + 1 || taken_over,
                "{} of run {} went from attempt {attempt} to {}",
                it.task,
                it.run,
                it.attempt
            );
            let Some(before) = before else {
                continue;
            };
            if before.state.is_terminal() && before != it {
                let done = matches!(before.state, TaskState::Succeeded | TaskState::Caught);
                let swept = self.rows.runs[&it.run].generation > 1 && !done;
                assert!(
                    resumed(inputs, it.run) || swept,
                    "{} of run {} was {}, and became {}",
                    it.task,
                    it.run,
                    before.state,
                    it.state
                );
            }
            let child = it.external_id.as_deref().and_then(child_run);
            if it.state == TaskState::Succeeded
                && before.state != TaskState::Succeeded
                && let Some(child) = child
            {
                let now = changes.runs.iter().find(|it| it.id == child);
                let run = now.or_else(|| self.rows.runs.get(&child));
                let run = run.expect("a task names a run that is there");
                let parent = run.parent.as_ref().expect("it knows its parent");
                let same = (parent.attempt.run, &parent.attempt.task) == (it.run, &it.task);
                assert!(same, "{} of run {} has the run of another", it.task, it.run);
                assert!(
                    run.state == RunState::Succeeded || !parent.waits,
                    "{} of run {} succeeded, and run {child} is {}",
                    it.task,
                    it.run,
                    run.state
                );
            } else if it.state == TaskState::Succeeded && before.state != TaskState::Succeeded {
                let told = inputs.iter().any(|input| {
                    let Input::Report { attempt, report } = input else {
                        return false;
                    };
                    let success = matches!(
                        report,
                        Report::Ended {
                            outcome: Outcome::Succeeded(_),
                            ..
                        }
                    );
                    success
                        && attempt.run == it.run
                        && attempt.task == it.task
                        && attempt.number == before.attempt
                        && attempt.number == it.attempt
                });
                assert!(
                    told,
                    "nobody said that {} of run {} succeeded",
                    it.task, it.run
                );
                assert!(before.state.is_live(), "only a live attempt can succeed");
            }
        }
    }

    /// An occurrence starts one run at most, and a decided one stays as it is.
    fn check_occurrences(&mut self, changes: &Changes) {
        for it in &changes.runs {
            let key = (it.flow.clone(), it.occurrence.clone());
            let run = *self.runs_of_occurrences.entry(key).or_insert(it.id);
            assert_eq!(run, it.id, "{} of {} has two runs", it.occurrence, it.flow);
        }
        for it in &changes.occurrences {
            let before = self
                .rows
                .occurrences
                .get(&(it.flow.clone(), it.key.clone()));
            let Some(before) = before.filter(|before| before.state != it.state) else {
                continue;
            };
            let jumps = before.state == OccurrenceState::Skipped;
            assert!(
                before.state.may_become(it.state) || jumps,
                "{} of {} was {} and became {}",
                it.key,
                it.flow,
                before.state,
                it.state
            );
        }
    }

    /// An item has one run in its life, and none before all that it comes after is over.
    fn check_items(&self, changes: &Changes) {
        let mut items = BTreeMap::new();
        for it in &changes.backfill_items {
            items.insert((it.backfill, it.number), it);
        }
        for (key, it) in &items {
            let before = self.rows.items.get(key);
            let same_run =
                |before: &BackfillItemRow| before.run.is_none_or(|run| it.run == Some(run));
            assert!(before.is_none_or(same_run), "{it:?} has another run");
            let begins = it.run.is_some() && before.is_none_or(|it| it.run.is_none());
            for upstream in it.after.iter().filter(|_| begins) {
                let key = (it.backfill, *upstream);
                let before = self.rows.items.get(&key);
                let mut known = items.get(&key).copied().into_iter().chain(before);
                // One that is over may have been resumed since.
                let over = |it: &BackfillItemRow| {
                    use BackfillItemState::{Failed, Skipped, Succeeded};
                    matches!(it.state, Failed | Skipped | Succeeded)
                };
                assert!(known.any(over), "{it:?} began too early");
            }
        }
        for it in changes.runs.iter().filter(|it| it.generation == 1) {
            let parent = it.parent.as_ref().map(|it| it.attempt.run);
            if let Some(parent) = parent {
                let mut now = changes.runs.iter().filter(|it| it.id == parent);
                let parent = now.next().or_else(|| self.rows.runs.get(&parent));
                let parent = parent.expect("a parent has a row");
                assert_eq!(it.backfill, parent.backfill, "run {}", it.id);
                continue;
            }
            let Some(backfill) = it.backfill else {
                continue;
            };
            let mut mine = self.rows.items.values().chain(items.values().copied());
            let known = mine.any(|item| item.backfill == backfill && item.run == Some(it.id));
            assert!(known, "run {} is no item of backfill {backfill}", it.id);
        }
    }

    /// The journal, replayed, gives the rows; and the store has the same.
    pub(crate) fn check_whole(&self, stored: &Recovered) {
        same("replayed flows", &self.rows.flows, &self.replayed.flows);
        same("replayed runs", &self.rows.runs, &self.replayed.runs);
        same("replayed tasks", &self.rows.tasks, &self.replayed.tasks);
        same("replayed scopes", &self.rows.scopes, &self.replayed.scopes);
        same(
            "replayed occurrences",
            &self.rows.occurrences,
            &self.replayed.occurrences,
        );
        same("replayed items", &self.rows.items, &self.replayed.items);
        let backfills = &self.rows.backfills;
        same("replayed backfills", backfills, &self.replayed.backfills);
        let open = |it: &u64| backfills[it].finished_at.is_none();
        let items = self.rows.items.values().filter(|it| open(&it.backfill));
        let items: Vec<BackfillItemRow> = items.cloned().collect();
        same("stored items", &items, &stored.backfill_items);
        let unfinished = backfills.values().filter(|it| open(&it.id));
        let unfinished: Vec<BackfillRow> = unfinished.cloned().collect();
        same("stored backfills", &unfinished, &stored.backfills);
        let open: Vec<Arc<RunRow>> = self
            .rows
            .runs
            .values()
            .filter(|it| !it.state.is_terminal())
            .cloned()
            .collect();
        same("stored runs", &open, &stored.runs);
        let is_open = |run: &RunId| open.iter().any(|it| it.id == *run);
        let mut tasks: Vec<_> = self
            .rows
            .tasks
            .values()
            .filter(|it| is_open(&it.run))
            .cloned()
            .collect();
        let mut stored_tasks = stored.tasks.clone();
        tasks.sort_by_key(|it| (it.run, it.task.clone()));
        stored_tasks.sort_by_key(|it| (it.run, it.task.clone()));
        same("stored tasks", &tasks, &stored_tasks);
        assert_eq!(stored.last_journal, self.last_journal);
    }

    pub(crate) fn snapshot(&self, run: RunId) -> RunSnapshot {
        let row = self.rows.runs[&run].clone();
        let of_run = |it: &&(RunId, TaskId)| it.0 == run;
        let tasks = self.rows.tasks.iter().filter(|(key, _)| of_run(key));
        let scopes = self.rows.scopes.iter().filter(|(key, _)| key.0 == run);
        RunSnapshot {
            version: self.versions[&(row.flow.clone(), row.version.clone())].clone(),
            run: row,
            tasks: tasks.map(|(_, row)| row.clone()).collect(),
            scopes: scopes.map(|(_, row)| row.clone()).collect(),
            children: self.children(run),
        }
    }

    /// The newest run of each task that is not done and waits for its sub-flow.
    fn children(&self, run: RunId) -> Vec<RunSnapshot> {
        let mut newest: BTreeMap<&TaskId, RunId> = BTreeMap::new();
        for it in self.rows.runs.values() {
            if let Some(parent) = it.parent.as_ref().filter(|it| it.waits)
                && parent.attempt.run == run
            {
                newest.insert(&parent.attempt.task, it.id);
            }
        }
        let open = |task: &TaskId| {
            let row = self.rows.tasks.get(&(run, task.clone()));
            row.is_some_and(|it| !matches!(it.state, TaskState::Succeeded | TaskState::Caught))
        };
        let newest = newest.into_iter().filter(|(task, _)| open(task));
        newest.map(|(_, run)| self.snapshot(run)).collect()
    }

    pub(crate) fn finished(&self) -> Vec<RunId> {
        let runs = self.rows.runs.values();
        runs.filter(|it| it.state.is_terminal())
            .map(|it| it.id)
            .collect()
    }

    /// All runs ever, as backfills are planned from them.
    pub(crate) fn history(&self) -> Vec<History> {
        self.rows.runs.values().map(|it| (&**it).into()).collect()
    }

    pub(crate) fn state(&self, run: RunId) -> RunState {
        self.rows.runs[&run].state
    }
}

impl Rows {
    fn replay(&mut self, entry: &JournalEntry) {
        let (kind, _) = entry.kind.split_once('.').expect("kind.state");
        match kind {
            "flow" => {
                let row: FlowRow = read(&entry.body);
                self.flows.insert(row.name.clone(), row);
            }
            "run" => {
                let row: RunRow = read(&entry.body);
                self.runs.insert(row.id, Arc::new(row));
            }
            "task" => {
                let row: TaskRow = read(&entry.body);
                self.tasks
                    .insert((row.run, row.task.clone()), Arc::new(row));
            }
            "scope" => {
                let row: ScopeRow = read(&entry.body);
                let key = (row.run, row.scope.clone(), row.path);
                self.scopes.insert(key, Arc::new(row));
            }
            "occurrence" => {
                let row: OccurrenceRow = read(&entry.body);
                self.occurrences
                    .insert((row.flow.clone(), row.key.clone()), row);
            }
            "backfill" => {
                let row: BackfillRow = read(&entry.body);
                self.backfills.insert(row.id, row);
            }
            "backfill_item" => {
                let row: BackfillItemRow = read(&entry.body);
                self.items.insert((row.backfill, row.number), row);
            }
            other => panic!("the journal tells of {other}"),
        }
    }
}

fn read<T: for<'de> serde::Deserialize<'de>>(body: &str) -> T {
    serde_json::from_str(body).unwrap_or_else(|error| {
        let value: Result<Value, _> = serde_json::from_str(body);
        panic!("a row does not read back: {error}: {value:?}")
    })
}

fn resumed(inputs: &[Input], run: RunId) -> bool {
    inputs.iter().any(|it| match it {
        Input::Resume(request) => reaches(&request.snapshot, run),
        _ => false,
    })
}

fn reaches(snapshot: &RunSnapshot, run: RunId) -> bool {
    snapshot.run.id == run || snapshot.children.iter().any(|it| reaches(it, run))
}

fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) {
    if left != right {
        let (left, right) = (format!("{left:#?}"), format!("{right:#?}"));
        let lines = left.lines().zip(right.lines());
        let first: Vec<String> = lines
            .filter(|(a, b)| a != b)
            .take(3)
            .map(|(a, b)| format!("{a} | {b}"))
            .collect();
        panic!("{what}: {}", first.join("\n"));
    }
}
