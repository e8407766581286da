//! One queue: its configuration, its client, and what it says of itself.

use super::dead_letter::DeadLetter;
use super::fault;
use crate::mapping::Mapping;
use crate::status::Condition;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use std::time::Duration;

/// How long a request waits for messages: the longest that SQS allows, so that an empty queue costs least.
pub(crate) const LONG_POLL: Duration = Duration::from_secs(20);

/// Where the queue does not say how long a message stays hidden, as by default at AWS.
const VISIBILITY: Duration = Duration::from_secs(30);

/// A queue as configured.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    pub name: String,
    pub url: String,
    /// `None`: as the environment says.
    pub region: Option<String>,
    /// `None`: that of AWS.
    pub endpoint: Option<String>,
    /// `None`: what the queue's redrive policy names.
    pub dead_letter_url: Option<String>,
    /// Batches of ten that are in hand at the same time, at least 1.
    pub receivers: u16,
    /// How long a message stays hidden after it was received; `None`: as the queue says.
    pub visibility: Option<Duration>,
    pub mappings: Vec<Mapping>,
}

/// What a queue says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Whole seconds, 2 to 43,200.
    pub(crate) visibility: Duration,
    pub(crate) dead_letter: DeadLetter,
    /// Why some of it is a guess.
    pub(crate) remark: Option<String>,
}

pub(crate) async fn client(config: &QueueConfig) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(
        TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(LONG_POLL + Duration::from_secs(10))
            .build(),
    );
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Client::new(&loader.load().await)
}

/// Asks the queue for what must be known before the first message.
pub(crate) async fn facts(client: &Client, config: &QueueConfig) -> Result<Facts, Condition> {
    let asked = client
        .get_queue_attributes()
        .queue_url(&config.url)
        .attribute_names(QueueAttributeName::VisibilityTimeout)
        .attribute_names(QueueAttributeName::RedrivePolicy)
        .send()
        .await;
    let mut remark = None;
    let attributes = match asked {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) => {
            let condition = fault::condition("GetQueueAttributes", &error);
            let code = aws_sdk_sqs::error::ProvideErrorMetadata::code(&error).unwrap_or_default();
            // Whoever may receive messages need not be allowed this.
            if !code.contains("AccessDenied") {
                return Err(condition);
            }
            remark = Some(format!(
                "its attributes may not be read (sqs:GetQueueAttributes), so its visibility timeout is taken for {} s \
                 and its dead-letter queue is known only from dalsegno.toml",
                VISIBILITY.as_secs()
            ));
            Default::default()
        }
    };
    let own = attributes
        .get(&QueueAttributeName::VisibilityTimeout)
        .and_then(|it| it.parse().ok())
        .map(Duration::from_secs);
    let visibility = config.visibility.or(own).unwrap_or(VISIBILITY);
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
    Ok(Facts {
        // A message that is never hidden would be received again while it is being decided.
        visibility: visibility.clamp(Duration::from_secs(2), Duration::from_secs(43_200)),
        dead_letter: DeadLetter::of(
            &config.url,
            config.dead_letter_url.as_deref(),
            policy.map(String::as_str),
        ),
        remark,
    })
}
