//! The loop: what is due next happens, until the days are over.

use super::ends::{Ends, Past, place_of};
use super::facts;
use super::report::{Ledger, Week};
use super::{Options, Start};
use dalsegno_scheduler::{
    AttemptId, Command, ExecutorKind, Input, Outcome, Report, RunId, Scheduler, Span, Timestamp,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// After so many decisions the days end early, and the report says so.
pub const DECISIONS_MAX: u64 = 5_000_000;

/// Something that an executor will say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// Only of attempts that will run out of time: the core counts from there.
    Started,
    Stopped,
    Ended,
}

struct World<'a> {
    core: Scheduler,
    now: Timestamp,
    ends: Ends<'a>,
    /// When, in the order in which they were made, of which attempt.
    mail: BinaryHeap<Reverse<(Timestamp, u64, AttemptId, Word)>>,
    sent: u64,
    ledger: Ledger,
    places: BTreeMap<RunId, String>,
    /// The runs below this number were there at the beginning.
    first_new: u64,
}

/// Plays the days. The same arguments give the same report, byte for byte.
pub fn simulate(start: Start, past: &Past, options: &Options) -> Week {
    let first_new = start.rows.last_run + 1;
    let core = Scheduler::recover(start.config, start.rows);
    let mut world = World {
        ledger: Ledger::new(&core, options),
        core,
        now: options.from,
        ends: Ends::new(past, options),
        mail: BinaryHeap::new(),
        sent: 0,
        places: BTreeMap::new(),
        first_new,
    };
    let runs: Vec<_> = world.core.runs().cloned().collect();
    runs.iter().for_each(|it| world.ledger.run(it));
    let mut inputs = Vec::new();
    inputs.extend(start.removed.into_iter().map(|flow| Input::Remove { flow }));
    inputs.extend(start.flows.into_iter().map(|it| Input::Deploy {
        flow: it.flow,
        version: it.version,
        source: "".into(),
        file: it.file,
    }));
    // What was under way goes on.
    let commands = world.core.commands();
    world.obey(&commands);
    world.decide(inputs);
    let mut decisions = 0;
    let mut stopped = None;
    while let Some(at) = world.next().filter(|it| *it <= options.until) {
        world.now = world.now.max(at);
        let words = world.arrived();
        world.decide(words);
        decisions += 1;
        if decisions == DECISIONS_MAX {
            stopped = Some(world.now);
            break;
        }
    }
    let (facts, unknowable) = facts::gather(&world.core, &world.ends, options);
    let until = stopped.unwrap_or(options.until);
    world.ledger.leave_out(&unknowable);
    world.ledger.report(&world.core, until, stopped, facts)
}

impl World<'_> {
    fn next(&self) -> Option<Timestamp> {
        let mail = self.mail.peek().map(|Reverse((at, ..))| *at);
        [mail, self.core.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What executors say by now.
    fn arrived(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        while let Some(Reverse((at, ..))) = self.mail.peek()
            && *at <= self.now
        {
            let Some(Reverse((at, _, attempt, word))) = self.mail.pop() else {
                break;
            };
            let report = match word {
                Word::Started => Report::Started {
                    external_id: "simulated".into(),
                    at,
                },
                Word::Stopped => Report::Ended {
                    outcome: Outcome::Stopped,
                    started_at: None,
                    at,
                },
                Word::Ended => {
                    let Some(flow) = self.core.flow_of(attempt.run) else {
                        continue;
                    };
                    let Some(step) = flow.step(attempt.task.step.as_str()) else {
                        continue;
                    };
                    let success = self.ends.success(flow, step);
                    Report::Ended {
                        outcome: Outcome::Succeeded(success),
                        started_at: None,
                        at,
                    }
                }
            };
            inputs.push(Input::Report { attempt, report });
        }
        inputs
    }

    fn decide(&mut self, inputs: Vec<Input>) {
        let mut draft = self.core.draft(self.now);
        for input in inputs {
            // A report of an attempt that is over, or a flow that does not fit: nothing follows.
            if let Err(refused) = draft.decide(input.clone()) {
                self.ledger.refused(&input, &refused);
            }
        }
        draft.decide(Input::Tick).expect("time may always pass");
        let decision = draft.finish();
        self.ledger.take(&decision.changes, self.now);
        for row in &decision.changes.slas {
            let place = row.run.map(|it| self.place(it)).filter(|it| !it.is_empty());
            self.ledger.breach(row, place);
        }
        let commands = decision.commands.clone();
        self.core.install(decision);
        self.obey(&commands);
        self.ledger.measure(&self.core, self.now);
    }

    fn obey(&mut self, commands: &[Command]) {
        for command in commands {
            match command {
                Command::Submit(attempt) => self.begin(attempt, None),
                Command::Watch(attempt) => {
                    let task = self.core.task(attempt.run, &attempt.task);
                    let since = task.and_then(|it| it.submitted_at).unwrap_or(self.now);
                    self.begin(attempt, Some(self.now - since));
                }
                Command::Stop(attempt) => self.send(self.now, attempt, Word::Stopped),
                Command::Forget(_) => {}
            }
        }
    }

    fn begin(&mut self, attempt: &AttemptId, elapsed: Option<Span>) {
        let Some(flow) = self.core.flow_of(attempt.run).cloned() else {
            return;
        };
        let Some(step) = flow.step(attempt.task.step.as_str()) else {
            return;
        };
        let place = self.place(attempt.run);
        let takes = self
            .ends
            .takes(flow.name(), step, attempt, &place, self.now, elapsed);
        let left = Span((takes.0 - elapsed.unwrap_or_default().0).max(0));
        let timed = step
            .timeout
            .is_some_and(|it| it < takes && step.executor() != ExecutorKind::StepFunctions);
        if timed && elapsed.is_none() {
            self.send(self.now, attempt, Word::Started);
        }
        self.send(self.now + left, attempt, Word::Ended);
    }

    fn place(&mut self, run: RunId) -> String {
        if let Some(known) = self.places.get(&run) {
            return known.clone();
        }
        let Some(row) = self.core.run(run) else {
            return String::new();
        };
        let before = self.ledger.runs_before(&row.flow);
        let place = place_of(&row.occurrence, before, run, run.0 < self.first_new);
        self.places.insert(run, place.clone());
        place
    }

    fn send(&mut self, at: Timestamp, attempt: &AttemptId, word: Word) {
        self.sent += 1;
        let mail = (at, self.sent, attempt.clone(), word);
        self.mail.push(Reverse(mail));
    }
}
