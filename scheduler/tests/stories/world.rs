//! A world small enough for a story: one core, its rows, and a clock that is moved by hand.

use dalsegno_scheduler::alert::AlertRow;
use dalsegno_scheduler::backfill::{History, Plan, PlanRequest};
use dalsegno_scheduler::row::{
    BackfillItemRow, BackfillRow, Changes, EventRow, FlowVersionRow, HalfMatchRow, JournalEntry,
    MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState, Recovered, RunRow, RunSnapshot,
    RunState, ScopeRow, SilenceRow, SlaRow, TaskRow, TaskState,
};
use dalsegno_scheduler::{
    Answer, AttemptId, BackfillChange, BackfillRequest, Command, Config, Draft, Flow, FlowName,
    Input, NewEvent, Outcome, PastFacts, Path, Reason, Rejected, Report, RerunRequest,
    ResumeRequest, ResumeWith, RunId, Scheduler, Span, StartRequest, StepName, Submission, Success,
    TaskId, Timestamp, TriggerName, Version,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// When every story begins: a Sunday.
pub(crate) const DAWN: &str = "2026-11-22T06:00:00Z";

pub(crate) struct World {
    pub(crate) core: Scheduler,
    pub(crate) now: Timestamp,
    dawn: Timestamp,
    config: Config,
    lines: Vec<String>,
    /// The last decision's rows, for stories that count them.
    pub(crate) changes: Changes,
    pub(crate) answer: Option<Answer>,
    rows: Rows,
    /// Rows were taken away on purpose, so a restart may change something.
    rows_lost: bool,
    alerts_read: usize,
}

/// All rows ever written, as they are now.
#[derive(Default)]
struct Rows {
    versions: BTreeMap<(FlowName, Version), FlowVersionRow>,
    runs: BTreeMap<RunId, Arc<RunRow>>,
    tasks: BTreeMap<RunId, BTreeMap<TaskId, Arc<TaskRow>>>,
    scopes: BTreeMap<RunId, BTreeMap<(StepName, Path), Arc<ScopeRow>>>,
    occurrences: BTreeMap<(FlowName, String), OccurrenceRow>,
    matches: BTreeMap<(u64, String, u16), String>,
    half_matches: BTreeMap<(FlowName, TriggerName, String, u16, u64), HalfMatchRow>,
    events: BTreeMap<u64, Arc<EventRow>>,
    match_rows: BTreeMap<(u64, FlowName, TriggerName, u16), MatchRow>,
    journal: Vec<JournalEntry>,
    backfills: BTreeMap<u64, BackfillRow>,
    backfill_items: BTreeMap<(u64, u32), BackfillItemRow>,
    alerts: Vec<AlertRow>,
    slas: BTreeMap<(FlowName, Arc<str>, Arc<str>), SlaRow>,
    silences: BTreeMap<u64, SilenceRow>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config {
            pools: BTreeMap::from([("db".into(), 2), ("gpu".into(), 3)]),
            ..Config::default()
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        let dawn = Timestamp::parse_rfc3339(DAWN).expect("a valid time");
        Self {
            core: Scheduler::recover(config.clone(), Default::default()),
            now: dawn,
            dawn,
            config,
            lines: Vec::new(),
            changes: Changes::default(),
            answer: None,
            rows: Rows::default(),
            rows_lost: false,
            alerts_read: 0,
        }
    }

    /// A world whose clock starts elsewhere.
    pub(crate) fn at(time: &str) -> Self {
        let dawn = Timestamp::parse_rfc3339(time).expect("a valid time");
        Self {
            now: dawn,
            dawn,
            ..Self::new()
        }
    }

    // What happens.

    pub(crate) fn decide(&mut self, input: Input) -> Result<Answer, Rejected> {
        self.batch([input]).pop().expect("one answer")
    }

    /// Several inputs in one commit.
    pub(crate) fn batch(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Vec<Result<Answer, Rejected>> {
        let mut draft: Draft = self.core.draft(self.now);
        let answers: Vec<_> = inputs.into_iter().map(|it| draft.decide(it)).collect();
        let decision = draft.finish();
        self.changes = decision.changes.clone();
        self.keep(&decision.changes);
        for entry in &decision.changes.journal {
            let line = self.line(entry);
            self.lines.push(line);
        }
        for command in &decision.commands {
            let at = self.clock();
            self.lines.push(format!("{at} > {}", told(command)));
        }
        self.core.install(decision);
        self.answer = answers.last().and_then(|it| it.clone().ok());
        answers
    }

    pub(crate) fn deploy(&mut self, spec: &Value) -> Result<Answer, Rejected> {
        let spec = serde_json::from_value(spec.clone()).expect("a story's flow reads");
        let flow = Arc::new(Flow::new(spec).expect("a story's flow is valid"));
        let text = serde_json::to_string(flow.spec()).expect("plain data");
        let hash = text.bytes().fold(7_u32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        let version = Version::new(format!("{hash:08x}"));
        self.decide(Input::Deploy {
            flow,
            version,
            source: text.into(),
            file: "flows/story.yaml".into(),
        })
    }

    /// A world in which these flows are deployed, and nothing told of it.
    pub(crate) fn flow(mut self, spec: &Value) -> Self {
        self.deploy(spec).expect("the flow is accepted");
        self.lines.clear();
        self
    }

    pub(crate) fn try_start(&mut self, flow: &str, params: Value) -> Result<Answer, Rejected> {
        let Value::Object(params) = params else {
            panic!("parameters are an object");
        };
        self.decide(Input::Start(StartRequest {
            flow: flow.into(),
            params,
            key: None,
            by: "ada".into(),
        }))
    }

    pub(crate) fn start(&mut self, flow: &str) -> RunId {
        match self.try_start(flow, json!({})) {
            Ok(Answer::Run { run, .. }) => run,
            other => panic!("no run of {flow}: {other:?}"),
        }
    }

    pub(crate) fn advance(&mut self, span: Span) {
        self.now = self.now + span;
        self.decide(Input::Tick).expect("time may pass");
    }

    /// To the next moment at which something is due.
    pub(crate) fn until_due(&mut self) {
        let at = self.core.next_deadline().expect("something is due");
        self.now = self.now.max(at);
        self.decide(Input::Tick).expect("time may pass");
    }

    /// The live attempt of a task such as `1/train[3]`.
    pub(crate) fn attempt(&self, task: &str) -> AttemptId {
        let (run, task) = task.split_once('/').expect("run/task");
        let run: RunId = run.parse().expect("a run");
        let task: TaskId = task.parse().expect("a task");
        let mut live = self.core.live_attempts().into_iter();
        live.find(|it| it.run == run && it.task == task)
            .unwrap_or_else(|| panic!("{task} of run {run} has no live attempt"))
    }

    /// What the executor is given to run the live attempt of a task.
    pub(crate) fn submission(&self, task: &str) -> Submission {
        let submission = self.core.submission(&self.attempt(task));
        submission
            .expect("a live attempt")
            .expect("its expressions hold")
    }

    pub(crate) fn report(&mut self, task: &str, report: Report) {
        let attempt = self.attempt(task);
        self.decide(Input::Report { attempt, report })
            .expect("the report is taken");
    }

    pub(crate) fn began(&mut self, task: &str) {
        let at = self.now;
        self.report(
            task,
            Report::Started {
                external_id: "pid".into(),
                at,
            },
        );
    }

    pub(crate) fn ended(&mut self, task: &str, outcome: Outcome) {
        let at = self.now;
        self.report(
            task,
            Report::Ended {
                outcome,
                started_at: Some(at),
                at,
            },
        );
    }

    pub(crate) fn ok(&mut self, task: &str) {
        self.ended(task, Outcome::Succeeded(Success::default()));
    }

    pub(crate) fn ok_with(&mut self, task: &str, outputs: Value) {
        let outputs: Map<String, Value> = serde_json::from_value(outputs).expect("an object");
        self.ended(
            task,
            Outcome::Succeeded(Success {
                outputs,
                ..Success::default()
            }),
        );
    }

    pub(crate) fn chose(&mut self, task: &str, steps: &[&str]) {
        let chosen = steps.iter().map(|it| StepName::from(*it)).collect();
        self.ended(
            task,
            Outcome::Succeeded(Success {
                chosen: Some(chosen),
                ..Success::default()
            }),
        );
    }

    /// Its step told how many items follow, and what else it gives.
    pub(crate) fn split(&mut self, task: &str, splits: u32, outputs: Value) {
        let outputs: Map<String, Value> = serde_json::from_value(outputs).expect("an object");
        self.ended(
            task,
            Outcome::Succeeded(Success {
                outputs,
                splits: Some(splits),
                ..Success::default()
            }),
        );
    }

    pub(crate) fn fail(&mut self, task: &str) {
        self.ended(task, Outcome::Failed(Reason::Exit { status: 1 }));
    }

    pub(crate) fn cancel(&mut self, run: RunId) {
        self.decide(Input::Cancel {
            run,
            by: "ada".into(),
            reason: None,
        })
        .expect("the run is there");
    }

    pub(crate) fn pause(&mut self, flow: &str) {
        self.decide(Input::Pause {
            flow: flow.into(),
            by: "ada".into(),
            reason: Some("maintenance".into()),
        })
        .expect("the flow is there");
    }

    pub(crate) fn unpause(&mut self, flow: &str) {
        let (flow, by) = (flow.into(), "ada".into());
        self.decide(Input::Unpause {
            flow,
            by,
            catch_up: Default::default(),
        })
        .expect("the flow is there");
    }

    pub(crate) fn unpause_with(&mut self, flow: &str, catch_up: dalsegno_scheduler::CatchUp) {
        let (flow, by) = (flow.into(), "ada".into());
        let unpause = Input::Unpause { flow, by, catch_up };
        self.decide(unpause).expect("the flow is there");
    }

    /// A row of the ledger is lost; nobody knows how.
    pub(crate) fn lose_occurrence(&mut self, flow: &str, key: &str) {
        self.rows_lost = true;
        let key = (flow.into(), key.to_owned());
        self.rows
            .occurrences
            .remove(&key)
            .expect("the row is there");
    }

    pub(crate) fn event(&mut self, kind: &str, id: &str, data: Value) {
        self.decide(Input::Event(event(kind, id, data)))
            .expect("the event is taken");
    }

    pub(crate) fn resume(&mut self, run: RunId, from: Option<&str>) -> Result<Answer, Rejected> {
        self.resume_with(run, from, ResumeWith::Latest)
    }

    pub(crate) fn resume_with(
        &mut self,
        run: RunId,
        from: Option<&str>,
        with: ResumeWith,
    ) -> Result<Answer, Rejected> {
        let snapshot = self.snapshot(run);
        self.decide(Input::Resume(Box::new(ResumeRequest {
            snapshot,
            with,
            from: from.map(StepName::from),
            by: "ada".into(),
        })))
    }

    /// A new run from a finished one.
    pub(crate) fn rerun(
        &mut self,
        run: RunId,
        from: Option<&str>,
        params: Value,
        key: Option<&str>,
    ) -> Result<Answer, Rejected> {
        let snapshot = self.snapshot(run);
        self.decide(Input::Rerun(Box::new(RerunRequest {
            snapshot,
            from: from.map(StepName::from),
            params: serde_json::from_value(params).expect("an object"),
            with: ResumeWith::Latest,
            key: key.map(str::to_owned),
            by: "ada".into(),
        })))
    }

    /// Plans a backfill over all runs ever, as it is asked for.
    pub(crate) fn plan(&self, request: &PlanRequest) -> Plan {
        let plan = self
            .core
            .plan_backfill(request, &self.history(), &BTreeMap::new(), self.now);
        plan.expect("it can be planned")
    }

    /// Plans a backfill and applies it.
    pub(crate) fn backfill(&mut self, request: &PlanRequest) -> u64 {
        let plan = self.plan(request);
        match self.apply(plan, request.parallel, None) {
            Ok(Answer::Backfill { backfill, .. }) => backfill,
            other => panic!("no backfill: {other:?}"),
        }
    }

    pub(crate) fn apply(
        &mut self,
        plan: Plan,
        parallel: u32,
        key: Option<&str>,
    ) -> Result<Answer, Rejected> {
        self.decide(Input::Backfill(Box::new(BackfillRequest {
            plan,
            parallel,
            key: key.map(str::to_owned),
            by: "ada".into(),
        })))
    }

    pub(crate) fn change(
        &mut self,
        backfill: u64,
        change: BackfillChange,
    ) -> Result<Answer, Rejected> {
        self.decide(Input::ChangeBackfill {
            backfill,
            change,
            by: "ada".into(),
        })
    }

    /// The daemon dies, and starts again from its rows.
    pub(crate) fn restart(&mut self) {
        self.recover();
        self.decide(Input::Tick).expect("time may pass");
    }

    /// The same, before anything is looked at.
    pub(crate) fn recover(&mut self) {
        let recovered = Scheduler::recover(self.config.clone(), self.recovered());
        let lost = self.lost(&recovered);
        assert!(
            lost.is_empty() || self.rows_lost,
            "a restart changes:\n{}",
            lost.join("\n")
        );
        assert_eq!(self.core.commands(), recovered.commands());
        self.core = recovered;
    }

    /// A restart with a program that cannot read the stored versions of flows.
    pub(crate) fn unreadable(&mut self) {
        let mut rows = self.recovered();
        for it in &mut rows.versions {
            it.definition = "{}".into();
        }
        self.core = Scheduler::recover(self.config.clone(), rows);
    }

    /// What a restart changes. Numbers of events and journal are not kept here.
    fn lost(&self, recovered: &Scheduler) -> Vec<String> {
        let mut lost = self.core.differences(recovered);
        lost.retain(|it| !it.starts_with("number"));
        lost
    }

    /// A daemon that dies now would begin again as this one stands, and its indexes are in order.
    pub(crate) fn check(&self) {
        let again = Scheduler::recover(self.config.clone(), self.recovered());
        let mut found = self.lost(&again);
        found.extend(self.core.disorder());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// What the store would give to a daemon that starts.
    fn recovered(&self) -> Recovered {
        let rows = &self.rows;
        let open = |run: &RunId| !rows.runs[run].state.is_terminal();
        Recovered {
            flows: self.core.flows().map(|it| it.row.clone()).collect(),
            versions: rows.versions.values().cloned().collect(),
            occurrences: rows
                .occurrences
                .values()
                .filter(|it| it.state == OccurrenceState::Expected)
                .cloned()
                .collect(),
            ahead: rows
                .occurrences
                .values()
                .filter(|it| it.is_ahead() && it.state != OccurrenceState::Expected)
                .cloned()
                .collect(),
            left: rows
                .occurrences
                .values()
                .filter(|it| it.is_left())
                .cloned()
                .collect(),
            backfills: rows
                .backfills
                .values()
                .filter(|it| it.finished_at.is_none())
                .cloned()
                .collect(),
            backfill_items: rows
                .backfill_items
                .values()
                .filter(|it| rows.backfills[&it.backfill].finished_at.is_none())
                .cloned()
                .collect(),
            slas: rows.slas.values().filter(|it| it.open).cloned().collect(),
            silences: rows
                .silences
                .values()
                .filter(|it| it.ended_at.is_none())
                .cloned()
                .collect(),
            last_silence: rows.silences.keys().last().copied().unwrap_or(0),
            last_alert: rows.alerts.last().map_or(0, |it| it.id.0),
            last_backfill: rows.backfills.keys().last().copied().unwrap_or(0),
            half_matches: rows.half_matches.values().cloned().collect(),
            runs: rows
                .runs
                .values()
                .filter(|it| open(&it.id))
                .cloned()
                .collect(),
            tasks: rows
                .tasks
                .iter()
                .filter(|(run, _)| open(run))
                .flat_map(|(_, it)| it.values().cloned())
                .collect(),
            scopes: rows
                .scopes
                .iter()
                .filter(|(run, _)| open(run))
                .flat_map(|(_, it)| it.values().cloned())
                .collect(),
            last_run: rows.runs.keys().last().map_or(0, |it| it.0),
            last_event: 1_000,
            last_journal: 1_000,
        }
    }

    // What is told.

    /// What was written and commanded since the last call.
    pub(crate) fn journal(&mut self) -> String {
        self.lines.drain(..).collect::<Vec<_>>().join("\n")
    }

    /// The alerts since the last call: `07:10 sla.missed report key: summary`.
    pub(crate) fn alerts(&mut self) -> String {
        let told: Vec<String> = self.rows.alerts[self.alerts_read..]
            .iter()
            .map(|it| {
                let at = it.at.to_chrono().format("%m-%d %H:%M:%S");
                let recovery = if it.is_recovery { " (recovery)" } else { "" };
                format!("{at} {}{recovery} [{}] {}", it.kind, it.key, it.summary)
            })
            .collect();
        self.alerts_read = self.rows.alerts.len();
        told.join("\n")
    }

    /// All rows of promises ever, soonest due first.
    pub(crate) fn slas(&self) -> String {
        let mut rows: Vec<&SlaRow> = self.rows.slas.values().collect();
        rows.sort_by_key(|it| (it.due_at, &it.promise));
        let told = rows.iter().map(|it| {
            let run = it.run.map(|it| format!(" run {it}")).unwrap_or_default();
            let met = it.met_at.map(|it| format!(" at {it}")).unwrap_or_default();
            let seen = it.acknowledged.as_ref();
            let seen = seen
                .map(|it| format!(" seen by {}", it.by))
                .unwrap_or_default();
            let why = it.withdrawn.as_ref();
            let why = why
                .map(|it| format!(" withdrawn: {it}"))
                .unwrap_or_default();
            let open = if it.open { " open" } else { "" };
            let more = match it.more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "{} {} due {} {}{more}{met}{open}{run}{seen}{why}",
                it.promise, it.period, it.due_at, it.state
            )
        });
        told.collect::<Vec<_>>().join("\n")
    }

    /// All alerts ever.
    pub(crate) fn all_alerts(&self) -> &[AlertRow] {
        &self.rows.alerts
    }

    /// The lines since the last call that contain one of these words.
    pub(crate) fn journal_of(&mut self, words: &[&str]) -> String {
        let lines = self.lines.drain(..);
        let told: Vec<String> = lines
            .filter(|line| words.iter().any(|it| line.contains(it)))
            .collect();
        told.join("\n")
    }

    pub(crate) fn quiet(&mut self) {
        self.lines.clear();
    }

    pub(crate) fn run_state(&self, run: RunId) -> RunState {
        self.rows.runs[&run].state
    }

    /// Every task of a run, `a succeeded, b failed`.
    pub(crate) fn tasks(&self, run: RunId) -> String {
        let none = BTreeMap::new();
        let tasks = self.rows.tasks.get(&run).unwrap_or(&none);
        let told: Vec<String> = tasks
            .values()
            .map(|it| format!("{} {}", it.task, it.state))
            .collect();
        told.join(", ")
    }

    pub(crate) fn snapshot(&self, run: RunId) -> RunSnapshot {
        let rows = &self.rows;
        let row = rows.runs[&run].clone();
        let version = rows.versions[&(row.flow.clone(), row.version.clone())].clone();
        let of = |it: Option<&BTreeMap<TaskId, Arc<TaskRow>>>| {
            it.into_iter().flat_map(|it| it.values().cloned()).collect()
        };
        RunSnapshot {
            tasks: of(rows.tasks.get(&run)),
            scopes: rows
                .scopes
                .get(&run)
                .into_iter()
                .flat_map(|it| it.values().cloned())
                .collect(),
            children: self.children(&row),
            run: row,
            version,
        }
    }

    /// The newest run of each task that waits for its sub-flow and did not succeed.
    fn children(&self, parent: &RunRow) -> Vec<RunSnapshot> {
        let none = BTreeMap::new();
        let tasks = self.rows.tasks.get(&parent.id).unwrap_or(&none);
        let open = tasks
            .values()
            .filter(|it| it.state != TaskState::Succeeded && parent.state.is_terminal());
        let newest = |task: &Arc<TaskRow>| {
            let mut runs = self.rows.runs.values().rev();
            let run = runs.find(|it| {
                it.parent.as_ref().is_some_and(|it| {
                    it.waits && it.attempt.run == task.run && it.attempt.task == task.task
                })
            });
            run.map(|it| self.snapshot(it.id))
        };
        open.filter_map(newest).collect()
    }

    /// What became of each event at each leaf: `2 b/t#0 waiting`.
    pub(crate) fn matches(&self) -> String {
        let told = self.rows.matches.iter();
        told.map(|((event, place, leaf), outcome)| format!("{event} {place}#{leaf} {outcome}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// All occurrences of all flows.
    pub(crate) fn occurrences(&self) -> String {
        let told = self.rows.occurrences.values().map(occurrence_line);
        told.collect::<Vec<_>>().join("\n")
    }

    /// All runs ever, as the store would give them to a plan.
    pub(crate) fn history(&self) -> Vec<History> {
        self.rows.runs.values().map(|it| (&**it).into()).collect()
    }

    /// Every item of a backfill: `0 daily succeeded 7`.
    pub(crate) fn items(&self, backfill: u64) -> String {
        let range = (backfill, 0)..=(backfill, u32::MAX);
        let told = self.rows.backfill_items.range(range).map(|(_, it)| {
            let run = it.run.map(|it| format!(" {it}")).unwrap_or_default();
            let reason = it.reason.as_ref();
            let reason = reason.map(|it| format!(" ({it})")).unwrap_or_default();
            format!("{} {} {}{run}{reason}", it.number, it.flow, it.state)
        });
        told.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn backfill_row(&self, backfill: u64) -> &BackfillRow {
        &self.rows.backfills[&backfill]
    }

    pub(crate) fn last_run(&self) -> u64 {
        self.rows.runs.keys().last().map_or(0, |it| it.0)
    }

    pub(crate) fn run_row(&self, run: RunId) -> &RunRow {
        &self.rows.runs[&run]
    }

    pub(crate) fn why_run(&self, run: RunId) -> String {
        let all = self.core.why_run(run, self.now).expect("unfinished");
        explained(&all)
    }

    pub(crate) fn why_flow(&self, flow: &str) -> String {
        explained(&self.core.why_flow(flow, self.now).expect("known"))
    }

    /// What the store would give of a flow to whoever asks about a moment; all of it up to then.
    pub(crate) fn facts(&self, flow: &str, at: Timestamp) -> PastFacts {
        let rows = &self.rows;
        let occurrences = rows.occurrences.values();
        let journal = rows.journal.iter();
        let matches = rows.match_rows.values();
        PastFacts {
            occurrences: occurrences
                .filter(|it| it.flow.as_str() == flow)
                .cloned()
                .collect(),
            outages: Vec::new(),
            journal: journal
                .filter(|it| it.flow.as_str() == flow && it.at <= at)
                .cloned()
                .collect(),
            matches: matches
                .filter(|it| it.flow.as_str() == flow)
                .map(|it| (rows.events[&it.event].clone(), it.clone()))
                .collect(),
        }
    }

    fn keep(&mut self, changes: &Changes) {
        let rows = &mut self.rows;
        for it in &changes.slas {
            let key = (it.flow.clone(), it.promise.clone(), it.period.clone());
            rows.slas.insert(key, SlaRow::clone(it));
        }
        for it in &changes.silences {
            rows.silences.insert(it.id, it.clone());
        }
        rows.alerts.extend(changes.alerts.iter().cloned());
        for it in &changes.versions {
            rows.versions
                .insert((it.flow.clone(), it.version.clone()), it.clone());
        }
        for it in &changes.runs {
            rows.runs.insert(it.id, it.clone());
        }
        for it in &changes.tasks {
            let tasks = rows.tasks.entry(it.run).or_default();
            tasks.insert(it.task.clone(), it.clone());
        }
        for it in &changes.scopes {
            let scopes = rows.scopes.entry(it.run).or_default();
            scopes.insert((it.scope.clone(), it.path), it.clone());
        }
        for it in &changes.occurrences {
            rows.occurrences
                .insert((it.flow.clone(), it.key.clone()), it.clone());
        }
        for key in &changes.half_matches_deleted {
            rows.half_matches.remove(key);
        }
        for it in &changes.half_matches {
            let (flow, trigger) = (it.flow.clone(), it.trigger.clone());
            let key = (flow, trigger, it.join_key.clone(), it.leaf, it.event.seq);
            rows.half_matches.insert(key, it.clone());
        }
        for it in &changes.backfills {
            rows.backfills.insert(it.id, it.clone());
        }
        for it in &changes.backfill_items {
            rows.backfill_items
                .insert((it.backfill, it.number), it.clone());
        }
        rows.journal.extend(changes.journal.iter().cloned());
        for it in &changes.events {
            rows.events.insert(it.seq, it.clone());
        }
        for it in &changes.matches {
            let key = (it.event, it.flow.clone(), it.trigger.clone(), it.leaf);
            rows.match_rows.insert(key, it.clone());
            let place = format!("{}/{}", it.flow, it.trigger);
            let outcome = match (it.outcome, it.run, &it.reason) {
                (MatchOutcome::Fired, Some(run), _) => format!("fired run {run}"),
                (outcome, _, Some(reason)) => format!("{outcome}: {reason}"),
                (outcome, _, None) => outcome.to_string(),
            };
            rows.matches.insert((it.event, place, it.leaf), outcome);
        }
    }

    fn clock(&self) -> String {
        let since = self.now - self.dawn;
        format!("+{}s", since.as_secs_f64())
    }

    fn line(&self, entry: &JournalEntry) -> String {
        let body: Value = serde_json::from_str(&entry.body).expect("JSON");
        let run = entry.run.map(|it| it.to_string()).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let subject = match entry.kind.split('.').next() {
            Some("task") => format!("{run}/{}", text("task")),
            Some("scope") if text("path").is_empty() => format!("{run}/{}", text("scope")),
            Some("scope") => format!("{run}/{}[{}]", text("scope"), text("path")),
            Some("run") => run,
            Some("backfill") => body["id"].to_string(),
            Some("backfill_item") => {
                format!("{}:{} {}", body["backfill"], body["number"], entry.flow)
            }
            Some("occurrence") => format!("{} {}", entry.flow, text("key")),
            _ => entry.flow.to_string(),
        };
        let reason = serde_json::from_value::<Reason>(body["reason"].clone());
        let reason = reason.map(|it| format!(" ({it})")).unwrap_or_default();
        format!("{} {} {subject}{reason}", self.clock(), entry.kind)
    }
}

pub(crate) fn event(kind: &str, id: &str, data: Value) -> NewEvent {
    NewEvent {
        source: "story".into(),
        id: id.into(),
        kind: kind.into(),
        subject: None,
        time: None,
        data,
    }
}

pub(crate) fn explained(all: &[dalsegno_scheduler::Explanation]) -> String {
    let told = all.iter().map(|it| {
        let until = it
            .until
            .map(|at| format!(" until {at}"))
            .unwrap_or_default();
        let cure = it.cure.as_ref().map(|it| format!(" -> {it}"));
        format!(
            "{}: {}{until}{}",
            it.subject,
            it.text,
            cure.unwrap_or_default()
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

fn occurrence_line(it: &OccurrenceRow) -> String {
    let run = it.run.map(|it| format!(" run {it}")).unwrap_or_default();
    let reason = it.reason.as_ref();
    let reason = reason.map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{} {} {}{run}{reason}", it.flow, it.key, it.state)
}

fn told(command: &Command) -> String {
    match command {
        Command::Submit(it) => format!("submit {it}"),
        Command::Watch(it) => format!("watch {it}"),
        Command::Stop(it) => format!("stop {it}"),
        Command::Forget(it) => format!("forget {it}"),
    }
}

// Flows.

/// A flow of these steps; `more` adds or replaces fields of the flow.
pub(crate) fn flow(name: &str, steps: &[Value], more: Value) -> Value {
    let mut flow = json!({ "name": name, "steps": steps });
    merge(&mut flow, more);
    if let Some(run) = flow.get("run").cloned() {
        let mut policy = json!({"strategy": "sequential", "priority": 0});
        merge(&mut policy, run);
        flow["run"] = policy;
    }
    flow
}

/// A step that comes after others; `more` adds or replaces fields of the step.
pub(crate) fn step(name: &str, after: &[&str], more: Value) -> Value {
    let mut step = json!({ "name": name, "after": after, "run": { "shell": name } });
    merge(&mut step, more);
    step
}

/// Retries with a backoff of 1 s doubling to 300 s, without jitter.
pub(crate) fn retry(times: u32) -> Value {
    json!({"retry": {"times": times, "backoff": {
        "initial": 1_000_000, "max": 300_000_000, "multiplier_percent": 200, "jitter_percent": 0,
    }}})
}

fn merge(into: &mut Value, more: Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else {
        panic!("objects are merged");
    };
    into.extend(more);
}
