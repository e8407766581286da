//! The world: it turns, breaks, is checked after every step, and at last is healed.

use crate::checks;
use crate::executor::Executor;
use crate::flows::{self, FLOWS_MAX};
use crate::ledger::Ledger;
use crate::people;
use crate::rng::Rng;
use dalsegno_scheduler::row::{BackfillState, RunState, TaskRow, TaskState};
use dalsegno_scheduler::{
    BackfillChange, Config, Decision, Input, Limit, LimitUse, Reason, Rejected, RunId, Scheduler,
    Span, Timestamp, child_run,
};
use dalsegno_store::{CommitError, Fault, Lease, MemoryStore};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How long the world is unkind, in steps.
const CHAOS_STEPS: u32 = 100;
/// A healed world that is not at rest after so many steps never will be.
const HEALED_STEPS: u32 = 20_000;
const LEASE: Span = Span::from_secs(15);

/// What a world came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Every input, journal entry and command, in order: the same seed gives the same text.
    pub log: String,
    pub decisions: u64,
    pub runs: u64,
}

/// Plays the world of one seed to its end.
///
/// # Panics
/// When something happens that must not, with a sentence that tells what.
pub fn simulate(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    for _ in 0..CHAOS_STEPS {
        world.turn();
    }
    world.heal();
    world.check_ends();
    Outcome {
        log: std::mem::take(&mut world.log),
        decisions: world.decisions,
        runs: world.ledger.rows.runs.len() as u64,
    }
}

struct World {
    seed: u64,
    step: u32,
    rng: Rng,
    now: Timestamp,
    config: Config,
    store: MemoryStore,
    lease: Lease,
    /// How many instances there have been.
    instances: u32,
    core: Scheduler,
    executor: Executor,
    ledger: Ledger,
    flows: u64,
    limits: Vec<LimitUse>,
    /// How the next commit fails.
    fault: Option<Fault>,
    healed_at: Option<Timestamp>,
    decisions: u64,
    log: String,
}

