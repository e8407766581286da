//! The executor of the world: it does what it is asked, forgets, and its reports travel badly.

use crate::inputs;
use crate::rng::Rng;
use dalsegno_scheduler::metaflow::{MetaflowTask, output, task_id};
use dalsegno_scheduler::spec::Route;
use dalsegno_scheduler::{
    AttemptId, Command, ExecutorKind, News, NodeKind, Outcome, Reason, RemoteTask, Report,
    Scheduler, Span, StepName, Success, Timestamp,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A report on its way to us.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) due: Timestamp,
    pub(crate) attempt: AttemptId,
    pub(crate) report: Report,
}

/// What the executor knows of an attempt.
#[derive(Clone, Debug)]
struct Process {
    started_at: Timestamp,
    ends_at: Timestamp,
    outcome: Outcome,
}

#[derive(Debug, Default)]
pub(crate) struct Executor {
    processes: BTreeMap<AttemptId, Process>,
    pub(crate) mail: Vec<Mail>,
    /// Attempts that were ever started, and those that it was told to forget.
    pub(crate) asked: BTreeSet<AttemptId>,
    forgotten: BTreeSet<AttemptId>,
    /// Whose name in Metaflow this is.
    names: BTreeMap<String, AttemptId>,
    /// Who has this place in the array of that attempt, and how large it is.
    places: BTreeMap<(AttemptId, u32), (AttemptId, u32)>,
    /// Jobs that were made elsewhere, where nothing is forgotten: never two of one attempt.
    jobs: BTreeSet<AttemptId>,
    /// From now on nothing fails, is lost or forgotten.
    pub(crate) kind: bool,
}

impl Executor {
    /// Takes the commands of a decision, or those that a recovery derived.
    pub(crate) fn take(
        &mut self,
        rng: &mut Rng,
        core: &Scheduler,
        now: Timestamp,
        commands: &[Command],
    ) {
        for command in commands {
            // One that was to start and to stop in the same commit is only to be stopped after a crash.
            if let Command::Submit(attempt) | Command::Watch(attempt) | Command::Stop(attempt) =
                command
            {
                self.asked.insert(attempt.clone());
            }
            // A command that is lost is derived again at the next start.
            if !self.kind && rng.chance(5) {
                continue;
            }
            match command {
                Command::Submit(attempt) => self.submit(rng, core, now, attempt),
                Command::Watch(attempt) => match self.processes.get(attempt).cloned() {
                    Some(process) => self.tell(rng, now, attempt, &process),
                    None => self.send(rng, now, attempt, lost(now)),
                },
                Command::Stop(attempt) => self.stop(rng, now, attempt),
                Command::Forget(attempt) => {
                    self.processes.remove(attempt);
                    self.forgotten.insert(attempt.clone());
                }
            }
        }
    }

    fn submit(&mut self, rng: &mut Rng, core: &Scheduler, now: Timestamp, attempt: &AttemptId) {
        assert!(
            !self.forgotten.contains(attempt),
            "{attempt} is asked for again after its end was durable"
        );
        if let Some(process) = self.processes.get(attempt).cloned() {
            return self.tell(rng, now, attempt, &process);
        }
        if !self.kind && rng.chance(5) {
            return self.send(rng, now, attempt, Report::Unknown);
        }
        let mut remote = None;
        let outcome = match core.submission(attempt) {
            None => return,
            Some(Err(error)) => Outcome::Failed(Reason::NotStarted {
                message: error.to_string(),
            }),
            Some(Ok(submission)) => {
                assert_eq!(submission.attempt, *attempt);
                if let Some(task) = submission.metaflow {
                    inputs::check(core, attempt, &task);
                    self.note_name(attempt, &task);
                }
                remote = submission.remote;
                self.fate(rng, core, attempt)
            }
        };
        if let Some(remote) = &remote {
            self.accept(rng, now, attempt, remote);
        }
        let process = Process {
            started_at: now + Span::from_millis(rng.below(3_000) as i64),
            ends_at: now + Span::from_millis(3_000 + rng.below(30_000) as i64),
            outcome,
        };
        self.tell(rng, now, attempt, &process);
        self.processes.insert(attempt.clone(), process);
    }

