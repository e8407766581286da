//! Telling a receiver of lineage about our own runs: from the journal, in its order, each at least once.

use super::config::Emission;
use super::post::{Later, Posted, Poster};
use super::run_event::{Named, Transition, parent_of, run_event};
use crate::asking::{leads, leads_no_more, refusal};
use crate::backoff::Backoff;
use crate::status::{Condition, Source, SourceKind, SourceState, Sources};
use dalsegno_engine::EngineHandle;
use dalsegno_scheduler::row::{JournalEntry, RunRow};
use dalsegno_scheduler::{RunId, Timestamp};
use dalsegno_store::JournalFilter;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Under which name the store keeps how far we have come in the journal.
const POSITION: &str = "openlineage";

/// How many journal entries are read at once.
const ENTRIES_AT_ONCE: usize = 500;

/// How often the position is written at most; after a crash what was told in the last such time is told again.
const POSITION_EVERY: Duration = Duration::from_secs(1);

/// Between tries while the receiver or the database is away.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Tells of every run that starts and ends from now on, and after a restart of all that was not told before. Only the
/// instance that decides does so.
///
/// # Errors
/// When the system has no thread left.
pub fn emit(
    engine: EngineHandle,
    emission: Emission,
    sources: &Sources,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let now = engine.now();
    let (name, url) = (emission.namespace.clone(), emission.url.clone());
    let poster = Poster::start(emission.url, emission.key, emission.timeout)?;
    let status = sources.register(SourceKind::LineageReceiver, name, url, now);
    let teller = Teller {
        engine,
        namespace: emission.namespace,
        poster,
        status,
        stop,
        told: BTreeMap::new(),
        at: 0,
        saved: 0,
        saved_when: Instant::now(),
    };
    Ok(tokio::spawn(teller.run()))
}

struct Teller {
    engine: EngineHandle,
    namespace: String,
    poster: Poster,
    status: Source,
    stop: CancellationToken,
    /// Runs of which the beginning was told, and not yet the end.
    told: BTreeMap<RunId, Named>,
    /// The last journal entry that is done with.
    at: u64,
    /// The one that the store knows of.
    saved: u64,
    saved_when: Instant,
}

impl Teller {
    async fn run(mut self) {
        while leads(&self.engine, &self.stop).await {
            let (engine, stop) = (self.engine.clone(), self.stop.clone());
            tokio::select! {
                () = self.follow() => {}
                () = leads_no_more(&engine) => {}
                () = stop.cancelled() => {}
            }
            self.save().await;
            let standby = Condition::new(SourceState::Standby);
            self.status.set(standby, self.engine.now());
        }
    }

    /// Tells what the journal has, then what is added to it. Broken off at any place nothing is left out.
    async fn follow(&mut self) {
        // First listen, then read: what is added in between is not missed.
        let mut changes = self.engine.subscribe();
        self.begin().await;
        loop {
            let entries = self.entries().await;
            for entry in &entries {
                self.tell(entry).await;
                self.at = entry.seq;
                if self.saved_when.elapsed() >= POSITION_EVERY {
                    self.save().await;
                }
            }
            if entries.is_empty() && !self.wait(&mut changes).await {
                return;
            }
        }
    }

    /// Where the last one stopped; the first time ever at the end of the journal, for receivers know nothing of what
    /// was before they were configured.
    async fn begin(&mut self) {
        let mut pause = Backoff::new(PAUSE, PAUSE_MAX);
        loop {
            match self.position().await {
                Ok(at) => {
                    (self.at, self.saved) = (at, at);
                    return;
                }
                Err(error) => self.database_is_away(&error, &mut pause).await,
            }
        }
    }

    async fn position(&self) -> Result<u64, dalsegno_store::Error> {
        let store = self.engine.store();
        let known = store.position(POSITION).await?;
        // A text that is none of ours tells nothing.
        if let Some(at) = known.and_then(|it| it.parse().ok()) {
            return Ok(at);
        }
        let end = store.load().await?.last_journal;
        let now = self.engine.now();
        store.put_position(POSITION, &end.to_string(), now).await?;
        Ok(end)
    }

    async fn entries(&self) -> Vec<JournalEntry> {
        let mut pause = Backoff::new(PAUSE, PAUSE_MAX);
        loop {
            let store = self.engine.store();
            let read = store.journal(&JournalFilter::All, self.at, ENTRIES_AT_ONCE);
            match read.await {
                Ok(entries) => return entries,
                Err(error) => self.database_is_away(&error, &mut pause).await,
            }
        }
    }

    async fn database_is_away(&self, error: &dalsegno_store::Error, pause: &mut Backoff) {
        let condition = Condition::with(
            SourceState::Held,
            format!("the database does not say what to tell: {error}"),
        );
        self.status.set(condition, self.engine.now());
        tokio::time::sleep(pause.next()).await;
    }

