//! All attempts of a keeper, and what is done with them.

use super::attempt::{Attempt, Process};
use super::escaped;
use super::journal::{Ended, Journal, Record};
use super::limit::{LOOK_EVERY, Limit, Limits};
use super::procfs;
use super::protocol::{End, Event, Key, Order};
use super::spawn::spawn;
use dalsegno_engine::clock;
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A start is told this late, because the end of a short attempt tells it as well: one message, not two.
const TELL_START_AFTER: Duration = Duration::from_millis(5);

/// How often to look for children that ended without a word: orphans that a running attempt left to us.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// What every process of one daemon inherits.
pub(crate) type Inherited = Arc<BTreeMap<String, String>>;

pub(crate) struct State {
    dir: PathBuf,
    /// The first part of every mark.
    name: String,
    boot: String,
    journal: Journal,
    limits: Limits,
    attempts: BTreeMap<Key, Attempt>,
    leaders: HashMap<Pid, Key>,
    queue: VecDeque<(Arc<Order>, Inherited)>,
    /// Running attempts for which something is due at some time or when any child ends.
    attended: BTreeSet<Key>,
    /// Running attempts whose memory is looked at.
    looked: BTreeSet<Key>,
    untold: VecDeque<(Instant, Key)>,
    oom_kills_seen: u64,
    /// What daemons have to be told.
    pub(crate) events: Vec<Event>,
}

impl State {
    pub(crate) fn new(
        dir: PathBuf,
        name: String,
        boot: String,
        ends: Vec<Ended>,
    ) -> std::io::Result<Self> {
        let records: Vec<_> = ends.iter().cloned().map(Record::Ended).collect();
        let journal = Journal::begin(&dir, &boot, &records)?;
        let attempts = ends
            .into_iter()
            .map(|ended| (ended.attempt.clone(), Attempt::Ended(ended)))
            .collect();
        Ok(Self {
            dir,
            name,
            boot,
            journal,
            limits: Limits::find(),
            attempts,
            leaders: HashMap::new(),
            queue: VecDeque::new(),
            attended: BTreeSet::new(),
            looked: BTreeSet::new(),
            untold: VecDeque::new(),
            oom_kills_seen: procfs::oom_kills(),
            events: Vec::new(),
        })
    }

    /// Attempts that run or are about to.
    pub(crate) fn running(&self) -> usize {
        self.leaders.len() + self.attended_dead() + self.queue.len()
    }

    fn attended_dead(&self) -> usize {
        let dead = |key: &&Key| matches!(self.attempts.get(*key), Some(Attempt::Running(it)) if it.status.is_some());
        self.attended.iter().filter(dead).count()
    }

    pub(crate) fn known(&self) -> Vec<Key> {
        self.attempts.keys().cloned().collect()
    }

    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn submit(&mut self, order: Arc<Order>, inherited: Inherited) {
        if self.attempts.contains_key(&order.attempt) {
            return self.watch(order.attempt.clone());
        }
        self.attempts.insert(order.attempt.clone(), Attempt::Queued);
        self.queue.push_back((order, inherited));
    }

    pub(crate) fn watch(&mut self, attempt: Key) {
        let Some(known) = self.attempts.get_mut(&attempt) else {
            return self.events.push(Event::Missing { attempt });
        };
        if let Attempt::Running(process) = known {
            process.is_forgotten = false;
        }
        self.events.extend(known.event(&attempt));
    }

    pub(crate) fn stop(&mut self, attempt: Key, grace: Duration) {
        match self.attempts.get_mut(&attempt) {
            None => self.events.push(Event::Missing { attempt }),
            Some(Attempt::Ended(ended)) => self.events.push(ended.event()),
            Some(Attempt::Running(process)) => {
                process.stop(Instant::now(), grace);
                self.attended.insert(attempt);
            }
            Some(Attempt::Queued) => {
                self.queue.retain(|(order, _)| order.attempt != attempt);
                self.record(never_started(attempt, End::Stopped));
            }
        }
    }

    pub(crate) fn forget(&mut self, attempts: Vec<Key>) {
        let mut records = Vec::new();
        for attempt in attempts {
            match self.attempts.get_mut(&attempt) {
                Some(Attempt::Ended(_)) => {
                    self.attempts.remove(&attempt);
                    records.push(Record::Forgotten(attempt));
                }
                Some(Attempt::Running(process)) => process.is_forgotten = true,
                Some(Attempt::Queued) => {
                    self.queue.retain(|(order, _)| order.attempt != attempt);
                    self.attempts.remove(&attempt);
                }
                None => {}
            }
        }
        self.note(&records);
        if self.journal.is_long() {
            let records: Vec<_> = self
                .attempts
                .iter()
                .filter_map(|(key, it)| it.record(key))
                .collect();
            match Journal::begin(&self.dir, &self.boot, &records) {
                Ok(journal) => self.journal = journal,
                Err(error) => eprintln!("keeper: cannot rewrite the journal: {error}"),
            }
        }
    }

