//! The clients, one for each region and address, and what their errors mean.

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::operation::publish::PublishError;
use aws_sdk_sns::types::MessageAttributeValue;
use dalsegno_alerts::{Notice, TopicError, Topics};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Mutex;

/// Whoever calls repeats, so one try gets what one request may take.
const TIMEOUT: Duration = Duration::from_secs(14);

/// Region and address.
type Place = (Option<String>, Option<String>);

/// Topics of SNS, with the credentials that every AWS tool finds: variables, profile, role.
#[derive(Default)]
pub struct Sns {
    clients: Mutex<BTreeMap<Place, Client>>,
}

impl Sns {
    /// Nothing is asked of AWS before the first message.
    pub fn new() -> Self {
        Self::default()
    }

    async fn client(&self, notice: &Notice) -> Client {
        let place = (notice.region.clone(), notice.endpoint.clone());
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&place) {
            return client.clone();
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_timeout(TIMEOUT)
            .build();
        // What fails is sent again under the same id, after the wait of its schedule.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &notice.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &notice.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let client = Client::new(&loader.load().await);
        clients.insert(place, client.clone());
        client
    }
}

#[async_trait]
impl Topics for Sns {
    async fn publish(&self, notice: Notice) -> Result<String, TopicError> {
        let client = self.client(&notice).await;
        let mut publish = client
            .publish()
            .topic_arn(notice.topic)
            .subject(notice.subject)
            .message(notice.message);
        for (name, value) in notice.attributes.into_iter().filter(|it| !it.1.is_empty()) {
            let attribute = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build();
            let attribute = attribute.map_err(|error| TopicError {
                status: None,
                message: format!("the attribute {name} cannot be sent: {error}"),
                is_final: true,
            })?;
            publish = publish.message_attributes(name, attribute);
        }
        if let Some(fifo) = notice.fifo {
            publish = publish
                .message_group_id(fifo.group)
                .message_deduplication_id(fifo.id);
        }
        match publish.send().await {
            Ok(published) => Ok(published.message_id.unwrap_or_default()),
            Err(error) => Err(told(&error)),
        }
    }
}

fn told(error: &SdkError<PublishError>) -> TopicError {
    let SdkError::ServiceError(answer) = error else {
        return TopicError {
            status: None,
            message: format!("SNS was not reached: {}", DisplayErrorContext(error)),
            is_final: false,
        };
    };
    let status = answer.raw().status().as_u16();
    let code = answer.err().code().unwrap_or("an error");
    let text = answer.err().message().unwrap_or_default();
    TopicError {
        status: Some(status),
        message: format!("SNS answers {code} ({status}): {text}"),
        is_final: is_final(code),
    }
}

/// What no later try cures. A topic that is missing, or not open to us yet, may be there by then.
fn is_final(code: &str) -> bool {
    [
        "InvalidParameter",
        "InvalidParameterValue",
        "ParameterValueInvalid",
    ]
    .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_message_is_given_up_at_once() {
        assert!(is_final("InvalidParameter"));
        for code in [
            "NotFound",
            "AuthorizationError",
            "Throttled",
            "InternalError",
        ] {
            assert!(!is_final(code), "{code}");
        }
    }
}