    /// Waits for a change; false when there will be none.
    async fn wait(
        &mut self,
        changes: &mut broadcast::Receiver<std::sync::Arc<[dalsegno_engine::Topic]>>,
    ) -> bool {
        if self.status.state() != SourceState::Ok {
            let ok = Condition::new(SourceState::Ok);
            self.status.set(ok, self.engine.now());
        }
        loop {
            let is_saved = self.saved == self.at;
            let due = self.saved_when + POSITION_EVERY;
            tokio::select! {
                change = changes.recv() => return !matches!(change, Err(RecvError::Closed)),
                () = tokio::time::sleep_until(due), if !is_saved => self.save().await,
            }
        }
    }

    /// Writes down how far we have come. If that fails some things are told twice.
    async fn save(&mut self) {
        self.saved_when = Instant::now();
        if self.saved == self.at {
            return;
        }
        let (store, now) = (self.engine.store(), self.engine.now());
        let at = self.at.to_string();
        match store.put_position(POSITION, &at, now).await {
            Ok(()) => self.saved = self.at,
            Err(error) => tracing::debug!("the position in the journal is not written: {error}"),
        }
    }

    async fn tell(&mut self, entry: &JournalEntry) {
        if !entry.kind.starts_with("run.") {
            return;
        }
        let row: RunRow = match serde_json::from_str(&entry.body) {
            Ok(row) => row,
            Err(error) => {
                let reason = format!("journal entry {} is not a run: {error}", entry.seq);
                return self.refuse(entry.seq, &reason, &entry.body).await;
            }
        };
        let Some(transition) = Transition::of(row.state) else {
            return;
        };
        let named = Named::new(&self.namespace, &row);
        let parent = self.parent(&row).await;
        // A run that is over at once, or was begun before a restart, has its beginning told all the same: receivers want
        // one before each end, and know a second one by its id.
        if self.told.get(&row.id) != Some(&named) {
            let at = match transition {
                Transition::Start => entry.at,
                _ => row.started_at.unwrap_or(entry.at),
            };
            self.send(entry.seq, Transition::Start, at, &row, parent.as_ref())
                .await;
            self.told.insert(row.id, named);
        }
        if transition != Transition::Start {
            self.send(entry.seq, transition, entry.at, &row, parent.as_ref())
                .await;
            self.told.remove(&row.id);
        }
    }

    async fn parent(&self, row: &RunRow) -> Option<Named> {
        let parent = parent_of(row)?;
        if let Some(named) = self.told.get(&parent) {
            return Some(named.clone());
        }
        let mut pause = Backoff::new(PAUSE, PAUSE_MAX);
        loop {
            match self.engine.store().run(parent).await {
                Ok(row) => return Some(Named::new(&self.namespace, &*row?)),
                Err(error) => self.database_is_away(&error, &mut pause).await,
            }
        }
    }

    /// Sends until it is taken, or refused for ever and that is on record.
    async fn send(
        &self,
        seq: u64,
        transition: Transition,
        at: Timestamp,
        row: &RunRow,
        parent: Option<&Named>,
    ) {
        let body = run_event(&self.namespace, transition, at, row, parent).to_string();
        self.status.count(|it| it.deliveries += 1);
        let mut pause = Backoff::new(PAUSE, PAUSE_MAX);
        loop {
            let now = self.engine.now();
            match self.poster.post(body.clone()).await {
                Posted::Accepted => {
                    self.status.set(Condition::new(SourceState::Ok), now);
                    self.status.accepted(false, now);
                    return;
                }
                Posted::Refused(said) => {
                    self.status.set(Condition::new(SourceState::Ok), now);
                    return self.refuse(seq, &said, &body).await;
                }
                Posted::Later(why) => {
                    self.status.count(|it| it.errors += 1);
                    self.status.set(condition(why), now);
                    tokio::time::sleep(pause.next()).await;
                }
            }
        }
    }

    /// Puts on record what the receiver never takes, then goes on with the next.
    async fn refuse(&self, seq: u64, reason: &str, body: &str) {
        self.status.count(|it| it.refused += 1);
        let (source, id) = (self.status.label(), seq.to_string());
        let refusal = refusal(&self.engine, source, id, reason, body);
        let held = |_: Option<&str>| {};
        // Without an answer we decide no more, and the next one tells it again.
        let _ = crate::asking::ask(&self.engine, &self.stop, refusal, held).await;
    }
}

fn condition(why: Later) -> Condition {
    match why {
        Later::Unreachable(said) => Condition::with(SourceState::Unreachable, said)
            .cure("start the receiver, or correct `url` in [openlineage]; all that happens until then is told later"),
        Later::Denied(said) => Condition::with(SourceState::Denied, said)
            .cure("correct the key that `api_key_env` or `api_key_file` in [openlineage] names"),
        Later::Missing(said) => Condition::with(SourceState::Missing, said)
            .cure("correct `url` in [openlineage]: receivers mostly take events at /api/v1/lineage"),
        Later::Throttled(said) => Condition::with(SourceState::Throttled, said),
    }
}