    /// Starts the process whose turn it is.
    pub(crate) fn start_next(&mut self) {
        let Some((order, inherited)) = self.queue.pop_front() else {
            return;
        };
        let attempt = order.attempt.clone();
        // Written before the process exists, so that a process never exists that no keeper knows of.
        if let Err(error) = self.journal.append(&[Record::Asked(attempt.clone())]) {
            let message = format!(
                "cannot write the keeper's journal in {}: {error}",
                self.dir.display()
            );
            return self.record(never_started(attempt, End::NotStarted(message)));
        }
        let limit = order.memory_bytes.map(|it| self.limits.limit(it));
        let group = match &limit {
            Some(Limit::Group(path)) => Some(path.as_path()),
            _ => None,
        };
        let (at, boot_us) = (clock::now(), procfs::boot_us());
        let leader = match spawn(
            &order,
            &inherited,
            &escaped::mark(&self.name, &attempt),
            group,
        ) {
            Ok(leader) => leader,
            Err(message) => {
                return self.record(never_started(attempt, End::NotStarted(message)));
            }
        };
        if matches!(limit, Some(Limit::Looked { .. })) {
            self.looked.insert(attempt.clone());
        }
        let mut process = Process::new(leader, at, boot_us);
        process.limit = limit;
        process.outputs.clone_from(&order.outputs);
        self.note(&[process.record(&attempt)]);
        self.leaders.insert(leader, attempt.clone());
        self.untold
            .push_back((Instant::now() + TELL_START_AFTER, attempt.clone()));
        self.attempts.insert(attempt, Attempt::Running(process));
    }

    /// Takes note of every child that has ended, ours by birth or by adoption.
    pub(crate) fn reap(&mut self) {
        let mut any = false;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            any = true;
            if let Some(attempt) = self.leaders.remove(&pid)
                && let Some(Attempt::Running(process)) = self.attempts.get_mut(&attempt)
            {
                process.status = Some(status);
                self.attended.insert(attempt);
            }
        }
        if any {
            self.attend();
            let (leaders, attempts) = (&self.leaders, &self.attempts);
            escaped::kill_escaped(
                &self.name,
                |pid| leaders.contains_key(&pid),
                |attempt| matches!(attempts.get(attempt), Some(Attempt::Running(_))),
            );
        }
    }

    /// Does all that is due by now.
    pub(crate) fn advance(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.untold.front()
            && *at <= now
        {
            let (_, attempt) = self.untold.pop_front().expect("just seen");
            if let Some(running @ Attempt::Running(_)) = self.attempts.get(&attempt) {
                self.events.extend(running.event(&attempt));
            }
        }
        for attempt in &self.looked {
            if let Some(Attempt::Running(process)) = self.attempts.get_mut(attempt)
                && process.status.is_none()
                && process
                    .limit
                    .as_ref()
                    .is_some_and(|it| it.is_exceeded(process.leader))
            {
                process.over_limit = true;
                procfs::signal_group(process.leader, Signal::KILL);
            }
        }
        self.attend();
    }

    /// When [`Self::advance`] must be called at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let attended = self
            .attended
            .iter()
            .filter_map(|key| match self.attempts.get(key) {
                Some(Attempt::Running(process)) => process.due(now),
                _ => None,
            });
        let untold = self.untold.front().map(|(at, _)| *at);
        let looked = (!self.looked.is_empty()).then_some(now + LOOK_EVERY);
        let reap = (!self.leaders.is_empty()).then_some(now + REAP_EVERY);
        attended.chain(untold).chain(looked).chain(reap).min()
    }

    fn attend(&mut self) {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut idle = Vec::new();
        for key in &self.attended {
            match self.attempts.get_mut(key) {
                Some(Attempt::Running(process)) => {
                    if process.advance(now) {
                        gone.push(key.clone());
                    } else if process.due(now).is_none() {
                        idle.push(key.clone());
                    }
                }
                _ => idle.push(key.clone()),
            }
        }
        for key in idle {
            self.attended.remove(&key);
        }
        for key in gone {
            self.attended.remove(&key);
            self.finish(key);
        }
    }

    fn finish(&mut self, attempt: Key) {
        let Some(Attempt::Running(process)) = self.attempts.get(&attempt) else {
            return;
        };
        let seen = &mut self.oom_kills_seen;
        let end = process.end(|| {
            let kills = procfs::oom_kills();
            std::mem::replace(seen, kills) < kills
        });
        let (started_at, is_forgotten) = (process.started_at, process.is_forgotten);
        let outputs = match end {
            End::Exit(0) => process.outputs.clone(),
            _ => Vec::new(),
        };
        self.looked.remove(&attempt);
        if is_forgotten {
            self.attempts.remove(&attempt);
            self.note(&[Record::Forgotten(attempt)]);
        } else {
            self.record(Ended {
                attempt,
                started_at: Some(started_at),
                at: clock::now(),
                end,
                outputs,
            });
        }
    }

    fn record(&mut self, ended: Ended) {
        self.note(&[Record::Ended(ended.clone())]);
        self.events.push(ended.event());
        self.attempts
            .insert(ended.attempt.clone(), Attempt::Ended(ended));
    }

    /// The disk may be full: what the journal cannot take is still known while this keeper lives.
    fn note(&mut self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.journal.append(records) {
            eprintln!("keeper: cannot write the journal: {error}");
        }
    }
}

fn never_started(attempt: Key, end: End) -> Ended {
    Ended {
        attempt,
        started_at: None,
        at: clock::now(),
        end,
        outputs: Vec::new(),
    }
}