    /// A job is made, and told of before it runs.
    fn accept(&mut self, rng: &mut Rng, now: Timestamp, attempt: &AttemptId, remote: &RemoteTask) {
        assert!(
            self.jobs.insert(attempt.clone()),
            "{attempt} becomes a second job"
        );
        if let Some(at) = &remote.array {
            assert!(
                at.index < at.size && (2..=10_000).contains(&at.size),
                "{attempt} has place {at:?}"
            );
            let (run, step) = (at.first.run, &at.first.task.step);
            assert_eq!((run, step), (attempt.run, &attempt.task.step));
            let place = (at.first.clone(), at.index);
            let own = (attempt.clone(), at.size);
            let first = self.places.insert(place, own);
            assert!(first.is_none(), "{attempt} has the place of {first:?}");
            let mut others = self.places.range((at.first.clone(), 0)..);
            let other = others.next().expect("its own place");
            let same = other.0.0 == at.first && other.1.1 == at.size;
            assert!(same, "the array of {} has two sizes", at.first);
        }
        if remote.spec.executor == ExecutorKind::StepFunctions {
            let execution = remote.execution.as_ref().expect("an execution's task");
            let done = execution.done.iter().any(|(task, _)| *task == attempt.task);
            assert!(!done, "{attempt} was done before");
        }
        let news = |waiting| {
            Report::News(News {
                external_id: Some(format!("pid-{attempt}").into()),
                log: Some(format!("log-{attempt}").into()),
                waiting: Some(waiting),
                is_wait_over: false,
            })
        };
        let state = |state: &str| Reason::JobWaits {
            queue: "q".into(),
            state: state.into(),
            since: now,
            message: String::new(),
        };
        self.send(rng, now, attempt, news(state("SUBMITTED")));
        self.send(rng, now, attempt, news(state("RUNNABLE")));
    }

    /// No two attempts have one name in Metaflow, and none has that of a clone.
    fn note_name(&mut self, attempt: &AttemptId, task: &MetaflowTask) {
        let path = format!("{}/{}", task.name, task.task_id);
        let cloned = task.origin.iter().any(|it| it.tasks.contains(&path));
        assert!(!cloned, "{attempt} has the name of a clone, {path}");
        assert!(
            task.retry_count < 6,
            "{attempt} is {path} for the {}th time",
            task.retry_count
        );
        let name = format!("{}/{path}/{}", task.run_id, task.retry_count);
        let first = self
            .names
            .entry(name.clone())
            .or_insert_with(|| attempt.clone());
        assert_eq!(first, attempt, "both are {name}");
    }

    /// How a process will end.
    fn fate(&self, rng: &mut Rng, core: &Scheduler, attempt: &AttemptId) -> Outcome {
        let text = || "not now".to_owned();
        if !self.kind {
            match rng.below(100) {
                0..20 => return Outcome::Failed(Reason::Exit { status: 1 }),
                20..23 => return Outcome::Failed(Reason::DoNotRetry { status: 202 }),
                23..26 => return Outcome::Lost("its host went away".to_owned()),
                26..28 => return Outcome::Stopped,
                28..30 => return Outcome::Failed(Reason::Network { message: text() }),
                30..32 => return Outcome::Failed(Reason::Throttled { message: text() }),
                32..34 => return Outcome::Failed(Reason::Capacity { message: text() }),
                34..38 => {
                    let limit_bytes = Some(1 << 29);
                    return Outcome::Failed(Reason::OutOfMemory { limit_bytes });
                }
                38..40 => {
                    let message = "connection refused".to_owned();
                    return Outcome::Failed(Reason::UserError { message });
                }
                _ => {}
            }
        }
        if let Some(success) = metaflow_success(rng, core, attempt) {
            return Outcome::Succeeded(success);
        }
        let items: Vec<u64> = (0..rng.below(4)).collect();
        let outputs = [
            ("n".to_owned(), json!(rng.below(4))),
            ("items".to_owned(), json!(items)),
        ];
        Outcome::Succeeded(Success {
            outputs: outputs.into_iter().collect(),
            chosen: choice(rng, core, attempt),
            splits: Some(rng.below(4) as u32),
        })
    }

    fn stop(&mut self, rng: &mut Rng, now: Timestamp, attempt: &AttemptId) {
        let Some(process) = self.processes.get_mut(attempt) else {
            return self.send(rng, now, attempt, lost(now));
        };
        if process.ends_at > now {
            // It may still end by itself within its grace.
            let grace = now + Span::from_millis(rng.below(10_000) as i64);
            if grace < process.ends_at {
                process.ends_at = grace;
                process.outcome = Outcome::Stopped;
            }
        }
        let process = process.clone();
        self.tell(rng, now, attempt, &process);
    }

    fn tell(&mut self, rng: &mut Rng, now: Timestamp, attempt: &AttemptId, process: &Process) {
        let started = Report::Started {
            external_id: format!("pid-{attempt}").into(),
            at: process.started_at,
        };
        let ended = Report::Ended {
            outcome: process.outcome.clone(),
            started_at: Some(process.started_at),
            at: process.ends_at,
        };
        self.send(rng, now.max(process.started_at), attempt, started);
        self.send(rng, now.max(process.ends_at), attempt, ended);
    }