/// A panic names its world.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last: Vec<&str> = self.log.lines().rev().take(12).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!(
                "seed {}, step {}, after\n{}",
                self.seed,
                self.step,
                last.join("\n")
            );
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let now = Timestamp::from_secs(1_790_000_000 + rng.below(400 * 86_400) as i64);
        let config = Config {
            max_tasks: 2 + rng.below(6) as u32,
            max_remote_tasks: 2 + rng.below(6) as u32,
            pools: [("p", 3), ("q", 1), ("r", 2)]
                .map(|(name, slots)| (name.into(), slots))
                .into(),
            ..Config::default()
        };
        let store = MemoryStore::new();
        let lease = store
            .take_lease_sync("instance 0", now, LEASE)
            .expect("nobody holds it");
        let core = Scheduler::recover(config.clone(), store.load_sync());
        let mut world = Self {
            seed,
            step: 0,
            now,
            config,
            store,
            lease,
            instances: 1,
            core,
            executor: Executor::default(),
            ledger: Ledger::default(),
            flows: 1 + rng.below(FLOWS_MAX),
            limits: Vec::new(),
            fault: None,
            healed_at: None,
            decisions: 0,
            log: String::new(),
            rng,
        };
        for number in 0..world.flows {
            let file = flows::random(&mut world.rng, number);
            world.decide(vec![people::deploy(file)]);
        }
        world
    }

    /// One unkind step.
    fn turn(&mut self) {
        match self.rng.below(1_000) {
            // The clock stands, runs, or jumps.
            0..250 => {}
            250..985 => self.now = self.now + Span::from_millis(self.rng.below(12_000) as i64),
            _ => self.now = self.now + Span::from_mins(self.rng.below(240) as i64),
        }
        if self.rng.chance(2) {
            self.executor.forget_some(&mut self.rng);
        }
        if self.rng.chance(3) {
            self.hand_over();
        }
        let mut inputs = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let input = if self.rng.chance(25) {
                people::press(
                    &mut self.rng,
                    &self.core,
                    &self.ledger,
                    self.now,
                    self.flows,
                )
            } else if let Some(mail) = self.executor.arrived(&mut self.rng, self.now) {
                Input::Report {
                    attempt: mail.attempt,
                    report: mail.report,
                }
            } else {
                Input::Tick
            };
            inputs.push(input);
        }
        if self.rng.chance(10) {
            let fault = [
                Fault::Refused,
                Fault::DiskFull,
                Fault::LostBefore,
                Fault::LostAfter,
                Fault::LeaseTaken,
            ];
            self.fault = Some(*self.rng.pick(&fault));
        }
        self.decide(inputs);
        if self.rng.chance(3) {
            self.restart();
        }
    }

    /// Decides, commits, installs and dispatches; as the engine does.
    fn decide(&mut self, mut inputs: Vec<Input>) {
        self.step += 1;
        for input in &inputs {
            if let Input::Deploy { flow, .. } = input {
                // Its runs may be more than its new strategy allows.
                let limit = Limit::Flow(flow.name().clone());
                self.limits.retain(|it| it.limit != limit);
                self.limits.push(LimitUse {
                    limit,
                    capacity: 0,
                    used: u32::MAX,
                    waiting: 0,
                });
            }
        }
        let mut claims = BTreeSet::new();
        inputs.retain(|it| it.claim().is_none_or(|claim| claims.insert(claim)));
        loop {
            let (decision, refused) = self.draft(&inputs);
            let fault = self.fault.take();
            if let Some(fault) = fault {
                self.store.fail_next(fault);
            }
            match self.store.commit_sync(&self.lease, &decision.changes) {
                Ok(()) => {
                    self.note(&inputs, &refused, &decision);
                    self.ledger.take(&decision.changes, &inputs);
                    let commands = decision.commands.clone();
                    self.core.install(decision);
                    self.executor
                        .take(&mut self.rng, &self.core, self.now, &commands);
                    break;
                }
                Err(CommitError::Duplicate(used)) => {
                    // Those callers get the answer of the first request.
                    let used: BTreeSet<String> = used.into_iter().map(|it| it.key).collect();
                    inputs.retain(|it| it.claim().is_none_or(|claim| !used.contains(&claim)));
                }
                Err(CommitError::LostLease) => {
                    writeln!(self.log, "the lease was lost").expect("a string grows");
                    return self.restart();
                }
                Err(CommitError::Unknown(_)) => {
                    if fault == Some(Fault::LostAfter) {
                        self.note(&inputs, &refused, &decision);
                        self.ledger.take(&decision.changes, &inputs);
                    }
                    return self.restart();
                }
                // Nothing was written, nothing is installed: it never was.
                Err(CommitError::Full(_) | CommitError::Db(_)) => return,
            }
        }
        self.check();
    }

    fn draft(&self, inputs: &[Input]) -> (Decision, Vec<Rejected>) {
        let mut draft = self.core.draft(self.now);
        let mut refused = Vec::new();
        for input in inputs {
            if let Err(why) = draft.decide(input.clone()) {
                refused.push(why);
            }
        }
        // Time passes too.
        draft.decide(Input::Tick).expect("time may always pass");
        (draft.finish(), refused)
    }

    /// The instance dies; another, or itself, starts from the rows.
    fn restart(&mut self) {
        self.instances += 1;
        let name = format!("instance {}", self.instances);
        // The old lease has run out by then, as far as the new one can tell.
        let later = self.now.max(self.lease.expires_at);
        self.lease = self
            .store
            .take_lease_sync(&name, later, LEASE)
            .expect("the old lease has run out");
        self.core = Scheduler::recover(self.config.clone(), self.store.load_sync());
        writeln!(self.log, "{} {name} starts", self.now).expect("a string grows");
        let commands = self.core.commands();
        self.executor
            .take(&mut self.rng, &self.core, self.now, &commands);
        self.decide(vec![Input::Tick]);
    }

    /// A second instance takes over while the first still believes that it leads.
    fn hand_over(&mut self) {
        let stale = (self.lease.clone(), self.core.clone());
        self.restart();
        let (lease, core) = stale;
        let mut draft = core.draft(self.now);
        let input = people::press(&mut self.rng, &core, &self.ledger, self.now, self.flows);
        // Whatever it decides, it does not count.
        let _ = draft.decide(input);
        let changes = draft.finish().changes;
        let refused = self.store.commit_sync(&lease, &changes);
        assert!(
            matches!(refused, Err(CommitError::LostLease)),
            "a stale leader has written: {refused:?}"
        );
    }

    fn check(&mut self) {
        checks::check(
            &self.core,
            &self.config,
            &self.executor,
            &self.limits,
            self.now,
        );
        self.limits = self.core.limits();
        // Most of the cost: all rows are read back, and all flows parsed again.
        if self.rng.chance(6) {
            let rows = self.store.load_sync();
            self.ledger.check_whole(&rows);
            let recovered = Scheduler::recover(self.config.clone(), rows);
            checks::check_recovered(&self.core, recovered, self.now);
        }
    }

    /// From here on everything goes well, nobody presses anything, and all runs must end.
    fn heal(&mut self) {
        let at = self.now;
        self.healed_at = Some(at);
        self.executor.heal(&mut self.rng, &self.core, at);
        self.restart();
        writeln!(self.log, "{at} the world is healed").expect("a string grows");
        for number in 0..self.flows {
            let flow = || flows::name(number).as_str().into();
            let by = || "ada".to_owned();
            self.decide(vec![Input::Unpause {
                flow: flow(),
                by: by(),
                catch_up: Default::default(),
            }]);
            self.decide(vec![Input::Pause {
                flow: flow(),
                by: by(),
                reason: None,
            }]);
        }
        self.change_backfills(BackfillChange::Resume);
        for _ in 0..HEALED_STEPS {
            if self.core.runs().next().is_none() {
                break;
            }
            if let Some(mail) = self.executor.arrived(&mut self.rng, self.now) {
                self.decide(vec![Input::Report {
                    attempt: mail.attempt,
                    report: mail.report,
                }]);
                continue;
            }
            let blocked: Vec<Input> = self
                .core
                .flows()
                .filter(|it| it.row.blocked_by.is_some())
                .flat_map(|it| {
                    let (flow, by) = (it.row.name.clone(), "ada".to_owned());
                    let pause = Input::Pause {
                        flow: flow.clone(),
                        by: by.clone(),
                        reason: None,
                    };
                    [
                        Input::Unpause {
                            flow,
                            by,
                            catch_up: Default::default(),
                        },
                        pause,
                    ]
                })
                .collect();
            if !blocked.is_empty() {
                self.decide(blocked);
                continue;
            }
            let next = [self.executor.next_mail(), self.core.next_deadline()];
            let next = next.into_iter().flatten().min();
            self.now = self
                .now
                .max(next.expect("unfinished runs wait for something"));
            self.decide(vec![Input::Tick]);
        }
        let open: Vec<RunId> = self.core.runs().map(|it| it.id).collect();
        assert!(open.is_empty(), "runs {open:?} do not end");
        // What is left waits for a person: its flow is gone, or has another schedule.
        for it in self.core.backfills() {
            let (state, reason) = (it.row.state, &it.row.reason);
            let waits = state == BackfillState::Paused && reason.is_some();
            assert!(waits, "backfill {} is {state}: {reason:?}", it.row.id);
        }
        self.change_backfills(BackfillChange::Cancel);
        let open = self.core.backfills();
        assert!(open.is_empty(), "backfills do not end: {open:?}");
    }

    fn change_backfills(&mut self, change: BackfillChange) {
        for it in self.core.backfills() {
            self.decide(vec![Input::ChangeBackfill {
                backfill: it.row.id,
                change,
                by: "ada".to_owned(),
            }]);
        }
    }

    /// A run that did not succeed has a cause from before the world was healed.
    fn check_ends(&mut self) {
        let healed_at = self.healed_at.expect("healed");
        self.ledger.check_whole(&self.store.load_sync());
        for run in self.ledger.rows.runs.values() {
            assert!(run.state.is_terminal(), "run {} is {}", run.id, run.state);
            if run.state == RunState::Succeeded || run.finished_at < Some(healed_at) {
                continue;
            }
            let by_decree = match run.reason.as_ref().expect("it has a reason") {
                Reason::CancelledBy { .. }
                | Reason::ReplacedBy { .. }
                | Reason::ParentStopped { .. }
                | Reason::TaskNotReached { .. } => true,
                Reason::RunTimeout { .. } => run.started_at <= Some(healed_at),
                _ => false,
            };
            let of_run = |it: &&RunId| **it == run.id;
            let own_fault = |reason: &Reason| {
                matches!(
                    reason,
                    Reason::Expression { .. }
                        | Reason::BadOutput { .. }
                        | Reason::NotStarted { .. }
                        | Reason::SubFlow { .. }
                        | Reason::SubFlowRefused { .. }
                        | Reason::SubFlowUnknown { .. }
                        | Reason::BadParams { .. }
                )
            };
            // A run waits for others of its flow as long as they take.
            let waited_too_long = |task: &TaskRow| {
                let child = task.external_id.as_deref().and_then(child_run);
                child.is_some() && matches!(task.reason, Some(Reason::AttemptTimeout { .. }))
            };
            let tasks = self.ledger.rows.tasks.iter();
            let failed_before = tasks.filter(|((id, _), _)| of_run(&id)).any(|(_, it)| {
                it.state == TaskState::Failed
                    && (it.finished_at <= Some(healed_at)
                        || it.reason.as_ref().is_some_and(own_fault)
                        || waited_too_long(it))
            });
            let scopes = self.ledger.rows.scopes.iter();
            let failed_scope = scopes
                .filter(|((id, ..), _)| of_run(&id))
                .any(|(_, it)| it.reason.as_ref().is_some_and(own_fault));
            assert!(
                by_decree || failed_before || failed_scope,
                "run {} is {} for no cause: {:?}",
                run.id,
                run.state,
                run.reason
            );
        }
    }

    fn note(&mut self, inputs: &[Input], refused: &[Rejected], decision: &Decision) {
        self.decisions += 1;
        let log = &mut self.log;
        for input in inputs {
            let told = match input {
                Input::Deploy { flow, version, .. } => format!("Deploy {flow:?} {version}"),
                Input::Rerun(it) => format!("Rerun {} from {:?}", it.snapshot.run.id, it.from),
                Input::Resume(it) => format!("Resume {} from {:?}", it.snapshot.run.id, it.from),
                other => format!("{other:?}"),
            };
            writeln!(log, "{} {told}", self.now).expect("a string grows");
        }
        for it in refused {
            writeln!(log, "  refused: {it}").expect("a string grows");
        }
        for it in &decision.changes.journal {
            writeln!(log, "  {} {}", it.kind, it.body).expect("a string grows");
        }
        for it in &decision.commands {
            writeln!(log, "  > {it:?}").expect("a string grows");
        }
    }
}
