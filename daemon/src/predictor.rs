//! Predicts open promises while this instance decides, and tells the core what it has not heard yet.
//!
//! Nothing of it is kept: after a restart all is predicted anew.

use crate::histories;
use dalsegno_engine::{AskError, EngineHandle, Role, Topic};
use dalsegno_predict::{Histories, Outlook, awaited, concerned};
use dalsegno_scheduler::sla::{NewPrediction, SlaKey, key_of};
use dalsegno_scheduler::{FlowName, Input, Scheduler, Timestamp};
use dalsegno_store::Error;
use futures_util::{StreamExt as _, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// When nothing happens, time itself makes promises later.
const EVERY: Duration = Duration::from_secs(60);

/// A round is followed by a pause of so many times its length: it takes a twentieth of a core at most.
const PAUSE: u32 = 19;
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// Rows that a round has no time for come first in the next one.
const ROUND_MAX: Duration = Duration::from_secs(2);

/// Told to the core at a time: they share its commits.
const ASKED_AT_ONCE: usize = 64;

pub(crate) fn start(engine: EngineHandle, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = predict(&engine) => {}
        }
    });
}

async fn predict(engine: &EngineHandle) {
    let mut notices = engine.subscribe();
    let mut role = engine.role_changes();
    let mut memory = Memory::default();
    while role.wait_for(|it| *it == Role::Leader).await.is_ok() {
        let begun = Instant::now();
        if let Err(error) = memory.round(engine).await {
            warn!("promises are not predicted for now: {error}");
        }
        let pause = (begun.elapsed() * PAUSE).clamp(PAUSE_MIN, EVERY);
        if memory.listen(&mut notices, engine, pause).await.is_err() {
            return;
        }
    }
}

/// What is known between rounds.
#[derive(Default)]
struct Memory {
    histories: Arc<Histories>,
    /// Flows whose past was read.
    known: BTreeSet<FlowName>,
    /// In which round each row was looked at.
    looked: BTreeMap<SlaKey, u64>,
    rounds: u64,
}

/// The engine is gone.
struct Gone;

impl Memory {
    async fn round(&mut self, engine: &EngineHandle) -> Result<(), Error> {
        let (view, now) = (engine.view(), engine.now());
        let flows: Vec<FlowName> = {
            let rows = awaited(&view, now);
            if rows.is_empty() {
                return Ok(());
            }
            let flows = concerned(&view, &rows).into_iter();
            flows.filter(|it| !self.known.contains(it)).collect()
        };
        if !flows.is_empty() {
            let times = histories::times(engine.store().as_ref(), &flows).await?;
            Arc::make_mut(&mut self.histories).renew(Histories::new(&times));
            self.known.extend(flows);
        }
        self.rounds += 1;
        let (histories, looked) = (self.histories.clone(), std::mem::take(&mut self.looked));
        let round = self.rounds;
        let work = move || look(&view, &histories, looked, round, now);
        let found = match tokio::task::spawn_blocking(work).await {
            Ok((found, looked)) => {
                self.looked = looked;
                found
            }
            Err(error) => {
                warn!("promises are not predicted: {error}");
                return Ok(());
            }
        };
        let asked = found.into_iter().map(|it| async move {
            let about = (it.flow.clone(), it.promise.clone());
            let asked = engine.ask(Input::Prediction(Box::new(it))).await;
            // The next round says it again.
            if let Err(error @ (AskError::Busy | AskError::Store(_))) = asked {
                debug!("{}: {}: not predicted now: {error}", about.0, about.1);
            }
        });
        let asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        asked.collect::<Vec<()>>().await;
        Ok(())
    }

    /// Waits for the pause, and then until a run has changed or long enough.
    async fn listen(
        &mut self,
        notices: &mut Receiver<Arc<[Topic]>>,
        engine: &EngineHandle,
        pause: Duration,
    ) -> Result<(), Gone> {
        let begun = tokio::time::Instant::now();
        let mut until = begun + EVERY;
        loop {
            let heard = tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                heard = notices.recv() => heard,
            };
            match heard {
                Ok(topics) => {
                    if self.hear(&topics, &engine.view()) {
                        until = begun + pause;
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    self.known.clear();
                    until = begun + pause;
                }
                Err(RecvError::Closed) => return Err(Gone),
            }
        }
    }

    /// Whether something is to be predicted anew.
    fn hear(&mut self, topics: &[Topic], view: &Scheduler) -> bool {
        let mut is_news = false;
        for topic in topics {
            match topic {
                Topic::Run(run, flow) => {
                    is_news = true;
                    if view.run(*run).is_none() {
                        // It is over, so there is one more duration.
                        self.known.remove(flow);
                    }
                }
                Topic::Flow(_) => is_news = true,
                Topic::Events | Topic::Refused | Topic::Backfill(_) => {}
            }
        }
        is_news
    }
}

/// What is new of the rows that were not looked at for longest, and when each was looked at.
fn look(
    view: &Scheduler,
    histories: &Histories,
    looked: BTreeMap<SlaKey, u64>,
    round: u64,
    now: Timestamp,
) -> (Vec<NewPrediction>, BTreeMap<SlaKey, u64>) {
    let begun = Instant::now();
    let outlook = Outlook::new(view, histories, now);
    let rows = awaited(view, now).into_iter().map(|row| {
        let last = looked.get(&key_of(row)).copied().unwrap_or(0);
        (last, row.due_at, row)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(last, due_at, _)| (*last, *due_at));
    let (mut found, mut seen) = (Vec::new(), BTreeMap::new());
    for (last, _, row) in rows {
        if begun.elapsed() >= ROUND_MAX {
            seen.insert(key_of(row), last);
            continue;
        }
        seen.insert(key_of(row), round);
        // The same luck each time: what changes is the world, not the dice.
        let prediction = outlook.promise(row, 0);
        found.extend(prediction.filter(|it| view.is_news(it)));
    }
    (found, seen)
}