    /// Reports are late, out of order, doubled or lost.
    fn send(&mut self, rng: &mut Rng, at: Timestamp, attempt: &AttemptId, report: Report) {
        let copies = match rng.below(100) {
            _ if self.kind => 1,
            0..7 => 0,
            7..17 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.mail.push(Mail {
                due: at + Span::from_millis(rng.below(5_000) as i64),
                attempt: attempt.clone(),
                report: report.clone(),
            });
        }
    }

    /// One report that has arrived, if any.
    pub(crate) fn arrived(&mut self, rng: &mut Rng, now: Timestamp) -> Option<Mail> {
        let due: Vec<usize> = (0..self.mail.len())
            .filter(|it| self.mail[*it].due <= now)
            .collect();
        if due.is_empty() {
            return None;
        }
        let place = *rng.pick(&due);
        let mail = self.mail.swap_remove(place);
        // A stopped process ends otherwise than was told: what is told is what is true now.
        if let (Report::Ended { outcome, at, .. }, Some(process)) =
            (&mail.report, self.processes.get(&mail.attempt))
            && (*outcome != process.outcome || *at != process.ends_at)
        {
            return self.arrived(rng, now);
        }
        Some(mail)
    }

    /// When the next report arrives.
    pub(crate) fn next_mail(&self) -> Option<Timestamp> {
        self.mail.iter().map(|it| it.due).min()
    }

    /// Loses all memory of some attempts, running or ended.
    pub(crate) fn forget_some(&mut self, rng: &mut Rng) {
        let jobs = &self.jobs;
        self.processes
            .retain(|attempt, _| jobs.contains(attempt) || !rng.chance(30));
    }

    /// What has not happened yet will go well.
    pub(crate) fn heal(&mut self, rng: &mut Rng, core: &Scheduler, now: Timestamp) {
        self.kind = true;
        self.mail.clear();
        let running: Vec<AttemptId> = self
            .processes
            .iter()
            .filter(|(_, it)| it.ends_at > now && it.outcome != Outcome::Stopped)
            .map(|(attempt, _)| attempt.clone())
            .collect();
        for attempt in running {
            let outcome = self.fate(rng, core, &attempt);
            if let Some(process) = self.processes.get_mut(&attempt) {
                process.outcome = outcome;
            }
        }
    }
}

fn lost(at: Timestamp) -> Report {
    Report::Ended {
        outcome: Outcome::Lost("nobody knows of it".to_owned()),
        started_at: None,
        at,
    }
}

/// Some of a switch's successors; itself at most twice.
fn choice(rng: &mut Rng, core: &Scheduler, attempt: &AttemptId) -> Option<Vec<StepName>> {
    let flow = core.flow_of(attempt.run)?;
    let node = flow.node(flow.step_node(attempt.task.step.as_str())?);
    let NodeKind::Step(_) = node.kind else {
        return None;
    };
    if node.recursive && attempt.task.iteration < 2 && rng.chance(50) {
        return Some(vec![node.name.clone()]);
    }
    let mut names: Vec<StepName> = node
        .successors
        .iter()
        .map(|it| flow.node(*it).name.clone())
        .collect();
    names.dedup();
    let first = (!names.is_empty()).then(|| rng.pick(&names).clone());
    names.retain(|_| rng.chance(40));
    if let Some(first) = first.filter(|it| !names.contains(it)) {
        names.push(first);
    }
    Some(names)
}

/// What a Metaflow task gives: where it goes on to, how many items follow, and who its gang was.
fn metaflow_success(rng: &mut Rng, core: &Scheduler, attempt: &AttemptId) -> Option<Success> {
    let flow = core.flow_of(attempt.run)?;
    flow.metaflow()?;
    let name = &attempt.task.step;
    let (spec, step) = (flow.step(name.as_str())?, inputs::step_of(flow, name));
    let mut success = Success::default();
    if spec.route == Route::Switch {
        let itself = step.next.contains(name);
        let again = itself && attempt.task.iteration < 2 && rng.chance(50);
        let others: Vec<&StepName> = step.next.iter().filter(|it| *it != name).collect();
        let chosen = if again { name } else { *rng.pick(&others) };
        success.chosen = Some(vec![chosen.clone()]);
    }
    if flow.scope(&format!("{name}-foreach")).is_some() {
        let gang = inputs::step_of(flow, &step.next[0]).parallel;
        success.splits = Some(if gang { 1 } else { 1 + rng.below(3) as u32 });
        let (key, value) = match gang {
            true => (output::NUM_PARALLEL, json!(2)),
            false => (output::LABELS, json!(["a", "b"])),
        };
        success.outputs.insert(key.to_owned(), value);
    }
    if step.parallel {
        let task = core.task(attempt.run, &attempt.task)?;
        let control = format!("R/{name}/{}", task_id(task));
        let members = json!([control, format!("{control}_node_1")]);
        success
            .outputs
            .insert(output::MAPPER_TASKS.to_owned(), members);
    }
    Some(success)
}
