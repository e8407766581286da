//! Clients and settings that all parts share.

use crate::config::AwsConfig;
use crate::guard::Guard;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use dalsegno_scheduler::Timestamp;
use dalsegno_store::Store;
use std::sync::Arc;

/// Everything that is needed to speak to AWS. The clients repeat nothing by themselves: whoever calls knows whether a
/// repetition could do a thing twice.
#[derive(Clone)]
pub struct Aws {
    pub config: Arc<AwsConfig>,
    pub sdk: SdkConfig,
    pub batch: aws_sdk_batch::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub s3: aws_sdk_s3::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub guard: Arc<Guard>,
    pub store: Arc<dyn Store>,
}

impl Aws {
    pub async fn connect(config: AwsConfig, store: Arc<dyn Store>) -> Self {
        let sdk = sdk(&config).await;
        Self::with(config, sdk, store)
    }

    /// With these credentials and this address, whatever the configuration says of them.
    pub fn with(config: AwsConfig, sdk: SdkConfig, store: Arc<dyn Store>) -> Self {
        let guard = Arc::new(Guard::new(&config, store.clone()));
        Self {
            batch: aws_sdk_batch::Client::new(&sdk),
            sfn: aws_sdk_sfn::Client::new(&sdk),
            s3: s3(&config, &sdk),
            logs: aws_sdk_cloudwatchlogs::Client::new(&sdk),
            sqs: aws_sdk_sqs::Client::new(&sdk),
            config: Arc::new(config),
            sdk,
            guard,
            store,
        }
    }

    /// Whether this daemon is in charge, asked now. Without a name of its own it is alone.
    pub(crate) async fn leads(&self) -> bool {
        let instance = &self.config.instance;
        if instance.is_empty() {
            return true;
        }
        let lease = self.store.lease().await;
        lease.is_ok_and(|it| it.is_some_and(|it| it.holder == *instance))
    }

    /// The wall clock: reports carry times.
    pub fn now(&self) -> Timestamp {
        dalsegno_engine::clock::now()
    }
}

/// Region, credentials and address as configured, else as every AWS tool finds them. Nothing is repeated.
pub(crate) async fn sdk(config: &AwsConfig) -> SdkConfig {
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).retry_config(RetryConfig::disabled());
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

pub(crate) fn s3(config: &AwsConfig, sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(sdk)
        // Elsewhere than at AWS a bucket is no host of its own.
        .force_path_style(config.endpoint.is_some())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
