//! What people want to be told of and the core does not see: orphans, open breakers, long queues.
//!
//! Each is a matter with a beginning and an end. Those that are under way are remembered in the database before they are
//! told, and forgotten after their end was told; both are told under a name that a second telling has too. So a kill at
//! any place loses and doubles nothing.

use crate::aws::Elsewhere;
use dalsegno_engine::{AskError, EngineHandle, Role};
use dalsegno_scheduler::alert::{AlertKind, NewAlert};
use dalsegno_scheduler::{FlowName, Input, Limit, RunId, Timestamp};
use dalsegno_web::Breakers;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often it is looked. All of it is in memory.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Under which name the database keeps what is under way.
const POSITION: &str = "alerts/matters";

/// Where it is looked.
pub(crate) struct Places {
    pub(crate) breakers: Option<Arc<dyn Breakers>>,
    pub(crate) elsewhere: Option<Elsewhere>,
    /// More waiting for one limit than this is told.
    pub(crate) queue_long: usize,
    /// What some rule wants; nothing else is looked for.
    pub(crate) kinds: BTreeSet<AlertKind>,
}

/// Something that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Matter {
    kind: AlertKind,
    /// When it was first seen: two matters of one key are told apart by it.
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<FlowName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// What it is, for people: `job 12 (ours-etl)`.
    what: String,
    summary: String,
    data: Value,
}

type Matters = BTreeMap<String, Matter>;

/// What was seen at one look.
#[derive(Debug, Default)]
struct Seen {
    under_way: Matters,
    /// Of these it is not known whether they are over.
    unknown: BTreeSet<AlertKind>,
}

/// Looks whenever this instance decides, until `stop`.
pub(crate) fn start(
    engine: EngineHandle,
    places: Places,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut known: Option<Matters> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if engine.role() != Role::Leader || !places.is_wanted() {
                // Another instance looks, and knows more by now.
                known = None;
                continue;
            }
            if let Err(error) = look(&engine, &places, &mut known).await {
                warn!("orphans, breakers and queues are not told of for now: {error:#}");
                known = None;
            }
        }
    })
}

impl Places {
    fn is_wanted(&self) -> bool {
        let wanted = [
            AlertKind::OrphanFound,
            AlertKind::BreakerOpened,
            AlertKind::BreakerClosed,
            AlertKind::QueueLong,
        ];
        wanted.iter().any(|it| self.kinds.contains(it))
    }

    fn see(&self, engine: &EngineHandle, known: &Matters) -> Seen {
        let now = engine.now();
        let mut seen = Seen::default();
        let breakers = self.breakers.iter().flat_map(|it| it.all());
        seen.add(breakers.filter(|it| it.state != "closed").map(|it| {
            let why = match (it.by_hand, &it.last_error) {
                (Some(_), _) => "it was opened by hand".to_owned(),
                (None, Some(error)) => format!("the last call failed with: {error}"),
                (None, None) => "calls failed".to_owned(),
            };
            let matter = Matter {
                kind: AlertKind::BreakerOpened,
                since: now,
                flow: None,
                run: None,
                what: format!("the circuit breaker of {}", it.name),
                summary: format!("the circuit breaker of {} is open: {why}", it.name),
                data: json!({ "breaker": it.name, "by_hand": it.by_hand.is_some(), "last_error": it.last_error }),
            };
            (format!("breaker:{}", it.name), matter)
        }));
        match self.elsewhere.as_ref().map(Elsewhere::looked_for_orphans) {
            // It was not looked yet, so those of before may be there still.
            Some(None) => {
                seen.unknown.insert(AlertKind::OrphanFound);
            }
            Some(Some(orphans)) => seen.add(orphans.into_iter().map(|it| {
                let matter = Matter {
                    kind: AlertKind::OrphanFound,
                    since: now,
                    flow: (!it.flow.is_empty()).then(|| FlowName::new(it.flow.as_str())),
                    run: it.run.parse().ok().map(RunId),
                    what: format!("job {} ({})", it.job_id, it.name),
                    summary: format!("job {} ({}) runs for nobody: {}", it.job_id, it.name, it.why),
                    data: json!({ "job": it.job_id, "queue": it.queue, "task": it.task, "why": it.why }),
                };
                (format!("orphan:{}", it.job_id), matter)
            })),
            None => {}
        }
        if self.kinds.contains(&AlertKind::QueueLong) {
            let limits = engine.view().limits().into_iter();
            seen.add(limits.filter_map(|it| {
                let (key, what) = queue(&it.limit)?;
                let is_long = match known.contains_key(&key) {
                    // It is over when it is a good deal shorter: no word at each coming and going.
                    true => it.waiting * 5 > self.queue_long * 4,
                    false => it.waiting > self.queue_long,
                };
                let matter = Matter {
                    kind: AlertKind::QueueLong,
                    since: now,
                    flow: None,
                    run: None,
                    summary: format!("{} wait for {what}, and {} is long", it.waiting, self.queue_long),
                    data: json!({ "waiting": it.waiting, "capacity": it.capacity, "queue_long": self.queue_long }),
                    what: format!("the queue for {what}"),
                };
                is_long.then_some((key, matter))
            }));
        }
        seen
    }
}

impl Seen {
    fn add(&mut self, matters: impl Iterator<Item = (String, Matter)>) {
        self.under_way.extend(matters);
    }
}

