//! Sends what waits, each run's updates one after the other, several runs at a time.

use super::MetadataSpool;
use super::file::{self, RunFile};
use super::send::{MetadataService, NotNow, Sent, send};
use dalsegno_scheduler::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Between two looks for updates that wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest wait before a service that fails is asked again, unless it or its breaker says another.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Runs that are sent at the same time.
const RUNS_AT_A_TIME: usize = 16;

/// So many updates of a run go out before others are looked at that have come meanwhile.
const UPDATES_AT_A_TIME: u64 = 500;

/// So often an update is tried that a working service does not take, with 1, 2, 4 … s in between; then it is put aside.
const TRIES: u32 = 6;

/// What waits, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waiting {
    /// How many updates of each run.
    pub runs: BTreeMap<String, u64>,
    /// When the oldest of them was kept.
    pub since: Option<Timestamp>,
    /// Why nothing is sent now.
    pub trouble: Option<NotNow>,
    /// Runs whose next update the service does not take although it works, and what it says.
    pub stuck: BTreeMap<String, String>,
    /// Why the last update that came could not be kept; forgotten when nothing waits any more.
    pub full: Option<String>,
    /// How many updates were put aside, and why the last.
    pub refused: Option<(usize, String)>,
    /// Since the start.
    pub sent: u64,
}

impl Waiting {
    pub fn updates(&self) -> u64 {
        self.runs.values().sum()
    }
}

/// Sends what waits, as long as the daemon runs.
pub struct Drain {
    spool: MetadataSpool,
    service: Arc<dyn MetadataService>,
    runs: BTreeMap<String, OfRun>,
    trouble: Option<NotNow>,
    failures: u32,
    sent: u64,
}

/// What is remembered of a run while something of it waits.
#[derive(Clone, Debug)]
struct OfRun {
    /// Its next update may have arrived: another process sent it and died, or its answer was lost.
    in_doubt: bool,
    tries: u32,
    not_before: Instant,
    stuck: Option<String>,
    sent: u64,
}

impl OfRun {
    fn new() -> Self {
        Self {
            in_doubt: true,
            tries: 0,
            not_before: Instant::now(),
            stuck: None,
            sent: 0,
        }
    }
}

impl Drain {
    pub fn new(spool: MetadataSpool, service: Arc<dyn MetadataService>) -> Self {
        Self {
            spool,
            service,
            runs: BTreeMap::new(),
            trouble: None,
            failures: 0,
            sent: 0,
        }
    }

