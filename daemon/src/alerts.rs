//! Who is told of what, from the start of the daemon to its end.

use crate::config::Settings;
use crate::untold::Places;
use dalsegno_alerts::{
    AlertsConfig, Client, Desk, FromEngine, Group, Sender, System, Target, Verdict,
};
use dalsegno_alerts_sns::Sns;
use dalsegno_engine::{Code, EngineHandle, Problem};
use dalsegno_web::{AlertRuleView, ChannelView, Channels, Later, TestView};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The channels as pages and the API ask for them.
pub(crate) struct Told(Arc<Desk>);

/// Begins to deliver, whenever this instance decides.
pub(crate) fn start(
    settings: &Settings,
    engine: &EngineHandle,
    stop: &CancellationToken,
) -> (Arc<Told>, JoinHandle<()>) {
    let clock = engine.clone();
    let sender = Sender {
        client: Client::new(Arc::new(System)),
        topics: Some(Arc::new(Sns::new())),
    };
    let desk = Desk::new(
        settings.alerts.clone(),
        sender,
        engine.store().clone(),
        Arc::new(move || clock.now()),
    );
    let outbox = Arc::new(FromEngine::new(engine.clone()));
    let task = dalsegno_alerts::start(engine.clone(), desk.clone(), outbox, stop.clone());
    (Arc::new(Told(desk)), task)
}

/// Where alerts can go.
pub(crate) fn places(config: &AlertsConfig) -> Places {
    let channels = config.channels.values();
    Places {
        channels: channels.map(|it| (it.name.clone(), it.kind())).collect(),
        owners: config.book.owners.keys().cloned().collect(),
        is_configured: true,
    }
}

impl Told {
    /// # Errors
    /// There is no such channel.
    fn known(&self, channel: &str) -> Result<(), Problem> {
        let names = &self.0.config().channels;
        if names.contains_key(channel) {
            return Ok(());
        }
        let known: Vec<&str> = names.keys().map(String::as_str).collect();
        let known = match known.is_empty() {
            true => "dalsegno.toml has no [channels]".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        let detail = format!("there is no channel `{channel}`; {known}");
        Err(Problem::new(Code::UnknownChannel, detail))
    }
}

impl Channels for Told {
    fn channels(&self) -> Later<Vec<ChannelView>> {
        let desk = self.0.clone();
        Box::pin(async move {
            let view = |it: dalsegno_alerts::ChannelView| ChannelView {
                name: it.name,
                kind: it.kind,
                target: it.target,
                breaker: it.breaker,
                retry_at: it.retry_at,
                failures: it.failures,
                stopped: it.stopped.map(|it| (it.stopped_at, it.reason)),
                delivered_at: it.delivered_at,
                failed_at: it.failed_at,
                last_error: it.last_error,
            };
            let all = desk.channels().await?;
            Ok(all.into_iter().map(view).collect())
        })
    }

    fn rules(&self) -> Vec<AlertRuleView> {
        let config = self.0.config();
        let target = |it: &Target| match it {
            Target::Owner => "owner".to_owned(),
            Target::Channel(name) => match config.channels.get(name) {
                Some(channel) => format!("{}:{name}", channel.kind()),
                None => name.clone(),
            },
        };
        let rules = config.book.rules.iter();
        rules
            .map(|it| AlertRuleView {
                on: it.on.clone(),
                to: it.to.iter().map(target).collect(),
                flow: it.flow.clone(),
                owner: it.owner.clone(),
                hold_us: it.hold.0,
                retries: it.retries,
                group: match it.group {
                    Group::Flow => "flow",
                    Group::Owner => "owner",
                    Group::None => "none",
                },
            })
            .collect()
    }

    fn test(&self, channel: String) -> Later<TestView> {
        let (desk, known) = (self.0.clone(), self.known(&channel));
        Box::pin(async move {
            known?;
            let tested = desk.test(&channel).await;
            let tested = tested.ok_or_else(|| {
                Problem::new(
                    Code::UnknownChannel,
                    format!("there is no channel `{channel}`"),
                )
            })?;
            Ok(TestView {
                delivered: tested.attempted.verdict == Verdict::Delivered,
                id: tested.id,
                status: tested.attempted.status,
                message: tested.attempted.message,
                took_us: tested.took.0,
            })
        })
    }

    fn enable(&self, channel: String) -> Later<bool> {
        let (desk, known) = (self.0.clone(), self.known(&channel));
        Box::pin(async move {
            known?;
            Ok(desk.enable(&channel).await?)
        })
    }

    fn replay(&self, delivery: String) -> Later<()> {
        let desk = self.0.clone();
        Box::pin(async move {
            if desk.replay(&delivery).await? {
                return Ok(());
            }
            Err(match desk.delivery(&delivery).await? {
                None => {
                    let detail = format!("there is no delivery `{delivery}`");
                    Problem::new(Code::UnknownDelivery, detail)
                }
                Some(row) if !row.told_with.is_empty() => {
                    let other = &row.told_with;
                    let detail = format!("{delivery} was told with {other}; send that one again");
                    Problem::new(Code::NotEnded, detail)
                }
                Some(row) => {
                    let detail = format!("{delivery} is {}", row.state.as_str());
                    Problem::new(Code::NotEnded, detail)
                }
            })
        })
    }
}
