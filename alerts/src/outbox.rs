//! The core's outbox: alerts as it wrote them, and the rules of the flows that they are about.

use crate::alert::Alert;
use crate::dispatch::Outbox;
use crate::rule::{Group, Rule, Target};
use async_trait::async_trait;
use dalsegno_engine::{AskError, EngineHandle};
use dalsegno_scheduler::alert::{AlertGroup, AlertKind, AlertRow, AlertRuleSpec, NewAlert};
use dalsegno_scheduler::{FlowName, Input, Span};
use dalsegno_store::DeliveryRow;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Alerts are looked for this often even if nobody says that something has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the engine commits.
pub struct FromEngine {
    engine: EngineHandle,
    changes: Mutex<Receiver<std::sync::Arc<[dalsegno_engine::Topic]>>>,
}

impl FromEngine {
    pub fn new(engine: EngineHandle) -> Self {
        Self {
            changes: Mutex::new(engine.subscribe()),
            engine,
        }
    }
}

#[async_trait]
impl Outbox for FromEngine {
    async fn after(
        &self,
        id: u64,
        limit: usize,
    ) -> Result<Vec<(Alert, Vec<Rule>)>, dalsegno_store::Error> {
        let rows = self.engine.store().alerts_after(id, limit).await?;
        let view = self.engine.view();
        // What is in the database and not in memory yet comes with its flow as it is now.
        let is_known = |it: &&AlertRow| it.id <= view.last_alert();
        let rules = |row: &AlertRow| {
            let flow = row.flow.as_ref().and_then(|it| view.flow(it.as_str()));
            let flow = flow.and_then(|it| it.flow.as_ref());
            let specs = flow.map_or(&[][..], |it| &it.spec().alerts);
            specs.iter().map(Rule::from).collect()
        };
        let known = rows.iter().take_while(is_known);
        Ok(known.map(|it| (Alert::from(it), rules(it))).collect())
    }

    async fn changed(&self) {
        let mut changes = self.changes.lock().await;
        let change = tokio::time::timeout(LOOK_AGAIN, changes.recv());
        if let Ok(Err(RecvError::Closed)) = change.await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Told by other channels, if a rule wants it. That a dead letter could not be told is not told in turn.
    async fn dead(&self, row: &DeliveryRow, reason: &str) {
        if row.kind == AlertKind::DeadLetter.as_str() {
            return;
        }
        let told = NewAlert {
            kind: AlertKind::DeadLetter,
            flow: Some(row.flow.as_str())
                .filter(|it| !it.is_empty())
                .map(FlowName::new),
            run: None,
            step: None,
            key: format!("channel/{}", row.channel),
            is_recovery: false,
            summary: format!("an alert did not reach {}: {}", row.channel, row.summary),
            data: serde_json::json!({ "delivery": row.id, "channel": row.channel, "reason": reason }),
            dedupe: format!("delivery:{}:{}", row.id, row.attempts),
        };
        // Ended with the term; the next one says it again.
        while let Err(error) = self.engine.ask(Input::Alert(Box::new(told.clone()))).await {
            tracing::warn!("that {} is given up could not be told: {error}", row.id);
            if matches!(error, AskError::Rejected(_) | AskError::Stopped) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl From<&AlertRow> for Alert {
    fn from(row: &AlertRow) -> Self {
        Self {
            id: row.id.0,
            at: row.at,
            kind: row.kind.as_str().to_owned(),
            flow: row.flow.as_ref().map(|it| it.as_str().to_owned()),
            owner: row.owner.clone(),
            run: row.run.map(|it| it.0),
            step: row.step.as_ref().map(|it| it.as_str().to_owned()),
            key: row.key.clone(),
            is_recovery: row.is_recovery,
            summary: row.summary.clone(),
            data: row.data.clone(),
        }
    }
}

impl From<&AlertRuleSpec> for Rule {
    fn from(spec: &AlertRuleSpec) -> Self {
        Self {
            on: spec.on.iter().map(|it| it.as_str().to_owned()).collect(),
            to: spec.to.iter().map(|it| Target::parse(it)).collect(),
            flow: None,
            owner: None,
            hold: spec.hold.unwrap_or(Span::ZERO),
            group: match spec.group {
                AlertGroup::Flow => Group::Flow,
                AlertGroup::Owner => Group::Owner,
                AlertGroup::None => Group::None,
            },
            retries: spec.retries,
        }
    }
}