    /// Never ends. May be dropped at any point: what is under way is looked for at the next start. `tell` hears how things
    /// stand after each look.
    pub async fn run(mut self, mut tell: impl FnMut(&Waiting)) {
        loop {
            let wait = match self.pass().await {
                Ok(wait) => wait,
                Err(error) => {
                    warn!(
                        "updates for the metadata service cannot be read from {}: {error}",
                        self.spool.folder().display()
                    );
                    RETRY_MAX
                }
            };
            match self.waiting() {
                Ok(waiting) => tell(&waiting),
                Err(error) => {
                    warn!("what waits for the metadata service cannot be counted: {error}")
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends what can be sent; how long to wait before the next look.
    pub(super) async fn pass(&mut self) -> io::Result<Duration> {
        let files = RunFile::all(self.spool.folder())?;
        self.runs
            .retain(|run, _| files.iter().any(|it| it.run() == *run));
        let now = Instant::now();
        let is_due = |it: &RunFile| {
            self.runs
                .get(&it.run())
                .is_none_or(|it| it.not_before <= now)
        };
        let mut due: VecDeque<RunFile> = files.into_iter().filter(is_due).collect();
        let (mut under_way, mut more) = (JoinSet::new(), false);
        loop {
            // A service in trouble is asked by one.
            let most = if self.trouble.is_some() {
                1
            } else {
                RUNS_AT_A_TIME
            };
            while under_way.len() < most
                && let Some(file) = due.pop_front()
            {
                let of_run = self
                    .runs
                    .get(&file.run())
                    .cloned()
                    .unwrap_or_else(OfRun::new);
                under_way.spawn(drain(self.service.clone(), file, of_run));
            }
            let Some(done) = under_way.join_next().await else {
                break;
            };
            let (run, mut of_run, result) = done.map_err(io::Error::other)?;
            let sent = std::mem::take(&mut of_run.sent);
            self.sent += sent;
            more |= sent >= UPDATES_AT_A_TIME;
            self.runs.insert(run, of_run);
            match result {
                Ok(()) => self.works()?,
                Err(error) => {
                    self.failed(error);
                    // What is under way meanwhile is let finish; nothing more is begun.
                    due.clear();
                }
            }
        }
        Ok(match &self.trouble {
            None if more => Duration::ZERO,
            None => LOOK_EVERY,
            Some(NotNow::Refused { wait } | NotNow::Throttled { wait, .. }) if !wait.is_zero() => {
                *wait
            }
            Some(_) => {
                Duration::from_secs(1 << self.failures.saturating_sub(1).min(5)).min(RETRY_MAX)
            }
        })
    }

    /// All that waits for its time may go.
    #[cfg(test)]
    pub(super) fn is_impatient(&mut self) {
        self.runs
            .values_mut()
            .for_each(|it| it.not_before = Instant::now());
    }

    fn works(&mut self) -> io::Result<()> {
        if self.trouble.take().is_some() {
            info!("the metadata service {} answers again", self.spool.url());
        }
        self.failures = 0;
        // Tasks need not wait until they find out themselves.
        file::remove(&self.spool.folder().join("down"))
    }

    fn failed(&mut self, error: NotNow) {
        self.failures += 1;
        self.trouble = Some(error);
    }

    fn waiting(&self) -> io::Result<Waiting> {
        let folder = self.spool.folder();
        let mut waiting = Waiting {
            trouble: self.trouble.clone(),
            sent: self.sent,
            ..Waiting::default()
        };
        let mut since = f64::INFINITY;
        for file in RunFile::all(folder)? {
            if let Ok(count @ 1..) = file.count() {
                waiting.runs.insert(file.run(), count);
                since = since.min(file.since().unwrap_or(f64::INFINITY));
            }
        }
        if since.is_finite() {
            waiting.since = Some(Timestamp((since * 1e6) as i64));
        }
        let stuck = self
            .runs
            .iter()
            .filter_map(|(run, it)| Some((run.clone(), it.stuck.clone()?)));
        waiting.stuck = stuck.collect();
        waiting.full = full(folder);
        if waiting.runs.is_empty() && waiting.full.is_some() {
            file::remove(&folder.join("full"))?;
            waiting.full = None;
        }
        waiting.refused = file::refused(folder)?;
        Ok(waiting)
    }
}

/// Sends all of one run. The service's error, if it gives no answer.
async fn drain(
    service: Arc<dyn MetadataService>,
    file: RunFile,
    mut of_run: OfRun,
) -> (String, OfRun, Result<(), NotNow>) {
    let run = file.run();
    let result = send_all(&*service, &file, &mut of_run).await;
    let result = match result {
        Ok(()) => Ok(()),
        Err(Stop::Service(error)) => Err(error),
        Err(Stop::File(error)) => {
            // Nothing is lost: what was sent meanwhile is sent again, and recognised.
            let text = format!("its file cannot be written: {error}");
            of_run.wait_with(text);
            Ok(())
        }
        Err(Stop::Update) => Ok(()),
    };
    (run, of_run, result)
}

enum Stop {
    Service(NotNow),
    Update,
    File(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

async fn send_all(
    service: &dyn MetadataService,
    file: &RunFile,
    of_run: &mut OfRun,
) -> Result<(), Stop> {
    let mut arrived = file.arrived();
    for (number, found) in file.lines(arrived)? {
        let sent = match &found {
            Err(reason) => Sent::Refused(reason.clone()),
            Ok(update) => match send(service, update, update.doubt || of_run.in_doubt).await {
                Ok(sent) => sent,
                Err(error) => {
                    of_run.in_doubt |= matches!(error, NotNow::Unreachable { .. });
                    return Err(Stop::Service(error));
                }
            },
        };
        match sent {
            Sent::Arrived => {}
            Sent::NotYet(reason) if of_run.tries + 1 < TRIES => {
                of_run.wait_with(reason);
                return Err(Stop::Update);
            }
            Sent::NotYet(reason) | Sent::Refused(reason) => {
                let update = found
                    .as_ref()
                    .map_or(serde_json::Value::Null, |it| serde_json::json!(it));
                file.refuse(&update, &reason)?;
                warn!(
                    run.metaflow = file.run(),
                    "the metadata service does not take an update of run {}, which is put aside: {reason}",
                    file.run()
                );
            }
        }
        file.set_arrived(number)?;
        arrived = number;
        *of_run = OfRun {
            in_doubt: false,
            sent: of_run.sent + 1,
            ..OfRun::new()
        };
        if of_run.sent >= UPDATES_AT_A_TIME {
            break;
        }
    }
    file.tidy(arrived)?;
    Ok(())
}

impl OfRun {
    fn wait_with(&mut self, reason: String) {
        self.in_doubt = true;
        self.not_before = Instant::now() + Duration::from_secs(1 << self.tries.min(5));
        self.tries += 1;
        self.stuck = Some(reason);
    }
}

/// A task found no room; what it said.
fn full(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("full")).ok()?;
    Some(text.lines().nth(1).unwrap_or("no room is left").to_owned())
}
