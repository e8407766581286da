//! All attempts of a keeper, and what is done with them.

use super::attempt::{Attempt, Process, Turn};
use super::escaped;
use super::journal::{Ended, Journal, Record};
use super::limit::{LOOK_EVERY, Limit, Limits};
use super::procfs;
use super::protocol::{End, Event, Key, Order};
use super::queue::Queue;
use super::spawn::{append, note, spawn};
use super::warm::{News, Pool, Refusal, ServerId};
use dalsegno_engine::clock;
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

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
    pool: Pool,
    attempts: BTreeMap<Key, Attempt>,
    leaders: HashMap<Pid, Key>,
    queue: Queue<(Arc<Order>, Inherited)>,
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
        pool: Pool,
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
            pool,
            attempts,
            leaders: HashMap::new(),
            queue: Queue::new(),
            attended: BTreeSet::new(),
            looked: BTreeSet::new(),
            untold: VecDeque::new(),
            oom_kills_seen: procfs::oom_kills(),
            events: Vec::new(),
        })
    }

    /// Attempts that run or are about to.
    pub(crate) fn running(&self) -> usize {
        self.leaders.len() + self.attended_dead() + self.queue.len() + self.pool.turns()
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
        self.queue.push(order.attempt.clone(), (order, inherited));
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
                self.queue.leave(&attempt);
                self.record(never_started(attempt, End::Stopped));
            }
            Some(Attempt::Offered(_)) => {
                self.pool.cancel(&attempt);
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
                    self.queue.leave(&attempt);
                    self.attempts.remove(&attempt);
                }
                Some(Attempt::Offered(_)) => {
                    self.pool.cancel(&attempt);
                    self.attempts.remove(&attempt);
                    records.push(Record::Forgotten(attempt));
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
        let Some((attempt, (order, inherited))) = self.queue.pop() else {
            return;
        };
        // Written before the process exists, so that a process never exists that no keeper knows of.
        if let Err(error) = self.journal.append(&[Record::Asked(attempt.clone())]) {
            let message = format!(
                "cannot write the keeper's journal in {}: {error}",
                self.dir.display()
            );
            return self.record(never_started(attempt, End::NotStarted(message)));
        }
        let limit = order.memory_bytes.map(|it| self.limits.limit(it));
        let turn = Turn {
            order,
            inherited,
            limit,
            deaths: 0,
        };
        self.offer_or_start(turn);
    }

    /// By a warm interpreter, where one will do and works.
    fn offer_or_start(&mut self, turn: Turn) {
        let Some(warm) = turn.order.warm.clone() else {
            return self.start(turn);
        };
        // Its interpreter opens them, and makes no folders.
        let logs = [&turn.order.stdout, &turn.order.stderr];
        if logs.into_iter().any(|it| append(it).is_err()) {
            return self.start(turn);
        }
        let group = group(turn.limit.as_ref()).map(|it| it.join("cgroup.procs"));
        match self.pool.offer(&turn.order, &warm, &turn.inherited, group) {
            Ok(()) => {
                let attempt = turn.order.attempt.clone();
                self.attempts
                    .insert(attempt, Attempt::Offered(Box::new(turn)));
            }
            Err(why) => self.start_instead(turn, &why),
        }
    }

    fn start_instead(&mut self, turn: Turn, why: &str) {
        eprintln!("keeper: {} starts anew: {why}", turn.order.attempt);
        note(
            &turn.order.stderr,
            &format!("dalsegno: {why}; this attempt has an interpreter of its own"),
        );
        self.start(turn);
    }

    /// As a process of its own.
    fn start(&mut self, turn: Turn) {
        let attempt = turn.order.attempt.clone();
        let (at, boot_us) = (clock::now(), procfs::boot_us());
        let leader = match spawn(
            &turn.order,
            &turn.inherited,
            &escaped::mark(&self.name, &attempt),
            group(turn.limit.as_ref()),
        ) {
            Ok(leader) => leader,
            Err(message) => {
                return self.record(never_started(attempt, End::NotStarted(message)));
            }
        };
        let process = Process::new(leader, at, boot_us);
        self.note(&[process.record(&attempt)]);
        self.runs(process, turn);
    }

    fn runs(&mut self, mut process: Process, turn: Turn) {
        let attempt = turn.order.attempt.clone();
        if matches!(turn.limit, Some(Limit::Looked { .. })) {
            self.looked.insert(attempt.clone());
        }
        process.limit = turn.limit;
        process.outputs.clone_from(&turn.order.outputs);
        self.leaders.insert(process.leader, attempt.clone());
        self.untold
            .push_back((Instant::now() + TELL_START_AFTER, attempt.clone()));
        self.attempts.insert(attempt, Attempt::Running(process));
    }

    /// What a warm interpreter has to say.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Ready(server) => self.pool.ready(server),
            News::NotReady(server, why) => {
                let waiting = self.pool.give_up(server, &why);
                self.start_all(waiting, "its warm interpreter did not start");
            }
            News::Offered { attempt, pid, go } => {
                let server = self.pool.answered(&attempt);
                if let (Some(server), Some(turn)) = (server, self.take_turn(&attempt)) {
                    self.go(turn, server, pid, &go);
                }
            }
            News::Refused {
                server,
                attempt,
                why,
            } => {
                let is_awaited = self.pool.answered(&attempt).is_some();
                let turn = self.take_turn(&attempt).filter(|_| is_awaited);
                match why {
                    Refusal::Hangs => {
                        let waiting = self.pool.give_up(server, "it does not answer");
                        self.start_all(waiting, "its warm interpreter does not answer");
                        if let Some(turn) = turn {
                            self.start_instead(turn, "its warm interpreter does not answer");
                        }
                    }
                    Refusal::Died(why) => {
                        if !self.pool.lives(server) {
                            for attempt in self.pool.give_up(server, &why) {
                                if let Some(turn) = self.take_turn(&attempt) {
                                    self.offer_again(turn, "its warm interpreter died");
                                }
                            }
                        }
                        if let Some(turn) = turn {
                            self.offer_again(turn, &format!("its warm interpreter died ({why})"));
                        }
                    }
                    Refusal::Said(why) => {
                        if let Some(turn) = turn {
                            let why = format!("its warm interpreter refused it ({why})");
                            self.start_instead(turn, &why);
                        }
                    }
                }
            }
        }
    }

    /// A process waits for our word. It is noted before it is told to go: what runs is known, to the next
    /// keeper too, and what is not known has done nothing.
    fn go(&mut self, turn: Turn, server: ServerId, pid: Pid, go: &UnixStream) {
        let attempt = turn.order.attempt.clone();
        let Some(stat) = procfs::stat(pid).filter(|it| !it.is_zombie) else {
            return self.offer_again(turn, "its process died before it began");
        };
        let mut process = Process::new(pid, clock::now(), stat.started_boot_us);
        process.server = Some(server);
        if let Err(error) = self.journal.append(&[process.record(&attempt)]) {
            let message = format!(
                "cannot write the keeper's journal in {}: {error}",
                self.dir.display()
            );
            return self.record(never_started(attempt, End::NotStarted(message)));
        }
        self.runs(process, turn);
        // If it is dead by now, its end is told like any other.
        let _ = go.try_write(b"g");
    }

    fn offer_again(&mut self, mut turn: Turn, why: &str) {
        turn.deaths += 1;
        if turn.deaths > 1 {
            return self.start_instead(turn, why);
        }
        self.offer_or_start(turn);
    }

    fn start_all(&mut self, attempts: Vec<Key>, why: &str) {
        for attempt in attempts {
            if let Some(turn) = self.take_turn(&attempt) {
                self.start_instead(turn, why);
            }
        }
    }

    /// Takes an attempt back that was offered and not begun.
    fn take_turn(&mut self, attempt: &Key) -> Option<Turn> {
        if !matches!(self.attempts.get(attempt), Some(Attempt::Offered(_))) {
            return None;
        }
        match self.attempts.insert(attempt.clone(), Attempt::Queued) {
            Some(Attempt::Offered(turn)) => Some(*turn),
            _ => None,
        }
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
                continue;
            }
            for attempt in self.pool.ended(pid) {
                if let Some(turn) = self.take_turn(&attempt) {
                    self.offer_again(turn, "its warm interpreter died");
                }
            }
        }
        if any {
            self.attend();
            let (leaders, attempts, pool) = (&self.leaders, &self.attempts, &self.pool);
            let runs = |attempt: &Attempt, server: ServerId| match attempt {
                Attempt::Running(process) => process.server == Some(server),
                _ => false,
            };
            escaped::kill_escaped(
                &self.name,
                |pid| leaders.contains_key(&pid) || pool.is_server(pid),
                |owner| match escaped::server(owner) {
                    // It may be anybody's whom the server served.
                    Some(server) => {
                        pool.has_offers(server) || attempts.values().any(|it| runs(it, server))
                    }
                    None => matches!(attempts.get(owner), Some(Attempt::Running(_))),
                },
            );
        }
    }

    /// Does all that is due by now.
    pub(crate) fn advance(&mut self) {
        let now = Instant::now();
        let late = self.pool.advance(now);
        self.start_all(late, "its warm interpreter is slow to start");
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
        attended
            .chain(untold)
            .chain(looked)
            .chain(reap)
            .chain(self.pool.due())
            .min()
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

/// The control group that a process has to be in.
fn group(limit: Option<&Limit>) -> Option<&Path> {
    match limit {
        Some(Limit::Group(path)) => Some(path),
        _ => None,
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