/// The limits whose queues are those of the whole house.
fn queue(limit: &Limit) -> Option<(String, String)> {
    match limit {
        Limit::Tasks => Some(("queue:tasks".into(), "a place (`max_tasks`)".into())),
        Limit::Remote => Some((
            "queue:remote".into(),
            "a place elsewhere (`max_remote_tasks`)".into(),
        )),
        Limit::Pool(pool) => Some((format!("queue:pool:{pool}"), format!("pool {pool}"))),
        _ => None,
    }
}

async fn look(
    engine: &EngineHandle,
    places: &Places,
    known: &mut Option<Matters>,
) -> anyhow::Result<()> {
    let is_first = known.is_none();
    let before = match known.take() {
        Some(before) => before,
        None => read(engine).await?,
    };
    let change = compare(&before, places.see(engine, &before));
    let mut now = before.clone();
    now.extend(change.began.clone());
    if now != before {
        write(engine, &now).await?;
    }
    // After a start it is not known whether those of before were told.
    let told = if is_first { &now } else { &change.began };
    for (key, matter) in told {
        tell(engine, began(key, matter)).await?;
    }
    for (key, matter) in &change.over {
        tell(engine, over(key, matter, engine.now())).await?;
        now.remove(key);
    }
    if !change.over.is_empty() {
        write(engine, &now).await?;
    }
    *known = Some(now);
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Change {
    began: Matters,
    over: Matters,
}

fn compare(before: &Matters, seen: Seen) -> Change {
    let over = before
        .iter()
        .filter(|(key, it)| !seen.under_way.contains_key(*key) && !seen.unknown.contains(&it.kind));
    let over = over.map(|(key, it)| (key.clone(), it.clone())).collect();
    let began = seen.under_way.into_iter();
    let began = began.filter(|(key, _)| !before.contains_key(key));
    Change {
        began: began.collect(),
        over,
    }
}

fn began(key: &str, it: &Matter) -> NewAlert {
    NewAlert {
        kind: it.kind,
        flow: it.flow.clone(),
        run: it.run,
        step: None,
        key: key.to_owned(),
        is_recovery: false,
        summary: it.summary.clone(),
        data: it.data.clone(),
        dedupe: format!("{key}@{}", it.since.0),
    }
}

fn over(key: &str, it: &Matter, now: Timestamp) -> NewAlert {
    let after = now - it.since;
    let (kind, end) = match it.kind {
        AlertKind::BreakerOpened => (AlertKind::BreakerClosed, "is closed again"),
        AlertKind::QueueLong => (AlertKind::QueueLong, "is short again"),
        kind => (kind, "is gone"),
    };
    NewAlert {
        kind,
        is_recovery: true,
        summary: format!("{} {end}, after {after}", it.what),
        dedupe: format!("{key}@{}:over", it.since.0),
        ..began(key, it)
    }
}

async fn tell(engine: &EngineHandle, alert: NewAlert) -> anyhow::Result<()> {
    match engine.ask(Input::Alert(Box::new(alert))).await {
        Ok(_) => Ok(()),
        // Such a text is refused each time.
        Err(AskError::Rejected(why)) => {
            warn!("something is not told: {why}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn read(engine: &EngineHandle) -> anyhow::Result<Matters> {
    let text = engine.store().position(POSITION).await?;
    // A text that is none of ours tells nothing; what is told twice then is told under another name.
    Ok(text
        .and_then(|it| serde_json::from_str(&it).ok())
        .unwrap_or_default())
}

async fn write(engine: &EngineHandle, matters: &Matters) -> anyhow::Result<()> {
    let text = serde_json::to_string(matters)?;
    Ok(engine
        .store()
        .put_position(POSITION, &text, engine.now())
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matters(all: &[(&str, AlertKind)]) -> Matters {
        let matter = |kind| Matter {
            kind,
            since: Timestamp::from_secs(1),
            flow: None,
            run: None,
            what: "it".into(),
            summary: "it is so".into(),
            data: json!({}),
        };
        let all = all.iter();
        all.map(|(key, kind)| ((*key).to_owned(), matter(*kind)))
            .collect()
    }

    #[test]
    fn what_is_new_begins_and_what_is_gone_is_over_unless_nobody_has_looked() {
        let before = matters(&[
            ("breaker:s3", AlertKind::BreakerOpened),
            ("orphan:1", AlertKind::OrphanFound),
        ]);
        let seen = Seen {
            under_way: matters(&[("queue:tasks", AlertKind::QueueLong)]),
            unknown: [AlertKind::OrphanFound].into(),
        };
        let change = compare(&before, seen);
        assert_eq!(change.began.keys().collect::<Vec<_>>(), ["queue:tasks"]);
        assert_eq!(change.over.keys().collect::<Vec<_>>(), ["breaker:s3"]);
    }

    #[test]
    fn a_beginning_and_its_end_are_one_matter_under_two_names_that_stay() {
        let (key, matter) = matters(&[("breaker:s3", AlertKind::BreakerOpened)])
            .pop_first()
            .expect("one");
        let (first, second) = (began(&key, &matter), began(&key, &matter));
        assert_eq!(first.dedupe, second.dedupe);
        let end = over(&key, &matter, Timestamp::from_secs(61));
        assert_eq!(
            (end.kind, end.is_recovery, end.key.as_str()),
            (AlertKind::BreakerClosed, true, "breaker:s3")
        );
        assert_ne!(end.dedupe, first.dedupe);
        assert_eq!(end.summary, "it is closed again, after 1m");
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let all = matters(&[("orphan:1", AlertKind::OrphanFound)]);
        let text = serde_json::to_string(&all).expect("JSON");
        assert_eq!(serde_json::from_str::<Matters>(&text).expect("ours"), all);
    }
}
